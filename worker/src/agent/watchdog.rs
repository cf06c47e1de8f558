//! Whether records get on: looks at the slots of one executor again and again, and tells which attempt
//! has had the same record in user code's hands for too long. Pure.
//!
//! Time is counted in looks, not read from a clock: a machine that sleeps, or a worker that is stopped,
//! looks at nothing meanwhile, so that no record is charged with that. What the engine does with a
//! record in hand (a spill, a merge, waiting for input) does not count.

use std::time::Duration;

use gristmill_common::ids::JobAttempt;
use gristmill_sys::positions::Moment;

/// Looks until a record is given up. More find out more exactly how long it took, and wake the worker
/// more often.
const LOOKS: u32 = 16;

/// The longest and the shortest time between two looks.
const MOST_BETWEEN: Duration = Duration::from_secs(1);
const LEAST_BETWEEN: Duration = Duration::from_millis(10);

/// Looks at the slots of one executor.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limit: Duration,
    slots: Vec<Option<Watched>>,
}

#[derive(Debug, Clone, Copy)]
struct Watched {
    id: JobAttempt,
    moment: Moment,
    /// How long user code has had this record, as far as seen.
    busy: Duration,
}

impl Watchdog {
    /// A watchdog for records that may take this long; `None` if they may take for ever.
    pub(crate) fn new(limit: Duration, slots: usize) -> Option<Self> {
        (!limit.is_zero()).then(|| Self { limit, slots: vec![None; slots] })
    }

    /// How long a record may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// The time between two looks.
    pub(crate) fn interval(&self) -> Duration {
        (self.limit / LOOKS).clamp(LEAST_BETWEEN, MOST_BETWEEN)
    }

    /// Looks, an [`interval`](Self::interval) after the last time, at what runs in each slot; the first
    /// attempt whose record took too long.
    pub(crate) fn look(&mut self, seen: impl Iterator<Item = Option<(JobAttempt, Moment)>>) -> Option<JobAttempt> {
        let interval = self.interval();
        let mut stuck = None;
        for (slot, seen) in self.slots.iter_mut().zip(seen) {
            *slot = seen.map(|(id, moment)| match *slot {
                Some(before) if before.id == id && before.moment.record == moment.record => {
                    let counts = moment.in_user_code;
                    Watched { moment, busy: before.busy + if counts { interval } else { Duration::ZERO }, ..before }
                }
                _ => Watched { id, moment, busy: Duration::ZERO },
            });
            stuck = stuck.or(slot.filter(|watched| watched.busy >= self.limit).map(|watched| watched.id));
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::ids::JobId;

    use super::*;

    /// Looks at two slots, written as `attempt record` with `*` where user code has the thread; tells
    /// at which look somebody is found stuck, and who.
    #[track_caller]
    fn check(looks: impl IntoIterator<Item = [&'static str; 2]>, expect: Option<(usize, &str)>) {
        let mut watchdog = Watchdog::new(Duration::from_secs(8), 2).expect("a limit");
        assert_eq!(watchdog.interval(), Duration::from_millis(500));
        let seen = |text: &str| {
            let (attempt, record) = text.split_once(' ')?;
            let id = JobAttempt { job: JobId(1), attempt: attempt.parse().expect("an attempt") };
            let record = record.trim_end_matches('*').parse().expect("a number");
            Some((id, Moment { record: [1, record, 0], in_user_code: text.ends_with('*') }))
        };
        let mut looks = looks.into_iter().enumerate();
        let found = looks.find_map(|(n, slots)| Some((n, watchdog.look(slots.into_iter().map(seen))?)));
        assert_eq!(found.map(|(n, id)| (n, id.attempt.to_string())), expect.map(|(n, id)| (n, id.to_owned())));
    }

    #[test]
    fn a_record_that_stays_with_user_code_is_found_after_its_time() {
        let stuck = ["m-0.0 7*", "m-1.0 3*"];
        let moving: [[&str; 2]; 2] = [["m-0.0 7*", "m-1.0 3*"], ["m-0.0 7*", "m-1.0 4*"]];
        check(std::iter::repeat_n(stuck, 40), Some((16, "m-0.0")));
        check((0..40).map(|n| moving[n % 2]), Some((16, "m-0.0")));
        check(std::iter::repeat_n(["", "r-0.0 3*"], 40), Some((16, "r-0.0")));
    }

    #[test]
    fn records_that_get_on_and_the_engines_own_work_are_let_be() {
        check(std::iter::repeat_n(["m-0.0 7", ""], 1000), None);
        check((0..1000).map(|n| [["m-0.0 7*", "m-0.0 8*"][n / 9 % 2], ""]), None);
        check((0..1000).map(|n| [["m-0.0 7*", "m-0.1 7*", "m-2.0 7*"][n / 16 % 3], ""]), None);
    }

    #[test]
    fn a_record_that_spills_without_end_is_found_too() {
        check((0..1000).map(|n| [["m-0.0 7*", "m-0.0 7"][n % 2], ""]), Some((32, "m-0.0")));
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        assert!(Watchdog::new(Duration::ZERO, 2).is_none());
        let interval = |secs| Watchdog::new(Duration::from_secs_f64(secs), 1).expect("a limit").interval();
        assert_eq!([600.0, 0.001].map(interval), [MOST_BETWEEN, LEAST_BETWEEN]);
    }
}
