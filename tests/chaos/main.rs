//! `cargo chaos`: real processes of the shipped program under faults, from a seed. Prints what came of
//! it as one JSON object on stdout; exit code 1 if anything was wrong.
//!
//! ```text
//! cargo chaos --seconds N --seed S [--workers N] [--mix kill,stop,…] [--megabytes N]
//! cargo chaos --lab RUNS [--seed S]       the crash application, a seed each
//! cargo chaos --detection [--repeat N]    how soon a worker that is gone is noticed
//! cargo chaos --fickle RUNS [--seed S]    a job that is not deterministic, a seed each
//! cargo chaos --sharing TASKS             a short job beside a long one, and weights
//! cargo chaos --damage TIMES [--seed S]   random damage to files of every kind, read in this process
//! cargo chaos --operations [--every N]    each file operation of two jobs fails once, or every Nth does;
//!     [--of jobs|master|successor|worker] or of a master or a worker while a cluster of them runs a job
//! cargo chaos --moments KILLS [--seed S]   a master killed so often at random moments of jobs
//! cargo chaos --places TIMES               a master that dies so often at each failpoint, at three errands
//! cargo chaos --stores DEATHS              jobs from store to store on moto and s3s-fs: processes that die so often at
//!     [--seed S] [--repeat N] [--contests N] [--megabytes N] each step of a commit, stores that fail, contested claims
//! cargo chaos --overload SECONDS           whether slow workers are given up on a machine with too much to do
//! cargo chaos --pace [--repeat N] [--megabytes N] [-- SUBMIT FLAGS…]
//! ```
//!
//! It builds the release program first; `--binary FILE` (for `--lab` and `--fickle` the example `lab`) takes one that
//! is there. `--logs DIR` keeps what the processes logged when something was wrong.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use gristmill_tests::chaos::stores::{StoresOptions, stores};
use gristmill_tests::chaos::{
    ChaosOptions, CrashRun, FaultKind, FickleRun, OperationsOf, OperationsOptions, campaign, crash_run, damage,
    detection, fickle_run, moments, operations, overload, pace, places, sharing,
};
use serde::Serialize;
use serde_json::{Value, json};

/// Short jobs that are timed with and without a long one beside them.
const SHORT_JOBS: usize = 9;

const USAGE: &str = "usage: cargo chaos [--seconds N | --lab RUNS | --fickle RUNS | --sharing TASKS | --damage TIMES | --operations \
                     | --detection | --pace | --places TIMES | --stores DEATHS | --moments KILLS | --overload SECONDS] [--seed S] [--workers N] [--mix KIND,…] [--megabytes N] [--every N] [--contests N] \
                     [--of jobs|master|successor|worker] [--repeat N] [--binary FILE] [--logs DIR] [-- SUBMIT FLAGS…]";

/// What is done.
#[derive(Clone, Copy)]
enum Mode {
    /// Jobs under a schedule of faults.
    Campaign,
    /// So many runs of the crash application.
    Lab(u64),
    /// So many runs of a job that is not deterministic.
    Fickle(u64),
    /// Jobs that share workers, the longer ones of so many tasks.
    Sharing(usize),
    /// How soon a worker that is gone is noticed.
    Detection,
    /// So much damage to files.
    Damage(u64),
    /// File operations that fail.
    Operations(OperationsOf),
    /// How long a job takes under each disturbance.
    Pace,
    /// So many masters killed at random moments.
    Moments(u32),
    /// So many deaths of a master at each failpoint.
    Places(usize),
    /// Jobs from store to store, with so many deaths at each step.
    Stores(usize),
    /// So many seconds of a machine with too much to do.
    Overload(u64),
}

struct Args {
    options: ChaosOptions,
    mode: Mode,
    every: u64,
    repeat: u32,
    contests: u64,
    logs: Option<PathBuf>,
    /// For `submit`.
    flags: Vec<String>,
}

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "this is a program")]
fn main() -> ExitCode {
    let run = parse(std::env::args().skip(1)).and_then(|mut args| {
        let needs_program = !matches!(args.mode, Mode::Damage(_));
        if needs_program && args.options.binary.as_os_str().is_empty() {
            args.options.binary = build(args.mode)?;
        }
        Ok(args)
    });
    let args = match run {
        Ok(args) => args,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (verdict, clean) = match args.mode {
        Mode::Lab(runs) => lab(&args.options, runs),
        Mode::Fickle(runs) => fickle(&args.options, runs),
        Mode::Sharing(tasks) => shares(&args.options, tasks),
        Mode::Detection => detections(&args),
        Mode::Damage(times) => {
            let verdict = damage(times, args.options.seed);
            (plain(&verdict), verdict.is_clean())
        }
        Mode::Pace => paces(&args),
        Mode::Moments(kills) => {
            let verdict = moments(&args.options, kills);
            (plain(&verdict), verdict.is_clean())
        }
        Mode::Places(times) => {
            let verdict = places(&args.options.binary, times);
            (plain(&verdict), verdict.is_clean())
        }
        Mode::Stores(deaths) => {
            let ChaosOptions { binary, seed, megabytes, .. } = args.options;
            let (repeat, contests) = (args.repeat, args.contests);
            let verdict = stores(&StoresOptions { binary, seed, deaths, repeat, contests, megabytes });
            (plain(&verdict), verdict.is_clean())
        }
        Mode::Overload(seconds) => {
            let verdict = overload(&args.options.binary, seconds);
            (plain(&verdict), verdict.is_clean())
        }
        Mode::Operations(of) => {
            let options = OperationsOptions { binary: args.options.binary, of, every: args.every, first: 1 };
            let verdict = operations(&options);
            (plain(&verdict), verdict.is_clean())
        }
        Mode::Campaign => {
            let verdict = campaign(&args.options, args.logs.as_deref());
            (plain(&verdict), verdict.is_clean())
        }
    };
    println!("{verdict:#}");
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plain(verdict: &impl Serialize) -> Value {
    serde_json::to_value(verdict).expect("a verdict is plain data")
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mix = FaultKind::ALL.to_vec();
    let options = ChaosOptions { binary: PathBuf::new(), seed: 1, seconds: 60, workers: 4, mix, megabytes: 24 };
    let mut args =
        Args { options, mode: Mode::Campaign, every: 1, repeat: 3, contests: 1000, logs: None, flags: vec![] };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--pace" => {
                args.mode = Mode::Pace;
                continue;
            }
            "--detection" => {
                args.mode = Mode::Detection;
                continue;
            }
            "--operations" => {
                args.mode = Mode::Operations(OperationsOf::Jobs);
                continue;
            }
            "--" => {
                args.flags = words.collect();
                break;
            }
            _ => {}
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let wrong = |_| format!("{value} is not a number");
        match word.as_str() {
            "--seconds" => args.options.seconds = value.parse().map_err(wrong)?,
            "--seed" => args.options.seed = value.parse().map_err(wrong)?,
            "--workers" => args.options.workers = value.parse().map_err(wrong)?,
            "--megabytes" => args.options.megabytes = value.parse().map_err(wrong)?,
            "--fickle" => args.mode = Mode::Fickle(value.parse().map_err(wrong)?),
            "--sharing" => args.mode = Mode::Sharing(value.parse().map_err(wrong)?),
            "--damage" => args.mode = Mode::Damage(value.parse().map_err(wrong)?),
            "--of" => {
                let of = OperationsOf::ALL.into_iter().find(|of| of.name() == value);
                args.mode =
                    Mode::Operations(of.ok_or_else(|| format!("{value} is not jobs, master, successor or worker"))?);
            }
            "--every" => args.every = value.parse::<NonZeroU64>().map_err(wrong)?.get(),
            "--repeat" => args.repeat = value.parse().map_err(wrong)?,
            "--moments" => args.mode = Mode::Moments(value.parse().map_err(wrong)?),
            "--places" => args.mode = Mode::Places(value.parse().map_err(wrong)?),
            "--stores" => args.mode = Mode::Stores(value.parse().map_err(wrong)?),
            "--contests" => args.contests = value.parse().map_err(wrong)?,
            "--overload" => args.mode = Mode::Overload(value.parse().map_err(wrong)?),
            "--lab" => args.mode = Mode::Lab(value.parse().map_err(wrong)?),
            "--mix" => args.options.mix = FaultKind::parse_mix(&value)?,
            "--binary" => args.options.binary = PathBuf::from(value),
            "--logs" => args.logs = Some(PathBuf::from(value)),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    if args.options.workers == 0 {
        return Err("a cluster needs a worker".to_owned());
    }
    Ok(args)
}

/// Builds the shipped program, or the course's, in the release profile. They lie in the folder of that
/// profile, beside the folder of this program's. With failpoints it is another program, and is kept apart.
fn build(mode: Mode) -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let this = std::env::current_exe().map_err(|error| format!("cannot tell where this program lies: {error}"))?;
    let profiles = this.parent().and_then(Path::parent).ok_or("this program lies in no profile's folder")?;
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--package", "gristmill"]);
    let (built, profiles) = match mode {
        Mode::Lab(_) | Mode::Fickle(_) => {
            command.args(["--example", "lab"]);
            ("examples/lab", profiles.to_owned())
        }
        Mode::Places(_) | Mode::Stores(_) => {
            let apart = profiles.join("failpoints");
            command.args(["--bin", "gristmill", "--features", "failpoints", "--target-dir"]).arg(&apart);
            ("gristmill", apart)
        }
        _ => {
            command.args(["--bin", "gristmill"]);
            ("gristmill", profiles.to_owned())
        }
    };
    let status = command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).status();
    if !status.is_ok_and(|status| status.success()) {
        return Err(format!("cannot build {built}"));
    }
    Ok(profiles.join("release").join(built))
}

/// The crash application with seeds from the given one on.
fn lab(options: &ChaosOptions, runs: u64) -> (Value, bool) {
    let all: Vec<CrashRun> =
        (options.seed..options.seed + runs).map(|seed| crash_run(&options.binary, options.workers, seed)).collect();
    let wrong: Vec<&CrashRun> = all.iter().filter(|run| run.wrong.is_some()).collect();
    let sum = |of: fn(&CrashRun) -> u64| all.iter().map(of).sum::<u64>();
    let seconds: f64 = all.iter().map(|run| run.seconds).sum();
    let verdict = json!({
        "runs": runs,
        "correct": all.len() - wrong.len(),
        "seconds": seconds,
        "user_code_ended": sum(|run| run.user_code_ended),
        "workers_killed": sum(|run| run.workers_killed),
        "wrong": wrong,
    });
    (verdict, wrong.is_empty())
}

/// The job that is not deterministic, with seeds from the given one on; every fifth run insists that it is.
fn fickle(options: &ChaosOptions, runs: u64) -> (Value, bool) {
    let seeds = options.seed..options.seed + runs;
    let mut all: Vec<FickleRun> = seeds.clone().map(|seed| fickle_run(&options.binary, seed, false)).collect();
    let mixed: usize = all.iter().map(|run| run.mixed.len()).sum();
    let refused: Vec<FickleRun> = seeds.step_by(5).map(|seed| fickle_run(&options.binary, seed, true)).collect();
    let insisted = refused.len();
    all.extend(refused);
    let killed: usize = all.iter().map(|run| run.workers_killed).sum();
    let wrong: Vec<&FickleRun> = all.iter().filter(|run| run.wrong.is_some()).collect();
    let clean = wrong.is_empty();
    let verdict = json!({
        "runs": runs,
        "insisted": insisted,
        "workers_killed": killed,
        "mixed_outputs": mixed,
        "wrong": wrong,
    });
    (verdict, clean)
}

/// A short job beside a long one of so many tasks, and two of weights 1 and 3.
fn shares(options: &ChaosOptions, tasks: usize) -> (Value, bool) {
    let seen = sharing(&options.binary, options.workers, tasks, SHORT_JOBS);
    let in_time = seen.ratio <= 3.0;
    let fair = (0.225..=0.275).contains(&seen.light_share);
    (plain(&seen), in_time && fair && seen.long_ends_last && seen.leftovers.is_empty())
}

/// How long the job takes under each disturbance.
fn paces(args: &Args) -> (Value, bool) {
    let paces = pace(&args.options, args.repeat, &args.flags);
    let clean = paces.iter().all(|pace| pace.wrong == 0 && pace.left.is_empty());
    (plain(&paces), clean)
}

/// How soon the master notices that a worker is gone.
fn detections(args: &Args) -> (Value, bool) {
    let detections = detection(&args.options.binary, args.repeat);
    (plain(&detections), detections.is_clean())
}
