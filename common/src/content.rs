//! What an input object holds, whatever the form in which it is stored: told by its first bytes where
//! nothing else tells, and read from its beginning by those who want all of it or its first bytes. The
//! records of a task's input are the engine's business.

use crate::failure::{Failure, FailureCode, InputPosition};
use crate::form::{Form, HEAD_BYTES};
use crate::objects::{ObjectReader, OpenObject, ended_early, failure_of};
use crate::task::InputObject;

/// Bytes decoded at once.
#[cfg(feature = "compression")]
const READ_BYTES: usize = 256 << 10;

/// The form of an object: what was asked for all input, what was pinned, what the name tells, what the
/// first bytes tell; in this order.
///
/// # Errors
///
/// If the first bytes are needed and cannot be read; names the object.
pub fn form_of(object: &InputObject, asked: Option<Form>, open: &dyn OpenObject) -> Result<Form, Failure> {
    if let Some(form) = Form::told(asked, object.form, object.uri.base_name()) {
        return Ok(form);
    }
    let mut head = [0; HEAD_BYTES];
    let filled = read_full(object, open, &mut head, 0)?;
    Ok(Form::of_head(&head[..filled]))
}

/// All that an object holds, which must be what was planned before and after.
///
/// # Errors
///
/// As [`ObjectReader::open`]; `INPUT_DAMAGED` if it is not in its form to the end; `RECORD_TOO_LARGE` if
/// it holds more than `most` bytes. Each names the object.
pub fn read_content(
    reader: &dyn ObjectReader,
    object: &InputObject,
    asked: Option<Form>,
    most: u64,
) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    let whole = read_from_beginning(reader, object, asked, most, &mut content)?;
    if whole {
        return Ok(content);
    }
    let message = format!("input {} holds more than the {most} bytes that can be kept of it here", object.uri);
    Err(Failure::new(FailureCode::RecordTooLarge, message))
}

/// The first bytes that an object holds, `most` of them or all, and whether that is all.
///
/// # Errors
///
/// As [`read_content`], except that there may be more. Damage behind those bytes is not found.
pub fn read_beginning(
    reader: &dyn ObjectReader,
    object: &InputObject,
    asked: Option<Form>,
    most: u64,
) -> Result<(Vec<u8>, bool), Failure> {
    let mut content = Vec::new();
    let whole = read_from_beginning(reader, object, asked, most, &mut content)?;
    Ok((content, whole))
}

/// Reads at most `most` bytes of the content; whether there are no more.
fn read_from_beginning(
    reader: &dyn ObjectReader,
    object: &InputObject,
    asked: Option<Form>,
    most: u64,
    content: &mut Vec<u8>,
) -> Result<bool, Failure> {
    let open = reader.open(object)?;
    let form = form_of(object, asked, open.as_ref())?;
    let whole = match form {
        Form::Plain => read_plain(object, open.as_ref(), most, content)?,
        Form::Compressed(_) | Form::SeekableZstd => decode(object, form, open.as_ref(), most, content)?,
        Form::Parquet => return Err(not_read(object, form)),
    };
    open.check()?;
    Ok(whole)
}

fn read_plain(object: &InputObject, open: &dyn OpenObject, most: u64, content: &mut Vec<u8>) -> Result<bool, Failure> {
    let wanted = usize::try_from(object.size.min(most)).unwrap_or(usize::MAX);
    let failed = |error| failure_of(object, std::io::Error::other(error));
    content.try_reserve_exact(wanted).map_err(failed)?;
    content.resize(wanted, 0);
    let filled = read_full(object, open, content, 0)?;
    if filled < wanted { Err(ended_early(object, filled as u64)) } else { Ok(object.size <= most) }
}

#[cfg(feature = "compression")]
fn decode(
    object: &InputObject,
    form: Form,
    open: &dyn OpenObject,
    most: u64,
    content: &mut Vec<u8>,
) -> Result<bool, Failure> {
    use crate::compression::{Decoded, Step};

    let Some(codec) = form.codec() else { return Err(not_read(object, form)) };
    let mut decoded = Decoded::whole(codec, open, object, crate::spec::DEFAULT_ATTEMPT_BYTES.bytes() / 4);
    loop {
        let filled = content.len();
        let room = most.saturating_sub(filled as u64).min(READ_BYTES as u64) as usize;
        // One byte more tells whether there is any.
        content.resize(filled + room.max(1), 0);
        let step = decoded.next(&mut content[filled..]);
        let got = if let Ok(Step::Bytes(got)) = step { got.min(room) } else { 0 };
        content.truncate(filled + got);
        match step? {
            Step::Bytes(_) if room == 0 => return Ok(false),
            Step::Bytes(_) | Step::Unit(_) => {}
            Step::End => return Ok(true),
        }
    }
}

#[cfg(not(feature = "compression"))]
fn decode(object: &InputObject, form: Form, _: &dyn OpenObject, _: u64, _: &mut Vec<u8>) -> Result<bool, Failure> {
    Err(not_read(object, form))
}

/// An object in a form that is not read here.
pub fn not_read(object: &InputObject, form: Form) -> Failure {
    let mut failure = damaged(object, 0, &format!("cannot read input {}: {form} is not read here", object.uri));
    failure.code = FailureCode::InputUnreadable;
    failure
}

/// An object that is not in its form from a byte of it on, counted as it is stored.
pub fn damaged(object: &InputObject, offset: u64, message: &str) -> Failure {
    let position = InputPosition { object: object.uri.to_string(), offset };
    Failure::new(FailureCode::InputDamaged, message).at(position)
}

/// Fills `into` from `offset` on; less only at the object's end.
fn read_full(object: &InputObject, open: &dyn OpenObject, into: &mut [u8], offset: u64) -> Result<usize, Failure> {
    let mut filled = 0;
    while filled < into.len() {
        match open.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failure_of(object, error)),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naming::Uri;
    use crate::objects::LocalObjects;

    #[test]
    fn plain_content_is_read_up_to_a_limit() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("a");
        std::fs::write(&path, "one\ntwo\n").expect("written");
        let object = InputObject { uri: Uri::from_path(&path), size: 8, modified_micros: None, etag: None, form: None };
        let beginning = |most| read_beginning(&LocalObjects, &object, None, most).expect("readable");
        assert_eq!(beginning(3), (b"one".to_vec(), false));
        assert_eq!(beginning(8), (b"one\ntwo\n".to_vec(), true));
        assert_eq!(read_content(&LocalObjects, &object, None, 8).expect("readable"), b"one\ntwo\n");
        let failure = read_content(&LocalObjects, &object, None, 7).expect_err("too much");
        assert_eq!(failure.code, FailureCode::RecordTooLarge);
        let failure = read_content(&LocalObjects, &object, Some(Form::Parquet), 8).expect_err("not text");
        assert!(failure.message.ends_with("/a: parquet is not read here"), "{failure}");
    }
}
