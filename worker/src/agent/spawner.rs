//! The thread that starts executors. Linux sends a child's parent-death signal when the *thread*
//! that started it ends, so children must be started by a thread that lives as long as the worker:
//! threads of a runtime come and go.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use gristmill_common::ids::ContentId;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::binary::Binary;

type Job = (Command, oneshot::Sender<io::Result<Child>>);

/// Starts processes of one binary; clones share the thread.
#[derive(Debug, Clone)]
pub(super) struct Spawner {
    binary: Arc<Binary>,
    args: Arc<[OsString]>,
    thread: mpsc::Sender<Job>,
}

impl Spawner {
    /// Starts the thread, for executors that are this binary with these arguments.
    ///
    /// # Errors
    ///
    /// If there can be no more threads.
    pub(super) fn new(binary: Binary, args: Vec<OsString>) -> io::Result<Self> {
        let (thread, jobs) = mpsc::channel::<Job>();
        let runtime = Handle::current();
        thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            let _runtime = runtime.enter();
            for (mut command, reply) in jobs {
                // Whoever asked may have gone; the child is then dropped, which ends it.
                let _ = reply.send(command.spawn());
            }
        })?;
        Ok(Self { binary: Arc::new(binary), args: args.into(), thread })
    }

    pub(super) fn program(&self) -> PathBuf {
        self.binary.program()
    }

    pub(super) fn args(&self) -> &[OsString] {
        &self.args
    }

    /// What the binary is.
    pub(super) fn binary(&self) -> ContentId {
        self.binary.id
    }

    /// Starts a process.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts executors is gone");
        let (reply, child) = oneshot::channel();
        self.thread.send((command, reply)).map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }
}
