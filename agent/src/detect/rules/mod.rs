//! What needs no learning: plain rules, plain words. Each is a pure function of what was seen and when.

mod clock_jump;
mod disk_full;
mod oom_kill;
mod read_only;

pub use clock_jump::ClockJump;
pub use disk_full::DiskFull;
pub use oom_kill::OomKill;
pub use read_only::ReadOnly;

use tacit_wire::message::Evidence;

/// What a rule says about one thing it watches.
#[derive(Debug, Clone, PartialEq)]
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
}
