//! Restarts of the master, and workers that come back with what they have.

use super::check;

#[test]
fn outputs_that_come_back_are_not_made_again() {
    check(
        "
        0 submit j1 maps 2 reduces 1
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        1 made s-1 j1/m-0.0 1 hash 7
          > notify j1
        1 made s-2 j1/m-1.0 1 hash 8
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        2 restart e-2
        ? job j1
          = running map 0/2 bytes 0/200 reduce 0/1 bytes 0/14 active 0
        ? waiting j1
          = no worker is connected
        ? deadline
          = 2002
        10 register s-1 w-1 slots 1 offers j1/m-0.0#7
          > notify j1
        11 register s-2 w-2 slots 1 offers j1/m-1.0#8
          > start s-1 j1/r-0.100000 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        12 wrote s-1 j1/r-0.100000 e-2
          > publish j1 part-00000.r-0.100000, 10000040 words = 30 + 10000010
          > notify j1
        ? job j1
          = committing map 2/2 bytes 200/200 reduce 1/1 bytes 0/14 active 0
        ",
    );
}

#[test]
fn outputs_that_do_not_come_back_are_made_again_after_a_while() {
    check(
        "
        0 submit j1 maps 2 reduces 1
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        1 made s-1 j1/m-0.0 1 hash 7
          > notify j1
        1 made s-2 j1/m-1.0 1 hash 8
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        2 restart e-2
        10 register s-1 w-1 slots 1 offers j1/m-0.0#7
          > notify j1
        2001 deadline
        2002 deadline
          > start s-1 j1/m-1.100000 map
        2010 register s-2 w-2 slots 1 offers j1/m-1.0#8
          > cancel s-1 j1/m-1.100000
          > start s-1 j1/r-0.100000 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        ",
    );
}

#[test]
fn an_output_with_another_hash_or_number_is_thrown_away() {
    check(
        "
        0 submit j1 maps 2 reduces 1
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        1 made s-1 j1/m-0.0 1 hash 7
          > notify j1
        1 made s-2 j1/m-1.0 1 hash 8
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        2 restart e-2
        10 register s-1 w-1 slots 1 offers j1/m-0.0#9 j1/m-1.7#8 j1/m-9.0
          > discard s-1 j1/m-0.0
          > start s-1 j1/m-1.7 map
          > discard s-1 j1/m-9.0
          > notify j1
        ",
    );
}

#[test]
fn a_running_attempt_is_adopted_and_asked_about() {
    check(
        "
        0 submit j1 maps 2 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        1 started s-1 j1/m-0.0
        2 restart e-2
        ? job j1
          = running map 0/2 bytes 0/200 reduce 0/0 bytes 0/0 active 0
        10 register s-1 w-1 slots 1 offers j1/m-0.0
          > start s-1 j1/m-0.0 map
          > notify j1
        ? job j1
          = running map 0/2 bytes 0/200 reduce 0/0 bytes 0/0 active 1
        20 wrote s-1 j1/m-0.0 e-2
          > notify j1
        2002 deadline
          > start s-1 j1/m-1.100000 map
        2010 register s-2 w-2 slots 1 offers j1/m-1.0
          > start s-2 j1/m-1.0 map
          > notify j1
        2011 wrote s-1 j1/m-1.100000 e-2
          > cancel s-2 j1/m-1.0
          > publish j1 part-00000.m-0.0 part-00001.m-1.100000, 10000030 words = 10000030 + 0
          > notify j1
        ",
    );
}

#[test]
fn an_attempt_that_comes_back_late_runs_beside_its_successor_and_the_first_wins() {
    check(
        "
        0 submit j1 maps 1 reduces 0
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
        1 restart e-2
        2 register s-2 w-2 slots 1
        2001 deadline
          > start s-2 j1/m-0.100000 map
        2010 register s-1 w-1 slots 1 offers j1/m-0.0
          > start s-1 j1/m-0.0 map
          > notify j1
        ? job j1
          = running map 0/1 bytes 0/100 reduce 0/0 bytes 0/0 active 2
        2011 wrote s-1 j1/m-0.0 e-2
          > cancel s-2 j1/m-0.100000
          > publish j1 part-00000.m-0.0, 10 words = 10 + 0
          > notify j1
        ",
    );
}

#[test]
fn an_adopted_reduce_attempt_is_asked_about_when_all_map_outputs_are_back() {
    check(
        "
        0 submit j1 maps 2 reduces 1
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        1 made s-1 j1/m-0.0 1 hash 7
          > notify j1
        1 made s-2 j1/m-1.0 1 hash 8
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        2 restart e-2
        10 register s-1 w-1 slots 2 offers j1/m-0.0#7 j1/r-0.0
          > notify j1
        11 register s-2 w-2 slots 1 offers j1/m-1.0#8
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        12 wrote s-1 j1/r-0.0 e-2
          > publish j1 part-00000.r-0.0, 40 words = 30 + 10
          > notify j1
        ",
    );
}

#[test]
fn a_decided_job_is_published_again_and_an_ended_one_stays_ended() {
    check(
        "
        0 submit j1 maps 1 reduces 0
          > notify j1
        0 submit j2 maps 1 reduces 0
          > notify j2
        0 submit j3 maps 1 reduces 0
          > notify j3
        0 register s-1 w-1 slots 3
          > start s-1 j1/m-0.0 map
          > start s-1 j2/m-0.0 map
          > start s-1 j3/m-0.0 map
          > notify j1
          > notify j2
          > notify j3
        1 wrote s-1 j1/m-0.0
          > publish j1 part-00000.m-0.0, 10 words = 10 + 0
          > notify j1
        2 cancel j2
          > cancel s-1 j2/m-0.0
          > release s-1 j2
          > undo j2
          > notify j2
        3 restart e-2
          > publish j1 part-00000.m-0.0, 10 words = 10 + 0
        ? jobs
          = j1 committing map 1/1 bytes 100/100 reduce 0/0 bytes 0/0 active 0
          = j2 cancelled map 0/1 bytes 0/100 reduce 0/0 bytes 0/0 active 0
          = j3 running map 0/1 bytes 0/100 reduce 0/0 bytes 0/0 active 0
        4 register s-1 w-1 slots 3 offers j1/m-0.0 j2/m-0.0 j3/m-0.0 j9/m-0.0 j9/m-1.0
          > release s-1 j2
          > start s-1 j3/m-0.0 map
          > release s-1 j9
          > notify j3
        5 published j1
          > release s-1 j1
          > notify j1
        6 restart e-3
        ? jobs
          = j1 succeeded map 1/1 bytes 100/100 reduce 0/0 bytes 0/0 active 0
          = j2 cancelled map 0/1 bytes 0/100 reduce 0/0 bytes 0/0 active 0
          = j3 running map 0/1 bytes 0/100 reduce 0/0 bytes 0/0 active 0
        ",
    );
}

#[test]
fn committed_parts_are_kept_whoever_comes_back() {
    check(
        "
        0 submit j1 maps 0 reduces 2
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/r-0.0 of nothing
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/r-1.0 of nothing
        1 wrote s-1 j1/r-0.0 of 5
          > notify j1
        2 restart e-2
        3 register s-1 w-1 slots 1 offers j1/r-0.0
        2002 deadline
          > start s-1 j1/r-1.100000 of nothing
        2003 wrote s-1 j1/r-1.100000 e-2
          > publish j1 part-00000.r-0.0 part-00001.r-1.100000, 10000030 words = 0 + 10000030
          > notify j1
        ",
    );
}

#[test]
fn counted_failures_outlive_the_master() {
    check(
        "
        0 submit j1 maps 1 reduces 0 tries 2
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        1 failed s-1 j1/m-0.0 EXECUTOR_CRASH signal 6
          > start s-1 j1/m-0.1 map
          > notify j1
        2 restart e-2
        3 register s-1 w-1 slots 1
        2002 deadline
          > start s-1 j1/m-0.100000 map
        2003 failed s-1 j1/m-0.100000 EXECUTOR_CRASH signal 9 e-2
          > release s-1 j1
          > undo j1
          > notify j1
        ? failures j1
          = m-0.0 on s-0 counted: signal 6
          = m-0.100000 on s-1 counted: signal 9 e-2
        ",
    );
}

#[test]
fn a_worker_that_was_restarted_brings_its_outputs_back_before_they_are_made_again() {
    check(
        "
        0 submit j1 maps 2 reduces 1
          > notify j1
        0 register s-1 w-1 slots 2
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        1 made s-1 j1/m-0.0 1 hash 7
          > notify j1
        2 break s-1
        502 deadline
          > close s-1 lost
          > notify j1
        503 register s-2 w-1 slots 2 offers j1/m-0.0#7 j1/m-1.0
          > start s-2 j1/m-1.0 map
          > notify j1
        ? job j1
          = running map 1/2 lost 1 bytes 100/200 reduce 0/1 bytes 0/7 active 1
        ",
    );
}

#[test]
fn adopted_reduce_attempts_leave_room_for_a_map_that_has_to_be_made_again() {
    check(
        "
        0 submit j1 maps 2 reduces 1
          > notify j1
        0 register s-1 w-1 slots 1
          > start s-1 j1/m-0.0 map
          > notify j1
        0 register s-2 w-2 slots 1
          > start s-2 j1/m-1.0 map
        1 made s-1 j1/m-0.0 1 hash 7
          > notify j1
        1 made s-2 j1/m-1.0 1 hash 8
          > start s-1 j1/r-0.0 s-1 has m-0.0, s-2 has m-1.0
          > notify j1
        2 restart e-2
        10 register s-1 w-1 slots 1 offers j1/m-0.0#7 j1/r-0.0
          > discard s-1 j1/r-0.0
          > notify j1
        2002 deadline
          > start s-1 j1/m-1.100000 map
        ",
    );
}

#[test]
fn an_adopted_reduce_attempt_keeps_no_probed_worker_from_making_the_map_that_it_waits_for() {
    check(
        "
        0 submit j1 maps 2 reduces 1
          > notify j1
        0 register s-1 w-1 slots 2
          > start s-1 j1/m-0.0 map
          > start s-1 j1/m-1.0 map
          > notify j1
        0 register s-2 w-2 slots 1
        1 made s-1 j1/m-0.0 1 hash 7
          > notify j1
        1 made s-1 j1/m-1.0 1 hash 8
          > start s-1 j1/r-0.0 s-1 has m-0.0 m-1.0
          > notify j1
        2 restart e-2
        10 register s-1 w-1 slots 2 offers j1/m-0.0#7 j1/r-0.0
          > start s-1 j1/m-1.100000 map
          > notify j1
        11 failed s-1 j1/m-1.100000 SCRATCH_FULL disk full e-2
          > notify j1
        21 deadline
          > start s-1 j1/m-1.100001 map
        22 failed s-1 j1/m-1.100001 SCRATCH_FULL disk full e-2
          > notify j1
        42 deadline
          > start s-1 j1/m-1.100002 map
        43 failed s-1 j1/m-1.100002 SCRATCH_FULL disk full e-2
          > notify j1
        83 deadline
        5000 heartbeat s-1 e-2
        9000 heartbeat s-1 e-2
        10043 deadline
          > start s-1 j1/m-1.100003 map
        ",
    );
}
