//! What a worker keeps when its session ends, or its process, and how it offers it to the next master.

use gristmill_common::task::Offer;

use super::*;
use crate::engine::shuffle::MapOutput;

/// The attempts that a registration offers; finished map outputs with a `+`.
fn offered(register: &v1::Register) -> Vec<String> {
    let shown = |offer: &v1::Offer| {
        let Offer { id, content_hash } = (*offer).try_into().expect("a meaning");
        assert_eq!(id.job, JOB);
        format!("{}{}", if content_hash.is_some() { "+" } else { "" }, id.attempt)
    };
    register.offers.iter().map(shown).collect()
}

fn finished(attempt: &str) -> Hear {
    Hear::Finished(v1::AttemptFinished { id: attempt_body(attempt), report: Some((&fake_report()).into()) })
}

pub(super) fn discard(attempt: &str) -> Say {
    Say::Discard(v1::DiscardOutput { id: attempt_body(attempt) })
}

/// A worker in whose folder an earlier process finished `m-0.0` and `m-1.1`, and died.
async fn restarted(change: impl FnOnce(&mut WorkerConfig)) -> Stage {
    Stage::set(|config| {
        let job = config.dir.join("scratch").join(JOB.to_string());
        fs::create_dir_all(job.join("fetch")).expect("folders");
        for (attempt, bytes) in [("m-0.0", "zero"), ("m-1.1", "one")] {
            hand_made_output(&job.join(format!("{attempt}.out")), &[bytes.as_bytes()]);
        }
        fs::write(job.join("m-2.0.out"), b"GMSEGMT1 and no more").expect("scratch");
        fs::write(job.join("fetch/r-0.0-s-4.seg"), b"old").expect("scratch");
        change(config);
    })
    .await
}

#[tokio::test]
async fn work_outlives_its_session_and_its_master() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, register) = stage.register(1).await;
    assert_eq!(offered(&register), [""; 0]);
    stage.open(&session, &fake_spec("gate")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    session.finished("m-0.0").await;
    for attempt in ["m-1.0", "m-2.0"] {
        session.start(attempt).await;
        session.started(attempt).await;
    }
    // This one waits for a slot.
    session.start("m-3.0").await;
    session.say(close("lost")).await;

    let (mut next, register) = stage.register_in(EPOCH + 1, 1).await;
    assert_eq!(offered(&register), ["+m-0.0", "m-1.0", "m-2.0", "m-3.0"]);
    // The session of the same number under the master before.
    next.epoch = EPOCH;
    next.say(Say::Release(v1::ReleaseJob { job: JOB.0 })).await;
    next.epoch = EPOCH + 1;
    stage.open(&next, &fake_spec("gate")).await;
    next.start("m-1.0").await;
    next.started("m-1.0").await;
    next.start("m-0.0").await;
    next.finished("m-0.0").await;
    next.say(discard("m-2.0")).await;
    next.started("m-3.0").await;
    fs::write(stage.staging().join("gate"), b"").expect("a file");
    let mut ended = [next.hear().await, next.hear().await].map(|heard| match heard {
        Hear::Finished(finished) => finished.id,
        other => panic!("{other:?}"),
    });
    ended.sort_by_key(|id| id.as_ref().and_then(|id| Some(id.attempt?.index)));
    assert_eq!(ended, [attempt_body("m-1.0"), attempt_body("m-3.0")]);
    stage.stop(next).await;
}

#[tokio::test]
async fn what_ends_while_there_is_no_master_is_told_when_asked_for() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("gate")).await;
    for attempt in ["m-0.0", "m-1.0"] {
        session.start(attempt).await;
        session.started(attempt).await;
        if attempt == "m-0.0" {
            session.finished(attempt).await;
        }
    }
    drop(session);
    fs::write(stage.staging().join("gate"), b"").expect("a file");
    until("it is done", || stage.output("m-1.0").exists()).await;
    // Time for the report to get in line for a stream of its session.
    for _ in 0..5 {
        let (_refused, first) = stage.stream().await;
        assert!(matches!(first, Hear::Resume(_)), "{first:?}");
    }
    let (session, _) = stage.stream().await;
    session.say(close("unknown")).await;
    let (mut session, register) = stage.register(2).await;
    assert!(register.offers.iter().any(|offer| offer.id == attempt_body("m-1.0")));
    // Nothing comes by itself.
    for attempt in ["m-0.0", "m-1.0", "m-0.0"] {
        session.start(attempt).await;
        if session.hear().await != finished(attempt) {
            assert_eq!(attempt, "m-1.0", "it may still have run");
            session.finished(attempt).await;
        }
    }
    stage.stop(session).await;
}

#[tokio::test]
async fn what_the_next_master_does_not_want_goes() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("gate")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    session.finished("m-0.0").await;
    session.start("m-1.0").await;
    session.started("m-1.0").await;
    session.say(close("unknown")).await;
    let (session, register) = stage.register(2).await;
    assert_eq!(offered(&register), ["+m-0.0", "m-1.0"]);
    session.say(discard("m-0.0")).await;
    until("the output is discarded", || !stage.output("m-0.0").exists()).await;
    session.say(close("lost")).await;
    let (session, register) = stage.register(3).await;
    assert_eq!(offered(&register), ["m-1.0"]);
    session.say(Say::Release(v1::ReleaseJob { job: JOB.0 })).await;
    until("the job's scratch is gone", || !stage.scratch().join(JOB.to_string()).exists()).await;
    assert_eq!(executor_pid(&stage.scratch()), None);
    session.say(close("lost")).await;
    let (session, register) = stage.register(4).await;
    assert_eq!(offered(&register), [""; 0]);
    stage.stop(session).await;
}

#[tokio::test]
async fn failures_and_attempts_without_segments_end_with_their_session() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, mut register) = stage.register(1).await;
    stage.open(&session, &fake_spec("panic")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    session.failed("m-0.0").await;
    register.machine = "another".to_owned();
    register.address = format!("http://{}", silent.local_addr().expect("bound"));
    session.start_with("r-0.0", &reduce(&register, &["m-1.0"])).await;
    // It has asked for its segments, and waits.
    let (_connection, _) = within(silent.accept()).await.expect("a fetch");
    session.say(close("lost")).await;
    let (mut session, register) = stage.register(2).await;
    assert_eq!(offered(&register), [""; 0]);
    assert_eq!(fs::read_dir(stage.scratch()).expect("a folder").count(), 0, "a job of which nothing is left");
    // The job may come again.
    stage.open(&session, &fake_spec("fake")).await;
    session.start("m-0.1").await;
    session.started("m-0.1").await;
    session.finished("m-0.1").await;
    stage.stop(session).await;
}

#[tokio::test]
async fn an_attempt_that_gathered_under_the_master_before_gathers_anew() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, register) = stage.register(1).await;
    stage.open(&session, &fake_spec("gate")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    session.finished("m-0.0").await;
    hand_made_output(&stage.output("m-0.0"), &[b"zero"]);
    let mut far = register.clone();
    far.machine = "another".to_owned();
    far.address = format!("http://{}", silent.local_addr().expect("bound"));
    session.start_with("r-0.0", &reduce(&far, &["m-1.0"])).await;
    let (_connection, _) = within(silent.accept()).await.expect("a fetch");
    session.say(close("lost")).await;
    let (mut session, register) = stage.register_in(EPOCH + 1, 1).await;
    assert_eq!(offered(&register), ["+m-0.0"]);
    session.start_with("r-0.0", &reduce(&register, &["m-0.0"])).await;
    session.started("r-0.0").await;
    session.finished("r-0.0").await;
    stage.stop(session).await;
}

#[tokio::test]
async fn a_master_whose_epoch_is_over_is_not_listened_to() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("gate")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    session.finished("m-0.0").await;
    drop(session);
    for _ in 0..2 {
        let (mut stale, first) = stage.stream().await;
        assert!(matches!(first, Hear::Resume(_)), "{first:?}");
        stale.epoch = EPOCH - 1;
        stale.say(close("unknown")).await;
    }
    let (mut session, first) = stage.stream().await;
    assert_eq!((first, session.id), (Hear::Resume(v1::Resume {}), 1));
    session.welcome().await;
    session.start("m-0.0").await;
    session.finished("m-0.0").await;
    stage.stop(session).await;
}

#[tokio::test]
async fn a_restarted_worker_offers_and_serves_what_it_had_finished() {
    let mut stage = restarted(|config| config.shuffle_network = true).await;
    let (mut session, register) = stage.register_in(EPOCH + 1, 9).await;
    assert_eq!(offered(&register), ["+m-0.0", "+m-1.1"]);
    let hash = MapOutput::open(&stage.output("m-0.0")).expect("kept").content_hash();
    assert_eq!(register.offers[0].content_hash, Some(hash));
    assert!(!stage.output("m-2.0").exists());

    // Nothing was said of them, so they count; whoever reduces finds them under the new session.
    stage.open(&session, &fake_spec("fake")).await;
    session.start_with("r-0.0", &reduce(&register, &["m-0.0", "m-1.1"])).await;
    session.started("r-0.0").await;
    session.finished("r-0.0").await;
    let part = stage.staging().join(staged_part_name(0, id("r-0.0").attempt));
    assert_eq!(fs::read_to_string(part).expect("a part"), "m-0.0 zero\nm-1.1 one\n");

    // Kept for the next session too, but for what is thrown away.
    session.say(discard("m-1.1")).await;
    until("the output is discarded", || !stage.output("m-1.1").exists()).await;
    session.say(close("lost")).await;
    let (session, register) = stage.register_in(EPOCH + 1, 10).await;
    // The fake job reports a map output whatever it makes.
    assert_eq!(offered(&register), ["+m-0.0", "+r-0.0"]);
    session.say(Say::Release(v1::ReleaseJob { job: JOB.0 })).await;
    until("the job's scratch is gone", || !stage.scratch().join(JOB.to_string()).exists()).await;
    stage.stop(session).await;
}

#[tokio::test]
async fn an_output_whose_report_is_lost_is_given_back() {
    let mut stage = restarted(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("fake")).await;
    // The second time because the first answer may have been lost with its stream.
    for _ in 0..2 {
        session.start("m-0.0").await;
        let failure = session.failed("m-0.0").await;
        assert_eq!((failure.code, failure.disposition), (FailureCode::WorkerLost, Disposition::NotCounted));
        assert!(!stage.output("m-0.0").exists());
    }
    // A failure is forgotten with its session.
    session.say(close("lost")).await;
    let (mut session, register) = stage.register(2).await;
    assert_eq!(offered(&register), ["+m-1.1"]);
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    session.finished("m-0.0").await;
    stage.stop(session).await;
}

#[tokio::test]
async fn outputs_of_a_job_that_is_over_go_without_the_job_being_opened() {
    let mut stage = restarted(|_| {}).await;
    let (session, _) = stage.register(1).await;
    session.say(discard("m-0.0")).await;
    until("the output is discarded", || !stage.output("m-0.0").exists()).await;
    assert!(stage.output("m-1.1").exists());
    session.say(Say::Release(v1::ReleaseJob { job: JOB.0 })).await;
    until("the job's scratch is gone", || !stage.scratch().join(JOB.to_string()).exists()).await;
    session.say(close("lost")).await;
    let (session, register) = stage.register(2).await;
    assert_eq!(offered(&register), [""; 0]);
    stage.stop(session).await;
}

/// Lets a worker finish `m-0.0` and begin `m-1.0`.
async fn half_done(stage: &mut Stage) -> Session {
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("gate")).await;
    for attempt in ["m-0.0", "m-1.0"] {
        session.start(attempt).await;
        session.started(attempt).await;
        if attempt == "m-0.0" {
            session.finished(attempt).await;
        }
    }
    hand_made_output(&stage.output("m-0.0"), &[b"zero"]);
    session
}

/// Checks that of the worker in this folder a finished map output is left, and nothing else.
fn check_only_finished_is_left(dir: &tempfile::TempDir) {
    let folder = dir.path().join("w/scratch").join(JOB.to_string());
    let left: Vec<_> = fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["m-0.0.out"]);
    assert_eq!(executor_pid(&dir.path().join("w/scratch")), None);
}

#[tokio::test]
async fn a_worker_whose_master_stays_away_ends_and_keeps_what_is_finished() {
    let mut stage = Stage::set(|config| config.orphan_timeout = Duration::from_millis(300)).await;
    drop(half_done(&mut stage).await);
    let Stage { dir, streams, worker, .. } = stage;
    // From now on every stream is refused.
    drop(streams);
    let error = within(worker).await.expect("no panic").expect_err("no master").to_string();
    assert!(error.contains(" for 300ms: "), "{error}");
    check_only_finished_is_left(&dir);
}

#[tokio::test]
async fn a_worker_that_is_stopped_while_there_is_no_master_keeps_what_is_finished() {
    let mut stage = Stage::set(|_| {}).await;
    drop(half_done(&mut stage).await);
    let Stage { dir, streams, worker, stop, .. } = stage;
    drop(streams);
    stop.expect("it was not stopped").send(()).expect("the worker runs");
    within(worker).await.expect("no panic").expect("an orderly end");
    check_only_finished_is_left(&dir);
}

#[tokio::test]
async fn a_worker_whose_leaving_is_not_noted_keeps_what_is_finished() {
    for answer in [Some("lost"), None] {
        let mut stage = Stage::set(|_| {}).await;
        let mut session = half_done(&mut stage).await;
        let Stage { dir, streams: _streams, worker, stop, .. } = stage;
        stop.expect("it was not stopped").send(()).expect("the worker runs");
        let last = session.hear().await;
        assert!(matches!(last, Hear::Leave(_)), "{last:?}");
        match answer {
            Some(reason) => session.say(close(reason)).await,
            None => drop(session),
        }
        within(worker).await.expect("no panic").expect("an orderly end");
        check_only_finished_is_left(&dir);
    }
}

#[tokio::test]
async fn a_worker_that_its_master_does_not_want_keeps_what_is_finished() {
    let mut stage = Stage::set(|_| {}).await;
    let session = half_done(&mut stage).await;
    session.say(close("superseded")).await;
    within(stage.worker).await.expect("no panic").expect_err("superseded");
    check_only_finished_is_left(&stage.dir);
}

#[tokio::test]
async fn damage_is_told_at_once_if_the_session_that_named_the_sources_is_over() {
    let mut stage = Stage::set(|config| config.shuffle_network = true).await;
    let (mut session, register) = stage.register(1).await;
    stage.open(&session, &fake_spec("late")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    session.finished("m-0.0").await;
    hand_made_output(&stage.output("m-0.0"), &[b"", b"damaged"]);
    session.start_with("r-1.0", &reduce(&register, &["m-0.0"])).await;
    session.started("r-1.0").await;
    session.say(close("lost")).await;
    let (mut session, _) = stage.register(2).await;
    session.start_with("r-1.0", &reduce(&register, &["m-0.0"])).await;
    session.started("r-1.0").await;
    fs::write(stage.staging().join("gate"), b"").expect("a file");
    let failure = session.failed("r-1.0").await;
    assert_eq!((failure.code, failure.lost_outputs), (FailureCode::MapOutputLost, vec![id("m-0.0").attempt]));
    stage.stop(session).await;
}

#[tokio::test]
async fn a_segment_that_was_damaged_on_its_way_is_fetched_once_more() {
    for (network, job, rounds, heals) in
        [(true, "heal", 2, true), (true, "damaged", 2, false), (false, "damaged", 1, false)]
    {
        let mut stage = Stage::set(|config| config.shuffle_network = network).await;
        let (mut session, register) = stage.register(1).await;
        stage.open(&session, &fake_spec(job)).await;
        session.start("m-0.0").await;
        session.started("m-0.0").await;
        session.finished("m-0.0").await;
        hand_made_output(&stage.output("m-0.0"), &[b"damaged"]);
        session.start_with("r-0.0", &reduce(&register, &["m-0.0"])).await;
        for _ in 0..rounds {
            session.started("r-0.0").await;
        }
        if heals {
            session.finished("r-0.0").await;
        } else {
            let failure = session.failed("r-0.0").await;
            assert_eq!((failure.code, failure.lost_outputs), (FailureCode::MapOutputLost, vec![id("m-0.0").attempt]));
        }
        stage.stop(session).await;
    }
}
