//! The server's end of encrypted connections: takes them in, makes the handshakes side by side, and judges
//! the certificates. Refuses nobody by itself but those who make no handshake in time: what a refused
//! certificate means for a request is the [`Gate`](super::Gate)'s to say.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, stream};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::authority::Usage;
use super::credentials::Credentials;
use super::peer::{Connection, Proof};
use super::verify::server_config;

/// How long a handshake may take. Raised, somebody who says nothing holds a place for longer; lowered,
/// slow links get in no more.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(8);

/// Handshakes at once; more wait to be taken in. Raised, strangers can hold more memory; lowered, a cluster
/// that comes back all at once takes longer.
const MAX_HANDSHAKES: usize = 256;

/// The pause after the system refuses to take a connection in: it has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is read from the socket at once: rustls by itself asks for 4 KiB.
pub(super) const READ_BYTES: usize = 64 << 10;

/// What may wait encrypted for the socket: one frame of a segment goes there in one call.
pub(super) const WRITE_BYTES: usize = 320 << 10;

/// Takes in connections with the certificate of this process.
#[derive(Debug, Clone)]
pub struct ServerTls {
    credentials: Arc<Credentials>,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Serves with these.
    pub fn new(credentials: Arc<Credentials>) -> Self {
        let config = server_config(&credentials);
        Self { credentials, config }
    }

    /// What it serves with.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// The connections that come in on `listener` and have made their handshake, for
    /// `serve_with_incoming`.
    pub fn incoming(self, listener: TcpListener) -> impl Stream<Item = io::Result<TlsConnection>> {
        let incoming = Incoming { tls: self, listener, handshakes: JoinSet::new() };
        stream::unfold(incoming, |mut incoming| async {
            let connection = incoming.next().await;
            Some((Ok(connection), incoming))
        })
    }

    async fn handshake(self, tcp: TcpStream, remote: SocketAddr) -> Option<TlsConnection> {
        // Without it small messages wait for each other; a connection that refuses it is gone.
        tcp.set_nodelay(true).ok()?;
        let io = BufReader::with_capacity(READ_BYTES, tcp);
        let acceptor = TlsAcceptor::from(self.config.clone());
        let accepted = acceptor.accept_with(io, |session| session.set_buffer_limit(Some(WRITE_BYTES)));
        let stream = match timeout(HANDSHAKE_TIMEOUT, accepted).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::info!(%remote, %error, "connection refused: no handshake");
                return None;
            }
            Err(_) => {
                tracing::info!(%remote, "connection refused: no handshake in time");
                return None;
            }
        };
        let proof = self.judge(&stream);
        if let Proof::Refused(problem) = &proof {
            tracing::warn!(%remote, reason = problem.word(), %problem, "certificate refused");
        }
        Some(TlsConnection { stream, connection: Connection { remote: Some(remote), proof } })
    }

    fn judge(&self, stream: &TlsStream<BufReader<TcpStream>>) -> Proof {
        let Some(chain) = stream.get_ref().1.peer_certificates() else { return Proof::Nobody };
        let authority = &self.credentials.current().authority;
        match authority.judge(chain, Usage::Client, self.credentials.clock().now()) {
            Ok((peer, expires)) => Proof::Proven { peer, expires },
            Err(problem) => Proof::Refused(problem),
        }
    }
}

struct Incoming {
    tls: ServerTls,
    listener: TcpListener,
    handshakes: JoinSet<Option<TlsConnection>>,
}

impl Incoming {
    async fn next(&mut self) -> TlsConnection {
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if self.handshakes.len() < MAX_HANDSHAKES => match accepted {
                    Ok((tcp, remote)) => {
                        self.handshakes.spawn(self.tls.clone().handshake(tcp, remote));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot take a connection in");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(connection)) => return connection,
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%error, "a handshake broke off"),
                },
            }
        }
    }
}

/// An encrypted connection that came in.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<BufReader<TcpStream>>,
    connection: Connection,
}

impl Connected for TlsConnection {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
