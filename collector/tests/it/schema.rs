//! Compares answers with what the OpenAPI document says of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::answer::Answer;
use crate::site::Site;

/// The document, and which of its operations were seen to answer well.
pub struct Described {
    document: Value,
    answered: BTreeSet<(String, String)>,
}

impl Described {
    pub async fn of(site: &Site) -> Self {
        Self::new(site.json("/api/v1/openapi.json").await)
    }

    pub fn new(document: Value) -> Self {
        Self { document, answered: BTreeSet::new() }
    }

    /// The template of a path, when the document has one.
    fn template(&self, path: &str) -> Option<String> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let fits = |template: &&String| {
            template.split('/').count() == path.split('/').count()
                && template.split('/').zip(path.split('/')).all(|(t, p)| t == p || t.starts_with('{'))
        };
        let paths = self.document["paths"].as_object().expect("paths");
        // One without parameters goes before one that has them.
        paths.keys().filter(fits).min_by_key(|t| t.matches('{').count()).cloned()
    }

    /// Asserts that an operation is described, and its answer is as described.
    pub fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let template = self.template(path).unwrap_or_else(|| panic!("{path} is not described"));
        let method = method.to_lowercase();
        let status = answer.status.to_string();
        let described = &self.document["paths"][&template][&method]["responses"][&status];
        let what = format!("{method} {path}: {status}");
        assert!(described.is_object(), "{what} is not described: {}", answer.text);
        if let Some(content) = described["content"].as_object() {
            let (kind, body) = content.iter().next().expect("one kind of content");
            assert!(
                answer.header("content-type").starts_with(kind.as_str()),
                "{what} is {}",
                answer.header("content-type")
            );
            if kind == "application/json" {
                self.compare(&body["schema"], &answer.json(), &what);
            }
        }
        if answer.status == 200 {
            self.answered.insert((template, method));
        }
    }

    /// The operations that no good answer was seen of.
    pub fn unanswered(&self) -> Vec<(String, String)> {
        let paths = self.document["paths"].as_object().expect("paths").iter();
        let all = paths.flat_map(|(path, item)| item.as_object().unwrap().keys().map(|m| (path.clone(), m.clone())));
        all.filter(|operation| !self.answered.contains(operation)).collect()
    }

    /// Whether the document has this path, written with any names of its parameters.
    pub fn has(&self, path: &str) -> bool {
        self.template(path).is_some()
    }

    fn compare(&self, schema: &Value, value: &Value, at: &str) {
        if let Some(name) = schema["$ref"].as_str() {
            let schema = self.document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name}"));
            return self.compare(schema, value, at);
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let allowed = |t: &Value| t == kind || (t == "number" && kind == "integer");
        if let Some(choices) = schema["oneOf"].as_array() {
            // Null or a reference where it is optional, else the forms of an enum.
            let fits = |c: &&Value| {
                let mut required = c["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let is_kind = if c["type"].is_null() { !value.is_null() } else { allowed(&c["type"]) };
                is_kind && required.all(|name| value.get(name).is_some())
            };
            let choice = choices.iter().find(fits);
            return self.compare(choice.unwrap_or_else(|| panic!("{at}: none of {choices:?}")), value, at);
        }
        let fits = schema["type"].as_array().map_or_else(|| allowed(&schema["type"]), |any| any.iter().any(allowed));
        assert!(fits, "{at} is {value}, described as {schema}");
        if let Some(words) = schema["enum"].as_array() {
            assert!(words.contains(value), "{at} is {value}, none of {words:?}");
        }
        for (i, item) in value.as_array().into_iter().flatten().enumerate() {
            self.compare(&schema["items"], item, &format!("{at}[{i}]"));
        }
        let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else { return };
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(object.contains_key(name.as_str().unwrap()), "{at} has no {name}");
        }
        for (name, item) in object {
            let schema = properties.get(name).unwrap_or_else(|| panic!("{at}.{name} is not described"));
            self.compare(schema, item, &format!("{at}.{name}"));
        }
    }
}
