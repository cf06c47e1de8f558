//! xz (The .xz File Format 1.2): any number of streams.

use liblzma::stream::{Action, CONCATENATED, Error, Status, Stream};

use super::stored::StoredBytes;
use super::{Decoder, Step, Trouble};

/// What an object begins with.
const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// Decodes xz.
pub(super) struct XzDecoder {
    /// Made with the first byte.
    stream: Option<Stream>,
    most: u64,
}

impl XzDecoder {
    /// Decodes streams that take at most `memory` bytes.
    pub(super) fn new(memory: u64) -> Self {
        Self { stream: None, most: memory }
    }
}

impl Decoder for XzDecoder {
    fn next(&mut self, stored: &mut StoredBytes<'_>, into: &mut [u8]) -> Result<Step, Trouble> {
        if self.stream.is_none() {
            let head = stored.peek(MAGIC.len())?;
            if head != MAGIC {
                return Err(if MAGIC.starts_with(head) { Trouble::CutShort } else { Trouble::OtherForm });
            }
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(Stream::new_stream_decoder(self.most, CONCATENATED).map_err(said)?),
        };
        loop {
            let input = stored.fill()?;
            let is_end = input.is_empty();
            let action = if is_end { Action::Finish } else { Action::Run };
            let (before_in, before_out) = (stream.total_in(), stream.total_out());
            let status = stream.process(input, into, action);
            let used = (stream.total_in() - before_in) as usize;
            let got = (stream.total_out() - before_out) as usize;
            stored.consume(used);
            match status {
                // With content given, the next call says it again.
                Err(error) if got == 0 => return Err(said(error)),
                _ if got > 0 => return Ok(Step::Bytes(got)),
                Ok(Status::StreamEnd) => return Ok(Step::End),
                Ok(_) if is_end => return Err(Trouble::CutShort),
                Ok(Status::MemNeeded) => return Err(Trouble::damage("it does not go on")),
                Ok(Status::Ok | Status::GetCheck) | Err(_) => {}
            }
        }
    }

    fn memory(&self) -> usize {
        // It takes no more than it is allowed; how much of that, it does not tell.
        if self.stream.is_some() { self.most as usize } else { 0 }
    }
}

fn said(error: Error) -> Trouble {
    match error {
        Error::MemLimit | Error::Mem => Trouble::Memory(None),
        Error::Format => Trouble::Garbage,
        Error::Options | Error::UnsupportedCheck | Error::NoCheck => {
            Trouble::damage("it uses what this program does not know")
        }
        Error::Data | Error::Program => Trouble::damage("its content is damaged, or something else follows its end"),
    }
}
