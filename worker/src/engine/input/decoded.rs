//! Compressed objects. What a piece of one is, where the records go that cross the border of two blocks,
//! and what names them is decided here; see `docs/adr/0017-pieces-of-compressed-objects.md`.
//!
//! Of an object that is cut, a piece has the blocks (or frames) that begin in its range of stored bytes.
//! With `p` and `q` the positions in the content at which its first block and the first one of the next
//! piece begin, and `L` the bytes that the line rule looks at before a record, the piece has the records
//! that begin in `[p + L, q + L)`, and the first piece of the object also those before. So each piece finds
//! its first record without a look at the blocks before.

use std::collections::VecDeque;

use gristmill_common::compression::{Decoded, Frames, SeekTable, Step};
use gristmill_common::content::damaged;
use gristmill_common::failure::Failure;
use gristmill_common::form::Codec;
use gristmill_common::input::Framing;
use gristmill_common::objects::OpenObject;
use gristmill_common::record_offset::RecordOffset;
use gristmill_common::task::{InputObject, Piece};

use super::source::Source;

/// Bytes given behind a piece's last block in search of its last record's end, before more is.
const TAIL_BYTES: u64 = 4 << 10;

/// The least bytes between places from which offsets count. Nearer ones would only be more to remember;
/// such blocks hold so little that the place in what follows them has room in an offset.
const MARK_BYTES: u64 = 64 << 10;

/// The content of a piece.
pub(super) struct DecodedSource<'a> {
    object: &'a InputObject,
    decoded: Decoded<'a>,
    /// The position of what is decoded next.
    at: u64,
    begin: u64,
    own_from: u64,
    /// Blocks that begin here or behind belong to later pieces.
    stored_end: u64,
    /// What is added to the position of the next piece's first block: `L`.
    look_behind: u64,
    end: Option<u64>,
    /// What a table says of the first frame of the next piece.
    expected: Option<(u64, u64)>,
    /// Where blocks begin: position, and offset in the object. Only if positions do not count from the
    /// content's beginning.
    marks: Option<VecDeque<(u64, u64)>>,
    is_at_end: bool,
    /// Said once what was decoded before has been given.
    failure: Option<Failure>,
}

/// How objects are decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decoding {
    pub(super) codec: Codec,
    /// The most memory that an object may ask for.
    pub(super) memory: u64,
}

impl<'a> DecodedSource<'a> {
    /// The content of a piece; `None` if no record begins in it.
    pub(super) fn open(
        open: &'a dyn OpenObject,
        piece: &'a Piece,
        framing: Framing<'_>,
        how: Decoding,
    ) -> Result<Option<Self>, Failure> {
        let object = &*piece.object;
        let is_whole = piece.start == 0 && piece.end >= object.size;
        let whole = || Self::whole(object, Decoded::whole(how.codec, open, object, how.memory));
        match (how.codec, framing) {
            _ if is_whole => Ok(Some(whole())),
            // The first piece has all records.
            _ if !framing.is_splittable() => Ok((piece.start == 0).then(whole)),
            // Nobody knows how many records of one length come before a block.
            (Codec::Bzip2, Framing::Text(rule)) => Self::bzip2(open, piece, rule.look_behind() as u64, how),
            (Codec::Zstd, framing) => Self::zstd(open, piece, framing, how),
            // The first piece has all records.
            _ => Ok((piece.start == 0).then(whole)),
        }
    }

    fn whole(object: &'a InputObject, decoded: Decoded<'a>) -> Self {
        Self {
            object,
            decoded,
            at: 0,
            begin: 0,
            own_from: 0,
            stored_end: u64::MAX,
            look_behind: 0,
            end: None,
            expected: None,
            marks: None,
            is_at_end: false,
            failure: None,
        }
    }

    fn bzip2(
        open: &'a dyn OpenObject,
        piece: &'a Piece,
        look_behind: u64,
        how: Decoding,
    ) -> Result<Option<Self>, Failure> {
        let (object, stored_end) = (&*piece.object, piece.end);
        if piece.start == 0 {
            let decoded = Decoded::whole(how.codec, open, object, how.memory);
            return Ok(Some(Self { stored_end, look_behind, ..Self::whole(object, decoded) }));
        }
        let decoded = Decoded::bzip2_in(open, object, piece.start..piece.end)?;
        Ok(decoded.map(|decoded| Self {
            own_from: look_behind,
            stored_end,
            look_behind,
            marks: Some(VecDeque::new()),
            ..Self::whole(object, decoded)
        }))
    }

    fn zstd(
        open: &'a dyn OpenObject,
        piece: &'a Piece,
        framing: Framing<'_>,
        how: Decoding,
    ) -> Result<Option<Self>, Failure> {
        let object = &*piece.object;
        let Some(table) = SeekTable::find(object, open)? else {
            let decoded = || Decoded::whole(how.codec, open, object, how.memory);
            return Ok((piece.start == 0).then(|| Self::whole(object, decoded())));
        };
        let Some(Frames { first, next }) = table.frames(object, open, piece.start..piece.end)? else {
            return Self::without_frames(open, piece, &table, how);
        };
        // At least one, so that every piece but the last reads a byte of the next one's first frame, and with it
        // finds out whether that begins where the table says.
        let look_behind = if let Framing::Text(rule) = framing { rule.look_behind() as u64 } else { 1 };
        let decoded = if piece.start == 0 {
            Decoded::whole(how.codec, open, object, how.memory)
        } else {
            Decoded::zstd_from(open, object, first.0, piece.end, how.memory)
        };
        let own_from = if piece.start == 0 { 0 } else { first.1 + look_behind };
        Ok(Some(Self {
            at: first.1,
            begin: first.1,
            own_from,
            stored_end: piece.end,
            look_behind,
            end: Some(next.1 + look_behind),
            expected: Some(next),
            ..Self::whole(object, decoded)
        }))
    }

    /// A piece in which no frame begins, or whose object has a table that does not tell of all frames.
    fn without_frames(
        open: &'a dyn OpenObject,
        piece: &'a Piece,
        table: &SeekTable,
        how: Decoding,
    ) -> Result<Option<Self>, Failure> {
        let object = &*piece.object;
        if piece.start > 0 || table.is_whole(object, open)? {
            return Ok(None);
        }
        Ok(Some(Self::whole(object, Decoded::whole(how.codec, open, object, how.memory))))
    }

    /// Takes note that a block begins here.
    fn begin_block(&mut self, offset: u64) -> Result<(), Failure> {
        if let Some(marks) = &mut self.marks
            && marks.back().is_none_or(|(last, _)| last + MARK_BYTES <= self.at)
        {
            marks.push_back((self.at, offset));
        }
        if offset < self.stored_end {
            return Ok(());
        }
        if self.expected.take().is_some_and(|expected| expected != (offset, self.at)) {
            return Err(self.lying_table());
        }
        self.end.get_or_insert(self.at + self.look_behind);
        Ok(())
    }

    /// The content went on behind the place at which the next piece's first frame was to begin, or ended
    /// elsewhere.
    #[cold]
    fn lying_table(&self) -> Failure {
        let uri = &self.object.uri;
        let message = format!("cannot read input {uri} as zstd: its table of frames does not tell where they begin");
        damaged(self.object, self.decoded.stored_offset(), &message)
    }

    /// How many bytes are to be given now.
    fn wanted(&self, room: usize) -> usize {
        match self.end {
            // Few records are longer than this.
            Some(end) if self.at < end + TAIL_BYTES => (end + TAIL_BYTES - self.at).min(room as u64) as usize,
            _ => room,
        }
    }

    fn read_on(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let wanted = self.wanted(into.len());
        let mut got = 0;
        while got < wanted {
            match self.decoded.next(&mut into[got..wanted]) {
                Ok(Step::Bytes(bytes)) => {
                    got += bytes;
                    self.at += bytes as u64;
                    if self.expected.is_some_and(|(_, position)| self.at > position) {
                        return Err(self.lying_table());
                    }
                }
                Ok(Step::Unit(offset)) => {
                    let was_known = self.end.is_some();
                    self.begin_block(offset)?;
                    if !was_known && self.end.is_some() && got > 0 {
                        break;
                    }
                }
                Ok(Step::End) => {
                    if self.expected.take().is_some_and(|(_, position)| self.at != position) {
                        return Err(self.lying_table());
                    }
                    self.is_at_end = true;
                    break;
                }
                Err(failure) if got > 0 => {
                    self.failure = Some(failure);
                    break;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(got)
    }
}

impl Source for DecodedSource<'_> {
    fn begin(&self) -> u64 {
        self.begin
    }

    fn own_from(&self) -> u64 {
        self.own_from
    }

    fn end(&self) -> Option<u64> {
        self.end
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        if self.is_at_end {
            return Ok(0);
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.read_on(into),
        }
    }

    fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    fn offset_at(&mut self, position: u64) -> u64 {
        let Some(marks) = &mut self.marks else { return RecordOffset::Content(position).bits() };
        while marks.get(1).is_some_and(|(next, _)| *next <= position) {
            marks.pop_front();
        }
        let (from, block) = marks.front().copied().unwrap_or((0, 0));
        RecordOffset::Block { block, place: position.saturating_sub(from) }.bits()
    }

    fn next_mark(&self, position: u64) -> Option<u64> {
        self.marks.as_ref()?.iter().map(|(mark, _)| *mark).find(|mark| *mark > position)
    }

    fn stored_offset(&self) -> u64 {
        self.decoded.stored_offset()
    }

    fn memory(&self) -> usize {
        self.decoded.memory()
    }
}
