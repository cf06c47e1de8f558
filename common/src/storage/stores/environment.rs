//! What a process knows of stores before it asks anybody: environment variables, the home folder and
//! what kind of machine it runs on. Shows no value of any variable.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;

/// The beginnings of the names of variables that say something about stores.
const PREFIXES: [&str; 7] = ["AWS_", "GOOGLE_", "GCE_METADATA_", "CLOUDSDK_", "AZURE_", "IDENTITY_", "MSI_"];

/// Other variables that do.
const NAMES: [&str; 2] = ["HOME", "SERVICE_ACCOUNT"];

/// A cloud whose machines are given credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Machine {
    /// None that is known.
    #[default]
    Other,
    /// Amazon EC2.
    Ec2,
    /// Google Compute Engine.
    Gce,
    /// Azure.
    Azure,
}

impl Machine {
    /// This machine, as its firmware names it.
    fn this() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/sys/class/dmi/id/{name}")).unwrap_or_default();
        if [read("sys_vendor"), read("board_vendor"), read("bios_vendor")].iter().any(|by| by.contains("Amazon EC2")) {
            Machine::Ec2
        } else if read("product_name").contains("Google Compute Engine") {
            Machine::Gce
        } else if read("chassis_asset_tag").trim() == "7783-7084-3265-9085-8269-3286-77" {
            // What Microsoft documents as the mark of Azure among machines of Hyper-V.
            Machine::Azure
        } else {
            Machine::Other
        }
    }
}

/// Where credentials and settings of stores are looked for.
#[derive(Clone, Default)]
pub struct StoreEnvironment {
    variables: BTreeMap<String, String>,
    machine: Machine,
}

impl StoreEnvironment {
    /// That of this process, as it is now.
    pub fn of_process() -> Self {
        let known = |name: &str| NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| known(name))?;
            Some((name, value.into_string().ok()?))
        });
        Self { variables: variables.collect(), machine: Machine::this() }
    }

    /// One with these variables on a machine of that kind.
    pub fn from_variables<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>, machine: Machine) -> Self {
        let owned = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { variables: owned.collect(), machine }
    }

    /// A variable, unless it is empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The first of these variables that has a value, by name.
    pub fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, &str)> {
        names.iter().find_map(|name| Some((*name, self.variable(name)?)))
    }

    /// All variables whose name begins like this.
    pub fn variables_of<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty())
    }

    /// The user's home folder.
    pub fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from)
    }

    /// What kind of machine this is.
    pub fn machine(&self) -> Machine {
        self.machine
    }
}

impl fmt::Debug for StoreEnvironment {
    /// Names without values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        f.debug_struct("StoreEnvironment").field("variables", &names).field("machine", &self.machine).finish()
    }
}
