//! The join by a shuffle. Map tasks of the right side have the lower numbers, so in the canonical
//! order a key's right rows come before its left ones: they are kept, and left rows stream past them.

use gristmill_common::prelude::*;
use gristmill_common::size::ByteSize;

use super::RIGHT;
use super::sides::{JoinedLines, Sides};

/// The key of rows that have none. No other key is empty: a column's value is not, and several have a
/// separator between them.
const NO_KEY: &[u8] = b"";

/// Memory that a kept row takes besides its bytes.
const ROW_BYTES: usize = size_of::<(Vec<u8>, Vec<u8>)>();

#[derive(Debug)]
pub(super) struct ShuffledJoin {
    sides: Sides,
    group_bytes: u64,
}

impl ShuffledJoin {
    pub(super) fn new(sides: Sides, group_bytes: u64) -> Self {
        Self { sides, group_bytes }
    }

    fn too_many(&self, key: &[u8]) -> JobError {
        let key = key[..key.len().min(60)].escape_ascii();
        let most = ByteSize(self.group_bytes);
        JobError::new(format!(
            "the right side has more than {most} of rows with the key \"{key}\"; exchange the sides or raise --memory"
        ))
    }
}

impl MapReduce for ShuffledJoin {
    type Input = Located<Lines>;
    type Key = [u8];
    /// The role of a row and the row itself.
    type Value = Pair<u32, [u8]>;
    type Combine = NoCombine;
    type Output = JoinedLines;

    fn map(&self, (from, record): (Provenance<'_>, &[u8]), out: &mut impl Emit<[u8], Pair<u32, [u8]>>) -> Result<()> {
        let side = if from.role == RIGHT { &self.sides.right } else { &self.sides.left };
        let (mut rows, mut room) = (side.rows(), Vec::new());
        let row = rows.read(record)?;
        out.emit(side.key(&row, &mut room).unwrap_or(NO_KEY), (from.role, record))
    }

    fn map_block(
        &self,
        block: &mut Block<'_, Located<Lines>>,
        out: &mut impl Emit<[u8], Pair<u32, [u8]>>,
    ) -> Result<()> {
        let role = block.provenance().role;
        let (side, keeps) = match role {
            RIGHT => (&self.sides.right, self.sides.how.keeps_right()),
            _ => (&self.sides.left, self.sides.how.keeps_left()),
        };
        let mut room = Vec::new();
        side.rows().for_each(block, |row| match side.key(row, &mut room) {
            Some(key) => out.emit(key, (role, row.record)),
            None if keeps => out.emit(NO_KEY, (role, row.record)),
            None => Ok(()),
        })
    }

    fn reduce(&self, key: &[u8], mut values: Values<Pair<u32, [u8]>>, out: &mut impl Sink<[u8], [u8]>) -> Result<()> {
        let sides = &self.sides;
        // For each right row what it adds to a left one, and the left columns it has without one.
        let mut kept: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut kept_bytes = 0;
        let mut any_left = false;
        let mut rows = sides.right.rows();
        while let Some((role, record)) = values.next_ref() {
            if role != RIGHT {
                any_left = true;
                if kept.is_empty() {
                    if sides.how.keeps_left() {
                        out.put(record, &sides.no_right)?;
                    }
                    continue;
                }
                for (right, _) in &kept {
                    out.put(record, right)?;
                }
                continue;
            }
            assert!(!any_left, "a key's right rows come before its left ones");
            let row = rows.read(record)?;
            let (mut right, mut no_left) = (Vec::new(), Vec::new());
            sides.write_right(&row, &mut right);
            if sides.how.keeps_right() {
                sides.write_no_left(&row, &mut no_left);
            }
            if key == NO_KEY {
                out.put(&no_left, &right)?;
                continue;
            }
            kept_bytes += right.capacity() + no_left.capacity() + ROW_BYTES;
            if kept_bytes as u64 > self.group_bytes {
                return Err(self.too_many(key));
            }
            kept.push((right, no_left));
        }
        if !any_left && sides.how.keeps_right() {
            for (right, no_left) in &kept {
                out.put(no_left, right)?;
            }
        }
        Ok(())
    }

    fn begin_part(&self, part: &mut Vec<u8>) {
        part.extend_from_slice(self.sides.header());
    }
}
