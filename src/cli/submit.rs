//! `gristmill submit`: a job on a cluster, with the same flags as `run`.

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::spec::Share;
use gristmill_master::runtime::{Submission, fresh_job_id};
use gristmill_master::scheduler::JobState;
use gristmill_worker::agent::own_binary;

use super::args::{JobArgs, JobRequest};
use super::client::{ClientArgs, block_on, client_error, connect, follow, report};
use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::{Context, job_of, job_verb, usage_error};
use crate::entry::JobTable;
use crate::render::json;

pub(super) fn command(jobs: &JobTable, program: &str) -> Command {
    let verb = ShareArgs::augment_args(ClientArgs::augment_args(JobArgs::augment_args(Command::new("submit"))));
    let verb = verb.about("Run a job on a cluster").arg(
        Arg::new("detach")
            .long("detach")
            .global(true)
            .action(ArgAction::SetTrue)
            .display_order(32)
            .help("Print the job's id and do not wait for its end"),
    );
    job_verb(verb, jobs, program)
}

/// What the job may take of a cluster that others use too.
#[derive(Debug, Clone, clap::Args)]
struct ShareArgs {
    /// Slots in proportion to those of other jobs (1 to 1000)
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true, global = true, display_order = 33)]
    weight: u32,

    /// Slots to get before any weight counts
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, global = true, display_order = 34)]
    min_slots: u32,

    /// Jobs of a higher priority come first, whatever their weight [default: 0]
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        allow_hyphen_values = true,
        global = true,
        display_order = 35
    )]
    priority: i32,
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let (entry, matches) = job_of(context, matches);
    let mut request = JobRequest::read(context, entry, matches)?;
    let share = ShareArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    request.spec.share = Share { weight: share.weight, min_slots: share.min_slots, priority: share.priority };
    request.spec.validate().map_err(|error| CliError::usage(error.to_string()))?;
    let detach = matches.get_flag("detach");
    let interrupt =
        Interrupt::install().map_err(|error| CliError::new(Exit::Failed, "cannot start").because(&error))?;
    let binary = own_binary()
        .map_err(|error| CliError::new(Exit::Failed, "cannot read this program's own file").because(&error))?;
    let to_send = request.shipped.to_send(binary);
    request.divide_keys()?;
    let submission = Submission {
        // As unique as a job id; the master draws its own.
        key: format!("{}-{}", fresh_job_id(&context.clock), std::process::id()),
        spec: request.spec,
        binary_sha256: binary.to_string(),
    };
    block_on(async {
        let client = connect(context, matches).await?;
        client.upload(&to_send).await.map_err(|error| client_error(&error))?;
        let accepted = client.submit(&submission).await.map_err(|error| client_error(&error))?;
        for warning in &accepted.warnings {
            context.console.talk(format_args!("warning: {warning}"));
        }
        match (detach, context.console.json) {
            (true, true) => context.console.data(json::accepted(accepted.job, &accepted.warnings)),
            (_, false) => context.console.data(accepted.job),
            (false, true) => context.console.talk(accepted.job),
        }
        if detach {
            return Ok(Exit::Succeeded);
        }
        let status = follow(context, &client, accepted.job, &interrupt, true).await?;
        if status.view.state == JobState::Cancelled && interrupt.is_asked() {
            return Err(CliError::interrupted(accepted.job));
        }
        report(context, client.url(), &status)
    })
}
