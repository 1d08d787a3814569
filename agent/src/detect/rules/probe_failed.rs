//! A configured endpoint did not answer as it should, three times in a row.

use super::Finding;
use crate::source::probe::Probed;

/// Failures in a row before it is told: one lost packet is no news.
const FAILURES: u32 = 3;

/// The rule's memory: probes it told of.
#[derive(Debug, Default)]
pub struct ProbeFailed {
    told: Vec<String>,
}

impl ProbeFailed {
    /// Looks at the newest answer of each probe.
    pub fn look(&mut self, probed: &[Probed]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for probe in probed {
            let told = self.told.iter().position(|name| *name == probe.name);
            let broken = probe.failures >= FAILURES;
            let text = match (told, broken) {
                (_, true) => format!("{} ({}) fails: {}", probe.name, probe.target, probe.error),
                // Between one failure and none it is not over yet.
                (Some(_), false) if probe.failures == 0 => {
                    format!("{} ({}) answers again", probe.name, probe.target)
                }
                _ => continue,
            };
            match told {
                None => self.told.push(probe.name.clone()),
                Some(index) if !broken => drop(self.told.swap_remove(index)),
                Some(_) => {}
            }
            let severity = if broken { 0.7 } else { 0.0 };
            let subject = probe.name.clone();
            findings.push(Finding { rule: "probe-failed", subject, broken, severity, text, ..Finding::default() });
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_are_told_and_one_answer_ends_it() {
        let mut rule = ProbeFailed::default();
        let mut look = |failures: u32| {
            let (name, target) = ("shop".to_owned(), "tcp://shop:80".to_owned());
            let error = "connection refused".to_owned();
            rule.look(&[Probed { name, target, failures, error }]).pop().map(|f| (f.broken, f.text))
        };
        assert_eq!(look(0), None);
        assert_eq!(look(2), None);
        assert_eq!(look(3), Some((true, "shop (tcp://shop:80) fails: connection refused".into())));
        assert!(look(4).is_some_and(|(broken, _)| broken));
        assert_eq!(look(0), Some((false, "shop (tcp://shop:80) answers again".into())));
        assert_eq!(look(0), None);
    }
}
