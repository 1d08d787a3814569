//! What needs no learning: plain rules, plain words. Each is a pure function of what was seen and when.

mod certificate;
mod clock_jump;
mod crash_loop;
mod disk_full;
mod oom_kill;
mod probe_failed;
mod read_only;
mod unit_failed;

pub use certificate::CertificateExpiring;
pub use clock_jump::ClockJump;
pub use crash_loop::CrashLoop;
pub use disk_full::DiskFull;
pub use oom_kill::OomKill;
pub use probe_failed::ProbeFailed;
pub use read_only::ReadOnly;
pub use unit_failed::UnitFailed;

use tacit_wire::message::Evidence;

use crate::clock::Tick;

/// What a rule says about one thing it watches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finding {
    /// The rule (`disk-full`).
    pub rule: &'static str,
    /// What it is about (a mount point), empty when there is one only.
    pub subject: String,
    /// Whether the rule is broken now.
    pub broken: bool,
    /// How bad, 0 to 1.
    pub severity: f32,
    /// In words.
    pub text: String,
    /// The series that show it.
    pub evidence: Vec<Evidence>,
    /// When it began, where that is known; else it began when it was found.
    pub onset: Option<Tick>,
    /// The unit concerned.
    pub unit: Option<String>,
}
