//! What simulated workers do: their side of the protocol, and their attempts.

use std::time::Duration;

use gristmill_common::failure::{Failure, FailureCode, InputPosition};
use gristmill_common::ids::{AttemptId, JobAttempt, MasterEpoch, SessionId, Stage};
use gristmill_common::naming::staged_part_name;
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats, MapOutputSummary, PartSummary};
use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::{AttemptWork, WorkerReport};

use super::cluster::{Cluster, Incident};
use super::data;
use super::network::{StreamId, ToMaster, ToWorker};
use super::options::{Fate, Planted};
use super::worker::Local;

/// How often a fetch from a holder that cannot be reached is tried.
const FETCH_TRIES: u32 = 8;

impl Cluster<'_> {
    /// Handles what happens at a worker: later, if it stands still; not at all, if it belongs to an
    /// earlier life.
    pub(super) fn handle_at_worker(&mut self, incident: Incident) {
        let (worker, life) = match &incident {
            Incident::ToWorker(stream, _) | Incident::WorkerSeesBreak(stream) => (self.network.worker(*stream), None),
            Incident::Connect { worker, life }
            | Incident::Heartbeat { worker, life }
            | Incident::Fetch { worker, life, .. }
            | Incident::Finish { worker, life, .. } => (*worker, Some(*life)),
            Incident::Start(worker) => return self.start(*worker),
            Incident::Fault => return self.fault(),
            Incident::Heal => return self.heal(),
            Incident::Submit(_)
            | Incident::Cancel(_)
            | Incident::Published { .. }
            | Incident::Durable { .. }
            | Incident::StartMaster
            | Incident::MasterDies { .. }
            | Incident::ToMaster(..)
            | Incident::MasterSeesBreak(_) => unreachable!("the master's side handles it"),
        };
        let at = &self.workers[worker];
        if !at.up || life.is_some_and(|life| life != at.life) {
            return;
        }
        if at.paused_until > self.now {
            let resumed = at.paused_until;
            return self.calendar.enter(resumed, incident);
        }
        match incident {
            Incident::ToWorker(stream, message) => self.on_message_to_worker(worker, stream, message),
            Incident::WorkerSeesBreak(stream) if at.stream == Some(stream) => self.reconnect(worker),
            Incident::Connect { .. } => self.connect(worker),
            Incident::Heartbeat { .. } => self.beat(worker),
            Incident::Fetch { id, holder, map, tries, .. } => self.fetch(worker, id, holder, map, tries),
            Incident::Finish { id, .. } => self.finish(worker, id),
            _ => {}
        }
    }

    fn start(&mut self, worker: usize) {
        let at = &mut self.workers[worker];
        if !at.up {
            at.up = true;
            at.life += 1;
            at.lose_process();
            (at.stream, at.session) = (None, None);
            let life = at.life;
            self.calendar.enter(self.now, Incident::Connect { worker, life });
            self.calendar.enter(self.now, Incident::Heartbeat { worker, life });
        }
    }

    fn connect(&mut self, worker: usize) {
        if self.workers[worker].stream.is_some() {
            return;
        }
        if self.workers[worker].cut_off_until > self.now || !self.master.up {
            return self.reconnect(worker);
        }
        let stream = self.network.open(worker, self.now);
        self.workers[worker].stream = Some(stream);
        let first = match self.workers[worker].session {
            Some((epoch, session)) => ToMaster::Resume(epoch, session),
            None => {
                self.workers[worker].end_session();
                ToMaster::Register(self.workers[worker].offers())
            }
        };
        let [at] = self.network.arrivals(stream, true, false, self.now, &mut self.random)[..] else { return };
        self.calendar.enter(at, Incident::ToMaster(stream, first));
    }

    /// Connects again after a moment.
    fn reconnect(&mut self, worker: usize) {
        self.workers[worker].stream = None;
        let life = self.workers[worker].life;
        let at = self.now + Duration::from_micros(self.random.within(1000, 250_000));
        self.calendar.enter(at, Incident::Connect { worker, life });
    }

    fn beat(&mut self, worker: usize) {
        self.report(worker, &WorkerReport::Heartbeat);
        let life = self.workers[worker].life;
        let at = self.now + Duration::from_micros(self.workers[worker].heartbeat_micros);
        self.calendar.enter(at, Incident::Heartbeat { worker, life });
    }

    /// Sends a report, if there is anybody to send it to; now and then also under an old epoch.
    pub(super) fn report(&mut self, worker: usize, report: &WorkerReport) {
        let at = &self.workers[worker];
        let (Some(stream), Some((epoch, session))) = (at.stream, at.session) else { return };
        if !self.network.is_open(stream) {
            return;
        }
        if self.random.chance(self.options.repeats) {
            let stale = ToMaster::Report(MasterEpoch(epoch.0 - 1), session, report.clone());
            self.calendar.enter(self.now, Incident::ToMaster(stream, stale));
        }
        for at in self.network.arrivals(stream, true, true, self.now, &mut self.random) {
            self.calendar.enter(at, Incident::ToMaster(stream, ToMaster::Report(epoch, session, report.clone())));
        }
    }

    fn on_message_to_worker(&mut self, worker: usize, stream: StreamId, message: ToWorker) {
        if self.workers[worker].stream != Some(stream) || !self.network.is_open(stream) {
            return;
        }
        // Whatever comes first over a new stream tells the session, as the envelope does.
        if let Some(session) = self.network.session(stream) {
            self.workers[worker].session = Some((self.master.epoch, session));
        }
        match message {
            ToWorker::Registered => {}
            ToWorker::Start(id, work) => self.on_start(worker, id, work),
            ToWorker::Cancel(id) => self.workers[worker].drop_attempt(id),
            ToWorker::Discard(id) => {
                self.workers[worker].drop_attempt(id);
                let name = staged_part_name(id.attempt.task.index, id.attempt);
                self.staged.remove(&(id.job, name));
            }
            ToWorker::Release(job) => self.workers[worker].drop_job(job),
            ToWorker::Close => {
                self.workers[worker].end_session();
                self.network.break_stream(stream);
                self.calendar.enter(self.now, Incident::MasterSeesBreak(stream));
                self.reconnect(worker);
            }
        }
        self.begin_attempts(worker);
    }

    /// An assignment that is known is a question about its outcome.
    fn on_start(&mut self, worker: usize, id: JobAttempt, work: AttemptWork) {
        match self.workers[worker].attempts.get(&id) {
            None => {
                self.workers[worker].queue.push_back(id);
                self.workers[worker].attempts.insert(id, Local::Queued(work));
            }
            Some(Local::Queued(_) | Local::Running { .. }) => {}
            Some(Local::Finished(report)) => {
                let report = report.clone();
                self.report(worker, &WorkerReport::AttemptFinished { id, report });
            }
            Some(Local::Failed(failure)) => {
                let failure = failure.clone();
                self.report(worker, &WorkerReport::AttemptFailed { id, failure });
            }
        }
    }

    fn begin_attempts(&mut self, worker: usize) {
        while let Some(id) = self.workers[worker].begin_next() {
            self.report(worker, &WorkerReport::AttemptStarted { id });
            let Some(Local::Running { work, .. }) = self.workers[worker].attempts.get(&id) else { continue };
            let fetches: Vec<(SessionId, AttemptId)> = match work {
                AttemptWork::Map { .. } => Vec::new(),
                AttemptWork::Reduce { sources } => {
                    let pairs = sources.iter().map(|source| source.attempts.iter().map(|map| (source.session, *map)));
                    pairs.flatten().collect()
                }
            };
            let life = self.workers[worker].life;
            if fetches.is_empty() {
                let at = self.after_some_work(worker);
                self.calendar.enter(at, Incident::Finish { worker, life, id });
            }
            let epoch = self.workers[worker].session.map_or(MasterEpoch(0), |(epoch, _)| epoch);
            for (holder, map) in fetches {
                let at = self.after_some_work(worker);
                self.calendar.enter(at, Incident::Fetch { worker, life, id, holder: (epoch, holder), map, tries: 1 });
            }
        }
    }

    fn after_some_work(&mut self, worker: usize) -> Timestamp {
        let time = Duration::from_micros(self.random.within(500, self.options.attempt_ms * 1000));
        self.now + time * self.workers[worker].slowness
    }

    fn fetch(&mut self, worker: usize, id: JobAttempt, holder: (MasterEpoch, SessionId), map: AttemptId, tries: u32) {
        let held_at = self.session_workers[&holder];
        let reachable = held_at == worker
            || (self.workers[held_at].serves(self.now)
                && self.workers[worker].cut_off_until <= self.now
                && self.cut_pair.is_none_or(|(a, b, until)| (a, b) != (worker, held_at) || until <= self.now));
        let output = self.read_output(held_at, holder, JobAttempt { job: id.job, attempt: map });
        let life = self.workers[worker].life;
        let Some(Local::Running { work: AttemptWork::Reduce { sources }, fetched }) =
            self.workers[worker].attempts.get_mut(&id)
        else {
            return;
        };
        if !reachable && tries < FETCH_TRIES {
            let at = self.now + Duration::from_millis(100);
            let again = Incident::Fetch { worker, life, id, holder, map, tries: tries + 1 };
            return self.calendar.enter(at, again);
        }
        match output.filter(|_| reachable) {
            Some(mut segments) => {
                let hash = data::content_hash(&segments);
                fetched.insert(map.task.index, (hash, segments.swap_remove(id.attempt.task.index as usize)));
                let all: usize = sources.iter().map(|source| source.attempts.len()).sum();
                if fetched.len() == all {
                    let at = self.after_some_work(worker);
                    self.calendar.enter(at, Incident::Finish { worker, life, id });
                }
            }
            None => {
                let code = if reachable { FailureCode::MapOutputLost } else { FailureCode::SourceUnreachable };
                let mut failure = Failure::new(code, format!("{} does not give {map}", holder.1));
                failure.lost_outputs = vec![map];
                self.fail(worker, id, failure);
            }
        }
    }

    /// What a holder gives of a map output: nothing if it is another session's by now, or damaged.
    fn read_output(
        &self,
        at: usize,
        holder: (MasterEpoch, SessionId),
        id: JobAttempt,
    ) -> Option<Vec<Vec<data::Count>>> {
        let holds = &self.workers[at];
        let mut segments = holds.outputs.get(&id).filter(|_| holds.session == Some(holder))?.clone();
        if holds.damaged.contains(&id) {
            if self.options.planted != Some(Planted::TrustSegments) {
                return None;
            }
            segments.iter_mut().flatten().for_each(|(_, count)| *count += 1);
        }
        Some(segments)
    }

    fn fail(&mut self, worker: usize, id: JobAttempt, failure: Failure) {
        self.workers[worker].attempts.insert(id, Local::Failed(failure.clone()));
        self.report(worker, &WorkerReport::AttemptFailed { id, failure });
        self.begin_attempts(worker);
    }

    fn finish(&mut self, worker: usize, id: JobAttempt) {
        let Some(Local::Running { work, fetched }) = self.workers[worker].attempts.get(&id) else { return };
        if let AttemptWork::Reduce { sources } = work {
            let all: usize = sources.iter().map(|source| source.attempts.len()).sum();
            if fetched.len() < all {
                return;
            }
        }
        let part = data::reduce(fetched.values().map(|(_, segment)| segment));
        if let Some(failure) = self.planned_failure(id) {
            return self.fail(worker, id, failure);
        }
        let shape = &self.options.jobs[id.job.0 as usize - 1];
        let index = id.attempt.task.index;
        let output = match (id.attempt.task.stage, shape.reduces) {
            (Stage::Map, 0) => self.stage_part(id, data::map_part(id.job, index)),
            (Stage::Reduce, _) => self.stage_part(id, part),
            (Stage::Map, reduces) => {
                let differs = shape.fate == Fate::Nondeterministic;
                let variant = if differs { u64::from(id.attempt.number) * 8 + worker as u64 + 1 } else { 0 };
                let segments = data::segments(id.job, index, reduces, variant);
                let content_hash = data::content_hash(&segments);
                self.workers[worker].outputs.insert(id, segments);
                self.workers[worker].damaged.remove(&id);
                let bytes = 5 * u64::from(reduces);
                AttemptOutput::MapOutput(MapOutputSummary { partitions: reduces, bytes, content_hash })
            }
        };
        // Counts that tell attempts apart, so that a sum over the wrong ones shows.
        let unique = u64::from(id.attempt.number) << 32 | u64::from(index) << 8 | 1;
        let counters = [("attempts", 1), ("unique", unique)].into_iter().collect();
        // Short and long ones, so that more or fewer assignments are sent ahead.
        let wall_micros = 4_000 << (index % 4);
        let stats = AttemptStats { input_records: 1, wall_micros, ..AttemptStats::default() };
        let report = AttemptReport { output, counters, stats, bad: None };
        self.workers[worker].attempts.insert(id, Local::Finished(report.clone()));
        self.report(worker, &WorkerReport::AttemptFinished { id, report });
        self.begin_attempts(worker);
    }

    /// Stages a part, unless the job's staging folder is gone.
    fn stage_part(&mut self, id: JobAttempt, content: String) -> AttemptOutput {
        let staged_name = staged_part_name(id.attempt.task.index, id.attempt);
        let bytes = content.len() as u64;
        if !self.unstaged.contains(&id.job) {
            self.staged.insert((id.job, staged_name.clone()), content);
        }
        AttemptOutput::Part(PartSummary {
            staged_name,
            bytes,
            records: 0,
            checksum: 0,
            named: Box::default(),
            upload: None,
            left_out: false,
        })
    }

    /// A failure of the user's code or of the place, of those that count never so many that a healthy job
    /// fails.
    fn planned_failure(&mut self, id: JobAttempt) -> Option<Failure> {
        let shape = &self.options.jobs[id.job.0 as usize - 1];
        let (task, max_attempts) = (id.attempt.task, shape.max_attempts);
        if task.stage == Stage::Map && shape.fate == (Fate::Poisoned { map: task.index }) {
            let position = InputPosition { object: "input".to_owned(), offset: u64::from(task.index) };
            return Some(Failure::new(FailureCode::UserError, "poison").at(position));
        }
        if self.now > Timestamp::from_millis(self.options.faults_until_ms) || !self.random.chance(self.options.failures)
        {
            return None;
        }
        let codes = [FailureCode::UserPanic, FailureCode::ExecutorCrash, FailureCode::WriteFailed];
        let failed = self.failed.entry((id.job, task)).or_default();
        let code = if *failed + 1 < max_attempts && self.random.chance(70) {
            *failed += 1;
            *self.random.pick(&codes)
        } else {
            *self.random.pick(&[FailureCode::WorkerLost, FailureCode::ScratchFull])
        };
        Some(Failure::new(code, format!("{} failed by chance", id.attempt)))
    }
}
