//! Windows against the calendar.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::window::Calendar;
use super::*;
use crate::store::WindowDays;

const HOUR_MS: i64 = 60 * MINUTE_MS;

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap_or_else(|e| panic!("{text}: {e}")).as_millisecond()
}

fn text(ms: i64) -> String {
    Timestamp::from_millisecond(ms).unwrap().to_string()
}

/// The rules of Berlin, whether this machine knows them or not.
fn berlin() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn weekly(days: &[&str], at: &str, minutes: u32) -> Window {
    Window {
        id: 1,
        name: "backup".into(),
        matchers: vec!["node=~db-*".parse().unwrap()],
        days: WindowDays::Weekly(days.iter().map(ToString::to_string).collect()),
        at: at.into(),
        minutes,
        zone: "UTC".into(),
        owner: "ana".into(),
        reason: "reads all disks".into(),
        made_ms: ms("2026-01-01T00:00:00Z"),
        expires_ms: ms("2028-12-31T00:00:00Z"),
        ended_ms: None,
        used_ms: None,
    }
}

fn monthly(days: &[i8], at: &str, minutes: u32) -> Window {
    Window { days: WindowDays::Monthly(days.to_vec()), ..weekly(&[], at, minutes) }
}

/// The next openings in Berlin after a time.
fn openings(window: &Window, after: &str, many: usize) -> Vec<String> {
    let calendar = Calendar::within(window, berlin()).unwrap();
    let next = |at: &i64| calendar.next_from(*at);
    std::iter::successors(next(&ms(after)), next).take(many).map(text).collect()
}

/// The opening in Berlin at a time.
fn opening(window: &Window, at: &str) -> Option<(String, String)> {
    let calendar = Calendar::within(window, berlin()).unwrap();
    calendar.open_at(ms(at)).map(|(from, to)| (text(from), text(to)))
}

#[test]
fn each_week_by_the_clock_on_the_wall() {
    let window = weekly(&["sat", "sun"], "02:30", 60);
    // On 29 March 2026 the clock goes from 02:00 to 03:00: there is no 02:30, and 03:30 is an hour of summer time.
    let spring = ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-04-04T00:30:00Z", "2026-04-05T00:30:00Z"];
    assert_eq!(openings(&window, "2026-03-27T00:00:00Z", 4), spring);
    // On 25 October 2026 it goes from 03:00 back to 02:00: the first 02:30 counts, and an hour is an hour.
    let autumn = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-31T01:30:00Z"];
    assert_eq!(openings(&window, "2026-10-23T00:00:00Z", 3), autumn);
    let first = Some(("2026-10-25T00:30:00Z".to_owned(), "2026-10-25T01:30:00Z".to_owned()));
    assert_eq!(opening(&window, "2026-10-25T01:29:59Z"), first);
    assert_eq!(opening(&window, "2026-10-25T01:30:00Z"), None);
}

#[test]
fn over_midnight_and_over_many_days() {
    let night = weekly(&["sun"], "23:00", 120);
    let open = |at: &str| opening(&night, at).is_some();
    // 23:00 in Berlin's winter is 22:00 UTC.
    let around = ["2026-02-01T21:59:59Z", "2026-02-01T22:00:00Z", "2026-02-01T23:59:59Z", "2026-02-02T00:00:00Z"];
    assert_eq!(around.map(open), [false, true, true, false]);
    let long = weekly(&["mon"], "08:00", 6 * 1440);
    assert!(opening(&long, "2026-02-07T12:00:00Z").is_some() && opening(&long, "2026-02-08T12:00:00Z").is_none());
}

#[test]
fn each_month_on_its_days() {
    let ends = monthly(&[1, -1], "12:00", 60);
    let all = ["2027-12-31T11:00:00Z", "2028-01-01T11:00:00Z", "2028-01-31T11:00:00Z", "2028-02-01T11:00:00Z"];
    assert_eq!(openings(&ends, "2027-12-30T00:00:00Z", 4), all);
    // 2028 is a leap year, 2027 is none.
    assert_eq!(openings(&ends, "2028-02-02T00:00:00Z", 1), ["2028-02-29T11:00:00Z"]);
    assert_eq!(openings(&ends, "2027-02-02T00:00:00Z", 1), ["2027-02-28T11:00:00Z"]);
    // Months that are too short are left out, and summer time begins in March.
    let long = monthly(&[31], "12:00", 60);
    let only = ["2027-01-31T11:00:00Z", "2027-03-31T10:00:00Z", "2027-05-31T10:00:00Z", "2027-07-31T10:00:00Z"];
    assert_eq!(openings(&long, "2027-01-01T00:00:00Z", 4), only);
    let leap = monthly(&[29, 30], "00:00", 60);
    assert_eq!(openings(&leap, "2027-01-31T00:00:00Z", 1), ["2027-03-28T22:00:00Z"]);
    assert_eq!(openings(&leap, "2028-01-31T00:00:00Z", 1), ["2028-02-28T23:00:00Z"]);
}

#[test]
fn nothing_is_open_before_it_was_made_or_after_its_end() {
    let mut window = weekly(&["thu"], "00:00", 1440);
    // 1 January 2026 is a Thursday; it is made at noon.
    window.made_ms = ms("2026-01-01T12:00:00Z");
    let noon = window.made_ms;
    assert_eq!(open_at(&window, noon - 1), None);
    assert_eq!(open_at(&window, noon), Some((noon, ms("2026-01-02T00:00:00Z"))));
    assert_eq!(next_from(&window, noon), Some(ms("2026-01-08T00:00:00Z")));
    window.expires_ms = ms("2026-01-08T06:00:00Z");
    assert_eq!(open_at(&window, window.expires_ms - 1), Some((ms("2026-01-08T00:00:00Z"), window.expires_ms)));
    assert_eq!((open_at(&window, window.expires_ms), next_from(&window, ms("2026-01-08T00:00:00Z"))), (None, None));
    window.ended_ms = Some(noon + 5);
    assert_eq!((open_at(&window, noon + 5), next_from(&window, noon)), (None, None));
    // Times beyond every calendar.
    assert_eq!((open_at(&window, i64::MIN), next_from(&window, i64::MAX)), (None, None));
}

#[test]
fn a_name_of_a_zone_is_looked_up() {
    let mut window = weekly(&["mon"], "02:00", 60);
    window.zone = "Europe/Nowhere".into();
    let now = ms("2028-12-01T00:00:00Z");
    assert_eq!((open_at(&window, now), next_from(&window, now)), (None, None));
    let said = check_window(&window, now).unwrap_err();
    assert!(said.contains("\"Europe/Nowhere\" is not known") && said.contains("tzdata"), "{said}");
    assert!(warning(&window, now).unwrap().starts_with("mutes nothing: the time zone \"Europe/Nowhere\""));
    for wrong in ["", "../../etc/passwd", "Etc/Unknown"] {
        window.zone = wrong.into();
        assert!(check_window(&window, now).is_err(), "{wrong}");
    }
    window.zone = "x".repeat(1 << 20);
    assert!(check_window(&window, now).unwrap_err().len() < 400);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let now = ms("2028-01-01T00:00:00Z");
    let good = weekly(&["mon", "tue"], "02:00", 60);
    assert_eq!(check_window(&good, now), Ok(()));
    assert_eq!(check_window(&weekly(&["mon"], "02:00", MINUTES_MAX - 1), now), Ok(()));
    assert_eq!(check_window(&monthly(&[15], "23:59", MINUTES_MAX), now), Ok(()));
    let day = |n: &str| WindowDays::Weekly(vec![n.to_owned(), "mon".to_owned()]);
    for (wrong, words) in [
        (Window { name: String::new(), ..good.clone() }, "the name is missing"),
        (Window { owner: " ".into(), ..good.clone() }, "the owner is missing"),
        (Window { reason: String::new(), ..good.clone() }, "the reason is missing"),
        (Window { days: day("monday"), ..good.clone() }, "\"monday\" is no day of the week: write mon, tue"),
        (Window { days: day("mon"), ..good.clone() }, "named twice"),
        (weekly(&[], "02:00", 60), "no days"),
        (weekly(&["mon"; 5000], "02:00", 60), "named twice"),
        (monthly(&[0], "02:00", 60), "0 is no day of the month"),
        (monthly(&[32], "02:00", 60), "32 is no day"),
        (monthly(&[-2], "02:00", 60), "write 1 to 31, or -1"),
        (weekly(&["mon"], "2:00", 60), "\"2:00\" is no time of day: write HH:MM"),
        (weekly(&["mon"], "24:00", 60), "no time of day"),
        (weekly(&["mon"], "+2:00", 60), "no time of day"),
        (weekly(&["mon"], "02:00:00", 60), "no time of day"),
        (weekly(&["mon"], "02:00", 0), "open for 0 minutes"),
        (weekly(&["mon"], "02:00", u32::MAX), "possible are 1 to 10080"),
        (weekly(&["mon"], "02:00", MINUTES_MAX), "open again after 7 d, and so never close"),
        (weekly(&["mon", "tue"], "02:00", 1440), "open again after 1 d"),
        (monthly(&[1, -1], "02:00", 1440), "open again after 1 d"),
        (Window { expires_ms: now, ..good.clone() }, "which is over"),
        (Window { expires_ms: now + 401 * DAY_MS, ..good.clone() }, "every window ends"),
        (Window { expires_ms: i64::MAX, ..good.clone() }, "it would expire at an unknown time, in more than 400 days"),
        // 1 January 2028 is a Saturday.
        (Window { expires_ms: now + 2 * DAY_MS, ..good.clone() }, "would never open before it expires"),
    ] {
        let said = check_window(&wrong, now).unwrap_err();
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn who_forgets_a_window_is_told() {
    let mut window = weekly(&["mon"], "02:00", 60);
    let day = |n: i64| window.made_ms + n * DAY_MS;
    let (d29, d31, d59, d61, d91) = (day(29), day(31), day(59), day(61), day(91));
    assert_eq!(warning(&window, d29), None);
    let unused = warning(&window, d31).unwrap();
    assert!(unused.starts_with("has muted nothing since 2026-01-01: end it"), "{unused}");
    window.used_ms = Some(d29);
    assert_eq!((warning(&window, d31), warning(&window, d59)), (None, None));
    assert!(warning(&window, d91).unwrap().starts_with("has muted nothing since 2026-01-30"));
    window.expires_ms = d61 + 3 * DAY_MS + 5;
    assert_eq!(warning(&window, d61).unwrap(), "expires in 3 days: make it anew if somebody still needs it");
    assert!(warning(&window, window.expires_ms - 5).unwrap().starts_with("expires within a day"));
    assert_eq!(warning(&window, window.expires_ms), None);
    window.ended_ms = Some(d31);
    assert_eq!(warning(&window, d61), None);
}

#[test]
fn a_schedule_reads_well() {
    assert_eq!(schedule(&weekly(&["mon", "tue"], "02:00", 60)), "each mon, tue at 02:00 for 1 h, UTC");
    assert_eq!(schedule(&monthly(&[1, -1], "23:30", 90)), "each month on 1, the last at 23:30 for 90 min, UTC");
    let all = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    assert_eq!(schedule(&weekly(&all, "02:00", 120)), "each day at 02:00 for 2 h, UTC");
    let line = weekly(&["sun"], "02:00", 60).line();
    assert_eq!(
        line,
        "backup of ana, each sun at 02:00 for 1 h, UTC, until 2028-12-31 00:00 UTC: reads all disks [node=~db-*]"
    );
}

proptest! {
    /// Law: at every moment a window is open exactly when its last opening was less than its length ago.
    #[test]
    fn open_means_opened_lately(
        days in prop::sample::subsequence(vec!["mon", "tue", "wed", "thu", "fri", "sat", "sun"], 1..=7),
        (hour, minute, minutes) in (0..24_u32, 0..60_u32, 1..1380_u32),
        hours in 24..20_000_i64,
    ) {
        let window = weekly(&days, &format!("{hour:02}:{minute:02}"), minutes);
        let calendar = Calendar::within(&window, berlin()).unwrap();
        let now = window.made_ms + hours * HOUR_MS;
        let length = i64::from(minutes) * MINUTE_MS;
        match calendar.open_at(now) {
            Some((from, to)) => {
                prop_assert!(from <= now && now < to);
                // Only the first may have begun before the window was made.
                prop_assert!(to - from == length || from == window.made_ms);
            }
            None => {
                let next = calendar.next_from(now - length);
                prop_assert!(next.is_none_or(|next| next > now), "it opened at {next:?}");
            }
        }
    }
}
