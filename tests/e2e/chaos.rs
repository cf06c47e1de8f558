//! A short campaign of nearly every kind of fault: `cargo chaos` runs long ones.

use gristmill_tests::chaos::{ChaosOptions, FaultKind, campaign};

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
