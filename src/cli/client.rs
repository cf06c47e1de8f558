//! What the verbs that talk to a master share: its URL, the connection, and a job followed to its
//! end.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, FromArgMatches as _};
use gristmill_common::ids::{JobId, ParseIdError};
use gristmill_common::tls::Dialer;
use gristmill_master::client::{ClientError, JobsClient, WatchUpdate};
use gristmill_master::runtime::JobStatus;
use gristmill_master::scheduler::JobState;

use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::service::credentials;
use super::{Context, replay, usage_error};
use crate::render::progress::Progress;
use crate::render::{json, summary};

/// Where a master is looked for if nobody says.
pub(super) const DEFAULT_MASTER: &str = "http://127.0.0.1:7420";

/// Flags of every verb that asks a master.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    /// The master [default: http://127.0.0.1:7420]
    #[arg(long, value_name = "URL", global = true, display_order = 30)]
    master: Option<String>,

    /// Folder of your certificate, for masters at https://
    #[arg(long, value_name = "DIR", global = true, display_order = 31)]
    certs: Option<PathBuf>,

    /// How long a master that was lost is looked for [default: 60]
    #[arg(long, value_name = "SECONDS", global = true, display_order = 32)]
    reconnect: Option<u64>,
}

/// The job a verb is about.
#[derive(Debug, clap::Args)]
pub(super) struct JobIdArgs {
    /// The job's id, as submit printed it
    #[arg(value_name = "JOB_ID", value_parser = parse_job_id)]
    pub(super) job: JobId,
}

fn parse_job_id(text: &str) -> Result<JobId, ParseIdError> {
    text.parse()
}

impl JobIdArgs {
    /// The job that was named.
    pub(super) fn read(matches: &ArgMatches) -> Result<JobId, CliError> {
        Ok(Self::from_arg_matches(matches).map_err(|error| usage_error(&error))?.job)
    }
}

/// Runs what waits for a master, on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Failed, "cannot start").because(&error))?
        .block_on(work)
}

/// Connects to the master that flags and settings name.
pub(super) async fn connect(context: &Context, matches: &ArgMatches) -> Result<JobsClient, CliError> {
    let args = ClientArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let url = args.master.or_else(|| context.settings.get("master")).unwrap_or_else(|| DEFAULT_MASTER.to_owned());
    let seconds = args.reconnect.or_else(|| context.settings.get("reconnect"));
    let reconnect = seconds.map_or(gristmill_master::client::DEFAULT_RECONNECT, Duration::from_secs);
    let dialer = Dialer::with(credentials(context, args.certs)?);
    JobsClient::connect_with(&dialer, &url, reconnect).await.map_err(|error| client_error(&error))
}

/// What a master's answer means for the command.
pub(super) fn client_error(error: &ClientError) -> CliError {
    let exit = match error {
        ClientError::Unreachable { .. } | ClientError::Incompatible { .. } => Exit::Unreachable,
        ClientError::Denied { .. } => Exit::Denied,
        ClientError::BadUrl { .. } | ClientError::Usage { .. } => Exit::Usage,
        ClientError::Rejected { .. } | ClientError::Unreadable { .. } => Exit::Rejected,
        ClientError::NotFound { .. } => Exit::Failed,
    };
    let problem = CliError::of(exit, error);
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Follows a job to its end and shows its progress; the first interrupt cancels it if `cancels`.
///
/// # Errors
///
/// If the master is lost for good, or the user stopped watching.
pub(super) async fn follow(
    context: &Context,
    client: &JobsClient,
    job: JobId,
    interrupt: &Interrupt,
    cancels: bool,
) -> Result<JobStatus, CliError> {
    let mut watch = client.watch(job);
    let mut progress = Progress::new(context.console, context.clock);
    let mut last = None;
    let mut stopping = false;
    loop {
        let update = tokio::select! {
            update = watch.next() => update.map_err(|error| client_error(&error))?,
            () = interrupt.asked(), if !stopping => {
                if !cancels {
                    return Err(CliError::new(Exit::Interrupted, "interrupted: the job goes on"));
                }
                stopping = true;
                client.cancel(job).await.map_err(|error| client_error(&error))?;
                continue;
            }
        };
        match update {
            Some(WatchUpdate::Status(status)) => {
                progress.update(&status.view);
                last = Some(*status);
            }
            Some(WatchUpdate::Disconnected { reason }) => {
                progress.finish();
                context.console.talk(format_args!("lost the master ({reason}); looking for it"));
            }
            None => return Ok(last.expect("a watch ends with a terminal status")),
        }
    }
}

/// Tells how a job of the master at `url` that is over ended.
///
/// # Errors
///
/// If it did not succeed.
pub(super) fn report(context: &Context, url: &str, status: &JobStatus) -> Result<Exit, CliError> {
    let (now, view) = (context.clock.wall(), &status.view);
    match view.state {
        JobState::Succeeded => {
            if context.console.json {
                context.console.data(json::job(status, now));
            }
            summary::show(context.console, status, now, None);
            Ok(Exit::Succeeded)
        }
        JobState::Cancelled => Err(CliError::new(Exit::Failed, format!("job {} was cancelled", view.job))),
        JobState::Failed => {
            let error = CliError::job_failed(view.job, view.failure.as_ref().expect("a failed job has a failure"));
            Err(CliError { replay: replay::command_for(context, status, url), ..error })
        }
        JobState::Queued | JobState::Running | JobState::Committing => {
            unreachable!("a job in state {:?} is not over", view.state)
        }
    }
}
