//! What `--help` and `--version` show.

use crate::harness::Sandbox;

#[track_caller]
fn check(args: &str, lines: &[&str]) {
    let called = Sandbox::new().call(args).expect_code(0);
    for line in lines {
        assert!(called.stdout.contains(line), "no {line:?} in {args}:\n{}", called.stdout);
    }
    assert_eq!(called.stderr, "", "{args}");
}

#[test]
fn help_shows_verbs_jobs_flags_and_examples() {
    check(
        "--help",
        &[
            "Usage: gristmill [OPTIONS] <COMMAND>",
            "\n  run ",
            "\n  submit ",
            "\n  explain ",
            "\n  cluster ",
            "\n  master ",
            "\n  worker ",
            "\n  demo ",
            "\n  validate ",
            "\n  verify ",
            "\n  status ",
            "\n  replay ",
            "Example:\n  gristmill run word-count -i 'books/*.txt' -o counts",
            "Settings, from gristmill.toml",
            "Exit codes: 0 succeeded, 1 failed, 2 usage",
        ],
    );
    let jobs = [
        "Commands:\n",
        "\n  word-count ",
        "\n  grep ",
        "\n  distinct ",
        "\n  inverted-index ",
        "\n  sort-lines ",
        "\n  tera-sort ",
        "\n  copy ",
        "\n  group-by ",
        "\n  join ",
        "\n  top ",
        "\n  streaming ",
        "\n  page-rank ",
    ];
    check("run --help", &jobs);
    check("submit --help", &jobs);
    check(
        "run word-count --help",
        &[
            "Counts how often each",
            "-i, --input <URI>...",
            "-o, --output <URI>",
            "--reducers <N>",
            "--split-size <SIZE>",
            "--memory <SIZE>",
            "--threads <N>",
            "--overwrite",
            "--line-endings <RULE>",
            "--delimiter <STRING>",
            "--max-attempts <N>",
            "--max-bad-records <N>",
            "--record-timeout <TIME>",
            "--fsync",
            "--dir <SCRATCH>",
            "--json",
            "Example:\n  gristmill run word-count -i 'books/*.txt' -o counts",
        ],
    );
    check("run page-rank --help", &["Options of page-rank:", "--iterations <N>", "--damping <D>", "--restart"]);
    check("run grep --help", &["Options of grep:", "--pattern <RE>", "--count"]);
    check("generate tera --help", &["--rows <N>", "--files <N>"]);
    check("worker --help", &["--memory <SIZE>", "--executor-memory <SIZE>"]);
    check("verify --help", &["<URI>", "--json", "Example:\n  gristmill verify counts"]);
    check("validate tera --help", &["<URI>...", "--json"]);
    check("generate text --help", &["--bytes <SIZE>", "--seed <N>", "--files <N>"]);
}

#[test]
fn the_example_of_every_job_is_complete() {
    let help = Sandbox::new().call("run --help").expect_code(0).stdout;
    let jobs = help.split("Commands:\n").nth(1).expect("a list").split("\n\n").next().expect("its end");
    for line in jobs.lines() {
        let job = line.split_whitespace().next().expect("a name");
        let help = Sandbox::new().call(&format!("run {job} --help")).expect_code(0).stdout;
        let example = help.split("Example:\n  gristmill ").nth(1).unwrap_or_else(|| panic!("no example: {help}"));
        // Only what it reads is missing here.
        Sandbox::new().call(&example.replace('\'', "")).expect_code(3);
    }
    assert!(jobs.lines().count() >= 10, "{jobs}");
}

#[test]
fn the_version_is_shown() {
    check("--version", &[&format!("gristmill {}", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn without_a_job_the_jobs_are_shown() {
    let called = Sandbox::new().call("run").expect_code(2);
    assert!(called.stderr.contains("Commands:\n"), "{}", called.stderr);
}

#[test]
fn completions_know_jobs() {
    check("completions bash", &["word-count", "--pattern"]);
    check("completions zsh", &["#compdef gristmill"]);
}
