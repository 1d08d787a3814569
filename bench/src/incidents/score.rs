//! What became of a fault: pure, of what was seen of the incidents while it was at work.

use serde::Serialize;

use super::catalogue::Culprit;
use super::office::{Causes, Named, Seen};

/// The course of one incident.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    /// As last seen.
    pub seen: Seen,
    /// Its rankings, each with when it was first seen, Unix milliseconds.
    pub rankings: Vec<(i64, Causes)>,
}

impl Course {
    /// Takes another look.
    pub fn look(&mut self, at_ms: i64, seen: Seen, causes: Option<Causes>) {
        self.seen = seen;
        if let Some(causes) = causes
            && self.rankings.last().is_none_or(|(_, last)| *last != causes)
        {
            self.rankings.push((at_ms, causes));
        }
    }
}

/// What is asked of a fault.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The fault.
    pub fault: &'a str,
    /// Who is behind it.
    pub culprits: &'a [Culprit],
    /// When it began, Unix milliseconds.
    pub injected_ms: i64,
}

/// A culprit, and whether it was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Found {
    /// The host behind the fault.
    pub culprit: String,
    /// The incident that should name it.
    pub incident: Option<i64>,
    /// Whom that incident named first at the end.
    pub first: Option<String>,
    /// At which place the culprit was at the end, from 1.
    pub rank: Option<usize>,
    /// Whether the ranking said that it was not sure.
    pub unsure: bool,
    /// Seconds from the fault until the culprit was first and stayed so.
    pub right_s: Option<f64>,
}

/// What became of a fault.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// The fault.
    pub fault: String,
    /// Why it did not run, if it did not.
    pub refused: Option<String>,
    /// Incidents that are right.
    pub wanted: usize,
    /// Incidents that opened and were not found to be part of another.
    pub incidents: usize,
    /// Those that were.
    pub merged: usize,
    /// Incidents that were open when it began.
    pub open_before: usize,
    /// Seconds from the fault to the first incident.
    pub opened_s: Option<f64>,
    /// Each culprit.
    pub causes: Vec<Found>,
    /// Notifications that arrived meanwhile.
    pub notifications: usize,
    /// Events that these incidents hold.
    pub events: u32,
    /// Titles of the incidents.
    pub titles: Vec<String>,
}

impl Outcome {
    /// A fault that did not run.
    pub fn refused(asked: &Asked<'_>, reason: String) -> Self {
        Self { fault: asked.fault.to_owned(), refused: Some(reason), wanted: asked.culprits.len(), ..Self::default() }
    }

    /// Whether as many incidents opened as are right.
    pub fn is_one_each(&self) -> bool {
        self.refused.is_none() && self.incidents == self.wanted
    }

    /// Whether each culprit is among the first `most` of its incident.
    pub fn is_found(&self, most: usize) -> bool {
        !self.causes.is_empty() && self.causes.iter().all(|c| c.rank.is_some_and(|rank| rank <= most))
    }
}

/// Judges the courses of the incidents that opened since the fault began.
pub fn judge(asked: &Asked<'_>, courses: &[Course], notifications: usize, open_before: usize) -> Outcome {
    let after = |at_ms: i64| at_ms.saturating_sub(asked.injected_ms) as f64 / 1000.0;
    let mut own: Vec<&Course> = courses.iter().filter(|c| c.seen.merged_into.is_none()).collect();
    own.sort_by_key(|c| (c.seen.opened_ms, c.seen.id));
    let found = asked.culprits.iter().map(|culprit| {
        let course = meant(culprit, asked.culprits.len(), &own);
        let last = course.and_then(|c| c.rankings.last()).map(|(_, causes)| causes);
        Found {
            culprit: culprit.host.to_owned(),
            incident: course.map(|c| c.seen.id),
            first: last.and_then(|l| l.causes.first()).map(|c| c.entity.clone()),
            rank: last.and_then(|l| rank(culprit, &l.causes)),
            unsure: last.is_some_and(|l| l.unsure),
            right_s: course.and_then(|c| right_since(culprit, &c.rankings)).map(after),
        }
    });
    Outcome {
        fault: asked.fault.to_owned(),
        refused: None,
        wanted: asked.culprits.len(),
        incidents: own.len(),
        merged: courses.len() - own.len(),
        open_before,
        opened_s: courses.iter().map(|c| c.seen.opened_ms).min().map(after),
        causes: found.collect(),
        notifications,
        events: own.iter().map(|c| c.seen.events).sum(),
        titles: own.iter().map(|c| c.seen.title.clone()).collect(),
    }
}

/// The incident that should name a culprit: the first, and where there are several culprits the first that concerns its host.
fn meant<'a>(culprit: &Culprit, culprits: usize, own: &[&'a Course]) -> Option<&'a Course> {
    let concerns = |course: &&&Course| course.seen.nodes.iter().any(|node| node == culprit.host);
    if culprits == 1 { own.first().copied() } else { own.iter().find(concerns).copied() }
}

fn rank(culprit: &Culprit, causes: &[Named]) -> Option<usize> {
    causes.iter().position(|c| culprit.is(&c.entity, &c.kind)).map(|place| place + 1)
}

/// Since when the culprit was first in every ranking.
fn right_since(culprit: &Culprit, rankings: &[(i64, Causes)]) -> Option<i64> {
    let right = rankings.iter().rev().take_while(|(_, causes)| rank(culprit, &causes.causes) == Some(1));
    right.last().map(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: Culprit = Culprit { host: "api-2", also: None };
    const MAIL: Culprit = Culprit { host: "mail-1", also: None };

    fn causes(names: &[&str]) -> Causes {
        let causes = names.iter().map(|n| Named { entity: (*n).to_owned(), kind: String::new() }).collect();
        Causes { causes, unsure: false }
    }

    fn course(id: i64, opened_ms: i64, node: &str, rankings: &[(i64, &[&str])]) -> Course {
        let seen = Seen { id, opened_ms, nodes: vec![node.to_owned()], events: 2, ..Seen::default() };
        let mut course = Course::default();
        course.look(0, seen.clone(), None);
        for (at, names) in rankings {
            course.look(*at, seen.clone(), Some(causes(names)));
        }
        course
    }

    fn asked(culprits: &[Culprit]) -> Asked<'_> {
        Asked { fault: "x", culprits, injected_ms: 1000 }
    }

    #[test]
    fn the_first_incident_has_to_name_the_culprit_until_the_end() {
        let rankings: [(i64, &[&str]); 4] = [
            (12_000, &["api-2"]),
            (20_000, &["web-1", "api-2/shop-api.service"]),
            (30_000, &["api-2/shop-api.service", "web-1"]),
            (40_000, &["api-2", "web-1"]),
        ];
        let one = [course(1, 9000, "web-1", &rankings)];
        let outcome = judge(&asked(&[API]), &one, 2, 0);
        let found = &outcome.causes[0];
        assert_eq!((outcome.incidents, outcome.opened_s, outcome.notifications), (1, Some(8.0), 2));
        assert_eq!((found.rank, found.right_s, found.first.as_deref()), (Some(1), Some(29.0), Some("api-2")));
        assert!(outcome.is_one_each() && outcome.is_found(1));

        let two = [course(1, 9000, "web-1", &rankings[..2]), course(2, 9500, "api-2", &rankings[3..])];
        let outcome = judge(&asked(&[API]), &two, 0, 1);
        assert_eq!((outcome.incidents, outcome.causes[0].rank, outcome.causes[0].right_s), (2, Some(2), None));
        assert!(!outcome.is_one_each() && !outcome.is_found(1) && outcome.is_found(3));
    }

    #[test]
    fn what_became_part_of_another_is_not_counted_twice() {
        let mut gone = course(1, 5000, "web-1", &[]);
        gone.seen.merged_into = Some(2);
        let outcome = judge(&asked(&[API]), &[gone, course(2, 7000, "api-2", &[])], 0, 0);
        assert_eq!((outcome.incidents, outcome.merged, outcome.opened_s), (1, 1, Some(4.0)));
        assert_eq!((outcome.causes[0].incident, outcome.causes[0].rank), (Some(2), None));
    }

    #[test]
    fn two_faults_are_two_incidents_with_a_culprit_each() {
        let both = [course(4, 9000, "mail-1", &[(9000, &["mail-1"])]), course(3, 8000, "api-2", &[(9000, &["api-2"])])];
        let outcome = judge(&asked(&[API, MAIL]), &both, 0, 0);
        assert!(outcome.is_one_each() && outcome.is_found(1), "{outcome:?}");
        assert_eq!(outcome.causes.iter().map(|c| c.incident).collect::<Vec<_>>(), [Some(3), Some(4)]);
        let outcome = judge(&asked(&[API, MAIL]), &both[..1], 0, 0);
        assert!(!outcome.is_one_each() && !outcome.is_found(3), "nobody named the first");
    }

    #[test]
    fn a_fault_that_brings_nothing_is_missed() {
        let outcome = judge(&asked(&[API]), &[], 0, 0);
        assert_eq!((outcome.incidents, outcome.opened_s, outcome.notifications), (0, None, 0));
        assert!(!outcome.is_one_each() && !outcome.is_found(3));
        let refused = Outcome::refused(&asked(&[API]), "no nft".into());
        assert!(!refused.is_one_each() && !refused.is_found(3));
    }
}
