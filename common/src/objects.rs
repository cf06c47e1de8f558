//! How attempts read input objects, wherever these are kept: [`ObjectReader`] opens one, pinned as it
//! was planned, and [`OpenObject`] reads it. The local file system is read here; other stores are
//! read by whoever has their credentials, who brings a reader of its own.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::failure::{Disposition, Failure, FailureCode, InputPosition};
use crate::pinned::{check_pinned, open_pinned};
use crate::task::{InputObject, Piece};

/// An object that is read at positions of the reader's choice.
pub trait OpenObject: Send {
    /// Reads some bytes at `offset`; 0 only at the end.
    ///
    /// # Errors
    ///
    /// If the object cannot be read. An error of kind `InvalidData` that holds a [`Failure`] is that
    /// failure.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Tells that these bytes will be read soon, so that loading and mapping overlap.
    fn will_read(&self, offset: u64, bytes: u64);

    /// Bytes that the reader holds of what was announced, which is how far ahead it wants to be told.
    /// Always the same for the same job, so that its attempts collect as much wherever they run. None
    /// where the system keeps them.
    fn ahead_bytes(&self) -> u64 {
        0
    }

    /// Checks that the object still is what was planned. Whoever reads one calls it once more when it
    /// has read the last byte, since an open object can still change.
    ///
    /// # Errors
    ///
    /// `INPUT_CHANGED` if it is not, `INPUT_UNREADABLE` if that cannot be told; names the object.
    fn check(&self) -> Result<(), Failure>;
}

/// Opens input objects. Every attempt is given one; no other code opens what it reads.
pub trait ObjectReader: fmt::Debug + Send + Sync {
    /// Opens an object and checks it against its pin. What is given owns all that it needs: readers of
    /// columns hold on to it.
    ///
    /// # Errors
    ///
    /// `INPUT_UNREADABLE` if it cannot be opened here, `INPUT_CHANGED` if it is not what was planned.
    /// Both name the object.
    fn open(&self, object: &InputObject) -> Result<Box<dyn OpenObject>, Failure>;

    /// Tells that these pieces will be read next, in this order, so that small objects are on their way
    /// before they are opened.
    fn will_open(&self, pieces: &[Piece]) {
        let _ = pieces;
    }

    /// The same reader for one attempt: reads end when `cancelled` is set, and what it holds is its own.
    fn until(&self, cancelled: &Arc<AtomicBool>) -> Arc<dyn ObjectReader>;

    /// Reads a whole object as it is stored, which must be what was planned before and after. What it
    /// holds is told by [`read_content`](crate::content::read_content).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    fn read_whole(&self, object: &InputObject) -> Result<Vec<u8>, Failure> {
        let open = self.open(object)?;
        let size = usize::try_from(object.size).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|error| unreadable(object, &io::Error::other(error)))?;
        bytes.resize(size, 0);
        let mut filled = 0;
        while filled < size {
            match open.read_at(&mut bytes[filled..], filled as u64) {
                Ok(0) => bytes.truncate(filled),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure_of(object, error)),
            }
            if bytes.len() < size {
                break;
            }
        }
        open.check()?;
        if filled < size {
            return Err(ended_early(object, filled as u64));
        }
        Ok(bytes)
    }
}

/// What a failed read of an object means: the failure inside the error, or that it cannot be read.
pub fn failure_of(object: &InputObject, error: io::Error) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => unreadable(object, &error),
    }
}

/// An open object ended before it should.
pub fn ended_early(object: &InputObject, at: u64) -> Failure {
    let InputObject { uri, size, .. } = object;
    let message = format!("input {uri} changed since the job was planned: it ends at byte {at}, not {size}");
    Failure::new(FailureCode::InputChanged, message).at(InputPosition { object: uri.to_string(), offset: at })
}

fn unreadable(object: &InputObject, error: &io::Error) -> Failure {
    Failure::new(FailureCode::InputUnreadable, format!("cannot read input {}: {error}", object.uri))
}

/// Reads objects of the local file system, and refuses all others.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalObjects;

impl LocalObjects {
    /// This reader, to be shared.
    pub fn shared() -> Arc<dyn ObjectReader> {
        Arc::new(Self)
    }
}

impl ObjectReader for LocalObjects {
    fn open(&self, object: &InputObject) -> Result<Box<dyn OpenObject>, Failure> {
        if object.uri.local_path().is_none() {
            let scheme = object.uri.scheme();
            let message = format!("cannot read {}: nothing here reads {scheme}://", object.uri);
            let mut failure = Failure::new(FailureCode::InputUnreadable, message);
            failure.disposition = Disposition::Abort;
            return Err(failure);
        }
        Ok(Box::new(LocalObject { file: open_pinned(object)?, object: object.clone() }))
    }

    fn until(&self, _cancelled: &Arc<AtomicBool>) -> Arc<dyn ObjectReader> {
        Self::shared()
    }
}

/// An open local file.
#[derive(Debug)]
struct LocalObject {
    file: File,
    object: InputObject,
}

impl OpenObject for LocalObject {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, into, offset)
    }

    fn will_read(&self, offset: u64, bytes: u64) {
        advise(&self.file, offset, bytes);
    }

    fn check(&self) -> Result<(), Failure> {
        check_pinned(&self.object, &self.file)
    }
}

/// Asks the system to load a range of a file.
#[cfg(target_os = "linux")]
fn advise(file: &File, offset: u64, bytes: u64) {
    if let Some(bytes) = std::num::NonZeroU64::new(bytes) {
        // Advice may be refused (an odd file system); reading works without.
        let _ = rustix::fs::fadvise(file, offset, Some(bytes), rustix::fs::Advice::WillNeed);
    }
}

/// Reading works without.
#[cfg(not(target_os = "linux"))]
fn advise(_file: &File, _offset: u64, _bytes: u64) {}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::naming::Uri;

    fn pin(path: &Path, size: u64) -> InputObject {
        InputObject { uri: Uri::from_path(path), size, modified_micros: None, etag: None, form: None }
    }

    #[test]
    fn a_whole_object_is_read_only_if_it_is_what_was_planned() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("a.txt");
        std::fs::write(&path, "one\n").expect("written");
        assert_eq!(LocalObjects.read_whole(&pin(&path, 4)).expect("as planned"), b"one\n");
        let code = |size: u64| LocalObjects.read_whole(&pin(&path, size)).map_err(|failure| failure.code);
        assert_eq!((code(3), code(5)), (Err(FailureCode::InputChanged), Err(FailureCode::InputChanged)));
    }

    #[test]
    fn other_schemes_are_refused_for_good() {
        let uri = "s3://bucket/key".parse().expect("valid");
        let object = InputObject { uri, size: 1, modified_micros: None, etag: None, form: None };
        let failure = LocalObjects.open(&object).err().expect("not local");
        assert_eq!(failure.disposition, Disposition::Abort);
        assert_eq!(failure.message, "cannot read s3://bucket/key: nothing here reads s3://");
    }

    #[test]
    fn a_failure_inside_an_error_is_that_failure() {
        let object = pin("/a".as_ref(), 1);
        let inner = Failure::new(FailureCode::InputChanged, "another tag");
        let error = io::Error::new(io::ErrorKind::InvalidData, inner.clone());
        assert_eq!(failure_of(&object, error), inner);
        let plain = failure_of(&object, io::ErrorKind::TimedOut.into());
        assert_eq!(plain.message, "cannot read input /a: timed out");
    }
}
