//! How long functions are, and the list of those that may be longer than a screen.

use std::collections::BTreeMap;

use crate::tree::{Finding, SourceFile};

/// Lines of a function, signature and braces included.
const MAX_LINES: usize = 70;

/// A function with a body.
#[derive(Debug)]
pub(crate) struct Function {
    path: String,
    name: String,
    line: usize,
    lines: usize,
}

/// The functions of a file, nested ones too, found by matching braces.
pub(crate) fn functions_of(file: &SourceFile) -> Vec<Function> {
    let code = file.code.as_bytes();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut functions = vec![];
    for (at, _) in file.code.match_indices("fn ") {
        let name_end = at + 3 + code[at + 3..].iter().take_while(|byte| is_name(byte)).count();
        if name_end == at + 3 || at > 0 && is_name(&code[at - 1]) {
            continue;
        }
        if let Some(end) = body_end(code, name_end) {
            functions.push(Function {
                path: file.path.clone(),
                name: file.code[at + 3..name_end].to_owned(),
                line: 1 + file.code[..at].matches('\n').count(),
                lines: 1 + file.code[at..end].matches('\n').count(),
            });
        }
    }
    functions
}

/// Where the body of the function whose name ends at `at` is closed; `None` if it has no body.
fn body_end(code: &[u8], at: usize) -> Option<usize> {
    let (mut brackets, mut braces) = (0, 0);
    for (index, byte) in code.iter().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b';' if brackets == 0 && braces == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

/// Functions that do not fit a screen and are not listed, and entries of the list that are larger
/// than their function: the list may only shrink. An entry is `path name lines`.
pub(crate) fn too_long(functions: &[Function], list: &str) -> Vec<Finding> {
    let mut listed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut fields = line.split(' ');
        let (path, name) = (fields.next().expect("a path"), fields.next().expect("a name"));
        listed.insert((path, name), fields.next().expect("lines").parse().expect("a number of lines"));
    }
    let mut findings = vec![];
    for function in functions.iter().filter(|function| function.lines > MAX_LINES) {
        let Function { path, name, line, lines } = function;
        match listed.remove(&(path.as_str(), name.as_str())) {
            Some(allowed) if allowed == *lines => {}
            Some(allowed) if allowed > *lines => {
                findings.push(Finding::new(path, *line, format!("{name} shrank to {lines} lines: shrink its entry")));
            }
            _ => findings.push(Finding::new(path, *line, format!("{name} has {lines} lines, more than {MAX_LINES}"))),
        }
    }
    let stale = listed.keys().map(|(path, name)| Finding::new(path, 1, format!("{name} fits: remove its entry")));
    findings.extend(stale);
    findings
}
