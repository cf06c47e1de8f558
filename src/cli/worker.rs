//! `gristmill worker`: a worker of a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::size::ByteSize;
use gristmill_common::spec;
use gristmill_common::tls::{IDENTITY, JoinToken, JoinTokenError, WallSource};
use gristmill_worker::agent::{JoinConfig, JoinError, LinkError, WorkerConfig, WorkerError, join, run_worker};
use gristmill_worker::memory::{default_budget, default_executor_memory};

use super::client::DEFAULT_MASTER;
use super::cluster::slots_each;
use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::service::{credentials, end_on_panic, end_with_parent, listen_address, parent_arg, start_log, state_folder};
use super::{Context, usage_error};
use crate::entry::JobTable;

/// Where the shuffle service listens if nobody says: this machine's other workers reach it.
const DEFAULT_LISTEN: &str = "127.0.0.1:0";

/// How full the disk of scratch may be, in percent, for attempts to begin if nobody says. Raised, more
/// attempts fail for want of room when they have done most of their work; lowered, more of a large disk
/// is never used.
const DEFAULT_SCRATCH_LIMIT: u64 = 95;

/// What binaries and files of jobs may take on a worker's disk if nobody says. Raised, more jobs that come
/// again find theirs there.
const DEFAULT_FILE_CACHE: ByteSize = ByteSize::mib(4 << 10);

/// Where a worker that joins keeps its certificate, in its folder.
const CERTS: &str = "certs";

/// How long a worker goes on without a master if nobody says.
const DEFAULT_ORPHAN_TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
struct WorkerArgs {
    /// The master; it may start later [default: http://127.0.0.1:7420]
    #[arg(long, value_name = "URL")]
    master: Option<String>,

    /// Where other workers fetch segments; port 0 takes a free one [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// What other workers are told in place of the listening address
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<String>,

    /// Folder for scratch and logs, this worker's alone [default: gristmill/worker in ~/.local/state]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Attempts at once [default: one for each core]
    #[arg(long, value_name = "N")]
    slots: Option<u32>,

    /// Memory budget of all attempts together [default: half of the machine's]
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,

    /// How full the disk of --dir may be for new work to begin there [default: 95]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=100))]
    scratch_limit: Option<u64>,

    /// Memory that one executor process may have for its data, user code's own included; user code that
    /// takes more fails by file and offset [default: --memory and half as much again, at least 1GiB more]
    #[arg(long, value_name = "SIZE")]
    executor_memory: Option<ByteSize>,

    /// What binaries and files of jobs may take on disk; those that no job needs go first [default: 4GiB]
    #[arg(long, value_name = "SIZE")]
    file_cache: Option<ByteSize>,

    /// How long to go on without a master [default: 600]
    #[arg(long, value_name = "SECONDS")]
    orphan_timeout: Option<u64>,

    /// Whether map outputs are compressed
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Compression::Lz4)]
    compression: Compression,

    /// Whether segments of the same machine are read from its disk or fetched as all others
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Shuffle::Direct)]
    shuffle: Shuffle,

    /// Folder of the worker's certificate: connections are encrypted, and only those with a certificate get in
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,

    /// Join the master's cluster with this token, or @FILE with one; a worker that has a certificate needs none
    #[arg(long, value_name = "TOKEN")]
    join: Option<String>,

    /// Listen where other machines can connect, though nothing is encrypted or authenticated
    #[arg(long)]
    insecure_listen: bool,
}

// How map outputs are stored; plain comments, because documented values get a page of help each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Compression {
    Lz4,
    None,
}

// How segments of the same machine are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Shuffle {
    Direct,
    Network,
}

impl Shuffle {
    /// The value of the flag.
    pub(super) fn flag(self) -> &'static str {
        match self {
            Shuffle::Direct => "direct",
            Shuffle::Network => "network",
        }
    }
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    WorkerArgs::augment_args(Command::new("worker"))
        .about("Start a worker of a cluster")
        .after_help(format!("Example:\n  {program} worker --master http://127.0.0.1:7420 --dir /var/tmp/worker"))
        .arg(parent_arg())
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let args = WorkerArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let failed = |error: &dyn std::error::Error| CliError::new(Exit::Failed, "cannot start").because(error);
    let interrupt = Interrupt::install().map_err(|error| failed(&error))?;
    end_with_parent(matches.get_one("parent"))?;
    end_on_panic();
    start_log(context)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| failed(&error))?;
    if let Some(config) = joining(context, &args)? {
        let joined = runtime.block_on(async {
            tokio::select! {
                joined = join(&config) => Some(joined),
                () = interrupt.asked() => None,
            }
        });
        match joined {
            Some(joined) => joined.map_err(|error| join_error(&error))?,
            None => return Err(CliError::new(Exit::Interrupted, "interrupted before the worker had joined")),
        }
    }
    let config = config(context, args)?;
    let ended = runtime.block_on(run_worker(config, interrupt.asked()));
    ended.map(|()| Exit::Succeeded).map_err(|error| worker_error(&error))
}

fn config(context: &Context, args: WorkerArgs) -> Result<WorkerConfig, CliError> {
    let settings = &context.settings;
    let memory = args.memory.or_else(|| settings.get("memory"));
    if let Some(budget) = memory {
        spec::attempt_bytes_for(budget).map_err(|error| CliError::usage(error.to_string()))?;
    }
    let memory = memory.unwrap_or_else(default_budget);
    let executor_memory = args.executor_memory.or_else(|| settings.get("executor-memory"));
    let executor_memory = executor_memory.unwrap_or_else(|| default_executor_memory(memory));
    if executor_memory < memory {
        return Err(CliError::usage(format!(
            "an executor with {executor_memory} cannot hold what its attempts may take, {memory}"
        ))
        .hint("raise --executor-memory above --memory, or lower --memory"));
    }
    let listen = args.listen.unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    let dir = worker_folder(context, args.dir);
    Ok(WorkerConfig {
        master_url: args.master.or_else(|| settings.get("master")).unwrap_or_else(|| DEFAULT_MASTER.to_owned()),
        listen: listen_address(&listen)?,
        advertise: args.advertise,
        insecure_listen: args.insecure_listen,
        credentials: credentials(context, certs_folder(context, &args.certs, &dir))?,
        dir,
        slots: args.slots.or_else(|| settings.get("slots")).unwrap_or_else(|| slots_each(1)),
        memory,
        scratch_limit: args.scratch_limit.unwrap_or(DEFAULT_SCRATCH_LIMIT),
        executor_memory,
        file_cache: args.file_cache.or_else(|| settings.get("file-cache")).unwrap_or(DEFAULT_FILE_CACHE),
        orphan_timeout: args.orphan_timeout.map_or(DEFAULT_ORPHAN_TIMEOUT, Duration::from_secs),
        compress: args.compression == Compression::Lz4,
        shuffle_network: args.shuffle == Shuffle::Network,
        stores: context.stores.clone(),
    })
}

/// The worker's folder.
fn worker_folder(context: &Context, named: Option<PathBuf>) -> PathBuf {
    let dir = named.or_else(|| context.settings.get("dir")).unwrap_or_else(|| state_folder(context, "worker"));
    context.current_dir.join(dir)
}

/// Where the worker's certificate is: where the flag or the setting says, or in its folder if one is there.
fn certs_folder(context: &Context, named: &Option<PathBuf>, dir: &Path) -> Option<PathBuf> {
    let named = named.clone().or_else(|| context.settings.get("certs"));
    named.or_else(|| Some(dir.join(CERTS)).filter(|certs| certs.join(IDENTITY).exists()))
}

/// How this worker joins; `None` if it is not to, or has done so before.
fn joining(context: &Context, args: &WorkerArgs) -> Result<Option<JoinConfig>, CliError> {
    let Some(text) = &args.join else { return Ok(None) };
    let text = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(context.current_dir.join(file))
            .map_err(|error| CliError::usage(format!("cannot read {file}")).because(&error))?,
        None => text.clone(),
    };
    let token: JoinToken = text.parse().map_err(|error: JoinTokenError| CliError::usage(error.to_string()))?;
    let dir = worker_folder(context, args.dir.clone());
    let certs = args.certs.clone().or_else(|| context.settings.get("certs")).unwrap_or_else(|| dir.join(CERTS));
    let certs = context.current_dir.join(certs);
    if certs.join(IDENTITY).exists() {
        tracing::info!(certs = %certs.display(), "the worker has a certificate: the token is not used");
        return Ok(None);
    }
    let master = args.master.clone().or_else(|| context.settings.get("master"));
    let Some(master_url) = master else {
        return Err(CliError::usage("--join needs --master https://HOST:PORT"));
    };
    let patience = args.orphan_timeout.map_or(DEFAULT_ORPHAN_TIMEOUT, Duration::from_secs);
    let clock = WallSource::of_clock(context.clock);
    Ok(Some(JoinConfig { master_url, token, certs, patience, clock }))
}

fn join_error(error: &JoinError) -> CliError {
    let exit = match error {
        JoinError::Refused { .. } | JoinError::Answer(_) => Exit::Denied,
        JoinError::Unreachable { .. } => Exit::Unreachable,
        JoinError::Folder(_) | JoinError::Key(_) => Exit::Failed,
    };
    CliError::of(exit, error)
}

fn worker_error(error: &WorkerError) -> CliError {
    let exit = match error {
        WorkerError::Slots { .. }
        | WorkerError::InsecureListen { .. }
        | WorkerError::NoAdvertisedAddress { .. }
        | WorkerError::Master(LinkError::Url { .. }) => Exit::Usage,
        WorkerError::Certificate { .. } | WorkerError::Master(LinkError::NotTrusted { .. }) => Exit::Denied,
        WorkerError::Master(LinkError::Orphaned { .. }) => Exit::Unreachable,
        WorkerError::Dir(_)
        | WorkerError::Binary { .. }
        | WorkerError::Files(_)
        | WorkerError::Listen { .. }
        | WorkerError::Serve { .. }
        | WorkerError::Master(LinkError::Refused { .. } | LinkError::Superseded) => Exit::Failed,
    };
    // The texts of these errors hold their sources already.
    CliError::new(exit, error.to_string())
}
