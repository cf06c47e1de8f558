//! What outlives a session, and what the next one begins with. The master answers each offer: it adopts
//! the attempt (`StartAttempt`), keeps the map output without a word, or has it thrown away.

use std::collections::BTreeSet;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::task::{AttemptOutput, Offer};

use super::{Desk, Phase, ToLink};
use crate::agent::job::Attempt;
use crate::agent::report::Report;

/// The most offers of one worker: what fits into one message with room to spare. A map output beyond
/// them counts as lost, and goes with its job.
const MAX_OFFERS: usize = 1_000_000;

impl Desk {
    /// Ends the session. What gathers segments does so under that session's epoch, from sources that
    /// may be over too: it is dropped, and what has gathered them does not go back for more.
    pub(super) fn end_session(&mut self) {
        self.phase = Phase::Alone { asked: true };
        self.drop_attempts(|_, attempt| matches!(attempt, Attempt::Gathering { .. }));
        for attempt in self.attempts.values_mut() {
            match attempt {
                Attempt::Ready { given, .. } | Attempt::Running { given } => given.again = None,
                Attempt::Gathering { .. }
                | Attempt::Forcing
                | Attempt::Uploading { .. }
                | Attempt::Cancelled { .. } => {}
            }
        }
    }

    /// Answers the link once everything that is not offered is gone: without an offer, nobody would
    /// have it released, and a job that is still going could not come back.
    pub(super) fn answer_link(&mut self) {
        for job in self.jobs.values_mut() {
            // A failure is the affair of the session in which it happened.
            job.reports.retain(|_, report| matches!(report, Report::Ended { result: Ok(_), .. }));
        }
        let offers = self.offers();
        let offered: BTreeSet<JobId> = offers.iter().map(|offer| offer.id.job).collect();
        let left: Vec<JobId> = self.jobs.keys().copied().filter(|id| !offered.contains(id)).collect();
        if left.is_empty() {
            self.phase = Phase::Alone { asked: false };
            self.outgoing.push(ToLink::Offers(offers));
        }
        for id in left {
            self.release(id);
        }
    }

    /// Every attempt that goes on or has finished, in order of its id.
    fn offers(&self) -> Vec<Offer> {
        let held = self.held.iter().flat_map(|(job, outputs)| {
            let offer = |(attempt, hash): (&_, &u64)| Offer {
                id: JobAttempt { job: *job, attempt: *attempt },
                content_hash: Some(*hash),
            };
            outputs.iter().map(offer)
        });
        let going_on = self.attempts.iter().filter_map(|(id, attempt)| match attempt {
            Attempt::Ready { .. } | Attempt::Running { .. } | Attempt::Forcing | Attempt::Uploading { .. } => {
                Some(Offer { id: *id, content_hash: None })
            }
            Attempt::Gathering { .. } | Attempt::Cancelled { .. } => None,
        });
        let finished = self.jobs.values().flat_map(|job| job.reports.values()).filter_map(|report| match report {
            Report::Ended { id, result: Ok(report) } => {
                let content_hash = match &report.output {
                    AttemptOutput::MapOutput(made) => Some(made.content_hash),
                    AttemptOutput::Part(_) => None,
                };
                Some(Offer { id: *id, content_hash })
            }
            Report::Ended { result: Err(_), .. } | Report::Started(_) | Report::UploadsOpened { .. } => None,
        });
        let mut offers: Vec<Offer> = held.chain(going_on).chain(finished).take(MAX_OFFERS).collect();
        offers.sort_unstable();
        offers
    }

    /// Forgets a map output of an earlier process. False if there is none of this attempt.
    pub(super) fn drop_held(&mut self, id: JobAttempt) -> bool {
        self.held.get_mut(&id.job).is_some_and(|outputs| outputs.remove(&id.attempt).is_some())
    }

    /// Answers the order to start an attempt that an earlier process finished: what it counted went
    /// with that process.
    pub(super) fn give_back_held(&mut self, id: JobAttempt) {
        self.delete_outputs(id);
        let message = "given back: its worker was restarted before it was committed";
        let failure = Failure::new(FailureCode::WorkerLost, message);
        self.keep_and_send(Report::Ended { id, result: Err(failure) });
    }
}
