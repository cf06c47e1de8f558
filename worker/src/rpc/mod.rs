//! Streams of segments as they lie on the wire: gRPC's length-prefixed messages in HTTP/2 frames,
//! like the generated services speak them, but without copying what they carry. Decides nothing
//! about segments.
//!
//! | module | side |
//! |---|---|
//! | `send` | the server's: a stream of framed messages, data read from disk into the frame itself |
//! | `receive` | the client's: a call, and messages that are views of what the connection read |
//! | `seal` | both: what binds a segment's header to the request |
//!
//! Between disk and socket, and socket and disk, bytes of a segment are moved by the system alone.

mod receive;
mod seal;
mod send;

pub(crate) use receive::{Messages, call};
pub(crate) use seal::sealed;
pub(crate) use send::{FrameBuffers, Framed, framed, read_request, respond};

/// The call, as an HTTP/2 path.
pub(crate) const FETCH_PATH: &str = "/gristmill.v1.Shuffle/Fetch";

/// What precedes each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
