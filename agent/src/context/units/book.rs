//! What is known of each unit, and what a change of it means. Pure: links, answers and times are given.

use std::collections::{BTreeSet, HashMap};

use tacit_wire::message::ContextKind;

use super::links::Links;
use super::systemctl::{Listed, Shown};
use crate::clock::Tick;

/// Most units remembered and asked about.
const MOST: usize = 2048;
/// Most units of one question.
pub const ASKED: usize = 64;
/// Distance of questions to systemd.
const ASK_EVERY_MS: u64 = 30_000;
/// Distance of lists: they mend what links alone would miss, such as a failed unit that somebody reset.
const LIST_EVERY_MS: u64 = 5 * 60_000;

/// A unit that rules look at: it failed, or systemd restarted it since the agent watches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UnitState {
    /// Its name.
    pub name: String,
    /// It failed and does not run.
    pub failed: bool,
    /// How it ended last, in words.
    pub why: String,
    /// Times systemd restarted it since the agent watches; only rises.
    pub restarts: u64,
    /// When its state changed.
    pub changed: Tick,
}

/// What to ask systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Which units run or failed.
    List,
    /// How these units are.
    Show(Vec<String>),
}

/// Something that happened to a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    /// Kind of note.
    pub kind: ContextKind,
    /// When.
    pub at: Tick,
    /// The unit.
    pub unit: String,
    /// In words.
    pub text: String,
}

#[derive(Debug, Clone, Default)]
struct Known {
    /// The run it is in; 0 when it does not run.
    run: u128,
    /// It was seen running as a daemon: its end and its return are worth a note.
    daemon: bool,
    /// `NRestarts` as last answered.
    answered: Option<u64>,
    state: UnitState,
}

/// All units.
#[derive(Debug, Default)]
pub struct Book {
    units: HashMap<String, Known>,
    /// Units that changed since they were asked about.
    changed: BTreeSet<String>,
    /// The first look only learns what is there.
    begun: bool,
    asked_ms: Option<u64>,
    listed_ms: Option<u64>,
    listed: bool,
}

impl Book {
    /// Compares the links with those before.
    pub fn see(&mut self, links: &Links) {
        for (name, known) in &mut self.units {
            if known.run != 0 && !links.contains_key(name) {
                known.run = 0;
                self.changed.insert(name.clone());
            }
        }
        for (name, run) in links {
            if self.units.len() >= MOST && !self.units.contains_key(name) {
                continue;
            }
            let known = self.units.entry(name.clone()).or_default();
            if known.run != *run {
                known.run = *run;
                if self.begun {
                    self.changed.insert(name.clone());
                }
            }
        }
        self.begun = true;
        // What neither runs nor failed nor waits for an answer need not be remembered.
        let changed = &self.changed;
        self.units.retain(|name, k| {
            k.run != 0 || k.state.failed || k.daemon || k.state.restarts > 0 || changed.contains(name)
        });
    }

    /// What to ask now (milliseconds since boot), at most every 30 seconds.
    pub fn question(&mut self, now_ms: u64) -> Option<Question> {
        let since = |then: Option<u64>| then.map_or(u64::MAX, |then| now_ms.saturating_sub(then));
        if since(self.asked_ms) < ASK_EVERY_MS {
            return None;
        }
        if since(self.listed_ms) >= LIST_EVERY_MS {
            (self.asked_ms, self.listed_ms) = (Some(now_ms), Some(now_ms));
            return Some(Question::List);
        }
        let names: Vec<String> = self.changed.iter().take(ASKED).cloned().collect();
        if names.is_empty() {
            return None;
        }
        self.changed.retain(|name| !names.contains(name));
        self.asked_ms = Some(now_ms);
        Some(Question::Show(names))
    }

    /// A question got no answer: what was asked is asked again.
    pub fn unanswered(&mut self, question: Question) {
        match question {
            Question::List => self.listed_ms = None,
            Question::Show(names) => self.changed.extend(names),
        }
    }

    /// Takes a list over: what failed is asked about, and so is what failed before and is not in the list any more.
    pub fn list(&mut self, list: &[Listed]) {
        for unit in list {
            if self.units.len() >= MOST && !self.units.contains_key(&unit.name) {
                continue;
            }
            let known = self.units.entry(unit.name.clone()).or_default();
            if unit.failed != known.state.failed {
                self.changed.insert(unit.name.clone());
            }
            // Those that ran before the agent came.
            known.daemon |= !self.listed && !unit.failed && unit.name.ends_with(".service");
        }
        for (name, known) in &self.units {
            if known.state.failed && !list.iter().any(|u| u.failed && u.name == *name) {
                self.changed.insert(name.clone());
            }
        }
        self.listed = true;
        // The answer to what failed is worth not waiting for.
        self.asked_ms = self.asked_ms.filter(|_| self.changed.is_empty());
    }

    /// Takes an answer over and says what happened. `mono_us` is the monotonic clock at `now`, in which systemd counts.
    pub fn answer(&mut self, shown: &[Shown], now: Tick, mono_us: u64) -> Vec<Happening> {
        let mut happened = Vec::new();
        for unit in shown {
            if !unit.loaded {
                self.units.remove(&unit.id);
                continue;
            }
            let ago_ms = mono_us.saturating_sub(unit.changed_us) / 1000;
            let at = ago(now, ago_ms);
            let known = self.units.entry(unit.id.clone()).or_default();
            let restarts = known.restarted(unit);
            let why = unit.why();
            let was = known.daemon;
            let runs = unit.sub == "running";
            known.state.name.clone_from(&unit.id);
            known.state.failed = unit.active == "failed";
            known.state.restarts += restarts;
            known.state.changed = at;
            if let Some(why) = &why {
                known.state.why.clone_from(why);
            }
            // Between two starts by systemd it is still a daemon.
            known.daemon = runs || (was && unit.active == "activating");
            if !unit.id.ends_with(".service") {
                continue;
            }
            let text = match (restarts, was, runs) {
                (0, true, true) => format!("{} was restarted", unit.id),
                (0, false, true) => format!("{} was started", unit.id),
                (0, true, false) if unit.active == "inactive" => format!("{} was stopped", unit.id),
                (0, ..) => continue,
                (n, ..) => {
                    let times = if n == 1 { String::new() } else { format!(" {n} times") };
                    let why = why.map(|w| format!(": {w}")).unwrap_or_default();
                    format!("{} ended and systemd restarted it{times}{why}", unit.id)
                }
            };
            happened.push(Happening { kind: ContextKind::UnitRestarted, at, unit: unit.id.clone(), text });
        }
        happened
    }

    /// The units that rules look at.
    pub fn states(&self) -> Vec<UnitState> {
        let of_interest = |k: &&Known| k.state.failed || k.state.restarts > 0;
        let mut states: Vec<UnitState> = self.units.values().filter(of_interest).map(|k| k.state.clone()).collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        states
    }
}

impl Known {
    /// Restarts by systemd since the last answer. Its counter begins anew when somebody starts the unit.
    fn restarted(&mut self, unit: &Shown) -> u64 {
        let Some(now) = unit.restarts else { return 0 };
        match self.answered.replace(now) {
            Some(before) if now >= before => now - before,
            Some(_) => now,
            // How many of them were before the agent came is not known; this change is one of them, if there are any.
            None => now.min(1),
        }
    }
}

fn ago(now: Tick, ms: u64) -> Tick {
    let ms = ms.min(now.mono_ms);
    Tick { mono_ms: now.mono_ms - ms, wall_ms: now.wall_ms.saturating_sub_unsigned(ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(seconds: u64) -> Tick {
        Tick { mono_ms: seconds * 1000, wall_ms: 1_700_000_000_000 + seconds as i64 * 1000 }
    }

    fn shown(id: &str, active: &str, sub: &str, restarts: u64) -> Shown {
        Shown {
            id: id.into(),
            loaded: true,
            active: active.into(),
            sub: sub.into(),
            restarts: Some(restarts),
            ..Shown::default()
        }
    }

    fn listed(name: &str, failed: bool) -> Listed {
        Listed { name: name.into(), failed }
    }

    /// A book that knows `web.service` as a running daemon.
    fn book() -> Book {
        let mut book = Book::default();
        book.see(&Links::from([("web.service".into(), 1)]));
        assert_eq!(book.question(100_000), Some(Question::List));
        book.list(&[listed("web.service", false)]);
        book
    }

    fn texts(happened: &[Happening]) -> Vec<&str> {
        happened.iter().map(|h| h.text.as_str()).collect()
    }

    #[test]
    fn nothing_is_asked_while_nothing_changes() {
        let mut book = book();
        book.see(&Links::from([("web.service".into(), 1)]));
        assert_eq!(book.question(130_000), None);
        assert_eq!(book.question(100_000 + LIST_EVERY_MS), Some(Question::List));
    }

    #[test]
    fn a_restart_by_somebody_a_stop_and_a_start() {
        let mut book = book();
        book.see(&Links::from([("web.service".into(), 2)]));
        assert_eq!(book.question(110_000), None, "systemd is asked every 30 s at most");
        assert_eq!(book.question(130_000), Some(Question::Show(vec!["web.service".into()])));
        let mut answer = shown("web.service", "active", "running", 0);
        answer.changed_us = 128_000_000;
        let happened = book.answer(&[answer], tick(130), 130_000_000);
        assert_eq!((texts(&happened), happened[0].at), (vec!["web.service was restarted"], tick(128)));

        book.see(&Links::new());
        assert_eq!(book.question(160_000), Some(Question::Show(vec!["web.service".into()])));
        let happened = book.answer(&[shown("web.service", "inactive", "dead", 0)], tick(160), 0);
        assert_eq!(texts(&happened), ["web.service was stopped"]);
        book.see(&Links::from([("web.service".into(), 3)]));
        let happened = book.answer(&[shown("web.service", "active", "running", 0)], tick(190), 0);
        assert_eq!(texts(&happened), ["web.service was started"]);
        assert!(book.states().is_empty());
    }

    #[test]
    fn a_crash_loop_is_counted_exactly() {
        let mut book = book();
        let mut total = Vec::new();
        for (run, (seconds, n)) in [(130, 1), (160, 4), (190, 9)].into_iter().enumerate() {
            book.see(&Links::from([("web.service".into(), run as u128 + 10)]));
            assert!(book.question(seconds * 1000).is_some());
            let mut answer = shown("web.service", "activating", "auto-restart", n);
            (answer.result, answer.code, answer.status) = ("exit-code".into(), 1, 7);
            let happened = book.answer(&[answer], tick(seconds), 0);
            assert!(happened[0].text.contains("systemd restarted it"), "{happened:?}");
            total.push(book.states()[0].restarts);
        }
        assert_eq!(total, [1, 4, 9]);
        let state = &book.states()[0];
        assert!(!state.failed && state.why == "its main process exited with status 7", "{state:?}");
        // It gives up; then somebody starts it anew and its counter with it.
        book.answer(&[shown("web.service", "failed", "failed", 9)], tick(200), 0);
        assert!(book.states()[0].failed);
        book.answer(&[shown("web.service", "active", "running", 0)], tick(210), 0);
        assert!(!book.states()[0].failed && book.states()[0].restarts == 9);
    }

    #[test]
    fn what_failed_before_the_agent_came_is_found_and_its_repair_too() {
        let mut book = Book::default();
        book.see(&Links::new());
        assert_eq!(book.question(0), Some(Question::List));
        book.list(&[listed("old.service", true)]);
        assert_eq!(book.question(0), Some(Question::Show(vec!["old.service".into()])), "at once");
        book.answer(&[shown("old.service", "failed", "failed", 0)], tick(0), 0);
        assert!(book.states()[0].failed);
        // `systemctl reset-failed` touches no link; the next list does not have it any more.
        assert_eq!(book.question(LIST_EVERY_MS), Some(Question::List));
        book.list(&[]);
        assert_eq!(book.question(LIST_EVERY_MS), Some(Question::Show(vec!["old.service".into()])));
        book.answer(&[shown("old.service", "inactive", "dead", 0)], tick(400), 0);
        assert!(book.states().is_empty());
    }

    #[test]
    fn unanswered_questions_are_asked_again_and_short_jobs_are_forgotten() {
        let mut book = book();
        book.see(&Links::from([("web.service".into(), 1), ("job.service".into(), 5)]));
        let question = book.question(130_000).expect("a new unit");
        book.unanswered(question.clone());
        assert_eq!(book.question(160_000), Some(question));
        assert!(book.answer(&[shown("job.service", "activating", "start", 0)], tick(160), 0).is_empty());
        book.see(&Links::from([("web.service".into(), 1)]));
        assert!(book.question(190_000).is_some());
        assert!(book.answer(&[shown("job.service", "inactive", "dead", 0)], tick(190), 0).is_empty());
        book.see(&Links::from([("web.service".into(), 1)]));
        assert_eq!(book.units.len(), 1);
    }
}
