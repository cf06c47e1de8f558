//! Who depends on whom, as cargo sees it.

use std::process::Command;

use serde_json::Value;

use crate::tree::{Finding, SourceFile, root};

/// Which crates of the workspace a crate may use. Whoever is not listed uses none.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("gristmill-sys", &[]),
    ("gristmill-derive", &[]),
    ("gristmill-common", &[]),
    ("gristmill-jobs", &["gristmill-common", "gristmill-derive"]),
    ("gristmill-master", &["gristmill-common", "gristmill-sys"]),
    ("gristmill-worker", &["gristmill-common", "gristmill-sys"]),
    (
        "gristmill",
        &[
            "gristmill-common",
            "gristmill-derive",
            "gristmill-jobs",
            "gristmill-master",
            "gristmill-sys",
            "gristmill-worker",
        ],
    ),
    (
        "gristmill-tests",
        &[
            "gristmill-common",
            "gristmill-derive",
            "gristmill-jobs",
            "gristmill-master",
            "gristmill-sys",
            "gristmill-worker",
        ],
    ),
];

/// What only tests may use besides.
const TESTS_MAY_USE: [(&str, &str); 5] = [
    ("answers", "gristmill-tests"),
    ("gristmill", "gristmill-tests"),
    ("gristmill-common", "gristmill-derive"),
    ("gristmill-derive", "gristmill-common"),
    ("word_count", "gristmill-tests"),
];

/// The libraries that Gristmill is built on by choice.
const CHOSEN: [&str; 8] = ["bincode", "clap", "object_store", "prost", "rayon", "serde", "tokio", "tonic"];

/// The exact version that `docs/adr/0002-bincode.md` decides.
const BINCODE: &str = "=2.0.1";

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

/// One package names another.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) kind: Kind,
    pub(crate) requirement: String,
    /// Whether `from` lies in `examples/`.
    pub(crate) of_example: bool,
}

/// Every dependency that a package of the workspace declares.
pub(crate) fn edges() -> Vec<Edge> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata prints JSON");
    let mut edges = vec![];
    for package in metadata["packages"].as_array().expect("packages") {
        let manifest = package["manifest_path"].as_str().expect("a path");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            edges.push(Edge {
                from: package["name"].as_str().expect("a name").to_owned(),
                to: dependency["name"].as_str().expect("a name").to_owned(),
                kind: match dependency["kind"].as_str() {
                    None => Kind::Normal,
                    Some("build") => Kind::Build,
                    Some(_) => Kind::Dev,
                },
                requirement: dependency["req"].as_str().expect("a requirement").to_owned(),
                of_example: manifest.contains("/examples/"),
            });
        }
    }
    edges
}

/// The packages that building `package` alone takes, one a line.
pub(crate) fn built_with(package: &str) -> String {
    cargo(&["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--package", package])
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints text")
}

/// Edges between crates of the workspace that the floor plan does not have.
pub(crate) fn wrong_directions(edges: &[Edge]) -> Vec<Finding> {
    let examples: Vec<&str> = edges.iter().filter(|edge| edge.of_example).map(|edge| edge.from.as_str()).collect();
    let inside = |name: &str| name.starts_with("gristmill") || name == "word_count" || examples.contains(&name);
    let allowed = |edge: &Edge| {
        let uses = MAY_USE.iter().find(|(name, _)| *name == edge.from).map_or(&[] as &[&str], |(_, uses)| uses);
        uses.contains(&edge.to.as_str())
            || edge.of_example && edge.to == "gristmill"
            || edge.kind == Kind::Dev && TESTS_MAY_USE.contains(&(edge.from.as_str(), edge.to.as_str()))
    };
    let wrong = edges.iter().filter(|edge| inside(&edge.to) && !allowed(edge));
    wrong.map(|edge| Finding::new(&edge.from, 0, format!("may not depend on {}", edge.to))).collect()
}

/// Chosen libraries that the root package does not declare.
pub(crate) fn missing_libraries(edges: &[Edge]) -> Vec<Finding> {
    let direct = |library: &str| {
        edges.iter().any(|edge| edge.from == "gristmill" && edge.to == library && edge.kind == Kind::Normal)
    };
    let missing = CHOSEN.iter().filter(|library| !direct(library));
    missing.map(|library| Finding::new("Cargo.toml", 0, format!("{library} is no direct dependency"))).collect()
}

/// Declarations of bincode that allow another version than the one decided on.
pub(crate) fn loose_bincode(edges: &[Edge]) -> Vec<Finding> {
    let loose = edges.iter().filter(|edge| edge.to == "bincode" && edge.requirement != BINCODE);
    loose.map(|edge| Finding::new(&edge.from, 0, format!("bincode must be {BINCODE:?}"))).collect()
}

/// Packages in the output of `cargo tree` that wait.
pub(crate) fn asynchronous_packages(package: &str, tree: &str) -> Vec<Finding> {
    let waits = |line: &&str| ["tokio ", "tonic ", "hyper ", "object_store "].iter().any(|name| line.starts_with(name));
    let found = tree.lines().filter(waits);
    found.map(|line| Finding::new(package, 0, format!("is built with {line}"))).collect()
}

/// Member manifests name no version of their own and share the lints. `common/sys` sets its own
/// because it is unsafe; an example is a manifest to copy out of this workspace.
pub(crate) fn takes_versions_and_lints_from_the_workspace(file: &SourceFile) -> Vec<Finding> {
    if !file.path.ends_with("/Cargo.toml") {
        return vec![];
    }
    let mut section = "";
    let mut findings = vec![];
    let mut shares_lints = ["common/sys/", "examples/"].iter().any(|folder| file.path.starts_with(folder));
    for (number, line) in file.text_lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[lints]" {
            shares_lints |= line == "workspace = true";
        } else if section.ends_with("dependencies]") && line.contains('=') && !line.contains("workspace = true") {
            findings.push(Finding::new(&file.path, number, "takes no version from the workspace"));
        }
    }
    if !shares_lints {
        findings.push(Finding::new(&file.path, 1, "does not share the lints of the workspace"));
    }
    findings
}
