//! A journal in memory, for tests: what it keeps outlives the master that used it, as a disk does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::RecordKey;
use super::record::JournalRecord;
use super::{Change, Journal, JournalError, frame};

/// A journal in memory. Clones keep the same records, in the same bytes as a file.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    frames: BTreeMap<RecordKey, Vec<u8>>,
    last: u64,
}

impl Journal for MemoryJournal {
    fn replay(&mut self, visit: &mut dyn FnMut(JournalRecord)) -> Result<(), JournalError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.frames.iter().try_for_each(|(key, bytes)| {
            visit(frame::decode(Path::new("in memory"), *key, bytes)?);
            Ok(())
        })
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                Change::Append(record) => {
                    kept.last += 1;
                    let key = RecordKey { job: record.job().map_or(0, |job| job.0), sequence: kept.last };
                    kept.frames.insert(key, frame::encode(key, record));
                }
                Change::Forget(job) => kept.frames.retain(|key, _| key.job != job.0),
            }
        }
        Ok(())
    }
}
