//! Parquet files: the type of their rows, and behind the feature `parquet` how files are read and written. Column by
//! column, without Arrow: what a job gets are [rows](super::row).
//!
//! | file | responsibility |
//! |---|---|
//! | `tree.rs` | the columns of a file as a tree, from its schema and to it |
//! | `source.rs` | an input object as what the `parquet` crate reads |
//! | `pages.rs` | the bound on the pages that are in memory |
//! | `column.rs` | the values of one column, a batch at a time |
//! | `read.rs` | files, row groups, and rows put together |
//! | `write.rs` | rows taken apart, and row groups written |
//! | `absent.rs` | what stands for `read.rs` and `write.rs` in a program without the feature |

#[cfg(not(feature = "parquet"))]
mod absent;
#[cfg(feature = "parquet")]
mod column;
#[cfg(feature = "parquet")]
mod pages;
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
use super::row::BadRow;
use crate::input::{Input, Provenance, Reading, RecordError};
use crate::size::ByteSize;

#[cfg(not(feature = "parquet"))]
pub use self::absent::{GroupRows, ParquetFile, ParquetWriter, compresses_with};
#[cfg(feature = "parquet")]
pub use self::read::{GroupRows, ParquetFile};
#[cfg(feature = "parquet")]
pub use self::write::{ParquetWriter, compresses_with};

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
    /// What they are stored in takes more memory than it may.
    #[error(
        "{}its pages, values and those of the columns before it take {bytes} or more, which is beyond three quarters of an \
         attempt's memory (raise --memory)",
        place(Some(*row_group), column.as_deref())
    )]
    Memory {
        /// Where, from 0 on.
        row_group: usize,
        /// In which column, if in one.
        column: Option<String>,
        /// What it takes.
        bytes: ByteSize,
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

/// Why rows cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteProblem {
    /// A value does not fit its column.
    #[error("column {column:?}: {reason}")]
    Value {
        /// The column.
        column: String,
        /// What is wrong.
        reason: String,
    },
    /// What should be rows is none.
    #[error(transparent)]
    Row(#[from] BadRow),
    /// The columns or the file cannot be.
    #[error("cannot write a Parquet file: {reason}")]
    File {
        /// Why not.
        reason: String,
    },
}

/// Which columns of a file are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// Those of these names that there are, in this order.
    Named(Vec<String>),
}

/// What rows become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowForm {
    /// [Rows](super::row): of named columns their values, and of all columns one struct.
    Rows,
    /// Text, each row ended by these bytes: the values of the only column, if it is one of strings or bytes, and
    /// otherwise JSON objects.
    Text {
        /// What ends a row.
        end: Vec<u8>,
        /// Whether even the values of an only column are in objects.
        objects: bool,
        /// Whether line ends in quotes end no row.
        quoted: bool,
    },
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
