//! The bytes of one record. Their first two fields are the same in every format, so that any build
//! tells damage from a format it does not know.
//!
//! | offset | bytes | value |
//! |---|---|---|
//! | 0 | 1 | format: 1 |
//! | 1 | 8 | XXH3-64, little endian, of job and sequence number (8 bytes each, little endian), format and payload |
//! | 9 | rest | payload: `gristmill.v1.JournalRecord` |
//!
//! The checksum covers the place of a record: one that is found under another number is damage.

use std::path::Path;

use gristmill_common::wire::v1;
use prost::Message as _;
use xxhash_rust::xxh3::Xxh3;

use super::error::{JournalError, Place, RecordKey};
use super::record::JournalRecord;

/// The format written here. Raised when a build that does not know a record or a field must not go
/// on without it.
const FORMAT: u8 = 1;

const HEADER_BYTES: usize = 9;

/// The bytes of a record at its place.
pub(super) fn encode(key: RecordKey, record: &JournalRecord) -> Vec<u8> {
    encode_as(FORMAT, key, record)
}

/// The same, under any format number.
pub(super) fn encode_as(format: u8, key: RecordKey, record: &JournalRecord) -> Vec<u8> {
    let mut frame = vec![0; HEADER_BYTES];
    let message = v1::JournalRecord::from(record);
    message.encode(&mut frame).expect("a Vec takes all bytes");
    frame[0] = format;
    let sum = checksum(key, format, &frame[HEADER_BYTES..]);
    frame[1..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    frame
}

/// The record in bytes found at `key` of `file`.
pub(super) fn decode(file: &Path, key: RecordKey, frame: &[u8]) -> Result<JournalRecord, JournalError> {
    let place = Place::Record(key);
    let damaged = |reason: String| JournalError::Damaged { file: file.to_owned(), place, reason };
    let header = frame.split_first_chunk::<HEADER_BYTES>();
    let (header, payload) = header.ok_or_else(|| damaged(format!("it has {} bytes", frame.len())))?;
    let [format, sum @ ..] = *header;
    if u64::from_le_bytes(sum) != checksum(key, format, payload) {
        return Err(damaged("its checksum does not match".to_owned()));
    }
    if format != FORMAT {
        return Err(JournalError::Newer { file: file.to_owned(), place, format, known: FORMAT });
    }
    let message = v1::JournalRecord::decode(payload).map_err(|error| damaged(error.to_string()))?;
    let record = JournalRecord::try_from(message).map_err(|error| damaged(error.to_string()))?;
    if record.job().map_or(0, |job| job.0) != key.job {
        return Err(damaged("it is about another job".to_owned()));
    }
    Ok(record)
}

fn checksum(key: RecordKey, format: u8, payload: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&key.job.to_le_bytes());
    hasher.update(&key.sequence.to_le_bytes());
    hasher.update(&[format]);
    hasher.update(payload);
    hasher.digest()
}
