//! Pairs of documents that are nearly the same: MinHash signatures in bands (Broder 1997; Leskovec,
//! Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3). Documents are lines `ID TAB text`.

use std::collections::BTreeSet;

use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

/// Words of a shingle.
const SHINGLE: usize = 3;

/// Bands of a signature, and hashes of a band. More bands find pairs that are less alike, longer ones
/// fewer that are not: half of the pairs of a likeness of (1/20)^(1/4) = 0.47 are found.
const BANDS: usize = 20;
const BAND: usize = 4;

/// How alike documents must be, estimated by their signatures.
const ALIKE: f64 = 0.5;

/// `one TAB other TAB likeness` for each pair, the smaller name first. Documents that agree in a band meet
/// in the reduce; those that agree in several are written by the first of them.
pub(crate) struct NearDuplicates;

/// A document that is told apart from others by its signature alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Signed {
    id: String,
    signature: Vec<u64>,
}

impl MapReduce for NearDuplicates {
    type Input = Utf8Lines;
    /// The number of a band, and what is in it.
    type Key = Pair<u32, u64>;
    type Value = Signed;
    type Combine = NoCombine;
    type Output = Text<Pair<String, String>, String>;

    fn map(&self, line: &str, out: &mut impl Emit<Pair<u32, u64>, Signed>) -> Result<()> {
        let (id, text) = line.split_once('\t').ok_or_else(|| JobError::new("not a document: there is no TAB"))?;
        let signature = signature(text);
        for (number, band) in (0..).zip(signature.chunks(BAND)) {
            let of_band = band.iter().fold(0, |hash, part| mixed(hash ^ part));
            out.emit((number, of_band), Signed { id: id.to_owned(), signature: signature.clone() })?;
        }
        Ok(())
    }

    fn reduce(
        &self,
        (number, _): (u32, u64),
        documents: Values<Signed>,
        out: &mut impl Sink<Pair<String, String>, String>,
    ) -> Result<()> {
        let documents: BTreeSet<Signed> = documents.collect();
        for one in &documents {
            for other in documents.range::<Signed, _>(one..).skip(1) {
                let mut bands = one.signature.chunks(BAND).zip(other.signature.chunks(BAND));
                if bands.position(|(a, b)| a == b) != Some(number as usize) {
                    continue;
                }
                let equal = one.signature.iter().zip(&other.signature).filter(|(a, b)| a == b).count();
                let alike = equal as f64 / one.signature.len() as f64;
                if alike >= ALIKE {
                    out.put((one.id.clone(), other.id.clone()), format!("{alike:.2}"))?;
                }
            }
        }
        Ok(())
    }
}

/// For each of many hash functions the smallest hash of any shingle: two texts have as many in common as
/// their sets of shingles do.
fn signature(text: &str) -> Vec<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let shingles: BTreeSet<u64> = words.windows(SHINGLE.min(words.len()).max(1)).map(hash).collect();
    let smallest = |function: usize| {
        let hashes = shingles.iter().map(|shingle| mixed(shingle ^ mixed(function as u64)));
        hashes.min().unwrap_or(u64::MAX)
    };
    (0..BANDS * BAND).map(smallest).collect()
}

/// The hash of some words. Jobs use no hash that differs from one process to the next.
fn hash(words: &[&str]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([b' ']));
    bytes.fold(0, |hash, byte| mixed(hash ^ u64::from(byte)))
}

/// The last step of SplitMix64, which spreads every bit over all.
fn mixed(mut hash: u64) -> u64 {
    hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_share_most_shingles_are_found_once() {
        let words: Vec<String> = (0..60).map(|n| format!("w{}", n * n % 97)).collect();
        let (first, mut second) = (words.join(" "), words.clone());
        second[30] = "other".to_owned();
        let documents =
            format!("b\t{first}\na\t{}\nc\tsomething else altogether, and short\nd\t{first}\n", second.join(" "));
        let text = gristmill::testing::run(&NearDuplicates, &documents).text();
        let mut pairs: Vec<&str> = text.lines().map(|line| &line[..3]).collect();
        pairs.sort_unstable();
        assert_eq!(pairs, ["a\tb", "a\td", "b\td"], "{text}");
        assert!(text.contains("b\td\t1.00\n"), "{text}");
        gristmill::check_job!(NearDuplicates, documents, any_order);
    }
}
