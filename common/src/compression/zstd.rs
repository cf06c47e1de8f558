//! Zstandard (RFC 8878): any number of frames, skippable ones among them. Each frame is a unit.

use zstd::stream::raw::{DParameter, Decoder as Frame, Operation as _};

use super::stored::StoredBytes;
use super::{Decoder, Step, Trouble};

/// What a frame begins with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The largest window that any frame may have, as a power of two.
const MAX_WINDOW_LOG: u32 = 31;

/// The smallest that a decoder can be limited to.
const MIN_WINDOW_LOG: u32 = 10;

/// Memory besides the window.
const CONTEXT_BYTES: usize = 256 << 10;

/// Decodes zstd.
pub(super) struct ZstdDecoder {
    /// Made with the first frame.
    frame: Option<Frame<'static>>,
    is_in_frame: bool,
    is_first: bool,
    most: u64,
    window: u64,
}

impl ZstdDecoder {
    /// Decodes frames whose windows take at most `memory` bytes.
    pub(super) fn new(memory: u64) -> Self {
        Self { frame: None, is_in_frame: false, is_first: true, most: memory, window: 0 }
    }

    /// The same behind other frames.
    pub(super) fn inside(memory: u64) -> Self {
        Self { is_first: false, ..Self::new(memory) }
    }

    /// Begins a frame, or passes a skippable one; whether one begins.
    fn begin(&mut self, stored: &mut StoredBytes<'_>) -> Result<bool, Trouble> {
        let other = if self.is_first { Trouble::OtherForm } else { Trouble::Garbage };
        let head = stored.peek(14)?;
        let Some((magic, header)) = head.split_first_chunk::<4>() else {
            return Err(if MAGIC.starts_with(head) { Trouble::CutShort } else { other });
        };
        if is_skippable(*magic) {
            let Some(bytes) = header.first_chunk() else { return Err(Trouble::CutShort) };
            let bytes = 8 + u64::from(u32::from_le_bytes(*bytes));
            return if stored.skip(bytes) { Ok(false) } else { Err(Trouble::CutShort) };
        }
        if *magic != MAGIC {
            return Err(other);
        }
        let window = window_of(header).ok_or(Trouble::CutShort)?;
        if window > self.most {
            return Err(Trouble::Memory(Some(window)));
        }
        self.window = self.window.max(window);
        match &mut self.frame {
            Some(frame) => frame.reinit().map_err(said)?,
            None => {
                let mut frame = Frame::new().map_err(said)?;
                let log = self.most.max(1).ilog2() + 1;
                let log = log.clamp(MIN_WINDOW_LOG, MAX_WINDOW_LOG);
                frame.set_parameter(DParameter::WindowLogMax(log)).map_err(said)?;
                self.frame = Some(frame);
            }
        }
        Ok(true)
    }
}

impl Decoder for ZstdDecoder {
    fn next(&mut self, stored: &mut StoredBytes<'_>, into: &mut [u8]) -> Result<Step, Trouble> {
        while !self.is_in_frame {
            if stored.is_at_end() && !self.is_first {
                return Ok(Step::End);
            }
            let offset = stored.offset();
            self.is_in_frame = self.begin(stored)?;
            self.is_first = false;
            if self.is_in_frame {
                return Ok(Step::Unit(offset));
            }
        }
        let Some(frame) = &mut self.frame else { return Err(Trouble::damage("no frame was begun")) };
        loop {
            let input = stored.fill()?;
            let is_end = input.is_empty();
            let status = frame.run_on_buffers(input, into).map_err(said)?;
            let got = status.bytes_written;
            stored.consume(status.bytes_read);
            self.is_in_frame = status.remaining > 0;
            if got > 0 {
                return Ok(Step::Bytes(got));
            }
            if !self.is_in_frame {
                return self.next(stored, into);
            }
            if is_end {
                return Err(Trouble::CutShort);
            }
        }
    }

    fn memory(&self) -> usize {
        self.window as usize + CONTEXT_BYTES
    }
}

/// Whether a frame that begins so holds no content.
pub(super) fn is_skippable(magic: [u8; 4]) -> bool {
    magic[0] & 0xf0 == 0x50 && magic[1..] == [0x2a, 0x4d, 0x18]
}

/// The window of a frame whose header, behind the magic, begins so; `None` if more of it is needed.
fn window_of(header: &[u8]) -> Option<u64> {
    let (&descriptor, rest) = header.split_first()?;
    if descriptor & 0x20 == 0 {
        let &window = rest.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // One segment: the window is the content.
    let rest = rest.get([0, 1, 2, 4][usize::from(descriptor & 3)]..)?;
    let size = match descriptor >> 6 {
        0 => u64::from(*rest.first()?),
        1 => u64::from(u16::from_le_bytes(*rest.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*rest.first_chunk()?)),
        _ => u64::from_le_bytes(*rest.first_chunk()?),
    };
    Some(size)
}

/// What the decoder says of damage.
fn said(error: std::io::Error) -> Trouble {
    Trouble::Damage(format!("a frame is damaged ({})", error.to_string().to_lowercase()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_read_from_the_header() {
        assert_eq!(window_of(&[0x00, 0x88]), Some(128 << 20));
        assert_eq!(window_of(&[0x20, 7]), Some(7));
        assert_eq!(window_of(&[0x60, 1, 0]), Some(257));
        assert_eq!(window_of(&[0xa3, 9, 9, 9, 9, 0, 0, 0, 1]), Some(1 << 24));
        assert_eq!(window_of(&[0xe0, 9, 9, 9]), None);
        assert_eq!(window_of(&[]), None);
    }
}
