//! An output, read as `gristmill verify` reads it.

use std::fs;
use std::path::{Path, PathBuf};

use gristmill_common::ids::JobId;
use gristmill_common::naming::{SUCCESS_FILE, Uri, part_name};
use gristmill_common::part_name::PartName;
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::task::{JobPlan, NamedPart, PartSummary};
use gristmill_common::time::WallTime;
use gristmill_master::runtime::manifest::{JobTimes, Manifest};
use gristmill_master::runtime::verify::FinishedOutput;
use xxhash_rust::xxh3::xxh3_64;

use super::specimen::{Reading, Specimen};

/// What the parts hold.
const PARTS: u32 = 3;
const LINES: u32 = 300;

/// An output beside the main one.
const NAMED: &str = "more";

/// One file of an output.
struct OutputFile {
    kind: &'static str,
    file: PathBuf,
    output: Uri,
}

/// A part and the manifest.
pub(super) fn specimens(dir: &Path) -> Vec<Box<dyn Specimen>> {
    let folder = dir.join("output");
    fs::create_dir(&folder).expect("a scratch folder");
    let output = Uri::from_path(&folder);
    let spec = JobSpec::new("word-count", JobShape::MapReduce, vec![Uri::from_path(dir)], output.clone());
    let name: PartName = NAMED.parse().expect("a name");
    fs::create_dir(folder.join(NAMED)).expect("a scratch folder");
    let part = |index| {
        let text: String = (0..LINES).map(|line| format!("word-{index}-{line}\t{line}\n")).collect();
        let (bytes, records, checksum) = (text.len() as u64, u64::from(LINES), xxh3_64(text.as_bytes()));
        for path in [part_name(index), name.part_path(index, "")] {
            fs::write(folder.join(path), &text).expect("a scratch file");
        }
        let named = [NamedPart { name: name.clone(), bytes, records, checksum, upload: None }].into();
        PartSummary { staged_name: String::new(), bytes, records, checksum, named, upload: None, left_out: false }
    };
    let parts: Vec<PartSummary> = (0..PARTS).map(part).collect();
    let times = JobTimes { started: WallTime::default(), finished: WallTime::default() };
    let manifest = Manifest::new(JobId(1), &spec, &JobPlan::default(), times);
    let manifest = manifest.with_result(&parts, Default::default(), Default::default());
    fs::write(folder.join(SUCCESS_FILE), manifest.to_bytes()).expect("a scratch file");
    let file = |kind, name: &str| -> Box<dyn Specimen> {
        Box::new(OutputFile { kind, file: folder.join(name), output: output.clone() })
    };
    vec![
        file("part", &part_name(1)),
        file("part of a named output", &name.part_path(2, "")),
        file("manifest", SUCCESS_FILE),
    ]
}

impl Specimen for OutputFile {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn read(&mut self) -> Reading {
        let found = FinishedOutput::open(&self.output).and_then(|output| {
            let damaged = output.manifest().parts.iter().find_map(|part| output.check_part(part));
            Ok(damaged.or(output.strangers()?.into_iter().next()))
        });
        match found {
            Ok(None) => Reading::Same,
            Ok(Some(damage)) => Reading::Refused(damage.to_string()),
            Err(error) => Reading::Refused(error.to_string()),
        }
    }
}
