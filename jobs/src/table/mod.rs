//! Delimited text as jobs read and write it. Knows rows, fields and columns, and nothing of what a
//! job does with them.
//!
//! | file | responsibility |
//! |---|---|
//! | `options.rs` | the flags that every job over tables has; which columns there are |
//! | `rows.rs` | the rows of a block, and the fields that are wanted of each |
//! | `fields.rs` | one record cut into fields by RFC 4180, and fields written |
//! | `decimal.rs` | exact decimal numbers |

mod decimal;
mod fields;
mod options;
mod rows;

pub(crate) use decimal::Decimal;
pub(crate) use fields::{write_field, write_fields};
pub(crate) use options::{Header, Table, TableOptions};
pub(crate) use rows::{Row, Rows};
