//! The messages of a quiet node with 300 series, as real as the ledger's assumptions say.

use tacit_wire::message::*;
use tacit_wire::series::dictionary_hash;
use tacit_wire::{BootId, Digest, Num, Seq, SeriesDef, SeriesId, StreamId, semconv};

const SERIES: u16 = 300;
const STEPS: usize = 5;
const START_MS: i64 = 1_769_954_400_000;

/// A small generator (xorshift64*): the ledger is the same on every run.
pub struct Noise(pub u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform in 0 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    fn digest(&mut self) -> Digest {
        Digest(std::array::from_fn(|_| self.next() as u8))
    }
}

fn head(noise: &mut Noise, seq: u64) -> Head {
    Head {
        node: "gateway-0042".parse().expect("an id"),
        boot: BootId(std::array::from_fn(|_| noise.next() as u8)),
        stream: StreamId(noise.next().to_be_bytes()),
        seq: Seq(20_000 + seq),
        oldest: Seq(20_000 + seq),
        wall_ms: START_MS + seq as i64 * 300_137,
        mono_ms: 864_000_000 + seq * 300_137,
    }
}

/// Values as series have them: a third ratios, a third rates, the rest amounts in bytes.
fn value(noise: &mut Noise, series: u16) -> Num {
    let level = (f32::from(series) * 0.618).fract() + 0.05;
    let jitter = 0.8 + 0.4 * noise.unit();
    Num::quantised(match series % 3 {
        0 => level * jitter,
        1 => level * jitter * 1000.0,
        _ => level * jitter * 4e9,
    })
}

/// Five minutes of `lean`: in each minute 40 of 300 series move, 25 of them always the same ones.
pub fn lean(noise: &mut Noise, seq: u64) -> Summary {
    let mut moved = vec![[false; STEPS]; usize::from(SERIES)];
    for step in 0..STEPS {
        let mut count = 25;
        (0..25).for_each(|i| moved[i * 12][step] = true);
        while count < 40 {
            let at = noise.next() as usize % moved.len();
            count += usize::from(!std::mem::replace(&mut moved[at][step], true));
        }
    }
    let rows = (0..SERIES).filter(|id| moved[usize::from(*id)].contains(&true)).map(|id| Row {
        id: SeriesId(id),
        mean: moved[usize::from(id)].map(|m| if m { value(noise, id) } else { Num::NONE }).to_vec(),
        min: None,
        max: None,
    });
    let rows = rows.collect();
    summary(noise, seq, rows)
}

/// Five minutes of `full`: mean, minimum and maximum of each series in each minute.
pub fn full(noise: &mut Noise, seq: u64) -> Summary {
    let mut five = |id| (0..STEPS).map(|_| value(noise, id)).collect::<Vec<_>>();
    let rows = (0..SERIES).map(|id| Row { id: SeriesId(id), mean: five(id), min: Some(five(id)), max: Some(five(id)) });
    let rows = rows.collect();
    summary(noise, seq, rows)
}

fn summary(noise: &mut Noise, seq: u64, rows: Vec<Row>) -> Summary {
    // The first batch after each full hour carries the hour's bins: 3,600 samples around a middle one.
    let bins = if seq.is_multiple_of(12) { (0..SERIES).map(|id| hour(noise, id)).collect() } else { Vec::new() };
    Summary {
        head: head(noise, seq),
        epoch: 3,
        start_ms: START_MS + seq as i64 * 300_000,
        step_s: 60,
        steps: STEPS as u32,
        series: Vec::new(),
        rows,
        bins,
        lost_samples: 0,
        alarm: (0..STEPS).map(|_| Num::quantised(-2.0 + noise.unit())).collect(),
        left_out: 0,
    }
}

fn hour(noise: &mut Noise, id: u16) -> Bins {
    let middle = usize::from(id % 10);
    let mut counts = vec![0_u32; 10];
    // A quiet series stays within three bins; a quarter of them has a tail.
    for _ in 0..3600 {
        let u = noise.unit();
        let off = if id.is_multiple_of(4) && u > 0.98 { 2 } else { usize::from(u > 0.7) + usize::from(u > 0.9) };
        counts[(middle + off).min(9)] += 1;
    }
    Bins { id: SeriesId(id), counts }
}

/// Twenty edges of which something changed.
pub fn links(noise: &mut Noise, seq: u64) -> Links {
    let edges = (0..20).map(|i| Edge {
        local: i % 6,
        peer: 40 + i,
        protocol: Protocol::Tcp,
        server: i % 3 == 0,
        connects: (noise.next() % 40) as u32,
        failed: 0,
        sent: noise.next() % 3_000_000,
        received: noise.next() % 800_000,
        retransmits: (noise.next() % 3) as u32,
        rtt_p50: Num::quantised(2e-4 + 1e-3 * noise.unit()),
        rtt_p95: Num::quantised(4e-4 + 2e-3 * noise.unit()),
        rtt_min: Num::quantised(1e-4 + 1e-4 * noise.unit()),
        active: (noise.next() % 12) as u32,
        lifetime: Num::quantised(30.0 * noise.unit()),
        accept_queue: (i % 3 == 0).then_some(0),
        confidence: Num(1.0),
        ports: (0..4).map(|_| 32_768 + (noise.next() % 28_000) as u16).collect(),
    });
    let edges = edges.collect();
    Links {
        head: head(noise, seq),
        start_ms: START_MS + seq as i64 * 300_000,
        step_s: 300,
        level: 2,
        overflows: 0,
        endpoints: Vec::new(),
        edges,
        steady: 0,
    }
}

const SOURCES: [&str; 14] = [
    "process",
    "cgroup",
    "disk",
    "network",
    "protocol",
    "cpu",
    "memory",
    "pressure",
    "vm",
    "filesystem",
    "hardware",
    "sockets",
    "files",
    "load",
];

fn model(noise: &mut Noise) -> ModelInForce {
    ModelInForce {
        name: "tacit-host".into(),
        version: "1".into(),
        digest: noise.digest(),
        stage: Stage::Full,
        points: 2_592_000,
    }
}

pub fn report(noise: &mut Noise, seq: u64) -> Report {
    let threads = ["tacit-sample", "tacit-analyse", "tacit-net", "tacit-slow-proc", "tacit-slow-fs"];
    let seconds = SOURCES.map(|name| SourceCost {
        name: name.into(),
        seconds: Num::quantised(1e-5 + 1e-4 * noise.unit()),
        errors: 0,
        last_error: None,
    });
    Report {
        head: head(noise, seq),
        config_version: 12,
        config: noise.digest(),
        config_state: ConfigState::Applied,
        models: vec![model(noise), model(noise)],
        cost: Cost {
            cpu: Num::quantised(0.0015 + 1e-4 * noise.unit()),
            pss: 6_300_000 + noise.next() % 100_000,
            anonymous: 3_100_000 + noise.next() % 100_000,
            sent: Num::quantised(5.0 + noise.unit()),
            disk: Num(0.0),
            threads: threads.map(|t| ThreadCost { name: t.into(), cpu: Num::quantised(1e-3 * noise.unit()) }).into(),
            inference: Num::quantised(3e-5 + 1e-5 * noise.unit()),
            outbox: 1_400,
        },
        sources: seconds.into(),
        gaps: Vec::new(),
        promise: Promise { promised_per_day: Num(1.0), events: 17, rules: 1, days: Num(30.0) },
        health: Vec::new(),
        absent: Vec::new(),
        series: SERIES.into(),
        uptime_s: 864_000 + seq * 900,
    }
}

/// A dictionary of 300 series as the table has them, each metric on three devices.
pub fn dictionary() -> Vec<SeriesDef> {
    let entry = |id: u16| {
        let metric = &semconv::ALL[usize::from(id / 3) % semconv::ALL.len()];
        let device = ["alpha", "beta", "gamma"][usize::from(id % 3)];
        let attributes = metric.attributes.iter().map(|k| tacit_wire::Attribute::new(*k, device)).collect();
        SeriesDef { id: SeriesId(id), name: metric.name.into(), attributes, unit: metric.unit.into() }
    };
    (0..SERIES).map(entry).collect()
}

pub fn birth(noise: &mut Noise) -> Birth {
    let head = head(noise, 1);
    let listener =
        |i: u16| Listener { address: "*".into(), port: 8000 + i, owner: Some(format!("service-{i}.service")) };
    Birth {
        node: head.node,
        boot: head.boot,
        connection: 4,
        agent: "0.1.0".into(),
        clock: Clock { wall_ms: head.wall_ms, mono_ms: head.mono_ms, synchronised: Some(true) },
        identity: NodeIdentity {
            hostname: "gateway-0042".into(),
            os: "Debian GNU/Linux 13 (trixie)".into(),
            kernel: "6.12.57+deb13-arm64".into(),
            arch: "aarch64".into(),
            cpu: "Cortex-A72".into(),
            cores: 4,
            memory: 4_109_000_704,
            board: Some("Raspberry Pi 4 Model B Rev 1.4".into()),
        },
        addresses: ["192.0.2.142", "2001:db8::142", "198.51.100.7"].map(String::from).into(),
        listeners: (0..15).map(listener).collect(),
        epoch: 3,
        series: SERIES.into(),
        dictionary: dictionary_hash(&dictionary()),
        models: vec![model(noise), model(noise)],
        config: noise.digest(),
        capabilities: ["watch", "pull", "diagnose", "announce", "dictionary"].map(String::from).into(),
        outbox: vec![LaneRange { stream: head.stream, lane: Lane::Rest, oldest: Seq(1), newest: Seq(4) }],
        absent: ["pressure", "thermal", "battery"]
            .map(|s| Absent {
                source: s.into(),
                reason: format!("/proc/{s} is missing: the kernel was built without it"),
            })
            .into(),
        profile: Profile::Lean,
        interval_ms: 1000,
        tags: Vec::new(),
    }
}

/// One phase of an anomaly as it looks when much is wrong.
pub fn event(noise: &mut Noise, phase: u64) -> Event {
    let series = dictionary();
    let chosen: Vec<&SeriesDef> = series.iter().step_by(37).take(8).collect();
    let evidence = chosen.iter().map(|s| Evidence {
        name: s.name.clone(),
        attributes: s.attributes.clone(),
        unit: s.unit.clone(),
        share: Num::quantised(0.2 * noise.unit()),
        observed: value(noise, s.id.0),
        low: value(noise, s.id.0),
        high: value(noise, s.id.0),
        direction: Direction::High,
    });
    let evidence = evidence.collect();
    let processes = (0..5).map(|i| ProcessNote {
        pid: 1000 + i,
        name: format!("worker-{i}"),
        command: Some(format!("/usr/bin/worker --listen 127.0.0.1:80{i}0 --config /etc/worker/{i}.toml")),
        unit: Some(format!("worker-{i}.service")),
        cpu: Num::quantised(noise.unit()),
        memory: Num::quantised(1e9 * noise.unit()),
        memory_growth: Num::quantised(1e6 * noise.unit()),
        io: Num::quantised(1e5 * noise.unit()),
    });
    let processes = processes.collect();
    let rows = chosen.iter().map(|s| RecordingRow {
        name: s.name.clone(),
        attributes: s.attributes.clone(),
        unit: s.unit.clone(),
        values: (0..120).map(|_| value(noise, s.id.0)).collect(),
    });
    let recording = Recording { start_ms: START_MS, step_ms: 1000, rows: rows.collect() };
    Event {
        head: head(noise, phase),
        event: tacit_wire::EventId([9; 8]),
        kind: EventKind::Anomaly,
        phase: [Phase::Open, Phase::Update, Phase::Close][phase as usize],
        onset_ms: START_MS,
        onset_mono_ms: 864_000_000,
        end_ms: (phase == 2).then_some(START_MS + 240_000),
        severity: Num::quantised(0.8),
        score: Num::quantised(1.4),
        rule: None,
        text: "Processor use is far above what is usual here, and seven other series moved with it.".into(),
        evidence,
        processes,
        context: Vec::new(),
        recording: Some(recording),
        model: Some(noise.digest()),
        stage: Some(Stage::Full),
        persisting: false,
        injected: false,
        fault: None,
        confidence: Num(0.0),
        p_value: Num(0.0),
    }
}
