//! Ctrl-C and SIGTERM: the first asks the command to end in order, the second ends the process at
//! once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::error::Exit;

/// How often those who wait look at the flag. Raised, Ctrl-C answers later; lowered, an idle process
/// wakes for nothing.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Set by the first signal.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over both signals for the rest of the process's life.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(crate) fn install() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds the flag unset, sets it and goes on.
            flag::register_conditional_shutdown(signal, Exit::Interrupted.number().into(), Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }

    /// Whether the user asked for the end.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns once the user asked for the end.
    pub(crate) async fn asked(&self) {
        while !self.is_asked() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
