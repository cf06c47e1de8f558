//! The highest temperature of each year, of the hourly records of the United States' National Climatic Data Center:
//! lines whose fields have no separators, but places.

use gristmill::prelude::*;

/// What stands for a temperature that was not measured.
const MISSING: i32 = 9999;

/// Qualities of measurements that can be relied on.
const SOUND: &[u8] = b"01459";

/// A year, and a temperature in tenths of a degree; none if it was not measured, or not well.
pub(crate) enum Measurements {}

impl Input for Measurements {
    type Record<'a> = (&'a str, Option<i32>);

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<Self::Record<'a>, RecordError> {
        let field = |name: &str, place: std::ops::Range<usize>| {
            let bytes = line.get(place).ok_or_else(|| bad(name, "the line ends before it"))?;
            std::str::from_utf8(bytes).map_err(|_| bad(name, "it is not text"))
        };
        let year = field("year", 15..19)?;
        let tenths = field("temperature", 87..92)?.parse().map_err(|_| bad("temperature", "it is no number"))?;
        let is_sound = SOUND.contains(&field("quality", 92..93)?.as_bytes()[0]);
        Ok((year, Some(tenths).filter(|tenths| is_sound && *tenths != MISSING)))
    }
}

fn bad(name: &str, reason: &str) -> RecordError {
    RecordError { reason: format!("{name}: {reason}") }
}

/// `year TAB tenths`.
pub(crate) struct Highest;

impl MapReduce for Highest {
    type Input = Measurements;
    type Key = str;
    type Value = i32;
    type Combine = Max;
    type Output = Text<str, i32>;

    fn map(&self, (year, tenths): (&str, Option<i32>), out: &mut impl Emit<str, i32>) -> Result<()> {
        tenths.map_or(Ok(()), |tenths| out.emit(year, tenths))
    }

    fn reduce(&self, year: &str, tenths: Values<i32>, out: &mut impl Sink<str, i32>) -> Result<()> {
        tenths.max().map_or(Ok(()), |highest| out.put(year, highest))
    }
}
