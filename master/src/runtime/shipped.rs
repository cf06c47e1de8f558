//! The files that travel with jobs, as the master keeps them: uploaded once, held while an open job
//! needs them, and removed when room is needed afterwards.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_common::ids::ContentId;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;
use gristmill_common::storage::{ContentError, ContentStore, HeldContent, content_of};
use tracing::warn;

use super::describe;
use super::recipe::Recipe;

/// What the files of all jobs may take. Raised, more jobs that ended can be looked into or submitted
/// again without an upload; open jobs keep theirs whatever this says, and no more are taken then.
const KEPT_BYTES: ByteSize = ByteSize::mib(4 << 10);

/// The files of jobs. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ShippedFiles {
    store: Option<ContentStore>,
    own: Option<OwnBinary>,
}

/// The binary of this very process, which most jobs are submitted with and most workers run.
#[derive(Debug, Clone)]
struct OwnBinary {
    id: ContentId,
    /// Open, so that it stays what was hashed.
    file: Arc<File>,
}

/// A file that is being read, and what keeps it there.
#[derive(Debug)]
pub(crate) struct ReadableFile {
    pub(crate) file: Arc<File>,
    _held: Option<HeldContent>,
}

/// The files of one job, which stay while this exists.
#[derive(Debug, Default)]
pub struct JobFiles {
    held: Vec<HeldContent>,
    recipe: Option<ContentId>,
}

impl JobFiles {
    /// The file that says what the job is made of, if it is kept.
    pub(super) fn recipe(&self) -> Option<ContentId> {
        self.recipe
    }
}

/// A file that a job needs and nobody uploaded.
#[derive(Debug, thiserror::Error)]
pub enum ShippedError {
    /// It is not here.
    #[error("the master has not got file {id:.12} of the job")]
    Missing {
        /// Which.
        id: String,
    },
    /// The folder cannot be used.
    #[error(transparent)]
    Store(#[from] ContentError),
}

impl ShippedFiles {
    /// The files in `dir`, and the program at `own`, if it can be read.
    ///
    /// # Errors
    ///
    /// If the folder cannot be used.
    pub fn open(dir: &Path, own: Option<&Path>) -> Result<Self, ContentError> {
        let own = own.and_then(|path| {
            let file = File::open(path).ok()?;
            let (id, _) = content_of(&file).ok()?;
            Some(OwnBinary { id, file: Arc::new(file) })
        });
        Ok(Self { store: Some(ContentStore::open(dir, KEPT_BYTES)?), own })
    }

    /// Holds the files of a job: its binary and what else its spec names. A master without a folder for
    /// files leaves them to the workers.
    ///
    /// # Errors
    ///
    /// The first file that is not here.
    pub fn hold(&self, binary: &str, spec: &JobSpec) -> Result<JobFiles, ShippedError> {
        let Some(store) = &self.store else { return Ok(JobFiles::default()) };
        let missing = |id: &str| ShippedError::Missing { id: id.to_owned() };
        let binary: ContentId = binary.parse().map_err(|_| missing(binary))?;
        let mut held = Vec::new();
        for id in std::iter::once(binary).chain(spec.files.iter().map(|file| file.content)) {
            if self.own.as_ref().is_none_or(|own| own.id != id) {
                held.push(store.hold(id)?.ok_or_else(|| missing(&id.to_string()))?);
            }
        }
        Ok(JobFiles { held, recipe: None })
    }

    /// Keeps what a job is made of beside its files, for whoever runs one of its tasks again. A job does
    /// without where that cannot be written.
    pub(super) fn keep_recipe(&self, recipe: &Recipe, files: &mut JobFiles) {
        match self.take_in(&recipe.encode()) {
            Ok(recipe) => self.hold_recipe(recipe, files),
            Err(error) => warn!(reason = describe(&error), "tasks of a job cannot be replayed"),
        }
    }

    /// Holds what a job is made of with its files, if it is still here.
    pub(super) fn hold_recipe(&self, recipe: Option<ContentId>, files: &mut JobFiles) {
        files.recipe = recipe;
        let held = recipe.and_then(|id| self.store.as_ref()?.hold(id).ok()?);
        files.held.extend(held);
    }

    /// Takes in a file of the master's own; `None` without a folder for files.
    fn take_in(&self, bytes: &[u8]) -> Result<Option<ContentId>, ContentError> {
        let Some(store) = &self.store else { return Ok(None) };
        let (id, _) = content_of(bytes).expect("memory can be read");
        if !store.missing(&[id]).is_empty() {
            let mut incoming = store.receive(id, bytes.len() as u64)?;
            incoming.write(bytes)?;
            incoming.finish()?;
        }
        Ok(Some(id))
    }

    /// Which of these are not here.
    pub(crate) fn missing(&self, ids: &[ContentId]) -> Vec<ContentId> {
        let others = ids.iter().copied().filter(|id| self.own.as_ref().is_none_or(|own| own.id != *id));
        let others: Vec<ContentId> = others.collect();
        match &self.store {
            Some(store) => store.missing(&others),
            None => Vec::new(),
        }
    }

    /// Where files are taken in.
    pub(crate) fn store(&self) -> Option<&ContentStore> {
        self.store.as_ref()
    }

    /// A file to be read from its beginning to its end; `None` if it is not here.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn read(&self, id: ContentId) -> Result<Option<ReadableFile>, ContentError> {
        if let Some(own) = self.own.as_ref().filter(|own| own.id == id) {
            return Ok(Some(ReadableFile { file: Arc::clone(&own.file), _held: None }));
        }
        let Some(held) = self.store.as_ref().map(|store| store.hold(id)).transpose()?.flatten() else {
            return Ok(None);
        };
        let path: PathBuf = held.path().to_owned();
        let file = match File::open(&path) {
            // Somebody removed it behind the master's back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|source| ContentError::Io { path, source })?,
        };
        Ok(Some(ReadableFile { file: Arc::new(file), _held: Some(held) }))
    }
}
