//! Which files an attempt has staged, and what they become in the job's output. Touches no file.

use std::path::{Path, PathBuf};

use gristmill_common::ids::AttemptId;
use gristmill_common::naming::{BAD_DIR, bad_records_name_of, part_file_name, staged_named_dir};
use gristmill_common::task::{AttemptOutput, AttemptReport, SentUpload};

/// A file that an attempt staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedObject {
    /// The file.
    pub path: PathBuf,
    /// What it becomes: a path relative to the job's output.
    pub object: String,
    /// Its size.
    pub bytes: u64,
    /// XXH3-64 of its bytes, where that is known.
    pub checksum: Option<u64>,
}

/// The files behind an attempt's report, in the order of what it lists: the part, those of named outputs,
/// skipped records. None for a map output. Parts of the output have this
/// [ending](gristmill_common::spec::JobSpec::part_ending).
pub fn staged_objects(staging: &Path, ending: &str, attempt: AttemptId, report: &AttemptReport) -> Vec<StagedObject> {
    let mut objects = Vec::new();
    if let AttemptOutput::Part(part) = &report.output {
        let index = attempt.task.index;
        let path = staging.join(&part.staged_name);
        let (bytes, checksum) = (part.bytes, Some(part.checksum));
        if !part.left_out {
            objects.push(StagedObject { path, object: part_file_name(index, ending), bytes, checksum });
        }
        let folder = staging.join(staged_named_dir(&part.staged_name));
        objects.extend((0_usize..).zip(&part.named).map(|(number, named)| StagedObject {
            path: folder.join(number.to_string()),
            object: named.name.part_path(index, ending),
            bytes: named.bytes,
            checksum: Some(named.checksum),
        }));
    }
    if let Some(bad) = report.bad.as_deref()
        && let Some(name) = bad_records_name_of(&bad.staged_name)
    {
        let path = staging.join(&bad.staged_name);
        objects.push(StagedObject { path, object: format!("{BAD_DIR}/{name}"), bytes: bad.bytes, checksum: None });
    }
    objects
}

/// The report with the uploads of its [staged objects](staged_objects), in their order.
pub fn with_uploads(mut report: AttemptReport, sent: Vec<SentUpload>) -> AttemptReport {
    let mut sent = sent.into_iter().map(Box::new);
    if let AttemptOutput::Part(part) = &mut report.output {
        if !part.left_out {
            part.upload = sent.next();
        }
        part.named.iter_mut().for_each(|named| named.upload = sent.next());
    }
    if let Some(bad) = report.bad.as_deref_mut() {
        bad.upload = sent.next();
    }
    report
}

#[cfg(test)]
mod tests {
    use gristmill_common::counters::Counters;
    use gristmill_common::task::{AttemptStats, BadRecords, MapOutputSummary, NamedPart, PartSummary};

    use super::*;

    #[test]
    fn what_is_staged_is_sent_in_the_order_of_the_report() {
        let attempt: AttemptId = "m-3.1".parse().expect("an attempt");
        let name = "a/b".parse().expect("a name");
        let named = NamedPart { name, bytes: 2, records: 1, checksum: 20, upload: None };
        let staged_name = "part-00003.m-3.1".to_owned();
        let part = PartSummary {
            staged_name,
            bytes: 1,
            records: 1,
            checksum: 10,
            named: [named].into(),
            upload: None,
            left_out: false,
        };
        let staged_name = "part-m-00003.jsonl.m-3.1".to_owned();
        let bad = Some(Box::new(BadRecords { staged_name, records: 1, objects: 0, bytes: 3, upload: None }));
        let (counters, stats) = (Counters::default(), AttemptStats::default());
        let output = AttemptOutput::Part(part);
        let report = AttemptReport { output, counters: counters.clone(), stats, bad: bad.clone() };
        let object = |path: &str, object: &str, bytes, checksum| StagedObject {
            path: Path::new("/s").join(path),
            object: object.to_owned(),
            bytes,
            checksum,
        };
        let letters = object("part-m-00003.jsonl.m-3.1", "_bad/part-m-00003.jsonl", 3, None);
        let expect = [
            object("part-00003.m-3.1", "part-00003.gz", 1, Some(10)),
            object("part-00003.m-3.1.named/0", "a/b/part-00003.gz", 2, Some(20)),
            letters.clone(),
        ];
        assert_eq!(staged_objects(Path::new("/s"), ".gz", attempt, &report), expect);
        let sent = |id: &str| SentUpload { id: id.to_owned(), pieces: Box::default(), checksum: 0 };
        let with = with_uploads(report, vec![sent("p"), sent("n"), sent("b")]);
        let AttemptOutput::Part(part) = &with.output else { panic!("{with:?}") };
        let ids = [&part.upload, &part.named[0].upload, &with.bad.as_ref().expect("some").upload];
        assert_eq!(
            ids.map(|upload| upload.as_ref().map(|upload| upload.id.as_str())),
            [Some("p"), Some("n"), Some("b")]
        );

        let output = AttemptOutput::MapOutput(MapOutputSummary::default());
        let report = AttemptReport { output, counters, stats, bad };
        assert_eq!(staged_objects(Path::new("/s"), ".gz", attempt, &report), [letters]);
        assert_eq!(with_uploads(report, vec![sent("b")]).bad.expect("some").upload, Some(Box::new(sent("b"))));
    }
}
