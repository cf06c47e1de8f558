//! The shipped binary: [`gristmill::main`] over the ready-made jobs.

use std::process::ExitCode;

fn main() -> ExitCode {
    gristmill::main(gristmill::ready_made_jobs())
}
