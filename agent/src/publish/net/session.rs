//! One session at a time: connecting, the birth that begins it, and what a break leaves behind.

use std::sync::Arc;
use std::time::Duration;

use tacit_wire::codec::encode;
use tacit_wire::message::Death;
use tacit_wire::topic::{Topic, Up};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Net;
use crate::clock::Tick;
use crate::outbox::Disk;
use crate::publish::dial::{Dial, Proxy, authority};
use crate::publish::mqtt::{Link, LinkEvent, Settings};
use crate::publish::tls::Tls;
use crate::publish::words::{About, BROKER, Trouble};

impl<D: Disk> Net<D> {
    pub(super) fn connect_if_due(&mut self) {
        if self.link.is_some() || Instant::now() < self.retry_at {
            return;
        }
        self.connection = Tick::now().mono_ms.max(self.connection + 1);
        match self.settings() {
            Ok(settings) => self.link = Some(Link::open(settings)),
            Err(why) => self.on_down(&Trouble::new(why)),
        }
    }

    pub(super) fn settings(&mut self) -> Result<Settings, String> {
        let config = &self.parts.config;
        let (host, port, secure) = address(&config.broker)?;
        let (tls, own) = match secure {
            true => self.tls.settings(config).map(|(tls, own)| (Some(tls), own))?,
            false => (None, None),
        };
        let proxy = config.proxy.as_deref().map(str::parse::<Proxy>).transpose();
        let proxy = proxy.map_err(|e| format!("publish.proxy: {e}"))?;
        let about = About {
            who: BROKER,
            address: authority(&host, port),
            roots: Tls::roots(config),
            node: self.parts.node.to_string(),
            own,
            tls: secure,
            floor: Arc::clone(self.tls.floor()),
        };
        let credentials = match (&config.username, &config.password_file) {
            (Some(user), Some(file)) => {
                let mut password = std::fs::read(file)
                    .map_err(|e| format!("cannot read publish.password_file {}: {e}", file.display()))?;
                password.truncate(password.trim_ascii_end().len());
                Some((user.clone(), password))
            }
            (Some(user), None) => Some((user.clone(), Vec::new())),
            _ => None,
        };
        Ok(Settings {
            dial: Dial { host, port, proxy, tls },
            about,
            client_id: self.parts.node.to_string(),
            credentials,
            will: (self.topic(Up::Death), self.death(None)),
            window: self.parts.tuning.window,
            connect_timeout: self.parts.tuning.connect_timeout,
        })
    }

    pub(super) fn death(&self, reason: Option<&str>) -> Vec<u8> {
        let death = Death {
            node: self.parts.node.clone(),
            boot: self.parts.boot,
            connection: self.connection,
            reason: reason.map(str::to_owned),
        };
        encode(&death, self.parts.config.encoding).expect("a death is a few short fields")
    }

    pub(super) fn on_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up => self.on_up(),
            LinkEvent::Down(why) => self.on_down(&why),
            LinkEvent::Message { topic, payload } => self.on_message(&topic, &payload),
        }
    }

    pub(super) fn on_up(&mut self) {
        self.up = true;
        self.backoff.reset();
        if self.parts.config.broker.starts_with("mqtts://") {
            self.tls.floor().verified(Tick::now());
        }
        self.forget_in_flight();
        self.collector = None;
        self.answers.clear();
        let now = Instant::now();
        self.send_from = now + self.parts.tuning.status_wait;
        self.progress_at = now;
        self.parts.status.came_up();
        let (site, node) = (&self.parts.site, &self.parts.node);
        let filters = vec![
            format!("tacit/1/{site}/d/{node}/+"),
            format!("tacit/1/{site}/g/+/config"),
            Topic::Status(site.clone()).to_string(),
        ];
        if let Some(link) = &self.link
            && let Err(error) = link.subscribe(filters)
        {
            warn!(%error, "Cannot subscribe; commands will not be heard on this connection.");
        }
        self.queue_birth();
        info!(broker = %self.parts.config.broker, connection = self.connection, waiting = self.parts.outbox.len(), "Connected.");
        self.was_down = false;
    }

    pub(super) fn queue_birth(&mut self) {
        let now = Tick::now();
        let mut birth = (self.parts.birth)();
        birth.connection = self.connection;
        birth.clock.wall_ms = now.wall_ms;
        birth.clock.mono_ms = now.mono_ms;
        birth.outbox = self.parts.outbox.ranges();
        birth.outbox.truncate(64);
        match encode(&birth, self.parts.config.encoding) {
            Ok(payload) => self.answers.push_front((Up::Birth, payload)),
            Err(error) => warn!(%error, "The birth cannot be sent."),
        }
    }

    pub(super) fn on_down(&mut self, trouble: &Trouble) {
        let why = trouble.words.as_str();
        self.link = None;
        self.up = false;
        self.forget_in_flight();
        self.answers.clear();
        self.parts.outbox.spill();
        self.spilled_at = Instant::now();
        self.show_outbox();
        let hint = self.collector.as_ref().and_then(|c| c.backoff_s).map(|s| Duration::from_secs(u64::from(s)));
        let wait = self.backoff.next(fastrand::f64(), hint);
        self.retry_at = Instant::now() + wait;
        if self.was_down {
            debug!(%why, ?wait, "Still not connected.");
        } else {
            warn!(broker = %self.parts.config.broker, %why, "Not connected; messages wait in the outbox.");
            self.was_down = true;
        }
        self.parts.status.went_down(format!("not connected to {}: {why}", self.parts.config.broker));
        if trouble.certificate {
            self.parts.status.refuse_certificate();
        }
    }

    pub(super) fn forget_in_flight(&mut self) {
        self.notices = JoinSet::new();
        self.in_flight = 0;
        self.outstanding.clear();
        self.refused.clear();
        self.parts.outbox.resend();
    }
}

/// Host, port and whether TLS is used.
fn address(broker: &str) -> Result<(String, u16, bool), String> {
    let wrong = || format!("publish.broker = {broker:?}: expected mqtt://HOST:PORT or mqtts://HOST:PORT");
    let (scheme, rest) = broker.split_once("://").ok_or_else(wrong)?;
    let secure = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        _ => return Err(wrong()),
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (rest, if secure { 8883 } else { 1883 }),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port, secure)) }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses() {
        assert_eq!(address("mqtt://broker:1884"), Ok(("broker".into(), 1884, false)));
        assert_eq!(address("mqtts://broker"), Ok(("broker".into(), 8883, true)));
        assert_eq!(address("mqtt://[::1]:1883"), Ok(("::1".into(), 1883, false)));
        for bad in ["broker:1883", "http://b:1", "mqtt://:1", "mqtt://b:port"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
