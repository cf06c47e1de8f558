//! Map outputs of several runs: their bytes, what is read of them, and that damage is found.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use gristmill_common::ids::AttemptId;
use gristmill_common::task::MapOutputSummary;

use super::*;
use crate::engine::{Compression, map_output_path};
use crate::testing::hand_made_output;

fn attempt() -> AttemptId {
    "m-0.0".parse().expect("an attempt")
}

/// Writes a map output of two partitions whose runs hold these keys.
fn write(dir: &Path, runs: &[[&[&str]; 2]]) -> MapOutputSummary {
    let path = map_output_path(dir, attempt());
    let mut writer = SegmentWriter::map_output(path, 2, Compression::None, RecordOrder::ByKey);
    for (index, run) in runs.iter().enumerate() {
        assert_eq!(writer.runs(), index);
        for keys in run {
            writer.begin_segment().expect("scratch");
            for key in *keys {
                writer.push(RecordRef { key: key.as_bytes(), value: b"" }).expect("scratch");
            }
        }
        writer.rest().expect("scratch");
    }
    writer.finish_output(&MapOutputPack::new(dir), attempt()).expect("scratch").0
}

/// The keys of each run in these bytes, as a reducer would find them in a file of fetched segments.
fn read(dir: &Path, segment: &[u8]) -> Result<Vec<String>, String> {
    let path = dir.join("moved");
    fs::write(&path, segment).expect("scratch");
    let file = Arc::new(File::open(path).expect("scratch"));
    let runs = survey(&file, 0, segment.len() as u64).map_err(|error| error.to_string())?;
    let keys = |run: Survey| {
        let blocks = SegmentBlocks::new(Arc::clone(&file), "moved".into(), run.offset, run.bytes);
        let mut cursor = SegmentCursor::open(blocks)?;
        let mut keys = String::new();
        while !cursor.is_exhausted() {
            keys.push_str(std::str::from_utf8(cursor.key()).expect("text"));
            cursor.advance()?;
        }
        Ok(keys)
    };
    runs.into_iter().map(|run| keys(run).map_err(|error: SegmentError| error.to_string())).collect()
}

/// The segment of a partition as it is moved.
fn segment(dir: &Path, partition: u32) -> Vec<u8> {
    let output = MapOutputs::new(dir).open(attempt()).expect("whole");
    let file = fs::read(output.path()).expect("written");
    let runs = output.segment(partition).expect("two partitions");
    runs.iter().flat_map(|run| file[run.offset as usize..][..run.bytes as usize].to_vec()).collect()
}

#[test]
fn a_segment_is_its_runs_in_order_and_shows_where_each_begins() {
    let check = |runs: &[[&[&str]; 2]], expect: [&[&str]; 2]| {
        let dir = tempfile::tempdir().expect("a folder");
        let made = write(dir.path(), runs);
        let segments = [0, 1].map(|partition| segment(dir.path(), partition));
        assert_eq!((made.partitions, made.bytes), (2, segments.iter().map(Vec::len).sum::<usize>() as u64));
        assert_eq!(segments.map(|segment| read(dir.path(), &segment).expect("whole")), expect.map(<[&str]>::to_vec));
        let output = MapOutputs::new(dir.path()).open(attempt()).expect("whole");
        assert_eq!((output.partitions(), output.segment(2)), (2, None));
    };
    check(&[[&["a", "c"], &["b"]]], [&["ac"], &["b"]]);
    check(&[[&["a", "c"], &["b"]], [&["b"], &["a", "c"]]], [&["ac", "b"], &["b", "ac"]]);
    check(&[[&[], &["b"]], [&["b"], &[]], [&["a"], &[]]], [&["b", "a"], &["b"]]);
}

#[test]
fn the_content_of_every_run_counts() {
    let hash = |runs: &[[&[&str]; 2]]| {
        let dir = tempfile::tempdir().expect("a folder");
        write(dir.path(), runs).content_hash
    };
    let two: [[&[&str]; 2]; 2] = [[&["a"], &["b"]], [&["c"], &["d"]]];
    assert_eq!(hash(&two), hash(&two));
    assert_ne!(hash(&two), hash(&[[&["a"], &["b"]], [&["c"], &["e"]]]));
    assert_ne!(hash(&two), hash(&[[&["a", "c"], &["b", "d"]]]));
}

#[test]
fn bytes_of_outputs_are_golden() {
    let check = |runs: &[[&[&str]; 2]], codecs: &[u32], expect: u64| {
        let dir = tempfile::tempdir().expect("a folder");
        write(dir.path(), runs);
        let file = fs::read(map_output_path(dir.path(), attempt())).expect("not in a pack");
        // Each block has one record of three bytes.
        let codec = |block: &[u8]| u32::from_le_bytes(*block[12..].first_chunk().expect("a header"));
        let blocks = &file[16..16 + codecs.len() * 27];
        assert_eq!(blocks.chunks(27).map(codec).collect::<Vec<_>>(), codecs);
        assert_eq!(xxhash_rust::xxh3::xxh3_64(&file), expect, "{file:02x?}");
    };
    check(&[[&["a"], &["b"]]], &[0, 0], 3_283_259_898_722_028_966);
    check(&[[&["a"], &["b"]], [&["c"], &["d"]]], &[0, 0, 512, 512], 15_006_703_709_384_081_356);
}

#[test]
fn outputs_of_builds_that_knew_one_run_are_read() {
    let dir = tempfile::tempdir().expect("a folder");
    hand_made_output(&map_output_path(dir.path(), attempt()), &[b"one", b""]);
    assert_eq!([0, 1].map(|partition| segment(dir.path(), partition)), [b"one".to_vec(), vec![]]);
}

#[test]
fn damage_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    write(dir.path(), &[[&["a"], &["b", "c"]], [&["d"], &[]], [&["e"], &["f"]]]);
    let whole = segment(dir.path(), 0);
    assert_eq!(read(dir.path(), &whole).expect("whole"), ["a", "d", "e"]);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(dir.path(), &damaged).is_err(), "bit {bit} of byte {at}");
        }
    }
    let path = map_output_path(dir.path(), attempt());
    let file = fs::read(&path).expect("written");
    let index = file.len() - 32 - 6 * 48;
    for at in (0..16).chain(index..file.len()) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x20;
        fs::write(&path, damaged).expect("scratch");
        assert!(MapOutputs::new(dir.path()).open(attempt()).is_err(), "byte {at}");
    }
}
