//! The executor's side of reading from stores: it asks its worker for ranges and finds them as files in
//! its job's folder, which it removes when it has opened them. Knows no store and no credentials.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::task::InputObject;
use gristmill_common::windowed::{PendingRange, RangeBytes, RangeSource};

use super::message::FromExecutor;

/// What a worker answers: where the range lies, or why it cannot be had.
type Answer = Result<PathBuf, Failure>;

/// Asks the worker for ranges. Clones share what is on its way.
#[derive(Debug, Clone)]
pub(super) struct WorkerRanges {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ask: SyncSender<FromExecutor>,
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, SyncSender<Answer>>>,
}

impl WorkerRanges {
    /// Ranges from the worker that reads what is sent to `ask`.
    pub(super) fn new(ask: SyncSender<FromExecutor>) -> Self {
        Self { shared: Arc::new(Shared { ask, next: AtomicU64::new(0), waiting: Mutex::default() }) }
    }

    /// Takes an answer in. One that nobody waits for any more leaves nothing.
    pub(super) fn on_fetched(&self, id: u64, result: Answer) {
        let unwanted = match self.shared.waiting().remove(&id) {
            Some(waiting) => waiting.send(result).err().map(|unsent| unsent.0),
            None => Some(result),
        };
        if let Some(Ok(path)) = unwanted {
            remove(&path);
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, SyncSender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RangeSource for WorkerRanges {
    fn begin(&self, object: &InputObject, range: Range<u64>) -> Box<dyn PendingRange> {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answers) = sync_channel(1);
        self.shared.waiting().insert(id, answer);
        // A worker that is gone ends this process.
        let _ = self.shared.ask.send(FromExecutor::Fetch { id, object: Box::new(object.clone()), range });
        Box::new(Asked { id, answers, shared: Arc::clone(&self.shared), is_over: false })
    }
}

/// A range that the worker was asked for.
struct Asked {
    id: u64,
    answers: Receiver<Answer>,
    shared: Arc<Shared>,
    is_over: bool,
}

impl PendingRange for Asked {
    fn wait(&mut self, patience: Duration) -> Option<Result<Box<dyn RangeBytes>, Failure>> {
        let answer = match self.answers.recv_timeout(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => Err(Failure::new(FailureCode::WorkerLost, "the worker is gone")),
        };
        self.is_over = true;
        Some(answer.and_then(|path| open(&path)))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.shared.waiting().remove(&self.id);
        match self.answers.try_recv() {
            Ok(Ok(path)) => remove(&path),
            Ok(Err(_)) => {}
            // A worker that is gone ends this process.
            Err(_) => drop(self.shared.ask.send(FromExecutor::Forget { id: self.id })),
        }
    }
}

/// Opens the file of a range and takes its name away: its bytes go with the last handle.
fn open(path: &PathBuf) -> Result<Box<dyn RangeBytes>, Failure> {
    let opened = File::open(path);
    remove(path);
    let failed = |error| Failure::in_scratch(format!("cannot read {}: {error}", path.display()), &error);
    Ok(Box::new(opened.map_err(failed)?))
}

fn remove(path: &PathBuf) {
    // The worker removes the folder when the executor ends.
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> InputObject {
        let uri = "s3://bucket/a".parse().expect("a URI");
        InputObject { uri, size: 10, modified_micros: None, etag: None, form: None }
    }

    #[test]
    fn ranges_are_read_from_files_that_leave_no_name_behind() {
        let dir = tempfile::tempdir().expect("scratch");
        let (ask, asked) = sync_channel(8);
        let ranges = WorkerRanges::new(ask);
        let file = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, b"0123456789").expect("written");
            path
        };
        let mut first = ranges.begin(&object(), 0..10);
        assert!(first.wait(Duration::ZERO).is_none());
        ranges.on_fetched(0, Ok(file("0")));
        let bytes = first.wait(Duration::ZERO).expect("it was answered").expect("there");
        let mut into = [0; 4];
        assert_eq!((bytes.read_at(&mut into, 8).expect("readable"), &into[..2]), (2, &b"89"[..]));

        // One that is given up before the answer, one after it, and one that fails.
        drop(ranges.begin(&object(), 0..10));
        ranges.on_fetched(1, Ok(file("1")));
        let late = ranges.begin(&object(), 0..10);
        ranges.on_fetched(2, Ok(file("2")));
        drop(late);
        let mut failing = ranges.begin(&object(), 0..10);
        ranges.on_fetched(3, Err(Failure::new(FailureCode::InputChanged, "it is gone")));
        let failure = failing.wait(Duration::ZERO).expect("it was answered").err().expect("it failed");
        assert_eq!(failure.message, "it is gone");
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
        let asked: Vec<_> = asked.try_iter().collect();
        assert_eq!(asked.len(), 5);
        assert_eq!(asked[2], FromExecutor::Forget { id: 1 });
    }
}
