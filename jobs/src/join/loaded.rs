//! The join against a right side in memory: loaded once in each process, by the first attempt that
//! needs it, and shared by all.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use gristmill_common::failure::{Failure, FailureCode, InputPosition};
use gristmill_common::pinned::read_pinned;
use gristmill_common::prelude::*;
use gristmill_common::task::InputObject;
use gristmill_common::text::LineRule;
use xxhash_rust::xxh3::xxh3_64;

use super::RIGHT;
use super::sides::{JoinedLines, Sides};

#[derive(Debug)]
pub(super) struct LoadedJoin {
    sides: Sides,
    objects: Vec<InputObject>,
    line_rule: LineRule,
    right: OnceLock<Result<RightRows, Failure>>,
}

impl LoadedJoin {
    pub(super) fn new(sides: Sides, objects: Vec<InputObject>, line_rule: LineRule) -> Self {
        Self { sides, objects, line_rule, right: OnceLock::new() }
    }

    fn right(&self) -> Result<&RightRows> {
        Ok(self.right.get_or_init(|| self.load()).as_ref().map_err(Failure::clone)?)
    }

    fn load(&self) -> Result<RightRows, Failure> {
        let mut loaded = RightRows::default();
        for object in &self.objects {
            self.load_object(object, &mut loaded)?;
        }
        loaded.index();
        Ok(loaded)
    }

    fn load_object(&self, object: &InputObject, loaded: &mut RightRows) -> Result<(), Failure> {
        let bytes = read_pinned(object)?;
        let name = object.uri.to_string();
        let position = AtomicU64::new(0);
        let start = self.line_rule.preamble(&bytes);
        let from = Provenance { object: &name, offset: start as u64, role: RIGHT };
        let mut block: Block<'_, Lines> =
            Block::new(&bytes[start..], &self.line_rule, from, &position).beginning_object();
        let (side, mut room, mut right) = (&self.sides.right, Vec::new(), Vec::new());
        let loading = side.rows().for_each(&mut block, |row| {
            if let Some(key) = side.key(row, &mut room) {
                right.clear();
                self.sides.write_right(row, &mut right);
                loaded.push(key, &right);
            }
            Ok(())
        });
        loading.map_err(|error| {
            let offset = position.load(std::sync::atomic::Ordering::Relaxed);
            let failure = Failure::new(FailureCode::BadRecord, format!("cannot read a record: {error}"));
            failure.at(InputPosition { object: name.clone(), offset })
        })
    }

    fn join_row(&self, key: Option<&[u8]>, record: &[u8], out: &mut impl Sink<[u8], [u8]>) -> Result<()> {
        let right = self.right()?;
        let mut at = key.map_or(NONE, |key| right.first(key));
        if at == NONE && self.sides.how.keeps_left() {
            return out.put(record, &self.sides.no_right);
        }
        while at != NONE {
            let row = &right.rows[at as usize];
            out.put(record, &right.bytes[row.key_end as usize..row.end as usize])?;
            at = row.next;
        }
        Ok(())
    }
}

impl MapOnly for LoadedJoin {
    type Input = Lines;
    type Output = JoinedLines;

    fn map(&self, record: &[u8], out: &mut impl Sink<[u8], [u8]>) -> Result<()> {
        let (mut rows, mut room) = (self.sides.left.rows(), Vec::new());
        let row = rows.read(record)?;
        self.join_row(self.sides.left.key(&row, &mut room), record, out)
    }

    fn map_block(&self, block: &mut Block<'_, Lines>, out: &mut impl Sink<[u8], [u8]>) -> Result<()> {
        // Loaded before a row is in hand: a failure is not that row's.
        self.right()?;
        let left = &self.sides.left;
        let mut room = Vec::new();
        left.rows().for_each(block, |row| self.join_row(left.key(row, &mut room), row.record, out))
    }

    fn begin_part(&self, part: &mut Vec<u8>) {
        part.extend_from_slice(self.sides.header());
    }
}

/// No row.
const NONE: u32 = u32::MAX;

/// The rows of the right side by key: a hash table with open addressing over rows that lie behind
/// their keys in one buffer. At most a few MiB, so positions have 32 bits.
#[derive(Debug, Default)]
struct RightRows {
    bytes: Vec<u8>,
    rows: Vec<RightRow>,
    /// The first row of each key.
    slots: Vec<u32>,
}

#[derive(Debug)]
struct RightRow {
    begin: u32,
    key_end: u32,
    end: u32,
    /// The next row with the same key.
    next: u32,
}

impl RightRows {
    fn push(&mut self, key: &[u8], right: &[u8]) {
        let position = |bytes: &Vec<u8>| u32::try_from(bytes.len()).expect("only a small right side is loaded");
        let begin = position(&self.bytes);
        self.bytes.extend_from_slice(key);
        let key_end = position(&self.bytes);
        self.bytes.extend_from_slice(right);
        self.rows.push(RightRow { begin, key_end, end: position(&self.bytes), next: NONE });
    }

    /// Makes the rows findable. The last row goes in first, so that rows of a key are in order.
    fn index(&mut self) {
        self.slots = vec![NONE; (self.rows.len() * 2).next_power_of_two()];
        for index in (0..self.rows.len()).rev() {
            let row = &self.rows[index];
            let slot = self.slot(&self.bytes[row.begin as usize..row.key_end as usize]);
            self.rows[index].next = std::mem::replace(&mut self.slots[slot], index as u32);
        }
    }

    /// The first row of a key, or [`NONE`].
    #[inline]
    fn first(&self, key: &[u8]) -> u32 {
        if self.rows.is_empty() { NONE } else { self.slots[self.slot(key)] }
    }

    /// Where a key is, or belongs.
    #[inline]
    fn slot(&self, key: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = xxh3_64(key) as usize & mask;
        loop {
            let first = self.slots[at];
            if first == NONE {
                return at;
            }
            let row = &self.rows[first as usize];
            if &self.bytes[row.begin as usize..row.key_end as usize] == key {
                return at;
            }
            at = (at + 1) & mask;
        }
    }
}
