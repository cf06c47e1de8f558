//! Cuts one object into byte ranges of even size. Which records belong to a range is the readers'
//! one rule (`gristmill_common::text`), so any cut gives the same records.

use std::sync::Arc;

use gristmill_common::size::ByteSize;
use gristmill_common::task::{InputObject, Piece};

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
}
