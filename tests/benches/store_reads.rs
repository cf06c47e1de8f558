//! How fast attempts read from an object store, beside plain parallel requests of the same client for the same bytes:
//! `cargo bench -p gristmill-tests --bench store-reads`. Needs s3s-fs, as the tests do; nothing is mapped here.

use std::ops::Range;
use std::sync::Arc;
use std::thread;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use gristmill_common::naming::Uri;
use gristmill_common::objects::ObjectReader as _;
use gristmill_common::size::ByteSize;
use gristmill_common::storage::{Fetcher, Stores, list_inputs};
use gristmill_common::task::{InputObject, Piece};
use gristmill_common::time::Clock;
use gristmill_common::windowed::WindowedObjects;
use gristmill_tests::stores::{ServerKind, StoreServer};
use object_store::ObjectStoreExt as _;

/// Objects, and bytes of each. The server hashes a whole object for every range of it, so larger ones would show
/// nothing but that.
const OBJECTS: u64 = 64;
const OBJECT_BYTES: u64 = 16 << 20;

/// Attempts that read at the same time: one for each of two cores.
const ATTEMPTS: usize = 2;

/// Bytes of one plain request: as large as those of attempts.
const RANGE_BYTES: u64 = 8 << 20;

/// Plain requests at the same time; the count that is fastest by its median is compared with.
const AT_ONCE: [usize; 3] = [4, 8, 16];

/// Bytes that are taken at once from what was fetched: as many as attempts read.
const READ_BYTES: usize = 512 << 10;

/// Rounds, after one that is not counted; of an odd number one is in the middle.
const ROUNDS: usize = 11;

#[expect(clippy::print_stdout, reason = "this is a program")]
fn main() {
    let Some(server) = StoreServer::start(ServerKind::S3sFs) else { return };
    for number in 0..OBJECTS {
        server.put(&format!("in/{number}"), vec![b'x'; OBJECT_BYTES as usize]);
    }
    let clock = Clock::start();
    let stores = server.stores_at(&server.url());
    let folder: Uri = server.uri("in").parse().expect("a location");
    let objects = list_inputs(&[folder], &stores).expect("they were just put");
    assert_eq!(objects.len() as u64, OBJECTS);
    let mut ratios: [Vec<f64>; AT_ONCE.len()] = Default::default();
    println!("GB/s of {} in round:  attempts, {AT_ONCE:?} plain requests", ByteSize(OBJECTS * OBJECT_BYTES));
    for round in 0..=ROUNDS {
        let ours = rate(&clock, || attempts(&stores, &objects));
        let plain = AT_ONCE.map(|at_once| rate(&clock, || plain(&stores, &objects, at_once)));
        println!("{round}: {ours:.2}, {plain:.2?}");
        for (ratios, plain) in ratios.iter_mut().zip(plain) {
            if round > 0 {
                ratios.push(ours / plain);
            }
        }
    }
    let mut medians = Vec::new();
    for (ratios, at_once) in ratios.iter_mut().zip(AT_ONCE) {
        ratios.sort_by(f64::total_cmp);
        let (least, median, most) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
        println!("attempts / {at_once} plain requests: median {median:.2} ({least:.2} to {most:.2})");
        medians.push(median);
    }
    println!("attempts / plain requests at their best count: {:.2}", medians.into_iter().fold(f64::INFINITY, f64::min));
}

/// GB/s at which `read` reads all objects.
fn rate(clock: &Clock, read: impl FnOnce()) -> f64 {
    let begin = clock.now();
    read();
    (OBJECTS * OBJECT_BYTES) as f64 / clock.now().since(begin).as_secs_f64() / 1e9
}

/// Reads the objects as attempts do, each of which reads some of them one after the other.
fn attempts(stores: &Stores, objects: &[InputObject]) {
    let fetcher = Arc::new(Fetcher::new(stores.clone()));
    thread::scope(|threads| {
        for objects in objects.chunks(objects.len().div_ceil(ATTEMPTS)) {
            let fetcher = Arc::clone(&fetcher);
            threads.spawn(move || {
                let reader = WindowedObjects::new(fetcher, ByteSize::mib(160));
                let mut buffer = vec![0; READ_BYTES];
                let piece =
                    |object: &InputObject| Piece { start: 0, end: object.size, object: Arc::new(object.clone()) };
                let pieces: Vec<Piece> = objects.iter().map(piece).collect();
                for (index, object) in objects.iter().enumerate() {
                    reader.will_open(&pieces[index + 1..]);
                    let open = reader.open(object).expect("it is there");
                    let (ahead, mut announced, mut at) = (open.ahead_bytes(), 0, 0);
                    while at < object.size {
                        if at + ahead / 2 >= announced && announced < object.size {
                            let until = (at + ahead).min(object.size);
                            open.will_read(announced.max(at), until - announced.max(at));
                            announced = until;
                        }
                        at += open.read_at(&mut buffer, at).expect("it is there") as u64;
                    }
                }
            });
        }
    });
}

/// Requests all bytes of the objects, some ranges at the same time, and keeps none.
fn plain(stores: &Stores, objects: &[InputObject], at_once: usize) {
    let ranges =
        |size: u64| (0..size.div_ceil(RANGE_BYTES)).map(move |n| n * RANGE_BYTES..size.min((n + 1) * RANGE_BYTES));
    let all: Vec<(usize, Range<u64>)> = objects
        .iter()
        .enumerate()
        .flat_map(|(number, object)| ranges(object.size).map(move |range| (number, range)))
        .collect();
    let opened: Vec<_> = objects.iter().map(|object| stores.at(&object.uri).expect("it is open")).collect();
    let runtime = Arc::clone(&opened[0].runtime);
    let bytes = runtime.wait(async move {
        let opened = &opened;
        stream::iter(all)
            .map(|(number, range)| async move { opened[number].store.get_range(&opened[number].path, range).await })
            .buffer_unordered(at_once)
            .try_fold(0, |sum, bytes| async move { Ok(sum + bytes.len() as u64) })
            .await
    });
    assert_eq!(bytes.expect("they are there"), OBJECTS * OBJECT_BYTES);
}
