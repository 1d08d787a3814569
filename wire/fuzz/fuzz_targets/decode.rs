//! Any bytes, as any message: an error or a message that encodes again and reads back equal; never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tacit_wire::Encoding;
use tacit_wire::codec::{Message, decode, encode};
use tacit_wire::message::{
    Ack, Birth, Command, Config, Death, Event, Links, Report, ResultMessage, Status, Summary,
};

fn attempt<M: Message + PartialEq + std::fmt::Debug>(payload: &[u8]) {
    let Ok(message) = decode::<M>(payload) else { return };
    // What is accepted may grow a little in another form, so `encode` may refuse it for its size; otherwise it reads back.
    let Ok(again) = encode(&message, Encoding::Cbor) else { return };
    assert_eq!(decode::<M>(&again).expect("our own encoding decodes"), message);
}

fuzz_target!(|data: &[u8]| {
    // The first byte picks the message, so that the rest is one clean encoding.
    let Some((pick, payload)) = data.split_first() else { return };
    match pick % 11 {
        0 => attempt::<Birth>(payload),
        1 => attempt::<Death>(payload),
        2 => attempt::<Summary>(payload),
        3 => attempt::<Event>(payload),
        4 => attempt::<Links>(payload),
        5 => attempt::<Report>(payload),
        6 => attempt::<Config>(payload),
        7 => attempt::<Command>(payload),
        8 => attempt::<Ack>(payload),
        9 => attempt::<Status>(payload),
        _ => attempt::<ResultMessage>(payload),
    }
});
