//! The kit itself: planted mistakes are found, each by its law, and sound jobs pass.

mod planted;

use std::thread;

use clap::Command;
use gristmill_common::prelude::*;
use gristmill_common::text::LineRule;
use gristmill_jobs::{Distinct, Grep, GroupBy, InvertedIndex, Join, SortLines, TeraSort, Top, WordCount};

use super::{Laws, Sample};

const TEXT: &str = "to be or not to be\nthat is the question\n\nwhether tis nobler in the mind to suffer\n\
                    the slings and arrows of outrageous fortune\nor to take arms against a sea of troubles\n";

/// The options that a command line gives.
fn parsed<P: Program>(flags: &[&str]) -> P {
    let matches = P::augment_args(Command::new("job").no_binary_name(true)).try_get_matches_from(flags).expect("flags");
    P::from_arg_matches(&matches).expect("options")
}

#[track_caller]
fn check_sound<P: Program>(flags: &[&str], sample: impl Into<Sample>) {
    let sample = sample.into();
    let laws = Laws::of_program(parsed::<P>(flags), &sample).expect("options that can be");
    if let Err(broken) = laws.check(sample) {
        panic!("{flags:?}: {broken}");
    }
}

/// A table of names, numbers and a class each.
fn table() -> String {
    let row = |n: u32| format!("n{},{}.{},{}\n", n % 7, n * n % 50, n % 10, if n.is_multiple_of(3) { "a" } else { "" });
    "name,number,class\n".to_owned() + &(0..40).map(row).collect::<String>()
}

#[test]
fn all_ready_made_jobs_pass() {
    let of_bytes = |n: u32| format!("{:>10}{}\r\n", n * 7919 % 1000, "x".repeat(88));
    let records: String = (0..30).map(of_bytes).collect();
    let right = "name,full\nn1,\"One, first\"\nn3,Three\nn3,Drei\n";
    let files = || Sample::new().object("in/a.txt", TEXT).object("in/b.txt", "to\nbe\n");
    let checks: [Box<dyn FnOnce() + Send>; 14] = [
        Box::new(move || check_sound::<WordCount>(&[], files())),
        Box::new(move || check_sound::<Grep>(&["--pattern", "[a-z]*t"], files())),
        Box::new(move || check_sound::<Grep>(&["--pattern", "[a-z]*t", "--count"], files())),
        Box::new(move || check_sound::<Distinct>(&[], files())),
        Box::new(move || check_sound::<InvertedIndex>(&[], files())),
        Box::new(move || check_sound::<InvertedIndex>(&["--documents"], "1\tto be\n2\tbe\n")),
        Box::new(move || check_sound::<SortLines>(&[], files())),
        Box::new(move || check_sound::<TeraSort>(&[], records)),
        Box::new(move || check_sound::<gristmill_jobs::Copy>(&[], files())),
        Box::new(move || check_sound::<GroupBy>(&["--by", "name", "--agg", "count,sum:number,max:number"], table())),
        Box::new(move || check_sound::<GroupBy>(&["--by", "class,name", "--agg", "mean:number"], table())),
        Box::new(move || {
            let sides = Sample::new().object("left.csv", table()).side(1, "right.csv", right);
            check_sound::<Join>(&["--right", "right.csv", "--on", "name", "--how", "full"], sides);
        }),
        Box::new(move || check_sound::<Top>(&["--by", "number", "-k", "5"], table())),
        Box::new(move || super::hooks::check(crate::check_job!(@laws planted::Sound), TEXT)),
    ];
    thread::scope(|scope| {
        for check in checks {
            scope.spawn(check);
        }
    });
}

#[test]
fn files_and_side_inputs_are_where_jobs_look_for_them() {
    /// Lines of either input, marked, but those in a file.
    struct Marked(Vec<String>);

    impl MapReduce for Marked {
        type Input = OneOf<Utf8Lines, Utf8Lines>;
        type Key = str;
        type Value = u32;
        type Combine = Sum;
        type Output = Text<str, u32>;

        fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
            let stopped = std::fs::read_to_string(task.file("stop")?)?;
            Ok(Some(Self(stopped.lines().map(str::to_owned).collect())))
        }

        fn map(&self, line: OneOf<&str, &str>, out: &mut impl Emit<str, u32>) -> Result<()> {
            match line {
                OneOf::Main(line) if self.0.iter().any(|stopped| stopped == line) => Ok(()),
                OneOf::Main(line) => out.emit(line, 1),
                OneOf::Side(line) => out.emit(line, 100),
            }
        }

        fn reduce(&self, line: &str, marks: Values<u32>, out: &mut impl Sink<str, u32>) -> Result<()> {
            out.put(line, marks.sum())
        }
    }

    let sample = Sample::new().object("in", "a\nthe\nb\n").side(1, "marks", "b\nc\n");
    let error = super::run(&Marked(vec![]), &sample).error();
    assert!(error.contains("no file named \"stop\""), "{error}");
    let sample = sample.file("stop", "the\n");
    assert_eq!(super::run(&Marked(vec![]), &sample).text(), "a\t1\nb\t101\nc\t100\n");
    crate::check_job!(Marked(vec![]), sample, any_order);
    assert_eq!(LineRule::default(), LineRule::Lf, "samples are cut by the rule that jobs have by default");
}
