//! The fence: stale and repeated reports, and reports that cannot be.

use super::check;

#[test]
fn a_report_of_another_epoch_is_refused_without_an_answer_to_the_session_of_that_number() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 wrote s-1 j1/m-0.0 e-2
        3 heartbeat s-1 e-0
        4 heartbeat s-7 e-0
          > close s-7 unknown
        5 resume s-7 e-0
          > close s-7 unknown
        6 resume s-1 e-0
        ? deadline
          = 5000
        ? refused
          = Epoch 5
        ",
    );
}

#[test]
fn a_report_of_an_ended_or_unknown_session_is_refused() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 left s-1
          > close s-1 left
          > notify j1
        3 wrote s-1 j1/m-0.0
        4 failed s-1 j1/m-0.0 USER_ERROR no
        5 started s-1 j1/m-0.0
        6 heartbeat s-1
          > close s-1 unknown
        7 heartbeat s-9
          > close s-9 unknown
        ? refused
          = Session 5
        ? job j1
          = running map 0/1 lost 1 bytes 0/100 reduce 0/0 bytes 0/0 active 0
        ",
    );
}

#[test]
fn only_the_attempt_in_force_is_accepted() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 1 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 made s-2 j1/m-0.0 1
          > discard s-2 j1/m-0.0
        3 made s-1 j1/m-0.1 1
          > discard s-1 j1/m-0.1
        4 made s-1 j1/m-7.0 1
          > discard s-1 j1/m-7.0
        5 wrote s-1 j1/r-0.0
          > discard s-1 j1/r-0.0
        6 failed s-2 j1/m-0.0 USER_ERROR no
        7 started s-2 j1/m-0.0
        8 made s-1 j9/m-0.0 1
          > discard s-1 j9/m-0.0
        9 started s-1 j9/m-0.0
        ? refused
          = Attempt 6
          = Job 2
        ? job j1
          = running map 0/1 bytes 0/100 reduce 0/1 bytes 0/0 active 1
        ",
    );
}

#[test]
fn a_repeated_report_of_the_result_leaves_the_result_alone() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 made s-1 j1/m-0.0 1
          > start s-1 j1/r-0.0 s-1 has m-0.0
          > notify j1
        3 made s-1 j1/m-0.0 1
        4 failed s-1 j1/m-0.0 USER_ERROR no
        5 wrote s-1 j1/r-0.0
          > publish j1 part-00000.r-0.0, 20 words = 10 + 10
          > notify j1
        6 wrote s-1 j1/r-0.0
        7 published j1
          > release s-1 j1
          > notify j1
        8 wrote s-1 j1/r-0.0
        9 made s-1 j1/m-0.0 1
          > discard s-1 j1/m-0.0
        10 wrote s-1 j1/r-0.1
          > discard s-1 j1/r-0.1
        ? refused
          = Attempt 4
          = Job 2
        ",
    );
}

#[test]
fn the_first_finished_attempt_wins_and_later_ones_are_discarded() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 2 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 WORKER_LOST draining
          > start s-1 j1/m-1.0 map
          > notify j1
        3 register s-2 w-2 slots 1
        20 deadline
          > start s-2 j1/m-0.1 map
        21 wrote s-1 j1/m-1.0
          > notify j1
        22 wrote s-2 j1/m-0.1
          > publish j1 part-00000.m-0.1 part-00001.m-1.0, 130 words = 130 + 0
          > notify j1
        23 wrote s-1 j1/m-0.0
          > discard s-1 j1/m-0.0
        ",
    );
}

#[test]
fn an_output_of_the_wrong_kind_is_a_counted_failure() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 2
          > start s-1 j1/m-0.0 map
          > notify j1
        2 wrote s-1 j1/m-0.0
          > discard s-1 j1/m-0.0
          > start s-1 j1/m-0.1 map
          > notify j1
        3 made s-1 j1/m-0.1 3
          > discard s-1 j1/m-0.1
          > start s-1 j1/m-0.2 map
          > notify j1
        4 made s-1 j1/m-0.2 2
          > start s-1 j1/r-0.0 s-1 has m-0.2
          > notify j1
        5 made s-1 j1/r-0.0 2
          > discard s-1 j1/r-0.0
          > start s-1 j1/r-0.1 s-1 has m-0.2
          > notify j1
        6 submit j2 maps 1 reduces 0
          > notify j2
        7 cancel j1
          > cancel s-1 j1/r-0.1
          > release s-1 j1
          > undo j1
          > start s-1 j2/m-0.0 map
          > notify j1
          > notify j2
        8 made s-1 j2/m-0.0 0
          > discard s-1 j2/m-0.0
          > start s-1 j2/m-0.1 map
          > notify j2
        ? failures j1
          = m-0.0 on s-1 counted: the worker reported a part of m-0, which makes a map output
          = m-0.1 on s-1 counted: the worker reported 3 segments of m-0 instead of 2
          = r-0.0 on s-1 counted: the worker reported a map output of r-0, which makes a part
        ? failures j2
          = m-0.0 on s-1 counted: the worker reported a map output of m-0, which makes a part
        ",
    );
}

#[test]
fn uploads_of_the_attempt_in_force_go_on_when_they_are_recorded_and_others_are_thrown_away() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 opened s-1 j1/m-0.0 0 part-00000
          > proceed s-1 j1/m-0.0 0
        3 opened s-1 j1/m-0.0 0 part-00000
          > proceed s-1 j1/m-0.0 0
        4 opened s-2 j1/m-0.0 0 part-00000
          > discard s-2 j1/m-0.0
        5 opened s-1 j1/m-0.7 0 part-00000
          > discard s-1 j1/m-0.7
        6 opened s-1 j9/m-0.0 0 part-00000
          > discard s-1 j9/m-0.0
        ? refused
          = Attempt 2
          = Job 1
        ",
    );
}
