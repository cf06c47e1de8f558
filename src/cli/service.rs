//! What the processes of a cluster share: their log, their end with the process that started them,
//! and where they keep things.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Arg;
use gristmill_common::tls::{Credentials, FolderError, WallSource};
use gristmill_master::runtime::journal::panic_is_contained;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tracing_subscriber::EnvFilter;

use super::Context;
use super::error::{CliError, Exit};

/// What is logged if nobody says.
const DEFAULT_LOG: &str = "info";

/// The hidden flag with which a cluster starts its processes.
pub(super) fn parent_arg() -> Arg {
    Arg::new("parent").long("parent").value_name("PID").hide(true).value_parser(clap::value_parser!(i32))
}

/// Sends the log to stderr, as the setting `log` says.
pub(super) fn start_log(context: &Context) -> Result<(), CliError> {
    let directives = context.settings.get::<String>("log").unwrap_or_else(|| DEFAULT_LOG.to_owned());
    let filter = EnvFilter::try_new(&directives)
        .map_err(|error| CliError::usage(format!("the setting \"log\" cannot be {directives:?}")).because(&error))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(context.console.colours())
        .init();
    Ok(())
}

/// Lets a panic anywhere end this process: a master or worker that lost one of its tasks would go on
/// half alive, and nobody would take over what it no longer does.
pub(super) fn end_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // That of an engine on a damaged journal is told as an error.
        if panic_is_contained() {
            return;
        }
        before(info);
        std::process::abort();
    }));
}

/// Ends this process when the one that started it ends, however that happens.
pub(super) fn end_with_parent(parent: Option<&i32>) -> Result<(), CliError> {
    let Some(parent) = parent else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| CliError::new(Exit::Failed, "cannot follow the parent process").because(&error))?;
    // It may have ended before the line above.
    if getppid().map(Pid::as_raw_pid) != Some(*parent) {
        return Err(CliError::new(Exit::Failed, "the parent process is gone"));
    }
    Ok(())
}

/// An address to listen on.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, CliError> {
    text.parse().map_err(|_| {
        CliError::usage(format!("cannot listen on {text:?}")).hint("give an address and a port, such as 127.0.0.1:7420")
    })
}

/// The certificate in the folder that a flag or the setting `certs` names; `None` if neither does.
pub(super) fn credentials(context: &Context, named: Option<PathBuf>) -> Result<Option<Arc<Credentials>>, CliError> {
    let Some(folder) = named.or_else(|| context.settings.get("certs")) else { return Ok(None) };
    let folder = context.current_dir.join(folder);
    let opened = Credentials::open(&folder, WallSource::of_clock(context.clock));
    opened.map(Some).map_err(|error| folder_error(&error))
}

/// A folder of certificates that cannot be used.
pub(super) fn folder_error(error: &FolderError) -> CliError {
    let problem = CliError::of(Exit::Usage, error);
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// A folder that survives the process: below `$XDG_STATE_HOME`, or `~/.local/state`.
pub(super) fn state_folder(context: &Context, name: &str) -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    state.unwrap_or_else(|| context.current_dir.clone()).join("gristmill").join(name)
}
