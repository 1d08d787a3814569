//! The sentence of an anomaly: "pressure (memory some) 38 % (usual 0 % to 2.0 %) since 12:03:10 UTC and 7 more; top process
//! postgres 6.1 GB, +4.8 GB since the scan before".

use tacit_wire::message::{Direction, Evidence, FaultKind, ProcessNote};
use tacit_wire::words::{digits, is_known, name, scaled, value};

use super::explain::{culprit, kind_of};

/// The series that heads the sentence: of the likely kind and one that people have a word for, unless another one weighs
/// much more; and the whole machine before one of its processors.
fn headline(evidence: &[Evidence], fault: Option<FaultKind>) -> Option<&Evidence> {
    let first = evidence.first()?;
    let of_kind = |e: &&Evidence| fault.is_some() && kind_of(&e.name, &e.attributes) == fault;
    let known = |e: &&Evidence| is_known(&e.name) && e.share.0 >= 0.3 * first.share.0;
    let of_one_core = |e: &&Evidence| e.attributes.iter().any(|a| a.key == "cpu.logical_number");
    let both = evidence.iter().filter(of_kind).filter(known).min_by_key(of_one_core);
    both.or_else(|| evidence.iter().filter(known).min_by_key(of_one_core)).or(Some(first))
}

/// The sentence of an anomaly that began at `onset_ms` (Unix milliseconds).
#[must_use]
pub fn anomaly(evidence: &[Evidence], processes: &[ProcessNote], fault: Option<FaultKind>, onset_ms: i64) -> String {
    let since = clock(onset_ms);
    let Some(first) = headline(evidence, fault) else {
        return format!("unusual behaviour of many series at once since {since}");
    };
    let mut text = format!("{} {}", name(&first.name, &first.attributes), value(first.observed.0, &first.unit));
    if let (Some(low), Some(high)) = (first.low.get(), first.high.get()) {
        let (low, high) = (value(low, &first.unit), value(high, &first.unit));
        let usual = if low == high { low } else { format!("{low} to {high}") };
        text.push_str(&format!(" (usual {usual})"));
    }
    match first.direction {
        Direction::Shape => text.push_str(", moving unusually"),
        Direction::Flat => text.push_str(", standing still"),
        _ => {}
    }
    text.push_str(&format!(" since {since}"));
    let others = evidence.len() - 1;
    if others > 0 {
        text.push_str(&format!(" and {others} more"));
    }
    if let Some(top) = culprit(fault, processes) {
        text.push_str(&format!("; top process {} {}", top.name, doing(top, fault)));
    }
    text
}

/// What a process does, in the measure that the kind is about.
fn doing(p: &ProcessNote, fault: Option<FaultKind>) -> String {
    let cores = || format!("{} cores", digits(p.cpu.0.max(0.0)));
    let memory = || scaled(p.memory.0, "B");
    match (fault, p.memory_growth.get(), p.io.get()) {
        (Some(FaultKind::Memory), Some(growth), _) if growth >= 1e6 => {
            format!("{}, +{} since the scan before", memory(), scaled(growth, "B"))
        }
        (Some(FaultKind::Memory), ..) => memory(),
        (Some(FaultKind::DiskIo | FaultKind::DiskFull), _, Some(io)) if io > 0.0 => {
            format!("{} of disk", scaled(io, "B/s"))
        }
        _ => format!("{}, {}", cores(), memory()),
    }
}

/// The time of day.
#[must_use]
pub fn clock(at_ms: i64) -> String {
    let second = at_ms.div_euclid(1000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02} UTC", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_wire::{Attribute, Num};

    #[test]
    fn an_anomaly_is_one_sentence() {
        let evidence = Evidence {
            name: "system.linux.pressure".into(),
            attributes: vec![
                Attribute::new("system.resource", "memory"),
                Attribute::new("system.pressure.kind", "some"),
            ],
            unit: "1".into(),
            share: Num(0.4),
            observed: Num(0.38),
            low: Num(0.0),
            high: Num(0.02),
            direction: Direction::High,
        };
        let process = |name: &str, cpu, growth| ProcessNote {
            pid: 1,
            name: name.into(),
            command: None,
            unit: None,
            cpu: Num(cpu),
            memory: Num(6.1e9),
            memory_growth: Num(growth),
            io: Num::NONE,
        };
        let processes = [process("busy", 1.5, 0.0), process("postgres", 0.1, 4.8e9)];
        let text = anomaly(&[evidence], &processes, Some(FaultKind::Memory), 43_390_000);
        let expected = "pressure (memory some) 38 % (usual 0 % to 2.0 %) since 12:03:10 UTC; top process postgres 6.1 GB, \
                        +4.8 GB since the scan before";
        assert_eq!(text, expected);
    }
}
