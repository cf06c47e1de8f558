//! A cluster whose processes meet over links that can be disturbed, and each fault done and undone.
//! Chooses no faults; the campaign does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use gristmill_common::time::{Clock, Timestamp};
use rustix::process::Signal;

use super::disk::SmallDisk;
use super::options::FaultKind;
use super::processes::{signal, tree};
use super::proxy::{Proxy, Weather};
use crate::cluster::Cluster;
use crate::random::Random;

/// How long a process stands still or a link is stalled, in milliseconds: from well inside a lease of
/// five seconds to well past it.
const STANDSTILL_MS: (u64, u64) = (1000, 8000);

/// A cluster under faults.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) cluster: Cluster,
    /// A worker's links, by its index.
    links: Vec<Links>,
    /// A worker's disk, by its index; none if they share one.
    disks: Vec<SmallDisk>,
    clock: Clock,
    /// What ends when.
    pending: Vec<(Timestamp, Undo)>,
    /// Faults so far.
    pub(super) faults: BTreeMap<FaultKind, u64>,
    /// What no fault explains.
    pub(super) unexplained: Vec<String>,
}

#[derive(Debug)]
struct Links {
    /// From the worker to the master.
    control: Proxy,
    /// From other workers to the worker's segments.
    segments: Proxy,
}

/// What makes a fault of some duration end.
#[derive(Debug)]
enum Undo {
    /// The processes of a worker go on.
    Continue { worker: usize, pids: Vec<u32> },
    /// A worker's links are clear.
    Clear { worker: usize },
    /// There is room on a worker's disk.
    Relieve { worker: usize },
}

impl Arena {
    /// Starts a master and workers of one slot whose connections to the master and to each other all
    /// go over links. Segments travel, though the workers are on one machine. With `disks`, one for each
    /// worker, its folder is there.
    ///
    /// # Panics
    ///
    /// If they do not come up in time.
    pub(super) fn new(binary: &Path, workers: usize, disks: Vec<SmallDisk>) -> Self {
        let mut cluster = Cluster::without_workers(binary);
        let master = cluster.url().trim_start_matches("http://").parse().expect("the master prints its address");
        for (worker, disk) in disks.iter().enumerate() {
            symlink(disk.path(), cluster.worker_dir(worker)).expect("the cluster's folder is writable");
        }
        let links = (0..workers).map(|_| add_worker(&mut cluster, master)).collect();
        cluster.wait_for_live_workers(workers);
        let (pending, faults, unexplained) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { cluster, links, disks, clock: Clock::start(), pending, faults, unexplained }
    }

    /// The time since the start.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Does a fault of this kind, at a place and for a time drawn from `random`.
    ///
    /// # Panics
    ///
    /// If a killed process cannot be started again, or a disk is to be filled where there are none.
    pub(super) fn inflict(&mut self, kind: FaultKind, random: &mut Random) {
        *self.faults.entry(kind).or_default() += 1;
        let worker = random.within(0, self.links.len() as u64) as usize;
        let standstill = Duration::from_millis(random.within(STANDSTILL_MS.0, STANDSTILL_MS.1));
        match kind {
            FaultKind::Kill => self.kill_worker(worker),
            FaultKind::Master => {
                self.cluster.kill_master();
                self.cluster.restart_master();
            }
            FaultKind::Stop => self.halt(worker, vec![self.cluster.worker_pid(worker)], standstill),
            FaultKind::Freeze => self.halt(worker, tree(self.cluster.worker_pid(worker)), standstill),
            FaultKind::Delay => {
                let by = Duration::from_millis(random.within(10, 200));
                self.disturb(worker, random.chance(50), Weather::Late(by), Some(standstill));
            }
            FaultKind::Stall => self.disturb(worker, random.chance(50), Weather::Stalled, Some(standstill)),
            FaultKind::Reset => self.disturb(worker, random.chance(50), Weather::ResetNext, None),
            FaultKind::Truncate => self.disturb(worker, random.chance(50), Weather::TruncateNext, None),
            // What master and workers say to each other has no checksum but TCP's.
            FaultKind::Flip => self.disturb(worker, false, Weather::FlipNext(random.next_u64()), None),
            FaultKind::Rot => flip_a_bit(&self.cluster.worker_dir(worker).join("scratch"), random),
            FaultKind::Full => {
                // One at a time: where no disk has room, a job may well fail, saying so.
                self.pending.retain(|(_, undo)| !matches!(undo, Undo::Relieve { .. }));
                self.disks.iter().for_each(SmallDisk::relieve);
                self.disks[worker].fill();
                self.pending.push((self.now() + standstill, Undo::Relieve { worker }));
            }
        }
    }

    /// Ends the faults whose time is over, and starts workers again that ended by themselves, which is
    /// noted.
    ///
    /// # Panics
    ///
    /// If a worker cannot be started.
    pub(super) fn tend(&mut self) {
        let now = self.now();
        let (over, pending) = std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at <= now);
        self.pending = pending;
        self.undo(over);
        let ended = self.cluster.ended_by_themselves();
        if !ended.is_empty() {
            self.unexplained.extend(ended);
            self.cluster.start_missing_workers();
        }
    }

    /// Ends all faults.
    pub(super) fn calm(&mut self) {
        let all = std::mem::take(&mut self.pending);
        self.undo(all);
        for links in &self.links {
            links.control.set(Weather::Clear);
            links.segments.set(Weather::Clear);
        }
    }

    /// Kills a worker and starts it again at once.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub(super) fn kill_worker(&mut self, worker: usize) {
        // What stood still dies, and its successor runs.
        self.pending.retain(|(_, undo)| !matches!(undo, Undo::Continue { worker: halted, .. } if *halted == worker));
        self.cluster.kill_worker(worker);
        self.cluster.start_worker(worker);
    }

    fn halt(&mut self, worker: usize, pids: Vec<u32>, standstill: Duration) {
        signal(&pids, Signal::STOP);
        self.pending.push((self.now() + standstill, Undo::Continue { worker, pids }));
    }

    fn disturb(&mut self, worker: usize, control: bool, weather: Weather, standstill: Option<Duration>) {
        let links = &self.links[worker];
        if control { &links.control } else { &links.segments }.set(weather);
        if let Some(standstill) = standstill {
            self.pending.push((self.now() + standstill, Undo::Clear { worker }));
        }
    }

    fn undo(&self, faults: Vec<(Timestamp, Undo)>) {
        for (_, undo) in faults {
            match undo {
                Undo::Continue { pids, .. } => signal(&pids, Signal::CONT),
                Undo::Relieve { worker } => self.disks[worker].relieve(),
                Undo::Clear { worker } => {
                    self.links[worker].control.set(Weather::Clear);
                    self.links[worker].segments.set(Weather::Clear);
                }
            }
        }
    }
}

/// Flips one bit of one of the files below a folder, if there is one: spills, map outputs and fetched
/// segments. What executors share with their worker is memory, though it has a name there.
fn flip_a_bit(folder: &Path, random: &mut Random) {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) if !entry.file_name().to_string_lossy().starts_with("positions-") => files.push(entry.path()),
                // It was removed meanwhile, or is not for us.
                Ok(_) | Err(_) => {}
            }
        }
    }
    files.sort_unstable();
    let draw = random.next_u64();
    if files.is_empty() {
        return;
    }
    // A file that is removed at this moment has no bytes to flip.
    let Ok(file) = File::options().read(true).write(true).open(&files[draw as usize % files.len()]) else { return };
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let mut byte = [0];
    if bytes > 0 && file.read_exact_at(&mut byte, draw % bytes).is_ok() {
        let flipped = [byte[0] ^ (1 << (draw % 8))];
        file.write_all_at(&flipped, draw % bytes).expect("a scratch file is writable");
    }
}

/// Starts a worker behind links of its own.
fn add_worker(cluster: &mut Cluster, master: SocketAddr) -> Links {
    let listen = free_address();
    let links = Links { control: Proxy::to(master), segments: Proxy::to(listen) };
    let (url, listen) = (format!("http://{}", links.control.address()), listen.to_string());
    let advertised = links.segments.address().to_string();
    let link = ["--master", &url, "--listen", &listen, "--advertise", &advertised, "--shuffle", "network"];
    cluster.add_worker(&link);
    links
}

/// An address of loopback on which nothing listens. Another process might take it before it is used,
/// and the worker would say so.
pub(super) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a listener has an address")
}
