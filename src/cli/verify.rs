//! `gristmill verify`: whether an output is still what its job wrote, without changing it.

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::naming::Uri;
use gristmill_common::size::ByteSize;
use gristmill_master::runtime::verify::{Damage, FinishedOutput, VerifyError};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde_json::json;

use super::args::{StoreArgs, bad_location};
use super::error::{CliError, Exit};
use super::{Context, usage_error};
use crate::entry::JobTable;
use crate::render::summary::plural;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The output of a job: a folder with _SUCCESS
    #[arg(value_name = "URI")]
    output: String,

    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    VerifyArgs::augment_args(Command::new("verify"))
        .about("Check an output against its _SUCCESS: parts, sizes, checksums")
        .after_help(format!("Example:\n  {program} verify counts\n\nEvery byte of every part is read."))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let args = VerifyArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let uri = Uri::parse(&args.output, &context.current_dir).map_err(|error| bad_location(&error))?;
    let stores = context.stores.with_options(&args.store.options(&context.settings));
    let output = FinishedOutput::open_in(&uri, &stores).map_err(|error| cannot_verify(&error))?;
    let damage = damage(&output).map_err(|error| cannot_verify(&error))?;
    let manifest = output.manifest();
    let bytes: u64 = manifest.parts.iter().map(|part| part.bytes).sum();
    let records: u64 = manifest.parts.iter().map(|part| part.records).sum();
    let bad: u64 = manifest.bad.iter().map(|bad| bad.records).sum();
    if context.console.json {
        let shown = |damage: &Damage| json!({ "path": damage.path, "problem": damage.to_string() });
        context.console.data(json!({
            "output": uri.to_string(),
            "job": manifest.job,
            "name": manifest.name,
            "parts": manifest.parts.len(),
            "records": records,
            "bytes": bytes,
            "bad_records": bad,
            "whole": damage.is_empty(),
            "damage": damage.iter().map(shown).collect::<Vec<_>>(),
        }));
        return Ok(if damage.is_empty() { Exit::Succeeded } else { Exit::Failed });
    }
    if let Some(error) = damaged(&uri, &damage) {
        return Err(error);
    }
    context.console.data(format_args!(
        "{uri} is whole: {} of {} as {} wrote them",
        plural(manifest.parts.len() as u64, "part"),
        ByteSize(bytes),
        manifest.job
    ));
    Ok(Exit::Succeeded)
}

/// Everything that is not as the manifest says, in its order.
fn damage(output: &FinishedOutput) -> Result<Vec<Damage>, VerifyError> {
    let manifest = output.manifest();
    let mut damage: Vec<Damage> = manifest.parts.par_iter().filter_map(|part| output.check_part(part)).collect();
    damage.extend(manifest.bad.iter().filter_map(|bad| output.check_bad(bad)));
    damage.extend(output.strangers()?);
    Ok(damage)
}

fn damaged(output: &Uri, damage: &[Damage]) -> Option<CliError> {
    let (first, more) = damage.split_first()?;
    let mut error = CliError::new(Exit::Failed, format!("{output} is not what its job wrote: {first}"));
    error.causes.extend(more.iter().map(|damage| format!("and {damage}")));
    Some(error.hint("run the job again, into another folder or with --overwrite"))
}

fn cannot_verify(error: &VerifyError) -> CliError {
    match error {
        VerifyError::Missing { .. } => CliError::of(Exit::Rejected, error).hint("check the spelling"),
        VerifyError::Unfinished { .. } => {
            CliError::of(Exit::Rejected, error).hint("name the folder that was a job's -o")
        }
        VerifyError::NotBuiltIn { .. } => CliError::of(Exit::Rejected, error),
        VerifyError::NoStore(reason) => match reason.hint() {
            Some(hint) => CliError::of(Exit::Rejected, error).hint(hint),
            None => CliError::of(Exit::Rejected, error),
        },
        VerifyError::Unreadable { .. } | VerifyError::Store(_) | VerifyError::Manifest { .. } => {
            CliError::of(Exit::Failed, error)
        }
    }
}
