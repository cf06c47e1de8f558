//! The block format, written and read, and merges of it. Files are new and stay in the page cache.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use gristmill_worker::engine::Compression;
use gristmill_worker::engine::bench::{Segment, merge};

use crate::records::Table;

/// Records of 100 bytes in all segments of a bench together.
const RECORDS: usize = 200_000;

fn segment(table: &Table, compression: Compression) -> Segment {
    let file = tempfile::tempfile().expect("there is a temporary folder");
    Segment::write(file, table.iter(), compression).expect("it has room")
}

#[divan::bench(args = [Compression::None, Compression::Lz4])]
fn blocks_write(bencher: Bencher, compression: Compression) {
    let table = Table::sorted(RECORDS, 1);
    bencher
        .counter(ItemsCount::new(RECORDS))
        .counter(BytesCount::new(table.bytes()))
        .bench_local(|| segment(&table, compression));
}

#[divan::bench(args = [Compression::None, Compression::Lz4])]
fn blocks_read(bencher: Bencher, compression: Compression) {
    let table = Table::sorted(RECORDS, 1);
    let segment = segment(&table, compression);
    bencher
        .counter(ItemsCount::new(RECORDS))
        .counter(BytesCount::new(table.bytes()))
        .bench_local(|| segment.read().expect("it was just written"));
}

/// The same records in few and in many segments: each doubling costs a comparison more for a record.
#[divan::bench(args = [2, 16, 128])]
fn merge_reads(bencher: Bencher, segments: usize) {
    let tables: Vec<Table> = (0..segments).map(|seed| Table::sorted(RECORDS / segments, seed as u64)).collect();
    let segments: Vec<Segment> = tables.iter().map(|table| segment(table, Compression::None)).collect();
    bencher
        .counter(ItemsCount::new(tables.iter().map(|table| table.iter().count()).sum::<usize>()))
        .counter(BytesCount::new(tables.iter().map(Table::bytes).sum::<usize>()))
        .bench_local(|| merge(&segments).expect("they were just written"));
}
