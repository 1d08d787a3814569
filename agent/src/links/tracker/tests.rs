//! The tracker against sockets made by hand.

use super::*;
use crate::links::message::{Info, LISTEN};
use crate::source::Root;
use std::net::Ipv4Addr;

const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn owners() -> Owners {
    Owners::new(&Root::new("/nonexistent"))
}

fn record(state: u8, local: u16, remote: u16, cookie: u64) -> Record {
    Record {
        transport: Transport::Tcp,
        state,
        local: ME.into(),
        local_port: local,
        remote: PEER.into(),
        remote_port: remote,
        cookie,
        queue: 0,
        inode: 0,
        cgroup: 0,
        info: Some(Info { rtt_us: 100, min_rtt_us: 90, retransmits: 1, acked: 1002, received: 501 }),
    }
}

fn listener(port: u16) -> Record {
    let nobody = Ipv4Addr::UNSPECIFIED.into();
    Record { local: nobody, remote: nobody, queue: 3, info: None, ..record(LISTEN, port, 0, 999) }
}

fn only(edges: HashMap<Key, Figures>) -> (Key, Figures) {
    assert_eq!(edges.len(), 1, "{edges:?}");
    edges.into_iter().next().expect("one")
}

#[test]
fn a_short_connection_counts_once_and_the_listener_tells_the_direction() {
    let (mut tracker, mut owners) = (Tracker::default(), owners());
    tracker.dumped(&[listener(80)], &mut owners, true, 1000);
    tracker.closed(&record(7, 80, 50_000, 1), &owners);
    let (key, figures) = only(tracker.take(&owners));
    assert_eq!((key.server, key.port, key.peer_port), (true, 80, 0));
    assert_eq!((figures.connects, figures.ended, figures.sent, figures.received), (1, 1, 1001, 500));
    assert_eq!((figures.retransmits, figures.accept_queue), (1, Some(3)));
    assert_eq!(figures.ports.ports(), [50_000]);
    assert!(tracker.take(&owners).is_empty(), "silence is silent");
}

#[test]
fn bytes_of_a_long_connection_fall_into_their_minutes() {
    let (mut tracker, mut owners) = (Tracker::default(), owners());
    let at = |acked| Record { info: Some(Info { acked, rtt_us: 9, ..Info::default() }), ..record(1, 50_000, 5432, 1) };
    tracker.dumped(&[at(1_000_001)], &mut owners, true, 1000);
    assert!(tracker.take(&owners).is_empty(), "what was before is not counted");
    tracker.dumped(&[at(1_000_501)], &mut owners, true, 3000);
    let (key, figures) = only(tracker.take(&owners));
    assert_eq!((key.server, key.peer_port, figures.sent, figures.connects, figures.active), (false, 5432, 500, 0, 1));
    tracker.dumped(&[at(1_000_501)], &mut owners, true, 5000);
    assert!(tracker.take(&owners).is_empty(), "an idle edge is silent");
    tracker.closed(&at(1_000_602), &owners);
    let (_, figures) = only(tracker.take(&owners));
    assert_eq!((figures.sent, figures.connects, figures.ended, figures.active), (100, 0, 1, 0));
    assert_eq!(tracker.open_connections(), 0);
}

#[test]
fn refused_connects_find_the_edge_to_that_address_when_there_is_one() {
    let (mut tracker, owners) = (Tracker::default(), owners());
    let never = Info { min_rtt_us: u32::MAX, ..Info::default() };
    let blocking = Record { info: Some(never), local: Ipv4Addr::UNSPECIFIED.into(), ..record(7, 40_000, 0, 5) };
    tracker.closed(&blocking, &owners);
    let (key, figures) = only(tracker.take(&owners));
    assert_eq!((key.peer_port, figures.failed, figures.connects, figures.ended), (0, 1, 0, 0));
    tracker.closed(&record(7, 40_001, 6379, 6), &owners);
    tracker.closed(&blocking, &owners);
    let (key, figures) = only(tracker.take(&owners));
    assert_eq!((key.peer_port, figures.failed, figures.connects), (6379, 1, 1));
    tracker.closed(&Record { info: Some(never), ..record(7, 40_002, 6379, 7) }, &owners);
    assert_eq!(only(tracker.take(&owners)).1.failed, 1, "one that did not block has its ports");
}

#[test]
fn what_is_gone_without_an_event_has_ended() {
    for (events, dumps) in [(false, 1), (true, 2)] {
        let (mut tracker, mut owners) = (Tracker::default(), owners());
        tracker.dumped(&[], &mut owners, events, 0);
        tracker.dumped(&[record(1, 50_000, 80, 1)], &mut owners, events, 2000);
        let (_, figures) = only(tracker.take(&owners));
        assert_eq!((figures.connects, figures.active), (1, 1));
        (1..=dumps).for_each(|i| tracker.dumped(&[], &mut owners, events, 2000 + i * 2000));
        assert_eq!(only(tracker.take(&owners)).1.ended, 1, "{events}");
    }
}

#[test]
fn unused_sockets_are_no_edges() {
    let (mut tracker, owners) = (Tracker::default(), owners());
    tracker.closed(&Record { state: 7, ..listener(80) }, &owners);
    assert!(tracker.take(&owners).is_empty());
}

/// A UDP socket with a peer that was closed before any dump met it.
fn udp(remote: u16, cookie: u64) -> Record {
    Record { transport: Transport::Udp, info: None, ..record(7, 50_000, remote, cookie) }
}

/// Transport, port and connects of each edge.
fn told(tracker: &mut Tracker, owners: &Owners) -> Vec<(bool, u16, u32)> {
    let edges = tracker.take(owners);
    let mut all: Vec<_> =
        edges.iter().map(|(key, f)| (key.transport == Transport::Udp, key.peer_port, f.connects)).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_udp_socket_that_only_asked_for_a_way_is_no_edge() {
    let (mut tracker, mut owners) = (Tracker::default(), owners());
    tracker.dumped(&[], &mut owners, true, 0);
    // The kernel tells of it before the connection, which ends at once, and after it.
    tracker.closed(&udp(8099, 1), &owners);
    tracker.closed(&record(7, 50_001, 8099, 2), &owners);
    tracker.closed(&record(7, 50_002, 8098, 3), &owners);
    tracker.closed(&udp(8098, 4), &owners);
    // Of a connection that stays only the next dump knows, of one that fails another event.
    tracker.closed(&udp(5432, 5), &owners);
    tracker.closed(&udp(6379, 6), &owners);
    tracker.batch();
    let refused = Info { min_rtt_us: u32::MAX, ..Info::default() };
    tracker.closed(&Record { info: Some(refused), ..record(7, 50_003, 6379, 7) }, &owners);
    tracker.dumped(&[record(1, 50_004, 5432, 8)], &mut owners, true, 2000);
    tracker.batch();
    let edges = [(false, 5432, 1), (false, 6379, 0), (false, 8098, 1), (false, 8099, 1)];
    assert_eq!(told(&mut tracker, &owners), edges);
    tracker.dumped(&[], &mut owners, true, 4000);
    assert_eq!(told(&mut tracker, &owners), []);
}

#[test]
fn a_udp_socket_of_the_intervals_last_moment_waits_for_the_connection() {
    let (mut tracker, mut owners) = (Tracker::default(), owners());
    tracker.dumped(&[], &mut owners, true, 0);
    tracker.closed(&udp(8099, 1), &owners);
    tracker.closed(&udp(53, 2), &owners);
    tracker.dumped(&[], &mut owners, true, 2000);
    assert_eq!(told(&mut tracker, &owners), []);
    tracker.batch();
    tracker.closed(&record(7, 50_001, 8099, 3), &owners);
    tracker.dumped(&[], &mut owners, true, 4000);
    assert_eq!(told(&mut tracker, &owners), [(false, 8099, 1), (true, 53, 1)]);
}

#[test]
fn questions_to_a_resolver_stay_an_edge() {
    let (mut tracker, mut owners) = (Tracker::default(), owners());
    tracker.dumped(&[], &mut owners, true, 0);
    (0..100).for_each(|n| tracker.closed(&udp(53, n), &owners));
    // One answer was too long for UDP.
    tracker.closed(&record(7, 50_001, 53, 200), &owners);
    tracker.batch();
    tracker.dumped(&[], &mut owners, true, 2000);
    assert!(tracker.has_unnamed_clients(), "more looks would name it");
    let edges = tracker.take(&owners);
    let asked = edges.iter().find(|(key, _)| key.transport == Transport::Udp).expect("an edge").1;
    assert_eq!((edges.len(), asked.connects, asked.ended, asked.ports.ports()), (2, 99, 99, &[50_000][..]));
    // Where nothing more is told, nothing is waited for.
    tracker.closed(&udp(53, 300), &owners);
    tracker.dumped(&[], &mut owners, false, 4000);
    assert_eq!(told(&mut tracker, &owners), [(true, 53, 1)]);
}

#[test]
fn a_client_that_was_met_once_is_known() {
    let (mut tracker, mut owners) = (Tracker::default(), owners());
    (0..3).for_each(|n| tracker.closed(&record(7, 40_000 + 2 * n, 7100, u64::from(n)), &owners));
    let [guess] = tracker.guesses(&owners)[..] else { panic!("one client") };
    let next = record(1, guess.ports().next().expect("eight"), 7100, 9);
    assert!(guess.fits(&next));
    tracker.met(&next, &mut owners);
    assert_eq!(tracker.guesses(&owners).len(), 1, "nobody knows whose it is");
    owners.remember((PEER.into(), 7100), 7);
    assert_eq!(tracker.guesses(&owners), []);
    assert_eq!(only(tracker.take(&owners)).0.owner, 7, "also what ended before");
    tracker.closed(&record(7, 40_008, 7100, 9), &owners);
    let (key, figures) = only(tracker.take(&owners));
    assert_eq!((key.owner, figures.connects, figures.lived_s), (7, 1, 0.0), "it counts as what was seen of it");
}
