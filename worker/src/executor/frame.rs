//! Messages on a byte stream: each framed by its length as a little-endian u32. The same frames for
//! the executor, which blocks, and for the agent, which awaits.

use std::io::{self, Read, Write};

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The largest message: an attempt over very many pieces or segments still fits, and a damaged
/// length does not make the reader allocate without bound.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The bytes of one framed message.
///
/// # Errors
///
/// If the message is larger than a frame may be.
pub(crate) fn encode(message: &impl Message) -> io::Result<Vec<u8>> {
    let len = message.encoded_len();
    let prefix = u32::try_from(check_len(len)?).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(4 + len);
    frame.extend_from_slice(&prefix.to_le_bytes());
    message.encode_raw(&mut frame);
    Ok(frame)
}

/// Writes one message.
///
/// # Errors
///
/// If the stream fails or the message is too large.
pub(crate) fn write(stream: &mut impl Write, message: &impl Message) -> io::Result<()> {
    stream.write_all(&encode(message)?)
}

/// Reads one message; `None` if the stream ended before it.
///
/// # Errors
///
/// If the stream fails or ends inside a message, or what it holds is no message.
pub(crate) fn read<M: Message + Default>(stream: &mut impl Read) -> io::Result<Option<M>> {
    let mut prefix = [0; 4];
    // The first byte alone tells an orderly end from one inside a message.
    if stream.read(&mut prefix[..1])? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut prefix[1..])?;
    let mut body = vec![0; check_len(u32::from_le_bytes(prefix) as usize)?];
    stream.read_exact(&mut body)?;
    decode(&body).map(Some)
}

/// Reads one message; `None` if the stream ended before it. Not cancel-safe.
///
/// # Errors
///
/// As [`read`].
pub(crate) async fn read_async<M: Message + Default>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<M>> {
    let mut prefix = [0; 4];
    if stream.read(&mut prefix[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut prefix[1..]).await?;
    let mut body = vec![0; check_len(u32::from_le_bytes(prefix) as usize)?];
    stream.read_exact(&mut body).await?;
    decode(&body).map(Some)
}

fn check_len(len: usize) -> io::Result<usize> {
    if len > MAX_MESSAGE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes is too large")));
    }
    Ok(len)
}

fn decode<M: Message + Default>(body: &[u8]) -> io::Result<M> {
    M::decode(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use gristmill_common::wire::v1;

    use super::*;

    fn opened(error: &str) -> v1::Opened {
        v1::Opened { error: error.to_owned() }
    }

    #[tokio::test]
    async fn messages_come_out_as_they_went_in() {
        let mut bytes = encode(&opened("one")).expect("small");
        write(&mut bytes, &opened("")).expect("a vector takes all");
        let (mut blocking, mut awaiting) = (bytes.as_slice(), bytes.as_slice());
        for expect in [Some(opened("one")), Some(opened("")), None] {
            assert_eq!(read(&mut blocking).expect("whole"), expect);
            assert_eq!(read_async(&mut awaiting).await.expect("whole"), expect);
        }
    }

    #[tokio::test]
    async fn cut_and_oversized_frames_are_errors() {
        let whole = encode(&opened("one")).expect("small");
        let mut huge = vec![0xff; 8];
        huge[3] = 0x7f;
        for bytes in [&whole[..2], &whole[..whole.len() - 1], &huge] {
            assert!(read::<v1::Opened>(&mut &*bytes).is_err(), "{bytes:?}");
            assert!(read_async::<v1::Opened>(&mut &*bytes).await.is_err(), "{bytes:?}");
        }
    }
}
