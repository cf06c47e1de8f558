//! Parts of named outputs: forced to disk with the part that they came with, and removed with it.

use gristmill_common::naming::staged_named_dir;

use super::offers::discard;
use super::*;

#[tokio::test]
async fn named_parts_are_forced_to_disk_before_they_are_reported_and_thrown_away_with_their_part() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &JobSpec { fsync: true, ..fake_spec("named") }).await;
    let input = TaskInput::Reduce { sources: [].into() };
    let part = |attempt: &str| stage.staging().join(staged_part_name(0, id(attempt).attempt));
    let folder = |attempt: &str| stage.staging().join(staged_named_dir(&staged_part_name(0, id(attempt).attempt)));
    session.start_with("r-0.0", &input).await;
    session.started("r-0.0").await;
    let failure = session.failed("r-0.0").await;
    assert_eq!(failure.code, FailureCode::WriteFailed);
    let forgotten = folder("r-0.0").join("0").display().to_string();
    assert!(
        failure.message.starts_with(&format!("a part is not safe: cannot force {forgotten} to disk")),
        "{}",
        failure.message
    );

    session.start_with("r-0.1", &input).await;
    session.started("r-0.1").await;
    let heard = session.hear().await;
    let Hear::Finished(finished) = heard else { panic!("{heard:?}") };
    let Some(v1::attempt_report::Output::Part(report)) = finished.report.expect("a report").output else {
        panic!("a reduce attempt without a part")
    };
    let named = v1::NamedPart { name: "a/b".to_owned(), bytes: 5, records: 1, checksum: 0, upload: None };
    assert_eq!(report.named, [named]);
    assert!(part("r-0.1").exists() && folder("r-0.1").join("0").exists());
    session.say(discard("r-0.1")).await;
    until("what was staged is gone", || !part("r-0.1").exists() && !folder("r-0.1").exists()).await;
    stage.stop(session).await;
}
