//! One consistent result: all reduce attempts of a job read the same attempt of each map task, or
//! attempts with the same records. An attempt that is made again with other records supersedes the
//! earlier one, and what was made of that is made again.

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, SessionId, Stage, TaskId};
use gristmill_common::task::{AttemptOutput, AttemptReport};

use super::Scheduler;
use super::attempt::AttemptStep;
use super::command::Command;
use super::planted::Bug;
use super::record::Record;
use super::task::Committed;

/// How often a job's reduce attempts are made again because a map task's attempts differ. A map that
/// depends on time or chance differs each time; one that differs once may have met a bad machine.
const MAX_ROUNDS: u32 = 3;

impl Scheduler {
    /// Compares a map output that is about to be committed with the one committed before, and revokes
    /// what was made of that one if they differ.
    ///
    /// # Errors
    ///
    /// Why the job fails, if that happened too often or may not happen at all.
    pub(super) fn supersede(&mut self, id: JobAttempt, report: &AttemptReport) -> Result<(), Failure> {
        let (job, map) = (id.job, id.attempt.task);
        let AttemptOutput::MapOutput(made) = &report.output else { return Ok(()) };
        let open = self.jobs.get_mut(&job).expect("its attempt is in force");
        let earlier = open.map.get(map.index).and_then(|task| task.committed.as_deref());
        let ignores = self.config.has(Bug::IgnoreDifference);
        let differs = |earlier: &&Committed| !ignores && earlier.content_hash() != Some(made.content_hash);
        let Some(earlier) = earlier.filter(differs) else {
            return Ok(());
        };
        let numbers = (earlier.number, id.attempt.number);
        open.differed.insert(map);
        let consumed = open.reduce.active > 0 || open.reduce.done > 0;
        open.rounds += u32::from(consumed);
        if open.request.require_deterministic || open.rounds > MAX_ROUNDS {
            let times = if open.request.require_deterministic { "" } else { ", too often" };
            let message =
                format!("map task {map} is not deterministic: attempts {} and {} differ{times}", numbers.0, numbers.1);
            return Err(Failure::new(FailureCode::NondeterministicMap, message));
        }
        self.revoke_reduces(job, map);
        Ok(())
    }

    /// Makes every reduce task pending that read the map output committed before.
    fn revoke_reduces(&mut self, job: JobId, map: TaskId) {
        let open = self.jobs.get_mut(&job).expect("the caller found it");
        let rounds = open.rounds;
        let tasks = (0..open.reduce.len()).map(TaskId::reduce);
        let done: Vec<(SessionId, AttemptId)> = tasks
            .filter_map(|task| {
                let commit = open.get(task)?.commit()?;
                Some((commit.session, AttemptId { task, number: commit.number }))
            })
            .collect();
        let active: Vec<_> = open.active_attempts(job);
        let active: Vec<_> = active.into_iter().filter(|(_, id)| id.attempt.task.stage == Stage::Reduce).collect();
        for (_, attempt) in &done {
            open.reduce.revoke(attempt.task.index);
            open.reduce.forget_report(attempt.task.index);
        }
        for (_, id) in &active {
            open.reduce.give_up(id.attempt.task.index, id.attempt.number, AttemptStep::Cancel, None);
        }
        open.unasked.clear();
        let reduces = done.iter().map(|(_, attempt)| *attempt).collect();
        self.record(|| Record::Revoked { job, map, reduces, rounds });
        for (session, id) in active {
            self.cancel_attempt(session, id);
        }
        for (session, attempt) in done {
            if self.sessions.open(session).is_some() {
                self.commands.push(Command::DiscardOutput { session, id: JobAttempt { job, attempt } });
            }
        }
        self.notify.insert(job);
    }
}
