//! Reading a split: how the bytes of objects become blocks of whole records ([`PieceReader`]).

mod piece;
#[cfg(test)]
mod tests;

pub(super) use piece::{PieceReader, ReadBuffer};
