//! Making keys and certificates: an authority, the issuers it certifies, and the certificates of everybody
//! else. Writes no files, and reads no clock.
//!
//! Keys are on the curve P-256 and sign with SHA-256. Certificates begin some minutes before they are made,
//! since clocks differ, and never outlive the one that vouches for them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

pub use rcgen::KeyPair;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use time::OffsetDateTime;

use super::facts::CertificateFacts;
use super::moment::later;
use super::problem::CertificateProblem;
use crate::identity::{Identity, Role};
use crate::time::WallTime;

/// How much earlier than now certificates begin: clocks of one cluster may differ by so much.
const SKEW: Duration = Duration::from_secs(300);

/// A host that a server is reached by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(SanType);

impl FromStr for Host {
    type Err = IssueError;

    fn from_str(text: &str) -> Result<Self, IssueError> {
        let no_host = || IssueError::Host { text: text.to_owned() };
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self(SanType::IpAddress(address)));
        }
        rustls::pki_types::DnsName::try_from(text).map_err(|_| no_host())?;
        Ok(Self(SanType::DnsName(Ia5String::try_from(text).map_err(|_| no_host())?)))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SanType::IpAddress(address) => write!(f, "{address}"),
            SanType::DnsName(name) => f.write_str(name.as_str()),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Why a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// That is no host.
    #[error("{text:?} is neither the name of a host nor an IP address")]
    Host {
        /// What was given.
        text: String,
    },
    /// What vouches for it is over.
    #[error("{whose} vouches for nobody any more: it ended at {end}")]
    Over {
        /// Whose certificate.
        whose: String,
        /// The end of its validity.
        end: WallTime,
    },
    /// What vouches for it cannot be used.
    #[error("cannot vouch for others")]
    Certificate {
        /// Why.
        #[source]
        source: CertificateProblem,
    },
    /// A request is none, or was not signed with the key in it.
    #[error("the request for a certificate cannot be taken: {what}")]
    Request {
        /// What is wrong.
        what: String,
    },
    /// Making keys or signatures failed.
    #[error("cannot make a key or certificate")]
    Crypto {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
}

impl From<rcgen::Error> for IssueError {
    fn from(source: rcgen::Error) -> Self {
        Self::Crypto { source }
    }
}

/// Whom a certificate is for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Who.
    pub identity: &'a Identity,
    /// By which hosts they are reached.
    pub hosts: &'a [Host],
}

/// Somebody who vouches for others: the authority itself, or an issuer that it has certified.
#[derive(Debug)]
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    end: WallTime,
    whose: String,
}

impl Signer {
    /// Makes the authority of a cluster of this name.
    ///
    /// # Errors
    ///
    /// If the machine gives no random bytes.
    pub fn authority(cluster: &str, life: Duration, now: WallTime) -> Result<(Self, KeyPair), IssueError> {
        let key = new_key()?;
        let mut params = params(&format!("gristmill authority of {cluster}"), now, later(now, life))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().clone();
        Ok((Self::load(certificate, copy(&key)?)?, key))
    }

    /// Takes up a certificate and its key.
    ///
    /// # Errors
    ///
    /// If the certificate vouches for nobody, or the key is another one's.
    pub fn load(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, IssueError> {
        let facts = CertificateFacts::read(&certificate).map_err(|source| IssueError::Certificate { source })?;
        let unusable = |what: &str| IssueError::Certificate {
            source: CertificateProblem::Unusable { whose: facts.whose(), what: what.to_owned() },
        };
        if !facts.is_authority {
            return Err(unusable("it is not an authority's"));
        }
        // The raw key is the end of what the certificate holds of it.
        let spki = webpki::EndEntityCert::try_from(&certificate).map(|parsed| parsed.subject_public_key_info());
        let holds = spki.is_ok_and(|spki| spki.as_ref().ends_with(key.der_bytes()));
        if !holds {
            return Err(unusable("the key beside it is another one's"));
        }
        let (end, whose) = (facts.end, facts.whose());
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { issuer, certificate, end, whose })
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The end of its validity.
    pub fn end(&self) -> WallTime {
        self.end
    }

    /// Makes an issuer, who vouches for workers and nobody else.
    ///
    /// # Errors
    ///
    /// If this signer is over, or the machine gives no random bytes.
    pub fn issuer(&self, cluster: &str, life: Duration, now: WallTime) -> Result<(Self, KeyPair), IssueError> {
        let key = new_key()?;
        let mut params = params(&format!("gristmill issuer of {cluster}"), now, self.until(life, now)?)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        Ok((Self::load(certificate, copy(&key)?)?, key))
    }

    /// Certifies that a key is somebody's.
    ///
    /// # Errors
    ///
    /// If this signer is over, or signing fails.
    pub fn certify(
        &self,
        subject: Subject<'_>,
        key: &impl PublicKeyData,
        life: Duration,
        now: WallTime,
    ) -> Result<CertificateDer<'static>, IssueError> {
        let mut params = params(&subject.identity.to_string(), now, self.until(life, now)?)?;
        let uri = Ia5String::try_from(subject.identity.to_uri())?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.subject_alt_names.extend(subject.hosts.iter().map(|host| host.0.clone()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match subject.identity.role() {
            Role::Master => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Role::Worker => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Role::Submitter | Role::Viewer | Role::Admin => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }

    fn until(&self, life: Duration, now: WallTime) -> Result<WallTime, IssueError> {
        if self.end <= now {
            return Err(IssueError::Over { whose: self.whose.clone(), end: self.end });
        }
        Ok(later(now, life).min(self.end))
    }
}

/// A request for a certificate of this key (PKCS #10, RFC 2986). It names nobody: whom the certificate is
/// for is decided by whoever issues it.
///
/// # Errors
///
/// If signing fails.
pub fn request(key: &KeyPair) -> Result<Vec<u8>, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("a key");
    Ok(params.serialize_request(key)?.der().to_vec())
}

/// The key in a request that was signed with it.
///
/// # Errors
///
/// If it is no request, was signed with another key, or the key is of another kind than Gristmill's.
pub fn read_request(der: &[u8]) -> Result<impl PublicKeyData + use<>, IssueError> {
    let der = CertificateSigningRequestDer::from(der);
    let refused = |what: String| IssueError::Request { what };
    let parsed = CertificateSigningRequestParams::from_der(&der).map_err(|error| refused(error.to_string()))?;
    if PublicKeyData::algorithm(&parsed.public_key) != &PKCS_ECDSA_P256_SHA256 {
        return Err(refused("its key is not on the curve P-256".to_owned()));
    }
    Ok(parsed.public_key)
}

/// A new key.
///
/// # Errors
///
/// If the machine gives no random bytes.
pub fn new_key() -> Result<KeyPair, IssueError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn copy(key: &KeyPair) -> Result<KeyPair, IssueError> {
    Ok(KeyPair::try_from(key.serialized_der())?)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn params(name: &str, now: WallTime, end: WallTime) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    let start = WallTime { unix_millis: now.unix_millis.saturating_sub(SKEW.as_millis() as u64) };
    (params.not_before, params.not_after) = (date(start)?, date(end)?);
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
    // Positive, and not beginning with a zero byte: what is shown of it is the whole number.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn date(wall: WallTime) -> Result<OffsetDateTime, IssueError> {
    let seconds = i64::try_from(wall.unix_millis / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| IssueError::from(rcgen::Error::Time))
}
