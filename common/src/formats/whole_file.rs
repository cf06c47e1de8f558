//! Objects as records: each one whole.

use crate::framing::Framing;
use crate::input::{Input, Provenance, RecordError};
use crate::text::LineRule;

/// Each object as one record: its bytes, decompressed if it is compressed; `Located<WholeFile>` tells its name. An
/// empty object is no record, and one that is larger than a record may be (a quarter of an attempt's memory) fails
/// the job.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
///
/// /// The size of each file.
/// struct Sizes;
///
/// impl MapOnly for Sizes {
///     type Input = Located<WholeFile>;
///     type Output = Text<str, u64>;
///
///     fn map(&self, (from, bytes): (Provenance<'_>, &[u8]), out: &mut impl Sink<str, u64>) -> Result<()> {
///         out.put(from.object, bytes.len() as u64)
///     }
/// }
/// ```
#[derive(Debug)]
pub enum WholeFile {}

impl Input for WholeFile {
    type Record<'a> = &'a [u8];

    #[inline]
    fn decode<'a>(bytes: &'a [u8], _from: Provenance<'a>) -> Result<&'a [u8], RecordError> {
        Ok(bytes)
    }

    fn framing(_rule: &LineRule, _role: u32) -> Framing<'_> {
        Framing::Whole
    }
}
