//! User code that comes to no end, in a real executor process.

use super::*;

#[tokio::test]
async fn a_record_that_takes_too_long_is_charged_and_its_neighbour_is_given_back() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    let spec = JobSpec { record_timeout: Duration::from_millis(300), ..fake_spec("hang") };
    stage.open(&session, &spec).await;
    // The neighbour waits outside user code, for longer than any record may take.
    for attempt in ["m-1.0", "m-0.0"] {
        session.start(attempt).await;
        session.started(attempt).await;
    }
    let neighbour = session.failed("m-1.0").await;
    assert_eq!((neighbour.code, neighbour.disposition), (FailureCode::ExecutorCrash, Disposition::NotCounted));
    let failure = session.failed("m-0.0").await;
    assert_eq!((failure.code, failure.disposition), (FailureCode::RecordTimeout, Disposition::Retry));
    let message = "one record kept user code busy for longer than 300ms (--record-timeout) (at /in/a.txt:1204)";
    assert_eq!(failure.to_string(), message);
    // The next executor is watched too.
    session.start("m-0.1").await;
    session.started("m-0.1").await;
    assert_eq!(session.failed("m-0.1").await.code, FailureCode::RecordTimeout);
    stage.stop(session).await;
}

/// The letter with which the system describes what a process is doing; `None` if there is no such process.
fn process_state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[tokio::test]
async fn what_an_executor_leaves_behind_ends_before_its_number_may_be_used_again() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("leave")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    let log = stage.log("m-0.0");
    let said = || fs::read_to_string(&log).ok().filter(|text| text.contains(" leaves "));
    until("it has left a process", || said().is_some()).await;
    let said = said().expect("it was just there");
    let (before, after) = said.split_once(" leaves ").expect("it was just there");
    let leader = before.split_whitespace().last().expect("a process");
    let left = after.split_whitespace().next().expect("another");
    fs::write(stage.staging().join("gate"), b"").expect("a file");
    until("the leader is reaped", || process_state(leader).is_none()).await;
    // One that sleeps on would have heard of no signal.
    assert_ne!(process_state(left), Some('S'));
    assert_eq!(session.failed("m-0.0").await.code, FailureCode::ExecutorCrash);
    until("the other is gone too", || matches!(process_state(left), None | Some('Z'))).await;
    stage.stop(session).await;
}

#[tokio::test]
async fn an_executor_has_a_limit_for_its_data_and_is_the_likelier_victim() {
    let limit = ByteSize::mib(700);
    let mut stage = Stage::set(|config| config.executor_memory = limit).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("wait")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    let log = stage.log("m-0.0");
    until("it waits", || fs::read_to_string(&log).is_ok_and(|text| text.contains("waits"))).await;
    let pid = executor_pid(&stage.scratch()).expect("it works").as_raw_nonzero();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("procfs");
    let data = limits.lines().find(|line| line.starts_with("Max data size")).expect("a line");
    assert_eq!(data.split_whitespace().nth(3), Some(limit.bytes().to_string().as_str()), "{data}");
    let score = |process: &str| -> i32 {
        let text = fs::read_to_string(format!("/proc/{process}/oom_score_adj")).expect("procfs");
        text.trim().parse().expect("a number")
    };
    assert!(score(&pid.to_string()) > score("self").min(999));
    stage.stop(session).await;
}
