//! What the main thread does while the agent runs: it waits for signals, has the configuration read again, and tells the service
//! manager how it goes.

use std::io::IsTerminal as _;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::{Agent, Options};
use crate::config::Layers;
use crate::watch::{Notifier, Watch, now_ms};

/// Runs the agent until a signal says stop.
///
/// # Errors
/// When the state folder cannot be used or a thread cannot be started.
pub fn run(layers: &Layers) -> Result<()> {
    let options = Options { embedded: false, keep_pages: std::env::var_os("TACIT_KEEP_PAGES").is_some() };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot wait for signals")?;
    // From here on none of them ends the process by itself.
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new().context("cannot wait for signals")?
    };
    let agent = Agent::start(layers.config.clone(), options)?;
    info!(node = %agent.node(), "The agent runs.");
    let mut watch = Watch::new(agent.pulses(), Notifier::from_environment());
    let reason = runtime.block_on(attend(&agent, layers, &mut watch, &mut signals));
    drop(runtime);
    info!("Stopping.");
    watch.stopping();
    agent.stop(reason);
    Ok(())
}

/// The signals that mean something.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Somebody sat before it when it was started.
    terminal: bool,
}

impl Signals {
    /// To be called inside a runtime.
    fn new() -> std::io::Result<Self> {
        let terminal = std::io::stdin().is_terminal();
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, hangup: hangup?, terminal })
    }

    /// A hang-up is a request to read the configuration again, but for the one that comes when the terminal goes.
    fn is_orphaned(&self) -> bool {
        self.terminal && !std::io::stdin().is_terminal()
    }
}

/// Until it is told to stop; says why.
async fn attend(agent: &Agent, layers: &Layers, watch: &mut Watch, signals: &mut Signals) -> &'static str {
    loop {
        watch.look(now_ms(), || agent.words());
        tokio::select! {
            _ = signals.interrupt.recv() => return "stopped",
            _ = signals.terminate.recv() => return "stopped",
            _ = signals.hangup.recv() => {
                if signals.is_orphaned() {
                    return "stopped";
                }
                reload(agent, layers, watch);
            }
            () = tokio::time::sleep(watch.rhythm()) => {}
        }
    }
}

fn reload(agent: &Agent, layers: &Layers, watch: &mut Watch) {
    watch.reloading();
    let reloaded = match layers.again() {
        Ok(fresh) => agent.reload(&fresh.config),
        Err(error) => Err(agent.refuse(&error.to_string())),
    };
    match reloaded {
        Ok(change) if change.restart.is_empty() => info!("The configuration was read again; {}.", change.words()),
        Ok(change) => warn!("The configuration was read again; {}.", change.words()),
        Err(why) => error!("The configuration is not taken over, and what was in force stays: {why}"),
    }
    watch.reloaded(agent.words());
}
