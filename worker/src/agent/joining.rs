//! How a worker gets its certificate: with a token at first, and with the certificate itself before that one
//! is over. Makes the keys itself; none leaves this machine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::backoff::Backoff;
use gristmill_common::time::WallTime;
use gristmill_common::tls::{
    AUTHORITY_CERTIFICATE, Authority, CertificateDer, CertificateFacts, CertificateProblem, Credentials, DialError,
    Dialer, FirstContact, FolderError, IDENTITY, IssueError, JoinToken, KeyPair, Usage, WallSource, create_folder,
    new_key, replace_file, request, to_pem, write_new,
};
use gristmill_common::wire::v1;
use gristmill_common::wire::v1::members_client::MembersClient;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::binary::machine_name;
use super::dial::connect;

/// The key that waits for its certificate: the same one is shown again if the answer was lost.
const WAITING_KEY: &str = "joining.key";

/// How long a master may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The waits between tries to reach the master.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// The waits between tries to renew a certificate.
const RENEWAL_BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) };

/// How often it is looked whether a certificate is to be renewed: clocks are set, and machines sleep.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How a worker joins.
#[derive(Debug)]
pub struct JoinConfig {
    /// The master, as `https://host:port`. It may start later.
    pub master_url: String,
    /// What lets the worker in.
    pub token: JoinToken,
    /// Where its certificate is put.
    pub certs: PathBuf,
    /// How long the master is looked for.
    pub patience: Duration,
    /// The time.
    pub clock: WallSource,
}

/// Why a worker has not joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The master does not let it in, or is another cluster's.
    #[error("cannot join the cluster of {url}: {reason}")]
    Refused {
        /// Where the master is.
        url: String,
        /// Why.
        reason: String,
    },
    /// The master did not answer.
    #[error("no master answered at {url} for {waited:?}: {reason}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// How long it was looked for.
        waited: Duration,
        /// The last failure.
        reason: String,
    },
    /// Key or certificate cannot be kept.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A key cannot be made.
    #[error(transparent)]
    Key(#[from] IssueError),
    /// What the master has sent is of no use.
    #[error("the master's answer cannot be used: {0}")]
    Answer(#[from] CertificateProblem),
}

/// Gets a certificate for a token and puts it into the folder, with the authority's.
///
/// # Errors
///
/// If the master refuses or stays away, or the folder cannot be written.
pub async fn join(config: &JoinConfig) -> Result<(), JoinError> {
    create_folder(&config.certs)?;
    let key = waiting_key(&config.certs)?;
    let message = v1::JoinRequest { token: config.token.to_text(), request: request(&key)?, machine: machine_name() };
    let url = config.master_url.clone();
    let mut reason = "it was not reached".to_owned();
    let asked = timeout(config.patience, async {
        let mut failures = 0;
        loop {
            match ask(config, &message).await {
                Err(Trouble::Passing(trouble)) => reason = trouble,
                Err(Trouble::Refused(reason)) => return Err(JoinError::Refused { url: url.clone(), reason }),
                Ok(reply) => return Ok(reply),
            }
            tokio::time::sleep(BACKOFF.delay(failures, crate::random::random())).await;
            failures = failures.saturating_add(1);
        }
    })
    .await;
    let waited = config.patience;
    let reply =
        asked.unwrap_or_else(|_| Err(JoinError::Unreachable { url: config.master_url.clone(), waited, reason }))?;
    let authority: Vec<CertificateDer<'static>> = reply.authority.into_iter().map(CertificateDer::from).collect();
    // The token says which authority it is; what came with it is not believed.
    let trusted = Authority::pinned(config.token.pin(), &authority)?;
    let chain = checked(reply.chain, &trusted, config.clock.now())?;
    replace_file(&config.certs.join(AUTHORITY_CERTIFICATE), &to_pem(trusted.certificates()))?;
    replace_file(&config.certs.join(IDENTITY), &identity_text(&key, &chain))?;
    let waiting = config.certs.join(WAITING_KEY);
    fs::remove_file(&waiting).map_err(|source| FolderError::Io { action: "remove", path: waiting, source })?;
    let identity = CertificateFacts::read(&chain[0])?.whose();
    tracing::info!(identity, url = config.master_url, "joined the cluster");
    Ok(())
}

enum Trouble {
    Passing(String),
    Refused(String),
}

async fn ask(config: &JoinConfig, message: &v1::JoinRequest) -> Result<v1::CertificateReply, Trouble> {
    let contact = FirstContact::new(*config.token.pin(), config.clock.clone());
    let answered = timeout(ANSWER_TIMEOUT, async {
        let channel = contact.connect(&config.master_url).await.map_err(|error| match error {
            DialError::Unreachable { reason } => Trouble::Passing(reason),
            refused => Trouble::Refused(refused.to_string()),
        })?;
        let reply = MembersClient::new(channel).join(message.clone()).await;
        reply.map(tonic::Response::into_inner).map_err(|status| of_status(&status))
    });
    answered.await.unwrap_or_else(|_| Err(Trouble::Passing("it did not answer".to_owned())))
}

fn of_status(status: &Status) -> Trouble {
    let message = status.message().to_owned();
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => Trouble::Passing(message),
        _ => Trouble::Refused(message),
    }
}

/// A chain, if the authority vouches for it.
fn checked(
    chain: Vec<Vec<u8>>,
    authority: &Authority,
    now: WallTime,
) -> Result<Vec<CertificateDer<'static>>, CertificateProblem> {
    let chain: Vec<CertificateDer<'static>> = chain.into_iter().map(CertificateDer::from).collect();
    authority.judge(&chain, Usage::Client, now)?;
    Ok(chain)
}

fn identity_text(key: &KeyPair, chain: &[CertificateDer<'_>]) -> String {
    format!("{}{}", key.serialize_pem(), to_pem(chain))
}

/// The key that waits for its certificate, made if there is none.
fn waiting_key(certs: &Path) -> Result<KeyPair, JoinError> {
    let path = certs.join(WAITING_KEY);
    match fs::read_to_string(&path) {
        Ok(text) => KeyPair::from_pem(&text).map_err(|source| IssueError::Crypto { source }.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = new_key()?;
            write_new(&path, &key.serialize_pem())?;
            Ok(key)
        }
        Err(source) => Err(FolderError::Io { action: "read", path, source }.into()),
    }
}

/// Whether a certificate is to be renewed: after two thirds of its life. One that the authority itself has
/// made is not: it was issued by hand, and is replaced by hand.
fn is_due(facts: &CertificateFacts, by_issuer: bool, now: WallTime) -> bool {
    let life = facts.end.unix_millis.saturating_sub(facts.start.unix_millis);
    by_issuer && now.unix_millis >= facts.start.unix_millis.saturating_add(life / 3 * 2)
}

/// Renews the certificate of a worker while it runs.
#[derive(Debug)]
pub(super) struct Renewal {
    pub(super) credentials: Arc<Credentials>,
    pub(super) master_url: String,
}

impl Renewal {
    /// Goes on until it is dropped.
    pub(super) async fn run(self) {
        let mut failures = 0;
        loop {
            let wait = match self.renew_if_due().await {
                Ok(_) => {
                    failures = 0;
                    LOOK_EVERY
                }
                Err(reason) => {
                    tracing::warn!(reason, "certificate not renewed yet");
                    failures += 1;
                    RENEWAL_BACKOFF.delay(failures, crate::random::random())
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Renews the certificate if that is due, and tells whether it was.
    ///
    /// # Errors
    ///
    /// Why there is no new one.
    pub(super) async fn renew_if_due(&self) -> Result<bool, String> {
        let current = self.credentials.current();
        let by_issuer = current.chain().len() > 1;
        if !is_due(&current.facts, by_issuer, self.credentials.clock().now()) {
            return Ok(false);
        }
        let key = new_key().map_err(|error| error.to_string())?;
        let message = v1::RenewRequest { request: request(&key).map_err(|error| error.to_string())? };
        let dialer = Dialer::new(Arc::clone(&self.credentials));
        let channel = connect(&dialer, &self.master_url).await.map_err(|error| error.to_string())?;
        let reply = timeout(ANSWER_TIMEOUT, MembersClient::new(channel).renew(message)).await;
        let reply = reply.map_err(|_| "it did not answer")?.map_err(|status| status.message().to_owned())?;
        let now = self.credentials.clock().now();
        let chain = checked(reply.into_inner().chain, &current.authority, now).map_err(|error| error.to_string())?;
        let path = self.credentials.folder().join(IDENTITY);
        replace_file(&path, &identity_text(&key, &chain)).map_err(|error| error.to_string())?;
        let facts = &self.credentials.current().facts;
        tracing::info!(serial = facts.serial, end = %facts.end, "certificate renewed");
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let facts = CertificateFacts {
            identity: None,
            subject: String::new(),
            issuer: String::new(),
            serial: String::new(),
            hosts: vec![],
            start: WallTime { unix_millis: 1000 },
            end: WallTime { unix_millis: 4000 },
            is_authority: false,
            fingerprint: [0; 32],
        };
        let check = |now, by_issuer, expect| {
            assert_eq!(is_due(&facts, by_issuer, WallTime { unix_millis: now }), expect, "{now}");
        };
        check(2999, true, false);
        check(3000, true, true);
        check(5000, true, true);
        check(5000, false, false);
    }
}
