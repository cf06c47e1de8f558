//! Records as lines.

use gristmill_common::prelude::*;

/// Writes every record as a line, in input order.
#[derive(Debug)]
pub(super) struct CopyLines;

impl MapOnly for CopyLines {
    type Input = Lines;
    type Output = Text<[u8]>;

    fn map(&self, record: &[u8], out: &mut impl Sink<[u8]>) -> Result<()> {
        out.put(record, ())
    }
}
