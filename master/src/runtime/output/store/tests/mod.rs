//! Outputs in a store that fails now and then: whatever happens, the whole output is there in the end, or
//! nothing is.

mod contest;
mod faulty;
mod life;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::backoff::Backoff;
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::storage::Stores;
use gristmill_common::task::{JobPlan, SentUpload};
use gristmill_common::time::WallTime;
use object_store::multipart::MultipartStore;
use object_store::{ObjectStore, ObjectStoreExt as _};
use xxhash_rust::xxh3::xxh3_64;

use self::faulty::{Fault, FaultyStore};
use super::*;
use crate::runtime::manifest::JobTimes;

const JOB: JobId = JobId(0x6920_9f00_0001);
const OTHER: JobId = JobId(0x6920_9f00_0002);

/// What the parts of a job hold; the last has a part of a named output besides.
const TEXTS: [&str; 3] = ["apple\t1\n", "", "pear\t12\n"];
const NAMED: &str = "fig\t7\n";

fn uri(text: &str) -> Uri {
    text.parse().expect("a URI")
}

/// The place of an output in a store, without waits.
fn place(faulty: &Arc<FaultyStore>, output: &str) -> OutputStore {
    let stores = Stores::without_environment();
    let (store, uploads) = (Arc::clone(faulty) as Arc<dyn ObjectStore>, Arc::clone(faulty) as Arc<dyn MultipartStore>);
    stores.give(uri("s3://bucket"), store, Some(uploads));
    let at = stores.at(&uri(output)).expect("given");
    let waits = Backoff { base: Duration::ZERO, cap: Duration::ZERO };
    let store = OutputStore::new(at, uri(output)).expect("it has uploads");
    store.with_terms(Some(Arc::clone(faulty) as Arc<dyn gristmill_common::storage::UnfinishedUploads>), waits)
}

/// What attempts of a job sent, and told of before.
struct Sent {
    begun: Vec<OpenUpload>,
    parts: Vec<PartSummary>,
    bad: Vec<BadRecords>,
}

/// Sends an object as an attempt does.
async fn send(
    store: &OutputStore,
    path: &str,
    text: &str,
    begun: &mut Vec<OpenUpload>,
) -> Result<SentUpload, OutputError> {
    let upload = store.open_upload(path).await?;
    begun.push(upload.clone());
    let mut pieces = Vec::new();
    if !text.is_empty() {
        pieces.push(store.send_piece(&upload, 0, text.to_owned().into()).await?);
    }
    Ok(SentUpload { id: upload.id, pieces: pieces.into(), checksum: xxh3_64(text.as_bytes()) })
}

/// Sends what the attempts of a job made, one of them twice. What was begun is in `begun` even if it fails.
fn send_all(store: &OutputStore, begun: &mut Vec<OpenUpload>) -> Result<Sent, OutputError> {
    let place = store.clone();
    let (sent, all_begun) = store.wait(async move {
        let mut begun = Vec::new();
        let sent = async {
            let mut parts = Vec::new();
            for (index, text) in (0..).zip(TEXTS) {
                let path = gristmill_common::naming::part_name(index);
                let twin = send(&place, &path, text, &mut begun).await?;
                let upload = if index == 0 { send(&place, &path, text, &mut begun).await? } else { twin };
                let (bytes, checksum) = (text.len() as u64, xxh3_64(text.as_bytes()));
                let upload = Some(Box::new(upload));
                parts.push(PartSummary {
                    staged_name: path,
                    bytes,
                    records: 1,
                    checksum,
                    named: Box::default(),
                    upload,
                    left_out: false,
                });
            }
            let upload = Some(Box::new(send(&place, "a/b/part-00002", NAMED, &mut begun).await?));
            let (name, bytes, checksum) =
                ("a/b".parse().expect("a name"), NAMED.len() as u64, xxh3_64(NAMED.as_bytes()));
            let named = gristmill_common::task::NamedPart { name, bytes, records: 1, checksum, upload };
            parts[2].named = [named].into();
            let staged_name = "part-m-00000.jsonl.m-0.0".to_owned();
            let upload = Some(Box::new(send(&place, "_bad/part-m-00000.jsonl", "{}\n", &mut begun).await?));
            let bad = vec![BadRecords { staged_name, records: 1, objects: 0, bytes: 3, upload }];
            Ok((parts, bad))
        };
        let sent = sent.await;
        (sent, begun)
    });
    begun.clone_from(&all_begun);
    sent.map(|(parts, bad)| Sent { begun: all_begun, parts, bad })
}

fn manifest(sent: &Sent) -> Manifest {
    let spec = JobSpec::new("copy", JobShape::MapReduce, vec![uri("/in")], uri("s3://bucket/out"));
    let times = JobTimes { started: WallTime::default(), finished: WallTime::default() };
    Manifest::new(JOB, &spec, &JobPlan::default(), times)
        .with_result(&sent.parts, Default::default(), Default::default())
        .with_bad(&sent.bad)
}

/// Puts an object there that is no job's.
fn put(faulty: &FaultyStore, key: &str, text: &str) {
    let path = object_store::path::Path::from(key);
    faulty::now(faulty.memory.put(&path, text.to_owned().into())).expect("memory");
}

/// Every object but `_SUCCESS`, whose content is not the same each time.
fn contents(faulty: &FaultyStore) -> BTreeMap<String, String> {
    let mut objects = faulty.objects();
    objects.remove("bucket/out/_SUCCESS");
    objects.remove("out/_SUCCESS");
    objects.into_iter().map(|(key, bytes)| (key, String::from_utf8(bytes).expect("text"))).collect()
}

/// What is there if the job succeeded.
fn whole() -> BTreeMap<String, String> {
    let parts =
        (0..).zip(TEXTS).map(|(index, text)| (format!("out/{}", gristmill_common::naming::part_name(index)), text));
    let others = [("out/a/b/part-00002".to_owned(), NAMED), ("out/_bad/part-m-00000.jsonl".to_owned(), "{}\n")];
    parts.chain(others).map(|(key, text)| (key, text.to_owned())).collect()
}

#[track_caller]
fn check_whole(faulty: &FaultyStore, context: &str) {
    assert_eq!(contents(faulty), whole(), "{context}");
    assert!(faulty.objects().contains_key("out/_SUCCESS"), "{context}");
    assert_eq!(faulty.open_uploads(), [""; 0], "{context}");
}

#[track_caller]
fn check_nothing(faulty: &FaultyStore, context: &str) {
    let keys: Vec<String> = faulty.objects().into_keys().collect();
    assert_eq!((keys, faulty.open_uploads()), (vec![], vec![]), "{context}");
}
