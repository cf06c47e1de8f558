//! What can be wrong with a job's inputs before it starts. Every text names the object.

use std::io;

use crate::naming::ParseUriError;
use crate::storage::stores::StoreError;

/// Why inputs cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Nothing has that name.
    #[error("no such input: {object}")]
    NotFound {
        /// The object or folder.
        object: String,
    },
    /// A symbolic link whose target does not exist.
    #[error("input {object} is a link to something that does not exist")]
    Dangling {
        /// The link.
        object: String,
    },
    /// No visible object matches.
    #[error("the pattern {pattern} matches nothing")]
    NothingMatches {
        /// The glob.
        pattern: String,
    },
    /// The glob cannot be parsed.
    #[error("cannot understand the pattern {pattern}: {reason}")]
    BadPattern {
        /// The glob.
        pattern: String,
        /// What is wrong with it.
        reason: BadPattern,
    },
    /// The operating system or store refuses.
    #[error("permission denied: cannot read {object}")]
    PermissionDenied {
        /// The object or folder.
        object: String,
    },
    /// A pipe, socket or device.
    #[error("input {object} is {kind}, not a file or folder")]
    NotRegular {
        /// The object.
        object: String,
        /// What it is.
        kind: &'static str,
    },
    /// A link to one of the folders that hold it.
    #[error("input folder {folder} is a link to a folder that contains it")]
    LinkLoop {
        /// The folder.
        folder: String,
    },
    /// A name that no URI can express.
    #[error("cannot name input {object}: its name is not UTF-8")]
    NameNotUtf8 {
        /// The object, with the bad bytes replaced.
        object: String,
    },
    /// The store cannot be reached from here.
    #[error(transparent)]
    Access(#[from] StoreError),
    /// A folder or glob behind plain HTTP, whose servers list nothing.
    #[error("cannot list {object}: web servers have no listings")]
    NoListing {
        /// The folder.
        object: String,
    },
    /// More objects than a plan may hold.
    #[error("{pattern} names more than {limit} objects")]
    TooManyObjects {
        /// The input at which the limit was passed.
        pattern: String,
        /// The limit.
        limit: usize,
    },
    /// The operating system reports something else.
    #[error("cannot read {object}")]
    Unreadable {
        /// The object or folder.
        object: String,
        /// What it reports.
        source: io::Error,
    },
    /// The object store reports something else.
    #[error("cannot list {object}")]
    Store {
        /// The object or folder.
        object: String,
        /// What it reports.
        source: object_store::Error,
    },
    /// An input given on the command line names no location.
    #[error("cannot understand an input")]
    BadArgument {
        /// Why.
        source: ParseUriError,
    },
    /// A line of a list file names no location.
    #[error("cannot understand line {line} of {list}")]
    BadListLine {
        /// The list file.
        list: String,
        /// The line, counted from 1.
        line: usize,
        /// Why.
        source: ParseUriError,
    },
    /// A list that is not in the local file system, where whoever submits reads it.
    #[error("the list {list} is not a local file")]
    ListNotLocal {
        /// The list file.
        list: String,
    },
    /// A list file is not text.
    #[error("the list {list} is not UTF-8 text")]
    ListNotUtf8 {
        /// The list file.
        list: String,
    },
    /// A list file is larger than any list.
    #[error("the list {list} is larger than {limit_bytes} bytes")]
    ListTooLarge {
        /// The list file.
        list: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// A list file without inputs.
    #[error("the list {list} names no inputs")]
    EmptyList {
        /// The list file.
        list: String,
    },
}

/// What is wrong with a glob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// A `[` without its `]`.
    #[error("a \"[\" is not closed")]
    UnclosedClass,
    /// A `{` without its `}`.
    #[error("a \"{{\" is not closed")]
    UnclosedBrace,
    /// Brace lists that multiply.
    #[error("its brace lists stand for more than {limit} patterns")]
    TooManyAlternatives {
        /// The limit.
        limit: usize,
    },
}

impl InputError {
    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            InputError::NothingMatches { .. } => Some(
                "names that begin with \"_\" or \".\" match only if the pattern says so; \"**\" stands for any folders",
            ),
            InputError::BadPattern { .. } => Some("write \\[ or \\{ for the character itself"),
            InputError::Access(error) => error.hint(),
            InputError::NoListing { .. } => Some("name each object, or write them to a list and give @LIST"),
            InputError::LinkLoop { .. } => Some("name the folders to read one by one, or hide the link (_name)"),
            InputError::NameNotUtf8 { .. } => Some("rename the file"),
            InputError::Store { .. } => Some("gristmill doctor LOCATION tells what works there"),
            _ => None,
        }
    }

    pub(crate) fn io(object: String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => InputError::NotFound { object },
            io::ErrorKind::PermissionDenied => InputError::PermissionDenied { object },
            _ => InputError::Unreadable { object, source },
        }
    }

    pub(crate) fn store(object: String, source: object_store::Error) -> Self {
        match source {
            object_store::Error::NotFound { .. } => InputError::NotFound { object },
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                InputError::PermissionDenied { object }
            }
            source => InputError::Store { object, source },
        }
    }
}
