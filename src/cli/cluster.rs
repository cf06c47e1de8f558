//! `gristmill cluster`: a master and workers as processes of this machine, until Ctrl-C.

use std::path::PathBuf;

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::size::ByteSize;
use gristmill_common::spec;
use gristmill_master::runtime::fresh_job_id;
use gristmill_worker::memory::default_budget;
use serde_json::json;

use super::client::block_on;
use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::master::DEFAULT_LISTEN;
use super::processes::{ClusterPlan, Processes};
use super::service::listen_address;
use super::worker::Shuffle;
use super::{Context, usage_error};
use crate::entry::JobTable;
use crate::local::Scratch;

#[derive(Debug, clap::Args)]
struct ClusterArgs {
    /// Worker processes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,

    /// Attempts that each worker runs at once [default: cores / workers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    slots: Option<u32>,

    /// Folder of the cluster's state, scratch and logs: the next cluster there goes on with the jobs of
    /// this one [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Where the master listens; port 0 takes a free one [default: 127.0.0.1:7420]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// Memory budget of each worker [default: half of the machine's, shared evenly]
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,

    /// Whether workers read each other's segments from disk or fetch them over the network
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Shuffle::Direct)]
    shuffle: Shuffle,

    /// Listen where other machines can connect, though nothing is encrypted or authenticated
    #[arg(long)]
    insecure_listen: bool,
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    ClusterArgs::augment_args(Command::new("cluster"))
        .about("Start a master and workers on this machine, until Ctrl-C")
        .after_help(format!("Example:\n  {program} cluster --workers 3"))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let args = ClusterArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let interrupt =
        Interrupt::install().map_err(|error| CliError::new(Exit::Failed, "cannot start").because(&error))?;
    let memory = args.memory.or_else(|| context.settings.get("memory"));
    if let Some(budget) = memory {
        spec::attempt_bytes_for(budget).map_err(|error| CliError::usage(error.to_string()))?;
    }
    let listen = args.listen.or_else(|| context.settings.get("listen")).unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    listen_address(&listen)?;
    let place = Place::new(context, args.dir.or_else(|| context.settings.get("dir")))?;
    let plan = ClusterPlan {
        workers: args.workers,
        slots: args.slots.or_else(|| context.settings.get("slots")).unwrap_or_else(|| slots_each(args.workers)),
        memory: memory.unwrap_or_else(|| memory_each(args.workers)),
        listen,
        insecure_listen: args.insecure_listen,
        shuffle: args.shuffle,
        dir: place.dir.clone(),
        throwaway: place.is_temporary(),
        log: None,
    };
    block_on(serve(context, &plan, &interrupt))
}

/// The slots of one of so many workers on this machine.
pub(super) fn slots_each(workers: u32) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (u32::try_from(cores).unwrap_or(u32::MAX) / workers).max(1)
}

/// The budget of one of so many workers on this machine.
pub(super) fn memory_each(workers: u32) -> ByteSize {
    ByteSize((default_budget().bytes() / u64::from(workers)).max(spec::min_budget().bytes()))
}

/// The cluster's folder; a temporary one goes with this.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    temporary: Option<Scratch>,
}

impl Place {
    /// The folder that was named, or a temporary one.
    pub(super) fn new(context: &Context, named: Option<PathBuf>) -> Result<Self, CliError> {
        if let Some(dir) = named {
            return Ok(Self { dir: context.current_dir.join(dir), temporary: None });
        }
        let name = format!("cluster-{}", fresh_job_id(&context.clock));
        let scratch = Scratch::create(&std::env::temp_dir(), &name).map_err(|error| {
            CliError::of(Exit::Failed, &error).hint("name another folder with --dir, or set TMPDIR")
        })?;
        Ok(Self { dir: scratch.path().to_path_buf(), temporary: Some(scratch) })
    }

    /// Whether it goes with this.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }
}

async fn serve(context: &Context, plan: &ClusterPlan, interrupt: &Interrupt) -> Result<Exit, CliError> {
    let console = context.console;
    let mut processes = tokio::select! {
        started = Processes::start(console, plan) => started?,
        () = interrupt.asked() => return Err(CliError::new(Exit::Interrupted, "interrupted before the cluster had started")),
    };
    let pids = processes.worker_pids();
    if console.json {
        console.data(json!({ "master": processes.url(), "worker_pids": pids, "slots": plan.slots }));
    } else {
        console.data(processes.url());
    }
    let shown: Vec<String> = pids.iter().map(u32::to_string).collect();
    console.talk(format_args!("{} workers with {} slots each, processes {}", pids.len(), plan.slots, shown.join(" ")));
    console.talk(format_args!(
        "try: {} submit word-count -i FILES -o OUTPUT --master {}",
        context.program,
        processes.url()
    ));
    let master_ended = loop {
        tokio::select! {
            is_master = processes.next_end() => if is_master { break true },
            () = interrupt.asked() => break false,
        }
    };
    processes.stop().await;
    if master_ended {
        Err(CliError::new(Exit::Failed, "the master ended, and the cluster with it"))
    } else {
        Ok(Exit::Succeeded)
    }
}
