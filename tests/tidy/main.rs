//! The architecture as tests: who may depend on whom, which modules are pure, what no file contains,
//! how large files and functions may be, and that the documents name things that exist. Each rule is
//! a function of what it looks at, so that `a_rule_that_is_broken_is_found` can break it.

mod documents;
mod functions;
mod manifests;
mod rules;
mod tree;

use std::collections::BTreeSet;

use documents::Documents;
use manifests::{Edge, Kind};
use tree::{Finding, SourceFile, Tree};

fn check(rule: rules::Rule) {
    let tree = Tree::read();
    let findings: Vec<Finding> = tree.files().iter().flat_map(rule).collect();
    assert_none(&findings);
}

#[track_caller]
fn assert_none(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn every_file_opens_with_its_responsibility() {
    check(rules::opens_with_its_responsibility);
}

#[test]
fn every_file_name_says_something() {
    check(rules::name_says_something);
}

#[test]
fn files_are_short() {
    check(rules::file_is_short);
}

#[test]
fn functions_fit_a_screen() {
    let files = Tree::read();
    let found: Vec<functions::Function> = files.files().iter().flat_map(functions::functions_of).collect();
    assert_none(&functions::too_long(&found, include_str!("long_functions.txt")));
}

#[test]
fn only_sys_is_unsafe() {
    check(rules::only_sys_is_unsafe);
}

#[test]
fn only_one_file_reads_the_clock() {
    check(rules::only_one_file_reads_the_clock);
}

#[test]
fn only_the_codec_names_bincode() {
    check(rules::only_the_codec_names_bincode);
}

#[test]
fn scheduler_and_planner_are_pure() {
    check(rules::scheduler_and_planner_are_pure);
}

#[test]
fn the_engine_is_synchronous() {
    check(rules::the_engine_is_synchronous);
}

#[test]
fn libraries_print_nothing() {
    check(rules::libraries_print_nothing);
}

#[test]
fn queues_have_bounds() {
    check(rules::queues_have_bounds);
}

#[test]
fn nothing_sleeps_or_is_skipped() {
    check(rules::nothing_sleeps_or_is_skipped);
}

#[test]
fn nothing_is_unfinished() {
    check(rules::nothing_is_unfinished);
}

#[test]
fn no_file_names_a_machine() {
    check(rules::no_file_names_a_machine);
}

#[test]
fn manifests_take_versions_and_lints_from_the_workspace() {
    check(manifests::takes_versions_and_lints_from_the_workspace);
}

#[test]
fn crates_depend_in_one_direction() {
    let edges = manifests::edges();
    assert_none(&manifests::wrong_directions(&edges));
}

#[test]
fn chosen_libraries_are_direct_dependencies() {
    assert_none(&manifests::missing_libraries(&manifests::edges()));
}

#[test]
fn bincode_is_pinned() {
    assert_none(&manifests::loose_bincode(&manifests::edges()));
}

#[test]
fn jobs_and_common_build_without_tokio() {
    for package in ["gristmill-common", "gristmill-jobs"] {
        assert_none(&manifests::asynchronous_packages(package, &manifests::built_with(package)));
    }
}

#[test]
fn documents_link_to_what_exists() {
    let tree = Tree::read();
    let documents = Documents::new(&tree);
    let findings: Vec<Finding> = documents.all().flat_map(|file| documents.dead_links(file)).collect();
    assert_none(&findings);
}

#[test]
fn every_decision_is_listed() {
    assert_none(&Documents::new(&Tree::read()).unlisted_decisions());
}

#[test]
fn the_architecture_names_what_exists() {
    let tree = Tree::read();
    assert_none(&Documents::new(&tree).unknown_names());
}

#[test]
fn the_gate_runs_the_readme_test_command() {
    let tree = Tree::read();
    let readme = gristmill_tests::docs::sh_commands(tree.text("README.md"));
    let tests: Vec<&String> = readme.iter().filter(|command| command.starts_with("cargo test")).collect();
    assert_eq!(tests.len(), 1, "README.md has one command that passes the tests: {readme:?}");
    assert!(tree.text(".ci/run").lines().any(|line| line.trim() == tests[0]), "{tests:?}");
}

/// Every text rule finds a planted fault and leaves a sound file alone.
#[test]
fn a_rule_that_is_broken_is_found() {
    let planted: BTreeSet<&str> = rules::PLANTED.iter().map(|row| row.name).collect();
    assert_eq!(planted.len(), rules::COUNT, "a rule has no planted fault: {planted:?}");
    for row in rules::PLANTED {
        for (path, text) in row.broken {
            assert_ne!((row.rule)(&SourceFile::new(path, text)), [], "{}: {path}: {text:?}", row.name);
        }
        for (path, text) in row.sound {
            assert_eq!((row.rule)(&SourceFile::new(path, text)), [], "{}: {path}: {text:?}", row.name);
        }
    }
}

#[test]
fn a_dependency_in_the_wrong_direction_is_found() {
    let edge = |from: &str, to: &str, kind: Kind| {
        vec![Edge {
            from: from.into(),
            to: to.into(),
            kind,
            requirement: "^1".into(),
            of_example: from == "word_count",
        }]
    };
    for (from, to, kind) in [
        ("gristmill-common", "gristmill-worker", Kind::Normal),
        ("gristmill-master", "gristmill-worker", Kind::Normal),
        ("gristmill-worker", "gristmill-master", Kind::Dev),
        ("gristmill-worker", "gristmill-jobs", Kind::Normal),
        ("gristmill-jobs", "gristmill", Kind::Normal),
        ("gristmill", "gristmill-tests", Kind::Normal),
        ("gristmill-worker", "gristmill-tests", Kind::Dev),
        ("gristmill", "word_count", Kind::Dev),
        ("word_count", "gristmill-common", Kind::Normal),
        ("gristmill-unknown", "gristmill-common", Kind::Normal),
    ] {
        assert_ne!(manifests::wrong_directions(&edge(from, to, kind)), [], "{from} -> {to}");
    }
    for (from, to, kind) in [
        ("gristmill", "gristmill-worker", Kind::Normal),
        ("gristmill", "gristmill-tests", Kind::Dev),
        ("gristmill-master", "tokio", Kind::Normal),
        ("word_count", "gristmill", Kind::Normal),
    ] {
        assert_eq!(manifests::wrong_directions(&edge(from, to, kind)), [], "{from} -> {to}");
    }
    assert_eq!(manifests::missing_libraries(&edge("gristmill", "tokio", Kind::Normal)).len(), 7);
    assert_ne!(manifests::missing_libraries(&edge("gristmill-worker", "tokio", Kind::Normal)).len(), 7);
    assert_ne!(manifests::loose_bincode(&edge("gristmill-common", "bincode", Kind::Normal)), []);
    assert_ne!(manifests::asynchronous_packages("x", "x v1.0.0\ntokio v1.54.0\n"), []);
    assert_eq!(manifests::asynchronous_packages("x", "x v1.0.0\ntokio-free v1.0.0\n"), []);
}

#[test]
fn a_long_function_is_found_and_its_exception_may_only_shrink() {
    let long = format!("//! Long.\nfn long() {{\n{}}}\n", "    step();\n".repeat(80));
    let file = SourceFile::new("worker/src/long.rs", &long);
    let functions = functions::functions_of(&file);
    let row = |list: &str| functions::too_long(&functions, list).len();
    assert_eq!((row(""), row("worker/src/long.rs long 82"), row("worker/src/long.rs long 83")), (1, 0, 1));
    assert_eq!(row("worker/src/long.rs long 82\nworker/src/gone.rs gone 90"), 1);
    let short = functions::functions_of(&SourceFile::new("a.rs", "fn a() {}\nimpl A { fn b(&self) -> [u8; 2]; }\n"));
    assert_eq!(functions::too_long(&short, ""), []);
}

#[test]
fn a_document_that_names_nothing_is_found() {
    let tree = |architecture: &str| {
        Tree::of(vec![
            SourceFile::new("ARCHITECTURE.md", architecture),
            SourceFile::new("docs/adr/README.md", "[1](0001-a.md)"),
            SourceFile::new("docs/adr/0001-a.md", "[up](../../ARCHITECTURE.md#x) [web](https://example.org)"),
            SourceFile::new("docs/adr/0002-b.md", ""),
            SourceFile::new("common/src/lib.rs", "fn a_test_that_exists() {}"),
        ])
    };
    let findings = |architecture: &str| {
        let tree = tree(architecture);
        let documents = Documents::new(&tree);
        let links: usize = documents.all().map(|file| documents.dead_links(file).len()).sum();
        (documents.unknown_names().len(), links, documents.unlisted_decisions().len())
    };
    assert_eq!(findings("`common/src/lib.rs` `common/src/` [a](common) | x | `a_test_that_exists` |"), (0, 0, 1));
    assert_eq!(findings("`common/src/gone.rs` `gone/` [a](gone.md)\n| x | `a_test_that_is_gone` |"), (3, 1, 1));
}
