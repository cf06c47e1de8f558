//! Whole jobs over compressed objects and into compressed parts, and objects that are damaged.

use gristmill_common::compression::Encoder;
use gristmill_common::content::read_content;
use gristmill_common::counters::BAD_FILES;
use gristmill_common::form::{Codec, Form};
use gristmill_common::spec::OnBadFile;
use serde_json::Value as Json;

use super::*;

fn encode(codec: Codec, content: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(codec, ByteSize::mib(16)).expect("it begins");
    let (mut part, mut out) = (encoder.begin(), Vec::new());
    for piece in content.chunks(20_000) {
        encoder.encode(&mut part, piece, &mut out).expect("it goes on");
    }
    encoder.finish(&mut part, &mut out).expect("it ends");
    out
}

fn decode(bench: &Bench, codec: Codec, stored: &[u8]) -> Vec<u8> {
    let path = bench.path("part");
    fs::write(&path, stored).expect("scratch");
    let (uri, size, form) = (Uri::from_path(&path), stored.len() as u64, Some(Form::Compressed(codec)));
    let object = InputObject { uri, size, modified_micros: None, etag: None, form };
    read_content(&LocalObjects, &object, None, u64::MAX).expect("it is well")
}

#[test]
fn compressed_input_gives_what_its_content_gives() {
    let content = text(5, 100_000);
    let expect = reference(&[("a", &content)], 3, |input| input.map_reduce(WordCount));
    for codec in Codec::ALL {
        let name = format!("a.{}", codec.endings()[0]);
        let stored = encode(codec, &content);
        for split_size in [2_000, 1 << 20] {
            let mut bench = Bench::new(16 << 20, split_size);
            bench.check(IntoAnyJob.map_reduce(WordCount), &[(&name, &stored)], &expect);
            assert!(bench.stats.input_records > 1_000);
        }
        // Nothing but the first bytes tells what it is; of zlib not even these.
        let mut bench = Bench::new(16 << 20, 1 << 20);
        if codec != Codec::Deflate {
            bench.check(IntoAnyJob.map_reduce(WordCount), &[("part-00000", &stored)], &expect);
        }
        bench.spec.input_form = Some(Form::Compressed(codec));
        bench.check(IntoAnyJob.map_reduce(WordCount), &[("a.txt", &stored)], &expect);
    }
}

#[test]
fn stored_bytes_are_counted_of_compressed_input() {
    let content = text(6, 50_000);
    let stored = encode(Codec::Gzip, &content);
    let mut bench = Bench::new(16 << 20, 1 << 20);
    bench.partitions = 1;
    let (splits, job) = (bench.splits(&[("a.gz", &stored)]), IntoAnyJob.map_only(Copy));
    let input = EngineTask::Map { split: &splits[0], partitions: 0, skip: &[] };
    let report = bench.attempt(&*job, TaskId::map(0), &input).expect("it is well");
    assert_eq!(report.stats.input_bytes, stored.len() as u64);
}

#[test]
fn parts_are_compressed_as_they_are_written() {
    // More than one piece of any codec.
    let content = text(7, 3_000_000);
    let objects = [("a", content.as_slice())];
    let counted = reference(&objects, 3, |input| input.map_reduce(WordCount));
    let copied = reference(&objects, 1, |input| input.map_only(Copy));
    for codec in Codec::ALL {
        let run = |job: &dyn AnyJob| {
            let mut bench = Bench::new(16 << 20, 4 << 20);
            bench.spec.output_compression = Some(codec);
            let output = bench.run(job, &objects).expect("it succeeds");
            let parts: Vec<Vec<u8>> = output.parts.iter().map(|part| decode(&bench, codec, part)).collect();
            (output.parts, parts, bench.stats.output_bytes)
        };
        let (_, parts, _) = run(&*IntoAnyJob.map_reduce(WordCount));
        assert!(parts == counted.parts, "{codec}");
        let (stored, parts, bytes) = run(&*IntoAnyJob.map_only(Copy));
        assert!(parts.concat() == copied.parts.concat(), "{codec}");
        assert_eq!(bytes, stored.iter().map(|part| part.len() as u64).sum::<u64>(), "{codec}: stored bytes count");
        assert!(bytes < content.len() as u64 / 5 * 4, "{codec}: {bytes}");
        assert!(stored == run(&*IntoAnyJob.map_only(Copy)).0, "{codec}: always the same bytes");
    }
}

#[test]
fn a_damaged_object_fails_the_job_or_is_left_out_from_there_on() {
    let content = text(8, 400_000);
    let mut damaged = encode(Codec::Bzip2, &content);
    let at = damaged.len() - 2_000;
    damaged[at] ^= 1;
    let objects = [("a.bz2", damaged.as_slice()), ("b.gz", b"not gzip"), ("c", b"the last one\n")];
    let mut bench = Bench::new(16 << 20, 1 << 30);
    let failure = bench.run(&*IntoAnyJob.map_only(Copy), &objects).expect_err("it is damaged");
    assert_eq!((failure.code, failure.disposition), (FailureCode::InputDamaged, Disposition::Abort));
    assert!(failure.message.contains("/in/a.bz2 as bzip2: "), "{failure}");

    let mut bench = Bench::new(16 << 20, 1 << 30);
    bench.spec.on_bad_file = OnBadFile::Skip;
    let output = bench.run(&*IntoAnyJob.map_only(Copy), &objects).expect("what is damaged is left out");
    let copied = output.parts.concat();
    let kept = copied.strip_suffix(b"the last one\n").expect("the last object is whole");
    assert!(kept.len() > 300_000 && content.starts_with(kept) && kept.ends_with(b"\n"), "{}", kept.len());
    assert_eq!(output.counters.get(BAD_FILES), 2);
    let staged = fs::read_dir(bench.path("staging")).expect("staging").map(|entry| entry.expect("staging").path());
    let mut letters: Vec<Json> = staged
        .filter(|path| path.to_string_lossy().contains(".jsonl."))
        .map(|path| serde_json::from_slice(&fs::read(path).expect("staged")).expect("one line of JSON"))
        .collect();
    letters.sort_by_key(|letter| letter["object"].to_string());
    let named = letters.iter().map(|letter| (letter["object"].as_str().unwrap_or_default(), &letter["code"]));
    let names: Vec<bool> = named.map(|(object, code)| object.contains("/in/") && code == "INPUT_DAMAGED").collect();
    assert_eq!(names, [true, true]);
    assert!(letters[0]["offset"].as_u64().is_some_and(|offset| offset > 10_000), "{}", letters[0]);
    assert_eq!(letters[1]["offset"], 0);

    // What the job makes of records is another matter.
    bench.spec.on_bad_file = OnBadFile::Skip;
    fs::remove_dir_all(bench.path("in")).expect("removed");
    fs::create_dir(bench.path("in")).expect("created");
    let splits = bench.splits(&[("c", b"x\n")]);
    fs::remove_file(bench.path("in").join("c")).expect("removed");
    let input = EngineTask::Map { split: &splits[0], partitions: 0, skip: &[] };
    let failure = bench.attempt(&*IntoAnyJob.map_only(Copy), TaskId::map(9), &input).expect_err("it is gone");
    assert_eq!(failure.code, FailureCode::InputUnreadable);
}
