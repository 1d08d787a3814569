//! Arbitrary messages, made from a string of bytes: proptest shrinks the bytes, and with them the message (no bytes left
//! means zero, empty, absent).

use proptest::prelude::{Strategy, any};
use tacit_wire::message::*;
use tacit_wire::{Attribute, BootId, Digest, EventId, NodeId, Num, Seq, SeriesDef, SeriesId, StreamId};

/// The bytes a message is made from.
#[derive(Debug, Clone)]
pub struct Entropy {
    bytes: Vec<u8>,
    at: usize,
}

impl Entropy {
    fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }
}

/// A value out of entropy.
pub trait Arbitrary: Sized {
    fn take(from: &mut Entropy) -> Self;
}

/// A strategy for any message.
pub fn message<M: Arbitrary + std::fmt::Debug>() -> impl Strategy<Value = M> {
    proptest::collection::vec(any::<u8>(), 0..600).prop_map(|bytes| M::take(&mut Entropy { bytes, at: 0 }))
}

/// The value that no entropy makes: zero, empty, absent.
pub fn smallest<T: Arbitrary>() -> T {
    T::take(&mut Entropy { bytes: Vec::new(), at: 0 })
}

impl Arbitrary for bool {
    fn take(from: &mut Entropy) -> Self {
        from.byte() & 1 == 1
    }
}

macro_rules! integers {
    ($($t:ty),+) => { $(impl Arbitrary for $t {
        fn take(from: &mut Entropy) -> Self {
            // Small, middling and extreme numbers alike: each length of the encoding is met.
            let wide = u64::from_le_bytes(from.array());
            (wide >> (from.byte() % 64)) as Self
        }
    })+ };
}
integers!(u8, u16, u32, u64, i64);

impl Arbitrary for String {
    fn take(from: &mut Entropy) -> Self {
        const LETTERS: [char; 16] =
            ['a', 'Z', '0', ' ', '/', '"', '\\', '\n', '\0', '{', '#', '+', 'ß', 'é', '中', '😀'];
        (0..from.byte() % 12).map(|_| LETTERS[usize::from(from.byte() % 16)]).collect()
    }
}

impl<T: Arbitrary> Arbitrary for Option<T> {
    fn take(from: &mut Entropy) -> Self {
        bool::take(from).then(|| T::take(from))
    }
}

impl<T: Arbitrary> Arbitrary for Vec<T> {
    fn take(from: &mut Entropy) -> Self {
        (0..from.byte() % 4).map(|_| T::take(from)).collect()
    }
}

impl Arbitrary for Num {
    fn take(from: &mut Entropy) -> Self {
        let any = f32::from_bits(u32::take(from));
        match from.byte() % 4 {
            0 => Self(f32::from(u16::take(from)) - 300.0),
            1 => Self::NONE,
            2 => Self::quantised(if any.is_finite() { any } else { 0.25 }),
            // JSON has no infinity; it becomes `null`, which is tested for itself.
            _ => Self(if any.is_finite() { any } else { 0.1 }),
        }
    }
}

impl Arbitrary for NodeId {
    fn take(from: &mut Entropy) -> Self {
        format!("n-{}", u16::take(from)).parse().expect("a valid id by construction")
    }
}

macro_rules! wrappers {
    ($($name:ident),+) => { $(impl Arbitrary for $name {
        fn take(from: &mut Entropy) -> Self { Self(Wrapped::take_inner(from)) }
    })+ };
}
/// What a wrapping identifier holds.
trait Wrapped {
    fn take_inner(from: &mut Entropy) -> Self;
}
impl<const N: usize> Wrapped for [u8; N] {
    fn take_inner(from: &mut Entropy) -> Self {
        from.array()
    }
}
impl Wrapped for u64 {
    fn take_inner(from: &mut Entropy) -> Self {
        Self::take(from)
    }
}
impl Wrapped for u16 {
    fn take_inner(from: &mut Entropy) -> Self {
        Self::take(from)
    }
}
wrappers!(BootId, StreamId, EventId, Digest, Seq, SeriesId);

macro_rules! open_enums {
    ($($name:ident),+) => { $(impl Arbitrary for $name {
        fn take(from: &mut Entropy) -> Self {
            let n = usize::from(from.byte()) % (Self::ALL.len() + 1);
            Self::ALL.get(n).copied().unwrap_or(Self::Unknown)
        }
    })+ };
}
open_enums!(
    Stage,
    Lane,
    EventKind,
    Phase,
    Direction,
    FaultKind,
    ContextKind,
    Protocol,
    OwnerKind,
    ConfigState,
    Profile
);

macro_rules! structs {
    ($($name:ident { $($field:ident)* })+) => { $(impl Arbitrary for $name {
        fn take(from: &mut Entropy) -> Self { Self { $($field: Arbitrary::take(from)),* } }
    })+ };
}
structs! {
    Attribute { key value }
    SeriesDef { id name attributes unit }
    Head { node boot stream seq oldest wall_ms mono_ms }
    NodeIdentity { hostname os kernel arch cpu cores memory board }
    Clock { wall_ms mono_ms synchronised }
    Listener { address port owner }
    ModelInForce { name version digest stage points }
    Absent { source reason }
    LaneRange { stream lane oldest newest }
    Birth {
        node boot connection agent clock identity addresses listeners epoch series dictionary models config capabilities
        outbox absent profile interval_ms tags
    }
    Death { node boot connection reason }
    Row { id mean min max }
    Bins { id counts }
    Summary { head epoch start_ms step_s steps series rows bins lost_samples alarm left_out }
    Evidence { name attributes unit share observed low high direction }
    ProcessNote { pid name command unit cpu memory memory_growth io }
    Context { kind at_ms text unit }
    RecordingRow { name attributes unit values }
    Recording { start_ms step_ms rows }
    Event {
        head event kind phase onset_ms onset_mono_ms end_ms severity score rule text evidence processes context recording
        model stage persisting injected fault confidence p_value
    }
    EndpointDef { id address port owner owner_kind scope }
    Edge {
        local peer protocol server connects failed sent received retransmits rtt_p50 rtt_p95 rtt_min active lifetime
        accept_queue confidence ports
    }
    Links { head start_ms step_s level overflows endpoints edges steady }
    Gap { lane stream first last reason }
    ThreadCost { name cpu }
    SourceCost { name seconds errors last_error }
    Cost { cpu pss anonymous sent disk threads inference outbox }
    Promise { promised_per_day events rules days }
    Report {
        head config_version config config_state models cost sources gaps promise health absent series uptime_s
    }
    DesiredModel { name manifest url size }
    Config { version issued_ms settings models signature }
    Command { id deadline_ms issued_ms kind }
    StreamAck { stream seq }
    Ack { streams }
    Status { up durable_puback since_ms backoff_s version }
    ResultMessage { node command part last body }
}

impl Arbitrary for CommandKind {
    fn take(from: &mut Entropy) -> Self {
        match from.byte() % 6 {
            0 => Self::Pull {
                from_ms: Arbitrary::take(from),
                to_ms: Arbitrary::take(from),
                series: Arbitrary::take(from),
            },
            1 => Self::Watch { seconds: Arbitrary::take(from) },
            2 => Self::Diagnose,
            3 => Self::Announce,
            4 => Self::Maintain { seconds: Arbitrary::take(from), reason: Arbitrary::take(from) },
            _ => Self::Dictionary,
        }
    }
}

impl Arbitrary for ResultBody {
    fn take(from: &mut Entropy) -> Self {
        match from.byte() % 5 {
            0 => Self::Dictionary { epoch: Arbitrary::take(from), series: Arbitrary::take(from) },
            1 => Self::Frames {
                epoch: Arbitrary::take(from),
                start_ms: Arbitrary::take(from),
                step_ms: Arbitrary::take(from),
                ids: Arbitrary::take(from),
                frames: Arbitrary::take(from),
            },
            2 => Self::Text { text: Arbitrary::take(from) },
            3 => Self::Done,
            _ => Self::Refused { reason: Arbitrary::take(from) },
        }
    }
}
