//! Renews the certificate before it ends: a task of the network thread, which sleeps for weeks.
//!
//! It asks when two thirds of the certificate's life are over (the collector says when, and a fleet that was enrolled on one
//! day does not come on one day), and at once when the broker refuses the certificate: a node that comes back after
//! weeks is let in again with the key that the collector knows. Files are replaced, nothing restarts; the next connection reads
//! them. What fails is said in the node's health and tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use tracing::{info, warn};

use super::der::{self, date};
use super::enrol::{Collector, EnrolError};
use super::floor::Floor;
use super::store::{Enrolled, Given, Store};
use crate::clock::Tick;
use crate::config::PublishConfig;
use crate::publish::NetStatus;
use crate::publish::backoff::Backoff;
use crate::publish::tls::certificates;
use crate::source::task::Task;

const DAY_MS: i64 = 86_400_000;
/// A certificate that nobody renews is spoken of so long before it ends.
const WARN_DAYS: i64 = 14;
/// Share of the time between "renew" and the end over which a fleet is spread.
const SPREAD: f64 = 0.25;

/// Times; the default is what ships, tests shorten them.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Distance of looks at the clock and the files; what is kept of the time is written as often.
    pub look: Duration,
    /// First and longest bound of the wait after a failure.
    pub retry: (Duration, Duration),
    /// Refusals by the broker lead to a question at most so often.
    pub refused: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self { look: s(3600), retry: (s(60), s(6 * 3600)), refused: s(600) }
    }
}

/// The task.
#[derive(Debug)]
pub struct Renewal {
    certificate: PathBuf,
    proxy: Option<String>,
    floor: Arc<Floor>,
    status: Arc<NetStatus>,
    pace: Pace,
    /// Where in the spread this node is, 0 to 1.
    place: f64,
}

/// The task for this configuration; `None` where no certificate of this node is used.
#[must_use]
pub fn task(config: &PublishConfig, floor: &Arc<Floor>, status: &Arc<NetStatus>) -> Option<Task> {
    let renewal = Renewal::new(config, floor, status, Pace::default())?;
    Some(Box::pin(renewal.run()))
}

impl Renewal {
    /// For this configuration; `None` where no certificate of this node is used.
    #[must_use]
    pub fn new(config: &PublishConfig, floor: &Arc<Floor>, status: &Arc<NetStatus>, pace: Pace) -> Option<Self> {
        let certificate = config.cert_file.clone().filter(|_| config.broker.starts_with("mqtts://"))?;
        Some(Self {
            certificate,
            proxy: config.proxy.clone(),
            floor: Arc::clone(floor),
            status: Arc::clone(status),
            pace,
            place: fastrand::f64(),
        })
    }

    /// Runs until its runtime ends.
    pub async fn run(self) {
        let (first, longest) = self.pace.retry;
        let mut backoff = Backoff::new(first, longest);
        let mut refusals_from = Instant::now();
        // Machines that come back together after a power cut do not ask together.
        let mut at = Instant::now() + first.mul_f64(self.place);
        loop {
            let refused = tokio::select! {
                () = tokio::time::sleep_until(at) => false,
                () = self.status.certificate_refused() => true,
            };
            let now = Tick::now();
            if self.status.connected() {
                self.floor.save(now);
            }
            // The files are read each time: enrolling again replaces them while this runs.
            let Some((store, enrolled)) = self.enrolled(now) else {
                at = Instant::now() + self.pace.look;
                continue;
            };
            let by_refusal = refused && Instant::now() >= refusals_from;
            let due = due_ms(&enrolled, self.place).saturating_sub(self.floor.at(now));
            if due > 0 && !by_refusal {
                self.say(None);
                at = Instant::now() + self.pace.look.min(Duration::from_millis(due.unsigned_abs()));
                continue;
            }
            if refused && !by_refusal {
                // The next attempt has its time.
                continue;
            }
            let (wait, deaf) = match self.ask(&store, &enrolled).await {
                Ok(until_ms) => {
                    info!(node = %enrolled.node, until = %date(until_ms), "The certificate was renewed.");
                    self.status.set_certificate_trouble(None);
                    self.status.renew();
                    backoff.reset();
                    (self.pace.look, self.pace.refused)
                }
                Err(error) => {
                    self.failed(&enrolled, &error, now);
                    if error.lasts() {
                        (longest, longest)
                    } else {
                        (backoff.next(fastrand::f64(), None), self.pace.refused)
                    }
                }
            };
            at = Instant::now() + wait;
            refusals_from = Instant::now() + deaf;
        }
    }

    /// As whom this node is enrolled, when its certificate is one of those that are renewed here.
    fn enrolled(&self, now: Tick) -> Option<(Store, Enrolled)> {
        let Some(store) = Store::of(&self.certificate) else {
            self.look_at(&self.certificate, now);
            return None;
        };
        match store.enrolled() {
            Ok(enrolled) => enrolled.map(|enrolled| (store, enrolled)),
            Err(why) => {
                self.say(Some(format!("the certificate cannot be renewed: {why}")));
                None
            }
        }
    }

    async fn ask(&self, store: &Store, enrolled: &Enrolled) -> Result<i64, EnrolError> {
        let collector = Collector::new(&enrolled.collector, self.proxy.as_deref()).map_err(EnrolError::Connection)?;
        let key = store.key().map_err(EnrolError::Connection)?;
        let roots = roots(store).map_err(EnrolError::Connection)?;
        let given: Given = collector.renew(roots, &key, enrolled, &self.floor).await?;
        store
            .renew(&given)
            .map_err(|e| EnrolError::Connection(format!("cannot write to {}: {e}", store.folder().display())))?;
        Ok(given.enrolled.not_after_ms)
    }

    fn failed(&self, enrolled: &Enrolled, error: &EnrolError, now: Tick) {
        let until = date(enrolled.not_after_ms);
        let ended = enrolled.not_after_ms < self.floor.at(now);
        let state = if ended { format!("ended on {until}") } else { format!("is valid until {until}") };
        let way = if error.lasts() { "; a new token is needed: tacit-agent enroll --again" } else { "" };
        self.say(Some(format!("this node's certificate {state} and was not renewed: {error}{way}")));
    }

    /// A certificate from elsewhere is not renewed, but spoken of in time.
    fn look_at(&self, certificate: &Path, now: Tick) {
        let Ok(chain) = certificates(certificate) else { return };
        let Some(about) = chain.first().and_then(|leaf| der::describe(leaf)) else { return };
        let left = about.not_after_ms - self.floor.at(now);
        self.say((left < WARN_DAYS * DAY_MS).then(|| {
            let (file, until) = (certificate.display(), date(about.not_after_ms));
            let verb = if left < 0 { "ended" } else { "ends" };
            format!("the certificate {file} {verb} on {until}, and nothing here renews it: replace the file in time")
        }));
    }

    /// Health always has it; the log has what is new.
    fn say(&self, trouble: Option<String>) {
        if self.status.set_certificate_trouble(trouble.clone())
            && let Some(trouble) = trouble
        {
            warn!(%trouble, "Trouble with this node's certificate.");
        }
    }
}

/// What is trusted when renewing: the roots in force, and those that were named for the collector's https.
fn roots(store: &Store) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut roots = certificates(&store.roots())?;
    let further = store.further_roots();
    if further.exists() {
        roots.extend(certificates(&further)?);
    }
    Ok(roots)
}

/// When a node at this place of the spread asks.
fn due_ms(enrolled: &Enrolled, place: f64) -> i64 {
    let room = enrolled.not_after_ms.saturating_sub(enrolled.renew_after_ms).max(0);
    enrolled.renew_after_ms.saturating_add((room as f64 * SPREAD * place.clamp(0.0, 1.0)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolled(renew_after_ms: i64, not_after_ms: i64) -> Enrolled {
        Enrolled {
            collector: "https://127.0.0.1:1".into(),
            node: "web-1".parse().expect("a node"),
            site: "lab".parse().expect("a site"),
            broker: "mqtts://127.0.0.1:1".into(),
            not_after_ms,
            renew_after_ms,
        }
    }

    #[test]
    fn a_fleet_is_spread_and_nobody_comes_too_late() {
        let one = enrolled(60 * DAY_MS, 90 * DAY_MS);
        assert_eq!(due_ms(&one, 0.0), 60 * DAY_MS);
        assert_eq!(due_ms(&one, 1.0), 60 * DAY_MS + 30 * DAY_MS / 4);
        assert_eq!(due_ms(&enrolled(7, 5), 1.0), 7, "nonsense is asked about");
        let _ = due_ms(&enrolled(i64::MIN, i64::MAX), 0.5);
    }

    #[test]
    fn without_a_certificate_of_its_own_there_is_nothing_to_do() {
        let (floor, status) = (Arc::new(Floor::of_release()), Arc::new(NetStatus::default()));
        let mut config = PublishConfig::default();
        assert!(task(&config, &floor, &status).is_none());
        config.cert_file = Some("/nowhere/cert.pem".into());
        assert!(task(&config, &floor, &status).is_none(), "there is no TLS");
        config.broker = "mqtts://hq.example:8883".into();
        assert!(task(&config, &floor, &status).is_some());
    }

    #[test]
    fn a_failure_is_health_with_its_date_and_way_out() {
        let (floor, status) = (Arc::new(Floor::of_release()), Arc::new(NetStatus::default()));
        let config = PublishConfig {
            broker: "mqtts://hq.example:8883".into(),
            cert_file: Some("/nowhere/cert.pem".into()),
            ..PublishConfig::default()
        };
        let renewal = Renewal::new(&config, &floor, &status, Pace::default()).expect("there is one");
        let now = Tick::now();
        let error = EnrolError::Connection("no answer".into());
        renewal.failed(&enrolled(0, now.wall_ms + DAY_MS), &error, now);
        let said = status.troubles().concat();
        assert!(said.contains("is valid until 20") && said.ends_with("was not renewed: no answer"), "{said}");
        let error = EnrolError::Refused {
            code: "node_revoked".into(),
            message: "web-1 was revoked".into(),
            hint: String::new(),
        };
        renewal.failed(&enrolled(0, 5), &error, now);
        let said = status.troubles().concat();
        assert!(said.contains("ended on 1970-01-01") && said.contains("enroll --again"), "{said}");
    }
}
