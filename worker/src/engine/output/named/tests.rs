//! Many names in little memory and few open files, and nothing left of an attempt that fails.

use gristmill_common::content::read_content;
use gristmill_common::failure::FailureCode;
use gristmill_common::form::{Codec, Form};
use gristmill_common::naming::Uri;
use gristmill_common::objects::LocalObjects;
use gristmill_common::task::InputObject;
use xxhash_rust::xxh3::xxh3_64;

use super::*;

/// Puts text to a name.
fn put(parts: &mut NamedParts, name: &str, text: &str) -> Result<(), Failure> {
    let number = parts.number(name).map_err(|error| match error {
        Unnameable::Wrong(error) => failures::user_error(error.to_string()),
        Unnameable::TooMany(failure) => failure,
    })?;
    parts.put(number, |pending| {
        pending.extend_from_slice(text.as_bytes());
        Ok(())
    })
}

fn open_files(parts: &NamedParts) -> usize {
    parts.parts.iter().filter(|part| part.file.is_some()).count()
}

#[test]
fn many_names_take_bounded_memory_and_few_open_files_and_are_written_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("named");
    let attempt = ByteSize::mib(8);
    let mut parts = NamedParts::new(folder.clone(), b"head\n".to_vec(), None, plain(attempt));
    let limits = parts.limits;
    assert_eq!((limits.pending, limits.names), (512 << 10, 512));
    let name = |n: usize| format!("year={}/{}", n % 3, n % 100);
    let text = |n: usize| format!("{n} {}\n", "x".repeat(n % 977));
    for n in 0..20_000 {
        put(&mut parts, &name(n), &text(n)).expect("room");
        let held: usize = parts.parts.iter().map(|part| part.pending.capacity()).sum();
        assert_eq!(parts.held, held);
        assert!(held <= limits.pending, "{held} after record {n}");
        assert!(open_files(&parts) <= OPEN_FILES && parts.open.len() == open_files(&parts));
    }
    assert_eq!(open_files(&parts), OPEN_FILES, "files are kept open");
    let named = parts.finish(true).expect("room");
    assert_eq!(named.len(), 300);
    for (number, part) in named.iter().enumerate() {
        let expect: String = (0..20_000)
            .filter(|n| Some(name(*n).as_str()) == part.name.output())
            .map(text)
            .fold("head\n".to_owned(), |a, b| a + &b);
        let bytes = fs::read(folder.join(number.to_string())).expect("staged");
        assert!(bytes == expect.as_bytes(), "{} differs", part.name);
        assert_eq!((part.bytes, part.checksum), (bytes.len() as u64, xxh3_64(&bytes)));
        assert_eq!(part.records, expect.lines().count() as u64 - 1);
    }
    assert_eq!(fs::read_dir(&folder).expect("staged").count(), named.len());
}

#[test]
fn large_records_and_empty_ones_are_parts_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("named");
    let mut parts = NamedParts::new(folder.clone(), Vec::new(), None, plain(ByteSize::mib(1)));
    let large = "y".repeat(3 << 20);
    put(&mut parts, "large", &large).expect("room");
    assert_eq!(parts.held, 0, "it is written at once");
    put(&mut parts, "empty", "").expect("room");
    let named = parts.finish(false).expect("room");
    let seen: Vec<_> = named.iter().map(|part| (part.name.output(), part.bytes, part.records)).collect();
    assert_eq!(seen, [(Some("large"), 3 << 20, 1), (Some("empty"), 0, 1)]);
    assert_eq!(fs::read(folder.join("1")).expect("staged"), b"");
}

#[test]
fn more_names_than_fit_are_refused_and_say_what_helps() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut parts = NamedParts::new(dir.path().join("named"), Vec::new(), None, plain(ByteSize::mib(16)));
    (0..1024).for_each(|n| put(&mut parts, &n.to_string(), "x\n").expect("room"));
    let failure = put(&mut parts, "1024", "x\n").expect_err("one too many");
    let message = "an attempt with 16.0 MiB of memory cannot write to more than 1024 named outputs or \
                   further parts (raise --memory or divide the names among more tasks, or raise --part-size)";
    assert_eq!((failure.code, failure.message.as_str()), (FailureCode::UserError, message));
    put(&mut parts, "1023", "x\n").expect("it is known");
    drop(parts);

    let limits = Limits::of(ByteSize(1 << 40), None);
    assert_eq!((limits.pending, limits.names), (MAX_PENDING_BYTES, MAX_NAMES));
    let most = limits.exceeded(MAX_NAMES, 0).expect("too many").message;
    assert!(
        most.ends_with(
            "more than 10000 named outputs or further parts (divide the names among more tasks, or raise --part-size)"
        ),
        "{most}"
    );
    let long = limits.exceeded(1, MAX_NAMES_BYTES + 1).expect("too long").message;
    assert_eq!(long, "the names of an attempt's named outputs take more than 1048576 bytes");
    assert_eq!(limits.exceeded(MAX_NAMES - 1, MAX_NAMES_BYTES), None);
}

#[test]
fn what_is_not_finished_leaves_nothing_and_makes_no_folder_above_its_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut parts = NamedParts::new(dir.path().join("named"), Vec::new(), None, plain(ByteSize::mib(1)));
    for n in 0..60 {
        put(&mut parts, &n.to_string(), &"z".repeat(5000)).expect("room");
    }
    assert!(fs::read_dir(dir.path().join("named")).expect("staged").count() > OPEN_FILES);
    drop(parts);
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);

    // The staging folder of a job that is over.
    let gone = dir.path().join("gone");
    let mut parts = NamedParts::new(gone.join("named"), Vec::new(), None, plain(ByteSize::mib(1)));
    put(&mut parts, "a", "x").expect("it is pending");
    let failure = parts.finish(false).expect_err("no folder");
    assert_eq!(failure.code, FailureCode::WriteFailed);
    let start = format!("cannot write the part of named output \"a\" {}: ", gone.join("named/0").display());
    assert!(failure.message.starts_with(&start), "{failure}");
    assert!(!gone.exists());
}

/// Parts of an attempt with so much memory, stored as they are.
fn plain(attempt_bytes: ByteSize) -> StoredAs {
    StoredAs { codec: None, attempt_bytes, part_bytes: u64::MAX }
}

#[test]
fn compressed_parts_take_no_more_memory_and_are_read_back() {
    for codec in Codec::ALL {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("named");
        let stored_as = StoredAs { codec: Some(codec), attempt_bytes: ByteSize::mib(16), part_bytes: u64::MAX };
        let mut parts = NamedParts::new(folder.clone(), b"head\n".to_vec(), None, stored_as);
        let name = |n: usize| format!("n={}", n % 40);
        let text = |n: usize| format!("{n} {}\n", "xyz".repeat(n % 400));
        for n in 0..3_000 {
            put(&mut parts, &name(n), &text(n)).expect("room");
            assert!(parts.held <= parts.limits.pending && open_files(&parts) <= OPEN_FILES);
        }
        put(&mut parts, "empty", "").expect("room");
        let named = parts.finish(false).expect("room");
        for (number, part) in named.iter().enumerate() {
            let path = folder.join(number.to_string());
            let stored = fs::read(&path).expect("staged");
            assert_eq!((part.bytes, part.checksum), (stored.len() as u64, xxh3_64(&stored)), "{codec}");
            let expect = (0..3_000).filter(|n| Some(name(*n).as_str()) == part.name.output()).map(text);
            let expect = expect.fold("head\n".to_owned(), |a, b| a + &b);
            assert!(content(&path, codec) == expect.as_bytes(), "{codec}: {} differs", part.name);
        }
    }
}

#[test]
fn tables_of_frames_are_given_up_when_they_take_too_much() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("named");
    let stored_as = StoredAs { codec: Some(Codec::Zstd), attempt_bytes: ByteSize::mib(16), part_bytes: u64::MAX };
    let mut parts = NamedParts::new(folder.clone(), Vec::new(), None, stored_as);
    for n in 0..MAX_TABLE_BYTES / 8 + 1000 {
        put(&mut parts, &(n % 2).to_string(), "x\n").expect("room");
        parts.write(n % 2).expect("room");
        assert!(parts.table_bytes <= MAX_TABLE_BYTES);
    }
    let named = parts.finish(false).expect("room");
    for (number, part) in named.iter().enumerate() {
        let content = content(&folder.join(number.to_string()), Codec::Zstd);
        assert_eq!(content.len() as u64, 2 * part.records, "all is there");
    }
}

/// What a compressed file holds.
fn content(path: &Path, codec: Codec) -> Vec<u8> {
    let size = fs::metadata(path).expect("staged").len();
    let uri = Uri::from_path(path);
    let object = InputObject { uri, size, modified_micros: None, etag: None, form: Some(Form::Compressed(codec)) };
    read_content(&LocalObjects, &object, None, u64::MAX).expect("it is well")
}
