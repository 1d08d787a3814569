//! What people do to an incident. Pure: each gives the change to save, or says why it cannot be done.
//!
//! Everything leaves a line in the trail of the incident that it is done to. An incident that became part of another is closed for
//! good: what is to be said is said there.

mod merge;
mod split;

pub use merge::{Merge, merge};
pub use split::{after_split, split_off};

use crate::store::{AuditEntry, CauseLabel, Incident, IncidentChange, IncidentId, IncidentState, Label, StoreError};

/// Something a person does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// "I have it."
    Acknowledge,
    /// "It is over."
    Resolve,
    /// What it was; a duplicate may name the other one.
    Label(Label, Option<IncidentId>),
    /// Whether the cause that was found is right, or which it was.
    Cause(CauseLabel),
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
    still_one(incident)?;
    let mut incident = incident.clone();
    let (word, note) = match action {
        Action::Acknowledge => match incident.state {
            IncidentState::Resolved => return Err(conflict(&incident, "is resolved already")),
            IncidentState::Acknowledged => return Err(conflict(&incident, "is acknowledged already")),
            _ => {
                incident.state = IncidentState::Acknowledged;
                incident.assignee.get_or_insert_with(|| actor.to_owned());
                // Somebody looks: whatever kept it quiet has nothing to keep quiet any more.
                let was_muted = incident.muted_by.take().map(|by| format!("it was muted by {by}"));
                ("acknowledged", joined(was_muted, note))
            }
        },
        Action::Resolve => {
            if incident.state == IncidentState::Resolved {
                return Err(conflict(&incident, "is resolved already"));
            }
            incident.state = IncidentState::Resolved;
            incident.resolved_ms = Some(now_ms);
            ("resolved", note)
        }
        Action::Label(label, of) => {
            if *of == Some(incident.id) {
                return Err(conflict(&incident, "cannot be a duplicate of itself"));
            }
            incident.label = Some(*label);
            let of = of.map_or_else(String::new, |of| format!(" of incident {of}"));
            ("labelled", joined(Some(label_word(*label) + &of), note))
        }
        Action::Cause(said) => {
            let (said, words) = cause(&incident, said)?;
            incident.cause_label = Some(said);
            ("cause-labelled", joined(Some(words), note))
        }
        Action::Comment(text) => ("commented", Some(text.clone())),
        Action::Assign(who) => {
            incident.assignee.clone_from(who);
            ("assigned", Some(who.clone().unwrap_or_else(|| "nobody".into())))
        }
    };
    incident.updated_ms = now_ms;
    Ok(change(incident, entry(actor, word, note, now_ms)))
}

/// What a person says of the cause, as it is kept and in words. Naming the one that was found says that it is right.
fn cause(incident: &Incident, said: &CauseLabel) -> Result<(CauseLabel, String), StoreError> {
    let found = incident.cause.as_ref().map(|c| c.entity.as_str());
    match (said, found) {
        (CauseLabel::Right, Some(found)) => Ok((CauseLabel::Right, format!("right: {found}"))),
        (CauseLabel::Right, None) => Err(conflict(incident, "has no cause that could be right: name the one it was")),
        (CauseLabel::Was(it), Some(found)) if it == found => Ok((CauseLabel::Right, format!("right: {found}"))),
        (CauseLabel::Was(it), Some(found)) => Ok((said.clone(), format!("it was {it}, not {found}"))),
        (CauseLabel::Was(it), None) => Ok((said.clone(), format!("it was {it}"))),
    }
}

/// A label as the API writes it.
fn label_word(label: Label) -> String {
    serde_json::to_value(label).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What is said anyway, and what the person adds.
fn joined(words: Option<String>, note: Option<String>) -> Option<String> {
    match (words, note) {
        (Some(words), Some(note)) => Some(format!("{words}: {note}")),
        (words, note) => words.or(note),
    }
}

/// An incident that became part of another takes no more orders.
fn still_one(incident: &Incident) -> Result<(), StoreError> {
    match incident.merged_into {
        Some(into) => Err(conflict(incident, format!("became part of incident {into}: act on that one"))),
        None => Ok(()),
    }
}

fn conflict(incident: &Incident, why: impl std::fmt::Display) -> StoreError {
    StoreError::Conflict(format!("incident {} {why}", incident.id))
}

fn entry(actor: &str, action: &str, note: Option<String>, at_ms: i64) -> AuditEntry {
    AuditEntry { at_ms, actor: actor.to_owned(), action: action.to_owned(), note }
}

fn change(incident: Incident, audit: AuditEntry) -> IncidentChange {
    IncidentChange { incident, event: None, also: Vec::new(), audit: vec![audit] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::EntityKind;
    use crate::fixtures::incident;
    use crate::store::CauseHead;

    fn note(change: &IncidentChange) -> (&str, &str) {
        (&change.audit[0].action, change.audit[0].note.as_deref().unwrap_or("-"))
    }

    fn caused(entity: &str) -> Incident {
        let head = CauseHead {
            entity: entity.into(),
            kind: EntityKind::Service,
            line: "connects fail".into(),
            margin: 0.4,
            unsure: false,
        };
        Incident { id: 7, cause: Some(head), ..incident() }
    }

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
        let labelled = act(&over.incident, &Action::Label(Label::FalseAlarm, None), "ana", None, 11).unwrap();
        assert_eq!(labelled.incident.label, Some(Label::FalseAlarm));
        assert_eq!(note(&labelled), ("labelled", "false-alarm"));
    }

    #[test]
    fn a_duplicate_may_say_of_which() {
        let known = Incident { id: 7, ..incident() };
        let label = |of| act(&known, &Action::Label(Label::Duplicate, of), "ana", Some("same disk".into()), 1);
        assert_eq!(note(&label(Some(3)).unwrap()), ("labelled", "duplicate of incident 3: same disk"));
        assert_eq!(note(&label(None).unwrap()), ("labelled", "duplicate: same disk"));
        assert!(label(Some(7)).unwrap_err().to_string().contains("duplicate of itself"));
    }

    #[test]
    fn what_was_muted_can_be_taken_and_ended() {
        let quiet = Incident { state: IncidentState::Muted, muted_by: Some("silence 3".into()), ..incident() };
        let taken = act(&quiet, &Action::Acknowledge, "ana", Some("I look".into()), 5).unwrap();
        assert_eq!((taken.incident.state, taken.incident.muted_by.as_deref()), (IncidentState::Acknowledged, None));
        assert_eq!(note(&taken), ("acknowledged", "it was muted by silence 3: I look"));
        // What is over keeps what had muted it: somebody may ask.
        let over = act(&quiet, &Action::Resolve, "ana", None, 5).unwrap().incident;
        assert_eq!((over.state, over.muted_by.as_deref()), (IncidentState::Resolved, Some("silence 3")));
    }

    #[test]
    fn a_cause_is_right_or_another() {
        let say = |said, of: &Incident| act(of, &Action::Cause(said), "ana", None, 5);
        let right = say(CauseLabel::Right, &caused("db-1/postgresql.service")).unwrap();
        assert_eq!(right.incident.cause_label, Some(CauseLabel::Right));
        assert_eq!(note(&right), ("cause-labelled", "right: db-1/postgresql.service"));
        let other = say(CauseLabel::Was("sw-1".into()), &caused("db-1")).unwrap();
        assert_eq!(other.incident.cause_label, Some(CauseLabel::Was("sw-1".into())));
        assert_eq!(note(&other).1, "it was sw-1, not db-1");
        let named = say(CauseLabel::Was("db-1".into()), &caused("db-1")).unwrap();
        assert_eq!(named.incident.cause_label, Some(CauseLabel::Right));
        assert!(say(CauseLabel::Right, &incident()).is_err());
        assert_eq!(note(&say(CauseLabel::Was("sw-1".into()), &incident()).unwrap()).1, "it was sw-1");
    }

    #[test]
    fn what_became_part_of_another_takes_no_orders() {
        let gone = Incident { id: 7, state: IncidentState::Resolved, merged_into: Some(3), ..incident() };
        for action in [Action::Acknowledge, Action::Resolve, Action::Comment("x".into()), Action::Assign(None)] {
            let said = act(&gone, &action, "ana", None, 1).unwrap_err().to_string();
            assert_eq!(said, "incident 7 became part of incident 3: act on that one", "{action:?}");
        }
    }
}
