//! Reaches the master, in bounded time. Says nothing by itself and knows nothing of sessions.

use std::time::Duration;

use gristmill_common::tls::{DialError, Dialer};
use gristmill_common::wire::transport::MAX_MESSAGE_BYTES;
use gristmill_common::wire::v1;
use gristmill_common::wire::v1::control_client::ControlClient;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// How long a master may take to answer on a new stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is said of a master that did not.
const NO_ANSWER: &str = "it did not answer";

/// A connection to the master at `url`, or why there is none.
pub(super) async fn connect(dialer: &Dialer, url: &str) -> Result<Channel, DialError> {
    let connected = timeout(ANSWER_TIMEOUT, dialer.connect_to_master(url)).await;
    connected.unwrap_or_else(|_| Err(DialError::Unreachable { reason: NO_ANSWER.to_owned() }))
}

/// A stream that sends `messages`, and the first message of the master, or why there is none.
pub(super) async fn open(
    channel: Channel,
    messages: mpsc::Receiver<v1::WorkerMessage>,
) -> Result<(v1::MasterMessage, Streaming<v1::MasterMessage>), String> {
    let mut client = ControlClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let opened = timeout(ANSWER_TIMEOUT, async {
        let mut incoming = client.session(ReceiverStream::new(messages)).await?.into_inner();
        Ok((incoming.message().await?, incoming))
    });
    let opened: Result<_, tonic::Status> = opened.await.map_err(|_| NO_ANSWER.to_owned())?;
    let (first, incoming) = opened.map_err(|status| status.message().to_owned())?;
    Ok((first.ok_or("the stream ended at once")?, incoming))
}
