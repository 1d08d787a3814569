//! Headless Chromium, driven over the W3C WebDriver protocol.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const CHROMIUM: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";
const PATIENCE: Duration = Duration::from_secs(60);
/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window.
pub struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// `None` where there is no Chromium, except in CI, which must have it.
    pub fn start() -> Option<Self> {
        if !Path::new(CHROMIUM).exists() || !Path::new(DRIVER).exists() {
            let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(!ci, "{CHROMIUM} or {DRIVER} is missing: install chromium and chromium-driver");
            eprintln!("not looked at in a browser: {CHROMIUM} or {DRIVER} is missing");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut driver = Command::new(DRIVER);
        driver.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let profile = tempfile::tempdir().unwrap();
        let mut browser =
            Self { driver: driver.spawn().unwrap(), session: format!("http://127.0.0.1:{port}"), _profile: profile };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
            "--window-size=1200,1500",
        ];
        let mut arguments: Vec<String> = arguments.map(String::from).into();
        arguments.push(format!("--user-data-dir={}", browser._profile.path().display()));
        let options = json!({"binary": CHROMIUM, "args": arguments});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "WARNING"}}}});
        let end = Instant::now() + PATIENCE;
        let answer = loop {
            match browser.call("/session", &wanted) {
                Ok(answer) => break answer,
                Err(why) => assert!(Instant::now() < end, "no browser: {why}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let id = answer["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/session/{id}", browser.session);
        Some(browser)
    }

    fn call(&self, path: &str, body: &Value) -> Result<Value, String> {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
        let answer = agent.post(format!("{}{path}", self.session)).content_type("application/json");
        let text = answer.send(body.to_string()).map_err(|e| e.to_string())?.body_mut().read_to_string();
        let answer: Value = serde_json::from_str(&text.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        match &answer["value"]["error"] {
            Value::String(_) => Err(answer["value"].to_string()),
            _ => Ok(answer["value"].clone()),
        }
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.call("/url", &json!({ "url": url })).unwrap();
    }

    /// What a script returns.
    pub fn script(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({"script": script, "args": []})).unwrap()
    }

    /// What the first element that matches shows.
    pub fn text(&self, selector: &str) -> String {
        let shown = self.script(&format!("return document.querySelector({selector:?})?.innerText ?? ''"));
        shown.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element shows what is wanted.
    pub fn wait_for(&self, selector: &str, wanted: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.text(selector).contains(wanted) {
            assert!(Instant::now() < end, "{selector} does not show {wanted:?} but {:?}", self.text(selector));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Clicks as a person does: what is hidden or covered cannot be clicked.
    pub fn click(&self, selector: &str) {
        let found = self.call("/element", &json!({"using": "css selector", "value": selector})).unwrap();
        let element = found[ELEMENT].as_str().unwrap();
        self.call(&format!("/element/{element}/click"), &json!({})).unwrap();
    }

    /// What the page complained of, such as a script the content security policy refused.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.call("/se/log", &json!({"type": "browser"})).unwrap();
        log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver takes the browser with it only when asked.
        let _ = ureq::delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
