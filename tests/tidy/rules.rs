//! What a file may contain, by its path. Every rule has a row in [`PLANTED`] that breaks it.

use crate::manifests;
use crate::tree::{Finding, SourceFile, has_word};

/// Looks at one file.
pub(crate) type Rule = fn(&SourceFile) -> Vec<Finding>;

/// The most lines of a file, tests apart.
const MAX_FILE_LINES: usize = 600;

/// Names that say nothing.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "misc", "common2", "stuff", "tools"];

pub(crate) fn opens_with_its_responsibility(file: &SourceFile) -> Vec<Finding> {
    let first = file.text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//! ").is_some_and(|text| text.len() > 4);
    if file.is_rust() && !says { vec![Finding::new(&file.path, 1, "does not open with `//!`")] } else { vec![] }
}

pub(crate) fn name_says_something(file: &SourceFile) -> Vec<Finding> {
    let empty = |part: &&str| EMPTY_NAMES.contains(&part.trim_end_matches(".rs"));
    let found = file.path.split('/').find(empty).filter(|_| file.is_rust());
    found.map(|name| Finding::new(&file.path, 1, format!("{name:?} says nothing"))).into_iter().collect()
}

pub(crate) fn file_is_short(file: &SourceFile) -> Vec<Finding> {
    let lines = file.product_lines().count();
    if lines <= MAX_FILE_LINES {
        return vec![];
    }
    vec![Finding::new(&file.path, lines, format!("{lines} lines without tests, more than {MAX_FILE_LINES}"))]
}

pub(crate) fn only_sys_is_unsafe(file: &SourceFile) -> Vec<Finding> {
    if file.path.starts_with("common/sys/") { vec![] } else { words(file, file.code_lines(), &["unsafe"]) }
}

pub(crate) fn only_one_file_reads_the_clock(file: &SourceFile) -> Vec<Finding> {
    if file.path == "common/src/time.rs" {
        return vec![];
    }
    words(file, file.code_lines(), &["Instant::now", "SystemTime::now", ".elapsed("])
}

pub(crate) fn only_the_codec_names_bincode(file: &SourceFile) -> Vec<Finding> {
    if file.path == "common/src/codec.rs" { vec![] } else { words(file, file.code_lines(), &["bincode"]) }
}

pub(crate) fn scheduler_and_planner_are_pure(file: &SourceFile) -> Vec<Finding> {
    let is_pure = ["master/src/scheduler", "master/src/plan"].iter().any(|folder| file.path.starts_with(folder));
    if !is_pure {
        return vec![];
    }
    let impure = [
        "tokio",
        "tonic",
        "futures",
        "object_store",
        "async",
        "Instant",
        "SystemTime",
        "Clock",
        "HashMap",
        "HashSet",
        "rand",
        "fs",
        "net",
        "thread",
        "env",
        "process",
        "wire",
    ];
    words(file, file.product_lines(), &impure)
}

pub(crate) fn the_engine_is_synchronous(file: &SourceFile) -> Vec<Finding> {
    let asynchronous = ["tokio", "tonic", "futures", "object_store", "async", "net", "wire"];
    if file.path.starts_with("worker/src/engine") { words(file, file.code_lines(), &asynchronous) } else { vec![] }
}

pub(crate) fn libraries_print_nothing(file: &SourceFile) -> Vec<Finding> {
    let libraries = ["common/", "master/", "worker/", "jobs/"];
    if !libraries.iter().any(|library| file.path.starts_with(library)) || file.path.ends_with("/build.rs") {
        return vec![];
    }
    words(file, file.product_lines(), &["println!", "print!", "eprintln!", "eprint!", "dbg!"])
}

pub(crate) fn queues_have_bounds(file: &SourceFile) -> Vec<Finding> {
    words(file, file.product_lines(), &["unbounded_channel", "UnboundedSender", "unbounded", "mpsc::channel()"])
}

pub(crate) fn nothing_sleeps_or_is_skipped(file: &SourceFile) -> Vec<Finding> {
    let mut findings = words(file, file.code_lines(), &["thread::sleep", "#[ignore", "ignore ="]);
    let doc_tests = file.text_lines().filter(|(_, line)| file.is_rust() && line.trim().ends_with("```ignore"));
    findings.extend(doc_tests.map(|(line, _)| Finding::new(&file.path, line, "a doc test that is not compiled")));
    findings
}

pub(crate) fn nothing_is_unfinished(file: &SourceFile) -> Vec<Finding> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let mut findings = words(file, file.code_lines(), &["todo!", "unimplemented!"]);
    if !file.path.starts_with("examples/data/") {
        findings.extend(words(file, file.text_lines(), &marks));
    }
    findings
}

pub(crate) fn no_file_names_a_machine(file: &SourceFile) -> Vec<Finding> {
    let machine = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let lines = file.text_lines().filter(|(_, line)| machine.iter().any(|path| line.contains(path)));
    lines.map(|(line, _)| Finding::new(&file.path, line, "names a path of one machine")).collect()
}

fn words<'f>(file: &SourceFile, lines: impl Iterator<Item = (usize, &'f str)>, banned: &[&str]) -> Vec<Finding> {
    let mut findings = vec![];
    for (number, line) in lines {
        for word in banned.iter().filter(|word| has_word(line, word)) {
            findings.push(Finding::new(&file.path, number, format!("{word:?} does not belong here")));
        }
    }
    findings
}

/// A rule with files that break it and files that do not.
pub(crate) struct Planted {
    pub(crate) name: &'static str,
    pub(crate) rule: Rule,
    pub(crate) broken: &'static [(&'static str, &'static str)],
    pub(crate) sound: &'static [(&'static str, &'static str)],
}

/// How many rules look at one file.
pub(crate) const COUNT: usize = 14;

/// The proof that each rule can fail.
pub(crate) const PLANTED: &[Planted] = &[
    Planted {
        name: "opens_with_its_responsibility",
        rule: opens_with_its_responsibility,
        broken: &[("jobs/src/a.rs", "use x;\n"), ("jobs/src/a.rs", "//! x\n"), ("jobs/src/a.rs", "")],
        sound: &[("jobs/src/a.rs", "//! Counts words.\n"), ("a.md", "# A\n")],
    },
    Planted {
        name: "name_says_something",
        rule: name_says_something,
        broken: &[("worker/src/utils.rs", ""), ("worker/src/helpers/io.rs", "")],
        sound: &[("worker/src/merge.rs", ""), ("docs/misc", "")],
    },
    Planted {
        name: "file_is_short",
        rule: file_is_short,
        broken: &[("worker/src/a.rs", LONG)],
        sound: &[("worker/tests/a.rs", LONG), ("worker/src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n")],
    },
    Planted {
        name: "only_sys_is_unsafe",
        rule: only_sys_is_unsafe,
        broken: &[("worker/src/a.rs", "unsafe { x() }"), ("worker/src/a.rs", "unsafe impl Send for A {}")],
        sound: &[("common/sys/src/a.rs", "unsafe { x() }"), ("a.rs", "// unsafe\nlet s = \"unsafe\";")],
    },
    Planted {
        name: "only_one_file_reads_the_clock",
        rule: only_one_file_reads_the_clock,
        broken: &[
            ("src/a.rs", "let t = Instant::now();"),
            ("a.rs", "std::time::SystemTime::now()"),
            ("a.rs", "t.elapsed()"),
        ],
        sound: &[("common/src/time.rs", "Instant::now()"), ("a.rs", "clock.now()")],
    },
    Planted {
        name: "only_the_codec_names_bincode",
        rule: only_the_codec_names_bincode,
        broken: &[("worker/src/a.rs", "use bincode::serde;")],
        sound: &[("common/src/codec.rs", "use bincode::serde;"), ("a.rs", "//! bincode")],
    },
    Planted {
        name: "scheduler_and_planner_are_pure",
        rule: scheduler_and_planner_are_pure,
        broken: &[
            ("master/src/scheduler/a.rs", "use std::collections::HashMap;"),
            ("master/src/scheduler/a.rs", "use std::{fs, mem};"),
            ("master/src/plan/a.rs", "let t = tokio::spawn(x);"),
            ("master/src/plan.rs", "use std::time::{Duration, Instant};"),
        ],
        sound: &[
            ("master/src/scheduler/a.rs", "use std::collections::BTreeMap; // no HashMap\n"),
            ("master/src/runtime/a.rs", "use std::fs;"),
        ],
    },
    Planted {
        name: "the_engine_is_synchronous",
        rule: the_engine_is_synchronous,
        broken: &[("worker/src/engine/a.rs", "async fn a() {}"), ("worker/src/engine/mod.rs", "use tokio::io;")],
        sound: &[("worker/src/agent/a.rs", "use tokio::io;"), ("worker/src/engine/a.rs", "//! Not tokio.\nfn a() {}")],
    },
    Planted {
        name: "libraries_print_nothing",
        rule: libraries_print_nothing,
        broken: &[("jobs/src/a.rs", "println!(\"x\");"), ("worker/src/a.rs", "eprint!(\"x\");")],
        sound: &[("src/cli/a.rs", "println!(\"x\");"), ("jobs/src/a.rs", "#[cfg(test)]\nmod tests {\nprintln!()\n}")],
    },
    Planted {
        name: "queues_have_bounds",
        rule: queues_have_bounds,
        broken: &[
            ("master/src/a.rs", "let (tx, rx) = mpsc::unbounded_channel();"),
            ("a.rs", "std::sync::mpsc::channel()"),
        ],
        sound: &[("master/src/a.rs", "let (tx, rx) = mpsc::channel(64);")],
    },
    Planted {
        name: "nothing_sleeps_or_is_skipped",
        rule: nothing_sleeps_or_is_skipped,
        broken: &[("tests/a.rs", "std::thread::sleep(x)"), ("tests/a.rs", "#[ignore]"), ("a.rs", "/// ```ignore\n")],
        sound: &[("tests/a.rs", "wait_until(deadline, || x)")],
    },
    Planted {
        name: "nothing_is_unfinished",
        rule: nothing_is_unfinished,
        broken: &[("a.rs", "fn a() { todo!() }"), ("a.rs", concat!("// TO", "DO: x")), ("a.md", concat!("FIX", "ME"))],
        sound: &[("a.rs", "fn to_do() {}")],
    },
    Planted {
        name: "no_file_names_a_machine",
        rule: no_file_names_a_machine,
        broken: &[("a.md", concat!("see /wo", "rk/main")), (".ci/run", concat!("cd /ro", "ot/x"))],
        sound: &[("a.md", "see network/main"), ("a.rs", "(\"/home/ann\")")],
    },
    Planted {
        name: "takes_versions_and_lints_from_the_workspace",
        rule: manifests::takes_versions_and_lints_from_the_workspace,
        broken: &[
            ("jobs/Cargo.toml", "[dependencies]\nserde = \"1\"\n[lints]\nworkspace = true\n"),
            ("jobs/Cargo.toml", "[dependencies]\nserde.workspace = true\n"),
            ("jobs/Cargo.toml", "[dev-dependencies]\nx = { version = \"1\" }\n[lints]\nworkspace = true\n"),
        ],
        sound: &[
            ("jobs/Cargo.toml", "[dependencies]\nserde = { workspace = true }\n\n[lints]\nworkspace = true\n"),
            ("common/sys/Cargo.toml", "[dependencies]\nserde.workspace = true\n"),
        ],
    },
];

/// A file of one line more than is allowed.
const LONG: &str = {
    const BYTES: [u8; MAX_FILE_LINES + 1] = [b'\n'; MAX_FILE_LINES + 1];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("line feeds are UTF-8"),
    }
};
