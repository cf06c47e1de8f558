//! `gristmill submit`: a job on a cluster, with the same flags as `run`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::ids::ContentId;
use gristmill_common::spec::Share;
use gristmill_master::client::JobsClient;
use gristmill_master::runtime::{Accepted, Submission, fresh_job_id};
use gristmill_master::scheduler::JobState;

use super::args::{JobArgs, JobRequest};
use super::client::{ClientArgs, block_on, client_error, connect, follow, report};
use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::pipeline::{self, PipelineCall, running_binary};
use super::{Context, job_of, job_verb, usage_error};
use crate::entry::JobTable;
use crate::render::json;

pub(super) fn command(jobs: &JobTable, program: &str) -> Command {
    let verb = ShareArgs::augment_args(ClientArgs::augment_args(JobArgs::augment_args(Command::new("submit"))));
    let verb = verb.about("Run a job on a cluster").arg(
        Arg::new("detach")
            .long("detach")
            .global(true)
            .action(ArgAction::SetTrue)
            .display_order(32)
            .help("Print the job's id and do not wait for its end"),
    );
    job_verb(verb, jobs, program)
}

/// What the job may take of a cluster that others use too.
#[derive(Debug, Clone, clap::Args)]
struct ShareArgs {
    /// Slots in proportion to those of other jobs (1 to 1000)
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true, global = true, display_order = 33)]
    weight: u32,

    /// Slots to get before any weight counts
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, global = true, display_order = 34)]
    min_slots: u32,

    /// Jobs of a higher priority come first, whatever their weight [default: 0]
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        allow_hyphen_values = true,
        global = true,
        display_order = 35
    )]
    priority: i32,
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let (entry, matches) = job_of(context, matches);
    let share = ShareArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let share = Share { weight: share.weight, min_slots: share.min_slots, priority: share.priority };
    let detach = matches.get_flag("detach");
    if entry.is_pipeline() {
        let call = PipelineCall::read(context, entry, matches)?;
        if detach {
            let message =
                format!("{} is a pipeline: this process submits its stages one after the other", entry.name());
            return Err(CliError::usage(message)
                .hint("leave out --detach; if this process ends, the same command goes on at the stage it was at"));
        }
        let there = There::start(context, matches, share)?;
        return pipeline::drive(context, &call, &there.interrupt, &mut |request, key| {
            let packed = there.pack(request, key.to_owned())?;
            block_on(async {
                let (client, accepted) = there.send(&packed).await?;
                follow(context, &client, accepted.job, &there.interrupt, true).await
            })
        });
    }
    let request = JobRequest::read(context, entry, matches)?;
    let there = There::start(context, matches, share)?;
    // As unique as a job id; the master draws its own.
    let packed = there.pack(request, format!("{}-{}", fresh_job_id(&context.clock), std::process::id()))?;
    block_on(async {
        let (client, accepted) = there.send(&packed).await?;
        match (detach, context.console.json) {
            (true, true) => context.console.data(json::accepted(accepted.job, &accepted.warnings)),
            (_, false) => context.console.data(accepted.job),
            (false, true) => context.console.talk(accepted.job),
        }
        if detach {
            return Ok(Exit::Succeeded);
        }
        let status = follow(context, &client, accepted.job, &there.interrupt, true).await?;
        if status.view.state == JobState::Cancelled && there.interrupt.is_asked() {
            return Err(CliError::interrupted(accepted.job));
        }
        report(context, client.url(), &status)
    })
}

/// A cluster, about to be asked.
struct There<'a> {
    context: &'a Context,
    matches: &'a ArgMatches,
    share: Share,
    interrupt: Interrupt,
    binary: ContentId,
}

impl<'a> There<'a> {
    /// Takes over the signals of the process and finds out which binary it runs.
    fn start(context: &'a Context, matches: &'a ArgMatches, share: Share) -> Result<Self, CliError> {
        let interrupt =
            Interrupt::install().map_err(|error| CliError::new(Exit::Failed, "cannot start").because(&error))?;
        let binary = running_binary()?;
        Ok(Self { context, matches, share, interrupt, binary })
    }

    /// Makes a submission of a job. Two with one key are one job.
    fn pack(&self, mut request: JobRequest, key: String) -> Result<Packed, CliError> {
        request.spec.share = self.share;
        request.spec.validate().map_err(|error| CliError::usage(error.to_string()))?;
        let files = request.shipped.to_send(self.binary);
        request.divide_keys(self.context)?;
        let submission = Submission { key, spec: request.spec, binary_sha256: self.binary.to_string() };
        Ok(Packed { submission, files })
    }

    /// Hands a job to the cluster with what it comes with.
    async fn send(&self, packed: &Packed) -> Result<(JobsClient, Accepted), CliError> {
        let client = connect(self.context, self.matches).await?;
        client.upload(&packed.files).await.map_err(|error| client_error(&error))?;
        let accepted = client.submit(&packed.submission).await.map_err(|error| client_error(&error))?;
        for warning in &accepted.warnings {
            self.context.console.talk(format_args!("warning: {warning}"));
        }
        Ok((client, accepted))
    }
}

/// A submission, and the files it needs.
struct Packed {
    submission: Submission,
    files: BTreeMap<ContentId, PathBuf>,
}
