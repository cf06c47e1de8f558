//! Who is to blame when an executor died. Pure.
//!
//! The thread that received a fatal signal marked its slot: that attempt failed, and the others only
//! lost their process. So it is with a record that took too long, which the worker itself saw. Without
//! a mark (killed from outside, `exit` in user code) an attempt that ran alone is to blame; several are
//! suspects, which run again one at a time. Memory is everybody's: who is refused some need not be who
//! took it, so that several are suspects then too.

use std::time::Duration;

use gristmill_common::failure::{Disposition, Failure, FailureCode, InputPosition};
use gristmill_common::ids::{JobAttempt, Stage};
use gristmill_common::size::ByteSize;
use gristmill_sys::positions::Fault;

/// An attempt that was running when its executor died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) id: JobAttempt,
    /// The record it had in hand.
    pub(crate) position: Option<InputPosition>,
    /// What its own thread died of, if it did.
    pub(crate) fault: Option<Fault>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessEnd {
    /// Such as `executor died: signal 6 (SIGABRT)`.
    pub(crate) cause: String,
    /// The kernel killed it because memory ran out.
    pub(crate) out_of_memory: bool,
}

/// Why a worker ended an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// For a reason that is no attempt's fault.
    Unwanted(String),
    /// Because a record of this attempt kept user code busy for longer than this.
    TimedOut { culprit: JobAttempt, limit: Duration },
}

/// How an executor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) end: ProcessEnd,
    /// It had built its job.
    pub(crate) opened: bool,
    /// The worker itself ended it, for this reason.
    pub(crate) killed: Option<Ending>,
    /// The most memory it could have for its data.
    pub(crate) memory: ByteSize,
}

/// What becomes of one victim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) id: JobAttempt,
    pub(crate) failure: Failure,
    /// It has to run alone next time.
    pub(crate) suspect: bool,
}

/// What is known of who ended the executor.
enum Blame {
    /// No attempt.
    Nobody(String),
    /// This attempt, for this reason.
    One(JobAttempt, Failure),
    /// Any of them.
    Unknown(Failure),
}

/// Judges the attempts of a dead executor.
pub(crate) fn judge(death: &Death, victims: Vec<Victim>) -> Vec<Verdict> {
    let blame = match (blame(death, &victims), victims.as_slice()) {
        (Blame::Unknown(failure), [only]) => Blame::One(only.id, failure),
        (blame, _) => blame,
    };
    let verdict = |victim: Victim| {
        let Victim { id, position, .. } = victim;
        let back = |code, message| Failure { disposition: Disposition::NotCounted, ..Failure::new(code, message) };
        let (mut failure, suspect) = match &blame {
            Blame::Nobody(why) => (back(FailureCode::ExecutorCrash, format!("given back: {why}")), false),
            Blame::One(culprit, failure) if *culprit == id => (failure.clone(), false),
            Blame::One(culprit, failure) => {
                let message = format!("given back: {} in {}", failure.message, culprit.attempt);
                (back(FailureCode::ExecutorCrash, message), false)
            }
            // What crashes before there is a job crashes without any of its records.
            Blame::Unknown(failure) if !death.opened => {
                (Failure { message: format!("{} before it was ready", failure.message), ..failure.clone() }, false)
            }
            Blame::Unknown(failure) => {
                (back(failure.code, format!("given back to run alone: {}", failure.message)), true)
            }
        };
        failure.position = position;
        Verdict { id, failure, suspect }
    };
    victims.into_iter().map(verdict).collect()
}

fn blame(death: &Death, victims: &[Victim]) -> Blame {
    match &death.killed {
        Some(Ending::Unwanted(why)) => return Blame::Nobody(why.clone()),
        Some(Ending::TimedOut { culprit, limit }) => return Blame::One(*culprit, timed_out(*culprit, *limit)),
        None => {}
    }
    let marked = victims.iter().find_map(|victim| Some((victim.id, victim.fault?)));
    match marked {
        Some((id, Fault::Signal(_))) => {
            Blame::One(id, Failure::new(FailureCode::ExecutorCrash, death.end.cause.clone()))
        }
        Some((_, Fault::OutOfMemory { bytes })) => {
            let message = format!(
                "out of memory: {} more were refused, since an executor may have {} for its data (the worker's \
                 --executor-memory)",
                ByteSize(bytes),
                death.memory
            );
            Blame::Unknown(Failure::new(FailureCode::OutOfMemory, message))
        }
        None if death.end.out_of_memory => {
            Blame::Unknown(Failure::new(FailureCode::OutOfMemory, death.end.cause.clone()))
        }
        None => Blame::Unknown(Failure::new(FailureCode::ExecutorCrash, death.end.cause.clone())),
    }
}

fn timed_out(culprit: JobAttempt, limit: Duration) -> Failure {
    let what = match culprit.attempt.task.stage {
        Stage::Map => "one record",
        Stage::Reduce => "one key group",
    };
    let message = format!("{what} kept user code busy for longer than {limit:?} (--record-timeout)");
    Failure::new(FailureCode::RecordTimeout, message)
}

/// The end of a process as people say it. `oom_kill` tells whether the kernel is known to have killed
/// for want of memory where it ran.
pub(crate) fn describe(status: std::process::ExitStatus, oom_kill: bool) -> ProcessEnd {
    use std::os::unix::process::ExitStatusExt as _;
    if oom_kill && status.signal() == Some(9) {
        let cause = "executor killed by the kernel: the machine, or the worker's control group, ran out of memory";
        return ProcessEnd { cause: cause.to_owned(), out_of_memory: true };
    }
    let cause = match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = match signal {
                4 => " (SIGILL)",
                6 => " (SIGABRT)",
                7 => " (SIGBUS)",
                8 => " (SIGFPE)",
                9 => " (SIGKILL: killed from outside)",
                11 => " (SIGSEGV)",
                15 => " (SIGTERM)",
                _ => "",
            };
            format!("executor died: signal {signal}{name}")
        }
        (None, Some(code)) => format!("executor exited with status {code}"),
        (None, None) => "executor ended".to_owned(),
    };
    ProcessEnd { cause, out_of_memory: false }
}

#[cfg(test)]
mod tests {
    use gristmill_common::ids::JobId;

    use super::*;

    const ABORT: &str = "executor died: signal 6 (SIGABRT)";

    fn id(text: &str) -> JobAttempt {
        JobAttempt { job: JobId(1), attempt: text.parse().expect("an attempt") }
    }

    fn died(opened: bool, killed: Option<Ending>) -> Death {
        let end = ProcessEnd { cause: ABORT.to_owned(), out_of_memory: false };
        Death { end, opened, killed, memory: ByteSize::mib(1024) }
    }

    /// Victims as `m-0.0` or, marked, `*m-0.0` by a signal or `!m-0.0` by want of memory; verdicts as
    /// `attempt charged|back|suspect`.
    #[track_caller]
    fn check(death: &Death, code: FailureCode, victims: &str, expect: &[&str]) {
        let victim = |text: &str| Victim {
            id: id(text.trim_start_matches(['*', '!'])),
            position: Some(InputPosition { object: "/data/a.txt".to_owned(), offset: 1204 }),
            fault: match text.chars().next() {
                Some('*') => Some(Fault::Signal(6)),
                Some('!') => Some(Fault::OutOfMemory { bytes: 4096 }),
                _ => None,
            },
        };
        let verdicts = judge(death, victims.split_whitespace().map(victim).collect());
        let shown: Vec<String> = verdicts
            .iter()
            .map(|verdict| {
                let fate = match (verdict.failure.disposition, verdict.suspect) {
                    (Disposition::Retry, false) => "charged",
                    (Disposition::NotCounted, false) => "back",
                    (Disposition::NotCounted, true) => "suspect",
                    other => panic!("{other:?}"),
                };
                let expect = if fate == "back" { FailureCode::ExecutorCrash } else { code };
                assert_eq!(verdict.failure.code, expect);
                assert!(verdict.failure.to_string().ends_with(" (at /data/a.txt:1204)"), "{}", verdict.failure);
                format!("{} {fate}: {}", verdict.id.attempt, verdict.failure.message)
            })
            .collect();
        assert_eq!(shown, expect);
    }

    fn check_crash(death: &Death, victims: &str, expect: &[&str]) {
        check(death, FailureCode::ExecutorCrash, victims, expect);
    }

    #[test]
    fn the_marked_attempt_is_charged_and_its_neighbours_are_not() {
        check_crash(
            &died(true, None),
            "m-0.0 *m-1.0",
            &[
                "m-0.0 back: given back: executor died: signal 6 (SIGABRT) in m-1.0",
                "m-1.0 charged: executor died: signal 6 (SIGABRT)",
            ],
        );
    }

    #[test]
    fn without_a_mark_one_is_charged_and_several_are_suspects() {
        check_crash(&died(true, None), "m-0.0", &["m-0.0 charged: executor died: signal 6 (SIGABRT)"]);
        check_crash(
            &died(true, None),
            "m-0.0 m-1.0",
            &[
                "m-0.0 suspect: given back to run alone: executor died: signal 6 (SIGABRT)",
                "m-1.0 suspect: given back to run alone: executor died: signal 6 (SIGABRT)",
            ],
        );
        check_crash(&died(true, None), "", &[]);
    }

    #[test]
    fn an_executor_that_never_opened_charges_everyone() {
        let line = |attempt| format!("{attempt} charged: executor died: signal 6 (SIGABRT) before it was ready");
        check_crash(&died(false, None), "m-0.0 m-1.0", &[&line("m-0.0"), &line("m-1.0")]);
    }

    #[test]
    fn nobody_is_charged_for_an_executor_that_the_worker_ended() {
        let death = died(true, Some(Ending::Unwanted("m-9.0 did not stop".to_owned())));
        check_crash(&death, "*m-0.0", &["m-0.0 back: given back: m-9.0 did not stop"]);
    }

    #[test]
    fn a_record_that_took_too_long_is_charged_alone() {
        let ending = |culprit: &str| Ending::TimedOut { culprit: id(culprit), limit: Duration::from_secs(600) };
        let message = "one record kept user code busy for longer than 600s (--record-timeout)";
        check(
            &died(true, Some(ending("m-1.0"))),
            FailureCode::RecordTimeout,
            "m-0.0 m-1.0",
            &[&format!("m-0.0 back: given back: {message} in m-1.0"), &format!("m-1.0 charged: {message}")],
        );
        let message = message.replace("record kept", "key group kept");
        check(
            &died(true, Some(ending("r-1.0"))),
            FailureCode::RecordTimeout,
            "r-1.0",
            &[&format!("r-1.0 charged: {message}")],
        );
    }

    #[test]
    fn want_of_memory_names_the_limit_and_charges_only_who_ran_alone() {
        let refused = "out of memory: 4.00 KiB more were refused, since an executor may have 1.00 GiB for its data \
                       (the worker's --executor-memory)";
        let check = |death: &Death, victims: &str, expect: &[&str]| {
            check(death, FailureCode::OutOfMemory, victims, expect);
        };
        check(&died(true, None), "!m-0.0", &[&format!("m-0.0 charged: {refused}")]);
        let suspect = |attempt| format!("{attempt} suspect: given back to run alone: {refused}");
        check(&died(true, None), "!m-0.0 m-1.0", &[&suspect("m-0.0"), &suspect("m-1.0")]);
        let end = ProcessEnd { cause: "killed".to_owned(), out_of_memory: true };
        check(&Death { end, ..died(true, None) }, "m-0.0", &["m-0.0 charged: killed"]);
    }

    #[test]
    fn ends_are_described_by_signal_or_status() {
        use std::os::unix::process::ExitStatusExt as _;
        let check = |raw, oom_kill, text: &str, out_of_memory| {
            let end = describe(std::process::ExitStatus::from_raw(raw), oom_kill);
            assert_eq!((end.cause.as_str(), end.out_of_memory), (text, out_of_memory));
        };
        check(6, false, "executor died: signal 6 (SIGABRT)", false);
        check(6, true, "executor died: signal 6 (SIGABRT)", false);
        check(9, false, "executor died: signal 9 (SIGKILL: killed from outside)", false);
        let killed = "executor killed by the kernel: the machine, or the worker's control group, ran out of memory";
        check(9, true, killed, true);
        check(31, false, "executor died: signal 31", false);
        check(3 << 8, false, "executor exited with status 3", false);
    }
}
