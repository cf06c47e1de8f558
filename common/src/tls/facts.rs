//! What a certificate says of itself. Reads; believes nothing: whether it is true is for the
//! [`Authority`](super::Authority) to tell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::CertificateProblem;
use super::moment::from_seconds;
use crate::identity::Identity;
use crate::time::WallTime;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whose it is; `None` for an authority's, and for one that is not of Gristmill.
    pub identity: Option<Identity>,
    /// The name of its subject, for display.
    pub subject: String,
    /// The name of who issued it, for display.
    pub issuer: String,
    /// Its serial number, in lower-case hexadecimal without separators.
    pub serial: String,
    /// Hosts it is for.
    pub hosts: Vec<String>,
    /// The beginning of its validity.
    pub start: WallTime,
    /// The end of its validity.
    pub end: WallTime,
    /// Whether it vouches for others.
    pub is_authority: bool,
    /// The SHA-256 of the whole certificate.
    pub fingerprint: [u8; 32],
}

impl CertificateFacts {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    ///
    /// [`CertificateProblem::Unreadable`] if it is none.
    pub fn read(der: &[u8]) -> Result<Self, CertificateProblem> {
        let unreadable = |what: String| CertificateProblem::Unreadable { what };
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|error| unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(unreadable("something follows it".to_owned()));
        }
        let names = certificate.subject_alternative_name().map_err(|error| unreadable(error.to_string()))?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Identity::from_uri(uri),
            _ => None,
        });
        // Of two identities none counts: which one is meant would be for the reader to choose.
        let identity = match (uris.next(), uris.next()) {
            (Some(Ok(identity)), None) => Some(identity),
            _ => None,
        };
        let validity = certificate.validity();
        Ok(Self {
            identity,
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            serial: hex(certificate.tbs_certificate.raw_serial()),
            hosts: names.iter().filter_map(host).collect(),
            start: from_seconds(validity.not_before.timestamp()),
            end: from_seconds(validity.not_after.timestamp()),
            is_authority: certificate.is_ca(),
            fingerprint: fingerprint(der),
        })
    }

    /// Whose it says it is, for sentences.
    pub fn whose(&self) -> String {
        self.identity.as_ref().map_or_else(|| self.subject.clone(), Identity::to_string)
    }
}

/// The SHA-256 of a certificate.
pub(super) fn fingerprint(der: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    hash
}

/// The SHA-256 of a public key, in hexadecimal.
pub fn key_fingerprint(key: &impl rcgen::PublicKeyData) -> String {
    hex(&fingerprint(key.der_bytes()))
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
            let v6 = <[u8; 16]>::try_from(*bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
