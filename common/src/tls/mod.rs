//! Certificates, and connections that they protect. Who somebody is follows from a certificate of the
//! cluster's own authority; what they may do is decided elsewhere.
//!
//! | file | responsibility |
//! |---|---|
//! | `peer.rs` | who is at the other end of a connection |
//! | `problem.rs` | why a certificate is not taken |
//! | `facts.rs` | what a certificate says |
//! | `authority.rs` | which certificates an authority vouches for |
//! | `issue.rs` | making keys and certificates |
//! | `folder.rs` | certificates and keys on disk |
//! | `credentials.rs` | the certificate of this process, read again when its file changes |
//! | `verify.rs` | what is checked while a connection is made |
//! | `accept.rs`, `dial.rs` | the two ends of a connection |
//! | `gate.rs` | the server's answer to those who showed no certificate that counts |
//! | `join_token.rs` | what lets a new worker in, once |
//! | `moment.rs` | the time, as certificates tell it |

mod accept;
mod authority;
mod credentials;
mod dial;
mod facts;
mod folder;
mod gate;
mod issue;
mod join_token;
mod moment;
mod peer;
mod problem;
#[cfg(test)]
mod tests;
mod verify;

pub use accept::{ServerTls, TlsConnection};
pub use authority::{Authority, Usage};
pub use credentials::{Credentials, Loaded, load_signer, signer_of_files};
pub use dial::{DialError, Dialer, FirstContact};
pub use facts::{CertificateFacts, key_fingerprint};
pub use folder::{
    AUTHORITY_CERTIFICATE, AUTHORITY_KEY, FolderError, IDENTITY, ISSUER, Pem, create_folder, read_pem, replace_file,
    to_pem, write_new,
};
pub use gate::{Access, Gate, Gated, Rule};
pub use issue::{Host, IssueError, KeyPair, Signer, Subject, new_key, read_request, request};
pub use join_token::{JoinToken, JoinTokenError};
pub use moment::WallSource;
pub use peer::{Connection, PeerIdentity, Proof};
pub use problem::CertificateProblem;
pub use rustls::pki_types::CertificateDer;
