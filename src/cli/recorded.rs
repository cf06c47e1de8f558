//! What a master has recorded of a job, fetched to this machine: what it was made of, its binary, and the
//! files that it came with.

use std::fs;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use gristmill_common::ids::{ContentId, JobId};
use gristmill_master::client::{ClientError, JobsClient};
use gristmill_master::runtime::{JobStatus, Recipe};
use gristmill_worker::agent::{check_platform, own_binary};
use gristmill_worker::replay::shipped_file;

use super::Context;
use super::client::{client_error, connect};
use super::error::{CliError, Exit};

/// A job with all that its tasks need but the inputs.
#[derive(Debug)]
pub(super) struct Recorded {
    /// The URL of its master.
    pub(super) master: String,
    /// How the job is, or ended.
    pub(super) status: JobStatus,
    /// What it was made of.
    pub(super) recipe: Recipe,
    /// Its binary: this program if it is the same, else one in scratch.
    pub(super) program: PathBuf,
    /// The job's folder in scratch, with the files that it came with.
    pub(super) folder: PathBuf,
}

/// Fetches a job into an empty folder.
///
/// # Errors
///
/// If the master does not know the job, keeps nothing of it, or has removed some of it to make room.
pub(super) async fn fetch(
    context: &Context,
    matches: &ArgMatches,
    job: JobId,
    scratch: &Path,
) -> Result<Recorded, CliError> {
    let client = connect(context, matches).await?;
    let status = client.status(job).await.map_err(|error| client_error(&error))?;
    let id = status.recipe.ok_or_else(|| not_kept(job))?;
    let unusable = |path: &Path| {
        let message = format!("cannot use {}", path.display());
        move |error: std::io::Error| CliError::new(Exit::Rejected, message).because(&error)
    };
    let path = scratch.join("recipe");
    get(&client, id, &path, job, "what its tasks read").await?;
    let bytes = fs::read(&path).map_err(unusable(&path))?;
    let recipe = Recipe::decode(&bytes).map_err(|error| {
        CliError::new(Exit::Failed, format!("cannot understand what the master has of {job}"))
            .because(&error)
            .hint("use the same version of gristmill on both ends")
    })?;
    let program = program(&client, &recipe, scratch, job).await?;
    let folder = scratch.join("job");
    fs::create_dir(&folder).map_err(unusable(&folder))?;
    for file in &recipe.spec.files {
        let path = shipped_file(&folder, &file.name);
        let parent = path.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).map_err(unusable(parent))?;
        get(&client, file.content, &path, job, &format!("its file {}", file.name)).await?;
    }
    Ok(Recorded { master: client.url().to_owned(), status, recipe, program, folder })
}

/// The job's binary: this very program, or fetched.
async fn program(client: &JobsClient, recipe: &Recipe, scratch: &Path, job: JobId) -> Result<PathBuf, CliError> {
    let unreadable = |error: std::io::Error| CliError::new(Exit::Failed, "cannot read this program").because(&error);
    if own_binary().map_err(unreadable)?.to_string() == recipe.binary_sha256 {
        return std::env::current_exe().map_err(unreadable);
    }
    let id: ContentId = recipe.binary_sha256.parse().map_err(|_| not_kept(job))?;
    let path = scratch.join("program");
    get(client, id, &path, job, "its binary").await.map_err(|error| match error.exit {
        Exit::Rejected => error.hint("call replay from the very program that the job was submitted with"),
        _ => error,
    })?;
    check_platform(&path).map_err(|failure| CliError::new(Exit::Rejected, failure.message))?;
    Ok(path)
}

async fn get(client: &JobsClient, id: ContentId, path: &Path, job: JobId, what: &str) -> Result<(), CliError> {
    client.download(id, path).await.map_err(|error| match error {
        ClientError::NotFound { .. } => {
            CliError::new(Exit::Rejected, format!("the master has {what} no more: it made room since {job} was run"))
        }
        error => client_error(&error),
    })
}

fn not_kept(job: JobId) -> CliError {
    CliError::new(Exit::Rejected, format!("nothing is kept of {job} from which its tasks could run again"))
        .hint("it was taken on by an older master, or by one that had no room; submit it again")
}
