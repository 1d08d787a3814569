//! How often one address may try: a token bucket for each, in bounded memory.
//!
//! An IPv6 address counts by its /64, as whoever has one has all of it. When more addresses than fit are under way, those that are not
//! known yet share one bucket: a flood from many addresses is slowed as one, and makes nobody forget what others have tried.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses that are remembered.
const ADDRESSES: usize = 4096;

/// How much is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// Then one in this time.
    pub every: Duration,
}

/// Buckets of one kind.
#[derive(Debug)]
pub struct Limits {
    rate: Rate,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Rest,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    fn filled(self, bucket: Bucket, now: Instant) -> Bucket {
        let more = now.saturating_duration_since(bucket.at).as_secs_f64() / self.every.as_secs_f64();
        Bucket { left: (bucket.left + more).min(f64::from(self.burst)), at: bucket.at.max(now) }
    }

    fn is_full(self, bucket: Bucket, now: Instant) -> bool {
        self.filled(bucket, now).left >= f64::from(self.burst)
    }
}

impl Limits {
    /// Nobody has tried yet.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Takes one try of this address, or says after how many seconds there is one again.
    ///
    /// # Errors
    /// When it has none left.
    pub fn take(&self, address: IpAddr, now: Instant) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.place(&mut buckets, address, now);
        let full = Bucket { left: f64::from(self.rate.burst), at: now };
        let bucket = buckets.entry(key).or_insert(full);
        *bucket = self.rate.filled(*bucket, now);
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - bucket.left) * self.rate.every.as_secs_f64();
        // Rounding must not make a second of it.
        Err(((wait - 1e-6).ceil() as u64).max(1))
    }

    /// Gives back a try that was none: the password was right.
    pub fn give_back(&self, address: IpAddr) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(&key_of(address)) {
            bucket.left = (bucket.left + 1.0).min(f64::from(self.rate.burst));
        }
    }

    /// Where an address counts. Those that have been quiet for long make room first.
    fn place(&self, buckets: &mut HashMap<Key, Bucket>, address: IpAddr, now: Instant) -> Key {
        let key = key_of(address);
        if buckets.contains_key(&key) || buckets.len() < ADDRESSES {
            return key;
        }
        buckets.retain(|_, bucket| !self.rate.is_full(*bucket, now));
        if buckets.len() < ADDRESSES { key } else { Key::Rest }
    }
}

fn key_of(address: IpAddr) -> Key {
    Key::Address(match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(6) };

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_and_then_slowly() {
        let (limits, start) = (Limits::new(RATE), Instant::now());
        let one = at("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(limits.take(one, start), Ok(()));
        }
        assert_eq!(limits.take(one, start), Err(6));
        assert_eq!(limits.take(one, start + Duration::from_secs(4)), Err(2));
        assert_eq!(limits.take(at("192.0.2.2"), start), Ok(()), "others are not touched");
        assert_eq!(limits.take(one, start + Duration::from_secs(7)), Ok(()));
        assert_eq!(limits.take(one, start + Duration::from_secs(7)), Err(5));
        limits.give_back(one);
        assert_eq!(limits.take(one, start + Duration::from_secs(7)), Ok(()));
        // However long it was quiet, a burst is a burst.
        let later = start + Duration::from_secs(86_400);
        assert_eq!((0..9).filter(|_| limits.take(one, later).is_ok()).count(), 3);
        // A clock that stands still, or a call that comes late, gives nothing.
        assert!(limits.take(one, start).is_err());
    }

    #[test]
    fn a_network_is_one() {
        let (limits, now) = (Limits::new(RATE), Instant::now());
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"] {
            assert_eq!(limits.take(at(host), now), Ok(()));
        }
        assert!(limits.take(at("2001:db8::9"), now).is_err());
        assert_eq!(limits.take(at("2001:db8:0:1::1"), now), Ok(()));
        for _ in 0..3 {
            assert_eq!(limits.take(at("192.0.2.1"), now), Ok(()));
        }
        assert!(limits.take(at("::ffff:192.0.2.1"), now).is_err(), "it is the same address");
    }

    #[test]
    fn memory_is_bounded_and_nobody_is_forgotten() {
        let (limits, now) = (Limits::new(RATE), Instant::now());
        let known = at("192.0.2.1");
        for _ in 0..3 {
            limits.take(known, now).unwrap();
        }
        let stranger = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let taken = (0..10_000).filter(|n| limits.take(stranger(*n), now).is_ok()).count();
        assert_eq!(limits.buckets.lock().unwrap().len(), ADDRESSES + 1);
        assert_eq!(taken, ADDRESSES - 1 + 3, "those beyond share one bucket");
        assert!(limits.take(known, now).is_err());
        // Once they are quiet there is room again.
        let later = now + Duration::from_secs(60);
        assert_eq!(limits.take(stranger(20_000), later), Ok(()));
        assert!(limits.buckets.lock().unwrap().len() < 10);
    }
}
