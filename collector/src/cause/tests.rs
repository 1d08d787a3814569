use super::*;

/// Reference 0, 1, 2, 3, 4: median 2, quartiles 1 and 3, so a unit is 2.
fn series(window: f64) -> Series {
    Series::new((0..5).map(f64::from), [Point { at_ms: 60_000, value: window }])
}

fn metric(kind: MetricKind, window: f64) -> Metric {
    Metric { name: format!("{kind:?}").to_lowercase(), kind, unit: String::new(), series: series(window) }
}

fn service(name: &str, metrics: &[(MetricKind, f64)]) -> Entity {
    let metrics = metrics.iter().map(|(kind, window)| metric(*kind, *window)).collect();
    Entity { name: name.into(), metrics, ..Entity::default() }
}

/// Reference 10, 11, 12 of a thing whose floor is less than 1: median 11, median deviation 1.
fn edge(caller: &str, callee: &str, kind: EdgeKind, window: f64) -> Edge {
    let series = Series::new([10.0, 11.0, 12.0], [Point { at_ms: 60_000, value: window }]);
    Edge { caller: caller.into(), callee: callee.into(), link: None, metrics: vec![EdgeMetric { kind, series }] }
}

fn plain(caller: &str, callee: &str) -> Edge {
    Edge { caller: caller.into(), callee: callee.into(), ..Edge::default() }
}

fn names(ranking: &Ranking) -> Vec<&str> {
    ranking.causes.iter().map(|c| c.entity.as_str()).collect()
}

fn near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
}

#[test]
fn the_score_is_metrics_and_a_quarter_of_edges_and_logs() {
    // a: 10 units of metric. b: 3 units, 5 of its edge, 9 of its log. c calls b; nothing else is known of it.
    let mut b = service("b", &[(MetricKind::Cpu, 8.0)]);
    b.log_errors = Some(Series::new([0.0, 0.01, 0.02], [Point { at_ms: 60_000, value: 0.19 }]));
    let evidence = Evidence {
        entities: vec![service("a", &[(MetricKind::Latency, 22.0)]), b, service("c", &[])],
        edges: vec![edge("c", "b", EdgeKind::RoundTrip, 16.0)],
        ..Evidence::default()
    };
    let ranking = rank(&evidence);
    assert_eq!(names(&ranking), ["b", "a", "c"]);
    let most = 11.0_f64.ln();
    let b = 4.0_f64.ln() / (1.0 + most) + (6.0_f64.ln() + 10.0_f64.ln()) / 4.0;
    let a = most / (1.0 + most);
    near(ranking.causes[0].score, b);
    near(ranking.causes[1].score, a);
    assert_eq!(ranking.causes[2].score, 0.0);
    near(ranking.margin, (b - a) / b);
    assert!(!ranking.unsure);
}

#[test]
fn a_service_and_its_machine_are_one_place() {
    let mut db = service("db-1/postgres", &[(MetricKind::Disk, 22.0)]);
    db.host = Some("db-1".into());
    let machine = Entity { kind: EntityKind::Node, ..service("db-1", &[(MetricKind::Disk, 22.0)]) };
    let api = service("api-1/api", &[(MetricKind::Cpu, 8.0)]);
    let of = |entities: Vec<Entity>| rank(&Evidence { entities, ..Evidence::default() });
    let ranking = of(vec![db.clone(), machine.clone(), api]);
    assert_eq!(names(&ranking), ["db-1", "db-1/postgres", "api-1/api"]);
    near(ranking.margin, (ranking.causes[0].score - ranking.causes[2].score) / ranking.causes[0].score);
    assert!(!ranking.unsure);
    assert!(!of(vec![db.clone(), machine]).unsure, "there is nowhere else to look");
    let elsewhere = Entity { host: None, ..db };
    assert!(of(vec![elsewhere, service("x", &[(MetricKind::Disk, 22.0)])]).unsure);
}

#[test]
fn lines_say_what_moved_from_where_to_where_and_whom_it_speaks_against() {
    let evidence = Evidence {
        entities: vec![service("api", &[]), service("db", &[(MetricKind::Cpu, 22.0), (MetricKind::Memory, 2.5)])],
        edges: vec![edge("api", "db", EdgeKind::RoundTrip, 16.0)],
        changes: vec![Change { at_ms: 50_000, entity: "db".into(), what: "deploy 12".into() }],
        onset_ms: 50_000,
        ..Evidence::default()
    };
    let ranking = rank(&evidence);
    let cause = &ranking.causes[0];
    assert_eq!((cause.entity.as_str(), cause.change.as_ref().map(|c| c.what.as_str())), ("db", Some("deploy 12")));
    let lines: Vec<String> = cause.evidence.iter().map(ToString::to_string).collect();
    // Memory moved a quarter of a unit: not worth a line.
    assert_eq!(lines, ["cpu 2 → 22", "round trip api → db 11 s → 16 s", "changed: deploy 12"]);
    let line = &cause.evidence[0];
    assert_eq!((line.from, line.to, line.since_ms, line.credited_to.as_str()), (Some(2.0), Some(22.0), 60_000, "db"));
    near(line.strength, 11.0_f64.ln());
    assert!(ranking.causes[1].evidence.is_empty());
}

#[test]
fn an_edge_speaks_against_its_callee() {
    for kind in [EdgeKind::RoundTrip, EdgeKind::Slowness, EdgeKind::Retransmits, EdgeKind::FailedConnects] {
        let of = |window| Evidence {
            entities: vec![service("a", &[]), service("b", &[])],
            edges: vec![edge("a", "b", kind, window)],
            ..Evidence::default()
        };
        assert_eq!(rank(&of(30.0)).causes[0].entity, "b", "{kind:?}");
        assert!(rank(&of(0.0)).unsure, "{kind:?}: less of it is no harm");
    }
}

#[test]
fn a_metric_counts_no_further_than_a_hundred_units() {
    let evidence = Evidence {
        entities: vec![service("a", &[(MetricKind::Cpu, 202.0)]), service("b", &[(MetricKind::Cpu, 1e9)])],
        ..Evidence::default()
    };
    let ranking = rank(&evidence);
    assert_eq!((names(&ranking), ranking.margin, ranking.unsure), (vec!["a", "b"], 0.0, true));
    // The line says how far it really was.
    assert_eq!(ranking.causes[1].evidence[0].to, Some(1e9));
}

/// Edges with a round trip 19, 29 and 39 units away.
fn slow(callers: [&str; 3], callees: [&str; 3]) -> Vec<Edge> {
    let ends = callers.into_iter().zip(callees).zip([30.0, 40.0, 50.0]);
    ends.map(|((caller, callee), window)| edge(caller, callee, EdgeKind::RoundTrip, window)).collect()
}

/// What three such edges have in common is worth.
fn shared() -> f64 {
    1.2 * (20.0_f64.ln() + 30.0_f64.ln() + 40.0_f64.ln()) / 3.0 / 4.0
}

#[test]
fn what_most_edges_of_a_caller_share_is_the_callers() {
    let entities: Vec<Entity> = ["web", "a", "b", "c", "d"].iter().map(|n| service(n, &[])).collect();
    let mut edges = slow(["web"; 3], ["a", "b", "c"]);
    edges.push(edge("web", "d", EdgeKind::RoundTrip, 11.0));
    let ranking = rank(&Evidence { entities: entities.clone(), edges: edges.clone(), ..Evidence::default() });
    assert_eq!(names(&ranking), ["web", "c", "b", "a", "d"]);
    near(ranking.causes[0].score, shared());
    assert_eq!(ranking.causes[0].evidence.len(), 3);
    assert!(ranking.causes[0].evidence.iter().all(|l| l.credited_to == "web"));
    // Two of four are not most: then each callee has its own.
    edges.remove(0);
    edges.push(edge("web", "a", EdgeKind::RoundTrip, 11.0));
    let ranking = rank(&Evidence { entities, edges, ..Evidence::default() });
    assert_eq!((ranking.causes[0].entity.as_str(), ranking.causes[4].score), ("c", 0.0));
}

#[test]
fn what_the_callees_of_a_host_share_is_the_hosts() {
    let on = |name: &str| Entity { host: Some("node".into()), ..service(name, &[]) };
    let host = Entity { kind: EntityKind::Node, ..service("node", &[]) };
    let callers = || ["x", "y", "z"].map(|n| service(n, &[]));
    let entities: Vec<Entity> = callers().into_iter().chain([on("a"), on("b"), on("c"), host]).collect();
    let edges = slow(["x", "y", "z"], ["a", "b", "c"]);
    let ranking = rank(&Evidence { entities: entities.clone(), edges: edges.clone(), ..Evidence::default() });
    assert_eq!((ranking.causes[0].entity.as_str(), ranking.causes[0].kind), ("node", EntityKind::Node));
    near(ranking.causes[0].score, shared());
    // One service alone is not its host.
    let alone = Evidence { entities, edges: edges[..1].to_vec(), ..Evidence::default() };
    let ranking = rank(&alone);
    assert_eq!(ranking.causes[0].entity, "a");
    assert!(ranking.causes.iter().all(|c| c.entity != "node" || c.score == 0.0));
}

#[test]
fn what_the_edges_of_a_link_share_is_the_links() {
    let link = Entity { kind: EntityKind::Link, ..service("switch", &[]) };
    let names = ["x", "y", "z", "a", "b", "c"].map(|n| service(n, &[]));
    let entities: Vec<Entity> = names.into_iter().chain([link]).collect();
    let over = |callees| -> Vec<Edge> {
        let edges = slow(["x", "y", "z"], callees).into_iter();
        edges.map(|e| Edge { link: Some("switch".into()), ..e }).collect()
    };
    let ranking = rank(&Evidence { entities: entities.clone(), edges: over(["a", "b", "c"]), ..Evidence::default() });
    assert_eq!((ranking.causes[0].entity.as_str(), ranking.causes[0].kind), ("switch", EntityKind::Link));
    near(ranking.causes[0].score, shared());
    // Edges to one callee speak against the callee.
    assert_eq!(rank(&Evidence { entities, edges: over(["a"; 3]), ..Evidence::default() }).causes[0].entity, "a");
}

#[test]
fn a_change_counts_by_how_recent_it_is_and_only_where_something_moved() {
    let entities = || {
        vec![service("a", &[(MetricKind::Cpu, 22.0)]), service("b", &[(MetricKind::Cpu, 22.0)]), service("quiet", &[])]
    };
    let changed = |entity: &str, at_ms: i64| {
        let changes = vec![Change { at_ms, entity: entity.into(), what: "deploy".into() }];
        rank(&Evidence { entities: entities(), changes, onset_ms: 3_600_000, ..Evidence::default() })
    };
    let minutes = |n: i64| 3_600_000 - n * 60_000;
    let own = 11.0_f64.ln() / (1.0 + 11.0_f64.ln());
    for (ago, share) in [(0, 1.0), (15, 0.5), (31, 0.0), (-1, 1.0), (-2, 0.0)] {
        let ranking = changed("b", minutes(ago));
        let b = ranking.causes.iter().find(|c| c.entity == "b").expect("b is a candidate");
        near(b.score, own * (1.0 + 0.2 * share));
        assert_eq!(b.change.is_some(), share > 0.0, "{ago} minutes ago");
    }
    let ranking = changed("quiet", minutes(1));
    assert_eq!((ranking.causes[2].entity.as_str(), ranking.causes[2].score), ("quiet", 0.0));
}

#[test]
fn a_symptom_is_followed_to_the_last_that_shows_it() {
    // web → api → db all answer late; cache errs, which is not what people complain of.
    let late = |name, window| service(name, &[(MetricKind::Latency, window)]);
    let cache = service("cache", &[(MetricKind::Errors, 1000.0), (MetricKind::Latency, 2.0)]);
    let evidence = Evidence {
        entities: vec![late("web", 80.0), late("api", 90.0), late("db", 70.0), cache],
        edges: vec![plain("web", "api"), plain("api", "db"), plain("api", "cache")],
        symptom: Some(Symptom { entity: "web".into(), kind: MetricKind::Latency }),
        ..Evidence::default()
    };
    let ranking = rank(&evidence);
    assert_eq!(names(&ranking), ["db", "api", "web", "cache"]);
    // Without a symptom the loudest is first.
    assert_eq!(rank(&Evidence { symptom: None, ..evidence }).causes[0].entity, "cache");
}

#[test]
fn a_clean_reference_is_measured_by_its_deviation() {
    // Nine times 0 and once 10: quartiles see nothing usual beyond 0, so that 19 is 1900 units; the deviation is 3.
    let reference = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 10.0];
    let series = Series::new(reference, [Point { at_ms: 0, value: 19.0 }]);
    let entity = Entity {
        metrics: vec![Metric { name: "x".into(), kind: MetricKind::Other, unit: String::new(), series }],
        ..service("a", &[])
    };
    let clean = Evidence { entities: vec![entity], clean_reference: true, ..Evidence::default() };
    near(rank(&clean).causes[0].evidence[0].strength, 7.0_f64.ln());
    let not = Evidence { clean_reference: false, ..clean };
    assert!(rank(&not).causes[0].evidence[0].strength > 1000.0_f64.ln());
}

#[test]
fn equals_and_nothing_are_unsure() {
    let same = |name| service(name, &[(MetricKind::Cpu, 22.0)]);
    let ranking = rank(&Evidence { entities: vec![same("b"), same("a")], ..Evidence::default() });
    assert_eq!((names(&ranking), ranking.margin, ranking.unsure), (vec!["a", "b"], 0.0, true));
    let ranking = rank(&Evidence { entities: vec![service("a", &[]), service("b", &[])], ..Evidence::default() });
    assert_eq!((ranking.causes.len(), ranking.margin, ranking.unsure), (2, 0.0, true));
    assert_eq!(rank(&Evidence::default()), Ranking { causes: vec![], margin: 0.0, unsure: true });
    // The only one that anything speaks against is sure.
    let ranking = rank(&Evidence { entities: vec![same("a"), service("b", &[])], ..Evidence::default() });
    assert_eq!((ranking.margin, ranking.unsure), (1.0, false));
}

mod properties {
    use proptest::prelude::*;

    use super::super::*;

    fn values() -> impl Strategy<Value = f64> {
        prop_oneof![any::<f64>(), -10.0..10.0, Just(1e308), Just(-1e308), Just(f64::NAN), Just(f64::MIN_POSITIVE)]
    }

    fn series() -> impl Strategy<Value = Series> {
        let window = prop::collection::vec((any::<i64>(), values()), 0..4);
        (prop::collection::vec(values(), 0..9), window).prop_map(|(reference, window)| {
            Series::new(reference, window.into_iter().map(|(at_ms, value)| Point { at_ms, value }))
        })
    }

    fn kind() -> impl Strategy<Value = MetricKind> {
        prop::sample::select(vec![MetricKind::Latency, MetricKind::Errors, MetricKind::Cpu, MetricKind::Other])
    }

    fn name() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b", "c", "d", "e", ""]).prop_map(str::to_owned)
    }

    fn entity() -> impl Strategy<Value = Entity> {
        let metric =
            (kind(), series()).prop_map(|(kind, series)| Metric { name: "m".into(), kind, unit: "s".into(), series });
        let kinds = prop::sample::select(vec![EntityKind::Service, EntityKind::Node, EntityKind::Link]);
        (name(), kinds, prop::option::of(name()), prop::collection::vec(metric, 0..3), prop::option::of(series()))
            .prop_map(|(name, kind, host, metrics, log_errors)| Entity { name, kind, host, metrics, log_errors })
    }

    fn edge() -> impl Strategy<Value = Edge> {
        let kinds = prop::sample::select(vec![EdgeKind::RoundTrip, EdgeKind::FailedConnects, EdgeKind::Retransmits]);
        let metric = (kinds, series()).prop_map(|(kind, series)| EdgeMetric { kind, series });
        (name(), name(), prop::option::of(name()), prop::collection::vec(metric, 0..3))
            .prop_map(|(caller, callee, link, metrics)| Edge { caller, callee, link, metrics })
    }

    fn evidence() -> impl Strategy<Value = Evidence> {
        let change = (any::<i64>(), name()).prop_map(|(at_ms, entity)| Change { at_ms, entity, what: "w".into() });
        let symptom = (name(), kind()).prop_map(|(entity, kind)| Symptom { entity, kind });
        (
            prop::collection::vec(entity(), 0..7),
            prop::collection::vec(edge(), 0..12),
            prop::collection::vec(change, 0..3),
            prop::option::of(symptom),
            any::<bool>(),
            any::<i64>(),
        )
            .prop_map(|(entities, edges, changes, symptom, clean_reference, onset_ms)| Evidence {
                entities,
                edges,
                changes,
                symptom,
                clean_reference,
                onset_ms,
            })
    }

    proptest! {
        /// For everything that can be said, each name has one place, scores are finite and fall, and it can be stored.
        #[test]
        fn every_ranking_is_whole(evidence in evidence()) {
            let ranking = rank(&evidence);
            let named: std::collections::BTreeSet<_> = evidence.entities.iter().map(|e| &e.name).collect();
            let ranked: std::collections::BTreeSet<_> = ranking.causes.iter().map(|c| &c.entity).collect();
            prop_assert_eq!(named, ranked.clone());
            prop_assert_eq!(ranked.len(), ranking.causes.len());
            for cause in &ranking.causes {
                prop_assert!(cause.score.is_finite() && cause.score >= 0.0, "{cause:?}");
                prop_assert!(cause.evidence.len() <= constants::LINES_MAX);
            }
            prop_assert!(ranking.causes.windows(2).all(|w| w[0].score >= w[1].score));
            prop_assert!((0.0..=1.0).contains(&ranking.margin));
            let stored = serde_json::to_string(&evidence).expect("it is plain data");
            let read: Evidence = serde_json::from_str(&stored).expect("what was written can be read");
            prop_assert_eq!(rank(&read).causes.len(), ranking.causes.len());
        }

        /// For every order in which evidence comes the ranking is the same, when each name comes once.
        #[test]
        fn the_order_does_not_matter(mut evidence in evidence(), turn in 0_usize..7) {
            evidence.entities.sort_by(|a, b| a.name.cmp(&b.name));
            evidence.entities.dedup_by(|a, b| a.name == b.name);
            // Sums of a clean reference depend on the order of values by a last bit; here only lists are turned.
            let before = rank(&evidence);
            evidence.entities.reverse();
            evidence.edges.reverse();
            evidence.changes.reverse();
            let edges = evidence.edges.len();
            evidence.edges.rotate_left(if edges == 0 { 0 } else { turn % edges });
            let after = rank(&evidence);
            let places = |r: &Ranking| r.causes.iter().map(|c| (c.entity.clone(), c.score)).collect::<Vec<_>>();
            prop_assert_eq!(places(&before), places(&after));
        }

        /// For every incident, series that say nothing change nothing.
        #[test]
        fn what_is_missing_counts_nothing(evidence in evidence()) {
            let mut more = evidence.clone();
            let empty = || Series::new([], []);
            for entity in &mut more.entities {
                let metric = Metric { name: "z".into(), kind: MetricKind::Cpu, unit: String::new(), series: empty() };
                entity.metrics.push(metric);
            }
            for edge in &mut more.edges {
                edge.metrics.push(EdgeMetric { kind: EdgeKind::Slowness, series: empty() });
            }
            prop_assert_eq!(rank(&more), rank(&evidence));
        }
    }
}
