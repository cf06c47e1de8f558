//! What one entry of `--agg` asks for: how a row changes its state and how the state is written.

use std::cmp::Ordering;
use std::num::NonZeroU64;

use gristmill_common::formats::schema::{Kind, MAX_PRECISION};
use gristmill_common::prelude::*;

use super::cells::{Extreme, State};
use crate::table::{Decimal, FormatOptions, Quotient, Row, Table};

/// One result of a group.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    what: What,
    /// The column, and once the columns to read are known, the place among them. Unused for rows.
    column: usize,
    name: String,
}

#[derive(Debug, Clone)]
enum What {
    Rows,
    Present,
    Where { test: Test, than: Decimal },
    Sum,
    Mean,
    Extreme(Extreme),
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Less,
    AtMost,
    Equal,
    Different,
    AtLeast,
    Greater,
}

/// Longer signs before their beginnings.
const TESTS: [(&str, Test); 6] = [
    (">=", Test::AtLeast),
    ("<=", Test::AtMost),
    ("!=", Test::Different),
    (">", Test::Greater),
    ("<", Test::Less),
    ("=", Test::Equal),
];

impl Aggregate {
    /// Reads an entry of `--agg`.
    pub(super) fn parse(text: &str, table: &mut Table) -> Result<Self, OptionError> {
        let mut of = |what: What, name: &str| Ok(Self { what, column: table.column(name)?, name: name.to_owned() });
        match text.split_once(':') {
            None if text == "count" => Ok(Self { what: What::Rows, column: 0, name: String::new() }),
            Some(("count", rest)) => {
                match TESTS.iter().find_map(|&(sign, test)| Some((rest.split_once(sign)?, test))) {
                    None => of(What::Present, rest),
                    Some(((name, than), test)) => {
                        let than = Decimal::parse(than.as_bytes())
                            .ok_or_else(|| OptionError::new(format!("--agg {text}: {than:?} is not a number")))?;
                        of(What::Where { test, than }, name)
                    }
                }
            }
            Some(("sum", name)) => of(What::Sum, name),
            Some(("mean", name)) => of(What::Mean, name),
            Some(("min", name)) => of(What::Extreme(Extreme::Least), name),
            Some(("max", name)) => of(What::Extreme(Extreme::Greatest), name),
            _ => Err(OptionError::new(format!(
                "--agg does not know {text:?} (known: count, count:COL, count:COL>0, sum:COL, mean:COL, min:COL, max:COL)"
            ))),
        }
    }

    /// Cells of state: a mean has a sum and a count.
    #[inline]
    pub(super) fn cells(&self) -> usize {
        if matches!(self.what, What::Mean) { 2 } else { 1 }
    }

    /// The name of the column read, if one is.
    pub(super) fn name(&self) -> Option<&str> {
        (!matches!(self.what, What::Rows)).then_some(self.name.as_str())
    }

    /// What its results are in formats with types: of an extreme, what its column has.
    pub(super) fn kind(&self, table: &FormatOptions, scale: u8) -> Kind {
        let own = table.kind(&self.name);
        let exact = |scale: u8| Kind::Decimal { precision: MAX_PRECISION, scale };
        match (&self.what, own) {
            (What::Rows | What::Present | What::Where { .. }, _) => Kind::Int(64),
            (What::Sum, Some(Kind::Int(_) | Kind::Uint(_))) => exact(0),
            (What::Sum, Some(Kind::Decimal { scale, .. })) => exact(*scale),
            (What::Sum | What::Mean, _) => exact(scale),
            (What::Extreme(_), own) => own.cloned().unwrap_or(Kind::String),
        }
    }

    /// The column read, if one is.
    pub(super) fn column(&self) -> Option<usize> {
        (!matches!(self.what, What::Rows)).then_some(self.column)
    }

    /// Replaces the column by its place among those read.
    pub(super) fn read_from(&mut self, place: impl Fn(usize) -> usize) {
        if let Some(column) = self.column() {
            self.column = place(column);
        }
    }

    /// The state after one row.
    #[inline]
    pub(super) fn take(&self, row: &Row<'_>, table: &Table, cells: &mut [State]) -> Result<()> {
        if let What::Rows = self.what {
            cells[0] = State::Count(1);
            return Ok(());
        }
        let field = row.field(self.column);
        if table.is_null(field) {
            if !matches!(self.what, What::Sum | What::Mean | What::Extreme(_)) {
                cells[0] = State::Count(0);
            }
            return Ok(());
        }
        match &self.what {
            What::Rows | What::Present => cells[0] = State::Count(1),
            What::Where { test, than } => {
                let order = table.number(field, &self.name)?.cmp_value(*than);
                cells[0] = State::Count(u64::from(test.holds(order)));
            }
            What::Sum => cells[0] = State::sum(table.number(field, &self.name)?),
            What::Mean => {
                cells[0] = State::sum(table.number(field, &self.name)?);
                cells[1] = State::Count(1);
            }
            What::Extreme(which) => cells[0] = State::extreme(*which, field),
        }
        Ok(())
    }

    /// Appends the result; a text of the input is written by `text`, as are results that there are not.
    pub(super) fn write(&self, cells: &[State], scale: u8, text: impl Fn(&[u8], &mut Vec<u8>), out: &mut Vec<u8>) {
        match (&self.what, cells) {
            (What::Mean, [sum, State::Count(count)]) => match (sum.total(), NonZeroU64::new(*count)) {
                (Some(sum), Some(count)) => Quotient::of(sum, count, scale).write(out),
                _ => text(b"", out),
            },
            (_, [State::Count(count)]) => <u64 as TextField>::write_text(count, out),
            (_, [state]) => match state.total() {
                Some(sum) => sum.write(out),
                None => text(state.text().unwrap_or_default(), out),
            },
            _ => text(b"", out),
        }
    }
}

impl Test {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Test::Less => order.is_lt(),
            Test::AtMost => order.is_le(),
            Test::Equal => order.is_eq(),
            Test::Different => order.is_ne(),
            Test::AtLeast => order.is_ge(),
            Test::Greater => order.is_gt(),
        }
    }
}
