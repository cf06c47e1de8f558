//! What the rows of either side of a join are: their key, and what of them is written. Decides nothing
//! about how partners meet.

use gristmill_common::prelude::*;

use super::How;
use crate::table::{Row, Rows, Table};

/// Both sides of a join.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) how: How,
    pub(super) left: Side,
    pub(super) right: Side,
    /// Right columns that are written: places among those read.
    right_written: Vec<usize>,
    /// What stands for the right columns of a left row without a partner.
    pub(super) no_right: Vec<u8>,
    null: Vec<u8>,
    header: Option<Vec<u8>>,
}

/// One side.
#[derive(Debug)]
pub(super) struct Side {
    table: Table,
    /// The columns read, ascending.
    wanted: Vec<usize>,
    /// The key's columns in the order of `--on`, as places among those read.
    key: Vec<usize>,
}

impl Sides {
    pub(super) fn new(
        mut left: Table,
        mut right: Table,
        on: &[String],
        how: How,
        null: &[u8],
        header: bool,
    ) -> Result<Self, OptionError> {
        let names: Vec<(&str, &str)> = on.iter().map(|on| on.split_once('=').unwrap_or((on, on))).collect();
        let of_side = |side: &str, error: OptionError| OptionError::new(format!("{side} side: {}", error.message));
        let columns = |names: &mut dyn Iterator<Item = &str>, table: &mut Table, side: &str| {
            names
                .map(|name| table.column(name))
                .collect::<Result<Vec<usize>, _>>()
                .map_err(|error| of_side(side, error))
        };
        if left.columns.is_empty() {
            // An empty left side names no columns, but right rows without a partner have its key's.
            for (name, _) in &names {
                if !left.columns.iter().any(|column| column == name) {
                    left.columns.push((*name).to_owned());
                }
            }
        }
        let left_key = columns(&mut names.iter().map(|(left, _)| *left), &mut left, "left")?;
        let right_key = columns(&mut names.iter().map(|(_, right)| *right), &mut right, "right")?;
        let dialect = left.dialect;
        let right_written: Vec<usize> = (0..right.columns.len()).filter(|column| !right_key.contains(column)).collect();
        let header = header.then(|| {
            let mut line = Vec::new();
            let right_names = right_written.iter().map(|&column| &right.columns[column]);
            dialect.write_fields(left.columns.iter().chain(right_names).map(String::as_bytes), &mut line);
            line.push(b'\n');
            line
        });
        let mut no_right = Vec::new();
        for _ in &right_written {
            no_right.push(dialect.separator);
            dialect.write_field(null, &mut no_right);
        }
        let mut wanted = left_key.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let left = Side::new(left, wanted, &left_key);
        let all = (0..right.columns.len()).collect();
        let right = Side::new(right, all, &right_key);
        Ok(Self { how, left, right, right_written, no_right, null: null.to_vec(), header })
    }

    /// What parts begin with.
    pub(super) fn header(&self) -> &[u8] {
        self.header.as_deref().unwrap_or_default()
    }

    /// Appends what is written of a right row: each column that is not in the key, behind a separator.
    pub(super) fn write_right(&self, row: &Row<'_>, out: &mut Vec<u8>) {
        let dialect = self.right.table.dialect;
        for &place in &self.right_written {
            out.push(dialect.separator);
            dialect.write_field(row.field(place), out);
        }
    }

    /// Appends the left columns of a right row without a partner: the key's, and no other values.
    pub(super) fn write_no_left(&self, row: &Row<'_>, out: &mut Vec<u8>) {
        let key_of = |column: usize| {
            let index = self.left.key.iter().position(|&place| self.left.wanted[place] == column)?;
            Some(row.field(self.right.key[index]))
        };
        let columns = 0..self.left.table.columns.len();
        self.left.table.dialect.write_fields(columns.map(|column| key_of(column).unwrap_or(&self.null)), out);
    }
}

impl Side {
    fn new(table: Table, wanted: Vec<usize>, key: &[usize]) -> Self {
        let place = |column: &usize| wanted.binary_search(column).unwrap_or_default();
        let key = key.iter().map(place).collect();
        Self { table, wanted, key }
    }

    /// A reader of this side's rows.
    pub(super) fn rows(&self) -> Rows<'_> {
        Rows::new(&self.table, &self.wanted)
    }

    /// The key of a row; `None` if a part of it has no value. Made in `room` where the row does not
    /// hold it as it is.
    #[inline]
    pub(super) fn key<'a>(&self, row: &Row<'a>, room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        if let [place] = *self.key {
            let field = row.field(place);
            return (!self.table.is_null(field)).then_some(field);
        }
        if self.key.iter().any(|&place| self.table.is_null(row.field(place))) {
            return None;
        }
        room.clear();
        self.table.dialect.write_fields(self.key.iter().map(|&place| row.field(place)), room);
        Some(room)
    }
}

/// A line of two pieces: a left row as it was read, and what follows it.
#[derive(Debug)]
pub(super) enum JoinedLines {}

impl Output for JoinedLines {
    type Key = [u8];
    type Value = [u8];

    #[inline]
    fn write(left: &&[u8], right: &&[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(left);
        out.extend_from_slice(right);
        out.push(b'\n');
    }
}
