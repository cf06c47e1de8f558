//! Why jobs wait.

use super::check;

#[test]
fn a_job_without_workers_says_so_and_goes_on_when_one_comes() {
    check(
        "
        0 submit j1 maps 1 reduces 0
          > notify j1
        ? waiting j1
          = no worker is connected
        1 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        ? waiting j1
          = nothing
        2 left s-1
          > close s-1 left
          > notify j1
        ? waiting j1
          = no worker is connected
        3 register s-2 w-1 slots 1
          > start s-2 j1/m-0.1 map
        4 wrote s-2 j1/m-0.1
          > publish j1 part-00000.m-0.1, 110 words = 110 + 0
          > notify j1
        ? waiting j1
          = its output is being put in place
        5 published j1
          > release s-2 j1
          > notify j1
        ? waiting j1
          = nothing
        ",
    );
}

#[test]
fn suspect_workers_are_named() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 break s-1
        ? waiting j1
          = worker w-1 is suspect: its stream broke
        3 register s-2 w-2 slots 1
        ? waiting j1
          = its attempts are on suspect workers: w-1
        4 break s-2
        ? waiting j1
          = all 2 workers are suspect: their streams broke
        5 resume s-1
          > start s-1 j1/m-0.0 map
        ? waiting j1
          = nothing
        ",
    );
}

#[test]
fn busy_workers_are_counted() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 2 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 submit j2 maps 1 reduces 0
          > notify j2
        ? waiting j2
          = worker w-1 is busy with other jobs
        3 register s-2 w-2 slots 1
          > start s-2 j2/m-0.0 map
          > notify j2
        ? waiting j2
          = nothing
        ? waiting j1
          = nothing
        4 submit j3 maps 1 reduces 0
          > notify j3
        ? waiting j3
          = all 2 workers are busy with other jobs
        ",
    );
}

#[test]
fn a_task_that_rests_is_named_with_the_cause() {
    check(
        "
        0 register s-1 w-1 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 failed s-1 j1/m-0.0 WORKER_LOST draining
          > notify j1
        ? waiting j1
          = task m-0 was handed back once and rests: draining
        12 deadline
          > start s-1 j1/m-0.1 map
        13 failed s-1 j1/m-0.1 WORKER_LOST draining
          > notify j1
        ? waiting j1
          = task m-0 was handed back 2 times and rests: draining
        ",
    );
}

#[test]
fn a_task_that_waits_for_a_better_worker_is_named() {
    check(
        "
        0 register s-1 w-1 slots 1
        0 register s-2 w-2 slots 1
        1 submit j1 maps 1 reduces 0
          > start s-1 j1/m-0.0 map
          > notify j1
        2 submit j2 maps 1 reduces 0
          > start s-2 j2/m-0.0 map
          > notify j2
        3 failed s-1 j1/m-0.0 WRITE_FAILED disk full
          > notify j1
        ? waiting j1
          = task m-0 waits for a worker on which it did not fail
        4 wrote s-2 j2/m-0.0
          > publish j2 part-00000.m-0.0, 10 words = 10 + 0
          > start s-2 j1/m-0.1 map
          > notify j2
        ",
    );
}
