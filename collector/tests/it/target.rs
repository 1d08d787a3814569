//! A receiver of notifications for tests: a small HTTP server that answers as it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::client::PATIENCE;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// A server on a free port of loopback.
pub struct Target {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Target {
    /// Answers the nth request, counted from 0, with the status that `answer` gives; with 0 it never answers.
    pub fn start(answer: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let (asked, answer) = (Arc::clone(&target.asked), Arc::new(answer));
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream.unwrap(), &asked, &*answer));
            }
        });
        target
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until so many requests came, and gives them.
    pub async fn until(&self, count: usize) -> Vec<Asked> {
        self.until_some(|asked| asked.len() >= count).await
    }

    /// Waits until the requests are as they should be, and gives them.
    pub async fn until_some(&self, check: impl Fn(&[Asked]) -> bool) -> Vec<Asked> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let asked = self.asked();
            if check(&asked) {
                return asked;
            }
            assert!(tokio::time::Instant::now() < deadline, "it stayed {asked:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn serve(stream: &TcpStream, asked: &Mutex<Vec<Asked>>, answer: &dyn Fn(usize) -> u16) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut first = lines[0].split(' ').map(str::to_owned);
    let header = |line: &String| line.split_once(": ").map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()));
    let headers: BTreeMap<_, _> = lines[1..].iter().filter_map(header).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |n| n.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let request = Asked {
        method: first.next().unwrap(),
        path: first.next().unwrap(),
        headers,
        body: String::from_utf8(body).unwrap(),
    };
    let number = {
        let mut asked = asked.lock().unwrap();
        asked.push(request);
        asked.len() - 1
    };
    match answer(number) {
        0 => loop {
            std::thread::park();
        },
        status => {
            let text = format!("status {status}\n");
            let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
            // Who asked may have gone.
            let mut writer = stream;
            let _ = writer.write_all((head + &text).as_bytes());
        }
    }
}
