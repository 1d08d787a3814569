//! All rules, and the events they opened.

use tacit_wire::message::{Event, EventKind, FaultKind, Phase};
use tacit_wire::{EventId, Num, semconv};

use super::event::{Sender, new_id};
use super::rules::{ClockJump, DiskFull, Finding, OomKill, ReadOnly};
use crate::clock::Tick;
use crate::source::Dictionary;
use crate::source::filesystem::FileSystems;

/// An open event is renewed at most so often.
const UPDATE_MS: u64 = 5 * 60_000;

/// The rules and their open events.
#[derive(Debug)]
pub struct RuleBook {
    disk_full: DiskFull,
    read_only: ReadOnly,
    oom_kill: OomKill,
    clock_jump: ClockJump,
    file_systems: FileSystems,
    round: u64,
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
}

impl RuleBook {
    /// Rules over `file_systems` and the samples.
    #[must_use]
    pub fn new(disk_full_within_s: f64, file_systems: FileSystems) -> Self {
        Self {
            disk_full: DiskFull::new(disk_full_within_s),
            read_only: ReadOnly::default(),
            oom_kill: OomKill::default(),
            clock_jump: ClockJump::default(),
            file_systems,
            round: 0,
            oom_slot: None,
            last: None,
            open: Vec::new(),
        }
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
        let newest = self.file_systems.newest();
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

    /// The event that a finding leads to, if any.
    fn follow(&mut self, finding: &Finding, at: Tick, sender: &Sender) -> Option<Event> {
        let index = self.open.iter().position(|o| o.rule == finding.rule && o.subject == finding.subject);
        let (phase, id, onset) = match (index, finding.broken) {
            (None, false) => return None,
            (None, true) => {
                let id = new_id();
                self.open.push(Open {
                    rule: finding.rule,
                    subject: finding.subject.clone(),
                    id,
                    onset: at,
                    told_mono_ms: at.mono_ms,
                });
                (Phase::Open, id, at)
            }
            (Some(index), false) => {
                let open = self.open.swap_remove(index);
                (Phase::Close, open.id, open.onset)
            }
            (Some(index), true) => {
                let open = &mut self.open[index];
                if at.mono_ms.saturating_sub(open.told_mono_ms) < UPDATE_MS {
                    return None;
                }
                open.told_mono_ms = at.mono_ms;
                (Phase::Update, open.id, open.onset)
            }
        };
        let mut event = sender.event(id, EventKind::Rule, phase, at, onset);
        event.rule = Some(finding.rule.to_owned());
        event.severity = Num(finding.severity);
        event.text.clone_from(&finding.text);
        (event.fault, event.confidence) = (fault(finding.rule), Some(Num(1.0)));
        event.evidence.clone_from(&finding.evidence);
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
                (event.fault, event.confidence) = (fault(open.rule), Some(Num(1.0)));
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
        _ => None,
    }
}
