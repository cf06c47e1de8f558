//! What attempts stage: parts, those of named outputs, skipped records. Their names come from workers, and
//! none may lead out of the folder that it belongs into.

use std::collections::BTreeSet;

use super::{WireError, invalid, v1};
use crate::output_name::{MAX_NAMES, MAX_NAMES_BYTES, is_object_of_output};
use crate::part_name::PartName;
use crate::task::{BadRecords, NamedPart, OpenUpload, PartSummary, SentUpload};

impl From<&PartSummary> for v1::PartSummary {
    fn from(part: &PartSummary) -> Self {
        Self {
            staged_name: part.staged_name.clone(),
            bytes: part.bytes,
            records: part.records,
            checksum: part.checksum,
            named: part.named.iter().map(Into::into).collect(),
            upload: part.upload.as_deref().map(Into::into),
            left_out: part.left_out,
        }
    }
}

impl TryFrom<v1::PartSummary> for PartSummary {
    type Error = WireError;

    /// Refuses names that would lead out of the staging folder or the output, two parts of one named output,
    /// and more of them than an attempt may have.
    fn try_from(wire: v1::PartSummary) -> Result<Self, WireError> {
        const FIELD: &str = "PartSummary.named";
        let staged_name = staged_name("PartSummary.staged_name", wire.staged_name)?;
        let names_bytes: usize = wire.named.iter().map(|named| named.name.len()).sum();
        if wire.named.len() > MAX_NAMES || names_bytes > MAX_NAMES_BYTES {
            let reason = format!("{} names of {names_bytes} bytes are more than an attempt may use", wire.named.len());
            return Err(WireError::Invalid { field: FIELD, reason });
        }
        let named: Box<[NamedPart]> = wire.named.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = named.iter().find(|named| !names.insert(&named.name)) {
            let reason = format!("{:?} is there twice", twice.name.to_string());
            return Err(WireError::Invalid { field: FIELD, reason });
        }
        let upload = wire.upload.map(|upload| Box::new(upload.into()));
        let (bytes, records, checksum, left_out) = (wire.bytes, wire.records, wire.checksum, wire.left_out);
        Ok(Self { staged_name, bytes, records, checksum, named, upload, left_out })
    }
}

impl From<&NamedPart> for v1::NamedPart {
    fn from(part: &NamedPart) -> Self {
        Self {
            name: part.name.to_string(),
            bytes: part.bytes,
            records: part.records,
            checksum: part.checksum,
            upload: part.upload.as_deref().map(Into::into),
        }
    }
}

impl TryFrom<v1::NamedPart> for NamedPart {
    type Error = WireError;

    fn try_from(wire: v1::NamedPart) -> Result<Self, WireError> {
        let name = PartName::try_from(wire.name).map_err(invalid("NamedPart.name"))?;
        let upload = wire.upload.map(|upload| Box::new(upload.into()));
        Ok(Self { name, bytes: wire.bytes, records: wire.records, checksum: wire.checksum, upload })
    }
}

impl From<&BadRecords> for v1::BadRecords {
    fn from(bad: &BadRecords) -> Self {
        let BadRecords { staged_name, records, objects, bytes, upload } = bad.clone();
        Self { staged_name, records, objects, bytes, upload: upload.as_deref().map(Into::into) }
    }
}

impl TryFrom<v1::BadRecords> for BadRecords {
    type Error = WireError;

    /// Refuses names that would lead out of the staging folder.
    fn try_from(wire: v1::BadRecords) -> Result<Self, WireError> {
        let staged_name = staged_name("BadRecords.staged_name", wire.staged_name)?;
        let upload = wire.upload.map(|upload| Box::new(upload.into()));
        Ok(Self { staged_name, records: wire.records, objects: wire.objects, bytes: wire.bytes, upload })
    }
}

impl From<&SentUpload> for v1::SentUpload {
    fn from(upload: &SentUpload) -> Self {
        Self { id: upload.id.clone(), pieces: upload.pieces.to_vec(), checksum: upload.checksum }
    }
}

impl From<v1::SentUpload> for SentUpload {
    fn from(wire: v1::SentUpload) -> Self {
        Self { id: wire.id, pieces: wire.pieces.into(), checksum: wire.checksum }
    }
}

impl From<&OpenUpload> for v1::OpenUpload {
    fn from(upload: &OpenUpload) -> Self {
        Self { object: upload.object.clone(), id: upload.id.clone() }
    }
}

impl TryFrom<v1::OpenUpload> for OpenUpload {
    type Error = WireError;

    /// Refuses paths that no object of an output has.
    fn try_from(wire: v1::OpenUpload) -> Result<Self, WireError> {
        if !is_object_of_output(&wire.object) {
            let reason = format!("{:?} is no object of an output", wire.object);
            return Err(WireError::Invalid { field: "OpenUpload.object", reason });
        }
        Ok(Self { object: wire.object, id: wire.id })
    }
}

/// The name of a file in a staging folder: one that leads nowhere else.
fn staged_name(field: &'static str, name: String) -> Result<String, WireError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        let reason = format!("{name:?} is not the name of a staged file");
        return Err(WireError::Invalid { field, reason });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(staged_name: &str, names: &[&str]) -> v1::PartSummary {
        let named = |name: &&str| v1::NamedPart { name: (*name).to_owned(), records: 1, ..Default::default() };
        let named = names.iter().map(named).collect();
        v1::PartSummary { staged_name: staged_name.to_owned(), named, ..Default::default() }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for staged_name in ["", "../part-00000", "/etc/passwd", ".", ".."] {
            assert!(PartSummary::try_from(part(staged_name, &[])).is_err(), "{staged_name}");
        }
        PartSummary::try_from(part("part-00000.r-0.0", &["a", "a/b"])).expect("both lie in the output");
        for name in ["", "..", "a/../../b", "/etc", "_SUCCESS", "part-00001", "a/part-00000", "a\0"] {
            let error = PartSummary::try_from(part("part-00000.r-0.0", &["a", name])).expect_err(name).to_string();
            assert!(error.contains("NamedPart.name") && error.contains("cannot be the name of an output"), "{error}");
        }
    }

    #[test]
    fn a_name_is_there_once_and_there_are_not_too_many() {
        let error = PartSummary::try_from(part("p", &["a", "b", "a"])).expect_err("twice").to_string();
        assert!(error.contains("\"a\" is there twice"), "{error}");
        let names: Vec<String> = (0..=MAX_NAMES).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        PartSummary::try_from(part("p", &names[1..])).expect("just as many as there may be");
        let error = PartSummary::try_from(part("p", &names)).expect_err("one too many").to_string();
        assert!(error.contains("10001 names of"), "{error}");
    }
}
