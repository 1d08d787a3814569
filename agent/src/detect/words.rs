//! The sentence of an anomaly: "CPU busy 100 % (usual 1 % to 9 %) and 7 more; top process stress-ng 2.0 cores".

use tacit_wire::message::{Direction, Evidence, ProcessNote};
use tacit_wire::words::{digits, is_known, name, scaled, value};

/// The series that heads the sentence: the first that people have a word for, unless another one weighs much more.
fn headline(evidence: &[Evidence]) -> Option<&Evidence> {
    let first = evidence.first()?;
    let known = |e: &&Evidence| is_known(&e.name);
    Some(evidence.iter().find(known).filter(|e| e.share.0 >= 0.3 * first.share.0).unwrap_or(first))
}

/// The sentence of an anomaly.
#[must_use]
pub fn anomaly(evidence: &[Evidence], processes: &[ProcessNote]) -> String {
    let Some(first) = headline(evidence) else { return "unusual behaviour of many series at once".into() };
    let mut text = format!("{} {}", name(&first.name, &first.attributes), value(first.observed.0, &first.unit));
    if let (Some(low), Some(high)) = (first.low.get(), first.high.get()) {
        let (low, high) = (value(low, &first.unit), value(high, &first.unit));
        let usual = if low == high { low } else { format!("{low} to {high}") };
        text.push_str(&format!(" (usual {usual})"));
    }
    if first.direction == Direction::Shape {
        text.push_str(", moving unusually");
    }
    let others = evidence.len() - 1;
    if others > 0 {
        text.push_str(&format!(" and {others} more"));
    }
    if let Some(top) = processes.first() {
        text.push_str(&format!(
            "; top process {} {} cores, {}",
            top.name,
            digits(top.cpu.0.max(0.0)),
            scaled(top.memory.0, "B")
        ));
    }
    text
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
        assert_eq!(anomaly(&[evidence], &[]), "pressure (memory some) 38 % (usual 0 % to 2.0 %)");
    }
}
