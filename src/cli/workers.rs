//! `gristmill workers`: the workers of a cluster, and what its master refused.

use clap::{ArgMatches, Args as _, Command};
use serde_json::json;

use super::Context;
use super::client::{ClientArgs, block_on, client_error, connect};
use super::error::{CliError, Exit};
use crate::entry::JobTable;
use crate::render::json;
use crate::render::table::Table;

pub(super) fn command(_jobs: &JobTable, _program: &str) -> Command {
    ClientArgs::augment_args(Command::new("workers")).about("List the workers of a cluster")
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let client = connect(context, matches);
    let cluster = block_on(async { client.await?.workers().await.map_err(|error| client_error(&error)) })?;
    if context.console.json {
        let workers: Vec<serde_json::Value> = cluster.workers.iter().map(json::worker).collect();
        let refusals: serde_json::Map<String, serde_json::Value> =
            cluster.stale_refusals.into_iter().map(|(reason, count)| (reason, count.into())).collect();
        let epoch = cluster.epoch.to_string();
        context.console.data(json!({ "epoch": epoch, "workers": workers, "stale_refusals": refusals }));
        return Ok(Exit::Succeeded);
    }
    let mut table = Table::new(["WORKER", "SESSION", "STATE", "SLOTS", "ACTIVE", "COMMITTED", "FAILED", "ADDRESS"]);
    for worker in &cluster.workers {
        table.row([
            worker.worker.to_string(),
            worker.session.to_string(),
            format!("{}{}", json::session_state(worker.state), if worker.excluded { ", excluded" } else { "" }),
            worker.slots.to_string(),
            worker.active.to_string(),
            worker.committed.to_string(),
            worker.failed.to_string(),
            worker.address.clone(),
        ]);
    }
    context.console.data(table);
    for (reason, count) in cluster.stale_refusals.iter().filter(|(_, count)| *count > 0) {
        context.console.talk(format_args!("{count} stale reports refused: of another {reason}"));
    }
    Ok(Exit::Succeeded)
}
