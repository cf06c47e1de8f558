//! Workers that keep failing, fair shares, bad records, too many named parts, and holders that cannot be reached.

use super::{check, check_with};
use crate::scheduler::SchedulerConfig;

#[test]
fn a_worker_whose_disk_is_full_is_excluded_then_probed_then_readmitted() {
    check(
        "
        0 submit j1 maps 9 reduces 0 tries 1
          > notify j1
        0 register s-1 w-1 slots 2
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-2.0 map
        1 failed s-1 j1/m-0.0 SCRATCH_FULL disk full
          > start s-1 j1/m-3.0 map
          > notify j1
        2 failed s-1 j1/m-1.0 SCRATCH_FULL disk full
          > start s-1 j1/m-4.0 map
          > notify j1
        3 failed s-1 j1/m-3.0 SCRATCH_FULL disk full
          > notify j1
        ? workers
          = s-1 w-1 live active 1 committed 0 failed 0
          = s-2 w-2 live active 1 committed 0 failed 0
        4 deadline
        4000 heartbeat s-1
        4000 heartbeat s-2
        4000 deadline
        8000 heartbeat s-1
        8000 heartbeat s-2
        ? deadline
          = 10003
        8001 wrote s-2 j1/m-2.0
          > start s-2 j1/m-0.1 map
          > notify j1
        8002 wrote s-1 j1/m-4.0
          > start s-1 j1/m-5.0 map
          > start s-1 j1/m-6.0 map
          > notify j1
        ? workers
          = s-1 w-1 live active 2 committed 1 failed 0
          = s-2 w-2 live active 1 committed 1 failed 0
        ",
    );
}

#[test]
fn a_job_for_which_no_disk_has_room_waits_says_so_and_goes_on_when_one_has() {
    check(
        "
        0 submit j1 maps 1 reduces 0 tries 1
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        1 failed s-1 j1/m-0.0 SCRATCH_FULL /scratch is 97 % full
          > notify j1
        ? waiting j1
          = task m-0 was handed back once and rests: /scratch is 97 % full
        11 deadline
          > start s-1 j1/m-0.1 map
        12 failed s-1 j1/m-0.1 SCRATCH_FULL /scratch is 97 % full
          > notify j1
        32 deadline
          > start s-1 j1/m-0.2 map
        33 failed s-1 j1/m-0.2 SCRATCH_FULL /scratch is 97 % full
          > notify j1
        ? waiting j1
          = no worker has room on its disk: w-1 said that /scratch is 97 % full
        73 deadline
        ? deadline
          = 5033
        5000 heartbeat s-1
        9000 heartbeat s-1
        ? deadline
          = 10033
        10033 deadline
          > start s-1 j1/m-0.3 map
        10034 failed s-1 j1/m-0.3 SCRATCH_FULL /scratch is 97 % full
          > notify j1
        14000 heartbeat s-1
        14000 deadline
        18000 heartbeat s-1
        22000 heartbeat s-1
        26000 heartbeat s-1
        30000 heartbeat s-1
        ? waiting j1
          = no worker has room on its disk: w-1 said that /scratch is 97 % full
        30034 deadline
          > start s-1 j1/m-0.4 map
        30035 wrote s-1 j1/m-0.4
          > publish j1 part-00000.m-0.4, 410 words = 410 + 0
          > notify j1
        ",
    );
}

#[test]
fn an_embedded_run_whose_disk_is_full_fails() {
    check_with(
        SchedulerConfig::embedded(),
        "
        0 submit j1 maps 1 reduces 0 tries 2
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        1 failed s-1 j1/m-0.0 SCRATCH_FULL no space left on device
          > start s-1 j1/m-0.1 map
          > notify j1
        2 failed s-1 j1/m-0.1 SCRATCH_FULL no space left on device
          > release s-1 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 failed 2 bytes 0/100 reduce 0/0 bytes 0/0 active 0 SCRATCH_FULL: task m-0 failed 2 attempts, last on w-1: no space left on device
        ",
    );
}

#[test]
fn a_full_disk_in_the_outputs_place_fails_the_job_and_excludes_nobody() {
    check(
        "
        0 submit j1 maps 1 reduces 0 tries 3
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
        1 failed s-1 j1/m-0.0 WRITE_FAILED cannot write part /out/p: no space
          > start s-2 j1/m-0.1 map
          > notify j1
        2 failed s-2 j1/m-0.1 WRITE_FAILED cannot write part /out/p: no space
          > start s-1 j1/m-0.2 map
          > notify j1
        3 failed s-1 j1/m-0.2 WRITE_FAILED cannot write part /out/p: no space
          > release s-1 j1
          > release s-2 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 failed 3 bytes 0/100 reduce 0/0 bytes 0/0 active 0 WRITE_FAILED: task m-0 failed 3 attempts, last on w-1: cannot write part /out/p: no space
        ",
    );
}

#[test]
fn a_worker_that_cannot_do_what_others_can_is_distrusted_by_the_job_then_excluded_by_all() {
    check(
        "
        0 submit j1 maps 9 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        1 failed s-1 j1/m-0.0 INPUT_UNREADABLE no such file
          > start s-1 j1/m-2.0 map
          > notify j1
        2 failed s-1 j1/m-2.0 INPUT_UNREADABLE no such file
          > start s-1 j1/m-3.0 map
          > notify j1
        3 failed s-1 j1/m-3.0 INPUT_UNREADABLE no such file
          > notify j1
        4 submit j2 maps 3 reduces 0
          > start s-1 j2/m-0.0 map
          > notify j2
        5 wrote s-1 j2/m-0.0
          > start s-1 j2/m-1.0 map
          > notify j2
        6 wrote s-2 j1/m-1.0
          > start s-2 j1/m-0.1 map
          > notify j1
        7 wrote s-2 j1/m-0.1
          > start s-2 j1/m-2.1 map
          > notify j1
        8 wrote s-2 j1/m-2.1
          > start s-2 j1/m-3.1 map
          > notify j1
        9 wrote s-2 j1/m-3.1
          > start s-2 j1/m-4.0 map
          > notify j1
        ? excluded
          = w-1
        10 failed s-1 j2/m-1.0 USER_ERROR x
          > notify j2
        ",
    );
}

#[test]
fn a_job_whose_inputs_nobody_can_read_excludes_nobody() {
    check(
        "
        0 submit j1 maps 3 reduces 0 tries 2 priority 1
          > notify j1
        0 submit j2 maps 4 reduces 0
          > notify j2
        0 register s-1 w-1 slots 3
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > start s-1 j1/m-2.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j2/m-0.0 map
          > notify j2
        1 failed s-1 j1/m-0.0 INPUT_UNREADABLE denied
          > start s-1 j2/m-1.0 map
          > notify j1
        2 failed s-1 j1/m-1.0 INPUT_UNREADABLE denied
          > start s-1 j2/m-2.0 map
          > notify j1
        3 failed s-1 j1/m-2.0 INPUT_UNREADABLE denied
          > start s-1 j2/m-3.0 map
          > notify j1
        4 wrote s-2 j2/m-0.0
          > start s-2 j1/m-0.1 map
          > notify j2
        5 failed s-2 j1/m-0.1 INPUT_UNREADABLE denied
          > release s-1 j1
          > release s-2 j1
          > undo j1
          > notify j1
        ? excluded
        ",
    );
}

#[test]
fn what_two_workers_see_alike_is_the_fault_of_neither() {
    check(
        "
        0 submit j1 maps 3 reduces 0 tries 9
          > notify j1
        0 register s-1 w-1 slots 3
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > start s-1 j1/m-2.0 map
          > notify j1
        0 register s-2 w-2 slots 3
        1 failed s-1 j1/m-0.0 INPUT_UNREADABLE denied
          > start s-2 j1/m-0.1 map
          > notify j1
        1 failed s-1 j1/m-1.0 INPUT_UNREADABLE denied
          > start s-2 j1/m-1.1 map
          > notify j1
        1 failed s-1 j1/m-2.0 INPUT_UNREADABLE denied
          > start s-2 j1/m-2.1 map
          > notify j1
        2 register s-3 w-3 slots 3
        2 failed s-2 j1/m-0.1 INPUT_UNREADABLE denied
          > start s-3 j1/m-0.2 map
          > notify j1
        2 failed s-2 j1/m-1.1 INPUT_UNREADABLE denied
          > start s-3 j1/m-1.2 map
          > notify j1
        2 failed s-2 j1/m-2.1 INPUT_UNREADABLE denied
          > start s-3 j1/m-2.2 map
          > notify j1
        3 wrote s-3 j1/m-0.2
          > notify j1
        3 wrote s-3 j1/m-1.2
          > notify j1
        3 wrote s-3 j1/m-2.2
          > publish j1 part-00000.m-0.2 part-00001.m-1.2 part-00002.m-2.2, 660 words = 660 + 0
          > notify j1
        ? excluded
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
fn a_record_at_which_memory_runs_out_is_never_skipped() {
    check(
        "
        0 submit j1 maps 1 reduces 0 bad 2
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        1 failed s-1 j1/m-0.0 OUT_OF_MEMORY 1 MiB refused; at a.txt:10
          > start s-1 j1/m-0.1 map
          > notify j1
        2 failed s-1 j1/m-0.1 EXECUTOR_CRASH signal 11; at a.txt:10
          > start s-1 j1/m-0.2 map
          > notify j1
        3 failed s-1 j1/m-0.2 OUT_OF_MEMORY 2 MiB refused; at a.txt:10
          > start s-1 j1/m-0.3 map
          > notify j1
        4 failed s-1 j1/m-0.3 OUT_OF_MEMORY 3 MiB refused; at a.txt:10
          > release s-1 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 failed 4 bytes 0/100 reduce 0/0 bytes 0/0 active 0 OUT_OF_MEMORY: task m-0 failed 4 attempts, last on w-1: 3 MiB refused (at a.txt:10)
        ",
    );
}

#[test]
fn failures_at_skipped_records_do_not_count_whatever_they_were() {
    check(
        "
        0 submit j1 maps 1 reduces 0 tries 3 bad 5
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        1 failed s-1 j1/m-0.0 USER_ERROR no; at a.txt:20
          > start s-1 j1/m-0.1 map
          > notify j1
        2 failed s-1 j1/m-0.1 EXECUTOR_CRASH signal 11; at a.txt:20
          > start s-1 j1/m-0.2 map
          > notify j1
        3 failed s-1 j1/m-0.2 RECORD_TIMEOUT slow; at a.txt:20
          > start s-1 j1/m-0.3 map but a.txt:20
          > notify j1
        4 failed s-1 j1/m-0.3 EXECUTOR_CRASH signal 11; at a.txt:5
          > start s-1 j1/m-0.4 map but a.txt:20
          > notify j1
        5 failed s-1 j1/m-0.4 EXECUTOR_CRASH signal 11; at a.txt:5
          > start s-1 j1/m-0.5 map but a.txt:5 a.txt:20
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
fn more_parts_of_named_outputs_than_can_be_published_fail_the_job() {
    check(
        "
        0 submit j1 maps 3 reduces 0
          > notify j1
        0 register s-1 w-1 slots 3
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > start s-1 j1/m-2.0 map
          > notify j1
        1 wrote s-1 j1/m-0.0 named 500000
          > notify j1
        2 wrote s-1 j1/m-1.0 named 500000
          > notify j1
        3 wrote s-1 j1/m-2.0 named 1
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
