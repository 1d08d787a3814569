//! What was received by name, summed up over an interval.

use super::line::{Line, Value, tags};

/// Attributes of a series, beside ours.
const TAGS: usize = 6;
/// A name that is not heard of for this long gives its place back.
const FORGET_MS: u64 = 15 * 60_000;

/// What kind of series a name has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One series: events a second.
    Count,
    /// One series: the level.
    Level,
    /// Three series: mean and largest in seconds, and how often a second.
    Time,
    /// The same without a unit.
    Size,
}

/// One name with its tags.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The tags as received, by which it is recognised.
    raw_tags: String,
    /// The tags.
    pub tags: Vec<(String, String)>,
    /// Its kind.
    pub kind: Kind,
    sum: f64,
    count: f64,
    largest: f64,
    level: f64,
    heard_ms: u64,
    /// The values of the last whole interval: one for counts and levels, three for the others.
    pub shown: [f32; 3],
}

/// All names.
#[derive(Debug)]
pub struct Store {
    most: usize,
    /// The names in the order of their coming.
    pub entries: Vec<Entry>,
    /// Another number when names came or went.
    pub generation: u64,
    /// Names refused because the store was full.
    pub refused: u64,
    /// Lines that were not understood.
    pub bad_lines: u64,
    began_ms: Option<u64>,
}

impl Store {
    /// An empty one for at most `most` names.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, entries: Vec::new(), generation: 0, refused: 0, bad_lines: 0, began_ms: None }
    }

    /// Takes one line, received at `now_ms` (milliseconds since boot).
    pub fn take(&mut self, line: &Line<'_>, now_ms: u64) {
        let kind = match line.value {
            Value::Count(_) => Kind::Count,
            Value::Level(_) | Value::Step(_) => Kind::Level,
            Value::Time(..) => Kind::Time,
            Value::Size(..) => Kind::Size,
        };
        let is = |e: &Entry| e.kind == kind && e.name == line.name && e.raw_tags == line.tags;
        let index = match self.entries.iter().position(is) {
            Some(index) => index,
            None if self.entries.len() < self.most => {
                self.entries.push(Entry::new(line, kind));
                self.generation += 1;
                self.entries.len() - 1
            }
            None => {
                self.refused += 1;
                return;
            }
        };
        let entry = &mut self.entries[index];
        entry.heard_ms = now_ms;
        match line.value {
            Value::Count(n) => entry.sum += n,
            Value::Level(level) => entry.level = level,
            Value::Step(by) => entry.level = if entry.level.is_nan() { by } else { entry.level + by },
            Value::Time(value, times) | Value::Size(value, times) => {
                entry.sum += value * times;
                entry.count += times;
                entry.largest = entry.largest.max(value);
            }
        }
    }

    /// Ends the interval when `interval_ms` have passed: values are shown until the next, sums begin anew.
    pub fn end_interval(&mut self, now_ms: u64, interval_ms: u64) {
        let began = *self.began_ms.get_or_insert(now_ms);
        let passed = now_ms.saturating_sub(began);
        if passed < interval_ms {
            return;
        }
        self.began_ms = Some(now_ms);
        let seconds = passed as f64 / 1000.0;
        self.entries.iter_mut().for_each(|entry| entry.show(seconds));
        let before = self.entries.len();
        self.entries.retain(|e| now_ms.saturating_sub(e.heard_ms) < FORGET_MS);
        self.generation += u64::from(self.entries.len() != before);
    }
}

impl Entry {
    fn new(line: &Line<'_>, kind: Kind) -> Self {
        Self {
            name: line.name.to_owned(),
            raw_tags: line.tags.to_owned(),
            tags: tags(line.tags, TAGS),
            kind,
            sum: 0.0,
            count: 0.0,
            largest: f64::NEG_INFINITY,
            level: f64::NAN,
            heard_ms: 0,
            shown: [f32::NAN; 3],
        }
    }

    fn show(&mut self, seconds: f64) {
        self.shown = match self.kind {
            Kind::Count => [(self.sum / seconds) as f32, f32::NAN, f32::NAN],
            Kind::Level => [self.level as f32, f32::NAN, f32::NAN],
            // Without any there is neither mean nor largest, but there is a rate.
            Kind::Time | Kind::Size if self.count == 0.0 => [f32::NAN, f32::NAN, 0.0],
            Kind::Time | Kind::Size => {
                [(self.sum / self.count) as f32, self.largest as f32, (self.count / seconds) as f32]
            }
        };
        (self.sum, self.count, self.largest) = (0.0, 0.0, f64::NEG_INFINITY);
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::parse;
    use super::*;

    fn store(lines: &[&str]) -> Store {
        let mut store = Store::new(3);
        store.end_interval(0, 10_000);
        lines.iter().for_each(|l| store.take(&parse(l).expect("a good line"), 5000));
        store.end_interval(10_000, 10_000);
        store
    }

    fn shown(store: &Store) -> Vec<String> {
        store.entries.iter().map(|e| format!("{} {:?} {:?}", e.name, e.kind, e.shown)).collect()
    }

    #[test]
    fn an_interval_is_summed_up() {
        let mut store = store(&["c:5|c", "c:1|c|@0.1", "g:20|g", "g:+2.5|g", "t:100|ms", "t:300|ms"]);
        assert_eq!(shown(&store), ["c Count [1.5, NaN, NaN]", "g Level [22.5, NaN, NaN]", "t Time [0.2, 0.3, 0.2]"]);
        store.end_interval(15_000, 10_000);
        assert_eq!(shown(&store)[0], "c Count [1.5, NaN, NaN]", "shown until the next interval ends");
        store.end_interval(20_000, 10_000);
        assert_eq!(shown(&store), ["c Count [0.0, NaN, NaN]", "g Level [22.5, NaN, NaN]", "t Time [NaN, NaN, 0.0]"]);
    }

    #[test]
    fn names_are_bounded_and_forgotten() {
        let mut store = store(&["a:1|c", "a:1|c|#x:1", "a:1|g", "b:1|c", "b:1|c", "a:1|c"]);
        assert_eq!((store.entries.len(), store.refused, store.generation), (3, 2, 3));
        store.take(&parse("a:1|g").expect("a good line"), 800_000);
        store.end_interval(910_000, 10_000);
        assert_eq!((store.entries.len(), store.generation), (1, 4));
    }
}
