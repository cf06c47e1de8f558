//! Why a certificate is not taken, by name. Holds no secrets: these texts are told to peers and written to
//! logs.

use thiserror::Error;

use crate::identity::Role;
use crate::time::WallTime;

/// Why a certificate is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateProblem {
    /// It is over.
    #[error("the certificate of {whose} has expired: it ended at {end}, and it is {now}")]
    Expired {
        /// Whose it says it is.
        whose: String,
        /// The end of its validity.
        end: WallTime,
        /// The time by which that was judged.
        now: WallTime,
    },
    /// It begins later.
    #[error("the certificate of {whose} is not valid yet: it begins at {start}, and it is {now}")]
    NotYetValid {
        /// Whose it says it is.
        whose: String,
        /// The beginning of its validity.
        start: WallTime,
        /// The time by which that was judged.
        now: WallTime,
    },
    /// Another authority made it, or none.
    #[error("the certificate of {whose} is foreign: this cluster's authority has not made it")]
    Foreign {
        /// Whose it says it is.
        whose: String,
    },
    /// It belongs to somebody who is here for something else.
    #[error("wrong role: the certificate is that of {whose}, and {needed} is needed here")]
    WrongRole {
        /// Whose it is.
        whose: String,
        /// What is needed, with an article.
        needed: &'static str,
    },
    /// Nobody may make the call for which it was shown.
    #[error("{whose} may not make this call: nobody may")]
    NoRule {
        /// Whose it is.
        whose: String,
    },
    /// It is not for the host that was asked for.
    #[error("wrong host: the certificate of {whose} is for {names}, not for {host}")]
    WrongHost {
        /// Whose it is.
        whose: String,
        /// The hosts it is for, separated by commas.
        names: String,
        /// The host that was asked for.
        host: String,
    },
    /// It names nobody.
    #[error("the certificate names nobody: it has no single URI of the form gristmill:role/name")]
    NoIdentity,
    /// It cannot be read.
    #[error("the certificate cannot be read: {what}")]
    Unreadable {
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be used for this.
    #[error("the certificate of {whose} cannot be used: {what}")]
    Unusable {
        /// Whose it says it is.
        whose: String,
        /// What is wrong with it.
        what: String,
    },
    /// None was shown.
    #[error("a certificate is missing: the other end has shown none")]
    Missing,
    /// The authority is not the one that a token names.
    #[error("the master is of another cluster: its authority is not the one that the token names")]
    WrongAuthority,
}

impl CertificateProblem {
    /// The kind of problem in one word, for logs and programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::Foreign { .. } => "foreign",
            Self::WrongRole { .. } => "wrong-role",
            Self::NoRule { .. } => "no-rule",
            Self::WrongHost { .. } => "wrong-host",
            Self::NoIdentity => "no-identity",
            Self::Unreadable { .. } => "unreadable",
            Self::Unusable { .. } => "unusable",
            Self::Missing => "missing",
            Self::WrongAuthority => "wrong-authority",
        }
    }

    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Expired { .. } => Some("make a new one with: gristmill certs issue ROLE/NAME --replace"),
            Self::NotYetValid { .. } => Some("compare the clocks of both machines"),
            Self::Foreign { .. } | Self::WrongAuthority => {
                Some("are the master's URL and --certs those of one cluster?")
            }
            Self::WrongRole { .. } | Self::Missing => Some("name the folder of another certificate with --certs"),
            Self::WrongHost { .. } => Some("use one of those names, or issue the certificate again with --host"),
            Self::NoRule { .. } | Self::NoIdentity | Self::Unreadable { .. } | Self::Unusable { .. } => None,
        }
    }

    /// What a role is called in sentences.
    pub(super) fn needed(role: Role) -> &'static str {
        match role {
            Role::Master => "a master's",
            Role::Worker => "a worker's",
            Role::Submitter => "a submitter's",
            Role::Viewer => "a viewer's",
            Role::Admin => "an admin's",
        }
    }
}
