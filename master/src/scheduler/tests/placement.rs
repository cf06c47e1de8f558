//! Where attempts go.

use super::script::{with_queue, with_queue_ahead};
use super::{check, check_with};

#[test]
fn maps_spread_over_the_least_loaded_workers_in_index_order() {
    check(
        "
        0 register s-1 w-1 slots 2
        0 register s-2 w-2 slots 1
        0 register s-3 w-3 slots 2
        1 submit j1 maps 9 reduces 0
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > start s-3 j1/m-2.0 map
          > start s-1 j1/m-3.0 map
          > start s-3 j1/m-4.0 map
          > notify j1
        2 wrote s-2 j1/m-1.0
          > start s-2 j1/m-5.0 map
          > notify j1
        3 wrote s-3 j1/m-2.0
          > start s-3 j1/m-6.0 map
          > notify j1
        ",
    );
}

#[test]
fn assignments_are_sent_ahead_only_when_no_slot_is_free() {
    check_with(
        with_queue(1),
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 5 reduces 0
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        2 register s-2 w-2 slots 1
          > start s-2 j1/m-2.0 map
          > start s-2 j1/m-3.0 map
        3 wrote s-1 j1/m-0.0
          > start s-1 j1/m-4.0 map
          > notify j1
        ",
    );
}

#[test]
fn short_attempts_are_sent_ahead_only_while_no_other_job_waits() {
    check_with(
        with_queue_ahead(),
        "
        0 register s-1 w-1 slots 2
        1 submit j1 maps 12 reduces 1
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        2 made s-1 j1/m-0.0 1 took 15000
          > start s-1 j1/m-2.0 map
          > start s-1 j1/m-3.0 map
          > start s-1 j1/m-4.0 map
          > notify j1
        3 submit j2 maps 1 reduces 1
          > notify j2
        4 made s-1 j1/m-1.0 1 took 15000
          > notify j1
        5 made s-1 j1/m-2.0 1 took 15000
          > notify j1
        6 made s-1 j1/m-3.0 1 took 15000
          > start s-1 j2/m-0.0 map
          > notify j1
          > notify j2
        ",
    );
}

#[test]
fn less_is_sent_ahead_while_another_job_is_open() {
    check_with(
        with_queue_ahead(),
        "
        0 register s-1 w-1 slots 2
        1 submit j1 maps 1 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 submit j2 maps 12 reduces 1
          > start s-1 j2/m-0.0 map
          > notify j2
        3 made s-1 j2/m-0.0 1 took 4000
          > start s-1 j2/m-1.0 map
          > start s-1 j2/m-2.0 map
          > start s-1 j2/m-3.0 map
          > notify j2
        4 cancel j1
          > cancel s-1 j1/m-0.0
          > release s-1 j1
          > undo j1
          > start s-1 j2/m-4.0 map
          > start s-1 j2/m-5.0 map
          > start s-1 j2/m-6.0 map
          > start s-1 j2/m-7.0 map
          > start s-1 j2/m-8.0 map
          > notify j1
        ",
    );
}

#[test]
fn the_shorter_the_attempts_of_a_stage_the_more_are_sent_ahead() {
    check_with(
        with_queue_ahead(),
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 9 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 made s-1 j1/m-0.0 1 took 10000
          > start s-1 j1/m-1.0 map
          > start s-1 j1/m-2.0 map
          > start s-1 j1/m-3.0 map
          > notify j1
        3 made s-1 j1/m-1.0 1 took 2000
          > start s-1 j1/m-4.0 map
          > start s-1 j1/m-5.0 map
          > notify j1
        4 made s-1 j1/m-2.0 1 took 90000
          > notify j1
        5 made s-1 j1/m-3.0 1 took 90000
          > notify j1
        6 made s-1 j1/m-4.0 1 took 90000
          > notify j1
        7 made s-1 j1/m-5.0 1 took 90000
          > start s-1 j1/m-6.0 map
          > notify j1
        ",
    );
}

#[test]
fn a_worker_without_slots_is_given_nothing() {
    check(
        "
        0 register s-1 w-1 slots 0
        1 submit j1 maps 1 reduces 0
          > notify j1
        ? waiting j1
          = no connected worker has a slot
        2 register s-2 w-2 slots 1
          > start s-2 j1/m-0.0 map
          > notify j1
        ",
    );
}

#[test]
fn a_reduce_goes_to_the_holder_of_most_segments_among_equally_loaded_workers() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 3 reduces 2
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > notify j1
        2 made s-2 j1/m-1.0 2
          > start s-2 j1/m-2.0 map
          > notify j1
        3 made s-2 j1/m-2.0 2
          > notify j1
        4 made s-1 j1/m-0.0 2
          > start s-2 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0 m-2.0
          > start s-1 j1/r-1.0 s-1 has m-0.0, s-2 has m-1.0 m-2.0
          > notify j1
        ",
    );
}

#[test]
fn a_task_that_failed_waits_for_another_live_worker() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 3 reduces 0
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 WRITE_FAILED disk full
          > start s-1 j1/m-2.0 map
          > notify j1
        3 wrote s-2 j1/m-1.0
          > start s-2 j1/m-0.1 map
          > notify j1
        4 failed s-2 j1/m-0.1 WRITE_FAILED disk full
          > start s-2 j1/m-0.2 map
          > notify j1
        5 break s-1
        ",
    );
}

#[test]
fn a_task_that_failed_on_the_only_worker_runs_there_again() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 break s-2
        3 failed s-1 j1/m-0.0 WRITE_FAILED disk full
          > start s-1 j1/m-0.1 map
          > notify j1
        ",
    );
}

#[test]
fn jobs_with_fewer_attempts_in_force_are_served_first() {
    check(
        "
        0 submit j2 maps 9 reduces 0
          > notify j2
        1 submit j1 maps 2 reduces 0
          > notify j1
        2 register s-1 w-1 slots 4
          > start s-1 j2/m-0.0 map
          > start s-1 j1/m-0.0 map
          > start s-1 j2/m-1.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
          > notify j2
        3 wrote s-1 j1/m-0.0
          > start s-1 j2/m-2.0 map
          > notify j1
        4 wrote s-1 j2/m-0.0
          > start s-1 j2/m-3.0 map
          > notify j2
        ",
    );
}

#[test]
fn a_job_that_waits_for_a_worker_does_not_hold_up_the_others() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        1 submit j2 maps 2 reduces 0
          > start s-2 j2/m-0.0 map
          > notify j2
        2 failed s-1 j1/m-0.0 WRITE_FAILED disk full
          > start s-1 j2/m-1.0 map
          > notify j1
        ? waiting j1
          = all 2 workers are busy with other jobs
        3 wrote s-2 j2/m-0.0
          > start s-2 j1/m-0.1 map
          > notify j2
        ",
    );
}

#[test]
fn a_task_whose_failure_may_be_chance_prefers_another_worker_but_does_not_wait_for_it() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        0 register s-3 w-3 slots 1
        1 submit j1 maps 3 reduces 0
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > start s-3 j1/m-2.0 map
          > notify j1
        2 failed s-3 j1/m-2.0 USER_ERROR no
          > start s-3 j1/m-2.1 map
          > notify j1
        3 left s-2
          > close s-2 left
          > notify j1
        4 failed s-3 j1/m-2.1 USER_ERROR never
          > start s-3 j1/m-1.1 map
          > notify j1
        5 register s-4 w-4 slots 1
          > start s-4 j1/m-2.2 map
        ",
    );
}

#[test]
fn reduces_wait_for_a_map_that_rests() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 2 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 made s-1 j1/m-0.0 1
          > start s-1 j1/m-1.0 map
          > notify j1
        3 failed s-1 j1/m-1.0 WORKER_LOST draining
          > notify j1
        13 deadline
          > start s-1 j1/m-1.1 map
        14 made s-1 j1/m-1.1 1
          > start s-1 j1/r-0.0 s-1 has m-0.0 m-1.1
          > notify j1
        ",
    );
}
