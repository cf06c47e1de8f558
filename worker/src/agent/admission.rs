//! Which attempts may start: slots, memory, and the rule that a suspect of a crash runs alone. Pure:
//! knows neither processes nor files.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::size::ByteSize;

use crate::memory::MemoryPermits;

/// What an attempt needs to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: JobAttempt,
    pub(super) bytes: ByteSize,
    /// No other attempt of its job may run in the same executor.
    pub(super) alone: bool,
}

/// The attempts that run and the ones that wait to.
#[derive(Debug)]
pub(super) struct Admission {
    slots: usize,
    memory: MemoryPermits,
    waiting: VecDeque<Request>,
    running: BTreeMap<JobAttempt, Request>,
}

impl Admission {
    pub(super) fn new(slots: usize, memory: MemoryPermits) -> Self {
        Self { slots, memory, waiting: VecDeque::new(), running: BTreeMap::new() }
    }

    /// Whether an attempt of this size can ever start.
    pub(super) fn can_ever_fit(&self, bytes: ByteSize) -> bool {
        bytes <= self.memory.budget()
    }

    /// The memory of all attempts together.
    pub(super) fn budget(&self) -> ByteSize {
        self.memory.budget()
    }

    /// Queues an attempt.
    pub(super) fn enqueue(&mut self, request: Request) {
        self.waiting.push_back(request);
    }

    /// Takes an attempt out of the queue, or ends its run.
    pub(super) fn leave(&mut self, id: JobAttempt) {
        match self.running.remove(&id) {
            Some(request) => self.memory.give_back(request.bytes),
            None => self.waiting.retain(|request| request.id != id),
        }
    }

    /// The attempts that start now, in the order in which they came. An attempt that has to wait
    /// for memory makes the later ones wait, and one that has to wait for its job makes the later
    /// ones of that job wait: nobody starves. `ready` tells whether a job's executor takes attempts.
    pub(super) fn admit(&mut self, ready: impl Fn(JobId) -> bool) -> Vec<JobAttempt> {
        let mut admitted = Vec::new();
        let mut held: BTreeSet<JobId> = BTreeSet::new();
        let mut place = 0;
        while let Some(&request) = self.waiting.get(place)
            && self.running.len() < self.slots
        {
            let job = request.id.job;
            if held.contains(&job) || !ready(job) || !self.may_join(request) {
                held.insert(job);
                place += 1;
                continue;
            }
            if !self.memory.try_take(request.bytes) {
                break;
            }
            self.waiting.remove(place);
            self.running.insert(request.id, request);
            admitted.push(request.id);
        }
        admitted
    }

    /// Whether the attempt may run beside the ones of its job that run.
    fn may_join(&self, request: Request) -> bool {
        let mut neighbours = self.running.values().filter(|running| running.id.job == request.id.job).peekable();
        if request.alone { neighbours.peek().is_none() } else { neighbours.all(|running| !running.alone) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `1/m-0.0` names an attempt of job 1; `+1/m-0.0` one that must run alone, `!` makes it large.
    fn request(text: &str) -> Request {
        let name = text.trim_start_matches(['+', '!']);
        let (job, attempt) = name.split_once('/').expect("a job and an attempt");
        let id =
            JobAttempt { job: JobId(job.parse().expect("a number")), attempt: attempt.parse().expect("an attempt") };
        Request { id, bytes: ByteSize(if text.contains('!') { 60 } else { 25 }), alone: text.contains('+') }
    }

    /// Each line of the script: attempts that end, `|`, attempts that come, `->`, attempts that
    /// start. Three slots, 100 bytes.
    #[track_caller]
    fn check(script: &[&str]) {
        let mut admission = Admission::new(3, MemoryPermits::new(ByteSize(100)));
        for line in script {
            let (given, expect) = line.split_once("->").expect("an arrow");
            let (ended, came) = given.split_once('|').expect("a bar");
            ended.split_whitespace().for_each(|text| admission.leave(request(text).id));
            came.split_whitespace().for_each(|text| admission.enqueue(request(text)));
            let started = admission.admit(|job| job != JobId(9));
            let expect: Vec<JobAttempt> = expect.split_whitespace().map(|text| request(text).id).collect();
            assert_eq!(started, expect, "{line}");
        }
    }

    #[test]
    fn attempts_start_in_order_while_slots_are_free() {
        check(&[
            "| 1/m-0.0 1/m-1.0 1/m-2.0 1/m-3.0 1/m-4.0 -> 1/m-0.0 1/m-1.0 1/m-2.0",
            "1/m-4.0 1/m-1.0 | -> 1/m-3.0",
            "1/m-0.0 1/m-2.0 | ->",
        ]);
    }

    #[test]
    fn an_attempt_that_waits_for_memory_is_not_overtaken() {
        check(&["| !1/m-0.0 !1/m-1.0 1/m-2.0 -> 1/m-0.0", "1/m-0.0 | -> 1/m-1.0 1/m-2.0"]);
        check(&["| !1/m-0.0 1/m-1.0 -> 1/m-0.0 1/m-1.0"]);
    }

    #[test]
    fn a_suspect_runs_alone_and_is_not_overtaken_by_its_job() {
        check(&[
            "| 1/m-0.0 +1/m-1.0 1/m-2.0 2/m-0.0 -> 1/m-0.0 2/m-0.0",
            "1/m-0.0 | -> 1/m-1.0",
            "2/m-0.0 | 2/m-1.0 -> 2/m-1.0",
            "1/m-1.0 | -> 1/m-2.0",
        ]);
    }

    #[test]
    fn jobs_whose_executor_is_ending_wait() {
        check(&["| 9/m-0.0 1/m-0.0 -> 1/m-0.0"]);
    }
}
