//! What is done of a pipeline, in a folder beside its output: whoever gives the same command again goes on
//! from there. One process at a time holds it.
//!
//! For the output `/data/ranks`:
//!
//! ```text
//! /data/.ranks.pipeline/
//!     lock                locked while a process works on the pipeline
//!     state               what is done: one line of JSON, then one with the SHA-256 of the first
//!     j-68ff1a2b3c4d/     the data of this pipeline; another one on the same output gets another name
//!         000-links/      what a run of a stage wrote, an output like any other
//! ```
//!
//! The first line of `state` is an object:
//!
//! | field | value |
//! |---|---|
//! | `version` | [`VERSION`] |
//! | `id` | the name of the folder with the data |
//! | `fingerprint` | what the result depends on |
//! | `finished` | the runs that are over, in order |
//! | `failures` | how often the run after them ended without success |

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gristmill_common::ids::JobId;
use gristmill_common::naming::Uri;
use gristmill_common::removal::{remove_empty, remove_tree};
use gristmill_common::storage::content_of;
use gristmill_master::runtime::output::missing_folders;
use gristmill_master::runtime::verify::FinishedOutput;
use serde::{Deserialize, Serialize};

use super::Outline;
use super::course::{Course, Finished, NextRun};
use super::fingerprint::Fingerprint;
use crate::local::lock_file;

/// The version of the format. A state of another one is not gone on from.
const VERSION: u32 = 1;

const STATE: &str = "state";
const LOCK: &str = "lock";

/// The folder of one pipeline, held.
#[derive(Debug)]
pub(crate) struct PipelineFolder {
    path: PathBuf,
    state: State,
    /// Folders above the output that did not exist before, topmost first.
    created: Vec<PathBuf>,
    _lock: File,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    version: u32,
    id: String,
    fingerprint: Fingerprint,
    finished: Vec<Finished>,
    failures: u32,
}

/// How a pipeline begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Nothing was finished.
    First,
    /// With what an earlier process finished.
    GoesOn,
    /// From the beginning although something was finished, because of this.
    Anew(String),
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// What is done lies beside the output, so that is local.
    #[error("cannot write to {output}: the output of a pipeline is a local folder (copy it to a store afterwards)")]
    NotLocal {
        /// The output.
        output: Uri,
    },
    /// Somebody else works on it.
    #[error("another process is running a pipeline into {output}")]
    InUse {
        /// The output.
        output: Uri,
    },
    /// The file system refuses.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
}

impl FolderError {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}

impl PipelineFolder {
    /// Takes the folder of the pipeline into `output` and what is done of it, if that is of the same
    /// fingerprint and all there; if not, or if `restart` asks for it, what there is is removed and the
    /// pipeline gets the name `id`.
    ///
    /// # Errors
    ///
    /// If another process has it, or the file system refuses.
    pub(crate) fn open(
        output: &Uri,
        outline: &Outline,
        fingerprint: Fingerprint,
        id: JobId,
        restart: bool,
    ) -> Result<(Self, Beginning), FolderError> {
        let local = output.local_path().filter(|path| path.file_name().is_some());
        let local = local.ok_or_else(|| FolderError::NotLocal { output: output.clone() })?;
        let name = local.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = local.with_file_name(format!(".{name}.pipeline"));
        let created = missing_folders(output);
        fs::create_dir_all(&path).map_err(FolderError::io("create folder", &path))?;
        let lock = lock_file(&path.join(LOCK)).map_err(FolderError::io("lock", &path))?;
        let lock = lock.ok_or_else(|| FolderError::InUse { output: output.clone() })?;
        let state = State { version: VERSION, id: id.to_string(), fingerprint, finished: Vec::new(), failures: 0 };
        let mut folder = Self { path, state, created, _lock: lock };
        let found = folder.read_state();
        let nothing_done =
            found.as_ref().is_none_or(|found| found.as_ref().is_ok_and(|state| state.finished.is_empty()));
        let reason = match found {
            None => String::new(),
            Some(_) if restart => "--restart was given".to_owned(),
            Some(found) => match found.and_then(|found| folder.go_on(outline, found)) {
                Ok(state) => {
                    folder.state = state;
                    return Ok((folder, if nothing_done { Beginning::First } else { Beginning::GoesOn }));
                }
                Err(reason) => reason,
            },
        };
        let beginning = if nothing_done { Beginning::First } else { Beginning::Anew(reason) };
        folder.clear()?;
        folder.write_state()?;
        Ok((folder, beginning))
    }

    /// The runs that are over.
    pub(crate) fn finished(&self) -> &[Finished] {
        &self.state.finished
    }

    /// Where a run of a stage writes, if not the pipeline's output.
    pub(crate) fn data(&self, number: usize, stage: &str) -> Uri {
        Uri::from_path(&self.data_path(&self.state.id, number, stage))
    }

    /// Whether this is data of this pipeline, and of no other on the same output.
    pub(crate) fn holds(&self, uri: &Uri) -> bool {
        Uri::from_path(&self.path.join(&self.state.id)).contains(uri)
    }

    /// The submission key of the next run: the same for every process that tries it, until it fails.
    pub(crate) fn key(&self) -> String {
        format!("{}-{}-{}", self.state.id, self.state.finished.len(), self.state.failures)
    }

    /// Records that a run is over.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub(crate) fn record(&mut self, finished: Finished) -> Result<(), FolderError> {
        self.state.finished.push(finished);
        self.state.failures = 0;
        self.write_state()
    }

    /// Records that the next run ended without success.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub(crate) fn record_failure(&mut self) -> Result<(), FolderError> {
        self.state.failures += 1;
        self.write_state()
    }

    /// Removes what finished runs wrote, but that of those `needed`.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub(crate) fn remove_but(&self, needed: &BTreeSet<usize>) -> Result<(), FolderError> {
        for (number, finished) in self.state.finished.iter().enumerate().filter(|(number, _)| !needed.contains(number))
        {
            let path = self.data_path(&self.state.id, number, &finished.stage);
            remove_tree(&path).map_err(FolderError::io("remove folder", &path))?;
        }
        Ok(())
    }

    /// Removes the folder, and the folders above the output that were made for it if nothing else is in
    /// them.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub(crate) fn remove(self) -> Result<(), FolderError> {
        remove_tree(&self.path).map_err(FolderError::io("remove folder", &self.path))?;
        for parent in self.created.iter().rev() {
            // Fails if the output is in it, and then it shall stay.
            let _in_use = remove_empty(parent);
        }
        Ok(())
    }

    fn data_path(&self, id: &str, number: usize, stage: &str) -> PathBuf {
        self.path.join(id).join(format!("{number:03}-{stage}"))
    }

    /// A state from which this pipeline can go on, or why it cannot.
    fn go_on(&self, outline: &Outline, found: State) -> Result<State, String> {
        if let Some(what) = self.state.fingerprint.difference(&found.fingerprint) {
            return Err(format!("{what} changed since"));
        }
        for (number, finished) in found.finished.iter().enumerate() {
            let expected = Course::of(outline, &found.finished[..number]).next;
            let is_next =
                |next: &NextRun| outline.stages[next.stage].name == finished.stage && next.round == finished.round;
            if !expected.as_ref().is_some_and(is_next) {
                return Err("what was done is not of these stages".to_owned());
            }
        }
        for number in Course::of(outline, &found.finished).needed {
            let stage = &found.finished[number].stage;
            let output = Uri::from_path(&self.data_path(&found.id, number, stage));
            let whole = FinishedOutput::open(&output)
                .is_ok_and(|output| output.manifest().parts.iter().all(|part| output.check_part(part).is_none()));
            if !whole {
                return Err(format!("what the stage {stage} wrote is not there any more, or damaged"));
            }
        }
        Ok(found)
    }

    /// What an earlier process left; `None` if nothing, an error if it cannot be understood.
    fn read_state(&self) -> Option<Result<State, String>> {
        let text = match fs::read_to_string(self.path.join(STATE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            text => text.map_err(|error| format!("what was done cannot be read: {error}")),
        };
        let damaged = || "what was written about what is done is damaged".to_owned();
        Some(text.and_then(|text| {
            let (line, rest) = text.split_once('\n').ok_or_else(damaged)?;
            if rest.trim_end() != digest(line) {
                return Err(damaged());
            }
            let state: State =
                serde_json::from_str(line).map_err(|_| "another version wrote what is done".to_owned())?;
            if state.version == VERSION { Ok(state) } else { Err("another version wrote what is done".to_owned()) }
        }))
    }

    fn write_state(&self) -> Result<(), FolderError> {
        let line = serde_json::to_string(&self.state).expect("plain data with names for keys");
        let (path, new) = (self.path.join(STATE), self.path.join("state.new"));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(format!("{line}\n{}\n", digest(&line)).as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(FolderError::io("write", &path))
    }

    /// Removes everything but the lock.
    fn clear(&self) -> Result<(), FolderError> {
        let unreadable = || FolderError::io("read folder", &self.path);
        for entry in fs::read_dir(&self.path).map_err(unreadable())? {
            let path = entry.map_err(unreadable())?.path();
            if path.is_dir() {
                remove_tree(&path).map_err(FolderError::io("remove folder", &path))?;
            }
        }
        Ok(())
    }
}

/// The SHA-256 of a line.
fn digest(line: &str) -> String {
    let (content, _) = content_of(line.as_bytes()).expect("memory can be read");
    content.to_string()
}

#[cfg(test)]
mod tests {
    use gristmill_common::ids::ContentId;
    use gristmill_common::spec::{JobShape, JobSpec};
    use gristmill_common::storage::Stores;
    use gristmill_master::runtime::manifest::{JobTimes, Manifest};

    use super::super::outline::tests::{outline, stage};
    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
        outline: Outline,
    }

    impl Bench {
        fn new() -> Self {
            let stages = vec![stage("a", &["in"]), stage("b", &["a"]), stage("c", &["b"])];
            Self { dir: tempfile::tempdir().expect("a folder"), outline: outline(vec![(None, stages)]) }
        }

        fn output(&self) -> Uri {
            Uri::from_path(&self.dir.path().join("deep/out"))
        }

        fn open_with(&self, option: u32, restart: bool) -> Result<(PipelineFolder, Beginning), FolderError> {
            let spec = JobSpec::new("x", JobShape::MapReduce, vec![], self.output());
            let fingerprint = Fingerprint::of(ContentId([0; 32]), option.into(), &spec, &Stores::without_environment())
                .expect("there is nothing to list");
            PipelineFolder::open(&self.output(), &self.outline, fingerprint, JobId(option.into()), restart)
        }

        fn open(&self) -> (PipelineFolder, Beginning) {
            self.open_with(1, false).expect("free")
        }

        /// A run of the next stage that wrote an empty output.
        fn finish(&self, folder: &mut PipelineFolder) {
            let next = Course::of(&self.outline, folder.finished()).next.expect("there is more to do");
            let stage = self.outline.stages[next.stage].name.clone();
            let output = folder.data(next.number, &stage);
            let path = output.local_path().expect("local");
            fs::create_dir_all(&path).expect("made");
            let spec = JobSpec::new("x", JobShape::MapReduce, vec![], output);
            let times = JobTimes { started: Default::default(), finished: Default::default() };
            let manifest = Manifest::new(JobId(1), &spec, &Default::default(), times);
            fs::write(path.join("_SUCCESS"), manifest.to_bytes()).expect("written");
            let finished = Finished {
                stage,
                round: 0,
                job: "j-1".to_owned(),
                counters: [("n", 1)].into_iter().collect(),
                records: 1,
                bytes: 2,
                wall_ms: 3,
            };
            folder.record(finished).expect("recorded");
        }
    }

    #[test]
    fn a_pipeline_goes_on_where_another_process_left_it() {
        let bench = Bench::new();
        let (mut folder, beginning) = bench.open();
        assert_eq!((beginning, folder.finished().len()), (Beginning::First, 0));
        assert!(matches!(bench.open_with(1, false), Err(FolderError::InUse { .. })), "one at a time");
        bench.finish(&mut folder);
        bench.finish(&mut folder);
        folder.record_failure().expect("recorded");
        let (finished, key) = (folder.finished().to_vec(), folder.key());
        folder.remove_but(&BTreeSet::from([1])).expect("removed");
        assert!(!folder.data(0, "a").local_path().expect("local").exists());
        drop(folder);

        let (folder, beginning) = bench.open();
        assert_eq!((beginning, folder.finished()), (Beginning::GoesOn, &finished[..]));
        assert_eq!((folder.key(), key.as_str()), (key.clone(), "j-000000000001-2-1"));
        folder.remove().expect("removed");
        assert!(!bench.dir.path().join("deep/.out.pipeline").exists());
        assert_eq!(bench.open().1, Beginning::First);
    }

    #[test]
    fn what_cannot_be_gone_on_from_is_begun_anew_and_said() {
        let check = |spoil: &dyn Fn(&Bench), option: u32, restart: bool, expect: &str| {
            let bench = Bench::new();
            let (mut folder, _) = bench.open();
            bench.finish(&mut folder);
            let data = folder.data(0, "a").local_path().expect("local");
            drop(folder);
            spoil(&bench);
            let (folder, beginning) = bench.open_with(option, restart).expect("free");
            assert_eq!(beginning, Beginning::Anew(expect.to_owned()));
            assert!(folder.finished().is_empty() && !data.exists());
        };
        let pipeline = |bench: &Bench| bench.dir.path().join("deep/.out.pipeline");
        check(&|_| {}, 1, true, "--restart was given");
        check(&|_| {}, 2, false, "the options changed since");
        let lost = |bench: &Bench| fs::remove_dir_all(pipeline(bench).join("j-000000000001/000-a")).expect("removed");
        check(&lost, 1, false, "what the stage a wrote is not there any more, or damaged");
        let flipped = |bench: &Bench| {
            let path = pipeline(bench).join(STATE);
            let text = fs::read_to_string(&path).expect("there").replace("\"n\":1", "\"n\":2");
            fs::write(path, text).expect("written");
        };
        check(&flipped, 1, false, "what was written about what is done is damaged");
    }
}
