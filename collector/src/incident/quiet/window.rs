//! Windows: each week or month again, at a time of day in a time zone.
//!
//! A window opens by the clock on the wall of its zone, and stays open for so many minutes of real time. When clocks go forward
//! over its time, it opens as much later as they skip (02:30 becomes 03:30); when they go back over it, it opens at the first of
//! both. A night with a change of clocks is no longer or shorter for a backup.

use std::iter::successors;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::{DAY_MS, MINUTE_MS, NAME_MAX, REASON_MAX, check_matchers, check_text, conditions, utc};
use crate::store::{Window, WindowDays};

/// Longest opening, in minutes: a week.
pub const MINUTES_MAX: u32 = 7 * 1440;
/// Most days that a window lives; who still needs it then makes it anew.
pub const LIFE_DAYS: i64 = 400;
/// A window that expires in so many days says so.
const EXPIRY_DAYS: i64 = 7;
/// One that has muted nothing for so many days since it was made says so,
const UNUSED_DAYS: i64 = 30;
/// and one that muted something before, after so many.
const FORGOTTEN_DAYS: i64 = 60;
/// Longest name of a time zone, in bytes.
const ZONE_MAX: usize = 64;
/// Days in which a window surely opens again: two months, the first of them too short, and changes of zones.
const SEARCH_DAYS: usize = 64;

const WEEK: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Window {
    /// When it is over: when it expires, or when somebody ended it.
    #[must_use]
    pub fn until_ms(&self) -> i64 {
        self.ended_ms.map_or(self.expires_ms, |ended| ended.min(self.expires_ms))
    }

    /// It in a line, for the trail.
    #[must_use]
    pub fn line(&self) -> String {
        let (when, owner, until) = (schedule(self), &self.owner, utc(self.expires_ms));
        format!("{} of {owner}, {when}, until {until}: {} [{}]", self.name, self.reason, conditions(&self.matchers))
    }
}

/// The opening that a window is in, as its first moment and the one after its last. What lies before the window was made or
/// after its end is cut off. A window that cannot be read, as its time zone is gone, is never open: see [`warning`].
#[must_use]
pub fn open_at(window: &Window, now_ms: i64) -> Option<(i64, i64)> {
    if now_ms >= window.until_ms() {
        return None;
    }
    Calendar::read(window).ok()?.open_at(now_ms)
}

/// When a window opens after a time, if it does before its end.
#[must_use]
pub fn next_from(window: &Window, now_ms: i64) -> Option<i64> {
    Calendar::read(window).ok()?.next_from(now_ms)
}

/// A window with its clock.
pub(super) struct Calendar<'a> {
    window: &'a Window,
    at: Time,
    zone: TimeZone,
}

impl<'a> Calendar<'a> {
    fn read(window: &'a Window) -> Result<Self, String> {
        Self::within(window, zone(&window.zone)?)
    }

    /// The window in a time zone, whatever it says itself.
    pub(super) fn within(window: &'a Window, zone: TimeZone) -> Result<Self, String> {
        Ok(Self { window, at: time_of_day(&window.at)?, zone })
    }

    pub(super) fn open_at(&self, now_ms: i64) -> Option<(i64, i64)> {
        // What is open may have opened so many days ago, by the calendar of a zone that changed meanwhile.
        let back = i64::from(self.window.minutes.min(MINUTES_MAX)) / 1440 + 2;
        let days = usize::try_from(back).unwrap_or(0) + 2;
        self.openings(now_ms, back, days).find(|(from, to)| (*from..*to).contains(&now_ms))
    }

    pub(super) fn next_from(&self, now_ms: i64) -> Option<i64> {
        self.openings(now_ms, 1, SEARCH_DAYS).map(|(from, _)| from).find(|from| *from > now_ms)
    }

    /// The openings of so many days, beginning so many days before a time.
    fn openings(&self, now_ms: i64, back: i64, days: usize) -> impl Iterator<Item = (i64, i64)> {
        let today = Timestamp::from_millisecond(now_ms).ok().map(|now| self.zone.to_datetime(now).date());
        let first = today.and_then(|day| day.checked_sub(back.days()).ok());
        let all = successors(first, |day| day.tomorrow().ok()).take(days);
        all.filter(move |day| opens_on(&self.window.days, *day)).filter_map(move |day| self.opening(day))
    }

    /// The opening of a day, as far as the window is there.
    fn opening(&self, day: Date) -> Option<(i64, i64)> {
        let from = self.zone.to_timestamp(day.to_datetime(self.at)).ok()?.as_millisecond();
        let to = from.saturating_add(i64::from(self.window.minutes).saturating_mul(MINUTE_MS));
        let (from, to) = (from.max(self.window.made_ms), to.min(self.window.until_ms()));
        (from < to).then_some((from, to))
    }
}

fn opens_on(days: &WindowDays, day: Date) -> bool {
    match days {
        WindowDays::Weekly(names) => names.iter().any(|name| weekday(name) == Some(day.weekday())),
        WindowDays::Monthly(days) => {
            days.iter().any(|n| *n == day.day() || (*n == -1 && day.day() == day.days_in_month()))
        }
    }
}

fn weekday(name: &str) -> Option<Weekday> {
    WEEK.iter().find(|(word, _)| *word == name).map(|(_, day)| *day)
}

/// `HH:MM`.
fn time_of_day(text: &str) -> Result<Time, String> {
    let number = |part: &str| part.parse::<i8>().ok().filter(|_| part.len() == 2 && !part.starts_with(['+', '-']));
    text.split_once(':')
        .and_then(|(hour, minute)| Time::new(number(hour)?, number(minute)?, 0, 0).ok())
        .ok_or_else(|| format!("{:?} is no time of day: write HH:MM, from 00:00 to 23:59", short(text)))
}

/// A time zone by its name, from the database of this machine.
fn zone(name: &str) -> Result<TimeZone, String> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let known = Some(name).filter(|name| name.len() <= ZONE_MAX).and_then(|name| TimeZone::get(name).ok());
    known.filter(|zone| !zone.is_unknown()).ok_or_else(|| {
        let name = short(name);
        format!(
            "the time zone {name:?} is not known to the collector's machine: write a name like Europe/Berlin or UTC; the package \
             tzdata has all of them"
        )
    })
}

/// The beginning of what a stranger wrote.
fn short(text: &str) -> String {
    text.chars().take(ZONE_MAX).collect()
}

/// Checks a window before it is kept.
///
/// # Errors
/// What is wrong, and what to do.
pub fn check_window(window: &Window, now_ms: i64) -> Result<(), String> {
    check_text("the name", &window.name, NAME_MAX)?;
    check_text("the owner", &window.owner, NAME_MAX)?;
    check_text("the reason", &window.reason, REASON_MAX)?;
    check_matchers(&window.matchers)?;
    check_days(&window.days)?;
    let calendar = Calendar::read(window)?;
    let minutes = window.minutes;
    if minutes == 0 || minutes > MINUTES_MAX {
        return Err(format!("it would be open for {minutes} minutes: possible are 1 to {MINUTES_MAX}, a week"));
    }
    if let Some(gap) = shortest_gap(&window.days).filter(|gap| i64::from(minutes) >= gap * 1440) {
        return Err(format!(
            "it would be open for {minutes} minutes and open again after {gap} d, and so never close: make it shorter, or put \
             right what is noisy"
        ));
    }
    let expires = utc(window.expires_ms);
    if window.expires_ms <= now_ms {
        return Err(format!("it would expire at {expires}, which is over: say a time to come"));
    }
    if window.expires_ms.saturating_sub(now_ms) > LIFE_DAYS.saturating_mul(DAY_MS) {
        return Err(format!(
            "it would expire at {expires}, in more than {LIFE_DAYS} days: every window ends; let it expire earlier, it warns a week \
             before, and make it anew if somebody still needs it then"
        ));
    }
    if calendar.open_at(now_ms).is_none() && calendar.next_from(now_ms).is_none() {
        return Err(format!("it would never open before it expires at {expires}: let it expire later"));
    }
    Ok(())
}

fn check_days(days: &WindowDays) -> Result<(), String> {
    let (empty, twice) = match days {
        WindowDays::Weekly(names) => {
            if let Some(wrong) = names.iter().find(|name| weekday(name).is_none()) {
                let words = WEEK.map(|(word, _)| word).join(", ");
                return Err(format!("{:?} is no day of the week: write {words}", short(wrong)));
            }
            let repeated = || (1..names.len()).any(|n| names[..n].contains(&names[n]));
            (names.is_empty(), names.len() > WEEK.len() || repeated())
        }
        WindowDays::Monthly(days) => {
            if let Some(wrong) = days.iter().find(|n| !matches!(**n, -1 | 1..=31)) {
                return Err(format!("{wrong} is no day of the month: write 1 to 31, or -1 for the last"));
            }
            let repeated = || (1..days.len()).any(|n| days[..n].contains(&days[n]));
            (days.is_empty(), days.len() > 32 || repeated())
        }
    };
    if empty {
        return Err("it has no days: say weekly or monthly, and on which".into());
    }
    if twice {
        return Err("a day is named twice: leave one out".into());
    }
    Ok(())
}

/// Days from one opening to the next, where they are nearest.
fn shortest_gap(days: &WindowDays) -> Option<i64> {
    // Four years and a little have months of all lengths in all orders.
    let all = successors(Some(Date::constant(2024, 1, 1)), |day| day.tomorrow().ok()).take(1500);
    let on: Vec<i64> = (0..).zip(all).filter(|(_, day)| opens_on(days, *day)).map(|(n, _)| n).collect();
    on.windows(2).map(|pair| pair[1] - pair[0]).min()
}

/// When it opens, in words: `each mon, tue at 02:00 for 1 h, Europe/Berlin`.
#[must_use]
pub fn schedule(window: &Window) -> String {
    let days = match &window.days {
        WindowDays::Weekly(names) if names.len() == WEEK.len() => "each day".to_owned(),
        WindowDays::Weekly(names) => format!("each {}", names.join(", ")),
        WindowDays::Monthly(days) => {
            let word = |n: &i8| if *n == -1 { "the last".to_owned() } else { n.to_string() };
            format!("each month on {}", days.iter().map(word).collect::<Vec<_>>().join(", "))
        }
    };
    let length = match window.minutes {
        n if n.is_multiple_of(1440) => format!("{} d", n / 1440),
        n if n.is_multiple_of(60) => format!("{} h", n / 60),
        n => format!("{n} min"),
    };
    format!("{days} at {} for {length}, {}", window.at, window.zone)
}

/// What its owner should look at: it cannot be read any more, expires soon, or seems to be forgotten.
#[must_use]
pub fn warning(window: &Window, now_ms: i64) -> Option<String> {
    if window.until_ms() <= now_ms {
        return None;
    }
    let mut said = Vec::new();
    if let Err(why) = Calendar::read(window) {
        said.push(format!("mutes nothing: {why}"));
    }
    let days = |from: i64, to: i64| to.saturating_sub(from) / DAY_MS;
    if window.expires_ms.saturating_sub(now_ms) <= EXPIRY_DAYS * DAY_MS {
        let when = match days(now_ms, window.expires_ms) {
            0 => "within a day".to_owned(),
            1 => "in 1 day".to_owned(),
            n => format!("in {n} days"),
        };
        said.push(format!("expires {when}: make it anew if somebody still needs it"));
    }
    let (since, most) = window.used_ms.map_or((window.made_ms, UNUSED_DAYS), |used| (used, FORGOTTEN_DAYS));
    if now_ms.saturating_sub(since) > most * DAY_MS {
        let since = utc(since);
        let day = since.split(' ').next().unwrap_or_default();
        said.push(format!("has muted nothing since {day}: end it, or make it anew and say why it stays"));
    }
    (!said.is_empty()).then(|| said.join("; "))
}
