//! Where the commands of an attempt run: its own folder, with the files that were shipped with the job,
//! and the variables that tell a command which task it works on.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gristmill_common::ids::Stage;
use gristmill_common::job::{JobError, Result};
use gristmill_common::setup::TaskContext;

use super::settings::Settings;

/// The folder and variables of an attempt.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    variables: Vec<(String, String)>,
    /// The task, for messages.
    pub(super) task: String,
    /// Set when the attempt is to stop.
    pub(super) cancelled: Arc<AtomicBool>,
}

impl Place {
    /// Makes the folder ready.
    ///
    /// # Errors
    ///
    /// If it cannot be, or an archive not be unpacked.
    pub(super) fn prepare(task: &TaskContext<'_>, settings: &Settings) -> Result<Self> {
        let folder = task.folder()?.to_owned();
        let temporary = folder.join("tmp");
        for (name, path) in task.files() {
            let here = folder.join(name);
            let programs = [&settings.mapper, &settings.combiner, &settings.reducer].into_iter().flatten();
            let runs = programs.filter_map(|words| words.first()).any(|word| plain(word) == name);
            let put = if settings.archives.contains(name) {
                unpack(path, &here)
            } else if runs || settings.executables.contains(name) {
                executable(path, &here)
            } else {
                symlink(path, &here).map_err(|error| error.to_string())
            };
            put.map_err(|error| JobError::new(format!("cannot give the task the file {name}: {error}")))?;
        }
        fs::create_dir_all(&temporary)
            .map_err(|error| JobError::new(format!("cannot create {}: {error}", temporary.display())))?;
        let mut variables = of_task(task);
        variables.push(("TMPDIR".to_owned(), temporary.to_string_lossy().into_owned()));
        variables.extend(settings.variables.iter().cloned());
        let (name, cancelled) = (task.task().to_string(), Arc::clone(task.cancelled()));
        Ok(Self { folder, variables, task: name, cancelled })
    }

    /// A command that runs here.
    pub(super) fn command(&self, words: &[String]) -> Command {
        let (program, arguments) = words.split_first().expect("a command has a word");
        let here = self.folder.join(plain(program));
        let mut command =
            if !program.starts_with('/') && here.is_file() { Command::new(here) } else { Command::new(program) };
        command.args(arguments).current_dir(&self.folder);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A path below the folder without `./` before it.
fn plain(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path)
}

/// What a command is told of its task, under Hadoop's names, old and new.
fn of_task(task: &TaskContext<'_>) -> Vec<(String, String)> {
    let is_map = task.task().stage == Stage::Map;
    let job = task.job().map_or_else(String::new, |job| job.to_string());
    let pairs = [
        ("mapreduce_job_id", job.clone()),
        ("mapred_job_id", job),
        ("mapreduce_task_id", task.task().to_string()),
        ("mapred_tip_id", task.task().to_string()),
        ("mapreduce_task_attempt_id", task.attempt().to_string()),
        ("mapred_task_id", task.attempt().to_string()),
        ("mapreduce_task_partition", task.task().index.to_string()),
        ("mapred_task_partition", task.task().index.to_string()),
        ("mapreduce_task_ismap", is_map.to_string()),
        ("mapred_task_is_map", is_map.to_string()),
        ("mapreduce_job_reduces", task.reducers().to_string()),
        ("mapred_reduce_tasks", task.reducers().to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Makes a file executable: as it lies there, if it is already, else by a copy.
fn executable(file: &Path, here: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mode = fs::metadata(file).map_err(failed)?.permissions().mode();
    if mode & 0o111 != 0 {
        return symlink(file, here).map_err(failed);
    }
    fs::copy(file, here).map_err(failed)?;
    fs::set_permissions(here, fs::Permissions::from_mode(0o700)).map_err(failed)
}

/// Unpacks an archive into a new folder, by what the system has for that.
fn unpack(archive: &Path, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let mut head = [0; 4];
    let read = fs::File::open(archive).and_then(|mut file| std::io::Read::read(&mut file, &mut head));
    read.map_err(|error| error.to_string())?;
    let mut command = if head.starts_with(b"PK") {
        let mut command = Command::new("unzip");
        command.args(["-q", "-o"]).arg(archive).arg("-d").arg(folder);
        command
    } else {
        let mut command = Command::new("tar");
        command.arg("-xf").arg(archive).arg("-C").arg(folder);
        command
    };
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{tool} cannot be run to unpack it: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{tool} cannot unpack it: {}", text.lines().next().unwrap_or_default()))
}
