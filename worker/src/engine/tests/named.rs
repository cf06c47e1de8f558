//! Jobs that write to named outputs.

use std::collections::BTreeMap;

use gristmill_common::part_name::PartName;
use gristmill_common::spec::MIN_ATTEMPT_BYTES;

use super::*;

/// Words by their last letter, those that occur often in the main output; and how many words there were.
struct ByLetter;

impl MapReduce for ByLetter {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = NoCombine;
    type Output = Text<[u8], u64>;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        words(line).try_for_each(|word| out.emit(word, 1))
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        let count = counts.sum();
        if count > 40 {
            return out.put(word, count);
        }
        let last = word[word.len() - 1] as char;
        out.put_to(&format!("last={last}"), word, count)
    }

    fn finish_reduce(&self, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put_to("ends", b"end", 1)
    }

    fn begin_part(&self, part: &mut Vec<u8>) {
        part.extend_from_slice(b"word\tcount\n");
    }
}

#[test]
fn named_outputs_equal_the_reference_however_small_the_memory() {
    let (a, b) = (text(1, 60_000), text(2, 30_000));
    let objects: [(&str, &[u8]); 2] = [("a", &a), ("b", &b)];
    let mut expect = reference(&objects, 3, |input| input.map_reduce(ByLetter));
    expect.counters.add(NAMED_PARTS, expect.named.values().map(|parts| parts.len() as u64).sum());
    assert!(expect.named.len() > 16 && expect.parts.iter().all(|part| part.len() > 100));
    for attempt_bytes in [64 << 20, 1 << 20, 600 << 10] {
        let mut bench = Bench::new(attempt_bytes, 200_000);
        bench.check(IntoAnyJob.map_reduce(ByLetter), &objects, &expect);
        let of_part = |part: &Vec<u8>| part.iter().filter(|&&byte| byte == b'\n').count() as u64 - 1;
        let parts = expect.parts.iter().chain(expect.named.values().flat_map(|parts| parts.values()));
        let maps = 90_000;
        assert_eq!(bench.stats.output_records, maps + parts.map(of_part).sum::<u64>());
    }
}

/// Copies lines to the output that their first word names.
struct Divide;

impl MapOnly for Divide {
    type Input = Utf8Lines;
    type Output = Text<str>;

    fn map(&self, line: &str, out: &mut impl Sink<str>) -> Result<()> {
        let (name, rest) = line.split_once(' ').ok_or_else(|| JobError::new("no name"))?;
        out.put_to(name, rest, ())?;
        // What a record gave before it failed must not count.
        if rest.ends_with("fail") { Err(JobError::new("told to fail")) } else { Ok(()) }
    }
}

#[test]
fn a_thousand_names_fit_into_the_least_memory() {
    let lines: String =
        (0..60_000).map(|n| format!("{}/{} line {n} {}\n", n % 8, n % 1000, "x".repeat(n % 90))).collect();
    let objects: [(&str, &[u8]); 1] = [("a", lines.as_bytes())];
    let mut expect = reference(&objects, 1, |input| input.map_only(Divide));
    assert_eq!(expect.named.len(), 1000);
    expect.counters.add(NAMED_PARTS, 1000);
    for max_bad_records in [0, 1] {
        let mut bench = Bench::new(MIN_ATTEMPT_BYTES.bytes(), 1 << 30);
        bench.spec.max_bad_records = max_bad_records;
        bench.check(IntoAnyJob.map_only(Divide), &objects, &expect);
        assert_eq!(bench.stats.output_records, 60_000);
    }
}

#[test]
fn an_attempt_that_fails_leaves_no_part_of_a_named_output() {
    let lines: String = (0..40_000).map(|n| format!("{} {}\n", n % 30, "x".repeat(50))).collect();
    for end in ["1 and fail\n", "no-name\n", "_x y\n"] {
        let mut bench = Bench::new(1 << 20, 1 << 30);
        let objects = format!("{lines}{end}");
        let failure = bench.run(&*IntoAnyJob.map_only(Divide), &[("a", objects.as_bytes())]).expect_err("it fails");
        assert_eq!(
            (failure.code, failure.position.map(|at| at.offset)),
            (FailureCode::UserError, Some(lines.len() as u64))
        );
        assert_eq!(fs::read_dir(bench.path("staging")).expect("staging").count(), 0);
    }
}

#[test]
fn a_name_that_cannot_be_is_the_record_s_fault() {
    let mut bench = Bench::new(16 << 20, 1 << 20);
    let lines = b"a one\npart-1 two\nb three\n";
    let failure = bench.run(&*IntoAnyJob.map_only(Divide), &[("a", lines)]).expect_err("no such name");
    let rule = "a component begins with _, . or part-, and two outputs could have one path";
    assert_eq!(failure.message, format!("map failed: \"part-1\" cannot be the name of an output: {rule}"));
    assert_eq!((failure.code, failure.position.map(|at| at.offset)), (FailureCode::UserError, Some(6)));

    // Kept aside with the one that fails after its record was put; of both, nothing is left.
    bench.spec.max_bad_records = 2;
    let lines = [lines.as_slice(), b"c and fail\n"].concat();
    let output = bench.run(&*IntoAnyJob.map_only(Divide), &[("a", &lines)]).expect("allowed");
    let named: Vec<(&str, &[u8])> =
        output.named.iter().map(|(name, parts)| (name.as_str(), parts[&0].as_slice())).collect();
    assert_eq!(named, [("a", b"one\n".as_slice()), ("b", b"three\n")]);

    struct Misnamed;
    impl MapReduce for Misnamed {
        type Input = Utf8Lines;
        type Key = str;
        type Value = ();
        type Combine = NoCombine;
        type Output = Text<str>;

        fn map(&self, line: &str, out: &mut impl Emit<str, ()>) -> Result<()> {
            out.emit(line, ())
        }

        fn reduce(&self, line: &str, _: Values<()>, out: &mut impl Sink<str>) -> Result<()> {
            // User code may answer such an error by itself.
            if line == "x//" {
                out.put_to(line, line, ()).or_else(|_| out.put(line, ()))
            } else {
                out.put_to(line, line, ())
            }
        }
    }
    let mut bench = Bench::new(16 << 20, 1 << 20);
    let output = bench.run(&*IntoAnyJob.map_reduce(Misnamed), &[("a", b"x//\n")]).expect("answered");
    assert_eq!((output.parts.concat(), output.named.len()), (b"x//\n".to_vec(), 0));
    let failure = bench.run(&*IntoAnyJob.map_reduce(Misnamed), &[("a", b"a//\n")]).expect_err("no such name");
    let rule = "a component is empty (components are separated by one /)";
    assert_eq!(
        failure.message,
        format!("reduce failed for key \"a//\": \"a//\" cannot be the name of an output: {rule}")
    );
}

#[test]
fn too_many_names_are_the_attempt_s_fault_whatever_is_allowed() {
    let lines: String = (0..70).map(|n| format!("{n} x\n")).collect();
    for max_bad_records in [0, 100] {
        let mut bench = Bench::new(1 << 20, 1 << 20);
        bench.spec.max_bad_records = max_bad_records;
        let failure = bench.run(&*IntoAnyJob.map_only(Divide), &[("a", lines.as_bytes())]).expect_err("too many");
        assert!(failure.message.contains("cannot write to more than 64 named outputs"), "{failure}");
        assert_eq!(failure.position.map(|at| at.offset), Some(lines.find("64 x").expect("a line") as u64));
        assert_eq!(fs::read_dir(bench.path("staging")).expect("staging").count(), 0);
    }
}

/// What an output's parts hold together, by output and task: of each part what `content` makes of it. Also checks
/// that they are as large as they should be.
fn joined(output: &ReferenceOutput, part_bytes: usize) -> BTreeMap<(Option<String>, u32), Vec<u8>> {
    const HEADER: &[u8] = b"word\tcount\n";
    let mut whole: BTreeMap<(Option<String>, u32), Vec<u8>> = BTreeMap::new();
    let first = (0..).zip(&output.parts).map(|(index, part)| ((None, index), 0, part));
    let others = output.named.iter().flat_map(|(name, parts)| {
        let name: PartName = name.parse().expect("a name");
        let place = move |index| ((name.output().map(str::to_owned), index), name.number());
        parts
            .iter()
            .map(move |(index, part)| (place(*index), part))
            .map(|((place, number), part)| (place, number, part))
    });
    let mut all: Vec<_> = first.chain(others).collect();
    all.sort_unstable_by_key(|(place, number, _)| (place.clone(), *number));
    for (at, (place, number, part)) in all.iter().enumerate() {
        let is_last = all.get(at + 1).is_none_or(|(next, ..)| next != place);
        assert!(is_last || part.len() >= part_bytes, "{place:?} {number}: {} bytes", part.len());
        assert!(part.len() < part_bytes + 6000, "{place:?} {number}: {} bytes", part.len());
        let records = part.strip_prefix(HEADER).expect("every part has a header");
        assert!(*number == 0 || (!records.is_empty() && records.ends_with(b"\n")), "{place:?} {number}");
        whole.entry(place.clone()).or_insert_with(|| HEADER.to_vec()).extend_from_slice(records);
    }
    whole
}

#[test]
fn parts_of_a_size_hold_together_what_one_part_does() {
    let (a, b) = (text(1, 60_000), text(2, 30_000));
    let objects: [(&str, &[u8]); 2] = [("a", &a), ("b", &b)];
    for attempt_bytes in [64 << 20, 600 << 10] {
        let mut bench = Bench::new(attempt_bytes, 200_000);
        let job = IntoAnyJob.map_reduce(ByLetter);
        let expect = joined(&bench.run(&*job, &objects).expect("it runs"), usize::MAX - 6000);
        bench.spec.part_size = Some(ByteSize(2000));
        let seen = bench.run(&*job, &objects).expect("it runs");
        let others: usize = seen.named.values().map(|parts| parts.len()).sum();
        assert!(others > expect.len(), "there are further parts");
        assert!(seen.named.keys().any(|name| name.ends_with("/part-2")), "{:?}", seen.named.keys());
        assert!(joined(&seen, 2000) == expect);
    }
}
