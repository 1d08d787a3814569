//! The certificate of a probed endpoint expires soon: told two weeks before, severe three days before.

use super::Finding;
use crate::source::probe::Certificate;

const DAY_MS: i64 = 86_400_000;
/// Told when less is left.
const SOON_MS: i64 = 14 * DAY_MS;
/// Severe when less is left.
const SEVERE_MS: i64 = 3 * DAY_MS;

/// The rule's memory: probes it told of.
#[derive(Debug, Default)]
pub struct CertificateExpiring {
    told: Vec<String>,
}

impl CertificateExpiring {
    /// Looks at the certificates as last seen; `now_ms` is Unix time, as in certificates.
    pub fn look(&mut self, certificates: &[Certificate], now_ms: i64) -> Vec<Finding> {
        let mut findings = Vec::new();
        for certificate in certificates {
            let left = certificate.not_after_ms.saturating_sub(now_ms);
            let told = self.told.iter().position(|name| *name == certificate.probe);
            if left < SOON_MS {
                if told.is_none() {
                    self.told.push(certificate.probe.clone());
                }
                findings.push(finding(certificate, true, severity(left), &expiring(left)));
            } else if let Some(index) = told {
                self.told.swap_remove(index);
                findings.push(finding(certificate, false, 0.0, &format!("is valid for {} days", left / DAY_MS)));
            }
        }
        findings
    }
}

fn severity(left_ms: i64) -> f32 {
    match left_ms {
        left if left <= 0 => 1.0,
        left if left < SEVERE_MS => 0.9,
        _ => 0.5,
    }
}

fn expiring(left_ms: i64) -> String {
    let time = |ms: i64| match (ms / DAY_MS, ms / 3_600_000) {
        (0, hours) => format!("{hours} h"),
        (1, _) => "1 day".to_owned(),
        (days, _) => format!("{days} days"),
    };
    if left_ms <= 0 { format!("expired {} ago", time(-left_ms)) } else { format!("expires in {}", time(left_ms)) }
}

fn finding(certificate: &Certificate, broken: bool, severity: f32, state: &str) -> Finding {
    let Certificate { probe, target, .. } = certificate;
    let text = format!("the certificate of {probe} ({target}) {state}");
    Finding { rule: "certificate-expiring", subject: probe.clone(), broken, severity, text, ..Finding::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_weeks_warn_three_days_are_severe_and_a_new_one_ends_it() {
        let mut rule = CertificateExpiring::default();
        let mut look = |days: f64| {
            let not_after_ms = 1_800_000_000_000 + (days * DAY_MS as f64) as i64;
            let certificate = Certificate { probe: "shop".into(), target: "tls://shop:443".into(), not_after_ms };
            rule.look(&[certificate], 1_800_000_000_000).pop().map(|f| (f.broken, f.severity, f.text))
        };
        assert_eq!(look(14.5), None);
        let text = |state: &str| format!("the certificate of shop (tls://shop:443) {state}");
        assert_eq!(look(13.5), Some((true, 0.5, text("expires in 13 days"))));
        assert_eq!(look(2.9), Some((true, 0.9, text("expires in 2 days"))));
        assert_eq!(look(0.3), Some((true, 0.9, text("expires in 7 h"))));
        assert_eq!(look(-1.5), Some((true, 1.0, text("expired 1 day ago"))));
        assert_eq!(look(89.5), Some((false, 0.0, text("is valid for 89 days"))));
        assert_eq!(look(88.5), None);
    }
}
