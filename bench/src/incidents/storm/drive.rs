//! Sends the storm through a real collector and measures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tacit_collector::Collector;
use tacit_collector::clock::now_ms;
use tacit_collector::ingest::{Downlink, Ingest, Taken};
use tacit_collector::map::book::MINUTE_MS;
use tacit_collector::map::view::Selection;
use tacit_collector::store::{
    EventQuery, EventRecord, Incident, IncidentId, IncidentQuery, Incoming, SqliteStore, Store,
};
use tacit_wire::Topic;
use tacit_wire::codec::{Encoding, encode};
use tacit_wire::topic::Up;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, sleep_until};

use super::fleet::{Alarm, Plan, STREAM};
use crate::incidents::hook::Hook;
use crate::incidents::office;
use crate::live::say;
use crate::map::fleet::site;

/// Since when the nodes are known.
const KNOWN_MS: i64 = 24 * 3_600_000;
/// Minutes of edges that were told, the last of them so many minutes ago: by then it is on the map.
const MINUTES: u64 = 3;
const LAST: i64 = 3;
/// Messages of one transaction.
const BATCH: usize = 64;
/// Longest wait for the map, and for all events to be looked at.
const MAP: Duration = Duration::from_secs(90);
const JUDGED: Duration = Duration::from_secs(180);
/// How long the collector is measured with nothing to do.
const IDLE: Duration = Duration::from_secs(3);
/// By so much later incidents are ranked as well; that is measured too.
const RANKED: Duration = Duration::from_secs(5);
/// Distance of looks.
const LOOK: Duration = Duration::from_millis(200);

/// An incident that came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// Its number.
    pub id: IncidentId,
    /// Events that it holds.
    pub events: usize,
    /// Nodes concerned.
    pub nodes: usize,
    /// What is wrong.
    pub title: String,
    /// Who is thought to be behind it.
    pub cause: Option<String>,
}

/// What became of the storm.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Nodes behind the switch.
    pub nodes: u32,
    /// Nodes elsewhere.
    pub elsewhere: u32,
    /// Events that were sent.
    pub events: usize,
    /// Seconds that sending took.
    pub sent_s: f64,
    /// Incidents that are not part of another.
    pub incidents: usize,
    /// Whether the stranger's events are in an incident of their own.
    pub stranger_apart: bool,
    /// Events that an incident holds.
    pub in_incidents: usize,
    /// Events that none holds, with a reason.
    pub in_digest: usize,
    /// Events of which neither is true.
    pub lost: usize,
    /// Notifications that arrived.
    pub notifications: usize,
    /// Seconds from the last event until all were looked at.
    pub judged_after_s: f64,
    /// Processor seconds of this process from the first event until all were looked at and incidents ranked.
    pub whole_cpu_s: f64,
    /// Of it: taking the same events in, with nobody who looks at them.
    pub ingest_cpu_s: f64,
    /// Of it: what the collector uses with nothing to do, in the same time.
    pub idle_cpu_s: f64,
    /// The rest.
    pub correlation_cpu_s: f64,
    /// The incidents.
    pub list: Vec<Told>,
}

/// Processor time, and how it was spent.
struct Times {
    sent_s: f64,
    judged_after_s: f64,
    whole: Duration,
    idle: Duration,
}

/// Nobody hears what is sent to nodes.
#[derive(Debug)]
struct Nobody;

impl Downlink for Nobody {
    fn send(&self, _topic: Topic, _payload: Vec<u8>, _retain: bool) {}
}

/// Sends a storm, and waits so long for notifications.
///
/// # Errors
/// When the collector cannot be started or asked, or takes longer than it may.
pub fn run(plan: &Plan, wait: Duration) -> Result<Measured> {
    let folder = tempfile::tempdir().context("cannot make a folder for the database")?;
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let alarms = plan.alarms();
    let ingest = runtime.block_on(taken_in_alone(plan, &alarms, folder.path()))?;
    let (hook, local) = (Hook::start()?, std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = office::config(&folder.path().join("collector"), [local, local], &hook.url())?;
    let collector = runtime.block_on(Collector::start(&config)).context("cannot start a collector")?;
    let measured = runtime.block_on(async {
        let store = collector.store();
        make_fleet(plan, &collector).await?;
        let times = storm(&collector, &alarms).await?;
        if !wait.is_zero() {
            say(&format!("waiting {} s for notifications", wait.as_secs()));
            sleep(wait).await;
        }
        let measured = judge(plan, &alarms, store, &times, ingest).await?;
        anyhow::Ok(Measured { notifications: hook.count(), ..measured })
    });
    runtime.block_on(collector.stop());
    measured
}

/// Processor time of taking the events in, with nobody who looks at them.
async fn taken_in_alone(plan: &Plan, alarms: &[Alarm], folder: &Path) -> Result<Duration> {
    say("taking the events in alone");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.join("alone.db"))?);
    commit(&store, plan.births(now_ms() - KNOWN_MS)?).await?;
    let ingest = Ingest::new(store, Arc::new(Nobody));
    let before = cpu();
    for alarm in alarms {
        take(&ingest, alarm).await?;
    }
    Ok(cpu().saturating_sub(before))
}

/// The nodes, and a map of who talks to whom.
async fn make_fleet(plan: &Plan, collector: &Collector) -> Result<()> {
    let store = collector.store();
    let now = now_ms();
    commit(store, plan.births(now - KNOWN_MS)?).await?;
    // Known for long, and there since this collector started: nobody is missing.
    commit(store, plan.births(now)?).await?;
    let last = (now.div_euclid(MINUTE_MS) - LAST) * MINUTE_MS;
    let first = last - (MINUTES.cast_signed() - 1) * MINUTE_MS;
    for (number, start) in (1..=MINUTES).zip((0..).map(|n| first + n * MINUTE_MS)) {
        commit(store, plan.links(number, start)?).await?;
    }
    let (edges, end) = (plan.edges().len(), Instant::now() + MAP);
    say(&format!("waiting for a map of {edges} edges"));
    loop {
        let known = collector.map().view(first, now, Selection::default()).await?.edges.len();
        if known >= edges {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("after {} s the map has {known} edges of {edges}", MAP.as_secs());
        }
        sleep(LOOK * 5).await;
    }
}

/// Sends the events as their times say, and waits until all were looked at.
async fn storm(collector: &Collector, alarms: &[Alarm]) -> Result<Times> {
    let before = cpu();
    sleep(IDLE).await;
    let idle_share = cpu().saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64();
    say(&format!("{} events", alarms.len()));
    let (before, began) = (cpu(), Instant::now());
    for alarm in alarms {
        sleep_until(began + alarm.at).await;
        take(collector.ingest(), alarm).await?;
    }
    let sent = Instant::now();
    while !collector.store().unjudged_events(1).await?.is_empty() {
        if sent.elapsed() > JUDGED {
            bail!("events were not looked at within {} s", JUDGED.as_secs());
        }
        sleep(LOOK).await;
    }
    let judged_after_s = sent.elapsed().as_secs_f64();
    sleep(RANKED).await;
    Ok(Times {
        sent_s: (sent - began).as_secs_f64(),
        judged_after_s,
        whole: cpu().saturating_sub(before),
        idle: began.elapsed().mul_f64(idle_share),
    })
}

async fn judge(
    plan: &Plan,
    alarms: &[Alarm],
    store: &Arc<dyn Store>,
    times: &Times,
    ingest: Duration,
) -> Result<Measured> {
    let query = EventQuery { limit: Some(100_000), ..EventQuery::default() };
    let events = store.events(query).await?.into_iter().filter(|e| e.event.head.stream == STREAM).collect::<Vec<_>>();
    let incidents = store.incidents(IncidentQuery { limit: Some(10_000), ..IncidentQuery::default() }).await?;
    let held = holders(&events, &incidents);
    let in_incidents: usize = held.values().map(BTreeSet::len).sum();
    let in_digest = events.iter().filter(|e| e.incident.is_none() && e.digest.is_some()).count();
    let told = |i: &Incident| Told {
        id: i.id,
        events: held.get(&i.id).map_or(0, BTreeSet::len),
        nodes: i.nodes.len(),
        title: i.title.clone(),
        cause: i.cause.as_ref().map(|c| c.entity.clone()),
    };
    let list: Vec<Told> = incidents.iter().filter(|i| i.merged_into.is_none()).map(told).collect();
    let (whole, idle) = (times.whole, times.idle);
    Ok(Measured {
        nodes: plan.nodes,
        elsewhere: plan.elsewhere,
        events: alarms.len(),
        sent_s: times.sent_s,
        incidents: list.len(),
        stranger_apart: is_apart(alarms, &held),
        in_incidents,
        in_digest,
        lost: alarms.len().saturating_sub(in_incidents + in_digest),
        notifications: 0,
        judged_after_s: times.judged_after_s,
        whole_cpu_s: whole.as_secs_f64(),
        ingest_cpu_s: ingest.as_secs_f64(),
        idle_cpu_s: idle.as_secs_f64(),
        correlation_cpu_s: whole.saturating_sub(ingest + idle).as_secs_f64(),
        list,
    })
}

/// Events by the incident that holds them; one that became part of another holds none.
fn holders(events: &[EventRecord], incidents: &[Incident]) -> BTreeMap<IncidentId, BTreeSet<u64>> {
    let parts: BTreeMap<IncidentId, IncidentId> =
        incidents.iter().filter_map(|i| Some((i.id, i.merged_into?))).collect();
    let mut held: BTreeMap<IncidentId, BTreeSet<u64>> = BTreeMap::new();
    for event in events {
        let Some(mut id) = event.incident else { continue };
        // As many steps as there are incidents: a circle ends too.
        for _ in 0..=parts.len() {
            let Some(into) = parts.get(&id) else { break };
            id = *into;
        }
        held.entry(id).or_default().insert(u64::from_be_bytes(event.event.event.0));
    }
    held
}

/// Whether the stranger's events are in one incident that has no others.
fn is_apart(alarms: &[Alarm], held: &BTreeMap<IncidentId, BTreeSet<u64>>) -> bool {
    let strange: BTreeSet<u64> = alarms.iter().filter(|a| a.strange).map(Alarm::number).collect();
    let mut concerned = held.values().filter(|events| !events.is_disjoint(&strange));
    concerned.next().is_some_and(|events| *events == strange) && concerned.next().is_none()
}

async fn take(ingest: &Ingest, alarm: &Alarm) -> Result<()> {
    let event = alarm.event(now_ms())?;
    let topic = Topic::Up(site()?, event.head.node.clone(), Up::Event).to_string();
    let payload = encode(&event, Encoding::Cbor).context("an event that can be sent")?;
    match ingest.take(&topic, &payload, event.head.node.as_str()).await {
        Taken::Done => Ok(()),
        Taken::Refused(reason) => bail!("the collector refused an event: {}", reason.as_str()),
    }
}

async fn commit(store: &Arc<dyn Store>, all: Vec<Incoming>) -> Result<()> {
    for batch in all.chunks(BATCH) {
        store.commit(batch.to_vec()).await?;
    }
    Ok(())
}

/// Processor time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
