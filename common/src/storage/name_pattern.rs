//! One name matched against one component of a glob: `*`, `?`, `[a-z]`, `[!a-z]` and `\` before a
//! literal character. Works on characters, not bytes, so that `?` is one letter in any script.
//! Knows no folders: `/`, `**` and brace lists are taken apart in `pattern.rs`.

use crate::naming::is_hidden;

/// A pattern for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePattern {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyChar,
    AnyRun,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl NamePattern {
    /// Parses one component of a glob; `None` if a `[` is not closed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            tokens.push(match c {
                '*' => Token::AnyRun,
                '?' => Token::AnyChar,
                '[' => {
                    let (class, after) = parse_class(rest)?;
                    rest = after;
                    class
                }
                '\\' => match rest.chars().next() {
                    Some(escaped) => {
                        rest = &rest[escaped.len_utf8()..];
                        Token::Literal(escaped)
                    }
                    None => Token::Literal('\\'),
                },
                _ => Token::Literal(c),
            });
        }
        Some(Self { tokens })
    }

    /// The one name that matches, if there is only one.
    pub(crate) fn literal(&self) -> Option<String> {
        let chars = self.tokens.iter().map(|token| match token {
            Token::Literal(c) => Some(*c),
            Token::AnyChar | Token::AnyRun | Token::Class { .. } => None,
        });
        chars.collect()
    }

    /// What every name begins with that matches.
    pub(crate) fn literal_prefix(&self) -> String {
        let literals = self.tokens.iter().map_while(|token| match token {
            Token::Literal(c) => Some(*c),
            Token::AnyChar | Token::AnyRun | Token::Class { .. } => None,
        });
        literals.collect()
    }

    /// Whether the name matches. A hidden name does only if the pattern says its first character.
    pub(crate) fn matches(&self, name: &str) -> bool {
        if is_hidden(name) && !matches!(self.tokens.first(), Some(Token::Literal(_))) {
            return false;
        }
        // On a mismatch the last `*` takes one character more: linear for each star, never exponential.
        let mut token = 0;
        let mut rest = name;
        let mut retry: Option<(usize, &str)> = None;
        loop {
            let head = rest.chars().next();
            match (self.tokens.get(token), head) {
                (Some(Token::AnyRun), _) => {
                    retry = Some((token + 1, rest));
                    token += 1;
                }
                (None, None) => return true,
                (Some(single), Some(c)) if single.takes(c) => {
                    token += 1;
                    rest = &rest[c.len_utf8()..];
                }
                _ => {
                    let Some((after_star, from)) = retry else { return false };
                    let Some(c) = from.chars().next() else { return false };
                    rest = &from[c.len_utf8()..];
                    retry = Some((after_star, rest));
                    token = after_star;
                }
            }
        }
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Literal(literal) => *literal == c,
            Token::AnyChar => true,
            Token::AnyRun => false,
            Token::Class { negated, ranges } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
        }
    }
}

/// How many bytes after a `[` belong to its class, the closing `]` included; `None` if it is not
/// closed. A `]` in first place is a member.
pub(crate) fn class_len(after_bracket: &str) -> Option<usize> {
    let mut chars = after_bracket.char_indices().peekable();
    chars.next_if(|(_, c)| matches!(c, '!' | '^'));
    chars.next_if(|(_, c)| *c == ']');
    while let Some((at, c)) = chars.next() {
        match c {
            ']' => return Some(at + 1),
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    None
}

fn parse_class(after_bracket: &str) -> Option<(Token, &str)> {
    let (class, rest) = after_bracket.split_at(class_len(after_bracket)?);
    let class = &class[..class.len() - 1];
    let (negated, members) = match class.strip_prefix(['!', '^']) {
        Some(members) => (true, members),
        None => (false, class),
    };
    let mut ranges = Vec::new();
    let mut chars = members.chars().peekable();
    while let Some(c) = chars.next() {
        let from = if c == '\\' { chars.next().unwrap_or(c) } else { c };
        let mut ahead = chars.clone();
        let to = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) => {
                chars = ahead;
                if to == '\\' { chars.next().unwrap_or(to) } else { to }
            }
            _ => from,
        };
        ranges.push((from, to));
    }
    Some((Token::Class { negated, ranges }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expect: bool) {
        let parsed = NamePattern::parse(pattern).expect(pattern);
        assert_eq!(parsed.matches(name), expect, "{pattern:?} on {name:?}");
    }

    #[test]
    fn stars_question_marks_and_classes_match_characters() {
        for (pattern, name, expect) in [
            ("*", "a.txt", true),
            ("*", "", true),
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("**", "abc", true),
            ("?", "é", true),
            ("?", "", false),
            ("??", "é", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[^é]", "é", false),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", true),
            ("100%=+ é", "100%=+ é", true),
        ] {
            check(pattern, name, expect);
        }
    }

    #[test]
    fn hidden_names_match_only_when_named() {
        for (pattern, name, expect) in [
            ("*", "_SUCCESS", false),
            ("?x", ".x", false),
            ("[._]x", "_x", false),
            ("_*", "_x", true),
            (".x", ".x", true),
            ("a_*", "a_x", true),
        ] {
            check(pattern, name, expect);
        }
    }

    #[test]
    fn unclosed_classes_are_no_patterns() {
        for text in ["[", "a[b", "[]", "[!]", "[a\\]"] {
            assert_eq!(NamePattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn long_runs_of_stars_end_soon() {
        check(&"a*".repeat(50), &"a".repeat(5000), true);
        check(&format!("{}b", "a*".repeat(50)), &"a".repeat(5000), false);
    }
}
