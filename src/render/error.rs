//! Errors as people read them (`error:`, causes, `hint:`) and as programs do.

use std::fmt::Write as _;

use serde_json::json;

use super::console::Console;
use crate::cli::error::CliError;

/// Shows the error: on stderr, or with `--json` as `{"error": …}` on stdout too.
pub(crate) fn show(console: Console, error: &CliError) {
    if console.json {
        console.data(object(error));
    }
    console.insist(text(error, console.colours()).trim_end());
}

/// The error in a few lines.
fn text(error: &CliError, coloured: bool) -> String {
    let (red, cyan, reset) = if coloured { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
    let mut text = format!("{red}error:{reset} {}\n", error.message);
    for line in error.causes.iter().flat_map(|cause| cause.lines()) {
        let _infallible = writeln!(text, "  {line}");
    }
    for hint in &error.hints {
        let _infallible = writeln!(text, "{cyan}hint:{reset} {hint}");
    }
    if let Some(command) = &error.replay {
        let _infallible = writeln!(text, "{cyan}hint:{reset} replay it here: {command}");
    }
    text
}

/// `{"error": {"code", "job", "message", "causes", "hints", "replay", "exit_code"}}`.
fn object(error: &CliError) -> serde_json::Value {
    json!({ "error": {
        "code": error.code(),
        "job": error.job.map(|job| job.to_string()),
        "message": error.message,
        "causes": error.causes,
        "hints": error.hints,
        "replay": error.replay,
        "exit_code": error.exit.number(),
    } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Exit;

    #[test]
    fn errors_say_what_why_and_what_to_try() {
        let error = CliError::new(Exit::Rejected, "no such input: /data/x")
            .because(&std::io::Error::other("not found"))
            .hint("check the spelling");
        assert_eq!(text(&error, false), "error: no such input: /data/x\n  not found\nhint: check the spelling\n");
        let replayable = CliError { replay: Some("gristmill replay j-1 m-0".to_owned()), ..error.clone() };
        let last = "hint: replay it here: gristmill replay j-1 m-0\n";
        assert_eq!(text(&replayable, false), text(&error, false) + last);
        let object = object(&error);
        assert_eq!((&object["error"]["code"], &object["error"]["exit_code"]), (&json!("REJECTED"), &json!(3)));
    }
}
