//! Runs a script of events against a scheduler. One event a line, after its time in milliseconds;
//! commands are written as `> …` lines below it, answers to `? …` questions as `= …` lines. The
//! invariants are checked after each event.
//!
//! ```text
//! 0 submit j1 maps 1 reduces 1
//!   > notify j1
//! 1 register s-1 w-1 slots 2
//!   > start s-1 j1/m-0.0 map
//!   > notify j1
//! ? job j1
//!   = running map 0/1 reduce 0/1 active 1
//! ```

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::counters::{Counters, NAMED_PARTS};
use gristmill_common::failure::{Disposition, Failure, FailureCode, InputPosition};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, MasterEpoch, Stage, WorkerId};
use gristmill_common::naming::staged_part_name;
use gristmill_common::spec::Share;
use gristmill_common::task::{
    AttemptOutput, AttemptReport, AttemptStats, BadRecords, MapOutputSummary, Offer, OpenUpload, PartSummary,
    SegmentSource,
};
use gristmill_common::time::Timestamp;

use crate::scheduler::{
    AttemptWork, CloseReason, Command, Event, JobRequest, JobView, Record, RestoredJob, Scheduler, SchedulerConfig,
    SessionState, WorkerProfile, WorkerReport,
};

/// Runs the script with the usual constants, and no assignment sent ahead unless a slot is free.
pub(super) fn check(script: &str) {
    check_with(SchedulerConfig { queue_per_slot: 0, ..SchedulerConfig::default() }, script);
}

/// Runs the script and compares it with what it becomes when each `>` and `=` line is what really
/// happened.
pub(super) fn check_with(config: SchedulerConfig, script: &str) {
    let mut scheduler = Scheduler::new(config.clone());
    let mut journal: Vec<RestoredJob> = Vec::new();
    let lines: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut actual = String::new();
    for line in lines.iter().filter(|line| !line.starts_with(['>', '='])) {
        actual += line;
        actual.push('\n');
        match line.strip_prefix("? ") {
            Some(question) => {
                for answer in ask(&scheduler, question) {
                    actual += &format!("  = {answer}\n");
                }
            }
            None => {
                let (time, event) = line.split_once(' ').expect(line);
                let now = Timestamp::from_millis(time.parse().expect(line));
                let commands = match event.strip_prefix("restart ") {
                    Some(epoch) => {
                        let config = SchedulerConfig { epoch: parse(epoch), ..config.clone() };
                        let (restored, commands) = Scheduler::restore(config, now, journal.clone());
                        scheduler = restored;
                        commands
                    }
                    None => scheduler.step(now, write_down(scheduler.epoch(), parse_event(event), &mut journal)),
                };
                for record in commands.iter().filter_map(recorded) {
                    let job = journal.iter_mut().find(|job| job.job == record.job());
                    job.expect("only known jobs are recorded").apply(record.clone());
                }
                for command in commands.iter().filter(|command| !matches!(command, Command::Record(_))) {
                    actual += &format!("  > {}\n", show_command(command));
                }
                if let Err(broken) = scheduler.check_invariants() {
                    panic!("{broken}, after\n{actual}");
                }
            }
        }
    }
    let mut expected = String::new();
    for line in &lines {
        let indent = if line.starts_with(['>', '=']) { "  " } else { "" };
        expected += &format!("{indent}{line}\n");
    }
    assert_eq!(actual, expected, "\n--- what happened:\n{actual}--- what should have:\n{expected}");
}

/// What the journal does of a submission.
fn write_down(epoch: MasterEpoch, event: Event, journal: &mut Vec<RestoredJob>) -> Event {
    if let Event::JobSubmitted { job, request } = &event {
        journal.push(RestoredJob::new(*job, Arc::clone(request), epoch));
    }
    event
}

fn recorded(command: &Command) -> Option<&Record> {
    match command {
        Command::Record(record) => Some(record),
        _ => None,
    }
}

fn parse_event(text: &str) -> Event {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut words = rest.split(' ');
    let first = words.next().unwrap_or_default();
    let options: Vec<&str> = words.collect();
    match verb {
        "submit" => Event::JobSubmitted { job: parse_job(first), request: Arc::new(parse_request(&options)) },
        "cancel" => Event::CancelRequested { job: parse_job(first) },
        "register" => Event::WorkerRegistered {
            session: parse(first),
            profile: Arc::new(parse_profile(&options)),
            offers: parse_offers(&options),
        },
        "break" => Event::StreamBroken { session: parse(first) },
        "resume" => Event::StreamResumed { epoch: parse_epoch(&options), session: parse(first) },
        "published" => Event::JobPublished { job: parse_job(first) },
        "publish-failed" => {
            let failure = Failure::new(FailureCode::CommitFailed, options.join(" "));
            Event::PublishFailed { job: parse_job(first), failure }
        }
        "deadline" => Event::DeadlineReached,
        _ => {
            let report = parse_report(verb, &options).unwrap_or_else(|| panic!("unknown event {text:?}"));
            let epoch = parse_epoch(&options);
            Event::WorkerReported { epoch, session: parse(first), report }
        }
    }
}

fn parse_report(verb: &str, options: &[&str]) -> Option<WorkerReport> {
    let id = || parse_attempt(options[0]);
    Some(match verb {
        "heartbeat" => WorkerReport::Heartbeat,
        "left" => WorkerReport::WorkerLeft,
        "started" => WorkerReport::AttemptStarted { id: id() },
        "opened" => {
            let batch = parse(options[1]);
            let open = |object: &&str| OpenUpload { object: (*object).to_owned(), id: format!("u-{object}") };
            WorkerReport::UploadsOpened { id: id(), batch, uploads: options[2..].iter().map(open).collect() }
        }
        "made" => {
            let mut report = map_report(id().attempt, parse(options[1]));
            if let AttemptOutput::MapOutput(made) = &mut report.output {
                made.content_hash = option(options, "hash").unwrap_or_default().into();
            }
            report.bad = parse_bad(options).map(Box::new);
            report.stats.wall_micros = option(options, "took").unwrap_or_default().into();
            WorkerReport::AttemptFinished { id: id(), report }
        }
        "wrote" => {
            let read = option(options, "of").unwrap_or_default();
            let mut report = part_report(id().attempt, read);
            report.stats.wall_micros = option(options, "took").unwrap_or_default().into();
            if let Some(named) = option(options, "named") {
                report.counters.add(NAMED_PARTS, named.into());
            }
            WorkerReport::AttemptFinished { id: id(), report }
        }
        "failed" => WorkerReport::AttemptFailed { id: id(), failure: parse_failure(&options[1..]) },
        _ => return None,
    })
}

/// `USER_ERROR some text`, then perhaps `; at FILE:OFFSET`, `; lost m-0.0,m-1.0` or `; retry-elsewhere`.
fn parse_failure(words: &[&str]) -> Failure {
    let text = words[1..].join(" ");
    let mut clauses = text.split("; ");
    let mut failure = Failure::new(parse_code(words[0]), clauses.next().expect("always one").trim());
    for clause in clauses {
        match clause.split_once(' ').unwrap_or((clause, "")) {
            ("at", position) => {
                let (object, offset) = position.split_once(':').expect(position);
                let offset = offset.parse().expect(position);
                failure.position = Some(InputPosition { object: object.to_owned(), offset });
            }
            ("lost", attempts) => failure.lost_outputs = attempts.split(',').map(parse).collect(),
            ("retry", _) => failure.disposition = Disposition::Retry,
            _ => panic!("unknown clause {clause:?}"),
        }
    }
    failure
}

fn parse_code(text: &str) -> FailureCode {
    let codes = [
        FailureCode::UserError,
        FailureCode::UserPanic,
        FailureCode::BadRecord,
        FailureCode::ExecutorCrash,
        FailureCode::WriteFailed,
        FailureCode::InputChanged,
        FailureCode::MapOutputLost,
        FailureCode::SourceUnreachable,
        FailureCode::OutOfMemory,
        FailureCode::WorkerLost,
        FailureCode::RecordTimeout,
        FailureCode::InputUnreadable,
        FailureCode::ScratchFull,
    ];
    codes.into_iter().find(|code| code.to_string() == text).unwrap_or_else(|| panic!("unknown code {text:?}"))
}

fn parse_request(options: &[&str]) -> JobRequest {
    let split_bytes = vec![100; option(options, "maps").expect("maps N") as usize];
    let reducers = option(options, "reduces").expect("reduces N");
    let share = Share {
        weight: option(options, "weight").unwrap_or(1),
        min_slots: option(options, "least").unwrap_or(0),
        priority: option(options, "priority").unwrap_or(0).cast_signed(),
    };
    JobRequest {
        max_attempts: option(options, "tries").unwrap_or(4),
        share,
        require_deterministic: options.contains(&"deterministic"),
        max_bad_records: option(options, "bad").unwrap_or(0).into(),
        ..JobRequest::new(split_bytes, reducers)
    }
}

/// `… offers j1/m-0.0 j1/m-1.0#7`, the second one a finished map output with that hash.
fn parse_offers(options: &[&str]) -> Vec<Offer> {
    let offered = options.iter().skip_while(|word| **word != "offers").skip(1);
    let parse_offer = |text: &&str| {
        let (id, hash) = text.split_once('#').map_or((*text, None), |(id, hash)| (id, Some(parse(hash))));
        Offer { id: parse_attempt(id), content_hash: hash }
    };
    offered.map(parse_offer).collect()
}

fn parse_bad(options: &[&str]) -> Option<BadRecords> {
    let records = option(options, "skipped")?.into();
    Some(BadRecords { staged_name: "bad".to_owned(), records, objects: 0, bytes: 1, upload: None })
}

fn parse_profile(options: &[&str]) -> WorkerProfile {
    let worker: WorkerId = parse(options[0]);
    WorkerProfile {
        worker,
        slots: option(options, "slots").expect("slots N"),
        address: format!("http://{worker}:1"),
        machine: "machine".into(),
        scratch: format!("/scratch/{worker}"),
    }
}

fn option(options: &[&str], name: &str) -> Option<u32> {
    let at = options.iter().position(|word| *word == name)?;
    options[at + 1].parse().ok()
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("cannot parse {text:?}"))
}

fn parse_epoch(options: &[&str]) -> MasterEpoch {
    options.last().and_then(|word| word.parse().ok()).unwrap_or(MasterEpoch(1))
}

fn parse_job(text: &str) -> JobId {
    JobId(parse(text.strip_prefix('j').unwrap_or_else(|| panic!("{text:?} is not a job such as j1"))))
}

fn parse_attempt(text: &str) -> JobAttempt {
    let (job, attempt) = text.split_once('/').expect(text);
    JobAttempt { job: parse_job(job), attempt: parse(attempt) }
}

/// Counts that tell attempts apart: tens are the task's index plus one, hundreds the number.
fn counts(attempt: AttemptId) -> (Counters, AttemptStats) {
    let words = u64::from(10 * (attempt.task.index + 1) + 100 * attempt.number);
    let stats = AttemptStats { input_records: words, ..AttemptStats::default() };
    ([("words", words)].into_iter().collect(), stats)
}

fn map_report(attempt: AttemptId, segments: u32) -> AttemptReport {
    let (counters, stats) = counts(attempt);
    let made = MapOutputSummary { partitions: segments, bytes: 7 * u64::from(segments), content_hash: 0 };
    AttemptReport { output: AttemptOutput::MapOutput(made), counters, stats, bad: None }
}

fn part_report(attempt: AttemptId, read_bytes: u32) -> AttemptReport {
    let (counters, mut stats) = counts(attempt);
    stats.input_bytes = u64::from(read_bytes);
    let staged_name = staged_part_name(attempt.task.index, attempt);
    let part = PartSummary {
        staged_name,
        bytes: 1,
        records: 1,
        checksum: 1,
        named: Box::default(),
        upload: None,
        left_out: false,
    };
    AttemptReport { output: AttemptOutput::Part(part), counters, stats, bad: None }
}

fn show_attempt(id: &JobAttempt) -> String {
    format!("j{}/{}", id.job.0, id.attempt)
}

fn show_command(command: &Command) -> String {
    match command {
        Command::Record(_) => String::new(),
        Command::StartAttempt { session, id, work } => {
            let work = match work {
                AttemptWork::Map { skip } if skip.is_empty() => "map".to_owned(),
                AttemptWork::Map { skip } => {
                    let skip: Vec<String> = skip.iter().map(InputPosition::to_string).collect();
                    format!("map but {}", skip.join(" "))
                }
                AttemptWork::Reduce { sources } if sources.is_empty() => "of nothing".to_owned(),
                AttemptWork::Reduce { sources } => sources.iter().map(show_source).collect::<Vec<_>>().join(", "),
            };
            format!("start {session} {} {work}", show_attempt(id))
        }
        Command::CancelAttempt { session, id } => format!("cancel {session} {}", show_attempt(id)),
        Command::DiscardOutput { session, id } => format!("discard {session} {}", show_attempt(id)),
        Command::ProceedUpload { session, id, batch } => format!("proceed {session} {} {batch}", show_attempt(id)),
        Command::ReleaseJob { session, job } => format!("release {session} j{}", job.0),
        Command::CloseSession { session, reason } => {
            let reason = match reason {
                CloseReason::Lost => "lost",
                CloseReason::Superseded => "superseded",
                CloseReason::Left => "left",
                CloseReason::Unknown => "unknown",
            };
            format!("close {session} {reason}")
        }
        Command::PublishJob { job, result } => {
            let mut text = format!("publish j{}", job.0);
            for part in &result.parts {
                let _ = write!(text, " {}", part.staged_name);
            }
            let (words, map, reduce) =
                (result.counters.get("words"), result.map_stats.input_records, result.reduce_stats.input_records);
            let _ = write!(text, ", {words} words = {map} + {reduce}");
            text
        }
        Command::UndoJob { job } => format!("undo j{}", job.0),
        Command::NotifyWatchers { job } => format!("notify j{}", job.0),
    }
}

fn show_source(source: &SegmentSource) -> String {
    let attempts: Vec<String> = source.attempts.iter().map(AttemptId::to_string).collect();
    assert!(source.address.starts_with("http://w-") && source.scratch.starts_with("/scratch/w-"), "{source:?}");
    format!("{} has {}", source.session, attempts.join(" "))
}

fn ask(scheduler: &Scheduler, question: &str) -> Vec<String> {
    let (subject, name) = question.split_once(' ').unwrap_or((question, ""));
    match subject {
        "job" => vec![scheduler.job(parse_job(name)).map_or("unknown".to_owned(), |job| show_job(&job))],
        "jobs" => scheduler.jobs().iter().map(|job| format!("j{} {}", job.job.0, show_job(job))).collect(),
        "waiting" => {
            let waiting = scheduler.job(parse_job(name)).and_then(|job| job.waiting);
            vec![waiting.unwrap_or_else(|| "nothing".to_owned())]
        }
        "failures" => {
            let failures = scheduler.job_failures(parse_job(name)).iter();
            let counted = |counted: bool| if counted { "counted" } else { "not counted" };
            let show =
                failures.map(|f| format!("{} on {} {}: {}", f.id.attempt, f.session, counted(f.counted), f.failure));
            show.collect()
        }
        "refused" => scheduler.stale_refusals().iter().map(|(reason, times)| format!("{reason:?} {times}")).collect(),
        "deadline" => {
            let micros = scheduler.next_deadline().map(Timestamp::as_micros);
            vec![micros.map_or("none".to_owned(), |micros| (micros / 1000).to_string())]
        }
        "excluded" => {
            let excluded = scheduler.workers().into_iter().filter(|worker| worker.excluded);
            excluded.map(|worker| worker.worker.to_string()).collect()
        }
        "workers" => {
            let show = scheduler.workers().into_iter().map(|worker| {
                let state = match worker.state {
                    SessionState::Live => "live",
                    SessionState::Suspect => "suspect",
                    SessionState::Lost => "lost",
                    SessionState::Left => "left",
                };
                let tally = format!("active {} committed {} failed {}", worker.active, worker.committed, worker.failed);
                format!("{} {} {state} {tally}", worker.session, worker.worker)
            });
            show.collect()
        }
        _ => panic!("unknown question {question:?}"),
    }
}

fn show_job(job: &JobView) -> String {
    let mut text = format!("{:?}", job.state).to_lowercase();
    for (stage, view) in [(Stage::Map, job.map), (Stage::Reduce, job.reduce)] {
        let _ = write!(text, " {stage} {}/{}", view.done, view.tasks);
        for (name, count) in [("failed", view.failed_attempts), ("lost", view.lost_attempts)] {
            if count > 0 {
                let _ = write!(text, " {name} {count}");
            }
        }
        let _ = write!(text, " bytes {}/{}", view.done_bytes, view.input_bytes);
    }
    let _ = write!(text, " active {}", job.map.active + job.reduce.active);
    if let Some(failure) = &job.failure {
        let _ = write!(text, " {}: {failure}", failure.code);
    }
    text
}

/// The scheduler's constants with up to three assignments sent ahead, as many as take 20 ms.
pub(super) fn with_queue_ahead() -> SchedulerConfig {
    let (queue_ahead, max_queue_per_slot) = (Duration::from_millis(20), 3);
    SchedulerConfig { queue_per_slot: 0, queue_ahead, max_queue_per_slot, ..SchedulerConfig::default() }
}

/// The scheduler's constants with assignments sent ahead.
pub(super) fn with_queue(queue_per_slot: u32) -> SchedulerConfig {
    SchedulerConfig { queue_per_slot, ..SchedulerConfig::default() }
}
