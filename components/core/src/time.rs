//! Times as the API writes them: RFC 3339 in UTC with milliseconds.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// Milliseconds since 1970 as RFC 3339: `2026-01-31T12:00:00.000Z`. A time that
/// no calendar of four digit years holds is given as its last millisecond.
#[must_use]
pub fn format_ms(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

/// Reads RFC 3339 (`2026-01-31T12:00:00Z`, with fraction and offset), a date
/// (`2026-01-31`, midnight in UTC), or a number of seconds (below 10¹¹) or
/// milliseconds since 1970. None for anything else and for times before 1970.
#[must_use]
pub fn parse_ms(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse::<f64>() {
        return from_number(number);
    }
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) if text.len() == "2026-01-31".len() => {
            text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()
        }
        Err(_) => return None,
    };
    u64::try_from(time.as_millisecond()).ok()
}

/// A JSON number as a time: seconds below 10¹¹, else milliseconds.
#[must_use]
pub fn from_number(number: f64) -> Option<u64> {
    const LAST_MS: f64 = 253_402_300_800_000.0;
    let ms = if number < 1e11 { number * 1000.0 } else { number };
    (number.is_finite() && (0.0..LAST_MS).contains(&ms)).then_some(ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_reads_back() {
        for ms in [0, 951_782_400_000, 1_706_702_400_123, 4_102_444_799_999] {
            assert_eq!(parse_ms(&format_ms(ms)), Some(ms), "{}", format_ms(ms));
        }
        assert_eq!(format_ms(1_709_164_800_000), "2024-02-29T00:00:00.000Z");
    }

    #[test]
    fn reads_the_usual_spellings() {
        let noon = Some(1_706_702_400_000);
        for text in [
            "2024-01-31T12:00:00Z",
            "2024-01-31T14:00:00+02:00",
            "2024-01-31 12:00:00.0004Z",
            "1706702400",
            "1706702400000",
        ] {
            assert_eq!(parse_ms(text), noon, "{text}");
        }
        assert_eq!(parse_ms("2024-01-31"), Some(1_706_659_200_000));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "now",
            "2024-02-30",
            "2024-13-01",
            "2024-01-31T25:00:00Z",
            "2024-01-31T12:00:00",
            "1969-12-31",
            "-5",
            "inf",
            "nan",
        ] {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }
}
