//! What a probe asks: `tcp://HOST:PORT`, `tls://HOST:PORT`, `http://…`, `https://…`, `icmp://HOST`.

use std::fmt;
use std::str::FromStr;

/// Longest target that is taken.
const LONGEST: usize = 512;
/// The forms, for messages.
pub const FORMS: &str = "expected tcp://HOST:PORT, tls://HOST:PORT, http://HOST/PATH, https://HOST/PATH or icmp://HOST";

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// A TCP connection is opened and closed.
    Tcp,
    /// The same with a TLS handshake on it.
    Tls,
    /// One GET request.
    Http,
    /// The same over TLS.
    Https,
    /// One echo request.
    Icmp,
}

impl How {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Tcp, "tcp://"),
        (Self::Tls, "tls://"),
        (Self::Http, "http://"),
        (Self::Https, "https://"),
        (Self::Icmp, "icmp://"),
    ];

    /// Whether there is a certificate to look at.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Https)
    }

    /// Whether there is a status to look at.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// A target, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How.
    pub how: How,
    /// Name or address, without brackets.
    pub host: String,
    /// Port; 0 for ICMP.
    pub port: u16,
    /// Path and query of HTTP, beginning with `/`; else empty.
    pub path: String,
}

impl Target {
    /// Host and port as in a URL and a `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.how, self.port) {
            (How::Icmp, _) | (How::Http, 80) | (How::Https, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = How::ALL.iter().find(|(how, _)| *how == self.how).map_or("", |(_, scheme)| scheme);
        write!(f, "{scheme}{}{}", self.authority(), self.path)
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?}{what}: {FORMS}");
        let Some((how, rest)) = How::ALL.iter().find_map(|(how, scheme)| Some((*how, text.strip_prefix(scheme)?)))
        else {
            return Err(wrong(""));
        };
        if text.len() > LONGEST || !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong(" is too long, or holds spaces or characters beyond ASCII"));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong(" holds a user name; a probe sends none"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => inner.split_once(']').ok_or_else(|| wrong(" has no closing bracket"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let name = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(name) {
            return Err(wrong(" has no host"));
        }
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse::<u16>().ok().filter(|p| *p > 0).ok_or_else(|| wrong(" has no such port"))?),
            None if port.is_empty() => None,
            None => return Err(wrong("")),
        };
        let (port, path) = match (how, port) {
            (How::Tcp | How::Tls, None) => return Err(wrong(" has no port")),
            (How::Icmp, Some(_)) => return Err(wrong(" has a port, which ICMP does not know")),
            (How::Tcp | How::Tls | How::Icmp, _) if !path.is_empty() => return Err(wrong(" has a path")),
            (How::Tcp | How::Tls | How::Icmp, port) => (port.unwrap_or(0), String::new()),
            (How::Http, port) => (port.unwrap_or(80), request_path(path)),
            (How::Https, port) => (port.unwrap_or(443), request_path(path)),
        };
        Ok(Self { how, host: host.to_owned(), port, path })
    }
}

/// A fragment stays with the reader; a query needs a path before it.
fn request_path(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn targets_are_taken_apart() {
        for (text, host, port, path, shown) in [
            ("tcp://db.example:5432", "db.example", 5432, "", "tcp://db.example:5432"),
            ("tls://[2001:db8::1]:853", "2001:db8::1", 853, "", "tls://[2001:db8::1]:853"),
            ("http://10.0.0.7", "10.0.0.7", 80, "/", "http://10.0.0.7/"),
            (
                "https://shop.example/health?full=1#top",
                "shop.example",
                443,
                "/health?full=1",
                "https://shop.example/health?full=1",
            ),
            ("https://shop.example:8443?x", "shop.example", 8443, "/?x", "https://shop.example:8443/?x"),
            ("icmp://fe80::1", "", 0, "", ""),
            ("icmp://[fe80::1%eth0]", "fe80::1%eth0", 0, "", "icmp://[fe80::1%eth0]"),
            ("icmp://10.0.0.1", "10.0.0.1", 0, "", "icmp://10.0.0.1"),
        ] {
            match text.parse::<Target>() {
                Ok(t) => assert_eq!((&*t.host, t.port, &*t.path, &*t.to_string()), (host, port, path, shown), "{text}"),
                Err(e) => assert!(host.is_empty(), "{e}"),
            }
        }
        for bad in [
            "",
            "shop:80",
            "tcp://shop",
            "tcp://shop:0",
            "tcp://shop:80/x",
            "icmp://shop:7",
            "http://",
            "http://u@h/",
            "https://a b/",
            "tcp://[::1:80",
            "ftp://x/",
            "tcp://shop:99999",
            "http://ho\u{308}st/",
        ] {
            assert!(bad.parse::<Target>().is_err_and(|e| e.contains("expected tcp://")), "{bad:?} must be refused");
        }
    }

    proptest! {
        /// Law: whatever is taken is written in a form that is taken again, as the same.
        #[test]
        fn what_is_taken_reads_back(text in "(tcp|tls|https?|icmp)://[a-z0-9.:\\[\\]%-]{0,20}(/[a-z?#/]{0,9})?", raw in any::<String>()) {
            let _ = raw.parse::<Target>();
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
            }
        }
    }
}
