//! What the agent says of itself: reports, and the answer to `diagnose`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::debug;

use super::{LOOK_EVERY, Options, Shared, Status, lock, take};
use crate::clock::Tick;
use crate::detect::event::Sender;
use crate::health::SelfCost;
use crate::outgoing::Outgoing;
use crate::source::Root;
use crate::text_pages;

/// Distance of reports when nothing changed.
const REPORT_EVERY: Duration = Duration::from_secs(15 * 60);
/// Distance of measurements of own cost: each reads a file a thread.
const MEASURE_EVERY: Duration = Duration::from_secs(30);
/// The first report waits for the first measurement of own cost.
const FIRST_REPORT: Duration = Duration::from_secs(20);
/// The page drop comes this long after the first model was loaded, and once again after its last early fit.
const DROP_PAGES_AFTER: [u64; 3] = [5, 90, 660];

/// Measures own cost and sends reports: soon after the start, on change, and from time to time.
pub(super) async fn run(shared: Arc<Shared>, sender: Sender, out: mpsc::Sender<Outgoing>) {
    let mut own = SelfCost::new(&Root::live(), Tick::now());
    let began = tokio::time::Instant::now();
    let mut reported: Option<(tokio::time::Instant, String)> = None;
    let mut drops = DROP_PAGES_AFTER.iter().copied().peekable();
    let mut measured: Option<Tick> = None;
    let mut first_model: Option<tokio::time::Instant> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = Tick::now();
        let analysis = take(&shared.analysis);
        let since = measured.map_or(LOOK_EVERY.as_secs_f32(), |at| now.seconds_since(at) as f32);
        if measured.is_none() || since >= MEASURE_EVERY.as_secs_f32() {
            measured = Some(now);
            let cost = own.measure(now, shared.network.sent_bytes(), analysis.inference);
            shared.keep_budget(&cost, since);
            *lock(&shared.cost) = cost;
        }
        if analysis.model.is_some() {
            let since = first_model.get_or_insert_with(tokio::time::Instant::now).elapsed();
            if drops.next_if(|after| since.as_secs() >= *after).is_some() {
                drop_pages(&shared.options);
            }
        }
        let status = shared.status();
        let state = format!("{:?} {:?} {:?}", status.health, status.analysis.stage, status.sampler.absent);
        let due = match &reported {
            None => began.elapsed() >= FIRST_REPORT,
            Some((at, told)) => {
                at.elapsed() >= REPORT_EVERY || (*told != state && at.elapsed() >= Duration::from_secs(60))
            }
        };
        if due {
            reported = Some((tokio::time::Instant::now(), state));
            if out.send(Outgoing::Report(Box::new(shared.report(&sender, now)))).await.is_err() {
                return;
            }
        }
    }
}

fn drop_pages(options: &Options) {
    if options.embedded || options.keep_pages {
        return;
    }
    match text_pages::drop_text_pages() {
        Ok(bytes) => debug!(bytes, "Gave back pages that only the start needed."),
        Err(e) => debug!(error = %e, "Cannot give back pages."),
    }
}

/// What a `diagnose` command is answered with.
pub(super) fn diagnosis(status: &Status) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let a = &status.analysis;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "series: {}, of them judged: {}", status.sampler.series, a.judged);
    let _ = writeln!(text, "model: {} ({} points learned)", a.stage, a.points);
    let _ = writeln!(text, "samples: {}, missed: {}", a.samples, a.missed);
    for absent in &status.sampler.absent {
        let _ = writeln!(text, "absent: {}: {}", absent.source, absent.reason);
    }
    for source in &status.sampler.sources {
        let _ = writeln!(text, "source {}: {:.0} µs, {} errors", source.name, source.seconds.0 * 1e6, source.errors);
    }
    for line in &status.health {
        let _ = writeln!(text, "health: {line}");
    }
    text
}
