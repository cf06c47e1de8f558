//! What failures mean: counted or not, elsewhere or anywhere, at once or after a rest.

use super::script::with_queue;
use super::{check, check_with};
use crate::scheduler::SchedulerConfig;

#[test]
fn a_task_fails_its_job_after_its_attempts_are_used_up() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 1 tries 3
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 EXECUTOR_CRASH signal 6; at a.txt:10
          > start s-1 j1/m-0.1 map
          > notify j1
        3 failed s-1 j1/m-0.1 USER_ERROR bad line; at a.txt:20
          > start s-1 j1/m-0.2 map
          > notify j1
        4 failed s-1 j1/m-0.2 EXECUTOR_CRASH signal 6; at a.txt:10
          > release s-1 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 failed 3 bytes 0/100 reduce 0/1 bytes 0/0 active 0 EXECUTOR_CRASH: task m-0 failed 3 attempts, last on w-1: signal 6 (at a.txt:10)
        ? failures j1
          = m-0.0 on s-1 counted: signal 6 (at a.txt:10)
          = m-0.1 on s-1 counted: bad line (at a.txt:20)
          = m-0.2 on s-1 counted: signal 6 (at a.txt:10)
        ? workers
          = s-1 w-1 live active 0 committed 0 failed 3
        ",
    );
}

#[test]
fn a_failure_that_no_attempt_can_avoid_fails_the_job_at_once() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 2 reduces 1
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > notify j1
        2 failed s-2 j1/m-1.0 INPUT_CHANGED a.txt has 7 bytes instead of 9
          > cancel s-1 j1/m-0.0
          > release s-1 j1
          > release s-2 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/2 failed 1 bytes 0/200 reduce 0/1 bytes 0/0 active 0 INPUT_CHANGED: task m-1 failed on w-2: a.txt has 7 bytes instead of 9
        3 failed s-1 j1/m-0.0 USER_ERROR late
        ",
    );
}

#[test]
fn one_attempt_allowed_is_said_in_the_singular() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0 tries 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 WRITE_FAILED disk full
          > release s-1 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 failed 1 bytes 0/100 reduce 0/0 bytes 0/0 active 0 WRITE_FAILED: task m-0 failed 1 attempt, on w-1: disk full
        ",
    );
}

#[test]
fn user_code_that_fails_alike_on_two_workers_fails_the_job() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 1 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 USER_PANIC index out of range; at a.txt:10
          > start s-2 j1/m-0.1 map
          > notify j1
        3 failed s-2 j1/m-0.1 USER_PANIC index out of range; at a.txt:10
          > release s-1 j1
          > release s-2 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 failed 2 bytes 0/100 reduce 0/1 bytes 0/0 active 0 USER_PANIC: task m-0 failed 2 attempts, last on w-2: index out of range (at a.txt:10)
        ",
    );
}

#[test]
fn user_code_that_ends_its_process_at_one_record_on_two_workers_fails_the_job() {
    for (code, said) in [("EXECUTOR_CRASH", "signal 6"), ("RECORD_TIMEOUT", "slow"), ("OUT_OF_MEMORY", "no more")] {
        check(&format!(
            "
            0 register s-1 w-1 slots 1
            0 register s-2 w-2 slots 1
            1 submit j1 maps 1 reduces 1
              > start s-1 j1/m-0.0 map
              > notify j1
            2 failed s-1 j1/m-0.0 {code} {said} 1; at a.txt:10
              > start s-2 j1/m-0.1 map
              > notify j1
            3 failed s-2 j1/m-0.1 {code} {said} 2; at a.txt:10
              > release s-1 j1
              > release s-2 j1
              > undo j1
              > notify j1
            ? job j1
              = failed map 0/1 failed 2 bytes 0/100 reduce 0/1 bytes 0/0 active 0 {code}: task m-0 failed 2 attempts, last on w-2: {said} 2 (at a.txt:10)
            "
        ));
    }
}

#[test]
fn user_code_that_ends_its_process_at_one_record_fails_the_job_of_the_only_worker_the_third_time() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 1 tries 9
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 EXECUTOR_CRASH signal 4; at a.txt:10
          > start s-1 j1/m-0.1 map
          > notify j1
        3 failed s-1 j1/m-0.1 EXECUTOR_CRASH signal 4; at a.txt:10
          > start s-1 j1/m-0.2 map
          > notify j1
        4 failed s-1 j1/m-0.2 EXECUTOR_CRASH signal 4; at a.txt:10
          > release s-1 j1
          > undo j1
          > notify j1
        ",
    );
}

#[test]
fn user_code_that_fails_alike_at_the_same_record_fails_the_job_on_one_worker_too() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 BAD_RECORD not UTF-8; at a.txt:10; retry
          > start s-1 j1/m-0.1 map
          > notify j1
        3 failed s-1 j1/m-0.1 BAD_RECORD not UTF-8; at a.txt:10; retry
          > release s-1 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 failed 2 bytes 0/100 reduce 0/1 bytes 0/0 active 0 BAD_RECORD: task m-0 failed 2 attempts, last on w-1: not UTF-8 (at a.txt:10)
        ",
    );
}

#[test]
fn user_code_that_fails_in_different_ways_has_all_its_attempts() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 1
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 USER_ERROR no route; at a.txt:10
          > start s-1 j1/m-0.1 map
          > notify j1
        3 failed s-1 j1/m-0.1 USER_ERROR no route; at a.txt:20
          > start s-1 j1/m-0.2 map
          > notify j1
        4 failed s-1 j1/m-0.2 USER_ERROR no host; at a.txt:10
          > start s-1 j1/m-0.3 map
          > notify j1
        5 failed s-1 j1/m-0.3 USER_PANIC no host; at a.txt:10
          > release s-1 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 failed 4 bytes 0/100 reduce 0/1 bytes 0/0 active 0 USER_PANIC: task m-0 failed 4 attempts, last on w-1: no host (at a.txt:10)
        ",
    );
}

#[test]
fn user_code_that_fails_alike_at_no_known_record_on_one_worker_has_all_its_attempts() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 1 tries 3
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 USER_ERROR no
          > start s-1 j1/m-0.1 map
          > notify j1
        3 failed s-1 j1/m-0.1 USER_ERROR no
          > start s-1 j1/m-0.2 map
          > notify j1
        4 failed s-1 j1/m-0.2 USER_ERROR no
          > release s-1 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 failed 3 bytes 0/100 reduce 0/1 bytes 0/0 active 0 USER_ERROR: task m-0 failed 3 attempts, last on w-1: no
        ",
    );
}

#[test]
fn a_lost_map_output_is_made_again_and_the_reduce_handed_back() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 2 reduces 2 tries 1
          > start s-1 j1/m-0.0 map
          > start s-2 j1/m-1.0 map
          > notify j1
        2 made s-1 j1/m-0.0 2
          > notify j1
        3 made s-2 j1/m-1.0 2
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > start s-2 j1/r-1.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        4 failed s-1 j1/r-0.0 MAP_OUTPUT_LOST w-2 has no segment; lost m-1.0
          > discard s-2 j1/m-1.0
          > start s-1 j1/m-1.1 map
          > notify j1
        ? job j1
          = running map 1/2 bytes 100/200 reduce 0/2 lost 1 bytes 0/28 active 2
        5 failed s-2 j1/r-1.0 MAP_OUTPUT_LOST w-2 has no segment; lost m-1.0
          > notify j1
        ? job j1
          = running map 1/2 bytes 100/200 reduce 0/2 lost 2 bytes 0/28 active 1
        6 made s-1 j1/m-1.1 2
          > notify j1
        ? waiting j1
          = task r-0 was handed back once and rests: w-2 has no segment
        ? deadline
          = 14
        14 deadline
          > start s-1 j1/r-0.1 s-1 has m-0.0 m-1.1
        15 deadline
          > start s-2 j1/r-1.1 s-1 has m-0.0 m-1.1
        16 wrote s-1 j1/r-0.1
          > notify j1
        17 wrote s-2 j1/r-1.1
          > publish j1 part-00000.r-0.1 part-00001.r-1.1, 360 words = 130 + 230
          > notify j1
        ",
    );
}

#[test]
fn an_output_that_was_made_again_already_is_not_made_a_third_time() {
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
        3 failed s-1 j1/r-0.0 MAP_OUTPUT_LOST damaged; lost m-0.0
          > discard s-1 j1/m-0.0
          > notify j1
        3 register s-3 w-3 slots 1
          > start s-3 j1/m-0.1 map
        4 made s-3 j1/m-0.1 2
          > notify j1
        4 made s-1 j1/m-0.1 2
          > discard s-1 j1/m-0.1
        5 failed s-2 j1/r-1.0 MAP_OUTPUT_LOST damaged; lost m-0.0,m-7.0,r-0.0
          > notify j1
        ? job j1
          = running map 1/1 bytes 100/100 reduce 0/2 lost 2 bytes 0/14 active 0
        ",
    );
}

#[test]
fn hand_backs_never_count_and_rest_longer_each_time() {
    check(
        "
        0 register s-1 w-1 slots 1
        1000 submit j1 maps 1 reduces 0 tries 1
          > start s-1 j1/m-0.0 map
          > notify j1
        1000 failed s-1 j1/m-0.0 WORKER_LOST draining
          > notify j1
        ? deadline
          = 1010
        1009 deadline
        1010 deadline
          > start s-1 j1/m-0.1 map
        2000 failed s-1 j1/m-0.1 WORKER_LOST draining
          > notify j1
        ? deadline
          = 2020
        2020 deadline
          > start s-1 j1/m-0.2 map
        3000 failed s-1 j1/m-0.2 WORKER_LOST draining
          > notify j1
        3040 deadline
          > start s-1 j1/m-0.3 map
        4000 heartbeat s-1
        4000 failed s-1 j1/m-0.3 WORKER_LOST draining
          > notify j1
        4080 deadline
          > start s-1 j1/m-0.4 map
        5000 failed s-1 j1/m-0.4 WORKER_LOST draining
          > notify j1
        5160 deadline
          > start s-1 j1/m-0.5 map
        6000 failed s-1 j1/m-0.5 WORKER_LOST draining
          > notify j1
        ? deadline
          = 6250
        6250 deadline
          > start s-1 j1/m-0.6 map
        7000 failed s-1 j1/m-0.6 WORKER_LOST draining
          > notify j1
        ? deadline
          = 7250
        ? waiting j1
          = task m-0 was handed back 7 times and rests: draining
        ? job j1
          = running map 0/1 lost 7 bytes 0/100 reduce 0/0 bytes 0/0 active 0
        ",
    );
}

#[test]
fn the_newest_failures_are_kept() {
    let config = SchedulerConfig { failures_kept: 2, ..with_queue(0) };
    check_with(
        config,
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 USER_ERROR one
          > start s-1 j1/m-0.1 map
          > notify j1
        3 failed s-1 j1/m-0.1 WRITE_FAILED two
          > start s-1 j1/m-0.2 map
          > notify j1
        4 failed s-1 j1/m-0.2 USER_ERROR three; at a.txt:1
          > start s-1 j1/m-0.3 map
          > notify j1
        ? failures j1
          = m-0.1 on s-1 counted: two
          = m-0.2 on s-1 counted: three (at a.txt:1)
        ",
    );
}
