//! The client's end of connections: encrypted ones for `https://`, plain ones for `http://`. Checks who the
//! server is, and never falls back from one kind to the other.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::Channel;

use super::accept::{READ_BYTES, WRITE_BYTES};
use super::credentials::Credentials;
use super::moment::WallSource;
use super::problem::CertificateProblem;
use super::verify::{client_config, first_contact, problem_of};
use crate::identity::Role;
use crate::wire::transport;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The text is not a URL.
    #[error("{url:?} is not a URL such as http://127.0.0.1:7420 or https://host:7420")]
    Url {
        /// What was given.
        url: String,
    },
    /// It wants a certificate, and there is none.
    #[error("{url} takes certificates, and none was given")]
    NoCertificates {
        /// Where.
        url: String,
    },
    /// It is not encrypted, and on another machine.
    #[error("{url} is not encrypted, and certificates were given")]
    Unprotected {
        /// Where.
        url: String,
    },
    /// A certificate is refused: the server's, or the one to be shown to it.
    #[error("refused: {problem}")]
    Refused {
        /// Why.
        problem: CertificateProblem,
    },
    /// Nobody answers, or not in a way that can be understood.
    #[error("{reason}")]
    Unreachable {
        /// What went wrong, with its causes.
        reason: String,
    },
}

impl DialError {
    /// Whether it may pass by itself.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url { .. } => Some("give --master https://HOST:PORT, or http://HOST:PORT on this machine"),
            Self::NoCertificates { .. } => Some("name the folder of your certificate with --certs DIR"),
            Self::Unprotected { .. } => Some("use https://, or leave --certs away"),
            Self::Refused { problem } => problem.hint(),
            Self::Unreachable { .. } => None,
        }
    }
}

/// Makes connections with the certificate of this process, or without one. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    certified: Option<Certified>,
}

#[derive(Debug, Clone)]
struct Certified {
    credentials: Arc<Credentials>,
    to_master: Arc<ClientConfig>,
    to_worker: Arc<ClientConfig>,
}

impl Dialer {
    /// Makes plain connections only.
    pub fn plain() -> Self {
        Self::default()
    }

    /// Makes encrypted connections with these credentials, and plain ones to this machine alone.
    pub fn new(credentials: Arc<Credentials>) -> Self {
        let to_master = client_config(&credentials, Role::Master);
        let to_worker = client_config(&credentials, Role::Worker);
        Self { certified: Some(Certified { credentials, to_master, to_worker }) }
    }

    /// With these credentials, or without any.
    pub fn with(credentials: Option<Arc<Credentials>>) -> Self {
        credentials.map_or_else(Self::plain, Self::new)
    }

    /// What connections are made with.
    pub fn credentials(&self) -> Option<&Arc<Credentials>> {
        self.certified.as_ref().map(|certified| &certified.credentials)
    }

    /// Connects to the master at `url`. A connection that breaks is made again when it is used.
    ///
    /// # Errors
    ///
    /// If nobody answers, or who answers is no master of this cluster.
    pub async fn connect_to_master(&self, url: &str) -> Result<Channel, DialError> {
        self.connect(url, |certified| &certified.to_master).await
    }

    /// Connects to a worker.
    ///
    /// # Errors
    ///
    /// If nobody answers, or who answers is no worker of this cluster.
    pub async fn connect_to_worker(&self, url: &str) -> Result<Channel, DialError> {
        self.connect(url, |certified| &certified.to_worker).await
    }

    async fn connect(
        &self,
        url: &str,
        config: impl Fn(&Certified) -> &Arc<ClientConfig>,
    ) -> Result<Channel, DialError> {
        let (scheme, uri) = parse(url)?;
        match (scheme, &self.certified) {
            (Scheme::Http, certified) => {
                if certified.is_some() && !is_loopback(&uri) {
                    return Err(DialError::Unprotected { url: url.to_owned() });
                }
                let endpoint = transport::endpoint(url).map_err(|_| DialError::Url { url: url.to_owned() })?;
                endpoint.connect().await.map_err(|error| understood(&error))
            }
            (Scheme::Https, None) => Err(DialError::NoCertificates { url: url.to_owned() }),
            (Scheme::Https, Some(certified)) => {
                let now = certified.credentials.clock().now();
                certified.credentials.current().check(now).map_err(|problem| DialError::Refused { problem })?;
                encrypted(url, &uri, Arc::clone(config(certified))).await
            }
        }
    }
}

/// Makes the first connection of somebody who has no certificate yet.
#[derive(Debug)]
pub struct FirstContact(Arc<ClientConfig>);

impl FirstContact {
    /// To a master whose authority's certificate has this SHA-256.
    pub fn new(pin: [u8; 32], clock: WallSource) -> Self {
        Self(first_contact(pin, clock))
    }

    /// Connects to the master at `url`.
    ///
    /// # Errors
    ///
    /// If nobody answers, or who answers is no master of that authority.
    pub async fn connect(&self, url: &str) -> Result<Channel, DialError> {
        match parse(url)? {
            (Scheme::Https, uri) => encrypted(url, &uri, Arc::clone(&self.0)).await,
            (Scheme::Http, _) => Err(DialError::Unprotected { url: url.to_owned() }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

fn parse(url: &str) -> Result<(Scheme, Uri), DialError> {
    let no_url = || DialError::Url { url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| no_url())?;
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(no_url()),
    };
    uri.host().filter(|host| !host.is_empty()).ok_or_else(no_url)?;
    Ok((scheme, uri))
}

/// The host without the brackets of an IPv6 address.
fn host_of(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(uri: &Uri) -> bool {
    let host = host_of(uri);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn encrypted(url: &str, uri: &Uri, config: Arc<ClientConfig>) -> Result<Channel, DialError> {
    let no_url = |_| DialError::Url { url: url.to_owned() };
    // The connector encrypts, whatever the scheme: to tonic, without TLS of its own, all is http.
    let plain = format!("http{}", url.strip_prefix("https").unwrap_or(url));
    let endpoint = transport::endpoint(&plain).map_err(no_url)?.origin(uri.clone());
    endpoint.connect_with_connector(Connector { config }).await.map_err(|error| understood(&error))
}

/// What a failure to connect means.
fn understood(error: &(dyn StdError + 'static)) -> DialError {
    let mut reasons: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(problem) = cause.downcast_ref::<CertificateProblem>() {
            return DialError::Refused { problem: problem.clone() };
        }
        let text = cause.to_string();
        if !reasons.last().is_some_and(|last| last.ends_with(&text)) {
            reasons.push(text);
        }
        next = cause.source();
    }
    DialError::Unreachable { reason: reasons.join(": ") }
}

/// Makes the encrypted connections of a channel.
#[derive(Debug, Clone)]
struct Connector {
    config: Arc<ClientConfig>,
}

type Encrypted = TokioIo<TlsStream<BufReader<TcpStream>>>;

impl Service<Uri> for Connector {
    type Response = Encrypted;
    type Error = HandshakeError;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted, HandshakeError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        Box::pin(async move {
            let host = host_of(&uri).to_owned();
            let name = ServerName::try_from(host.clone()).map_err(|_| HandshakeError::Host { host: host.clone() })?;
            let tcp = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
            tcp.set_nodelay(true)?;
            let io = BufReader::with_capacity(READ_BYTES, tcp);
            let made = connector.connect_with(name, io, |session| session.set_buffer_limit(Some(WRITE_BYTES))).await;
            Ok(TokioIo::new(made.map_err(handshake_error)?))
        })
    }
}

/// Why an encrypted connection was not made.
#[derive(Debug)]
enum HandshakeError {
    Host { host: String },
    Certificate(CertificateProblem),
    Protocol(rustls::Error),
    Io(io::Error),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host } => write!(f, "{host:?} is no host"),
            Self::Certificate(problem) => write!(f, "{problem}"),
            Self::Protocol(rustls::Error::InvalidMessage(_)) => {
                f.write_str("it does not encrypt: was it started without --certs?")
            }
            Self::Protocol(error) => write!(f, "no handshake: {error}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl StdError for HandshakeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Certificate(problem) => Some(problem),
            Self::Host { .. } | Self::Protocol(_) | Self::Io(_) => None,
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn handshake_error(error: io::Error) -> HandshakeError {
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return HandshakeError::Io(error);
    };
    match problem_of(inner) {
        Some(problem) => HandshakeError::Certificate(problem),
        None => HandshakeError::Protocol(inner.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_are_dialled() {
        for url in ["http://127.0.0.1:7420", "https://node-1:7420", "https://[::1]:7420", "http://localhost:1"] {
            assert!(parse(url).is_ok(), "{url}");
        }
        for url in ["", "node-1:7420", "ftp://x", "https://", "not a url", "grpc://h:1"] {
            assert_eq!(parse(url), Err(DialError::Url { url: url.to_owned() }));
        }
    }

    #[test]
    fn loopback_is_told_from_other_machines() {
        let check = |url: &str, expect: bool| assert_eq!(is_loopback(&parse(url).expect("a URL").1), expect, "{url}");
        check("http://127.0.0.1:1", true);
        check("http://127.9.9.9:1", true);
        check("http://[::1]:1", true);
        check("http://localhost:1", true);
        check("http://10.0.0.1:1", false);
        check("http://localhost.example:1", false);
        check("http://[fd00::1]:1", false);
    }
}
