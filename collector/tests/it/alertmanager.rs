//! Beside a real Alertmanager: alerts of a Prometheus come in here, one alert goes out there.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tacit_collector::config::Config;
use tempfile::TempDir;

use crate::client::PATIENCE;
use crate::kills::free_port;
use crate::messages::now_ms;
use crate::site::Site;
use crate::target::Target;

const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";

/// Debian's Alertmanager on loopback; it ends when this is dropped.
struct Alertmanager {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Alertmanager {
    /// `None` where there is none, except in CI, which must have it. Everything it is told of goes to `target`.
    fn start(target: &str) -> Option<Self> {
        if !Path::new(ALERTMANAGER).exists() {
            let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(!ci, "{ALERTMANAGER} is missing: install prometheus-alertmanager");
            eprintln!("not run: {ALERTMANAGER} is missing");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("alertmanager.yml");
        let text = format!(
            "route:\n  receiver: all\n  group_by: [alertname, incident]\n  group_wait: 0s\n  group_interval: 1s\n  repeat_interval: 1h\n\
             receivers:\n- name: all\n  webhook_configs:\n  - url: {target}\n"
        );
        std::fs::write(&config, text).unwrap();
        let port = free_port();
        let process = Command::new(ALERTMANAGER)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { process, url: format!("http://127.0.0.1:{port}"), _folder: folder })
    }

    /// Its open alerts; `None` while it starts.
    async fn alerts(&self) -> Option<Vec<Value>> {
        let url = format!("{}/api/v2/alerts", self.url);
        let ask = move || {
            let text = ureq::get(&url).call().ok()?.body_mut().read_to_string().ok()?;
            serde_json::from_str(&text).ok()
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    /// Waits until its open alerts are as they should be.
    async fn until(&self, check: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let alerts = self.alerts().await;
            if let Some(alerts) = alerts.as_ref().filter(|all| check(all)) {
                return alerts.clone();
            }
            assert!(tokio::time::Instant::now() < deadline, "it stayed {alerts:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

fn named<'a>(alerts: &'a [Value], name: &str) -> Vec<&'a Value> {
    alerts.iter().filter(|alert| alert["labels"]["alertname"] == name).collect()
}

fn written(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

#[tokio::test]
async fn an_alert_in_is_an_incident_and_one_alert_out() {
    let told = Target::start(|_| 200);
    let Some(alertmanager) = Alertmanager::start(&told.url("/")) else { return };
    alertmanager.until(<[Value]>::is_empty).await;
    let text = format!(
        "[notify]\nwait = \"0s\"\n\
         [[notify.receiver]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"{}\"\n",
        alertmanager.url
    );
    let notify = Config::parse(&text).unwrap().notify;
    let site = Site::start_with(|config| config.notify = notify).await;
    alertmanager.until(|all| !named(all, "TacitWatchdog").is_empty()).await;

    // As Prometheus does it: all that fires, again and again.
    let mut alert = json!({
        "labels": { "alertname": "CheckoutSlow", "severity": "page", "instance": "10.0.0.9:443" },
        "annotations": { "summary": "checkout answers after 4 s" },
        "startsAt": written(now_ms() - 30_000),
        "endsAt": written(now_ms() + 240_000),
        "generatorURL": "http://prometheus.example:9090/graph",
    });
    for _ in 0..5 {
        assert_eq!(site.post("/api/v2/alerts", &json!([alert]).to_string()).await.status, 200);
    }
    site.until("/api/v1/status", |status| status["totals"]["incidents_open"] == 1).await;
    let open = alertmanager.until(|all| !named(all, "TacitIncident").is_empty()).await;
    let incident = named(&open, "TacitIncident");
    assert_eq!((incident.len(), open.len()), (1, 2), "the incident and the watchdog: {open:#?}");
    assert_eq!(incident[0]["labels"]["incident"], "1");
    let page = incident[0]["generatorURL"].as_str().unwrap_or_default();
    assert_eq!(page, format!("http://{}/incidents/1", site.host()));
    let summary = incident[0]["annotations"]["summary"].as_str().unwrap_or_default();
    assert!(summary.contains("checkout answers after 4 s"), "{summary}");

    // What Tacit says does not come back to it as news.
    let echo = json!([{ "labels": incident[0]["labels"], "annotations": {} }]).to_string();
    site.post("/api/v2/alerts", &echo).await;

    alert["endsAt"] = written(now_ms() - 1000).into();
    assert_eq!(site.post("/api/v2/alerts", &json!([alert]).to_string()).await.status, 200);
    // Nobody waits for it to be quiet for long enough.
    let resolved = site.post("/api/v1/incidents/1/resolve", "{}").await;
    assert_eq!(resolved.status, 200, "{}", resolved.text);
    let rest = alertmanager.until(|all| named(all, "TacitIncident").is_empty()).await;
    assert_eq!(named(&rest, "TacitWatchdog").len(), 1, "it always fires");
    let end = |body: &Value| body["status"] == "resolved" && body["groupLabels"]["alertname"] == "TacitIncident";
    let all = told.until_some(|all| all.iter().any(|asked| end(&asked.json()))).await;
    let begins = |body: &Value| body["status"] == "firing" && body["groupLabels"]["alertname"] == "TacitIncident";
    assert_eq!(all.iter().filter(|asked| begins(&asked.json())).count(), 1, "{all:#?}");
    assert_eq!(site.json("/api/v1/incidents").await["incidents"].as_array().map(Vec::len), Some(1));
    site.stop().await;
}
