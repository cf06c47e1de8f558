//! Commands in documents, so that tests can run what readers are told to type.

/// The commands of a Markdown text's ```` ```sh ```` blocks, in order. A line that ends in `\` goes
/// on in the next; comments and blank lines are left out.
///
/// # Examples
///
/// ```
/// let text = "Try:\n```sh\n# the first\ncargo run -- \\\n    jobs\n```\n";
/// assert_eq!(gristmill_tests::docs::sh_commands(text), ["cargo run -- jobs"]);
/// ```
pub fn sh_commands(markdown: &str) -> Vec<String> {
    let mut commands = vec![];
    let mut inside = false;
    let mut pending = String::new();
    for line in markdown.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            inside = !inside && language == "sh";
            continue;
        }
        if !inside || pending.is_empty() && (line.is_empty() || line.starts_with('#')) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(begun) => pending.push_str(&format!("{} ", begun.trim_end())),
            None => commands.push(std::mem::take(&mut pending) + line),
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sh_blocks_hold_commands() {
        let text = "cargo no\n```\nno\n```\n```rust\nno\n```\n  ```sh\n  yes one\n\n  yes \\\n  two\n  ```\n```sh\nthree\n```\n";
        assert_eq!(sh_commands(text), ["yes one", "yes two", "three"]);
        assert_eq!(sh_commands(""), Vec::<String>::new());
    }
}
