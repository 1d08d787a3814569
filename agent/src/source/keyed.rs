//! Files of named numbers: a declared list says which names are wanted and what each becomes.

use tacit_wire::semconv::Metric;

use super::{Rate, Sample, Slot, Width};

/// What a number becomes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// It is a level; multiplied by the factor.
    Gauge(f32),
    /// It only rises; its rate per second, multiplied by the factor.
    Counter(Width, f32),
}

/// One wanted name.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The name in the file.
    pub key: &'static str,
    /// The metric it becomes.
    pub metric: Metric,
    /// Attribute values, in the order of the metric's keys.
    pub attributes: &'static [&'static str],
    /// How.
    pub kind: Kind,
}

/// A level.
pub const fn gauge(key: &'static str, metric: Metric, attributes: &'static [&'static str], factor: f32) -> Wanted {
    Wanted { key, metric, attributes, kind: Kind::Gauge(factor) }
}

/// A counter, as wide as the kernel's `unsigned long`: a 32-bit kernel's wraps within days.
pub const fn counter(key: &'static str, metric: Metric, attributes: &'static [&'static str], factor: f32) -> Wanted {
    Wanted { key, metric, attributes, kind: Kind::Counter(Width::Bits32, factor) }
}

/// Slots and last values of a list of wanted names. Series are registered when their name is first seen, so that a kernel
/// without one simply lacks its series.
#[derive(Debug)]
pub struct Keyed {
    wanted: &'static [Wanted],
    places: Vec<(Option<Slot>, Rate)>,
}

impl Keyed {
    /// For the names of `wanted`.
    #[must_use]
    pub fn new(wanted: &'static [Wanted]) -> Self {
        Self { wanted, places: vec![(None, Rate::default()); wanted.len()] }
    }

    /// Takes one named number of the file; names that are not wanted are passed over. `hint` is where the name was found in
    /// the list last time plus one: files keep their order, so the search usually ends at once.
    pub fn take(&mut self, key: &[u8], value: u64, hint: &mut usize, out: &mut Sample<'_>) {
        let is = |w: &Wanted| w.key.as_bytes() == key;
        let after = self.wanted.iter().skip(*hint).position(is).map(|i| i + *hint);
        let Some(index) = after.or_else(|| self.wanted.iter().take(*hint).position(is)) else { return };
        *hint = index + 1;
        self.put(index, value, out);
    }

    /// Takes the number of the wanted name at `index`.
    pub fn put(&mut self, index: usize, value: u64, out: &mut Sample<'_>) {
        let wanted = &self.wanted[index];
        let (slot, rate) = &mut self.places[index];
        let slot = *slot.get_or_insert_with(|| register(wanted, out));
        let value = match wanted.kind {
            Kind::Gauge(factor) => value as f32 * factor,
            Kind::Counter(width, factor) => rate.per_second(value, out.at, width) * factor,
        };
        out.set(slot, value);
    }
}

fn register(wanted: &Wanted, out: &mut Sample<'_>) -> Slot {
    let attributes: Vec<(&str, &str)> =
        wanted.metric.attributes.iter().copied().zip(wanted.attributes.iter().copied()).collect();
    out.table.register(&wanted.metric, &attributes)
}

/// The words of a line.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty())
}

/// The lines of a text with their numbers, from 1; empty ones left out. The kernel ends each with a newline: what follows
/// the last one is the rest of a line that was cut, whose numbers may be cut too.
pub fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    text[..whole].split(|b| *b == b'\n').enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.is_empty())
}

/// A whole number without sign; `None` for anything else.
#[must_use]
pub fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |value, b| {
        b.is_ascii_digit().then(|| value.checked_mul(10)?.checked_add(u64::from(b - b'0'))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_is_left_out() {
        assert_eq!(lines(b"a 1\n\nb 2\nc 12").collect::<Vec<_>>(), [(1, &b"a 1"[..]), (3, b"b 2")]);
        assert_eq!(lines(b"a 1").count(), 0);
    }

    #[test]
    fn numbers_are_whole_and_bounded() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"-1", b"1.5", b"18446744073709551616", b"x"] {
            assert_eq!(number(bad), None);
        }
    }
}
