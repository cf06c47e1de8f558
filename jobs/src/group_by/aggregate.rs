//! What one entry of `--agg` asks for: how a row changes its state and how the state is written.

use std::cmp::Ordering;

use gristmill_common::prelude::*;

use super::cells::{Extreme, State};
use crate::table::{Decimal, Row, Table, write_field};

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
    pub(super) fn parse(text: &str, table: &Table) -> Result<Self, OptionError> {
        let of = |what: What, name: &str| Ok(Self { what, column: table.column(name)?, name: name.to_owned() });
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
                let order = self.number(field)?.cmp_value(*than);
                cells[0] = State::Count(u64::from(test.holds(order)));
            }
            What::Sum => cells[0] = State::sum(self.number(field)?),
            What::Mean => {
                cells[0] = State::sum(self.number(field)?);
                cells[1] = State::Count(1);
            }
            What::Extreme(which) => cells[0] = State::extreme(*which, field),
        }
        Ok(())
    }

    #[inline]
    fn number(&self, field: &[u8]) -> Result<Decimal> {
        Decimal::parse(field).ok_or_else(|| self.no_number(field))
    }

    #[cold]
    fn no_number(&self, field: &[u8]) -> JobError {
        let shown = field[..field.len().min(60)].escape_ascii();
        let reason =
            format!("column {:?} has \"{shown}\", which is no number (--null names text without a value)", self.name);
        RecordError { reason }.into()
    }

    /// Appends the result.
    pub(super) fn write(&self, cells: &[State], scale: u8, separator: u8, null: &[u8], out: &mut Vec<u8>) {
        match (&self.what, cells) {
            (What::Mean, [sum, State::Count(count)]) => match sum.total().and_then(|sum| sum.divided(*count, scale)) {
                Some(mean) => mean.write(out),
                None => write_field(null, separator, out),
            },
            (_, [State::Count(count)]) => <u64 as TextField>::write_text(count, out),
            (_, [state]) => match (state.total(), state.text()) {
                (Some(sum), _) => sum.write(out),
                (None, Some(text)) => write_field(text, separator, out),
                (None, None) => write_field(null, separator, out),
            },
            _ => write_field(null, separator, out),
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
