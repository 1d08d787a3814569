//! The digest: what disturbed nobody, and why. Nothing that is kept from people is kept from this page.

use askama::Template;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;

use super::format::{Line, clock, counted, line, time};
use super::{Fact, Page, Tab, render};
use crate::api::digest::{Days, Digest, DigestEvent, Suppressed, Tally, read_digest, read_suppressed};
use crate::api::rankings::{Scores, read_scores};
use crate::api::{ApiError, ApiState, Query};
use crate::clock::now_ms;
use crate::store::{Label, TrailEntry};

const DAY_MS: i64 = 24 * 3_600_000;
/// Days that one can go to.
const DAYS: i64 = 7;
/// Lines of each count.
const TALLY_LINES: usize = 15;
/// Lines of the trail.
const TRAIL_LINES: usize = 50;

#[derive(Template)]
#[template(path = "digest.html")]
struct DigestPage {
    page: &'static str,
    live: &'static str,
    days: Vec<Tab>,
    sentence: String,
    tallies: Vec<TallyTable>,
    listed: String,
    events: Vec<EventLine>,
    muted: Vec<Line>,
    were_muted: Vec<Line>,
    folded_sentence: String,
    folded: Vec<FoldedLine>,
    unstable: Vec<Line>,
    merged: Vec<Line>,
    scores: Vec<Fact>,
    trail: Vec<Done>,
}

struct TallyTable {
    head: &'static str,
    rows: Vec<Tally>,
}

struct EventLine {
    when: String,
    entity: String,
    source: &'static str,
    family: String,
    text: String,
    why: String,
}

struct FoldedLine {
    id: i64,
    events: String,
    title: String,
}

struct Done {
    when: String,
    text: String,
}

/// Which day the page shows.
#[derive(Debug, Deserialize)]
pub struct Asked {
    day: Option<String>,
}

/// The page.
pub async fn page(State(state): State<ApiState>, asked: Result<Query<Asked>, ApiError>) -> Page {
    let Query(Asked { day }) = asked?;
    let day = day.filter(|d| !d.trim().is_empty());
    let days = Days { day: day.clone(), ..Days::default() };
    let digest = read_digest(&state, &days).await?;
    let suppressed = read_suppressed(&state).await?;
    let scores = read_scores(&state).await?;
    let trail = state.store.trail(TRAIL_LINES).await?;
    render(&whole(day.as_deref(), digest, &suppressed, &scores, &trail))
}

fn whole(
    day: Option<&str>,
    digest: Digest,
    suppressed: &Suppressed,
    scores: &Scores,
    trail: &[TrailEntry],
) -> DigestPage {
    let lines = |all: &[crate::store::Incident]| all.iter().map(line).collect::<Vec<_>>();
    let folded = suppressed.folded.iter().map(|f| FoldedLine {
        id: f.incident,
        events: counted(f.events as usize, "more event", "more events"),
        title: f.title.clone(),
    });
    DigestPage {
        page: "incidents",
        live: "",
        days: days(day),
        sentence: sentence(&digest, day),
        listed: format!("The newest {} of them, each with why", digest.events.len()),
        events: digest.events.iter().map(|e| event(e, digest.to_ms)).collect(),
        tallies: tallies(digest),
        muted: lines(&suppressed.muted),
        were_muted: lines(&suppressed.were_muted),
        folded_sentence: match suppressed.folded_events {
            0 => "Every open incident holds one event.".into(),
            1 => "One event belongs to an incident that was told of before.".into(),
            n => format!("{n} events belong to incidents that were told of before."),
        },
        folded: folded.collect(),
        unstable: lines(&suppressed.unstable),
        merged: lines(&suppressed.merged),
        scores: facts(scores),
        trail: trail.iter().map(done).collect(),
    }
}

/// The last days, by name.
fn days(asked: Option<&str>) -> Vec<Tab> {
    let last =
        Tab { words: "Last 24 hours".into(), link: "/digest".into(), here: asked.is_none(), count: String::new() };
    let day = |n: i64| {
        let at = Timestamp::from_millisecond(now_ms().saturating_sub(n * DAY_MS)).unwrap_or(Timestamp::UNIX_EPOCH);
        let day = at.strftime("%Y-%m-%d").to_string();
        let words = at.strftime("%a %d").to_string();
        Tab { link: format!("/digest?day={day}"), here: asked == Some(day.as_str()), words, count: String::new() }
    };
    std::iter::once(last).chain((0..DAYS).map(day)).collect()
}

fn sentence(digest: &Digest, day: Option<&str>) -> String {
    let when = if day.is_some() { "that day, in UTC" } else { "the last 24 hours" };
    match digest.events_counted {
        0 => format!("No event of {when} was left out: each belongs to an incident, or there was none."),
        1 => format!("One event of {when} opened nothing."),
        n if digest.complete => format!("{n} events of {when} opened nothing."),
        n => format!("More than {n} events of {when} opened nothing; the newest {n} are counted here."),
    }
}

fn tallies(digest: Digest) -> Vec<TallyTable> {
    let all = [("Why", digest.reasons), ("About", digest.entities), ("In which respect", digest.families)];
    let table = |(head, mut rows): (&'static str, Vec<Tally>)| {
        rows.truncate(TALLY_LINES);
        TallyTable { head, rows }
    };
    all.into_iter().map(table).collect()
}

fn event(e: &DigestEvent, to_ms: i64) -> EventLine {
    EventLine {
        when: clock(e.onset_ms, to_ms.saturating_sub(1)),
        entity: e.entity.clone(),
        source: e.source.as_str(),
        family: e.family.clone(),
        text: e.text.clone(),
        why: e.why.clone(),
    }
}

fn done(entry: &TrailEntry) -> Done {
    let note = entry.note.as_ref().map_or_else(String::new, |n| format!(": {n}"));
    Done { when: time(entry.at_ms), text: format!("{}, {} by {}{note}", entry.subject, entry.action, entry.actor) }
}

/// Scores in words; none while nobody has labelled anything.
fn facts(scores: &Scores) -> Vec<Fact> {
    let share = |s: Option<f32>| s.map_or_else(|| "–".to_owned(), |s| format!("{:.0} %", s * 100.0));
    let of = |label: Label| scores.labels.iter().find(|l| l.label == label).map_or(0, |l| l.incidents);
    let mut facts = Vec::new();
    if scores.labels.iter().any(|l| l.incidents > 0) {
        let (good, false_alarms) = (of(Label::True), of(Label::FalseAlarm));
        facts.push(Fact::new("Real problems", format!("{good}, and {false_alarms} false alarms")));
        facts.push(Fact::new("Share that was real", share(scores.precision)));
        facts.push(Fact::new("Planned work", of(Label::Maintenance)));
        facts.push(Fact::new("Known already", of(Label::Duplicate)));
    }
    if scores.causes > 0 {
        facts.push(Fact::new("Causes that were judged", scores.causes));
        facts.push(Fact::new("The first was it", share(scores.at_1)));
        facts.push(Fact::new("Among the first three", share(scores.at_3)));
        facts.push(Fact::new("Among the first five", share(scores.at_5)));
        facts.push(Fact::new("The first, when it was sure", share(scores.at_1_when_sure)));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_can_be_sent_and_today_is_among_them() {
        let all = days(None);
        assert_eq!((all.len(), all[0].here, all[1].here), (8, true, false));
        let today = all[1].link.trim_start_matches("/digest?day=").to_owned();
        assert!(days(Some(&today))[1].here && !days(Some(&today))[0].here);
    }

    #[test]
    fn what_was_not_counted_is_said() {
        let mut digest = Digest {
            from_ms: 0,
            to_ms: DAY_MS,
            events_counted: 1,
            complete: true,
            reasons: Vec::new(),
            entities: Vec::new(),
            families: Vec::new(),
            events: Vec::new(),
        };
        assert_eq!(sentence(&digest, None), "One event of the last 24 hours opened nothing.");
        digest.events_counted = 0;
        assert!(sentence(&digest, Some("1970-01-01")).starts_with("No event of that day"));
        (digest.events_counted, digest.complete) = (10_000, false);
        assert!(sentence(&digest, None).starts_with("More than 10000 events"));
    }

    #[test]
    fn scores_are_shown_when_there_are_labels() {
        assert!(facts(&Scores::default()).is_empty());
        let judged = Scores { causes: 4, at_1: Some(0.5), ..Scores::default() };
        let names: Vec<_> = facts(&judged).iter().map(|f| (f.name, f.value.clone())).collect();
        assert_eq!(names[1], ("The first was it", "50 %".to_owned()));
    }
}
