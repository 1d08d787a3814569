//! Where in the file a key is, so that every complaint can name its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line, from 1, that holds byte `offset` of `text`.
pub fn line_of(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    1 + text.as_bytes()[..end].iter().filter(|b| **b == b'\n').count()
}

/// The key whose name or value covers byte `offset`, written as `sampling.interval` or `scrape[1].url`.
pub fn key_at(text: &str, offset: usize) -> Option<String> {
    let (root, _) = DeTable::parse_recoverable(text);
    find_in_table(root.get_ref(), "", &|_, span| span.contains(&offset)).map(|(path, _)| path)
}

/// The line on which `path` is set; a key that is not set is looked for by its section.
pub fn line_of_key(text: &str, path: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut path = path;
    loop {
        if let Some((_, start)) = find_in_table(root.get_ref(), "", &|found, _| found == path) {
            return Some(line_of(text, start));
        }
        path = path.rsplit_once('.')?.0;
    }
}

/// Every key that is set, with its line; a list is one key.
pub fn keys(text: &str) -> Vec<(String, usize)> {
    let (root, _) = DeTable::parse_recoverable(text);
    let mut keys = Vec::new();
    collect(root.get_ref(), "", text, &mut keys);
    keys
}

fn collect(table: &DeTable<'_>, above: &str, text: &str, keys: &mut Vec<(String, usize)>) {
    for (key, value) in table {
        let name = key.get_ref();
        let path = if above.is_empty() { name.to_string() } else { format!("{above}.{name}") };
        match value.get_ref() {
            DeValue::Table(inner) => collect(inner, &path, text, keys),
            _ => keys.push((path, line_of(text, key.span().start))),
        }
    }
}

type Range = std::ops::Range<usize>;

/// Depth first, so that the innermost match wins; gives the path and where its key (or table) begins.
fn find_in_table(table: &DeTable<'_>, above: &str, wanted: &dyn Fn(&str, &Range) -> bool) -> Option<(String, usize)> {
    table.iter().find_map(|(key, value)| {
        let name = key.get_ref();
        let path = if above.is_empty() { name.to_string() } else { format!("{above}.{name}") };
        find_in_value(value, &path, wanted).or_else(|| {
            let covers = wanted(&path, &key.span()) || wanted(&path, &value.span());
            covers.then(|| (path, key.span().start))
        })
    })
}

fn find_in_value(
    value: &Spanned<DeValue<'_>>,
    path: &str,
    wanted: &dyn Fn(&str, &Range) -> bool,
) -> Option<(String, usize)> {
    match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, path, wanted),
        DeValue::Array(items) => items.iter().enumerate().find_map(|(i, item)| {
            let path = format!("{path}[{i}]");
            find_in_value(item, &path, wanted)
                .or_else(|| wanted(&path, &item.span()).then(|| (path, item.span().start)))
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[node]\nsite = \"x\"\n\n[[scrape]]\njob = \"a\"\n\n[[scrape]]\njob = \"b\"\nurl = \"u\"\n";

    #[test]
    fn keys_have_lines() {
        assert_eq!(line_of_key(TEXT, "node.site"), Some(2));
        assert_eq!(line_of_key(TEXT, "scrape[1].url"), Some(9));
        assert_eq!(line_of_key(TEXT, "node.id"), Some(1), "an unset key is shown at its section");
        assert_eq!(line_of_key(TEXT, "outbox.max_age"), None);
    }

    #[test]
    fn all_keys_are_listed() {
        assert_eq!(keys(TEXT), [("node.site".to_owned(), 2), ("scrape".to_owned(), 4)]);
        assert_eq!(keys("node.site = \"x\"\n[node]\n"), [("node.site".to_owned(), 1)]);
    }

    #[test]
    fn offsets_have_keys() {
        let at = TEXT.find("\"u\"").expect("it is there");
        assert_eq!(key_at(TEXT, at).as_deref(), Some("scrape[1].url"));
        assert_eq!(line_of(TEXT, at), 9);
    }
}
