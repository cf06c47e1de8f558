//! Lines with a JSON value each, typed by serde.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::de::from_row;
use super::delimited::columns_of;
use crate::input::{Input, Provenance, Reading, RecordError};
use crate::text::BYTE_ORDER_MARK;

/// Lines with a JSON value each (`*.jsonl`, `*.ndjson`), most often an object: as an input, what `T`'s `Deserialize`
/// makes of each, as an output, what its `Serialize` does. Blank lines are no records. Read over a Parquet file, its
/// rows are the objects.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
/// # use gristmill_common::input::Provenance;
/// use serde::Deserialize;
///
/// #[derive(Debug, PartialEq, Deserialize)]
/// struct Event {
///     user: u64,
///     what: Option<String>,
/// }
///
/// let event = JsonLines::<Event>::decode(br#"{"user":7,"more":[]}"#, Provenance::new("events.jsonl", 0, 0))?;
/// assert_eq!(event, Event { user: 7, what: None });
/// # Ok::<(), RecordError>(())
/// ```
pub struct JsonLines<T>(PhantomData<fn() -> T>);

impl<T: DeserializeOwned + 'static> Input for JsonLines<T> {
    type Record<'a> = T;

    fn decode<'a>(bytes: &'a [u8], from: Provenance<'a>) -> Result<T, RecordError> {
        if from.is_row {
            return from_row(bytes).map_err(|error| RecordError::new(error.to_string()));
        }
        let bytes = if from.offset == 0 { bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes) } else { bytes };
        serde_json::from_slice(bytes).map_err(|error| {
            // The record is the parser's only line; people look for lines in the file.
            RecordError::new(error.to_string().replace(" at line 1 column ", " at byte "))
        })
    }

    fn reading(_role: u32) -> Reading {
        Reading { heading: false, columns: columns_of::<T>() }
    }

    #[inline]
    fn is_blank(bytes: &[u8], _role: u32) -> bool {
        bytes.trim_ascii().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_such_value_is_told_with_its_place() {
        let from = Provenance::new("a.jsonl", 9, 0);
        let error = JsonLines::<Vec<u8>>::decode(b"[1,\"x\"]", from).expect_err("no list of numbers");
        assert_eq!(error.to_string(), "invalid type: string \"x\", expected u8 at byte 6");
        let error = JsonLines::<Vec<u8>>::decode(b"[1] 2", from).expect_err("two values");
        assert_eq!(error.to_string(), "trailing characters at byte 5");
    }
}
