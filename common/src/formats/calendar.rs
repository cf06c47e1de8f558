//! Dates, times of day and timestamps as text (ISO 8601) and as counts since 1970, in the proleptic
//! Gregorian calendar. The algorithms between days and dates are Howard Hinnant's ("chrono-compatible
//! low-level date algorithms"). Reads no clock.

use std::io::Write as _;

/// Nanoseconds of a day.
const DAY_NANOS: u64 = 86_400_000_000_000;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// A point in time, or a date and time of day of no zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// How many seconds, milliseconds, microseconds or nanoseconds since 1970.
    pub units: i64,
    /// Which: digits of a fraction of a second, 0, 3, 6 or 9.
    pub digits: u8,
    /// Whether it is a point in time, counted in UTC.
    pub utc: bool,
}

impl Timestamp {
    /// The same in other units; `None` if it has digits that those have not, or is too far away.
    pub fn with_digits(self, digits: u8) -> Option<i64> {
        if digits >= self.digits {
            return self.units.checked_mul(10_i64.pow((digits - self.digits).into()));
        }
        let power = 10_i64.pow((self.digits - digits).into());
        (self.units % power == 0).then_some(self.units / power)
    }

    /// Appends `2026-01-31T12:00:00.250`, with `Z` behind it in UTC, and as many groups of three digits behind
    /// the point as it takes.
    pub fn write(self, out: &mut Vec<u8>) {
        let second = 10_i64.pow(self.digits.into());
        let (seconds, fraction) = (self.units.div_euclid(second), self.units.rem_euclid(second));
        let (days, of_day) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
        write_days(days, out);
        out.push(b'T');
        let nanos = fraction as u64 * 10_u64.pow(u32::from(9 - self.digits));
        write_time(of_day as u64 * 1_000_000_000 + nanos, out);
        if self.utc {
            out.push(b'Z');
        }
    }

    /// Reads `2026-01-31T12:00:00.25`, with a space for the T if you like, and perhaps `Z` or `+02:00` behind it;
    /// or a date alone, which is its midnight.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(end) = date_end(text) else {
            return Some(Self { units: i64::from(parse_date(text)?) * DAY_SECONDS, digits: 0, utc: false });
        };
        let days = i64::from(parse_date(&text[..end])?);
        let rest = &text[end + 1..];
        let zone = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
        let (time, zone) = rest.split_at(zone);
        let (offset, utc) = match zone {
            "" => (0, false),
            "Z" | "z" => (0, true),
            zone => (parse_offset(zone)?, true),
        };
        let (nanos, digits) = parse_time_digits(time)?;
        let seconds = days * DAY_SECONDS + (nanos / 1_000_000_000) as i64 - offset;
        let fraction = (nanos % 1_000_000_000) as i64 / 10_i64.pow(u32::from(9 - digits));
        let units = seconds.checked_mul(10_i64.pow(digits.into()))?.checked_add(fraction)?;
        Some(Self { units, digits, utc })
    }
}

/// Appends a date as `2026-01-31`.
pub fn write_date(days: i32, out: &mut Vec<u8>) {
    write_days(days.into(), out);
}

fn write_days(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_of_days(days);
    let written = match year {
        0..=9999 => write!(out, "{year:04}-{month:02}-{day:02}"),
        // ISO 8601 has other years only with a sign.
        _ => write!(out, "{year:+05}-{month:02}-{day:02}"),
    };
    written.expect("a Vec takes all bytes");
}

/// Reads `2026-01-31` as days since 1970.
pub fn parse_date(text: &str) -> Option<i32> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (year, rest) = unsigned.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    if year.len() < 4 || year.len() > 7 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let (year, month, day) = (digits(year)? as i64, digits(month)?, digits(day)?);
    let year = if negative { -year } else { year };
    if !(1..=12).contains(&month) || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    i32::try_from(days_of_civil(year, month as i64, day as i64)).ok()
}

/// Appends a time of day as `12:00:00.250`, with as many groups of three digits behind the point as it takes.
pub fn write_time(nanos: u64, out: &mut Vec<u8>) {
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let written = write!(out, "{hour:02}:{minute:02}:{second:02}");
    let written = written.and_then(|()| match fraction {
        0 => Ok(()),
        _ if fraction % 1_000_000 == 0 => write!(out, ".{:03}", fraction / 1_000_000),
        _ if fraction % 1000 == 0 => write!(out, ".{:06}", fraction / 1000),
        _ => write!(out, ".{fraction:09}"),
    });
    written.expect("a Vec takes all bytes");
}

/// Reads `12:00`, `12:00:00` or `12:00:00.25` as nanoseconds since midnight.
pub fn parse_time(text: &str) -> Option<u64> {
    parse_time_digits(text).map(|(nanos, _)| nanos)
}

/// The same, and whether its fraction takes 0, 3, 6 or 9 digits.
fn parse_time_digits(text: &str) -> Option<(u64, u8)> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut fields = whole.split(':');
    let mut two = || fields.next().filter(|field| field.len() == 2).and_then(digits);
    let (hour, minute) = (two()?, two()?);
    let second = match fields.next() {
        Some(field) if field.len() == 2 => digits(field)?,
        Some(_) => return None,
        None if fraction.is_some() => return None,
        None => 0,
    };
    if fields.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, shown) = match fraction {
        None => (0, 0),
        Some(text) if (1..=9).contains(&text.len()) => {
            (digits(text)? * 10_u64.pow(9 - text.len() as u32), text.len().next_multiple_of(3) as u8)
        }
        Some(_) => return None,
    };
    let nanos = ((hour * 60 + minute) * 60 + second) * 1_000_000_000 + nanos;
    (nanos < DAY_NANOS).then_some((nanos, shown))
}

/// Reads `+02:00`, `+0200` or `-05` as seconds east of UTC.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        4 if rest.is_ascii() => rest.split_at(2),
        5 => rest.split_once(':').filter(|(hours, _)| hours.len() == 2)?,
        _ => return None,
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60) as i64)
}

/// Where the date of a timestamp ends: at a T or a space.
fn date_end(text: &str) -> Option<usize> {
    text.find(['T', 't', ' '])
}

fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

fn days_of_month(year: i64, month: u64) -> u64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970 of a date.
fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of days since 1970.
fn civil_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = vec![];
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2026-07-04", 20_638),
            ("0001-01-01", -719_162),
            ("9999-12-31", 2_932_896),
            ("+10000-01-01", 2_932_897),
            ("-0001-12-31", -719_529),
        ] {
            assert_eq!(parse_date(text), Some(days), "{text}");
            assert_eq!(shown(|out| write_date(days, out)), text);
        }
        for text in ["", "1970-1-1", "1970-13-01", "1900-02-29", "70-01-01", "1970-01-00", "1970-01-01x", "1970/01/01"]
        {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn timestamps_keep_their_digits_and_zone() {
        let check = |text: &str, units: i64, digits: u8, utc: bool, back: &str| {
            let expect = Timestamp { units, digits, utc };
            assert_eq!(Timestamp::parse(text), Some(expect), "{text}");
            assert_eq!(shown(|out| expect.write(out)), back);
        };
        check("1970-01-01T00:00:01", 1, 0, false, "1970-01-01T00:00:01");
        check("1969-12-31 23:59:59.5Z", -500, 3, true, "1969-12-31T23:59:59.500Z");
        check("2000-01-01T00:00:00.000001+02:00", 946_677_600_000_001, 6, true, "1999-12-31T22:00:00.000001Z");
        check("2000-01-01T00:00:00.123456789", 946_684_800_123_456_789, 9, false, "2000-01-01T00:00:00.123456789");
        check("2000-01-01", 946_684_800, 0, false, "2000-01-01T00:00:00");
        check("2000-01-01T12:30-0530", 946_749_600, 0, true, "2000-01-01T18:00:00Z");
        for text in
            ["", "2000-01-01T", "2000-01-01T24:00", "2000-01-01T1:00", "2000-01-01T00:00:00.", "2000-01-01T00:00+"]
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        let millis = Timestamp { units: 1500, digits: 3, utc: false };
        assert_eq!((millis.with_digits(6), millis.with_digits(0)), (Some(1_500_000), None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(units in any::<i64>(), digits in proptest::sample::select(vec![0_u8, 3, 6, 9]), utc: bool) {
            let units = if digits == 0 { units / 1_000_000_000_000 } else { units };
            let timestamp = Timestamp { units, digits, utc };
            let text = shown(|out| timestamp.write(out));
            let back = Timestamp::parse(&text);
            // Fewer digits are shown if they are enough, and far years have too many for what they are read as.
            if let Some(back) = back {
                prop_assert_eq!((back.with_digits(digits), back.utc), (Some(units), utc), "{}", text);
            } else {
                prop_assert!(digits == 3 || digits == 0, "{}", text);
            }
        }

        #[test]
        fn days_are_dates(days in -100_000_000_i32..100_000_000) {
            prop_assert_eq!(parse_date(&shown(|out| write_date(days, out))), Some(days));
        }
    }
}
