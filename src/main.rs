//! The shipped binary: [`gristmill::main`] over the ready-made jobs.

use std::process::ExitCode;

/// Many threads allocate and free small things; mimalloc does that without contention.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gristmill::main(gristmill::ready_made_jobs())
}
