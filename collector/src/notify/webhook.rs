//! Webhooks: a request with the message as JSON, or as a template has it.

use std::path::PathBuf;

use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

use super::http::{Auth, Call, Http, SendError, secret};
use super::message::{Cause, Message, Occasion};

/// Steps that a template may take.
const FUEL: u64 = 100_000;
/// Longest body that a template may make.
const BODY_MAX: usize = 256 * 1024;

/// A body as a template. What is not there is an error, so that a slip of the pen is found at start and not at night.
#[derive(Debug, Clone)]
pub struct Template(String);

impl Template {
    /// A template, tried on messages as they may come.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub fn new(text: &str) -> Result<Self, String> {
        let template = Self(text.to_owned());
        for sample in samples() {
            template.render(&sample.view())?;
        }
        Ok(template)
    }

    /// The body of a message.
    ///
    /// # Errors
    /// What is wrong with the template, and in which line.
    pub fn render(&self, view: &Value) -> Result<String, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let body = environment.render_named_str("template", &self.0, view).map_err(|e| {
            let what = e.detail().map_or_else(|| e.kind().to_string(), |detail| format!("{}: {detail}", e.kind()));
            format!("line {}: {what}", e.line().unwrap_or(1))
        })?;
        if body.len() > BODY_MAX { Err(format!("the body is longer than {BODY_MAX} bytes")) } else { Ok(body) }
    }
}

/// Messages with and without what may be missing.
fn samples() -> [Message; 3] {
    let bare = Message::test("http://127.0.0.1:8420", 0);
    let mut full = bare.clone();
    full.cause = Some(Cause {
        entity: "db-1/postgresql.service".into(),
        kind: "service".into(),
        line: "it is slow".into(),
        unsure: false,
    });
    full.nodes = vec!["web-1".into(), "web-2".into()];
    full.node_count = 2;
    full.sites = vec!["default".into()];
    full.entities = vec!["web-1/nginx.service".into()];
    full.acknowledged_by = Some("ana".into());
    full.became = Some(9);
    full.resolved_ms = Some(1);
    let over = full.clone().told(Occasion::Resolved, "resolved", Vec::new());
    let more = full.told(Occasion::Update, "update:1", vec!["1 more node: web-2".into()]);
    [bare, more, over]
}

/// Where a request goes: an address, or a file that holds it.
#[derive(Debug, Clone)]
pub enum Target {
    /// An address.
    Url(String),
    /// A file that holds one.
    File(PathBuf),
}

impl Target {
    /// The address.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn url(&self) -> Result<String, SendError> {
        match self {
            Self::Url(url) => Ok(url.clone()),
            Self::File(file) => {
                let url = secret(file)?;
                super::config::check_url(&url).map_err(|e| SendError::later(format!("{}: {e}", file.display())))?;
                Ok(url)
            }
        }
    }
}

/// A webhook.
#[derive(Debug)]
pub struct Webhook {
    /// The client.
    pub http: Http,
    /// Where it is.
    pub target: Target,
    /// `POST` or `PUT`.
    pub method: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Who asks.
    pub auth: Auth,
    /// The body, when it is not the message as JSON.
    pub template: Option<Template>,
    /// What the body is.
    pub content_type: String,
}

impl Webhook {
    /// Sends a message. `key` is the same whenever the same message is sent, so that a receiver can tell a repetition.
    ///
    /// # Errors
    /// When it was not taken.
    pub fn send(&self, key: &str, message: &Message) -> Result<String, SendError> {
        let view = message.view();
        let body = match &self.template {
            Some(template) => template.render(&view).map_err(|e| SendError::never(format!("template: {e}")))?,
            None => view.to_string(),
        };
        let mut headers: Vec<(&str, &str)> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        headers.push(("idempotency-key", key));
        let url = self.target.url()?;
        self.http.send(&Call {
            method: &self.method,
            url: &url,
            headers,
            auth: &self.auth,
            body: Some((&self.content_type, body)),
        })
    }
}

/// A service that expects a request each minute, and tells somebody when it does not come.
#[derive(Debug)]
pub struct Heartbeat {
    /// The client.
    pub http: Http,
    /// Where it is.
    pub target: Target,
    /// `GET` or `POST`.
    pub method: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Who asks.
    pub auth: Auth,
}

impl Heartbeat {
    /// Says that the collector lives.
    ///
    /// # Errors
    /// When nobody heard it.
    pub fn beat(&self) -> Result<String, SendError> {
        let url = self.target.url()?;
        self.http.send(&Call {
            method: &self.method,
            url: &url,
            headers: self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
            auth: &self.auth,
            body: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> String {
        let [_, message, _] = samples();
        Template::new(template).expect(template).render(&message.view()).unwrap()
    }

    #[test]
    fn the_examples_of_the_documentation_work() {
        let text = include_str!("../../../docs/NOTIFICATIONS.md");
        let mut seen = 0;
        for part in text.split("template = '''").skip(1) {
            let (template, _) = part.split_once("'''").expect("the example ends");
            let body: Value = serde_json::from_str(&rendered(template)).unwrap_or_else(|e| panic!("{template}: {e}"));
            assert!(body.is_object(), "{template}");
            seen += 1;
        }
        assert!(seen >= 3, "Slack, Teams and ntfy are shown");
    }

    #[test]
    fn texts_in_json_are_escaped_by_tojson() {
        let mut message = samples()[1].clone();
        message.title = "a \"quoted\" \\ title".into();
        let template = Template::new("{\"t\": {{ title | tojson }}}").unwrap();
        let body: Value = serde_json::from_str(&template.render(&message.view()).unwrap()).unwrap();
        assert_eq!(body["t"], "a \"quoted\" \\ title");
        assert_eq!(
            rendered("{% if cause %}{{ cause.entity }}{% endif %} <{{ nodes | join(', ') }}>"),
            "db-1/postgresql.service <web-1, web-2>"
        );
    }

    #[test]
    fn a_wrong_template_is_found_before_it_is_needed() {
        for (template, words) in [
            ("{{ summary", "line 1: "),
            ("\n{{ nothing }}", "line 2: "),
            ("{{ cause.line }}", "line 1: "),
            ("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", "line 1: "),
        ] {
            let error = Template::new(template).unwrap_err();
            assert!(error.starts_with(words), "{template}: {error}");
        }
    }
}
