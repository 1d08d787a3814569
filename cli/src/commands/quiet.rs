//! `tacit silence …` and `tacit window …`

use std::fmt::Write as _;

use anyhow::{Result, bail};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tacit_agent::config::Duration;
use tacit_collector::api::quiet::{Silences, WindowState, Windows};
use tacit_collector::incident::quiet::schedule;
use tacit_collector::store::{Matcher, Silence};

use super::{print, print_json};
use crate::client::Client;
use crate::output::{duration, now_ms, plain, table, utc};
use crate::quiet::{AddSilence, AddWindow, End, List, Mute, Silence as OfSilence, Window as OfWindow};

/// Lists, makes or ends silences.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn silence(what: &OfSilence) -> Result<()> {
    match what {
        OfSilence::List(list) => silences(list),
        OfSilence::Add(add) => add_silence(add),
        OfSilence::End(end) => {
            let ended: Silence = ask_end(end, "silences")?;
            if end.ask.json { print_json(&ended) } else { print(&format!("Silence {} is over.\n", ended.id)) }
        }
    }
}

/// Lists, makes or ends windows.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn window(what: &OfWindow) -> Result<()> {
    match what {
        OfWindow::List(list) => windows(list),
        OfWindow::Add(add) => add_window(add),
        OfWindow::End(end) => {
            let ended: WindowState = ask_end(end, "windows")?;
            if end.ask.json { print_json(&ended) } else { print(&format!("Window {} is over.\n", ended.window.id)) }
        }
    }
}

fn ask_end<T: serde::de::DeserializeOwned>(end: &End, which: &str) -> Result<T> {
    Client::of(&end.ask)?.post(&format!("/{which}/{}/end", end.id), &json!({ "actor": end.actor }))
}

fn silences(list: &List) -> Result<()> {
    let path = if list.all { "/silences?all=true" } else { "/silences" };
    let answer: Silences = Client::of(&list.ask)?.get(path)?;
    if list.ask.json {
        return print_json(&answer);
    }
    if answer.silences.is_empty() {
        return print("Nothing is silenced.\n");
    }
    let now = now_ms();
    let rows: Vec<Vec<String>> = answer
        .silences
        .iter()
        .map(|s| {
            let state = match s.until_ms() {
                until if until <= now => format!("over since {}", utc(until)),
                until if s.starts_ms > now => format!("{} to {}", utc(s.starts_ms), utc(until)),
                until => format!("{} ({})", utc(until), left(until, now)),
            };
            vec![s.id.to_string(), state, plain(&s.actor), what(&s.matchers), plain(&s.reason)]
        })
        .collect();
    print(&table(&["ID", "UNTIL", "BY", "WHAT", "WHY"], &rows))
}

fn windows(list: &List) -> Result<()> {
    let path = if list.all { "/windows?all=true" } else { "/windows" };
    let answer: Windows = Client::of(&list.ask)?.get(path)?;
    if list.ask.json {
        return print_json(&answer);
    }
    if answer.windows.is_empty() {
        return print("There is no maintenance window.\n");
    }
    let now = now_ms();
    let rows: Vec<Vec<String>> = answer.windows.iter().map(|w| window_row(w, now)).collect();
    let mut out = table(&["ID", "NAME", "WHEN", "NEXT", "EXPIRES", "OWNER", "WHAT"], &rows);
    for state in &answer.windows {
        if let Some(warning) = &state.warning {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "window {} ({}) {warning}", state.window.id, plain(&state.window.name));
        }
    }
    print(&out)
}

fn window_row(state: &WindowState, now: i64) -> Vec<String> {
    let w = &state.window;
    let next = match (state.open_until_ms, state.next_ms) {
        (Some(until), _) => format!("open now, closes in {}", duration(until.saturating_sub(now).max(0) / 1000)),
        (None, Some(next)) => format!("{} ({})", utc(next), left(next, now)),
        (None, None) => "never".into(),
    };
    let ends = if w.until_ms() <= now { "over".to_owned() } else { utc(w.until_ms()) };
    vec![w.id.to_string(), plain(&w.name), plain(&schedule(w)), next, ends, plain(&w.owner), what(&w.matchers)]
}

fn add_silence(add: &AddSilence) -> Result<()> {
    let Mute { matchers, reason, actor, yes, ask } = &add.mute;
    let body = json!({
        "matchers": matchers, "minutes": minutes(add.time)?, "actor": actor, "reason": reason, "confirm": yes,
    });
    let made: Silence = Client::of(ask)?.post("/silences", &body)?;
    if ask.json {
        return print_json(&made);
    }
    print(&format!("Silence {} mutes {} until {}.\n", made.id, what(&made.matchers), utc(made.ends_ms)))
}

fn add_window(add: &AddWindow) -> Result<()> {
    let Mute { matchers, reason, actor, yes, ask } = &add.mute;
    let days = if add.weekly.is_empty() {
        json!({ "monthly": add.monthly })
    } else {
        json!({ "weekly": add.weekly.iter().map(|day| weekday(day)).collect::<Vec<_>>() })
    };
    let zone = add.zone.clone().or_else(|| TimeZone::system().iana_name().map(str::to_owned));
    let body = json!({
        "name": add.name, "matchers": matchers, "days": days, "at": add.at, "minutes": minutes(add.time)?, "zone": zone,
        "owner": add.owner, "reason": reason, "expires_ms": add.until, "actor": actor, "confirm": yes,
    });
    let made: WindowState = Client::of(ask)?.post("/windows", &body)?;
    if ask.json {
        return print_json(&made);
    }
    let w = &made.window;
    let next = match (made.open_now, made.next_ms) {
        (true, _) => "; it is open now".to_owned(),
        (false, Some(next)) => format!("; it opens next at {}", utc(next)),
        (false, None) => String::new(),
    };
    print(&format!("Window {} mutes {}, {}{next}.\n", w.id, what(&w.matchers), plain(&schedule(w))))
}

/// A length in minutes, begun ones counted whole.
fn minutes(time: Duration) -> Result<u32> {
    match u32::try_from(time.as_millis().div_ceil(60_000)) {
        Ok(minutes @ 1..) => Ok(minutes),
        _ => bail!("--for: {time} is no length to mute for: write 30min, 2h or 1d"),
    }
}

/// `Monday`, `tues` and `MON` are all `mon`; what is no day stays as it is, and the collector says what can be written.
fn weekday(text: &str) -> Value {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let word = text.trim().to_lowercase();
    let name = NAMES.iter().find(|name| word.len() >= 3 && name.starts_with(&word));
    name.map_or_else(|| json!(word), |name| json!(name[..3]))
}

fn what(matchers: &[Matcher]) -> String {
    if matchers.is_empty() {
        return "everything".into();
    }
    plain(&matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

fn left(ms: i64, now: i64) -> String {
    format!("in {}", duration(ms.saturating_sub(now).max(0) / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_in_many_ways() {
        for text in ["mon", "MON", "Monday", " mond "] {
            assert_eq!(weekday(text), json!("mon"), "{text}");
        }
        assert_eq!([weekday("tues"), weekday("mo"), weekday("someday")], ["tue", "mo", "someday"].map(|d| json!(d)));
    }

    #[test]
    fn a_minute_that_has_begun_counts() {
        let length = |text: &str| minutes(text.parse().unwrap()).ok();
        assert_eq!([length("2h"), length("90s"), length("1ms"), length("0s")], [Some(120), Some(2), Some(1), None]);
        assert!(minutes("0s".parse().unwrap()).unwrap_err().to_string().starts_with("--for: 0"));
    }
}
