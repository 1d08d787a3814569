//! The life of an hour, what goes on in it, and what is bounded.

use tacit_wire::message::{Edge, EndpointDef};

use super::*;
use crate::map::addresses::ConflictKind;
use crate::map::changes::SETTLED_MS;
use crate::map::fixtures::{claims, said};
use crate::map::names::MapConfig;
use crate::store::{ChangeKind, EdgeFigures};

const START: i64 = 1000 * HOUR_MS;

fn book() -> Book {
    let names = Names::new(&MapConfig::default(), None).unwrap();
    let mut book = Book::new(names, None);
    book.open_from(START);
    book.set_addresses(&claims(&[("web", "10.0.0.1"), ("db", "10.0.0.2")]));
    book
}

fn minute(at: i64) -> Vec<StoredLinks> {
    vec![said(1, "web", at, false, "10.0.0.2", 5432, 2), said(2, "db", at, true, "10.0.0.1", 5432, 2)]
}

fn hear_and_join(book: &mut Book, at: i64, messages: &[StoredLinks], now: i64) {
    for message in messages {
        book.hear(message, now);
    }
    assert!(book.due(now, 1000).contains(&at));
    book.join(at, messages, now);
}

/// Hears messages and joins every minute that is due from those that are about it.
fn hear_and_join_all(book: &mut Book, messages: &[StoredLinks], now: i64) {
    for message in messages {
        book.hear(message, now);
    }
    join_due(book, messages, now);
}

fn join_due(book: &mut Book, messages: &[StoredLinks], now: i64) {
    for minute in book.due(now, 1000) {
        let about: Vec<StoredLinks> = messages.iter().filter(|m| m.covered().any(|c| c == minute)).cloned().collect();
        book.join(minute, &about, now);
    }
}

/// Connects of each edge in a time.
fn connects(edges: &[EdgeFigures]) -> Vec<(&str, u64)> {
    edges.iter().map(|e| (e.edge.id.as_str(), e.figures.connects)).collect()
}

#[test]
fn an_hour_is_what_was_said_about_it_however_often_it_is_joined() {
    let mut book = book();
    let (at, messages) = (START + MINUTE_MS, minute(START + MINUTE_MS));
    let now = at + JOIN_AFTER_MS;
    // One half first, then both, then both again.
    hear_and_join(&mut book, at, &messages[..1], now);
    hear_and_join(&mut book, at, &messages, now + REST_MS);
    book.hear(&messages[0], now + 2 * REST_MS);
    assert!(!book.due(now + 2 * REST_MS, 1000).contains(&at), "each time it rests longer");
    hear_and_join(&mut book, at, &messages, now + 3 * REST_MS);
    assert!(book.to_save(now).is_none(), "the hour goes on");
    let later = START + HOUR_MS + LATE_MS;
    book.settle(later);
    let hour = book.to_save(later).unwrap();
    assert_eq!(connects(&hour.edges), [("web/x>db/x:tcp/5432", 10)]);
    book.saved(START, later);
    assert!(book.to_save(later).is_none());
    // A node that was away says something about it: the hour is joined again.
    book.hear(&messages[0], later);
    assert_eq!(book.late_hour(later), Some(START));
    assert_eq!(book.late_hour(later), None, "one at a time");
    assert_eq!(book.late_hour(later + REOPEN_MS), Some(START), "its messages could not be read");
    book.reopen(START, Steady::default());
    assert_eq!(book.late_hour(later + 2 * REOPEN_MS), None, "it is done");
    assert!(book.due(later, 1000).contains(&at) && book.to_save(later).is_none());
    join_due(&mut book, &messages, later);
    // As text: absent values are no equals.
    assert_eq!(format!("{:?}", book.to_save(later).unwrap()), format!("{hour:?}"));
}

#[test]
fn what_is_open_and_idle_stays() {
    let mut book = book();
    let at = START + 59 * MINUTE_MS;
    hear_and_join(&mut book, at, &minute(at), at + JOIN_AFTER_MS);
    let next = START + HOUR_MS + MINUTE_MS;
    let other = [said(3, "web", next, false, "192.0.2.1", 443, 0)];
    hear_and_join(&mut book, next, &other, next + JOIN_AFTER_MS);
    let (map, hours) = book.read(next, next + MINUTE_MS);
    assert_eq!(hours, [START + HOUR_MS]);
    let edges: Vec<_> = map.edges.iter().map(|e| (e.figures.connects, e.figures.active, e.figures.last_ms)).collect();
    assert_eq!(edges, [(0, 2, at), (10, 0, next)]);
}

#[test]
fn numbers_are_used_again() {
    let mut book = book();
    for n in 0..6 {
        let at = START + n * HOUR_MS;
        let peer = format!("192.0.2.{n}");
        hear_and_join(&mut book, at, &[said(n, "web", at, false, &peer, 443, 0)], at + JOIN_AFTER_MS);
        let later = at + HOUR_MS + LATE_MS;
        book.settle(later);
        assert_eq!(book.to_save(later).unwrap().edges.len(), 1);
        book.saved(at, later);
    }
    assert!(book.ledger.size() <= 4 && book.hours.len() <= 3, "{} {}", book.ledger.size(), book.hours.len());
    let (map, _) = book.read(START + 5 * HOUR_MS, START + 6 * HOUR_MS);
    assert_eq!(map.edges[0].edge.id, "web/x>ext:192.0.2.5:443:tcp/443");
    assert_eq!(map.vertices.len(), 2);
}

/// What both ends say of five minutes: ten connects, or that so many edges go on as they were told.
fn batch(id: i64, at: i64, steady: u32) -> Vec<StoredLinks> {
    let mut both = minute(at);
    for message in &mut both {
        message.id += 10 * id;
        (message.links.step_s, message.links.steady) = (300, steady);
        message.links.head.seq.0 = id as u64;
        if steady > 0 {
            message.links.edges.clear();
        }
    }
    both
}

#[test]
fn a_batch_is_shared_by_its_minutes_and_steady_edges_go_on() {
    let mut book = book();
    let mut messages = batch(1, START, 0);
    messages.extend(batch(2, START + 5 * MINUTE_MS, 1));
    messages.extend(batch(3, START + 10 * MINUTE_MS, 1));
    let now = START + 15 * MINUTE_MS + JOIN_AFTER_MS;
    hear_and_join_all(&mut book, &messages, now);
    let (map, _) = book.read(START, now);
    let edge = "web/x>db/x:tcp/5432";
    assert_eq!(connects(&map.edges), [(edge, 30)]);
    assert_eq!(map.edges[0].figures.last_ms, START + 14 * MINUTE_MS);
    let each: Vec<_> = book.hours[&START].minutes.values().map(|m| (m.len(), m[0].1.connects)).collect();
    assert_eq!(each, [(1, 2); 15]);

    // Much later one of the nodes says something new about that hour: what went on in it is not lost.
    let later = START + HOUR_MS + LATE_MS;
    book.settle(later);
    let hour = book.to_save(later).map(|h| h.hour);
    assert_eq!(hour, Some(START));
    book.saved(START, later);
    let mut late = said(40, "web", START + 20 * MINUTE_MS, false, "192.0.2.1", 443, 0);
    late.links.head.seq.0 = 4;
    messages.push(late);
    book.hear(&messages[6], later);
    assert_eq!(book.late_hour(later), Some(START));
    let mut steady = Steady::default();
    book.hear_again(&messages, &mut steady);
    book.reopen(START, steady);
    join_due(&mut book, &messages, later);
    let again = book.to_save(later).unwrap();
    assert_eq!(connects(&again.edges), [(edge, 30), ("web/x>ext:192.0.2.1:443:tcp/443", 10)]);
}

#[test]
fn unknown_ends_are_asked_for_and_found() {
    let mut book = book();
    let at = START + MINUTE_MS;
    let mut message = said(1, "web", at, false, "192.0.2.1", 443, 0);
    let announced = std::mem::take(&mut message.links.endpoints);
    let now = at + JOIN_AFTER_MS;
    hear_and_join(&mut book, at, std::slice::from_ref(&message), now);
    assert_eq!(book.read(START, now).0.edges.len(), 0);
    assert_eq!(book.speakers().next().unwrap().1.unusable, 1, "counted once");
    let asked = |book: &mut Book, now| {
        book.to_ask(now).into_iter().map(|(site, node)| format!("{site}/{node}")).collect::<Vec<_>>()
    };
    assert_eq!(asked(&mut book, now), ["lab/web"]);
    // It goes on before it has heard us: not asked again at once.
    let next = StoredLinks { id: 2, minute: at + MINUTE_MS, ..message.clone() };
    book.hear(&next, now + MINUTE_MS);
    assert_eq!(asked(&mut book, now + MINUTE_MS), [""; 0]);
    assert_eq!(asked(&mut book, now + 5 * MINUTE_MS), ["lab/web"]);
    // It announces, and what it said before is joined again.
    let mut third = StoredLinks { id: 3, minute: at + 6 * MINUTE_MS, ..message.clone() };
    (third.links.endpoints, third.links.edges) = (announced, Vec::new());
    let now = now + 6 * MINUTE_MS;
    book.hear(&third, now);
    join_due(&mut book, &[message, next, third], now);
    assert_eq!(connects(&book.read(START, now).0.edges), [("web/x>ext:192.0.2.1:443:tcp/443", 20)]);
    // What is long over is not asked about.
    let mut old = said(9, "db", START - 5 * HOUR_MS, false, "192.0.2.1", 443, 0);
    old.links.endpoints.clear();
    book.hear(&old, now);
    assert_eq!(asked(&mut book, now + HOUR_MS), [""; 0]);
}

/// A message of many edges, each to an address of its own.
fn many(id: i64, node: &str, at: i64, addresses: std::ops::Range<u32>) -> StoredLinks {
    let mut message = said(id, node, at, false, "192.0.2.1", 80, 0);
    let (endpoint, edge) = (message.links.endpoints[1].clone(), message.links.edges[0].clone());
    message.links.edges.clear();
    for n in addresses {
        let address = std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
        message.links.endpoints.push(EndpointDef { id: n + 2, address, ..endpoint.clone() });
        message.links.edges.push(Edge { peer: n + 2, ..edge.clone() });
    }
    message
}

#[test]
fn a_flood_is_bounded_by_its_sender() {
    let mut book = book();
    let at = START + MINUTE_MS;
    let now = at + JOIN_AFTER_MS + MINUTE_MS;
    let mut messages: Vec<StoredLinks> =
        (0..20).map(|n| many(100 + i64::from(n), "evil", at, n * 5000..(n + 1) * 5000)).collect();
    messages.extend(minute(at));
    // And other ones in the next minute.
    messages.push(many(200, "evil", at + MINUTE_MS, 200_000..205_000));
    hear_and_join_all(&mut book, &messages, now);
    let (map, _) = book.read(START, now);
    assert_eq!(map.edges.len(), EDGES_MAX + 1);
    assert!(map.edges.iter().any(|e| e.edge.id == "web/x>db/x:tcp/5432"));
    let evil = book.speakers().find(|(node, _)| node.as_str() == "evil").unwrap().1;
    assert!(evil.beyond >= 100_000 - EDGES_MAX as u64, "{evil:?}");
    assert_eq!(book.ledger.size(), EDGES_MAX + 1, "what is left out takes no room");
    assert!(book.speakers().filter(|(node, _)| node.as_str() != "evil").all(|(_, s)| s.beyond == 0));
}

#[test]
fn absurd_counts_are_cut_and_shown() {
    let mut book = book();
    let at = START + MINUTE_MS;
    let mut messages = minute(at);
    let edge = &mut messages[0].links.edges[0];
    (edge.connects, edge.sent, edge.received, edge.retransmits) = (u32::MAX, u64::MAX, u64::MAX, u32::MAX);
    let now = at + JOIN_AFTER_MS;
    hear_and_join(&mut book, at, &messages, now);
    let figures = book.read(START, now).0.edges[0].figures;
    assert!(figures.connects < 1 << 30 && figures.bytes() < 1 << 50, "{figures:?}");
    let conflicts = book.conflicts();
    assert_eq!((conflicts.len(), conflicts[0].kind), (1, ConflictKind::Absurd));
    assert_eq!(conflicts[0].text, "web counts what no machine reaches, on 1 edges; it was cut");
}

#[test]
fn a_new_node_is_learned_before_its_edges_are_news() {
    let mut book = book();
    let old = EdgeRecord {
        id: "a/x>b/x:tcp/1".into(),
        client: "a/x".into(),
        server: "b/x".into(),
        protocol: tacit_wire::message::Protocol::Tcp,
        port: 1,
        via: None,
        first_seen_ms: START - 100 * HOUR_MS,
        last_seen_ms: START,
    };
    book.remember(&[old]);
    let changes = |book: &mut Book, message: StoredLinks| {
        let at = message.minute;
        hear_and_join_all(book, &[message], at + JOIN_AFTER_MS);
        book.settle(at + SETTLED_MS).into_iter().map(|c| (c.kind, c.server)).collect::<Vec<_>>()
    };
    assert_eq!(changes(&mut book, many(1, "web", START, 0..500)), []);
    let later = many(2, "web", START + 70 * MINUTE_MS, 0..501);
    assert_eq!(changes(&mut book, later), [(ChangeKind::Appeared, "ext:11.0.1.244:80".to_owned())]);
    // Once it was told, it is known.
    assert_eq!(changes(&mut book, many(3, "web", START + 80 * MINUTE_MS, 0..501)), []);
    assert_eq!(book.changes_left_out(), 0);
}
