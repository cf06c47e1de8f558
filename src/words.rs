//! English-like text from a seed: sentences in lines, words of a Zipf distribution over a made-up
//! vocabulary. Integer arithmetic only, so every machine writes the same bytes.

use std::io::{self, Write};

/// Words in the vocabulary.
const VOCABULARY: usize = 1 << 14;

/// Entries of the table that maps random bits to words. Raised, rare words get closer to their
/// share; lowered, the table fits a smaller cache.
const TABLE: usize = 1 << 20;

/// A line ends at the first word that reaches this column.
const LINE: usize = 72;

/// The most frequent words, so that the text looks like one.
const COMMON: [&str; 40] = [
    "the", "of", "and", "to", "a", "in", "that", "he", "it", "was", "his", "with", "as", "for", "had", "is", "not",
    "but", "at", "on", "she", "be", "her", "which", "you", "by", "from", "all", "were", "this", "have", "they", "one",
    "him", "so", "there", "would", "what", "or", "when",
];

const ONSETS: [&str; 24] = [
    "b", "br", "c", "ch", "d", "dr", "f", "g", "gr", "h", "l", "m", "n", "p", "pl", "r", "s", "sh", "st", "t", "th",
    "tr", "v", "w",
];
const NUCLEI: [&str; 10] = ["a", "e", "i", "o", "u", "ea", "ou", "ai", "e", "o"];
const CODAS: [&str; 16] = ["", "n", "r", "l", "s", "t", "d", "m", "ng", "nd", "st", "ck", "", "rt", "p", ""];
const ENDINGS: [&str; 8] = ["", "", "", "ed", "ing", "ly", "er", "s"];

/// Writes text; one seed and stream always give the same.
pub(crate) struct TextGenerator {
    random: Random,
    words: Vec<String>,
    table: Vec<u16>,
}

impl TextGenerator {
    /// A generator for one of many independent streams of a seed. All have the same vocabulary.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let words = vocabulary();
        Self { random: Random(mix(mix(seed) ^ stream)), table: zipf_table(words.len()), words }
    }

    /// Writes exactly `bytes` bytes, the last one a line feed.
    ///
    /// # Errors
    ///
    /// If `out` does not take them.
    pub(crate) fn write(mut self, bytes: u64, out: &mut impl Write) -> io::Result<()> {
        let mut left = bytes;
        let mut line = Vec::with_capacity(2 * LINE);
        let mut words_left = 0;
        while left > 0 {
            line.clear();
            while line.len() < LINE {
                if !line.is_empty() {
                    line.push(b' ');
                }
                let starts = words_left == 0;
                if starts {
                    words_left = 4 + self.random.below(20);
                }
                words_left -= 1;
                self.write_word(starts, words_left == 0, &mut line);
            }
            line.push(b'\n');
            if let Ok(room) = usize::try_from(left)
                && room <= line.len()
            {
                line.truncate(room);
                line[room - 1] = b'\n';
            }
            out.write_all(&line)?;
            left -= line.len() as u64;
        }
        Ok(())
    }

    fn write_word(&mut self, first: bool, last: bool, line: &mut Vec<u8>) {
        let bits = self.random.next();
        let word = &self.words[usize::from(self.table[bits as usize % TABLE])];
        let at = line.len();
        line.extend_from_slice(word.as_bytes());
        if first {
            line[at].make_ascii_uppercase();
        }
        if last {
            line.push(if bits >> 60 == 0 { b'?' } else { b'.' });
        } else if bits >> 60 == 0 {
            line.push(b',');
        }
    }
}

/// Different words, the common ones first.
fn vocabulary() -> Vec<String> {
    let mut random = Random(0x6772_6973_746d_696c);
    let mut pick = |of: &[&'static str]| of[random.below(of.len() as u64) as usize];
    let mut seen: std::collections::HashSet<String> = COMMON.iter().map(|word| (*word).to_owned()).collect();
    let mut words: Vec<String> = COMMON.iter().map(|word| (*word).to_owned()).collect();
    while words.len() < VOCABULARY {
        // Longer words are rarer, as in real text.
        let syllables = 1 + words.len().ilog2() / 7;
        let mut word = String::new();
        for _ in 0..syllables {
            word.push_str(pick(&ONSETS));
            word.push_str(pick(&NUCLEI));
            word.push_str(pick(&CODAS));
        }
        word.push_str(pick(&ENDINGS));
        if seen.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

/// Word numbers, each as often as its rank deserves: in proportion to 1 / (rank + 3).
fn zipf_table(words: usize) -> Vec<u16> {
    let weight = |rank: usize| (1_u64 << 40) / (rank as u64 + 3);
    let total: u64 = (0..words).map(weight).sum();
    let mut table = Vec::with_capacity(TABLE);
    let mut reached = 0_u64;
    for rank in 0..words {
        reached += weight(rank);
        let end = (u128::from(reached) * TABLE as u128 / u128::from(total)) as usize;
        table.resize(end.max(table.len()), u16::try_from(rank).expect("the vocabulary has 2^14 words"));
    }
    table
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn text(seed: u64, stream: u64, bytes: u64) -> String {
        let mut out = vec![];
        TextGenerator::new(seed, stream).write(bytes, &mut out).expect("a Vec takes all bytes");
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn a_seed_gives_the_same_text_of_the_size_asked_for() {
        for bytes in [0, 1, 71, 72, 73, 100, 5000] {
            let text = text(7, 0, bytes);
            assert_eq!(text.len() as u64, bytes);
            assert!(text.is_empty() || text.ends_with('\n'));
        }
        assert_eq!(text(7, 0, 5000), text(7, 0, 5000));
        assert!(text(7, 0, 5000).starts_with(text(7, 0, 700).lines().next().expect("a line")));
        assert_ne!(text(7, 0, 100), text(7, 1, 100));
        assert_ne!(text(7, 0, 100), text(8, 0, 100));
    }

    #[test]
    fn words_are_unevenly_frequent() {
        let text = text(1, 0, 1 << 20);
        let mut counts: HashMap<&str, u32> = HashMap::new();
        for word in text.split_ascii_whitespace() {
            *counts.entry(word).or_default() += 1;
        }
        let words: u32 = counts.values().sum();
        let the = f64::from(counts["the"]) / f64::from(words);
        assert!((0.02..0.08).contains(&the), "{the}");
        assert!(counts.len() > 10_000, "{}", counts.len());
    }
}
