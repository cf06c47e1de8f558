//! From a journal to a master's first state: which jobs go on, which are over, and what is left of jobs
//! that nobody will finish. Takes up claims; decides nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use gristmill_common::ids::{JobId, MasterEpoch, WorkerId};
use gristmill_common::naming::Uri;
use gristmill_common::spec::StoreOptions;
use gristmill_common::storage::Stores;
use gristmill_common::task::{AttemptOutput, BadRecords, PartSummary};
use gristmill_common::time::WallTime;
use tracing::warn;

use super::describe;
use super::jobs::JobTable;
use super::journal::{AcceptedJob, Change, Journal, JournalError, JournalRecord};
use super::output::{Leftover, OutputClaim, OutputError, Progress, is_published};
use super::shipped::{JobFiles, ShippedFiles};
use super::status::JobStatus;
use crate::scheduler::{JobRequest, JobState, Record, RestoredJob};

/// What a master starts with. Empty by default.
#[derive(Debug, Default)]
pub struct Recovered {
    /// What the runtime knows of the jobs.
    pub(super) table: JobTable,
    /// The jobs for the scheduler, in the order in which they were submitted.
    pub(super) jobs: Vec<RestoredJob>,
    /// The names of workers, by what they call themselves.
    pub(super) workers: HashMap<String, WorkerId>,
    /// Jobs that have no future and may have left something beside their outputs.
    pub(super) leftovers: Vec<Leftover>,
    /// What became clear meanwhile and is to be recorded first.
    pub(super) changes: Vec<Change>,
}

/// Why a master cannot start from what earlier ones left. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// What they recorded cannot be trusted.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The output of an open job is out of reach, which says nothing against the job.
    #[error("cannot take up the output of open job {job}")]
    Output {
        /// The job.
        job: JobId,
        /// What is out of reach, and why.
        #[source]
        source: OutputError,
    },
}

impl RecoverError {
    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            RecoverError::Journal(error) => error.hint(),
            RecoverError::Output { .. } => Some(
                "no job was touched: mount or repair what is named, and start the master again; if a folder is gone \
                 for good, make an empty one in its place, and its job starts over or fails by itself",
            ),
        }
    }
}

/// Replays a journal and takes up the claims of open jobs. A job whose output something else uses by
/// now has failed. Blocks as long as that takes; `now` is when such jobs end.
///
/// # Errors
///
/// If the journal cannot be trusted, or an output is out of reach. Then nothing was changed.
pub fn recover(
    journal: &mut dyn Journal,
    files: &ShippedFiles,
    stores: &Stores,
    now: WallTime,
) -> Result<Recovered, RecoverError> {
    let mut recovered = Recovered::default();
    let mut lives: BTreeMap<JobId, Life> = BTreeMap::new();
    let mut orphan = None;
    journal.replay(&mut |record| {
        let job = record.job();
        let known = match (job, record) {
            (_, JournalRecord::WorkerNamed { key, worker }) => {
                recovered.workers.insert(key, worker);
                true
            }
            (Some(job), record) => lives.entry(job).or_default().apply(record),
            (None, _) => true,
        };
        if !known {
            orphan = orphan.or(job);
        }
    })?;
    if let Some(job) = orphan {
        return Err(JournalError::Incomplete { job }.into());
    }
    let mut lives: Vec<(JobId, Life)> = lives.into_iter().collect();
    lives.sort_by_key(|(job, life)| (life.submitted(), *job));
    for (job, life) in lives {
        // On an error the claims taken up so far are given up, and what is staged stays.
        recovered
            .add(job, life, &Around { files, stores, now })
            .map_err(|source| RecoverError::Output { job, source })?;
    }
    Ok(recovered)
}

/// What is around the journal.
#[derive(Debug, Clone, Copy)]
struct Around<'a> {
    files: &'a ShippedFiles,
    stores: &'a Stores,
    now: WallTime,
}

/// An output that was about to be claimed.
#[derive(Debug)]
struct Claiming {
    output: Uri,
    missing: Vec<PathBuf>,
    store: StoreOptions,
}

/// The records of one job.
#[derive(Debug, Default)]
struct Life {
    claiming: Option<Claiming>,
    accepted: Option<(AcceptedJob, RestoredJob)>,
    closed: Option<(String, Box<JobStatus>)>,
}

impl Life {
    /// Takes in the next record. Returns whether it makes sense after those before it.
    fn apply(&mut self, record: JournalRecord) -> bool {
        match (record, &mut self.accepted) {
            (JournalRecord::WorkerNamed { .. }, _) => {}
            (JournalRecord::Claiming { output, missing, store, job: _ }, _) => {
                self.claiming = Some(Claiming { output, missing, store });
            }
            (JournalRecord::Accepted(job), accepted) => {
                let request = Arc::new(JobRequest::of(&job.spec, &job.plan));
                let restored = RestoredJob::new(job.job, request, job.epoch);
                *accepted = Some((*job, restored));
            }
            (JournalRecord::Fact(fact), Some((_, restored))) => restored.apply(*fact),
            (JournalRecord::Fact(_), None) => return false,
            (JournalRecord::Closed { key, status }, _) => self.closed = Some((key, status)),
        }
        true
    }

    fn submitted(&self) -> WallTime {
        let accepted = self.accepted.as_ref().map(|(job, _)| job.submitted);
        accepted.or_else(|| self.closed.as_ref().map(|(_, status)| status.submitted)).unwrap_or_default()
    }
}

impl Recovered {
    fn add(&mut self, job: JobId, life: Life, around: &Around<'_>) -> Result<(), OutputError> {
        if let Some((key, status)) = life.closed {
            self.add_closed(key, *status);
        } else if let Some((accepted, restored)) = life.accepted {
            let created = life.claiming.map(|claiming| claiming.missing).unwrap_or_default();
            match &restored.ended {
                Some((state, _)) => {
                    if *state != JobState::Succeeded {
                        self.leftovers.push(leftover(&accepted, &restored, created));
                    }
                    self.table.insert_over(&accepted, around.now);
                    self.jobs.push(restored);
                }
                None => self.add_open(&accepted, restored, created, around)?,
            }
        } else if let Some(Claiming { output, missing: created, store }) = life.claiming {
            let (uploads, ending, parts, bad) = (BTreeSet::new(), String::new(), Vec::new(), Vec::new());
            self.leftovers.push(Leftover { job, output, store, created, uploads, ending, parts, bad });
        }
        Ok(())
    }

    fn add_closed(&mut self, key: String, status: JobStatus) {
        // Of its tasks nothing is known any more, and nothing is shown but the status.
        let request = Arc::new(JobRequest::new(Vec::new(), 0));
        let mut restored = RestoredJob::new(status.view.job, request, MasterEpoch(0));
        restored.ended = Some((status.view.state, status.view.failure.clone()));
        self.jobs.push(restored);
        self.table.insert_closed(key, status);
    }

    /// # Errors
    ///
    /// If the job's output is out of reach.
    fn add_open(
        &mut self,
        accepted: &AcceptedJob,
        mut restored: RestoredJob,
        created: Vec<PathBuf>,
        around: &Around<'_>,
    ) -> Result<(), OutputError> {
        let Around { files, stores, now } = *around;
        let job = accepted.job;
        // Without them the job goes on where workers have them already; others say what is missing.
        let mut held = files.hold(&accepted.binary_sha256, &accepted.spec).unwrap_or_else(|error| {
            warn!(%job, reason = describe(&error), "files of the job are gone");
            JobFiles::default()
        });
        files.hold_recipe(accepted.recipe, &mut held);
        let staged = restored.commits.values().any(|commit| matches!(commit.report.output, AttemptOutput::Part(_)));
        let left = Progress { staged, decided: restored.decided, uploads: restored.uploads.clone() };
        match OutputClaim::reclaim(&accepted.spec, job, &left, stores) {
            Ok(claim) => self.table.insert(accepted, claim, held),
            Err(error) if error.is_out_of_reach() => return Err(error),
            Err(error) => {
                let (output, store) = (&accepted.spec.output, &accepted.spec.store);
                let (state, failure) = if restored.decided && is_published(output, store, job, stores)? {
                    (JobState::Succeeded, None)
                } else {
                    warn!(%job, reason = describe(&error), "output not taken up again");
                    (JobState::Failed, Some(error.to_failure()))
                };
                self.leftovers.push(leftover(accepted, &restored, created));
                let ended = Record::Ended { job, state, failure };
                self.changes.push(Change::Append(JournalRecord::Fact(Box::new(ended.clone()))));
                restored.apply(ended);
                self.table.insert_over(accepted, now);
            }
        }
        self.jobs.push(restored);
        Ok(())
    }
}

/// What may be left of a job without a future.
fn leftover(accepted: &AcceptedJob, restored: &RestoredJob, created: Vec<PathBuf>) -> Leftover {
    let (parts, bad) = if restored.decided { results(restored) } else { Default::default() };
    Leftover {
        job: accepted.job,
        output: accepted.spec.output.clone(),
        store: accepted.spec.store.clone(),
        created,
        uploads: restored.uploads.clone(),
        ending: accepted.spec.part_ending(),
        parts,
        bad,
    }
}

/// What the committed attempts made, in task order: parts, and skipped records.
fn results(restored: &RestoredJob) -> (Vec<PartSummary>, Vec<BadRecords>) {
    let reports = || restored.commits.values().map(|commit| &commit.report);
    let part = |output: &AttemptOutput| match output {
        AttemptOutput::Part(part) => Some(part.clone()),
        AttemptOutput::MapOutput(_) => None,
    };
    let parts = reports().filter_map(|report| part(&report.output)).collect();
    (parts, reports().filter_map(|report| report.bad.as_deref().cloned()).collect())
}
