//! Opening a local input object only while it is what the job was planned with. Reads no content:
//! what lies between two checks is the reader's business.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use rustix::fs::OFlags;

use crate::failure::{Failure, FailureCode};
use crate::task::InputObject;

/// Opens a local object for reading and checks it against its pin.
///
/// A reader of the object's end calls [`check_pinned`] once more when it is done, since an open
/// file can still change.
///
/// # Errors
///
/// `INPUT_UNREADABLE` if it cannot be opened here, `INPUT_CHANGED` if its size or modification time
/// is not what was planned. Both name the object.
pub fn open_pinned(object: &InputObject) -> Result<File, Failure> {
    let Some(path) = object.uri.local_path() else {
        return Err(unreadable(object, &io::Error::from(io::ErrorKind::Unsupported)));
    };
    // Opening a pipe, which it may be by now, must not wait for its writer; of files the flag says nothing.
    let no_waiting = OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(no_waiting).open(&path);
    let file = file.map_err(|error| unreadable(object, &error))?;
    check_pinned(object, &file)?;
    Ok(file)
}

/// Checks that an open object still has the size and modification time of its pin.
///
/// # Errors
///
/// `INPUT_CHANGED` if it has not, `INPUT_UNREADABLE` if the file system does not tell.
pub fn check_pinned(object: &InputObject, file: &File) -> Result<(), Failure> {
    let metadata = file.metadata().map_err(|error| unreadable(object, &error))?;
    check_metadata(object, &metadata)
}

/// A file's modification time in microseconds since 1970, as pins hold it.
pub fn modified_micros(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1000)
}

fn check_metadata(object: &InputObject, metadata: &Metadata) -> Result<(), Failure> {
    let changed = |what: String| {
        Failure::new(
            FailureCode::InputChanged,
            format!("input {} changed since the job was planned: {what}", object.uri),
        )
    };
    if !metadata.is_file() {
        return Err(changed("it is no longer a regular file".to_owned()));
    }
    if metadata.len() != object.size {
        return Err(changed(format!("it had {} bytes and now has {}", object.size, metadata.len())));
    }
    match object.modified_micros {
        Some(planned) if planned != modified_micros(metadata) => {
            Err(changed("its modification time is another".to_owned()))
        }
        _ => Ok(()),
    }
}

fn unreadable(object: &InputObject, error: &io::Error) -> Failure {
    Failure::new(FailureCode::InputUnreadable, format!("cannot read input {}: {error}", object.uri))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::naming::Uri;

    fn pin(path: &Path) -> InputObject {
        let metadata = fs::metadata(path).expect("exists");
        InputObject {
            uri: Uri::from_path(path),
            size: metadata.len(),
            modified_micros: Some(modified_micros(&metadata)),
            etag: None,
            form: None,
        }
    }

    fn code(result: Result<File, Failure>) -> Result<(), FailureCode> {
        result.map(|_| ()).map_err(|failure| failure.code)
    }

    #[test]
    fn only_the_planned_content_is_opened() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("a.txt");
        fs::write(&path, "one\n").expect("written");
        let object = pin(&path);
        assert_eq!(code(open_pinned(&object)), Ok(()));

        let file = File::options().append(true).open(&path).expect("opens");
        (&file).write_all(b"two\n").expect("written");
        assert_eq!(code(open_pinned(&object)), Err(FailureCode::InputChanged));
        let text = open_pinned(&object).expect_err("longer").to_string();
        assert!(text.ends_with("a.txt changed since the job was planned: it had 4 bytes and now has 8"), "{text}");

        let object = pin(&path);
        file.set_modified(UNIX_EPOCH + Duration::from_micros(1_000_001)).expect("set");
        assert_eq!(code(open_pinned(&object)), Err(FailureCode::InputChanged));
        assert_eq!(pin(&path).modified_micros, Some(1_000_001));

        fs::remove_file(&path).expect("removed");
        assert_eq!(code(open_pinned(&object)), Err(FailureCode::InputUnreadable));
        fs::create_dir(&path).expect("created");
        assert_eq!(code(open_pinned(&object)), Err(FailureCode::InputChanged));
    }

    #[test]
    fn an_open_object_that_shrinks_is_noticed() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("a.txt");
        fs::write(&path, "one\ntwo\n").expect("written");
        let object = pin(&path);
        let file = open_pinned(&object).expect("as planned");
        File::options().write(true).open(&path).expect("opens").set_len(4).expect("cut");
        assert_eq!(check_pinned(&object, &file).map_err(|failure| failure.code), Err(FailureCode::InputChanged));
    }
}
