//! Which certificates an authority vouches for. Asks for no network and no clock: the time is an argument,
//! and nobody is asked whether a certificate was revoked.
//!
//! Whoever holds an *issuer*'s key, which the authority has certified, makes workers and nobody else: any
//! other identity counts only if the authority itself has signed it. So a master, which issues the
//! certificates of workers that join, cannot make an admin.

use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor};
use webpki::{EndEntityCert, KeyUsage};

use super::facts::{CertificateFacts, fingerprint};
use super::moment::{from_seconds, to_unix};
use super::peer::PeerIdentity;
use super::problem::CertificateProblem;
use crate::identity::Role;
use crate::time::WallTime;

/// The most certificates that one end may show: its own, an issuer's, and the authority's.
const MAX_CHAIN: usize = 4;

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// To be called.
    Server,
    /// To call.
    Client,
}

/// The authorities of a cluster: one, or two while one takes over from the other.
#[derive(Debug, Clone)]
pub struct Authority {
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Authority {
    /// Trusts these certificates.
    ///
    /// # Errors
    ///
    /// If there are none, or one is not an authority's.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, CertificateProblem> {
        let mut anchors = Vec::new();
        for certificate in &certificates {
            let facts = CertificateFacts::read(certificate)?;
            if !facts.is_authority {
                let what = "it is not an authority's".to_owned();
                return Err(CertificateProblem::Unusable { whose: facts.whose(), what });
            }
            let anchor = webpki::anchor_from_trusted_cert(certificate)
                .map_err(|error| CertificateProblem::Unreadable { what: error.to_string() })?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() {
            return Err(CertificateProblem::Unreadable { what: "there is none".to_owned() });
        }
        Ok(Self { certificates, anchors })
    }

    /// What it trusts, in DER.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The one among `shown` that has this SHA-256, trusted from now on.
    ///
    /// # Errors
    ///
    /// [`CertificateProblem::WrongAuthority`] if there is none.
    pub fn pinned(pin: &[u8; 32], shown: &[CertificateDer<'_>]) -> Result<Self, CertificateProblem> {
        let found = shown.iter().take(MAX_CHAIN).find(|shown| fingerprint(shown) == *pin);
        let found = found.ok_or(CertificateProblem::WrongAuthority)?;
        Self::new(vec![found.clone().into_owned()])
    }

    /// Whose certificate comes first in `chain`, with the end of its validity, if that is proven.
    ///
    /// # Errors
    ///
    /// Why it does not count.
    pub fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: WallTime,
    ) -> Result<(PeerIdentity, WallTime), CertificateProblem> {
        let leaf = chain.first().ok_or(CertificateProblem::Missing)?;
        let facts = CertificateFacts::read(leaf)?;
        let Some(identity) = facts.identity.clone() else { return Err(CertificateProblem::NoIdentity) };
        // Only workers count by way of an issuer.
        let via = if identity.role() == Role::Worker { &chain[1..chain.len().min(MAX_CHAIN)] } else { &[] };
        let key_usage = match usage {
            Usage::Server => KeyUsage::server_auth(),
            Usage::Client => KeyUsage::client_auth(),
        };
        let certificate =
            EndEntityCert::try_from(leaf).map_err(|error| problem(&error, &facts, now, "cannot be read"))?;
        certificate
            .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &self.anchors, via, to_unix(now), key_usage, None, None)
            .map_err(|error| problem(&error, &facts, now, "does not hold"))?;
        Ok((PeerIdentity { identity, serial: facts.serial }, facts.end))
    }
}

/// Whether a certificate is for a host.
///
/// # Errors
///
/// Which hosts it is for.
pub(super) fn check_host(leaf: &CertificateDer<'_>, host: &ServerName<'_>) -> Result<(), CertificateProblem> {
    let facts = CertificateFacts::read(leaf)?;
    let certificate =
        EndEntityCert::try_from(leaf).map_err(|error| CertificateProblem::Unreadable { what: error.to_string() })?;
    certificate.verify_is_valid_for_subject_name(host).map_err(|_| {
        let names = if facts.hosts.is_empty() { "no host".to_owned() } else { facts.hosts.join(", ") };
        CertificateProblem::WrongHost { whose: facts.whose(), names, host: host.to_str().into_owned() }
    })
}

fn problem(error: &webpki::Error, facts: &CertificateFacts, now: WallTime, what: &str) -> CertificateProblem {
    let whose = facts.whose();
    let at = |time: &rustls::pki_types::UnixTime| from_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    match error {
        webpki::Error::CertExpired { not_after, .. } => CertificateProblem::Expired { whose, end: at(not_after), now },
        webpki::Error::CertNotValidYet { not_before, .. } => {
            CertificateProblem::NotYetValid { whose, start: at(not_before), now }
        }
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            CertificateProblem::Foreign { whose }
        }
        other => CertificateProblem::Unusable { whose, what: format!("it {what} ({other})") },
    }
}
