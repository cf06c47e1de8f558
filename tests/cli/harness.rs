//! A folder to work in and the binary to call there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A fresh folder, with a scratch folder of its own.
pub(crate) struct Sandbox {
    dir: TempDir,
}

/// What a call of the binary gave.
#[derive(Debug)]
pub(crate) struct Called {
    /// The exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("work")).expect("created");
        fs::create_dir(dir.path().join("scratch")).expect("created");
        Self { dir }
    }

    /// The folder that the binary is called in.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Where a relative path leads.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// Writes a file and the folders above it.
    pub(crate) fn file(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the sandbox")).expect("created");
        fs::write(path, content).expect("written");
    }

    /// The binary with these arguments, split at spaces.
    pub(crate) fn command(&self, args: &str) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_gristmill")), args)
    }

    /// Any binary with these arguments, split at spaces.
    pub(crate) fn command_of(&self, binary: &Path, args: &str) -> Command {
        let mut command = Command::new(binary);
        command.args(args.split_whitespace()).current_dir(self.work());
        // Nor what a machine in a cloud, or with credentials, has.
        let told = ["GRISTMILL_", "AWS_", "AZURE_", "GOOGLE_", "CLOUDSDK_", "GCE_METADATA_", "IDENTITY_", "MSI_"];
        for (name, _) in std::env::vars().filter(|(name, _)| told.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
        command.env("HOME", self.dir.path().join("home")).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("TMPDIR", self.dir.path().join("scratch")).env("COLUMNS", "100");
        command
    }

    /// Calls the binary with these arguments, split at spaces.
    pub(crate) fn call(&self, args: &str) -> Called {
        Called::of(self.command(args).output().expect("the binary starts"))
    }

    /// Every file and folder below the work folder, sorted.
    pub(crate) fn tree(&self) -> Vec<String> {
        let mut names = vec![];
        list(&self.work(), &self.work(), &mut names);
        names.sort();
        names
    }

    /// What is left in scratch.
    pub(crate) fn scratch(&self) -> Vec<String> {
        let scratch = self.dir.path().join("scratch");
        let mut names = vec![];
        list(&scratch, &scratch, &mut names);
        names
    }

    /// What is in scratch while somebody works there.
    pub(crate) fn scratch_now(&self) -> Vec<String> {
        let mut names = vec![];
        let mut folders = vec![self.dir.path().join("scratch")];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                names.push(path.to_string_lossy().into_owned());
                folders.extend(path.is_dir().then_some(path));
            }
        }
        names
    }

    /// The parts of an output, one after the other.
    pub(crate) fn parts(&self, output: &str) -> String {
        let mut names: Vec<PathBuf> = fs::read_dir(self.path(output))
            .expect("an output")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")))
            .collect();
        names.sort();
        names.iter().map(|path| fs::read_to_string(path).expect("a part")).collect()
    }
}

impl Called {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Checks the exit code, showing everything if it is another.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

fn list(root: &Path, dir: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        names.push(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
        if path.is_dir() {
            list(root, &path, names);
        }
    }
}
