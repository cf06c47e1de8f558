//! Cuts one object into byte ranges of even size, as many as its form allows. Which records belong to a
//! range is the readers' one rule (`gristmill_common::text`), so any cut gives the same records.

use std::sync::Arc;

use gristmill_common::form::{Codec, Form};
use gristmill_common::record_offset::BLOCK_LIMIT;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::DEFAULT_SPLIT_SIZE;
use gristmill_common::task::{InputObject, Piece};

/// Bytes of bzip2 of a split of the default size. It takes as long to decode as many times as much text
/// to read; smaller ones balance better, and each decodes a block for the piece before.
const BZIP2_BYTES: ByteSize = ByteSize::mib(4);

/// Bytes of zstd of a split of the default size, which hold about as much as a split.
const ZSTD_BYTES: ByteSize = ByteSize::mib(16);

/// What may be cut into splits, and how large these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Ranges of at most so many bytes.
    Every(ByteSize),
    /// It can only be read from its beginning.
    Nowhere,
}

impl Cut {
    /// How an object of this size and form is cut, if a split has `split_size` bytes. `None` stands for a
    /// form that nobody has told: such an object is taken for a plain one.
    pub fn of(form: Option<Form>, bytes: u64, split_size: ByteSize) -> Self {
        // Whoever asks for other splits means more than that by it.
        let scaled = |most: ByteSize| {
            let part = split_size.bytes() / (DEFAULT_SPLIT_SIZE.bytes() / most.bytes());
            Cut::Every(ByteSize(part.max(split_size.bytes().min(most.bytes()))))
        };
        match form {
            None | Some(Form::Plain | Form::Parquet) => Cut::Every(split_size),
            // Records behind it could not be named.
            Some(Form::Compressed(Codec::Bzip2)) if bytes > BLOCK_LIMIT => Cut::Nowhere,
            Some(Form::Compressed(codec)) if codec.is_splittable() => scaled(BZIP2_BYTES),
            Some(Form::SeekableZstd) => scaled(ZSTD_BYTES),
            Some(Form::Compressed(_)) => Cut::Nowhere,
        }
    }
}

/// How many splits an object of `bytes` bytes gives. An empty one gives none.
pub(super) fn split_count(bytes: u64, split_size: ByteSize) -> u64 {
    bytes.div_ceil(split_size.bytes())
}

/// The object in `count` pieces, in order, whose sizes differ by at most one byte.
pub(super) fn cut(object: &Arc<InputObject>, count: u64) -> impl Iterator<Item = Piece> {
    // The product may be larger than 64 bits; the quotient is at most the object's size.
    let size = u128::from(object.size);
    let boundary = move |index: u64| (size * u128::from(index) / u128::from(count)) as u64;
    (0..count).map(move |index| Piece { object: Arc::clone(object), start: boundary(index), end: boundary(index + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bytes: u64, split_size: u64) -> Vec<u64> {
        let uri = "/in".parse().expect("a path");
        let object = Arc::new(InputObject { uri, size: bytes, modified_micros: None, etag: None, form: None });
        cut(&object, split_count(bytes, ByteSize(split_size))).map(|piece| piece.end - piece.start).collect()
    }

    #[test]
    fn objects_are_cut_evenly_and_never_leave_a_sliver() {
        assert_eq!(sizes(0, 64), [0; 0]);
        assert_eq!(sizes(1, 64), [1]);
        assert_eq!(sizes(64, 64), [64]);
        assert_eq!(sizes(65, 64), [32, 33]);
        assert_eq!(sizes(10, 3), [2, 3, 2, 3]);
        assert_eq!(sizes(3, 1), [1, 1, 1]);
        assert_eq!(sizes(u64::MAX, u64::MAX / 2), [u64::MAX / 3; 3]);
    }

    #[test]
    fn compressed_objects_are_cut_smaller_or_not_at_all() {
        let check = |form: &str, bytes: u64, split_mib: u64, expect: Option<u64>| {
            let cut = Cut::of(Some(form.parse().expect("a form")), bytes, ByteSize::mib(split_mib));
            let expect = expect.map_or(Cut::Nowhere, |mib| Cut::Every(ByteSize::mib(mib)));
            assert_eq!(cut, expect, "{form} of {bytes} in splits of {split_mib} MiB");
        };
        check("plain", 1, 64, Some(64));
        check("bzip2", 1, 64, Some(4));
        check("bzip2", 1, 2, Some(2));
        check("bzip2", 1, 32, Some(4));
        check("bzip2", 1, 1024, Some(64));
        check("bzip2", BLOCK_LIMIT + 1, 64, None);
        check("zstd-seekable", 1, 64, Some(16));
        for form in ["zstd", "gzip", "lz4", "snappy", "xz", "deflate"] {
            check(form, 1, 64, None);
        }
    }
}
