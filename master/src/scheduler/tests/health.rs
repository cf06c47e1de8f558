//! Workers that keep failing, fair shares, bad records, and holders that cannot be reached.

use super::check;

#[test]
fn a_worker_that_keeps_failing_is_excluded_then_probed_then_readmitted() {
    check(
        "
        0 submit j1 maps 9 reduces 0
          > notify j1
        0 register s-1 w-1 slots 2
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-2.0 map
        1 failed s-1 j1/m-0.0 WRITE_FAILED disk full
          > start s-1 j1/m-3.0 map
          > notify j1
        2 failed s-1 j1/m-1.0 WRITE_FAILED disk full
          > start s-1 j1/m-4.0 map
          > notify j1
        3 failed s-1 j1/m-3.0 WRITE_FAILED disk full
          > notify j1
        ? workers
          = s-1 w-1 live active 1 committed 0 failed 3
          = s-2 w-2 live active 1 committed 0 failed 0
        4000 heartbeat s-1
        4000 heartbeat s-2
        8000 heartbeat s-1
        8000 heartbeat s-2
        ? deadline
          = 10003
        8001 wrote s-1 j1/m-4.0
          > start s-1 j1/m-5.0 map
          > start s-1 j1/m-6.0 map
          > notify j1
        ? workers
          = s-1 w-1 live active 2 committed 1 failed 3
          = s-2 w-2 live active 1 committed 0 failed 0
        ",
    );
}

#[test]
fn the_last_worker_is_not_excluded() {
    check(
        "
        0 submit j1 maps 6 reduces 0 tries 9
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        1 failed s-1 j1/m-0.0 WRITE_FAILED disk full
          > start s-1 j1/m-0.1 map
          > notify j1
        2 failed s-1 j1/m-0.1 WRITE_FAILED disk full
          > start s-1 j1/m-0.2 map
          > notify j1
        3 failed s-1 j1/m-0.2 WRITE_FAILED disk full
          > start s-1 j1/m-0.3 map
          > notify j1
        ",
    );
}

#[test]
fn weights_divide_the_slots() {
    check(
        "
        0 submit j1 maps 9 reduces 0
          > notify j1
        0 submit j2 maps 9 reduces 0 weight 3
          > notify j2
        1 register s-1 w-1 slots 8
          > start s-1 j1/m-0.0 map
          > start s-1 j2/m-0.0 map
          > start s-1 j2/m-1.0 map
          > start s-1 j2/m-2.0 map
          > start s-1 j1/m-1.0 map
          > start s-1 j2/m-3.0 map
          > start s-1 j2/m-4.0 map
          > start s-1 j2/m-5.0 map
          > notify j1
          > notify j2
        ",
    );
}

#[test]
fn least_slots_come_before_weights_and_priority_before_both() {
    check(
        "
        0 submit j1 maps 9 reduces 0 weight 9
          > notify j1
        0 submit j2 maps 9 reduces 0 least 2
          > notify j2
        0 submit j3 maps 2 reduces 0 priority 1
          > notify j3
        1 register s-1 w-1 slots 6
          > start s-1 j3/m-0.0 map
          > start s-1 j3/m-1.0 map
          > start s-1 j2/m-0.0 map
          > start s-1 j2/m-1.0 map
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
          > notify j2
          > notify j3
        ",
    );
}

#[test]
fn a_record_that_ends_its_process_twice_is_skipped_if_bad_ones_are_allowed() {
    check(
        "
        0 submit j1 maps 1 reduces 0 tries 2 bad 2
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        1 failed s-1 j1/m-0.0 EXECUTOR_CRASH signal 11; at a.txt:10
          > start s-1 j1/m-0.1 map
          > notify j1
        2 failed s-1 j1/m-0.1 EXECUTOR_CRASH signal 11; at a.txt:10
          > start s-1 j1/m-0.2 map but a.txt:10
          > notify j1
        ",
    );
}

#[test]
fn more_bad_records_than_allowed_fail_the_job() {
    check(
        "
        0 submit j1 maps 2 reduces 1 bad 2
          > notify j1
        0 register s-1 w-1 slots 2
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        1 made s-1 j1/m-0.0 1 skipped 2
          > notify j1
        2 made s-1 j1/m-1.0 1 skipped 1
          > release s-1 j1
          > undo j1
          > notify j1
        ",
    );
}

#[test]
fn a_holder_that_one_sink_cannot_reach_keeps_its_outputs_until_another_cannot() {
    check(
        "
        0 submit j1 maps 1 reduces 2
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
        0 register s-3 w-3 slots 1
        1 made s-1 j1/m-0.0 2
          > start s-1 j1/r-0.0 s-1 has m-0.0
          > start s-2 j1/r-1.0 s-1 has m-0.0
          > notify j1
        2 failed s-2 j1/r-1.0 SOURCE_UNREACHABLE no route; lost m-0.0
          > notify j1
        12 deadline
          > start s-3 j1/r-1.1 s-1 has m-0.0
        13 failed s-3 j1/r-1.1 SOURCE_UNREACHABLE no route; lost m-0.0
          > start s-2 j1/m-0.1 map
          > notify j1
        ? job j1
          = running map 0/1 bytes 0/100 reduce 0/2 lost 2 bytes 0/14 active 2
        ",
    );
}
