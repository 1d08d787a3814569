//! Times as people write them.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan as _, Zoned};

/// What can be written.
const FORMS: &str = "write 2026-11-23T12:00:00Z, \"2026-11-23 12:00\", 12:00, yesterday, \"yesterday 12:00\", now, or 2h for two hours ago";

/// A time in Unix milliseconds: RFC 3339, a day or a time of day on the clock of this machine, or how long ago.
///
/// # Errors
/// What can be written, when it is none of it.
pub fn moment(text: &str) -> Result<i64, String> {
    at(text, &Zoned::now()).ok_or_else(|| format!("{text:?} is no time: {FORMS}"))
}

fn at(text: &str, now: &Zoned) -> Option<i64> {
    let text = text.trim();
    if let Some(length) = text.strip_suffix("ago") {
        return ago(length.trim(), now);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond().max(0));
    }
    let here = |time: DateTime| time.to_zoned(now.time_zone().clone()).ok().map(|z| z.timestamp().as_millisecond());
    let (day, rest) = match text.split_once(' ') {
        Some((day, rest)) => (day, Some(rest.trim())),
        None => (text, None),
    };
    let date = match day {
        "now" if rest.is_none() => return Some(now.timestamp().as_millisecond()),
        "today" => Some(now.date()),
        "yesterday" => now.date().checked_sub(1.day()).ok(),
        _ => day.parse::<Date>().ok().filter(|_| is_date(day)),
    };
    match (date, rest) {
        (Some(date), rest) => here(date.to_datetime(time_of_day(rest.unwrap_or("00:00"))?)),
        (None, Some(_)) => None,
        // The last time that it was so late.
        (None, None) => match time_of_day(text) {
            Some(time) => {
                let today = here(now.date().to_datetime(time))?;
                let is_past = today <= now.timestamp().as_millisecond();
                if is_past { Some(today) } else { here(now.date().checked_sub(1.day()).ok()?.to_datetime(time)) }
            }
            None => civil(text).and_then(here).or_else(|| ago(text, now)),
        },
    }
}

/// `2026-11-23T12:00`, on the clock of this machine.
fn civil(text: &str) -> Option<DateTime> {
    let (date, time) = text.split_once('T')?;
    Some(date.parse::<Date>().ok().filter(|_| is_date(date))?.to_datetime(time_of_day(time)?))
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

/// `12:00` or `12:00:30`.
fn time_of_day(text: &str) -> Option<Time> {
    let mut parts = text.split(':').map(|part| part.parse::<i8>().ok().filter(|_| part.len() == 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if parts.next().is_some() { None } else { Time::new(hour, minute, second, 0).ok() }
}

fn ago(text: &str, now: &Zoned) -> Option<i64> {
    let length: tacit_agent::config::Duration = text.parse().ok()?;
    let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    Some(now.timestamp().as_millisecond().saturating_sub(length).max(0))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn people_write_times_in_many_ways() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now: Timestamp = "2026-11-28T10:30:00Z".parse().unwrap();
        let now = now.to_zoned(zone);
        let written =
            |text: &str| at(text, &now).and_then(|ms| Timestamp::from_millisecond(ms).ok()).map(|t| t.to_string());
        for (text, expected) in [
            ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z"),
            ("2026-11-23T12:00:00+02:00", "2026-11-23T10:00:00Z"),
            ("2026-11-23T12:00", "2026-11-23T10:00:00Z"),
            ("2026-11-23 12:00:30", "2026-11-23T10:00:30Z"),
            ("2026-11-23", "2026-11-22T22:00:00Z"),
            ("today", "2026-11-27T22:00:00Z"),
            ("yesterday", "2026-11-26T22:00:00Z"),
            ("yesterday 08:15", "2026-11-27T06:15:00Z"),
            // Today, and as that is still to come, yesterday.
            ("12:00", "2026-11-28T10:00:00Z"),
            ("13:00", "2026-11-27T11:00:00Z"),
            ("now", "2026-11-28T10:30:00Z"),
            ("2h", "2026-11-28T08:30:00Z"),
            ("90min ago", "2026-11-28T09:00:00Z"),
        ] {
            assert_eq!(written(text).as_deref(), Some(expected), "{text}");
        }
        for wrong in ["", "someday", "25:00", "2026-13-01", "2026-11-23 noon", "now 12:00", "12", "-2h", "2026-11-23T"]
        {
            assert_eq!(written(wrong), None, "{wrong}");
        }
        assert!(moment("someday").unwrap_err().starts_with("\"someday\" is no time: write 2026-"));
    }
}
