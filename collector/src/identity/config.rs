//! `[tls]` and `[identity]` of the collector's configuration.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Days of the longest life of a node's certificate, and of the longest grace after it.
const DAYS_MAX: u32 = 3650;
/// Most names of the collector.
const NAMES_MAX: usize = 64;
/// Bytes of a host name.
const NAME_MAX: usize = 253;

/// `[tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Both listeners speak TLS, and a node has to show its certificate.
    pub enabled: bool,
    /// The collector's own certificate with its issuers, when somebody else makes it.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Roots of an authority of your own, whose nodes are let in beside those that were enrolled here.
    pub client_ca_file: Option<PathBuf>,
}

/// `[identity]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// Names and addresses by which nodes and people reach the collector; none means the host name and loopback.
    pub names: Vec<String>,
    /// Where nodes connect to, when it is not where they were enrolled: `mqtts://HOST:PORT`.
    pub broker: Option<String>,
    /// Days that the certificate of a node is valid; it is renewed after two thirds of them.
    pub node_days: u32,
    /// Days after its end in which a node can still renew it with the key that it has.
    pub grace_days: u32,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self { names: Vec::new(), broker: None, node_days: 90, grace_days: 90 }
    }
}

impl TlsConfig {
    /// What no type can check.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("tls.cert_file and tls.key_file go together: set both or none".into());
        }
        let files = [("cert_file", &self.cert_file), ("client_ca_file", &self.client_ca_file)];
        match files.iter().find(|(_, file)| file.is_some() && !self.enabled) {
            Some((key, _)) => {
                Err(format!("tls.{key} does nothing without TLS: set tls.enabled = true, or leave it out"))
            }
            None => Ok(()),
        }
    }
}

impl IdentityConfig {
    /// What no type can check.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=DAYS_MAX).contains(&self.node_days) {
            return Err(format!("identity.node_days: {} is not allowed: write 1 to {DAYS_MAX}", self.node_days));
        }
        if self.grace_days > DAYS_MAX {
            return Err(format!("identity.grace_days: {} is not allowed: write 0 to {DAYS_MAX}", self.grace_days));
        }
        if self.names.len() > NAMES_MAX {
            return Err(format!("identity.names: at most {NAMES_MAX} names"));
        }
        if let Some(wrong) = self.names.iter().find(|name| !is_name(name)) {
            return Err(format!(
                "identity.names: {wrong:?} is neither a host name nor an address: write collector.example.org or 192.0.2.1"
            ));
        }
        match &self.broker {
            Some(url) if !is_broker(url) => {
                Err(format!("identity.broker: {url:?} is not a broker: write mqtts://HOST:PORT"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a text can stand in a certificate as the name of a host: a DNS name, or an address without brackets.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= NAME_MAX && text.split('.').all(is_label))
}

fn is_broker(url: &str) -> bool {
    let place = url.strip_prefix("mqtts://").or_else(|| url.strip_prefix("mqtt://"));
    let Some((host, port)) = place.and_then(|place| place.rsplit_once(':')) else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    is_name(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hosts_or_addresses() {
        for good in ["tacit", "tacit.example.org", "192.0.2.1", "::1", "2001:db8::7", "a_b", "7"] {
            assert!(is_name(good), "{good}");
        }
        for wrong in ["", ".", "a..b", "-a", "a-", "a b", "*.example.org", "https://x", "[::1]", &"x".repeat(64), "ä"]
        {
            assert!(!is_name(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let file = || Some(PathBuf::from("/etc/tacit/x.pem"));
        let half = TlsConfig { enabled: true, cert_file: file(), ..TlsConfig::default() };
        assert!(half.check().unwrap_err().contains("go together"));
        let off = TlsConfig { client_ca_file: file(), ..TlsConfig::default() };
        assert!(off.check().unwrap_err().starts_with("tls.client_ca_file does nothing without TLS"));
        assert_eq!(TlsConfig::default().check(), Ok(()));

        let with = |change: fn(&mut IdentityConfig)| {
            let mut config = IdentityConfig::default();
            change(&mut config);
            config.check()
        };
        assert_eq!(with(|_| {}), Ok(()));
        assert!(with(|c| c.node_days = 0).unwrap_err().starts_with("identity.node_days: 0 is not allowed"));
        assert!(with(|c| c.grace_days = 3651).unwrap_err().starts_with("identity.grace_days"));
        assert!(with(|c| c.names = vec!["a b".into()]).unwrap_err().contains("\"a b\" is neither"));
        assert!(with(|c| c.broker = Some("broker:8883".into())).unwrap_err().contains("write mqtts://HOST:PORT"));
        for good in ["mqtts://b.example:8883", "mqtts://[2001:db8::1]:443", "mqtt://127.0.0.1:1883"] {
            assert!(is_broker(good), "{good}");
        }
        for wrong in ["mqtts://b.example", "mqtts://:8883", "mqtts://b:0", "https://b:443", "mqtts://b:8883/x"] {
            assert!(!is_broker(wrong), "{wrong}");
        }
    }
}
