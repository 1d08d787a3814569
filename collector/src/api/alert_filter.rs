//! Which alerts somebody asks for, in the words of Alertmanager: matchers on labels, and a regular expression for the receiver.
//!
//! ```text
//! severity="page"   job!=api   instance=~"web-.*"   team!~"a|b"   "odd name"="x"
//! ```
//!
//! All of them have to hold. A label that an alert does not have is empty, and a regular expression has to cover the whole value.
//! What a stranger writes is bounded: how many matchers, how long each, and how large a pattern becomes, which bounds the time too.

use std::collections::BTreeMap;

use regex_lite::{Regex, RegexBuilder};

/// Most matchers of one request, and the longest of them in bytes.
const MATCHERS_MAX: usize = 20;
const MATCHER_MAX: usize = 1000;
/// Longest pattern in bytes, and how large it may become.
const PATTERN_MAX: usize = 500;
const COMPILED_MAX: usize = 1 << 16;
/// What no name of a label has in it, unless it stands in quotes.
const RESERVED: [char; 9] = ['{', '}', '!', '=', '~', ',', '\\', '"', '`'];

/// Alerts that are asked for.
#[derive(Debug, Default)]
pub struct Wanted {
    matchers: Vec<LabelMatcher>,
    receiver: Option<Regex>,
}

impl Wanted {
    /// Alerts that all matchers fit and whose receiver is as a pattern says; an empty pattern says nothing.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(matchers: &[String], receiver: Option<&str>) -> Result<Self, String> {
        if matchers.len() > MATCHERS_MAX {
            return Err(format!("{} filters are more than {MATCHERS_MAX}", matchers.len()));
        }
        let matchers = matchers.iter().map(|text| LabelMatcher::read(text)).collect::<Result<_, _>>()?;
        let receiver = receiver.filter(|text| !text.is_empty());
        Ok(Self { matchers, receiver: receiver.map(|text| pattern(text, "receiver")).transpose()? })
    }

    /// Whether an alert of a receiver is meant.
    #[must_use]
    pub fn fits(&self, labels: &BTreeMap<String, String>, receiver: &str) -> bool {
        self.receiver.as_ref().is_none_or(|pattern| pattern.is_match(receiver))
            && self.matchers.iter().all(|matcher| matcher.fits(labels))
    }
}

/// A condition on a label.
#[derive(Debug)]
struct LabelMatcher {
    name: String,
    value: Value,
    /// It is the other ones that are meant.
    not: bool,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Pattern(Regex),
}

impl LabelMatcher {
    fn read(text: &str) -> Result<Self, String> {
        if text.len() > MATCHER_MAX {
            return Err(format!("a filter of {} bytes is longer than {MATCHER_MAX}", text.len()));
        }
        let wrong = || {
            format!(
                "{text:?} is no matcher: write NAME=VALUE, NAME!=VALUE, NAME=~REGEX or NAME!~REGEX, as in job=\"api\""
            )
        };
        let text = text.trim();
        let (name, rest) = match text.strip_prefix('"') {
            Some(rest) => quoted(rest).ok_or_else(wrong)?,
            None => {
                let (name, rest) = text.split_at(text.find(['=', '!']).ok_or_else(wrong)?);
                (name.trim().to_owned(), rest)
            }
        };
        let is_quoted = text.starts_with('"');
        if name.is_empty() || (!is_quoted && name.contains(|c: char| c.is_whitespace() || RESERVED.contains(&c))) {
            return Err(wrong());
        }
        let rest = rest.trim_start();
        let operators = [("=~", true, false), ("!~", true, true), ("!=", false, true), ("=", false, false)];
        let found = operators.into_iter().find_map(|(op, like, not)| Some((rest.strip_prefix(op)?.trim(), like, not)));
        let (value, like, not) = found.ok_or_else(wrong)?;
        let value = match value.strip_prefix('"') {
            Some(rest) => quoted(rest).filter(|(_, rest)| rest.is_empty()).ok_or_else(wrong)?.0,
            None if value.contains('"') => return Err(wrong()),
            None => unescaped(value),
        };
        let value = if like { Value::Pattern(pattern(&value, &name)?) } else { Value::Text(value) };
        Ok(Self { name, value, not })
    }

    fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.name).map_or("", String::as_str);
        let is = match &self.value {
            Value::Text(text) => text == found,
            Value::Pattern(pattern) => pattern.is_match(found),
        };
        is != self.not
    }
}

/// A regular expression that has to cover a whole value.
fn pattern(text: &str, of: &str) -> Result<Regex, String> {
    if text.len() > PATTERN_MAX {
        return Err(format!("the pattern of {of} has {} bytes, at most {PATTERN_MAX} are possible", text.len()));
    }
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_MAX).build();
    let wrong = |e: regex_lite::Error| format!("the pattern {text:?} of {of} is no regular expression: {e}");
    // By itself first: brackets of its own do not close ours.
    build(text).map_err(wrong)?;
    build(&format!("^(?:{text})$")).map_err(wrong)
}

/// A text up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some((unescaped(&text[..at]), &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// A text without the signs before quotes and those signs; before anything else they stay, as a pattern has them.
fn unescaped(text: &str) -> String {
    let (mut out, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some(next @ ('"' | '\\'))) => out.push(next),
            ('\\', Some('n')) => out.push('\n'),
            (c, next) => {
                out.push(c);
                out.extend(next);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> BTreeMap<String, String> {
        let all = [("alertname", "Slow"), ("job", "api"), ("instance", "web-1.shop:9100"), ("text", "a \"b\"\nc\\")];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn fits(matchers: &[&str]) -> Result<bool, String> {
        let matchers: Vec<String> = matchers.iter().map(|text| (*text).to_owned()).collect();
        Ok(Wanted::new(&matchers, None)?.fits(&labels(), "tacit"))
    }

    #[test]
    fn matchers_are_written_as_for_alertmanager() {
        for (text, expected) in [
            ("alertname=\"Slow\"", true),
            ("alertname=Slow", true),
            (" alertname = \"Slow\" ", true),
            ("\"alertname\"=\"Slow\"", true),
            ("alertname=\"slow\"", false),
            ("alertname!=Slow", false),
            ("alertname!=\"Fast\"", true),
            ("alertname=~\"Sl.*\"", true),
            ("alertname=~Sl", false),
            ("alertname=~\"F.*|Slow\"", true),
            ("alertname!~\"F|S\"", true),
            ("alertname!~\"S.*\"", false),
            ("instance=~\"web-\\\\d\\.shop:9100\"", true),
            ("instance=~web-\\d\\.shop:9100", true),
            ("text=\"a \\\"b\\\"\\nc\\\\\"", true),
            // What an alert does not have is empty.
            ("team=", true),
            ("team=\"\"", true),
            ("team!=\"\"", false),
            ("team=~\"ops|\"", true),
            ("team!~\".+\"", true),
        ] {
            assert_eq!(fits(&[text]), Ok(expected), "{text}");
        }
        assert_eq!(fits(&[]), Ok(true));
        assert_eq!((fits(&["job=api", "alertname=Slow"]), fits(&["job=api", "alertname=Fast"])), (Ok(true), Ok(false)));
    }

    #[test]
    fn what_is_no_matcher_is_refused_in_words() {
        for (text, words) in [
            ("", "\"\" is no matcher: write NAME=VALUE"),
            ("Slow", "as in job=\"api\""),
            ("job", "is no matcher"),
            ("=api", "is no matcher"),
            ("a b=c", "is no matcher"),
            ("{job=api}", "is no matcher"),
            ("job!api", "is no matcher"),
            ("\"job=api", "is no matcher"),
            ("job=\"api", "is no matcher"),
            ("job=\"api\" x", "is no matcher"),
            ("job=a\"b", "is no matcher"),
            ("job=~\"a(\"", "the pattern \"a(\" of job is no regular expression"),
            ("job=~\"a)|(b\"", "is no regular expression"),
            ("job=~\"(a{1000}){1000}\"", "is no regular expression"),
        ] {
            let said = fits(&[text]).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
        assert!(fits(&[&format!("job=~{}", "a".repeat(501))]).unwrap_err().contains("has 501 bytes, at most 500"));
        assert!(fits(&[&"a".repeat(1 << 20)]).unwrap_err().contains("longer than 1000"));
        assert!(fits(&["job=api"; 21]).unwrap_err().contains("21 filters are more than 20"));
        assert_eq!(fits(&["job=api"; 20]), Ok(true));
    }

    #[test]
    fn the_receiver_is_ours_or_nobody() {
        let fits = |receiver: &str| Wanted::new(&[], Some(receiver)).map(|wanted| wanted.fits(&labels(), "tacit"));
        for (receiver, expected) in [("tacit", true), ("", true), ("t.*", true), ("taci", false), ("ops|tacit", true)] {
            assert_eq!(fits(receiver), Ok(expected), "{receiver}");
        }
        assert!(fits("(").unwrap_err().contains("of receiver is no regular expression"));
    }
}
