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
            "\n  status ",
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
            "--fsync",
            "--dir <SCRATCH>",
            "--json",
            "Example:\n  gristmill run word-count -i 'books/*.txt' -o counts",
        ],
    );
    check("run grep --help", &["Options of grep:", "--pattern <RE>", "--count"]);
    check("generate tera --help", &["--rows <N>", "--files <N>"]);
    check("validate tera --help", &["<URI>...", "--json"]);
    check("generate text --help", &["--bytes <SIZE>", "--seed <N>", "--files <N>"]);
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
