//! Jobs that are more than a map and a reduce: secondary sort, state of an attempt, values kept, files.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// Groups words by their first two letters, in the order of their lengths; reads each group twice; counts
/// words in the attempt's own state, and groups in that of the reduce.
#[derive(Default)]
struct ByLength {
    words: AtomicU64,
    groups: AtomicU64,
}

impl MapReduce for ByLength {
    type Input = Lines;
    type Key = Pair<[u8], u32>;
    type Value = [u8];
    type Combine = NoCombine;
    type Output = Text<[u8], [u8]>;
    const GROUPING: Grouping = Grouping::Leading(1);

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        assert_eq!(task.reducers(), 3);
        std::fs::write(task.folder()?.join("note"), task.task().to_string())?;
        Ok(Some(Self::default()))
    }

    fn map(&self, line: &[u8], out: &mut impl Emit<Pair<[u8], u32>, [u8]>) -> Result<()> {
        words(line).try_for_each(|word| {
            self.words.fetch_add(1, Ordering::Relaxed);
            out.emit((&word[..word.len().min(2)], word.len() as u32), word)
        })
    }

    fn finish_map(&self, out: &mut impl Emit<Pair<[u8], u32>, [u8]>) -> Result<()> {
        let counted = self.words.load(Ordering::Relaxed);
        out.count("words", counted);
        out.emit((b"~", 0), b"")
    }

    fn reduce(&self, key: (&[u8], u32), values: Values<[u8]>, out: &mut impl Sink<[u8], [u8]>) -> Result<()> {
        self.groups.fetch_add(1, Ordering::Relaxed);
        if key.0 == b"~" {
            return Ok(());
        }
        let mut kept = values.keep()?;
        let (mut bytes, mut last, mut all) = (0, key.1 as usize, Vec::new());
        kept.for_each(|word| {
            bytes += word.len();
            Ok(())
        })?;
        kept.for_each(|word| {
            assert!(last <= word.len(), "in the order of their lengths");
            last = word.len();
            all.extend_from_slice(&word[..word.len().min(5)]);
            Ok(())
        })?;
        all.extend_from_slice(format!(" {} {bytes}", kept.len()).as_bytes());
        out.put(key.0, &all)
    }

    fn finish_reduce(&self, out: &mut impl Sink<[u8], [u8]>) -> Result<()> {
        out.put(b"groups", self.groups.load(Ordering::Relaxed).to_string().as_bytes())
    }
}

#[test]
fn groups_come_in_the_order_of_the_rest_of_their_keys_however_small_the_memory() {
    let (a, b) = (text(1, 30_000), text(2, 20_000));
    let objects: [(&str, &[u8]); 2] = [("a", &a), ("b", &b)];
    let expect = reference(&objects, 3, |input| input.map_reduce(ByLength::default()));
    assert_eq!(expect.counters.get("words"), 50_000);
    for (attempt_bytes, spills) in [(64 << 20, false), (20 << 10, true)] {
        let mut bench = Bench::new(attempt_bytes, 100_000);
        bench.spec.reducers = Some(3);
        bench.check(IntoAnyJob.map_reduce(ByLength::default()), &objects, &expect);
        assert_eq!(bench.stats.spills > 0, spills, "{attempt_bytes}");
    }
}

/// Drops the words that a file names.
struct Stopping(Vec<String>);

impl MapOnly for Stopping {
    type Input = Utf8Lines;
    type Output = Text<str>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        let words = std::fs::read_to_string(task.file("stop.txt")?)?;
        Ok(Some(Self(words.lines().map(str::to_owned).collect())))
    }

    fn map(&self, line: &str, out: &mut impl Sink<str>) -> Result<()> {
        if self.0.iter().any(|word| word == line) { Ok(()) } else { out.put(line, ()) }
    }

    fn finish_map(&self, out: &mut impl Sink<str>) -> Result<()> {
        out.put("end", ())
    }
}

#[test]
fn attempts_are_set_up_with_the_files_of_their_job() {
    let mut bench = Bench::new(16 << 20, 1 << 20);
    let job = IntoAnyJob.map_only(Stopping(Vec::new()));
    let objects: [(&str, &[u8]); 1] = [("a", b"a\nthe\nb\n")];
    let failure = bench.run(&*job, &objects).expect_err("no file");
    let text = "setup failed: no file named \"stop.txt\" was shipped with the job (--file); there are: none";
    assert_eq!((failure.code, failure.message.as_str()), (FailureCode::UserError, text));
    let path = bench.path("stop");
    fs::write(&path, "the\n").expect("scratch");
    bench.files.insert("stop.txt".to_owned(), path);
    let output = bench.run(&*job, &objects).expect("the job succeeds");
    assert_eq!(output.parts, [b"a\nb\nend\n".to_vec()]);
}
