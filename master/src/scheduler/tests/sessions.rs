//! Sessions: leases, broken streams, lost, superseded and leaving workers.

use super::check;

#[test]
fn a_heartbeat_or_report_renews_the_lease() {
    check(
        "
        0 register s-1 w-1 slots 1
        ? deadline
          = 5000
        1000 heartbeat s-1
        ? deadline
          = 6000
        2000 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        3000 started s-1 j1/m-0.0
        ? deadline
          = 8000
        7999 deadline
        8000 deadline
          > close s-1 lost
          > notify j1
        ? deadline
          = none
        ? workers
          = s-1 w-1 lost active 0 committed 0 failed 0
        ",
    );
}

#[test]
fn a_deadline_that_comes_late_or_early_is_harmless() {
    check(
        "
        0 deadline
        1 register s-1 w-1 slots 1
        2 deadline
        6000 heartbeat s-1
        6000 deadline
        ? workers
          = s-1 w-1 live active 0 committed 0 failed 0
        ",
    );
}

#[test]
fn a_suspect_session_is_given_nothing_and_keeps_what_it_has() {
    check(
        "
        0 register s-1 w-1 slots 2
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 break s-1
        ? deadline
          = 502
        3 submit j2 maps 1 reduces 0
          > notify j2
        ? workers
          = s-1 w-1 suspect active 1 committed 0 failed 0
        4 heartbeat s-1
        ? workers
          = s-1 w-1 suspect active 1 committed 0 failed 0
        5 wrote s-1 j1/m-0.0
          > publish j1 part-00000.m-0.0, 10 words = 10 + 0
          > notify j1
        6 register s-2 w-2 slots 1
          > start s-2 j2/m-0.0 map
          > notify j2
        ",
    );
}

#[test]
fn a_session_that_resumes_in_time_hears_again_what_is_in_force() {
    check(
        "
        0 register s-1 w-1 slots 2
        1 submit j1 maps 1 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        1 submit j2 maps 1 reduces 1
          > start s-1 j2/m-0.0 map
          > notify j2
        2 made s-1 j1/m-0.0 1
          > start s-1 j1/r-0.0 s-1 has m-0.0
          > notify j1
        3 break s-1
        4 cancel j2
          > cancel s-1 j2/m-0.0
          > release s-1 j2
          > undo j2
          > notify j2
        100 resume s-1
          > release s-1 j2
          > start s-1 j1/r-0.0 s-1 has m-0.0
        ? workers
          = s-1 w-1 live active 1 committed 1 failed 0
        101 wrote s-1 j1/r-0.0
          > publish j1 part-00000.r-0.0, 20 words = 10 + 10
          > notify j1
        ",
    );
}

#[test]
fn a_reduce_attempt_that_would_lack_map_outputs_is_not_repeated_on_resume() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 2 reduces 1
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > notify j1
        2 made s-1 j1/m-0.0 1
          > notify j1
        3 made s-2 j1/m-1.0 1
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        4 break s-1
        5 left s-2
          > close s-2 left
          > notify j1
        6 resume s-1
          > cancel s-1 j1/r-0.0
          > start s-1 j1/m-1.1 map
          > notify j1
        ? job j1
          = running map 1/2 bytes 100/200 reduce 0/1 lost 1 bytes 0/14 active 1
        ",
    );
}

#[test]
fn a_session_that_does_not_resume_in_time_is_lost() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 break s-1
        3 break s-1
        501 deadline
        502 deadline
          > close s-1 lost
          > notify j1
        ? job j1
          = running map 0/1 lost 1 bytes 0/100 reduce 0/0 bytes 0/0 active 0
        503 resume s-1
          > close s-1 unknown
        503 break s-1
        504 register s-2 w-1 slots 1
          > start s-2 j1/m-0.1 map
        ? workers
          = s-1 w-1 lost active 0 committed 0 failed 0
          = s-2 w-1 live active 1 committed 0 failed 0
        ? refused
          = Session 1
        ",
    );
}

#[test]
fn attempts_of_a_lost_session_run_again_and_are_not_counted() {
    check(
        "
        0 register s-1 w-1 slots 2
        0 register s-2 w-2 slots 2
        1 submit j1 maps 3 reduces 0 tries 1
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > start s-1 j1/m-2.0 map
          > notify j1
        4000 heartbeat s-2
        5000 deadline
          > close s-1 lost
          > start s-2 j1/m-0.1 map
          > notify j1
        ? job j1
          = running map 0/3 lost 2 bytes 0/300 reduce 0/0 bytes 0/0 active 2
        ? failures j1
        5001 wrote s-1 j1/m-0.0
        5002 wrote s-2 j1/m-0.1
          > start s-2 j1/m-2.1 map
          > notify j1
        ",
    );
}

#[test]
fn map_outputs_of_a_lost_session_are_made_again_at_once() {
    // m-0 goes from done to pending; r-0.0 keeps running, since it may have fetched everything.
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 2
        1 submit j1 maps 3 reduces 2
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > start s-2 j1/m-2.0 map
          > notify j1
        2 made s-1 j1/m-0.0 2
          > notify j1
        3 made s-2 j1/m-1.0 2
          > notify j1
        4 made s-2 j1/m-2.0 2
          > start s-2 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0 m-2.0
          > start s-1 j1/r-1.0 s-1 has m-0.0, s-2 has m-1.0 m-2.0
          > notify j1
        5 break s-1
        ? job j1
          = running map 3/3 bytes 300/300 reduce 0/2 bytes 0/42 active 2
        505 deadline
          > close s-1 lost
          > start s-2 j1/m-0.1 map
          > notify j1
        ? job j1
          = running map 2/3 bytes 200/300 reduce 0/2 lost 1 bytes 0/42 active 2
        506 made s-1 j1/m-0.0 2
        507 failed s-2 j1/r-0.0 MAP_OUTPUT_LOST w-1 is gone; lost m-0.0
          > notify j1
        508 made s-2 j1/m-0.1 2
          > start s-2 j1/r-1.1 s-2 has m-0.1 m-1.0 m-2.0
          > notify j1
        517 deadline
          > start s-2 j1/r-0.1 s-2 has m-0.1 m-1.0 m-2.0
        518 wrote s-2 j1/r-1.1
          > notify j1
        519 wrote s-2 j1/r-0.1
          > publish j1 part-00000.r-0.1 part-00001.r-1.1, 390 words = 160 + 230
          > notify j1
        ",
    );
}

#[test]
fn parts_of_a_lost_session_are_kept() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 2
          > start s-1 j1/m-0.0 map
          > notify j1
        2 made s-1 j1/m-0.0 2
          > start s-1 j1/r-0.0 s-1 has m-0.0
          > notify j1
        3 wrote s-1 j1/r-0.0 of 7
          > start s-1 j1/r-1.0 s-1 has m-0.0
          > notify j1
        4 register s-2 w-2 slots 1
        5 left s-1
          > close s-1 left
          > start s-2 j1/m-0.1 map
          > notify j1
        ? job j1
          = running map 0/1 bytes 0/100 reduce 1/2 lost 1 bytes 7/14 active 1
        6 made s-2 j1/m-0.1 2
          > start s-2 j1/r-1.1 s-2 has m-0.1
          > notify j1
        7 wrote s-2 j1/r-1.1
          > publish j1 part-00000.r-0.0 part-00001.r-1.1, 240 words = 110 + 130
          > notify j1
        ",
    );
}

#[test]
fn map_outputs_that_no_reduce_needs_are_not_made_again() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 made s-1 j1/m-0.0 1
          > start s-1 j1/r-0.0 s-1 has m-0.0
          > notify j1
        3 wrote s-1 j1/r-0.0
          > publish j1 part-00000.r-0.0, 20 words = 10 + 10
          > notify j1
        4 register s-2 w-2 slots 1
        5 left s-1
          > close s-1 left
        6 published j1
          > notify j1
        ",
    );
}

#[test]
fn a_worker_that_registers_again_supersedes_its_session() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 made s-1 j1/m-0.0 1
          > start s-1 j1/r-0.0 s-1 has m-0.0
          > notify j1
        3 register s-2 w-1 slots 1
          > close s-1 superseded
          > start s-2 j1/m-0.1 map
          > notify j1
        4 heartbeat s-1
          > close s-1 unknown
        ? workers
          = s-1 w-1 lost active 0 committed 1 failed 0
          = s-2 w-1 live active 1 committed 0 failed 0
        ? refused
          = Session 1
        ",
    );
}

#[test]
fn a_worker_that_leaves_gives_its_work_back() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 left s-1
          > close s-1 left
          > notify j1
        ? job j1
          = running map 0/1 lost 1 bytes 0/100 reduce 0/0 bytes 0/0 active 0
        3 left s-1
        ? workers
          = s-1 w-1 left active 0 committed 0 failed 0
        ? deadline
          = none
        ",
    );
}
