//! What a job may know of the task that an attempt works on: handed to it once, before the first
//! record. Reads nothing itself.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::ids::{AttemptId, JobId, TaskId};
use crate::job::{JobError, Result};
use crate::objects::{LocalObjects, ObjectReader};

/// Where the files that were shipped with a job lie on this machine, by the names they were given.
pub type ShippedPaths = BTreeMap<String, PathBuf>;

/// The task that an attempt works on, as [`MapReduce::setup`](crate::job::MapReduce::setup) sees it.
pub struct TaskContext<'a> {
    job: Option<JobId>,
    cancelled: Arc<AtomicBool>,
    attempt: AttemptId,
    reducers: u32,
    files: &'a ShippedPaths,
    objects: Arc<dyn ObjectReader>,
    folder: PathBuf,
    made: OnceCell<()>,
}

impl<'a> TaskContext<'a> {
    /// For engines: the context of an attempt, whose own folder would be `folder`.
    pub fn new(attempt: AttemptId, reducers: u32, files: &'a ShippedPaths, folder: PathBuf) -> Self {
        let objects = Arc::new(LocalObjects);
        Self { job: None, cancelled: Arc::default(), attempt, reducers, files, objects, folder, made: OnceCell::new() }
    }

    /// For engines: the same, of a job that has an id, and an attempt that `cancelled` ends.
    #[must_use]
    pub fn of_job(mut self, job: JobId, cancelled: Arc<AtomicBool>) -> Self {
        self.job = Some(job);
        self.cancelled = cancelled;
        self
    }

    /// For engines: the same, of an attempt whose code reads objects through `objects`; until then it
    /// reads those of the local file system.
    #[must_use]
    pub fn reading(mut self, objects: Arc<dyn ObjectReader>) -> Self {
        self.objects = objects;
        self
    }

    /// Opens the objects that the job's code reads by itself, wherever they are kept. It may be held on
    /// to for as long as the attempt runs.
    pub fn objects(&self) -> &Arc<dyn ObjectReader> {
        &self.objects
    }

    /// The job's id; `None` where nothing is run for good, as in tests and for a sample of the input.
    pub fn job(&self) -> Option<JobId> {
        self.job
    }

    /// Set when the attempt is to stop. The engine looks at it between records; a job that waits for
    /// something else (a process, a server) has to look by itself, and may then return any error.
    pub fn cancelled(&self) -> &Arc<AtomicBool> {
        &self.cancelled
    }

    /// The task: its stage and its number there.
    pub fn task(&self) -> TaskId {
        self.attempt.task
    }

    /// The attempt. Whatever an output holds must not depend on its number.
    pub fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// Reduce tasks of the job; 0 if it has none.
    pub fn reducers(&self) -> u32 {
        self.reducers
    }

    /// Where a file that was shipped with the job lies. It must not be written to.
    ///
    /// # Errors
    ///
    /// If the job was shipped with no file of this name.
    pub fn file(&self, name: &str) -> Result<&'a Path> {
        self.files.get(name).map(PathBuf::as_path).ok_or_else(|| {
            let known: Vec<&str> = self.files.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            JobError::new(format!("no file named {name:?} was shipped with the job (--file); there are: {known}"))
        })
    }

    /// All files that were shipped with the job, by name.
    pub fn files(&self) -> &'a ShippedPaths {
        self.files
    }

    /// A folder for this attempt alone, made when it is first asked for and removed with all it holds
    /// after the attempt.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn folder(&self) -> Result<&Path> {
        if self.made.get().is_none() {
            fs::create_dir_all(&self.folder)
                .map_err(|error| JobError::new(format!("cannot create {}: {error}", self.folder.display())))?;
            let _ = self.made.set(());
        }
        Ok(&self.folder)
    }
}

impl Drop for TaskContext<'_> {
    fn drop(&mut self) {
        if self.made.get().is_some() {
            // The job's scratch folder goes at the job's end, with whatever stays here.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl fmt::Debug for TaskContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_an_attempt_goes_with_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let attempt = AttemptId { task: TaskId::map(3), number: 0 };
        let files: ShippedPaths = [("stop.txt".to_owned(), PathBuf::from("/there"))].into();
        let task = TaskContext::new(attempt, 2, &files, dir.path().join("own"));
        assert!(!dir.path().join("own").exists(), "it is not made unless asked for");
        fs::write(task.folder().expect("made").join("notes"), "x").expect("writable");
        assert_eq!(task.file("stop.txt").expect("shipped"), Path::new("/there"));
        assert_eq!(task.job(), None);
        let error = task.file("go.txt").expect_err("not shipped").to_string();
        assert_eq!(error, "no file named \"go.txt\" was shipped with the job (--file); there are: stop.txt");
        drop(task);
        assert!(!dir.path().join("own").exists());
    }
}
