//! Who is at the other end of a connection, as its certificate proves. Checks nothing by itself: whoever
//! accepts a connection does, and puts a [`Connection`] into the extensions of each of its requests.

use std::net::SocketAddr;

use tonic::Extensions;

use super::CertificateProblem;
use crate::identity::Identity;
use crate::time::WallTime;

/// Somebody whose certificate was checked: of this cluster's authority, in force, with their key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Who.
    pub identity: Identity,
    /// The certificate's serial number, in lower-case hexadecimal without separators.
    pub serial: String,
}

impl PeerIdentity {
    /// The peer of a request; `None` if it came without encryption, without a certificate, or with one that
    /// does not count.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        match &extensions.get::<Connection>()?.proof {
            Proof::Proven { peer, .. } => Some(peer),
            Proof::Nobody | Proof::Refused(_) => None,
        }
    }
}

/// An encrypted connection, as a server sees it. It lies in the extensions of each request that came over
/// it; those that came without encryption have none.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where the other end is.
    pub remote: Option<SocketAddr>,
    /// Who it is.
    pub proof: Proof,
}

impl Connection {
    /// That of a request; `None` if it came without encryption.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }
}

/// What the other end of an encrypted connection has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// No certificate.
    Nobody,
    /// One that counts.
    Proven {
        /// Whose.
        peer: PeerIdentity,
        /// The end of its validity: the connection may outlive it.
        expires: WallTime,
    },
    /// One that does not count. The connection stands only so that this can be said.
    Refused(CertificateProblem),
}
