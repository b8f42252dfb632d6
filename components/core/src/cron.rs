//! When a job is due: the five fields of crontab(5), in UTC.
//!
//! ```
//! use funnelweb_core::{cron::Cron, time};
//! let nightly = Cron::parse("0 3 * * *").unwrap();
//! let next_ms = nightly.next_after(time::parse_ms("2026-02-28T03:00:00Z").unwrap()).unwrap();
//! assert_eq!(time::format_ms(next_ms), "2026-03-01T03:00:00.000Z");
//! ```

use jiff::{Timestamp, tz::TimeZone};

const MINUTE_MS: u64 = 60_000;
const DAY_MINUTES: u64 = 24 * 60;
/// Days in which an expression must come to pass. The rarest, such as a first of
/// February that is a Monday, do within twelve years.
const HORIZON_DAYS: u64 = 40 * 366;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More or fewer fields than five.
    #[error("must be five fields (minute, hour, day of month, month, day of week), got {0}")]
    Fields(usize),
    /// A field that cannot be read.
    #[error(
        "{name}: `{text}` must be `*`, numbers from {least} to {most}, ranges, or lists of them, with `/step` or not"
    )]
    Field {
        /// Which.
        name: &'static str,
        /// What it says.
        text: String,
        /// Its least number.
        least: u32,
        /// Its greatest number.
        most: u32,
    },
    /// No day is like that.
    #[error("there is no such day")]
    Never,
}

/// Times that come again and again, to the minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cron {
    /// A bit for each number of a field.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day of the month or of the week is enough: when both are
    /// restricted, as crontab(5) has it.
    either: bool,
}

/// One of the five fields.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: &MONTHS },
    // Sunday is 0 and 7.
    Field { name: "day of week", least: 0, most: 7, names: &WEEKDAYS },
];

impl Cron {
    /// Reads `minute hour day-of-month month day-of-week`. A field is `*`, a number,
    /// a range (`1-5`), either of the last two in a list (`1,3-5`), and `*` or a range
    /// with a step (`*/15`); months and days of the week may be named (`jan`, `mon`).
    ///
    /// # Errors
    /// The field and what it may be; a date that never comes.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let texts: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = texts.as_slice() else {
            return Err(Error::Fields(texts.len()));
        };
        let [of_minutes, of_hours, of_days, of_months, of_weekdays] = &FIELDS;
        let mut on = of_weekdays.read(weekdays)?;
        on |= on >> 7 & 1;
        let cron = Self {
            minutes: of_minutes.read(minutes)?,
            hours: of_hours.read(hours)?,
            days: of_days.read(days)?,
            months: of_months.read(months)?,
            weekdays: on,
            either: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        cron.next_after(0).map(|_| cron).ok_or(Error::Never)
    }

    /// The first time after `ms`, both in milliseconds since 1970; none beyond the
    /// calendar.
    #[must_use]
    pub fn next_after(&self, ms: u64) -> Option<u64> {
        let first = ms / MINUTE_MS + 1;
        let today = first / DAY_MINUTES;
        for day in today..today.saturating_add(HORIZON_DAYS) {
            if !self.is_on(day)? {
                continue;
            }
            let from = if day == today { first % DAY_MINUTES } else { 0 };
            let minute = (from..DAY_MINUTES).find(|at| has(self.hours, at / 60) && has(self.minutes, at % 60));
            if let Some(minute) = minute {
                return (day * DAY_MINUTES + minute).checked_mul(MINUTE_MS);
            }
        }
        None
    }

    /// Whether it comes to pass on a day, counted from 1970; none beyond the calendar.
    fn is_on(&self, day: u64) -> Option<bool> {
        let second = i64::try_from(day.checked_mul(DAY_MINUTES * 60)?).ok()?;
        let date = TimeZone::UTC.to_datetime(Timestamp::from_second(second).ok()?).date();
        let in_month = has(self.days, u64::from(date.day().unsigned_abs()));
        // The first of January 1970 was a Thursday.
        let in_week = has(self.weekdays, (day + 4) % 7);
        let fits = if self.either { in_month || in_week } else { in_month && in_week };
        Some(fits && has(self.months, u64::from(date.month().unsigned_abs())))
    }
}

fn has(bits: u64, number: u64) -> bool {
    bits >> number & 1 == 1
}

impl Field {
    fn read(&self, text: &str) -> Result<u64, Error> {
        let bits = text.split(',').map(|part| self.part(part)).try_fold(0, |all, bits| Some(all | bits?));
        bits.ok_or_else(|| Error::Field { name: self.name, text: text.to_owned(), least: self.least, most: self.most })
    }

    fn part(&self, text: &str) -> Option<u64> {
        let (span, step) = match text.split_once('/') {
            Some((span, step)) => (span, number(step).filter(|step| (1..=self.most).contains(step))?),
            None => (text, 1),
        };
        let (from, to) = match span.split_once('-') {
            _ if span == "*" => (self.least, self.most),
            Some((from, to)) => (self.number(from)?, self.number(to)?),
            None if text == span => (self.number(span)?, self.number(span)?),
            None => return None,
        };
        let fits = self.least <= from && from <= to && to <= self.most;
        let step = usize::try_from(step).ok()?;
        fits.then(|| (from..=to).step_by(step).fold(0, |bits, number| bits | 1 << number))
    }

    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        match named {
            Some(at) => Some(self.least + u32::try_from(at).ok()?),
            None => number(text),
        }
    }
}

/// Digits only: no sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{format_ms, parse_ms};

    /// The times after one, to the minute.
    fn after(cron: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(cron).unwrap();
        let mut ms = parse_ms(from).unwrap();
        let mut next = || {
            ms = cron.next_after(ms).unwrap();
            format_ms(ms).strip_suffix(":00.000Z").unwrap().to_owned()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn the_next_times_are_those_of_the_calendar() {
        // 2026-01-01 is a Thursday; 2028 is a leap year, 2100 is not.
        for (cron, from, expected) in [
            ("* * * * *", "2026-01-01T00:00:59.999Z", &["2026-01-01T00:01", "2026-01-01T00:02"][..]),
            ("*/20 * * * *", "2026-01-01T23:30:00Z", &["2026-01-01T23:40", "2026-01-02T00:00"]),
            ("0 3 * * *", "2026-02-28T03:00:00Z", &["2026-03-01T03:00"]),
            ("0 3 * * *", "2026-02-28T02:59:59.999Z", &["2026-02-28T03:00"]),
            ("5,10 22-23 * * *", "2026-01-01T22:07:00Z", &["2026-01-01T22:10", "2026-01-01T23:05"]),
            ("0 0 31 * *", "2026-01-31T12:00:00Z", &["2026-03-31T00:00", "2026-05-31T00:00"]),
            ("0 0 29 2 *", "2096-03-01", &["2104-02-29T00:00"]),
            ("0 0 * * mon-fri/2", "2026-01-01", &["2026-01-02T00:00", "2026-01-05T00:00", "2026-01-07T00:00"]),
            ("30 4 * * 7", "2026-01-01", &["2026-01-04T04:30"]),
            ("30 4 * * 0", "2026-01-01", &["2026-01-04T04:30"]),
            ("30 4 * * 5-7", "2026-01-03T05:00:00Z", &["2026-01-04T04:30", "2026-01-09T04:30"]),
            // Either is enough when both are restricted.
            ("0 0 13 * fri", "2026-02-01", &["2026-02-06T00:00", "2026-02-13T00:00"]),
            ("0 0 15 * 5", "2026-01-10", &["2026-01-15T00:00", "2026-01-16T00:00"]),
            // And both are needed when one begins with a star.
            ("0 0 */10 * mon", "2026-01-01", &["2026-05-11T00:00"]),
            ("59 23 31 dec *", "2026-01-01", &["2026-12-31T23:59", "2027-12-31T23:59"]),
            ("0 0 1 JAN,Jul *", "2026-01-01", &["2026-07-01T00:00", "2027-01-01T00:00"]),
        ] {
            assert_eq!(after(cron, from, expected.len()), expected, "{cron} after {from}");
        }
    }

    #[test]
    fn every_time_fits_and_none_is_left_out() {
        let cron = Cron::parse("7-59/13 1,13 2-20/3 * 1-5").unwrap();
        let start = parse_ms("2027-12-01").unwrap();
        let days = 120;
        let by_search: Vec<u64> = (1..=days * DAY_MINUTES)
            .map(|minute| start + minute * MINUTE_MS)
            .filter(|ms| {
                let minute = ms / MINUTE_MS;
                let (hour, minute) = (minute / 60 % 24, minute % 60);
                [7, 20, 33, 46, 59].contains(&minute)
                    && [1, 13].contains(&hour)
                    && cron.is_on(ms / MINUTE_MS / DAY_MINUTES).unwrap()
            })
            .collect();
        let mut ms = start;
        let by_steps: Vec<u64> = std::iter::from_fn(|| {
            ms = cron.next_after(ms)?;
            (ms <= start + days * DAY_MINUTES * MINUTE_MS).then_some(ms)
        })
        .collect();
        assert_eq!(by_steps, by_search);
        assert!(by_steps.len() > 500);
    }

    #[test]
    fn what_is_no_schedule_is_refused_by_its_field() {
        let error = |text: &str| Cron::parse(text).unwrap_err().to_string();
        assert!(error("").ends_with("got 0"));
        assert!(error("0 3 * * * *").ends_with("got 6"));
        assert!(error("@daily").ends_with("got 1"));
        for (name, at) in [("minute", 0), ("hour", 1), ("day of month", 2), ("month", 3), ("day of week", 4)] {
            for wrong in ["60", "-1", "+1", "x", "1-", "5-1", "*/0", "*/x", "5/2", "1,,2", "*-3", "1.5", "?", "L"] {
                let mut fields = ["1", "1", "1", "1", "1"];
                fields[at] = wrong;
                let text = error(&fields.join(" "));
                assert!(text.starts_with(&format!("{name}: `{wrong}` must be")), "{text}");
            }
        }
        assert!(error("0 0 0 1 *").contains("from 1 to 31"));
        assert!(error("0 0 1 0 *").contains("from 1 to 12"));
        assert!(error("0 0 1 1 8").contains("from 0 to 7"));
        assert!(error("0 24 1 1 1").contains("from 0 to 23"));
        assert_eq!(Cron::parse("0 0 30 2 *"), Err(Error::Never));
        assert_eq!(Cron::parse("0 0 31 2,4,6,9,11 *"), Err(Error::Never));
    }

    #[test]
    fn there_is_nothing_beyond_the_calendar() {
        assert_eq!(Cron::parse("* * * * *").unwrap().next_after(u64::MAX), None);
    }
}
