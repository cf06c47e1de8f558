//! What of a job's scratch outlives the processes that made it: finished map outputs. Everything else
//! there belongs to an attempt that is over. Removes nothing.
//!
//! An output is finished if its trailer is there and vouches for its index; that its bytes have reached
//! the disk is not sure, nor asked here: whoever reads a block checks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gristmill_common::ids::{AttemptId, Stage};

use super::pack::index_of;
use super::{MapOutputs, SegmentError};
use crate::engine::map_output_path;

/// The finished map outputs in a job's folder in scratch.
#[derive(Debug, Default)]
pub struct Finished {
    /// The [content hash](super::MapOutput::content_hash) of each.
    pub outputs: BTreeMap<AttemptId, u64>,
    /// The files they lie in, some of which hold others too.
    pub files: BTreeSet<PathBuf>,
    /// What is not whole: usually what was being written when a process ended.
    pub damaged: Vec<SegmentError>,
}

impl Finished {
    /// Looks through a folder in which nobody works.
    ///
    /// # Errors
    ///
    /// If the folder, or a pack in it, cannot be read.
    pub fn find(dir: &Path) -> Result<Self, SegmentError> {
        let failed = |source| SegmentError::Read { path: dir.display().to_string(), source };
        let mut outputs = MapOutputs::new(dir);
        let mut attempts: BTreeSet<AttemptId> = outputs.packed()?.collect();
        for file in fs::read_dir(dir).map_err(failed)? {
            attempts.extend(attempt_of(&file.map_err(failed)?.path()));
        }
        let mut finished = Self::default();
        for attempt in attempts {
            match outputs.open(attempt) {
                Ok(output) => {
                    finished.outputs.insert(attempt, output.content_hash());
                    finished.files.extend([output.path().to_owned(), index_of(output.path())]);
                }
                Err(error) => finished.damaged.push(error),
            }
        }
        Ok(finished)
    }
}

/// The map attempt whose output has this file of its own.
fn attempt_of(path: &Path) -> Option<AttemptId> {
    let attempt: AttemptId = path.file_stem()?.to_str()?.parse().ok()?;
    (attempt.task.stage == Stage::Map && map_output_path(path.parent()?, attempt) == path).then_some(attempt)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use super::*;
    use crate::engine::Compression;
    use crate::engine::shuffle::{MapOutputPack, RecordOrder, RecordRef, SegmentBlocks, SegmentWriter};

    fn attempt(text: &str) -> AttemptId {
        text.parse().expect("an attempt")
    }

    /// Writes a map output of two partitions; a small one goes into the pack.
    fn write(dir: &Path, pack: &MapOutputPack, name: &str, records: u32) {
        let path = map_output_path(dir, attempt(name));
        let mut writer = SegmentWriter::map_output(path, 2, Compression::None, RecordOrder::ByKey);
        for partition in 0..2 {
            writer.begin_segment().expect("scratch");
            for n in 0..records {
                let key = format!("{name} {partition} {n:05}");
                writer.push(RecordRef { key: key.as_bytes(), value: &[7; 40] }).expect("scratch");
            }
        }
        writer.finish_output(pack, attempt(name)).expect("scratch");
    }

    /// Whether every block of an output is what it was.
    fn reads_well(dir: &Path, attempt: AttemptId) -> bool {
        let output = MapOutputs::new(dir).open(attempt).expect("it was just opened");
        (0..2).all(|partition| {
            let segment = output.segment(partition).expect("two partitions");
            segment.iter().all(|run| {
                let file = Arc::clone(output.file());
                let mut blocks = SegmentBlocks::new(file, "it".into(), run.offset, run.bytes);
                let mut raw = Vec::new();
                loop {
                    match blocks.next(&mut raw) {
                        Ok(Some(_)) => {}
                        Ok(None) => break true,
                        Err(_) => break false,
                    }
                }
            })
        })
    }

    fn only_file(dir: &Path, pick: impl Fn(&str) -> bool) -> PathBuf {
        let paths = fs::read_dir(dir).expect("a folder").map(|file| file.expect("a file").path());
        let mut paths = paths.filter(|path| pick(&path.file_name().expect("a name").to_string_lossy()));
        paths.next().expect("there is one")
    }

    /// Damages a file in every place, and by cutting it everywhere, and counts how often `attempt` was
    /// found all the same: then each damage must show in its blocks.
    fn check(dir: &Path, file: &Path, name: &str) -> usize {
        let (name, whole) = (attempt(name), fs::read(file).expect("written"));
        let hash = Finished::find(dir).expect("readable").outputs[&name];
        let mut found = 0;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(file, &damaged).expect("scratch");
            if let Some(seen) = Finished::find(dir).expect("readable").outputs.get(&name) {
                assert_eq!(*seen, hash, "byte {at}");
                assert!(!reads_well(dir, name), "byte {at}");
                found += 1;
            }
            fs::write(file, &whole[..at]).expect("scratch");
            let cut = Finished::find(dir).expect("readable");
            assert!(!cut.outputs.contains_key(&name), "cut at {at}");
        }
        fs::write(file, &whole).expect("scratch");
        found
    }

    #[test]
    fn damage_is_found_at_once_or_in_the_block_that_has_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let packed = tempfile::tempdir().expect("a folder");
        write(packed.path(), &MapOutputPack::new(packed.path()), "m-3.1", 3);
        let pack = only_file(packed.path(), |name| !name.ends_with(".idx"));
        // The same bytes as an output of their own.
        let own = map_output_path(dir.path(), attempt("m-3.1"));
        fs::copy(&pack, &own).expect("scratch");
        let blocks = |dir: &Path| {
            let output = MapOutputs::new(dir).open(attempt("m-3.1")).expect("whole");
            let runs = (0..2).flat_map(|partition| output.segment(partition).expect("two"));
            runs.map(|run| run.bytes as usize).sum::<usize>()
        };
        assert_eq!(check(dir.path(), &own, "m-3.1"), blocks(dir.path()));
        assert_eq!(check(packed.path(), &pack, "m-3.1"), blocks(packed.path()));
        assert_eq!(check(packed.path(), &only_file(packed.path(), |name| name.ends_with(".idx")), "m-3.1"), 0);
    }

    #[test]
    fn the_torn_end_of_a_pack_hides_nothing_before_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let pack = MapOutputPack::new(dir.path());
        ["m-0.0", "m-1.0", "m-2.0"].iter().for_each(|name| write(dir.path(), &pack, name, 3));
        write(dir.path(), &pack, "m-4.0", 2000);
        let found = || Finished::find(dir.path()).expect("readable");
        let all = found();
        assert_eq!((all.outputs.len(), all.damaged.len()), (4, 0));
        let index = only_file(dir.path(), |name| name.ends_with(".idx"));
        let data = only_file(dir.path(), |name| name.starts_with("pack-") && !name.ends_with(".idx"));
        for (torn, damaged) in [(&data, 1), (&index, 0)] {
            let whole = fs::read(torn).expect("written");
            File::options().write(true).open(torn).expect("there").set_len(whole.len() as u64 - 1).expect("cut");
            let left = found();
            assert_eq!((left.outputs.len(), left.damaged.len()), (3, damaged), "{}", torn.display());
            assert!(left.outputs.iter().all(|(attempt, hash)| all.outputs[attempt] == *hash));
            assert!(left.files.contains(&data) && left.files.contains(&index));
            fs::write(torn, whole).expect("scratch");
        }
    }
}
