//! Incidents for tests.

use crate::cause::EntityKind;
use crate::store::{CauseHead, Incident, IncidentId, IncidentState};

/// When incidents of tests begin.
pub const T0: i64 = 1_700_000_000_000;

/// An open incident of `web-1`.
pub fn incident(id: IncidentId) -> Incident {
    Incident {
        id,
        state: IncidentState::Open,
        muted_by: None,
        title: "requests are slow".into(),
        severity: 0.8,
        nodes: vec!["web-1".parse().unwrap()],
        onset_ms: T0,
        opened_ms: T0,
        updated_ms: T0,
        resolved_ms: None,
        assignee: None,
        label: None,
        events: 1,
        injected: false,
        revision: 1,
        cause: None,
        cause_label: None,
        entities: vec!["web-1/nginx.service".into()],
        gate: None,
        parent: None,
        merged_into: None,
        unstable: false,
    }
}

/// Who may be behind it.
pub fn cause(entity: &str, unsure: bool) -> CauseHead {
    CauseHead {
        entity: entity.into(),
        kind: EntityKind::Service,
        line: "RTT api → db 0.3 → 41 ms".into(),
        margin: if unsure { 0.05 } else { 0.5 },
        unsure,
    }
}
