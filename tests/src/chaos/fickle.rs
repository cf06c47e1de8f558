//! A job whose `map` makes other records each time, on workers that lose their map outputs while reduces
//! have begun: every output must be made of one attempt of each map task.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::leftovers::Leftovers;
use crate::cluster::{Cluster, eventually_within};
use crate::data::parts;
use crate::random::Random;

/// Workers, of one slot.
const WORKERS: usize = 3;

/// Map tasks: with assignments sent ahead, each worker has some from the beginning.
const MAPS: usize = 6;

/// Keys that each of them emits (`tests/e2e/lab_app.rs`).
const KEYS: usize = 40;

/// Parts, of which one waits and the others are committed before workers die.
const PARTS: u64 = 4;

/// How long it may take until a map task whose output was lost has run again.
const RERUN_PATIENCE: Duration = Duration::from_secs(10);

/// One run.
#[derive(Debug, Serialize)]
pub struct FickleRun {
    /// Its seed.
    pub seed: u64,
    /// Workers killed, whose scratch folders were removed.
    pub workers_killed: usize,
    /// The job's last state.
    pub state: String,
    /// Map tasks that its report names as not deterministic.
    pub named: Vec<String>,
    /// Attempts of map tasks whose records are together in the output.
    pub mixed: Vec<String>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Absent if all is as it must be.
    pub wrong: Option<String>,
}

/// Runs the job `lab` of `binary` with this seed. If it `insists` on a deterministic `map`, it has to fail,
/// otherwise to succeed; the map task is to be named in either case.
///
/// # Panics
///
/// If a process cannot be started, or the job does not come as far as it should in time.
pub fn fickle_run(binary: &Path, seed: u64, insists: bool) -> FickleRun {
    let mut random = Random::new(seed);
    let mut cluster = Cluster::start(binary, WORKERS);
    let [input, output, folder] = ["in", "out", "seen"].map(|name| cluster.dir().join(name));
    fs::create_dir(&folder).expect("a scratch folder");
    write_input(&input);
    let arg = |path: &Path| path.to_str().expect("scratch paths are UTF-8").to_owned();
    let (input, output_arg, folder_arg, reducers) = (arg(&input), arg(&output), arg(&folder), PARTS.to_string());
    let job = ["lab", "-i", &input, "-o", &output_arg, "--trial", "fickle", "--folder", &folder_arg];
    let shape: &[&str] = if insists { &["--require-deterministic"] } else { &[] };
    let job = cluster.submit_detached(&[&job[..], &["--split-size", "1", "--reducers", &reducers], shape].concat());
    cluster
        .wait_for_job(&job, "the commit of all parts but one", |status| status["stats"]["reduce"]["done"] == PARTS - 1);
    let mut workers: Vec<usize> = (0..WORKERS).collect();
    workers.rotate_left(random.within(0, WORKERS as u64) as usize);
    let mut killed = 0;
    // Only when maps have run again may the last part be written. A worker that came late may hold none of
    // their outputs; then the next one dies.
    for victim in workers {
        cluster.kill_worker(victim);
        fs::remove_dir_all(cluster.worker_dir(victim)).expect("the folder of a dead worker can be removed");
        cluster.start_worker(victim);
        killed += 1;
        if eventually_within(RERUN_PATIENCE, || differed(&cluster.json(&["status", &job]))) {
            break;
        }
    }
    fs::write(folder.join("go"), "").expect("a scratch file");
    let ended = cluster
        .wait_for_job(&job, "the end", |status| ["succeeded", "failed"].iter().any(|state| status["state"] == *state));
    let named = ended["nondeterministic"].as_array().into_iter().flatten();
    let mut run = FickleRun {
        seed,
        workers_killed: killed,
        state: ended["state"].as_str().unwrap_or_default().to_owned(),
        named: named.filter_map(|task| Some(task.as_str()?.to_owned())).collect(),
        mixed: vec![],
        failure: ended["failure"]["message"].as_str().map(str::to_owned),
        wrong: None,
    };
    run.wrong = if insists { run.wrong_refusal(&ended["failure"]["code"], &output) } else { run.wrong_output(&output) };
    let leftovers = Leftovers::at_the_end(&mut cluster, None, &["in", "out", "seen"]);
    run.wrong = run.wrong.or_else(|| leftovers.found());
    run
}

impl FickleRun {
    /// What is wrong with a job that had to fail.
    fn wrong_refusal(&self, code: &Value, output: &Path) -> Option<String> {
        let says_which = self.failure.as_ref().is_some_and(|failure| failure.contains("m-"));
        if self.state != "failed" || code != "NONDETERMINISTIC_MAP" || !says_which {
            return Some(format!("it ended as {} by {code}", self.state));
        }
        output.exists().then(|| "it left an output".to_owned())
    }

    /// What is wrong with the output of a job that had to succeed; notes what is mixed in it.
    fn wrong_output(&mut self, output: &Path) -> Option<String> {
        if self.state != "succeeded" {
            return Some(format!("it ended as {}", self.state));
        }
        let mut drawn: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for part in parts(output).values() {
            for line in String::from_utf8_lossy(part).lines().filter(|line| !line.starts_with("held\t")) {
                let (key, number) = line.split_once('\t')?;
                let (map, _) = key.split_once('-')?;
                drawn.entry(map.to_owned()).or_default().push(number.parse().ok()?);
            }
        }
        let whole = drawn.len() == MAPS && drawn.values().all(|numbers| numbers.len() == KEYS);
        let mixed = drawn.into_iter().filter(|(_, numbers)| numbers.iter().any(|number| *number != numbers[0]));
        self.mixed = mixed.map(|(map, _)| map).collect();
        match (whole, self.mixed.is_empty(), self.named.is_empty()) {
            (false, _, _) => Some("keys are missing".to_owned()),
            (_, false, _) => Some("attempts are mixed".to_owned()),
            (_, _, true) => Some("no map task is named".to_owned()),
            (true, true, false) => None,
        }
    }
}

/// Whether a job's status tells of attempts that differ.
fn differed(status: &Value) -> bool {
    status["state"] == "failed" || status["nondeterministic"].as_array().is_some_and(|named| !named.is_empty())
}

/// A file of one line for each map task; the first one emits the word whose reduce waits.
fn write_input(dir: &Path) {
    fs::create_dir(dir).expect("a scratch folder");
    for map in 0..MAPS {
        let held = if map == 0 { " held" } else { "" };
        fs::write(dir.join(format!("{map}.txt")), format!("map{map}{held}\n")).expect("a scratch file");
    }
}
