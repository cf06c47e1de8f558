//! Documents name things that exist: links, decision records, paths and tests.

use crate::tree::{Finding, SourceFile, Tree};

/// The Markdown files of the repository.
#[derive(Debug)]
pub(crate) struct Documents<'t> {
    tree: &'t Tree,
}

impl<'t> Documents<'t> {
    pub(crate) fn new(tree: &'t Tree) -> Self {
        Self { tree }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &'t SourceFile> {
        self.tree.files().iter().filter(|file| file.path.ends_with(".md"))
    }

    /// Links to files that are not there.
    pub(crate) fn dead_links(&self, file: &SourceFile) -> Vec<Finding> {
        let mut findings = vec![];
        for (number, line) in file.text_lines() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = target.split('#').next().unwrap_or_default();
                let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
                if !elsewhere && !self.tree.has(&resolve(&file.path, path)) {
                    findings.push(Finding::new(&file.path, number, format!("{target} does not exist")));
                }
            }
        }
        findings
    }

    /// Decision records that the list of decisions does not link to.
    pub(crate) fn unlisted_decisions(&self) -> Vec<Finding> {
        let list = self.tree.text("docs/adr/README.md");
        let records = self.all().filter_map(|file| Some((file, file.path.strip_prefix("docs/adr/")?)));
        records
            .filter(|(_, name)| *name != "README.md" && !list.contains(&format!("({name})")))
            .map(|(file, _)| Finding::new(&file.path, 1, "is not listed in docs/adr/README.md"))
            .collect()
    }

    /// Paths and tests in `ARCHITECTURE.md` that do not exist. A path has a `/`; a test is a name
    /// with `_` in the last cell of a table row.
    pub(crate) fn unknown_names(&self) -> Vec<Finding> {
        let mut findings = vec![];
        for (index, line) in self.tree.text("ARCHITECTURE.md").lines().enumerate() {
            let unknown =
                |name: &str, what| Finding::new("ARCHITECTURE.md", index + 1, format!("{what} {name} does not exist"));
            let paths = quoted(line).filter(|name| is_path(name) && !self.tree.has(name));
            findings.extend(paths.map(|name| unknown(name, "the path")));
            let last_cell = line.trim_end().strip_suffix('|').and_then(|row| row.rsplit('|').next());
            let tests = quoted(last_cell.unwrap_or_default()).filter(|name| is_test(name) && !self.defines(name));
            findings.extend(tests.map(|name| unknown(name, "the test")));
        }
        findings
    }

    fn defines(&self, function: &str) -> bool {
        let signature = format!("fn {function}(");
        self.tree.files().iter().any(|file| file.code.contains(&signature))
    }
}

/// What stands in backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn is_path(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    plain && name.contains('/') && !name.starts_with('/') && !name.starts_with('-')
}

fn is_test(name: &str) -> bool {
    name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The path that `target` means in the document `from`.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
