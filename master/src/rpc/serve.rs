//! From a configuration to a master that serves, and its orderly end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::identity::Role;
use gristmill_common::ids::MasterEpoch;
use gristmill_common::storage::{ContentError, Stores};
use gristmill_common::time::Clock;
use gristmill_common::tls::{CertificateProblem, Credentials, Gate, ServerTls};
use gristmill_common::wire::{transport, v1};
use tokio::net::TcpListener;
use tracing::{info, warn};

use super::control::ControlService;
use super::files::{FilesService, PIECE_BYTES};
use super::jobs::JobsService;
use super::members::MembersService;
use super::rules::rule;
use crate::runtime::journal::{JournalError, RedbJournal};
use crate::runtime::{
    JoinTokens, MasterHandle, OpenJobs, RecoverError, ShippedFiles, StateDir, StateError, TokensError, recover,
    start_driver,
};
use crate::scheduler::SchedulerConfig;

/// How long connections may take to end after the driver has.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(2);

/// How a master runs.
#[derive(Debug, Clone)]
pub struct MasterConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its state folder.
    pub state: PathBuf,
    /// Whether it may listen where other machines reach it, without encryption or authentication.
    pub insecure_listen: bool,
    /// Its certificate: all connections are encrypted then, and certificates are asked for.
    pub credentials: Option<Arc<Credentials>>,
    /// How its scheduler behaves; the epoch comes from the state folder.
    pub scheduler: SchedulerConfig,
    /// What becomes of its open jobs when it is told to end.
    pub open_jobs: OpenJobs,
    /// Reaches inputs and outputs in object stores.
    pub stores: Stores,
}

/// A master that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterReady {
    /// Its URL, with the real port.
    pub url: String,
    /// Its epoch.
    pub epoch: MasterEpoch,
    /// What its operator should know.
    pub warning: Option<String>,
}

/// Why a master does not serve.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// Other machines could reach it.
    #[error("refusing to listen on {listen}: whoever reaches that address could run programs here")]
    Insecure {
        /// The address.
        listen: SocketAddr,
    },
    /// The state folder cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Its certificate is of no use.
    #[error("cannot serve with the certificate in {}", folder.display())]
    Certificate {
        /// Where it is.
        folder: PathBuf,
        /// Why.
        source: CertificateProblem,
    },
    /// The file of tokens to join with cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The journal cannot be opened, or nothing more can be recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Its folder of files that travel with jobs cannot be used.
    #[error(transparent)]
    Files(#[from] ContentError),
    /// What earlier masters left cannot be used.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The address cannot be had.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the operating system reports.
        source: io::Error,
    },
    /// The server ended by itself.
    #[error("the master's server failed")]
    Serve {
        /// What it reports.
        source: tonic::transport::Error,
    },
}

impl MasterError {
    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            MasterError::Insecure { .. } => Some(
                "give certificates with --certs DIR (gristmill certs init makes them), or listen on 127.0.0.1; \
                     --insecure-listen goes without, where everybody on that network may run programs",
            ),
            MasterError::State(StateError::InUse { .. }) => Some("give each master its own --state folder"),
            MasterError::Listen { .. } => Some("choose another port with --listen, or port 0 for any free one"),
            MasterError::Journal(error) => error.hint(),
            MasterError::Recover(error) => error.hint(),
            MasterError::Certificate { source, .. } => source.hint(),
            MasterError::Tokens(_) | MasterError::State(_) | MasterError::Files(_) | MasterError::Serve { .. } => None,
        }
    }
}

/// Runs a master until `shutdown` completes: then its open jobs are kept or cancelled as the
/// configuration says, its streams end, and this returns within some seconds. Calls `ready` once it
/// serves.
///
/// # Errors
///
/// If the address is not safe or cannot be had, the state folder, its journal or the output of an open
/// job cannot be used, the journal cannot be written any more, or the server fails. Open jobs are the
/// next master's then.
pub async fn run_master(
    config: MasterConfig,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(MasterReady),
) -> Result<(), MasterError> {
    let MasterConfig { listen, state, insecure_listen, credentials, mut scheduler, open_jobs, stores } = config;
    let warning = if credentials.is_some() { None } else { check_address(listen, insecure_listen)? };
    credentials.as_deref().map_or(Ok(()), check_certificate)?;
    let clock = Clock::start();
    let state = StateDir::open(&state)?;
    let mut journal = RedbJournal::open(&state.journal())?;
    let tokens = JoinTokens::open(&state.join_tokens())?;
    let files = ShippedFiles::open(&state.files(), std::env::current_exe().ok().as_deref())?;
    let recovered = recover(&mut journal, &files, &stores, clock.wall())?;
    let source = |source| MasterError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(source)?;
    let address = listener.local_addr().map_err(source)?;
    scheduler.epoch = state.epoch();
    let lease = scheduler.lease;
    let (master, driver) = start_driver(clock, scheduler, Box::new(journal), recovered, files.clone(), stores);
    info!(%address, epoch = %state.epoch(), "master serves");
    let scheme = if credentials.is_some() { "https" } else { "http" };
    ready(MasterReady { url: format!("{scheme}://{address}"), epoch: state.epoch(), warning });

    let served = {
        let members = MembersService::new(credentials.clone(), tokens);
        let server = serve(listener, master.clone(), files, members, credentials, lease);
        tokio::pin!(server);
        tokio::select! {
            result = &mut server => result,
            () = shutdown => {
                master.shutdown(open_jobs).await;
                // All streams have ended by now; idle connections need not be waited for.
                tokio::time::timeout(CONNECTION_PATIENCE, server).await.unwrap_or(Ok(()))
            }
        }
    };
    if served.is_err() {
        master.shutdown(open_jobs).await;
    }
    drop(master);
    match driver.await {
        Ok(ended) => ended?,
        // A bug of ours: whoever runs the master sees it as one.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_cancelled) => {}
    }
    served.map_err(|source| MasterError::Serve { source })
}

/// Serves a driver on a listener until the driver ends.
async fn serve(
    listener: TcpListener,
    master: MasterHandle,
    files: ShippedFiles,
    members: MembersService,
    credentials: Option<Arc<Credentials>>,
    lease: Duration,
) -> Result<(), tonic::transport::Error> {
    let control = v1::control_server::ControlServer::new(ControlService::new(master.clone(), lease))
        .max_decoding_message_size(transport::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(transport::MAX_MESSAGE_BYTES);
    let jobs = v1::jobs_server::JobsServer::new(JobsService::new(master.clone()))
        .max_decoding_message_size(transport::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(transport::MAX_MESSAGE_BYTES);
    let files = v1::files_server::FilesServer::new(FilesService::new(files))
        .max_decoding_message_size(2 * PIECE_BYTES)
        .max_encoding_message_size(2 * PIECE_BYTES);
    let members = v1::members_server::MembersServer::new(members)
        .max_decoding_message_size(transport::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(transport::MAX_MESSAGE_BYTES);
    let gate = credentials.as_ref().map(|credentials| Gate::new(rule, credentials.clock().clone()));
    let router = transport::server()
        .layer(gate.unwrap_or_else(Gate::open))
        .add_service(control)
        .add_service(files)
        .add_service(jobs)
        .add_service(members);
    let gone = async move { master.gone().await };
    match credentials {
        None => router.serve_with_incoming_shutdown(transport::incoming(listener), gone).await,
        Some(credentials) => {
            router.serve_with_incoming_shutdown(ServerTls::new(credentials).incoming(listener), gone).await
        }
    }
}

/// Refuses a certificate with which nobody would take this for a master.
fn check_certificate(credentials: &Credentials) -> Result<(), MasterError> {
    let loaded = credentials.current();
    let checked = loaded.check_role(Role::Master).and_then(|()| loaded.check(credentials.clock().now()));
    checked.map_err(|source| MasterError::Certificate { folder: credentials.folder().to_owned(), source })
}

/// Refuses addresses that other machines reach; returns the warning if it is allowed all the same.
fn check_address(listen: SocketAddr, insecure_listen: bool) -> Result<Option<String>, MasterError> {
    if listen.ip().is_loopback() {
        return Ok(None);
    }
    if !insecure_listen {
        return Err(MasterError::Insecure { listen });
    }
    warn!(%listen, "listening without encryption or authentication");
    Ok(Some(format!(
        "listening on {listen} without encryption or authentication: whoever reaches it can run programs here"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(state: PathBuf, listen: &str, insecure_listen: bool) -> MasterConfig {
        let scheduler = SchedulerConfig::default();
        let open_jobs = OpenJobs::Keep;
        let (listen, stores) = (listen.parse().expect("an address"), Stores::without_environment());
        MasterConfig { listen, state, insecure_listen, credentials: None, scheduler, open_jobs, stores }
    }

    #[test]
    fn other_machines_are_kept_out_unless_told() {
        let check = |listen: &str, insecure_listen, refused: bool, warned: bool| {
            let result = check_address(listen.parse().expect("an address"), insecure_listen);
            assert_eq!((result.is_err(), result.is_ok_and(|warning| warning.is_some())), (refused, warned), "{listen}");
        };
        check("127.0.0.1:7420", false, false, false);
        check("127.9.9.9:0", true, false, false);
        check("[::1]:7420", false, false, false);
        check("0.0.0.0:7420", false, true, false);
        check("10.1.2.3:7420", true, false, true);
        check("[::]:7420", true, false, true);
    }

    #[tokio::test]
    async fn a_master_serves_on_a_free_port_and_ends_when_told() {
        let dir = tempfile::tempdir().expect("scratch");
        for epoch in 1..3 {
            let mut told = None;
            let config = config(dir.path().join("state"), "127.0.0.1:0", false);
            run_master(config, std::future::ready(()), |ready| told = Some(ready)).await.expect("serves");
            let ready = told.expect("it was ready");
            assert_eq!((ready.epoch, ready.warning), (MasterEpoch(epoch), None));
            assert!(ready.url.starts_with("http://127.0.0.1:") && !ready.url.ends_with(":0"), "{}", ready.url);
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let dir = tempfile::tempdir().expect("scratch");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let listen = listener.local_addr().expect("bound").to_string();
        let config = config(dir.path().to_owned(), &listen, false);
        let error = run_master(config, std::future::pending(), |_| {}).await.expect_err("in use");
        assert_eq!(error.to_string(), format!("cannot listen on {listen}"));
    }
}
