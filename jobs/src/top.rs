//! `top`: the rows of a table with the greatest (or smallest) values of a column, in ranking order.
//! Rows of equal values are ranked by their bytes, so the answer is the same however rows are divided
//! among tasks. Every block of rows gives at most as many as are asked for, and so does every map
//! attempt; one reduce task ranks what is left.

use std::cmp::Ordering;

use clap::Args;
use gristmill_common::codec::{self, EncodeError};
use gristmill_common::prelude::*;
use gristmill_common::spec::JobSpec;
use serde::{Deserialize, Serialize};

use crate::table::{Decimal, FormatOptions, Rows, Table, TableLines};

/// Writes the rows of a table with the greatest values of a column, in order
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// Column of numbers; rows without a value in it are left out, equal ones are ranked by their bytes
    #[arg(long, value_name = "NAME")]
    by: String,

    /// How many rows, at most 1000000
    #[arg(short, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    k: u32,

    /// Rank the smallest values first instead of the greatest
    #[arg(long)]
    #[serde(default)]
    ascending: bool,

    #[command(flatten)]
    table: FormatOptions,
}

impl Program for Top {
    fn looks_at_inputs(&self) -> bool {
        self.table.looks()
    }

    fn look(&mut self, _spec: &JobSpec, inputs: &[InputSample]) -> Result<(), OptionError> {
        self.table.look(inputs)
    }

    fn reducers(&self) -> Option<u32> {
        Some(1)
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        let mut table = self.table.table()?;
        let wanted = [table.column(&self.by)?];
        let header = self.table.writes_header(self.table.format())?.then(|| {
            let mut line = Vec::new();
            table.dialect.write_fields(table.columns.iter().map(String::as_bytes), &mut line);
            line.push(b'\n');
            line
        });
        let ranking = Ranking { count: self.k, ascending: self.ascending };
        Ok(visitor.map_reduce(TopRows { table, wanted, by: self.by, ranking, header }))
    }
}

#[derive(Debug)]
struct TopRows {
    table: Table,
    wanted: [usize; 1],
    by: String,
    ranking: Ranking,
    header: Option<Vec<u8>>,
}

/// Which rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Ranking {
    count: u32,
    ascending: bool,
}

/// The best rows seen so far, with how they are ranked: a fold knows nothing but its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Best {
    ranking: Ranking,
    rows: Vec<Ranked>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ranked {
    value: Decimal,
    row: Vec<u8>,
}

impl TopRows {
    fn value(&self, field: &[u8]) -> Result<Option<Decimal>> {
        if self.table.is_null(field) {
            return Ok(None);
        }
        self.table.number(field, &self.by).map(Some)
    }
}

impl MapReduce for TopRows {
    type Input = TableLines;
    type Key = ();
    type Value = Best;
    type Combine = KeepBest;
    type Output = RowsAsRead;

    fn map(&self, record: &[u8], out: &mut impl Emit<(), Best>) -> Result<()> {
        let mut rows = Rows::new(&self.table, &self.wanted);
        let row = rows.read(record)?;
        match self.value(row.field(0))? {
            Some(value) => {
                out.emit((), Best { ranking: self.ranking, rows: vec![Ranked { value, row: record.to_vec() }] })
            }
            None => Ok(()),
        }
    }

    fn map_block(&self, block: &mut Block<'_, TableLines>, out: &mut impl Emit<(), Best>) -> Result<()> {
        let mut best = Best { ranking: self.ranking, rows: Vec::new() };
        Rows::new(&self.table, &self.wanted).for_each(block, |row| {
            if let Some(value) = self.value(row.field(0))? {
                best.offer(value, row.record);
            }
            Ok(())
        })?;
        best.shorten();
        if best.rows.is_empty() { Ok(()) } else { out.emit((), best) }
    }

    fn reduce(&self, (): (), mut values: Values<Best>, out: &mut impl Sink<[u8]>) -> Result<()> {
        let Some(mut best) = values.next() else { return Ok(()) };
        for more in values {
            best.add(more);
        }
        best.shorten();
        best.rows.iter().try_for_each(|ranked| out.put(&ranked.row, ()))
    }

    fn begin_part(&self, part: &mut Vec<u8>) {
        part.extend_from_slice(self.header.as_deref().unwrap_or_default());
    }
}

impl Ranking {
    /// Better rows are less; equal values are ranked by the bytes of their rows.
    fn compare(self, (a, a_row): (Decimal, &[u8]), (b, b_row): (Decimal, &[u8])) -> Ordering {
        let order = if self.ascending { a.cmp_value(b) } else { b.cmp_value(a) };
        order.then_with(|| a_row.cmp(b_row))
    }
}

impl Best {
    fn limit(&self) -> usize {
        self.ranking.count as usize
    }

    /// Takes a row in, unless enough of those here are known to be better.
    fn offer(&mut self, value: Decimal, row: &[u8]) {
        let limit = self.limit();
        // Sorted up to the limit whenever it was shortened; the last of them is the one to beat.
        if self.rows.len() >= limit {
            let last = &self.rows[limit - 1];
            if self.ranking.compare((last.value, &last.row), (value, row)).is_le() {
                return;
            }
        }
        self.rows.push(Ranked { value, row: row.to_vec() });
        if self.rows.len() == limit || self.rows.len() >= 2 * limit {
            self.shorten();
        }
    }

    fn add(&mut self, other: Best) {
        self.rows.extend(other.rows);
        if self.rows.len() >= 2 * self.limit() {
            self.shorten();
        }
    }

    /// Sorts the rows and drops those that are not among the best.
    fn shorten(&mut self) {
        let ranking = self.ranking;
        self.rows.sort_unstable_by(|a, b| ranking.compare((a.value, &a.row), (b.value, &b.row)));
        self.rows.truncate(self.limit());
    }
}

/// Lines as they were read, which alone do not tell their columns.
#[derive(Debug)]
enum RowsAsRead {}

impl Output for RowsAsRead {
    type Key = [u8];
    type Value = ();

    fn write(row: &&[u8], (): &(), out: &mut Vec<u8>) {
        out.extend_from_slice(row);
        out.push(b'\n');
    }
}

/// Keeps the best rows of several lists.
#[derive(Debug)]
enum KeepBest {}

impl Combine<Best> for KeepBest {
    type Acc = Best;

    fn start(value: Best) -> Best {
        value
    }

    fn fold(acc: &mut Best, value: Best) -> Result<(), FoldError> {
        acc.add(value);
        Ok(())
    }

    fn merge(acc: &mut Best, other: Best) -> Result<(), FoldError> {
        Self::fold(acc, other)
    }

    fn encode(acc: &Best, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut best = acc.clone();
        best.shorten();
        codec::encode(&best, out)
    }

    fn heap_bytes(acc: &Best) -> usize {
        acc.rows.capacity() * size_of::<Ranked>() + acc.rows.iter().map(|ranked| ranked.row.capacity()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{check_options, check_table, table_error};

    const ROWS: &[u8] = b"name,n\nb,2\na,2\n\"c,c\",10\nd,-1.5\ne,\nf,1e1\ng,2.0\n";

    #[test]
    fn rows_are_ranked_by_number_and_then_by_their_bytes() {
        let check = |flags: &[&str], expect: &[u8]| {
            check_table::<Top>(&[&["--by", "n"], flags].concat(), &[], &[("t", ROWS), ("u", b"name,n\nz,3\n")], expect);
        };
        check(&["-k", "1"], b"\"c,c\",10\n");
        check(&["-k", "4"], b"\"c,c\",10\nf,1e1\nz,3\na,2\n");
        check(&[], b"\"c,c\",10\nf,1e1\nz,3\na,2\nb,2\ng,2.0\nd,-1.5\n");
        check(&["-k", "2", "--ascending", "--header"], b"name,n\nd,-1.5\na,2\n");
        check_options::<Top>(&["--by", "n"]);
        let error = table_error::<Top>(&["--by", "n"], &[], &[("t", b"n\nx\n")]);
        assert_eq!(
            error,
            "column \"n\" has \"x\", which is no number of up to 38 digits (--null names text without a value)"
        );
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_row() {
        let rows = b"\xef\xbb\xbf5,a\n7,b\n";
        check_table::<Top>(&["--columns", "n,w", "--by", "n"], &[], &[("t", rows)], b"7,b\n5,a\n");
    }

    #[test]
    fn words_with_quotes_are_ranked_if_nothing_is_quoted() {
        let flags = ["--columns", "word,n", "--by", "n", "--separator", "\\t", "--no-quotes", "-k", "2"];
        check_table::<Top>(&flags, &[], &[("t", b"\"Oh\t7\na\t9\nno\"\t3\n")], b"a\t9\n\"Oh\t7\n");
        let error = table_error::<Top>(&["--by", "n", "--format", "json", "--no-quotes"], &[], &[("t", b"")]);
        assert_eq!(error, "--no-quotes is for delimited text: what JSON strings hold may need quotes");
    }

    #[test]
    fn objects_are_ranked_and_written_as_they_are() {
        let rows = b"{\"a\": {\"n\": 2.50}}\n{\"a\":{\"n\":\"11\"}}\n{\"a\":null}\n{\"a\":{\"n\":-3e0},\"z\":0}\n";
        let check = |flags: &[&str], expect: &[u8]| {
            check_table::<Top>(&[&["--by", "a.n"], flags].concat(), &[], &[("t.json", rows)], expect);
        };
        check(&["-k", "2"], b"{\"a\":{\"n\":\"11\"}}\n{\"a\": {\"n\": 2.50}}\n");
        check(&["-k", "1", "--ascending"], b"{\"a\":{\"n\":-3e0},\"z\":0}\n");
    }

    #[test]
    fn the_best_are_those_of_sorting_everything() {
        let values: Vec<i128> = (0..2000_i128).map(|n| n * 7919 % 1000).collect();
        for (count, ascending) in [(1, false), (7, true), (999, false), (5000, false)] {
            let ranking = Ranking { count, ascending };
            let mut best = Best { ranking, rows: vec![] };
            for chunk in values.chunks(300) {
                let mut part = Best { ranking, rows: vec![] };
                for &mantissa in chunk {
                    part.offer(Decimal { mantissa, scale: 1 }, mantissa.to_string().as_bytes());
                }
                KeepBest::fold(&mut best, part).expect("a list");
            }
            best.shorten();
            let mut expect = values.clone();
            expect.sort_unstable();
            if !ascending {
                expect.reverse();
            }
            expect.truncate(count as usize);
            assert_eq!(best.rows.iter().map(|ranked| ranked.value.mantissa).collect::<Vec<_>>(), expect, "{ranking:?}");
        }
    }
}
