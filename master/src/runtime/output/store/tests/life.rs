//! Jobs from claim to end, with every request failing once, many failing, and the store going away in the
//! middle.

use super::*;

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Published,
    Refused,
    Failed,
}

/// The life of a job under one master, which undoes what it cannot finish.
fn live(faulty: &Arc<FaultyStore>, overwrite: bool) -> End {
    let store = place(faulty, "s3://bucket/out");
    let Ok(mut claim) = StoreClaim::acquire(store.clone(), JOB, overwrite) else { return End::Refused };
    let mut begun = Vec::new();
    let sent = send_all(&store, &mut begun);
    claim.note(begun);
    let published = sent.and_then(|sent| claim.publish(&sent.parts, &sent.bad, &manifest(&sent)));
    let end = if published.is_ok() { End::Published } else { End::Failed };
    // Trouble at the very end leaves something, which the next one who comes by removes.
    let _ = claim.undo();
    end
}

/// Removes what a life may have left whose last requests failed.
fn clean_up(faulty: &Arc<FaultyStore>) {
    faulty.suffer(|_| None);
    let store = place(faulty, "s3://bucket/out");
    remove_leftovers(&store, JOB, BTreeSet::new(), Vec::new()).expect("no faults");
}

#[test]
fn a_job_puts_its_whole_output_in_place_and_leaves_nothing_else() {
    let faulty = FaultyStore::new();
    assert_eq!(live(&faulty, false), End::Published);
    check_whole(&faulty, "no faults");
    assert_eq!(live(&faulty, false), End::Refused, "something is there now");
    check_whole(&faulty, "refused");
}

#[test]
fn nobody_sees_a_part_before_it_is_published_and_an_undone_job_leaves_nothing() {
    let faulty = FaultyStore::new();
    let store = place(&faulty, "s3://bucket/out");
    let mut claim = StoreClaim::acquire(store.clone(), JOB, false).expect("free");
    let mut begun = Vec::new();
    let sent = send_all(&store, &mut begun).expect("no faults");
    assert_eq!(faulty.objects().into_keys().collect::<Vec<_>>(), ["out/_gristmill.claim"]);
    assert_eq!(faulty.open_uploads().len(), sent.begun.len());
    // One that nobody was told of, and one of somebody else.
    store.wait({
        let store = store.clone();
        async move {
            store.open_upload("part-00007").await.expect("no faults");
            store.open_upload("notes.txt").await.expect("no faults");
        }
    });
    claim.note(sent.begun);
    claim.undo().expect("no faults");
    assert_eq!(faulty.objects().len(), 0);
    assert_eq!(faulty.open_uploads(), ["out/notes.txt"]);
}

#[test]
fn whichever_request_fails_once_the_output_is_whole_or_nothing_is_left() {
    let count = {
        let faulty = FaultyStore::new();
        faulty.suffer(|_| None);
        live(&faulty, false);
        faulty.requests()
    };
    assert!(count > 30, "{count}");
    for fault in [Fault::Before, Fault::After, Fault::Denied] {
        let mut published = 0;
        for n in 1..=count {
            let faulty = FaultyStore::new();
            faulty.suffer(move |number| (number == n).then_some(fault));
            let end = live(&faulty, false);
            let context = format!("request {n} fails with {fault:?}: {end:?}");
            clean_up(&faulty);
            match end {
                End::Published => {
                    published += 1;
                    check_whole(&faulty, &context);
                }
                End::Refused | End::Failed => check_nothing(&faulty, &context),
            }
        }
        // What may pass is asked for again.
        let least = if fault == Fault::Denied { 1 } else { count };
        assert!(published >= least, "{fault:?}: {published} of {count}");
    }
}

#[test]
fn however_many_requests_fail_the_output_is_whole_or_nothing_is_left() {
    for every in 2..=9 {
        for fault in [Fault::Before, Fault::After] {
            for shift in 0..every {
                let faulty = FaultyStore::new();
                faulty.suffer(move |number| (number % every == shift).then_some(fault));
                let end = live(&faulty, false);
                let context = format!("each {every}th request fails with {fault:?}: {end:?}");
                clean_up(&faulty);
                match end {
                    End::Published => check_whole(&faulty, &context),
                    End::Refused | End::Failed => check_nothing(&faulty, &context),
                }
            }
        }
    }
}

/// A job whose master dies at request `n` of its commit, and the next master, which publishes or undoes it.
fn die_and_go_on(n: u64, last: Fault, overwrite: bool, publish: bool) -> (bool, Arc<FaultyStore>) {
    let faulty = FaultyStore::new();
    if overwrite {
        put(&faulty, "out/_SUCCESS", "{\"job\":\"j-000000000009\"}");
        put(&faulty, "out/part-00000", "old");
        put(&faulty, "out/part-00009", "old");
        put(&faulty, "out/old/part-00000", "old");
    }
    let store = place(&faulty, "s3://bucket/out");
    let mut claim = StoreClaim::acquire(store.clone(), JOB, overwrite).expect("it may");
    let mut begun = Vec::new();
    let sent = send_all(&store, &mut begun).expect("no faults");
    claim.note(begun.clone());
    // The last request may be carried out; nothing after it is.
    faulty.suffer(move |number| (number >= n).then_some(if number == n { last } else { Fault::Denied }));
    let was_published = claim.publish(&sent.parts, &sent.bad, &manifest(&sent)).is_ok();
    claim.abandon();

    faulty.suffer(|_| None);
    if publish {
        let left = Progress { decided: true, uploads: begun.into_iter().collect(), ..Progress::default() };
        let mut next = StoreClaim::reclaim(store, JOB, overwrite, &left).expect("its own");
        next.publish(&sent.parts, &sent.bad, &manifest(&sent)).expect("no faults");
        next.undo().expect("no faults");
    } else {
        let objects = sent_objects("", &sent.parts, &sent.bad).expect("all were sent");
        remove_leftovers(&store, JOB, begun.into_iter().collect(), objects).expect("no faults");
    }
    (was_published, faulty)
}

#[test]
fn a_commit_that_is_interrupted_anywhere_is_completed_or_undone_by_the_next_master() {
    for (overwrite, last) in
        [(false, Fault::Denied), (false, Fault::After), (true, Fault::Denied), (true, Fault::After)]
    {
        let mut n = 1;
        loop {
            let context = format!("the master dies at request {n} ({last:?}, overwrite {overwrite})");
            let (was_published, faulty) = die_and_go_on(n, last, overwrite, true);
            check_whole(&faulty, &context);
            let (_, faulty) = die_and_go_on(n, last, overwrite, false);
            if was_published {
                assert!(n > 9, "{context}");
                check_whole(&faulty, &context);
                break;
            }
            if faulty.objects().get("out/_SUCCESS").is_some_and(|manifest| is_manifest_of(manifest, JOB)) {
                // Its last step was done, and only the answer lost.
                check_whole(&faulty, &context);
                n += 1;
                continue;
            }
            let left: Vec<String> = faulty.objects().into_keys().collect();
            // Of what was there before, only what was not replaced yet is there still.
            assert!(left.iter().all(|key| overwrite && key != "out/_gristmill.claim"), "{context}: {left:?}");
            assert!(
                !faulty.objects().values().any(|bytes| TEXTS.contains(&&*String::from_utf8_lossy(bytes))),
                "{context}"
            );
            assert_eq!(faulty.open_uploads(), [""; 0], "{context}");
            n += 1;
        }
    }
}

#[test]
fn an_upload_that_is_gone_fails_the_commit_by_name_and_leaves_nothing() {
    let faulty = FaultyStore::new();
    let store = place(&faulty, "s3://bucket/out");
    let mut claim = StoreClaim::acquire(store.clone(), JOB, false).expect("free");
    let mut begun = Vec::new();
    let sent = send_all(&store, &mut begun).expect("no faults");
    claim.note(begun.clone());
    let place = store.clone();
    store.wait(async move { place.abort(begun.last().expect("some")).await }).expect("no faults");
    let error = claim.publish(&sent.parts, &sent.bad, &manifest(&sent)).expect_err("one is gone");
    let text = error.to_string();
    assert!(text.starts_with("what was sent for s3://bucket/out/_bad/part-m-00000.jsonl is gone"), "{text}");
    claim.undo().expect("no faults");
    check_nothing(&faulty, "undone");
}

#[test]
fn whoever_lost_the_claim_publishes_nothing_and_removes_nothing_of_others() {
    let faulty = FaultyStore::new();
    let store = place(&faulty, "s3://bucket/out");
    let mut claim = StoreClaim::acquire(store.clone(), JOB, false).expect("free");
    let mut begun = Vec::new();
    let sent = send_all(&store, &mut begun).expect("no faults");
    claim.note(begun);
    let stranger = ClaimRecord::new(OTHER, Process { host: "far".to_owned(), ..Process::this() });
    put(&faulty, "out/_gristmill.claim", &String::from_utf8(stranger.to_bytes()).expect("JSON"));
    let error = claim.publish(&sent.parts, &sent.bad, &manifest(&sent)).expect_err("it is another's");
    assert!(matches!(error, OutputError::ClaimLost { .. }), "{error}");
    claim.undo().expect("no faults");
    assert_eq!(faulty.objects().into_keys().collect::<Vec<_>>(), ["out/_gristmill.claim"]);
    assert_eq!(faulty.open_uploads(), [""; 0]);
}

#[test]
fn a_master_that_was_replaced_leaves_its_job_to_the_next_one() {
    let faulty = FaultyStore::new();
    let store = place(&faulty, "s3://bucket/out");
    let mut old = StoreClaim::acquire(store.clone(), JOB, false).expect("free");
    let mut begun = Vec::new();
    let sent = send_all(&store, &mut begun).expect("no faults");
    old.note(begun.clone());
    let left = Progress { uploads: begun.into_iter().collect(), ..Progress::default() };
    let mut next = StoreClaim::reclaim(store, JOB, false, &left).expect("its own");
    let error = old.publish(&sent.parts, &sent.bad, &manifest(&sent)).expect_err("it was replaced");
    assert!(matches!(error, OutputError::ClaimLost { .. }), "{error}");
    old.undo().expect("no faults");
    next.publish(&sent.parts, &sent.bad, &manifest(&sent)).expect("nothing was taken from it");
    next.undo().expect("no faults");
    check_whole(&faulty, "published by the next one");
}

#[test]
fn a_place_that_another_job_used_meanwhile_is_that_ones() {
    for (overwrite, decided) in [(false, false), (false, true), (true, true)] {
        let faulty = FaultyStore::new();
        let store = place(&faulty, "s3://bucket/out");
        let mut lost = StoreClaim::acquire(store.clone(), OTHER, overwrite).expect("free");
        let mut begun = Vec::new();
        send_all(&store, &mut begun).expect("no faults");
        lost.note(begun.clone());
        lost.abandon();
        // Somebody who knew better removed its claim; the same records are the same parts.
        store
            .wait({
                let store = store.clone();
                async move { store.delete("_gristmill.claim").await }
            })
            .expect("no faults");
        let mut job = StoreClaim::acquire(store.clone(), JOB, overwrite).expect("free");
        let sent = send_all(&store, &mut Vec::new()).expect("no faults");
        job.publish(&sent.parts, &sent.bad, &manifest(&sent)).expect("no faults");
        job.undo().expect("no faults");

        let left = Progress { decided, uploads: begun.iter().cloned().collect(), ..Progress::default() };
        let error = StoreClaim::reclaim(store.clone(), OTHER, overwrite, &left).expect_err("it is another's");
        assert!(matches!(error, OutputError::StagedPartsGone { .. }), "{error}");
        let objects = sent_objects("", &sent.parts, &sent.bad).expect("all were sent");
        remove_leftovers(&store, OTHER, left.uploads, objects).expect("no faults");
        check_whole(&faulty, "the other job's");
    }
}

#[test]
fn uploads_below_the_claim_of_another_job_are_left_to_it() {
    let faulty = FaultyStore::new();
    let inner = place(&faulty, "s3://bucket/out/a/b");
    let mut below = StoreClaim::acquire(inner.clone(), JOB, false).expect("free");
    let mut begun = Vec::new();
    let sent = send_all(&inner, &mut begun).expect("no faults");
    below.note(begun);
    let error = StoreClaim::acquire(place(&faulty, "s3://bucket/out"), OTHER, false).expect_err("a claim below");
    assert!(matches!(error, OutputError::Nested { .. }), "{error}");
    // A claim above may be there as well, if its process was gone for a while.
    let above = ClaimRecord::new(OTHER, Process::this());
    put(&faulty, "out/_gristmill.claim", &String::from_utf8(above.to_bytes()).expect("JSON"));
    remove_leftovers(&place(&faulty, "s3://bucket/out"), OTHER, BTreeSet::new(), Vec::new()).expect("no faults");
    below.publish(&sent.parts, &sent.bad, &manifest(&sent)).expect("its uploads are there");
    below.undo().expect("no faults");
}

#[test]
fn an_abort_that_is_refused_is_no_error_if_the_upload_is_gone() {
    for lists_uploads in [true, false] {
        let faulty = FaultyStore::new();
        faulty.forbid_what_is_gone();
        let store = place(&faulty, "s3://bucket/out");
        let waits = Backoff { base: Duration::ZERO, cap: Duration::ZERO };
        let store = if lists_uploads { store } else { store.with_terms(None, waits) };
        let open = |path: &'static str| {
            let place = store.clone();
            store.wait(async move { place.open_upload(path).await }).expect("no faults")
        };
        let abort = |upload: &OpenUpload| {
            let (place, upload) = (store.clone(), upload.clone());
            store.wait(async move { place.abort(&upload).await })
        };
        let upload = open("part-00000");
        abort(&upload).expect("it is there");
        abort(&upload).expect("it is gone");
        assert_eq!(faulty.open_uploads(), [""; 0]);
        let upload = open("part-00001");
        // Every abort is refused, whatever else is asked.
        faulty.suffer(|number| (number % 2 == 1).then_some(Fault::Denied));
        abort(&upload).expect_err("it is there, and may not be aborted");
    }
}

#[test]
fn listings_that_break_off_are_asked_for_again() {
    let faulty = FaultyStore::new();
    put(&faulty, "out/part-00009", "old");
    faulty.break_off_listings(4);
    assert_eq!(live(&faulty, true), End::Published);
    check_whole(&faulty, "every listing broke off");
}

#[test]
fn what_came_between_is_not_replaced() {
    let faulty = FaultyStore::new();
    let store = place(&faulty, "s3://bucket/out");
    let mut claim = StoreClaim::acquire(store.clone(), JOB, false).expect("free");
    let mut begun = Vec::new();
    let sent = send_all(&store, &mut begun).expect("no faults");
    claim.note(begun);
    put(&faulty, "out/mine.txt", "x");
    let error = claim.publish(&sent.parts, &sent.bad, &manifest(&sent)).expect_err("something is there");
    assert!(matches!(error, OutputError::Exists { .. }), "{error}");
    claim.undo().expect("no faults");
    assert_eq!(faulty.objects().into_keys().collect::<Vec<_>>(), ["out/mine.txt"]);
    assert_eq!(faulty.open_uploads(), [""; 0]);
}
