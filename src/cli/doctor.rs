//! `gristmill doctor`: what can be done at a location, and with which credentials.

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::naming::Uri;
use gristmill_common::storage::{Examination, Outcome, examine};
use gristmill_master::runtime::fresh_job_id;
use serde_json::json;

use super::args::{StoreArgs, bad_location};
use super::error::{CliError, Exit};
use super::{Context, usage_error};
use crate::entry::JobTable;

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
struct DoctorArgs {
    /// A bucket, a folder in one, a local folder, or a URL to read
    #[arg(value_name = "URI")]
    location: String,

    /// Write nothing: only list and read
    #[arg(long)]
    read_only: bool,

    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    DoctorArgs::augment_args(Command::new("doctor"))
        .about("Try what jobs do at a location: list, read, write, create once, upload in parts, delete")
        .after_help(format!(
            "Example:\n  {program} doctor s3://bucket/folder\n\nWrites below the location and removes that again. \
             Says where credentials come from, never what they are."
        ))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let args = DoctorArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let uri = Uri::parse(&args.location, &context.current_dir).map_err(|error| bad_location(&error))?;
    let stores = context.stores.with_options(&args.store.options(&context.settings));
    // Two at the same place at the same time must not meet.
    let token = fresh_job_id(&context.clock).0;
    let seen = examine(&uri, &stores, args.read_only, token).map_err(|error| {
        let problem = CliError::of(Exit::Rejected, &error);
        match error.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    })?;
    show(context, &uri, &seen);
    let missing: Vec<&str> = seen.missing().map(|(ability, _)| ability.name()).collect();
    if missing.is_empty() || context.console.json {
        return Ok(if missing.is_empty() { Exit::Succeeded } else { Exit::Failed });
    }
    Err(CliError::new(Exit::Failed, format!("at {uri} these do not work: {}", missing.join(", ")))
        .hint("inputs need list and read; outputs need all of them"))
}

fn show(context: &Context, uri: &Uri, seen: &Examination) {
    let parts = |outcome: &Outcome| match outcome {
        Outcome::Works(text) => ("works", text.clone()),
        Outcome::Fails(text) => ("fails", text.clone()),
        Outcome::NotTried(text) => ("not tried", text.clone()),
    };
    if context.console.json {
        let trials = seen.trials.iter().map(|(ability, outcome)| {
            let (result, detail) = parts(outcome);
            json!({ "ability": ability.name(), "result": result, "detail": detail })
        });
        context.console.data(json!({
            "location": uri.to_string(),
            "credentials": seen.credentials,
            "endpoint": seen.endpoint,
            "region": seen.region,
            "ok": seen.missing().next().is_none(),
            "trials": trials.collect::<Vec<_>>(),
        }));
        return;
    }
    let mut text = format!("{uri}\n  credentials   {}\n", seen.credentials);
    for (name, value) in [("endpoint", &seen.endpoint), ("region", &seen.region)] {
        if let Some(value) = value {
            text.push_str(&format!("  {name:<13} {value}\n"));
        }
    }
    for (ability, outcome) in &seen.trials {
        let (result, detail) = parts(outcome);
        text.push_str(&format!("  {:<13} {result:<10} {detail}\n", ability.name()));
    }
    context.console.data(text.trim_end());
}
