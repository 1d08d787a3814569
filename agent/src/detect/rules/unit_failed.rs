//! A unit of systemd failed and does not run.

use super::Finding;
use crate::context::UnitState;

/// The rule's memory: units it said of that they failed.
#[derive(Debug, Default)]
pub struct UnitFailed {
    failed: Vec<String>,
}

impl UnitFailed {
    /// Looks at the units that systemd told of.
    pub fn look(&mut self, units: &[UnitState]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for unit in units.iter().filter(|u| u.failed) {
            let why = if unit.why.is_empty() { String::new() } else { format!(": {}", unit.why) };
            let found = finding(&unit.name, true, format!("{} failed{why}", unit.name));
            findings.push(Finding { onset: Some(unit.changed), ..found });
        }
        let failed: Vec<String> = findings.iter().map(|f| f.subject.clone()).collect();
        for name in self.failed.iter().filter(|name| !failed.contains(name)) {
            findings.push(finding(name, false, format!("{name} is not failed any more")));
        }
        self.failed = failed;
        findings
    }
}

fn finding(unit: &str, broken: bool, text: String) -> Finding {
    Finding {
        rule: "unit-failed",
        subject: unit.to_owned(),
        broken,
        severity: if broken { 0.8 } else { 0.0 },
        text,
        unit: Some(unit.to_owned()),
        ..Finding::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;

    fn unit(failed: bool) -> UnitState {
        let changed = Tick { mono_ms: 5000, wall_ms: 9000 };
        let why = "its main process exited with status 1".to_owned();
        UnitState { name: "shop.service".into(), failed, why, restarts: 2, changed }
    }

    #[test]
    fn a_failure_is_told_with_its_reason_and_ends() {
        let mut rule = UnitFailed::default();
        assert!(rule.look(&[unit(false)]).is_empty(), "it runs");
        let found = rule.look(&[unit(true)]).remove(0);
        assert!(found.broken && found.unit.as_deref() == Some("shop.service"));
        assert_eq!(found.text, "shop.service failed: its main process exited with status 1");
        assert_eq!(found.onset, Some(unit(true).changed));
        assert!(rule.look(&[unit(true)])[0].broken);
        assert!(!rule.look(&[unit(false)])[0].broken);
        assert!(rule.look(&[unit(false)]).is_empty(), "it was told once");
        rule.look(&[unit(true)]);
        assert!(!rule.look(&[])[0].broken, "a unit that is gone is not failed");
    }
}
