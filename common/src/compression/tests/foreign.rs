//! Files as other programs write them: members with names, linked blocks, several blocks in a stream, frames
//! that are skipped, Hadoop's blocks. Made by the libraries' own writers, with settings that ours has not.

use std::io::Write as _;

use super::*;
use crate::compression::bzip2::BlockScan;

/// A frame of zstd with a window of so many bits.
pub(super) fn zstd_frame(content: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).expect("it begins");
    encoder.window_log(window_log).expect("it may be as large");
    encoder.write_all(content).expect("memory takes all");
    encoder.finish().expect("it ends")
}

/// A stream of bzip2 with blocks of 100 kB for each level.
fn bzip2_stream(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::new(level));
    encoder.write_all(content).expect("memory takes all");
    encoder.finish().expect("it ends")
}

fn check(codec: Codec, stored: &[u8], content: &[u8]) {
    assert!(decode(codec, stored).expect("it is well") == content, "{codec}");
    assert!(decode_by(codec, stored, 40 << 20, 777).expect("it is well") == content, "{codec}");
}

#[test]
fn members_of_gzip_may_have_names_and_more() {
    let content = text(3000);
    let builder = flate2::GzBuilder::new().filename("a name").comment("a comment").extra(vec![7; 300]).mtime(99);
    let mut encoder = builder.write(Vec::new(), flate2::Compression::best());
    encoder.write_all(&content).expect("memory takes all");
    let member = encoder.finish().expect("it ends");
    check(Codec::Gzip, &member, &content);
    check(Codec::Gzip, &[&member[..], &member].concat(), &content.repeat(2));
    let mut with_checksum = member.clone();
    with_checksum[3] |= 1 << 1;
    let header = 10 + 2 + 300 + b"a name\0a comment\0".len();
    with_checksum.splice(header..header, [1, 2]);
    check(Codec::Gzip, &with_checksum, &content);
}

#[test]
fn blocks_of_lz4_may_be_linked_and_have_checksums() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let content = text(20_000);
    for (mode, size) in [(BlockMode::Linked, BlockSize::Max64KB), (BlockMode::Independent, BlockSize::Max4MB)] {
        for checksums in [false, true] {
            let mut info = FrameInfo::new();
            info = info.block_mode(mode).block_size(size).block_checksums(checksums).content_checksum(checksums);
            info = info.content_size(checksums.then_some(content.len() as u64));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&content).expect("memory takes all");
            let frame = encoder.finish().expect("it ends");
            check(Codec::Lz4, &frame, &content);
            let skipped = [0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
            check(Codec::Lz4, &[&skipped[..], &frame, &skipped, &frame].concat(), &content.repeat(2));
            // Its decoder takes an end at a block's border for one of the frame.
            let without_end = frame.len() - if checksums { 8 } else { 4 };
            assert_eq!(message(Codec::Lz4, &frame[..without_end]), "it is cut short");
        }
    }
    let legacy = [2, 0x21, 0x4c, 0x18, 0, 0, 0, 0];
    assert!(message(Codec::Lz4, &legacy).contains("legacy"));
}

#[test]
fn snappy_is_framed_or_in_blocks_as_hadoop_writes_it() {
    let content = text(9000);
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(&content).expect("memory takes all");
    let framed = encoder.into_inner().expect("it ends");
    check(Codec::Snappy, &framed, &content);
    let padding = [0xfe, 4, 0, 0, 0, 0, 0, 0];
    check(Codec::Snappy, &[&framed[..], &padding, &framed].concat(), &content.repeat(2));

    let mut blocks = Vec::new();
    for block in content.chunks(100_000) {
        blocks.extend_from_slice(&(block.len() as u32).to_be_bytes());
        for chunk in block.chunks(40_000) {
            let chunk = snap::raw::Encoder::new().compress_vec(chunk).expect("it fits");
            blocks.extend_from_slice(&(chunk.len() as u32).to_be_bytes());
            blocks.extend_from_slice(&chunk);
        }
    }
    check(Codec::Snappy, &blocks, &content);
    for length in [3, 7, 100, blocks.len() - 1] {
        let said = message(Codec::Snappy, &blocks[..length]);
        assert!(said == "it is cut short" || length < 8 || said.contains("begin"), "{length}: {said}");
    }
}

#[test]
fn frames_of_zstd_that_have_no_content_are_passed() {
    let content = text(3000);
    let frame = zstd_frame(&content, 20);
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 9, 9, 9, 9];
    check(Codec::Zstd, &[&skipped[..], &frame, &skipped, &zstd_frame(b"", 20), &frame].concat(), &content.repeat(2));
    check(Codec::Zstd, &skipped, b"");
    assert_eq!(message(Codec::Zstd, &[&frame[..], &skipped[..9]].concat()), "it is cut short");
}

#[test]
fn blocks_of_bzip2_are_found_from_anywhere() {
    // Noise, so that there are many blocks; and runs, which take little room and give much.
    let mut seed = 1_u64;
    let mut noise = |_| {
        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (seed >> 33) as u8
    };
    let noisy: Vec<u8> = (0..350_000).map(&mut noise).collect();
    let runs = [vec![b'a'; 5_000_000], (0..=255).flat_map(|byte| vec![byte; usize::from(byte)]).collect()].concat();
    for (content, level) in [(&noisy, 1), (&runs, 9), (&text(40_000), 2)] {
        let stream = bzip2_stream(content, level);
        check(Codec::Bzip2, &stream, content);
        let stored = [&stream[..], &bzip2_stream(b"", 1), &bzip2_stream(&noisy, 3), &stream].concat();
        let content = [&content[..], &noisy, content].concat();
        check(Codec::Bzip2, &stored, &content);
        let open = InMemory(stored);
        let object = pinned(&open);
        let units = units(Decoded::whole(Codec::Bzip2, &open, &object, 0));
        let mut scan = BlockScan::new(&open, &object, 0..object.size);
        let found: Vec<u64> = std::iter::from_fn(|| scan.next_block().expect("readable")).map(|bit| bit / 8).collect();
        assert_eq!(found, units.iter().map(|(unit, _)| *unit).collect::<Vec<_>>());
        for (number, (unit, position)) in units.iter().enumerate() {
            let begin = if number == 0 { 0 } else { units[number - 1].0 + 1 };
            for start in [begin, *unit] {
                let decoded = Decoded::bzip2_in(&open, &object, start..start + 1 + unit - start);
                let decoded = decoded.expect("readable").expect("a block begins there");
                let rest: Vec<_> = units[number..].iter().map(|(unit, at)| (*unit, at - position)).collect();
                assert_eq!(self::units(decoded), rest);
            }
            let none = Decoded::bzip2_in(&open, &object, begin..*unit).expect("readable");
            assert!(none.is_none(), "no block begins before {unit}");
        }
    }
}

/// Where blocks begin, in the object and in what is decoded.
fn units(mut decoded: Decoded<'_>) -> Vec<(u64, u64)> {
    let (mut units, mut at, mut buffer) = (Vec::new(), 0, vec![0; 1 << 20]);
    loop {
        match decoded.next(&mut buffer).expect("it is well") {
            Step::Bytes(bytes) => at += bytes as u64,
            Step::Unit(offset) => units.push((offset, at)),
            Step::End => return units,
        }
    }
}

#[test]
fn a_table_tells_where_frames_begin() {
    let content = text(200_000);
    let stored = encode(Codec::Zstd, &[&content]);
    let open = InMemory(stored);
    let object = pinned(&open);
    let table = SeekTable::find(&object, &open).expect("readable").expect("ours has one");
    assert!(table.is_whole(&object, &open).expect("readable"));
    let units = units(Decoded::whole(Codec::Zstd, &open, &object, 40 << 20));
    assert_eq!(units.len(), content.len().div_ceil(1 << 20));
    for pair in units.windows(2) {
        let frames = table.frames(&object, &open, pair[0].0..pair[1].0).expect("readable").expect("one");
        assert_eq!((frames.first, frames.next), (pair[0], pair[1]));
        assert_eq!(table.frames(&object, &open, pair[0].0 + 1..pair[1].0).expect("readable"), None);
    }
    let end = content.len() as u64;
    let last = table.frames(&object, &open, units[1].0 + 1..u64::MAX).expect("readable").expect("some");
    assert_eq!((last.first, last.next.1), (units[2], end));

    let without = InMemory([&open.0[..], &zstd_frame(b"x", 20)].concat());
    assert_eq!(SeekTable::find(&pinned(&without), &without).expect("readable"), None);
    let before = InMemory([&zstd_frame(b"x", 20)[..], &open.0].concat());
    let object = pinned(&before);
    let table = SeekTable::find(&object, &before).expect("readable").expect("it is there");
    assert!(!table.is_whole(&object, &before).expect("readable"), "it does not tell of the frame in front");
}
