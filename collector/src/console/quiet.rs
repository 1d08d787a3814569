//! Silences and windows: who muted what, until when and why, forms to make them, and the trail of all of it.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::format::{ahead, time};
use super::{Page, render};
use crate::api::quiet::{WindowState, read_silences, read_windows};
use crate::api::{ApiError, ApiState, Query};
use crate::clock::now_ms;
use crate::incident::quiet::{LIFE_DAYS, MINUTES_MAX, MUTE_DAYS, matches_everything, schedule};
use crate::store::{Matcher, Silence, TrailEntry};

/// Lines of the trail that are looked through, and those of them that are shown.
const TRAIL_READ: usize = 1000;
const TRAIL_SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "quiet.html")]
struct Quiet {
    page: &'static str,
    live: &'static str,
    silences: Vec<SilenceRow>,
    windows: Vec<WindowRow>,
    trail: Vec<Line>,
    matchers: String,
    days: [(&'static str, &'static str); 7],
    lengths: [(u32, &'static str); 6],
    mute_days: i64,
    life_days: i64,
    minutes_max: u32,
}

const DAYS: [(&str, &str); 7] =
    [("mon", "Mon"), ("tue", "Tue"), ("wed", "Wed"), ("thu", "Thu"), ("fri", "Fri"), ("sat", "Sat"), ("sun", "Sun")];
const LENGTHS: [(u32, &str); 6] = [
    (30, "30 minutes"),
    (120, "2 hours"),
    (480, "8 hours"),
    (1440, "a day"),
    (7 * 1440, "a week"),
    (30 * 1440, "30 days"),
];

struct SilenceRow {
    id: i64,
    matchers: Vec<String>,
    everything: bool,
    /// When it begins, if that is still to come.
    begins: Option<String>,
    until: String,
    actor: String,
    made: String,
    reason: String,
}

struct WindowRow {
    id: i64,
    name: String,
    matchers: Vec<String>,
    everything: bool,
    schedule: String,
    open_until: Option<String>,
    next: Option<String>,
    until: String,
    owner: String,
    reason: String,
    used: Option<String>,
    warning: Option<String>,
}

struct Line {
    when: String,
    what: String,
    actor: String,
    note: Option<String>,
}

/// What a link to the page may put into its form.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// Matchers, one a line.
    #[serde(default)]
    matchers: String,
}

/// The page.
pub async fn page(State(state): State<ApiState>, asked: Result<Query<Asked>, ApiError>) -> Page {
    let Query(asked) = asked?;
    let now = now_ms();
    let silences = read_silences(&state, false).await?;
    let windows = read_windows(&state, false).await?;
    let trail = state.store.trail(TRAIL_READ).await?;
    render(&Quiet {
        page: "quiet",
        live: "",
        silences: silences.iter().map(|s| silence(s, now)).collect(),
        windows: windows.iter().map(window).collect(),
        trail: trail.iter().filter(|e| is_ours(e)).take(TRAIL_SHOWN).map(line).collect(),
        matchers: asked.matchers,
        days: DAYS,
        lengths: LENGTHS,
        mute_days: MUTE_DAYS,
        life_days: LIFE_DAYS,
        minutes_max: MINUTES_MAX,
    })
}

fn shown(matchers: &[Matcher]) -> Vec<String> {
    matchers.iter().map(ToString::to_string).collect()
}

fn silence(s: &Silence, now_ms: i64) -> SilenceRow {
    SilenceRow {
        id: s.id,
        matchers: shown(&s.matchers),
        everything: matches_everything(&s.matchers),
        begins: (s.starts_ms > now_ms).then(|| ahead(s.starts_ms)),
        until: ahead(s.until_ms()),
        actor: s.actor.clone(),
        made: time(s.made_ms),
        reason: s.reason.clone(),
    }
}

fn window(state: &WindowState) -> WindowRow {
    let w = &state.window;
    WindowRow {
        id: w.id,
        name: w.name.clone(),
        matchers: shown(&w.matchers),
        everything: matches_everything(&w.matchers),
        schedule: schedule(w),
        open_until: state.open_until_ms.map(ahead),
        next: state.next_ms.map(ahead),
        until: ahead(w.until_ms()),
        owner: w.owner.clone(),
        reason: w.reason.clone(),
        used: w.used_ms.map(time),
        warning: state.warning.clone(),
    }
}

fn is_ours(entry: &TrailEntry) -> bool {
    ["silence-", "window-"].iter().any(|ours| entry.action.starts_with(ours))
}

fn line(entry: &TrailEntry) -> Line {
    let verb = entry.action.rsplit('-').next().unwrap_or_default();
    Line {
        when: time(entry.at_ms),
        what: format!("{} {verb}", entry.subject),
        actor: entry.actor.clone(),
        note: entry.note.clone(),
    }
}
