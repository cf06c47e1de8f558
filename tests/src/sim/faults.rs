//! What goes wrong: crashes, pauses, partitions, broken streams and workers that leave.

use std::time::Duration;

use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::WorkerReport;

use super::cluster::{Cluster, Incident};

impl Cluster<'_> {
    /// One fault, and the next one's date.
    pub(super) fn fault(&mut self) {
        let next = self.now + Duration::from_millis(self.random.within(1, self.options.fault_ms + 1));
        if next < Timestamp::from_millis(self.options.faults_until_ms) {
            self.calendar.enter(next, Incident::Fault);
        }
        self.summary.faults += 1;
        let worker = self.random.within(0, self.workers.len() as u64) as usize;
        match self.random.within(0, 20) {
            0..5 => self.crash(worker),
            5..9 => self.pause(worker),
            9..13 => self.cut_off(worker),
            13..17 => self.cut_stream(worker),
            17..19 => self.leave(worker),
            _ => (0..self.workers.len()).for_each(|worker| self.crash(worker)),
        }
    }

    /// Ends what still goes on.
    pub(super) fn heal(&mut self) {
        for worker in 0..self.workers.len() {
            let at = &mut self.workers[worker];
            at.paused_until = at.paused_until.min(self.now);
            at.cut_off_until = at.cut_off_until.min(self.now);
            self.calendar.enter(self.now, Incident::Start(worker));
        }
    }

    /// The process dies, and starts again later.
    fn crash(&mut self, worker: usize) {
        self.cut_stream(worker);
        let at = &mut self.workers[worker];
        at.up = false;
        at.clear();
        (at.stream, at.session) = (None, None);
        at.paused_until = self.now;
        let restart = self.now + Duration::from_millis(self.random.within(10, 4000));
        self.calendar.enter(restart, Incident::Start(worker));
    }

    /// The process stands still, perhaps for longer than its lease. Its connections stay.
    fn pause(&mut self, worker: usize) {
        let until = self.now + Duration::from_millis(self.random.within(50, 9000));
        self.workers[worker].paused_until = until;
    }

    /// Nothing goes in or out for a while.
    fn cut_off(&mut self, worker: usize) {
        let until = self.now + Duration::from_millis(self.random.within(50, 8000));
        self.workers[worker].cut_off_until = until;
        self.cut_stream(worker);
    }

    /// The stream breaks. Each side learns of it at another time; the master perhaps only when the
    /// lease has run out.
    fn cut_stream(&mut self, worker: usize) {
        let Some(stream) = self.workers[worker].stream.filter(|stream| self.network.break_stream(*stream)) else {
            return;
        };
        let after = |micros| self.now + Duration::from_micros(micros);
        let master_sees = after(*self.random.pick(&[100, 20_000, 400_000, 7_000_000]));
        let worker_sees = after(*self.random.pick(&[100, 20_000, 400_000]));
        self.calendar.enter(master_sees, Incident::MasterSeesBreak(stream));
        self.calendar.enter(worker_sees, Incident::WorkerSeesBreak(stream));
    }

    /// The worker says that it stops, and stops.
    fn leave(&mut self, worker: usize) {
        if self.workers[worker].up && self.workers[worker].paused_until <= self.now {
            self.report(worker, &WorkerReport::WorkerLeft);
            self.crash(worker);
        }
    }
}
