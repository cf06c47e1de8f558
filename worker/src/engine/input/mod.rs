//! Reading a split: how the bytes of objects become blocks of whole records ([`PieceRecords`]).
//!
//! | file | responsibility |
//! |---|---|
//! | `open.rs` | the form of an object picks its reader |
//! | `source.rs` | what records are cut from |
//! | `plain.rs` | objects that are what they hold |
//! | `decoded.rs` | compressed objects |
//! | `piece.rs` | records cut from bytes |
//! | `columns.rs` | rows of files of columns |

mod columns;
mod decoded;
mod open;
mod piece;
mod plain;
mod source;
#[cfg(test)]
mod tests;

pub(super) use open::{PieceRecords, Reading, heading_of};
pub(super) use piece::{RawBlock, ReadBuffer};
