//! `gristmill status`: one job as it is now.

use clap::{ArgMatches, Args as _, Command};

use super::Context;
use super::client::{ClientArgs, JobIdArgs, block_on, client_error, connect};
use super::error::{CliError, Exit};
use crate::entry::JobTable;
use crate::render::{json, summary};

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    ClientArgs::augment_args(JobIdArgs::augment_args(Command::new("status")))
        .about("Show one job")
        .after_help(format!("Example:\n  {program} status j-68ff1a2b3c4d"))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let job = JobIdArgs::read(matches)?;
    let client = connect(context, matches);
    let status = block_on(async { client.await?.status(job).await.map_err(|error| client_error(&error)) })?;
    let now = context.clock.wall();
    if context.console.json {
        context.console.data(json::job(&status, now));
    } else {
        context.console.data(summary::status_table(&status, now));
    }
    Ok(Exit::Succeeded)
}
