//! What a replayed reduce task reads: every map task runs again, as the job ran it, and of what it makes
//! the segment of the one partition is kept. Disk is needed for that partition and for the map outputs of
//! [`TOGETHER`] tasks.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use gristmill_common::ids::{AttemptId, TaskId};
use gristmill_common::removal::remove_file;

use super::{Maps, Replay, ReplayError};
use crate::engine::shuffle::MapOutputs;
use crate::engine::{LocalSegment, map_output_path};

/// Map outputs that are looked through together: small ones lie in one file, whose index is read once
/// for all. Raised, more disk is taken.
const TOGETHER: usize = 64;

/// A map task that was run, or why it was not.
type Made = Result<AttemptId, ReplayError>;

impl Replay<'_> {
    /// The segments of the reduce task that was asked for, in map-task order.
    ///
    /// # Errors
    ///
    /// If a map task fails here, or scratch cannot be written.
    pub(super) fn segments(&self) -> Result<Vec<LocalSegment>, ReplayError> {
        let path = self.scratch.join(format!("{}.seg", self.attempt));
        let file = OpenOptions::new().create_new(true).write(true).open(&path);
        let file = file.map_err(|source| ReplayError::Scratch { path: path.clone(), source })?;
        let partition = Partition { index: self.attempt.task.index, path, file, bytes: 0 };
        (self.making)(self.plan.splits.len());
        let (next, skipped, stop) = (AtomicU32::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let is_interrupted = || stop.load(Ordering::Relaxed) || (self.is_interrupted)();
        let replay = Replay { is_interrupted: &is_interrupted, ..*self };
        let (tell, made) = sync_channel(TOGETHER);
        thread::scope(|scope| {
            for _ in 0..self.maps_at_once.clamp(1, self.plan.splits.len().max(1)) {
                let (replay, next, skipped, tell) = (&replay, &next, &skipped, tell.clone());
                scope.spawn(move || replay.make(next, skipped, tell));
            }
            drop(tell);
            let segments = self.collect(partition, &made);
            // Those that still run are of no use if one failed.
            stop.store(segments.is_err(), Ordering::Relaxed);
            drop(made);
            segments
        })
    }

    /// Runs one map task after the other until none is left, one fails, or nobody listens.
    fn make(&self, next: &AtomicU32, skipped: &AtomicU64, tell: SyncSender<Made>) {
        let mut maps = Maps::new(self, self.spec.clone(), skipped);
        loop {
            let map = TaskId::map(next.fetch_add(1, Ordering::Relaxed));
            let Some(split) = self.plan.splits.get(map.index as usize) else { return };
            let failed = |failure| {
                let failure = Box::new(failure);
                ReplayError::Input { task: self.attempt.task, map, failure }
            };
            let ran = maps.run(AttemptId { task: map, number: 0 }, split);
            let made = ran.and_then(|ran| ran.map_err(failed)).map(|ran| ran.attempt);
            let goes_on = made.is_ok();
            if tell.send(made).is_err() || !goes_on {
                return;
            }
        }
    }

    /// Takes the partition out of all that is made.
    fn collect(&self, mut partition: Partition, made: &Receiver<Made>) -> Result<Vec<LocalSegment>, ReplayError> {
        let (mut segments, mut together) = (Vec::new(), Vec::new());
        loop {
            let attempt = made.recv().ok().transpose()?;
            together.extend(attempt);
            if together.len() == TOGETHER || attempt.is_none() {
                let kept = self.keep(&mut partition, &mut together, &mut segments);
                kept.map_err(|source| ReplayError::Scratch { path: partition.path.clone(), source })?;
            }
            if attempt.is_none() {
                break;
            }
        }
        // Stable, since several runs of an attempt are in order.
        segments.sort_by_key(|segment| segment.attempt.task.index);
        Ok(segments)
    }

    /// Moves the partition's segments out of these attempts' outputs, and removes the outputs.
    fn keep(
        &self,
        partition: &mut Partition,
        made: &mut Vec<AttemptId>,
        segments: &mut Vec<LocalSegment>,
    ) -> io::Result<()> {
        let mut outputs = MapOutputs::new(self.scratch);
        for attempt in made.drain(..) {
            let output = outputs.open(attempt).map_err(io::Error::other)?;
            let runs = output.segment(partition.index).ok_or_else(|| io::Error::other("a map output without it"))?;
            let mut from = File::open(output.path())?;
            for run in runs {
                let offset = partition.append(&mut from, run.offset, run.bytes)?;
                segments.push(LocalSegment { attempt, path: partition.path.clone(), offset, bytes: run.bytes });
            }
            // A packed one has no file of its own, which is fine.
            remove_file(&map_output_path(self.scratch, attempt))?;
        }
        Ok(())
    }
}

/// The file that takes the segments.
struct Partition {
    index: u32,
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Partition {
    /// Copies a range of a file to the end; gives where it begins here.
    fn append(&mut self, from: &mut File, offset: u64, bytes: u64) -> io::Result<u64> {
        from.seek(SeekFrom::Start(offset))?;
        let copied = io::copy(&mut BufReader::new(from).take(bytes), &mut self.file)?;
        if copied != bytes {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a map output that is cut short"));
        }
        self.bytes += bytes;
        Ok(self.bytes - bytes)
    }
}
