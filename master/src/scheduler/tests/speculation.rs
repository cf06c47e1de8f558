//! Stragglers, their twins, and which of both wins.

use super::script::with_queue;
use super::{check, check_with};

#[test]
fn a_straggler_gets_a_twin_and_the_first_that_finishes_wins() {
    check(
        "
        0 submit j1 maps 2 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        0 started s-1 j1/m-0.0
        0 started s-2 j1/m-1.0
        100 wrote s-2 j1/m-1.0
          > notify j1
        ? deadline
          = 300
        300 deadline
        1000 deadline
        1200 deadline
          > start s-2 j1/m-0.1 map
          > notify j1
        ? job j1
          = running map 1/2 bytes 100/200 reduce 0/0 bytes 0/0 active 2
        1500 wrote s-2 j1/m-0.1
          > cancel s-1 j1/m-0.0
          > publish j1 part-00000.m-0.1 part-00001.m-1.0, 130 words = 130 + 0
          > notify j1
        ? job j1
          = committing map 2/2 bytes 200/200 reduce 0/0 bytes 0/0 active 0
        ",
    );
}

#[test]
fn the_straggler_itself_may_win() {
    check(
        "
        0 submit j1 maps 2 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        100 wrote s-2 j1/m-1.0
          > notify j1
        1500 deadline
          > start s-2 j1/m-0.1 map
          > notify j1
        1600 wrote s-1 j1/m-0.0
          > cancel s-2 j1/m-0.1
          > publish j1 part-00000.m-0.0 part-00001.m-1.0, 30 words = 30 + 0
          > notify j1
        ",
    );
}

#[test]
fn a_twin_goes_on_alone_when_its_sibling_fails_or_is_lost() {
    check(
        "
        0 submit j1 maps 2 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        100 wrote s-2 j1/m-1.0
          > notify j1
        1500 deadline
          > start s-2 j1/m-0.1 map
          > notify j1
        1600 failed s-1 j1/m-0.0 USER_PANIC x
          > notify j1
        ? job j1
          = running map 1/2 failed 1 bytes 100/200 reduce 0/0 bytes 0/0 active 1
        1700 wrote s-2 j1/m-0.1
          > publish j1 part-00000.m-0.1 part-00001.m-1.0, 130 words = 130 + 0
          > notify j1
        ",
    );
}

#[test]
fn a_lost_twin_is_not_replaced_by_a_new_attempt() {
    check(
        "
        0 submit j1 maps 2 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        100 wrote s-2 j1/m-1.0
          > notify j1
        1500 deadline
          > start s-2 j1/m-0.1 map
          > notify j1
        1600 break s-2
        2100 deadline
          > close s-2 lost
          > notify j1
        ? job j1
          = running map 1/2 lost 1 bytes 100/200 reduce 0/0 bytes 0/0 active 1
        ",
    );
}

#[test]
fn no_twin_runs_on_the_straggler_s_own_worker() {
    check(
        "
        0 submit j1 maps 2 reduces 0
          > notify j1
        0 register s-1 w-1 slots 2
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        100 wrote s-1 j1/m-1.0
          > notify j1
        1500 deadline
        2000 deadline
        ",
    );
}

#[test]
fn what_waits_behind_another_attempt_begins_on_an_idle_worker_too() {
    check_with(
        with_queue(1),
        "
        0 submit j1 maps 3 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-2.0 map
        0 started s-1 j1/m-0.0
        0 started s-2 j1/m-2.0
        100 wrote s-2 j1/m-2.0
          > notify j1
        300 deadline
          > start s-2 j1/m-1.1 map
          > notify j1
        ",
    );
}

#[test]
fn a_slow_worker_gets_no_task_that_fast_ones_finish_sooner() {
    check(
        "
        0 submit j1 maps 7 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        0 register s-3 w-3 slots 1
          > start s-3 j1/m-2.0 map
        0 started s-1 j1/m-0.0
        100 wrote s-2 j1/m-1.0 took 100000
          > start s-2 j1/m-3.0 map
          > notify j1
        100 wrote s-3 j1/m-2.0 took 100000
          > start s-3 j1/m-4.0 map
          > notify j1
        1000 wrote s-1 j1/m-0.0 took 1000000
          > notify j1
        1000 wrote s-2 j1/m-3.0 took 100000
          > start s-2 j1/m-5.0 map
          > notify j1
        1000 wrote s-3 j1/m-4.0 took 100000
          > start s-3 j1/m-6.0 map
          > notify j1
        ",
    );
}

#[test]
fn a_task_that_failed_on_all_fast_workers_does_not_wait_for_them() {
    check(
        "
        0 submit j1 maps 5 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        0 register s-3 w-3 slots 1
          > start s-3 j1/m-2.0 map
        0 started s-1 j1/m-0.0
        100 wrote s-2 j1/m-1.0 took 100000
          > start s-2 j1/m-3.0 map
          > notify j1
        100 wrote s-3 j1/m-2.0 took 100000
          > start s-3 j1/m-4.0 map
          > notify j1
        1000 wrote s-1 j1/m-0.0 took 1000000
          > notify j1
        1000 failed s-2 j1/m-3.0 INPUT_UNREADABLE no such file
          > notify j1
        1000 failed s-3 j1/m-4.0 INPUT_UNREADABLE no such file
          > start s-3 j1/m-3.1 map
          > start s-2 j1/m-4.1 map
          > notify j1
        1001 failed s-3 j1/m-3.1 INPUT_UNREADABLE no such file
          > start s-1 j1/m-3.2 map
          > notify j1
        1001 failed s-2 j1/m-4.1 INPUT_UNREADABLE no such file
          > notify j1
        1011 deadline
        ",
    );
}
