//! Another configuration while a session stands: what is not about the connection is taken over in place, for the rest a new
//! connection is made. Nothing that waits is lost; what was not known to be stored is sent again.

use std::time::Duration;

use tacit_wire::topic::Up;
use tokio::time::Instant;
use tracing::info;

use super::Net;
use crate::clock::Tick;
use crate::config::PublishConfig;
use crate::outbox::{Disk, Limits};
use crate::publish::backoff::Backoff;
use crate::publish::mqtt::outcome;

/// Longest time for each step of leaving a broker.
const LEAVE: Duration = Duration::from_secs(2);
/// What a broker that is left is told; it reads on from "the agent stopped: ".
const MOVED: &str = "it uses another broker now";

/// What the network thread works with from now on.
#[derive(Debug)]
pub struct Changed {
    /// `[publish]`.
    pub publish: PublishConfig,
    /// The outbox's bounds.
    pub limits: Limits,
    /// Files that it names have another content.
    pub renewed: bool,
}

impl<D: Disk> Net<D> {
    pub(super) async fn on_change(&mut self, changed: Changed) {
        let Changed { publish, limits, renewed } = changed;
        self.parts.outbox.set_limits(limits, Tick::now());
        let before = std::mem::replace(&mut self.parts.config, publish);
        let now = &self.parts.config;
        if before.backoff_max != now.backoff_max {
            self.backoff = Backoff::new(self.parts.tuning.backoff_min, now.backoff_max.std());
        }
        if renewed || !same_connection(&before, now) {
            self.leave(before.broker != self.parts.config.broker).await;
        } else if self.up {
            // What is in force is told by the birth.
            self.queue_birth();
        }
        self.show_outbox();
    }

    /// Ends the session so that the next one begins at once; at another broker nobody would otherwise learn that this one is left.
    async fn leave(&mut self, elsewhere: bool) {
        // On disk first: what comes now may take long.
        self.parts.outbox.spill();
        self.spilled_at = Instant::now();
        if let Some(link) = self.link.take()
            && self.up
        {
            if elsewhere && let Some(notice) = link.publish(self.topic(Up::Death), self.death(Some(MOVED))) {
                let _ = tokio::time::timeout(LEAVE, outcome(notice)).await;
            }
            link.close(LEAVE).await;
        }
        self.up = false;
        self.forget_in_flight();
        self.answers.clear();
        self.backoff.reset();
        self.retry_at = Instant::now();
        self.was_down = false;
        let broker = &self.parts.config.broker;
        self.parts.status.went_down(format!("not connected to {broker} yet: the configuration has just changed"));
        info!(%broker, "The connection is made anew, as the configuration has changed.");
    }
}

/// Whether a session can go on: profile, cap and waits are not about the connection.
fn same_connection(before: &PublishConfig, now: &PublishConfig) -> bool {
    let PublishConfig { profile, bytes_per_month, backoff_max, .. } = now;
    let before = PublishConfig {
        profile: *profile,
        bytes_per_month: *bytes_per_month,
        backoff_max: *backoff_max,
        ..before.clone()
    };
    before == *now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ProfileName, Size};
    use tacit_wire::Encoding;

    #[test]
    fn only_what_is_about_the_connection_ends_it() {
        let now = PublishConfig::default();
        let other = PublishConfig {
            profile: ProfileName::Full,
            bytes_per_month: Some(Size::mib(1)),
            backoff_max: "5s".parse().expect("a duration"),
            ..now.clone()
        };
        assert!(same_connection(&other, &now));
        for other in [
            PublishConfig { broker: "mqtt://b:1".into(), ..now.clone() },
            PublishConfig { encoding: Encoding::Json, ..now.clone() },
            PublishConfig { username: Some("me".into()), ..now.clone() },
            PublishConfig { ca_file: Some("/ca.pem".into()), ..now.clone() },
        ] {
            assert!(!same_connection(&other, &now), "{other:?}");
        }
    }
}
