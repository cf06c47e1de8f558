//! `gristmill validate`: whether data is what it should be, without changing it.

use std::io;
use std::sync::Arc;

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::objects::{ObjectReader, OpenObject, failure_of};
use gristmill_common::spec::DEFAULT_ATTEMPT_BYTES;
use gristmill_common::storage::{Fetcher, list_inputs};
use gristmill_common::task::InputObject;
use gristmill_common::windowed::WindowedObjects;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde_json::json;

use super::args::{StoreArgs, locations};
use super::error::{CliError, Exit};
use super::{Context, usage_error};
use crate::entry::JobTable;
use crate::tera::{Digest, RECORD};

/// Bytes that one thread digests at a time, a multiple of [`RECORD`]. Smaller stretches balance
/// better over threads, larger ones cost fewer calls.
const STRETCH: u64 = 16_000_000;

/// Bytes read at once, a multiple of [`RECORD`].
const READ_BYTES: usize = 500_000;

/// Arguments of `validate tera`.
#[derive(Debug, clap::Args)]
struct TeraArgs {
    /// What to read, in this order: files, folders (parts in name order), globs, or @LIST
    #[arg(value_name = "URI", required = true)]
    input: Vec<String>,

    #[command(flatten)]
    store: StoreArgs,
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    let tera = TeraArgs::augment_args(Command::new("tera"))
        .about("100-byte records: their order within and across files, their number and checksum")
        .after_help(format!(
            "Example:\n  {program} validate tera sorted\n\nThe checksum is that of Hadoop's teravalidate."
        ));
    Command::new("validate")
        .about("Check data that a job wrote")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(tera)
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let (_tera, matches) = matches.subcommand().expect("clap demands a kind");
    let args = TeraArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let inputs = locations(&args.input, &context.current_dir)?;
    let stores = context.stores.with_options(&args.store.options(&context.settings));
    let objects = list_inputs(&inputs, &stores).map_err(|error| {
        let problem = CliError::of(Exit::Rejected, &error);
        match error.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    })?;
    let reader = WindowedObjects::new(Arc::new(Fetcher::new(stores)), DEFAULT_ATTEMPT_BYTES);
    let digest = digest(&objects, &reader)?;
    let place = digest.misordered.map(|record| place(&objects, record));
    let checksum = format!("{:x}", digest.checksum);
    if context.console.json {
        context.console.data(json!({
            "objects": objects.len(),
            "records": digest.records,
            "duplicate_keys": digest.duplicates,
            "checksum": checksum,
            "ordered": place.is_none(),
            "misordered": place.as_ref().map(|(object, offset)| json!({ "object": object, "offset": offset })),
        }));
        return Ok(if place.is_none() { Exit::Succeeded } else { Exit::Failed });
    }
    let order = if place.is_none() { "ok" } else { "broken" };
    context.console.data(format_args!(
        "records         {}\nduplicate keys  {}\nchecksum        {checksum}\norder           {order}",
        digest.records, digest.duplicates
    ));
    match place {
        None => Ok(Exit::Succeeded),
        Some((object, offset)) => {
            Err(CliError::new(Exit::Failed, format!("the record at {object}:{offset} is below the one before it")))
        }
    }
}

/// The digest of all records of all objects, in order.
fn digest(objects: &[InputObject], reader: &dyn ObjectReader) -> Result<Digest, CliError> {
    let mut stretches = Vec::new();
    for object in objects {
        let rest = object.size % RECORD as u64;
        if rest > 0 {
            let at = object.size - rest;
            return Err(CliError::new(Exit::Failed, format!("the record at {}:{at} is cut short", object.uri))
                .hint("records have 100 bytes"));
        }
        stretches.extend((0..object.size).step_by(STRETCH as usize).map(|start| (object, start)));
    }
    let digests: Vec<Digest> =
        stretches.par_iter().map(|(object, start)| digest_stretch(object, *start, reader)).collect::<Result<_, _>>()?;
    let mut whole = Digest::default();
    digests.iter().for_each(|digest| whole.append(digest));
    Ok(whole)
}

fn digest_stretch(object: &InputObject, start: u64, reader: &dyn ObjectReader) -> Result<Digest, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::new(Exit::Failed, error.to_string());
    // Each stretch holds what it reads ahead by itself.
    let reader = reader.until(&Arc::default());
    let open = reader.open(object).map_err(|failure| failed(&failure))?;
    let end = object.size.min(start + STRETCH);
    open.will_read(start, end - start);
    let digest = read_stretch(open.as_ref(), start, end).map_err(|error| failed(&failure_of(object, error)))?;
    open.check().map_err(|failure| failed(&failure))?;
    Ok(digest)
}

fn read_stretch(open: &dyn OpenObject, start: u64, end: u64) -> io::Result<Digest> {
    let mut digest = Digest::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut at = start;
    while at < end {
        let records = &mut buffer[..READ_BYTES.min((end - at) as usize)];
        let mut filled = 0;
        while filled < records.len() {
            match open.read_at(&mut records[filled..], at + filled as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        digest.update(records);
        at += records.len() as u64;
    }
    Ok(digest)
}

/// In which object a record lies, counted over all of them, and where.
fn place(objects: &[InputObject], record: u64) -> (String, u64) {
    let mut offset = record * RECORD as u64;
    for object in objects {
        if offset < object.size {
            return (object.uri.to_string(), offset);
        }
        offset -= object.size;
    }
    unreachable!("record {record} was read from one of the objects")
}
