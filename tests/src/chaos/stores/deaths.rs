//! Processes that die, by SIGKILL, at a request of a commit: before the store has carried it out, or after.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde::Serialize;

use crate::cluster::{Cluster, eventually};
use crate::stores::step::kill_at;
use crate::stores::{FaultProxy, Moment, Step, StoreTrial};
use crate::waiting::end_of;

/// Workers of the cluster.
const WORKERS: usize = 2;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    /// The master; another goes on.
    Master,
    /// All workers; they are started again.
    Workers,
    /// A job that runs in one process; the next one on its output replaces what it left.
    Run,
}

impl Victim {
    const ALL: [Self; 3] = [Self::Master, Self::Workers, Self::Run];

    fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Workers => "workers",
            Self::Run => "run",
        }
    }
}

const STEPS: [Step; 6] =
    [Step::Claim, Step::OpenUpload, Step::SendPiece, Step::Complete, Step::Success, Step::GiveBack];

/// A death after which something was wrong.
#[derive(Debug, Serialize)]
pub struct WrongDeath {
    /// Who died.
    pub victim: &'static str,
    /// When.
    pub moment: String,
    /// What was wrong.
    pub wrong: String,
}

/// What came of them.
#[derive(Debug, Default, Serialize)]
pub struct Deaths {
    /// Jobs.
    pub runs: usize,
    /// Those in which the moment came.
    pub died: usize,
    /// Uploads that nobody can list and nobody told of, without a piece: where the server can list none.
    pub uploads_without_pieces: usize,
    /// Pieces of such uploads that runs left which were killed. The next run on their output cannot know of
    /// them where the server can list none.
    pub pieces_of_killed_runs: usize,
    /// What was wrong.
    pub wrong: Vec<WrongDeath>,
}

impl Deaths {
    /// Whether all was as it must be.
    pub fn is_clean(&self) -> bool {
        self.died > 0 && self.wrong.is_empty()
    }
}

/// Lets each die at each step, the first time that it comes by, the second, and so on.
///
/// # Panics
///
/// If a process cannot be started.
pub(super) fn deaths(trial: &StoreTrial, times: u64) -> Deaths {
    let mut deaths = Deaths::default();
    let mut cluster = trial.cluster(WORKERS);
    for victim in Victim::ALL {
        for step in STEPS {
            for (after, applied) in (0..times).flat_map(|after| [(after, false), (after, true)]) {
                let moment = Moment { step, after, applied };
                let folder = format!("{}-{step:?}-{after}-{applied}", victim.name()).to_lowercase();
                let proxy = FaultProxy::to(&trial.server().url());
                let outcome = match victim {
                    Victim::Master | Victim::Workers => {
                        on_cluster(trial, &mut cluster, victim, moment, &folder, &proxy)
                    }
                    Victim::Run => in_one_process(trial, moment, &folder, &proxy),
                };
                deaths.runs += 1;
                let wrong = match outcome {
                    Ok(died) => {
                        deaths.died += usize::from(died);
                        let clean = eventually(|| trial.wrong_with(&folder).is_none());
                        if clean { None } else { trial.wrong_with(&folder) }
                    }
                    Err(wrong) => Some(wrong),
                };
                let moment = format!("{moment:?}");
                deaths.wrong.extend(wrong.map(|wrong| WrongDeath { victim: victim.name(), moment, wrong }));
            }
        }
        if let Some((uploads, pieces)) = trial.server().upload_files() {
            deaths.uploads_without_pieces = uploads;
            if victim == Victim::Run {
                deaths.pieces_of_killed_runs = pieces;
            } else if pieces > 0 {
                let wrong = format!("pieces of uploads are left: {pieces}");
                deaths.wrong.push(WrongDeath { victim: victim.name(), moment: "the end".to_owned(), wrong });
            }
        }
    }
    deaths
}

fn on_cluster(
    trial: &StoreTrial,
    cluster: &mut Cluster,
    victim: Victim,
    moment: Moment,
    folder: &str,
    proxy: &FaultProxy,
) -> Result<bool, String> {
    let pids: Vec<u32> = match victim {
        Victim::Workers => (0..WORKERS).map(|index| cluster.worker_pid(index)).collect(),
        Victim::Master | Victim::Run => vec![cluster.master_pid()],
    };
    let killed = kill_at(proxy, moment, move || pids.clone());
    let mut submit = trial.submit(cluster, &trial.job(folder, &proxy.url()));
    let ended = eventually(|| is_set(&killed) || submit.try_wait().expect("a child can be asked").is_some());
    if !ended {
        // It may never end: nobody waits for it.
        let _ = submit.kill();
        return Err(format!("neither reached nor ended\n{}", cluster.logs()));
    }
    proxy.passing();
    if is_set(&killed) {
        match victim {
            Victim::Workers => {
                for index in 0..WORKERS {
                    cluster.kill_worker(index);
                    cluster.start_worker(index);
                }
            }
            Victim::Master | Victim::Run => {
                cluster.kill_master();
                cluster.restart_master();
            }
        }
    }
    if !eventually(|| submit.try_wait().expect("a child can be asked").is_some()) {
        let _ = submit.kill();
        return Err(format!("no end\n{}", cluster.logs()));
    }
    let output = submit.wait_with_output().expect("it has ended");
    if !output.status.success() {
        return Err(format!("{}\n{}", String::from_utf8_lossy(&output.stderr), cluster.logs()));
    }
    Ok(is_set(&killed))
}

fn in_one_process(trial: &StoreTrial, moment: Moment, folder: &str, proxy: &FaultProxy) -> Result<bool, String> {
    // The proxy knows the process only when it has started.
    let pid = Arc::new(AtomicU32::new(0));
    let victim = Arc::clone(&pid);
    let killed = kill_at(proxy, moment, move || vec![victim.load(Ordering::Acquire)]);
    let job = trial.job(folder, &proxy.url());
    let mut command = trial.command("run", &job);
    let mut run = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program starts");
    pid.store(run.id(), Ordering::Release);
    let status = end_of(&mut run);
    proxy.passing();
    if status.success() {
        return if is_set(&killed) { Err("it outlived its death".to_owned()) } else { Ok(false) };
    }
    let again = trial.run(&[job, vec!["--overwrite".to_owned()]].concat());
    if again.status.success() { Ok(true) } else { Err(String::from_utf8_lossy(&again.stderr).into_owned()) }
}

fn is_set(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Acquire)
}
