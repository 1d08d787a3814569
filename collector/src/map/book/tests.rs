//! The life of an hour, and what is bounded.

use super::*;
use crate::map::fixtures::{claims, said};
use crate::map::names::MapConfig;

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

#[test]
fn an_hour_is_what_was_said_about_it_however_often_it_is_joined() {
    let mut book = book();
    let (at, messages) = (START + MINUTE_MS, minute(START + MINUTE_MS));
    let now = at + JOIN_AFTER_MS;
    // One half first, then both, then both again.
    hear_and_join(&mut book, at, &messages[..1], now);
    hear_and_join(&mut book, at, &messages, now + REST_MS);
    hear_and_join(&mut book, at, &messages, now + 2 * REST_MS);
    assert!(book.to_save(now).is_none(), "the hour goes on");
    let later = START + HOUR_MS + LATE_MS;
    book.settle(later);
    let hour = book.to_save(later).unwrap();
    let edges: Vec<_> = hour.edges.iter().map(|e| (e.edge.id.as_str(), e.figures.connects)).collect();
    assert_eq!(edges, [("web/x>db/x:tcp/5432", 10)]);
    book.saved(START, later);
    assert!(book.to_save(later).is_none());
    // A node that was away says something about it: the hour is joined again.
    book.hear(&messages[0], later);
    book.reopen_late(later);
    assert!(book.due(later, 1000).contains(&at) && book.to_save(later).is_none());
    for minute in book.due(later, 1000) {
        book.join(minute, if minute == at { &messages } else { &[] }, later);
    }
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
    assert!(book.entries.len() <= 4 && book.hours.len() <= 3, "{} {}", book.entries.len(), book.hours.len());
    let (map, _) = book.read(START + 5 * HOUR_MS, START + 6 * HOUR_MS);
    assert_eq!(map.edges[0].edge.id, "web/x>ext:192.0.2.5:443:tcp/443");
    assert_eq!(map.vertices.len(), 2);
}
