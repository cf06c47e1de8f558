//! Settings that need not be repeated on every command line: `gristmill.toml`, overridden by
//! `GRISTMILL_*` variables, overridden by flags. An unknown key is an error that names the nearest
//! known one; every value is checked when it is read, whatever verb runs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use gristmill_common::form::Codec;
use gristmill_common::size::ByteSize;

use super::error::CliError;
use super::run::threads;
use super::span::Span;

/// The file that is read if it is in the current folder.
const FILE: &str = "gristmill.toml";

/// What the variables' names begin with.
const PREFIX: &str = "GRISTMILL_";

/// A setting: its key in the file (and, in upper case with `_`, its variable), what it does, and
/// whether a text can be its value.
struct Key {
    name: &'static str,
    about: &'static str,
    check: fn(&str) -> Result<(), String>,
}

/// Every setting. Each but `log` has a flag of the same name, which wins.
const KEYS: &[Key] = &[
    Key { name: "master", about: "URL of the master, for worker, submit, status and the like", check: any },
    Key {
        name: "memory",
        about: "memory budget of run, submit, cluster and worker, such as 2GiB",
        check: parses::<ByteSize>,
    },
    Key { name: "threads", about: "threads of run", check: |text| threads(text).map(|_| ()) },
    Key { name: "split-size", about: "bytes of input per map task, such as 64MiB", check: parses::<ByteSize> },
    Key { name: "max-attempts", about: "attempts a task may fail", check: parses::<u32> },
    Key {
        name: "max-bad-records",
        about: "records that map may fail on, skipped and kept in OUTPUT/_bad",
        check: parses::<u64>,
    },
    Key {
        name: "record-timeout",
        about: "how long one record may keep user code busy, such as 10m",
        check: parses::<Span>,
    },
    Key {
        name: "executor-memory",
        about: "memory that one executor process of a worker may have, such as 4GiB",
        check: parses::<ByteSize>,
    },
    Key {
        name: "file-cache",
        about: "what binaries and files of jobs may take on a worker's disk, such as 4GiB",
        check: parses::<ByteSize>,
    },
    Key { name: "dir", about: "scratch folder of run, worker and cluster", check: any },
    Key { name: "compression", about: "how parts are compressed, such as gzip or zstd", check: parses::<Codec> },
    Key {
        name: "endpoint",
        about: "the URL of the object store, where it is not the provider's own",
        check: parses::<String>,
    },
    Key { name: "region", about: "the region of the object store", check: parses::<String> },
    Key { name: "anonymous", about: "true: requests to object stores have no credentials", check: parses::<bool> },
    Key { name: "fsync", about: "true: parts are forced to disk before they count", check: parses::<bool> },
    Key { name: "listen", about: "address that master, worker and cluster listen on", check: any },
    Key { name: "slots", about: "attempts that a worker runs at once", check: parses::<u32> },
    Key { name: "certs", about: "folder of the certificate that this process shows", check: any },
    Key { name: "state", about: "folder of the master's state", check: any },
    Key {
        name: "reconnect",
        about: "seconds that submit, status and the like wait for a lost master",
        check: parses::<u64>,
    },
    Key { name: "log", about: "what master and worker log, such as info or gristmill=debug", check: any },
];

/// A variable that is no setting: where the settings file is.
const CONFIG_VARIABLE: &str = "GRISTMILL_CONFIG";

/// Settings of file and environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (String, Origin)>,
}

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    Variable,
}

impl Settings {
    /// Reads the file (`config`, or `gristmill.toml` in `current_dir` if there is one) and the
    /// variables.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a key or value cannot be.
    pub(crate) fn load(
        config: Option<&Path>,
        current_dir: &Path,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, CliError> {
        let variables: Vec<(String, String)> =
            variables.filter(|(name, value)| is_setting(name) && !value.is_empty()).collect();
        let named = variables.iter().find(|(name, _)| name == CONFIG_VARIABLE).map(|(_, path)| PathBuf::from(path));
        let mut settings = Self::default();
        if let Some(path) = config.map(Path::to_path_buf).or(named) {
            let text = std::fs::read_to_string(&path).map_err(|error| {
                CliError::usage(format!("cannot read the settings file {}", path.display())).because(&error)
            })?;
            settings.read_file(&path, &text)?;
        } else {
            let path = current_dir.join(FILE);
            match std::fs::read_to_string(&path) {
                Ok(text) => settings.read_file(&path, &text)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(CliError::usage(format!("cannot read {}", path.display())).because(&error)),
            }
        }
        for (name, value) in variables.into_iter().filter(|(name, _)| name != CONFIG_VARIABLE) {
            let key = name[PREFIX.len()..].to_ascii_lowercase().replace('_', "-");
            settings.set(&key, &name, value, Origin::Variable)?;
        }
        Ok(settings)
    }

    /// The value of a setting; `None` if it is nowhere set.
    ///
    /// # Panics
    ///
    /// If the key is unknown, or `T` is another type than the key's.
    pub(crate) fn get<T: FromStr>(&self, key: &str) -> Option<T> {
        assert!(KEYS.iter().any(|known| known.name == key), "the setting {key:?} is not in the table");
        let (value, _) = self.values.get(key)?;
        Some(value.parse().ok().expect("every value was checked when it was read"))
    }

    /// The settings in force, where each was found, and all keys, for `--help`.
    pub(crate) fn help() -> String {
        let lines: Vec<String> = KEYS.iter().map(|key| format!("  {:<16} {}", key.name, key.about)).collect();
        format!(
            "Settings, from gristmill.toml in the current folder (or --config FILE), overridden by GRISTMILL_* \
             variables (GRISTMILL_SPLIT_SIZE), overridden by flags:\n{}",
            lines.join("\n")
        )
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), CliError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            CliError::usage(format!("{} is not a settings file", path.display())).because(&error)
        })?;
        for (key, value) in table {
            let value = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                other => {
                    let kind = other.type_str();
                    return Err(CliError::usage(format!("{key:?} in {} cannot be of type {kind}", path.display())));
                }
            };
            self.set(&key, &key, value, Origin::File(path.to_path_buf()))?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, shown: &str, value: String, origin: Origin) -> Result<(), CliError> {
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            let error = CliError::usage(format!("unknown setting {shown:?} {origin}"));
            let names: Vec<&str> = KEYS.iter().map(|known| known.name).collect();
            return Err(match nearest(key, names.iter().copied()) {
                Some(name) => error.hint(format!("did you mean {name:?}?")),
                None => error.hint(format!("known settings: {}", names.join(", "))),
            });
        };
        (known.check)(&value)
            .map_err(|why| CliError::usage(format!("the setting {shown:?} {origin} cannot be: {why}")))?;
        self.values.insert(known.name, (value, origin));
        Ok(())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "in {}", path.display()),
            Origin::Variable => f.write_str("in the environment"),
        }
    }
}

/// The candidate most like `text`, if one is much like it.
pub(crate) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(text, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

fn any(_text: &str) -> Result<(), String> {
    Ok(())
}

fn parses<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<(), String> {
    text.parse::<T>().map(|_| ()).map_err(|error| error.to_string())
}

/// Whether a variable is meant for the command line. Those of tests and trials are not, and lie beside it in
/// the environment of whoever works on this project.
fn is_setting(name: &str) -> bool {
    name.starts_with(PREFIX) && !["GRISTMILL_TEST_", "GRISTMILL_BENCH"].iter().any(|other| name.starts_with(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Settings, CliError> {
        let dir = tempfile::tempdir().expect("scratch");
        std::fs::write(dir.path().join(FILE), file).expect("written");
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(None, dir.path(), variables)
    }

    #[test]
    fn variables_override_the_file() {
        let settings = load("memory = \"1GiB\"\nthreads = 3\nfsync = true", &[("GRISTMILL_MEMORY", "2GiB")]);
        let settings = settings.expect("valid");
        assert_eq!(settings.get::<ByteSize>("memory"), Some(ByteSize(2 << 30)));
        assert_eq!(settings.get::<usize>("threads"), Some(3));
        assert_eq!(settings.get::<bool>("fsync"), Some(true));
        assert_eq!(settings.get::<String>("master"), None);
    }

    #[test]
    fn variables_of_tests_and_benchmarks_are_no_settings() {
        for name in ["GRISTMILL_TEST_DATA", "GRISTMILL_TEST_ROUNDS", "GRISTMILL_BENCH"] {
            assert!(load("", &[(name, "x")]).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let check = |file: &str, variables: &[(&str, &str)], message: &str, hint: Option<&str>| {
            let error = load(file, variables).expect_err(message);
            assert!(error.message.contains(message), "{}", error.message);
            assert_eq!(error.hints.first().map(String::as_str), hint, "{message}");
        };
        check("memmory = 1", &[], "unknown setting \"memmory\" in ", Some("did you mean \"memory\"?"));
        let variables = [("GRISTMILL_SPLITSIZE", "1")];
        check("", &variables, "unknown setting \"GRISTMILL_SPLITSIZE\" in the", Some("did you mean \"split-size\"?"));
        check("memory = \"much\"", &[], "\"much\" is not a size", None);
        check("threads = [1]", &[], "cannot be of type array", None);
        check("[run]\nthreads = 1", &[], "\"run\" in ", None);
        check("threads", &[], "is not a settings file", None);
        check("", &[("GRISTMILL_THREADS", "-1")], "\"GRISTMILL_THREADS\" in the environment cannot be", None);
    }

    #[test]
    fn a_named_file_must_exist() {
        let path = Path::new("/nowhere/gristmill.toml");
        let error = Settings::load(Some(path), Path::new("/"), std::iter::empty()).expect_err("missing");
        assert_eq!(error.message, "cannot read the settings file /nowhere/gristmill.toml");
    }
}
