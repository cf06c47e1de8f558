//! Reports that wait for a stream, in order.

use std::collections::VecDeque;

use super::report::Report;

/// How far back the beginning of an attempt is looked for when its end comes.
const LOOKED_AT: usize = 16;

/// Reports not yet handed to a stream. Those that a broken stream swallowed the master asks for again.
#[derive(Debug, Default)]
pub(super) struct Unsent(VecDeque<Report>);

impl Unsent {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a report. An end says that its attempt began, so a beginning that still waits for the
    /// stream goes: a short attempt costs its master one report.
    pub(super) fn push(&mut self, report: Report) {
        if let Report::Ended { id, .. } = &report {
            let begun = Report::Started(*id);
            if let Some(back) = self.0.iter().rev().take(LOOKED_AT).position(|report| *report == begun) {
                self.0.remove(self.0.len() - 1 - back);
            }
        }
        self.0.push_back(report);
    }

    /// The report that goes next.
    pub(super) fn pop(&mut self) -> Option<Report> {
        self.0.pop_front()
    }

    /// Drops all of them: their session is over.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::failure::{Failure, FailureCode};
    use gristmill_common::ids::{JobAttempt, JobId};

    use super::*;

    /// `+m-0.0` begins, `-m-0.0` ends.
    fn report(text: &str) -> Report {
        let attempt = text[1..].parse().expect("an attempt");
        let id = JobAttempt { job: JobId(1), attempt };
        match &text[..1] {
            "+" => Report::Started(id),
            _ => Report::Ended { id, result: Err(Failure::new(FailureCode::Cancelled, "")) },
        }
    }

    #[test]
    fn a_beginning_that_waits_is_not_sent_once_its_attempt_has_ended() {
        let check = |given: &str, expect: &str| {
            let mut unsent = Unsent::default();
            given.split(' ').map(report).for_each(|report| unsent.push(report));
            let sent: Vec<Report> = std::iter::from_fn(|| unsent.pop()).collect();
            assert_eq!(sent, expect.split(' ').map(report).collect::<Vec<_>>(), "{given}");
        };
        check("+m-0.0 -m-0.0", "-m-0.0");
        check("+m-0.0 +m-1.0 -m-0.0 +m-2.0", "+m-1.0 -m-0.0 +m-2.0");
        check("+m-0.0 -m-0.1 -m-1.0", "+m-0.0 -m-0.1 -m-1.0");
    }
}
