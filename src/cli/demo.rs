//! `gristmill demo`: a cluster that loses a worker in the middle of a job, and the result checked
//! against a run in this process, byte for byte.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::ids::JobId;
use gristmill_common::naming::{self, Uri};
use gristmill_common::objects::LocalObjects;
use gristmill_common::setup::ShippedPaths;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;
use gristmill_master::client::JobsClient;
use gristmill_master::runtime::{JobStatus, Submission, fresh_job_id, prepare};
use gristmill_master::scheduler::JobState;
use gristmill_worker::engine::JobSource as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::client::{DEFAULT_MASTER, block_on, client_error, follow};
use super::cluster::{Place, memory_each, slots_each};
use super::error::{CliError, Exit};
use super::generate::write_text;
use super::interrupt::Interrupt;
use super::processes::{ClusterPlan, Processes};
use super::worker::Shuffle;
use super::{Context, rejection, usage_error};
use crate::entry::{JobTable, ready_made_jobs};
use crate::local::{self, LocalOptions};
use crate::render::json::wall_millis;

/// Workers of the demonstration.
const WORKERS: u32 = 3;

/// Files of generated text.
const FILES: u32 = 6;

/// Map tasks that are done when the worker is killed: late enough that work is lost with it, early
/// enough that most is left.
const DONE_AT_KILL: u32 = 6;

/// How often it is looked how far the job is.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
struct DemoArgs {
    /// How much text the words of which are counted
    #[arg(long, value_name = "SIZE", default_value = "192MiB")]
    bytes: ByteSize,
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    DemoArgs::augment_args(Command::new("demo"))
        .about("Watch a cluster lose a worker in the middle of a job and give the right result all the same")
        .after_help(format!("Example:\n  {program} demo"))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let args = DemoArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let interrupt = Interrupt::install().map_err(|error| failed("cannot start", &error))?;
    let place = Place::new(context, None)?;
    let demo = Demo { context, interrupt: &interrupt, dir: &place.dir, bytes: args.bytes };
    let shown = demo.run()?;
    drop(place);
    demo_end(context, &shown)
}

/// What the demonstration has shown.
struct Shown {
    equal: bool,
    parts: usize,
    bytes: u64,
    cluster: JobStatus,
    embedded: JobStatus,
}

struct Demo<'a> {
    context: &'a Context,
    interrupt: &'a Interrupt,
    dir: &'a Path,
    bytes: ByteSize,
}

impl Demo<'_> {
    fn run(&self) -> Result<Shown, CliError> {
        let text = self.dir.join("text");
        self.say(format_args!("1. writing {} of text in {FILES} files", self.bytes));
        write_text(&text, Some(FILES), self.bytes, 1, false)?;
        let cluster = block_on(self.on_cluster(&text))?;
        self.say(format_args!("5. counting the same words in this process, without a cluster"));
        let embedded = self.embedded(&text)?;
        self.say(format_args!("6. comparing the two results byte for byte"));
        let (one, other) = (self.dir.join("counted-by-cluster"), self.dir.join("counted-here"));
        let compared = compare(&one, &other).map_err(|error| failed("cannot compare the results", &error))?;
        let (equal, parts, bytes) = compared;
        Ok(Shown { equal, parts, bytes, cluster, embedded })
    }

    /// A word count on a cluster of which one worker is killed.
    async fn on_cluster(&self, text: &Path) -> Result<JobStatus, CliError> {
        self.say(format_args!("2. starting a master and {WORKERS} workers, each a process of its own"));
        let plan = ClusterPlan {
            workers: WORKERS,
            slots: slots_each(WORKERS),
            memory: memory_each(WORKERS),
            listen: "127.0.0.1:0".to_owned(),
            insecure_listen: false,
            shuffle: Shuffle::Direct,
            dir: self.dir.join("cluster"),
            throwaway: true,
            log: Some("error"),
        };
        let console = self.context.console;
        let processes = Processes::start(console, &plan).await?;
        let status = self.lose_a_worker(&processes, text).await;
        processes.stop().await;
        status
    }

    async fn lose_a_worker(&self, processes: &Processes, text: &Path) -> Result<JobStatus, CliError> {
        let client =
            JobsClient::connect(processes.url(), Duration::ZERO).await.map_err(|error| client_error(&error))?;
        let submission = Submission {
            key: "demo".to_owned(),
            spec: self.spec(text, "counted-by-cluster")?,
            binary_sha256: gristmill_worker::agent::own_binary()
                .map(|binary| binary.to_string())
                .map_err(|error| failed("cannot read this program's own file", &error))?,
        };
        let accepted = client.submit(&submission).await.map_err(|error| client_error(&error))?;
        self.say(format_args!("3. submitted word-count over it: job {}", accepted.job));
        let at_kill = self.await_progress(&client, accepted.job).await?;
        let victim = *processes.worker_pids().last().expect("no worker has ended");
        let pid = i32::try_from(victim).ok().and_then(Pid::from_raw).expect("a process id is positive");
        kill_process(pid, Signal::KILL).map_err(|error| failed("cannot kill a worker", &io::Error::from(error)))?;
        let (done, tasks) = (at_kill.view.map.done, at_kill.view.map.tasks);
        self.say(format_args!("4. after {done} of {tasks} map tasks: kill -9 {victim}, a worker"));
        let status = follow(self.context, &client, accepted.job, self.interrupt, true).await?;
        match status.view.state {
            JobState::Succeeded => {
                let lost = status.view.map.lost_attempts + status.view.reduce.lost_attempts;
                let seconds = Duration::from_millis(wall_millis(&status, self.context.clock.wall())).as_secs_f64();
                self.say(format_args!(
                    "   the job succeeded in {seconds:.1} s; {lost} attempts were lost and made again"
                ));
                Ok(status)
            }
            JobState::Cancelled if self.interrupt.is_asked() => Err(CliError::interrupted(accepted.job)),
            _ => Err(super::client::report(self.context, client.url(), &status).expect_err("it did not succeed")),
        }
    }

    async fn await_progress(&self, client: &JobsClient, job: JobId) -> Result<JobStatus, CliError> {
        loop {
            let status = client.status(job).await.map_err(|error| client_error(&error))?;
            if self.interrupt.is_asked() {
                client.cancel(job).await.map_err(|error| client_error(&error))?;
                return Err(CliError::interrupted(job));
            }
            if status.view.state.is_terminal() {
                return Err(CliError::new(Exit::Failed, "the job was over before a worker could be killed")
                    .hint("give it more to do with --bytes"));
            }
            if status.view.map.done >= DONE_AT_KILL {
                return Ok(status);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn embedded(&self, text: &Path) -> Result<JobStatus, CliError> {
        let submitted = self.context.clock.wall();
        let spec = self.spec(text, "counted-here")?;
        let job = JobTable::new(ready_made_jobs()).build(&spec).map_err(|error| failed("cannot start", &error))?;
        let prepared = prepare(spec, fresh_job_id(&self.context.clock), &self.context.stores)
            .map_err(|error| rejection(&error))?;
        let options = LocalOptions {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory: None,
            scratch: self.dir,
            files: &ShippedPaths::new(),
            objects: &LocalObjects::shared(),
            clock: self.context.clock,
            submitted,
        };
        let status = local::run(&*job, prepared, &options, &|| self.interrupt.is_asked(), &mut |_| {})
            .map_err(|error| CliError::of(Exit::Failed, &error))?;
        match status.view.state {
            JobState::Succeeded => Ok(status),
            JobState::Cancelled => Err(CliError::interrupted(status.view.job)),
            _ => Err(super::client::report(self.context, DEFAULT_MASTER, &status).expect_err("it did not succeed")),
        }
    }

    fn spec(&self, text: &Path, output: &str) -> Result<JobSpec, CliError> {
        let output = Uri::from_path(&self.dir.join(output));
        let shape = gristmill_common::spec::JobShape::MapReduce;
        let mut spec = JobSpec::new("word-count", shape, vec![Uri::from_path(text)], output);
        spec.reducers = Some(4);
        // Many small tasks, so that there is a middle in which to kill somebody.
        spec.split_size = ByteSize((self.bytes.bytes() / 192).max(1));
        Ok(spec)
    }

    fn say(&self, line: std::fmt::Arguments<'_>) {
        self.context.console.talk(line);
    }
}

fn demo_end(context: &Context, shown: &Shown) -> Result<Exit, CliError> {
    let now = context.clock.wall();
    let lost = shown.cluster.view.map.lost_attempts + shown.cluster.view.reduce.lost_attempts;
    if context.console.json {
        context.console.data(json!({
            "equal": shown.equal,
            "parts": shown.parts,
            "bytes": shown.bytes,
            "lost_attempts": lost,
            "cluster_wall_ms": wall_millis(&shown.cluster, now),
            "embedded_wall_ms": wall_millis(&shown.embedded, now),
        }));
    }
    if !shown.equal {
        return Err(CliError::new(Exit::Failed, "the two results differ: this is a bug in gristmill"));
    }
    let (parts, bytes) = (shown.parts, ByteSize(shown.bytes));
    context.console.talk(format_args!("equal: {parts} parts, {bytes}. Everything the demo wrote is removed."));
    Ok(Exit::Succeeded)
}

/// Whether two outputs have the same parts; how many the first has, and their bytes.
fn compare(one: &Path, other: &Path) -> io::Result<(bool, usize, u64)> {
    let (one, other) = (parts(one)?, parts(other)?);
    let mut equal = one.len() == other.len() && !one.is_empty();
    let mut bytes = 0;
    for (one, other) in one.iter().zip(&other) {
        let content = fs::read(one)?;
        equal &= one.file_name() == other.file_name() && content == fs::read(other)?;
        bytes += content.len() as u64;
    }
    Ok((equal, one.len(), bytes))
}

fn parts(output: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parts: Vec<PathBuf> = fs::read_dir(output)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    parts.retain(|path| path.file_name().is_some_and(|name| !naming::is_hidden(&name.to_string_lossy())));
    parts.sort();
    Ok(parts)
}

fn failed(message: &str, error: &dyn std::error::Error) -> CliError {
    CliError::new(Exit::Failed, message).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_compared_by_names_and_bytes() {
        let dir = tempfile::tempdir().expect("scratch");
        let output = |name: &str, parts: &[(&str, &str)]| {
            let output = dir.path().join(name);
            fs::create_dir(&output).expect("created");
            for (name, content) in parts {
                fs::write(output.join(name), content).expect("written");
            }
            output
        };
        let base = output("base", &[("part-00000", "a\n"), ("part-00001", ""), ("_SUCCESS", "{}")]);
        let check = |other: &Path, equal: bool| {
            assert_eq!(compare(&base, other).expect("readable"), (equal, 2, 2), "{}", other.display());
        };
        check(&output("same", &[("part-00000", "a\n"), ("part-00001", ""), ("_SUCCESS", "other")]), true);
        check(&output("bytes", &[("part-00000", "b\n"), ("part-00001", "")]), false);
        check(&output("fewer", &[("part-00000", "a\n")]), false);
        check(&output("names", &[("part-00000", "a\n"), ("part-00002", "")]), false);
    }
}
