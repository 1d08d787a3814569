//! Local Prometheus endpoints, as `[[scrape]]` names them.
//!
//! Each endpoint has a thread, because a server may answer slowly or never: reading it takes part in nothing else. Its
//! series keep the names they are exposed with and carry the attribute `job`; `up` says whether the last read worked.
//! A dead endpoint means absent values, said once. Endpoints come and go with the configuration ([`Handle`]); those that stay
//! are not disturbed.

mod text;

use std::sync::Arc;
use std::time::Duration;

use tacit_wire::semconv::{self, Family};

use super::feed::Feed;
use super::{Edits, Sample, Sampled, SeriesTable, Slot, Source, SourceError};
use crate::clock::Tick;
use crate::config::ScrapeConfig;
pub use text::{Exposed, Exposition, Kind, parse};

/// Largest answer that is read.
const BODY: u64 = 4 << 20;
/// Labels a series keeps, beside `job`.
const LABELS: usize = 6;
/// Results are believed for so many intervals after they were made.
const STALE: u64 = 3;

/// The source of family `scrape`.
#[derive(Debug, Default)]
pub struct Scrape {
    endpoints: Vec<Endpoint>,
    edits: Edits<Edit>,
}

/// Endpoints that end, by job, and new ones.
#[derive(Debug)]
struct Edit {
    gone: Vec<String>,
    new: Vec<Endpoint>,
}

/// Changes the endpoints while they are read.
#[derive(Debug, Clone)]
pub struct Handle(Edits<Edit>);

impl Handle {
    /// From the endpoints of one configuration to those of another: those that are the same go on.
    ///
    /// # Errors
    /// When the system refuses another thread; then nothing has changed.
    pub fn change(&self, before: &[ScrapeConfig], after: &[ScrapeConfig]) -> std::io::Result<()> {
        let gone = before.iter().filter(|s| !after.contains(s)).map(|s| s.job.clone()).collect();
        let new = after.iter().filter(|s| !before.contains(s)).map(Endpoint::start).collect::<std::io::Result<_>>()?;
        self.0.put(Edit { gone, new });
        Ok(())
    }
}

#[derive(Debug)]
struct Endpoint {
    job: String,
    interval_ms: u64,
    feed: Arc<Feed<Reading>>,
    up: Option<Slot>,
    /// The names whose slots are held.
    names: Option<Arc<Names>>,
    slots: Vec<Slot>,
}

type Names = Vec<(String, Vec<(String, String)>, String)>;

/// What the thread publishes.
#[derive(Debug)]
struct Reading {
    at: Tick,
    /// Name, labels and unit of each value; the same `Arc` as long as they do not change.
    names: Arc<Names>,
    values: Vec<f32>,
    up: bool,
}

impl Scrape {
    /// Starts a thread for each endpoint.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn new(endpoints: &[ScrapeConfig]) -> std::io::Result<Self> {
        let endpoints = endpoints.iter().map(Endpoint::start).collect::<std::io::Result<_>>()?;
        Ok(Self { endpoints, edits: Edits::default() })
    }

    /// What changes the endpoints later.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(self.edits.clone())
    }

    /// What is not read any more gives its slots back, and its thread ends.
    fn edit(&mut self, table: &mut SeriesTable) {
        for Edit { gone, new } in self.edits.take() {
            for endpoint in self.endpoints.extract_if(.., |endpoint| gone.contains(&endpoint.job)) {
                table.retire_all_but(endpoint.slots.into_iter().chain(endpoint.up), &[]);
            }
            self.endpoints.extend(new);
        }
    }

    /// For each endpoint, a call that reads it now and waits for the answer at most so long.
    pub fn refreshers(&self) -> impl Iterator<Item = Box<dyn Fn(Duration) + Send>> + '_ {
        self.endpoints.iter().map(|endpoint| {
            let feed = Arc::clone(&endpoint.feed);
            Box::new(move |limit| feed.refresh(limit)) as Box<dyn Fn(Duration) + Send>
        })
    }
}

impl Source for Scrape {
    fn name(&self) -> &'static str {
        "scrape"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        self.edit(out.table);
        if self.endpoints.is_empty() {
            return Ok(Sampled::Absent("no [[scrape]] section is configured".into()));
        }
        for endpoint in &mut self.endpoints {
            endpoint.sample(out);
        }
        Ok(Sampled::Data)
    }
}

impl Endpoint {
    /// Starts its thread.
    fn start(config: &ScrapeConfig) -> std::io::Result<Self> {
        let mut reader = EndpointReader::new(config.clone());
        let read = move || reader.read(Tick::now());
        let feed = Arc::new(Feed::start("tacit-slow-scrp", config.interval.std(), read)?);
        let (job, interval_ms) = (config.job.clone(), config.interval.as_millis());
        Ok(Self { job, interval_ms, feed, up: None, names: None, slots: Vec::new() })
    }

    fn sample(&mut self, out: &mut Sample<'_>) {
        let Some((_, reading)) = self.feed.newest() else { return };
        let job = self.job.as_str();
        let up = *self.up.get_or_insert_with(|| out.table.register(&semconv::SCRAPE_UP, &[("job", job)]));
        out.set(up, f32::from(u8::from(reading.up)));
        if !reading.up || out.at.mono_ms.saturating_sub(reading.at.mono_ms) > STALE * self.interval_ms {
            return;
        }
        if !self.names.as_ref().is_some_and(|held| Arc::ptr_eq(held, &reading.names)) {
            self.follow(&reading.names, out);
        }
        for (slot, value) in self.slots.iter().zip(&reading.values) {
            out.set(*slot, *value);
        }
    }

    /// Takes over new names; what is not exposed any more gives its slot back.
    fn follow(&mut self, names: &Arc<Names>, out: &mut Sample<'_>) {
        let before = std::mem::take(&mut self.slots);
        self.slots = names
            .iter()
            .map(|(name, labels, unit)| {
                let mut attributes = vec![("job", self.job.as_str())];
                attributes.extend(labels.iter().map(|(k, v)| (k.as_str(), v.as_str())));
                out.table.register_named(name, unit, Family::Scrape, &attributes)
            })
            .collect();
        out.table.retire_all_but(before, &self.slots);
        self.names = Some(Arc::clone(names));
    }
}

/// Reads one endpoint again and again, on its thread.
struct EndpointReader {
    config: ScrapeConfig,
    agent: ureq::Agent,
    names: Arc<Names>,
    before: Vec<f64>,
    last: Option<Tick>,
    /// What was said last, so that it is said once.
    said: Option<String>,
}

impl EndpointReader {
    fn new(config: ScrapeConfig) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(config.timeout.std()))
            .max_redirects(0)
            .proxy(None)
            .http_status_as_error(true)
            .user_agent(concat!("tacit-agent/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { config, agent, names: Arc::default(), before: Vec::new(), last: None, said: None }
    }

    fn read(&mut self, at: Tick) -> Reading {
        match self.fetch() {
            Ok(body) => {
                let exposition = parse(&body, &self.config.include, self.config.max_series);
                self.say_if_new(&exposition);
                let values = self.values(&exposition.samples, at);
                Reading { at, names: Arc::clone(&self.names), values, up: true }
            }
            Err(error) => {
                if self.said.as_ref() != Some(&error) {
                    tracing::warn!(job = %self.config.job, url = %self.config.url, %error, "An endpoint cannot be read.");
                    self.said = Some(error);
                }
                self.last = None;
                Reading { at, names: Arc::clone(&self.names), values: Vec::new(), up: false }
            }
        }
    }

    fn fetch(&self) -> Result<String, String> {
        let mut response = self
            .agent
            .get(&self.config.url)
            .header("Accept", "text/plain;version=0.0.4")
            .call()
            .map_err(|e| e.to_string())?;
        if response.status().is_redirection() {
            return Err(format!("it redirects ({}); give the final address", response.status()));
        }
        response.body_mut().with_config().limit(BODY).lossy_utf8(true).read_to_string().map_err(|e| e.to_string())
    }

    fn say_if_new(&mut self, exposition: &Exposition) {
        let Exposition { samples, bad_lines, left_out } = exposition;
        // Numbers may change with every read; what is wrong is said once.
        let state = format!("bad lines: {}, left out: {}", *bad_lines > 0, *left_out > 0);
        if self.said.as_ref() == Some(&state) {
            return;
        }
        let job = &self.config.job;
        if *bad_lines > 0 {
            tracing::warn!(%job, bad_lines, "An endpoint exposes lines that are not understood; the rest is taken.");
        }
        if *left_out > 0 {
            tracing::warn!(%job, left_out, max_series = self.config.max_series, "An endpoint exposes more than is taken.");
        }
        if self.said.is_some() {
            tracing::info!(%job, series = samples.len(), "The endpoint can be read.");
        }
        self.said = Some(state);
    }

    fn values(&mut self, samples: &[Exposed], at: Tick) -> Vec<f32> {
        let same = self.names.len() == samples.len()
            && self.names.iter().zip(samples).all(|((name, labels, _), s)| *name == s.name && same_labels(labels, s));
        if !same {
            self.names = Arc::new(samples.iter().map(|s| (s.name.clone(), kept_labels(s), unit_of(s))).collect());
            self.last = None;
        }
        let now: Vec<f64> = samples.iter().map(|s| s.value).collect();
        let seconds = self.last.map(|last| at.seconds_since(last)).filter(|s| *s > 0.0);
        let rate = |i: usize, value: f64| match (seconds, self.before.get(i)) {
            (Some(seconds), Some(before)) if value >= *before => (value - before) / seconds,
            _ => f64::NAN,
        };
        let values = samples
            .iter()
            .enumerate()
            .map(|(i, s)| if s.kind == Kind::Counter { rate(i, s.value) } else { s.value } as f32)
            .collect();
        self.before = now;
        self.last = Some(at);
        values
    }
}

fn kept_labels(sample: &Exposed) -> Vec<(String, String)> {
    // A label of its own named `job` would hide ours; Prometheus renames it in the same way.
    let rename = |key: &str| if key == "job" { "exported_job".to_owned() } else { key.to_owned() };
    sample.labels.iter().take(LABELS).map(|(k, v)| (rename(k), v.clone())).collect()
}

fn same_labels(kept: &[(String, String)], sample: &Exposed) -> bool {
    kept.iter().map(|(_, v)| v).eq(sample.labels.iter().take(LABELS).map(|(_, v)| v))
}

/// The unit by the naming conventions of Prometheus; `1` when the name tells none.
fn unit_of(sample: &Exposed) -> String {
    const UNITS: [(&str, &str); 7] = [
        ("_bytes", "By"),
        ("_seconds", "s"),
        ("_celsius", "Cel"),
        ("_volts", "V"),
        ("_amperes", "A"),
        ("_meters", "m"),
        ("_hertz", "Hz"),
    ];
    let base = sample.name.trim_end_matches("_total").trim_end_matches("_sum");
    let unit = UNITS.iter().find(|(suffix, _)| base.ends_with(suffix)).map_or("1", |(_, unit)| unit);
    if sample.kind == Kind::Counter { format!("{unit}/s") } else { unit.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    /// Answers each of `answers` to one connection, then is gone.
    fn server(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/metrics", listener.local_addr().expect("an address"));
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut request = [0; 2048];
                let _ = stream.read(&mut request);
                let _ = write!(stream, "HTTP/1.1 {answer}");
            }
        });
        (url, thread)
    }

    fn reader(url: &str) -> EndpointReader {
        let text = format!("[[scrape]]\njob = \"app\"\nurl = \"{url}\"\n");
        EndpointReader::new(crate::config::Config::parse(&text).expect("a good one").scrape.remove(0))
    }

    const START: Tick = Tick { mono_ms: 5000, wall_ms: 0 };

    #[test]
    fn counters_become_rates_and_a_dead_endpoint_is_absent() {
        let (url, thread) = server(vec![
            "200 OK\r\nConnection: close\r\n\r\nreq_total{job=\"x\"} 10\ntemp_celsius 40\n",
            "200 OK\r\nConnection: close\r\n\r\nreq_total{job=\"x\"} 30\ntemp_celsius 41\n",
            "500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ]);
        let mut reader = reader(&url);
        let first = reader.read(START);
        assert!(first.up && first.values[0].is_nan() && first.values[1] == 40.0);
        let second = reader.read(START.plus_ms(10_000));
        assert!(Arc::ptr_eq(&first.names, &second.names));
        assert_eq!(second.values, [2.0, 41.0]);
        let (name, labels, unit) = &second.names[0];
        assert_eq!((name.as_str(), labels[0].0.as_str(), unit.as_str()), ("req_total", "exported_job", "1/s"));
        assert_eq!(second.names[1].2, "Cel");
        for _ in 0..2 {
            assert!(!reader.read(START.plus_ms(20_000)).up);
        }
        assert!(reader.said.as_deref().is_some_and(|s| s.contains("redirect")), "{:?}", reader.said);
        thread.join().expect("the server ended");
        assert!(!reader.read(START.plus_ms(30_000)).up, "nobody listens any more");
    }

    #[test]
    fn an_endless_answer_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            let chunk = [b'a'; 65_536];
            while stream.write_all(&chunk).is_ok() {}
        });
        let reading = reader(&url).read(START);
        assert!(!reading.up);
        thread.join().expect("the server ended");
    }

    #[test]
    fn the_source_gives_series_with_the_job() {
        let (first, thread) = server(vec!["200 OK\r\nConnection: close\r\n\r\nqueue_depth{q=\"a\"} 7\n"]);
        let text = format!("[[scrape]]\njob = \"app\"\nurl = \"{first}\"\ninterval = \"1h\"\n");
        let config = Config::parse(&text).expect("a good one");
        let mut scrape = Scrape::new(&config.scrape).expect("a thread");
        assert!(scrape.endpoints[0].feed.wait_beyond(0, Duration::from_secs(20)).is_some());
        let mut table = crate::source::SeriesTable::new(16);
        let mut values = [f32::NAN; 16];
        let mut sample = Sample { at: Tick::now(), table: &mut table, values: &mut values };
        assert_eq!(scrape.sample(&mut sample).expect("it works"), Sampled::Data);
        let dictionary = table.publish().expect("series are there");
        let lines: Vec<_> =
            dictionary.entries.iter().map(|e| format!("{} {}", e.def.label(), values[e.slot.index()])).collect();
        assert_eq!(lines, ["up{job=app} 1", "queue_depth{job=app,q=a} 7"]);
        thread.join().expect("the server ended");

        // Another endpoint in its place: what it exposed is gone.
        let (url, thread) = server(vec!["200 OK\r\nConnection: close\r\n\r\nusers 3\n"]);
        let other = Config::parse(&text.replace("app", "web").replace(&first, &url)).expect("a good one");
        scrape.handle().change(&config.scrape, &other.scrape).expect("a thread");
        let mut sampled = |scrape: &mut Scrape| {
            let mut sample = Sample { at: Tick::now(), table: &mut table, values: &mut values };
            assert_eq!(scrape.sample(&mut sample).expect("it works"), Sampled::Data);
        };
        sampled(&mut scrape);
        assert!(scrape.endpoints[0].feed.wait_beyond(0, Duration::from_secs(20)).is_some());
        sampled(&mut scrape);
        thread.join().expect("the server ended");
        let labels: Vec<_> = table.publish().expect("it changed").entries.iter().map(|e| e.def.label()).collect();
        assert_eq!(labels, ["up{job=web}", "users{job=web}"]);

        scrape.handle().change(&other.scrape, &[]).expect("no thread is needed");
        let mut sample = Sample { at: Tick::now(), table: &mut table, values: &mut values };
        assert!(matches!(scrape.sample(&mut sample), Ok(Sampled::Absent(_))));
        assert!(table.is_empty());
    }
}
