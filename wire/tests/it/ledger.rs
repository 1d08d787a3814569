//! What the three profiles of a quiet node with 300 series put on the wire: real encodings of one day's messages.
//!
//! What is assumed is written under "Byte ledger" in `docs/PROTOCOL.md`, beside the table that these tests hold.

use std::fmt::Write as _;

use tacit_wire::codec::encode;
use tacit_wire::message::{ResultBody, ResultMessage, Summary};
use tacit_wire::{Encoding, SeriesDef};

use crate::document;
use crate::quiet_node::{Noise, birth, dictionary, event, full, lean, links, report};

const DAY_S: f64 = 86_400.0;

/// Total bytes of `count` messages in both encodings.
fn total<M: tacit_wire::codec::Message>(count: u64, mut make: impl FnMut(u64) -> M) -> [usize; 2] {
    (0..count).fold([0, 0], |sum, i| {
        let m = make(i);
        let size = |e| encode(&m, e).expect("an honest message keeps the bounds").len();
        [sum[0] + size(Encoding::Cbor), sum[1] + size(Encoding::Json)]
    })
}

/// The same of a day's summaries, which in JSON explain their ids in each message and are parted until they fit.
fn total_of_summaries(mut make: impl FnMut(u64) -> Summary) -> [usize; 2] {
    fn json(m: Summary) -> usize {
        match encode(&m, Encoding::Json) {
            Ok(payload) => payload.len(),
            Err(_) => m.halves().expect("one series fits").into_iter().map(json).sum(),
        }
    }
    let dictionary = dictionary();
    (0..288).fold([0, 0], |sum, i| {
        let mut m = make(i);
        let cbor = encode(&m, Encoding::Cbor).expect("an honest message keeps the bounds").len();
        let mentioned = |s: &&SeriesDef| m.rows.iter().any(|r| r.id == s.id) || m.bins.iter().any(|b| b.id == s.id);
        m.series = dictionary.iter().filter(mentioned).cloned().collect();
        [sum[0] + cbor, sum[1] + json(m)]
    })
}

#[test]
fn each_profile_keeps_its_promise() {
    let mut noise = Noise(42);
    let answer = |_| ResultMessage {
        node: "gateway-0042".parse().expect("an id"),
        command: tacit_wire::EventId([7; 8]),
        part: 1,
        last: true,
        body: Some(ResultBody::Dictionary { epoch: 3, series: dictionary() }),
    };
    let births = total(1, |_| birth(&mut noise));
    let dictionaries = total(1, answer);
    let events = total(3, |i| event(&mut noise, i));
    let reports = total(96, |i| report(&mut noise, i));
    let edges = total(288, |i| links(&mut noise, i));
    let leans = total_of_summaries(|i| lean(&mut noise, i));
    let fulls = total_of_summaries(|i| full(&mut noise, i));

    let rows = [
        ("birth", 1, births, "all"),
        ("series dictionary (answer to a command)", 1, dictionaries, "all"),
        ("event, each phase of one anomaly", 3, events, "all"),
        ("report", 96, reports, "all"),
        ("links, 20 edges", 288, edges, "`lean`, `full`"),
        ("summary of `lean`, with bins each hour", 288, leans, "`lean`"),
        ("summary of `full`, with bins each hour", 288, fulls, "`full`"),
    ];
    let mut table = String::from(
        "| message | a day | profiles | bytes each, CBOR | CBOR B/s | JSON B/s |\n|---|---:|---|---:|---:|---:|\n",
    );
    for (what, count, [cbor, json], profiles) in rows {
        let each = cbor / count;
        let (cbor, json) = (cbor as f64 / DAY_S, json as f64 / DAY_S);
        writeln!(table, "| {what} | {count} | {profiles} | {each} | {cbor:.2} | {json:.2} |").expect("a string");
    }
    let sum = |parts: &[[usize; 2]], i: usize| parts.iter().map(|p| p[i]).sum::<usize>() as f64 / DAY_S;
    table += "\n| profile | CBOR B/s | promised | JSON B/s |\n|---|---:|---:|---:|\n";
    let profiles: [(&str, f64, &[[usize; 2]]); 3] = [
        ("events", 2.0, &[births, dictionaries, events, reports]),
        ("lean", 10.0, &[births, dictionaries, events, reports, edges, leans]),
        ("full", 100.0, &[births, dictionaries, events, reports, edges, fulls]),
    ];
    for (name, promised, parts) in profiles {
        let (cbor, json) = (sum(parts, 0), sum(parts, 1));
        writeln!(table, "| `{name}` | {cbor:.2} | ≤ {promised} | {json:.2} |").expect("a string");
    }
    println!("{table}");
    for (name, promised, parts) in profiles {
        let found = sum(parts, 0);
        assert!(found <= promised, "{name}: {found:.2} B/s, promised {promised}");
    }
    document::check("ledger", &table);
}

/// The level that `codec.rs` chose keeps within 128 KB and costs at most 6 % more bytes than level 3.
#[test]
fn the_compression_level_is_the_cheap_one() {
    let mut noise = Noise(42);
    let plain = [
        ("report", minicbor::to_vec(report(&mut noise, 1))),
        ("links", minicbor::to_vec(links(&mut noise, 1))),
        ("lean", minicbor::to_vec(lean(&mut noise, 1))),
        ("lean with bins", minicbor::to_vec(lean(&mut noise, 12))),
        ("full", minicbor::to_vec(full(&mut noise, 1))),
        ("birth", minicbor::to_vec(birth(&mut noise))),
    ];
    for (name, plain) in plain {
        let plain = plain.expect("a vector");
        for level in [-1, 1, 2, 3, 5] {
            let mut context = zstd::zstd_safe::CCtx::create();
            let mut out = Vec::with_capacity(plain.len() + 1024);
            let started = std::time::Instant::now();
            let size = context.compress(&mut out, &plain, level).expect("it compresses");
            let micros = started.elapsed().as_micros();
            println!(
                "{name}: {} plain, level {level}: {size}, context {} bytes, {micros} µs",
                plain.len(),
                context.sizeof()
            );
        }
    }
}
