//! The same thing again and again is told once in a while, with how often it was seen meanwhile.

/// Things remembered; beyond it the one told longest ago is forgotten.
const REMEMBERED: usize = 64;
/// The same thing is told again after this long.
const AGAIN_MS: u64 = 10 * 60_000;

/// What was told lately.
#[derive(Debug, Default)]
pub struct Repeats(Vec<Told>);

#[derive(Debug)]
struct Told {
    class: &'static str,
    subject: String,
    at_ms: u64,
    held_back: u32,
}

impl Repeats {
    /// Whether to tell of `subject` now (milliseconds since boot), and how often it was held back before.
    pub fn pass(&mut self, class: &'static str, subject: &str, now_ms: u64) -> Option<u32> {
        if let Some(told) = self.0.iter_mut().find(|t| t.class == class && t.subject == subject) {
            if now_ms.saturating_sub(told.at_ms) < AGAIN_MS {
                told.held_back = told.held_back.saturating_add(1);
                return None;
            }
            told.at_ms = now_ms;
            return Some(std::mem::take(&mut told.held_back));
        }
        if self.0.len() == REMEMBERED {
            let oldest = (0..REMEMBERED).min_by_key(|i| self.0[*i].at_ms).unwrap_or(0);
            self.0.swap_remove(oldest);
        }
        self.0.push(Told { class, subject: subject.to_owned(), at_ms: now_ms, held_back: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_in_a_while() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.pass("io", "sda", 0), Some(0));
        assert_eq!(repeats.pass("io", "sdb", 0), Some(0));
        assert!((1..100).all(|s| repeats.pass("io", "sda", s * 1000).is_none()));
        assert_eq!(repeats.pass("io", "sda", AGAIN_MS), Some(99));
        assert_eq!(repeats.pass("io", "sda", 2 * AGAIN_MS), Some(0));
        for i in 0..1000 {
            repeats.pass("io", &format!("sd{i}"), 3 * AGAIN_MS);
        }
        assert_eq!(repeats.0.len(), REMEMBERED);
    }
}
