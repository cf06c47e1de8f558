//! What an input looks like before a job over it starts: its objects, its first records, and its columns if it
//! tells them. Reads the beginning of one object and nothing else.

use crate::content::{damaged, form_of, read_beginning};
use crate::failure::{Failure, FailureCode, InputPosition};
use crate::form::Form;
use crate::formats::parquet::{ParquetFile, ParquetProblem, RowForm, Wanted};
use crate::formats::schema::Schema;
use crate::objects::{ObjectReader, OpenObject, failure_of};
use crate::program::InputSample;
use crate::spec::OnBadFile;
use crate::task::InputObject;
use crate::text::LineRule;

/// The longest first record. It is read whole, and a table's header is far shorter.
const MAX_FIRST_RECORD_BYTES: u64 = 1 << 20;

/// Bytes of rows that are looked at.
const ROWS_BYTES: usize = 256 << 10;

/// Memory that the pages of these rows may take: that of whoever submits a job, whose attempts may have less.
const ROWS_MEMORY: u64 = 1 << 30;

/// Samples an input that was listed. Objects are read in the form that is pinned, or that they tell
/// themselves. Damaged ones are passed over if they may be left out.
///
/// # Errors
///
/// If the first object that holds anything, or one before it, cannot be read, or its first record is longer
/// than a mebibyte; names the object.
pub fn sample_input(
    role: u32,
    objects: Vec<InputObject>,
    rule: &LineRule,
    on_bad_file: OnBadFile,
    reader: &dyn ObjectReader,
) -> Result<InputSample, Failure> {
    let mut sample = InputSample { role, objects, first_record: None, first_records: Vec::new(), schema: None };
    let mut damage = None;
    for object in sample.objects.iter().filter(|object| object.size > 0) {
        match look_at(object, rule, reader) {
            Ok((records, schema)) => {
                sample.schema = schema.or(sample.schema);
                if let Some(first) = records.first() {
                    sample.first_record = Some((first.clone(), object.uri.to_string()));
                    sample.first_records = records;
                    return Ok(sample);
                }
            }
            Err(failure) if failure.code == FailureCode::InputDamaged && on_bad_file == OnBadFile::Skip => {
                damage.get_or_insert(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    // Taken for empty, what is whole of a damaged one would be read as something else.
    damage.map_or(Ok(sample), Err)
}

/// The first records of an object, and its columns if it tells them.
fn look_at(
    object: &InputObject,
    rule: &LineRule,
    reader: &dyn ObjectReader,
) -> Result<(Vec<Vec<u8>>, Option<Schema>), Failure> {
    let open = reader.open(object)?;
    match form_of(object, None, open.as_ref())? {
        Form::Parquet => rows_of(object, open).map(|(records, schema)| (records, Some(schema))),
        Form::Plain | Form::Compressed(_) | Form::SeekableZstd => {
            records_of(object, rule, reader).map(|records| (records, None))
        }
    }
}

/// The columns of a file of columns, and its first rows as JSON objects.
fn rows_of(object: &InputObject, open: Box<dyn OpenObject>) -> Result<(Vec<Vec<u8>>, Schema), Failure> {
    let failed = |problem: ParquetProblem| match problem {
        ParquetProblem::Object(error) => failure_of(object, error),
        damage @ ParquetProblem::Damaged { .. } => {
            damaged(object, 0, &format!("cannot read {} as a Parquet file: {damage}", object.uri))
        }
        ParquetProblem::Memory { bytes, .. } => {
            let text = format!("cannot read {} as a Parquet file: its first pages take {bytes} of memory", object.uri);
            Failure::new(FailureCode::RecordTooLarge, text)
        }
    };
    let file = ParquetFile::open(open, object.size, ROWS_MEMORY).map_err(failed)?;
    let mut rows = Vec::new();
    if let Some(group) = file.groups_in(0, u64::MAX).first() {
        let form = RowForm::Text { end: b"\n".to_vec(), objects: true, quoted: false };
        let mut group = file.read_group(*group, &Wanted::All, form).map_err(failed)?;
        group.fill(&mut rows, ROWS_BYTES).map_err(failed)?;
    }
    let rows = rows.split(|byte| *byte == b'\n').filter(|row| !row.is_empty()).map(<[u8]>::to_vec).collect();
    Ok((rows, file.schema().clone()))
}

/// The first records of an object; the first one is whole.
fn records_of(object: &InputObject, rule: &LineRule, reader: &dyn ObjectReader) -> Result<Vec<Vec<u8>>, Failure> {
    let (bytes, is_all) = read_beginning(reader, object, None, MAX_FIRST_RECORD_BYTES)?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut start = rule.preamble(&bytes);
    if start == bytes.len() {
        return Ok(vec![Vec::new()]);
    }
    let mut records = Vec::new();
    while start < bytes.len() {
        let span = rule.record_at(&bytes, start);
        if span.next as u64 >= MAX_FIRST_RECORD_BYTES && !is_all {
            if !records.is_empty() {
                break;
            }
            let text = format!("the first record of {} is longer than {MAX_FIRST_RECORD_BYTES} bytes", object.uri);
            let position = InputPosition { object: object.uri.to_string(), offset: start as u64 };
            return Err(Failure::new(FailureCode::RecordTooLarge, text).at(position));
        }
        records.push(bytes[start..span.end].to_vec());
        start = span.next;
    }
    Ok(records)
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
            let sample = sample_input(3, objects, &rule, OnBadFile::Fail, &LocalObjects).map(|sample| {
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
