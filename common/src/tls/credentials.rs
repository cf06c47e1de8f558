//! The certificate, key and authority of this process, read again when their files change. Decides nothing
//! about others, and opens no connection.
//!
//! Files are looked at when a connection is made; what stands goes on with what it began with. A change that
//! cannot be used is logged and has no effect: the old certificate serves until a usable one is there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureScheme};

use super::authority::{Authority, Usage};
use super::facts::CertificateFacts;
use super::folder::{AUTHORITY_CERTIFICATE, FolderError, IDENTITY, ISSUER, Pem, read_pem};
use super::issue::{IssueError, KeyPair, Signer};
use super::moment::WallSource;
use super::problem::CertificateProblem;
use crate::identity::{Identity, Role};
use crate::time::WallTime;

/// What a folder held when it was last looked at.
#[derive(Debug)]
pub struct Loaded {
    /// Whom this process trusts.
    pub authority: Authority,
    /// Who this process is.
    pub identity: Identity,
    /// What its certificate says.
    pub facts: CertificateFacts,
    certified: Arc<CertifiedKey>,
}

impl Loaded {
    /// Its certificate, and what leads from there to the authority.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// Whether this process is here for what it does.
    ///
    /// # Errors
    ///
    /// If its certificate is that of another role.
    pub fn check_role(&self, role: Role) -> Result<(), CertificateProblem> {
        if self.identity.role() == role {
            return Ok(());
        }
        let whose = self.identity.to_string();
        Err(CertificateProblem::WrongRole { whose, needed: CertificateProblem::needed(role) })
    }

    /// Whether this process can show its certificate to anybody.
    ///
    /// # Errors
    ///
    /// Why nobody would take it.
    pub fn check(&self, now: WallTime) -> Result<(), CertificateProblem> {
        let usage = if self.identity.role() == Role::Master { Usage::Server } else { Usage::Client };
        self.authority.judge(self.chain(), usage, now).map(drop)
    }
}

/// The certificate, key and authority of this process.
#[derive(Debug)]
pub struct Credentials {
    folder: PathBuf,
    clock: WallSource,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stamp: Stamp,
    loaded: Arc<Loaded>,
}

/// What tells one content of the two files from another: inode, length and time of change of each.
type Stamp = [Option<(u64, u64, i64, i64)>; 2];

impl Credentials {
    /// Reads a folder.
    ///
    /// # Errors
    ///
    /// If a file is missing, cannot be read or cannot be used. Certificates that are over are none of that:
    /// they are read, and refused where they are shown.
    pub fn open(folder: &Path, clock: WallSource) -> Result<Arc<Self>, FolderError> {
        let stamp = stamp(folder);
        let loaded = Arc::new(load(folder)?);
        let state = Mutex::new(State { stamp, loaded });
        Ok(Arc::new(Self { folder: folder.to_owned(), clock, state }))
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The time, as these are judged by.
    pub fn clock(&self) -> &WallSource {
        &self.clock
    }

    /// What the folder holds now, or, if that cannot be used, what it held before.
    pub fn current(&self) -> Arc<Loaded> {
        // A panic elsewhere leaves no half-written state: it is replaced as a whole.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = stamp(&self.folder);
        if seen != state.stamp {
            match load(&self.folder) {
                Ok(loaded) => {
                    let (identity, end) = (&loaded.identity, loaded.facts.end);
                    tracing::info!(%identity, serial = loaded.facts.serial, %end, "certificate read again");
                    state.loaded = Arc::new(loaded);
                }
                Err(error) => {
                    let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::warn!(%error, reason, "changed certificate cannot be used, the old one stays");
                }
            }
            state.stamp = seen;
        }
        Arc::clone(&state.loaded)
    }

    /// The one with which a master issues certificates of workers.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be used.
    pub fn signer(&self) -> Result<Signer, FolderError> {
        load_signer(&self.folder.join(ISSUER))
    }

    /// These, for the server's end of connections.
    pub(super) fn for_server(self: &Arc<Self>) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Resolver(Arc::clone(self)))
    }

    /// These, for the client's end of connections.
    pub(super) fn for_client(self: &Arc<Self>) -> Arc<dyn ResolvesClientCert> {
        Arc::new(Resolver(Arc::clone(self)))
    }
}

/// Reads a key and the certificate with which it vouches for others.
///
/// # Errors
///
/// If there is none, or it cannot be used.
pub fn load_signer(path: &Path) -> Result<Signer, FolderError> {
    let Pem { certificates, key } = read_pem(path)?;
    signer_of(path, certificates, key)
}

fn signer_of(
    path: &Path,
    certificates: Vec<CertificateDer<'static>>,
    key: Option<PrivateKeyDer<'static>>,
) -> Result<Signer, FolderError> {
    let lacks = |what| FolderError::Lacks { path: path.to_owned(), what };
    let certificate = certificates.into_iter().next().ok_or_else(|| lacks("certificate"))?;
    let key = key.ok_or_else(|| lacks("key"))?;
    let unusable = |source| FolderError::Certificate { path: path.to_owned(), source };
    let key = KeyPair::try_from(&key)
        .map_err(|error| unusable(CertificateProblem::Unreadable { what: error.to_string() }))?;
    Signer::load(certificate, key).map_err(|error| {
        unusable(match error {
            IssueError::Certificate { source } => source,
            other => CertificateProblem::Unreadable { what: other.to_string() },
        })
    })
}

/// Reads a certificate and, from another file, the key with which it vouches for others.
///
/// # Errors
///
/// If one of them is missing, or cannot be used.
pub fn signer_of_files(certificate: &Path, key: &Path) -> Result<Signer, FolderError> {
    let certificates = read_pem(certificate)?.certificates;
    signer_of(key, certificates, read_pem(key)?.key)
}

#[derive(Debug)]
struct Resolver(Arc<Credentials>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current().certified))
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The cryptography of all connections: AWS-LC, and the suites of TLS 1.3 with AES first, which processors
/// do in hardware.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
        _ => 2,
    });
    Arc::new(provider)
}

fn load(folder: &Path) -> Result<Loaded, FolderError> {
    let authority_path = folder.join(AUTHORITY_CERTIFICATE);
    let unusable = |path: &Path, source| FolderError::Certificate { path: path.to_owned(), source };
    let authority = read_pem(&authority_path)?.certificates;
    let authority = Authority::new(authority).map_err(|source| unusable(&authority_path, source))?;
    let path = folder.join(IDENTITY);
    let lacks = |what| FolderError::Lacks { path: path.clone(), what };
    let Pem { certificates: mut chain, key } = read_pem(&path)?;
    let facts = CertificateFacts::read(chain.first().ok_or_else(|| lacks("certificate"))?)
        .map_err(|source| unusable(&path, source))?;
    let identity = facts.identity.clone().ok_or_else(|| unusable(&path, CertificateProblem::NoIdentity))?;
    if identity.role() == Role::Master {
        // Workers that join know the authority by its fingerprint alone: they have to be shown it.
        chain.extend(authority.certificates().iter().cloned());
    }
    let key = key.ok_or_else(|| lacks("key"))?;
    let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        let what = error.to_string();
        unusable(&path, CertificateProblem::Unusable { whose: identity.to_string(), what })
    })?;
    Ok(Loaded { authority, identity, facts, certified: Arc::new(certified) })
}

fn stamp(folder: &Path) -> Stamp {
    [AUTHORITY_CERTIFICATE, IDENTITY].map(|name| {
        let meta = fs::metadata(folder.join(name)).ok()?;
        Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
    })
}
