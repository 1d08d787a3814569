//! Adding up what an edge did: minutes to hours, hours to longer times, and parts of a whole.

use tacit_wire::message::Edge;

use crate::store::Figures;

/// Tells an absent accept queue from an empty one.
const NO_QUEUE: i64 = -1;
/// What no machine reaches on one edge in a minute: a million connections a second, a terabit a second, and what goes with it.
const CONNECTS_MAX: u64 = 60_000_000;
const BYTES_MAX: u64 = 10_000_000_000_000;
const SEGMENTS_MAX: u64 = 10_000_000_000;
/// Connections open on one edge; accept queues.
const OPEN_MAX: u32 = 16_000_000;
/// Round trips and lifetimes in seconds: an hour, ten years.
const ROUND_TRIP_MAX: f32 = 3600.0;
const LIFETIME_MAX: f32 = 3.2e8;

impl Figures {
    /// Nothing happened at `at_ms`.
    #[must_use]
    pub const fn none(at_ms: i64) -> Self {
        Self {
            connects: 0,
            failed: 0,
            sent: 0,
            received: 0,
            retransmits: 0,
            rtt_p50: f32::NAN,
            rtt_p95: f32::NAN,
            rtt_min: f32::NAN,
            rtt_weight: 0.0,
            lifetime: f32::NAN,
            lifetime_weight: 0.0,
            active: 0,
            accept_queue: NO_QUEUE,
            confidence: 0.0,
            owned: false,
            first_ms: at_ms,
            last_ms: at_ms,
        }
    }

    /// What a half says, turned so that it is seen from the client.
    #[must_use]
    pub fn of(edge: &Edge, at_ms: i64) -> Self {
        let (sent, received) = if edge.server { (edge.received, edge.sent) } else { (edge.sent, edge.received) };
        let sane = |value: tacit_wire::Num| if value.0.is_finite() && value.0 >= 0.0 { value.0 } else { f32::NAN };
        let connections = edge.connects.max(edge.active).max(1) as f32;
        let rtt_p50 = sane(edge.rtt_p50);
        let lifetime = sane(edge.lifetime);
        Self {
            connects: edge.connects.into(),
            failed: edge.failed.into(),
            sent,
            received,
            retransmits: edge.retransmits.into(),
            rtt_p50,
            rtt_p95: sane(edge.rtt_p95),
            rtt_min: sane(edge.rtt_min),
            rtt_weight: if rtt_p50.is_nan() { 0.0 } else { connections },
            lifetime,
            lifetime_weight: if lifetime.is_nan() { 0.0 } else { connections },
            active: edge.active,
            accept_queue: edge.accept_queue.map_or(NO_QUEUE, i64::from),
            confidence: sane(edge.confidence).clamp(0.0, 1.0),
            owned: false,
            first_ms: at_ms,
            last_ms: at_ms,
        }
    }

    /// Cuts what no machine reaches in `minutes`; whether there was any.
    pub fn cut(&mut self, minutes: i64) -> bool {
        let before = *self;
        let most = |each: u64| each.saturating_mul(minutes.unsigned_abs());
        self.connects = self.connects.min(most(CONNECTS_MAX));
        self.failed = self.failed.min(most(CONNECTS_MAX));
        self.sent = self.sent.min(most(BYTES_MAX));
        self.received = self.received.min(most(BYTES_MAX));
        self.retransmits = self.retransmits.min(most(SEGMENTS_MAX));
        self.active = self.active.min(OPEN_MAX);
        self.accept_queue = self.accept_queue.min(OPEN_MAX.into());
        let least = |value: f32, most: f32| if value > most { f32::NAN } else { value };
        self.rtt_p50 = least(self.rtt_p50, ROUND_TRIP_MAX);
        self.rtt_p95 = least(self.rtt_p95, ROUND_TRIP_MAX);
        self.rtt_min = least(self.rtt_min, ROUND_TRIP_MAX);
        self.lifetime = least(self.lifetime, LIFETIME_MAX);
        let values = |f: &Self| [f.rtt_p50, f.rtt_p95, f.rtt_min, f.lifetime].map(f32::is_nan);
        let counts = |f: &Self| [f.connects, f.failed, f.sent, f.received, f.retransmits, f.active.into()];
        counts(self) != counts(&before) || values(self) != values(&before) || self.accept_queue != before.accept_queue
    }

    /// The share of one minute of what happened in `length` minutes: the shares of minutes in a row add up to the whole.
    #[must_use]
    pub fn of_minute(&self, minute: i64, length: i64) -> Self {
        let length = length.max(1);
        let place = minute.div_euclid(60_000).rem_euclid(length);
        let share = |n: i64| n as f64 / length as f64;
        Self {
            active: self.active,
            rtt_weight: self.rtt_weight / length as f32,
            lifetime_weight: self.lifetime_weight / length as f32,
            first_ms: minute,
            last_ms: minute,
            ..self.part(share(place), share(place + 1))
        }
    }

    /// Whether nothing moved.
    #[must_use]
    pub fn is_still(&self) -> bool {
        self.connects == 0 && self.failed == 0 && self.retransmits == 0 && self.bytes() == 0
    }

    /// Adds what happened in another time. Absurd counts stop at the largest number.
    pub fn add(&mut self, other: &Self) {
        self.connects = self.connects.saturating_add(other.connects);
        self.failed = self.failed.saturating_add(other.failed);
        self.sent = self.sent.saturating_add(other.sent);
        self.received = self.received.saturating_add(other.received);
        self.retransmits = self.retransmits.saturating_add(other.retransmits);
        self.rtt_p95 = mean(self.rtt_p95, self.rtt_weight, other.rtt_p95, other.rtt_weight);
        self.rtt_p50 = mean(self.rtt_p50, self.rtt_weight, other.rtt_p50, other.rtt_weight);
        self.rtt_weight += other.rtt_weight;
        // The least of what is there: NaN gives way.
        self.rtt_min = self.rtt_min.min(other.rtt_min);
        self.lifetime = mean(self.lifetime, self.lifetime_weight, other.lifetime, other.lifetime_weight);
        self.lifetime_weight += other.lifetime_weight;
        self.accept_queue = self.accept_queue.max(other.accept_queue);
        if other.last_ms >= self.last_ms {
            self.active = if other.last_ms == self.last_ms { self.active.max(other.active) } else { other.active };
            self.confidence = other.confidence;
            self.owned = other.owned;
        }
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
    }

    /// The part from `from` to `to` (shares of the whole, 0 to 1): parts that touch add up to the whole exactly.
    #[must_use]
    pub fn part(&self, from: f64, to: f64) -> Self {
        let cut = |value: u64| {
            let at = |share: f64| (value as f64 * share).round() as u64;
            at(to).saturating_sub(at(from))
        };
        Self {
            connects: cut(self.connects),
            failed: cut(self.failed),
            sent: cut(self.sent),
            received: cut(self.received),
            retransmits: cut(self.retransmits),
            active: cut(self.active.into()) as u32,
            ..*self
        }
    }

    /// The same with nothing counted: the other half has counted it.
    #[must_use]
    pub fn uncounted(&self) -> Self {
        Self {
            connects: 0,
            failed: 0,
            sent: 0,
            received: 0,
            retransmits: 0,
            rtt_weight: 0.0,
            lifetime_weight: 0.0,
            ..*self
        }
    }

    /// Bytes both ways.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sent.saturating_add(self.received)
    }
}

fn mean(a: f32, a_weight: f32, b: f32, b_weight: f32) -> f32 {
    match (a.is_nan() || a_weight <= 0.0, b.is_nan() || b_weight <= 0.0) {
        (_, true) => a,
        (true, false) => b,
        (false, false) => (a * a_weight + b * b_weight) / (a_weight + b_weight),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_add_up() {
        let minute = |at: i64, connects, rtt, active| Figures {
            connects,
            rtt_p50: rtt,
            rtt_p95: rtt,
            rtt_min: rtt,
            rtt_weight: connects as f32,
            active,
            ..Figures::none(at)
        };
        let mut hour = minute(60_000, 10, 0.001, 3);
        hour.add(&minute(0, 30, 0.005, 9));
        hour.add(&Figures { connects: u64::MAX, ..Figures::none(120_000) });
        assert_eq!((hour.connects, hour.active, hour.first_ms, hour.last_ms), (u64::MAX, 0, 0, 120_000));
        assert!((hour.rtt_p50 - 0.004).abs() < 1e-6 && (hour.rtt_min - 0.001).abs() < 1e-9);
        assert!(hour.lifetime.is_nan());
    }

    #[test]
    fn minutes_share_what_an_interval_had() {
        let whole = Figures { connects: 7, sent: 1001, active: 3, rtt_weight: 5.0, ..Figures::none(0) };
        let minutes: Vec<Figures> = (2..7).map(|m| whole.of_minute(m * 60_000, 5)).collect();
        let sum = |of: fn(&Figures) -> u64| minutes.iter().map(of).sum::<u64>();
        assert_eq!((sum(|f| f.connects), sum(|f| f.sent)), (7, 1001));
        assert!(minutes.iter().all(|f| f.active == 3 && f.connects <= 2 && (f.rtt_weight - 1.0).abs() < 1e-6));
        assert_eq!((minutes[1].first_ms, minutes[1].last_ms), (180_000, 180_000));
        assert!(!whole.is_still() && Figures { active: 3, ..Figures::none(0) }.is_still());
    }

    #[test]
    fn parts_are_the_whole() {
        let whole = Figures { connects: 7, sent: 1001, ..Figures::none(0) };
        let parts = [(0.0, 0.3), (0.3, 0.9), (0.9, 1.0)].map(|(a, b)| whole.part(a, b));
        assert_eq!(parts.iter().map(|p| p.connects).sum::<u64>(), 7);
        assert_eq!(parts.iter().map(|p| p.sent).sum::<u64>(), 1001);
    }
}
