//! Short forms of what `cargo chaos` does at length.

use std::path::Path;

use gristmill_tests::chaos::{
    ChaosOptions, FaultKind, OperationsOf, OperationsOptions, campaign, damage, detection, fickle_run, moments,
    operations, sharing,
};

use crate::{GRISTMILL, example};

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
    let detections = detection(GRISTMILL.as_ref(), 2);
    assert!(detections.is_clean(), "{detections:#?}");
}

#[test]
fn a_master_that_is_killed_at_any_moment_costs_no_job_and_no_attempt() {
    let binary = GRISTMILL.into();
    let options = ChaosOptions { binary, seed: 1, seconds: 0, workers: 2, mix: vec![], megabytes: 24 };
    let moments = moments(&options, 4);
    assert!(moments.is_clean(), "{moments:#?}");
}

#[test]
fn an_output_is_made_of_one_attempt_of_each_map_task_though_they_differ() {
    for insists in [false, true] {
        let run = fickle_run(&example("lab"), 1, insists);
        assert!(run.wrong.is_none(), "{run:#?}");
    }
}

#[test]
fn a_short_job_ends_before_a_long_one_and_the_heavier_of_two_has_more_slots() {
    let seen = sharing(Path::new(GRISTMILL), 2, 800, 1);
    assert!(seen.long_ends_last, "{seen:#?}");
    assert!(seen.active[0] <= seen.active[1] && seen.leftovers.is_empty(), "{seen:#?}");
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
    let verdict =
        operations(&OperationsOptions { binary: GRISTMILL.into(), of: OperationsOf::Jobs, every: 37, first: 19 });
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(verdict.skipped.is_some() || verdict.succeeded.min(verdict.refused) > 5, "{verdict:#?}");
}

#[test]
fn a_file_operation_of_a_master_or_a_worker_that_fails_costs_at_most_the_job_and_leaves_nothing() {
    // From the middle of a stride, so that each has a few.
    for (of, every) in [(OperationsOf::Master, 150), (OperationsOf::Successor, 250), (OperationsOf::Worker, 50)] {
        let options = OperationsOptions { binary: GRISTMILL.into(), of, every, first: every / 2 };
        let verdict = operations(&options);
        assert!(verdict.is_clean(), "{verdict:#?}");
    }
}
