//! Makes the segments of a reduce attempt local before it takes a slot: segments of this machine are
//! used where they lie, the others are fetched.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{AttemptId, JobAttempt, MasterEpoch};
use gristmill_common::task::SegmentSource;
use gristmill_common::tls::Dialer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::engine::LocalSegment;
use crate::engine::shuffle::MapOutputs;
use crate::fetch::{FetchOrder, fetch};
use crate::scratch::{self, Scratch};

/// Sources that one attempt fetches from at a time.
const PARALLEL_SOURCES: usize = 4;

/// Sources that a worker fetches from at a time, for all its attempts: with the connection's window
/// this bounds the bytes in flight. Raised, a large shuffle keeps more links busy; lowered, it takes
/// less memory.
pub(super) const MAX_FETCHES: usize = 16;

/// Sources on this machine whose indexes a worker reads, and parts that it forces to disk, at a time.
/// A source may have a file open for each executor that ever worked there. Raised, a burst of short
/// attempts may run out of descriptors; lowered, a slow disk holds up attempts on faster ones.
pub(super) const MAX_DISK_WORK: usize = 8;

/// What to gather for one attempt.
#[derive(Debug)]
pub(super) struct Gather {
    pub(super) epoch: MasterEpoch,
    pub(super) id: JobAttempt,
    pub(super) sources: Arc<[SegmentSource]>,
    pub(super) round: Round,
    pub(super) scratch: Scratch,
    /// The name of this machine; `None` fetches everything.
    pub(super) machine: Option<String>,
    /// How other workers are reached.
    pub(super) dialer: Dialer,
    /// [`MAX_FETCHES`] permits.
    pub(super) fetches: Arc<Semaphore>,
    /// [`MAX_DISK_WORK`] permits.
    pub(super) disk: Arc<Semaphore>,
    /// Files of fetched segments that nobody reads any more.
    pub(super) spares: FetchedFiles,
    /// Set when nobody wants the segments any more.
    pub(super) cancel: CancellationToken,
}

/// How often an attempt's segments were gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    /// What is damaged of the fetched ones may have been damaged on the way here.
    First,
    /// What is damaged now was damaged where it came from.
    Second,
}

/// The segments of an attempt, in map-task order.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) segments: Vec<LocalSegment>,
    pub(super) given: Given,
}

/// What an attempt has besides its work.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Keeps fetched segments on disk.
    pub(super) files: FetchedFiles,
    /// Where to gather from once more if a segment proves damaged; `None` if nothing was fetched, it
    /// was done already, or the session that named the sources is over.
    pub(super) again: Option<Arc<[SegmentSource]>>,
}

/// Files of fetched segments, removed when this is dropped.
#[derive(Debug, Default)]
pub(super) struct FetchedFiles(Vec<PathBuf>);

impl FetchedFiles {
    /// Adds files of `others` until there are `most`; the rest are removed.
    pub(super) fn take_from(&mut self, mut others: FetchedFiles, most: usize) {
        let room = most.saturating_sub(self.0.len()).min(others.0.len());
        self.0.extend(others.0.drain(..room));
    }

    /// Hands up to `most` files on.
    pub(super) fn split(&mut self, most: usize) -> FetchedFiles {
        FetchedFiles(self.0.split_off(self.0.len().saturating_sub(most)))
    }
}

impl Drop for FetchedFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            if let Err(error) = scratch::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "fetched segments cannot be removed");
            }
        }
    }
}

/// The segments of one source.
#[derive(Debug, Default)]
struct FromSource {
    segments: Vec<LocalSegment>,
    lost: Vec<(AttemptId, String)>,
    unreachable: Vec<(AttemptId, String)>,
}

impl FromSource {
    fn extend(&mut self, other: FromSource) {
        self.segments.extend(other.segments);
        self.lost.extend(other.lost);
        self.unreachable.extend(other.unreachable);
    }
}

impl Gather {
    /// Gathers. Once this returns, nothing of it works any more, and what was fetched is in the answer
    /// or removed.
    ///
    /// # Errors
    ///
    /// `MAP_OUTPUT_LOST` with every map attempt whose holder has no whole output of it; if there is none,
    /// `SOURCE_UNREACHABLE` with every one whose holder does not answer; `WRITE_FAILED` if this worker's
    /// scratch does not take what is fetched; `CANCELLED`.
    pub(super) async fn run(mut self) -> Result<Gathered, Failure> {
        let (here, remote) = self.read_local().await?;
        // From here on every way out removes what was fetched, unless it is handed on. A spare file
        // that was used has another name by then.
        let mut files = std::mem::take(&mut self.spares);
        let given = files.0.len();
        let mut spares = files.0.clone().into_iter();
        let mut fetches = Vec::new();
        for source in remote.iter().filter(|source| !source.attempts.is_empty()) {
            files.0.push(self.scratch.fetch_file(self.id.job, self.id.attempt, source.session));
            fetches.push(self.fetch_from(source, spares.next()));
        }
        let fetched: Vec<io::Result<FromSource>> =
            stream::iter(fetches).buffer_unordered(PARALLEL_SOURCES).collect().await;
        if self.cancel.is_cancelled() {
            return Err(Failure::new(FailureCode::Cancelled, "the attempt was cancelled"));
        }
        let mut all = here;
        for source in fetched {
            all.extend(source.map_err(|error| self.cannot_write(&error))?);
        }
        if !all.lost.is_empty() {
            return Err(without(FailureCode::MapOutputLost, all.lost));
        }
        if !all.unreachable.is_empty() {
            return Err(without(FailureCode::SourceUnreachable, all.unreachable));
        }
        let mut segments = all.segments;
        // Stable, since several runs of an attempt are in order.
        segments.sort_by_key(|segment| segment.attempt.task.index);
        // A spare file that was not needed goes; one that was is there under its new name only.
        drop(FetchedFiles(files.0.drain(..given).collect()));
        let again = (self.round == Round::First && !files.0.is_empty()).then_some(self.sources);
        Ok(Gathered { segments, given: Given { files, again } })
    }

    /// Looks up the segments that lie on this machine, and what is left of each source.
    async fn read_local(&self) -> Result<(FromSource, Vec<SegmentSource>), Failure> {
        let (job, partition) = (self.id.job, self.id.attempt.task.index);
        let (machine, sources) = (self.machine.clone(), Arc::clone(&self.sources));
        let _permit = self.disk.acquire().await.expect("it is never closed");
        let read = tokio::task::spawn_blocking(move || {
            let mut here = FromSource::default();
            let mut remote = Vec::new();
            for mut source in sources.iter().cloned() {
                if machine.as_ref() == Some(&source.machine) {
                    let dir = gristmill_common::naming::scratch_job_dir(Path::new(&source.scratch), job);
                    let mut outputs = MapOutputs::new(&dir);
                    source.attempts.retain(|attempt| !read_segment(&mut outputs, *attempt, partition, &mut here));
                }
                remote.push(source);
            }
            (here, remote)
        });
        // The task is not aborted; a panic in it is a bug that only this attempt has to bear.
        read.await
            .map_err(|error| Failure::new(FailureCode::ExecutorCrash, format!("cannot read map outputs: {error}")))
    }

    /// Fetches from one source; less than everything if it is cancelled.
    async fn fetch_from(&self, source: &SegmentSource, spare: Option<PathBuf>) -> io::Result<FromSource> {
        let Some(permit) = self.cancel.run_until_cancelled(self.fetches.acquire()).await else {
            return Ok(FromSource::default());
        };
        let _permit = permit.expect("it is never closed");
        let order = FetchOrder {
            epoch: self.epoch,
            job: self.id.job,
            partition: self.id.attempt.task.index,
            address: source.address.clone(),
            attempts: source.attempts.clone(),
            file: self.scratch.fetch_file(self.id.job, self.id.attempt, source.session),
            spare,
            progress_timeout: FetchOrder::PROGRESS_TIMEOUT,
            dialer: self.dialer.clone(),
        };
        let fetched = fetch(&order, &self.cancel).await?;
        let named = |(attempt, reason)| (attempt, format!("{}: {reason}", source.address));
        Ok(FromSource {
            segments: fetched.segments,
            lost: fetched.lost.into_iter().map(named).collect(),
            unreachable: fetched.unreachable.into_iter().map(named).collect(),
        })
    }

    fn cannot_write(&self, error: &io::Error) -> Failure {
        let message = format!("cannot write fetched segments to {}: {error}", self.scratch.root().display());
        Failure::in_scratch(message, error)
    }
}

/// Looks up one segment in a map output of this machine. False if it has to be fetched: the file is
/// not readable by this process.
fn read_segment(outputs: &mut MapOutputs, attempt: AttemptId, partition: u32, here: &mut FromSource) -> bool {
    match outputs.open(attempt) {
        Ok(output) => match output.segment(partition) {
            Some(segment) => here.segments.extend(segment.into_iter().map(|run| {
                let path = output.path().to_owned();
                LocalSegment { attempt, path, offset: run.offset, bytes: run.bytes }
            })),
            None => here.lost.push((attempt, format!("{} has no partition {partition}", output.path().display()))),
        },
        Err(error) if error.is_loss() => here.lost.push((attempt, error.to_string())),
        Err(_) => return false,
    }
    true
}

/// The failure of an attempt that has to do without these map outputs, of which there is at least one.
fn without(code: FailureCode, mut outputs: Vec<(AttemptId, String)>) -> Failure {
    outputs.sort_unstable();
    let (first, reason) = &outputs[0];
    let more = match outputs.len() {
        1 => String::new(),
        several => format!(" (and {} more)", several - 1),
    };
    let mut failure = Failure::new(code, format!("cannot get map output {first}: {reason}{more}"));
    failure.lost_outputs = outputs.into_iter().map(|(attempt, _)| attempt).collect();
    failure
}

#[cfg(test)]
mod tests {
    use std::fs;

    use gristmill_common::ids::{JobId, SessionId};

    use super::*;
    use crate::testing::{hand_made_output, hand_made_runs, within};

    const JOB: JobId = JobId(7);

    fn attempt(text: &str) -> AttemptId {
        text.parse().expect("an attempt")
    }

    /// Gathers partition 0 from a source whose scratch is `there` and which nobody serves.
    async fn gather(there: &Path, machine: Option<&str>, attempts: &[&str]) -> Result<Vec<LocalSegment>, Failure> {
        gather_until(CancellationToken::new(), there, machine, attempts).await
    }

    async fn gather_until(
        cancel: CancellationToken,
        there: &Path,
        machine: Option<&str>,
        attempts: &[&str],
    ) -> Result<Vec<LocalSegment>, Failure> {
        let here = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::at(here.path());
        scratch.open_job(JOB).expect("folders");
        let source = SegmentSource {
            session: SessionId(3),
            address: "http://127.0.0.1:1".to_owned(),
            machine: "this".to_owned(),
            scratch: there.to_str().expect("UTF-8").to_owned(),
            attempts: attempts.iter().map(|text| attempt(text)).collect(),
        };
        let gather = Gather {
            epoch: MasterEpoch(1),
            id: JobAttempt { job: JOB, attempt: attempt("r-0.0") },
            sources: [source].into(),
            round: Round::First,
            scratch: scratch.clone(),
            machine: machine.map(ToOwned::to_owned),
            dialer: Dialer::plain(),
            fetches: Arc::new(Semaphore::new(MAX_FETCHES)),
            disk: Arc::new(Semaphore::new(MAX_DISK_WORK)),
            spares: FetchedFiles::default(),
            cancel,
        };
        let gathered = within(gather.run()).await;
        let result = gathered.map(|gathered| gathered.segments);
        let left = fs::read_dir(scratch.job_dir(JOB).join("fetch")).expect("a folder").count();
        assert_eq!(left, 0, "fetched files are removed");
        result
    }

    #[tokio::test]
    async fn segments_of_this_machine_are_used_where_they_lie() {
        let there = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::at(there.path());
        scratch.open_job(JOB).expect("folders");
        for (name, bytes) in [("m-2.0", "two"), ("m-0.0", "zero"), ("m-1.3", "")] {
            hand_made_output(&scratch.map_output(JOB, attempt(name)), &[bytes.as_bytes()]);
        }
        let segments = gather(there.path(), Some("this"), &["m-2.0", "m-1.3", "m-0.0"]).await.expect("readable");
        let expect = [("m-0.0", 4), ("m-2.0", 3)].map(|(name, bytes)| {
            let path = scratch.map_output(JOB, attempt(name));
            LocalSegment { attempt: attempt(name), path, offset: 16, bytes }
        });
        assert_eq!(segments, expect);

        let failure = gather(there.path(), Some("this"), &["m-2.0", "m-9.0"]).await.expect_err("not there");
        assert_eq!((failure.code, failure.lost_outputs), (FailureCode::MapOutputLost, vec![attempt("m-9.0")]));
    }

    #[tokio::test]
    async fn runs_stay_in_order_behind_those_of_earlier_tasks() {
        let there = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::at(there.path());
        scratch.open_job(JOB).expect("folders");
        let runs = vec![b"run".as_slice(); 40];
        for name in ["m-1.0", "m-0.0"] {
            hand_made_runs(&scratch.map_output(JOB, attempt(name)), 1, &runs);
        }
        let segments = gather(there.path(), Some("this"), &["m-1.0", "m-0.0"]).await.expect("readable");
        let expect = ["m-0.0", "m-1.0"].map(|name| (0..40).map(move |run| (attempt(name), 16 + 3 * run, 3)));
        let seen: Vec<_> = segments.iter().map(|run| (run.attempt, run.offset, run.bytes)).collect();
        assert_eq!(seen, expect.into_iter().flatten().collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn other_machines_are_asked_through_the_network() {
        let there = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::at(there.path());
        scratch.open_job(JOB).expect("folders");
        hand_made_output(&scratch.map_output(JOB, attempt("m-0.0")), &[b"zero"]);
        for machine in [Some("other"), None] {
            let failure = gather(there.path(), machine, &["m-1.0", "m-0.0"]).await.expect_err("nobody serves");
            assert!(failure.message.starts_with("cannot get map output m-0.0: http://127.0.0.1:1: cannot connect: "));
            assert!(failure.message.ends_with(" (and 1 more)"), "{}", failure.message);
            assert_eq!(failure.code, FailureCode::SourceUnreachable);
            assert_eq!(failure.lost_outputs, [attempt("m-0.0"), attempt("m-1.0")]);
        }
    }

    #[tokio::test]
    async fn what_is_gone_is_told_from_what_is_out_of_reach() {
        let there = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::at(there.path());
        scratch.open_job(JOB).expect("folders");
        // The one cannot be read from here, nor fetched; the other is not there.
        fs::create_dir(scratch.map_output(JOB, attempt("m-0.0"))).expect("a folder");
        let failure = gather(there.path(), Some("this"), &["m-0.0"]).await.expect_err("unreadable");
        assert_eq!((failure.code, failure.lost_outputs), (FailureCode::SourceUnreachable, vec![attempt("m-0.0")]));
        let failure = gather(there.path(), Some("this"), &["m-0.0", "m-1.0"]).await.expect_err("one is lost");
        assert_eq!((failure.code, failure.lost_outputs), (FailureCode::MapOutputLost, vec![attempt("m-1.0")]));
    }

    #[tokio::test]
    async fn a_cancelled_gathering_ends_at_once_and_leaves_nothing() {
        let there = tempfile::tempdir().expect("a folder");
        let cancel = CancellationToken::new();
        cancel.cancel();
        let failure = gather_until(cancel, there.path(), None, &["m-0.0"]).await.expect_err("cancelled");
        assert_eq!(failure.code, FailureCode::Cancelled);
    }

    #[test]
    fn files_are_handed_on_within_a_bound_and_removed_otherwise() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = |names: &[&str]| {
            let paths = names.iter().map(|name| dir.path().join(name)).collect::<Vec<_>>();
            paths.iter().for_each(|path| fs::write(path, b"segments").expect("writable"));
            FetchedFiles(paths)
        };
        let left = || {
            let mut names: Vec<_> =
                fs::read_dir(dir.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
            names.sort_unstable();
            names
        };
        let mut spares = FetchedFiles::default();
        spares.take_from(files(&["a", "b"]), 3);
        spares.take_from(files(&["c", "d"]), 3);
        assert_eq!(left(), ["a", "b", "c"]);
        drop(spares.split(1));
        assert_eq!(left(), ["a", "b"]);
        drop(spares.split(5));
        assert_eq!((left().len(), spares.split(1).0.len()), (0, 0));
    }
}
