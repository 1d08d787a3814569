//! One receiver: how it is told, how it does, and that it holds nobody up.
//!
//! Each sending has a thread of its own, so that a receiver that hangs keeps neither other receivers nor the store waiting, and
//! does not hold up the end of the collector. A receiver has a few of them; while they are busy the rest waits on disk.

use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex, PoisonError};

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::alertmanager::{self, Alertmanager};
use super::config::{Kind, MailTls, ReceiverConfig, masked};
use super::http::{Auth, Http, SendError, secret};
use super::mail::Mail;
use super::message::Message;
use super::webhook::{Heartbeat, Target, Template, Webhook};

/// Messages to Alertmanager that go in one request.
const BATCH: usize = 64;

/// A message with the name that it keeps however often it is sent.
pub type Named = (String, Message);

#[derive(Debug)]
enum Channel {
    Alertmanager(Alertmanager),
    Webhook(Webhook),
    Mail(Mail),
    Watchdog(Heartbeat),
}

/// How a receiver does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// When it took something last, Unix milliseconds.
    pub took_ms: Option<i64>,
    /// Since when it takes nothing, Unix milliseconds.
    pub failing_since_ms: Option<i64>,
    /// Why.
    pub error: Option<String>,
}

/// A receiver.
#[derive(Debug)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// By which way it is told.
    pub kind: Kind,
    /// Where it is, for people; what may be secret is left out.
    pub target: String,
    /// Whether it is told that something is over.
    pub send_resolved: bool,
    channel: Channel,
    busy: AtomicUsize,
    health: Mutex<Health>,
}

impl Receiver {
    /// A receiver as configured; the configuration was checked.
    ///
    /// # Errors
    /// When a secret cannot be read, or something is missing after all.
    pub fn new(config: &ReceiverConfig, http: &Http) -> Result<Self, String> {
        let named = |e: String| format!("notify.receiver {:?}: {e}", config.name);
        let kind = config.kind.ok_or_else(|| named("kind is missing".into()))?;
        let channel = channel(config, kind, http).map_err(named)?;
        let target = match (kind, &config.url, &config.url_file) {
            (Kind::Mail, _, _) => config.to.join(", "),
            (Kind::Alertmanager, url, _) => {
                url.iter().chain(&config.urls).map(String::as_str).collect::<Vec<_>>().join(", ")
            }
            (_, Some(url), _) => masked(url),
            (_, None, file) => file.as_ref().map_or_else(String::new, |f| format!("as {} says", f.display())),
        };
        Ok(Self {
            name: config.name.clone(),
            kind,
            target,
            send_resolved: config.send_resolved,
            channel,
            busy: AtomicUsize::new(0),
            health: Mutex::default(),
        })
    }

    /// Messages that can go in one request.
    #[must_use]
    pub fn batch(&self) -> usize {
        if self.kind == Kind::Alertmanager { BATCH } else { 1 }
    }

    /// Requests that may be under way. What is said to Alertmanager has an order: an end must not be overtaken by a repetition.
    fn slots(&self) -> usize {
        if matches!(self.kind, Kind::Alertmanager | Kind::Watchdog) { 1 } else { 4 }
    }

    /// Whether something can be sent now.
    #[must_use]
    pub fn free(&self) -> bool {
        self.busy.load(Acquire) < self.slots()
    }

    /// Whether the watchdog is kept up here.
    #[must_use]
    pub fn has_watchdog(&self) -> bool {
        matches!(&self.channel, Channel::Alertmanager(a) if a.watchdog)
    }

    /// Sends messages, at most [`Receiver::batch`] of them. Blocks.
    ///
    /// # Errors
    /// When they were not taken.
    pub fn send(&self, messages: &[Named], now_ms: i64) -> Result<String, SendError> {
        match (&self.channel, messages) {
            (Channel::Alertmanager(a), all) => {
                a.post(&all.iter().flat_map(|(_, m)| alertmanager::alerts(m, now_ms)).collect::<Vec<_>>())
            }
            (Channel::Webhook(w), [(key, message)]) => w.send(key, message),
            (Channel::Mail(m), [(key, message)]) => m.send(key, message),
            (Channel::Watchdog(h), _) => h.beat(),
            (Channel::Webhook(_) | Channel::Mail(_), _) => Err(SendError::never("one message at a time")),
        }
    }

    /// Says what is open once more, or that the collector lives. Blocks.
    ///
    /// # Errors
    /// When it was not taken.
    pub fn keep(&self, alerts: &[Value]) -> Result<String, SendError> {
        match &self.channel {
            Channel::Alertmanager(a) => a.post(alerts),
            Channel::Watchdog(h) => h.beat(),
            Channel::Webhook(_) | Channel::Mail(_) => Err(SendError::never("nothing is kept up there")),
        }
    }

    /// Does something with the receiver on a thread of its own. The answer fails when there is no thread to be had.
    pub fn start(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<String, SendError> + Send + 'static,
    ) -> oneshot::Receiver<Result<String, SendError>> {
        let (answer, answered) = oneshot::channel();
        self.busy.fetch_add(1, AcqRel);
        let busy = Busy(Arc::clone(self));
        let body = move || {
            let result = work(&busy.0);
            drop(busy);
            // Who asked may have gone.
            let _ = answer.send(result);
        };
        // Without a thread nothing of this is left, and the answer fails.
        let _ = std::thread::Builder::new().name("tacit-notify".into()).spawn(body);
        answered
    }

    /// Notes how it did, and says whether that is another state than before.
    pub fn note(&self, result: &Result<String, SendError>, now_ms: i64) -> bool {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let before = health.failing_since_ms.is_some();
        match result {
            Ok(_) => *health = Health { took_ms: Some(now_ms), ..Health::default() },
            Err(e) => {
                health.failing_since_ms.get_or_insert(now_ms);
                health.error = Some(e.text.clone());
            }
        }
        before != result.is_err()
    }

    /// How it does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A request that is under way, until it is dropped.
struct Busy(Arc<Receiver>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, AcqRel);
    }
}

fn channel(config: &ReceiverConfig, kind: Kind, http: &Http) -> Result<Channel, String> {
    let user = config.username.clone().zip(config.password_file.clone());
    let auth = Auth { user: user.clone(), bearer: config.bearer_file.clone() };
    auth.check().map_err(|e| e.text)?;
    let headers = || config.headers.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    let target = || match (&config.url, &config.url_file) {
        (Some(url), _) => Ok(Target::Url(url.clone())),
        (None, Some(file)) => {
            secret(file).map_err(|e| e.text)?;
            Ok(Target::File(file.clone()))
        }
        (None, None) => Err("url is missing".to_owned()),
    };
    let method = |usual: &str| config.method.clone().unwrap_or_else(|| usual.to_owned());
    Ok(match kind {
        Kind::Alertmanager => Channel::Alertmanager(Alertmanager {
            http: http.clone(),
            urls: config.url.iter().chain(&config.urls).cloned().collect(),
            headers: headers(),
            auth,
            watchdog: config.watchdog,
        }),
        Kind::Webhook => Channel::Webhook(Webhook {
            http: http.clone(),
            target: target()?,
            method: method("POST"),
            headers: headers(),
            auth,
            template: config.template.as_deref().map(Template::new).transpose()?,
            content_type: config.content_type.clone().unwrap_or_else(|| "application/json".into()),
        }),
        Kind::Watchdog => Channel::Watchdog(Heartbeat {
            http: http.clone(),
            target: target()?,
            method: method("GET"),
            headers: headers(),
            auth,
        }),
        Kind::Mail => {
            let tls: MailTls = config.tls.unwrap_or_default();
            let mailbox =
                |text: &str| text.parse::<Mailbox>().map_err(|e| format!("{text:?} is no address of mail: {e}"));
            Channel::Mail(Mail {
                host: config.host.clone().ok_or("host is missing")?,
                port: config.port.unwrap_or(tls.port()),
                tls,
                from: mailbox(config.from.as_deref().ok_or("from is missing")?)?,
                to: config.to.iter().map(|t| mailbox(t)).collect::<Result<_, _>>()?,
                user,
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> Arc<Receiver> {
        let config = ReceiverConfig {
            name: "ops".into(),
            kind: Some(Kind::Webhook),
            url: Some("http://127.0.0.1:9/SECRET".into()),
            ..ReceiverConfig::default()
        };
        Arc::new(Receiver::new(&config, &Http::new(false)).unwrap())
    }

    #[tokio::test]
    async fn a_receiver_that_hangs_is_busy_and_blocks_nobody() {
        let receiver = webhook();
        assert_eq!(receiver.target, "http://127.0.0.1:9/***");
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let hanging: Vec<_> = (0..4)
            .map(|_| {
                assert!(receiver.free());
                let wait = Arc::clone(&wait);
                receiver.start(move |_| {
                    wait.lock().unwrap().recv().unwrap();
                    Ok("late".into())
                })
            })
            .collect();
        assert!(!receiver.free());
        for _ in &hanging {
            go.send(()).unwrap();
        }
        for answer in hanging {
            assert_eq!(answer.await.unwrap(), Ok("late".into()));
        }
        assert!(receiver.free());
    }

    #[test]
    fn health_tells_since_when_it_fails() {
        let receiver = webhook();
        let away = Err(SendError::later("nobody answers"));
        assert!(receiver.note(&away, 5));
        assert!(!receiver.note(&away, 9));
        let health = receiver.health();
        assert_eq!((health.failing_since_ms, health.error.as_deref()), (Some(5), Some("nobody answers")));
        assert!(receiver.note(&Ok("200 OK".into()), 12));
        assert_eq!(receiver.health(), Health { took_ms: Some(12), ..Health::default() });
    }

    #[test]
    fn a_secret_that_is_not_there_is_told_at_start() {
        let config = ReceiverConfig {
            name: "ops".into(),
            kind: Some(Kind::Webhook),
            url_file: Some("/nonexistent/url".into()),
            ..ReceiverConfig::default()
        };
        let error = Receiver::new(&config, &Http::new(false)).unwrap_err();
        assert!(error.starts_with("notify.receiver \"ops\": cannot read /nonexistent/url: "), "{error}");
    }
}
