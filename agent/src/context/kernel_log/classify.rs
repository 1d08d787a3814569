//! What a line of the kernel's log means for people: trouble with a disk, a link, memory, power.
//!
//! The texts are those of Linux 4.9 to 6.18; what is not in the table is nothing we have words for and is passed over.

use tacit_wire::message::ContextKind;

use crate::context::reporter::cut;
use crate::source::cgroup::unit_of;

/// A line that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Kind of note.
    pub kind: ContextKind,
    /// What it is about; the same class and subject is not told again and again.
    pub class: &'static str,
    /// The device, interface or process.
    pub subject: String,
    /// One sentence.
    pub text: String,
    /// The unit concerned, when the line names its control group.
    pub unit: Option<String>,
}

/// Longest part of a line that is quoted.
const QUOTED: usize = 140;

/// Text that a line holds, class, and what it means. With `true` the line itself is quoted after it.
const PLAIN: &[(&str, &str, &str, bool)] = &[
    ("nder-voltage detected", "power", "the supply voltage is too low", false),
    ("oltage normalised", "power-again", "the supply voltage is normal again", false),
    ("temperature above threshold", "heat", "a processor is too hot and is slowed", false),
    ("temperature/speed normal", "heat-again", "the processor's temperature is normal again", false),
    ("blocked for more than", "hung-task", "a task hangs in the kernel", true),
    ("soft lockup", "lockup", "a processor is stuck in the kernel", true),
    ("detected stalls on CPU", "lockup", "a processor is stuck in the kernel", true),
    ("self-detected stall on CPU", "lockup", "a processor is stuck in the kernel", true),
    ("table full, dropping packet", "conntrack", "the connection tracking table is full: packets are dropped", false),
    ("Possible SYN flooding", "accept-queue", "an accept queue is full", true),
    ("neighbor table overflow", "neighbours", "the table of network neighbours is full", false),
    ("neighbour table overflow", "neighbours", "the table of network neighbours is full", false),
    ("[Hardware Error]", "hardware", "processor or memory report a hardware error", true),
    ("EDAC MC", "memory-error", "memory reports an error", true),
    ("emounting filesystem read-only", "read-only", "a file system became read-only", true),
    ("Kernel panic", "panic", "the kernel panicked", true),
    ("Oops: ", "oops", "the kernel has a fault", true),
    ("BUG: ", "oops", "the kernel has a fault", true),
    ("general protection fault", "crash", "a program crashed", true),
    ("USB disconnect", "unplugged", "a USB device was unplugged", true),
    ("over-current", "over-current", "a USB port draws too much current", true),
];

/// The line that precedes an OOM kill, and names the victim's control group: kept until the kill is reported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Victim {
    pid: String,
    unit: Option<String>,
}

/// What a line means, if it means something. `victim` carries what an `oom-kill:` line said to the `Killed process` line.
pub fn classify(text: &str, victim: &mut Victim) -> Option<Sight> {
    if let Some(fields) = text.strip_prefix("oom-kill:") {
        *victim = remember(fields);
        return None;
    }
    killed(text, victim).or_else(|| disk(text)).or_else(|| link(text)).or_else(|| crash(text)).or_else(|| plain(text))
}

/// `constraint=CONSTRAINT_NONE,…,task_memcg=/system.slice/x.service,task=java,pid=812,uid=0`
fn remember(fields: &str) -> Victim {
    let field = |key: &str| fields.split(',').find_map(|f| f.strip_prefix(key)?.strip_prefix('='));
    Victim { pid: field("pid").unwrap_or_default().to_owned(), unit: field("task_memcg").and_then(unit_of) }
}

/// `Memory cgroup out of memory: Killed process 812 (java) total-vm:…`
fn killed(text: &str, victim: &mut Victim) -> Option<Sight> {
    let (before, rest) = text.split_once("Killed process ")?;
    let (pid, rest) = rest.split_once(' ')?;
    let name = cut(rest.split_once('(')?.1.split(')').next()?, 32);
    let known = std::mem::take(victim);
    let unit = known.unit.filter(|_| known.pid == pid.trim_end_matches(','));
    let of = unit.as_ref().map(|u| format!(" of {u}")).unwrap_or_default();
    let why = if before.contains("Memory cgroup") { "its memory limit was reached" } else { "want of memory" };
    let text = format!("the kernel killed {name}{of} (process {pid}): {why}");
    Some(Sight { kind: ContextKind::OomKill, class: "oom", subject: format!("{name} {pid}"), text, unit })
}

fn kernel(class: &'static str, subject: &str, text: String) -> Sight {
    Sight { kind: ContextKind::Kernel, class, subject: cut(subject, 64), text, unit: None }
}

/// Block devices, and file systems that stand on them.
fn disk(text: &str) -> Option<Sight> {
    // `EXT4-fs error (device sda1): …`, `BTRFS error (device sda1): …`, `XFS (sda1): metadata I/O error …`
    let head = text.split(':').next().unwrap_or_default();
    let device_of = |prefix: &str| Some(head.strip_prefix(prefix)?.trim_start_matches("device ").trim_end_matches(')'));
    let of_file_system = ["EXT4-fs error (", "EXT4-fs critical (", "BTRFS error (", "BTRFS critical (", "F2FS-fs ("]
        .iter()
        .find_map(|prefix| device_of(prefix))
        .or_else(|| device_of("XFS (").filter(|_| text.contains("rror") || text.contains("orrupt")));
    if let Some(device) = of_file_system {
        let text = format!("the file system on {device} has errors: {}", cut(text, QUOTED));
        return Some(kernel("file-system", device, text));
    }
    if text.contains("I/O error") {
        let word_after = |mark: &str| {
            text.split_once(mark)?.1.split([',', ' ']).next().map(|w| w.trim_end_matches(':')).filter(|w| !w.is_empty())
        };
        let device = word_after("on dev ").or_else(|| word_after("dev ")).or_else(|| word_after("on device "));
        let device = device.or_else(|| text.split_whitespace().next().map(|w| w.trim_end_matches(':')))?;
        return Some(kernel("disk", device, format!("{device} has I/O errors: {}", cut(text, QUOTED))));
    }
    // `nvme nvme0: I/O 12 QID 3 timeout, aborting`, `mmc0: error -110 whilst …`, `ata1.00: failed command: READ FPDMA`
    let mut words = text.split_whitespace();
    let first = words.next()?;
    let device = if first == "nvme" { words.next()? } else { first }.trim_end_matches(':');
    let is =
        |prefix: &str| device.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let troubled = (is("nvme") && (text.contains("timeout") || text.contains("controller is down")))
        || (is("mmc") && (text.contains(": error") || text.contains("timeout waiting for hardware interrupt")))
        || (is("ata") && (text.contains("failed command") || text.contains("hard resetting link")));
    troubled.then(|| kernel("disk", device, format!("{device} has trouble: {}", cut(text, QUOTED))))
}

/// `e1000e 0000:00:1f.6 eth0: NIC Link is Down`, `r8169 0000:01:00.0 enp1s0: Link is Up - 1Gbps/Full`
fn link(text: &str) -> Option<Sight> {
    let lower = text.to_ascii_lowercase();
    let (at, down) = ["link is down", "link down", "link is up", "link up"]
        .iter()
        .enumerate()
        .find_map(|(i, mark)| Some((lower.find(mark)?, i < 2)))?;
    // ASCII lower case moves no byte, so the place is the same in both.
    let mut words = text.get(..at)?.split_whitespace().rev();
    let mut name = words.next()?;
    if name == "NIC" || name == "SATA" {
        name = words.next()?;
    }
    let name = name.trim_end_matches(':');
    let (class, state) = if down { ("link-down", "down") } else { ("link-up", "up again") };
    Some(kernel(class, name, format!("the link of {name} is {state}")))
}

/// `nginx[812]: segfault at 0 ip …`, `traps: java[7] trap invalid opcode ip:…`
fn crash(text: &str) -> Option<Sight> {
    let text = text.strip_prefix("traps: ").unwrap_or(text);
    let (name, rest) = text.split_once('[')?;
    let after = rest.split_once(']')?.1;
    let what = if after.starts_with(": segfault at") {
        "segmentation fault"
    } else if after.starts_with(" trap ") || after.starts_with(" general protection") {
        "invalid instruction or access"
    } else {
        return None;
    };
    Some(kernel("crash", name, format!("{} crashed: {what}", cut(name, 32))))
}

fn plain(text: &str) -> Option<Sight> {
    let (_, class, words, quoted) = PLAIN.iter().find(|(mark, ..)| text.contains(mark))?;
    let subject = text.split(':').next().unwrap_or_default();
    let text = if *quoted { format!("{words}: {}", cut(text, QUOTED)) } else { (*words).to_owned() };
    Some(kernel(class, subject, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines of real kernels and what is made of each.
    #[test]
    fn lines_of_real_kernels() {
        let text = include_str!("../../../tests/fixtures/kernel-log/lines.txt");
        let mut victim = Victim::default();
        let mut seen = 0;
        for pair in text.split("\n\n").filter(|p| !p.trim().is_empty()) {
            let mut lines = pair.trim().lines();
            let line = lines.next().expect("a line of the kernel");
            let wanted: Vec<&str> = lines.collect();
            let sight = classify(line, &mut victim);
            let told = sight.map(|s| {
                let unit = s.unit.map(|u| format!(" [{u}]")).unwrap_or_default();
                format!("  → {} {} ({}){unit}: {}", s.kind, s.class, s.subject, s.text)
            });
            assert_eq!(told.unwrap_or_else(|| "  → nothing".into()), wanted.join("\n"), "{line}");
            seen += 1;
        }
        assert!(seen > 30, "only {seen} lines");
    }

    proptest! {
        /// Law: no line makes it panic, and what is told stays short.
        #[test]
        fn any_line_is_bounded(text in "(oom-kill:|Killed process |XFS \\(|dev |.{0,9} Link is Down|mmc0: error|.{0,40}){0,6}") {
            let mut victim = Victim::default();
            let sight = classify(&text, &mut victim);
            prop_assert!(sight.is_none_or(|s| s.text.chars().count() < 400 && s.subject.chars().count() < 120));
        }
    }
}
