//! What changed before: context of the same nodes, announced changes, and edges that appeared or vanished.

use tacit_wire::message::EventKind;

use super::timeline::{here, moment};
use super::{Concern, Moment};
use crate::api::{ApiError, ApiState};
use crate::cause::constants::{CHANGE_MS, CHANGE_SLACK_MS};
use crate::incident::about::About;
use crate::incident::correlator::alarms;
use crate::store::{ChangeKind, EventQuery, EventRecord, EventSource, IncidentDetail, MapChange, NOWHERE};

/// Events of that time that are looked through.
const EVENTS_MAX: usize = 1000;
/// Changes of the map that are looked through.
const MAP_MAX: usize = 1000;
/// Lines: the last before the onset.
const LINES: usize = 40;

/// Reads what changed in the half hour before an incident.
///
/// # Errors
/// When the store cannot be asked.
pub async fn read(state: &ApiState, detail: &IncidentDetail, concern: &Concern<'_>) -> Result<Vec<Moment>, ApiError> {
    let onset_ms = detail.incident.onset_ms;
    let (from, to) = (onset_ms.saturating_sub(CHANGE_MS), onset_ms.saturating_add(CHANGE_SLACK_MS));
    let query =
        EventQuery { since_ms: Some(from), until_ms: Some(to), limit: Some(EVENTS_MAX), ..EventQuery::default() };
    let events = state.store.events(query).await?;
    let changes = state.store.map_changes(from, to, MAP_MAX).await?;
    Ok(lines(detail, &events, &changes, concern))
}

fn lines(detail: &IncidentDetail, events: &[EventRecord], changes: &[MapChange], concern: &Concern<'_>) -> Vec<Moment> {
    let onset_ms = detail.incident.onset_ms;
    let time = onset_ms.saturating_sub(CHANGE_MS)..=onset_ms.saturating_add(CHANGE_SLACK_MS);
    let mut list: Vec<(i64, String)> = Vec::new();
    // What the map says comes from the map itself.
    let is_told = |e: &&EventRecord| e.event.kind == EventKind::Context && e.source() != EventSource::Map;
    for record in events.iter().filter(is_told).filter(|e| is_near(e, concern)) {
        list.push((record.onset_ms, format!("{}: {}", About::of(record).entity, record.event.text)));
    }
    for record in detail.events.iter().filter(|e| alarms(e)) {
        let node = &record.event.head.node;
        list.extend(record.event.context.iter().map(|c| (here(record, c.at_ms), format!("{node}: {}", c.text))));
    }
    let is_new = |c: &&MapChange| matches!(c.kind, ChangeKind::Appeared | ChangeKind::Vanished);
    let of_map = changes.iter().filter(is_new).filter(|c| concern.has(&c.client) || concern.has(&c.server));
    list.extend(of_map.map(|c| (c.at_ms, c.text.clone())));
    list.retain(|(at, _)| time.contains(at));
    list.sort();
    // What an event says of its context is an event of its own, too.
    list.dedup();
    let skip = list.len().saturating_sub(LINES);
    list.into_iter().skip(skip).map(|(at, text)| moment(at, onset_ms, text)).collect()
}

/// Whether something that happened may have to do with the incident: the same nodes or services; of what was announced without
/// saying where, anything may.
fn is_near(record: &EventRecord, concern: &Concern<'_>) -> bool {
    let nowhere = record.event.head.node.as_str() == NOWHERE && record.source() == EventSource::Change;
    nowhere || concern.has(&About::of(record).entity)
}

#[cfg(test)]
mod tests {
    use tacit_wire::message::{Context, ContextKind, Phase};

    use super::*;
    use crate::fixtures::{event, incident};
    use crate::store::Outside;

    fn change(kind: ChangeKind, client: &str, at_ms: i64) -> MapChange {
        MapChange {
            at_ms,
            edge: format!("{client}>db-1/postgresql.service:tcp/5432"),
            client: client.into(),
            server: "db-1/postgresql.service".into(),
            kind,
            text: format!("{client} is new"),
            observed: None,
            usual: None,
        }
    }

    #[test]
    fn what_changed_before_is_near_in_time_and_place() {
        let mut alarm = event(1, EventKind::Anomaly, Phase::Open, 0);
        alarm.event.context =
            vec![Context { kind: ContextKind::Change, at_ms: -120_000, text: "nginx upgraded".into(), unit: None }];
        let detail = IncidentDetail { incident: incident(), events: vec![alarm], audit: Vec::new(), ranking: None };
        let context = |id: u8, node: &str, at_ms: i64| {
            let mut record = event(id, EventKind::Context, Phase::Open, at_ms);
            record.event.head.node = node.parse().unwrap();
            record
        };
        let mut deploy = context(5, NOWHERE, -30_000);
        deploy.event.text = "deploy 12".into();
        let outside = Outside { source: EventSource::Change, entity: "change:shop".into(), ..Outside::default() };
        deploy.outside = Some(Box::new(outside));
        let events =
            [context(2, "web-1", -60_000), context(3, "far-1", -60_000), context(4, "web-1", -3_600_000), deploy];
        let changes = [
            change(ChangeKind::Appeared, "web-1/nginx.service", -240_000),
            change(ChangeKind::Failing, "web-1/other.service", -200_000),
            change(ChangeKind::Vanished, "far-1/job.service", -200_000),
        ];
        let told = lines(&detail, &events, &changes, &Concern::of(&detail));
        let told: Vec<_> = told.iter().map(|m| (m.offset.as_str(), m.text.as_str())).collect();
        assert_eq!(
            told,
            [
                ("−4 min", "web-1/nginx.service is new"),
                ("−2 min", "web-1: nginx upgraded"),
                ("−1 min", "web-1: event 2"),
                ("−30 s", "change:shop: deploy 12"),
            ]
        );
    }
}
