//! Incidents: the inbox, and the page of one of them.
//!
//! The page answers in this order: what is wrong, why we think so, since when, who is affected, what changed before, what was folded
//! beneath, what happened. Each section has its file; this one puts them together.

mod before;
mod cause;
mod evidence;
mod excerpt;
mod list;
mod symptoms;
mod timeline;

pub use list::list;

use std::collections::HashSet;

use askama::Template;
use axum::extract::State;
use serde_json::json;

use self::cause::CauseSection;
use self::evidence::EventSection;
use self::excerpt::Excerpt;
use self::symptoms::{Affected, Symptoms};
use self::timeline::Timeline;
use super::format::{self, time};
use super::{Page, render};
use crate::api::{ApiError, ApiState, Path};
use crate::clock::now_ms;
use crate::incident::about::{About, node_of};
use crate::incident::correlator::alarms;
use crate::store::{Incident, IncidentDetail, IncidentQuery, IncidentState, NOWHERE};

/// Open incidents that one can be made a part of.
const OTHERS: usize = 50;

#[derive(Template)]
#[template(path = "incident.html")]
struct One {
    page: &'static str,
    live: &'static str,
    id: i64,
    title: String,
    mark: &'static str,
    state: String,
    severity: &'static str,
    nodes: Vec<String>,
    /// Nodes that are not named in the head.
    more_nodes: usize,
    since: String,
    ended: String,
    assignee: String,
    label: String,
    injected: bool,
    unstable: bool,
    parent: Option<i64>,
    merged_into: Option<i64>,
    gate: String,
    /// It takes orders: it is not part of another.
    can_say: bool,
    can_acknowledge: bool,
    can_resolve: bool,
    /// Some of its alarms may become an incident of their own.
    can_split: bool,
    labels: [(&'static str, &'static str); 5],
    cause: CauseSection,
    /// What a button says when the cause is right, as JSON.
    right: String,
    event: EventSection,
    onset: String,
    affected: Affected,
    excerpt: Option<Excerpt>,
    before: Vec<Moment>,
    symptoms: Symptoms,
    timeline: Timeline,
    timeline_left_out: String,
    clocks: String,
    silence: Silence,
    others: Vec<(i64, String)>,
}

const LABELS: [(&str, &str); 5] = [
    ("true", "A real problem"),
    ("false-alarm", "A false alarm"),
    ("maintenance", "Planned work"),
    ("duplicate", "Known already"),
    ("unsure", "Cannot tell"),
];

/// A line of a list in time.
pub struct Moment {
    /// By the clock, in UTC.
    when: String,
    /// From the onset on.
    offset: String,
    text: String,
}

/// What a silence of this would be.
struct Silence {
    matchers: String,
    reason: String,
}

/// Nodes that are named in the head.
const NODES: usize = 8;

/// What an incident is about, by name.
#[derive(Debug)]
pub struct Concern<'a> {
    nodes: HashSet<&'a str>,
    entities: HashSet<&'a str>,
}

impl<'a> Concern<'a> {
    fn of(detail: &'a IncidentDetail) -> Self {
        let i = &detail.incident;
        let cause = i.cause.as_ref().map(|c| c.entity.as_str());
        Self {
            nodes: i.nodes.iter().map(AsRef::as_ref).collect(),
            entities: i.entities.iter().map(String::as_str).chain(cause).collect(),
        }
    }

    /// Whether it is about this: by its own name, or by that of its node.
    fn has(&self, entity: &str) -> bool {
        let by_node = || node_of(entity).is_some_and(|n| self.nodes.contains(n) || self.entities.contains(n));
        self.entities.contains(entity) || by_node()
    }

    /// Whether it is about exactly this.
    fn names(&self, entity: &str) -> bool {
        self.entities.contains(entity)
    }
}

/// One incident.
pub async fn one(State(state): State<ApiState>, id: Result<Path<String>, ApiError>) -> Page {
    let Path(id) = id?;
    let id = id.parse().map_err(|_| ApiError::missing(format!("incident {id:?}"), "/incidents lists them"))?;
    let detail = crate::api::incident(&state, id).await?;
    let concern = Concern::of(&detail);
    let before = before::read(&state, &detail, &concern).await?;
    let excerpt = excerpt::read(&state, &detail, &concern, now_ms()).await;
    let open = IncidentQuery { open: Some(true), limit: Some(OTHERS + 1), ..IncidentQuery::default() };
    let others = if can_say(&detail.incident) { state.store.incidents(open).await? } else { Vec::new() };
    render(&page(&detail, before, excerpt, &others))
}

fn can_say(incident: &Incident) -> bool {
    incident.merged_into.is_none()
}

fn page(detail: &IncidentDetail, before: Vec<Moment>, excerpt: Option<Excerpt>, others: &[Incident]) -> One {
    let i = &detail.incident;
    let timeline = timeline::section(detail);
    One {
        page: "incidents",
        live: "incident event",
        id: i.id,
        title: i.title.clone(),
        mark: format::mark(i),
        state: format::state(i),
        severity: format::severity(i.severity),
        nodes: i.nodes.iter().take(NODES).map(ToString::to_string).collect(),
        more_nodes: i.nodes.len().saturating_sub(NODES),
        since: time(i.onset_ms),
        ended: i.resolved_ms.map_or_else(String::new, time),
        assignee: i.assignee.clone().unwrap_or_default(),
        label: i
            .label
            .and_then(|l| serde_json::to_value(l).ok())
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default(),
        injected: i.injected,
        unstable: i.unstable,
        parent: i.parent,
        merged_into: i.merged_into,
        gate: i.gate.clone().unwrap_or_default(),
        can_say: can_say(i),
        can_acknowledge: i.is_open() && i.state != IncidentState::Acknowledged,
        can_resolve: i.is_open(),
        can_split: can_say(i) && i.is_open() && detail.events.iter().filter(|e| alarms(e)).nth(1).is_some(),
        labels: LABELS,
        cause: cause::section(detail),
        right: json!({ "right": true }).to_string(),
        event: evidence::section(&detail.events),
        onset: format::clock(i.onset_ms, i64::MIN),
        affected: symptoms::affected(detail),
        excerpt,
        before,
        symptoms: symptoms::symptoms(detail),
        timeline_left_out: timeline::left_out(timeline.left_out),
        clocks: timeline.clocks.join("; "),
        timeline,
        silence: silence(detail),
        others: others.iter().filter(|o| o.id != i.id).take(OTHERS).map(|o| (o.id, o.title.clone())).collect(),
    }
}

/// A silence of what the worst event is about.
fn silence(detail: &IncidentDetail) -> Silence {
    let reason = format!("incident {}", detail.incident.id);
    let Some(record) = evidence::worst(&detail.events) else { return Silence { matchers: String::new(), reason } };
    let about = About::of(record);
    let node = record.event.head.node.as_str();
    let place = if node == NOWHERE { format!("entity={}", about.entity) } else { format!("node={node}") };
    let family = record.outside.as_ref().map_or(&about.family, |o| &o.family);
    Silence { matchers: format!("{place}\nfamily={family}"), reason }
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::{EventKind, Phase};

    use super::*;
    use crate::fixtures::{event, incident};
    use crate::store::{EventSource, Outside};

    #[test]
    fn a_silence_is_of_what_the_worst_event_is_about() {
        let mut record = event(1, EventKind::Rule, Phase::Open, 0);
        record.event.rule = Some("disk-full".into());
        let mut detail =
            IncidentDetail { incident: incident(), events: vec![record], audit: Vec::new(), ranking: None };
        assert_eq!(silence(&detail).matchers, "node=web-1\nfamily=disk-full");
        let outside = Outside {
            source: EventSource::Alert,
            entity: "alert:shop".into(),
            family: "Slow".into(),
            ..Outside::default()
        };
        detail.events[0].event.head.node = NOWHERE.parse().unwrap();
        detail.events[0].outside = Some(Box::new(outside));
        assert_eq!(silence(&detail).matchers, "entity=alert:shop\nfamily=Slow");
        detail.events.clear();
        assert_eq!(silence(&detail).matchers, "");
    }

    #[test]
    fn what_it_is_about_goes_by_name_or_by_node() {
        let mut detail = IncidentDetail { incident: incident(), events: Vec::new(), audit: Vec::new(), ranking: None };
        detail.incident.entities = vec!["db-1/postgresql.service".into(), "ext:192.0.2.7:443".into()];
        let concern = Concern::of(&detail);
        for entity in ["web-1", "web-1/nginx.service", "db-1/postgresql.service", "ext:192.0.2.7:443"] {
            assert!(concern.has(entity), "{entity}");
        }
        assert!(!concern.has("db-1/cron.service") && !concern.has("ext:192.0.2.8:443"));
        assert!(concern.names("db-1/postgresql.service") && !concern.names("web-1/nginx.service"));
    }
}
