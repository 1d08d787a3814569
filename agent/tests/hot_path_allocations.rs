//! From sample to features nothing allocates in steady state: all sources into a frame, the frame through the queue, into the
//! history and the running minute. What the model's runtime allocates is pinned by a test of `tacit-models`.

mod counting;

use std::hint::black_box;
use std::time::Duration;

use counting::allocations;
use tacit_agent::analysis::SharedDictionary;
use tacit_agent::clock::Tick;
use tacit_agent::config::Config;
use tacit_agent::ring::queue::Received;
use tacit_agent::ring::{History, pair};
use tacit_agent::sampler::Sampler;
use tacit_agent::source::{Root, registry};
use tacit_agent::summary::Summariser;
use tacit_agent::watch::Pulse;
use tacit_wire::message::Profile;

const SERIES: usize = 512;
/// Less than the minute in which the sampler renews its status and the summary ends a step.
const TICKS: u64 = 40;
/// The machine may get a process, a mount or an interface in the middle of a batch; of several one is quiet.
const BATCHES: usize = 12;

fn main() {
    if counting::only_listed("hot_path_allocations") {
        return;
    }
    counting::check();
    let sources = registry::all(&Root::live(), &Config::default());
    sources.refreshers.iter().for_each(|refresh| refresh(Duration::from_secs(30)));
    let dictionary = SharedDictionary::default();
    let mut sampler = Sampler::new(sources.list, SERIES, dictionary.clone());
    let (mut frames, mut receiver) = pair(4, SERIES);
    let mut history = History::new(SERIES);
    let mut summary = Summariser::new(Profile::Lean, SERIES, false, None);
    let pulse = Pulse::new("test", "samples", Duration::from_secs(15));
    let mut at = Tick { mono_ms: 60_000_000, wall_ms: 1_700_000_000_000 };
    let mut tick = || {
        at = at.plus_ms(100);
        let mut frame = frames.next_frame(at).expect("the last frame was given back");
        sampler.sample(&mut frame);
        frames.send(frame);
        pulse.beat();
        let Received::Frame(frame) = receiver.recv(Duration::ZERO) else { panic!("a frame was sent") };
        history.push(frame.at, &frame.values);
        black_box(summary.add(&frame, 0.0));
        receiver.give_back(frame);
    };
    (0..70).for_each(|_| tick());
    let least = (0..BATCHES).map(|_| allocations(|| (0..TICKS).for_each(|_| tick()))).min();
    let series = dictionary.lock().expect("nobody panicked").entries.len();
    assert!(series >= 50, "only {series} series here");
    assert_eq!(least, Some(0), "the hot path allocates in steady state");
    println!("no allocation in {TICKS} ticks of {series} series, from sample to features");
}
