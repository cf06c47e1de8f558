//! What a job is tried on: objects of records, those of its side inputs, and the files it asks for. All
//! in memory until somebody needs them on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gristmill_common::setup::ShippedPaths;

/// Records, side inputs and files for a job.
///
/// Text, bytes and lists of names with contents become one by `into()`.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    objects: Vec<Object>,
    files: Arc<BTreeMap<String, Vec<u8>>>,
}

/// One object of an input.
#[derive(Debug, Clone)]
pub(super) struct Object {
    role: u32,
    name: String,
    bytes: Vec<u8>,
}

impl Object {
    pub(super) fn new(role: u32, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { role, name: name.into(), bytes }
    }

    pub(super) fn role(&self) -> u32 {
        self.role
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Sample {
    /// A sample of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an object to the job's own input, behind those it has.
    #[must_use]
    pub fn object(mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        self.objects.push(Object::new(0, name, bytes.as_ref().to_vec()));
        self
    }

    /// Adds an object to the side input of this role, from 1 on.
    #[must_use]
    pub fn side(mut self, role: u32, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        self.objects.push(Object::new(role, name, bytes.as_ref().to_vec()));
        self
    }

    /// Adds a file that is shipped with the job (`--file NAME=…`).
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        Arc::make_mut(&mut self.files).insert(name.into(), bytes.as_ref().to_vec());
        self
    }

    /// The same files with other objects.
    pub(super) fn with_objects(&self, objects: Vec<Object>) -> Self {
        Self { objects, files: Arc::clone(&self.files) }
    }

    pub(super) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// The objects of one input, in order.
    pub(super) fn of_role(&self, role: u32) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.role == role)
    }

    /// The objects of side inputs by role.
    pub(super) fn side_objects(&self) -> impl Iterator<Item = &Object> {
        let last = self.objects.iter().map(|object| object.role).max().unwrap_or(0);
        (1..=last).flat_map(|role| self.of_role(role))
    }

    /// All objects as map tasks read them: those of side inputs first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &Object> {
        self.side_objects().chain(self.of_role(0))
    }

    /// Writes the files to a new folder.
    pub(super) fn place_files(&self) -> io::Result<Placed> {
        let mut placed = Placed::new()?;
        for (name, bytes) in self.files.iter() {
            let path = placed.folder.join(name);
            fs::write(&path, bytes)?;
            placed.paths.insert(name.clone(), path);
        }
        Ok(placed)
    }
}

/// A folder in the system's own for temporary ones that goes with this value, and the files of a sample
/// in it.
#[derive(Debug)]
pub(super) struct Placed {
    folder: PathBuf,
    paths: ShippedPaths,
}

impl Placed {
    fn new() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("gristmill-testing-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder)?;
        Ok(Self { folder, paths: ShippedPaths::new() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn paths(&self) -> &ShippedPaths {
        &self.paths
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // It is the system's to remove what cannot be removed here.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

macro_rules! samples_of_one_object {
    ($($bytes:ty),*) => {$(
        impl From<$bytes> for Sample {
            fn from(bytes: $bytes) -> Self {
                Self::new().object("input", bytes)
            }
        }
    )*};
}

samples_of_one_object!(&str, String, &String, &[u8], Vec<u8>, &Vec<u8>);

impl<const N: usize> From<&[u8; N]> for Sample {
    fn from(bytes: &[u8; N]) -> Self {
        Self::new().object("input", bytes)
    }
}

impl<B: AsRef<[u8]>, const N: usize> From<[(&str, B); N]> for Sample {
    /// Objects by name and content, in this order.
    fn from(objects: [(&str, B); N]) -> Self {
        objects.into_iter().fold(Self::new(), |sample, (name, bytes)| sample.object(name, bytes))
    }
}

impl From<&Sample> for Sample {
    fn from(sample: &Sample) -> Self {
        sample.clone()
    }
}
