//! What the terminal says while the demonstration runs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use tacit_collector::store::{Incident, IncidentId, IncidentQuery, Store};

use super::player::PAST_S;
use super::shop::MACHINES;
use crate::output::plain;

/// The terminal.
#[derive(Debug)]
pub struct Screen {
    console: String,
    began: Instant,
    failed: Option<Instant>,
    /// What was said last of each incident: its cause and its nodes.
    told: Vec<(IncidentId, Option<String>, usize)>,
}

impl Screen {
    /// Says what begins.
    pub fn begins() {
        println!("DEMO: a simulated shop of {} machines; nothing about them is real.", MACHINES.len());
        println!("The detectors that judge them and the collector are those of tacit-agent and tacit-collector.");
        println!("Learning from {} quiet hours of the shop's past ...", PAST_S / 3600);
    }

    /// Of a collector at this address; its clock begins now.
    #[must_use]
    pub fn new(http: SocketAddr) -> Self {
        Self { console: format!("http://{http}"), began: Instant::now(), failed: None, told: Vec::new() }
    }

    /// The past is over.
    pub fn learned(&self, series: usize, took: Duration) {
        println!("{series} series a second are watched; learning took {:.1} s.", took.as_secs_f64());
        println!("\nTacit demo: {}   the map: {}/map", self.console, self.console);
        println!("In {} s the database fails. Ctrl-C stops.\n", super::FAILS_AFTER_S);
    }

    /// The database fails from now on.
    pub fn fails(&mut self) {
        self.failed = Some(Instant::now());
        self.line("the disk of db-1 becomes slow. Nobody is told.");
    }

    /// Says what is new about incidents.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn follow(&mut self, store: &dyn Store) -> Result<()> {
        for incident in store.incidents(query()).await? {
            self.tell(&incident);
        }
        Ok(())
    }

    /// Says how it ended.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn ends(&self, store: &dyn Store) -> Result<()> {
        let incidents = store.incidents(query()).await?;
        let events: u32 = incidents.iter().map(|i| i.events).sum();
        let count = |n: u64, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
        self.line(&format!("{} of {}.", count(incidents.len() as u64, "incident"), count(events.into(), "event")));
        Ok(())
    }

    fn tell(&mut self, incident: &Incident) {
        let cause = incident.cause.as_ref().map(|cause| cause.entity.clone());
        let nodes = incident.nodes.len();
        let before = self.told.iter().position(|(id, ..)| *id == incident.id);
        let known = before.map(|at| self.told.swap_remove(at));
        if known.is_none() {
            let since =
                self.failed.map_or_else(String::new, |at| format!(", {} s after the failure", at.elapsed().as_secs()));
            self.line(&format!("incident {} opened{since}: {}", incident.id, plain(&incident.title)));
            self.below(&format!("{}/incidents/{}", self.console, incident.id));
        }
        let (told_cause, told_nodes) = known.map_or((None, nodes), |(_, cause, nodes)| (cause, nodes));
        if let Some(head) = incident.cause.as_ref().filter(|head| told_cause.as_ref() != Some(&head.entity)) {
            let sure = if head.unsure { ", not sure" } else { "" };
            self.line(&format!("cause of incident {}{sure}: {}", incident.id, plain(&head.entity)));
            self.below(&plain(&head.line));
        }
        if nodes > told_nodes {
            let names: Vec<&str> = incident.nodes.iter().map(AsRef::as_ref).collect();
            self.line(&format!("incident {} concerns {}", incident.id, names.join(", ")));
        }
        self.told.push((incident.id, cause.or(told_cause), nodes.max(told_nodes)));
    }

    fn line(&self, text: &str) {
        println!("{:>4} s  {text}", self.began.elapsed().as_secs());
    }

    fn below(&self, text: &str) {
        println!("        {text}");
    }
}

fn query() -> IncidentQuery {
    IncidentQuery { limit: Some(20), ..IncidentQuery::default() }
}
