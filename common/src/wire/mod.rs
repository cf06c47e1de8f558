//! The messages and services between processes, and their conversions from and to domain types.
//! Wire types stay at the edge: whoever receives one converts it before looking at it.

/// The generated messages and services, package `gristmill.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("gristmill.v1");
}
