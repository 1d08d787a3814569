//! The join against small fleets.

use std::collections::HashSet;

use super::*;
use crate::map::addresses::ConflictKind;
use crate::map::fixtures::Fleet;

/// The edges of a minute in words: `client>server:protocol/port`, connects, and the address in between.
fn told(fleet: &Fleet, joined: &Joined) -> Vec<String> {
    let mut lines: Vec<String> = joined
        .edges
        .iter()
        .map(|e| {
            let id = fleet.edge_id(&e.key);
            let via = e.via.map_or_else(String::new, |(ip, port)| format!(" via {ip}:{port}"));
            format!("{id} {}{via}{}", e.figures.connects, if e.figures.owned { "" } else { " ?" })
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn both_halves_are_one_edge() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("db", "lab", &["10.0.0.2"])]);
    let mut server = fleet.server("db", "postgres", 5432, "10.0.0.1", &[4000, 4001]);
    server.figures.retransmits = 2;
    server.figures.accept_queue = 3;
    let mut client = fleet.client("web", "nginx", "10.0.0.2", 5432, &[4000, 4001]);
    client.figures.retransmits = 1;
    let joined = fleet.join(&[client, server]);
    assert_eq!(told(&fleet, &joined), ["web/nginx>db/postgres:tcp/5432 10"]);
    let figures = joined.edges[0].figures;
    assert_eq!((figures.retransmits, figures.accept_queue, figures.sent), (3, 3, 1000));
    assert!(joined.loose.is_empty());
}

#[test]
fn one_half_is_a_node_or_somebody_outside() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("db", "lab", &["10.0.0.2"])]);
    let halves = [
        fleet.client("web", "nginx", "10.0.0.2", 5432, &[1]),
        fleet.client("web", "nginx", "192.0.2.7", 443, &[2]),
        fleet.server("db", "sshd", 22, "10.0.0.1", &[3]),
        fleet.server("db", "sshd", 22, "203.0.113.9", &[4]),
    ];
    let joined = fleet.join(&halves);
    let expected = [
        "ext:203.0.113.9>db/sshd:tcp/22 10 ?",
        "web/nginx>db/:5432:tcp/5432 10 ?",
        "web/nginx>ext:192.0.2.7:443:tcp/443 10 ?",
        "web/unattributed>db/sshd:tcp/22 10 ?",
    ];
    assert_eq!(told(&fleet, &joined), expected);
    assert_eq!(joined.loose.len(), 3, "all but the one from outside may find their other half yet");
}

#[test]
fn a_rewritten_destination_is_found_by_ports() {
    let mut fleet =
        Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("app-1", "lab", &["10.0.1.1"]), ("app-2", "lab", &["10.0.1.2"])]);
    // Two virtual addresses; behind the first are two servers that share its connections.
    let first: Vec<u16> = (40_000..40_030).collect();
    let (odd, even): (Vec<u16>, Vec<u16>) = first.iter().partition(|p| *p % 2 == 1);
    let halves = [
        fleet.client("web", "nginx", "10.98.0.200", 80, &first),
        fleet.client("web", "curl", "10.98.0.201", 80, &[50_000, 50_001]),
        fleet.server("app-1", "uwsgi", 8080, "10.0.0.1", &odd),
        fleet.server("app-2", "uwsgi", 8080, "10.0.0.1", &even),
        fleet.server("app-2", "api", 9000, "10.0.0.1", &[50_000, 50_001]),
    ];
    let joined = fleet.join(&halves);
    let expected = [
        "web/curl>app-2/api:tcp/9000 10 via 10.98.0.201:80",
        "web/nginx>app-1/uwsgi:tcp/8080 5 via 10.98.0.200:80",
        "web/nginx>app-2/uwsgi:tcp/8080 5 via 10.98.0.200:80",
    ];
    assert_eq!(told(&fleet, &joined), expected);
    // Later the client's half comes alone, and goes where it went before.
    fleet.at += 60_000;
    let alone = [fleet.client("web", "curl", "10.98.0.201", 80, &[50_007])];
    let joined = fleet.join(&alone);
    assert_eq!(told(&fleet, &joined), ["web/curl>app-2/api:tcp/9000 10 via 10.98.0.201:80"]);
}

#[test]
fn a_service_that_moves_is_not_in_both_places_at_once() {
    let nodes: [(&str, &str, &[&str]); 3] =
        [("web", "lab", &["10.0.0.1"]), ("app-1", "lab", &["10.0.1.1"]), ("app-2", "lab", &["10.0.1.2"])];
    let mut fleet = Fleet::new(&nodes);
    // A connection at the turn of the minute is in the sketches of both; the new place has spoken of the next minute already.
    let mut there = fleet.server("app-2", "cart", 7100, "10.0.0.1", &[40_003]);
    there.figures.last_ms += 60_000;
    fleet.near = vec![there];
    let halves = [
        fleet.client("web", "shop", "10.98.0.200", 7100, &[40_001, 40_002, 40_003]),
        fleet.server("app-1", "cart", 7100, "10.0.0.1", &[40_001, 40_002]),
    ];
    let joined = fleet.join(&halves);
    assert_eq!(told(&fleet, &joined), ["web/shop>app-1/cart:tcp/7100 10 via 10.98.0.200:7100"]);
}

#[test]
fn other_ports_are_other_connections() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("app", "lab", &["10.0.1.1"])]);
    let halves = [
        fleet.client("web", "nginx", "10.98.0.200", 80, &[1, 2, 3]),
        fleet.server("app", "uwsgi", 8080, "10.0.0.1", &[7, 8, 9]),
        // One port by chance, but others that the client would have named.
        fleet.server("app", "other", 8081, "10.0.0.1", &[3, 4, 5]),
    ];
    let joined = fleet.join(&halves);
    assert!(joined.edges.iter().all(|e| e.said.contains(&None)), "{:?}", told(&fleet, &joined));
    assert_eq!(joined.edges.len(), 3);
}

#[test]
fn halves_of_neighbouring_minutes_meet_and_count_once() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("app", "lab", &["10.0.1.1"])]);
    let client = fleet.client("web", "nginx", "10.98.0.200", 80, &[1, 2]);
    let first = fleet.join(std::slice::from_ref(&client));
    assert_eq!(told(&fleet, &first), ["web/nginx>ext:10.98.0.200:80:tcp/80 10 ?"]);
    fleet.at += 60_000;
    let server = fleet.server("app", "uwsgi", 8080, "10.0.0.1", &[1, 2]);
    fleet.near = first.loose;
    let second = fleet.join(&[server]);
    assert!(second.crossed);
    assert_eq!(told(&fleet, &second), ["web/nginx>app/uwsgi:tcp/8080 0 via 10.98.0.200:80"]);
    // The first minute, joined again, has the right name.
    fleet.at -= 60_000;
    fleet.near = second.loose;
    let again = fleet.join(&[client]);
    assert_eq!(told(&fleet, &again), ["web/nginx>app/uwsgi:tcp/8080 10 via 10.98.0.200:80"]);
}

#[test]
fn private_ranges_of_two_sites_are_two_networks() {
    let mut fleet = Fleet::new(&[
        ("a-web", "a", &["10.0.0.1"]),
        ("a-db", "a", &["10.0.0.2"]),
        ("b-web", "b", &["10.0.0.1"]),
        ("b-db", "b", &["10.0.0.2"]),
    ]);
    let halves = [
        fleet.client("a-web", "x", "10.0.0.2", 5432, &[1]),
        fleet.client("b-web", "x", "10.0.0.2", 5432, &[1]),
        fleet.server("a-db", "pg", 5432, "10.0.0.1", &[1]),
        fleet.server("b-db", "pg", 5432, "10.0.0.1", &[1]),
    ];
    let joined = fleet.join(&halves);
    assert_eq!(told(&fleet, &joined), ["a-web/x>a-db/pg:tcp/5432 10", "b-web/x>b-db/pg:tcp/5432 10"]);
}

#[test]
fn loopback_stays_on_its_node() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("db", "lab", &["10.0.0.2"])]);
    let halves = [
        fleet.client("web", "php", "127.0.0.1", 6379, &[1]),
        fleet.server("web", "redis", 6379, "127.0.0.1", &[1]),
        fleet.client("db", "cron", "127.0.0.1", 6379, &[1]),
        fleet.server("db", "redis", 6379, "127.0.0.1", &[1]),
        // By its own address it is the same.
        fleet.client("db", "backup", "10.0.0.2", 5432, &[2]),
        fleet.server("db", "pg", 5432, "10.0.0.2", &[2]),
    ];
    let joined = fleet.join(&halves);
    let expected = ["db/backup>db/pg:tcp/5432 10", "db/cron>db/redis:tcp/6379 10", "web/php>web/redis:tcp/6379 10"];
    assert_eq!(told(&fleet, &joined), expected);
}

#[test]
fn masquerade_that_keeps_ports_is_seen_through() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("db", "lab", &["10.0.0.2"])]);
    let halves = [
        fleet.client("web", "nginx", "10.0.0.2", 5432, &[1, 2, 3]),
        fleet.server("db", "pg", 5432, "10.0.0.254", &[1, 2, 3]),
        fleet.server("db", "pg", 5432, "10.0.0.253", &[1, 7]),
    ];
    let joined = fleet.join(&halves);
    let expected = ["ext:10.0.0.253>db/pg:tcp/5432 10 ?", "web/nginx>db/pg:tcp/5432 10"];
    assert_eq!(told(&fleet, &joined), expected);
}

#[test]
fn a_forger_stays_at_its_own_end() {
    let mut fleet = Fleet::new(&[
        ("web", "lab", &["10.0.0.1"]),
        ("db", "lab", &["10.0.0.2"]),
        ("evil", "lab", &["10.0.0.2", "10.0.0.66"]),
    ]);
    let mut claims_client = fleet.client("evil", "fake", "10.0.0.2", 5432, &[1, 2, 3]);
    claims_client.local = Some("10.0.0.1".parse().unwrap());
    claims_client.figures.connects = u64::from(u32::MAX);
    let mut claims_server = fleet.server("evil", "postgres", 5432, "10.0.0.1", &[1, 2, 3]);
    claims_server.local = Some("10.0.0.2".parse().unwrap());
    let halves = [
        fleet.client("web", "nginx", "10.0.0.2", 5432, &[1, 2, 3]),
        fleet.server("db", "pg", 5432, "10.0.0.1", &[1, 2, 3]),
        claims_client,
        claims_server,
    ];
    let joined = fleet.join(&halves);
    let lines = told(&fleet, &joined);
    assert!(lines.contains(&"web/nginx>db/pg:tcp/5432 10".to_owned()), "{lines:?}");
    let others: Vec<_> = lines.iter().filter(|l| !l.starts_with("web/nginx>db/pg")).collect();
    assert!(others.iter().all(|l| l.contains("evil/")), "{lines:?}");
    let conflicts = fleet.addresses.conflicts(&fleet.nodes);
    let told: Vec<_> = conflicts.iter().map(|c| (c.kind, c.address.as_str(), c.nodes.join(" "))).collect();
    let expected = [
        (ConflictKind::Links, "10.0.0.1", "web evil".to_owned()),
        (ConflictKind::Address, "10.0.0.2", "db evil".to_owned()),
    ];
    assert_eq!(told, expected);
}

/// Two nodes that run containers, in networks with the same addresses.
fn docker_hosts() -> Fleet {
    Fleet::new(&[("a", "lab", &["10.0.0.1", "172.17.0.1"]), ("b", "lab", &["10.0.0.2", "172.17.0.1"])])
}

fn at(local: &str, half: Half) -> Half {
    Half { local: Some(local.parse().unwrap()), ..half }
}

#[test]
fn a_container_behind_masquerade_meets_its_server() {
    let mut fleet = docker_hosts();
    let ports = [33_001, 33_002];
    let halves = [
        at("172.17.0.2", fleet.client("a", "app", "10.0.0.2", 80, &ports)),
        at("10.0.0.2", fleet.server("b", "nginx", 80, "10.0.0.1", &ports)),
    ];
    let joined = fleet.join(&halves);
    assert_eq!(told(&fleet, &joined), ["a/app>b/nginx:tcp/80 10"]);
    assert!(fleet.addresses.conflicts(&fleet.nodes).is_empty());
}

#[test]
fn a_published_port_leads_to_its_container() {
    let mut fleet = docker_hosts();
    let (remote, local) = ([41_001, 41_002], [42_001, 42_002]);
    let halves = [
        fleet.client("b", "curl", "10.0.0.1", 8080, &remote),
        // Another container beside it uses the published port too.
        at("172.17.0.2", fleet.client("a", "app", "10.0.0.1", 8080, &local)),
        at("172.17.0.3", fleet.server("a", "web", 80, "10.0.0.2", &remote)),
        at("172.17.0.3", fleet.server("a", "web", 80, "172.17.0.2", &local)),
    ];
    let joined = fleet.join(&halves);
    let expected = ["a/app>a/web:tcp/80 10 via 10.0.0.1:8080", "b/curl>a/web:tcp/80 10 via 10.0.0.1:8080"];
    assert_eq!(told(&fleet, &joined), expected);
}

#[test]
fn addresses_of_containers_are_of_the_node_itself() {
    let mut fleet = docker_hosts();
    let mut halves = Vec::new();
    for (node, owner) in [("a", "redis-a"), ("b", "redis-b")] {
        halves.push(at("172.17.0.2", fleet.client(node, "app", "172.17.0.3", 6379, &[40_000])));
        halves.push(at("172.17.0.3", fleet.server(node, owner, 6379, "172.17.0.2", &[40_000])));
        // A container asks a service of its own host.
        halves.push(at("172.17.0.2", fleet.client(node, "app", "172.17.0.1", 53, &[40_001])));
        halves.push(fleet.server(node, "dnsmasq", 53, "172.17.0.2", &[40_001]));
    }
    // One that says nothing of itself is on this node all the same.
    halves.push(at("172.17.0.2", fleet.client("a", "app", "172.17.0.9", 5432, &[40_002])));
    let joined = fleet.join(&halves);
    let expected = [
        "a/app>a/:5432:tcp/5432 10 ?",
        "a/app>a/dnsmasq:tcp/53 10",
        "a/app>a/redis-a:tcp/6379 10",
        "b/app>b/dnsmasq:tcp/53 10",
        "b/app>b/redis-b:tcp/6379 10",
    ];
    assert_eq!(told(&fleet, &joined), expected);
}

#[test]
fn loopback_is_of_one_container() {
    let mut fleet = Fleet::new(&[("a", "lab", &["10.0.0.1"])]);
    let scoped = |scope, half: Half| Half { scope, ..half };
    // The same ports in two containers and on the node itself: the kernel gives them out in each.
    let ports = [40_000, 40_001];
    let halves = [
        scoped(1, fleet.client("a", "one", "127.0.0.1", 6379, &ports)),
        scoped(1, fleet.server("a", "redis-1", 6379, "127.0.0.1", &ports)),
        scoped(2, fleet.client("a", "two", "127.0.0.1", 6379, &ports)),
        scoped(2, fleet.server("a", "redis-2", 6379, "127.0.0.1", &ports)),
        scoped(0, fleet.client("a", "cron", "127.0.0.1", 6379, &ports)),
        scoped(0, fleet.server("a", "redis", 6379, "127.0.0.1", &ports)),
    ];
    let joined = fleet.join(&halves);
    let expected = ["a/cron>a/redis:tcp/6379 10", "a/one>a/redis-1:tcp/6379 10", "a/two>a/redis-2:tcp/6379 10"];
    assert_eq!(told(&fleet, &joined), expected);
    // A lone client in a container is not given the node's own server.
    fleet.at += 60_000;
    let alone = [scoped(3, fleet.client("a", "three", "127.0.0.1", 6379, &[1]))];
    let joined = fleet.join(&alone);
    assert_eq!(told(&fleet, &joined), ["a/three>a/:6379:tcp/6379 10 ?"]);
}

#[test]
fn a_minute_of_one_end_meets_the_batch_of_the_other() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("app", "lab", &["10.0.1.1"])]);
    // The client told this minute apart: its ports are some of those that the server told with its batch.
    let all: Vec<u16> = (40_000..40_300).collect();
    let whole = Sketch::of(&all);
    let mut some: Vec<u16> = all.iter().copied().filter(|p| !whole.ports().contains(p)).take(20).collect();
    some.push(whole.ports()[0]);
    let halves =
        [fleet.client("web", "nginx", "10.98.0.200", 80, &some), fleet.server("app", "uwsgi", 8080, "10.0.0.1", &all)];
    let joined = fleet.join(&halves);
    assert_eq!(told(&fleet, &joined), ["web/nginx>app/uwsgi:tcp/8080 10 via 10.98.0.200:80"]);
    // A few connections are all known on both ends.
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("app", "lab", &["10.0.1.1"])]);
    let halves = [
        fleet.client("web", "nginx", "10.98.0.200", 80, &[1, 2]),
        fleet.server("app", "uwsgi", 8080, "10.0.0.1", &[1, 2, 3]),
    ];
    let joined = fleet.join(&halves);
    assert_eq!(told(&fleet, &joined), ["web/nginx>app/uwsgi:tcp/8080 10 via 10.98.0.200:80"]);
}

#[test]
fn births_say_who_serves() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("db", "lab", &["10.0.0.2"])]);
    let on = |port, owner: &str| tacit_wire::message::Listener { address: "*".into(), port, owner: Some(owner.into()) };
    fleet.listeners.set(1, &[on(5432, "postgresql.service"), on(60_000, "worker.service")]);
    // The database says nothing of connections, but its birth says who listens.
    let halves = [fleet.client("web", "php", "10.0.0.2", 5432, &[1])];
    let joined = fleet.join(&halves);
    assert_eq!(told(&fleet, &joined), ["web/php>db/postgresql.service:tcp/5432 10"]);
    assert!(joined.edges[0].figures.confidence < 1.0);
    // Both ends take themselves for the client: one edge, towards the one that listens.
    let halves = [
        fleet.client("web", "php", "10.0.0.2", 60_000, &[50_000]),
        fleet.client("db", "worker.service", "10.0.0.1", 50_000, &[60_000]),
    ];
    let joined = fleet.join(&halves);
    assert_eq!(told(&fleet, &joined), ["web/php>db/worker.service:tcp/60000 10"]);
}

#[test]
fn a_failed_connect_without_a_port_is_on_its_edge() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"]), ("db", "lab", &["10.0.0.2"])]);
    let failed = |fleet: &mut Fleet, owner, peer| {
        let mut half = fleet.client("web", owner, peer, 0, &[]);
        (half.figures.connects, half.figures.failed) = (0, 7);
        half
    };
    let halves = [
        fleet.client("web", "php", "10.0.0.2", 5432, &[1]),
        fleet.server("db", "pg", 5432, "10.0.0.1", &[1]),
        failed(&mut fleet, "php", "10.0.0.2"),
        failed(&mut fleet, "cron", "10.0.0.2"),
        failed(&mut fleet, "cron", "192.0.2.7"),
    ];
    let joined = fleet.join(&halves);
    let mut sums = std::collections::BTreeMap::new();
    for edge in &joined.edges {
        *sums.entry(fleet.edge_id(&edge.key)).or_insert(0) += edge.figures.failed;
    }
    let expected = [("web/cron>db/:0:tcp/0", 7), ("web/cron>ext:192.0.2.7:tcp/0", 7), ("web/php>db/pg:tcp/5432", 7)];
    assert_eq!(sums.into_iter().collect::<Vec<_>>(), expected.map(|(id, failed)| (id.to_owned(), failed)));
}

#[test]
fn many_clients_outside_are_shown_by_network() {
    let mut fleet = Fleet::new(&[("web", "lab", &["10.0.0.1"])]);
    let halves: Vec<Half> = (0..400_u32)
        .map(|n| fleet.server("web", "nginx", 443, &format!("203.0.{}.{}", n / 200, n % 200), &[]))
        .collect();
    let joined = fleet.join(&halves);
    let ids: HashSet<String> = joined.edges.iter().map(|e| fleet.edge_id(&e.key)).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains("ext:203.0.1.0/24>web/nginx:tcp/443"));
}

proptest::proptest! {
    /// Law: whatever nodes say, a half makes at least the edge of its own end, and every edge has an end on a node that said it.
    #[test]
    fn every_edge_is_of_who_said_it(said in proptest::collection::vec((0_u8..4, proptest::bool::ANY, 0_u8..5, 1_u16..4, 1_u16..6), 0..40)) {
        let mut fleet = Fleet::new(&[("a", "x", &["10.0.0.0"]), ("b", "x", &["10.0.0.1", "10.0.0.0"]), ("c", "y", &["10.0.0.1"]), ("d", "y", &["10.0.0.3"])]);
        let names = ["a", "b", "c", "d"];
        let halves: Vec<Half> = said.iter().map(|(who, server, peer, port, sketch)| {
            let (who, peer, sketch) = (names[usize::from(*who)], format!("10.0.0.{peer}"), 10_000 + *sketch);
            if *server { fleet.server(who, "s", *port, &peer, &[sketch]) } else { fleet.client(who, "c", &peer, *port, &[sketch]) }
        }).collect();
        let joined = fleet.join(&halves);
        for edge in &joined.edges {
            let ends = [edge.key.client.node(), edge.key.server.node()];
            let speakers: Vec<_> = edge.said.iter().flatten().collect();
            proptest::prop_assert!(!speakers.is_empty());
            for speaker in speakers {
                proptest::prop_assert!(ends.contains(&Some(*speaker)));
            }
        }
        let counted: u64 = joined.edges.iter().filter(|e| e.said[0].is_some()).map(|e| e.figures.connects).sum();
        let clients = halves.iter().filter(|h| !h.server).count() as u64;
        proptest::prop_assert_eq!(counted, clients * 10, "what clients count is counted once");
    }
}
