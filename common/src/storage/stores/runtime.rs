//! The runtime of store requests. Threads that compute wait for it and never run it, so a busy
//! engine cannot starve a request of its timers, and the engine stays synchronous.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::mpsc;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that wait for sockets. One saturates a fast network with plain HTTP; the second carries
/// TLS beside it. More take processor time from maps.
const IO_THREADS: usize = 2;

/// The threads on which store requests wait.
pub struct StoreRuntime {
    /// Taken when dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl StoreRuntime {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// If the operating system gives none.
    pub fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(IO_THREADS).thread_name("store-io").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to spawn what nobody waits for at once.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `work` on these threads and blocks this one until it is done. This one may belong to
    /// another runtime that allows it to block, but not to this one.
    ///
    /// # Panics
    ///
    /// If `work` does.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (done, result) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            // Nobody is there to hear of it only if the waiting thread has panicked.
            let _ = done.send(work.await);
        });
        result.recv().expect("work on stores does not panic")
    }
}

impl Drop for StoreRuntime {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which is forbidden on the threads of another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for StoreRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRuntime").finish_non_exhaustive()
    }
}
