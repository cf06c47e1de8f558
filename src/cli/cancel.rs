//! `gristmill cancel`: ends a job.

use clap::{ArgMatches, Args as _, Command};
use gristmill_master::scheduler::JobState;

use super::Context;
use super::client::{ClientArgs, JobIdArgs, block_on, client_error, connect};
use super::error::{CliError, Exit};
use crate::entry::JobTable;
use crate::render::json;

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    ClientArgs::augment_args(JobIdArgs::augment_args(Command::new("cancel")))
        .about("End a job; nothing of its output is left")
        .after_help(format!("Example:\n  {program} cancel j-68ff1a2b3c4d"))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let job = JobIdArgs::read(matches)?;
    let client = connect(context, matches);
    let status = block_on(async { client.await?.cancel(job).await.map_err(|error| client_error(&error)) })?;
    match status.view.state {
        JobState::Queued | JobState::Running | JobState::Cancelled => {
            if context.console.json {
                context.console.data(json::job(&status, context.clock.wall()));
            }
            context.console.talk(format_args!("{job} is cancelled"));
            Ok(Exit::Succeeded)
        }
        JobState::Committing | JobState::Succeeded | JobState::Failed => Err(CliError::new(
            Exit::Failed,
            format!("{job} is {}: too late to cancel it", json::state(status.view.state)),
        )),
    }
}
