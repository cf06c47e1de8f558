//! The files that a job is run or submitted with: `--file PATH`, or `--file NAME=PATH`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use gristmill_common::ids::ContentId;
use gristmill_common::setup::ShippedPaths;
use gristmill_common::spec::ShippedFile;
use gristmill_common::storage::content_of;

use super::error::{CliError, Exit};

/// Files that travel with a job, and where they lie here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shipped {
    /// What the spec says of them, by name.
    pub(crate) files: Vec<ShippedFile>,
    /// Where they are.
    pub(crate) paths: ShippedPaths,
}

impl Shipped {
    /// Reads the files that arguments name.
    ///
    /// # Errors
    ///
    /// If one is not there, is no file, or shares its name with another.
    pub(crate) fn read(args: &[String], here: &Path) -> Result<Self, CliError> {
        let mut shipped = Self::default();
        for arg in args {
            let (name, path) = split(arg, here);
            shipped.add(name, path)?;
        }
        Ok(shipped)
    }

    fn add(&mut self, name: String, path: PathBuf) -> Result<(), CliError> {
        let cannot = |reason: &dyn std::fmt::Display| {
            CliError::new(Exit::Rejected, format!("cannot ship the file {}: {reason}", path.display()))
        };
        let file = File::open(&path).map_err(|error| cannot(&error))?;
        let about = file.metadata().map_err(|error| cannot(&error))?;
        if !about.is_file() {
            return Err(cannot(&"it is no file").hint("name each file of a folder, or ship an archive of it"));
        }
        let (content, _) = content_of(file).map_err(|error| cannot(&error))?;
        if let Some(other) = self.paths.insert(name.clone(), path.clone()) {
            let message = format!("two files are shipped as {name}: {} and {}", other.display(), path.display());
            return Err(CliError::usage(message).hint("give one another name with --file NAME=PATH"));
        }
        self.files.push(ShippedFile { name, content });
        Ok(())
    }

    /// What is to be sent with a job, its binary included: what each file holds, and where it lies.
    pub(crate) fn to_send(&self, binary: ContentId) -> BTreeMap<ContentId, PathBuf> {
        // The file that this process was started from, whatever lies under its name by now.
        let running = PathBuf::from("/proc/self/exe");
        let program = if running.exists() { Some(running) } else { std::env::current_exe().ok() };
        let files = self.files.iter().filter_map(|file| Some((file.content, self.paths.get(&file.name)?.clone())));
        program.map(|path| (binary, path)).into_iter().chain(files).collect()
    }
}

/// Name and path of an argument. A path that is there is taken as one, though it has a `=`.
fn split(arg: &str, here: &Path) -> (String, PathBuf) {
    let path = here.join(arg);
    if let Some((name, rest)) = arg.split_once('=')
        && !path.exists()
        && !name.contains('/')
    {
        return (name.to_owned(), here.join(rest));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    (name.unwrap_or_default(), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_their_path_or_before_it() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("stop.txt"), "the\n").expect("written");
        std::fs::write(dir.path().join("a=b"), "x").expect("written");
        let read = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
            Shipped::read(&args, dir.path()).map(|shipped| shipped.paths.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(read(&["stop.txt", "words=stop.txt", "a=b"]).expect("files"), ["a=b", "stop.txt", "words"]);
        let error = |args: &[&str]| read(args).expect_err("refused").message;
        assert!(error(&["gone.txt"]).contains("cannot ship the file"), "{}", error(&["gone.txt"]));
        assert!(error(&["."]).contains("it is no file"), "{}", error(&["."]));
        assert!(error(&["stop.txt", "./stop.txt"]).contains("two files are shipped as stop.txt"));
    }
}
