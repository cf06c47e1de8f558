//! The messages and services between processes, and their conversions from and to domain types.
//! Wire types stay at the edge: whoever receives one converts it before looking at it.
//!
//! `v1::X::from(&x)` makes the wire form of `x`, `X::try_from(wire)` reads it back, or says with a
//! [`WireError`] which field has no meaning. [`transport`] sets connections up.

mod error;
mod ids;
mod parts;
mod report;
mod spec;
mod task;
pub mod transport;

pub use error::{WireError, invalid, required};
pub use report::{counters_from_wire, counters_to_wire};

/// The version of the messages. A master serves workers and clients of its own version only;
/// fields may be added without raising it, if a peer that does not know them does no harm.
pub const WIRE_VERSION: u32 = 3;

/// The generated messages and services, package `gristmill.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("gristmill.v1");
}

/// Sends `value` through the bytes of its message `M` and back.
#[cfg(test)]
fn round_trip<M, T>(value: &T)
where
    M: prost::Message + Default + for<'a> From<&'a T>,
    T: TryFrom<M, Error = WireError> + PartialEq + std::fmt::Debug,
{
    let bytes = M::from(value).encode_to_vec();
    let wire = M::decode(bytes.as_slice()).expect("just encoded");
    assert_eq!(&T::try_from(wire).expect("just converted"), value);
}
