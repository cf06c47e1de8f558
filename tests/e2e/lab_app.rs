//! The applications of a distributed systems course's MapReduce lab (MIT 6.5840, "lab 1"), as a job
//! crate: word counts whose user code meets other tasks, keeps a tally, waits to be told or goes wrong,
//! as `--trial` says. The tests beside it, and `cargo chaos --lab`, run it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gristmill::prelude::*;
use gristmill_tests::cluster::eventually_within;
use gristmill_tests::random::Random;
use serde::{Deserialize, Serialize};

/// How long a task waits for others: on a busy machine, workers may take long to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a call of map takes in the fickle trial, and how many keys it emits.
const DRAW_TIME: Duration = Duration::from_millis(100);
const DRAWN_KEYS: usize = 40;

/// How long user code may stall in the crash trial, in milliseconds.
const STALL_MS: (u64, u64) = (50, 800);

/// Counts the words of lines, with something on the side
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct Lab {
    /// What user code does besides
    #[arg(long, value_enum)]
    trial: Trial,

    /// Folder in which all tasks of the job see each other
    #[arg(long)]
    folder: PathBuf,

    /// How many tasks must meet
    #[arg(long, default_value_t = 2)]
    tasks: usize,

    /// Fixes what goes wrong
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

// What user code does; plain comments, because documented values get a page of help each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum Trial {
    // Each call of map waits until so many are in one: never, unless map tasks run at the same time.
    MapsMeet,
    // Likewise each call of reduce.
    ReducesMeet,
    // Each call leaves a file of its own.
    Tally,
    // The call of reduce for the word `held` waits for the file `go`.
    Hold,
    // The first call for a record may end the process or stall.
    Crash,
    // What map makes of a line differs from one attempt to the next.
    Fickle,
}

impl Program for Lab {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for Lab {
    type Input = Utf8Lines;
    type Key = str;
    type Value = u64;
    type Combine = NoCombine;
    type Output = Text<str, u64>;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        match self.trial {
            Trial::MapsMeet => self.meet(line)?,
            Trial::Tally => self.record("map", line).map(|_| ())?,
            Trial::Crash => self.go_wrong("map", line)?,
            Trial::Fickle => return draw(line, out),
            Trial::ReducesMeet | Trial::Hold => {}
        }
        line.split_whitespace().try_for_each(|word| out.emit(word, 1))
    }

    fn reduce(&self, word: &str, counts: Values<u64>, out: &mut impl Sink<str, u64>) -> Result<()> {
        match self.trial {
            Trial::ReducesMeet => self.meet(word)?,
            Trial::Tally => self.record("reduce", word).map(|_| ())?,
            Trial::Crash => self.go_wrong("reduce", word)?,
            Trial::Hold | Trial::Fickle if word == "held" => wait_for("go", || self.folder.join("go").exists())?,
            Trial::MapsMeet | Trial::Hold | Trial::Fickle => {}
        }
        out.put(word, counts.sum())
    }

    /// By the last letter, so that tests choose which words share a part.
    fn partition(&self, key: EncodedKey<'_>, partitions: u32) -> u32 {
        u32::from(*key.bytes().last().unwrap_or(&0)) % partitions
    }
}

impl Lab {
    /// Waits until as many records as the options say are in a call at the same time.
    fn meet(&self, record: &str) -> Result<()> {
        File::create(self.folder.join(record))?;
        wait_for("another task", || fs::read_dir(&self.folder).is_ok_and(|entries| entries.count() >= self.tasks))
    }

    /// Leaves a file for this call; gives how many calls for the record there were before.
    fn record(&self, stage: &str, record: &str) -> Result<u32> {
        for before in 0.. {
            match File::create_new(self.folder.join(format!("{stage} {record} {before}"))) {
                Ok(_) => return Ok(before),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(JobError::new("there are no more numbers"))
    }

    /// Ends the process, or stalls, at one of some records' first call.
    #[expect(clippy::disallowed_methods, reason = "user code that calls exit is the point")]
    fn go_wrong(&self, stage: &str, record: &str) -> Result<()> {
        if self.record(stage, record)? > 0 {
            return Ok(());
        }
        let of_record =
            format!("{stage}{record}").bytes().fold(self.seed, |hash, byte| hash.rotate_left(9) ^ u64::from(byte));
        let mut random = Random::new(of_record);
        match random.within(0, 100) {
            0..8 => {
                self.note_end()?;
                std::process::exit(1)
            }
            8..16 => {
                self.note_end()?;
                std::process::abort()
            }
            16..30 => std::thread::park_timeout(Duration::from_millis(random.within(STALL_MS.0, STALL_MS.1))),
            _ => {}
        }
        Ok(())
    }

    /// Adds a line to the file in which the trial counts these.
    fn note_end(&self) -> Result<()> {
        let mut ends = File::options().create(true).append(true).open(self.folder.join("ends"))?;
        Ok(ends.write_all(b"end\n")?)
    }
}

/// Emits keys of the line's first word, all with the same number, which no other call gives; and the words
/// behind it. It takes its time, so that every worker has some calls.
fn draw(line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
    let (name, others) = line.split_once(' ').unwrap_or((line, ""));
    std::thread::park_timeout(DRAW_TIME);
    let drawn = RandomState::new().build_hasher().finish();
    (0..DRAWN_KEYS).try_for_each(|key| out.emit(&format!("{name}-{key}"), drawn))?;
    others.split_whitespace().try_for_each(|word| out.emit(word, 1))
}

fn wait_for(what: &str, condition: impl FnMut() -> bool) -> Result<()> {
    match eventually_within(PATIENCE, condition) {
        true => Ok(()),
        false => Err(JobError::new(format!("waited in vain for {what}"))),
    }
}

/// Counts words but those in the file `stop`.
struct StopWords(BTreeSet<Vec<u8>>);

impl MapReduce for StopWords {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = Text<[u8], u64>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        let stopped = fs::read(task.file("stop")?)?;
        Ok(Some(Self(words(&stopped).map(<[u8]>::to_vec).collect())))
    }

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        words(line).filter(|word| !self.0.contains(*word)).try_for_each(|word| out.emit(word, 1))
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(word, counts.sum())
    }
}

/// Numbers of the named outputs that `Divide` has.
const DIVISIONS: u64 = 1000;

/// Counts lines, and puts each to one of a thousand named outputs; how many lines there are of each length
/// is in the main one.
struct Divide;

impl MapReduce for Divide {
    type Input = Utf8Lines;
    type Key = str;
    type Value = u64;
    type Combine = Sum;
    type Output = Text<str, u64>;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        out.emit(line, 1)?;
        out.emit(&format!("of {} bytes", line.len()), 1)
    }

    fn reduce(&self, line: &str, count: Values<u64>, out: &mut impl Sink<str, u64>) -> Result<()> {
        if line.starts_with("of ") {
            return out.put(line, count.sum());
        }
        let hash = line.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let number = hash % DIVISIONS;
        out.put_to(&format!("group={}/number={number:03}", number % 7), line, count.sum())
    }
}

fn main() -> ExitCode {
    let own = [job_with_options::<Lab>("lab"), job("stop-words", StopWords(BTreeSet::new())), job("divide", Divide)];
    gristmill::main(gristmill::ready_made_jobs().into_iter().chain(own))
}
