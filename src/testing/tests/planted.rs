//! Classic mistakes, a job each, and the law by which each is found.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use gristmill_common::codec::EncodeError;
use gristmill_common::key::{KeyArena, KeyError};
use gristmill_common::prelude::*;
use gristmill_common::time::Clock;
use serde::{Deserialize, Serialize};

use super::TEXT;
use crate::testing::{Law, Laws, Sample};

/// A job over words by their first letter, with whatever else is said.
macro_rules! words_job {
    ($(#[$doc:meta])* $name:ident($state:ty): $value:ty, $combine:ty;
     |$job:ident, $word:ident| $emit:expr; |$values:ident| $text:expr; $($more:tt)*) => {
        $(#[$doc])*
        #[derive(Default)]
        struct $name($state);

        impl MapReduce for $name {
            type Input = Utf8Lines;
            type Key = str;
            type Value = $value;
            type Combine = $combine;
            type Output = Text<str, String>;

            fn map(&self, line: &str, out: &mut impl Emit<str, $value>) -> Result<()> {
                let $job = self;
                let _ = &$job.0;
                line.split_whitespace().try_for_each(|$word| out.emit(&$word[..1], $emit))
            }

            #[allow(unused_mut, reason = "not every job reads its values one by one")]
            fn reduce(&self, letter: &str, mut $values: Values<$value>, out: &mut impl Sink<str, String>) -> Result<()> {
                out.put(letter, $text)
            }

            $($more)*
        }
    };
}

/// A combiner over numbers, given by what it does with the next one.
macro_rules! combiner {
    ($name:ident: $value:ty, |$acc:ident, $next:ident| $fold:expr) => {
        struct $name;

        impl Combine<$value> for $name {
            type Acc = $value;

            fn start(value: $value) -> $value {
                value
            }

            fn fold($acc: &mut $value, $next: $value) -> Result<(), FoldError> {
                *$acc = $fold;
                Ok(())
            }

            fn encode(acc: &$value, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                <$value as Value>::encode(acc, out)
            }
        }
    };
}

/// A job without a mistake.
pub(super) struct Sound;

impl MapReduce for Sound {
    type Input = Lines;
    type Key = Pair<[u8], u32>;
    type Value = [u8];
    type Combine = NoCombine;
    type Output = Text<[u8], [u8]>;
    const GROUPING: Grouping = Grouping::Leading(1);

    fn map(&self, line: &[u8], out: &mut impl Emit<Pair<[u8], u32>, [u8]>) -> Result<()> {
        words(line).try_for_each(|word| out.emit((&word[..1], word.len() as u32), word))
    }

    fn reduce(
        &self,
        (letter, _): (&[u8], u32),
        mut words: Values<[u8]>,
        out: &mut impl Sink<[u8], [u8]>,
    ) -> Result<()> {
        let mut all = Vec::new();
        while let Some(word) = words.next_ref() {
            all.extend_from_slice(word);
        }
        out.put(letter, &all)
    }
}

combiner!(MeanOfMeans: u64, |acc, next| (*acc + next) / 2);
words_job! {
    /// The mean of means is no mean.
    Mean(()): u64, MeanOfMeans; |_job, word| word.len() as u64; |values| format!("{:?}", values.last());
}

combiner!(CountOne: u64, |acc, next| *acc + next.min(1));
words_job! {
    /// Folds what was counted as if it were one.
    CountAgain(()): u64, CountOne; |_job, _word| 1; |values| values.sum().to_string();
}

words_job! {
    /// Counts the values that the combiner left.
    CountLeft(()): u64, Sum; |_job, _word| 1; |values| values.count().to_string();
}

combiner!(FloatSum: f64, |acc, next| *acc + next);
words_job! {
    /// Sums of floats depend on the order in which they are made, and the combiner says that they do not.
    Floats(()): f64, FloatSum; |_job, word| 0.1 * word.len() as f64; |values| values.sum().to_string();
}

words_job! {
    /// The first word, and it claims that any order will do.
    FirstWord(()): String, NoCombine; |_job, word| word.to_owned(); |values| format!("{:?}", values.next());
}

words_job! {
    /// Keys go from task to task in turn.
    InTurn(AtomicU32): u64, Sum; |_job, _word| 1; |values| values.sum().to_string();

    fn partition(&self, _key: EncodedKey<'_>, partitions: u32) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) % partitions
    }
}

words_job! {
    /// One task too many.
    Beyond(()): u64, Sum; |_job, _word| 1; |values| values.sum().to_string();

    fn partition(&self, key: EncodedKey<'_>, partitions: u32) -> u32 {
        u32::from(key.bytes()[0]) % (partitions + 1)
    }
}

/// Groups by letter, and divides by letter and length.
struct BesideTheGroup;

impl MapReduce for BesideTheGroup {
    type Input = Lines;
    type Key = Pair<[u8], u32>;
    type Value = ();
    type Combine = NoCombine;
    type Output = Text<[u8], u64>;
    const GROUPING: Grouping = Grouping::Leading(1);

    fn map(&self, line: &[u8], out: &mut impl Emit<Pair<[u8], u32>, ()>) -> Result<()> {
        words(line).try_for_each(|word| out.emit((&word[..1], word.len() as u32), ()))
    }

    fn reduce(&self, (letter, _): (&[u8], u32), all: Values<()>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(letter, all.count())
    }

    fn partition(&self, key: EncodedKey<'_>, partitions: u32) -> u32 {
        key.bytes().iter().map(|byte| u32::from(*byte)).sum::<u32>() % partitions
    }
}

/// A word whose length does not travel.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Forgetful {
    word: String,
    #[serde(skip)]
    length: usize,
}

words_job! {
    /// A field that is skipped is its default in the reduce.
    Skipped(()): Forgetful, NoCombine;
    |_job, word| Forgetful { word: word.to_owned(), length: word.len() };
    |values| values.map(|value| value.length + value.word.len()).sum::<usize>().to_string();
}

/// Encoded with its last byte first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct LittleEnd(u32);

impl Key for LittleEnd {
    fn encode_part(key: &LittleEnd, out: &mut Vec<u8>) {
        out.extend_from_slice(&key.0.to_le_bytes());
    }

    fn decode_part<'a>(input: &mut &'a [u8], _arena: &'a KeyArena) -> Result<LittleEnd, KeyError> {
        let (bytes, rest) = input.split_first_chunk().expect("four bytes");
        *input = rest;
        Ok(LittleEnd(u32::from_le_bytes(*bytes)))
    }
}

/// Keys that are not in the order of their numbers.
struct ByLength;

impl MapReduce for ByLength {
    type Input = Lines;
    type Key = LittleEnd;
    type Value = u64;
    type Combine = Sum;
    type Output = Text<u32, u64>;

    fn map(&self, line: &[u8], out: &mut impl Emit<LittleEnd, u64>) -> Result<()> {
        out.emit(LittleEnd(line.len() as u32 * 100), 1)
    }

    fn reduce(&self, length: LittleEnd, lines: Values<u64>, out: &mut impl Sink<u32, u64>) -> Result<()> {
        out.put(length.0, lines.sum())
    }
}

words_job! {
    /// Writes words in the order of a `HashMap`.
    Hashed(()): String, NoCombine; |_job, word| word.to_owned();
    |values| values.map(|word| (word, ())).collect::<HashMap<_, _>>().into_keys().collect::<Vec<_>>().join(",");
}

words_job! {
    /// Reads a clock.
    Clocked(()): u64, Max; |_job, _word| Clock::start().wall().unix_millis / 1000; |values| format!("{:?}", values.max());
}

words_job! {
    /// Draws random numbers.
    Drawn(()): u64, Max; |_job, _word| RandomState::new().build_hasher().finish(); |values| format!("{:?}", values.max());
}

words_job! {
    /// Numbers words, and goes on where the last attempt ended.
    GoesOn(AtomicU64): u64, Max; |job, _word| job.0.fetch_add(1, Ordering::Relaxed); |values| format!("{:?}", values.max());
}

words_job! {
    /// Numbers the words of a split.
    OfSplit(AtomicU64): u64, Max; |job, _word| job.0.fetch_add(1, Ordering::Relaxed); |values| format!("{:?}", values.max());

    fn setup(&self, _task: &TaskContext<'_>) -> Result<Option<Self>> {
        Ok(Some(Self::default()))
    }
}

words_job! {
    /// Puts the number of the attempt into the output.
    OfAttempt(u32): u32, Max; |job, _word| job.0; |values| format!("{:?}", values.max());

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        Ok(Some(Self(task.attempt().number)))
    }
}

words_job! {
    /// Fails on one record.
    Fails(()): u64, Sum; |_job, word| if word == "sea" { return Err(JobError::new("a sea")) } else { 1 };
    |values| values.sum().to_string();
}

#[test]
fn each_planted_mistake_is_found_by_its_law_on_a_small_sample() {
    macro_rules! rows {
        ($($law:ident: $job:expr $(, $claim:ident)?;)*) => {
            [$((Law::$law, crate::check_job!(@laws $job)$(.$claim())?)),*]
        };
    }
    let rows: [(Law, Laws<'_>); 17] = rows! {
        CombineCommutes: Mean::default();
        CombineAssociates: CountAgain::default();
        CombineChangesNothing: CountLeft::default();
        CombineCommutes: Floats::default();
        ReduceTakesAnyOrder: FirstWord::default(), in_any_order;
        PartitionIsAFunction: InTurn::default();
        PartitionIsAFunction: Beyond::default();
        PartitionIsAFunction: BesideTheGroup;
        ValuesComeBack: Skipped::default();
        KeysKeepTheirOrder: ByLength;
        ReduceRepeats: Hashed::default();
        TimeDoesNotShow: Clocked::default();
        MapRepeats: Drawn::default();
        MapKeepsNothing: GoesOn::default();
        SplitsDoNotShow: OfSplit::default();
        MapRepeats: OfAttempt::default();
        Runs: Fails::default();
    };
    let mut laws = HashSet::new();
    for (law, job) in rows {
        let broken = job.check(TEXT).expect_err("a mistake is planted");
        // A clock may be seen at once, if it moves on between two runs.
        let is_it = broken.law == law || law == Law::TimeDoesNotShow && broken.law == Law::MapRepeats;
        assert!(is_it, "{law:?}: {broken}");
        let lines: usize =
            broken.sample.of_role(0).map(|object| object.bytes().split(|&b| b == b'\n').count() - 1).sum();
        let most = if law == Law::TimeDoesNotShow { usize::MAX } else { 3 };
        assert!((1..=most).contains(&lines), "{broken}");
        laws.insert(format!("{law:?}"));
    }
    assert!(laws.len() >= 11, "{laws:?}");
}

#[test]
fn a_report_names_law_job_and_sample() {
    let broken = crate::check_job!(@laws CountLeft::default()).check(Sample::from("a b\nc\na\n")).expect_err("planted");
    assert_eq!(
        broken.to_string(),
        "CountLeft breaks a law of jobs: the combiner changes the result\n  \
         without the combiner reduce gives \"a\\t2\\n\", with it \"a\\t1\\n\"\n\
         on the sample\n  input: \"a b\\na\\n\""
    );
}
