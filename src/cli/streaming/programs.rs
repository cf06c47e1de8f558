//! Whether the commands of a job are where its tasks will look for them: among the files that travel with
//! it, or on PATH. Runs none of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gristmill_jobs::Streaming;

use crate::cli::error::{CliError, Exit};

/// A command as it was given.
#[derive(Debug)]
pub(super) struct Command {
    /// Whether it maps, combines or reduces.
    pub(super) role: &'static str,
    /// The text.
    pub(super) text: String,
}

/// A command that tasks can run.
#[derive(Debug)]
pub(super) struct Found {
    /// The text, with the program under the name that tasks know it by.
    pub(super) text: String,
    /// What may not be as the user means it.
    pub(super) notes: Vec<String>,
}

/// Looks for a command among the files that travel with the job, by name and path, and on PATH.
///
/// # Errors
///
/// If it is no command, or nowhere. Elsewhere than here, absolute paths are only noted.
pub(super) fn find(
    command: &Command,
    shipped: &[(String, String)],
    here: &Path,
    elsewhere: bool,
) -> Result<Found, CliError> {
    let Command { role, text } = command;
    let words = Streaming::words(text).map_err(|error| CliError::usage(error.message))?;
    let mut found = Found { text: text.clone(), notes: Vec::new() };
    let Some((program, arguments)) = words.as_deref().and_then(<[String]>::split_first) else { return Ok(found) };
    let is_shipped = |path: &str| shipped.iter().any(|(name, _)| name == path);
    let own = here.join(program);
    let same = |path: &str| {
        fs::canonicalize(here.join(path)).ok().is_some_and(|path| fs::canonicalize(&own).is_ok_and(|own| own == path))
    };
    let relative = program.strip_prefix("./").unwrap_or(program);
    let missing = |what: String| CliError::new(Exit::Rejected, format!("the {role} {program} {what}"));
    if is_shipped(relative.split('/').next().unwrap_or_default()) {
        // It is in the folder that tasks run in.
    } else if let Some((name, _)) = shipped.iter().find(|(_, path)| program.contains('/') && same(path)) {
        found.text = text.replacen(program.as_str(), &format!("./{name}"), 1);
    } else if program.starts_with('/') {
        match (is_program(Path::new(program)), elsewhere) {
            (true, _) => {}
            (false, true) => found.notes.push(format!("the {role} {program} is not here; workers must have it")),
            (false, false) => return Err(missing("does not exist, or is no program".to_owned())),
        }
    } else if program.contains('/') {
        let error = missing("does not travel with the job".to_owned());
        return Err(error.hint(format!("tasks run in folders of their own: ship it with -file {relative}")));
    } else if !on_path(program) {
        let error = missing("is neither on PATH nor among the files that travel with the job".to_owned());
        return Err(error.hint(format!("ship it with -file {program}, or install it wherever tasks run")));
    }
    for argument in arguments.iter().filter(|argument| !argument.starts_with(['-', '/'])) {
        let plain = argument.strip_prefix("./").unwrap_or(argument);
        if here.join(plain).is_file() && !is_shipped(plain.split('/').next().unwrap_or_default()) {
            let note =
                format!("{argument} is here, but does not travel with the job: tasks find it with -file {argument}");
            found.notes.push(note);
        }
    }
    Ok(found)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_looked_for_where_tasks_run_them() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("bin")).expect("made");
        for name in ["map.py", "bin/red.py"] {
            fs::write(dir.path().join(name), "x").expect("written");
        }
        let shipped = [("map.py", "map.py"), ("red", "bin/red.py"), ("lib", "lib.zip")];
        let shipped = shipped.map(|(name, path)| (name.to_owned(), path.to_owned()));
        let find = |text: &str, elsewhere| {
            let found = find(&Command { role: "mapper", text: text.to_owned() }, &shipped, dir.path(), elsewhere);
            found.map(|found| (found.text, found.notes.len())).map_err(|error| (error.message, error.hints.len()))
        };
        let ok = |text: &str, expect: &str, notes: usize| assert_eq!(find(text, false), Ok((expect.to_owned(), notes)));
        ok("cat", "cat", 0);
        ok("/bin/cat -n", "/bin/cat -n", 0);
        ok("map.py --all", "map.py --all", 0);
        ok("./map.py", "./map.py", 0);
        ok("bin/red.py x", "./red x", 0);
        ok("lib/run.sh", "lib/run.sh", 0);
        ok("sh map.py", "sh map.py", 0);
        ok("sh bin/red.py", "sh bin/red.py", 1);
        ok("org.apache.hadoop.mapred.lib.IdentityMapper", "org.apache.hadoop.mapred.lib.IdentityMapper", 0);
        let bad = |text: &str, expect: &str, hints: usize| {
            let (message, given) = find(text, false).expect_err("nowhere");
            assert!(message.contains(expect) && given == hints, "{message}");
        };
        bad("no-such-program", "the mapper no-such-program is neither on PATH nor among", 1);
        bad("./other.py", "the mapper ./other.py does not travel with the job", 1);
        bad("/no/such", "the mapper /no/such does not exist", 0);
        bad("cat 'x", "not closed", 0);
        assert_eq!(find("/no/such", true), Ok(("/no/such".to_owned(), 1)));
    }
}
