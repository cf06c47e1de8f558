//! What `map` emits into: the sort buffer and the combiner table.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use gristmill_worker::engine::bench::{FilledBuffer, count};

use crate::records::{Table, words};

/// Records of 100 bytes, a third of what a default split holds.
const RECORDS: usize = 200_000;

/// Memory for those records and their entries.
const ROOM: usize = 64 << 20;

#[divan::bench]
fn sort_buffer_fills(bencher: Bencher) {
    let table = Table::random(RECORDS, 1);
    bencher
        .counter(ItemsCount::new(RECORDS))
        .counter(BytesCount::new(table.bytes()))
        .bench_local(|| FilledBuffer::of(table.iter(), ROOM));
}

#[divan::bench]
fn sort_buffer_sorts(bencher: Bencher) {
    let table = Table::random(RECORDS, 1);
    bencher
        .counter(ItemsCount::new(RECORDS))
        .counter(BytesCount::new(table.bytes()))
        .with_inputs(|| FilledBuffer::of(table.iter(), ROOM))
        .bench_local_refs(FilledBuffer::sort);
}

/// A million words into fresh tables: of few distinct ones the table lies in the cache, of many it
/// does not.
#[divan::bench(args = [1_000, 1_000_000])]
fn combiner_counts(bencher: Bencher, distinct: u64) {
    let words = words(1_000_000, distinct);
    bencher.counter(ItemsCount::new(words.len())).bench_local(|| count(words.iter().map(Vec::as_slice)));
}
