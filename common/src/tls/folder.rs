//! Certificates and keys on disk, in PEM (RFC 7468). Files are for their owner alone, keys that others can
//! read are refused, and nothing is written over unless it is to be replaced.
//!
//! | file | what |
//! |---|---|
//! | `authority.crt` | the authority's certificate, which everybody trusts |
//! | `authority.key` | the authority's key: needed to issue certificates, and nowhere else |
//! | `identity.pem` | one's own key, and the certificate of it, in one file, so that both are replaced at once |
//! | `issuer.pem` | a master's alone: the key and certificate with which it issues those of workers |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::problem::CertificateProblem;

/// The authority's certificate.
pub const AUTHORITY_CERTIFICATE: &str = "authority.crt";
/// The authority's key.
pub const AUTHORITY_KEY: &str = "authority.key";
/// One's own key and certificate.
pub const IDENTITY: &str = "identity.pem";
/// A master's key and certificate to issue others with.
pub const ISSUER: &str = "issuer.pem";

/// The longest file that is read: a key and some certificates take a few KiB.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// Permissions that a file with a key must not give: others may not read it, nor the group write it.
const FORBIDDEN_MODE: u32 = 0o027;

/// Why certificates on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refuses.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it reports.
        #[source]
        source: io::Error,
    },
    /// It is there already.
    #[error("{} is there already", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the key in it.
    #[error("others can read the key in {} (mode {mode:o})", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Something is missing in it.
    #[error("{} holds no {what}", .path.display())]
    Lacks {
        /// The file.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
    /// What it holds cannot be used.
    #[error("cannot use {}", .path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CertificateProblem,
    },
}

impl FolderError {
    /// What to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => path
                .ends_with(AUTHORITY_KEY)
                .then(|| "bring the authority's key back, or name its folder with --dir".to_owned()),
            Self::Exists { .. } => Some("name another folder, or say --replace to renew a certificate".to_owned()),
            Self::Open { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::Certificate { source, .. } => source.hint().map(ToOwned::to_owned),
            Self::Io { .. } | Self::Lacks { .. } => None,
        }
    }
}

/// What a file holds.
#[derive(Debug)]
pub struct Pem {
    /// The certificates, in order.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: Option<PrivateKeyDer<'static>>,
}

/// Reads a file of certificates, perhaps with a key.
///
/// # Errors
///
/// If it cannot be read, is no such file, or holds a key that others can read.
pub fn read_pem(path: &Path) -> Result<Pem, FolderError> {
    let failed = |source| io_error("read", path, source);
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let mut text = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(&file, MAX_FILE_BYTES), &mut text).map_err(failed)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let unreadable = |error: rustls::pki_types::pem::Error| FolderError::Certificate {
        path: path.to_owned(),
        source: CertificateProblem::Unreadable { what: error.to_string() },
    };
    let certificates = certificates.map_err(unreadable)?;
    let key = match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Some(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => None,
        Err(error) => return Err(unreadable(error)),
    };
    let mode = meta.mode() & 0o777;
    if key.is_some() && mode & FORBIDDEN_MODE != 0 {
        return Err(FolderError::Open { path: path.to_owned(), mode });
    }
    Ok(Pem { certificates, key })
}

/// Certificates as text.
pub fn to_pem(certificates: &[CertificateDer<'_>]) -> String {
    certificates.iter().map(|der| encoded("CERTIFICATE", der)).collect()
}

fn encoded(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut lines = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines.push_str(&format!("-----END {label}-----\n"));
    lines
}

/// Makes a folder, and those above it, for its owner alone; one that is there stays as it is.
///
/// # Errors
///
/// If the system refuses.
pub fn create_folder(path: &Path) -> Result<(), FolderError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|source| io_error("create", path, source))
}

/// Writes a new file for its owner alone, which outlasts a crash.
///
/// # Errors
///
/// [`FolderError::Exists`] if it is there, or if the system refuses.
pub fn write_new(path: &Path, text: &str) -> Result<(), FolderError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => FolderError::Exists { path: path.to_owned() },
        _ => io_error("create", path, source),
    })?;
    fill(&file, path, text)
}

/// Writes a file for its owner alone in the place of one that may be there: whoever reads it meanwhile has
/// the old one or the new one.
///
/// # Errors
///
/// If the system refuses.
pub fn replace_file(path: &Path, text: &str) -> Result<(), FolderError> {
    let next = path.with_extension("next");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next);
    fill(&file.map_err(|source| io_error("create", &next, source))?, &next, text)?;
    fs::rename(&next, path).map_err(|source| io_error("replace", path, source))?;
    sync_folder(path)
}

fn fill(mut file: &File, path: &Path, text: &str) -> Result<(), FolderError> {
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|source| io_error("write", path, source))?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> Result<(), FolderError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| io_error("write", folder, source))
}

pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> FolderError {
    FolderError::Io { action, path: path.to_owned(), source }
}
