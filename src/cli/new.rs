//! `gristmill new`: a folder with a job crate that compiles, has a test, and runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};

use super::Context;
use super::error::{CliError, Exit};
use crate::entry::JobTable;

const MANIFEST: &str = include_str!("new/Cargo.toml.txt");
const MAIN: &str = include_str!("new/main.rs.txt");

/// Where this program was built from.
const SOURCE_TREE: &str = env!("CARGO_MANIFEST_DIR");

/// Where the source is for everybody.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    Command::new("new")
        .about("Write a job crate to start from")
        .after_help(format!("Example:\n  {program} new my-job"))
        .arg(Arg::new("name").value_name("NAME").required(true).help("The folder, which must not exist; its last part names the crate"))
        .arg(
            Arg::new("gristmill")
                .long("gristmill")
                .value_name("PATH")
                .value_parser(clap::value_parser!(PathBuf))
                .help("The source tree that the crate depends on [default: the one this program was built from, else the repository]"),
        )
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let given: &String = matches.get_one("name").expect("it is required");
    let folder = context.current_dir.join(given);
    let name = crate_name(&folder).map_err(CliError::usage)?;
    let source = match matches.get_one::<PathBuf>("gristmill") {
        Some(path) => {
            let path = context.current_dir.join(path);
            let tree = fs::canonicalize(&path).ok().filter(|tree| is_source_tree(tree));
            tree.ok_or_else(|| {
                CliError::usage(format!("{} is not a source tree of gristmill", path.display()))
                    .hint("--gristmill names the folder with gristmill's Cargo.toml")
            })
            .map(Some)?
        }
        None => Some(PathBuf::from(SOURCE_TREE)).filter(|tree| is_source_tree(tree)),
    };
    write(&folder, &name, source.as_deref())?;
    let console = context.console;
    if console.json {
        console.data(serde_json::json!({ "crate": name, "path": folder.to_string_lossy() }));
        return Ok(Exit::Succeeded);
    }
    console.data(format_args!("created {}", folder.display()));
    console.talk(format_args!(
        "\nNext:\n  cd {given}\n  cargo test\n  cargo run --release -- run word-count -i src -o counts\n  cargo run --release -- submit \
         word-count --master URL -i src -o counted"
    ));
    Ok(Exit::Succeeded)
}

/// The crate's name: the last part of its folder.
fn crate_name(folder: &Path) -> Result<String, String> {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(fits) || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("a crate cannot be named {name:?}: letters, digits, - and _, a letter first"));
    }
    // Cargo would refuse it in its own words, after everything is written.
    if ["gristmill", "test", "core", "std", "alloc", "proc_macro"].contains(&name.as_str()) {
        return Err(format!("a job crate cannot be named {name:?}: that crate exists"));
    }
    Ok(name)
}

/// Whether gristmill can be built from the folder.
fn is_source_tree(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    let manifest: toml::Table = manifest.parse().unwrap_or_default();
    manifest.get("package").and_then(|package| package.get("name")?.as_str()) == Some("gristmill")
}

fn write(folder: &Path, name: &str, source: Option<&Path>) -> Result<(), CliError> {
    let failed = |path: &Path, error: &io::Error| {
        CliError::new(Exit::Rejected, format!("cannot write {}", path.display())).because(error)
    };
    if folder.exists() {
        return Err(CliError::new(Exit::Rejected, format!("{} exists already", folder.display()))
            .hint("choose another name, or remove it"));
    }
    let src = folder.join("src");
    fs::create_dir_all(&src).map_err(|error| failed(&src, &error))?;
    let mut manifest = MANIFEST.replace("{name}", name).replace("{source}", &dependency(source));
    if folder.ancestors().skip(1).any(|above| above.join("Cargo.toml").exists()) {
        // Another workspace begins above: this crate is not one of its members.
        manifest.push_str("\n[workspace]\n");
    }
    let mut files = vec![
        (folder.join("Cargo.toml"), manifest),
        (src.join("main.rs"), MAIN.to_owned()),
        (folder.join(".gitignore"), "/target\n".to_owned()),
    ];
    if let Some(lock) = source.and_then(|tree| fs::read_to_string(tree.join("Cargo.lock")).ok()) {
        // The versions that gristmill was tested with; Cargo drops what the crate does not need.
        files.push((folder.join("Cargo.lock"), lock));
    }
    files.iter().try_for_each(|(path, text)| fs::write(path, text).map_err(|error| failed(path, &error)))
}

/// What `Cargo.toml` says of where gristmill is.
fn dependency(source: Option<&Path>) -> String {
    match source {
        Some(tree) => format!("path = {}", toml::Value::from(tree.to_string_lossy().into_owned())),
        None => format!("git = \"{REPOSITORY}\", tag = \"v{}\"", env!("CARGO_PKG_VERSION")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_have_names_that_cargo_takes() {
        let check = |folder: &str, expect: Result<&str, &str>| {
            let name = crate_name(Path::new(folder));
            match expect {
                Ok(expect) => assert_eq!(name.as_deref(), Ok(expect)),
                Err(expect) => assert!(name.as_ref().is_err_and(|text| text.contains(expect)), "{name:?}"),
            }
        };
        check("/a/my-job", Ok("my-job"));
        check("Job_2", Ok("Job_2"));
        check("/a/2jobs", Err("\"2jobs\": letters"));
        check("/a/my job", Err("\"my job\": letters"));
        check("/", Err("\"\": letters"));
        check("std", Err("that crate exists"));
    }

    #[test]
    fn a_new_crate_depends_on_a_source_tree_or_on_the_repository() {
        let dir = tempfile::tempdir().expect("a folder");
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).expect("made");
        fs::write(tree.join("Cargo.toml"), "[package]\nname = \"gristmill\"\n").expect("written");
        assert!(is_source_tree(&tree) && !is_source_tree(dir.path()));
        let manifest = |name: &str, source: Option<&Path>| -> toml::Table {
            let folder = dir.path().join(name);
            write(&folder, name, source).expect("written");
            fs::read_to_string(folder.join("Cargo.toml")).expect("readable").parse().expect("TOML")
        };
        let with_tree = manifest("one", Some(&tree));
        assert_eq!(with_tree["dependencies"]["gristmill"]["path"].as_str(), tree.to_str());
        assert!(!with_tree.contains_key("workspace"));
        let without = manifest("two", None);
        let tag = format!("v{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(without["dependencies"]["gristmill"]["tag"].as_str(), Some(tag.as_str()));
        assert!(manifest("tree/inside", Some(&tree)).contains_key("workspace"));
        let error = write(&dir.path().join("one"), "one", None).expect_err("it exists");
        assert!(error.message.ends_with("one exists already"), "{}", error.message);
    }
}
