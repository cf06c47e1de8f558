//! Certificates, and connections that they protect. Who somebody is follows from a certificate of the
//! cluster's own authority; what they may do is decided elsewhere.

mod peer;
mod problem;

pub use peer::{Connection, PeerIdentity, Proof};
pub use problem::CertificateProblem;
