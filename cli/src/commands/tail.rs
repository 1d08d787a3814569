//! `tacit tail`: everything that nodes publish, decoded, as it comes.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, SubscribeReasonCode};
use rumqttc::{Client, Event, MqttOptions, TlsConfiguration, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tacit_wire::codec::{Message, decode};
use tacit_wire::message::{Birth, Death, Links, Report, ResultMessage, Summary};
use tacit_wire::topic::Up;
use tacit_wire::{NodeId, Topic, WireError, message};

use super::print;
use crate::arguments::Tail;
use crate::client::token;
use crate::output::{now_ms, utc};

/// Subscribes and prints until it is stopped or the broker goes away.
///
/// # Errors
/// When the broker cannot be reached or refuses.
pub fn run(options: &Tail) -> Result<()> {
    let (host, port, is_tls) = address(&options.broker)?;
    let wanted: Option<NodeId> = options.node.as_deref().map(str::parse).transpose()?;
    let filter = wanted.map_or_else(|| Topic::ALL_UP.to_owned(), |node| format!("tacit/1/+/u/{node}/+"));
    let mut settings = MqttOptions::new(format!("Tail-{:08x}", fastrand::u32(..)), (host, port));
    // The client takes 10 KB at most unless told.
    settings.set_keep_alive(30).set_max_packet_size(Some(128 * 1024));
    if is_tls {
        let file = options
            .ca_file
            .as_deref()
            .context("mqtts:// needs --ca-file: on the collector's machine, tacit ca show --pem")?;
        settings.set_transport(Transport::tls_with_config(trusting(file)?));
    }
    if let Some(token) = token(options.token_file.as_deref(), std::env::var("TACIT_TOKEN").ok())? {
        // The token says who it is.
        settings.set_credentials("token", token);
    }
    let (client, mut connection) = Client::builder(settings).capacity(4).build();
    client.subscribe(filter, QoS::AtMostOnce).context("cannot subscribe")?;
    let mut names = Names::default();
    for notice in connection.iter() {
        match notice.with_context(|| format!("lost the broker at {}", options.broker))? {
            Event::Incoming(Packet::Publish(p)) => {
                let topic = String::from_utf8_lossy(&p.topic).into_owned();
                show(&topic, &p.payload, options.json, &mut names)?;
            }
            Event::Incoming(Packet::SubAck(ack))
                if ack.return_codes.iter().any(|c| !matches!(c, SubscribeReasonCode::Success(_))) =>
            {
                bail!("the broker refuses to show what nodes publish: {:?}", ack.return_codes);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Host, port, and whether it speaks TLS.
fn address(broker: &str) -> Result<(String, u16, bool)> {
    let (rest, usual, is_tls) = match (broker.strip_prefix("mqtt://"), broker.strip_prefix("mqtts://")) {
        (Some(rest), _) => (rest, "1883", false),
        (_, Some(rest)) => (rest, "8883", true),
        _ => bail!("--broker {broker:?}: expected mqtt://HOST:PORT or mqtts://HOST:PORT"),
    };
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, usual));
    let port = port.parse().with_context(|| format!("--broker {broker:?}: the port is not a number"))?;
    Ok((host.to_owned(), port, is_tls))
}

/// TLS with whoever shows a certificate of the roots in a file.
fn trusting(file: &Path) -> Result<TlsConfiguration> {
    let text = std::fs::read(file).with_context(|| format!("--ca-file: cannot read {}", file.display()))?;
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&text) {
        let root = root.with_context(|| format!("--ca-file: {} is not PEM", file.display()))?;
        roots.add(root).with_context(|| format!("--ca-file: {} holds what is no root", file.display()))?;
    }
    if roots.is_empty() {
        bail!("--ca-file: {} holds no certificate in PEM form", file.display());
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS cannot be set up")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConfiguration::from(config))
}

/// Names of series by node and number, as far as messages told them.
#[derive(Default)]
struct Names(HashMap<(NodeId, u16), String>);

fn show(topic: &str, payload: &[u8], whole: bool, names: &mut Names) -> Result<()> {
    let (value, line) = match topic.parse::<Topic>() {
        Ok(Topic::Up(_, node, what)) => match describe(&node, what, payload, names) {
            Ok(described) => described,
            Err(error) => (json!({ "error": error.to_string() }), format!("undecodable: {error}")),
        },
        _ => (json!({ "error": "not a topic of this protocol" }), "not a topic of this protocol".to_owned()),
    };
    if whole {
        return print(&(json!({ "topic": topic, "bytes": payload.len(), "message": value }).to_string() + "\n"));
    }
    print(&format!("{}  {topic}  {} B  {line}\n", utc(now_ms()), payload.len()))
}

fn describe(node: &NodeId, what: Up, payload: &[u8], names: &mut Names) -> Result<(Value, String), WireError> {
    fn read<M: Message>(payload: &[u8]) -> Result<(M, Value), WireError> {
        let message: M = decode(payload)?;
        let value = serde_json::to_value(&message)?;
        Ok((message, value))
    }
    Ok(match what {
        Up::Birth => {
            let (m, v) = read::<Birth>(payload)?;
            (v, format!("agent {}, {} series, {} on {}", m.agent, m.series, m.identity.os, m.identity.arch))
        }
        Up::Death => {
            let (m, v) = read::<Death>(payload)?;
            (v, m.reason.unwrap_or_else(|| "connection lost".into()))
        }
        Up::Summary => {
            let (m, v) = read::<Summary>(payload)?;
            for def in &m.series {
                names.0.insert((node.clone(), def.id.0), def.label());
            }
            let name = |id: u16| names.0.get(&(node.clone(), id)).cloned().unwrap_or_else(|| format!("series {id}"));
            let shown: Vec<String> = m.rows.iter().take(5).map(|r| name(r.id.0)).collect();
            let more = m.rows.len().saturating_sub(shown.len());
            (v, format!("{} steps, {} series moved: {} (+{more})", m.steps, m.rows.len(), shown.join(", ")))
        }
        Up::Event => {
            let (m, v) = read::<message::Event>(payload)?;
            (v, format!("{} {} {:.2} {}", m.kind, m.phase, m.severity.0, m.text))
        }
        Up::Links => {
            let (m, v) = read::<Links>(payload)?;
            (v, format!("{} edges", m.edges.len()))
        }
        Up::Report => {
            let (m, v) = read::<Report>(payload)?;
            let cost = format!("cpu {:.3} %, {:.1} MB", m.cost.cpu.0 * 100.0, m.cost.pss as f64 / 1e6);
            let health = if m.health.is_empty() { "healthy".to_owned() } else { m.health.join("; ") };
            (v, format!("{} series, {cost}, {health}", m.series))
        }
        Up::Result => {
            let (m, v) = read::<ResultMessage>(payload)?;
            (v, format!("answer to {}, part {}{}", m.command, m.part, if m.last { ", last" } else { "" }))
        }
    })
}
