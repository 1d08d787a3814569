//! A question over HTTP, and its answer.

use std::collections::BTreeMap;

use serde_json::Value;
use ureq::http::{Request, Response};

use crate::client::PATIENCE;

/// Takes every answer as it is.
pub fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into()
}

/// The same over HTTPS, for a collector of these roots.
pub fn agent_trusting(roots: &str) -> ureq::Agent {
    let roots = ureq::tls::parse_pem(roots.as_bytes()).map(|item| match item.expect("the roots are PEM") {
        ureq::tls::PemItem::Certificate(certificate) => certificate,
        _ => panic!("the roots are certificates"),
    });
    let roots: Vec<_> = roots.collect();
    let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&roots)).build();
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).tls_config(tls);
    config.build().into()
}

/// Any request; `host` may begin with a scheme.
pub async fn ask(
    http: &ureq::Agent,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let place = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
    let mut request = Request::builder().method(method).uri(format!("{place}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (http, body, bodiless) = (http.clone(), body.to_owned(), matches!(method, "GET" | "HEAD"));
    let call = move || {
        if bodiless { run(&http, request.body(()).unwrap()) } else { run(&http, request.body(body).unwrap()) }
    };
    let answer = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(call));
    answer.await.expect("an answer in time").expect("the request is sent")
}

fn run(http: &ureq::Agent, request: Request<impl ureq::AsSendBody>) -> Answer {
    let answer: Response<ureq::Body> = http.run(request).expect("the collector answers");
    let (head, mut body) = answer.into_parts();
    let text = |(k, v): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (k.to_string(), v.to_str().expect("headers are text").to_owned())
    };
    Answer {
        status: head.status.as_u16(),
        headers: head.headers.iter().map(text).collect(),
        text: body.read_to_string().expect("the answer is text"),
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text);
        serde_json::from_str(&self.text).expect("the answer is JSON")
    }

    /// The words of an error with this status and code.
    pub fn error(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        let words =
            |key: &str| error[key].as_str().filter(|w| !w.is_empty()).unwrap_or_else(|| panic!("{key}: {error}"));
        format!("{} ({})", words("message"), words("hint"))
    }
}
