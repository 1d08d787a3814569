//! Other agents, as Debian packages them, at one sample a second on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::process;
use super::report::{Row, median};

/// A running peer.
#[derive(Debug)]
pub struct PeerRun {
    name: String,
    child: Child,
    binary: &'static str,
    traffic: Arc<Traffic>,
    began: Option<(Instant, BTreeMap<String, f64>, u64, u64)>,
    pss: Vec<u64>,
    anonymous: Vec<u64>,
    peak: u64,
}

/// What the peer's consumer saw.
#[derive(Debug, Default)]
struct Traffic {
    bytes: AtomicU64,
    series: AtomicU64,
    stop: AtomicBool,
}

impl PeerRun {
    /// Starts a peer and the consumer that reads it each second.
    ///
    /// # Errors
    /// When the name is unknown or the program is not installed.
    pub fn start(name: &str, folder: &Path) -> Result<Self> {
        let traffic = Arc::new(Traffic::default());
        let port = free_port()?;
        let (binary, mut command) = match name {
            "node_exporter" => {
                let binary = "/usr/bin/prometheus-node-exporter";
                let mut command = Command::new(binary);
                command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
                scrape(format!("http://127.0.0.1:{port}/metrics"), Duration::from_secs(1), Arc::clone(&traffic));
                (binary, command)
            }
            "netdata" => {
                let binary = "/usr/sbin/netdata";
                let mut command = Command::new(binary);
                command.args(["-D", "-c"]).arg(netdata_config(folder, port)?).env("DISABLE_TELEMETRY", "1");
                // Reading it costs it much more than running: once a minute only counts its series.
                let url = format!("http://127.0.0.1:{port}/api/v1/allmetrics?format=prometheus&help=no&types=no");
                scrape(url, Duration::from_secs(60), Arc::clone(&traffic));
                (binary, command)
            }
            "collectd" => {
                let binary = "/usr/sbin/collectd";
                let mut command = Command::new(binary);
                command.args(["-f", "-C"]).arg(collectd_config(folder, port)?);
                drain_udp(port, Arc::clone(&traffic))?;
                (binary, command)
            }
            _ => bail!("unknown peer {name:?}: known are node_exporter, netdata, collectd"),
        };
        if !Path::new(binary).exists() {
            bail!("{binary} is not installed (apt-get install prometheus-node-exporter netdata-core collectd-core)");
        }
        let log = fs::File::create(folder.join(format!("{name}.log"))).context("cannot make a log file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {binary}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            binary,
            traffic,
            began: None,
            pss: Vec::new(),
            anonymous: Vec::new(),
            peak: 0,
        })
    }

    /// Starts the measured time.
    pub fn begin(&mut self) {
        let pid = self.child.id();
        self.began = Some((Instant::now(), cpu_by_name(pid), writes(pid), self.traffic.bytes.load(Relaxed)));
        self.pss.clear();
        self.anonymous.clear();
    }

    /// Takes a memory reading.
    ///
    /// # Errors
    /// When the peer died.
    pub fn observe(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot ask for the peer's state")? {
            bail!("{} ended by itself ({status})", self.name);
        }
        let tree = process::tree(self.child.id());
        let memory = tree.iter().map(|pid| process::memory(*pid)).fold(process::Memory::default(), |a, b| a + b);
        self.pss.push(memory.pss);
        self.anonymous.push(memory.anonymous);
        self.peak = self.peak.max(memory.resident);
        Ok(())
    }

    /// Ends the peer and gives its row.
    ///
    /// # Errors
    /// When it was never begun.
    pub fn finish(mut self) -> Result<Row> {
        let (then, cpu_before, writes_before, bytes_before) = self.began.take().context("begin() comes first")?;
        let pid = self.child.id();
        let minutes = then.elapsed().as_secs_f64() / 60.0;
        let cpu_by_part: BTreeMap<String, f64> = cpu_by_name(pid)
            .into_iter()
            .map(|(name, cpu)| {
                let before = cpu_before.get(&name).copied().unwrap_or(0.0);
                (name, (cpu - before).max(0.0) / minutes)
            })
            .collect();
        let sent = (self.traffic.bytes.load(Relaxed) - bytes_before) as f64 / (minutes * 60.0);
        Ok(Row {
            name: self.name.clone(),
            cpu_s_per_min: cpu_by_part.values().sum(),
            cpu_by_part,
            start_cpu_s: None,
            pss: median(&mut self.pss),
            anonymous: median(&mut self.anonymous),
            peak: self.peak,
            // Netdata is only asked for its series, it does not send them: no figure.
            payload_per_s: (self.name != "netdata").then_some(sent),
            ip_per_s: None,
            disk_per_s: (writes(pid).saturating_sub(writes_before)) as f64 / (minutes * 60.0),
            series: self.traffic.series.load(Relaxed),
            binary: fs::metadata(self.binary).map_or(0, |m| m.len()),
        })
    }
}

impl Drop for PeerRun {
    fn drop(&mut self) {
        self.traffic.stop.store(true, Relaxed);
        for pid in process::tree(self.child.id()).into_iter().rev() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                // It may have ended meanwhile.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        let _ = self.child.wait();
    }
}

fn cpu_by_name(root: u32) -> BTreeMap<String, f64> {
    let mut by_name = BTreeMap::new();
    for pid in process::tree(root) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
        *by_name.entry(name).or_insert(0.0) += process::cpu_seconds(pid);
    }
    by_name
}

fn writes(root: u32) -> u64 {
    process::tree(root).into_iter().map(process::disk_writes).sum()
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr().context("the port has no address")?.port())
}

/// Reads an exposition page at a fixed distance and counts its bytes and series.
fn scrape(url: String, every: Duration, traffic: Arc<Traffic>) {
    thread::spawn(move || {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().into();
        let mut next = Instant::now() + Duration::from_secs(3);
        while !traffic.stop.load(Relaxed) {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += every;
            let Ok(mut answer) = agent.get(&url).call() else { continue };
            if let Ok(text) = answer.body_mut().read_to_string() {
                traffic.bytes.fetch_add(text.len() as u64, Relaxed);
                let series = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).count();
                traffic.series.store(series as u64, Relaxed);
            }
        }
    });
}

/// Receives collectd's UDP packets and counts them; each value part (type 0x0006) tells how many series it has.
fn drain_udp(port: u16, traffic: Arc<Traffic>) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).context("cannot bind a port for collectd")?;
    socket.set_read_timeout(Some(Duration::from_secs(1))).context("cannot set a timeout")?;
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        let (mut values, mut since) = (0, Instant::now());
        while !traffic.stop.load(Relaxed) {
            if let Ok(n) = socket.recv(&mut buffer) {
                traffic.bytes.fetch_add(n as u64, Relaxed);
                values += values_in(&buffer[..n]);
            }
            if since.elapsed() >= Duration::from_secs(10) {
                traffic.series.store(values / 10, Relaxed);
                (values, since) = (0, Instant::now());
            }
        }
    });
    Ok(())
}

fn values_in(mut packet: &[u8]) -> u64 {
    let mut values = 0;
    while let [a, b, c, d, ..] = *packet {
        let (kind, length) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        if kind == 6 && packet.len() >= 6 {
            values += u64::from(u16::from_be_bytes([packet[4], packet[5]]));
        }
        match packet.get(length.max(4)..) {
            Some(rest) => packet = rest,
            None => break,
        }
    }
    values
}

fn netdata_config(folder: &Path, port: u16) -> Result<std::path::PathBuf> {
    let base = folder.join("netdata");
    for part in ["etc", "cache", "lib", "log"] {
        fs::create_dir_all(base.join(part)).context("cannot make netdata's folders")?;
    }
    fs::write(base.join("etc/.opt-out-from-anonymous-statistics"), "").context("cannot write netdata's folder")?;
    let d = base.display();
    let text = format!(
        "[global]\n run as user = root\n update every = 1\n[directories]\n config = {d}/etc\n cache = {d}/cache\n lib = {d}/lib\n \
         log = {d}/log\n[web]\n bind to = 127.0.0.1\n default port = {port}\n web files owner = root\n web files group = root\n\
         [cloud]\n enabled = no\n[registry]\n enabled = no\n registry to announce = http://127.0.0.1:{port}\n[statsd]\n enabled = no\n"
    );
    let path = base.join("netdata.conf");
    fs::write(&path, text).context("cannot write netdata's configuration")?;
    Ok(path)
}

fn collectd_config(folder: &Path, port: u16) -> Result<std::path::PathBuf> {
    let base = folder.join("collectd");
    fs::create_dir_all(&base).context("cannot make collectd's folder")?;
    let d = base.display();
    let mut text = format!(
        "Hostname \"edge\"\nFQDNLookup false\nBaseDir \"{d}\"\nPIDFile \"{d}/pid\"\nPluginDir \"/usr/lib/collectd\"\n\
         TypesDB \"/usr/share/collectd/types.db\"\nInterval 1\n"
    );
    let plugins = "cpu contextswitch df disk entropy interface irq load memory processes protocols swap tcpconns thermal uptime vmem network";
    for plugin in plugins.split(' ') {
        text.push_str(&format!("LoadPlugin {plugin}\n"));
    }
    text.push_str(&format!("<Plugin network>\n Server \"127.0.0.1\" \"{port}\"\n</Plugin>\n<Plugin tcpconns>\n AllPortsSummary true\n</Plugin>\n"));
    let path = base.join("collectd.conf");
    fs::write(&path, text).context("cannot write collectd's configuration")?;
    Ok(path)
}
