//! Who may have an output.

use futures::FutureExt as _;

use super::*;
use crate::runtime::output::store::claim::{give_back, is_held, take};

/// Rounds of the contest.
const ROUNDS: u64 = 1000;

/// Claims in each.
const CONTESTANTS: u64 = 4;

#[test]
fn of_contested_claims_one_wins_and_every_loser_knows() {
    let faulty = FaultyStore::new();
    // Some replies are lost; which ones differs from round to round.
    faulty.suffer(|number| match number % 7 {
        3 => Some(Fault::After),
        5 => Some(Fault::Before),
        _ => None,
    });
    let store = place(&faulty, "s3://bucket/out");
    for round in 0..ROUNDS {
        let records: Vec<ClaimRecord> =
            (0..CONTESTANTS).map(|job| ClaimRecord::new(JobId(round * CONTESTANTS + job), Process::this())).collect();
        let (place, contest) = (store.clone(), records.clone());
        let outcomes = store.wait(async move {
            let tries = contest.into_iter().map(|record| {
                let place = place.clone();
                tokio::spawn(async move { take(&place, &record).await })
            });
            let tries: Vec<_> = tries.collect();
            let mut outcomes = Vec::new();
            for outcome in tries {
                outcomes.push(outcome.await.expect("no panic"));
            }
            outcomes
        });
        let mut winners = Vec::new();
        for (record, outcome) in records.iter().zip(outcomes) {
            match outcome {
                Ok(()) => winners.push(record.clone()),
                Err(OutputError::Held { .. }) => {}
                Err(error) => panic!("round {round}: {error}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}");
        let (place, winner) = (store.clone(), winners.remove(0));
        let freed = store.wait(async move {
            assert!(is_held(&place, &winner).await?);
            give_back(&place, &winner).await
        });
        freed.expect("only replies are lost");
    }
    check_nothing(&faulty, "all gave it back");
}

#[test]
fn a_claim_is_refused_by_the_name_of_its_holder_and_taken_over_from_the_dead() {
    let faulty = FaultyStore::new();
    let store = place(&faulty, "s3://bucket/out");
    let first = StoreClaim::acquire(store.clone(), OTHER, false).expect("free");
    let error = StoreClaim::acquire(store.clone(), JOB, true).expect_err("held").to_string();
    let expect = format!("output s3://bucket/out is claimed by job {OTHER} (process {})", std::process::id());
    assert_eq!(error, expect);
    first.undo().expect("given back");
    check_nothing(&faulty, "it was undone");

    let dead = ClaimRecord::new(OTHER, Process { started: 1, ..Process::this() });
    put(&faulty, "out/_gristmill.claim", &String::from_utf8(dead.to_bytes()).expect("JSON"));
    StoreClaim::acquire(store.clone(), JOB, false).expect("its process is gone").undo().expect("undone");

    let far = ClaimRecord::new(OTHER, Process { host: "far".to_owned(), ..Process::this() });
    put(&faulty, "out/_gristmill.claim", &String::from_utf8(far.to_bytes()).expect("JSON"));
    let error = StoreClaim::acquire(store.clone(), JOB, false).expect_err("out of sight");
    let text = error.to_string();
    assert!(text.contains("host \"far\"") && text.contains("s3://bucket/out/_gristmill.claim"), "{text}");
    assert!(error.hint().expect("one").contains("delete the object"), "{error}");
    let own = ClaimRecord::new(JOB, Process { host: "far".to_owned(), ..Process::this() });
    put(&faulty, "out/_gristmill.claim", &String::from_utf8(own.to_bytes()).expect("JSON"));
    StoreClaim::reclaim(store, JOB, false, &Progress::default()).expect("its own").undo().expect("undone");
    check_nothing(&faulty, "it was undone");
}

#[test]
fn a_claim_that_another_wrote_over_is_noticed_before_the_job_starts() {
    let count = {
        let faulty = FaultyStore::new();
        faulty.suffer(|_| None);
        StoreClaim::acquire(place(&faulty, "s3://bucket/out"), JOB, false).expect("free").abandon();
        faulty.requests()
    };
    let faulty = FaultyStore::new();
    // As a server does that had seen no claim when this one was written: before the last look.
    let (memory, stranger) = (faulty.memory.clone(), ClaimRecord::new(OTHER, Process::this()));
    faulty.suffer(move |number| {
        if number == count {
            let key = object_store::path::Path::from("out/_gristmill.claim");
            let put = memory.put(&key, stranger.to_bytes().into()).now_or_never();
            put.expect("memory does not wait").expect("memory takes all");
        }
        None
    });
    let error = StoreClaim::acquire(place(&faulty, "s3://bucket/out"), JOB, false).expect_err("it is another's");
    assert!(matches!(&error, OutputError::Held { holder, .. } if holder.contains(&OTHER.to_string())), "{error}");
    assert_eq!(faulty.objects().into_keys().collect::<Vec<_>>(), ["out/_gristmill.claim"], "the other one's stays");
    assert_eq!(faulty.open_uploads(), [""; 0]);
}

#[test]
fn what_is_in_the_place_of_an_output_is_refused_unless_it_may_be_replaced() {
    let faulty = FaultyStore::new();
    let check = |output: &str, expect: &str| {
        let error = StoreClaim::acquire(place(&faulty, output), JOB, false).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error}");
        assert_eq!(faulty.open_uploads(), [""; 0]);
        assert!(!faulty.objects().keys().any(|key| key.ends_with(".claim")), "nothing is left");
    };
    put(&faulty, "file", "x");
    put(&faulty, "full/part-00000", "x");
    put(&faulty, "done/_SUCCESS", "{}");
    put(&faulty, "hidden/_notes", "x");
    put(&faulty, "hidden/_tmp/x", "x");
    check("s3://bucket", "s3://bucket cannot be an output: it is the root of its bucket");
    check("s3://bucket/file", "is an object; only a folder");
    check("s3://bucket/full", "s3://bucket/full exists and is not empty");
    check("s3://bucket/done", "s3://bucket/done exists and is not empty");
    StoreClaim::acquire(place(&faulty, "s3://bucket/hidden"), JOB, false)
        .expect("nobody sees it")
        .undo()
        .expect("undone");
    StoreClaim::acquire(place(&faulty, "s3://bucket/full"), JOB, true).expect("it may").undo().expect("undone");
    assert!(faulty.objects().contains_key("full/part-00000"), "what was there stays");
}

#[test]
fn claims_do_not_nest() {
    let faulty = FaultyStore::new();
    let claim = |output: &str, job| StoreClaim::acquire(place(&faulty, output), job, true);
    for (first, second) in [("s3://bucket/a/b", "s3://bucket/a"), ("s3://bucket/a", "s3://bucket/a/b/c")] {
        let held = claim(first, OTHER).expect("free");
        let error = claim(second, JOB).expect_err("nested").to_string();
        assert!(error.contains("overlaps another one, which is claimed by job") && error.contains(first), "{error}");
        claim("s3://bucket/ab", JOB).expect("beside it").undo().expect("undone");
        held.undo().expect("undone");
    }
    check_nothing(&faulty, "all were undone");
}
