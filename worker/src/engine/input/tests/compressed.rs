//! Compressed objects give the records of their content however they are cut, and an error where they are
//! damaged.

use std::collections::BTreeSet;
use std::io::Write as _;

use gristmill_common::compression::Encoder;
use gristmill_common::form::Codec;
use gristmill_common::record_offset::RecordOffset;
use gristmill_common::spec::DEFAULT_ATTEMPT_BYTES;
use proptest::prelude::*;

use super::*;

/// A file of the codec in which each piece is a block, if the codec has such.
fn encode(codec: Codec, pieces: &[&[u8]]) -> InMemory {
    let mut encoder = Encoder::new(codec, DEFAULT_ATTEMPT_BYTES).expect("it begins");
    let (mut part, mut out) = (encoder.begin(), Vec::new());
    for piece in pieces {
        encoder.encode(&mut part, piece, &mut out).expect("it goes on");
    }
    encoder.finish(&mut part, &mut out).expect("it ends");
    InMemory(out)
}

/// A stream of bzip2 with blocks of 100 kB.
fn bzip2_stream(content: &[u8]) -> InMemory {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
    encoder.write_all(content).expect("memory takes all");
    InMemory(encoder.finish().expect("it ends"))
}

fn pinned(object: &InMemory) -> Arc<InputObject> {
    let (uri, size) = (Uri::from_path("/x".as_ref()), object.0.len() as u64);
    Arc::new(InputObject { uri, size, modified_micros: None, etag: None, form: None })
}

/// The pieces of an object that is cut anyhow.
fn pieces(object: &InMemory, split_size: u64) -> Vec<Piece> {
    let pinned = pinned(object);
    let size = pinned.size;
    let piece = |start| Piece { object: Arc::clone(&pinned), start, end: (start + split_size).min(size) };
    (0..size).step_by(split_size as usize).map(piece).collect()
}

/// The records of all pieces, each with its offset and without what ends it.
fn records(object: &InMemory, how: &Reading<'_>, split_size: u64, at_once: usize) -> Vec<(u64, Vec<u8>)> {
    let mut buffer = ReadBuffer::reading(at_once);
    let mut records = Vec::new();
    for piece in pieces(object, split_size) {
        let mut reader = PieceRecords::open(object, &piece, how, &mut buffer).expect("readable");
        while let Some(block) = reader.next_block().expect("readable") {
            let mut at = 0;
            while at < block.bytes.len() {
                let span = how.framing.record_at(block.bytes, at);
                records.push((block.offset + at as u64, block.bytes[at..span.end].to_vec()));
                at = span.next;
            }
        }
    }
    records
}

/// The same without the offsets, which must grow.
fn contents(object: &InMemory, how: &Reading<'_>, split_size: u64, at_once: usize) -> Vec<Vec<u8>> {
    let records = records(object, how, split_size, at_once);
    let offsets: BTreeSet<u64> = records.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets.len(), records.len(), "offsets tell records apart");
    records.into_iter().map(|(_, record)| record).collect()
}

#[test]
fn real_compressed_files_give_the_expected_records_however_they_are_cut() {
    let Some((data, rows)) = rows() else { return };
    let compressed: Vec<(&Row, Form)> = rows
        .iter()
        .filter_map(|row| Some((row, Form::of_name(&row.file)?)))
        .filter(|(_, form)| form.codec().is_some())
        .collect();
    assert!(compressed.len() >= 27, "only {} rows", compressed.len());
    let mut buffer = ReadBuffer::default();
    for (Row { file, rule, expect }, form) in compressed {
        let object = InMemory(fs::read(data.join(file)).expect("the data is complete"));
        let every = object.0.len() < 3000;
        // 136498 is where a block of one file ends, with a CR.
        let few = [1, 3, 64, 1000, 4096, 50_000, 136_497, 136_498, 136_499, u64::from(u32::MAX)];
        let sizes: Vec<u64> = if every { (1..=64).chain(few).collect() } else { few.to_vec() };
        for split_size in sizes {
            let seen = digest_in_splits(&object, (form, rule), split_size, &mut buffer);
            assert_eq!(&seen, expect, "{file} under {rule} in splits of {split_size}");
        }
    }
}

#[test]
fn damaged_files_end_with_one_error_that_names_them() {
    let Some(data) = trial_data() else { return };
    let check = |file: &str, expect: &str| {
        let object = InMemory(fs::read(data.join("messy").join(file)).expect("the data is complete"));
        let form = Form::of_name(file).expect("its name tells");
        let rule = LineRule::Lf;
        let how = reading(form, Framing::Text(&rule));
        for split_size in [20_000, u64::from(u32::MAX)] {
            let mut failures = Vec::new();
            for piece in pieces(&object, split_size) {
                let mut buffer = ReadBuffer::default();
                let read = PieceRecords::open(&object, &piece, &how, &mut buffer).and_then(|mut records| {
                    while records.next_block()?.is_some() {}
                    Ok(())
                });
                failures.extend(read.err());
            }
            let said: Vec<(FailureCode, &str)> =
                failures.iter().map(|failure| (failure.code, failure.message.as_str())).collect();
            let expect = format!("cannot read input /x as {form}: {expect}");
            assert_eq!(said, [(FailureCode::InputDamaged, expect.as_str())], "{file} in splits of {split_size}");
        }
    };
    check("bad-crc.gz", "the checksum of what it holds does not match");
    check("truncated.gz", "it is cut short");
    check("not-really.gz", "it does not begin as such a file does");
    check("corrupt.bz2", "the checksum of a block does not match");
    check("truncated.zst", "it is cut short");
    check("trailing-garbage.gz", "what follows its end is something else");
}

#[test]
fn blocks_of_one_stream_are_read_apart() {
    let line =
        |n: u32| format!("{n} {:x}{}", n.wrapping_mul(2_654_435_761), if n.is_multiple_of(7) { "\r\n" } else { "\n" });
    let content: Vec<u8> = (0..40_000).flat_map(|n| line(n).into_bytes()).collect();
    let object = bzip2_stream(&content);
    for rule in [LineRule::Lf, LineRule::Any, LineRule::Delimiter("7 ".parse().expect("valid"))] {
        let how = reading(Form::Compressed(Codec::Bzip2), Framing::Text(&rule));
        let expect: Vec<&[u8]> = rule.records(&content).collect();
        for split_size in [10_000, 30_000, 100_000] {
            let seen = contents(&object, &how, split_size, 64 << 10);
            assert!(seen == expect, "{rule} in splits of {split_size}: {} of {}", seen.len(), expect.len());
        }
        let in_pieces = pieces(&object, 30_000).into_iter().skip(1).filter(|piece| {
            let mut buffer = ReadBuffer::default();
            let records = PieceRecords::open(&object, piece, &how, &mut buffer).expect("readable");
            !matches!(records, PieceRecords::None)
        });
        assert!(in_pieces.count() > 2, "several pieces have records");
    }
}

#[test]
fn records_of_later_pieces_are_named_by_their_block() {
    let object = encode(Codec::Bzip2, &[b"one\ntwo\nth", b"ree\nfour\nfive\n", b"six\n"]);
    let rule = LineRule::Lf;
    let how = reading(Form::Compressed(Codec::Bzip2), Framing::Text(&rule));
    let second = object.0.windows(4).skip(1).position(|bytes| bytes == b"BZh9").expect("three streams") as u64 + 1 + 4;
    let named = |split_size| {
        let offset = |(offset, _)| RecordOffset::from_bits(offset);
        records(&object, &how, split_size, 64).into_iter().map(offset).collect::<Vec<_>>()
    };
    let in_content = [0, 4, 8, 14, 19, 24].map(RecordOffset::Content);
    assert_eq!(named(1 << 20), in_content);
    let cut = named(second);
    assert_eq!(cut[..3], in_content[..3]);
    assert_eq!(cut[3], RecordOffset::Block { block: second, place: 4 });
    assert_eq!(cut[4], RecordOffset::Block { block: second, place: 9 });
}

#[test]
fn only_what_comes_before_damage_is_given() {
    let content: Vec<u8> = (0..60_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let rule = LineRule::Lf;
    for codec in [Codec::Bzip2, Codec::Zstd, Codec::Lz4, Codec::Snappy] {
        let mut object = encode(codec, &content.chunks(50_000).collect::<Vec<_>>());
        let at = object.0.len() / 2;
        object.0[at] ^= 0x10;
        let how = reading(Form::Compressed(codec), Framing::Text(&rule));
        let piece = pieces(&object, u64::MAX).remove(0);
        let mut buffer = ReadBuffer::default();
        let mut given = Vec::new();
        let mut reader = PieceRecords::open(&object, &piece, &how, &mut buffer).expect("its beginning is well");
        let failure = loop {
            match reader.next_block() {
                Ok(Some(block)) => given.extend_from_slice(block.bytes),
                Ok(None) => panic!("{codec}: it is damaged"),
                Err(failure) => break failure,
            }
        };
        assert_eq!(failure.code, FailureCode::InputDamaged, "{codec}: {failure}");
        assert!(given.len() > 49_990 && content.starts_with(&given), "{codec}: {} bytes", given.len());
        assert!(given.ends_with(b"\n"), "{codec}: whole records");
    }
}

#[test]
fn a_table_that_does_not_tell_where_frames_begin_is_found_out() {
    let content: Vec<u8> = (0..3_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let good = encode(Codec::Zstd, &content.chunks(2_000).collect::<Vec<_>>());
    let frames = content.len().div_ceil(2_000);
    let entries = good.0.len() - 9 - 8 * frames;
    let rule = LineRule::Lf;
    for framing in [Framing::Text(&rule), Framing::Length(1)] {
        let how = reading(Form::SeekableZstd, framing);
        // A frame is said to hold a byte more, and the next one a byte less.
        let mut object = InMemory(good.0.clone());
        object.0[entries + 8 * 2 + 4] += 1;
        object.0[entries + 8 * 3 + 4] -= 1;
        let mut failed = 0;
        for piece in pieces(&object, 100) {
            let mut buffer = ReadBuffer::default();
            let read = PieceRecords::open(&object, &piece, &how, &mut buffer).and_then(|mut records| {
                while records.next_block()?.is_some() {}
                Ok(())
            });
            failed += usize::from(read.is_err());
        }
        assert!(failed > 0, "somebody finds out");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_blocks_and_any_cut_give_the_records_of_the_content(
        blocks in proptest::collection::vec(
            proptest::collection::vec(proptest::sample::select(b"ab\n\r\xef\xbb\xbf".to_vec()), 0..12),
            1..8,
        ),
        split_size in 1_u64..120,
        at_once in 1_usize..20,
    ) {
        let content = blocks.concat();
        let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        let delimiter = |text: &str| LineRule::Delimiter(text.parse().expect("valid"));
        for codec in Codec::ALL {
            let object = encode(codec, &blocks);
            let form = if codec == Codec::Zstd { Form::SeekableZstd } else { Form::Compressed(codec) };
            for rule in [LineRule::Lf, LineRule::Any, delimiter("\\n"), delimiter("ab"), delimiter("a\\nb")] {
                let expect: Vec<&[u8]> = rule.records(&content).collect();
                let seen = contents(&object, &reading(form, Framing::Text(&rule)), split_size, at_once);
                prop_assert_eq!(&seen, &expect, "{} under {} in splits of {}", codec, rule, split_size);
            }
            let whole = content.len() - content.len() % 3;
            if whole == content.len() {
                let expect: Vec<&[u8]> = content.chunks(3).collect();
                let seen = contents(&object, &reading(form, Framing::Length(3)), split_size, at_once);
                prop_assert_eq!(&seen, &expect, "{} by three in splits of {}", codec, split_size);
            }
        }
    }
}
