//! The trial data and its expected answers, and outputs in the form in which they are compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::installed::skipped;

/// The folder of trial data: `$GRISTMILL_TEST_DATA`, or `shared/data` beside the repository. Says so
/// and gives `None` if there is none.
pub fn trial_data() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let dir = std::env::var_os("GRISTMILL_TEST_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    if !dir.is_dir() {
        skipped("no trial data (set GRISTMILL_TEST_DATA to its folder)");
        return None;
    }
    // As programs name it in what they say.
    Some(dir.canonicalize().unwrap_or(dir))
}

/// The line count and SHA-256 that `SUMMARY.tsv` gives for an answer.
///
/// # Panics
///
/// If the data has no such answer.
pub fn expected(data: &Path, name: &str) -> (usize, String) {
    let summary = fs::read_to_string(data.join("expected/SUMMARY.tsv")).expect("the data has its answers");
    let row = summary.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    let (lines, hash) = row.and_then(|row| row.split_once('\t')).unwrap_or_else(|| panic!("no answer {name}"));
    (lines.parse().expect("a count"), hash.to_owned())
}

/// The parts of an output by path, those of named outputs too, hidden files left out.
///
/// # Panics
///
/// If the output cannot be read.
pub fn parts(output: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut parts = BTreeMap::new();
    add_parts(output, "", &mut parts);
    parts
}

/// Adds the parts in a folder and those below it; `above` is what their paths begin with.
fn add_parts(folder: &Path, above: &str, parts: &mut BTreeMap<String, Vec<u8>>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("no output {}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("readable").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("outputs have names that are text");
        if name.starts_with(['_', '.']) {
            continue;
        }
        let below = format!("{above}{name}");
        if path.is_dir() {
            add_parts(&path, &format!("{below}/"), parts);
        } else {
            parts.insert(below, fs::read(&path).expect("readable"));
        }
    }
}

/// Line count and SHA-256 of all lines of an output, each rewritten by `rewrite`, sorted together.
pub fn sorted_digest(output: &Path, rewrite: impl Fn(&[u8]) -> Vec<u8>) -> (usize, String) {
    let parts = parts(output);
    let mut lines: Vec<Vec<u8>> =
        parts.values().flat_map(|part| part.split_inclusive(|&byte| byte == b'\n')).map(rewrite).collect();
    lines.sort_unstable();
    (lines.len(), sha256(&lines.concat()))
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
