//! Short campaigns of nearly every kind of fault, of damaged files and of failing file operations:
//! `cargo chaos` runs long ones.

use gristmill_tests::chaos::{ChaosOptions, FaultKind, OperationsOptions, campaign, damage, operations};

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
fn damaged_files_are_refused_by_name_or_read_as_they_were() {
    let verdict = damage(400, 1);
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(verdict.files.values().map(|count| count.refused).sum::<u64>() > 200, "{verdict:#?}");
}

#[test]
fn a_file_operation_that_fails_costs_at_most_the_job_and_leaves_nothing() {
    // A stride that divides neither job's operations, from its middle: of both, and of each effect.
    let verdict = operations(&OperationsOptions { binary: GRISTMILL.into(), every: 37, first: 19 });
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(verdict.skipped.is_some() || verdict.succeeded.min(verdict.refused) > 5, "{verdict:#?}");
}
