//! A master that dies at each place that trials can name, and the next one, which must go on as if nothing
//! had happened. Needs a program with the feature `failpoints`. Where outputs lie, a [`Ground`] says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gristmill_master::failpoint::FAILPOINTS;
use serde::Serialize;
use serde_json::Value;

use super::campaign::{JobData, lost_attempts, words};
use super::leftovers::Leftovers;
use crate::cluster::{Cluster, run_to_end};

/// Runs at the same time. Most of the time each waits: for leases, for workers, for the end of a process.
const AT_ONCE: usize = 6;

/// Input of a job: some map tasks, done in a moment.
const MEGABYTES: u32 = 3;

/// How often it is looked whether the master has died or the client has ended.
const TICK: Duration = Duration::from_millis(5);

/// How often a client that found no master tries again.
const TRIES: u32 = 20;

/// The exit code of clients when there is no master.
const UNREACHABLE: i32 = 4;

/// The folder in which all jobs put their output.
const OUTPUT: &str = "counts";

/// Where the job of a run has its output.
pub(super) trait Ground {
    /// The arguments of a `submit` with these flags.
    fn submission(&self, flags: &[&str]) -> Vec<String>;

    /// Puts something else in the place of the output, which the job may replace.
    fn place_another(&self);

    /// Whether that is there, and nothing else.
    fn is_another(&self) -> bool;

    /// Whether the answer is there, and nothing else.
    fn is_right(&self) -> bool;

    /// Removes what is in the place of the output.
    fn remove(&self);

    /// The folder in which outputs lie, on a local file system.
    fn outputs(&self) -> Option<&Path>;

    /// What lies in the cluster's folder besides what its processes keep there.
    fn known(&self) -> &[&str];

    /// What is left of the job elsewhere, once the output is removed.
    fn left(&self) -> Option<String>;
}

/// A cluster without workers, and a place for the output of its job.
pub(super) type Site<'g> = (Cluster, Box<dyn Ground + 'g>);

impl Ground for JobData {
    fn submission(&self, flags: &[&str]) -> Vec<String> {
        self.submission(OUTPUT, flags)
    }

    fn place_another(&self) {
        self.place_another(OUTPUT);
    }

    fn is_another(&self) -> bool {
        self.is_another(OUTPUT)
    }

    fn is_right(&self) -> bool {
        self.is_right(OUTPUT)
    }

    fn remove(&self) {
        self.remove(OUTPUT);
    }

    fn outputs(&self) -> Option<&Path> {
        Some(self.outputs())
    }

    fn known(&self) -> &[&str] {
        &Self::FOLDERS
    }

    fn left(&self) -> Option<String> {
        None
    }
}

/// What the master is busy with when it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Errand {
    /// It begins with an empty folder, and a job replaces an output.
    Replace,
    /// It begins with an empty folder, and a job that would replace an output is cancelled.
    Cancel,
    /// It goes on with a job of a master that was killed.
    GoOn,
}

impl Errand {
    const ALL: [Self; 3] = [Self::Replace, Self::Cancel, Self::GoOn];
}

/// A run in which something was wrong.
#[derive(Debug, Serialize)]
pub struct WrongRun {
    /// Where the master died.
    pub place: &'static str,
    /// How often one came by there before.
    pub after: usize,
    /// At what.
    pub errand: Errand,
    /// What was wrong.
    pub wrong: String,
}

/// What came of all runs.
#[derive(Debug, Default, Serialize)]
pub struct PlacesVerdict {
    /// Places at which a master could die.
    pub places: usize,
    /// Runs, one for each place, errand and repetition.
    pub runs: usize,
    /// Runs in which the master did die there. Not every errand comes by every place.
    pub died: usize,
    /// Places at which no master died.
    pub untouched: Vec<&'static str>,
    /// Runs that ended as they must not.
    pub wrong: Vec<WrongRun>,
    /// What was left when all were over, if anything.
    pub left: Option<String>,
}

impl PlacesVerdict {
    /// Whether every run ended as it must.
    pub fn is_clean(&self) -> bool {
        self.runs > 0 && self.died > 0 && self.wrong.is_empty() && self.left.is_none()
    }
}

/// Lets masters of `binary` die `repeat` times at each place at each errand.
///
/// # Panics
///
/// If a process cannot be started.
pub fn places(binary: &Path, repeat: usize) -> PlacesVerdict {
    let all: Vec<Death> = (0..repeat).flat_map(|_| deaths(FAILPOINTS, 0)).collect();
    visit(FAILPOINTS, &all, &|_| {
        let cluster = Cluster::without_workers(binary);
        let data = JobData::prepare(&cluster, MEGABYTES);
        (cluster, Box::new(data))
    })
}

/// A place at which a master dies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Death {
    place: &'static str,
    after: usize,
    errand: Errand,
}

/// Deaths at places that were passed so often before, at each errand.
pub(super) fn deaths(places: &[&'static str], after: usize) -> impl Iterator<Item = Death> {
    places.iter().flat_map(move |&place| Errand::ALL.map(|errand| Death { place, after, errand }))
}

/// Lets masters die, each on a site of its own, which is made from its number.
pub(super) fn visit<'g>(
    places: &[&'static str],
    all: &[Death],
    site: &(dyn Fn(usize) -> Site<'g> + Sync),
) -> PlacesVerdict {
    let verdict = PlacesVerdict { places: places.len(), runs: all.len(), ..PlacesVerdict::default() };
    let (next, shared) = (AtomicUsize::new(0), Mutex::new((verdict, BTreeSet::new())));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&death) = all.get(number) else { break };
                    let Death { place, after, errand } = death;
                    let (died, wrong) = Run::start(site(number), death).end();
                    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let (verdict, touched) = &mut *shared;
                    verdict.died += usize::from(died);
                    if died {
                        touched.insert(place);
                    }
                    verdict.wrong.extend(wrong.map(|wrong| WrongRun { place, after, errand, wrong }));
                }
            });
        }
    });
    let (mut verdict, touched) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    verdict.untouched = places.iter().copied().filter(|place| !touched.contains(place)).collect();
    verdict
}

/// One master that dies, and the one after it.
struct Run<'g> {
    cluster: Cluster,
    ground: Box<dyn Ground + 'g>,
    errand: Errand,
    /// The job, if it was submitted before.
    job: Option<String>,
    died: bool,
}

impl<'g> Run<'g> {
    fn start((mut cluster, ground): Site<'g>, death: Death) -> Self {
        let Death { place, after, errand } = death;
        let url = cluster.url().to_owned();
        let mut job = None;
        if errand == Errand::GoOn {
            cluster.add_worker(&["--master", &url]);
            job = Some(cluster.submit_detached(&words(&ground.submission(&[]))));
            cluster.kill_master();
        } else {
            ground.place_another();
            cluster.kill_master();
            std::fs::remove_dir_all(cluster.dir().join("state")).expect("a master's folder can be removed");
        }
        let serves = cluster.restart_master_dying_at(place, after);
        let mut run = Self { cluster, ground, errand, job, died: false };
        if !serves {
            run.look_after_master();
        }
        if errand != Errand::GoOn {
            run.cluster.add_worker(&["--master", &url]);
        }
        run
    }

    /// Runs the errand to its end; tells whether the master died, and what is wrong.
    fn end(mut self) -> (bool, Option<String>) {
        let wrong = self.errand().err().or_else(|| self.leftovers());
        let wrong = wrong.map(|wrong| format!("{wrong}\n{}", self.cluster.logs()));
        (self.died, wrong)
    }

    fn errand(&mut self) -> Result<(), String> {
        let job = match self.job.take() {
            Some(job) => job,
            None => {
                let submission = self.ground.submission(&["--overwrite"]);
                let submitted = self.ask(&[&["submit"], &words(&submission)[..], &["--detach"]].concat());
                if !submitted.status.success() {
                    return Err(format!("not submitted: {}", String::from_utf8_lossy(&submitted.stderr)));
                }
                String::from_utf8_lossy(&submitted.stdout).trim().to_owned()
            }
        };
        if self.errand == Errand::Cancel {
            // One that has succeeded by now cannot be cancelled, and says so.
            self.ask(&["cancel", &job]);
        }
        self.ask(&["watch", &job]);
        let shown = self.ask(&["status", &job, "--json"]);
        let status: Value = serde_json::from_slice(&shown.stdout)
            .map_err(|error| format!("no status ({error}): {}", String::from_utf8_lossy(&shown.stderr)))?;
        let lost = lost_attempts(&status, &["map"]);
        if self.errand != Errand::GoOn && lost > 0 {
            return Err(format!("{lost} map attempts were lost though the worker lived"));
        }
        match status["state"].as_str() {
            Some("succeeded") if self.ground.is_right() => Ok(()),
            Some("cancelled") if self.errand == Errand::Cancel && self.ground.is_another() => Ok(()),
            state => Err(format!("the job is {state:?} and its output is not as it must be; {status:#}")),
        }
    }

    /// What is left when the output is removed and all have ended.
    fn leftovers(&mut self) -> Option<String> {
        self.ground.remove();
        // The master may die at what it still does for the job.
        Leftovers::default().of_jobs(&self.cluster, self.ground.outputs());
        self.look_after_master();
        let leftovers = Leftovers::at_the_end(&mut self.cluster, self.ground.outputs(), self.ground.known());
        leftovers.found().or_else(|| self.ground.left())
    }

    /// Runs a client to its end, while a master that dies is followed by another.
    fn ask(&mut self, args: &[&str]) -> Output {
        let mut output = None;
        for _ in 0..TRIES {
            let command = self.cluster.command(args);
            let asked: JoinHandle<Output> = thread::spawn(|| run_to_end(command));
            while !asked.is_finished() {
                self.look_after_master();
                thread::park_timeout(TICK);
            }
            let ended = asked.join().expect("clients end");
            let found_none = ended.status.code() == Some(UNREACHABLE);
            output = Some(ended);
            if !found_none {
                break;
            }
            self.look_after_master();
        }
        output.expect("it is tried at least once")
    }

    fn look_after_master(&mut self) {
        if self.cluster.master_ended_by_itself() {
            self.died = true;
            self.cluster.restart_master();
        }
    }
}
