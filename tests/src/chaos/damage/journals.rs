//! The journal of a master that ended in order, and of one that was killed: what the next one reads.

use std::fs;
use std::path::{Path, PathBuf};

use gristmill_common::ids::{JobId, WorkerId};
use gristmill_common::naming::Uri;
use gristmill_common::spec::StoreOptions;
use gristmill_master::runtime::journal::{Change, Journal as _, JournalRecord, RedbJournal};

use super::specimen::{Reading, Specimen};

/// Commits of the journal, and records of each.
const COMMITS: u64 = 12;
const RECORDS: u64 = 4;

/// A journal.
struct JournalFile {
    kind: &'static str,
    file: PathBuf,
    /// What it holds.
    records: Vec<JournalRecord>,
}

/// A journal that was closed and one that was not.
pub(super) fn specimens(dir: &Path) -> Vec<Box<dyn Specimen>> {
    let made = dir.join("made");
    let mut journal = RedbJournal::open(&made).expect("a scratch file");
    for commit in 0..COMMITS {
        let changes: Vec<Change> = (0..RECORDS).flat_map(|index| changes(commit, index)).collect();
        journal.commit(&changes).expect("a scratch file");
    }
    let records = replayed(&mut journal).expect("undamaged");
    let specimen = |kind, name: &str| -> Box<dyn Specimen> {
        let file = dir.join(name);
        fs::copy(&made, &file).expect("a scratch file");
        // Without it, damage to the newest commit is taken for what a power failure left of it.
        fs::copy(made.with_extension("seen"), file.with_extension("seen")).expect("a scratch file");
        Box::new(JournalFile { kind, file, records: records.clone() })
    };
    let killed = specimen("journal of a killed master", "killed.redb");
    drop(journal);
    vec![killed, specimen("journal", "closed.redb")]
}

/// One record of each commit names a worker, the others a job's output; some jobs are forgotten.
fn changes(commit: u64, index: u64) -> Vec<Change> {
    let record = match index {
        0 => JournalRecord::WorkerNamed { key: format!("key-{commit}"), worker: WorkerId(commit as u32) },
        _ => JournalRecord::Claiming {
            job: JobId(commit * RECORDS + index),
            output: Uri::from_path(Path::new(&format!("/output/{commit}/{index}"))),
            missing: vec![PathBuf::from("/output")],
            store: StoreOptions::default(),
        },
    };
    let mut changes = vec![Change::Append(record)];
    if commit > 2 && index == 1 {
        changes.push(Change::Forget(JobId((commit - 2) * RECORDS + 1)));
    }
    changes
}

fn replayed(journal: &mut RedbJournal) -> Result<Vec<JournalRecord>, String> {
    let mut records = Vec::new();
    journal.replay(&mut |record| records.push(record)).map_err(|error| error.to_string())?;
    Ok(records)
}

impl Specimen for JournalFile {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn read(&mut self) -> Reading {
        let opened = RedbJournal::open(&self.file).map_err(|error| error.to_string());
        match opened.and_then(|mut journal| replayed(&mut journal)) {
            Ok(records) if records == self.records => Reading::Same,
            Ok(_) => Reading::Wrong,
            Err(text) => Reading::Refused(text),
        }
    }
}
