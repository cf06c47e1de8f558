//! The join against a right side in memory: loaded once in each process, by the first attempt that
//! needs it, and shared by all.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use gristmill_common::content::read_content;
use gristmill_common::failure::{Failure, FailureCode, InputPosition};
use gristmill_common::objects::{LocalObjects, ObjectReader};
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
    /// The most bytes that all objects may hold.
    most_bytes: u64,
    /// Set with the first attempt.
    reader: OnceLock<Arc<dyn ObjectReader>>,
    right: OnceLock<Result<RightRows, Failure>>,
}

impl LoadedJoin {
    pub(super) fn new(sides: Sides, objects: Vec<InputObject>, line_rule: LineRule, most_bytes: u64) -> Self {
        Self { sides, objects, line_rule, most_bytes, reader: OnceLock::new(), right: OnceLock::new() }
    }

    fn right(&self) -> Result<&RightRows> {
        Ok(self.right.get_or_init(|| self.load()).as_ref().map_err(Failure::clone)?)
    }

    fn load(&self) -> Result<RightRows, Failure> {
        let mut loaded = RightRows::default();
        let mut left = self.most_bytes;
        for object in &self.objects {
            left -= self.load_object(object, left, &mut loaded)?;
        }
        loaded.index();
        Ok(loaded)
    }

    /// Loads an object that holds at most `most` bytes; tells how many these are.
    fn load_object(&self, object: &InputObject, most: u64, loaded: &mut RightRows) -> Result<u64, Failure> {
        let reader = self.reader.get_or_init(LocalObjects::shared);
        let bytes = read_content(reader.as_ref(), object, None, most).map_err(|mut failure| {
            if failure.code == FailureCode::RecordTooLarge {
                failure.message.push_str(" (with --reducers both sides of the join are shuffled)");
            }
            failure
        })?;
        let name = object.uri.to_string();
        let position = AtomicU64::new(0);
        let start = self.line_rule.preamble(&bytes);
        let from = Provenance::new(&name, start as u64, RIGHT);
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
        })?;
        Ok(bytes.len() as u64)
    }

    fn join_row(&self, key: Option<&[u8]>, record: &[u8], out: &mut impl Sink<[u8], [u8]>) -> Result<()> {
        let right = self.right()?;
        let mut at = key.map_or(NONE, |key| right.first(key));
        if at == NONE && self.sides.how.keeps_left() {
            return out.put(record, &self.sides.no_right);
        }
        while at != NONE {
            let row = right.row(at);
            out.put(record, row.right)?;
            at = row.next;
        }
        Ok(())
    }
}

impl MapOnly for LoadedJoin {
    type Input = Lines;
    type Output = JoinedLines;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        self.reader.get_or_init(|| Arc::clone(task.objects()));
        Ok(None)
    }

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

/// Bytes of a row's header: the next row with the same key, the key's length, the row's length.
const HEADER_BYTES: usize = 12;

/// The rows of the right side by key: a hash table with open addressing over rows that lie in one
/// buffer, each behind its key. A look-up touches a slot and a row. At most some MiB, so positions
/// have 32 bits.
#[derive(Debug, Default)]
struct RightRows {
    bytes: Vec<u8>,
    /// Where each row begins, until they are indexed.
    begins: Vec<u32>,
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The upper half of the key's hash.
    tag: u32,
    /// Where the first row of the key begins, or [`NONE`].
    first: u32,
}

/// A row found.
#[derive(Debug, Clone, Copy)]
struct RightRow<'a> {
    key: &'a [u8],
    right: &'a [u8],
    next: u32,
}

impl RightRows {
    fn push(&mut self, key: &[u8], right: &[u8]) {
        let position = |len: usize| u32::try_from(len).expect("only a small right side is loaded");
        self.begins.push(position(self.bytes.len()));
        for header in [NONE, position(key.len()), position(right.len())] {
            self.bytes.extend_from_slice(&header.to_le_bytes());
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(right);
    }

    /// Makes the rows findable. The last row goes in first, so that rows of a key are in order.
    fn index(&mut self) {
        self.slots = vec![Slot { tag: 0, first: NONE }; (self.begins.len() * 2).next_power_of_two()];
        for begin in std::mem::take(&mut self.begins).into_iter().rev() {
            let (tag, at) = self.slot(self.row(begin).key);
            let next = std::mem::replace(&mut self.slots[at], Slot { tag, first: begin }).first;
            self.bytes[begin as usize..][..4].copy_from_slice(&next.to_le_bytes());
        }
    }

    /// The row that begins here.
    #[inline]
    fn row(&self, begin: u32) -> RightRow<'_> {
        let row = &self.bytes[begin as usize..];
        let header = |index: usize| u32::from_le_bytes([row[index], row[index + 1], row[index + 2], row[index + 3]]);
        let (key, rest) = row[HEADER_BYTES..].split_at(header(4) as usize);
        RightRow { key, right: &rest[..header(8) as usize], next: header(0) }
    }

    /// Where the first row of a key begins, or [`NONE`].
    #[inline]
    fn first(&self, key: &[u8]) -> u32 {
        self.slots[self.slot(key).1].first
    }

    /// A key's tag and where it is, or belongs.
    #[inline]
    fn slot(&self, key: &[u8]) -> (u32, usize) {
        let mask = self.slots.len() - 1;
        let hash = xxh3_64(key);
        let tag = (hash >> 32) as u32;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.first == NONE || (slot.tag == tag && self.row(slot.first).key == key) {
                return (tag, at);
            }
            at = (at + 1) & mask;
        }
    }
}
