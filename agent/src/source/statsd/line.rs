//! One line of StatsD: `name:value|type[|@rate][|#tag:value,…]` (the original's `c`, `g`, `ms`, and the common `h` and `d`).

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// The name.
    pub name: &'a str,
    /// The tags as written, after `#`; empty when there are none.
    pub tags: &'a str,
    /// What it adds or sets.
    pub value: Value,
}

/// A value with its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// So many events happened; those left out by sampling are counted in.
    Count(f64),
    /// A level is this now.
    Level(f64),
    /// A level changed by this.
    Step(f64),
    /// Something took so many seconds (`ms`), so often.
    Time(f64, f64),
    /// Something had this size (`h`, `d`), so often.
    Size(f64, f64),
}

/// Longest name and longest tags.
const LONGEST: usize = 200;

/// Parses a line without its newline; `None` for what is not understood (sets and events of some dialects among it).
#[must_use]
pub fn parse(line: &str) -> Option<Line<'_>> {
    let mut parts = line.trim().split('|');
    let (name, value) = parts.next()?.rsplit_once(':')?;
    let kind = parts.next()?;
    let (mut rate, mut tags) = (1.0, "");
    for part in parts {
        if let Some(text) = part.strip_prefix('@') {
            rate = text.parse::<f64>().ok().filter(|r| *r > 0.0 && *r <= 1.0)?;
        } else {
            tags = part.strip_prefix('#')?;
        }
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if name.is_empty() || name.len() > LONGEST || tags.len() > LONGEST || !name.chars().all(plain) {
        return None;
    }
    let number = value.parse::<f64>().ok().filter(|v| v.is_finite())?;
    let value = match kind {
        "c" => Value::Count(number / rate),
        // A sign makes it a change; that is how the original has it.
        "g" if value.starts_with(['+', '-']) => Value::Step(number),
        "g" => Value::Level(number),
        "ms" => Value::Time(number / 1000.0, 1.0 / rate),
        "h" | "d" => Value::Size(number, 1.0 / rate),
        _ => return None,
    };
    Some(Line { name, tags, value })
}

/// Tags as attributes, at most `most`; a tag without a value is `true`.
#[must_use]
pub fn tags(text: &str, most: usize) -> Vec<(String, String)> {
    let pairs = text.split(',').filter(|t| !t.is_empty()).map(|t| t.split_once(':').unwrap_or((t, "true")));
    let clean = |s: &str| s.chars().filter(|c| !c.is_control()).take(100).collect::<String>();
    // A tag of its own named `job` would hide ours.
    let rename = |key: String| if key == "job" { "exported_job".to_owned() } else { key };
    pairs.map(|(key, value)| (rename(clean(key)), clean(value))).filter(|(key, _)| !key.is_empty()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_every_kind() {
        let value = |line: &str| parse(line).map(|l| l.value);
        assert_eq!(value("door.opened:1|c"), Some(Value::Count(1.0)));
        assert_eq!(value("door.opened:3|c|@0.1"), Some(Value::Count(30.0)));
        assert_eq!(value("temp:21.5|g"), Some(Value::Level(21.5)));
        assert_eq!(value("temp:-2|g"), Some(Value::Step(-2.0)));
        assert_eq!(value("scan:320|ms|@0.5"), Some(Value::Time(0.32, 2.0)));
        assert_eq!(value("box:7|h"), Some(Value::Size(7.0, 1.0)));
        let line = parse("temp:21.5|g|#room:lab,indoor\n").expect("a line");
        assert_eq!((line.name, line.tags), ("temp", "room:lab,indoor"));
        assert_eq!(tags(line.tags, 6), [("room".into(), "lab".into()), ("indoor".to_owned(), "true".to_owned())]);
        assert_eq!(tags("job:x,a,b,c,:y,,", 2).len(), 2);
        assert_eq!(tags("job:x", 2)[0].0, "exported_job");
        for bad in [
            "",
            "x",
            "x:1",
            ":1|c",
            "x:|c",
            "x:1|s",
            "x:nan|g",
            "x:inf|g",
            "a b:1|c",
            "x:1|c|@0",
            "x:1|c|@2",
            "x:1|c|?",
            "_e{5,4}:title|text",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        /// Law: no text makes parsing panic, and what is taken is finite and bounded.
        #[test]
        fn any_line_is_taken_or_not(line in "[a-z.:|@#0-9,+-]{0,40}", raw in any::<String>()) {
            let _ = parse(&raw).map(|l| tags(l.tags, 6));
            if let Some(line) = parse(&line) {
                prop_assert!(line.name.len() <= LONGEST && tags(line.tags, 6).len() <= 6);
            }
        }
    }
}
