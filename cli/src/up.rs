//! `tacit up`: collector, console and an agent for this machine, in one process.

use std::io::{IsTerminal as _, Write as _};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tacit_agent::config::Config as AgentConfig;
use tacit_agent::supervisor::{Agent, Options, Status};
use tacit_collector::Collector;
use tacit_collector::config::Config as CollectorConfig;
use tacit_wire::Encoding;
use tacit_wire::message::Stage;

use crate::arguments::Up;
use crate::fault;

/// Distance of status lines on a terminal, and where nobody watches.
const LINE_EVERY: Duration = Duration::from_secs(1);
const LOG_LINE_EVERY: Duration = Duration::from_secs(60);
/// How long the injected fault lasts.
const FAULT_SECONDS: u64 = 45;
/// Points learned before a fault is injected.
const FAULT_AFTER_POINTS: u64 = 75;
/// The summary of what is watched waits for the first measurement of own cost, but not longer.
const SUMMARY_AFTER: Duration = Duration::from_secs(12);

/// Runs until Ctrl-C or a request to end.
///
/// # Errors
/// When a port is taken, the folder cannot be used, or another Tacit has it.
pub fn run(options: &Up) -> Result<()> {
    let level = options
        .log
        .parse()
        .with_context(|| format!("--log {:?}: allowed are error, warn, info, debug, trace", options.log))?;
    tacit_collector::cli::start_logging(level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let collector_config = CollectorConfig {
        data_dir: options.data.join("collector"),
        mqtt: tacit_collector::config::Mqtt {
            listen: options.mqtt,
            external: options.broker.clone(),
            ..Default::default()
        },
        http: tacit_collector::config::Http { listen: options.http },
        ..CollectorConfig::default()
    };
    let collector = runtime.block_on(Collector::start(&collector_config))?;
    let broker = match (&options.broker, collector.mqtt_address()) {
        (Some(external), _) => String::from(external.clone()),
        (None, address) => format!("mqtt://{}", address.context("the embedded broker has no address")?),
    };
    let agent = match Agent::start(agent_config(options, broker), Options { embedded: true, keep_pages: true }) {
        Ok(agent) => agent,
        Err(error) => {
            runtime.block_on(collector.stop());
            return Err(error);
        }
    };
    println!("Tacit is up: http://{}", collector.http_address());
    println!("watching this machine as {}; everything is kept in {}", agent.node(), options.data.display());

    let mut screen = Screen::new(options);
    let stopped = runtime.block_on(async {
        let stop = tacit_collector::cli::stop_signal();
        tokio::pin!(stop);
        let mut clock = tokio::time::interval(LINE_EVERY);
        loop {
            tokio::select! {
                stopped = &mut stop => break stopped,
                _ = clock.tick() => screen.tick(&agent),
            }
        }
    });
    screen.end();
    println!("Stopping.");
    drop(screen);
    agent.stop("stopped");
    runtime.block_on(collector.stop());
    stopped.context("cannot wait for signals")
}

fn agent_config(options: &Up, broker: String) -> AgentConfig {
    let mut config = AgentConfig::default();
    config.node.data_dir = options.data.join("agent");
    config.publish.broker = broker;
    config.publish.encoding = if options.encoding == "json" { Encoding::Json } else { Encoding::Cbor };
    config
}

/// What is printed, and the fault of `--try`.
struct Screen {
    began: Instant,
    told: bool,
    line_at: Option<Instant>,
    terminal: bool,
    try_fault: bool,
    fault: Option<(Child, Instant)>,
}

impl Screen {
    fn new(options: &Up) -> Self {
        Self {
            began: Instant::now(),
            told: false,
            line_at: None,
            terminal: std::io::stdout().is_terminal(),
            try_fault: options.try_fault,
            fault: None,
        }
    }

    fn tick(&mut self, agent: &Agent) {
        let status = agent.status();
        let measured = status.cost.pss > 0 || self.began.elapsed() >= SUMMARY_AFTER;
        if !self.told && measured && status.sampler.series > 0 {
            self.told = true;
            self.summary(&status);
        }
        self.follow_fault(agent, &status);
        let every = if self.terminal { LINE_EVERY } else { LOG_LINE_EVERY };
        if self.told && self.line_at.is_none_or(|at| at.elapsed() >= every) {
            self.line_at = Some(Instant::now());
            self.line(&status);
        }
    }

    fn summary(&self, status: &Status) {
        println!("{} series sampled each second", status.sampler.series);
        for absent in &status.sampler.absent {
            println!("  without {}: {}", absent.source, absent.reason);
        }
        println!("this process, collector included: {}", cost(status));
        if !self.try_fault {
            println!(
                "to see an incident: tacit up --try injects a bounded, reversible cpu and memory fault of its own"
            );
        }
        println!("Ctrl-C stops.");
    }

    fn line(&self, status: &Status) {
        let a = &status.analysis;
        let learned = match a.stage {
            Stage::Learning => format!("learning, {} of 60 samples", a.points.min(60)),
            stage => format!("model in force, stage {stage}, {} samples learned", a.points),
        };
        let verdict = match a.open_events {
            0 => "all quiet".to_owned(),
            1 => "1 event open".to_owned(),
            n => format!("{n} events open"),
        };
        let line = format!("{verdict} · {} series · {learned} · {}", status.sampler.series, cost(status));
        if self.terminal {
            print!("\r\x1b[2K{line}");
            // A terminal that went away is found out elsewhere.
            let _ = std::io::stdout().flush();
        } else {
            println!("{line}");
        }
    }

    /// Ends the status line.
    fn end(&self) {
        if self.terminal && self.line_at.is_some() {
            println!();
        }
    }

    fn follow_fault(&mut self, agent: &Agent, status: &Status) {
        if let Some((child, began)) = &mut self.fault {
            let over = child.try_wait().is_ok_and(|ended| ended.is_some());
            // What it set off may be told a little later.
            if over && began.elapsed() > Duration::from_secs(FAULT_SECONDS + 30) {
                agent.mark_injected(false);
                self.fault = None;
                self.end();
                println!("The injected fault is over.");
            }
            return;
        }
        if !self.try_fault || status.analysis.points < FAULT_AFTER_POINTS || status.analysis.stage == Stage::Learning {
            return;
        }
        self.try_fault = false;
        self.end();
        match fault::start(FAULT_SECONDS) {
            Ok(child) => {
                println!(
                    "Injecting a fault for {FAULT_SECONDS} s: all cores busy and some memory held by process {}.",
                    child.id()
                );
                agent.mark_injected(true);
                self.fault = Some((child, Instant::now()));
            }
            Err(error) => eprintln!("tacit: cannot inject the fault: {error:#}"),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.fault {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn cost(status: &Status) -> String {
    let c = &status.cost;
    let share = c.cpu.get().map_or("–".to_owned(), |cpu| format!("{:.2} %", cpu * 100.0));
    let sent = c.sent.get().map_or("–".to_owned(), |sent| format!("{sent:.1}"));
    format!("{share} of a core, {:.0} MB, {sent} B/s sent", c.pss as f64 / 1e6)
}
