//! The comparison with hand-written programs and other engines: our command for each of the runner's
//! workloads, and where the runner lies. It makes the data, runs every program in turn and checks
//! the results; nothing of that is done here, but what forms of files cost (`forms`).

mod forms;
mod measure;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use self::forms::compare as compare_forms;

/// The runner's workloads, and what our program is told for each but `-o`. They are shell words; the
/// runner sets `$IN`.
pub const WORKLOADS: [(&str, &str); 6] = [
    ("w1", r#"word-count -i "$IN""#),
    ("w2", r#"tera-sort -i "$IN""#),
    ("w3", r#"grep -i "$IN" --pattern '[0-9]{4}-0[1-6]-1[0-9]'"#),
    (
        "w4",
        r#"group-by -i "$IN" --columns ts,host,method,path,status,bytes,agent --by host,status --agg count,sum:bytes"#,
    ),
    (
        "w5",
        r#"join -i "$IN/orders" --columns order,user,amount,sku --right "$IN/users" --right-columns user,name,country,tier --on user"#,
    ),
    ("w6", r#"inverted-index -i "$IN" --documents --tokens space"#),
];

/// The shell command by which `binary` runs a workload, writing to `$OUT`.
///
/// # Examples
///
/// ```
/// use gristmill_tests::side_by_side::{WORKLOADS, shell_command};
/// let command = shell_command("target/release/gristmill".as_ref(), WORKLOADS[0].1);
/// assert_eq!(command, r#"'target/release/gristmill' run word-count -i "$IN" -o "$OUT""#);
/// ```
pub fn shell_command(binary: &Path, workload: &str) -> String {
    let quoted = binary.display().to_string().replace('\'', r"'\''");
    format!(r#"'{quoted}' run {workload} -o "$OUT""#)
}

/// The folder of the runner: `$GRISTMILL_BENCH`, or `shared/bench` beside the repository.
///
/// # Errors
///
/// Where it was looked for, and how to name another place.
pub fn runner_dir() -> Result<PathBuf, String> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/bench");
    let dir = std::env::var_os("GRISTMILL_BENCH").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    match dir.join("run.sh").is_file() {
        true => Ok(dir),
        false => Err(format!("no run.sh in {}: set GRISTMILL_BENCH to the folder of the runner", dir.display())),
    }
}

/// Where data, builds of peers and outputs go: `$BENCH_DIR`, or `.bench` in the repository.
pub fn bench_dir() -> PathBuf {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../.bench");
    std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from(beside), PathBuf::from)
}

/// The runner with our commands in its environment.
pub fn runner(dir: &Path, binary: &Path, args: impl IntoIterator<Item = String>) -> Command {
    let mut command = Command::new("sh");
    command.arg(dir.join("run.sh")).args(args);
    for (name, workload) in WORKLOADS {
        command.env(format!("OURS_{}", name.to_uppercase()), shell_command(binary, workload));
    }
    command.env("BENCH_DIR", bench_dir());
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docs::sh_commands;

    /// Words of the runner that are no workloads.
    const OTHER_WORDS: [&str; 5] = ["prepare", "raw", "grpc", "startup", "forms"];

    #[test]
    fn the_runner_is_given_our_commands_and_all_arguments() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let script = r#"echo "$OURS_W1|$OURS_W6|${BENCH_DIR:+set}|$*""#;
        std::fs::write(dir.path().join("run.sh"), script).expect("a scratch file");
        let args = ["-n", "5", "w1"].map(str::to_owned);
        let output = runner(dir.path(), Path::new("it's"), args).output().expect("there is a shell");
        let expect = r#"'it'\''s' run word-count -i "$IN" -o "$OUT"|'it'\''s' run inverted-index -i "$IN" --documents --tokens space -o "$OUT"|set|-n 5 w1"#;
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expect);
    }

    /// The commands take too long to run here; what they name has to exist.
    #[test]
    fn commands_of_the_performance_page_name_what_exists() {
        let commands = sh_commands(include_str!("../../docs/performance.md"));
        assert!(commands.len() >= 3, "{commands:?}");
        let aliases = include_str!("../../.cargo/config.toml");
        let manifest = include_str!("../Cargo.toml");
        for command in &commands {
            let is_setting = |word: &&str| word.split_once('=').is_some_and(|(name, _)| name.ends_with("_BYTES"));
            let words: Vec<&str> = command.split_whitespace().skip_while(is_setting).collect();
            match words.as_slice() {
                ["cargo", "bench", "-p", "gristmill-tests", "--bench", bench] => {
                    assert!(manifest.contains(&format!("[[bench]]\nname = \"{bench}\"")), "{command}");
                }
                ["cargo", "bench", "-p", "gristmill-tests", rest @ ..] => {
                    assert!(manifest.contains("[[bench]]"), "{command}");
                    assert!(matches!(rest, [] | ["--", _]), "{command}");
                }
                ["cargo", "side-by-side", rest @ ..] => {
                    assert!(aliases.contains("\nside-by-side = ") && aliases.contains("--bin side-by-side"));
                    assert!(manifest.contains("name = \"side-by-side\""), "{command}");
                    let rest = match rest {
                        ["-n", _, rest @ ..] => rest,
                        rest => rest,
                    };
                    let rest = match rest {
                        ["-p", _, rest @ ..] => rest,
                        rest => rest,
                    };
                    let known =
                        |word: &&str| OTHER_WORDS.contains(word) || WORKLOADS.iter().any(|(name, _)| name == word);
                    assert!(rest.iter().all(known), "{command}");
                }
                other => panic!("nothing checks {other:?}"),
            }
        }
    }
}
