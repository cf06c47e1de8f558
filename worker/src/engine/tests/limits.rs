//! Records, keys and values as large as an attempt takes, and one byte more; and the values of a key that
//! are many times its memory.

use gristmill_common::spec::MIN_ATTEMPT_BYTES;

use super::*;

/// The limit under the least memory.
const MOST: usize = (MIN_ATTEMPT_BYTES.bytes() / 4) as usize;

/// Emits, for a line of two numbers, a key and a value of so many bytes; tells how many bytes a key's values
/// have in all.
struct Sized;

fn sizes(line: &str) -> Result<(usize, usize)> {
    let (key, value) = line.split_once(' ').ok_or_else(|| JobError::new("not two numbers"))?;
    Ok((key.parse()?, value.parse()?))
}

impl MapReduce for Sized {
    type Input = Utf8Lines;
    type Key = [u8];
    type Value = [u8];
    type Combine = NoCombine;
    type Output = Text<u64, u64>;

    fn map(&self, line: &str, out: &mut impl Emit<[u8], [u8]>) -> Result<()> {
        let (key, value) = sizes(line)?;
        out.emit(&vec![b'k'; key], &vec![b'v'; value])
    }

    fn reduce(&self, key: &[u8], values: Values<[u8]>, out: &mut impl Sink<u64, u64>) -> Result<()> {
        let mut bytes = 0;
        values.try_for_each(|value| {
            bytes += value.len() as u64;
            Ok(())
        })?;
        out.put(key.len() as u64, bytes)
    }
}

/// The same, with the values of a key joined by a combiner.
struct Joined;

/// Joins texts.
enum Join {}

impl Combine<str> for Join {
    type Acc = String;

    fn start(value: &str) -> String {
        value.to_owned()
    }

    fn fold(acc: &mut String, value: &str) -> Result<(), FoldError> {
        acc.push_str(value);
        Ok(())
    }

    fn encode(acc: &String, out: &mut Vec<u8>) -> Result<(), gristmill_common::codec::EncodeError> {
        <str as Value>::encode(&acc.as_str(), out)
    }

    fn heap_bytes(acc: &String) -> usize {
        acc.capacity()
    }
}

impl MapReduce for Joined {
    type Input = Utf8Lines;
    type Key = [u8];
    type Value = str;
    type Combine = Join;
    type Output = Text<u64, u64>;

    fn map(&self, line: &str, out: &mut impl Emit<[u8], str>) -> Result<()> {
        let (key, value) = sizes(line)?;
        out.emit(&vec![b'k'; key], &"v".repeat(value))
    }

    fn reduce(&self, key: &[u8], values: Values<str>, out: &mut impl Sink<u64, u64>) -> Result<()> {
        let mut bytes = 0;
        values.try_for_each(|value| {
            bytes += value.len() as u64;
            Ok(())
        })?;
        out.put(key.len() as u64, bytes)
    }
}

fn run(job: Arc<dyn AnyJob>, text: &[u8], split_size: u64) -> Result<Vec<u8>, Failure> {
    let mut bench = Bench::new(MIN_ATTEMPT_BYTES.bytes(), split_size);
    bench.partitions = 1;
    bench.run(&*job, &[("a", text)]).map(|output| output.parts.concat())
}

#[test]
fn pairs_of_the_limit_pass_map_and_reduce_and_one_byte_more_is_refused_by_record() {
    for job in [IntoAnyJob.map_reduce(Sized), IntoAnyJob.map_reduce(Joined)] {
        for (key, value) in [(MOST, 0), (0, MOST), (MOST / 2, MOST / 2)] {
            let line = format!("{key} {value}\n");
            let output = run(Arc::clone(&job), line.as_bytes(), 1 << 20).expect("it fits");
            assert_eq!(String::from_utf8_lossy(&output), format!("{key}\t{value}\n"));
        }
    }
    for (key, value) in [(MOST + 1, 0), (0, MOST + 1), (MOST / 2, MOST / 2 + 1)] {
        let lines = format!("1 1\n{key} {value}\n");
        let failure = run(IntoAnyJob.map_reduce(Sized), lines.as_bytes(), 1 << 20).expect_err("too large");
        let message = "an emitted pair of key and value takes 4194305 bytes and the limit is 4194304 (4.00 MiB), \
                       a quarter of an attempt's memory (raise --memory)";
        assert_eq!((failure.code, failure.message.as_str()), (FailureCode::RecordTooLarge, message));
        assert_eq!(failure.position.map(|at| at.offset), Some(4));

        let failure = run(IntoAnyJob.map_reduce(Joined), lines.as_bytes(), 1 << 20).expect_err("too large");
        assert_eq!(failure.code, FailureCode::RecordTooLarge);
        let is_named =
            |what: &str| failure.message.starts_with(&format!("{what} takes 4194305 bytes and the limit is"));
        let shown = if key == 0 { String::new() } else { format!("{}…", "k".repeat(60)) };
        assert!(is_named("an emitted key") || is_named(&format!("the folded pair of key \"{shown}\"")), "{failure}");
    }
}

#[test]
fn many_pairs_of_the_limit_are_merged_one_by_one_and_folded_as_far_as_they_fit() {
    // A map task for each line.
    let value = MOST - 1;
    let lines = format!("1 {value}\n").repeat(7);
    let output = run(IntoAnyJob.map_reduce(Sized), lines.as_bytes(), 1).expect("each fits");
    assert_eq!(String::from_utf8_lossy(&output), format!("1\t{}\n", 7 * value));
    let quarter = format!("1 {}\n", MOST / 4 - 1);
    let output = run(IntoAnyJob.map_reduce(Joined), quarter.repeat(4).as_bytes(), 1).expect("they fit together");
    assert_eq!(String::from_utf8_lossy(&output), format!("1\t{}\n", MOST - 4));
    for split_size in [1, 1 << 20] {
        let failure =
            run(IntoAnyJob.map_reduce(Joined), quarter.repeat(5).as_bytes(), split_size).expect_err("too much");
        assert_eq!(failure.code, FailureCode::RecordTooLarge);
        assert!(failure.message.starts_with("the folded pair of key \"k\" takes "), "{failure}");
    }
    let failure = run(IntoAnyJob.map_reduce(Joined), quarter.repeat(40).as_bytes(), 1).expect_err("far too much");
    assert!(failure.message.starts_with("the folded pair of key \"k\" takes "), "{failure}");
}

#[test]
fn records_of_the_limit_are_read_and_one_byte_more_is_refused_wherever_it_lies() {
    let rules = [
        (LineRule::Lf, "\n"),
        (LineRule::Lf, "\r\n"),
        (LineRule::Any, "\r"),
        (LineRule::Delimiter("--".parse().expect("valid")), "--"),
    ];
    for (rule, ending) in rules {
        for (before, behind) in [(0, ""), (3, "next"), (300_000, "next")] {
            let head = if before == 0 { String::new() } else { format!("{}{ending}", "b".repeat(before)) };
            for (size, fits) in [(MOST, true), (MOST + 1, false)] {
                for end in [ending, ""] {
                    let text = format!("{head}{}{end}{}", "x".repeat(size), if end.is_empty() { "" } else { behind });
                    let mut bench = Bench::new(MIN_ATTEMPT_BYTES.bytes(), 1 << 20);
                    bench.spec.line_rule = rule.clone();
                    let result = bench.run(&*IntoAnyJob.map_only(Copy), &[("a", text.as_bytes())]);
                    let case = format!("{rule} {ending:?} {before} {size} {end:?}");
                    match result {
                        Ok(output) => {
                            assert!(fits, "{case}");
                            assert!(output.parts.concat().len() >= before + size, "{case}");
                        }
                        Err(failure) => {
                            assert!(!fits, "{case}: {failure}");
                            assert_eq!(
                                failure.position.as_ref().map(|at| at.offset),
                                Some(head.len() as u64),
                                "{case}"
                            );
                            let exact = failure.message.starts_with("a record takes 4194305 bytes ");
                            let read = failure.message.starts_with("a record, as far as it was read, takes ");
                            assert!(exact || read, "{case}: {failure}");
                        }
                    }
                }
            }
        }
    }
}

/// Reads the values of each key twice, or as they come.
struct Heavy {
    keeps: bool,
}

impl MapReduce for Heavy {
    type Input = Lines;
    type Key = u64;
    type Value = [u8];
    type Combine = NoCombine;
    type Output = Text<u64, u64>;

    fn map(&self, line: &[u8], out: &mut impl Emit<u64, [u8]>) -> Result<()> {
        out.emit(u64::from(line.first() == Some(&b'!')), line)
    }

    fn reduce(&self, key: u64, values: Values<[u8]>, out: &mut impl Sink<u64, u64>) -> Result<()> {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        let mut add = |value: &[u8]| {
            hash.update(value);
            Ok(())
        };
        if self.keeps {
            let mut kept = values.keep()?;
            kept.for_each(&mut add)?;
            kept.for_each(&mut add)?;
        } else {
            values.try_for_each(add)?;
        }
        out.put(key, hash.digest())
    }
}

#[test]
fn values_of_one_key_may_be_ten_times_the_memory() {
    let lines = text(5, 2_400_000);
    let attempt_bytes = 1 << 20;
    assert!(lines.len() > 10 * attempt_bytes);
    let objects: [(&str, &[u8]); 2] = [("a", &lines), ("b", b"!one\n")];
    for keeps in [false, true] {
        let expect = reference(&objects, 3, |input| input.map_reduce(Heavy { keeps }));
        let mut bench = Bench::new(attempt_bytes as u64, 4 << 20);
        bench.check(IntoAnyJob.map_reduce(Heavy { keeps }), &objects, &expect);
        assert!(bench.stats.spills > 0);
    }
}

#[test]
fn many_spills_of_large_records_are_merged_a_few_at_a_time() {
    // Of runs with such blocks two at most fit into the memory that a full buffer leaves.
    let mut bench = Bench::new(64 << 10, 1 << 30);
    let lines = "1 4000\n".repeat(2000);
    let parts = bench.run(&*IntoAnyJob.map_reduce(Sized), &[("a", lines.as_bytes())]).expect("the job succeeds").parts;
    assert_eq!(parts.concat(), b"1\t8000000\n");
    let AttemptStats { spills, merge_passes, .. } = bench.stats;
    assert!(spills >= 128 && merge_passes >= 32 * (spills / 64), "{spills} spills, {merge_passes} merges");
}
