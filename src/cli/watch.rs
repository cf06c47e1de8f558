//! `gristmill watch`: the progress of a job that was submitted, to its end.

use clap::{ArgMatches, Args as _, Command};

use super::Context;
use super::client::{ClientArgs, JobIdArgs, block_on, connect, follow, report};
use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use crate::entry::JobTable;

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    ClientArgs::augment_args(JobIdArgs::augment_args(Command::new("watch")))
        .about("Show the progress of a job until its end; Ctrl-C stops watching, not the job")
        .after_help(format!("Example:\n  {program} watch j-68ff1a2b3c4d"))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let job = JobIdArgs::read(matches)?;
    let interrupt =
        Interrupt::install().map_err(|error| CliError::new(Exit::Failed, "cannot start").because(&error))?;
    block_on(async {
        let client = connect(context, matches).await?;
        let status = follow(context, &client, job, &interrupt, false).await?;
        report(context, client.url(), &status)
    })
}
