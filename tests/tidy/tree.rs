//! The files of the repository, and the code of one: its text without comments and string contents.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no source, besides those marked as caches.
const SKIPPED: [&str; 3] = [".git", ".bench", "target"];

/// Marks a folder whose content can be made again, such as cargo's `target`.
const CACHE_MARK: &str = "CACHEDIR.TAG";

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A text file: its path from the root, with `/`, and its content.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Of Rust files, the text with comments and the contents of literals blanked; lines stay.
    pub(crate) code: String,
    /// Whether the file is compiled for tests only, or is one of an example.
    aside: bool,
}

impl SourceFile {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { code_of(text) } else { String::new() };
        let aside = path.split('/').any(|folder| matches!(folder, "tests" | "benches" | "examples"));
        Self { path: path.to_owned(), text: text.to_owned(), code, aside }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The code that is shipped: lines before the test module; none in test files.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = if self.aside { vec![] } else { self.code.lines().collect() };
        let is_tests =
            |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
        let end = lines.windows(2).position(is_tests).unwrap_or(lines.len());
        lines.into_iter().take(end).zip(1..).map(|(line, number)| (number, line))
    }

    /// The files that modules declared here for tests alone may be: `x.rs` for `#[cfg(test)] mod x;`.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "lib.rs" | "main.rs" | "mod.rs")) => folder,
            _ => self.path.trim_end_matches(".rs"),
        };
        let lines: Vec<&str> = self.code.lines().collect();
        let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
        let name = |line: &&str| Some(line.split_once("mod ")?.1.strip_suffix(';')?.to_owned());
        pairs.filter_map(|pair| name(&pair[1])).map(|name| format!("{folder}/{name}.rs")).collect()
    }

    /// All code, tests too.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().zip(1..).map(|(line, number)| (number, line))
    }

    /// The text as it is.
    pub(crate) fn text_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().zip(1..).map(|(line, number)| (number, line))
    }
}

/// All text files of the repository.
#[derive(Debug)]
pub(crate) struct Tree {
    files: Vec<SourceFile>,
}

impl Tree {
    /// Reads the repository that this package lies in.
    pub(crate) fn read() -> Self {
        let root = root();
        let mut files = vec![];
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder of the repository") {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                // In a linked worktree `.git` is a file.
                if SKIPPED.contains(&name.as_str()) {
                    continue;
                }
                if path.is_dir() {
                    if !path.join(CACHE_MARK).exists() {
                        folders.push(path);
                    }
                } else if let Ok(text) = fs::read_to_string(&path) {
                    let relative = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
                    files.push(SourceFile::new(&relative, &text));
                }
            }
        }
        Self::of(files)
    }

    pub(crate) fn of(mut files: Vec<SourceFile>) -> Self {
        let test_modules: Vec<String> = files.iter().flat_map(SourceFile::test_modules).collect();
        for file in &mut files {
            file.aside |= test_modules.contains(&file.path);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    pub(crate) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The text of a file that must exist.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> &str {
        let found = self.files.iter().find(|file| file.path == path);
        &found.unwrap_or_else(|| panic!("{path} is missing")).text
    }

    /// Whether a file or folder of this path exists.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files.iter().any(|file| file.path.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with('/')))
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository").to_owned()
}

/// Whether `line` contains `word`, not as part of a longer name.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        let (first, last) = (word.starts_with(is_name), word.ends_with(is_name));
        !(first && before.is_some_and(is_name) || last && after.is_some_and(is_name))
    })
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks comments and the contents of string and character literals.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => end_of(&chars, at, |rest| rest[0] == '\n', 0),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_block_comment(&chars, at),
            '"' => end_of_string(&chars, at),
            '\'' => end_of_character(&chars, at),
            c if is_name(c) => {
                let end = end_of(&chars, at, |rest| !is_name(rest[0]), 0);
                let name: String = chars[at..end].iter().collect();
                code.push_str(&name);
                at = end;
                match end_of_raw_string(&chars, end).filter(|_| matches!(name.as_str(), "r" | "br" | "cr")) {
                    Some(end) => end,
                    None => continue,
                }
            }
            c => {
                code.push(c);
                at += 1;
                continue;
            }
        };
        code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// The first place after `at` where `ends` holds, plus `extra`.
fn end_of(chars: &[char], at: usize, ends: impl Fn(&[char]) -> bool, extra: usize) -> usize {
    (at + 1..chars.len()).find(|&i| ends(&chars[i..])).map_or(chars.len(), |i| i + extra)
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (1, start + 2);
    while depth > 0 && at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at.min(chars.len())
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a raw string whose `r` was just read; `None` if none starts here.
fn end_of_raw_string(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start..].iter().take_while(|&&c| c == '#').count();
    if chars.get(start + hashes) != Some(&'"') {
        return None;
    }
    let closes = |rest: &[char]| rest[0] == '"' && rest[1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    Some(end_of(chars, start + hashes, closes, 1 + hashes))
}

/// The end of a character literal, or of the quote alone if it begins a lifetime.
fn end_of_character(chars: &[char], start: usize) -> usize {
    match (chars.get(start + 1), chars.get(start + 2)) {
        (Some('\\'), Some(_)) => end_of(chars, start + 2, |rest| rest[0] == '\'', 1),
        (Some(_), Some('\'')) => start + 3,
        _ => start + 1,
    }
}

#[test]
fn modules_for_tests_alone_are_no_product() {
    let parent = "#[cfg(test)]\nmod x;\n#[cfg(test)]\npub(crate) mod y;\nmod z;\n";
    let files = ["a/lib.rs", "a/x.rs", "a/y.rs", "a/z.rs", "a/b.rs", "a/b/x.rs", "a/b/z.rs"];
    let text = |path: &str| if path == "a/lib.rs" || path == "a/b.rs" { parent } else { "code();\n" };
    let tree = Tree::of(files.iter().map(|path| SourceFile::new(path, text(path))).collect());
    let product = tree.files().iter().filter(|file| file.product_lines().count() > 0);
    assert_eq!(
        product.map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["a/b.rs", "a/b/z.rs", "a/lib.rs", "a/z.rs"]
    );
}

#[test]
fn code_is_text_without_comments_and_literals() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("/* a /* b */ c */d", "                 d"),
        (r#"f("x \" y", 'z', '\'', b'q')"#, "f(        ,    ,     , b   )"),
        ("r#\"unsafe \" x\"#.len()", "r              .len()"),
        ("<'a>(&'a str) 'x'", "< a>(& a str)    "),
        ("for r in x { r\"a\" }", "for r in x { r    }"),
    ] {
        assert_eq!(code_of(text), code, "{text}");
    }
}
