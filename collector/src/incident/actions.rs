//! What people do to an incident. Pure: each gives the change to save, or says why it cannot be done.

use crate::store::{AuditEntry, Incident, IncidentChange, IncidentState, Label, StoreError};

/// Something a person does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// "I have it."
    Acknowledge,
    /// "It is over."
    Resolve,
    /// What it was.
    Label(Label),
    /// A remark.
    Comment(String),
    /// Who has it.
    Assign(Option<String>),
}

/// The change that an action makes.
///
/// # Errors
/// [`StoreError::Conflict`] when the incident's state does not allow it.
pub fn act(
    incident: &Incident,
    action: &Action,
    actor: &str,
    note: Option<String>,
    now_ms: i64,
) -> Result<IncidentChange, StoreError> {
    let mut incident = incident.clone();
    let conflict = |why: &str| Err(StoreError::Conflict(format!("incident {} {why}", incident.id)));
    let (word, note) = match action {
        Action::Acknowledge => match incident.state {
            IncidentState::Resolved => return conflict("is resolved already"),
            IncidentState::Acknowledged => return conflict("is acknowledged already"),
            _ => {
                incident.state = IncidentState::Acknowledged;
                incident.assignee.get_or_insert_with(|| actor.to_owned());
                ("acknowledged", note)
            }
        },
        Action::Resolve => {
            if incident.state == IncidentState::Resolved {
                return conflict("is resolved already");
            }
            incident.state = IncidentState::Resolved;
            incident.resolved_ms = Some(now_ms);
            ("resolved", note)
        }
        Action::Label(label) => {
            incident.label = Some(*label);
            let word = serde_json::to_value(label).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
            ("labelled", Some(note.map_or_else(|| word.clone(), |n| format!("{word}: {n}"))))
        }
        Action::Comment(text) => ("commented", Some(text.clone())),
        Action::Assign(who) => {
            incident.assignee.clone_from(who);
            ("assigned", Some(who.clone().unwrap_or_else(|| "nobody".into())))
        }
    };
    incident.updated_ms = now_ms;
    let audit = AuditEntry { at_ms: now_ms, actor: actor.to_owned(), action: word.into(), note };
    Ok(IncidentChange { incident, event: None, audit: vec![audit] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::incident;

    #[test]
    fn the_life_of_an_incident() {
        let taken = act(&incident(), &Action::Acknowledge, "ana", None, 5).unwrap();
        assert_eq!(
            (taken.incident.state, taken.incident.assignee.as_deref()),
            (IncidentState::Acknowledged, Some("ana"))
        );
        assert_eq!(taken.audit[0].action, "acknowledged");
        assert!(act(&taken.incident, &Action::Acknowledge, "bo", None, 6).is_err());
        let over = act(&taken.incident, &Action::Resolve, "ana", Some("restarted it".into()), 9).unwrap();
        assert_eq!((over.incident.state, over.incident.resolved_ms), (IncidentState::Resolved, Some(9)));
        assert!(act(&over.incident, &Action::Acknowledge, "ana", None, 10).is_err());
        let labelled = act(&over.incident, &Action::Label(Label::FalseAlarm), "ana", None, 11).unwrap();
        assert_eq!(
            (labelled.incident.label, labelled.audit[0].note.as_deref()),
            (Some(Label::FalseAlarm), Some("false-alarm"))
        );
    }
}
