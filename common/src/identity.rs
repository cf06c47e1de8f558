//! Who somebody is on a cluster: a name in a role. Knows neither certificates nor tokens, which are only
//! two ways to prove it, and does not decide what a role may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What somebody is on a cluster for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Is called by all others, and calls nobody.
    Master,
    /// Runs attempts.
    Worker,
    /// Submits jobs, and looks after their own.
    Submitter,
    /// Looks at everything.
    Viewer,
    /// Does everything that people do.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Master, Self::Worker, Self::Submitter, Self::Viewer, Self::Admin];

    /// Its word on command lines, in certificates and in tokens.
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Worker => "worker",
            Self::Submitter => "submitter",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let role = Self::ALL.into_iter().find(|role| role.word() == text);
        role.ok_or_else(|| IdentityError::Role { text: text.to_owned() })
    }
}

/// The most bytes of a name: what fits a line of an audit log beside others.
const MAX_NAME_BYTES: usize = 128;

/// A name in a role, written `role/name`.
///
/// Names are of lower-case letters, digits, `.`, `_` and `-`, up to 128 bytes: they lie in file names,
/// logs and certificates. Two with the same role and name are the same person or process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Identity {
    role: Role,
    name: String,
}

impl Identity {
    /// # Errors
    ///
    /// If the name is not one.
    pub fn new(role: Role, name: &str) -> Result<Self, IdentityError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
            return Err(IdentityError::Name { text: name.chars().take(MAX_NAME_BYTES).collect() });
        }
        Ok(Self { role, name: name.to_owned() })
    }

    /// What they are here for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Their name, unique within the role.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How a certificate says it, in a subject alternative name of type URI (RFC 5280, 4.2.1.6).
    pub fn to_uri(&self) -> String {
        format!("{URI_SCHEME}{self}")
    }

    /// The identity in such a URI; `None` if it is another kind of URI.
    ///
    /// # Errors
    ///
    /// If it is of this kind and names no identity.
    pub fn from_uri(uri: &str) -> Option<Result<Self, IdentityError>> {
        uri.strip_prefix(URI_SCHEME).map(str::parse)
    }
}

/// What the URI of an identity begins with.
const URI_SCHEME: &str = "gristmill:";

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role, self.name)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let (role, name) = text.split_once('/').ok_or_else(|| IdentityError::Shape { text: text.to_owned() })?;
        Self::new(role.parse()?, name)
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

impl TryFrom<String> for Identity {
    type Error = IdentityError;

    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

/// A text that is no identity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// It has another shape.
    #[error("{text:?} is not of the form role/name")]
    Shape {
        /// What was given.
        text: String,
    },
    /// There is no such role.
    #[error("{text:?} is no role; there are master, worker, submitter, viewer and admin")]
    Role {
        /// What was given.
        text: String,
    },
    /// That cannot be a name.
    #[error("{text:?} is no name; one has 1 to 128 of a-z, 0-9, '.', '_' and '-'")]
    Name {
        /// What was given, cut to 128 characters.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_back_and_nothing_else_is_one() {
        for role in Role::ALL {
            let identity = Identity::new(role, "a-1.b_2").expect("a name");
            assert_eq!(identity.to_string().parse(), Ok(identity.clone()));
            assert_eq!(Identity::from_uri(&identity.to_uri()), Some(Ok(identity)));
        }
        for wrong in ["", "worker", "worker/", "root/x", "worker/A", "worker/a/b", "worker/../x/", "worker/a b", "/x"] {
            assert!(wrong.parse::<Identity>().is_err(), "{wrong:?}");
        }
        assert!(Identity::new(Role::Admin, &"a".repeat(129)).is_err());
        assert_eq!(Identity::from_uri("https://worker/x"), None);
        assert!(Identity::from_uri("gristmill:worker").is_some_and(|result| result.is_err()));
    }
}
