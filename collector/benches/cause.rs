//! Ranking the causes of an incident: 1,000 services with five calls each, eight metrics and two series an edge, four hours of
//! minutes to compare with.

use divan::Bencher;
use tacit_collector::cause::{
    Edge, EdgeKind, EdgeMetric, Entity, Evidence, Metric, MetricKind, Point, Series, Symptom, rank,
};

/// Minutes before the incident.
const REFERENCE: usize = 240;
/// Minutes of the incident.
const WINDOW: i64 = 6;
/// Calls of a service.
const CALLS: usize = 5;
const KINDS: [MetricKind; 8] = [
    MetricKind::Latency,
    MetricKind::Latency,
    MetricKind::Errors,
    MetricKind::Traffic,
    MetricKind::Cpu,
    MetricKind::Memory,
    MetricKind::Disk,
    MetricKind::Network,
];

fn main() {
    divan::main();
}

fn series(random: &mut fastrand::Rng, raised: f64) -> Series {
    let reference: Vec<f64> = (0..REFERENCE).map(|_| random.f64()).collect();
    let window: Vec<Point> = (0..WINDOW).map(|n| Point { at_ms: n * 60_000, value: random.f64() + raised }).collect();
    Series::new(reference, window)
}

/// The last service is slow, and a tenth of the others with it.
fn incident(services: usize) -> Evidence {
    let mut random = fastrand::Rng::with_seed(7);
    let name = |n: usize| format!("service-{n:04}");
    let entities = (0..services)
        .map(|n| {
            let raised = if n + 1 == services { 40.0 } else { f64::from(u8::from(n % 10 == 0)) * 5.0 };
            let metric = |kind| Metric {
                name: format!("{kind:?}"),
                kind,
                unit: String::new(),
                series: series(&mut random, raised),
            };
            let metrics = KINDS.into_iter().map(metric).collect();
            Entity { name: name(n), metrics, ..Entity::default() }
        })
        .collect();
    let mut edges = Vec::with_capacity(services * CALLS);
    for n in 0..services {
        for _ in 0..CALLS {
            let callee = random.usize(0..services);
            let metrics = [EdgeKind::RoundTrip, EdgeKind::FailedConnects]
                .map(|kind| EdgeMetric { kind, series: series(&mut random, 0.0) });
            edges.push(Edge { caller: name(n), callee: name(callee), link: None, metrics: metrics.into() });
        }
    }
    let symptom = Some(Symptom { entity: name(0), kind: MetricKind::Latency });
    Evidence { entities, edges, symptom, ..Evidence::default() }
}

/// With a symptom, so that the walk is part of it.
#[divan::bench(args = [100, 1000], sample_count = 20, sample_size = 1)]
fn rank_services(bencher: Bencher<'_, '_>, services: usize) {
    let evidence = incident(services);
    bencher.bench_local(|| {
        let ranking = rank(&evidence);
        assert_eq!(ranking.causes.len(), services);
        ranking
    });
}
