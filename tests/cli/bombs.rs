//! Small files that hold, or ask for, very much: each ends with an error that names it, in bounded memory.

use std::fs;

use gristmill_tests::data::parts;
use gristmill_tests::memory::run_and_measure;

use crate::harness::{Called, Sandbox};

/// The memory that jobs are given: half of it is an attempt's, and a quarter of that a record's.
const MEMORY: &str = "--memory 128MiB --threads 1";

/// What a process may have at its peak, its program included.
const MOST_BYTES: u64 = 128 << 20;

/// A frame of zstd that asks for a window of 2 GiB (RFC 8878): no content size, the window, and an empty last block.
const WIDE_ZSTD: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3, 0x01, 0x00, 0x00];

/// The same that says instead that it has a content of 1 TiB, all of which its window holds.
const LONG_ZSTD: [u8; 16] = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 0x01, 0x00, 0x00];

/// A stream of xz (Python's `lzma`) that asks for a dictionary of 512 MiB; it holds a hundred short lines.
const WIDE_XZ: [u8; 68] = [
    0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00, 0x21, 0x01, 0x22, 0x00, 0x00,
    0x00, 0x82, 0x40, 0xac, 0xdc, 0xe0, 0x00, 0xc7, 0x00, 0x08, 0x5d, 0x00, 0x30, 0x82, 0xaa, 0xd0, 0x10, 0x00, 0x00,
    0x00, 0x00, 0xfd, 0xb0, 0xba, 0x74, 0x00, 0x01, 0x20, 0xc8, 0x01, 0x00, 0x00, 0x00, 0x94, 0x15, 0x20, 0xa5, 0x3e,
    0x30, 0x0d, 0x8b, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
];

/// A file of very much content in the sandbox: `unit`, compressed by us, as often as it takes; gives its name.
fn bomb(sandbox: &Sandbox, codec: &str, unit: &[u8], times: usize) -> String {
    fs::write(sandbox.path("unit"), unit).expect("written");
    sandbox.call(&format!("run copy -i unit -o packed --compression {codec} --memory 2GiB")).expect_code(0);
    let mut parts = parts(&sandbox.path("packed")).into_iter();
    let (Some((name, packed)), None) = (parts.next(), parts.next()) else { panic!("one part") };
    let name = name.replace("part-00000", "bomb");
    fs::write(sandbox.path(&name), packed.repeat(times)).expect("written");
    name
}

/// Runs a job, which must fail with this code and say this of the file, within the memory.
#[expect(clippy::print_stdout, reason = "a row of the table that `--nocapture` shows")]
#[track_caller]
fn check(sandbox: &Sandbox, file: &str, code: &str, expect: &str) {
    let command = sandbox.command(&format!("run grep --pattern zz --count -i {file} -o out --json {MEMORY}"));
    let (output, peak) = run_and_measure(command);
    let called = Called::of(output).expect_code(1);
    let error = &called.json()["error"];
    assert_eq!(error["code"], code, "{called:#?}");
    let message = error["message"].as_str().unwrap_or_default();
    let path = sandbox.path(file).display().to_string();
    assert!(message.contains(expect) && message.contains(&path), "no {expect:?} in {message}");
    assert!(peak < MOST_BYTES, "{file}: {peak} bytes");
    assert!(!sandbox.path("out").exists());
    assert_eq!(sandbox.scratch(), [""; 0]);
    println!("{file}: {} bytes, at most {} MiB of memory", fs::metadata(path).expect("there").len(), peak >> 20);
}

#[test]
fn a_line_that_does_not_end_is_too_large_a_record() {
    let line = vec![b'x'; 64 << 20];
    for codec in ["gzip", "bzip2", "zstd", "xz"] {
        let sandbox = Sandbox::new();
        let bomb = bomb(&sandbox, codec, &line, 1);
        check(&sandbox, &bomb, "RECORD_TOO_LARGE", "and the limit is 16777216 (16.0 MiB), a quarter of an attempt's");
    }
}

#[test]
fn more_than_a_thousand_times_its_size_is_too_much_content() {
    let line = [vec![b' '; (1 << 20) - 1], vec![b'\n']].concat();
    for codec in ["gzip", "bzip2", "zstd", "xz"] {
        let sandbox = Sandbox::new();
        let bomb = bomb(&sandbox, codec, &line.repeat(8), 160);
        let said = "what it holds is more than 1000 times as large as it is, and more than 1 GiB";
        check(&sandbox, &bomb, "INPUT_DAMAGED", said);
    }
}

#[test]
fn what_asks_for_too_much_memory_gets_none() {
    let sandbox = Sandbox::new();
    let check = |file: &str, content: &[u8], expect: &str| {
        fs::write(sandbox.path(file), content).expect("written");
        check(&sandbox, file, "RECORD_TOO_LARGE", expect);
    };
    check("wide.zst", &WIDE_ZSTD, "decoding it takes 2.00 GiB, more memory than a quarter of an attempt's");
    check("wide.xz", &WIDE_XZ, "as xz: decoding it takes");
    check("long.zst", &LONG_ZSTD, "decoding it takes 1.00 TiB, more memory than a quarter of an attempt's");
}

#[test]
fn pages_of_columns_are_looked_at_before_they_are_decoded() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("unit"), [b"a\n".to_vec(), vec![b'x'; 128 << 20]].concat()).expect("written");
    sandbox.call("run copy -i unit -o packed --output-format parquet --compression zstd --memory 4GiB").expect_code(0);
    fs::rename(sandbox.path("packed/part-00000.parquet"), sandbox.path("bomb.parquet")).expect("renamed");
    check(
        &sandbox,
        "bomb.parquet",
        "RECORD_TOO_LARGE",
        "row group 0, column \"line\": its pages, values and those of the columns before it take 128 MiB or more",
    );
}

#[test]
fn lists_are_counted_before_they_unfold() {
    let sandbox = Sandbox::new();
    let list = format!("{{\"n\":[{}7]}}\n", "7,".repeat(5_000_000));
    fs::write(sandbox.path("unit.jsonl"), format!("{{\"n\":[7]}}\n{list}")).expect("written");
    sandbox.call("run copy -i unit.jsonl -o packed --output-format parquet --memory 4GiB").expect_code(0);
    fs::rename(sandbox.path("packed/part-00000.parquet"), sandbox.path("bomb.parquet")).expect("renamed");
    let said = "row group 0, column \"n\": its pages, values and those of the columns before it take ";
    check(&sandbox, "bomb.parquet", "RECORD_TOO_LARGE", said);
}

#[test]
fn long_rows_of_columns_are_not_decoded_all_at_once() {
    let sandbox = Sandbox::new();
    let line = [vec![b'x'; (1 << 20) - 1], vec![b'\n']].concat();
    fs::write(sandbox.path("unit"), [b"x\n".to_vec(), line.repeat(200)].concat()).expect("written");
    sandbox.call("run copy -i unit -o packed --output-format parquet --compression zstd --memory 2GiB").expect_code(0);
    let command = sandbox.command(&format!("run grep --pattern ^x --count -i packed -o out {MEMORY}"));
    let (output, peak) = run_and_measure(command);
    Called::of(output).expect_code(0);
    assert_eq!(sandbox.parts("out"), "x\t201\n");
    assert!(peak < MOST_BYTES, "{peak} bytes");
}
