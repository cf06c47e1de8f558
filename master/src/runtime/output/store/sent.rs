//! The objects of an output as the winning attempts sent them, and whether they are in place. What a
//! store answers to a completion may be lost, or be about an earlier try: the object tells.

use std::collections::BTreeSet;

use gristmill_common::naming::{BAD_DIR, bad_records_name_of, part_file_name};
use gristmill_common::storage::{OutputStore, TRIES, is_passing, whole_tag};
use gristmill_common::task::{BadRecords, OpenUpload, PartSummary, SentUpload};
use object_store::{Error, ObjectMeta};
use xxhash_rust::xxh3::Xxh3;

use super::claim::store_error;
use super::{OutputError, interrupted};
use crate::failpoint::failpoint;

/// Bytes read at once where an object has to be compared by its content.
const READ_BYTES: u64 = 8 << 20;

/// An object that only needs to be completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime::output) struct SentObject {
    /// Its path relative to the output.
    pub(super) path: String,
    /// Its size.
    pub(super) bytes: u64,
    /// The upload that has its bytes.
    pub(super) upload: SentUpload,
}

/// What the winning attempts sent, in part order, behind each part those of named outputs, then what was
/// skipped. Parts have this ending. The error names an object that was not sent.
pub(in crate::runtime::output) fn sent_objects(
    ending: &str,
    parts: &[PartSummary],
    bad: &[BadRecords],
) -> Result<Vec<SentObject>, String> {
    let mut objects = Vec::with_capacity(parts.len() + bad.len());
    let mut add = |path: String, bytes: u64, upload: &Option<Box<SentUpload>>| match upload {
        Some(upload) => {
            objects.push(SentObject { path, bytes, upload: upload.as_ref().clone() });
            Ok(())
        }
        None => Err(path),
    };
    for (index, part) in (0..).zip(parts) {
        if !part.left_out {
            add(part_file_name(index, ending), part.bytes, &part.upload)?;
        }
        let mut named = part.named.iter();
        named.try_for_each(|named| add(named.name.part_path(index, ending), named.bytes, &named.upload))?;
    }
    for bad in bad {
        let name = bad_records_name_of(&bad.staged_name).ok_or_else(|| bad.staged_name.clone())?;
        add(format!("{BAD_DIR}/{name}"), bad.bytes, &bad.upload)?;
    }
    Ok(objects)
}

impl SentObject {
    /// The upload as one that may have to be aborted.
    pub(super) fn open_upload(&self) -> OpenUpload {
        OpenUpload { object: self.path.clone(), id: self.upload.id.clone() }
    }

    /// Completes the upload, unless that has happened.
    ///
    /// # Errors
    ///
    /// If the upload is gone and the object not there, or the store does not complete it.
    pub(super) async fn complete(&self, store: &OutputStore) -> Result<(), OutputError> {
        let mut failures = 0;
        loop {
            interrupted(failpoint("publish.complete"), "complete", &store.uri_of(&self.path))?;
            let completed = store.complete(&self.path, &self.upload).await;
            interrupted(failpoint("publish.completed"), "complete", &store.uri_of(&self.path))?;
            let Err(error) = completed else { return Ok(()) };
            if self.is_in_place(store).await? {
                return Ok(());
            }
            match error {
                Error::NotFound { .. } => return Err(OutputError::UploadGone { object: store.uri_of(&self.path) }),
                source if !is_passing(&source) || failures + 1 >= TRIES => {
                    return Err(store_error("complete", store, &self.path, source));
                }
                _ => store.pause(&self.path, failures).await,
            }
            failures += 1;
        }
    }

    /// Whether the object is there and what was sent.
    ///
    /// # Errors
    ///
    /// If the store does not tell.
    pub(super) async fn is_in_place(&self, store: &OutputStore) -> Result<bool, OutputError> {
        let Some(found) = store.find(&self.path).await? else { return Ok(false) };
        match self.resembles(&found) {
            Some(answer) => Ok(answer),
            None => Ok(self.checksum_in(store).await? == self.upload.checksum),
        }
    }

    /// Whether an object under the path is what was sent; `None` if only its content can tell.
    fn resembles(&self, found: &ObjectMeta) -> Option<bool> {
        if found.size != self.bytes || self.bytes == 0 {
            return Some(found.size == self.bytes);
        }
        let tag = found.e_tag.as_deref()?.trim_matches('"');
        let expected = whole_tag(&self.upload.pieces)?;
        // Not every store makes the tag of many pieces of theirs: another one says nothing.
        (tag == expected).then_some(true)
    }

    async fn checksum_in(&self, store: &OutputStore) -> Result<u64, OutputError> {
        let (mut hash, mut at) = (Xxh3::new(), 0);
        while at < self.bytes {
            let end = self.bytes.min(at + READ_BYTES);
            hash.update(&store.read_range(&self.path, at..end).await?);
            at = end;
        }
        Ok(hash.digest())
    }
}

/// The paths of objects.
pub(super) fn paths(objects: &[SentObject]) -> BTreeSet<&str> {
    objects.iter().map(|object| object.path.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use gristmill_common::task::NamedPart;

    use super::*;

    fn upload(id: &str) -> Option<Box<SentUpload>> {
        Some(Box::new(SentUpload { id: id.to_owned(), pieces: Box::default(), checksum: 0 }))
    }

    fn part(upload: Option<Box<SentUpload>>, named: Vec<NamedPart>) -> PartSummary {
        PartSummary {
            staged_name: "s".into(),
            bytes: 3,
            records: 1,
            checksum: 0,
            named: named.into(),
            upload,
            left_out: false,
        }
    }

    #[test]
    fn every_object_has_its_path_and_its_upload() {
        let name = "a/b".parse().expect("a name");
        let named = NamedPart { name, bytes: 4, records: 1, checksum: 0, upload: upload("n") };
        let staged_name = "part-m-00003.jsonl.m-3.1".to_owned();
        let bad = BadRecords { staged_name, records: 1, objects: 0, bytes: 5, upload: upload("b") };
        let parts = [part(upload("p0"), vec![]), part(upload("p1"), vec![named])];
        let objects = sent_objects(".gz", &parts, std::slice::from_ref(&bad)).expect("all were sent");
        let shown: Vec<_> =
            objects.iter().map(|object| (object.path.as_str(), object.bytes, object.upload.id.as_str())).collect();
        let expect = [
            ("part-00000.gz", 3, "p0"),
            ("part-00001.gz", 3, "p1"),
            ("a/b/part-00001.gz", 4, "n"),
            ("_bad/part-m-00003.jsonl", 5, "b"),
        ];
        assert_eq!(shown, expect);
        assert_eq!(sent_objects("", &[part(None, vec![])], &[]), Err("part-00000".to_owned()));
        assert_eq!(
            sent_objects("", &[], &[BadRecords { upload: None, ..bad }]),
            Err("_bad/part-m-00003.jsonl".to_owned())
        );
    }
}
