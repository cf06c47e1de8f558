//! Records that `map` fails on, in jobs that allow some: they are kept aside, and nothing else of the
//! output changes.

use std::collections::BTreeMap;

use gristmill_common::counters::BAD_RECORDS;
use serde_json::Value as Json;

use super::*;

/// Emits a line's words, counts the line, and then fails in the way that the line's last word says.
struct Faulty;

fn fail(line: &str) -> Result<()> {
    match line.rsplit(' ').next() {
        Some("error") => Err(JobError::new("told to fail")),
        Some("panic") => panic!("told to panic"),
        Some("broken") => Err(Failure::new(FailureCode::InputUnreadable, "cannot read a side input").into()),
        _ => Ok(()),
    }
}

impl MapReduce for Faulty {
    type Input = Utf8Lines;
    type Key = str;
    type Value = u64;
    type Combine = Sum;
    type Output = Text<str, u64>;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        out.count("lines", 1);
        line.split(' ').try_for_each(|word| out.emit(word, 1))?;
        fail(line)
    }

    fn reduce(&self, word: &str, counts: Values<u64>, out: &mut impl Sink<str, u64>) -> Result<()> {
        out.put(word, counts.sum())
    }
}

/// Writes each line, counts it, and then fails likewise.
struct FaultyCopy;

impl MapOnly for FaultyCopy {
    type Input = Utf8Lines;
    type Output = Text<str>;

    fn map(&self, line: &str, out: &mut impl Sink<str>) -> Result<()> {
        out.count("lines", 1);
        out.put(line, ())?;
        fail(line)
    }
}

/// The letters that a run staged: what was skipped, by offset.
fn letters(bench: &Bench) -> BTreeMap<u64, Json> {
    let staged = fs::read_dir(bench.path("staging")).expect("staging").map(|entry| entry.expect("staging").path());
    let files = staged.filter(|path| path.to_string_lossy().contains(".jsonl."));
    let text: String = files.map(|path| fs::read_to_string(path).expect("text")).collect();
    let letter = |line: &str| -> Json { serde_json::from_str(line).expect("a line of JSON") };
    text.lines().map(|line| (letter(line)["offset"].as_u64().expect("a number"), letter(line))).collect()
}

#[test]
fn an_allowance_changes_no_output_of_good_records() {
    let text = text(11, 20_000);
    let objects = [("a", text.as_slice()), ("b", b"".as_slice()), ("c", b"last line without an end".as_slice())];
    for (attempt_bytes, split_size) in [(1 << 20, 10_000), (64 << 20, 1 << 20)] {
        let new = || {
            let mut bench = Bench::new(attempt_bytes, split_size);
            bench.spec.max_bad_records = 3;
            bench
        };
        let expect = reference(&objects, 3, |input| input.map_reduce(WordCount));
        new().check(IntoAnyJob.map_reduce(WordCount), &objects, &expect);
        let expect = reference(&objects, 3, |input| input.map_reduce(Concat));
        new().check(IntoAnyJob.map_reduce(Concat), &objects, &expect);
        let mut bench = new();
        let output = bench.run(&*IntoAnyJob.map_only(Copy), &objects).expect("it succeeds");
        let expect = reference(&objects, 3, |input| input.map_only(Copy));
        assert_eq!((output.parts.concat(), output.counters), (expect.parts.concat(), expect.counters));
        assert_eq!(letters(&bench).len(), 0);
    }
}

#[test]
fn bad_records_are_kept_aside_and_leave_nothing_in_the_output() {
    super::super::install_panic_hook();
    let lines: [&[u8]; 6] = [b"a b\n", b"b error\n", b"c a\r\n", b"a panic\n", b"\xff\n", b"c crash\n"];
    let good = [lines[0], lines[2]];
    let offsets = [4, 17, 25, 27];
    for split_size in [1, 10, 1000] {
        let mut bench = Bench::new(64 << 20, split_size);
        bench.spec.max_bad_records = 4;
        let object = Uri::from_path(&bench.path("in").join("a")).to_string();
        bench.skip.push(InputPosition { object: object.clone(), offset: 27 });
        let mut expect = reference(&[("a", &good.concat())], 3, |input| input.map_reduce(Faulty));
        expect.counters.add(BAD_RECORDS, 4);
        bench.check(IntoAnyJob.map_reduce(Faulty), &[("a", &lines.concat())], &expect);

        let letters = letters(&bench);
        assert_eq!(letters.keys().copied().collect::<Vec<_>>(), offsets);
        let shown = offsets.map(|at| {
            let letter = &letters[&at];
            assert_eq!(letter["object"], object);
            let text = |field: &str| letter[field].as_str().expect(field).to_owned();
            let message = text("message").split(" (worker").next().expect("a part").to_owned();
            (text("code"), message, text("record"))
        });
        let row = |code: &str, message: &str, record: &str| (code.to_owned(), message.to_owned(), record.to_owned());
        let passed_over = "passed over: user code ended its process, or came to no end, on this record before";
        let not_text = "cannot read a record: not UTF-8: invalid utf-8 sequence of 1 bytes from index 0";
        let expect = [
            row("USER_ERROR", "map failed: told to fail", "b error"),
            row("USER_PANIC", "user code panicked: told to panic", "a panic"),
            row("BAD_RECORD", not_text, "\u{fffd}"),
            row("EXECUTOR_CRASH", passed_over, "c crash"),
        ];
        assert_eq!(shown, expect);
        assert_eq!(letters[&25]["hex"], "ff");
    }
    let mut bench = Bench::new(64 << 20, 1000);
    bench.spec.max_bad_records = 3;
    let output = bench.run(&*IntoAnyJob.map_only(FaultyCopy), &[("a", &lines[..5].concat())]).expect("allowed");
    assert_eq!(output.parts, [b"a b\nc a\n"]);
    assert_eq!((output.counters.get("lines"), output.counters.get(BAD_RECORDS)), (2, 3));
}

#[test]
fn one_bad_record_too_many_fails_by_its_own_error() {
    let check = |allowed: u64, text: &[u8], code: FailureCode, message: &str, offset: u64| {
        let mut bench = Bench::new(64 << 20, 1000);
        bench.spec.max_bad_records = allowed;
        let object = Uri::from_path(&bench.path("in").join("a")).to_string();
        bench.skip.push(InputPosition { object: object.clone(), offset: 1000 });
        for job in [IntoAnyJob.map_reduce(Faulty), IntoAnyJob.map_only(FaultyCopy)] {
            let failure = bench.run(&*job, &[("a", text)]).expect_err("too many");
            assert_eq!((failure.code, failure.message.as_str()), (code, message));
            assert_eq!(failure.position, Some(InputPosition { object: object.clone(), offset }));
            assert_eq!(fs::read_dir(bench.path("staging")).expect("staging").count(), 0);
        }
    };
    check(1, b"x error\na\ny error\n", FailureCode::UserError, "map failed: told to fail", 10);
    // Not the record's fault: no allowance covers it.
    check(9, b"a\nx broken\n", FailureCode::InputUnreadable, "cannot read a side input", 2);
}

#[test]
fn what_one_record_gives_is_held_back_within_bounds() {
    let mut bench = Bench::new(1 << 20, 1 << 20);
    bench.spec.max_bad_records = 1;
    let line = "many words ".repeat(40_000);
    let failure = bench.run(&*IntoAnyJob.map_reduce(Faulty), &[("a", line.as_bytes())]).expect_err("too much");
    assert_eq!(failure.code, FailureCode::RecordTooLarge, "{failure}");
}
