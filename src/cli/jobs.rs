//! `gristmill jobs`: all jobs that a master remembers.

use clap::{ArgMatches, Args as _, Command};
use serde_json::json;

use super::Context;
use super::client::{ClientArgs, block_on, client_error, connect};
use super::error::{CliError, Exit};
use crate::entry::JobTable;
use crate::render::{json, summary};

pub(super) fn command(_jobs: &JobTable, _program: &str) -> Command {
    ClientArgs::augment_args(Command::new("jobs")).about("List the jobs of a cluster")
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let client = connect(context, matches);
    let jobs = block_on(async { client.await?.list().await.map_err(|error| client_error(&error)) })?;
    let now = context.clock.wall();
    if context.console.json {
        let jobs: Vec<serde_json::Value> = jobs.iter().map(|status| json::job(status, now)).collect();
        context.console.data(json!({ "jobs": jobs }));
    } else {
        context.console.data(summary::jobs_table(&jobs, now));
    }
    Ok(Exit::Succeeded)
}
