//! The two streams of a command: data on stdout, talk on stderr. A reader who has gone away
//! (`| head`) is no error.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

/// Where a command writes, and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    /// Whether stdout gets one JSON object in place of text.
    pub(crate) json: bool,
    /// Whether stderr gets errors only.
    pub(crate) quiet: bool,
}

impl Console {
    /// Writes one line for programs, or the answer that was asked for, to stdout.
    pub(crate) fn data(self, line: impl fmt::Display) {
        let mut stdout = io::stdout().lock();
        // Whoever read stdout may have had enough; there is nobody left to tell.
        let _gone = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }

    /// Writes one line for people to stderr, unless `--quiet`.
    pub(crate) fn talk(self, line: impl fmt::Display) {
        if !self.quiet {
            self.insist(line);
        }
    }

    /// Writes one line to stderr even if `--quiet`.
    pub(crate) fn insist(self, line: impl fmt::Display) {
        let _gone = writeln!(io::stderr().lock(), "{line}");
    }

    /// Whether stderr is a terminal that bars may be drawn on.
    pub(crate) fn draws(self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Whether stderr may be coloured: a terminal, and `NO_COLOR` is not set.
    pub(crate) fn colours(self) -> bool {
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}
