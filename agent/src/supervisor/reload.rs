//! Another configuration while the agent runs: each part that can follow it is told, and what has to wait for a restart is said.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::network::More;
use super::{Agent, Shared, lock};
use crate::config::{Change, Config, PublishConfig};
use crate::links;
use crate::outbox::Limits;
use crate::publish::Changed;
use crate::source::probe::{self, Answers};
use crate::source::scrape::Scrape;
use crate::source::services::Handles;
use crate::source::task::Task;
use crate::source::{Edits, Source};

/// Configurations under way to one part.
const CHANGES: usize = 4;
/// What is said when a part does not take one.
const BUSY: &str = "a part of the agent is busy, and nothing was changed; ask again";

/// The ways to the parts that follow the configuration.
pub(super) struct Ways {
    analysis: mpsc::Sender<Config>,
    network: mpsc::Sender<Changed>,
    more: mpsc::Sender<More>,
    /// The sampling thread.
    newcomers: Edits<Box<dyn Source>>,
    /// Answers of the probes, which rules look at.
    answers: Answers,
    /// What changes probes and scrapes.
    handles: Mutex<Handles>,
    /// The files of the connection, as they were when they were last looked at.
    files: Mutex<Vec<Stamp>>,
}

/// Their other ends.
pub(super) struct Followers {
    /// The analysis.
    pub(super) analysis: mpsc::Receiver<Config>,
    /// The session with the broker, and the outbox.
    pub(super) network: mpsc::Receiver<Changed>,
    /// What else waits on sockets.
    pub(super) more: mpsc::Receiver<More>,
}

impl Ways {
    /// To the sampling thread and to those who are given the other ends.
    pub(super) fn new(
        newcomers: Edits<Box<dyn Source>>,
        answers: Answers,
        handles: Handles,
        publish: &PublishConfig,
    ) -> (Self, Followers) {
        let (analysis, for_analysis) = mpsc::channel(CHANGES);
        let (network, for_network) = mpsc::channel(CHANGES);
        let (more, for_more) = mpsc::channel(CHANGES);
        let (handles, files) = (Mutex::new(handles), Mutex::new(stamps(publish)));
        let ways = Self { analysis, network, more, newcomers, answers, handles, files };
        (ways, Followers { analysis: for_analysis, network: for_network, more: for_more })
    }
}

/// By what a changed file is known: path, device and inode, length, time of change.
type Stamp = (PathBuf, Option<(u64, u64, u64, i64, i64)>);

/// The files that a connection is made with, as they are now.
fn stamps(publish: &PublishConfig) -> Vec<Stamp> {
    let PublishConfig { password_file, ca_file, cert_file, key_file, .. } = publish;
    let stamp = |path: &PathBuf| {
        let about = std::fs::metadata(path).ok();
        (path.clone(), about.map(|a| (a.dev(), a.ino(), a.len(), a.mtime(), a.mtime_nsec())))
    };
    [password_file, ca_file, cert_file, key_file].into_iter().flatten().map(stamp).collect()
}

/// The outbox's bounds.
pub(super) fn limits(config: &Config) -> Limits {
    Limits::new(config.outbox.max_bytes.bytes(), config.outbox.max_age.as_millis())
}

/// What became of the configuration that was read last.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    refused: Option<String>,
    restart: Vec<String>,
}

impl Outcome {
    /// What somebody should know of it.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        let refused = self
            .refused
            .as_ref()
            .map(|why| format!("the changed configuration is not taken over, and what was in force stays: {why}"));
        let restart = (!self.restart.is_empty())
            .then(|| format!("the agent has to be started again for {} to come into force", self.restart.join(", ")));
        [refused, restart].into_iter().flatten()
    }
}

impl Shared {
    /// What is in force.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.config))
    }
}

impl Agent {
    /// Takes over another configuration, as far as that goes while it runs. Nothing that waits or was learned is lost.
    ///
    /// # Errors
    /// Why it was not taken over; then everything stays as it was.
    pub fn reload(&self, wanted: &Config) -> Result<Change, String> {
        let running = self.shared.config();
        let mut change = Change::between(&running, wanted).map_err(|why| self.refuse(&why))?;
        if links::are_observed(&change.config) != self.links.is_some() {
            change.restart.push("publish.profile (whether connections are observed)".to_owned());
        }
        self.apply(&running, &change).map_err(|why| self.refuse(&why))?;
        *lock(&self.shared.outcome) = Outcome { refused: None, restart: change.restart.clone() };
        Ok(change)
    }

    /// Says in the health of the node that a configuration was not taken over. Gives the reason back.
    pub fn refuse(&self, why: &str) -> String {
        lock(&self.shared.outcome).refused = Some(why.to_owned());
        why.to_owned()
    }

    fn apply(&self, running: &Config, change: &Change) -> Result<(), String> {
        let (ways, config) = (&self.ways, &change.config);
        let files = stamps(&config.publish);
        let renewed = *lock(&ways.files) != files;
        if change.live.is_empty() && !renewed {
            return Ok(());
        }
        // All of them take it, or none.
        let analysis = ways.analysis.try_reserve().map_err(|_| BUSY)?;
        let network = ways.network.try_reserve().map_err(|_| BUSY)?;
        let more = ways.more.try_reserve().map_err(|_| BUSY)?;
        self.change_scrapes(running, config)?;
        let tasks = self.change_probes(running, config);
        if let Some(scan) = &self.shared.processes
            && running.sampling.command_lines != config.sampling.command_lines
        {
            scan.read_command_lines(config.sampling.command_lines);
        }
        // Births and reports tell of it from now on.
        *lock(&self.shared.config) = Arc::new(config.clone());
        *lock(&ways.files) = files;
        let publish = (running.publish != config.publish).then(|| config.publish.clone());
        analysis.send(config.clone());
        more.send(More { tasks, publish });
        network.send(Changed { publish: config.publish.clone(), limits: limits(config), renewed });
        Ok(())
    }

    fn change_probes(&self, running: &Config, config: &Config) -> Vec<Task> {
        if running.probe == config.probe || is_disabled(config, "probe") {
            return Vec::new();
        }
        let mut handles = lock(&self.ways.handles);
        if let Some(handle) = &handles.probes {
            return handle.change(&running.probe, &config.probe);
        }
        let started = probe::started_with(&config.probe, self.ways.answers.clone());
        handles.probes = Some(started.handle);
        self.ways.newcomers.put(Box::new(started.source));
        started.tasks
    }

    fn change_scrapes(&self, running: &Config, config: &Config) -> Result<(), String> {
        if running.scrape == config.scrape || is_disabled(config, "scrape") {
            return Ok(());
        }
        let no_thread = |e: std::io::Error| format!("no thread for [[scrape]]: {e}");
        let mut handles = lock(&self.ways.handles);
        if let Some(handle) = &handles.scrapes {
            return handle.change(&running.scrape, &config.scrape).map_err(no_thread);
        }
        let scrape = Scrape::new(&config.scrape).map_err(no_thread)?;
        handles.scrapes = Some(scrape.handle());
        self.ways.newcomers.put(Box::new(scrape));
        Ok(())
    }
}

fn is_disabled(config: &Config, source: &str) -> bool {
    config.sampling.disable.iter().any(|name| name == source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cert.pem");
        let publish = PublishConfig { cert_file: Some(path.clone()), ..PublishConfig::default() };
        let missing = stamps(&publish);
        std::fs::write(&path, "a").expect("written");
        let first = stamps(&publish);
        assert_ne!(missing, first);
        assert_eq!(first, stamps(&publish));
        std::fs::write(&path, "longer").expect("written");
        assert_ne!(first, stamps(&publish));
        assert!(stamps(&PublishConfig::default()).is_empty());
    }

    #[test]
    fn what_became_of_it_is_said_in_words() {
        assert_eq!(Outcome::default().words().count(), 0);
        let outcome = Outcome { refused: Some("agent.toml: line 3".into()), restart: vec!["node.id".into()] };
        let words: Vec<String> = outcome.words().collect();
        assert!(words[0].ends_with("what was in force stays: agent.toml: line 3"), "{words:?}");
        assert_eq!(words[1], "the agent has to be started again for node.id to come into force");
    }
}
