//! The client's end of a stream of segments.

use bytes::{Buf as _, Bytes, BytesMut};
use gristmill_common::wire::transport::MAX_SHUFFLE_MESSAGE_BYTES;
use gristmill_common::wire::v1;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{FETCH_PATH, PREFIX_BYTES, framed};

/// Asks for segments.
///
/// # Errors
///
/// If the connection fails or the other side refuses.
pub(crate) async fn call(mut channel: Channel, request: &v1::FetchRequest) -> Result<Messages, Status> {
    let body = Body::new(Full::new(framed(request)));
    let request = Request::post(FETCH_PATH)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
        .header(header::TE, HeaderValue::from_static("trailers"))
        .body(body)
        .map_err(|error| Status::internal(error.to_string()))?;
    std::future::poll_fn(|context| channel.poll_ready(context)).await.map_err(unavailable)?;
    let response = channel.call(request).await.map_err(unavailable)?;
    if response.status() != StatusCode::OK {
        return Err(Status::unavailable(format!("the answer is HTTP {}", response.status())));
    }
    refusal(response.headers())?;
    Ok(Messages { body: response.into_body(), pending: Bytes::new() })
}

fn unavailable(error: tonic::transport::Error) -> Status {
    Status::from_error(Box::new(error))
}

/// The status in headers or trailers, if it is an error.
fn refusal(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(()),
    }
}

/// The messages of a stream. Data is not copied as long as the connection delivers it in one piece,
/// which is nearly always.
pub(crate) struct Messages {
    body: Body,
    /// What was read and not given out: less than one message, or several.
    pending: Bytes,
}

impl Messages {
    /// The next message; `None` at the end of a stream that ended in order. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    ///
    /// If the connection or the other side fails, or what comes is no message.
    pub(crate) async fn next(&mut self) -> Result<Option<v1::FetchFrame>, Status> {
        loop {
            let whole = whole_message(&self.pending)?;
            if let Some(whole) = whole.filter(|whole| *whole <= self.pending.len()) {
                let message = self.pending.split_to(whole).slice(PREFIX_BYTES..);
                return v1::FetchFrame::decode(message).map(Some).map_err(|error| Status::internal(error.to_string()));
            }
            let Some(frame) = self.body.frame().await.transpose()? else {
                return Err(Status::unavailable("the stream broke off"));
            };
            match frame.into_data() {
                Ok(data) => self.pending = joined(std::mem::take(&mut self.pending), data, whole),
                Err(frame) => {
                    refusal(frame.trailers_ref().unwrap_or(&HeaderMap::new()))?;
                    let cut = !self.pending.is_empty();
                    return if cut { Err(Status::internal("the stream ended inside a message")) } else { Ok(None) };
                }
            }
        }
    }
}

/// The length of the first message with its prefix, once that is there.
fn whole_message(pending: &Bytes) -> Result<Option<usize>, Status> {
    let Some(mut prefix) = pending.get(..PREFIX_BYTES) else { return Ok(None) };
    if prefix.get_u8() != 0 {
        return Err(Status::internal("a message is compressed"));
    }
    let len = prefix.get_u32() as usize;
    if len > MAX_SHUFFLE_MESSAGE_BYTES {
        return Err(Status::internal(format!("a message has {len} bytes")));
    }
    Ok(Some(PREFIX_BYTES + len))
}

/// Both pieces as one, with room for a whole message if its length is known.
fn joined(first: Bytes, second: Bytes, whole: Option<usize>) -> Bytes {
    if first.is_empty() {
        return second;
    }
    let mut all = first.try_into_mut().unwrap_or_else(|shared| {
        let mut all = BytesMut::with_capacity(whole.unwrap_or(0).max(shared.len() + second.len()));
        all.extend_from_slice(&shared);
        all
    });
    all.extend_from_slice(&second);
    all.freeze()
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    fn data(bytes: &[u8]) -> v1::FetchFrame {
        v1::FetchFrame { body: Some(v1::fetch_frame::Body::Data(Bytes::copy_from_slice(bytes))) }
    }

    fn status(code: &'static str) -> Frame<Bytes> {
        Frame::trailers(HeaderMap::from_iter([(
            header::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(code),
        )]))
    }

    /// Reads a stream that delivers `bytes` in pieces of this size and then `end`.
    async fn read(bytes: &[u8], piece: usize, end: Option<Frame<Bytes>>) -> Result<Vec<v1::FetchFrame>, String> {
        let pieces: Vec<Frame<Bytes>> =
            bytes.chunks(piece).map(|piece| Frame::data(Bytes::copy_from_slice(piece))).chain(end).collect();
        let body = Body::new(StreamBody::new(stream::iter(pieces).map(Ok::<_, Status>)));
        let mut messages = Messages { body, pending: Bytes::new() };
        let mut seen = Vec::new();
        while let Some(message) = messages.next().await.map_err(|status| status.message().to_owned())? {
            seen.push(message);
        }
        Ok(seen)
    }

    #[tokio::test]
    async fn messages_do_not_depend_on_how_the_connection_cuts_them() {
        let sent = [data(b"one"), data(b""), data(&[7; 300]), data(b"four")];
        let bytes: Vec<u8> = sent.iter().flat_map(framed).collect();
        for piece in [1, 2, 5, 7, 100, 1000] {
            assert_eq!(read(&bytes, piece, Some(status("0"))).await.as_deref(), Ok(sent.as_slice()), "{piece}");
        }
    }

    #[tokio::test]
    async fn streams_that_do_not_end_in_order_are_failures() {
        let one = framed(&data(b"one"));
        let check = async |bytes: &[u8], end: Option<Frame<Bytes>>, expect: &str| {
            let error = read(bytes, 100, end).await.expect_err(expect);
            assert!(error.contains(expect), "{error}");
        };
        check(&one, None, "the stream broke off").await;
        check(&one[..6], Some(status("0")), "the stream ended inside a message").await;
        check(&one, Some(status("15")), "").await;
        check(&[1, 0, 0, 0, 0], None, "a message is compressed").await;
        check(&[0, 0xff, 0, 0, 0], None, "a message has 4278190080 bytes").await;
        check(&[0, 0, 0, 0, 1, 0xff], None, "").await;
    }
}
