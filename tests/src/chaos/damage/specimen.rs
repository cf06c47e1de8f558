//! A file that is damaged, and what its reader makes of it.

use std::path::Path;

/// What a reader made of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// All that was written.
    Same,
    /// Nothing, and why.
    Refused(String),
    /// Something else.
    Wrong,
}

/// A file with the code that reads it in a job.
pub(super) trait Specimen {
    /// What the file is.
    fn kind(&self) -> &'static str;

    /// The file.
    fn file(&self) -> &Path;

    /// Reads it.
    fn read(&mut self) -> Reading;

    /// Whether the text of a refusal tells which file it is about.
    fn names(&self, text: &str) -> bool {
        let name = self.file().file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| text.contains(name))
    }
}
