//! What a job needs on this machine before an executor of it can start: its binary, if it is not the
//! worker's own, and the files that travel with it. Fetched from the master once, and kept in a folder of
//! bounded size for the next job that needs the same.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::backoff::Backoff;
use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::ContentId;
use gristmill_common::spec::ShippedFile;
use gristmill_common::storage::{ContentError, ContentStore, HeldContent};
use gristmill_common::tls::Dialer;
use gristmill_common::wire::v1;
use gristmill_common::wire::v1::files_client::FilesClient;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::Code;

use super::dial::connect;
use crate::scratch;

/// The waits between tries to fetch from a master that does not answer.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(2) };

/// How long the next piece of a file may take.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest message with a piece of a file.
const MAX_PIECE_MESSAGE: usize = 2 << 20;

/// Where the pieces come from and where they go.
#[derive(Debug, Clone)]
pub(super) struct Supply {
    store: ContentStore,
    master_url: String,
    dialer: Dialer,
    /// One file at a time: two jobs that need the same fetch it once.
    turn: Arc<Mutex<()>>,
}

/// What a job runs with.
#[derive(Debug, Default)]
pub(super) struct Supplies {
    /// Its binary, if it is not the worker's own.
    pub(super) program: Option<PathBuf>,
    _held: Vec<HeldContent>,
}

/// Which files a job needs.
#[derive(Debug, Clone)]
pub(super) struct Needs {
    /// Its binary, if it is not the worker's own.
    pub(super) binary: Option<ContentId>,
    /// What travels with it.
    pub(super) files: Vec<ShippedFile>,
    /// The job's folder in scratch, where its code finds them.
    pub(super) folder: PathBuf,
}

impl Needs {
    /// Whether there is nothing to fetch.
    pub(super) fn is_nothing(&self) -> bool {
        self.binary.is_none() && self.files.is_empty()
    }
}

/// How often a master that answers may fail to give a file: its disk may be at fault, or the way. Raised, a job
/// waits longer before it says so; lowered, a passing fault costs attempts.
const MAX_REFUSALS: u32 = 8;

/// Why a file is not here.
enum Trouble {
    /// The master is away and may answer later.
    Later(String),
    /// It answered, and did not give what was asked for.
    Refused(String),
    /// There is no use in asking again.
    Never(Failure),
}

impl Supply {
    pub(super) fn new(store: ContentStore, master_url: String, dialer: Dialer) -> Self {
        Self { store, master_url, dialer, turn: Arc::default() }
    }

    /// Gets all of it, waiting for a master that is away.
    ///
    /// # Errors
    ///
    /// Why the job cannot run here.
    pub(super) async fn provide(&self, needs: &Needs) -> Result<Supplies, Failure> {
        let mut supplies = Supplies::default();
        if let Some(binary) = needs.binary {
            let held = self.get(binary, "binary").await?;
            check_platform(held.path())?;
            supplies.program = Some(held.path().to_owned());
            supplies._held.push(held);
        }
        for file in &needs.files {
            let held = self.get(file.content, &file.name).await?;
            let place = scratch::shipped_file(&needs.folder, &file.name);
            link(held.path(), &place).map_err(|error| {
                let message = format!("cannot put {} in place: {error}", place.display());
                Failure::new(FailureCode::WriteFailed, message)
            })?;
            supplies._held.push(held);
        }
        Ok(supplies)
    }

    async fn get(&self, id: ContentId, name: &str) -> Result<HeldContent, Failure> {
        let (mut tries, mut refusals) = (0, 0);
        loop {
            // Others have their turn while this one waits.
            let turn = self.turn.lock().await;
            let store = self.store.clone();
            let held = beside(move || store.hold(id)).await?;
            if let Some(held) = held {
                return Ok(held);
            }
            let fetched = self.fetch(id, name).await;
            drop(turn);
            match fetched {
                Ok(()) => tracing::info!(%id, name, "file of a job fetched"),
                Err(Trouble::Refused(reason)) if refusals >= MAX_REFUSALS => {
                    return Err(wrong_binary(format!("the master does not give the job's {name}: {reason}")));
                }
                Err(trouble) => {
                    let (reason, refused) = match trouble {
                        Trouble::Later(reason) => (reason, false),
                        Trouble::Refused(reason) => (reason, true),
                        Trouble::Never(failure) => return Err(failure),
                    };
                    refusals += u32::from(refused);
                    tracing::debug!(%id, name, reason, "file of a job not fetched yet");
                    tokio::time::sleep(BACKOFF.delay(tries, crate::random::random())).await;
                    tries = tries.saturating_add(1);
                }
            }
        }
    }

    async fn fetch(&self, id: ContentId, name: &str) -> Result<(), Trouble> {
        let connected = connect(&self.dialer, &self.master_url).await;
        let channel = connected.map_err(|error| Trouble::Later(error.to_string()))?;
        let mut client = FilesClient::new(channel).max_decoding_message_size(MAX_PIECE_MESSAGE);
        let refused = |status: tonic::Status| match status.code() {
            Code::NotFound => {
                let message = format!("the job's {name} is not with the master any more: submit the job again");
                Trouble::Never(Failure { disposition: Disposition::Abort, ..wrong_binary(message) })
            }
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown => {
                Trouble::Later(status.message().to_owned())
            }
            _ => Trouble::Refused(status.message().to_owned()),
        };
        let request = v1::DownloadRequest { sha256: id.to_string() };
        let answer = timeout(PIECE_TIMEOUT, client.download(request)).await;
        let mut pieces = answer.map_err(|_| late())?.map_err(refused)?.into_inner();
        let mut incoming = None;
        loop {
            let piece = timeout(PIECE_TIMEOUT, pieces.message()).await.map_err(|_| late())?.map_err(refused)?;
            let Some(piece) = piece else { break };
            let store = self.store.clone();
            let taken = beside(move || {
                let mut file = match incoming {
                    Some(file) => file,
                    None => store.receive(id, piece.file_bytes)?,
                };
                file.write(&piece.content)?;
                Ok(file)
            });
            incoming = Some(taken.await.map_err(Trouble::Never)?);
        }
        let Some(file) = incoming else { return Err(Trouble::Refused("it sent nothing".to_owned())) };
        // What was damaged on the way is fetched again.
        let finished = tokio::task::spawn_blocking(move || file.finish()).await;
        match finished {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ ContentError::Different { .. })) => Err(Trouble::Refused(error.to_string())),
            Ok(Err(error)) => Err(Trouble::Never(not_kept(&error))),
            Err(error) => Err(Trouble::Later(error.to_string())),
        }
    }
}

fn late() -> Trouble {
    Trouble::Later("it did not answer".to_owned())
}

fn wrong_binary(message: String) -> Failure {
    Failure::new(FailureCode::WrongBinary, message)
}

fn not_kept(error: &ContentError) -> Failure {
    Failure::new(FailureCode::WriteFailed, format!("cannot keep a file of the job: {error}"))
}

/// Work on the disk, beside the runtime's threads.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ContentError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Failure::new(FailureCode::WriteFailed, error.to_string()))?;
    done.map_err(|error| not_kept(&error))
}

/// Lets a file be found under another name too.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// Refuses a binary that this machine cannot run, by the head of its file: the ELF specification has the
/// machine in bytes 18 and 19.
///
/// # Errors
///
/// `WRONG_BINARY`, and for which machine it is.
pub fn check_platform(path: &Path) -> Result<(), Failure> {
    let own = (std::env::consts::ARCH, std::env::consts::OS);
    let mut head = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    let found = match read {
        Ok(()) if head.starts_with(b"\x7fELF") => {
            let number = [head[18], head[19]];
            let machine = if head[5] == 2 { u16::from_be_bytes(number) } else { u16::from_le_bytes(number) };
            elf_machine(machine)
        }
        Ok(()) => "no program for Linux".to_owned(),
        Err(error) => format!("a file that cannot be read: {error}"),
    };
    if found == own.0 {
        return Ok(());
    }
    let target = format!("{}-unknown-{}-gnu", own.0, own.1);
    Err(wrong_binary(format!(
        "the job's binary is for another platform ({found}), and this machine is {}-{}: build it with cargo build \
         --release --target {target}, and submit that",
        own.0, own.1
    )))
}

fn elf_machine(number: u16) -> String {
    match number {
        0x03 => "x86".to_owned(),
        0x28 => "arm".to_owned(),
        0x3e => "x86_64".to_owned(),
        0xb7 => "aarch64".to_owned(),
        0xf3 => "riscv64".to_owned(),
        other => format!("ELF machine {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_other_platforms_are_told_by_their_heads() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("program");
        let check = |bytes: &[u8], expect: Option<&str>| {
            fs::write(&path, bytes).expect("written");
            let error = check_platform(&path).err().map(|failure| failure.message);
            match (expect, error) {
                (None, error) => assert_eq!(error, None),
                (Some(expect), error) => assert!(error.as_ref().is_some_and(|text| text.contains(expect)), "{error:?}"),
            }
        };
        let mut own = vec![0; 64];
        File::open("/proc/self/exe").expect("this test").read_exact(&mut own).expect("it has a head");
        check(&own, None);
        let mut other = own.clone();
        (other[18], other[19]) = (0xf3, 0);
        check(&other, Some("is for another platform (riscv64)"));
        check(b"#!/bin/sh\necho this is a script\n", Some("(no program for Linux)"));
        check(b"", Some("(a file that cannot be read: "));
    }
}
