//! The Prometheus text exposition format.
//!
//! ```text
//! # TYPE http_requests_total counter
//! http_requests_total{method="post",code="200"} 1027 1395066363000
//! # TYPE rpc_seconds histogram
//! rpc_seconds_bucket{le="0.1"} 24054
//! rpc_seconds_sum 53423
//! ```
//!
//! A line that is not understood is counted and left out; the rest is kept. Buckets and quantiles are skipped: `_count`
//! and `_sum` as rates say how often and how long, in two series instead of twenty.

use std::collections::HashMap;

/// What a sample is, and thus what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Taken as it is.
    Gauge,
    /// Becomes a rate.
    Counter,
}

/// One sample of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposed {
    /// Name as exposed.
    pub name: String,
    /// Labels as exposed, escapes resolved.
    pub labels: Vec<(String, String)>,
    /// Value; infinities are possible.
    pub value: f64,
    /// What it is.
    pub kind: Kind,
}

/// An exposition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exposition {
    /// The samples in their order, at most as many as asked for.
    pub samples: Vec<Exposed>,
    /// Lines that were not understood.
    pub bad_lines: usize,
    /// Samples left out because there were too many.
    pub left_out: usize,
}

/// Longest name or label value that is taken.
const LONGEST: usize = 200;

/// Parses an exposition; takes samples whose name begins with one of `include` (all when it is empty), at most `most`.
pub fn parse(text: &str, include: &[String], most: usize) -> Exposition {
    let mut types: HashMap<&str, &str> = HashMap::new();
    let mut out = Exposition::default();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.split_ascii_whitespace();
            if let (Some("TYPE"), Some(name), Some(kind)) = (words.next(), words.next(), words.next()) {
                types.insert(name, kind);
            }
            continue;
        }
        let Some((name, labels, value)) = sample(line) else {
            out.bad_lines += 1;
            continue;
        };
        let wanted = include.is_empty() || include.iter().any(|prefix| name.starts_with(prefix.as_str()));
        let Some(kind) = kind_of(name, &labels, &types).filter(|_| wanted && !value.is_nan()) else { continue };
        if out.samples.len() >= most {
            out.left_out += 1;
            continue;
        }
        out.samples.push(Exposed { name: name.to_owned(), labels, value, kind });
    }
    out
}

/// `None` for what is skipped: buckets of histograms, quantiles of summaries, and creation times.
fn kind_of(name: &str, labels: &[(String, String)], types: &HashMap<&str, &str>) -> Option<Kind> {
    let has = |label: &str| labels.iter().any(|(key, _)| key == label);
    // OpenMetrics names the family without `_total`.
    let family = |suffix: &str| name.strip_suffix(suffix).and_then(|base| types.get(base).copied());
    let compound = |kind: Option<&str>| matches!(kind, Some("histogram" | "summary" | "gaugehistogram"));
    match types.get(name).copied() {
        Some("counter") => return Some(Kind::Counter),
        Some("gauge") => return Some(Kind::Gauge),
        Some("histogram" | "summary") if has("quantile") || has("le") => return None,
        _ => {}
    }
    if compound(family("_bucket")) || (name.ends_with("_bucket") && has("le")) {
        return None;
    }
    if compound(family("_created")) || family("_created") == Some("counter") {
        return None;
    }
    if compound(family("_count")) || compound(family("_sum")) || family("_total").is_some() {
        return Some(Kind::Counter);
    }
    Some(if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge })
}

type Labels = Vec<(String, String)>;

fn sample(line: &str) -> Option<(&str, Labels, f64)> {
    let end = line.find(|c: char| !is_name(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.len() > LONGEST || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = number(words.next()?)?;
    match words.next() {
        // A time stamp, or the exemplar of OpenMetrics; both are ignored.
        Some(word) if word != "#" => word.parse::<f64>().ok().map(|_| (name, labels, value)),
        _ => Some((name, labels, value)),
    }
}

/// The labels after `{`, and what follows `}`.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let end = rest.find(|c: char| !is_name(c))?;
        let (key, after) = rest.split_at(end);
        if key.is_empty() {
            return None;
        }
        let quoted = after.trim_start().strip_prefix('=')?.trim_start().strip_prefix('"')?;
        let (value, after) = unquote(quoted)?;
        labels.push((key.to_owned(), value));
        rest = after.trim_start();
        rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
    }
}

/// The text up to the closing quote, with `\\`, `\"` and `\n` resolved, and what follows the quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value.len() <= LONGEST).then(|| (value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other @ ('\\' | '"') => value.push(other),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

fn number(word: &str) -> Option<f64> {
    // The standard parser also knows `inf`, `nan` and their signs, in any case, as the format has them.
    word.parse().ok()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        let out = parse(text, &[], 100);
        out.samples.iter().map(|s| format!("{:?} {} {:?} {}", s.kind, s.name, s.labels, s.value)).collect()
    }

    #[test]
    fn kinds_come_from_type_or_name() {
        let text = "# HELP a_total x\n# TYPE a_total counter\na_total 3\nb_total{x=\"1\"} 4 1395066363000\nc 5e-1\n\
            # TYPE d counter\nd 1\n# TYPE e gauge\ne_total 2\n# TYPE f_total gauge\nf_total 9\n# TYPE g counter\ng_total 1 # {id=\"x\"} 1\n";
        let kinds: Vec<_> = parse(text, &[], 100).samples.iter().map(|s| (s.name.clone(), s.kind)).collect();
        use Kind::{Counter as C, Gauge as G};
        let expected =
            [("a_total", C), ("b_total", C), ("c", G), ("d", C), ("e_total", C), ("f_total", G), ("g_total", C)];
        assert_eq!(kinds, expected.map(|(n, k)| (n.to_owned(), k)));
    }

    #[test]
    fn histograms_and_summaries_leave_two_rates() {
        let text = "# TYPE h histogram\nh_bucket{le=\"0.1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum 5.5\nh_count 3\n\
            # TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 7\ns_count 2\ns_created 1e9\n";
        assert_eq!(
            shown(text),
            ["Counter h_sum [] 5.5", "Counter h_count [] 3", "Counter s_sum [] 7", "Counter s_count [] 2"]
        );
    }

    #[test]
    fn escapes_spaces_and_special_values() {
        let text = "m { path = \"C:\\\\DIR\\n\\\"x\\\"\" , b=\"}\", } +Inf\nn -inf\no NaN\np{} 1\n";
        let out = parse(text, &[], 100);
        assert_eq!(out.bad_lines, 0);
        assert_eq!(out.samples.len(), 3, "NaN is no value");
        assert_eq!(out.samples[0].labels[0].1, "C:\\DIR\n\"x\"");
        assert_eq!((out.samples[0].value, out.samples[1].value), (f64::INFINITY, f64::NEG_INFINITY));
    }

    #[test]
    fn bad_lines_lose_only_themselves() {
        let text =
            "ok 1\nno_value\n{x=\"1\"} 2\n1abc 3\na{b=c} 4\na{b=\"c} 5\na{b=\"c\" 6\nx y\nfine 7\nz 1 notatime\n";
        let out = parse(text, &[], 100);
        assert_eq!((out.samples.len(), out.bad_lines), (2, 8));
    }

    #[test]
    fn only_what_is_wanted_and_not_too_much() {
        let text: String = (0..50).map(|i| format!("http_x{{i=\"{i}\"}} {i}\nother {i}\n")).collect();
        let out = parse(&text, &["http_".to_owned()], 20);
        assert_eq!((out.samples.len(), out.left_out), (20, 30));
    }

    proptest! {
        /// Whatever an endpoint sends, parsing ends without panic and within its bound.
        #[test]
        fn strangers_cannot_break_it(text in "[a-z_{}=\",\\\\# \n0-9.+-]{0,300}", raw in any::<Vec<u8>>()) {
            prop_assert!(parse(&text, &[], 7).samples.len() <= 7);
            parse(&String::from_utf8_lossy(&raw), &[], 7);
        }
    }
}
