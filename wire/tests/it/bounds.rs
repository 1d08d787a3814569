//! Every bound of `validate`: what is just inside passes, one more is refused by name, by writer and reader alike.

use tacit_wire::codec::{Message, WireError, decode, encode};
use tacit_wire::message::*;
use tacit_wire::{Attribute, Encoding, Num, Seq, SeriesDef, SeriesId, StreamId, limits};

use crate::arbitrary::smallest;

fn name(over: usize) -> String {
    "n".repeat(limits::NAME + over)
}

fn text(over: usize) -> String {
    "t".repeat(limits::TEXT + over)
}

/// Applies `change` with nothing over the bound, then with one over it.
fn bound<M: Message + Clone + std::fmt::Debug>(field: &str, base: M, change: impl Fn(&mut M, usize)) {
    let mut inside = base.clone();
    change(&mut inside, 0);
    assert_eq!(inside.validate(), Ok(()), "{field}");
    let mut over = base;
    change(&mut over, 1);
    let found = over.validate().expect_err(field);
    assert_eq!((found.field, found.found), (field, found.limit + 1));
    assert!(matches!(encode(&over, Encoding::Cbor), Err(WireError::Invalid(_))), "{field}");
    let strange = zstd::bulk::compress(&minicbor::to_vec(&over).expect("a vector"), 3).expect("it compresses");
    assert!(matches!(decode::<M>(&strange), Err(WireError::Invalid(e)) if e == found), "{field}");
}

fn fill<T: Clone>(one: T, limit: usize, over: usize) -> Vec<T> {
    vec![one; limit + over]
}

#[test]
fn birth() {
    let b = smallest::<Birth>;
    bound("agent", b(), |m, o| m.agent = name(o));
    bound("identity.hostname", b(), |m, o| m.identity.hostname = name(o));
    bound("identity.os", b(), |m, o| m.identity.os = name(o));
    bound("identity.kernel", b(), |m, o| m.identity.kernel = name(o));
    bound("identity.arch", b(), |m, o| m.identity.arch = name(o));
    bound("identity.cpu", b(), |m, o| m.identity.cpu = name(o));
    bound("identity.board", b(), |m, o| m.identity.board = Some(name(o)));
    bound("addresses", b(), |m, o| m.addresses = fill("::1".into(), 256, o));
    bound("address", b(), |m, o| m.addresses = vec![name(o)]);
    bound("listeners", b(), |m, o| m.listeners = fill(smallest(), limits::LIST, o));
    bound("listener.address", b(), |m, o| m.listeners = vec![Listener { address: name(o), ..smallest() }]);
    bound("listener.owner", b(), |m, o| m.listeners = vec![Listener { owner: Some(name(o)), ..smallest() }]);
    bound("models", b(), |m, o| m.models = fill(smallest(), 64, o));
    bound("model.name", b(), |m, o| m.models = vec![ModelInForce { name: name(o), ..smallest() }]);
    bound("model.version", b(), |m, o| m.models = vec![ModelInForce { version: name(o), ..smallest() }]);
    bound("capabilities", b(), |m, o| m.capabilities = fill("watch".into(), 64, o));
    bound("capability", b(), |m, o| m.capabilities = vec![name(o)]);
    bound("outbox", b(), |m, o| m.outbox = fill(smallest(), 64, o));
    bound("absent", b(), |m, o| m.absent = fill(smallest(), 256, o));
    bound("absent.source", b(), |m, o| m.absent = vec![Absent { source: name(o), ..smallest() }]);
    bound("absent.reason", b(), |m, o| m.absent = vec![Absent { reason: text(o), ..smallest() }]);
    bound("reason", smallest::<Death>(), |m, o| m.reason = Some(name(o)));
}

#[test]
fn summary() {
    let s = smallest::<Summary>;
    let def = smallest::<SeriesDef>;
    let row = |mean: Vec<Num>, min, max| Row { id: SeriesId(0), mean, min, max };
    let points = |o| fill(Num(1.0), limits::POINTS, o);
    bound("series", s(), |m, o| m.series = fill(def(), limits::LIST, o));
    bound("series.name", s(), |m, o| m.series = vec![SeriesDef { name: name(o), ..def() }]);
    bound("series.unit", s(), |m, o| m.series = vec![SeriesDef { unit: name(o), ..def() }]);
    bound("series.attributes", s(), |m, o| {
        m.series = vec![SeriesDef { attributes: fill(Attribute::new("a", "b"), limits::ATTRIBUTES, o), ..def() }];
    });
    bound("attribute.key", s(), |m, o| {
        m.series = vec![SeriesDef { attributes: vec![Attribute::new(name(o), "b")], ..def() }];
    });
    bound("attribute.value", s(), |m, o| {
        m.series = vec![SeriesDef { attributes: vec![Attribute::new("a", name(o))], ..def() }];
    });
    bound("rows", s(), |m, o| m.rows = fill(row(Vec::new(), None, None), limits::LIST, o));
    bound("row.mean", s(), |m, o| m.rows = vec![row(points(o), None, None)]);
    bound("row.min", s(), |m, o| m.rows = vec![row(Vec::new(), Some(points(o)), None)]);
    bound("row.max", s(), |m, o| m.rows = vec![row(Vec::new(), None, Some(points(o)))]);
    bound("bins", s(), |m, o| m.bins = fill(smallest(), limits::LIST, o));
    bound("bins.counts", s(), |m, o| m.bins = vec![Bins { id: SeriesId(0), counts: fill(1, 64, o) }]);
    bound("alarm", s(), |m, o| m.alarm = points(o));
}

#[test]
fn event() {
    let e = smallest::<Event>;
    let record = |rows| Some(Recording { start_ms: 0, step_ms: 1000, rows });
    bound("rule", e(), |m, o| m.rule = Some(name(o)));
    bound("text", e(), |m, o| m.text = text(o));
    bound("evidence", e(), |m, o| m.evidence = fill(smallest(), 64, o));
    bound("evidence.name", e(), |m, o| m.evidence = vec![Evidence { name: name(o), ..smallest() }]);
    bound("evidence.unit", e(), |m, o| m.evidence = vec![Evidence { unit: name(o), ..smallest() }]);
    bound("processes", e(), |m, o| m.processes = fill(smallest(), 64, o));
    bound("process.name", e(), |m, o| m.processes = vec![ProcessNote { name: name(o), ..smallest() }]);
    bound("process.command", e(), |m, o| m.processes = vec![ProcessNote { command: Some(text(o)), ..smallest() }]);
    bound("process.unit", e(), |m, o| m.processes = vec![ProcessNote { unit: Some(name(o)), ..smallest() }]);
    bound("context", e(), |m, o| m.context = fill(smallest(), 64, o));
    bound("context.text", e(), |m, o| m.context = vec![Context { text: text(o), ..smallest() }]);
    bound("context.unit", e(), |m, o| m.context = vec![Context { unit: Some(name(o)), ..smallest() }]);
    bound("recording.rows", e(), |m, o| m.recording = record(fill(smallest(), 64, o)));
    bound("recording.name", e(), |m, o| m.recording = record(vec![RecordingRow { name: name(o), ..smallest() }]));
    bound("recording.unit", e(), |m, o| m.recording = record(vec![RecordingRow { unit: name(o), ..smallest() }]));
    bound("attributes", e(), |m, o| {
        let attributes = fill(Attribute::new("a", "b"), limits::ATTRIBUTES, o);
        m.recording = record(vec![RecordingRow { attributes, ..smallest() }]);
    });
    bound("recording.values", e(), |m, o| {
        m.recording = record(vec![RecordingRow { values: fill(Num(1.0), limits::POINTS, o), ..smallest() }]);
    });
}

#[test]
fn links_and_report() {
    let l = smallest::<Links>;
    bound("endpoints", l(), |m, o| m.endpoints = fill(smallest(), limits::LIST, o));
    bound("endpoint.address", l(), |m, o| m.endpoints = vec![EndpointDef { address: name(o), ..smallest() }]);
    bound("endpoint.owner", l(), |m, o| m.endpoints = vec![EndpointDef { owner: Some(name(o)), ..smallest() }]);
    bound("edges", l(), |m, o| m.edges = fill(smallest(), limits::LIST, o));
    bound("edge.ports", l(), |m, o| m.edges = vec![Edge { ports: fill(1, SKETCH, o), ..smallest() }]);

    let r = smallest::<Report>;
    bound("models", r(), |m, o| m.models = fill(smallest(), 64, o));
    bound("cost.threads", r(), |m, o| m.cost.threads = fill(smallest(), 64, o));
    bound("thread.name", r(), |m, o| m.cost.threads = vec![ThreadCost { name: name(o), ..smallest() }]);
    bound("sources", r(), |m, o| m.sources = fill(smallest(), 256, o));
    bound("source.name", r(), |m, o| m.sources = vec![SourceCost { name: name(o), ..smallest() }]);
    bound("source.last_error", r(), |m, o| m.sources = vec![SourceCost { last_error: Some(text(o)), ..smallest() }]);
    bound("gaps", r(), |m, o| m.gaps = fill(smallest(), 256, o));
    bound("gap.reason", r(), |m, o| m.gaps = vec![Gap { reason: name(o), ..smallest() }]);
    bound("health", r(), |m, o| m.health = fill(String::new(), 64, o));
    bound("health", r(), |m, o| m.health = vec![text(o)]);
    bound("absent", r(), |m, o| m.absent = fill(smallest(), 256, o));
}

#[test]
fn control() {
    let c = smallest::<Config>;
    bound("settings", c(), |m, o| m.settings = "#".repeat(limits::SETTINGS + o));
    bound("models", c(), |m, o| m.models = Some(fill(smallest(), 64, o)));
    bound("model.name", c(), |m, o| m.models = Some(vec![DesiredModel { name: name(o), ..smallest() }]));
    bound("model.url", c(), |m, o| m.models = Some(vec![DesiredModel { url: text(o), ..smallest() }]));
    bound("signature", c(), |m, o| m.signature = Some(text(o)));

    bound("series", smallest::<Command>(), |m, o| {
        m.kind = Some(CommandKind::Pull { from_ms: 0, to_ms: 1, series: Some(fill(SeriesId(1), limits::LIST, o)) });
    });
    bound("streams", smallest::<Ack>(), |m, o| {
        m.streams = fill(StreamAck { stream: StreamId([0; 8]), seq: Seq(1) }, 256, o);
    });
    bound("version", smallest::<Status>(), |m, o| m.version = name(o));

    let r = smallest::<ResultMessage>;
    let frames = |ids, frames| Some(ResultBody::Frames { epoch: 0, start_ms: 0, step_ms: 1, ids, frames });
    bound("series", r(), |m, o| {
        m.body = Some(ResultBody::Dictionary { epoch: 0, series: fill(smallest(), limits::LIST, o) });
    });
    bound("ids", r(), |m, o| m.body = frames(fill(SeriesId(1), limits::LIST, o), Vec::new()));
    bound("frames", r(), |m, o| m.body = frames(Vec::new(), fill(Vec::new(), limits::POINTS, o)));
    bound("frame", r(), |m, o| m.body = frames(Vec::new(), vec![fill(Num(1.0), limits::LIST, o)]));
    bound("text", r(), |m, o| m.body = Some(ResultBody::Text { text: "t".repeat(limits::BODY + o) }));
    bound("reason", r(), |m, o| m.body = Some(ResultBody::Refused { reason: text(o) }));
}

#[test]
fn a_summary_that_is_too_large_is_parted() {
    let whole = Summary {
        rows: (0..300_u16)
            .map(|i| Row { id: SeriesId(i), mean: vec![Num(0.1 + f32::from(i)); 100], min: None, max: None })
            .collect(),
        series: (0..300_u16).map(|i| SeriesDef { id: SeriesId(i), ..smallest() }).collect(),
        lost_samples: 3,
        ..smallest()
    };
    assert!(matches!(encode(&whole, Encoding::Json), Err(WireError::TooLarge { .. })));
    let [first, second] = whole.clone().halves().expect("300 series");
    assert_eq!([&first.rows[..], &second.rows].concat(), whole.rows);
    assert_eq!([&first.series[..], &second.series].concat(), whole.series);
    assert!(first.rows.iter().zip(&first.series).all(|(r, s)| r.id == s.id));
    assert_eq!((first.lost_samples, second.lost_samples), (3, 0));
    assert_eq!((first.rows.len(), second.rows.len()), (150, 150));
    assert!(Summary { rows: whole.rows[..1].to_vec(), ..smallest() }.halves().is_none());
}
