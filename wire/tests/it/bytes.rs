//! What bytes become messages, and that no bytes do harm.

use std::fmt::Debug;

use minicbor::data::Token;
use minicbor::decode::Tokenizer;
use proptest::prelude::*;
use serde_json::{Value, json};
use tacit_wire::codec::{Message, WireError, decode, encode};
use tacit_wire::message::*;
use tacit_wire::{Encoding, Num, limits};

use crate::arbitrary::{Arbitrary, message};

/// Adds a field that no version knows to every map of an encoding.
fn with_unknown_fields(cbor: &[u8]) -> Vec<u8> {
    let mut e = minicbor::Encoder::new(Vec::new());
    for token in Tokenizer::new(cbor) {
        match token.expect("our own encoding") {
            Token::Map(n) => {
                e.map(n + 1).expect("a vector").u32(4_000).expect("a vector");
                e.array(2).expect("a vector").str("new").expect("a vector").map(0).expect("a vector");
            }
            other => {
                e.encode(other).expect("a vector");
            }
        }
    }
    e.into_writer()
}

/// The same in JSON; `inside` is false for the object whose only key names a variant.
fn with_unknown_names(value: Value, inside: bool) -> Value {
    match value {
        Value::Object(map) => {
            let mut map: serde_json::Map<String, Value> = map
                .into_iter()
                .map(|(k, v)| {
                    let inside = k != "body" && (k != "kind" || !v.is_object());
                    (k, with_unknown_names(v, inside))
                })
                .collect();
            if inside {
                map.insert("not-known-yet".to_owned(), json!([1, { "a": null }]));
            }
            Value::Object(map)
        }
        Value::Array(list) => list.into_iter().map(|v| with_unknown_names(v, true)).collect(),
        other => other,
    }
}

fn reads_back<M: Message + Debug + PartialEq>(m: &M) {
    for encoding in [Encoding::Cbor, Encoding::Json] {
        let payload = encode(m, encoding).expect("a small message");
        assert_eq!(&decode::<M>(&payload).expect("our own encoding"), m, "{encoding:?}");
    }
    let plain = minicbor::to_vec(m).expect("a vector");
    let packed = zstd::bulk::compress(&plain, 3).expect("a small message");
    assert_eq!(&decode::<M>(&packed).expect("our own encoding, compressed"), m);
    assert_eq!(&decode::<M>(&with_unknown_fields(&plain)).expect("unknown fields are skipped"), m);
    let json = with_unknown_names(serde_json::to_value(m).expect("a message is JSON"), true);
    assert_eq!(&decode::<M>(json.to_string().as_bytes()).expect("unknown names are skipped"), m);
}

fn refuses_every_part<M: Message + Debug>(m: &M) {
    let plain = minicbor::to_vec(m).expect("a vector");
    let packed = zstd::bulk::compress(&plain, 3).expect("a small message");
    let json = serde_json::to_vec(m).expect("a message is JSON");
    for payload in [plain, packed, json] {
        for end in 0..payload.len() {
            assert!(decode::<M>(&payload[..end]).is_err(), "{end} of {} bytes were accepted", payload.len());
        }
        let longer = [payload.as_slice(), &[0]].concat();
        assert!(decode::<M>(&longer).is_err(), "a byte too many was accepted");
    }
}

/// Whatever decodes must also encode again.
fn survives<M: Message>(payload: &[u8]) {
    if let Ok(m) = decode::<M>(payload) {
        let _ = (encode(&m, Encoding::Cbor), encode(&m, Encoding::Json));
    }
}

fn survives_a_changed_byte<M: Message>(m: &M, at: prop::sample::Index, to: u8) {
    let plain = minicbor::to_vec(m).expect("a vector");
    let packed = zstd::bulk::compress(&plain, 3).expect("a small message");
    for mut payload in [plain, packed, serde_json::to_vec(m).expect("a message is JSON")] {
        let at = at.index(payload.len());
        payload[at] = to;
        survives::<M>(&payload);
    }
}

macro_rules! for_every_message {
    ($($module:ident: $message:ty),+ $(,)?) => { $(mod $module {
        use super::*;
        proptest! {
            #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
            #[test]
            fn round_trip(m in message::<$message>()) { reads_back(&m); }
            #[test]
            fn mutation(m in message::<$message>(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
                survives_a_changed_byte(&m, at, to);
            }
            #[test]
            fn any_bytes(payload in prop::collection::vec(any::<u8>(), 0..400)) { survives::<$message>(&payload); }
        }
        proptest! {
            #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]
            #[test]
            fn truncation(m in message::<$message>()) { refuses_every_part(&m); }
        }
    })+ };
}
for_every_message!(
    birth: Birth, death: Death, summary: Summary, event: Event, links: Links, report: Report, config: Config,
    command: Command, ack: Ack, status: Status, result: ResultMessage,
);

/// Every message reads arbitrary bytes that at least begin as its own form does.
#[test]
fn the_empty_message_is_refused_or_whole() {
    fn check<M: Message + Arbitrary>() {
        assert!(decode::<M>(&[]).is_err());
        assert!(decode::<M>(b"{}").is_err());
        assert!(decode::<M>(&[0xa0]).is_err());
    }
    check::<Birth>();
    check::<Death>();
    check::<Summary>();
    check::<Event>();
    check::<Links>();
    check::<Report>();
    check::<Config>();
    check::<Command>();
    check::<Ack>();
    check::<Status>();
    check::<ResultMessage>();
}

#[test]
fn size_is_refused_before_anything_is_read() {
    let long = vec![b'{'; limits::PAYLOAD + 1];
    assert!(matches!(decode::<Ack>(&long), Err(WireError::TooLarge { what: "payload", .. })));
    let bomb = zstd::bulk::compress(&vec![0x9f; limits::DECOMPRESSED + 1], 3).expect("one repeated byte");
    assert!(matches!(decode::<Ack>(&bomb), Err(WireError::TooLarge { what: "decompressed payload", .. })));
}

#[test]
fn a_message_too_large_to_send_is_not_sent() {
    // Noise does not compress: 60,000 different numbers of five bytes.
    let frames = (0..60_u32).map(|i| (0..1000).map(|j| Num((i * 1000 + j) as f32 * 0.137 + 1e-3)).collect()).collect();
    let body = ResultBody::Frames { epoch: 1, start_ms: 0, step_ms: 1000, ids: Vec::new(), frames };
    let m = ResultMessage {
        node: "web-1".parse().expect("an id"),
        command: tacit_wire::EventId([1; 8]),
        part: 1,
        last: true,
        body: Some(body),
    };
    assert!(matches!(encode(&m, Encoding::Cbor), Err(WireError::TooLarge { .. })));
    assert!(matches!(encode(&m, Encoding::Json), Err(WireError::TooLarge { .. })));
}

#[test]
fn nesting_does_not_overflow_the_stack() {
    // An unknown field whose value is nested as deeply as a payload can be, in each way CBOR nests.
    for opening in [&[0x81][..], &[0x9f], &[0xa1, 0x00], &[0xbf, 0x00], &[0xc1], &[0x82, 0x9f], &[0x5f], &[0x7f]] {
        let mut plain = vec![0xa1, 0x19, 0x0f, 0xa0];
        while plain.len() + opening.len() <= limits::DECOMPRESSED {
            plain.extend_from_slice(opening);
        }
        let packed = zstd::bulk::compress(&plain, 3).expect("a repeated byte");
        for payload in [&plain[..limits::PAYLOAD], &packed] {
            assert!(decode::<Ack>(payload).is_err());
            assert!(decode::<Event>(payload).is_err());
        }
    }
    let json = [br#"{"x":"#.as_slice(), &b"[".repeat(60_000)].concat();
    assert!(decode::<Ack>(&json).is_err());
}

#[test]
fn lying_lengths_take_no_memory() {
    // A list of 2^60 streams, a text of 2^62 bytes, a map of 2^63 fields: reserving for any of them would abort.
    let length = |major: u8, n: u64| [&[major | 0x1b][..], &n.to_be_bytes()].concat();
    assert!(decode::<Ack>(&[&[0xa1, 0x00][..], &length(0x80, 1 << 60)].concat()).is_err());
    assert!(decode::<Config>(&[&[0xa1, 0x02][..], &length(0x60, 1 << 62)].concat()).is_err());
    assert!(decode::<Birth>(&length(0xa0, 1 << 63)).is_err());
}

#[test]
fn newer_members_are_taken_as_unknown() {
    // {0: id, 1: 5, 2: 4, 3: [77, {0: 1}]}: a kind of command from the future.
    let mut e = minicbor::Encoder::new(Vec::new());
    e.map(4).and_then(|e| e.u8(0)?.bytes(&[7; 8])?.u8(1)?.u8(5)?.u8(2)?.u8(4)?.u8(3)).expect("a vector");
    e.array(2).and_then(|e| e.u8(77)?.map(1)?.u8(0)?.u8(1)).expect("a vector");
    let m: Command = decode(&e.into_writer()).expect("an unknown kind is not an error");
    assert_eq!((m.deadline_ms, m.kind), (5, None));

    let json = br#"{"id":"0707070707070707","deadline_ms":5,"issued_ms":4,"kind":{"dance":{"seconds":1}}}"#;
    let m: Command = decode(json).expect("an unknown kind is not an error");
    assert_eq!((m.deadline_ms, m.kind), (5, None));
    let json = br#"{"id":"0707070707070707","deadline_ms":5,"issued_ms":4,"kind":{"watch":{"seconds":"x"}}}"#;
    assert!(decode::<Command>(json).is_err(), "a known kind with a wrong field is an error");

    assert_eq!(minicbor::decode::<Stage>(&[0x18, 200]).expect("a number"), Stage::Unknown);
    assert_eq!(minicbor::decode::<Stage>(&[0x1b, 1, 0, 0, 0, 0, 0, 0, 0]).expect("a number"), Stage::Unknown);
    assert_eq!(serde_json::from_str::<Phase>("\"reopened\"").expect("a word"), Phase::Unknown);
    assert!(serde_json::from_str::<Phase>("3").is_err());
}

#[test]
fn json_has_no_infinity() {
    assert_eq!(serde_json::to_string(&Num(f32::INFINITY)).expect("a number"), "null");
    let cbor = minicbor::to_vec(Num(f32::INFINITY)).expect("a vector");
    assert_eq!(minicbor::decode::<Num>(&cbor).expect("a number"), Num(f32::INFINITY));
}
