//! Map tasks whose attempts make different outputs.

use super::check;

#[test]
fn what_was_made_of_a_superseded_output_is_made_again() {
    check(
        "
        0 submit j1 maps 2 reduces 2
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        0 register s-3 w-3 slots 1
        1 made s-1 j1/m-0.0 2 hash 7
          > notify j1
        1 made s-2 j1/m-1.0 2 hash 8
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > start s-2 j1/r-1.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        2 wrote s-1 j1/r-0.0 of 4
          > notify j1
        3 break s-2
        503 deadline
          > close s-2 lost
          > start s-1 j1/m-1.1 map
          > notify j1
        504 made s-1 j1/m-1.1 2 hash 9
          > discard s-1 j1/r-0.0
          > start s-1 j1/r-0.1 s-1 has m-0.0 m-1.1
          > start s-3 j1/r-1.1 s-1 has m-0.0 m-1.1
          > notify j1
        ? job j1
          = running map 2/2 bytes 200/200 reduce 0/2 lost 1 bytes 0/28 active 2
        ",
    );
}

#[test]
fn an_equal_output_changes_nothing() {
    check(
        "
        0 submit j1 maps 2 reduces 2
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        0 register s-3 w-3 slots 1
        1 made s-1 j1/m-0.0 2 hash 7
          > notify j1
        1 made s-2 j1/m-1.0 2 hash 8
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > start s-2 j1/r-1.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        2 wrote s-1 j1/r-0.0 of 4
          > notify j1
        3 break s-2
        503 deadline
          > close s-2 lost
          > start s-1 j1/m-1.1 map
          > notify j1
        504 made s-1 j1/m-1.1 2 hash 8
          > start s-1 j1/r-1.1 s-1 has m-0.0 m-1.1
          > notify j1
        ",
    );
}

#[test]
fn a_job_that_must_be_deterministic_fails_at_once() {
    check(
        "
        0 submit j1 maps 1 reduces 1 deterministic
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
        1 made s-1 j1/m-0.0 1 hash 7
          > start s-1 j1/r-0.0 s-1 has m-0.0
          > notify j1
        2 failed s-1 j1/r-0.0 MAP_OUTPUT_LOST gone; lost m-0.0
          > start s-2 j1/m-0.1 map
          > notify j1
        3 made s-2 j1/m-0.1 1 hash 8
          > cancel s-2 j1/m-0.1
          > release s-1 j1
          > release s-2 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 bytes 0/100 reduce 0/1 lost 1 bytes 0/7 active 0 NONDETERMINISTIC_MAP: map task m-0 is not deterministic: attempts 0 and 1 differ
        ",
    );
}

#[test]
fn an_attempt_that_read_a_superseded_output_is_not_adopted() {
    check(
        "
        0 submit j1 maps 3 reduces 1
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 2
          > start s-2 j1/m-1.0 map
          > start s-2 j1/m-2.0 map
        1 made s-2 j1/m-1.0 1 hash 8
          > notify j1
        1 made s-2 j1/m-2.0 1 hash 9
          > notify j1
        1 made s-1 j1/m-0.0 1 hash 7
          > start s-2 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0 m-2.0
          > notify j1
        2 break s-2
        502 deadline
          > close s-2 lost
          > start s-1 j1/m-1.1 map
          > notify j1
        503 made s-1 j1/m-1.1 1 hash 10
          > start s-1 j1/m-2.1 map
          > notify j1
        504 register s-3 w-2 slots 2 offers j1/r-0.0 j1/m-1.0#8 j1/m-2.0#9
          > cancel s-1 j1/m-2.1
          > discard s-3 j1/r-0.0
          > discard s-3 j1/m-1.0
          > start s-1 j1/r-0.1 s-1 has m-0.0 m-1.1, s-3 has m-2.0
          > notify j1
        ",
    );
}

#[test]
fn a_map_that_differs_time_and_again_fails_its_job() {
    check(
        "
        0 submit j1 maps 1 reduces 2
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 2
        1 made s-1 j1/m-0.0 2 hash 1
          > start s-1 j1/r-0.0 s-1 has m-0.0
          > start s-2 j1/r-1.0 s-1 has m-0.0
          > notify j1
        100 failed s-2 j1/r-1.0 MAP_OUTPUT_LOST gone; lost m-0.0
          > start s-2 j1/m-0.1 map
          > notify j1
        150 made s-2 j1/m-0.1 2 hash 2
          > cancel s-1 j1/r-0.0
          > start s-2 j1/r-0.1 s-2 has m-0.1
          > notify j1
        160 deadline
          > start s-1 j1/r-1.1 s-2 has m-0.1
        200 failed s-1 j1/r-1.1 MAP_OUTPUT_LOST gone; lost m-0.1
          > start s-1 j1/m-0.2 map
          > notify j1
        250 made s-1 j1/m-0.2 2 hash 3
          > cancel s-2 j1/r-0.1
          > start s-1 j1/r-0.2 s-1 has m-0.2
          > notify j1
        300 deadline
          > start s-2 j1/r-1.2 s-1 has m-0.2
        310 failed s-2 j1/r-1.2 MAP_OUTPUT_LOST gone; lost m-0.2
          > start s-2 j1/m-0.3 map
          > notify j1
        350 made s-2 j1/m-0.3 2 hash 4
          > cancel s-1 j1/r-0.2
          > start s-2 j1/r-0.3 s-2 has m-0.3
          > notify j1
        400 deadline
          > start s-1 j1/r-1.3 s-2 has m-0.3
        410 failed s-1 j1/r-1.3 MAP_OUTPUT_LOST gone; lost m-0.3
          > start s-1 j1/m-0.4 map
          > notify j1
        450 made s-1 j1/m-0.4 2 hash 5
          > cancel s-1 j1/m-0.4
          > cancel s-2 j1/r-0.3
          > release s-1 j1
          > release s-2 j1
          > undo j1
          > notify j1
        ? job j1
          = failed map 0/1 bytes 0/100 reduce 0/2 lost 4 bytes 0/14 active 0 NONDETERMINISTIC_MAP: map task m-0 is not deterministic: attempts 3 and 4 differ, too often
        ",
    );
}
