//! What the agent knows of one job and of its attempts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use gristmill_common::failure::{Failure, InputPosition};
use gristmill_common::ids::{AttemptId, JobAttempt, TaskId};
use gristmill_common::naming::{staged_bad_records_name, staged_named_dir, staged_part_name};
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{AttemptOutput, OpenUpload};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::crash::{Ending, Victim};
use super::gather::{FetchedFiles, Given};
use super::process::{ExecutorHandle, ExecutorKey};
use super::report::Report;
use super::supply::Supplies;
use super::watchdog::Watchdog;
use crate::executor::message::Work;

/// One job that has work here, or had.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) spec: JobSpec,
    /// Its binary, as the master names it.
    pub(super) binary_sha256: String,
    /// Where attempts stage parts.
    pub(super) staging: PathBuf,
    /// Why no attempt of it can run on this worker.
    pub(super) refusal: Option<Failure>,
    /// What it runs with; absent while that is being fetched.
    pub(super) supplies: Option<Supplies>,
    /// Fetches it, until it is there.
    pub(super) supplying: Option<CancellationToken>,
    pub(super) executor: Option<Executor>,
    /// Tasks that have to run alone, because they may have killed an executor.
    pub(super) suspects: BTreeSet<TaskId>,
    /// The last reports of attempts that ended, to be repeated when the master asks.
    pub(super) reports: BTreeMap<AttemptId, Report>,
    /// Segments being made local.
    pub(super) gathering: usize,
    /// Attempts that are being sent to a store.
    pub(super) uploading: usize,
    /// Files of fetched segments that are read no more, for the next ones.
    pub(super) spares: FetchedFiles,
    pub(super) end: JobEnd,
}

/// Where a job is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobEnd {
    /// Attempts may come.
    Open,
    /// Its executor and fetches are ending; then its scratch goes.
    Released,
    /// Its scratch is being removed.
    Removing,
}

/// The executor of a job.
#[derive(Debug)]
pub(super) struct Executor {
    pub(super) key: ExecutorKey,
    pub(super) handle: ExecutorHandle,
    pub(super) opened: bool,
    /// Why the worker ends it, if it does.
    pub(super) killed: Option<Ending>,
    /// What runs in each slot.
    pub(super) slots: Vec<Option<InSlot>>,
    /// Watches how long records take, unless they may take for ever.
    pub(super) watchdog: Option<Watchdog>,
}

/// An attempt in a slot of an executor.
#[derive(Debug, Clone)]
pub(super) struct InSlot {
    pub(super) id: JobAttempt,
    /// The objects that its record position refers to.
    pub(super) objects: Vec<String>,
}

/// One attempt that is not over.
#[derive(Debug)]
pub(super) enum Attempt {
    /// Its segments are being made local.
    Gathering { cancel: CancellationToken },
    /// It waits for a slot.
    Ready { work: Work, given: Given },
    /// It runs in an executor.
    Running { given: Given },
    /// It has run, and its part is being forced to disk.
    Forcing,
    /// It has run, and what it staged is being sent to an object store.
    Uploading {
        cancel: CancellationToken,
        /// What the master has not noted yet.
        asked: Option<Asked>,
    },
    /// It runs, but nobody wants its result any more; the files stay until it has stopped.
    Cancelled { _given: Given },
}

/// Uploads that wait for the master to note them.
#[derive(Debug)]
pub(super) struct Asked {
    /// Counts the attempt's requests.
    pub(super) batch: u32,
    pub(super) uploads: Vec<OpenUpload>,
    /// Told when they are; dropped if nobody wants them.
    pub(super) noted: oneshot::Sender<()>,
}

impl Job {
    pub(super) fn new(spec: JobSpec, binary_sha256: String, staging: PathBuf, refusal: Option<Failure>) -> Self {
        Self {
            spec,
            binary_sha256,
            staging,
            refusal,
            supplies: None,
            supplying: None,
            executor: None,
            suspects: BTreeSet::new(),
            reports: BTreeMap::new(),
            gathering: 0,
            uploading: 0,
            spares: FetchedFiles::default(),
            end: JobEnd::Open,
        }
    }

    /// Whether attempts of it may start: what it needs is here, and its executor, if there is one, takes
    /// them.
    pub(super) fn takes_attempts(&self) -> bool {
        self.end == JobEnd::Open
            && self.supplies.is_some()
            && self.executor.as_ref().is_none_or(|executor| executor.killed.is_none())
    }

    /// Whether nothing of it uses its scratch any more.
    pub(super) fn is_quiet(&self) -> bool {
        self.executor.is_none() && self.gathering == 0 && self.uploading == 0 && self.supplying.is_none()
    }

    /// Whether what its attempts stage has to be on disk before it counts.
    pub(super) fn is_forced(&self) -> bool {
        self.spec.fsync && self.spec.output.local_path().is_some()
    }

    /// Gives up what is being fetched for it.
    pub(super) fn stop_supplying(&mut self) {
        if let Some(supplying) = &self.supplying {
            supplying.cancel();
        }
    }

    /// Ends its executor, if there is one.
    pub(super) fn kill_executor(&mut self, why: &str) {
        if let Some(executor) = &mut self.executor {
            executor.kill(Ending::Unwanted(why.to_owned()));
        }
    }

    /// The part that an attempt stages, if it stages one.
    pub(super) fn staged_part(&self, attempt: AttemptId) -> PathBuf {
        self.staging.join(staged_part_name(attempt.task.index, attempt))
    }

    /// The folder of the parts of named outputs that an attempt stages, if it stages any.
    pub(super) fn staged_named_dir(&self, attempt: AttemptId) -> PathBuf {
        self.staging.join(staged_named_dir(&staged_part_name(attempt.task.index, attempt)))
    }

    /// Everything that has to be on disk before a report of parts counts; nothing for a map output.
    pub(super) fn staged_files(&self, attempt: AttemptId, output: &AttemptOutput) -> Vec<PathBuf> {
        let AttemptOutput::Part(part) = output else { return Vec::new() };
        let mut files = vec![self.staged_part(attempt)];
        if !part.named.is_empty() {
            let folder = self.staged_named_dir(attempt);
            files.extend((0..part.named.len()).map(|number| folder.join(number.to_string())));
            files.push(folder);
        }
        files
    }

    /// The records that a map attempt skipped, if it skipped any.
    pub(super) fn staged_bad_records(&self, attempt: AttemptId) -> PathBuf {
        self.staging.join(staged_bad_records_name(attempt))
    }
}

impl Executor {
    /// Puts an attempt into a free slot and names it.
    pub(super) fn take_slot(&mut self, occupant: InSlot) -> Option<u32> {
        let slot = self.slots.iter().position(Option::is_none)?;
        self.slots[slot] = Some(occupant);
        u32::try_from(slot).ok()
    }

    /// Frees the attempt's slot.
    pub(super) fn leave_slot(&mut self, id: JobAttempt) {
        for slot in &mut self.slots {
            slot.take_if(|occupant| occupant.id == id);
        }
    }

    /// Ends it; the first reason counts.
    pub(super) fn kill(&mut self, why: Ending) {
        self.killed.get_or_insert(why);
        self.handle.kill();
    }

    /// Looks whether its records get on; the attempt of one that does not.
    pub(super) fn stuck(&mut self) -> Option<JobAttempt> {
        let board = &self.handle.board;
        let slots = self.slots.iter().enumerate();
        let seen = slots.map(|(slot, occupant)| Some((occupant.as_ref()?.id, board.slot(slot).moment())));
        self.watchdog.as_mut()?.look(seen)
    }

    /// The attempts in its slots, with what their positions on the board say.
    pub(super) fn victims(&self) -> Vec<Victim> {
        let victim = |(slot, occupant): (usize, &Option<InSlot>)| {
            let occupant = occupant.as_ref()?;
            let place = self.handle.board.slot(slot);
            let position = place.get().and_then(|(piece, offset)| {
                let object = occupant.objects.get(usize::try_from(piece).ok()?)?.clone();
                Some(InputPosition { object, offset })
            });
            Some(Victim { id: occupant.id, position, fault: place.fault() })
        };
        self.slots.iter().enumerate().filter_map(victim).collect()
    }
}
