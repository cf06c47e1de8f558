//! What goes wrong: crashes, pauses, partitions, broken streams and workers that leave.

use std::time::Duration;

use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::WorkerReport;

use super::cluster::{Cluster, Incident};
use super::options::FaultKind;

impl Cluster<'_> {
    /// One fault, and the next one's date.
    pub(super) fn fault(&mut self) {
        let next = self.now + Duration::from_millis(self.random.within(1, self.options.fault_ms + 1));
        if next < Timestamp::from_millis(self.options.faults_until_ms) {
            self.calendar.enter(next, Incident::Fault);
        }
        let nth = self.summary.faults;
        self.summary.faults += 1;
        let kind = *self.random.pick(&self.options.faults);
        let worker = self.random.within(0, self.workers.len() as u64) as usize;
        if self.options.skipped.contains(&nth) {
            return;
        }
        self.happened.push((self.now, nth, kind, worker));
        match kind {
            FaultKind::WorkerDies => self.crash(worker),
            FaultKind::WorkerPauses => self.pause(worker),
            FaultKind::WorkerCutOff => self.cut_off(worker),
            FaultKind::PairCutOff => {
                let other = self.random.within(0, self.workers.len() as u64) as usize;
                let until = self.now + Duration::from_millis(self.random.within(50, 8000));
                self.cut_pair = Some((worker, other, until));
            }
            FaultKind::StreamBreaks => self.cut_stream(worker),
            FaultKind::WorkerLeaves => self.leave(worker),
            FaultKind::AllDie => (0..self.workers.len()).for_each(|worker| self.crash(worker)),
            FaultKind::MasterDies => self.crash_master(),
        }
    }

    /// Ends what still goes on. A worker that stands still wakes when it was to: what waits for it keeps its order.
    pub(super) fn heal(&mut self) {
        self.cut_pair = None;
        for worker in 0..self.workers.len() {
            let at = &mut self.workers[worker];
            at.cut_off_until = at.cut_off_until.min(self.now);
            self.calendar.enter(self.now, Incident::Start(worker));
        }
    }

    /// The process dies, and starts again later.
    fn crash(&mut self, worker: usize) {
        self.cut_stream(worker);
        let at = &mut self.workers[worker];
        at.up = false;
        at.lose_process();
        let outputs: Vec<_> = at.outputs.keys().copied().collect();
        for output in outputs {
            if self.random.chance(self.options.damage) {
                self.workers[worker].damaged.insert(output);
            }
        }
        let at = &mut self.workers[worker];
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

    /// The worker says that it stops, removes what it has, and stops.
    fn leave(&mut self, worker: usize) {
        if self.workers[worker].up && self.workers[worker].paused_until <= self.now {
            self.report(worker, &WorkerReport::WorkerLeft);
            self.workers[worker].outputs.clear();
            self.workers[worker].damaged.clear();
            self.crash(worker);
        }
    }
}
