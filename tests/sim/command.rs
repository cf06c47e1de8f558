//! `cargo sim --seeds N [--first S] [--planted BUG|all]`: simulated clusters, a seed each. Prints seeds,
//! violations and time last (`--makespan` instead: how long jobs take); exit code 1 if a rule was broken, or, with a mistake planted, if none was.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use gristmill_common::time::{Clock, Timestamp};
use gristmill_master::scheduler::Placement;
use gristmill_tests::sim::{Planted, SimOptions, Tally, Trial, campaign, makespan, shrink};

const USAGE: &str = "usage: cargo sim [--seeds N] [--first S] [--planted BUG | --planted all] | cargo sim --makespan";

struct Args {
    seeds: u64,
    first: u64,
    planted: Option<String>,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--makespan") {
        makespans();
        return ExitCode::SUCCESS;
    }
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A planted mistake may well end in a panic, which is a finding like any other.
    std::panic::set_hook(Box::new(|_| {}));
    let known = Planted::all();
    let ok = match args.planted.as_deref() {
        None => sound(&args),
        Some("all") => {
            known.iter().map(|(name, planted)| found(&args, name, *planted)).filter(|found| !found).count() == 0
        }
        Some(name) => match known.iter().find(|(known, _)| known == name) {
            Some((name, planted)) => found(&args, name, *planted),
            None => {
                let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
                eprintln!("no such mistake: {name} (there are {})", names.join(", "));
                return ExitCode::from(2);
            }
        },
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args { seeds: 10_000, first: 0, planted: None };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{value} is not a number"));
        match word.as_str() {
            "--seeds" => args.seeds = number()?,
            "--first" => args.first = number()?,
            "--planted" => args.planted = Some(value),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(args)
}

/// What killed workers, stragglers and placement policies cost, in simulated time.
fn makespans() {
    let paper = Trial::new(1746, 15_000, 4_000);
    let base = makespan(&paper).as_secs_f64();
    println!("1,746 workers, 15,000 maps, 4,000 reduces: {base:.0} s");
    let show = |what: &str, trial: &Trial| {
        let time = makespan(trial).as_secs_f64();
        println!("  {what}: {time:.0} s, {:+.1} %", (time / base - 1.0) * 100.0);
    };
    let killed = Trial { killed: Some((Duration::from_secs(100), 200)), ..paper.clone() };
    let slow = paper.clone().with_stragglers();
    show("200 workers killed", &killed);
    show("200 workers killed, no second attempts", &Trial { speculation: false, ..killed.clone() });
    show("1 % of workers at a tenth of the speed", &slow);
    show("1 % of workers at a tenth of the speed, no second attempts", &Trial { speculation: false, ..slow.clone() });
    let four = Trial::small();
    let three = Trial { speeds: vec![1.0; 3], ..four.clone() };
    let slow = four.clone().with_stragglers();
    let off = Trial { speculation: false, ..slow.clone() };
    let seconds = [three, four, slow, off].map(|trial| format!("{:.1}", makespan(&trial).as_secs_f64()));
    println!(
        "seconds of a short job: three workers, four, four with one at a tenth, no second attempts: {}",
        seconds.join(", ")
    );
    println!("seconds by policy (100 workers, 2,000 maps, 400 reduces): uniform, heterogeneous, with stragglers");
    let policies =
        [Placement::LeastLoaded, Placement::RoundRobin, Placement::Random, Placement::Weighted, Placement::TwoChoices];
    for placement in policies {
        let uniform = Trial { placement, ..Trial::new(100, 2_000, 400) };
        let times = [uniform.clone(), uniform.clone().heterogeneous(), uniform.with_stragglers()];
        let times = times.map(|trial| format!("{:.0}", makespan(&trial).as_secs_f64()));
        println!("  {placement:?}: {}", times.join(", "));
    }
}

/// Runs the seeds; whether none broke a rule.
fn sound(args: &Args) -> bool {
    let clock = Clock::start();
    let tally = campaign(args.first, args.seeds, None, 3);
    let time = clock.now().since(Timestamp::ZERO);
    for violation in &tally.violations {
        println!("seed {}: {}", violation.seed, violation.wrong);
        let (least, wrong) = shrink(violation.seed, None);
        let left = SimOptions { skipped: BTreeSet::new(), ..least };
        println!("with as few faults as show it: {wrong}\n{left:?}");
        println!("run it again: cargo sim --first {} --seeds 1", violation.seed);
    }
    summary(&tally);
    println!("{} seeds, {} violations, {:.1} s", tally.seeds, tally.violations.len(), time.as_secs_f64());
    tally.violations.is_empty()
}

/// Runs the seeds with a mistake; whether one found it.
fn found(args: &Args, name: &str, planted: Planted) -> bool {
    let clock = Clock::start();
    let tally = campaign(args.first, args.seeds, Some(planted), 1);
    let time = clock.now().since(Timestamp::ZERO).as_secs_f64();
    match tally.violations.first() {
        Some(violation) => {
            let first_line = violation.wrong.lines().next().unwrap_or_default();
            let shown: String = first_line.chars().take(110).collect();
            println!("{name}: found after {} seeds, {time:.1} s: {shown}", violation.seed - args.first + 1);
        }
        None => println!("{name}: NOT found in {} seeds, {time:.1} s", tally.seeds),
    }
    !tally.violations.is_empty()
}

fn summary(tally: &Tally) {
    let total = &tally.total;
    println!(
        "{} events, {} faults, {} masters died, {} sessions ended, {} outputs lost, {} adopted, {} twins, {} revoked",
        total.events,
        total.faults,
        total.masters_died,
        total.sessions_ended,
        total.outputs_lost,
        total.adopted,
        total.twins,
        total.revoked
    );
}
