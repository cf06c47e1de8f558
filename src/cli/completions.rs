//! `gristmill completions`: what a shell needs to complete verbs, jobs and flags.

use std::io::{self, Write as _};

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::Context;
use super::error::{CliError, Exit};
use crate::entry::JobTable;

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    Command::new("completions")
        .about("Print completions for a shell")
        .after_help(format!("Example:\n  {program} completions bash > /etc/bash_completion.d/{program}"))
        .arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell)))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let shell: Shell = *matches.get_one("shell").expect("clap demands it");
    let mut script = vec![];
    let mut command = super::command(&context.jobs, &context.program);
    clap_complete::generate(shell, &mut command, context.program.clone(), &mut script);
    // Whoever read stdout may have had enough; there is nobody left to tell.
    let _gone = io::stdout().write_all(&script);
    Ok(Exit::Succeeded)
}
