//! The schema in `docs/PROTOCOL.md` against real encodings.

use std::sync::LazyLock;

use cddl_cat::validate_cbor_bytes;
use proptest::prelude::*;
use tacit_wire::message::*;

use crate::arbitrary::message;
use crate::document;

static SCHEMA: LazyLock<String> = LazyLock::new(|| document::blocks("cddl").join("\n"));

fn cbor(message: &impl minicbor::Encode<()>) -> Vec<u8> {
    minicbor::to_vec(message).expect("a vector")
}

fn assert_matches(rule: &str, bytes: &[u8]) {
    if let Err(error) = validate_cbor_bytes(rule, &SCHEMA, bytes) {
        panic!("this {rule} is not what PROTOCOL.md says: {error}\n{}", minicbor::display(bytes));
    }
}

macro_rules! every_message_matches {
    ($($rule:ident: $message:ty),+ $(,)?) => { proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
        $(#[test] fn $rule(m in message::<$message>()) { assert_matches(stringify!($rule), &cbor(&m)); })+
    } };
}
every_message_matches!(
    birth: Birth, death: Death, summary: Summary, event: Event, links: Links, report: Report, config: Config,
    command: Command, ack: Ack, status: Status, result: ResultMessage,
);

/// Takes one field out of a map, or puts a text in its place.
fn damaged(bytes: &[u8], key: u8, with: Option<&str>) -> Vec<u8> {
    let mut d = minicbor::Decoder::new(bytes);
    let n = d.map().expect("a map").expect("of known length");
    let mut fields = Vec::new();
    for _ in 0..n {
        let k = d.u8().expect("a small key");
        let start = d.position();
        d.skip().expect("a value");
        match with {
            _ if k != key => fields.push((k, bytes[start..d.position()].to_vec())),
            Some(text) => fields.push((k, minicbor::to_vec(text).expect("a vector"))),
            None => {}
        }
    }
    let mut e = minicbor::Encoder::new(Vec::new());
    e.map(fields.len() as u64).expect("a vector");
    for (k, value) in fields {
        e.u8(k).expect("a vector").writer_mut().extend_from_slice(&value);
    }
    e.into_writer()
}

#[test]
fn a_wrong_message_is_refused() {
    let status =
        cbor(&Status { up: true, durable_puback: true, since_ms: 5, backoff_s: Some(60), version: "0.1.0".into() });
    assert_matches("status", &status);
    // Required, missing; required, of another type; optional, of another type.
    for wrong in [damaged(&status, 0, None), damaged(&status, 2, Some("late")), damaged(&status, 3, Some("soon"))] {
        assert!(validate_cbor_bytes("status", &SCHEMA, &wrong).is_err(), "{} was accepted", minicbor::display(&wrong));
        assert!(minicbor::decode::<Status>(&wrong).is_err(), "the reader and the schema disagree");
    }
    // A byte string too long (the checker takes `.size` as an upper bound), a node id with a wrong letter, one message in the place of another.
    let mut e = minicbor::Encoder::new(Vec::new());
    e.map(1).and_then(|e| e.u8(0)?.array(1)?.array(2)?.bytes(&[0; 9])?.u8(1)).expect("a vector");
    assert!(validate_cbor_bytes("ack", &SCHEMA, &e.into_writer()).is_err());
    let mut e = minicbor::Encoder::new(Vec::new());
    e.map(3).and_then(|e| e.u8(0)?.str("Web 1")?.u8(1)?.bytes(&[0; 16])?.u8(2)?.u8(1)).expect("a vector");
    assert!(validate_cbor_bytes("death", &SCHEMA, &e.into_writer()).is_err());
    assert!(validate_cbor_bytes("birth", &SCHEMA, &status).is_err());
}
