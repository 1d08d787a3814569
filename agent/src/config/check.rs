//! What no single field's type can check: ranges, and keys that belong together.

use std::net::IpAddr;

use tacit_wire::limits::TAGS;

use super::{Config, ProbeConfig, ScrapeConfig};
use crate::context;
use crate::publish::dial::Proxy;
use crate::source::probe::Target;
use crate::source::registry::NAMES;

/// A key that holds something impossible.
#[derive(Debug)]
pub struct Wrong {
    /// The key, as `sampling.interval` or `scrape[1].url`.
    pub key: String,
    /// What it holds and what is allowed.
    pub text: String,
}

fn wrong(key: impl Into<String>, text: impl Into<String>) -> Result<(), Wrong> {
    Err(Wrong { key: key.into(), text: text.into() })
}

/// Models beside the built-in detector: each takes its share of the budgets.
const MOST_MODELS: usize = 8;

/// The first thing wrong, in the order of the sections.
pub fn check(config: &Config) -> Result<(), Wrong> {
    if config.node.data_dir.as_os_str().is_empty() {
        return wrong(
            "node.data_dir",
            "it is empty; give a folder the agent may write, as in \"/var/lib/tacit-agent\"",
        );
    }
    tags(config)?;
    sampling(config)?;
    detect(config)?;
    publish(config)?;
    if config.outbox.max_bytes.bytes() < 1 << 20 {
        return wrong("outbox.max_bytes", format!("{:?}: at least 1MiB", config.outbox.max_bytes.to_string()));
    }
    if config.outbox.max_age.as_millis() < 60_000 {
        return wrong("outbox.max_age", format!("{:?}: at least 1min", config.outbox.max_age.to_string()));
    }
    asked_for(config)?;
    for (i, scrape) in config.scrape.iter().enumerate() {
        endpoint(scrape, &format!("scrape[{i}]"))?;
        if config.scrape[..i].iter().any(|s| s.job == scrape.job) {
            return wrong(
                format!("scrape[{i}].job"),
                format!("{:?} is there twice; each job needs its own name", scrape.job),
            );
        }
    }
    Ok(())
}

/// Keys are what patterns and addresses are made of; values are for people.
fn tags(config: &Config) -> Result<(), Wrong> {
    let tags = &config.node.tags;
    if tags.len() > TAGS {
        return wrong("node.tags", format!("{} tags: at most {TAGS}", tags.len()));
    }
    let is_key = |key: &str| {
        (1..=36).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
    };
    for (key, value) in tags {
        if !is_key(key) {
            return wrong("node.tags", format!("{key:?} is no key: 1 to 36 of a-z, 0-9, '-', '_' and '.'"));
        }
        let is_line = !value.contains(|c: char| c == ',' || c.is_control());
        if value.trim() != value || !(1..=64).contains(&value.chars().count()) || !is_line {
            let text = format!("{value:?}: write 1 to 64 characters in one line, without commas");
            return wrong(format!("node.tags.{key}"), text);
        }
    }
    Ok(())
}

/// `[context]`, `[links]`, `[statsd]`, `[[probe]]` and `[[model]]`.
fn asked_for(config: &Config) -> Result<(), Wrong> {
    let disable = &config.context.disable;
    if let Some(i) = disable.iter().position(|name| !context::NAMES.contains(&name.as_str())) {
        let text = format!("{:?} is no watcher; there are {}", disable[i], context::NAMES.join(", "));
        return wrong(format!("context.disable[{i}]"), text);
    }
    if !(1000..=60_000).contains(&config.links.interval.as_millis()) {
        let text = format!("{:?}: allowed are 1s to 1min", config.links.interval.to_string());
        return wrong("links.interval", text);
    }
    let report = config.links.report.as_millis();
    if report == 0 || !report.is_multiple_of(60_000) || report > 360_000 {
        let text = format!("{:?}: allowed are 1min, 2min, 3min, 4min, 5min, 6min", config.links.report.to_string());
        return wrong("links.report", text);
    }
    let s = &config.statsd;
    if let Some(listen) = s.listen.filter(|a| !a.ip().is_loopback()) {
        let text = format!(
            "\"{listen}\" is not on loopback; StatsD has no access control, so only programs of this host may send"
        );
        return wrong("statsd.listen", text);
    }
    if !(1000..=300_000).contains(&s.interval.as_millis()) {
        return wrong("statsd.interval", format!("{:?}: allowed are 1s to 5min", s.interval.to_string()));
    }
    if !(1..=1024).contains(&s.max_names) {
        return wrong("statsd.max_names", format!("{}: allowed are 1 to 1024", s.max_names));
    }
    if config.model.len() > MOST_MODELS {
        return wrong("model", format!("{} models: at most {MOST_MODELS} on one node", config.model.len()));
    }
    for (i, model) in config.model.iter().enumerate() {
        if config.model[..i].contains(model) {
            return wrong(format!("model[{i}].path"), format!("{:?} is there twice", model.path));
        }
    }
    if config.probe.len() > 64 {
        return wrong("probe", format!("{} probes: at most 64 on one node", config.probe.len()));
    }
    for (i, probe) in config.probe.iter().enumerate() {
        one_probe(probe, &format!("probe[{i}]"))?;
        if config.probe[..i].iter().any(|p| p.name == probe.name) {
            let text = format!("{:?} is there twice; each probe needs its own name", probe.name);
            return wrong(format!("probe[{i}].name"), text);
        }
    }
    Ok(())
}

fn one_probe(probe: &ProbeConfig, at: &str) -> Result<(), Wrong> {
    label(&probe.name, &format!("{at}.name"))?;
    let target: Target = match probe.target.parse() {
        Ok(target) => target,
        Err(text) => return wrong(format!("{at}.target"), text),
    };
    if probe.interval.as_millis() < 1000 {
        return wrong(format!("{at}.interval"), format!("{:?}: at least 1s", probe.interval.to_string()));
    }
    if !(10..=probe.interval.as_millis()).contains(&probe.timeout.as_millis()) {
        let (timeout, interval) = (probe.timeout.to_string(), probe.interval.to_string());
        return wrong(format!("{at}.timeout"), format!("{timeout:?}: allowed are 10ms to the interval, {interval:?}"));
    }
    if !probe.status.is_empty() && !target.how.is_http() {
        return wrong(format!("{at}.status"), format!("{:?} is not HTTP and has no status", probe.target));
    }
    if let Some(i) = probe.status.iter().position(|s| !(100..=599).contains(s)) {
        return wrong(format!("{at}.status[{i}]"), format!("{}: allowed are 100 to 599", probe.status[i]));
    }
    Ok(())
}

/// A name that becomes an attribute.
fn label(name: &str, key: &str) -> Result<(), Wrong> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(good) {
        return Ok(());
    }
    wrong(key, format!("{name:?}: use 1 to 64 of a-z, A-Z, 0-9, '-', '_' and '.'"))
}

fn sampling(config: &Config) -> Result<(), Wrong> {
    let s = &config.sampling;
    if !(100..=60_000).contains(&s.interval.as_millis()) {
        return wrong("sampling.interval", format!("{:?}: allowed are 100ms to 60s", s.interval.to_string()));
    }
    if s.process_interval.as_millis() < 1000 {
        return wrong("sampling.process_interval", format!("{:?}: at least 1s", s.process_interval.to_string()));
    }
    if !(16..=4096).contains(&s.max_series) {
        return wrong("sampling.max_series", format!("{}: allowed are 16 to 4096", s.max_series));
    }
    if let Some(i) = s.disable.iter().position(|name| !NAMES.contains(&name.as_str())) {
        let text = format!("{:?} is no source; there are {}", s.disable[i], NAMES.join(", "));
        return wrong(format!("sampling.disable[{i}]"), text);
    }
    Ok(())
}

fn detect(config: &Config) -> Result<(), Wrong> {
    let d = &config.detect;
    if d.disk_full_within.as_millis() < 60_000 {
        return wrong("detect.disk_full_within", format!("{:?}: at least 1min", d.disk_full_within.to_string()));
    }
    if d.snapshot_interval.as_millis() < 10_000 {
        return wrong(
            "detect.snapshot_interval",
            format!("{:?}: at least 10s, so that the disk is spared", d.snapshot_interval.to_string()),
        );
    }
    Ok(())
}

fn publish(config: &Config) -> Result<(), Wrong> {
    let p = &config.publish;
    broker(&p.broker)?;
    match (&p.cert_file, &p.key_file) {
        (Some(_), None) => {
            return wrong("publish.cert_file", "publish.key_file is not set; certificate and key go together");
        }
        (None, Some(_)) => {
            return wrong("publish.key_file", "publish.cert_file is not set; certificate and key go together");
        }
        _ => {}
    }
    let tls = [("ca_file", p.ca_file.is_some()), ("cert_file", p.cert_file.is_some()), ("alpn", p.alpn.is_some())];
    if let Some((key, _)) = tls.iter().find(|(_, set)| *set)
        && p.broker.starts_with("mqtt://")
    {
        return wrong(
            format!("publish.{key}"),
            "publish.broker is mqtt://, which has no TLS; use mqtts:// or leave it out",
        );
    }
    if let Some(alpn) =
        p.alpn.as_ref().filter(|a| !(1..=255).contains(&a.len()) || !a.bytes().all(|b| b.is_ascii_graphic()))
    {
        return wrong("publish.alpn", format!("{alpn:?}: give the name that the broker wants, as in \"mqtt\""));
    }
    if let Some(Err(text)) = p.proxy.as_ref().map(|proxy| proxy.parse::<Proxy>()) {
        return wrong("publish.proxy", text);
    }
    if p.password_file.is_some() && p.username.is_none() {
        return wrong("publish.password_file", "publish.username is not set; a password needs a user name");
    }
    if !(1000..=86_400_000).contains(&p.backoff_max.as_millis()) {
        return wrong("publish.backoff_max", format!("{:?}: allowed are 1s to 1d", p.backoff_max.to_string()));
    }
    Ok(())
}

fn broker(broker: &str) -> Result<(), Wrong> {
    const KEY: &str = "publish.broker";
    const FORM: &str = "expected mqtt://HOST:PORT or mqtts://HOST:PORT";
    let Some(rest) = broker.strip_prefix("mqtt://").or_else(|| broker.strip_prefix("mqtts://")) else {
        return wrong(KEY, format!("{broker:?}: {FORM}"));
    };
    if rest.contains('@') {
        return wrong(KEY, "it holds a user name; use publish.username and publish.password_file");
    }
    match host_port(rest) {
        Some((host, Some(_))) if !host.is_empty() && !host.contains('/') => Ok(()),
        Some((_, None)) => wrong(KEY, format!("{broker:?} has no port: {FORM}")),
        _ => wrong(KEY, format!("{broker:?}: {FORM}")),
    }
}

/// `host:port`, `[v6]:port`, or either without a port; `None` when neither.
fn host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|p| *p > 0).map(|p| (host, Some(p))),
        None => rest.is_empty().then_some((host, None)),
    }
}

fn endpoint(scrape: &ScrapeConfig, at: &str) -> Result<(), Wrong> {
    label(&scrape.job, &format!("{at}.job"))?;
    if let Err(text) = loopback_url(&scrape.url) {
        return wrong(format!("{at}.url"), text);
    }
    if scrape.interval.as_millis() < 1000 {
        return wrong(format!("{at}.interval"), format!("{:?}: at least 1s", scrape.interval.to_string()));
    }
    if !(10..=scrape.interval.as_millis()).contains(&scrape.timeout.as_millis()) {
        let (timeout, interval) = (scrape.timeout.to_string(), scrape.interval.to_string());
        return wrong(format!("{at}.timeout"), format!("{timeout:?}: allowed are 10ms to the interval, {interval:?}"));
    }
    if !(1..=4096).contains(&scrape.max_series) {
        return wrong(format!("{at}.max_series"), format!("{}: allowed are 1 to 4096", scrape.max_series));
    }
    Ok(())
}

/// Whether `url` is plain HTTP on this host's loopback: the agent reads its neighbours, never the network.
///
/// # Errors
/// What is wrong with it, in words.
pub fn loopback_url(url: &str) -> Result<(), String> {
    const FORM: &str = "expected http://127.0.0.1:PORT/PATH (or localhost, or [::1]): the agent reads only this host";
    let wrong = || format!("{url:?}: {FORM}");
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let (host, _) = host_port(authority).ok_or_else(wrong)?;
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if local { Ok(()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_scraped() {
        for good in
            ["http://127.0.0.1:9100/metrics", "http://localhost/metrics", "http://[::1]:80", "http://127.9.9.9/x?y=1"]
        {
            assert_eq!(loopback_url(good), Ok(()), "{good}");
        }
        for bad in [
            "https://127.0.0.1/metrics",
            "http://10.0.0.1/metrics",
            "http://127.0.0.1.evil.example/",
            "http://127.0.0.1@evil.example/",
            "http://localhost:99999/",
            "http://",
            "",
        ] {
            assert!(loopback_url(bad).is_err(), "{bad:?} must be refused");
        }
    }
}
