//! From the text of a command to its words, without a shell.

/// The words of a command. White space parts them, except inside single or double quotes, which are
/// dropped; a backslash is a letter like any other.
///
/// # Errors
///
/// If a quote is not closed, or there is no word.
pub fn split(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("the command {command:?} has a {open} that is not closed"));
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err("a command cannot be empty".to_owned());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        let check = |command: &str, expect: &[&str]| assert_eq!(split(command).expect("words"), expect, "{command}");
        check("cat", &["cat"]);
        check("  awk  '{print $1}' -v x=\"a b\" ", &["awk", "{print $1}", "-v", "x=a b"]);
        check(r"grep -E \.txt$", &["grep", "-E", r"\.txt$"]);
        check(r#"sh -c 'echo '"'"'x'"'"' | cat'"#, &["sh", "-c", "echo 'x' | cat"]);
        check("f '' \"'\"", &["f", "", "'"]);
        for bad in ["", "  ", "'a", "x \"", "''"] {
            assert!(split(bad).is_err(), "{bad:?}");
        }
    }
}
