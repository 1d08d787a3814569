//! Probes against real servers on loopback: a TLS handshake with certificates made by openssl, and what rules make of them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tacit_agent::clock::Tick;
use tacit_agent::config::Config;
use tacit_agent::detect::event::Sender;
use tacit_agent::detect::rulebook::{RuleBook, Watched};
use tacit_agent::detect::rules::CertificateExpiring;
use tacit_agent::source::probe::{self, Answers};
use tacit_agent::source::task::run_apart;
use tacit_wire::message::{Event, Phase};
use tacit_wire::{BootId, semconv as sc};

use crate::tree::{Rig, START};

const LONG: Duration = Duration::from_secs(30);

/// Answers every connection over TLS, with a certificate that is valid for so many days.
fn tls_server(days: &str, versions: &[&'static rustls::SupportedProtocolVersion]) -> u16 {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (key, cert) = (path("key.pem"), path("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=shop"])
        .args(["-days", days, "-keyout", &key, "-out", &cert])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let certificate = CertificateDer::from_pem_file(&cert).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(&key).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut tls = StreamOwned::new(session, stream);
            let mut request = [0; 2048];
            // A handshake alone ends without a request.
            if tls.read(&mut request).is_ok_and(|n| n > 0) {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    port
}

/// A source whose probes were all asked once.
fn asked(config: &str) -> (Rig, Answers) {
    let config = Config::parse(config).expect("a good configuration");
    let probe::Started { source, tasks, refreshers, answers, .. } = probe::start(&config.probe);
    run_apart(tasks);
    // The first answer may be under way when a fresh one is asked for.
    refreshers.iter().for_each(|refresh| refresh(LONG));
    (Rig::new(source), answers)
}

#[test]
fn a_certificate_is_seen_in_both_versions_of_tls() {
    let new = tls_server("9", &[&rustls::version::TLS13]);
    let old = tls_server("400", &[&rustls::version::TLS12]);
    let (mut rig, answers) = asked(&format!(
        "[[probe]]\nname = \"new\"\ntarget = \"https://127.0.0.1:{new}/health\"\n\
         [[probe]]\nname = \"old\"\ntarget = \"tls://localhost:{old}\"\n"
    ));
    rig.good();
    let certificates = answers.certificates();
    assert_eq!(certificates.len(), 2, "{:?}", answers.probed());
    let now = Tick::now().wall_ms;
    for (certificate, days) in certificates.iter().zip([9, 400]) {
        let wrong = certificate.not_after_ms - now - days * 86_400_000;
        assert!(wrong.abs() < 3_600_000, "{certificate:?} is off by {wrong} ms");
        let shown = rig.value(&sc::PROBE_CERTIFICATE, &[&certificate.probe]).expect("it has a series");
        let since_start = (certificate.not_after_ms - START.wall_ms) as f32 / 86_400_000.0;
        assert!((shown - since_start).abs() < 0.1, "{shown} days, not {since_start}");
    }
    assert_eq!(rig.value(&sc::PROBE_UP, &["new"]), Some(1.0));
    assert_eq!(rig.value(&sc::PROBE_HTTP_STATUS, &["new"]), Some(200.0));
    assert_eq!(rig.value(&sc::PROBE_HTTP_STATUS, &["old"]), None, "a handshake has no status");
    assert!(rig.value(&sc::PROBE_DURATION, &["old"]).is_some_and(|s| s > 0.0 && s < 30.0));

    let findings = CertificateExpiring::default().look(&certificates, now);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].broken && findings[0].text.contains("expires in 8 days"), "{findings:?}");
}

#[test]
fn probes_come_and_go_and_those_that_stay_are_not_disturbed() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let config = |names: &[&str]| {
        let probe =
            |name: &&str| format!("[[probe]]\nname = \"{name}\"\ntarget = \"tcp://{free}\"\ninterval = \"1h\"\n");
        Config::parse(&names.iter().map(probe).collect::<String>()).expect("a good configuration").probe
    };
    let (before, after) = (config(&["gone", "stays"]), config(&["stays", "new"]));
    let probe::Started { source, tasks, refreshers, answers, handle } = probe::start(&before);
    run_apart(tasks);
    let mut rig = Rig::new(source);
    let sender = Sender { node: "n1".parse().expect("a name"), boot: BootId([1; 16]) };
    let watched = Watched { answers: answers.clone(), ..Watched::default() };
    let mut rules = RuleBook::new(3600.0, watched);
    // Three failures in a row are told, of each probe.
    (0..3).for_each(|_| refreshers.iter().for_each(|refresh| refresh(LONG)));
    rig.good();
    let opened: Vec<Event> = rules.look(START, &[], &sender);
    assert_eq!(opened.iter().map(|e| e.phase).collect::<Vec<_>>(), [Phase::Open, Phase::Open]);
    let failures = |name: &str| answers.probed().iter().find(|p| p.name == name).map(|p| p.failures);
    let stayed = failures("stays").expect("it was asked");

    let tasks = handle.change(&before, &after);
    assert_eq!(tasks.len(), 1, "only the new one is started");
    run_apart(tasks);
    rig.good();
    assert_eq!(rig.value(&sc::PROBE_UP, &["gone"]), None, "its series are gone");
    assert_eq!(rig.value(&sc::PROBE_UP, &["stays"]), Some(0.0));
    assert!(failures("gone").is_none() && failures("stays") >= Some(stayed), "what stays goes on counting");
    let closed = rules.look(START.plus_ms(10_000), &[], &sender);
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert_eq!((closed[0].phase, closed[0].text.as_str()), (Phase::Close, "gone is not asked any more"));
    let deadline = Instant::now() + LONG;
    while failures("new").is_none() {
        assert!(Instant::now() < deadline, "the new one is not asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    rig.good();
    assert_eq!(rig.value(&sc::PROBE_UP, &["new"]), Some(0.0));
}

#[test]
fn a_port_where_nobody_listens_is_down_and_says_why() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let (mut rig, answers) = asked(&format!("[[probe]]\nname = \"db\"\ntarget = \"tcp://{free}\"\n"));
    rig.good();
    assert_eq!(rig.value(&sc::PROBE_UP, &["db"]), Some(0.0));
    assert!(rig.value(&sc::PROBE_DURATION, &["db"]).is_some_and(f32::is_nan), "no answer took no time");
    let probed = answers.probed();
    assert!(probed[0].failures > 0 && probed[0].error.contains("refused"), "{probed:?}");
}
