//! Names that other programs rely on: URIs of inputs and outputs, part files, `_SUCCESS`, staging
//! folders. Only builds and takes apart names; touches no storage.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, JobId, Stage};

/// The manifest that ends a job's output.
pub const SUCCESS_FILE: &str = "_SUCCESS";

/// The schemes that inputs and outputs may have.
pub const SCHEMES: [&str; 6] = ["file", "s3", "gs", "az", "http", "https"];

/// An absolute location: a scheme and what follows it. A plain path is `file://` and its absolute
/// form, with its bytes as they are: nothing is percent-decoded. It may hold glob characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uri {
    scheme: String,
    rest: String,
}

/// Text that names no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseUriError {
    /// Nothing was given.
    #[error("an empty path names nothing")]
    Empty,
    /// The scheme is not one of [`SCHEMES`].
    #[error("unknown scheme {scheme:?} in {text:?} (known: {}, or a plain path)", SCHEMES.join(", "))]
    UnknownScheme {
        /// The scheme.
        scheme: String,
        /// What was given.
        text: String,
    },
    /// `file://` with a host, or a relative `file:` path.
    #[error("{text:?} is not an absolute file URI (file:///path)")]
    NotAbsolute {
        /// What was given.
        text: String,
    },
}

impl Uri {
    /// Parses a URI, or a plain path relative to `current_dir`.
    ///
    /// # Errors
    ///
    /// If the text is empty, its scheme unknown, or a `file` URI is not absolute.
    pub fn parse(text: &str, current_dir: &Path) -> Result<Self, ParseUriError> {
        if text.is_empty() {
            return Err(ParseUriError::Empty);
        }
        match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => {
                let scheme = scheme.to_ascii_lowercase();
                if !SCHEMES.contains(&scheme.as_str()) {
                    return Err(ParseUriError::UnknownScheme { scheme, text: text.to_owned() });
                }
                if scheme == "file" && !rest.starts_with('/') {
                    return Err(ParseUriError::NotAbsolute { text: text.to_owned() });
                }
                let rest = if scheme == "file" { normalise(Path::new(rest)) } else { rest.to_owned() };
                Ok(Self { scheme, rest })
            }
            _ => Ok(Self { scheme: "file".to_owned(), rest: normalise(&current_dir.join(text)) }),
        }
    }

    /// The `file` URI of an absolute path.
    pub fn from_path(path: &Path) -> Self {
        Self { scheme: "file".to_owned(), rest: normalise(path) }
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What follows `scheme://`: an absolute path for `file`.
    pub fn rest(&self) -> &str {
        &self.rest
    }

    /// The local path, for `file`.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.scheme == "file").then(|| PathBuf::from(&self.rest))
    }

    /// The last name in the path: `a.txt` of `/data/a.txt`.
    pub fn base_name(&self) -> &str {
        base_name(&self.rest)
    }

    /// Whether `other` is this location or lies below it.
    pub fn contains(&self, other: &Uri) -> bool {
        let below = |rest: &str| rest.is_empty() || rest.starts_with('/') || self.rest.ends_with('/');
        self.scheme == other.scheme && other.rest.strip_prefix(&self.rest).is_some_and(below)
    }

    /// The location of `name` inside this folder.
    #[must_use]
    pub fn join(&self, name: &str) -> Uri {
        let rest = format!("{}/{name}", self.rest.trim_end_matches('/'));
        Uri { scheme: self.scheme.clone(), rest }
    }
}

impl fmt::Display for Uri {
    /// A plain path for `file`, which is what people type; the URI otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == "file" { f.write_str(&self.rest) } else { write!(f, "{}://{}", self.scheme, self.rest) }
    }
}

impl FromStr for Uri {
    type Err = ParseUriError;

    /// Parses a URI or an absolute path.
    fn from_str(text: &str) -> Result<Self, ParseUriError> {
        Uri::parse(text, Path::new("/"))
    }
}

impl TryFrom<String> for Uri {
    type Error = ParseUriError;

    fn try_from(text: String) -> Result<Self, ParseUriError> {
        text.parse()
    }
}

impl From<Uri> for String {
    fn from(uri: Uri) -> String {
        format!("{}://{}", uri.scheme, uri.rest)
    }
}

/// The last name in a path with `/` separators.
pub fn base_name(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

/// Whether the name is hidden from inputs: it begins with `_` or `.`.
pub fn is_hidden(name: &str) -> bool {
    name.starts_with(['_', '.'])
}

/// What part `index` is called, without the ending that tells its form.
pub fn part_name(index: u32) -> String {
    format!("part-{index:05}")
}

/// The file of part `index` in a job's output, where parts have this ending
/// ([`JobSpec::part_ending`](crate::spec::JobSpec::part_ending)).
pub fn part_file_name(index: u32, ending: &str) -> String {
    part_name(index) + ending
}

/// The file of a further part of the task that writes part `index`: `number` parts come before it, and 0 is the first
/// one. It is behind these and before those of other tasks in the order of names, whatever the ending.
pub fn further_part_file_name(index: u32, number: u32, ending: &str) -> String {
    match number {
        0 => part_file_name(index, ending),
        number => format!("{}_{number:05}{ending}", part_name(index)),
    }
}

/// The file in which one attempt stages part `index`; no other attempt ever writes it.
pub fn staged_part_name(index: u32, attempt: AttemptId) -> String {
    format!("{}.{attempt}", part_name(index))
}

/// The folder, beside a staged part of that name, in which the same attempt stages its further parts and those of
/// named outputs, each under a number from 0 on.
pub fn staged_named_dir(staged_part: &str) -> String {
    format!("{staged_part}.named")
}

/// The object below an output in an object store that says which job holds it.
pub const CLAIM_OBJECT: &str = "_gristmill.claim";

/// The folder inside a job's output for the records that its map tasks skipped.
pub const BAD_DIR: &str = "_bad";

/// The file in [`BAD_DIR`] for what map task `index` skipped: JSON lines.
pub fn bad_records_name(index: u32) -> String {
    format!("part-m-{index:05}.jsonl")
}

/// The file in which one map attempt stages what it skipped; no other attempt ever writes it.
pub fn staged_bad_records_name(attempt: AttemptId) -> String {
    format!("{}.{attempt}", bad_records_name(attempt.task.index))
}

/// The file in [`BAD_DIR`] that a staged one becomes; `None` if the name is not that of a staged file
/// of skipped records.
pub fn bad_records_name_of(staged_name: &str) -> Option<String> {
    const END: &str = ".jsonl.";
    let at = staged_name.find(END)?;
    let attempt: AttemptId = staged_name[at + END.len()..].parse().ok()?;
    let is_staged = attempt.task.stage == Stage::Map && staged_bad_records_name(attempt) == staged_name;
    is_staged.then(|| bad_records_name(attempt.task.index))
}

/// The folder beside `output` in which its job stages parts: one for each output, so that creating
/// it claims the output.
pub fn staging_dir(output: &Path) -> PathBuf {
    let name = output.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    output.with_file_name(format!(".{name}.gristmill"))
}

/// The folder in which the attempts of `job` stage their parts. It carries the job's name, so that a
/// late attempt of a job that is over finds no folder to write to.
pub fn staged_parts_dir(output: &Path, job: JobId) -> PathBuf {
    staging_dir(output).join(job.to_string())
}

/// The folder of one job inside a scratch folder.
pub fn scratch_job_dir(scratch: &Path, job: JobId) -> PathBuf {
    scratch.join(job.to_string())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// Removes `.` and empty components and resolves `..` by name; keeps a trailing slash out.
fn normalise(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        Uri::parse(text, Path::new("/home/ann")).expect(text)
    }

    #[test]
    fn paths_and_uris_become_absolute() {
        let check = |text: &str, shown: &str| assert_eq!(uri(text).to_string(), shown);
        check("books", "/home/ann/books");
        check("./a/../b//c/", "/home/ann/b/c");
        check("/", "/");
        check("file:///data/x y%20z", "/data/x y%20z");
        check("S3://bucket/key", "s3://bucket/key");
        check("odd:name", "/home/ann/odd:name");
        assert_eq!(String::from(uri("a")), "file:///home/ann/a");
    }

    #[test]
    fn other_text_is_refused_by_name() {
        let error = |text: &str| Uri::parse(text, Path::new("/")).expect_err(text).to_string();
        assert_eq!(error(""), "an empty path names nothing");
        assert!(error("ftp://host/x").starts_with("unknown scheme \"ftp\" in \"ftp://host/x\""));
        assert_eq!(error("file://host/x"), "\"file://host/x\" is not an absolute file URI (file:///path)");
    }

    #[test]
    fn containment_stops_at_names() {
        assert!(uri("/data").contains(&uri("/data/in")));
        assert!(uri("/data").contains(&uri("/data")));
        assert!(uri("/").contains(&uri("/data")));
        assert!(!uri("/data").contains(&uri("/database")));
        assert!(!uri("/data").contains(&uri("s3://data")));
    }

    #[test]
    fn skipped_records_are_named_by_their_task() {
        let attempt: AttemptId = "m-3.1002".parse().expect("an attempt");
        assert_eq!(staged_bad_records_name(attempt), "part-m-00003.jsonl.m-3.1002");
        let check =
            |staged: &str, name: Option<&str>| assert_eq!(bad_records_name_of(staged).as_deref(), name, "{staged}");
        check("part-m-00003.jsonl.m-3.1002", Some("part-m-00003.jsonl"));
        for other in ["part-m-00003.jsonl.m-4.0", "part-m-00003.jsonl.r-3.0", "part-m-00003.jsonl", "x.jsonl.m-3.0", ""]
        {
            check(other, None);
        }
    }

    #[test]
    fn names_are_fixed() {
        assert_eq!(part_name(7), "part-00007");
        assert_eq!(part_name(123_456), "part-123456");
        assert_eq!((part_file_name(7, ""), part_file_name(7, ".gz")), ("part-00007".into(), "part-00007.gz".into()));
        let attempt = "r-7.1".parse().expect("valid");
        assert_eq!(staged_part_name(7, attempt), "part-00007.r-7.1");
        assert_eq!(staged_named_dir("part-00007.r-7.1"), "part-00007.r-7.1.named");
        assert_eq!(staging_dir(Path::new("/out/counts")), Path::new("/out/.counts.gristmill"));
        assert_eq!((base_name("/a/b.txt"), base_name("/a/"), base_name("x")), ("b.txt", "a", "x"));
    }
}
