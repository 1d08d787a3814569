//! What is told at once, by a book that hears messages as they come.

use std::collections::BTreeSet;

use tacit_wire::Num;
use tacit_wire::message::EndpointDef;

use super::*;
use crate::map::book::{Book, HOUR_MS, JOIN_AFTER_MS, MINUTE_MS};
use crate::map::changes::SETTLED_MS;
use crate::map::fixtures::{claims, said};
use crate::map::names::{MapConfig, Names};
use crate::store::StoredLinks;

const START: i64 = 1000 * HOUR_MS;
const EDGE: &str = "web/x>db/x:tcp/5432";

/// A fleet of two, of which `web` uses `db`.
struct World {
    book: Book,
    at: i64,
    seq: u64,
}

impl World {
    /// After so many minutes in which all was well, or as `change` has it.
    fn after(minutes: i64, change: impl Fn(&mut Edge)) -> Self {
        let mut book = Book::new(Names::new(&MapConfig::default(), None).unwrap(), None);
        book.open_from(START);
        book.set_addresses(&claims(&[("web", "10.0.0.1"), ("db", "10.0.0.2")]));
        let mut world = Self { book, at: START, seq: 0 };
        for _ in 0..minutes {
            let client = world.message("web", false, &change);
            let server = world.message("db", true, &change);
            world.hear(&client);
            world.hear(&server);
            let now = world.at + JOIN_AFTER_MS;
            for minute in world.book.due(now, 10) {
                world.book.join(minute, &[client.clone(), server.clone()], now);
            }
            // As the map judges minutes when they have settled.
            world.book.settle(world.at + SETTLED_MS);
            world.at += MINUTE_MS;
        }
        assert_eq!(world.signs(), []);
        world
    }

    fn message(&mut self, node: &str, server: bool, change: impl Fn(&mut Edge)) -> StoredLinks {
        self.seq += 1;
        let peer = if server { "10.0.0.1" } else { "10.0.0.2" };
        let mut message = said(self.seq as i64, node, self.at, server, peer, 5432, 2);
        message.links.head.seq.0 = self.seq;
        change(&mut message.links.edges[0]);
        message
    }

    fn hear(&mut self, message: &StoredLinks) {
        self.book.hear(message, self.at + MINUTE_MS + 2000);
    }

    /// The client alone says something of a minute.
    fn say(&mut self, change: impl Fn(&mut Edge)) -> Vec<(Word, i64)> {
        let message = self.message("web", false, change);
        self.hear(&message);
        self.at += MINUTE_MS;
        self.signs()
    }

    fn signs(&mut self) -> Vec<(Word, i64)> {
        let signs = self.book.signs(self.at);
        assert!(signs.iter().all(|s| s.edge == EDGE && s.client == "web/x" && s.server == "db/x"), "{signs:?}");
        signs.into_iter().map(|s| (s.word, s.at_ms - START)).collect()
    }
}

fn failing(failed: u32, connects: u32) -> impl Fn(&mut Edge) {
    move |edge| (edge.failed, edge.connects) = (failed, connects)
}

const FAILING: Word = Word::In(Trouble::Failing);

#[test]
fn a_service_that_went_down_is_told_with_the_next_message() {
    let mut world = World::after(5, |_| ());
    assert_eq!(world.say(failing(8, 0)), [(FAILING, 5 * MINUTE_MS + 30_000)]);
    // It goes on, at the same onset; then it works again.
    assert_eq!(world.say(failing(2, 2)), [(FAILING, 5 * MINUTE_MS + 30_000)]);
    assert_eq!(world.say(failing(0, 10)), [(Word::Well(Trouble::Failing), 7 * MINUTE_MS + 30_000)]);
    assert_eq!(world.say(failing(0, 10)), []);
    assert_eq!(world.say(failing(3, 7)), [(FAILING, 9 * MINUTE_MS + 30_000)]);
}

#[test]
fn what_fails_a_little_or_always_is_no_sign() {
    let mut world = World::after(5, |_| ());
    for (failed, connects) in [(2, 0), (3, 100), (4, 10)] {
        assert_eq!(world.say(failing(failed, connects)), [], "{failed} of {connects}");
    }
    let mut always = World::after(5, failing(8, 10));
    assert_eq!(always.say(failing(9, 10)), []);
    assert_eq!(always.say(failing(30, 0)), [(FAILING, 6 * MINUTE_MS + 30_000)], "all is more than half");
    let mut never = World::after(5, failing(10, 0));
    assert_eq!(never.say(failing(10, 0)), []);
}

#[test]
fn old_messages_and_unknown_edges_wait_for_the_map() {
    let mut world = World::after(5, |_| ());
    let late = world.message("web", false, failing(8, 0));
    world.book.hear(&late, world.at + HOUR_MS);
    assert_eq!(world.signs(), []);
    let mut other = world.message("web", false, failing(8, 0));
    other.links.endpoints[1].port = 81;
    world.hear(&other);
    assert_eq!(world.signs(), []);
}

#[test]
fn a_lost_port_is_found_and_what_works_beside_it_counts() {
    // Of 600 connects a minute 20 fail and keep no port: nothing. Of ten, they are more than usual work at all.
    for (usual, expected) in [(600, 0), (10, 1)] {
        let mut world = World::after(5, failing(0, usual));
        let mut message = world.message("web", false, failing(20, 0));
        message.links.endpoints[1].port = 0;
        world.hear(&message);
        let signs = world.book.signs(world.at);
        assert_eq!(signs.len(), expected, "{usual}: {signs:?}");
        let edges: BTreeSet<&str> = signs.iter().map(|s| s.edge.as_str()).collect();
        assert!(edges.iter().all(|edge| *edge == EDGE));
        // That others work says nothing of those that lose their port.
        world.at += MINUTE_MS;
        assert_eq!(world.say(failing(0, usual)), []);
    }
}

#[test]
fn connections_that_hang_are_told() {
    let lasting = |lifetime: f32, active: u32| {
        move |edge: &mut Edge| (edge.connects, edge.lifetime, edge.active) = (600, Num(lifetime), active)
    };
    let mut world = World::after(30, lasting(0.02, 1));
    let slow = Word::In(Trouble::Slowed);
    // A pool that is closed shows in lifetimes alone, one that is opened in open connections alone.
    assert_eq!(world.say(lasting(1.0, 1)), []);
    assert_eq!(world.say(lasting(0.02, 60)), []);
    assert_eq!(world.say(lasting(1.0, 10)), [(slow, 32 * MINUTE_MS + 30_000)]);
    // Nothing ends any more.
    assert_eq!(world.say(lasting(f32::NAN, 500)), [(slow, 32 * MINUTE_MS + 30_000)]);
    assert_eq!(world.say(lasting(0.02, 1)), [(Word::Well(Trouble::Slowed), 34 * MINUTE_MS + 30_000)]);
}

#[test]
fn signs_are_bounded() {
    let mut urgent = Urgent::default();
    let record = EdgeRecord {
        id: EDGE.into(),
        client: "web/x".into(),
        server: "db/x".into(),
        protocol: tacit_wire::message::Protocol::Tcp,
        port: 5432,
        via: None,
        first_seen_ms: 0,
        last_seen_ms: 0,
    };
    let past = Past { connects: 100, failed: 0, since_ms: 0, lasts: None };
    let said = Said { failed: 10, ..Said::default() };
    for port in 0..200 {
        let key = EdgeKey {
            client: VertexKey::Unattributed(0),
            server: VertexKey::Port(1, port),
            protocol: record.protocol,
            port,
        };
        let at = Interval { start_ms: START, length_ms: MINUTE_MS };
        urgent.look(About { node: 0, key: &key, edge: &record, at }, &said, &past);
    }
    assert_eq!(urgent.take(START).len(), OF_NODE_MAX);
    assert_eq!(urgent.take(START + HOUR_MS), []);
    assert!(urgent.open.is_empty(), "forgotten");
}

#[test]
fn an_endpoint_of_very_many_is_nobody() {
    let mut world = World::after(5, |_| ());
    let mut message = world.message("web", false, failing(8, 0));
    message.links.endpoints[1] = EndpointDef { address: String::new(), ..message.links.endpoints[1].clone() };
    world.hear(&message);
    assert_eq!(world.signs(), []);
}
