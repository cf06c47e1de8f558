//! `gristmill status`: one job as it is now.

use clap::{ArgMatches, Args as _, Command};

use super::client::{ClientArgs, JobIdArgs, block_on, client_error, connect};
use super::error::{CliError, Exit};
use super::{Context, replay};
use crate::entry::JobTable;
use crate::render::{json, summary};

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    ClientArgs::augment_args(JobIdArgs::augment_args(Command::new("status")))
        .about("Show one job")
        .after_help(format!("Example:\n  {program} status j-68ff1a2b3c4d"))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let job = JobIdArgs::read(matches)?;
    let (status, replay) = block_on(async {
        let client = connect(context, matches).await?;
        let status = client.status(job).await.map_err(|error| client_error(&error))?;
        let replay = replay::command_for(context, &status, client.url());
        Ok((status, replay))
    })?;
    let now = context.clock.wall();
    if context.console.json {
        let mut object = json::job(&status, now);
        object["replay"] = replay.into();
        context.console.data(object);
    } else {
        context.console.data(summary::status_table(&status, now, replay));
    }
    Ok(Exit::Succeeded)
}
