//! Who is to blame when an executor died. Pure.
//!
//! The thread that received a fatal signal marked its slot: that attempt failed, and the others only
//! lost their process. Without a mark (killed from outside, out of memory, `exit` in user code) an
//! attempt that ran alone is to blame; several are suspects, which run again one at a time.

use gristmill_common::failure::{Disposition, Failure, FailureCode, InputPosition};
use gristmill_common::ids::JobAttempt;

/// An attempt that was running when its executor died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Victim {
    pub(super) id: JobAttempt,
    /// The record it had in hand.
    pub(super) position: Option<InputPosition>,
    /// Its thread received the fatal signal.
    pub(super) marked: bool,
}

/// How an executor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Death {
    /// Such as `executor died: signal 6 (SIGABRT)`.
    pub(super) cause: String,
    /// It had built its job.
    pub(super) opened: bool,
    /// The worker itself ended it, for this reason.
    pub(super) killed: Option<String>,
}

/// What becomes of one victim.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) id: JobAttempt,
    pub(super) failure: Failure,
    /// It has to run alone next time.
    pub(super) suspect: bool,
}

/// Judges the attempts of a dead executor.
pub(super) fn judge(death: &Death, victims: Vec<Victim>) -> Vec<Verdict> {
    let marked: Option<String> =
        victims.iter().find(|victim| victim.marked).map(|victim| victim.id.attempt.to_string());
    let alone = victims.len() == 1;
    let verdict = |victim: Victim| {
        let Victim { id, position, marked: is_marked } = victim;
        let (message, counted, suspect) = match (&death.killed, &marked) {
            (Some(why), _) => (format!("given back: {why}"), false, false),
            (None, Some(_)) if is_marked => (death.cause.clone(), true, false),
            (None, Some(culprit)) => (format!("given back: {} in {culprit}", death.cause), false, false),
            (None, None) if alone => (death.cause.clone(), true, false),
            // What crashes before there is a job crashes without any of its records.
            (None, None) if !death.opened => (format!("{} before it was ready", death.cause), true, false),
            (None, None) => (format!("given back to run alone: {}", death.cause), false, true),
        };
        let mut failure = Failure::new(FailureCode::ExecutorCrash, message);
        if !counted {
            failure.disposition = Disposition::NotCounted;
        }
        failure.position = position;
        Verdict { id, failure, suspect }
    };
    victims.into_iter().map(verdict).collect()
}

/// The end of a process as people say it.
pub(super) fn describe(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = match signal {
                4 => " (SIGILL)",
                6 => " (SIGABRT)",
                7 => " (SIGBUS)",
                8 => " (SIGFPE)",
                9 => " (SIGKILL: killed from outside, or out of memory)",
                11 => " (SIGSEGV)",
                15 => " (SIGTERM)",
                _ => "",
            };
            format!("executor died: signal {signal}{name}")
        }
        (None, Some(code)) => format!("executor exited with status {code}"),
        (None, None) => "executor ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::ids::JobId;

    use super::*;

    /// Victims as `m-0.0` or, marked, `*m-0.0`; verdicts as `attempt charged|back|suspect`.
    #[track_caller]
    fn check(opened: bool, killed: Option<&str>, victims: &str, expect: &[&str]) {
        let death = Death {
            cause: "executor died: signal 6 (SIGABRT)".to_owned(),
            opened,
            killed: killed.map(ToOwned::to_owned),
        };
        let victim = |text: &str| Victim {
            id: JobAttempt { job: JobId(1), attempt: text.trim_start_matches('*').parse().expect("an attempt") },
            position: Some(InputPosition { object: "/data/a.txt".to_owned(), offset: 1204 }),
            marked: text.starts_with('*'),
        };
        let verdicts = judge(&death, victims.split_whitespace().map(victim).collect());
        let shown: Vec<String> = verdicts
            .iter()
            .map(|verdict| {
                let fate = match (verdict.failure.disposition, verdict.suspect) {
                    (Disposition::Retry, false) => "charged",
                    (Disposition::NotCounted, false) => "back",
                    (Disposition::NotCounted, true) => "suspect",
                    other => panic!("{other:?}"),
                };
                assert_eq!(verdict.failure.code, FailureCode::ExecutorCrash);
                assert!(verdict.failure.to_string().ends_with(" (at /data/a.txt:1204)"), "{}", verdict.failure);
                format!("{} {fate}: {}", verdict.id.attempt, verdict.failure.message)
            })
            .collect();
        assert_eq!(shown, expect);
    }

    #[test]
    fn the_marked_attempt_is_charged_and_its_neighbours_are_not() {
        check(
            true,
            None,
            "m-0.0 *m-1.0",
            &[
                "m-0.0 back: given back: executor died: signal 6 (SIGABRT) in m-1.0",
                "m-1.0 charged: executor died: signal 6 (SIGABRT)",
            ],
        );
    }

    #[test]
    fn without_a_mark_one_is_charged_and_several_are_suspects() {
        check(true, None, "m-0.0", &["m-0.0 charged: executor died: signal 6 (SIGABRT)"]);
        check(
            true,
            None,
            "m-0.0 m-1.0",
            &[
                "m-0.0 suspect: given back to run alone: executor died: signal 6 (SIGABRT)",
                "m-1.0 suspect: given back to run alone: executor died: signal 6 (SIGABRT)",
            ],
        );
        check(true, None, "", &[]);
    }

    #[test]
    fn an_executor_that_never_opened_charges_everyone() {
        let line = |attempt| format!("{attempt} charged: executor died: signal 6 (SIGABRT) before it was ready");
        check(false, None, "m-0.0 m-1.0", &[&line("m-0.0"), &line("m-1.0")]);
    }

    #[test]
    fn nobody_is_charged_for_an_executor_that_the_worker_ended() {
        check(true, Some("m-9.0 did not stop"), "*m-0.0", &["m-0.0 back: given back: m-9.0 did not stop"]);
    }

    #[test]
    fn ends_are_described_by_signal_or_status() {
        use std::os::unix::process::ExitStatusExt as _;
        let check = |raw, text: &str| assert_eq!(describe(std::process::ExitStatus::from_raw(raw)), text);
        check(6, "executor died: signal 6 (SIGABRT)");
        check(9, "executor died: signal 9 (SIGKILL: killed from outside, or out of memory)");
        check(31, "executor died: signal 31");
        check(3 << 8, "executor exited with status 3");
    }
}
