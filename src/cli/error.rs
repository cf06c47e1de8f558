//! How a command ends: the documented exit codes, and the error that every verb returns. Prints
//! nothing; `render::error` does.

use std::process::ExitCode;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::JobId;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command did what it was asked.
    Succeeded,
    /// The job failed, or the command could not be carried out.
    Failed,
    /// The command line or a setting cannot be.
    Usage,
    /// The job was rejected before it started.
    Rejected,
    /// The master does not answer.
    Unreachable,
    /// A certificate, a token or a right is missing.
    Denied,
    /// The user interrupted.
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn number(self) -> u8 {
        match self {
            Exit::Succeeded => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Rejected => 3,
            Exit::Unreachable => 4,
            Exit::Denied => 5,
            Exit::Interrupted => 130,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Exit::Succeeded => "OK",
            Exit::Failed => "FAILED",
            Exit::Usage => "USAGE",
            Exit::Rejected => "REJECTED",
            Exit::Unreachable => "UNREACHABLE",
            Exit::Denied => "DENIED",
            Exit::Interrupted => "INTERRUPTED",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.number())
    }
}

/// What went wrong, why, and what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    /// The exit code that follows from it.
    pub(crate) exit: Exit,
    /// What failed, if it is a job or a task.
    pub(crate) failure: Option<FailureCode>,
    /// The job it is about, if there is one.
    pub(crate) job: Option<JobId>,
    /// What went wrong: a lower-case fragment that names the object.
    pub(crate) message: String,
    /// The causes, outermost first.
    pub(crate) causes: Vec<String>,
    /// What to try.
    pub(crate) hints: Vec<String>,
    /// The command that runs the task which failed the job again, here.
    pub(crate) replay: Option<String>,
}

impl CliError {
    /// An error that ends with `exit`.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { exit, failure: None, job: None, message, causes: vec![], hints: vec![], replay: None }
    }

    /// An error of an operation: its text, with its sources as causes.
    pub(crate) fn of(exit: Exit, error: &dyn std::error::Error) -> Self {
        let problem = Self::new(exit, error.to_string());
        match error.source() {
            Some(source) => problem.because(source),
            None => problem,
        }
    }

    /// A command line or setting that cannot be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A job that failed.
    pub(crate) fn job_failed(job: JobId, failure: &Failure) -> Self {
        let problem = Self::new(Exit::Failed, format!("the job failed: {failure}"));
        Self { failure: Some(failure.code), job: Some(job), ..problem }
    }

    /// The kind, for programs: a failure's code, or a word for the exit code.
    pub(crate) fn code(&self) -> String {
        self.failure.map_or_else(|| self.exit.code().to_owned(), |code| code.to_string())
    }

    /// A job that the user interrupted.
    pub(crate) fn interrupted(job: JobId) -> Self {
        Self { job: Some(job), ..Self::new(Exit::Interrupted, "interrupted: the job was cancelled") }
    }

    /// The same with `error` and its sources as causes.
    #[must_use]
    pub(crate) fn because(mut self, error: &dyn std::error::Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // Clients repeat what their sources say.
            if !self.causes.last().unwrap_or(&self.message).ends_with(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// The same with something to try.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}
