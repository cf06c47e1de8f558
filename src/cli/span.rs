//! A span of time as people type it: `500ms`, `90s` or `90`, `10m`, `2h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time on the command line or in a settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// Text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParseSpanError {
    text: String,
}

impl fmt::Display for ParseSpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a time such as 500ms, 90s, 10m or 2h", self.text)
    }
}

impl std::error::Error for ParseSpanError {}

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, ParseSpanError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let millis = match unit {
            "ms" => Some(1),
            "s" | "" => Some(1000),
            "m" => Some(60 * 1000),
            "h" => Some(60 * 60 * 1000),
            _ => None,
        };
        let span = millis.and_then(|millis| number.parse::<u64>().ok()?.checked_mul(millis));
        span.map(|millis| Self(Duration::from_millis(millis))).ok_or_else(|| ParseSpanError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_number_and_a_unit() {
        let check = |text: &str, millis: Option<u64>| {
            assert_eq!(text.parse().ok(), millis.map(|millis| Span(Duration::from_millis(millis))), "{text:?}");
        };
        check("500ms", Some(500));
        check("90s", Some(90_000));
        check("90", Some(90_000));
        check("10m", Some(600_000));
        check("2h", Some(7_200_000));
        check("0", Some(0));
        for wrong in ["", "m", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s", "18446744073709551615h"] {
            check(wrong, None);
        }
        let error = "soon".parse::<Span>().expect_err("no number").to_string();
        assert_eq!(error, "\"soon\" is not a time such as 500ms, 90s, 10m or 2h");
    }
}
