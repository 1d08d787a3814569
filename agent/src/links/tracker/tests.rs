//! The tracker against sockets made by hand.

use super::*;
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
