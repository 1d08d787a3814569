//! Why a connection failed, in words, and the way out. A person reads this on a node that is not in the fleet: it must say
//! whose certificate is meant, which file, and what to do.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::dial::{DialError, Progress, Step};
use crate::clock::Tick;
use crate::identity::der::{Certificate, date};
use crate::identity::floor::Floor;

/// Whom a connection is with, in [`About::who`].
pub const BROKER: &str = "the broker";
pub const COLLECTOR: &str = "the collector";

/// What to do about an issuer that is not trusted.
const UNKNOWN_BROKER: &str = "If the address is right, give it the issuer's certificate (publish.ca_file), or enrol it again where \
                              certificates come from the collector; if a proxy opens TLS on the way, it must not do so here";
const UNKNOWN_COLLECTOR: &str = "If the collector shows a certificate from elsewhere (tls.cert_file there, or a proxy before it), \
                                 name its issuer with `enroll --ca-file`; if its authority is a new one, enrol the node again with \
                                 a new token; if neither, somebody stands between";

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong and what to do.
    pub words: String,
    /// This node's own certificate is refused: a new one may help.
    pub certificate: bool,
}

impl Trouble {
    pub fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), certificate: false }
    }

    fn of_certificate(words: impl Into<String>) -> Self {
        Self { words: words.into(), certificate: true }
    }
}

/// Whom a connection is with, and with what.
#[derive(Debug, Clone)]
pub struct About {
    /// [`BROKER`] or [`COLLECTOR`].
    pub who: &'static str,
    /// `HOST:PORT`.
    pub address: String,
    /// The certificates that are trusted, as a person knows them: a file, or what else they are.
    pub roots: String,
    /// This node.
    pub node: String,
    /// This node's certificate, when it shows one.
    pub own: Option<Certificate>,
    /// Whether TLS is spoken at all.
    pub tls: bool,
    /// The time by which certificates are judged.
    pub floor: Arc<Floor>,
}

/// Why no connection was made.
pub fn dial(error: &DialError, about: &About, now: Tick) -> Trouble {
    let About { who, address, .. } = about;
    match error {
        DialError::Name(why) => {
            let (host, _) = address.rsplit_once(':').unwrap_or((address.as_str(), ""));
            Trouble::new(format!("the name {host} is not found ({why}); check the address of {who}, and DNS here"))
        }
        DialError::Tcp(why) if why.kind() == io::ErrorKind::ConnectionRefused => {
            Trouble::new(format!("nobody listens at {address} ({why}): is {who} running, and is this its port?"))
        }
        DialError::Tcp(why) => Trouble::new(format!("{address} cannot be reached: {why}")),
        DialError::Proxy(why) => Trouble::new(why.as_str()),
        DialError::Tls(why) => match tls_error(why) {
            Some(error) => tls(error, about, now),
            None if why.kind() == io::ErrorKind::UnexpectedEof => Trouble::new(format!(
                "{who} at {address} closed the connection in the TLS handshake: does it speak TLS on this port?"
            )),
            None => Trouble::new(format!("TLS with {who} at {address} failed: {why}")),
        },
    }
}

/// The TLS error inside an I/O error, if that is what it is.
pub fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// Why it took too long.
pub fn timeout(progress: &Progress, about: &About) -> Trouble {
    let About { who, address, .. } = about;
    Trouble::new(match progress.step() {
        Step::Name => format!("the name in {address} was not looked up in time; check DNS here"),
        Step::Tcp => format!("no answer from {address}: a firewall may swallow the packets, or the host is off"),
        Step::Proxy => format!("the proxy did not open a tunnel to {address} in time"),
        Step::Tls => format!("{who} at {address} did not finish the TLS handshake in time: does it speak TLS there?"),
        Step::Open => format!("{who} at {address} did not answer in time"),
    })
}

/// What TLS says against a connection.
pub fn tls(error: &TlsError, about: &About, now: Tick) -> Trouble {
    let About { who, address, .. } = about;
    match error {
        TlsError::InvalidCertificate(why) => Trouble::new(certificate(why, about, now)),
        TlsError::AlertReceived(alert) => alerted(*alert, about, now),
        TlsError::NoApplicationProtocol => Trouble::new(no_protocol(about)),
        TlsError::InvalidMessage(_) | TlsError::InappropriateMessage { .. } => Trouble::new(format!(
            "{who} at {address} does not speak TLS on this port (or something in between breaks it): {error}"
        )),
        other => Trouble::new(format!("TLS with {who} at {address} failed: {other}")),
    }
}

fn no_protocol(about: &About) -> String {
    format!(
        "{} at {} does not take the protocol named by publish.alpn; brokers that share port 443 say which one they want",
        about.who, about.address
    )
}

/// What is wrong with the certificate of the other side.
fn certificate(error: &CertificateError, about: &About, now: Tick) -> String {
    let About { who, address, roots, .. } = about;
    let its = format!("the certificate of {who} at {address}");
    let seconds = |s: u64| date(i64::try_from(s).unwrap_or(i64::MAX).saturating_mul(1000));
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("{its} expired on {}{}; renew it there", seconds(not_after.as_secs()), clock(about, now))
        }
        CertificateError::Expired => format!("{its} expired{}; renew it there", clock(about, now)),
        CertificateError::NotValidYetContext { not_before, .. } => {
            let from = seconds(not_before.as_secs());
            format!("{its} is valid from {from} only{}; set this machine's clock if it is wrong", clock(about, now))
        }
        CertificateError::NotValidYet => {
            format!("{its} is not valid yet{}; set this machine's clock if it is wrong", clock(about, now))
        }
        // Another authority of the same name is trusted.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let otherwise = if *who == COLLECTOR { UNKNOWN_COLLECTOR } else { UNKNOWN_BROKER };
            format!("{its} is from an issuer that this node does not trust; it trusts {roots}. {otherwise}")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() { "no name at all".to_owned() } else { shown(presented) };
            let expected = expected.to_str();
            format!(
                "{its} is for {names}, not for {expected}: use a name of it in the address, or have {expected} added"
            )
        }
        CertificateError::NotValidForName => format!("{its} is for another name than the one in the address"),
        CertificateError::Revoked => format!("{its} was revoked by its issuer: it needs a new one"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("{its} is not made for servers (its extended key usage lacks serverAuth)")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => format!(
            "{its} is that of a certificate authority: a server needs one of its own, signed by it (without CA:TRUE)"
        ),
        other => format!("{its} cannot be used: {other}"),
    }
}

/// At most four names, cut to what a line holds.
fn shown(names: &[String]) -> String {
    let mut text = String::new();
    for (i, name) in names.iter().take(4).enumerate() {
        let name: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
        // As the library writes them: DnsName("a.example"), IpAddress(192.0.2.1).
        let name = name.split_once('(').and_then(|(_, n)| n.strip_suffix(')')).unwrap_or(&name).trim_matches('"');
        let _ = write!(text, "{}{name}", if i > 0 { ", " } else { "" });
    }
    if names.len() > 4 {
        text.push_str(", …");
    }
    text
}

/// What the clock has to do with it.
fn clock(about: &About, now: Tick) -> String {
    let wall = date(now.wall_ms);
    if about.floor.is_above(now) {
        let judged = date(about.floor.at(now));
        format!(
            " (this machine's clock says {wall}, which cannot be: {judged} was reached before and is taken instead)"
        )
    } else {
        format!(" (this machine's clock says {wall})")
    }
}

/// How to get another certificate.
const ANOTHER: &str = "enrol the node again with a new token (tacit-agent enroll --again), or renew publish.cert_file where it \
                       came from";

/// What the other side says against us.
fn alerted(alert: AlertDescription, about: &About, now: Tick) -> Trouble {
    let About { who, address, own, .. } = about;
    let Some(own) = own else { return alerted_without(alert, about) };
    let name = if own.name.is_empty() { "without a name" } else { own.name.as_str() };
    let ours = format!("this node's certificate ({name})");
    let ended = own.not_after_ms < about.floor.at(now);
    let until = date(own.not_after_ms);
    let words = match alert {
        AlertDescription::CertificateExpired => {
            format!("{who} at {address} says that {ours}, valid until {until}, expired")
        }
        AlertDescription::CertificateRevoked => format!("{who} at {address} says that {ours} was revoked"),
        AlertDescription::UnknownCA => format!("{who} at {address} does not know the issuer of {ours}"),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::CertificateRequired => format!("{who} at {address} refuses {ours}"),
        AlertDescription::HandshakeFailure | AlertDescription::DecryptError if ended => {
            format!("{who} at {address} ends the handshake, most likely because {ours} expired")
        }
        other => return alerted_otherwise(other, about),
    };
    let why = if ended && alert != AlertDescription::CertificateExpired {
        format!(": it expired on {until}")
    } else {
        String::new()
    };
    Trouble::of_certificate(format!("{words}{why}; {ANOTHER}"))
}

/// What a node without a certificate hears, and what to do.
const DEMANDS: &str = "demands a certificate, and this node has none: enrol it (tacit-agent enroll --collector … --token-file …), \
                       or set publish.cert_file and publish.key_file";

/// The same to a node that shows no certificate.
fn alerted_without(alert: AlertDescription, about: &About) -> Trouble {
    let About { who, address, .. } = about;
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            Trouble::of_certificate(format!("{who} at {address} {DEMANDS}"))
        }
        // What servers of TLS 1.2 say in that case, but not only then.
        AlertDescription::HandshakeFailure | AlertDescription::BadCertificate | AlertDescription::AccessDenied => {
            Trouble::of_certificate(format!(
                "{who} at {address} ends the handshake ({alert:?}); most likely it {DEMANDS}"
            ))
        }
        other => alerted_otherwise(other, about),
    }
}

fn alerted_otherwise(alert: AlertDescription, about: &About) -> Trouble {
    let About { who, address, .. } = about;
    Trouble::new(match alert {
        AlertDescription::NoApplicationProtocol => no_protocol(about),
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            format!("{who} at {address} speaks only old versions of TLS; this agent needs 1.2 or 1.3")
        }
        AlertDescription::UnrecognisedName => format!("{who} at {address} does not know the name in its address"),
        other => format!("{who} at {address} ends the TLS connection: {other:?}"),
    })
}

/// What a broker's first bytes tell when they are no MQTT 5; `None` when they may be.
pub fn greeting(first: &[u8], about: &About) -> Option<Trouble> {
    let address = &about.address;
    // A CONNACK of MQTT 5 has three bytes at least, that of MQTT 3.1.1 two.
    if let [0x20, 2, ..] = first {
        return Some(without_mqtt5(address));
    }
    if first.starts_with(b"HTTP/") {
        return Some(Trouble::new(format!("a web server answers at {address}, not a broker: check host and port")));
    }
    // A TLS alert in answer to a plain greeting.
    if !about.tls && matches!(first, [0x15, 3, ..]) {
        return Some(Trouble::new(format!("the broker at {address} speaks TLS: write mqtts:// instead of mqtt://")));
    }
    None
}

/// There is no way to speak MQTT 3.1.1: the client library has none, and it has no delayed wills, no expiry and no reasons.
pub fn without_mqtt5(address: &str) -> Trouble {
    Trouble::new(format!(
        "the broker at {address} speaks MQTT 3.1.1 only, and this agent needs MQTT 5. Use a broker with MQTT 5 (Mosquitto 1.6 or \
         newer, EMQX, RMQTT, HiveMQ), or put a Mosquitto near the node that bridges to this one: docs/BROKERS.md, \"A broker \
         without MQTT 5\""
    ))
}

/// Why a broker may have closed a connection that it had not accepted yet.
pub fn closed_before_connack(about: &About, now: Tick) -> Trouble {
    let About { address, own, tls, .. } = about;
    match own {
        None if *tls => Trouble::of_certificate(format!(
            "the broker at {address} closed the connection right after the TLS handshake. Most likely it demands a certificate, \
             and this node has none: enrol it, or set publish.cert_file and publish.key_file. A broker without MQTT 5 may do the \
             same"
        )),
        Some(own) if own.not_after_ms < about.floor.at(now) => Trouble::of_certificate(format!(
            "the broker at {address} closed the connection right after the TLS handshake; this node's certificate expired on {}: \
             {ANOTHER}",
            date(own.not_after_ms)
        )),
        Some(own) if own.name != about.node => Trouble::of_certificate(format!(
            "the broker at {address} closed the connection without an answer. This node's certificate is for {:?} and the node is \
             called {:?}: they have to be the same",
            own.name, about.node
        )),
        _ => Trouble::new(format!(
            "the broker at {address} closed the connection without an answer: its log says why. It may not speak MQTT 5, speak \
             TLS where this node does not, or refuse this client"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{ServerName, UnixTime};
    use std::time::Duration;

    const DAY_MS: i64 = 86_400_000;

    fn now() -> Tick {
        Tick { mono_ms: Tick::now().mono_ms, wall_ms: 1_800_000_000_000 }
    }

    fn about(own: Option<Certificate>) -> About {
        About {
            who: BROKER,
            address: "hq.example:8883".into(),
            roots: "those in /etc/tacit/ca.pem".into(),
            node: "web-1".into(),
            own,
            tls: true,
            floor: Arc::new(Floor::of_release()),
        }
    }

    fn own(days: i64) -> Option<Certificate> {
        let not_after_ms = now().wall_ms + days * DAY_MS;
        Some(Certificate { name: "web-1".into(), not_before_ms: not_after_ms - 90 * DAY_MS, not_after_ms })
    }

    fn seconds(ms: i64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(ms).expect("after 1970")))
    }

    fn says(error: &TlsError, own: Option<Certificate>, words: &[&str]) -> Trouble {
        let trouble = tls(error, &about(own), now());
        for word in words {
            assert!(trouble.words.contains(word), "{error:?}: no {word:?} in {:?}", trouble.words);
        }
        trouble
    }

    #[test]
    fn the_others_certificate() {
        let (now_s, end) = (seconds(now().wall_ms), seconds(now().wall_ms - 5 * DAY_MS));
        let invalid = TlsError::InvalidCertificate;
        let expired = invalid(CertificateError::ExpiredContext { time: now_s, not_after: end });
        says(
            &expired,
            None,
            &["of the broker at hq.example:8883 expired on 2027-01-10", "clock says 2027-01-15", "renew it"],
        );
        let early = invalid(CertificateError::NotValidYetContext { time: end, not_before: now_s });
        says(&early, None, &["valid from 2027-01-15", "set this machine's clock"]);
        says(
            &invalid(CertificateError::UnknownIssuer),
            None,
            &["does not trust", "/etc/tacit/ca.pem", "publish.ca_file"],
        );
        says(&invalid(CertificateError::Revoked), None, &["was revoked by its issuer"]);
        let expected = ServerName::try_from("hq.example").expect("a name").to_owned();
        let presented = vec!["DnsName(\"broker\")".to_owned(), "IpAddress(10.0.0.7)".to_owned()];
        let name = invalid(CertificateError::NotValidForNameContext { expected: expected.clone(), presented });
        says(&name, None, &["is for broker, 10.0.0.7, not for hq.example"]);
        let nameless = invalid(CertificateError::NotValidForNameContext { expected, presented: Vec::new() });
        says(&nameless, None, &["no name at all"]);
        let other = rustls::OtherError(Arc::new(io::Error::other("CaUsedAsEndEntity")));
        let trouble = says(&invalid(CertificateError::Other(other)), own(5), &["certificate authority"]);
        assert!(!trouble.certificate, "another certificate of ours would not help");
    }

    #[test]
    fn our_own_certificate() {
        use AlertDescription as A;
        for (alert, days, words) in [
            (A::CertificateExpired, -3, "says that this node's certificate (web-1), valid until 2027-01-12"),
            (A::CertificateRevoked, 9, "was revoked"),
            (A::UnknownCA, 9, "does not know the issuer of this node's certificate"),
            (A::BadCertificate, 9, "refuses this node's certificate (web-1);"),
            (A::CertificateUnknown, -3, "refuses this node's certificate (web-1): it expired on 2027-01-12"),
            (A::HandshakeFailure, -3, "most likely because this node's certificate (web-1) expired"),
        ] {
            let trouble =
                says(&TlsError::AlertReceived(alert), own(days), &[words, "enroll --again", "publish.cert_file"]);
            assert!(trouble.certificate, "{alert:?}");
        }
        let trouble = says(&TlsError::AlertReceived(A::HandshakeFailure), own(9), &["ends the TLS connection"]);
        assert!(!trouble.certificate);
    }

    #[test]
    fn no_certificate_where_one_is_demanded() {
        use AlertDescription as A;
        for (alert, words) in [
            (A::CertificateRequired, "the broker at hq.example:8883 demands a certificate, and this node has none"),
            (A::HandshakeFailure, "most likely it demands a certificate"),
        ] {
            let trouble =
                says(&TlsError::AlertReceived(alert), None, &[words, "tacit-agent enroll", "publish.key_file"]);
            assert!(trouble.certificate);
        }
        says(&TlsError::AlertReceived(A::NoApplicationProtocol), None, &["publish.alpn"]);
        says(&TlsError::AlertReceived(A::ProtocolVersion), own(9), &["1.2 or 1.3"]);
        says(&TlsError::AlertReceived(A::UnrecognisedName), own(9), &["does not know the name"]);
    }

    #[test]
    fn a_clock_that_cannot_be_right_is_blamed() {
        let stopped = Tick { mono_ms: Tick::now().mono_ms, wall_ms: 7_000 };
        let later = seconds(now().wall_ms);
        let error = CertificateError::NotValidYetContext { time: later, not_before: later };
        let words = certificate(&error, &about(None), stopped);
        assert!(words.contains("clock says 1970-01-01 00:00 UTC, which cannot be"), "{words}");
    }

    #[test]
    fn first_bytes_tell_who_answers() {
        let greet = |first: &[u8], tls| greeting(first, &About { tls, ..about(None) }).map(|t| t.words);
        let words = greet(&[0x20, 2, 0, 1], true).expect("MQTT 3.1.1");
        assert!(words.contains("speaks MQTT 3.1.1 only, and this agent needs MQTT 5"), "{words}");
        assert!(greet(&[0x20, 2, 0, 5], true).is_some_and(|w| w.contains("docs/BROKERS.md")));
        assert!(greet(b"HTTP/1.1", false).is_some_and(|w| w.contains("a web server answers")));
        assert!(greet(&[0x15, 3, 1, 0, 2, 2, 10], false).is_some_and(|w| w.contains("write mqtts://")));
        let fine: [&[u8]; 5] = [&[], &[0x20], &[0x20, 3, 0, 0, 0], &[0x20, 9, 0, 0x87, 6], &[0xe0, 1, 0x8e]];
        for fine in fine {
            assert_eq!(greet(fine, true), None, "{fine:?}");
        }
    }

    #[test]
    fn a_close_without_an_answer_has_likely_reasons() {
        let closed = |about: &About| closed_before_connack(about, now());
        assert!(closed(&about(None)).words.contains("Most likely it demands a certificate"));
        assert!(closed(&about(own(-3))).words.contains("expired on 2027-01-12"));
        let other = About { node: "web-2".into(), ..about(own(9)) };
        assert!(closed(&other).words.contains("for \"web-1\" and the node is called \"web-2\""));
        let plain = closed(&About { tls: false, ..about(None) });
        assert!(plain.words.contains("may not speak MQTT 5") && !plain.certificate);
    }

    #[test]
    fn steps_that_fail_or_take_too_long() {
        let refused = DialError::Tcp(io::ErrorKind::ConnectionRefused.into());
        assert!(dial(&refused, &about(None), now()).words.contains("nobody listens at hq.example:8883"));
        let unnamed = DialError::Name(io::Error::other("no such host"));
        assert!(dial(&unnamed, &about(None), now()).words.starts_with("the name hq.example is not found"));
        let closed = DialError::Tls(io::ErrorKind::UnexpectedEof.into());
        assert!(dial(&closed, &about(None), now()).words.contains("does it speak TLS"));
        let alert = TlsError::AlertReceived(AlertDescription::CertificateRequired);
        let wrapped = DialError::Tls(io::Error::new(io::ErrorKind::InvalidData, alert));
        assert!(dial(&wrapped, &about(None), now()).certificate, "the TLS error inside is found");
        let progress = Progress::default();
        for (step, words) in [
            (Step::Name, "check DNS"),
            (Step::Tcp, "firewall"),
            (Step::Proxy, "tunnel"),
            (Step::Tls, "does it speak TLS there"),
            (Step::Open, "did not answer in time"),
        ] {
            progress.at(step);
            assert!(timeout(&progress, &about(None)).words.contains(words), "{step:?}");
        }
    }
}
