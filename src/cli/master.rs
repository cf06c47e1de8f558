//! `gristmill master`: the master of a cluster.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_master::rpc::{MasterConfig, MasterError, run_master};
use gristmill_master::runtime::OpenJobs;
use gristmill_master::scheduler::SchedulerConfig;
use serde_json::json;

use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::service::{credentials, end_on_panic, end_with_parent, listen_address, parent_arg, start_log, state_folder};
use super::{Context, usage_error};
use crate::entry::JobTable;

/// The hidden flag with which a cluster starts a master that nobody will follow.
pub(super) const THROWAWAY: &str = "throwaway";

/// Where a master listens if nobody says.
pub(super) const DEFAULT_LISTEN: &str = "127.0.0.1:7420";

#[derive(Debug, clap::Args)]
struct MasterArgs {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7420]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// Folder of the master's state [default: gristmill/master in ~/.local/state]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Folder of the master's certificate: connections are encrypted, and only those with a certificate get in
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,

    /// Listen where other machines can connect, though nothing is encrypted or authenticated
    #[arg(long)]
    insecure_listen: bool,
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    MasterArgs::augment_args(Command::new("master"))
        .about("Start the master of a cluster; it prints its URL when it serves")
        .long_about(
            "Start the master of a cluster; it prints its URL when it serves.\n\nCtrl-C or SIGTERM stops it in order, \
             a second one at once. Either way its jobs go on under the next master with the same --state.",
        )
        .after_help(format!("Example:\n  {program} master --listen 127.0.0.1:7420"))
        .arg(parent_arg())
        .arg(Arg::new(THROWAWAY).long(THROWAWAY).hide(true).action(ArgAction::SetTrue))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let args = MasterArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let failed = |error: &dyn std::error::Error| CliError::new(Exit::Failed, "cannot start").because(error);
    let interrupt = Interrupt::install().map_err(|error| failed(&error))?;
    end_with_parent(matches.get_one("parent"))?;
    end_on_panic();
    start_log(context)?;
    #[cfg(feature = "failpoints")]
    let _armed = gristmill_master::failpoint::arm();
    let listen = args.listen.or_else(|| context.settings.get("listen")).unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    let state = args.state.or_else(|| context.settings.get("state"));
    let config = MasterConfig {
        listen: listen_address(&listen)?,
        state: context.current_dir.join(state.unwrap_or_else(|| state_folder(context, "master"))),
        insecure_listen: args.insecure_listen,
        credentials: credentials(context, args.certs)?,
        scheduler: SchedulerConfig::default(),
        open_jobs: if matches.get_flag(THROWAWAY) { OpenJobs::Cancel } else { OpenJobs::Keep },
        stores: context.stores.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| failed(&error))?;
    let console = context.console;
    let ended = runtime.block_on(run_master(config, interrupt.asked(), |ready| {
        if let Some(warning) = &ready.warning {
            console.insist(format_args!("warning: {warning}"));
        }
        if console.json {
            console.data(json!({ "master": ready.url, "epoch": ready.epoch.to_string() }));
        } else {
            console.data(ready.url);
        }
    }));
    // What a disk still holds up is the next master's.
    runtime.shutdown_background();
    ended.map(|()| Exit::Succeeded).map_err(|error| master_error(&error))
}

fn master_error(error: &MasterError) -> CliError {
    let exit = match error {
        MasterError::Insecure { .. } => Exit::Usage,
        MasterError::Certificate { .. } => Exit::Denied,
        MasterError::State(_)
        | MasterError::Tokens(_)
        | MasterError::Files(_)
        | MasterError::Journal(_)
        | MasterError::Recover(_)
        | MasterError::Listen { .. }
        | MasterError::Serve { .. } => Exit::Failed,
    };
    let problem = CliError::of(exit, error);
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
