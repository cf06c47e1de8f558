//! A worker's folder: who may use it, and what lies where in it. Leaves the engine's files to the engine.
//!
//! ```text
//! <dir>/lock                                     held while a worker uses the folder
//! <dir>/worker-key                               who this worker is, also after a restart
//! <dir>/scratch/<job>/<attempt>.out              map outputs, and spills of running attempts
//! <dir>/scratch/<job>/fetch/<attempt>-<session>.seg   segments fetched from one worker session
//! <dir>/scratch/<job>/positions-<n>              the board of the job's nth executor
//! <dir>/scratch/<job>/files/<name>               files that travel with the job
//! <dir>/logs/<job>/<attempt>.log                 what user code printed
//! <dir>/files/<sha256>                           binaries and files of jobs, for the next job that needs them
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gristmill_common::ids::{AttemptId, JobId, SessionId};
use gristmill_common::naming::scratch_job_dir;
pub(crate) use gristmill_common::removal::remove_file;
use gristmill_common::removal::remove_tree;
use rustix::fs::FlockOperation;

use crate::engine::map_output_path;
use crate::engine::shuffle::Finished;

/// Jobs whose logs are kept after their end. Raised, old failures can be looked into for longer;
/// lowered, less disk is held: at most this times attempts times the bound of one log.
const KEPT_LOG_JOBS: usize = 50;

/// A folder that cannot be a worker's.
#[derive(Debug, thiserror::Error)]
pub enum WorkerDirError {
    /// It cannot be made, read or written.
    #[error("cannot use the worker folder {}: {source}", path.display())]
    Unusable {
        /// The file or folder in question.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process holds it.
    #[error("another worker uses the folder {} (give each worker a --dir of its own)", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// Its name is not UTF-8, and it has to travel to other processes.
    #[error("the worker folder's name {} is not UTF-8", path.display())]
    NotUtf8 {
        /// The folder.
        path: PathBuf,
    },
}

/// A worker's folder, held by this process until it is dropped.
#[derive(Debug)]
pub(crate) struct WorkerDir {
    /// Random text, the same after a restart.
    pub(crate) key: String,
    /// Where jobs work.
    pub(crate) scratch: Scratch,
    /// Where logs are.
    pub(crate) logs: PathBuf,
    /// Where binaries and files of jobs are kept.
    pub(crate) files: PathBuf,
    _lock: File,
}

impl WorkerDir {
    /// Takes the folder, making it if need be. Of what an earlier process left in its scratch, finished
    /// map outputs are given back, and everything else is removed.
    ///
    /// # Errors
    ///
    /// If another process holds the folder, or it cannot be used.
    pub(crate) fn open(dir: &Path) -> Result<(Self, Held), WorkerDirError> {
        let unusable = |path: &Path, source| WorkerDirError::Unusable { path: path.to_owned(), source };
        make_private_dir(dir).map_err(|source| unusable(dir, source))?;
        let dir = fs::canonicalize(dir).map_err(|source| unusable(dir, source))?;
        if dir.to_str().is_none() {
            return Err(WorkerDirError::NotUtf8 { path: dir });
        }
        let lock_path = dir.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(|source| unusable(&lock_path, source))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(WorkerDirError::Taken { path: dir }),
            Err(error) => return Err(unusable(&lock_path, error.into())),
        }
        let key_path = dir.join("worker-key");
        let key = read_or_make_key(&key_path).map_err(|source| unusable(&key_path, source))?;
        let scratch = Scratch { root: dir.join("scratch") };
        let held = scratch.keep_finished().map_err(|source| unusable(&scratch.root, source))?;
        let logs = dir.join("logs");
        make_private_dir(&logs).map_err(|source| unusable(&logs, source))?;
        let files = dir.join("files");
        Ok((Self { key, scratch, logs, files, _lock: lock }, held))
    }
}

/// Finished map outputs of jobs, with the hash of what each holds.
pub(crate) type Held = BTreeMap<JobId, BTreeMap<AttemptId, u64>>;

/// Where jobs work.
#[derive(Debug, Clone)]
pub(crate) struct Scratch {
    root: PathBuf,
}

impl Scratch {
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A job's folder.
    pub(crate) fn job_dir(&self, job: JobId) -> PathBuf {
        scratch_job_dir(&self.root, job)
    }

    /// Makes a job's folders.
    ///
    /// # Errors
    ///
    /// If they cannot be made.
    pub(crate) fn open_job(&self, job: JobId) -> io::Result<PathBuf> {
        let dir = self.job_dir(job);
        make_private_dir(&dir.join("fetch"))?;
        make_private_dir(&self.staged_dir(job))?;
        Ok(dir)
    }

    /// Where attempts of a job stage what is then sent to an object store.
    pub(crate) fn staged_dir(&self, job: JobId) -> PathBuf {
        self.job_dir(job).join("staged")
    }

    /// The output of a map attempt on this worker.
    pub(crate) fn map_output(&self, job: JobId, attempt: AttemptId) -> PathBuf {
        map_output_path(&self.job_dir(job), attempt)
    }

    /// Where the segments that `attempt` fetches from `source` go.
    pub(crate) fn fetch_file(&self, job: JobId, attempt: AttemptId, source: SessionId) -> PathBuf {
        self.job_dir(job).join("fetch").join(format!("{attempt}-{source}.seg"))
    }

    /// The folder for what executor number `executor` of a job reads from object stores.
    pub(crate) fn ranges_dir(&self, job: JobId, executor: u64) -> PathBuf {
        self.job_dir(job).join(format!("ranges-{executor}"))
    }

    /// The board of the executor with this number.
    pub(crate) fn positions_file(&self, job: JobId, executor: u64) -> PathBuf {
        self.job_dir(job).join(format!("positions-{executor}"))
    }

    /// How full its disk is, in percent, rounded up: what is kept for root alone counts as used.
    ///
    /// # Errors
    ///
    /// If the disk does not tell.
    pub(crate) fn used_percent(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.root)?;
        let used = disk.f_blocks - disk.f_bfree;
        Ok((100 * used).div_ceil((used + disk.f_bavail).max(1)))
    }

    /// Removes a job's folder.
    ///
    /// # Errors
    ///
    /// If something in it cannot be removed.
    pub(crate) fn remove_job(&self, job: JobId) -> io::Result<()> {
        remove_tree(&self.job_dir(job))
    }

    /// Removes everything but finished map outputs, and tells which ones there are.
    ///
    /// # Errors
    ///
    /// If something cannot be looked at or removed.
    pub(crate) fn keep_finished(&self) -> io::Result<Held> {
        make_private_dir(&self.root)?;
        let mut held = Held::new();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let job = path.file_name().and_then(|name| name.to_str()?.parse::<JobId>().ok());
            let finished =
                job.filter(|job| self.job_dir(*job) == path).and_then(|job| Some((job, finished(job, &path)?)));
            let Some((job, finished)) = finished else {
                remove_all(&path)?;
                continue;
            };
            for file in fs::read_dir(&path)? {
                let file = file?.path();
                if !finished.files.contains(&file) {
                    remove_all(&file)?;
                }
            }
            held.insert(job, finished.outputs);
        }
        Ok(held)
    }

    /// Removes everything.
    ///
    /// # Errors
    ///
    /// If something cannot be removed, or the empty folder not be made.
    pub(crate) fn clear(&self) -> io::Result<()> {
        remove_tree(&self.root)?;
        make_private_dir(&self.root)
    }
}

/// Where a file that travels with a job lies in the job's folder.
pub fn shipped_file(job_dir: &Path, name: &str) -> PathBuf {
    job_dir.join("files").join(name)
}

/// Removes a file, or a folder with all that is in it.
fn remove_all(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.is_dir() => remove_tree(path),
        Ok(_) => remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What there is of a job's finished map outputs, if there is anything.
fn finished(job: JobId, dir: &Path) -> Option<Finished> {
    match Finished::find(dir) {
        Ok(finished) => {
            let (outputs, damaged) = (finished.outputs.len(), finished.damaged.len());
            let first = finished.damaged.first().map(ToString::to_string);
            tracing::info!(%job, outputs, damaged, first, "finished map outputs kept");
            (outputs > 0).then_some(finished)
        }
        Err(error) => {
            tracing::warn!(%job, %error, "scratch without readable map outputs dropped");
            None
        }
    }
}

/// Removes the oldest folders of logs beyond the bound. Names of jobs sort by submission.
pub(crate) fn prune_logs(logs: &Path) -> io::Result<()> {
    let mut jobs: Vec<JobId> = Vec::new();
    for entry in fs::read_dir(logs)? {
        jobs.extend(entry?.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()));
    }
    jobs.sort_unstable();
    for job in jobs.iter().rev().skip(KEPT_LOG_JOBS) {
        remove_tree(&logs.join(job.to_string()))?;
    }
    Ok(())
}

/// Makes a folder that only its owner can look into: it holds the data of jobs.
pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn read_or_make_key(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if is_key(text.trim_end()) => return Ok(text.trim_end().to_owned()),
        // A key that was cut short by a crash names nobody: a new one does no harm.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut random = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let key: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    writeln!(file, "{key}")?;
    Ok(key)
}

fn is_key(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::shuffle::MapOutput;
    use crate::testing::hand_made_output;

    #[test]
    fn a_folder_serves_one_worker_at_a_time_and_keeps_its_key() {
        let dir = tempfile::tempdir().expect("a folder");
        let (first, _) = WorkerDir::open(&dir.path().join("w")).expect("free");
        let error = WorkerDir::open(&dir.path().join("w")).expect_err("taken");
        assert!(error.to_string().starts_with("another worker uses the folder "), "{error}");
        let key = first.key.clone();
        drop(first);
        let (second, _) = WorkerDir::open(&dir.path().join("w")).expect("free again");
        assert_eq!((second.key.len(), &second.key), (32, &key));
        assert_ne!(WorkerDir::open(&dir.path().join("v")).expect("free").0.key, key);
    }

    /// The files and folders under `dir`, by their names in it.
    fn names(dir: &Path) -> Vec<String> {
        let mut seen = Vec::new();
        for entry in fs::read_dir(dir).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            if entry.path().is_dir() {
                seen.extend(names(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
            } else {
                seen.push(name);
            }
        }
        seen.sort_unstable();
        seen
    }

    #[test]
    fn of_what_an_earlier_process_left_only_finished_map_outputs_stay() {
        let dir = tempfile::tempdir().expect("a folder");
        let attempt = |text: &str| text.parse().expect("an attempt");
        let (first, held) = WorkerDir::open(dir.path()).expect("free");
        assert_eq!(held, Held::new());
        let scratch = &first.scratch;
        for (job, outputs) in [(JobId(1), &["m-0.0", "m-7.1000"][..]), (JobId(2), &[])] {
            scratch.open_job(job).expect("folders");
            outputs.iter().for_each(|name| hand_made_output(&scratch.map_output(job, attempt(name)), &[b"x", b"yz"]));
            let whole = scratch.job_dir(job).join("whole");
            hand_made_output(&whole, &[b"x"]);
            let cut = &fs::read(&whole).expect("just written")[..70];
            for name in
                ["m-3.0.out", "r-0.0.out", "m-3.0.spill", "positions-1", "pack-1", "pack-2.idx", "fetch/r-0.0-s-1.seg"]
            {
                fs::write(scratch.job_dir(job).join(name), cut).expect("scratch");
            }
        }
        fs::write(scratch.root().join("stray"), b"").expect("scratch");
        fs::create_dir_all(scratch.root().join("j-1/fetch")).expect("scratch");
        drop(first);
        let (second, held) = WorkerDir::open(dir.path()).expect("free");
        let hash =
            |name| MapOutput::open(&second.scratch.map_output(JobId(1), attempt(name))).expect("kept").content_hash();
        let kept = ["m-0.0", "m-7.1000"].map(|name| (attempt(name), hash(name)));
        assert_eq!(held, Held::from([(JobId(1), BTreeMap::from(kept))]));
        let job = JobId(1);
        assert_eq!(names(second.scratch.root()), [format!("{job}/m-0.0.out"), format!("{job}/m-7.1000.out")]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = WorkerDir::open(Path::new("/dev/null/w")).expect_err("not a folder").to_string();
        assert!(error.starts_with("cannot use the worker folder /dev/null/w: "), "{error}");
    }

    #[test]
    fn a_damaged_key_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("worker-key"), "12").expect("a file");
        assert_eq!(WorkerDir::open(dir.path()).expect("free").0.key.len(), 32);
    }

    #[test]
    fn old_logs_go_first() {
        let dir = tempfile::tempdir().expect("a folder");
        for job in 0..KEPT_LOG_JOBS as u64 + 2 {
            fs::create_dir(dir.path().join(JobId(job).to_string())).expect("a folder");
        }
        prune_logs(dir.path()).expect("removable");
        let kept = fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!((kept, dir.path().join(JobId(1).to_string()).exists()), (KEPT_LOG_JOBS, false));
    }
}
