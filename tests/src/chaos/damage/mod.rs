//! Random damage to what lies on disks. Real files are made once by the engine, the verifier and the
//! journal of the product; then one of them is damaged, read by the code that reads it in a job, and
//! put back, very many times. What is read must be refused, with the file's name, or be what it was.
//!
//! | file | holds |
//! |---|---|
//! | `specimen.rs` | a file that is damaged, and what a reader makes of it |
//! | `segments.rs` | map outputs, packs and fetched segments, read by reduce attempts |
//! | `outputs.rs` | parts and `_SUCCESS`, read as `verify` does |
//! | `journals.rs` | the journal of a master that ended in order or was killed |

mod journals;
mod outputs;
mod segments;
mod specimen;

use std::collections::BTreeMap;
use std::fs;
use std::panic;

use gristmill_master::runtime::journal::panic_is_contained;
use serde::Serialize;

use self::specimen::{Reading, Specimen};
use crate::random::Random;

/// Of a hundred damages, those that are one flipped bit; as many as that again are a cut, and the rest
/// several flipped bits.
const ONE_BIT_PERCENT: u64 = 60;
const CUT_PERCENT: u64 = 20;

/// Of a hundred damaged files, those that are journals: one that is opened is synced several times.
const JOURNAL_PERCENT: u64 = 5;

/// The most bits flipped at once.
const MOST_BITS: u64 = 8;

/// What became of one kind of file.
#[derive(Debug, Default, Serialize)]
pub struct DamageCount {
    /// Times it was damaged.
    pub damaged: u64,
    /// Times the damage was refused, by name.
    pub refused: u64,
    /// Times that what was read was all that was written.
    pub harmless: u64,
}

/// What came of all damage.
#[derive(Debug, Serialize)]
pub struct DamageVerdict {
    /// The seed.
    pub seed: u64,
    /// By kind of file.
    pub files: BTreeMap<&'static str, DamageCount>,
    /// Damage that gave a wrong answer, or a refusal without the file's name.
    pub wrong: Vec<String>,
}

impl DamageVerdict {
    /// Whether no answer was wrong.
    pub fn is_clean(&self) -> bool {
        self.wrong.is_empty() && self.files.values().all(|count| count.damaged > 0)
    }
}

/// Damages files `times` times.
///
/// # Panics
///
/// If the files cannot be made, or read undamaged.
pub fn damage(times: u64, seed: u64) -> DamageVerdict {
    silence_contained_panics();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut random = Random::new(seed);
    let mut specimens = segments::specimens(dir.path(), &mut random);
    specimens.extend(outputs::specimens(dir.path()));
    let mut journals = journals::specimens(dir.path());
    let mut verdict = DamageVerdict { seed, files: BTreeMap::new(), wrong: Vec::new() };
    for specimen in specimens.iter_mut().chain(&mut journals) {
        let whole = specimen.read();
        assert!(matches!(whole, Reading::Same), "{}, undamaged: {whole:?}", specimen.kind());
    }
    for _ in 0..times {
        let among = if random.chance(JOURNAL_PERCENT) { &mut journals } else { &mut specimens };
        let at = random.within(0, among.len() as u64) as usize;
        try_one(&mut *among[at], &mut random, &mut verdict);
    }
    verdict
}

/// Panics that the journal contains on a damaged file are told as damage, as in the program.
fn silence_contained_panics() {
    gristmill_worker::engine::install_panic_hook();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !panic_is_contained() {
            before(info);
        }
    }));
}

/// Damages a file, has it read and puts it back.
fn try_one(specimen: &mut dyn Specimen, random: &mut Random, verdict: &mut DamageVerdict) {
    let path = specimen.file().to_owned();
    let whole = fs::read(&path).expect("a scratch file");
    let (damaged, what) = damaged(&whole, random);
    fs::write(&path, &damaged).expect("a scratch file");
    let reading = specimen.read();
    fs::write(&path, &whole).expect("a scratch file");
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let count = verdict.files.entry(specimen.kind()).or_default();
    count.damaged += 1;
    let wrong = match reading {
        Reading::Same => {
            count.harmless += 1;
            return;
        }
        Reading::Refused(text) if specimen.names(&text) => {
            count.refused += 1;
            return;
        }
        Reading::Refused(text) => format!("refused without its name: {text}"),
        Reading::Wrong => "a wrong answer".to_owned(),
    };
    verdict.wrong.push(format!("{} {name}, {what}: {wrong}", specimen.kind()));
}

/// Other bytes than `whole`, and what was done to them.
fn damaged(whole: &[u8], random: &mut Random) -> (Vec<u8>, String) {
    let mut bytes = whole.to_vec();
    let draw = random.within(0, 100);
    if draw < CUT_PERCENT {
        bytes.truncate(random.within(0, whole.len() as u64) as usize);
        let what = format!("cut to {} of {} bytes", bytes.len(), whole.len());
        return (bytes, what);
    }
    let bits = if draw < CUT_PERCENT + ONE_BIT_PERCENT { 1 } else { random.within(2, MOST_BITS + 1) };
    let mut flipped = Vec::new();
    for _ in 0..bits {
        let (at, bit) = (random.within(0, whole.len() as u64) as usize, random.within(0, 8));
        // A bit that is flipped twice would be none.
        if !flipped.contains(&(at, bit)) {
            bytes[at] ^= 1 << bit;
            flipped.push((at, bit));
        }
    }
    (bytes, format!("(byte, bit) flipped: {flipped:?}"))
}
