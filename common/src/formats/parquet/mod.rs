//! Parquet files: the type of their rows, and behind the feature `parquet` how files are read and written. Column by
//! column, without Arrow: what a job gets are [rows](super::row).
//!
//! | file | responsibility |
//! |---|---|
//! | `tree.rs` | the columns of a file as a tree, from its schema and to it |
//! | `source.rs` | an input object as what the `parquet` crate reads |
//! | `column.rs` | the values of one column, a batch at a time |
//! | `read.rs` | files, row groups, and rows put together |
//! | `write.rs` | rows taken apart, and row groups written |

#[cfg(feature = "parquet")]
mod column;
#[cfg(feature = "parquet")]
mod read;
#[cfg(feature = "parquet")]
mod source;
#[cfg(all(test, feature = "parquet"))]
mod tests;
#[cfg(feature = "parquet")]
mod tree;
#[cfg(feature = "parquet")]
mod write;

use std::io;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::de::from_row;
use super::delimited::columns_of;
use crate::input::{Input, Provenance, Reading, RecordError};

#[cfg(feature = "parquet")]
pub use self::read::{GroupRows, ParquetFile, RowForm, Wanted};
#[cfg(feature = "parquet")]
pub use self::write::{ParquetWriter, WriteProblem, compresses_with};

/// Why a Parquet file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ParquetProblem {
    /// Its bytes cannot be had.
    #[error(transparent)]
    Object(#[from] io::Error),
    /// They are no such file, damaged, or of a kind that is not known here.
    #[error("{}{reason}", place(*row_group, column.as_deref()))]
    Damaged {
        /// Where, from 0 on, if in a row group.
        row_group: Option<usize>,
        /// In which column, if in one.
        column: Option<String>,
        /// What is wrong.
        reason: String,
    },
}

fn place(row_group: Option<usize>, column: Option<&str>) -> String {
    let row_group = row_group.map(|number| format!("row group {number}"));
    let column = column.map(|name| format!("column {name:?}"));
    match (row_group, column) {
        (None, None) => String::new(),
        (Some(one), None) | (None, Some(one)) => format!("{one}: "),
        (Some(row_group), Some(column)) => format!("{row_group}, {column}: "),
    }
}

/// The place of a row among the records of its object, for messages and for what is skipped: the bytes of the rows
/// before it in its row group, as they are read, and which row group.
///
/// | bits | what |
/// |---|---|
/// | 63 | 0 |
/// | 62 | 1, which no offset in a file is |
/// | 61 to 40 | the row group |
/// | 39 to 0 | the bytes |
pub fn row_offset(row_group: usize, bytes: u64) -> u64 {
    OFFSET_MARK | (row_group as u64).min((1 << 22) - 1) << 40 | bytes.min((1 << 40) - 1)
}

const OFFSET_MARK: u64 = 1 << 62;

/// Row group and bytes, if this is the place of a row.
pub fn place_of_offset(offset: u64) -> Option<(usize, u64)> {
    (offset >> 62 == 1).then_some(((offset >> 40 & ((1 << 22) - 1)) as usize, offset & ((1 << 40) - 1)))
}

/// Rows of Parquet files as values of `T`: as an input, what `T`'s `Deserialize` makes of each, as an output, what its
/// `Serialize` does.
///
/// Only the columns that are fields of `T` are read, by name. Null is `None`. Exact decimals are best taken as
/// [`Fixed`](super::Fixed) and times as [`Date`](super::Date) and [`Instant`](super::Instant); they may also be had as
/// text, and as the numbers that they are. Lists are a `Vec`, nested columns a struct. As an output, `T` tells the
/// columns: see [`schema_of`](super::schema_of).
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct LineItem {
///     l_orderkey: i64,
///     l_shipdate: Date,
///     l_extendedprice: Fixed<15, 2>,
/// }
///
/// /// The items that were shipped in a year.
/// struct ShippedIn(std::ops::Range<Date>);
///
/// impl MapOnly for ShippedIn {
///     type Input = Parquet<LineItem>;
///     type Output = Parquet<LineItem>;
///
///     fn map(&self, item: LineItem, out: &mut impl Sink<LineItem>) -> Result<()> {
///         if self.0.contains(&item.l_shipdate) { out.put(item, ()) } else { Ok(()) }
///     }
/// }
/// ```
pub struct Parquet<T>(PhantomData<fn() -> T>);

impl<T: DeserializeOwned + 'static> Input for Parquet<T> {
    type Record<'a> = T;

    fn decode<'a>(bytes: &'a [u8], from: Provenance<'a>) -> Result<T, RecordError> {
        if !from.is_row {
            return Err(RecordError::new("the job reads Parquet files, and this is none"));
        }
        from_row(bytes).map_err(|error| RecordError::new(error.to_string()))
    }

    fn reading(_role: u32) -> Reading {
        Reading { heading: false, columns: columns_of::<T>() }
    }
}
