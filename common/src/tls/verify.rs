//! What is checked while a connection is made. A client judges the server's certificate there and then. A
//! server lets every certificate through the handshake, and judges it right after: in TLS 1.3 a client
//! learns of a refused handshake late and only as a number, while over a connection that stands it can be
//! told why.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version::TLS13;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, SignatureScheme,
};

use super::authority::{Authority, Usage, check_host};
use super::credentials::{Credentials, provider};
use super::moment::WallSource;
use super::problem::CertificateProblem;
use crate::identity::Role;
use crate::time::WallTime;

/// What both ends speak.
const ALPN: &[u8] = b"h2";

/// How a server with these credentials makes connections.
pub(super) fn server_config(credentials: &Arc<Credentials>) -> Arc<ServerConfig> {
    let provider = provider();
    let time = Arc::new(credentials.clock().clone());
    let mut config = ServerConfig::builder_with_details(Arc::clone(&provider), time)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(JudgedLater(provider)))
        .with_cert_resolver(credentials.for_server());
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Each connection proves anew who is there: no certificate that was replaced lives on in a ticket.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// How a client with these credentials makes connections to servers of a role.
pub(super) fn client_config(credentials: &Arc<Credentials>, server: Role) -> Arc<ClientConfig> {
    let expected = Expected { trust: Trust::Folder(Arc::clone(credentials)), role: server, provider: provider() };
    let time = credentials.clock().clone();
    configured(builder(expected, time).with_client_cert_resolver(credentials.for_client()))
}

/// How somebody without a certificate makes a connection to the master whose authority has this SHA-256.
pub(super) fn first_contact(pin: [u8; 32], clock: WallSource) -> Arc<ClientConfig> {
    let trust = Trust::Pinned { pin, clock: clock.clone() };
    let expected = Expected { trust, role: Role::Master, provider: provider() };
    configured(builder(expected, clock).with_no_client_auth())
}

fn builder(
    expected: Expected,
    time: WallSource,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_details(Arc::clone(&expected.provider), Arc::new(time))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(expected))
}

fn configured(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Lets every certificate through whose key the other end has.
#[derive(Debug)]
struct JudgedLater(Arc<CryptoProvider>);

impl ClientCertVerifier for JudgedLater {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Whom a client trusts.
#[derive(Debug)]
enum Trust {
    /// The authority of its folder.
    Folder(Arc<Credentials>),
    /// The authority with this SHA-256, which the server has to show.
    Pinned { pin: [u8; 32], clock: WallSource },
}

/// The server that a client expects.
#[derive(Debug)]
struct Expected {
    trust: Trust,
    role: Role,
    provider: Arc<CryptoProvider>,
}

impl Expected {
    fn judge(&self, chain: &[CertificateDer<'_>], host: &ServerName<'_>) -> Result<(), CertificateProblem> {
        let (authority, now): (Authority, WallTime) = match &self.trust {
            Trust::Folder(credentials) => {
                let loaded = credentials.current();
                let now = credentials.clock().now();
                // What is wrong with one's own certificate is said first: the server can only guess.
                loaded.check(now)?;
                (loaded.authority.clone(), now)
            }
            Trust::Pinned { pin, clock } => (Authority::pinned(pin, chain)?, clock.now()),
        };
        let (peer, _) = authority.judge(chain, Usage::Server, now)?;
        if peer.identity.role() != self.role {
            let (whose, needed) = (peer.identity.to_string(), CertificateProblem::needed(self.role));
            return Err(CertificateProblem::WrongRole { whose, needed });
        }
        // A worker is known by who it is: where it is reached changes, and its master says it.
        if self.role == Role::Master { check_host(&chain[0], host) } else { Ok(()) }
    }
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf).chain(intermediates).cloned().collect();
        self.judge(&chain, host)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|problem| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(problem)))))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The problem with a certificate that ended a handshake, if one did.
pub(super) fn problem_of(error: &Error) -> Option<CertificateProblem> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(problem))) => problem.downcast_ref().cloned(),
        _ => None,
    }
}
