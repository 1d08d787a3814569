//! Reads pages more strictly than browsers do: what is not exactly as it should be ends the test.

const VOID: [&str; 5] = ["meta", "link", "br", "input", "img"];

/// A page as its tags and texts.
#[derive(Debug, Default)]
pub struct Page {
    pub tags: Vec<Tag>,
    pub texts: Vec<Text>,
}

/// An opening tag.
#[derive(Debug)]
pub struct Tag {
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

impl Tag {
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

/// A text that is not only space, and the number of the tag that it stands in.
#[derive(Debug)]
pub struct Text {
    pub words: String,
    pub within: usize,
}

impl Page {
    pub fn parse(html: &str) -> Self {
        let mut page = Self::default();
        let mut rest = html.strip_prefix("<!doctype html>\n").expect("a document begins with its type");
        let mut open: Vec<usize> = Vec::new();
        while let Some((text, tag)) = rest.split_once('<') {
            page.text(text, open.last());
            rest = match tag.strip_prefix('/') {
                Some(end) => {
                    let (name, after) = end.split_once('>').expect("a tag ends");
                    let begun = open.pop().map(|n| page.tags[n].name.as_str());
                    assert_eq!(begun, Some(name), "an end has its beginning");
                    after
                }
                None => page.tag(tag, &mut open),
            };
        }
        page.text(rest, open.last());
        assert!(open.is_empty(), "{open:?} has no end");
        page
    }

    fn text(&mut self, text: &str, within: Option<&usize>) {
        let words = unescape(text.trim());
        if !words.is_empty() {
            let within = *within.unwrap_or_else(|| panic!("{words:?} stands outside of the document"));
            self.texts.push(Text { words, within });
        }
    }

    /// Reads a tag behind its `<`, and gives what follows it.
    fn tag<'a>(&mut self, tag: &'a str, open: &mut Vec<usize>) -> &'a str {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b"-0123456789".contains(&b))
        };
        let word = |rest: &'a str| {
            let (word, rest) = rest.split_at(rest.find(['=', '>', ' ']).expect("a tag ends"));
            assert!(is_word(word), "{word:?} is neither a tag nor an attribute");
            (word, rest)
        };
        let (name, mut rest) = word(tag);
        let mut attributes = Vec::new();
        let after = loop {
            if let Some(after) = rest.strip_prefix('>') {
                break after;
            }
            let (key, after) = word(rest.trim_start());
            let (value, after) = match after.strip_prefix("=\"") {
                Some(value) => value.split_once('"').expect("a value ends"),
                None => ("", after),
            };
            attributes.push((key.to_owned(), unescape(value)));
            rest = after;
        };
        if !VOID.contains(&name) {
            open.push(self.tags.len());
        }
        self.tags.push(Tag { name: name.to_owned(), attributes });
        after
    }

    /// The tags with the names of their attributes: the page without its words.
    pub fn skeleton(&self) -> Vec<String> {
        let keys = |t: &Tag| t.attributes.iter().map(|(k, _)| format!(" {k}")).collect::<String>();
        self.tags.iter().map(|t| format!("{}{}", t.name, keys(t))).collect()
    }

    /// All tags of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tag> {
        self.tags.iter().filter(move |t| t.name == name)
    }

    /// Whether some text of the page holds these words.
    pub fn says(&self, words: &str) -> bool {
        self.texts.iter().any(|t| t.words.contains(words))
    }
}

/// A text with its references resolved. There are only those that an escaper writes.
fn unescape(text: &str) -> String {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (reference, after) = part.split_once(';').unwrap_or_else(|| panic!("& is not escaped before {part:?}"));
        out.push(match reference {
            "amp" | "#38" => '&',
            "lt" | "#60" => '<',
            "gt" | "#62" => '>',
            "quot" | "#34" => '"',
            "#39" => '\'',
            _ => panic!("&{reference}; is unknown"),
        });
        out.push_str(after);
    }
    out
}
