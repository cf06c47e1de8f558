//! Visits to a web server, from its log: requests of one address belong to one session until it is
//! silent for half an hour.

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

/// Seconds of silence after which a new session begins.
const GAP: i64 = 1800;

/// Writes lines ADDRESS TAB FIRST TAB LAST TAB REQUESTS, times in seconds since 1970
///
/// Requests are grouped by address and come in the order of their times, however many there are.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct Sessions {}

impl Program for Sessions {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for Sessions {
    type Input = Lines;
    type Key = Pair<str, i64>;
    /// The time again: `reduce` is handed the first key of a group, and no other.
    type Value = i64;
    type Combine = NoCombine;
    type Output = Text<Pair<str, i64>, Pair<i64, u64>>;
    const GROUPING: Grouping = Grouping::Leading(1);

    fn map(&self, line: &[u8], out: &mut impl Emit<Pair<str, i64>, i64>) -> Result<()> {
        match request(line) {
            Some((address, second)) => out.emit((address, second), second),
            None => {
                out.count("unparsed", 1);
                Ok(())
            }
        }
    }

    fn reduce(
        &self,
        (address, mut first): (&str, i64),
        seconds: Values<i64>,
        out: &mut impl Sink<Pair<str, i64>, Pair<i64, u64>>,
    ) -> Result<()> {
        let (mut last, mut requests) = (first, 0);
        for second in seconds {
            if second - last > GAP {
                out.put((address, first), (last, requests))?;
                (first, requests) = (second, 0);
            }
            last = second;
            requests += 1;
        }
        out.put((address, first), (last, requests))
    }
}

/// Address and second of a request in the combined log format: `ADDRESS - - [TIME] …`.
fn request(line: &[u8]) -> Option<(&str, i64)> {
    let end = line.iter().position(|&byte| byte == b' ')?;
    let from = line.iter().position(|&byte| byte == b'[')? + 1;
    let time = line.get(from..from + "17/May/2015:10:05:03 +0000".len())?;
    Some((std::str::from_utf8(&line[..end]).ok()?, second(std::str::from_utf8(time).ok()?)?))
}

/// Seconds since 1970 of a time such as `17/May/2015:10:05:03 +0000`.
fn second(time: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let month = MONTHS.iter().position(|&month| time.get(3..6) == Some(month))? as i64;
    let of_day = (number(12, 14)? * 60 + number(15, 17)?) * 60 + number(18, 20)?;
    let east = (number(22, 24)? * 60 + number(24, 26)?) * 60;
    let east = if time.get(21..22)? == "-" { -east } else { east };
    Some(days(number(7, 11)?, month + 1, number(0, 2)?) * 86_400 + of_day - east)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that the
/// day that is not in each of them is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        for (time, expect) in [
            ("01/Jan/1970:00:00:00 +0000", Some(0)),
            ("17/May/2015:10:05:03 +0000", Some(1_431_857_103)),
            ("29/Feb/2000:23:59:59 -0130", Some(951_874_199)),
            ("17/Mai/2015:10:05:03 +0000", None),
        ] {
            assert_eq!(second(time), expect, "{time}");
        }
    }

    #[test]
    fn half_an_hour_of_silence_ends_a_session() {
        let line = |address: &str, time: &str| format!("{address} - - [17/May/2015:{time} +0000] \"GET /\" 200 1\n");
        let log = [("b", "10:00:00"), ("a", "10:30:00"), ("b", "10:30:00"), ("b", "09:00:00"), ("b", "11:00:01")];
        let log: String = log.iter().map(|(address, time)| line(address, time)).collect();
        let outcome = gristmill::testing::run(&Sessions {}, log + "no request\n");
        let nine = 1_431_853_200;
        let expect = [
            format!("a\t{0}\t{0}\t1", nine + 5400),
            format!("b\t{nine}\t{nine}\t1"),
            format!("b\t{}\t{}\t2", nine + 3600, nine + 5400),
            format!("b\t{0}\t{0}\t1", nine + 7201),
        ];
        assert_eq!(outcome.text().lines().collect::<Vec<_>>(), expect);
        assert_eq!(outcome.counters().get("unparsed"), 1);
    }
}
