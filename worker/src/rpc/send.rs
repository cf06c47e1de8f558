//! The server's end of a stream of segments.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use gristmill_common::wire::transport::{MAX_SHUFFLE_MESSAGE_BYTES, SENT_FRAME_BYTES};
use gristmill_common::wire::v1;
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Response, header};
use tonic::{Status, Streaming};
use tonic_prost::ProstDecoder;

use super::PREFIX_BYTES;

/// The number of the field of a frame that holds data.
const DATA_FIELD: u32 = 2;

/// Room in front of a frame's data for all that announces it.
const HEAD_BYTES: usize = 16;

/// A message with its prefix, or how the stream ends early.
pub(crate) type Framed = Result<Bytes, Status>;

/// The request of a call.
///
/// # Errors
///
/// If it is not whole or no such message.
pub(crate) async fn read_request(body: Body) -> Result<v1::FetchRequest, Status> {
    let decoder = ProstDecoder::<v1::FetchRequest>::default();
    let mut requests = Streaming::new_request(decoder, body, None, Some(MAX_SHUFFLE_MESSAGE_BYTES));
    requests.message().await?.ok_or_else(|| Status::invalid_argument("the request is missing"))
}

/// The answer to a call that was accepted: what comes through the channel, until its senders are
/// gone or one of them sent a status.
pub(crate) fn respond(messages: mpsc::Receiver<Framed>) -> Response<Body> {
    let frames = stream::unfold(Some(messages), |messages| async {
        let mut messages = messages?;
        Some(match messages.recv().await {
            Some(Ok(message)) => (Ok(Frame::data(message)), Some(messages)),
            Some(Err(status)) => (trailers(&status), None),
            None => (trailers(&Status::ok("")), None),
        })
    });
    let mut response = Response::new(Body::new(StreamBody::new(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

/// A message with its prefix.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + len);
    put_prefix(len, &mut frame);
    message.encode_raw(&mut frame);
    frame.freeze()
}

fn put_prefix(len: usize, out: &mut impl BufMut) {
    out.put_u8(0);
    out.put_u32(u32::try_from(len).expect("messages are far shorter than 4 GiB"));
}

/// Makes frames of data in a few buffers that are used again and again: touching fresh memory costs
/// more than filling it.
#[derive(Debug)]
pub(crate) struct FrameBuffers {
    free: Receiver<Vec<u8>>,
    give_back: SyncSender<Vec<u8>>,
}

impl FrameBuffers {
    /// None yet; at most `kept` are kept for later use.
    pub(crate) fn new(kept: usize) -> Self {
        let (give_back, free) = sync_channel(kept);
        Self { free, give_back }
    }

    /// A framed message with `bytes` of data, which `fill` writes in place. The buffer is free again
    /// when the message is dropped.
    ///
    /// # Errors
    ///
    /// What `fill` returns.
    ///
    /// # Panics
    ///
    /// If `bytes` is more than [`SENT_FRAME_BYTES`].
    pub(crate) fn data(&self, bytes: usize, fill: impl FnOnce(&mut [u8]) -> io::Result<()>) -> io::Result<Bytes> {
        let buffer = self.free.try_recv().unwrap_or_else(|_| vec![0; HEAD_BYTES + SENT_FRAME_BYTES]);
        let mut lent = Lent { buffer, owner: self.give_back.clone() };
        fill(&mut lent.buffer[HEAD_BYTES..HEAD_BYTES + bytes])?;
        let start = put_head(bytes, &mut lent.buffer[..HEAD_BYTES]);
        Ok(Bytes::from_owner(lent).slice(start..HEAD_BYTES + bytes))
    }
}

/// Writes what comes before the data of a frame to the end of `room`, and tells where it begins.
fn put_head(bytes: usize, room: &mut [u8]) -> usize {
    let message = key_len(DATA_FIELD) + encoded_len_varint(bytes as u64) + bytes;
    let start = room.len() - PREFIX_BYTES - (message - bytes);
    let mut head = &mut room[start..];
    put_prefix(message, &mut head);
    encode_key(DATA_FIELD, WireType::LengthDelimited, &mut head);
    encode_varint(bytes as u64, &mut head);
    start
}

/// A buffer on its way through the connection.
struct Lent {
    buffer: Vec<u8>,
    owner: SyncSender<Vec<u8>>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // With enough buffers at hand, or nobody to fill them, this one is not needed.
        let _ = self.owner.try_send(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_the_messages_of_the_protocol() {
        let buffers = FrameBuffers::new(1);
        for bytes in [1, 127, 128, 16_383, 16_384, SENT_FRAME_BYTES] {
            let data: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
            let fill = |room: &mut [u8]| {
                room.copy_from_slice(&data);
                Ok(())
            };
            let frame = buffers.data(bytes, fill).expect("filled");
            let message = v1::FetchFrame { body: Some(v1::fetch_frame::Body::Data(data.into())) };
            assert_eq!(frame, framed(&message), "{bytes}");
        }
    }

    #[test]
    fn buffers_are_used_again_and_bounded() {
        let buffers = FrameBuffers::new(1);
        let frame = || buffers.data(3, |_| Ok(())).expect("filled");
        let first = frame();
        let place = first.as_ptr();
        drop((first, frame()));
        let again = [frame(), frame()];
        assert_eq!(again.iter().filter(|frame| frame.as_ptr() == place).count(), 1);
        assert!(buffers.data(3, |_| Err(io::Error::other("no disk"))).is_err());
    }
}
