//! The value codec and the encoding of keys, a thousand at a time.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gristmill_common::codec;
use gristmill_common::datum::Pair;
use gristmill_common::key::{Key, KeyArena};
use gristmill_tests::random::Random;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::records::words;

/// Values or keys of one iteration.
const COUNT: usize = 1000;

/// A value as a job might have one.
#[derive(Serialize, Deserialize)]
struct Visit {
    page: String,
    bytes: u64,
    ok: bool,
    seconds: f64,
}

fn counts() -> Vec<u64> {
    let mut random = Random::new(1);
    // Small ones are frequent, as counts are.
    (0..COUNT).map(|_| random.next_u64() >> random.within(0, 64)).collect()
}

fn texts() -> Vec<String> {
    words(COUNT, 1 << 20).into_iter().map(|word| String::from_utf8(word).expect("words are ASCII")).collect()
}

fn visits() -> Vec<Visit> {
    let visit = |(page, bytes)| Visit { page, bytes, ok: bytes % 2 == 0, seconds: bytes as f64 };
    texts().into_iter().zip(counts()).map(visit).collect()
}

fn encode_values<T: Serialize + 'static>(bencher: Bencher, values: &[T]) {
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
        out.clear();
        for value in black_box(values) {
            codec::encode(value, &mut out).expect("every value can be encoded");
        }
        out.len()
    });
}

fn decode_values<T: Serialize + DeserializeOwned + 'static>(bencher: Bencher, values: &[T]) {
    let mut encoded = Vec::new();
    for value in values {
        codec::encode(value, &mut encoded).expect("every value can be encoded");
    }
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
        let mut rest = black_box(encoded.as_slice());
        while !rest.is_empty() {
            black_box(codec::decode_part::<T>(&mut rest).expect("it was encoded"));
        }
    });
}

#[divan::bench]
fn codec_encodes_u64(bencher: Bencher) {
    encode_values(bencher, &counts());
}

#[divan::bench]
fn codec_decodes_u64(bencher: Bencher) {
    decode_values(bencher, &counts());
}

#[divan::bench]
fn codec_encodes_struct(bencher: Bencher) {
    encode_values(bencher, &visits());
}

#[divan::bench]
fn codec_decodes_struct(bencher: Bencher) {
    decode_values(bencher, &visits());
}

#[divan::bench]
fn key_encodes_u64(bencher: Bencher) {
    let keys = counts();
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(keys.len())).bench_local(|| {
        out.clear();
        for key in black_box(&keys) {
            u64::encode(key, &mut out);
        }
        out.len()
    });
}

/// A composite key, so that the text is escaped and ended.
type WordAndCount = Pair<str, u64>;

fn composite_keys() -> Vec<(String, u64)> {
    texts().into_iter().zip(counts()).collect()
}

#[divan::bench]
fn key_encodes_text_and_u64(bencher: Bencher) {
    let keys = composite_keys();
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(keys.len())).bench_local(|| {
        out.clear();
        for (word, count) in black_box(&keys) {
            WordAndCount::encode(&(word.as_str(), *count), &mut out);
        }
        out.len()
    });
}

#[divan::bench]
fn key_decodes_text_and_u64(bencher: Bencher) {
    let mut encoded = Vec::new();
    for (word, count) in composite_keys() {
        WordAndCount::encode_part(&(word.as_str(), count), &mut encoded);
    }
    let arena = KeyArena::new();
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        let mut rest = black_box(encoded.as_slice());
        while !rest.is_empty() {
            black_box(WordAndCount::decode_part(&mut rest, &arena).expect("it was encoded"));
        }
    });
}
