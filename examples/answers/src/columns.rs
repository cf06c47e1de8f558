//! Lines of fields, read in order and by type, and tables that begin with a header. For fields that are
//! not quoted; the ready-made jobs over tables read the others.

use std::fmt::Display;
use std::marker::PhantomData;
use std::str::{FromStr, Split};

use gristmill::prelude::*;

/// The fields of one line that are left.
pub(crate) struct Fields<'a>(Split<'a, char>);

impl<'a> Fields<'a> {
    /// The fields of a line.
    ///
    /// # Errors
    ///
    /// If the line is not UTF-8.
    pub(crate) fn of(line: &'a [u8], separator: char) -> Result<Self, RecordError> {
        let line = std::str::from_utf8(line).map_err(|error| bad("line", &error))?;
        Ok(Self(line.split(separator)))
    }

    /// Passes over `count` fields.
    pub(crate) fn pass(&mut self, count: usize) -> &mut Self {
        self.0.by_ref().take(count).for_each(drop);
        self
    }

    /// The next field; `name` is what an error calls it.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn text(&mut self, name: &str) -> Result<&'a str, RecordError> {
        self.0.next().ok_or_else(|| bad(name, &"the line ends before it"))
    }

    /// The next field as a number or anything else that can be parsed.
    ///
    /// # Errors
    ///
    /// If there is none, or it is something else.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<T, RecordError> {
        let text = self.text(name)?;
        text.parse().map_err(|error| bad(name, &format!("{text:?}: {error}")))
    }

    /// The next field, a decimal with two digits behind the point, in hundredths.
    ///
    /// # Errors
    ///
    /// If there is none, or it is something else.
    pub(crate) fn hundredths(&mut self, name: &str) -> Result<i64, RecordError> {
        let text = self.text(name)?;
        let digits = text.split_once('.').filter(|(_, cents)| cents.len() == 2);
        let parsed = digits.and_then(|(whole, cents)| format!("{whole}{cents}").parse().ok());
        parsed.ok_or_else(|| bad(name, &format!("{text:?} is no decimal with two digits behind the point")))
    }
}

fn bad(name: &str, reason: &dyn Display) -> RecordError {
    RecordError { reason: format!("{name}: {reason}") }
}

/// Records of `I` in objects that begin with a header: `map` is given `None` for that line.
pub(crate) struct Headed<I>(PhantomData<I>);

impl<I: Input> Input for Headed<I> {
    type Record<'a> = Option<I::Record<'a>>;

    fn decode<'a>(bytes: &'a [u8], from: Provenance<'a>) -> Result<Self::Record<'a>, RecordError> {
        if from.offset == 0 { Ok(None) } else { I::decode(bytes, from).map(Some) }
    }
}
