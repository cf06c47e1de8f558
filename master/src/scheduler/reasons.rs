//! Why a job makes no progress, in words for people.

use gristmill_common::ids::{JobId, SessionId, Stage, TaskId, WorkerId};

use super::Scheduler;
use super::job::Job;
use super::view::{JobState, SessionState};
use super::workers::Session;

impl Scheduler {
    /// What the open job waits for; `None` if one of its attempts is in force on a live worker.
    pub(super) fn waiting_reason(&self, id: JobId, job: &Job) -> Option<String> {
        match job.state {
            JobState::Queued | JobState::Running => {}
            JobState::Committing => return Some("its output is being put in place".to_owned()),
            JobState::Succeeded | JobState::Failed | JobState::Cancelled => return None,
        }
        let open: Vec<(SessionId, &Session)> = self.sessions.iter().filter(|(_, session)| session.is_open()).collect();
        let in_state = |state: SessionState| -> Vec<WorkerId> {
            let fit = open.iter().filter(|(_, session)| session.life.state() == state);
            fit.map(|(_, session)| session.profile.worker).collect()
        };
        let (live, suspect) = (in_state(SessionState::Live), in_state(SessionState::Suspect));
        if live.is_empty() {
            return Some(match suspect[..] {
                [] => "no worker is connected".to_owned(),
                [worker] => format!("worker {worker} is suspect: its stream broke"),
                _ => format!("all {} workers are suspect: their streams broke", suspect.len()),
            });
        }
        if job.active() > 0 {
            let mut on_live = open.iter().filter(|(_, session)| session.life.state() == SessionState::Live);
            let moves = on_live.any(|(_, session)| session.active.iter().any(|attempt| attempt.job == id));
            return (!moves).then(|| format!("its attempts are on suspect workers: {}", list(&suspect)));
        }
        if !open.iter().any(|(_, session)| session.is_live()) {
            return Some(self.no_room_reason().unwrap_or_else(|| "no connected worker has a slot".to_owned()));
        }
        let stage = job.assignable().unwrap_or(Stage::Map);
        if self.with_room_for(job.stage(stage)).next().is_none() {
            return Some(match live[..] {
                [worker] => format!("worker {worker} is busy with other jobs"),
                _ => format!("all {} workers are busy with other jobs", live.len()),
            });
        }
        self.task_reason(id, job)
    }

    /// Whose disks are full, if any is.
    fn no_room_reason(&self) -> Option<String> {
        let full: Vec<(WorkerId, &str)> = self.sessions.without_room().collect();
        let (worker, said) = full.first()?;
        let others = match full.len() - 1 {
            0 => String::new(),
            1 => ", nor has 1 more worker".to_owned(),
            others => format!(", nor have {others} more workers"),
        };
        Some(format!("no worker has room on its disk: {worker} said that {said}{others}"))
    }

    fn task_reason(&self, id: JobId, job: &Job) -> Option<String> {
        if let Some(stage) = job.assignable() {
            let index = job.stage(stage).first_ready()?;
            let task = TaskId { stage, index };
            let of_job = !job.get(task)?.trouble().prefers_workers();
            let what = if of_job { "the job's tasks did not keep failing" } else { "it did not fail" };
            return Some(format!("task {task} waits for a worker on which {what}"));
        }
        let (_, _, task) = self.resting.iter().find(|(_, of, _)| *of == id)?;
        let resting = job.get(*task)?.trouble();
        if resting.hand_backs == 0 {
            return Some(format!("task {task} waits for workers to come back after the master's restart"));
        }
        let times = if resting.hand_backs == 1 { "once".to_owned() } else { format!("{} times", resting.hand_backs) };
        Some(format!("task {task} was handed back {times} and rests: {}", resting.hand_back_message))
    }
}

fn list(workers: &[WorkerId]) -> String {
    workers.iter().map(WorkerId::to_string).collect::<Vec<_>>().join(", ")
}
