//! What else happened, through the whole analysis: notes become events and explain those near them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tacit_agent::analysis::{Analysis, Inputs};
use tacit_agent::clock::Tick;
use tacit_agent::config::Config;
use tacit_agent::context::{Board, Reporter, UnitState};
use tacit_agent::detect::event::Sender;
use tacit_agent::detect::rulebook::Watched;
use tacit_agent::outgoing::Outgoing;
use tacit_agent::source::Frame;
use tacit_wire::BootId;
use tacit_wire::codec::Message as _;
use tacit_wire::message::{ContextKind, Event, EventKind, Phase};
use tokio::sync::mpsc;

const NOON: Tick = Tick { mono_ms: 86_400_000, wall_ms: 1_700_000_000_000 };

struct Stage {
    analysis: Analysis,
    reporter: Reporter,
    watched: Watched,
    out: mpsc::Receiver<Outgoing>,
    at: Tick,
    _state: tempfile::TempDir,
}

impl Stage {
    fn new(booted: Option<&str>) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let (reporter, happened) = Reporter::new(Board::default());
        let (to, out) = mpsc::channel(1000);
        let (live, _) = mpsc::channel(1);
        let watched = Watched::default();
        let inputs = Inputs {
            sender: Sender { node: "n1".parse().expect("a name"), boot: BootId([7; 16]) },
            config: Config::default(),
            dictionary: Arc::default(),
            watched: watched.clone(),
            happened,
            board: Board::default(),
            models: mpsc::channel(1).1,
            booted: booted.map(ToOwned::to_owned),
            processes: None,
            out: to,
            live,
            watch: Arc::new(AtomicU64::new(0)),
            injected: Arc::default(),
        };
        let analysis = Analysis::new(inputs, state.path(), NOON);
        Self { analysis, reporter, watched, out, at: NOON, _state: state }
    }

    /// Some seconds of samples; gives the events they led to, all of which may be sent.
    fn seconds(&mut self, n: u64) -> Vec<Event> {
        for _ in 0..n {
            self.at = self.at.plus_ms(1000);
            let mut frame = Frame::new(512);
            frame.reset(self.at);
            self.analysis.step(&frame);
        }
        let sent = std::iter::from_fn(|| self.out.try_recv().ok());
        let events = sent.filter_map(|m| if let Outgoing::Event(e) = m { Some(*e) } else { None });
        events.inspect(|e| e.validate().expect("it may be sent")).collect()
    }
}

#[test]
fn a_boot_says_how_the_machine_went_down() {
    let events = Stage::new(Some("the machine booted after it went down without warning")).seconds(1);
    let boot = events.iter().find(|e| e.context[0].kind == ContextKind::Boot).expect("a boot");
    assert!(boot.text.contains("without warning"), "{}", boot.text);
}

#[test]
fn a_failed_unit_comes_with_what_happened_before() {
    let mut stage = Stage::new(None);
    stage.seconds(1);
    let long_ago = Tick { wall_ms: stage.at.wall_ms - 3_600_000, ..stage.at };
    stage.reporter.tell(ContextKind::Change, long_ago, "a package changed: vim", None);
    stage.reporter.tell(ContextKind::Change, stage.at, "a package changed: shop upgraded 1 → 2", None);
    let events = stage.seconds(60);
    let told: Vec<_> = events.iter().map(|e| (e.kind, e.phase, e.text.as_str())).collect();
    assert_eq!(
        told,
        [
            (EventKind::Context, Phase::Close, "a package changed: vim"),
            (EventKind::Context, Phase::Close, "a package changed: shop upgraded 1 → 2"),
        ]
    );
    let unit = |failed| UnitState {
        name: "shop.service".into(),
        failed,
        why: "its main process exited with status 1".into(),
        changed: NOON.plus_ms(50_000),
        ..UnitState::default()
    };
    stage.watched.units.publish(vec![unit(true)]);
    let events = stage.seconds(30);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((events[0].rule.as_deref(), events[0].phase), (Some("unit-failed"), Phase::Open));
    let notes: Vec<_> = events[0].context.iter().map(|n| (n.kind, n.unit.as_deref())).collect();
    let shop = Some("shop.service");
    assert_eq!(
        notes,
        [(ContextKind::AgentStart, None), (ContextKind::Change, None), (ContextKind::UnitFailed, shop)],
        "what was an hour before is not near"
    );
    stage.watched.units.publish(vec![unit(false)]);
    let events = stage.seconds(30);
    assert_eq!((events.len(), events[0].phase), (1, Phase::Close));
}

#[test]
fn a_flood_of_notes_is_cut_off() {
    let mut stage = Stage::new(None);
    stage.seconds(1);
    let mut events = 0;
    for _ in 0..20 {
        (0..100).for_each(|i| stage.reporter.tell(ContextKind::Kernel, stage.at, &format!("trouble {i}"), None));
        events += stage.seconds(1).len();
    }
    assert!((10..40).contains(&events), "{events} of 2000 notes were sent");
}
