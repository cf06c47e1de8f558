//! How gRPC connections are set up, in one place: both ends advertise the same frame size and
//! windows, and both notice a peer that is gone without a word. Decides nothing about addresses or
//! security.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};

/// The largest HTTP/2 frame. At the default of 16 KiB a stream of segments runs at a quarter of the
/// speed; larger frames gain nothing and delay small messages behind large ones.
const FRAME_BYTES: u32 = 1 << 20;

/// Bytes in flight of one stream. Raised it costs memory per fetch; lowered it caps the throughput
/// of links with a long round trip.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;

/// Bytes in flight of all streams of one connection: several streams at full speed.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;

/// How often an otherwise silent connection is probed. Sooner costs packets, later leaves calls
/// hanging on a peer that vanished.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a probe may stay unanswered before the connection is dropped.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take to open.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest message of the services `Control` and `Jobs`. A task input that names a million map
/// attempts, or ten thousand objects with very long names, still fits; raised, a peer that sends
/// nonsense costs more memory.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The largest message of the service `Shuffle`: a frame of segment data, or a request that names
/// many attempts.
pub const MAX_SHUFFLE_MESSAGE_BYTES: usize = 4 << 20;

/// The most data in one frame of a segment stream.
pub const SEGMENT_FRAME_BYTES: usize = 1 << 20;

/// The data in one frame as a worker sends it. Larger frames do not stay in the processor's caches
/// between socket and disk; smaller ones cost more calls.
pub const SENT_FRAME_BYTES: usize = 256 << 10;

const _: () = assert!(SENT_FRAME_BYTES <= SEGMENT_FRAME_BYTES);

/// Streams that one peer may have open at once.
const MAX_STREAMS_PER_CONNECTION: u32 = 1024;

/// Header bytes a peer may send with one call.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// The client end of a connection to `url` (`http://host:port`).
///
/// # Errors
///
/// If the text is not such a URL.
pub fn endpoint(url: &str) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

/// The server end of connections.
pub fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
}

/// The connections that come in on `listener`, for `serve_with_incoming`: only here does the server
/// learn to send small messages at once.
pub fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_take_urls_only() {
        assert!(endpoint("http://127.0.0.1:7420").is_ok());
        assert!(endpoint("http://").is_err());
        assert!(endpoint("not a url").is_err());
    }
}
