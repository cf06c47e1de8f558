//! The journal of a master: one redb file with one table, from (job, sequence number) to the frame of
//! a record. Every commit is one durable transaction.
//!
//! redb checks nothing of a file that was closed in order, and reads what it finds; so the whole tree
//! is verified before the first record is read, and each record has a checksum of its own. Where the
//! newest commit is not complete, redb goes back to the one before it: right after a crash, and told from
//! damage by the number of commits that were acknowledged (`seen.rs`).

use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use gristmill_common::ids::JobId;
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tracing::warn;

use super::contain::contain;
use super::error::{Place, RecordKey};
use super::record::JournalRecord;
use super::seen::Seen;
use super::{Change, Journal, JournalError, frame};
use crate::failpoint::failpoint;

/// Under (job, sequence number).
const RECORDS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("records");

/// How many commits there were, under nothing.
const COMMITS: TableDefinition<'_, (), u64> = TableDefinition::new("commits");

/// Pages kept in memory. Raised, a large journal replays a little faster; the rest of the time the
/// newest few pages are all that is looked at.
const CACHE_BYTES: usize = 16 << 20;

/// A journal in a file.
#[derive(Debug)]
pub struct RedbJournal {
    file: PathBuf,
    database: Database,
    /// The sequence number given last.
    last: u64,
    /// Commits so far.
    commits: u64,
    seen: Seen,
}

impl RedbJournal {
    /// Opens the journal in `file`, or makes an empty one there.
    ///
    /// # Errors
    ///
    /// If the file is damaged, belongs to somebody else or cannot be read or written.
    pub fn open(file: &Path) -> Result<Self, JournalError> {
        let store = |error: redb::Error| store_error("open", file, error);
        // Not to know is not the same as not to be: an empty journal in the place of one that is there would
        // forget every job.
        if !file.try_exists().map_err(|error| store_error("open", file, error.into()))? {
            Seen::remove(file).map_err(|error| store_error("remove", &Seen::path(file), error.into()))?;
            create(file).map_err(|error| store_error("create", file, error))?;
        }
        injected("open", file, "journal.open")?;
        let opened = contain(|| -> Result<Database, redb::Error> {
            let mut database = Builder::new().set_cache_size(CACHE_BYTES).open(file)?;
            if !database.check_integrity()? {
                warn!(file = %file.display(), "journal repaired: its newest commit was not complete");
            }
            Ok(database)
        });
        let database = opened.map_err(|reason| structure(file, reason))?.map_err(store)?;
        let last = contain(|| last_sequence(&database));
        let last = last.map_err(|reason| structure(file, reason))?.map_err(store)?;
        let commits = contain(|| commits(&database));
        let commits = commits.map_err(|reason| structure(file, reason))?.map_err(store)?;
        let about_seen = |error: io::Error| store_error("open", &Seen::path(file), error.into());
        let seen = Seen::open(file).map_err(about_seen)?;
        let acknowledged = seen.commits().map_err(about_seen)?;
        if acknowledged > commits {
            return Err(JournalError::Lost { file: file.to_owned(), commits, acknowledged });
        }
        injected("open", file, "journal.opened")?;
        Ok(Self { file: file.to_owned(), database, last, commits, seen })
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), redb::Error> {
        let injected = |name| failpoint(name).map_err(redb::Error::Io);
        injected("journal.begin")?;
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for change in changes {
                match change {
                    Change::Append(record) => {
                        injected("journal.append")?;
                        self.last += 1;
                        let key = RecordKey { job: record.job().map_or(0, |job| job.0), sequence: self.last };
                        table.insert((key.job, key.sequence), frame::encode(key, record).as_slice())?;
                    }
                    Change::Forget(job) => {
                        injected("journal.forget")?;
                        table.retain_in(records_of(*job), |_, _| false)?;
                    }
                }
            }
            transaction.open_table(COMMITS)?.insert((), self.commits + 1)?;
        }
        injected("journal.commit")?;
        transaction.commit()?;
        self.commits += 1;
        injected("journal.committed")
    }
}

impl Journal for RedbJournal {
    fn replay(&mut self, visit: &mut dyn FnMut(JournalRecord)) -> Result<(), JournalError> {
        injected("read", &self.file, "journal.replay")?;
        let file = &self.file;
        let read = contain(|| -> Result<Option<JournalError>, redb::Error> {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(RECORDS)?;
            for entry in table.iter()? {
                let (key, bytes) = entry?;
                let (job, sequence) = key.value();
                match frame::decode(file, RecordKey { job, sequence }, bytes.value()) {
                    Ok(record) => visit(record),
                    Err(error) => return Ok(Some(error)),
                }
            }
            Ok(None)
        });
        match read.map_err(|reason| structure(file, reason))?.map_err(|error| store_error("read", file, error))? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        self.write(changes).map_err(|error| store_error("write", &self.file, error))?;
        let noted = failpoint("journal.seen").and_then(|()| self.seen.note(self.commits));
        noted.map_err(|error| store_error("write", &Seen::path(&self.file), error.into()))
    }
}

/// Makes an empty journal. It gets its name when it is complete: a file of that name without content is
/// damage, not a journal that begins.
fn create(file: &Path) -> Result<(), redb::Error> {
    let injected = |name| failpoint(name).map_err(redb::Error::Io);
    let next = file.with_extension("next");
    // What a master left that died in the middle of this.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    injected("journal.create")?;
    let database = Builder::new().set_cache_size(CACHE_BYTES).create(&next)?;
    let transaction = database.begin_write()?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(COMMITS)?;
    transaction.commit()?;
    drop(database);
    injected("journal.rename")?;
    fs::rename(&next, file)?;
    injected("journal.sync_folder")?;
    let folder = file.parent().unwrap_or(Path::new("."));
    Ok(File::open(folder).and_then(|folder| folder.sync_all())?)
}

/// The highest sequence number in the file; 0 if it holds no record.
fn last_sequence(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(RECORDS)?;
    let mut last = 0;
    for entry in table.iter()? {
        last = last.max(entry?.0.value().1);
    }
    Ok(last)
}

/// How many commits the file holds; 0 for one of a build that did not count them.
fn commits(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    match transaction.open_table(COMMITS) {
        Ok(table) => Ok(table.get(())?.map_or(0, |commits| commits.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn records_of(job: JobId) -> RangeInclusive<(u64, u64)> {
    (job.0, 0)..=(job.0, u64::MAX)
}

fn injected(action: &'static str, file: &Path, name: &'static str) -> Result<(), JournalError> {
    failpoint(name).map_err(|error| store_error(action, file, redb::Error::Io(error)))
}

fn structure(file: &Path, reason: String) -> JournalError {
    JournalError::Damaged { file: file.to_owned(), place: Place::Structure, reason }
}

fn store_error(action: &'static str, file: &Path, error: redb::Error) -> JournalError {
    match error {
        redb::Error::Corrupted(reason) => structure(file, reason),
        error => JournalError::Store { action, file: file.to_owned(), source: Box::new(error) },
    }
}
