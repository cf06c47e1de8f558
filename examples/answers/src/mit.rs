//! The two applications of a distributed systems course's lab (MIT 6.5840): how often words occur, and
//! in which files. A word is a run of letters.

use std::collections::BTreeSet;

use gristmill::prelude::*;

/// The runs of ASCII letters in a line.
pub(crate) fn letter_runs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| !byte.is_ascii_alphabetic()).filter(|run| !run.is_empty())
}

/// The lab's lines: two fields with a space between them.
pub(crate) enum LabLines {}

impl Output for LabLines {
    type Key = [u8];
    type Value = String;

    fn write(word: &&[u8], rest: &String, out: &mut Vec<u8>) {
        out.extend_from_slice(word);
        out.push(b' ');
        out.extend_from_slice(rest.as_bytes());
        out.push(b'\n');
    }
}

/// `word count`.
pub(crate) struct WordCount;

impl MapReduce for WordCount {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = LabLines;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        letter_runs(line).try_for_each(|word| out.emit(word, 1))
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], String>) -> Result<()> {
        out.put(word, counts.sum().to_string())
    }
}

/// `word files file1,file2,…`: how many files a word is in, and their names in order, without folders.
pub(crate) struct Indexer;

impl MapReduce for Indexer {
    type Input = Located<Lines>;
    type Key = [u8];
    type Value = str;
    type Combine = NoCombine;
    type Output = LabLines;

    fn map(&self, (from, line): (Provenance<'_>, &[u8]), out: &mut impl Emit<[u8], str>) -> Result<()> {
        let file = from.object.rsplit('/').next().unwrap_or(from.object);
        let words: BTreeSet<&[u8]> = letter_runs(line).collect();
        words.into_iter().try_for_each(|word| out.emit(word, file))
    }

    fn reduce(&self, word: &[u8], mut values: Values<str>, out: &mut impl Sink<[u8], String>) -> Result<()> {
        let mut files = BTreeSet::new();
        while let Some(file) = values.next_ref() {
            if !files.contains(file) {
                files.insert(file.to_owned());
            }
        }
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        out.put(word, format!("{} {}", names.len(), names.join(",")))
    }
}
