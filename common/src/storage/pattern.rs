//! What a glob means, as a pure function of names: brace lists, the longest literal folder to list
//! from, `**`, hidden names. Lists nothing itself.
//!
//! A component `**` stands for any number of folders. A folder that a glob matches is read as if it
//! had been named: everything visible below it, as a shell and Hadoop would have it.

use std::path::Path;

use crate::naming::{Uri, is_hidden};
use crate::storage::error::{BadPattern, InputError};
use crate::storage::name_pattern::{NamePattern, class_len};

/// The most patterns a brace list may stand for. More would serve generated lists, which are better
/// kept in a list file; fewer would refuse years of days.
const MAX_ALTERNATIVES: usize = 10_000;

/// A glob: the union of its alternatives, one for each choice in its brace lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub(crate) alternatives: Vec<Alternative>,
}

/// One choice of each brace list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alternative {
    /// The folder to list from: the leading components without glob characters. Or the object
    /// itself, if there are no others.
    pub(crate) folder: Uri,
    /// What the names below it must be like.
    pub(crate) names: NamesBelow,
}

/// What the path of an object below a folder must be like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamesBelow {
    components: Vec<Component>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Component {
    AnyDepth,
    Name(NamePattern),
}

/// How much of a [`NamesBelow`] the names on the way to a folder have matched: the positions of the
/// components that may come next, ascending. Empty if nothing below can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress(Vec<usize>);

impl Progress {
    /// Whether something below may match.
    pub fn goes_on(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Pattern {
    /// Whether the location holds characters that make it a glob, if nothing has that very name.
    pub fn is_glob(uri: &Uri) -> bool {
        uri.rest().contains(['*', '?', '[', '{'])
    }

    /// Parses the location as a glob.
    ///
    /// # Errors
    ///
    /// If a `[` or `{` is not closed, or its brace lists stand for too many patterns.
    pub fn parse(uri: &Uri) -> Result<Self, InputError> {
        let bad = |reason| InputError::BadPattern { pattern: uri.to_string(), reason };
        let texts = expand_braces(uri.rest()).map_err(bad)?;
        let parsed = texts.iter().map(|text| Alternative::parse(uri, text).ok_or(bad(BadPattern::UnclosedClass)));
        Ok(Self { alternatives: parsed.collect::<Result<_, _>>()? })
    }

    /// Whether objects inside `folder` could match.
    pub fn may_match_inside(&self, folder: &Uri) -> bool {
        self.alternatives.iter().any(|alternative| alternative.may_match_inside(folder))
    }

    /// The folders it is listed from.
    pub fn folders(&self) -> impl Iterator<Item = &Uri> {
        self.alternatives.iter().map(|alternative| &alternative.folder)
    }
}

impl Alternative {
    fn parse(uri: &Uri, text: &str) -> Option<Self> {
        // The first component at an object store is the bucket, which no glob may choose.
        let local = Uri::from_path(Path::new(text));
        let (root, path) = match uri.local_path() {
            Some(_) => ("file:///".to_owned(), local.rest()),
            None => {
                let (bucket, path) = text.split_once('/').unwrap_or((text, ""));
                (format!("{}://{bucket}", uri.scheme()), path)
            }
        };
        let mut folder: Uri = root.parse().expect("the scheme is that of a URI");
        let mut components = Vec::new();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if name == "**" {
                components.push(Component::AnyDepth);
                continue;
            }
            let pattern = NamePattern::parse(name)?;
            match pattern.literal() {
                Some(literal) if components.is_empty() => folder = folder.join(&literal),
                _ => components.push(Component::Name(pattern)),
            }
        }
        Some(Self { folder, names: NamesBelow { components } })
    }

    fn may_match_inside(&self, folder: &Uri) -> bool {
        if folder.contains(&self.folder) {
            return true;
        }
        if !self.folder.contains(folder) {
            return false;
        }
        let below = &folder.rest()[self.folder.rest().len()..];
        self.names.progress_through(below).goes_on()
    }
}

impl NamesBelow {
    /// Whether there is no condition but being visible.
    pub fn is_anything(&self) -> bool {
        self.components.is_empty()
    }

    /// What all paths below the folder begin with that match; `None` if that is nothing.
    pub fn literal_prefix(&self) -> Option<String> {
        match self.components.first() {
            Some(Component::Name(pattern)) => Some(pattern.literal_prefix()).filter(|prefix| !prefix.is_empty()),
            Some(Component::AnyDepth) | None => None,
        }
    }

    /// The progress at the folder itself.
    pub fn start(&self) -> Progress {
        let mut next = Vec::new();
        self.admit(0, &mut next);
        Progress(next)
    }

    /// The progress after one name more.
    pub fn step(&self, progress: &Progress, name: &str) -> Progress {
        let mut next = Vec::new();
        for &at in &progress.0 {
            match self.components.get(at) {
                None | Some(Component::AnyDepth) if !is_hidden(name) => self.admit(at, &mut next),
                Some(Component::Name(pattern)) if pattern.matches(name) => self.admit(at + 1, &mut next),
                _ => {}
            }
        }
        next.sort_unstable();
        next.dedup();
        Progress(next)
    }

    /// Whether an object reached with this progress matches.
    pub fn is_match(&self, progress: &Progress) -> bool {
        progress.0.last() == Some(&self.components.len())
    }

    /// Whether the object at this path below the folder matches.
    pub fn matches(&self, path: &str) -> bool {
        self.is_match(&self.progress_through(path))
    }

    fn progress_through(&self, path: &str) -> Progress {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(self.start(), |progress, name| self.step(&progress, name))
    }

    /// Adds the position, and those behind it that `**` may skip to.
    fn admit(&self, at: usize, next: &mut Vec<usize>) {
        next.push(at);
        if self.components.get(at) == Some(&Component::AnyDepth) {
            self.admit(at + 1, next);
        }
    }
}

/// Writes brace lists out: `a{b,c}d` is `abd` and `acd`. Lists may nest.
fn expand_braces(text: &str) -> Result<Vec<String>, BadPattern> {
    let mut waiting = vec![text.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = waiting.pop() {
        match first_brace_list(&text)? {
            None => done.push(text),
            Some(list) => {
                for choice in list.choices.iter().rev() {
                    waiting.push(format!("{}{choice}{}", list.before, list.after));
                }
            }
        }
        if done.len() + waiting.len() > MAX_ALTERNATIVES {
            return Err(BadPattern::TooManyAlternatives { limit: MAX_ALTERNATIVES });
        }
    }
    Ok(done)
}

struct BraceList<'a> {
    before: &'a str,
    choices: Vec<&'a str>,
    after: &'a str,
}

fn first_brace_list(text: &str) -> Result<Option<BraceList<'_>>, BadPattern> {
    let mut open = None;
    let mut depth = 0;
    let mut choice_start = 0;
    let mut choices = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let after = at + c.len_utf8();
        let mut next = after;
        match c {
            '\\' => next += text[after..].chars().next().map_or(0, char::len_utf8),
            '[' => next += class_len(&text[after..]).unwrap_or(0),
            '{' => {
                depth += 1;
                if depth == 1 {
                    (open, choice_start) = (Some(at), after);
                }
            }
            ',' if depth == 1 => {
                choices.push(&text[choice_start..at]);
                choice_start = after;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if let (0, Some(open)) = (depth, open) {
                    choices.push(&text[choice_start..at]);
                    return Ok(Some(BraceList { before: &text[..open], choices, after: &text[after..] }));
                }
            }
            _ => {}
        }
        at = next;
    }
    if open.is_some() { Err(BadPattern::UnclosedBrace) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(&text.parse().expect("a URI")).expect(text)
    }

    #[test]
    fn brace_lists_are_written_out_in_order() {
        let check = |text: &str, expect: &[&str]| assert_eq!(expand_braces(text).expect(text), expect, "{text}");
        check("a", &["a"]);
        check("a{b,c}d", &["abd", "acd"]);
        check("{a,b}{1,2}", &["a1", "a2", "b1", "b2"]);
        check("x{a,{b,c}y,}", &["xa", "xby", "xcy", "x"]);
        check("{x/y,z}/w", &["x/y/w", "z/w"]);
        check("[{]\\{a}", &["[{]\\{a}"]);
        check("{a}", &["a"]);
        assert_eq!(expand_braces("a{b,c"), Err(BadPattern::UnclosedBrace));
        let many = "{0,1,2,3,4,5,6,7,8,9}".repeat(5);
        assert_eq!(expand_braces(&many), Err(BadPattern::TooManyAlternatives { limit: MAX_ALTERNATIVES }));
    }

    #[test]
    fn listing_starts_at_the_longest_literal_folder() {
        let check = |text: &str, folders: &[&str]| {
            let pattern = pattern(text);
            let shown: Vec<String> = pattern.folders().map(Uri::to_string).collect();
            assert_eq!(shown, folders, "{text}");
        };
        check("/data/2024/*.txt", &["/data/2024"]);
        check("/data/20*/x", &["/data"]);
        check("/*", &["/"]);
        check("/data/{a,b}/x.txt", &["/data/a/x.txt", "/data/b/x.txt"]);
        check("/data/\\*x/?", &["/data/*x"]);
        check("s3://bucket/a/*", &["s3://bucket/a"]);
    }

    #[test]
    fn paths_match_by_component() {
        for (glob, path, expect) in [
            ("/d/*.txt", "a.txt", true),
            ("/d/*.txt", "x/a.txt", false),
            ("/d/**/*.txt", "a.txt", true),
            ("/d/**/*.txt", "x/y/a.txt", true),
            ("/d/**/*.txt", "x/_y/a.txt", false),
            ("/d/**/*.txt", "x/y/a.md", false),
            ("/d/**", "x/y", true),
            ("/d/**", ".x/y", false),
            ("/d/**/b/**/c", "a/b/b/x/c", true),
            ("/d/**/b/**/c", "a/x/c", false),
            ("/d/*/x", "a/x", true),
            ("/d/*", "folder/deep/inside", true),
            ("/d/*", "folder/_deep/inside", false),
            ("/d/_*", "_logs/a", true),
            ("/d/?", "é", true),
            ("/d/{a,b?}", "b1", true),
        ] {
            let matched = pattern(glob).alternatives.iter().any(|alternative| alternative.names.matches(path));
            assert_eq!(matched, expect, "{glob} on {path}");
        }
    }

    #[test]
    fn a_folder_is_inside_only_if_something_in_it_could_match() {
        for (glob, folder, expect) in [
            ("/d/*", "/d/out", true),
            ("/d/*.txt", "/d/out", false),
            ("/d/*/x", "/d/out", true),
            ("/d/*", "/d/_out", false),
            ("/d/**/x", "/d/a/b", true),
            ("/d/{a,b}*", "/d/b", true),
            ("/d/*", "/", true),
            ("/d/*", "/e", false),
            ("/d/*", "s3://d/x", false),
        ] {
            assert_eq!(pattern(glob).may_match_inside(&folder.parse().expect("a URI")), expect, "{glob} {folder}");
        }
    }

    #[test]
    fn what_cannot_be_parsed_is_named() {
        let error = Pattern::parse(&"/data/a[b".parse().expect("a URI")).expect_err("unclosed");
        assert_eq!(error.to_string(), "cannot understand the pattern /data/a[b: a \"[\" is not closed");
    }
}
