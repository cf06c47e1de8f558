//! The worker's side of what executors read from stores: fetches the ranges that one executor asks for,
//! with this process's credentials, and leaves each as a file in the folder of its job. Bounded by what
//! executors ask for at a time; everything is given up with the executor.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::removal::remove_tree;
use gristmill_common::storage::Fetcher;
use gristmill_common::task::InputObject;
use tokio::task::AbortHandle;

use crate::executor::message::{FromExecutor, ToExecutor};

/// The most ranges that one executor may have on their way. Its attempts' windows hold far fewer; what
/// asks for more is not them.
const MAX_RANGES: usize = 4096;

/// Tells an executor something; from any thread.
pub(crate) type Tell = Arc<dyn Fn(&ToExecutor) + Send + Sync>;

/// Fetches for one executor.
pub(crate) struct RangeServer {
    fetcher: Fetcher,
    /// Holds the ranges; made when the first one comes.
    folder: PathBuf,
    tell: Tell,
    running: BTreeMap<u64, AbortHandle>,
}

impl RangeServer {
    /// A server that leaves ranges in `folder`, which is its own.
    pub(crate) fn new(fetcher: Fetcher, folder: PathBuf, tell: Tell) -> Self {
        Self { fetcher, folder, tell, running: BTreeMap::new() }
    }

    /// Takes what concerns it of what the executor says, and gives the rest back.
    pub(crate) fn take(&mut self, message: FromExecutor) -> Option<FromExecutor> {
        match message {
            FromExecutor::Fetch { id, object, range } => {
                self.begin(id, *object, range);
                None
            }
            FromExecutor::Forget { id } => {
                // One that has ended was answered, and the executor removes the file.
                if let Some(running) = self.running.remove(&id) {
                    running.abort();
                }
                None
            }
            other => Some(other),
        }
    }

    fn begin(&mut self, id: u64, object: InputObject, range: Range<u64>) {
        self.running.retain(|_, running| !running.is_finished());
        let refuse = |message: String| {
            let failure =
                Failure::new(FailureCode::InputUnreadable, format!("cannot read input {}: {message}", object.uri));
            (self.tell)(&ToExecutor::Fetched { id, result: Err(failure) });
        };
        if self.running.len() >= MAX_RANGES {
            return refuse(format!("more than {MAX_RANGES} ranges are on their way"));
        }
        let runtime = match self.fetcher.stores().runtime() {
            Ok(runtime) => runtime,
            Err(error) => return refuse(error.to_string()),
        };
        let (fetcher, folder, tell) = (self.fetcher.clone(), self.folder.clone(), Arc::clone(&self.tell));
        let running = runtime.handle().spawn(async move {
            match fetcher.fetch(&object, range).await {
                Ok(bytes) => {
                    // Not ended with this task: of a file that is there somebody must be told, who removes it.
                    let kept = tokio::task::spawn_blocking(move || {
                        let result = keep(&folder, id, &bytes);
                        tell(&ToExecutor::Fetched { id, result });
                    });
                    if let Err(error) = kept.await {
                        tracing::error!(%error, "a range cannot be kept");
                    }
                }
                Err(failure) => tell(&ToExecutor::Fetched { id, result: Err(failure) }),
            }
        });
        self.running.insert(id, running.abort_handle());
    }
}

impl Drop for RangeServer {
    fn drop(&mut self) {
        self.running.values().for_each(AbortHandle::abort);
        if self.folder.exists()
            && let Err(error) = remove_tree(&self.folder)
        {
            // It goes with the job's scratch.
            tracing::warn!(folder = %self.folder.display(), %error, "ranges of an executor cannot be removed");
        }
    }
}

impl fmt::Debug for RangeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeServer").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Writes a range to a file of its own.
fn keep(folder: &Path, id: u64, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let path = folder.join(id.to_string());
    let write = || {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?.write_all(bytes)
    };
    let failed = |error| Failure::in_scratch(format!("cannot write {}: {error}", path.display()), &error);
    write().map_err(failed)?;
    Ok(path)
}
