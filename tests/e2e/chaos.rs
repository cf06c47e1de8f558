//! A short campaign of nearly every kind of fault, and how soon faults are noticed: `cargo chaos` runs
//! long ones.

use gristmill_tests::chaos::{ChaosOptions, FaultKind, campaign, detection};

use crate::GRISTMILL;

#[test]
fn ten_seconds_of_faults_cost_no_byte_and_leave_nothing() {
    let options = ChaosOptions {
        binary: GRISTMILL.into(),
        seed: 1,
        seconds: 10,
        workers: 3,
        // A test run mounts nothing.
        mix: FaultKind::ALL.into_iter().filter(|kind| *kind != FaultKind::Full).collect(),
        megabytes: 8,
    };
    let verdict = campaign(&options, None);
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(verdict.faults.values().sum::<u64>() > 3, "{verdict:#?}");
}

#[test]
fn a_worker_that_is_gone_or_stands_still_is_noticed_in_time() {
    for detection in detection(GRISTMILL.as_ref(), 2) {
        assert!(detection.is_in_time(), "{detection:?}");
    }
}
