//! Jobs that come, decide, succeed, fail and are cancelled.

use super::script::with_queue;
use super::{check, check_with};
use crate::scheduler::SchedulerConfig;

#[test]
fn a_job_runs_its_maps_then_its_reduces_then_publishes() {
    check(
        "
        0 submit j1 maps 2 reduces 2
          > notify j1
        1 register s-1 w-1 slots 2
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        2 started s-1 j1/m-0.0
        3 made s-1 j1/m-0.0 2
          > notify j1
        ? job j1
          = running map 1/2 bytes 100/200 reduce 0/2 bytes 0/14 active 1
        4 made s-1 j1/m-1.0 2
          > start s-1 j1/r-0.0 s-1 has m-0.0 m-1.0
          > start s-1 j1/r-1.0 s-1 has m-0.0 m-1.0
          > notify j1
        5 wrote s-1 j1/r-1.0 of 14
          > notify j1
        6 wrote s-1 j1/r-0.0 of 14
          > publish j1 part-00000.r-0.0 part-00001.r-1.0, 60 words = 30 + 30
          > notify j1
        ? job j1
          = committing map 2/2 bytes 200/200 reduce 2/2 bytes 28/28 active 0
        7 published j1
          > release s-1 j1
          > notify j1
        ? job j1
          = succeeded map 2/2 bytes 200/200 reduce 2/2 bytes 28/28 active 0
        ? workers
          = s-1 w-1 live active 0 committed 4 failed 0
        ",
    );
}

#[test]
fn a_map_only_job_publishes_the_parts_of_its_maps() {
    check(
        "
        0 register s-1 w-1 slots 2
        1 submit j1 maps 2 reduces 0
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        2 wrote s-1 j1/m-1.0
          > notify j1
        3 wrote s-1 j1/m-0.0
          > publish j1 part-00000.m-0.0 part-00001.m-1.0, 30 words = 30 + 0
          > notify j1
        4 published j1
          > release s-1 j1
          > notify j1
        ",
    );
}

#[test]
fn a_map_only_job_without_input_publishes_at_once() {
    check(
        "
        0 submit j1 maps 0 reduces 0
          > publish j1, 0 words = 0 + 0
          > notify j1
        ? job j1
          = committing map 0/0 bytes 0/0 reduce 0/0 bytes 0/0 active 0
        1 published j1
          > notify j1
        ? job j1
          = succeeded map 0/0 bytes 0/0 reduce 0/0 bytes 0/0 active 0
        ",
    );
}

#[test]
fn reduces_of_a_job_without_input_write_empty_parts() {
    check(
        "
        0 submit j1 maps 0 reduces 2
          > notify j1
        1 register s-1 w-1 slots 1
          > start s-1 j1/r-0.0 of nothing
          > notify j1
        2 wrote s-1 j1/r-0.0
          > start s-1 j1/r-1.0 of nothing
          > notify j1
        3 wrote s-1 j1/r-1.0
          > publish j1 part-00000.r-0.0 part-00001.r-1.0, 30 words = 0 + 30
          > notify j1
        ",
    );
}

#[test]
fn cancelling_a_queued_job_undoes_its_claim() {
    check(
        "
        0 submit j1 maps 1 reduces 1
          > notify j1
        1 cancel j1
          > undo j1
          > notify j1
        ? job j1
          = cancelled map 0/1 bytes 0/100 reduce 0/1 bytes 0/0 active 0
        2 register s-1 w-1 slots 1
        3 cancel j1
        4 cancel j9
        ",
    );
}

#[test]
fn cancelling_a_running_job_stops_its_attempts_and_releases_every_session_that_had_one() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        0 register s-3 w-3 slots 1
        1 submit j1 maps 2 reduces 1
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > notify j1
        2 made s-1 j1/m-0.0 1
          > notify j1
        3 cancel j1
          > cancel s-2 j1/m-1.0
          > release s-1 j1
          > release s-2 j1
          > undo j1
          > notify j1
        ? job j1
          = cancelled map 1/2 bytes 100/200 reduce 0/1 bytes 0/7 active 0
        4 made s-2 j1/m-1.0 1
          > discard s-2 j1/m-1.0
        ? refused
          = Job 1
        ",
    );
}

#[test]
fn a_decided_job_cannot_be_cancelled() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 wrote s-1 j1/m-0.0
          > publish j1 part-00000.m-0.0, 10 words = 10 + 0
          > notify j1
        3 cancel j1
        4 published j1
          > release s-1 j1
          > notify j1
        5 cancel j1
        6 published j1
        7 publish-failed j1 too late
        ? job j1
          = succeeded map 1/1 bytes 100/100 reduce 0/0 bytes 0/0 active 0
        ",
    );
}

#[test]
fn a_job_whose_output_cannot_be_put_in_place_fails_and_is_undone() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 publish-failed j1 before the decision
        3 wrote s-1 j1/m-0.0
          > publish j1 part-00000.m-0.0, 10 words = 10 + 0
          > notify j1
        4 publish-failed j1 cannot rename /out
          > release s-1 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 1/1 bytes 100/100 reduce 0/0 bytes 0/0 active 0 COMMIT_FAILED: cannot rename /out
        ",
    );
}

#[test]
fn a_job_is_decided_while_lost_map_outputs_are_made_again() {
    // r-1.0 had fetched everything before w-1 left: m-0.0 counts although its output is gone.
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 1 reduces 2
          > start s-1 j1/m-0.0 map
          > notify j1
        2 made s-1 j1/m-0.0 2
          > start s-1 j1/r-0.0 s-1 has m-0.0
          > start s-2 j1/r-1.0 s-1 has m-0.0
          > notify j1
        3 wrote s-1 j1/r-0.0
          > notify j1
        4 register s-3 w-3 slots 1
        5 left s-1
          > close s-1 left
          > start s-3 j1/m-0.1 map
          > notify j1
        6 wrote s-2 j1/r-1.0
          > cancel s-3 j1/m-0.1
          > publish j1 part-00000.r-0.0 part-00001.r-1.0, 40 words = 10 + 30
          > notify j1
        7 made s-3 j1/m-0.1 2
          > discard s-3 j1/m-0.1
        ",
    );
}

#[test]
fn counters_are_those_of_the_committed_attempts_alone() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 2 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 made s-1 j1/m-0.0 1
          > start s-1 j1/m-1.0 map
          > notify j1
        3 register s-2 w-2 slots 1
        4 left s-1
          > close s-1 left
          > start s-2 j1/m-0.1 map
          > notify j1
        5 made s-2 j1/m-0.1 1
          > start s-2 j1/m-1.1 map
          > notify j1
        6 made s-2 j1/m-1.0 1
          > discard s-2 j1/m-1.0
        7 made s-2 j1/m-1.1 1
          > start s-2 j1/r-0.0 s-2 has m-0.1 m-1.1
          > notify j1
        ? job j1
          = running map 2/2 lost 1 bytes 200/200 reduce 0/1 bytes 0/14 active 1
        8 wrote s-2 j1/r-0.0
          > publish j1 part-00000.r-0.0, 240 words = 230 + 10
          > notify j1
        ",
    );
}

#[test]
fn ended_jobs_are_forgotten_beyond_a_bound() {
    let config = SchedulerConfig { ended_jobs_kept: 2, ..with_queue(0) };
    check_with(
        config,
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 cancel j1
          > cancel s-1 j1/m-0.0
          > release s-1 j1
          > undo j1
          > notify j1
        3 submit j2 maps 0 reduces 0
          > publish j2, 0 words = 0 + 0
          > notify j2
        4 published j2
          > notify j2
        5 submit j3 maps 1 reduces 0
          > start s-1 j3/m-0.0 map
          > notify j3
        6 cancel j3
          > cancel s-1 j3/m-0.0
          > release s-1 j3
          > undo j3
          > notify j3
        ? jobs
          = j2 succeeded map 0/0 bytes 0/0 reduce 0/0 bytes 0/0 active 0
          = j3 cancelled map 0/1 bytes 0/100 reduce 0/0 bytes 0/0 active 0
        7 wrote s-1 j1/m-0.0
          > discard s-1 j1/m-0.0
        8 wrote s-1 j3/m-0.0
          > discard s-1 j3/m-0.0
        ? refused
          = Job 2
        ",
    );
}
