//! `gristmill submit`: a job on a cluster, with the same flags as `run`.

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command};
use gristmill_master::runtime::{Submission, fresh_job_id};
use gristmill_master::scheduler::JobState;
use gristmill_worker::agent::own_binary_sha256;

use super::args::{JobArgs, JobRequest};
use super::client::{ClientArgs, block_on, client_error, connect, follow, report};
use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::{Context, job_of, job_verb, rejection};
use crate::entry::JobTable;
use crate::render::json;

pub(super) fn command(jobs: &JobTable, program: &str) -> Command {
    let verb =
        ClientArgs::augment_args(JobArgs::augment_args(Command::new("submit"))).about("Run a job on a cluster").arg(
            Arg::new("detach")
                .long("detach")
                .global(true)
                .action(ArgAction::SetTrue)
                .display_order(32)
                .help("Print the job's id and do not wait for its end"),
        );
    job_verb(verb, jobs, program)
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let (entry, matches) = job_of(context, matches);
    let mut request = JobRequest::read(context, entry, matches)?;
    let detach = matches.get_flag("detach");
    let interrupt =
        Interrupt::install().map_err(|error| CliError::new(Exit::Failed, "cannot start").because(&error))?;
    let binary_sha256 = own_binary_sha256()
        .map_err(|error| CliError::new(Exit::Failed, "cannot read this program's own file").because(&error))?;
    request.divide_keys().map_err(|error| rejection(&error))?;
    let submission = Submission {
        // As unique as a job id; the master draws its own.
        key: format!("{}-{}", fresh_job_id(&context.clock), std::process::id()),
        spec: request.spec,
        binary_sha256,
    };
    block_on(async {
        let client = connect(context, matches).await?;
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
        report(context, &status)
    })
}
