//! All rules, and the events they opened.

use tacit_wire::message::{Context, ContextKind, Event, EventKind, FaultKind, Phase};
use tacit_wire::{EventId, Num, semconv};

use super::event::{Sender, new_id};
use super::rules::{
    CertificateExpiring, ClockJump, CrashLoop, DiskFull, Finding, OomKill, ProbeFailed, ReadOnly, UnitFailed,
};
use crate::clock::Tick;
use crate::context::Units;
use crate::source::Dictionary;
use crate::source::filesystem::FileSystems;
use crate::source::probe::Answers;

/// An open event is renewed at most so often …
const UPDATE_MS: u64 = 5 * 60_000;
/// … and one that may be open for weeks and says the same every time so often, unless it becomes more severe.
const SLOW_UPDATE_MS: u64 = 6 * 3_600_000;
/// Distance of looks at what time alone changes: a loop that is over, a certificate that expires.
const LOOK_MS: u64 = 10_000;

/// What rules look at beside the samples.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// Newest state of the file systems.
    pub file_systems: FileSystems,
    /// Newest state of systemd's units.
    pub units: Units,
    /// Newest answers of the probes.
    pub answers: Answers,
}

/// The rules and their open events.
#[derive(Debug)]
pub struct RuleBook {
    disk_full: DiskFull,
    read_only: ReadOnly,
    oom_kill: OomKill,
    clock_jump: ClockJump,
    unit_failed: UnitFailed,
    crash_loop: CrashLoop,
    certificate: CertificateExpiring,
    probe_failed: ProbeFailed,
    watched: Watched,
    round: u64,
    /// Numbers of the units' states and of the answers that were looked at, and when that was.
    looked: (u64, u64, u64),
    oom_slot: Option<usize>,
    last: Option<Tick>,
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    rule: &'static str,
    subject: String,
    id: EventId,
    onset: Tick,
    told_mono_ms: u64,
    severity: f32,
}

impl RuleBook {
    /// Rules over what is watched and the samples.
    #[must_use]
    pub fn new(disk_full_within_s: f64, watched: Watched) -> Self {
        Self {
            disk_full: DiskFull::new(disk_full_within_s),
            read_only: ReadOnly::default(),
            oom_kill: OomKill::default(),
            clock_jump: ClockJump::default(),
            unit_failed: UnitFailed::default(),
            crash_loop: CrashLoop::default(),
            certificate: CertificateExpiring::default(),
            probe_failed: ProbeFailed::default(),
            watched,
            round: 0,
            looked: (0, 0, 0),
            oom_slot: None,
            last: None,
            open: Vec::new(),
        }
    }

    /// Another time within which a disk that fills is told.
    pub fn set_disk_full_within(&mut self, seconds: f64) {
        self.disk_full.set_within(seconds);
    }

    /// Takes note of where series are now.
    pub fn rebind(&mut self, dictionary: &Dictionary) {
        let entry = dictionary.entries.iter().find(|e| e.def.name == semconv::VM_OOM_KILLS.name);
        self.oom_slot = entry.map(|e| e.slot.index());
    }

    /// How many events are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Looks at a sample and gives the events that follow from it.
    pub fn look(&mut self, at: Tick, values: &[f32], sender: &Sender) -> Vec<Event> {
        let seconds = self.last.replace(at).map_or(1.0, |last| at.seconds_since(last)) as f32;
        let kills = self.oom_slot.and_then(|slot| values.get(slot)).copied().unwrap_or(f32::NAN);
        let mut findings: Vec<Finding> = Vec::new();
        findings.extend(self.oom_kill.look(kills, seconds, at.mono_ms));
        findings.extend(self.clock_jump.look(at));
        self.look_around(at, &mut findings);
        let newest = self.watched.file_systems.newest();
        let fresh = newest.round != self.round && newest.error.is_none();
        if fresh {
            self.round = newest.round;
            findings.extend(self.disk_full.look(&newest.mounts, at.mono_ms));
            findings.extend(self.read_only.look(&newest.mounts));
        }
        let mut events: Vec<Event> = findings.iter().filter_map(|f| self.follow(f, at, sender)).collect();
        if fresh {
            events.extend(self.close_gone(&findings, at, sender));
        }
        events
    }

    /// Units and endpoints: when something about them is new, and every now and then.
    fn look_around(&mut self, at: Tick, findings: &mut Vec<Finding>) {
        let (round, units) = self.watched.units.newest();
        let answers = self.watched.answers.count();
        let (last_round, last_answers, last_ms) = self.looked;
        if (round, answers) == (last_round, last_answers) && at.mono_ms.saturating_sub(last_ms) < LOOK_MS {
            return;
        }
        self.looked = (round, answers, at.mono_ms);
        findings.extend(self.unit_failed.look(&units));
        findings.extend(self.crash_loop.look(&units, at.mono_ms));
        if answers > 0 {
            findings.extend(self.certificate.look(&self.watched.answers.certificates(), at.wall_ms));
            findings.extend(self.probe_failed.look(&self.watched.answers.probed()));
        }
        findings.extend(self.of_gone_probes());
    }

    /// A probe that the configuration names no more takes its events with it.
    fn of_gone_probes(&self) -> Vec<Finding> {
        let gone = |open: &&Open| {
            matches!(open.rule, "certificate-expiring" | "probe-failed") && !self.watched.answers.has(&open.subject)
        };
        let finding = |open: &Open| {
            let text = format!("{} is not asked any more", open.subject);
            Finding { rule: open.rule, subject: open.subject.clone(), text, ..Finding::default() }
        };
        self.open.iter().filter(gone).map(finding).collect()
    }

    /// The event that a finding leads to, if any.
    fn follow(&mut self, finding: &Finding, at: Tick, sender: &Sender) -> Option<Event> {
        let index = self.open.iter().position(|o| o.rule == finding.rule && o.subject == finding.subject);
        let (phase, id, onset) = match (index, finding.broken) {
            (None, false) => return None,
            (None, true) => {
                let (id, onset) = (new_id(), finding.onset.unwrap_or(at));
                self.open.push(Open {
                    rule: finding.rule,
                    subject: finding.subject.clone(),
                    id,
                    onset,
                    told_mono_ms: at.mono_ms,
                    severity: finding.severity,
                });
                (Phase::Open, id, onset)
            }
            (Some(index), false) => {
                let open = self.open.swap_remove(index);
                (Phase::Close, open.id, open.onset)
            }
            (Some(index), true) => {
                let open = &mut self.open[index];
                let worse = finding.severity > open.severity;
                if !worse && at.mono_ms.saturating_sub(open.told_mono_ms) < renewal_ms(finding.rule) {
                    return None;
                }
                open.told_mono_ms = at.mono_ms;
                open.severity = finding.severity;
                (Phase::Update, open.id, open.onset)
            }
        };
        let mut event = sender.event(id, EventKind::Rule, phase, at, onset);
        event.rule = Some(finding.rule.to_owned());
        event.severity = Num(finding.severity);
        event.text.clone_from(&finding.text);
        (event.fault, event.confidence) = (fault(finding.rule), Num(1.0));
        event.evidence.clone_from(&finding.evidence);
        event.context = note_of(finding, onset).into_iter().collect();
        Some(event)
    }

    /// A mount that went away takes its events with it.
    fn close_gone(&mut self, findings: &[Finding], at: Tick, sender: &Sender) -> Vec<Event> {
        let mut events = Vec::new();
        self.open.retain(|open| {
            let of_mounts = matches!(open.rule, "disk-full" | "read-only");
            let stays = !of_mounts || findings.iter().any(|f| f.rule == open.rule && f.subject == open.subject);
            if !stays {
                let mut event = sender.event(open.id, EventKind::Rule, Phase::Close, at, open.onset);
                event.rule = Some(open.rule.to_owned());
                (event.fault, event.confidence) = (fault(open.rule), Num(1.0));
                event.text = format!("{} is not mounted any more", open.subject);
                events.push(event);
            }
            stays
        });
        events
    }
}

/// What a broken rule is about.
fn fault(rule: &str) -> Option<FaultKind> {
    match rule {
        "disk-full" => Some(FaultKind::DiskFull),
        "oom-kill" => Some(FaultKind::Memory),
        "read-only" => Some(FaultKind::DiskIo),
        "clock-jump" => Some(FaultKind::Clock),
        "unit-failed" | "crash-loop" | "certificate-expiring" | "probe-failed" => Some(FaultKind::Service),
        _ => None,
    }
}

fn renewal_ms(rule: &str) -> u64 {
    if matches!(rule, "certificate-expiring" | "unit-failed") { SLOW_UPDATE_MS } else { UPDATE_MS }
}

/// What is said of a unit names it, so that it can be joined with what else is known of it.
fn note_of(finding: &Finding, onset: Tick) -> Option<Context> {
    let unit = finding.unit.clone().filter(|_| finding.broken)?;
    let kind = if finding.rule == "unit-failed" { ContextKind::UnitFailed } else { ContextKind::UnitRestarted };
    Some(Context { kind, at_ms: onset.wall_ms, text: finding.text.clone(), unit: Some(unit) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::UnitState;
    use tacit_wire::BootId;

    fn tick(seconds: u64) -> Tick {
        Tick { mono_ms: seconds * 1000, wall_ms: 1_700_000_000_000 + seconds as i64 * 1000 }
    }

    #[test]
    fn a_failed_unit_is_one_event_from_when_it_failed_until_it_runs() {
        let watched = Watched::default();
        let mut book = RuleBook::new(3600.0, watched.clone());
        let sender = Sender { node: "n1".parse().expect("a name"), boot: BootId([1; 16]) };
        let mut look = |seconds: u64| book.look(tick(seconds), &[], &sender);
        let unit = |failed| UnitState {
            name: "shop.service".into(),
            failed,
            why: "it did not answer its watchdog in time".into(),
            restarts: 0,
            changed: tick(90),
        };
        assert!(look(99).is_empty());
        watched.units.publish(vec![unit(true)]);
        let events = look(100);
        assert_eq!(events.len(), 1);
        let open = &events[0];
        assert_eq!((open.phase, open.rule.as_deref()), (Phase::Open, Some("unit-failed")));
        assert_eq!((open.onset_ms, open.head.wall_ms), (tick(90).wall_ms, tick(100).wall_ms));
        assert_eq!(open.context[0].unit.as_deref(), Some("shop.service"));
        assert!((101..5000).all(|s| look(s).is_empty()), "it says the same and is not told again");
        watched.units.publish(vec![unit(false)]);
        let events = look(5000);
        assert_eq!((events.len(), events[0].phase, events[0].event), (1, Phase::Close, open.event));
    }

    #[test]
    fn a_loop_that_ends_by_time_alone_is_closed() {
        let watched = Watched::default();
        let mut book = RuleBook::new(3600.0, watched.clone());
        let sender = Sender { node: "n1".parse().expect("a name"), boot: BootId([1; 16]) };
        watched.units.publish(vec![UnitState { name: "a.service".into(), restarts: 5, ..UnitState::default() }]);
        let phases: Vec<(u64, Phase)> = (100..1000)
            .flat_map(|s| book.look(tick(s), &[], &sender).into_iter().map(move |e| (s, e.phase)))
            .filter(|(_, phase)| *phase != Phase::Update)
            .collect();
        assert_eq!(phases, [(100, Phase::Open), (710, Phase::Close)]);
    }
}
