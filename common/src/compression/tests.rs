//! Every codec, over what it writes itself and what others do: read back whole, damaged, cut short and with
//! something behind the end.

mod foreign;

use std::io;

use proptest::prelude::*;

use super::*;
use crate::failure::FailureCode;
use crate::form::Codec;
use crate::objects::OpenObject;
use crate::size::ByteSize;
use crate::spec::DEFAULT_ATTEMPT_BYTES;
use crate::task::InputObject;

/// An object in memory.
pub(super) struct InMemory(pub(super) Vec<u8>);

impl OpenObject for InMemory {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn will_read(&self, _offset: u64, _bytes: u64) {}

    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

pub(super) fn pinned(open: &InMemory) -> InputObject {
    let uri = "/in/x".parse().expect("a path");
    InputObject { uri, size: open.0.len() as u64, modified_micros: None, etag: None, form: None }
}

/// What an object decodes to, read `at_once` bytes at a time.
fn decode_by(codec: Codec, stored: &[u8], memory: u64, at_once: usize) -> Result<Vec<u8>, Failure> {
    let open = InMemory(stored.to_vec());
    let object = pinned(&open);
    let mut decoded = Decoded::whole(codec, &open, &object, memory);
    let (mut content, mut buffer) = (Vec::new(), vec![0; at_once]);
    loop {
        match decoded.next(&mut buffer)? {
            Step::Bytes(bytes) => content.extend_from_slice(&buffer[..bytes]),
            Step::Unit(_) => {}
            Step::End => return Ok(content),
        }
    }
}

pub(super) fn decode(codec: Codec, stored: &[u8]) -> Result<Vec<u8>, Failure> {
    decode_by(codec, stored, 40 << 20, 64 << 10)
}

/// A file of pieces.
pub(super) fn encode(codec: Codec, pieces: &[&[u8]]) -> Vec<u8> {
    let mut encoder = Encoder::new(codec, DEFAULT_ATTEMPT_BYTES).expect("it begins");
    let (mut part, mut out) = (encoder.begin(), Vec::new());
    for piece in pieces {
        encoder.encode(&mut part, piece, &mut out).expect("it goes on");
    }
    encoder.finish(&mut part, &mut out).expect("it ends");
    out
}

/// Lines, somewhat alike.
pub(super) fn text(lines: usize) -> Vec<u8> {
    (0..lines).flat_map(|n| format!("{n} {:x} the quick brown fox\n", n * 7919 % 4093).into_bytes()).collect()
}

/// The failure's message without what all have.
fn message(codec: Codec, stored: &[u8]) -> String {
    let failure = decode(codec, stored).expect_err("it is damaged");
    assert_eq!(failure.code, FailureCode::InputDamaged, "{failure}");
    assert_eq!(failure.position.as_ref().map(|position| position.object.as_str()), Some("/in/x"));
    let start = format!("cannot read input /in/x as {codec}: ");
    failure.message.strip_prefix(&start).expect("it says what the object should be").to_owned()
}

#[test]
fn what_is_written_is_read_back_however_it_is_read() {
    let long = text(60_000);
    let alike = vec![b'x'; 3 << 20];
    for codec in Codec::ALL {
        let whole = encode(codec, &[&long]);
        assert!(whole.len() < long.len() / 2, "{codec}: {} of {}", whole.len(), long.len());
        assert_eq!(whole, encode(codec, &[&long]), "{codec}: equal content gives equal bytes");
        for at_once in [1 << 20, 4093] {
            assert!(decode_by(codec, &whole, 40 << 20, at_once).expect("it is well") == long, "{codec} by {at_once}");
        }
        let cut = encode(codec, &[&long[..10], &[], &long[10..100_000], &long[100_000..]]);
        assert!(decode(codec, &cut).expect("it is well") == long, "{codec}, in pieces");
        assert_eq!(decode_by(codec, &encode(codec, &[b"a\nb\n"]), 40 << 20, 1).expect("it is well"), b"a\nb\n");
        assert!(decode(codec, &encode(codec, &[&alike])).expect("it is well") == alike, "{codec}");
        assert_eq!(decode(codec, &encode(codec, &[])).expect("it is well"), b"", "{codec}");
        assert_eq!(decode(codec, b"").expect("nothing is nothing"), b"", "{codec}");
    }
}

#[test]
fn several_files_after_each_other_are_one_content() {
    let (front, back) = (text(500), text(700));
    let content = [&front[..], &back[..]].concat();
    for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::Deflate) {
        let empty = encode(codec, &[]);
        let joined = [encode(codec, &[&front]), empty.clone(), encode(codec, &[&back]), empty].concat();
        assert!(decode(codec, &joined).expect("it is well") == content, "{codec}");
    }
}

#[test]
fn what_is_cut_short_is_an_error_wherever_it_is_cut() {
    let content = text(120);
    for codec in Codec::ALL {
        let whole = encode(codec, &[&content]);
        for length in (1..whole.len()).step_by(if codec == Codec::Bzip2 { 7 } else { 1 }) {
            match decode(codec, &whole[..length]) {
                Err(failure) => assert_eq!(failure.code, FailureCode::InputDamaged, "{codec} {length}: {failure}"),
                // The table behind the last frame is no content, and a stream of snappy has no end.
                Ok(found) if codec == Codec::Zstd => assert!(found == content, "{length} of {}", whole.len()),
                Ok(found) => assert!(codec == Codec::Snappy && found.is_empty(), "{codec} {length}"),
            }
        }
        let said = message(codec, &whole[..whole.len() / 2]);
        assert!(said == "it is cut short" || said.contains("damaged"), "{codec}: {said}");
    }
}

#[test]
fn what_follows_the_end_is_an_error() {
    let content = text(10);
    for codec in Codec::ALL {
        for garbage in [&b"garbage behind the end"[..], &[0; 20][..], b"g"] {
            // Zeros, four and four, may follow xz.
            if codec == Codec::Xz && garbage[0] == 0 {
                continue;
            }
            let said = message(codec, &[&encode(codec, &[&content])[..], garbage].concat());
            let expect =
                ["what follows its end is something else", "something else follows its end", "it is cut short"];
            assert!(expect.iter().any(|expect| said.contains(expect)), "{codec}: {said}");
        }
        let said = message(codec, b"this is no such file at all, but text\n");
        assert_eq!(said, "it does not begin as such a file does", "{codec}");
    }
}

#[test]
fn no_changed_bit_gives_other_content() {
    let content = text(40);
    for codec in Codec::ALL {
        let whole = encode(codec, &[&content]);
        let step = if codec == Codec::Bzip2 { 5 } else { 1 };
        for bit in (0..whole.len() * 8).step_by(step) {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(found) = decode(codec, &damaged) {
                assert!(found == content, "{codec}: bit {bit} of {}", whole.len() * 8);
            }
        }
    }
}

#[test]
fn a_bomb_ends_with_an_error() {
    // 3 GiB of nothing in frames of 4 bytes a block: RFC 8878, a block of one byte repeated.
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    for _ in 0..24 << 10 {
        let block = 1 << 1 | (128_u32 << 10) << 3;
        bomb.extend_from_slice(&block.to_le_bytes()[..3]);
        bomb.push(b' ');
    }
    let failure = decode_by(Codec::Zstd, &bomb, 40 << 20, 1 << 20).expect_err("it is one");
    assert!(failure.message.ends_with("more than 1000 times as large as it is, and more than 1 GiB"), "{failure}");
}

#[test]
fn what_takes_too_much_memory_is_refused_by_name() {
    let content = text(100);
    let frame = foreign::zstd_frame(&content, 27);
    assert!(decode_by(Codec::Zstd, &frame, 128 << 20, 1000).expect("it may") == content);
    let failure = decode_by(Codec::Zstd, &frame, 40 << 20, 1000).expect_err("it may not");
    assert_eq!(failure.code, FailureCode::RecordTooLarge);
    assert!(failure.message.contains("takes 128 MiB, more memory than a quarter"), "{failure}");
    let failure = decode_by(Codec::Xz, &encode(Codec::Xz, &[&content]), 1 << 20, 1000).expect_err("it may not");
    assert_eq!(failure.code, FailureCode::RecordTooLarge, "{failure}");
}

#[test]
fn pieces_fit_the_memory() {
    for codec in Codec::ALL {
        let encoder = Encoder::new(codec, ByteSize::mib(16)).expect("it begins");
        assert!((150 << 10..=1 << 20).contains(&encoder.piece_bytes()), "{codec}: {}", encoder.piece_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_content_is_read_back(
        pieces in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..300), 1_usize..3000),
            0..6,
        ),
    ) {
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|(bytes, times)| bytes.repeat(*times)).collect();
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let content = pieces.concat();
        for codec in Codec::ALL {
            let found = decode(codec, &encode(codec, &pieces)).expect("it is well");
            prop_assert!(found == content, "{codec}: {} bytes of {}", found.len(), content.len());
        }
    }
}
