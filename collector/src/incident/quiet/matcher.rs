//! Conditions on events, and the words in which people write them.
//!
//! `node=web-1`, `family=~disk*|cpu`, `site!=lab`, `text!~"* on /var"`: a field, an operator, a value. A field that an event does
//! not have is empty. Patterns know three signs and no more: `*` is any text, `?` one character, and `|` stands between
//! alternatives; the whole value has to be as one of these says. There is no way to write those signs themselves; `?` fits them
//! too. To compare takes at most as many steps as the lengths of pattern and value multiplied, whatever a stranger writes.

use std::fmt;
use std::str::{Chars, FromStr};

use tacit_wire::message::EventKind;

use super::Subject;
use crate::store::{EventSource, MatchOp, Matcher};

/// Most matchers of a silence or a window.
const MATCHERS_MAX: usize = 20;
/// Longest name of a field, in bytes.
const FIELD_MAX: usize = 128;
/// Longest value, in bytes.
const VALUE_MAX: usize = 500;

/// Fields that no label of an alert is asked for.
const KNOWN: [&str; 7] = ["node", "site", "entity", "source", "kind", "family", "text"];
const SOURCES: [EventSource; 5] =
    [EventSource::Node, EventSource::Presence, EventSource::Map, EventSource::Alert, EventSource::Change];

/// Operators, the longer first: `=` begins another one.
const OPERATORS: [MatchOp; 4] = [MatchOp::Like, MatchOp::Unlike, MatchOp::NotEqual, MatchOp::Equal];

impl MatchOp {
    /// The operator as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Like => "=~",
            Self::Unlike => "!~",
        }
    }

    /// Whether a value is as this says.
    fn fits(self, asked: &str, value: &str) -> bool {
        match self {
            Self::Equal => value == asked,
            Self::NotEqual => value != asked,
            Self::Like => like(asked, value),
            Self::Unlike => !like(asked, value),
        }
    }
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Matcher {
    /// Whether an event is as this says.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.op.fits(&self.value, subject.field(&self.field))
    }

    /// Whether it leaves out most events: it says what they are, and not only what they are not.
    fn narrows(&self) -> bool {
        let known = KNOWN.contains(&self.field.as_str());
        match (self.op, self.field.as_str()) {
            (MatchOp::NotEqual | MatchOp::Unlike, _) => false,
            (op, "source") => !SOURCES.iter().all(|s| op.fits(&self.value, s.as_str())),
            (op, "kind") => !EventKind::ALL.iter().all(|k| op.fits(&self.value, k.as_str())),
            // An event that has no such label.
            (op, _) if !known && op.fits(&self.value, "") => false,
            (MatchOp::Equal, _) => true,
            (MatchOp::Like, _) => {
                let any = |p: &str| p.contains('*') && p.chars().all(|c| matches!(c, '*' | '?'));
                // Of a label even `?*` says that it is there.
                !known || !self.value.split('|').any(any)
            }
        }
    }

    /// Whether it can be kept.
    fn check(&self) -> Result<(), String> {
        let Self { field, op, value } = self;
        if field.is_empty()
            || field.len() > FIELD_MAX
            || field.trim() != field
            || field.contains(|c: char| matches!(c, '=' | '!') || c.is_control())
        {
            let shown: String = field.chars().take(FIELD_MAX).collect();
            return Err(format!("{shown:?} is no field: write one of {}, or a label of alerts", KNOWN.join(", ")));
        }
        if value.len() > VALUE_MAX {
            let bytes = value.len();
            return Err(format!("the value of {field} has {bytes} bytes, at most {VALUE_MAX} are possible: make two"));
        }
        let words: Vec<&str> = match field.as_str() {
            "source" => SOURCES.iter().map(|s| s.as_str()).collect(),
            "kind" => EventKind::ALL.iter().map(|k| k.as_str()).collect(),
            _ => return Ok(()),
        };
        if matches!(op, MatchOp::Equal | MatchOp::NotEqual) && !words.contains(&value.as_str()) {
            return Err(format!("{field} is never {value:?}: it is one of {}", words.join(", ")));
        }
        Ok(())
    }
}

/// Checks matchers before they are kept.
///
/// # Errors
/// What is wrong, and what to write.
pub fn check_matchers(matchers: &[Matcher]) -> Result<(), String> {
    if matchers.len() > MATCHERS_MAX {
        let many = matchers.len();
        return Err(format!(
            "{many} matchers are more than {MATCHERS_MAX}: put values into one, as in node=~web-1|web-2"
        ));
    }
    matchers.iter().try_for_each(Matcher::check)
}

/// Whether these let every event through, or all but those that they name: then somebody has to say that this is meant.
#[must_use]
pub fn matches_everything(matchers: &[Matcher]) -> bool {
    !matchers.iter().any(Matcher::narrows)
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, op, value } = self;
        if value.is_empty() || value.trim() != value || value.starts_with(['=', '~', '"']) {
            write!(f, "{field}{op}\"{value}\"")
        } else {
            write!(f, "{field}{op}{value}")
        }
    }
}

impl FromStr for Matcher {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > FIELD_MAX + VALUE_MAX + 8 {
            return Err(format!("a matcher of {} bytes is too long: a value has at most {VALUE_MAX}", text.len()));
        }
        let wrong = || {
            format!(
                "{text:?} is no matcher: write FIELD=VALUE, FIELD!=VALUE, FIELD=~PATTERN or FIELD!~PATTERN, as in node=web-1"
            )
        };
        let (field, rest) = text.split_at(text.find(['=', '!']).ok_or_else(wrong)?);
        let op = OPERATORS.into_iter().find(|op| rest.starts_with(op.as_str())).ok_or_else(wrong)?;
        let value = rest[op.as_str().len()..].trim();
        if value.starts_with('=') {
            return Err(format!("{text:?} has one = too many; a value that begins with one stands in quotes"));
        }
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        let matcher = Self { field: field.trim().to_owned(), op, value: value.to_owned() };
        matcher.check()?;
        Ok(matcher)
    }
}

/// Whether one of the alternatives is as the whole value.
fn like(pattern: &str, value: &str) -> bool {
    pattern.split('|').any(|one| covers(one, value))
}

/// Whether a pattern without alternatives covers a value. Only the last `*` is ever given more: when what stands between two of
/// them fits somewhere, its first place leaves most to the rest.
fn covers(pattern: &str, value: &str) -> bool {
    let (mut pattern, mut value) = (pattern.chars(), value.chars());
    // What follows the last star, and where in the value that was tried.
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (mut p, mut v) = (pattern.clone(), value.clone());
        match (p.next(), v.next()) {
            (Some('*'), _) => {
                star = Some((p.clone(), value.clone()));
                pattern = p;
            }
            (None, None) => return true,
            (Some(c), Some(found)) if c == '?' || c == found => (pattern, value) = (p, v),
            (Some(_), None) => return false,
            (_, Some(_)) => {
                let Some((after, tried)) = &mut star else { return false };
                tried.next();
                (pattern, value) = (after.clone(), tried.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(text: &str) -> Matcher {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn conditions_are_written_as_people_do() {
        for (text, field, op, value) in [
            ("node=web-1", "node", MatchOp::Equal, "web-1"),
            ("family=~disk*|cpu", "family", MatchOp::Like, "disk*|cpu"),
            ("site!=lab", "site", MatchOp::NotEqual, "lab"),
            ("text!~* on /var", "text", MatchOp::Unlike, "* on /var"),
            (" severity = \" page \" ", "severity", MatchOp::Equal, " page "),
            ("severity=", "severity", MatchOp::Equal, ""),
            ("url=\"=~\"", "url", MatchOp::Equal, "=~"),
            ("url=http://a/?b=c", "url", MatchOp::Equal, "http://a/?b=c"),
        ] {
            assert_eq!(matcher(text), Matcher { field: field.into(), op, value: value.into() }, "{text}");
        }
        for (text, words) in [
            ("", "is no matcher: write FIELD=VALUE"),
            ("web-1", "as in node=web-1"),
            ("node!web-1", "is no matcher"),
            ("node==web-1", "one = too many"),
            ("=web-1", "\"\" is no field: write one of node, site, entity"),
            ("source=nodes", "source is never \"nodes\": it is one of node, presence, map, alert, change"),
            ("kind!=unknown", "it is one of anomaly, rule, context"),
        ] {
            let said = text.parse::<Matcher>().unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
        let long = format!("text={}", "x".repeat(501));
        assert!(long.parse::<Matcher>().unwrap_err().contains("has 501 bytes, at most 500"));
        assert!("x".repeat(1 << 20).parse::<Matcher>().unwrap_err().len() < 200);
        assert!(check_matchers(&vec![matcher("node=a"); 21]).unwrap_err().contains("node=~web-1|web-2"));
    }

    #[test]
    fn patterns_fit_the_whole_value() {
        for (pattern, fits, fails) in [
            ("disk*", vec!["disk", "disk-full"], vec!["a disk", "dis"]),
            ("*-1|db", vec!["web-1", "-1", "db"], vec!["web-12", "db-2", ""]),
            ("web-?", vec!["web-1", "web-é", "web-*"], vec!["web-", "web-12"]),
            ("*a*b*", vec!["ab", "xaxbx", "aab"], vec!["ba", "a"]),
            ("a*bc*c", vec!["abcc", "abcbcc", "a bc c"], vec!["abc", "abcb"]),
            ("?*", vec!["a", "ab"], vec![""]),
            ("*", vec!["", "a", "a\nb"], vec![]),
            ("a|", vec!["a", ""], vec!["b", "a|"]),
            ("", vec![""], vec!["a"]),
        ] {
            assert!(fits.iter().all(|v| like(pattern, v)), "{pattern} fits {fits:?}");
            assert!(!fails.iter().any(|v| like(pattern, v)), "{pattern} does not fit {fails:?}");
        }
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        // With a try for each way to divide the value among the stars this would not end.
        let (pattern, value) = ("*a".repeat(200) + "b", "a".repeat(4096));
        assert!(!like(&pattern, &value));
        assert!(!like(&format!("*{}b", "a".repeat(400)), &value));
    }

    #[test]
    fn what_mutes_all_is_seen() {
        let wide = |texts: &[&str]| matches_everything(&texts.iter().map(|t| matcher(t)).collect::<Vec<_>>());
        let all: &[&[&str]] = &[
            &[],
            &["node=~*"],
            &["text=~?*"],
            &["family=~cpu|**"],
            &["node!="],
            &["entity!=web-1", "family!~disk*"],
            &["severity=~*"],
            &["severity="],
            &["severity=~page|"],
            &["source=~node|presence|map|alert|change"],
            &["kind=~*", "source=~*"],
        ];
        for texts in all {
            assert!(wide(texts), "{texts:?}");
        }
        let some: &[&[&str]] = &[
            &["node=web-1"],
            &["node=~web-*"],
            &["node="],
            &["severity=page"],
            &["severity=~?*"],
            &["source=alert"],
            &["kind=~a*"],
            &["text=~*", "site=lab"],
        ];
        for texts in some {
            assert!(!wide(texts), "{texts:?}");
        }
    }

    /// The plainest way to say what a pattern means; it takes for ever on some.
    fn plainly(pattern: &[char], value: &[char]) -> bool {
        match (pattern.first(), value.first()) {
            (None, None) => true,
            (Some('*'), _) => plainly(&pattern[1..], value) || (!value.is_empty() && plainly(pattern, &value[1..])),
            (Some(c), Some(v)) => (*c == '?' || c == v) && plainly(&pattern[1..], &value[1..]),
            _ => false,
        }
    }

    proptest! {
        /// Law: a pattern covers what trying every way to divide the value says.
        #[test]
        fn patterns_mean_what_they_say(pattern in "[ab*?]{0,8}", value in "[abé]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(covers(&pattern, &value), plainly(&chars(&pattern), &chars(&value)));
        }

        /// Law: what is shown can be written, and means the same.
        #[test]
        fn what_is_shown_can_be_written(field in "[a-z_.:-]{1,12}", op in 0..4_usize, value in "[ -~é]{0,20}") {
            let matcher = Matcher { field: format!("x{field}"), op: OPERATORS[op], value };
            prop_assert_eq!(matcher.to_string().parse::<Matcher>(), Ok(matcher));
        }
    }
}
