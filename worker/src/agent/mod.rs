//! The agent: the worker process around the executors. Serves one master, runs what it assigns, and
//! hands segments to other workers.
//!
//! | module | what |
//! |---|---|
//! | `link` | the stream to the master: sessions, heartbeats, orders in, reports out |
//! | `dial` | reaches the master in bounded time |
//! | `desk` | owns all state of jobs and attempts, and decides |
//! | `admission`, `crash`, `watchdog` | pure: who may start, who is to blame, who takes too long |
//! | `gather` | makes the segments of a reduce attempt local |
//! | `process`, `spawner`, `log` | one executor process, the thread that starts it, what it prints |
//! | `supply` | the binary and the files that a job comes with |
//! | `joining` | the worker's certificate: the first one, and those after it |
//! | `unsent` | reports that wait for a stream |
//! | `binary` | what this process is, and on which machine |
//!
//! Link, desk, executors and fetches are tasks that only send each other messages.

mod admission;
mod binary;
mod config;
pub(crate) mod crash;
mod desk;
mod dial;
mod gather;
mod job;
mod joining;
mod link;
mod log;
pub(crate) mod process;
mod report;
mod spawner;
mod supply;
#[cfg(test)]
mod tests;
mod unsent;
pub(crate) mod watchdog;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::identity::Role;
use gristmill_common::ids::MasterEpoch;
use gristmill_common::storage::{ContentError, ContentStore, Fetcher};
use gristmill_common::tls::{Access, CertificateProblem, Credentials, Dialer, Gate, ServerTls};
use gristmill_common::wire::{WIRE_VERSION, transport, v1};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::admission::Admission;
pub use self::binary::own_binary;
use self::binary::{Binary, machine_name};
pub use self::config::WorkerConfig;
use self::desk::{Desk, DeskConfig, DeskEvent};
use self::joining::Renewal;
pub use self::joining::{JoinConfig, JoinError, join};
pub use self::link::LinkError;
use self::link::{Goodbye, Link};
use self::process::Launcher;
use self::spawner::Spawner;
use self::supply::Supply;
pub use self::supply::check_platform;
use self::unsent::Unsent;
use crate::executor::EXECUTOR_VERB;
use crate::memory::MemoryPermits;
use crate::scratch::{Held, Scratch, WorkerDir, WorkerDirError};
use crate::serve::ShuffleService;

/// Events that wait for the desk. It never waits for long, so this only bounds memory.
const MAX_WAITING_EVENTS: usize = 1024;

/// How long a cancelled attempt may take to notice. Raised, a job whose user code hangs holds its
/// slot for longer; lowered, an attempt in the middle of a long record costs its neighbours their
/// executor.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// How executors are started and stopped; tests differ.
struct ExecutorTerms {
    /// What the binary is started with.
    args: Vec<OsString>,
    /// How long a cancelled attempt may take to notice.
    cancel_grace: Duration,
}

/// Why a worker cannot run.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// No slots, or more than anyone has.
    #[error("a worker with {slots} slots cannot be (1 to {})", gristmill_sys::positions::MAX_SLOTS)]
    Slots {
        /// What was asked for.
        slots: u32,
    },
    /// Anyone on the network could read segments.
    #[error(
        "listening on {listen} is not protected; give certificates with --certs, or --insecure-listen if everyone on that network may read the data"
    )]
    InsecureListen {
        /// What was asked for.
        listen: SocketAddr,
    },
    /// The listening address is no address to connect to.
    #[error("other workers cannot reach {listen}; give --advertise HOST")]
    NoAdvertisedAddress {
        /// What was asked for.
        listen: SocketAddr,
    },
    /// Its certificate is of no use.
    #[error("cannot work with the certificate in {}: {source}", folder.display())]
    Certificate {
        /// Where it is.
        folder: PathBuf,
        /// Why.
        #[source]
        source: CertificateProblem,
    },
    /// Its folder cannot be used.
    #[error(transparent)]
    Dir(#[from] WorkerDirError),
    /// Its folder of files that travel with jobs cannot be used.
    #[error(transparent)]
    Files(#[from] ContentError),
    /// Its own binary cannot be read.
    #[error("cannot read this program's own file: {source}")]
    Binary {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// What was asked for.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The shuffle service ended.
    #[error("the shuffle service failed: {reason}")]
    Serve {
        /// Why.
        reason: String,
    },
    /// There is no going on with the master.
    #[error(transparent)]
    Master(#[from] LinkError),
}

/// Runs a worker until `shutdown` resolves; then it leaves its master in order and ends its executors.
///
/// Executors are the binaries that jobs were submitted with, started with [`EXECUTOR_VERB`]. Finished map
/// outputs are removed only if the master took note that the worker leaves; else they stay in the worker's
/// folder, and the next process there offers them. Nothing else is left in scratch.
///
/// # Errors
///
/// If the worker cannot start, or there is no going on with its master. Finished map outputs stay then.
pub async fn run_worker(config: WorkerConfig, shutdown: impl Future<Output = ()>) -> Result<(), WorkerError> {
    let terms = ExecutorTerms { args: vec![EXECUTOR_VERB.into()], cancel_grace: CANCEL_GRACE };
    run_with_executors(config, terms, shutdown).await
}

/// [`run_worker`] with these executors.
async fn run_with_executors(
    config: WorkerConfig,
    terms: ExecutorTerms,
    shutdown: impl Future<Output = ()>,
) -> Result<(), WorkerError> {
    config.validate()?;
    let (dir, held) = WorkerDir::open(&config.dir)?;
    let binary = std::env::current_exe().and_then(|path| Binary::open(&path));
    let binary = binary.map_err(|source| WorkerError::Binary { source })?;
    let files = ContentStore::open(&dir.files, config.file_cache)?;
    let spawner = Spawner::new(binary, terms.args).map_err(|source| WorkerError::Binary { source })?;
    let listen = config.listen;
    let listener = TcpListener::bind(listen).await.map_err(|source| WorkerError::Listen { listen, source })?;
    let bound = listener.local_addr().map_err(|source| WorkerError::Listen { listen, source })?;
    let worker = Worker::new(&config, &dir, held, files, spawner, terms.cancel_grace, bound);
    worker.run(listener, &dir, shutdown).await
}

/// The parts of a worker, ready to run.
struct Worker {
    desk: Desk,
    desk_events: mpsc::Sender<DeskEvent>,
    desk_inbox: mpsc::Receiver<DeskEvent>,
    to_link: mpsc::Sender<desk::ToLink>,
    link: Link,
    credentials: Option<Arc<Credentials>>,
    epoch: watch::Receiver<Option<MasterEpoch>>,
    leave: CancellationToken,
    tasks: TaskTracker,
}

impl Worker {
    fn new(
        config: &WorkerConfig,
        dir: &WorkerDir,
        held: Held,
        files: ContentStore,
        spawner: Spawner,
        cancel_grace: Duration,
        bound: SocketAddr,
    ) -> Self {
        let (desk_events, desk_inbox) = mpsc::channel(MAX_WAITING_EVENTS);
        let (to_link, from_desk) = mpsc::channel(MAX_WAITING_EVENTS);
        let (epoch, epoch_seen) = watch::channel(None);
        let (leave, tasks) = (CancellationToken::new(), TaskTracker::new());
        let machine = machine_name();
        let dialer = Dialer::with(config.credentials.clone());
        let register = v1::Register {
            worker_key: dir.key.clone(),
            wire_version: WIRE_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            binary_sha256: spawner.binary().to_string(),
            slots: config.slots,
            address: config.address(bound),
            machine: machine.clone(),
            scratch: dir.scratch.root().to_string_lossy().into_owned(),
            offers: Vec::new(),
        };
        tracing::info!(address = register.address, slots = config.slots, memory = %config.memory, "worker serves segments");
        let desk_config = DeskConfig {
            slots: config.slots,
            compress: config.compress,
            scratch_limit: config.scratch_limit,
            dialer: dialer.clone(),
            machine: Some(machine).filter(|_| !config.shuffle_network),
            binary: spawner.binary(),
            cancel_grace,
            stores: config.stores.clone(),
        };
        let launcher = Launcher {
            spawner,
            scratch: dir.scratch.clone(),
            logs: dir.logs.clone(),
            executor_memory: config.executor_memory,
            supply: Supply::new(files, config.master_url.clone(), dialer.clone()),
            fetcher: Fetcher::new(config.stores.clone()),
            events: desk_events.clone(),
            tasks: tasks.clone(),
        };
        let admission = Admission::new(config.slots as usize, MemoryPermits::new(config.memory));
        let link = Link {
            url: config.master_url.clone(),
            dialer,
            register,
            orphan_timeout: config.orphan_timeout,
            desk: desk_events.clone(),
            from_desk,
            epoch,
            leave: leave.clone(),
            session: None,
            unsent: Unsent::default(),
        };
        let desk = Desk::new(desk_config, launcher, admission, held);
        let credentials = config.credentials.clone();
        Self { desk, desk_events, desk_inbox, to_link, link, credentials, epoch: epoch_seen, leave, tasks }
    }

    async fn run(
        self,
        listener: TcpListener,
        dir: &WorkerDir,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), WorkerError> {
        let stop_serving = CancellationToken::new();
        let service = ShuffleService::new(dir.scratch.clone(), self.epoch);
        let renewal = self.credentials.clone().map(|credentials| {
            tokio::spawn(Renewal { credentials, master_url: self.link.url.clone() }.run()).abort_handle()
        });
        let mut server = tokio::spawn(serve(service, listener, self.credentials, stop_serving.clone()));
        let mut link = tokio::spawn(self.link.run());
        let desk = tokio::spawn(self.desk.run(self.desk_inbox, self.to_link));
        let result = tokio::select! {
            () = shutdown => {
                tracing::info!("worker is leaving");
                self.leave.cancel();
                Ok(())
            }
            ended = &mut link => of_task(ended).map(|_left| ()).map_err(WorkerError::Master),
            ended = &mut server => {
                let reason = match of_task(ended) {
                    Ok(()) => "it ended".to_owned(),
                    Err(error) => crate::fetch::innermost(&error),
                };
                self.leave.cancel();
                Err(WorkerError::Serve { reason })
            }
        };
        if let Some(renewal) = renewal {
            renewal.abort();
        }
        // The desk and the link end together: neither needs what the other one is dropping.
        let stopped = self.desk_events.send(DeskEvent::Stop).await;
        if stopped.is_ok() {
            of_task(desk.await);
        }
        // Bounded by the link's own wait for the master.
        let goodbye = if self.leave.is_cancelled() { of_task(link.await).ok() } else { None };
        stop_serving.cancel();
        self.tasks.close();
        tidy_up(dir.scratch.clone(), goodbye).await;
        result
    }
}

/// Hands segments out until it is told to stop: to workers alone, if this one has a certificate.
async fn serve(
    service: ShuffleService,
    listener: TcpListener,
    credentials: Option<Arc<Credentials>>,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let gate = credentials.as_ref().map(|credentials| Gate::new(workers_alone, credentials.clock().clone()));
    let router = transport::server().layer(gate.unwrap_or_else(Gate::open)).add_service(service);
    let stopped = stop.cancelled_owned();
    match credentials {
        None => router.serve_with_incoming_shutdown(transport::incoming(listener), stopped).await,
        Some(credentials) => {
            router.serve_with_incoming_shutdown(ServerTls::new(credentials).incoming(listener), stopped).await
        }
    }
}

/// Segments are for workers.
fn workers_alone(path: &str) -> Access {
    match path {
        "/gristmill.v1.Shuffle/Fetch" => Access::Holders { allowed: |role| role == Role::Worker, needed: "a worker's" },
        _ => Access::Nobody,
    }
}

/// Removes what nobody will ask for of the scratch of a worker that ends.
async fn tidy_up(scratch: Scratch, goodbye: Option<Goodbye>) {
    let tidied = tokio::task::spawn_blocking(move || match goodbye {
        Some(Goodbye::Noted) => scratch.clear(),
        Some(Goodbye::Unheard) | None => scratch.keep_finished().map(drop),
    });
    // A panic is treated as files that stay: the next start removes them.
    if let Ok(Err(error)) = tidied.await {
        tracing::warn!(%error, "scratch cannot be removed");
    }
}

/// What a task gave; its panic goes on here.
fn of_task<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    match ended {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => unreachable!("the worker's tasks are never aborted: {error}"),
        },
    }
}
