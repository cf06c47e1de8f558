//! What an input looks like before a job over it starts: its objects and its first record. Reads one
//! record of one object and nothing else.

use std::io;

use crate::failure::{Failure, FailureCode, InputPosition};
use crate::objects::{ObjectReader, failure_of};
use crate::program::InputSample;
use crate::task::InputObject;
use crate::text::LineRule;

/// The longest first record. It is read whole, and a table's header is far shorter.
const MAX_FIRST_RECORD_BYTES: u64 = 1 << 20;

/// Samples an input that was listed.
///
/// # Errors
///
/// If the first object cannot be read, or its first record is longer than a mebibyte; names the
/// object.
pub fn sample_input(
    role: u32,
    objects: Vec<InputObject>,
    rule: &LineRule,
    reader: &dyn ObjectReader,
) -> Result<InputSample, Failure> {
    let first = objects.iter().find(|object| object.size > 0);
    let first_record =
        first.map(|object| Ok((first_record(object, rule, reader)?, object.uri.to_string()))).transpose()?;
    Ok(InputSample { role, objects, first_record })
}

fn first_record(object: &InputObject, rule: &LineRule, reader: &dyn ObjectReader) -> Result<Vec<u8>, Failure> {
    let open = reader.open(object)?;
    let mut bytes = vec![0; usize::try_from(object.size.min(MAX_FIRST_RECORD_BYTES)).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match open.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failure_of(object, error)),
        }
    }
    bytes.truncate(filled);
    let start = rule.preamble(&bytes);
    if start == bytes.len() {
        return Ok(Vec::new());
    }
    let span = rule.record_at(&bytes, start);
    if span.next as u64 >= MAX_FIRST_RECORD_BYTES && object.size > MAX_FIRST_RECORD_BYTES {
        let text = format!("the first record of {} is longer than {MAX_FIRST_RECORD_BYTES} bytes", object.uri);
        let position = InputPosition { object: object.uri.to_string(), offset: start as u64 };
        return Err(Failure::new(FailureCode::RecordTooLarge, text).at(position));
    }
    bytes.truncate(span.end);
    bytes.drain(..start);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::naming::Uri;
    use crate::objects::LocalObjects;
    use crate::storage::{Stores, list_inputs};

    #[test]
    fn the_first_record_is_that_of_the_first_object_with_content() {
        let dir = tempfile::tempdir().expect("scratch");
        let check = |rule: LineRule, content: &[u8], expect: Result<&[u8], &str>| {
            fs::write(dir.path().join("a"), b"").expect("written");
            fs::write(dir.path().join("b"), content).expect("written");
            let objects = list_inputs(&[Uri::from_path(dir.path())], &Stores::without_environment()).expect("a folder");
            let sample = sample_input(3, objects, &rule, &LocalObjects).map(|sample| {
                assert_eq!((sample.role, sample.objects.len()), (3, 2));
                sample.first_record.map(|(record, _)| record).unwrap_or_default()
            });
            let sample = sample.map_err(|failure| failure.message.replace(&dir.path().display().to_string(), "DIR"));
            assert_eq!(sample, expect.map(<[u8]>::to_vec).map_err(str::to_owned));
        };
        check(LineRule::Lf, b"a,b\r\n1,2\n", Ok(b"a,b"));
        check(LineRule::Lf, b"a,b", Ok(b"a,b"));
        check(LineRule::Lf, b"", Ok(b""));
        check(LineRule::Any, b"\xef\xbb\xbfa\rb", Ok(b"a"));
        let long = vec![b'x'; 1 << 21];
        check(LineRule::Lf, &long, Err("the first record of DIR/b is longer than 1048576 bytes"));
        check(LineRule::Lf, &[&long[..1 << 19], b"\n", &long].concat(), Ok(&long[..1 << 19]));
    }
}
