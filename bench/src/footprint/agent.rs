//! The agent under measurement: its own process, a collector inside this one, and the counting proxy between them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tacit_collector::Collector;
use tacit_collector::config::{Config, Http, Mqtt};

use super::process;
use super::proxy::{self, Counts};
use super::report::{Row, median};

/// Longest wait for the first message.
const FIRST_MESSAGE: Duration = Duration::from_secs(30);

/// A running agent.
pub struct AgentRun {
    name: String,
    binary: PathBuf,
    child: Child,
    counts: Arc<Counts>,
    start_cpu: f64,
    began: Option<Mark>,
    pss: Vec<u64>,
    anonymous: Vec<u64>,
    runtime: tokio::runtime::Runtime,
    collector: Option<Collector>,
}

/// Readings at the start of the measured time.
struct Mark {
    at: Instant,
    cpu: f64,
    threads: BTreeMap<String, f64>,
    writes: u64,
    payload: u64,
    ip: u64,
}

impl AgentRun {
    /// Starts a collector, a proxy and the agent, and waits for its first message.
    ///
    /// # Errors
    /// When something cannot be started, or no message comes.
    pub fn start(binary: &Path, drop_pages: bool, folder: &Path) -> Result<Self> {
        let profile =
            binary.parent().and_then(Path::file_name).map_or_else(String::new, |p| p.to_string_lossy().into_owned());
        let pages = if drop_pages { "" } else { ", pages kept" };
        let name = format!("tacit-agent ({profile}, {}{pages})", process::libc_of(binary));
        let own = folder.join(format!("agent-{:08x}", fastrand_like()));
        fs::create_dir_all(&own).context("cannot make a folder for the agent")?;

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            data_dir: own.join("collector"),
            mqtt: Mqtt { listen: local, ..Mqtt::default() },
            http: Http { listen: local },
            ..Config::default()
        };
        let collector = runtime.block_on(Collector::start(&config)).context("cannot start a collector")?;
        let broker = collector.mqtt_address().context("the broker has no address")?;
        let (address, counts) = proxy::start(broker)?;

        let file = own.join("agent.toml");
        fs::write(
            &file,
            format!("[publish]\nbroker = \"mqtt://{address}\"\n[node]\nid = \"bench-{}\"\n", std::process::id()),
        )?;
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(&file).arg("--data").arg(own.join("state"));
        command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(own.join("log")).context("cannot make a log file")?);
        if !drop_pages {
            command.env("TACIT_KEEP_PAGES", "1");
        }
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let mut run = Self {
            name,
            binary: binary.to_owned(),
            child,
            counts,
            start_cpu: 0.0,
            began: None,
            pss: Vec::new(),
            anonymous: Vec::new(),
            runtime,
            collector: Some(collector),
        };
        let deadline = Instant::now() + FIRST_MESSAGE;
        while run.counts.messages.load(Relaxed) == 0 {
            if Instant::now() > deadline {
                bail!(
                    "{} sent nothing within {} s; its log: {}",
                    run.name,
                    FIRST_MESSAGE.as_secs(),
                    fs::read_to_string(own.join("log")).unwrap_or_default()
                );
            }
            sleep(Duration::from_millis(20));
        }
        run.start_cpu = process::threads(run.child.id()).values().sum();
        Ok(run)
    }

    /// Starts the measured time.
    pub fn begin(&mut self) {
        let pid = self.child.id();
        self.began = Some(Mark {
            at: Instant::now(),
            cpu: process::cpu_seconds(pid),
            threads: process::threads(pid),
            writes: process::disk_writes(pid),
            payload: self.counts.payload.load(Relaxed),
            ip: self.counts.ip_bytes(),
        });
        self.pss.clear();
        self.anonymous.clear();
    }

    /// Takes a memory reading.
    ///
    /// # Errors
    /// When the agent died.
    pub fn observe(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot ask for the agent's state")? {
            bail!("{} ended by itself ({status})", self.name);
        }
        let memory = process::memory(self.child.id());
        self.pss.push(memory.pss);
        self.anonymous.push(memory.anonymous);
        Ok(())
    }

    /// Ends the agent and gives its row.
    ///
    /// # Errors
    /// When it was never begun.
    pub fn finish(mut self) -> Result<Row> {
        let before = self.began.take().context("begin() comes first")?;
        let pid = self.child.id();
        let seconds = before.at.elapsed().as_secs_f64();
        let minutes = seconds / 60.0;
        let cpu_by_part: BTreeMap<String, f64> = process::threads(pid)
            .into_iter()
            .map(|(name, cpu)| {
                let earlier = before.threads.get(&name).copied().unwrap_or(0.0);
                (name, (cpu - earlier).max(0.0) / minutes)
            })
            .collect();
        // Threads that ended are in the process's own count only, which is coarse: the larger of both is the truth.
        let whole = (process::cpu_seconds(pid) - before.cpu) / minutes;
        let by_thread: f64 = cpu_by_part.values().sum();
        let nodes = self
            .collector
            .as_ref()
            .map(|c| self.runtime.block_on(c.store().nodes(None, 10)))
            .transpose()?
            .unwrap_or_default();
        let series = nodes.first().map_or(0, |n| n.report.as_ref().map_or(n.birth.series, |r| r.series));
        Ok(Row {
            name: self.name.clone(),
            cpu_s_per_min: if whole > by_thread * 1.2 { whole } else { by_thread },
            cpu_by_part,
            start_cpu_s: Some(self.start_cpu),
            pss: median(&mut self.pss),
            anonymous: median(&mut self.anonymous),
            peak: process::peak(pid),
            payload_per_s: Some((self.counts.payload.load(Relaxed) - before.payload) as f64 / seconds),
            ip_per_s: Some((self.counts.ip_bytes() - before.ip) as f64 / seconds),
            disk_per_s: (process::disk_writes(pid).saturating_sub(before.writes)) as f64 / seconds,
            series: u64::from(series),
            binary: fs::metadata(&self.binary).map_or(0, |m| m.len()),
        })
    }
}

/// A number for a folder's name; only its being different matters.
fn fastrand_like() -> u32 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish() as u32
}

impl Drop for AgentRun {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
        if let Some(collector) = self.collector.take() {
            self.runtime.block_on(collector.stop());
        }
    }
}
