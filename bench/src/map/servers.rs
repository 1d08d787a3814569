//! Servers from Debian, or stand-ins of ours where they are not wanted.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::center::{Center, Worker};
use super::part::Talk;
use crate::live::process::Process;
use crate::live::undo::run;

/// A server at work: one of Debian's, or ours.
pub enum Server {
    /// A program of Debian.
    Debian(Process),
    /// Ours.
    Own(Worker),
}

impl Server {
    /// Why it ended, when it failed.
    pub fn trouble(&mut self) -> Option<String> {
        match self {
            Self::Debian(process) => process.trouble(),
            Self::Own(worker) => worker.trouble(),
        }
    }
}

/// User and group `nobody` of Debian: PostgreSQL does not run as root.
const NOBODY: &str = "65534";

/// A reverse proxy on `front`, port 80, to `upstream`.
///
/// # Errors
/// When it is not installed or does not start.
pub fn nginx(center: &Center, own: bool, upstream: SocketAddr) -> Result<Server> {
    let (host, unit) = ("front", "nginx.service");
    if own {
        return center.proxy(host, unit, "nginx", 80, upstream, 0).map(Server::Own);
    }
    let program = find("nginx", "nginx-light")?;
    let listen = center.net.socket(host, 80)?;
    let folder = center.folder().join("nginx");
    std::fs::create_dir_all(&folder).context("cannot make a folder for nginx")?;
    let config = format!(
        "daemon off;\nworker_processes 1;\nuser nobody nogroup;\npid {0}/pid;\nerror_log {0}/error.log;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n  access_log off;\n  server {{\n    listen {listen} backlog=1024;\n    \
         location / {{ proxy_pass http://{upstream}; }}\n  }}\n}}\n",
        folder.display()
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).context("cannot write the configuration of nginx")?;
    let mut process = center.start(host, unit, &[&program, "-c", &file.to_string_lossy()])?;
    center.wait_for(host, listen, &mut process)?;
    Ok(Server::Debian(process))
}

/// A cache on `cache`, port 6379, loopback too.
///
/// # Errors
/// When it is not installed or does not start.
pub fn redis(center: &Center, own: bool) -> Result<Server> {
    let (host, unit) = ("cache", "redis-server.service");
    let listen = center.net.socket(host, 6379)?;
    if own {
        return center.serve(host, unit, "redis-server", 6379).map(Server::Own);
    }
    let program = find("redis-server", "redis-server")?;
    let (ip, folder) = (listen.ip().to_string(), center.folder().to_string_lossy().into_owned());
    let words = [
        program.as_str(),
        "--bind",
        &ip,
        "127.0.0.1",
        "--port",
        "6379",
        "--save",
        "",
        "--appendonly",
        "no",
        "--protected-mode",
        "no",
        "--dir",
        &folder,
    ];
    let mut process = center.start(host, unit, &words)?;
    center.wait_for(host, listen, &mut process)?;
    Ok(Server::Debian(process))
}

/// Where the cache is reached on its own host.
///
/// # Errors
/// When there is no such host.
pub fn redis_nearby(center: &Center, own: bool) -> Result<SocketAddr> {
    // Ours listens on one address only.
    if own { center.net.socket("cache", 6379) } else { Ok(SocketAddr::from(([127, 0, 0, 1], 6379))) }
}

/// A database on `db`, port 5432, for sessions of [`Talk::Session`].
///
/// # Errors
/// When it is not installed or does not start.
pub fn postgres(center: &Center) -> Result<Server> {
    let programs = postgres_programs()?;
    let (host, unit) = ("db", "postgresql.service");
    let listen = center.net.socket(host, 5432)?;
    let data = center.folder().join("postgresql");
    std::fs::create_dir_all(&data).context("cannot make a folder for the database")?;
    std::os::unix::fs::chown(&data, Some(65_534), Some(65_534)).context("cannot hand over the database's folder")?;
    let path = data.to_string_lossy().into_owned();
    let initdb = programs.join("initdb").to_string_lossy().into_owned();
    let user = format!("--username={}", super::part::USER);
    // In its own folder: it looks where it is, and may not look where the bench is.
    let script = ["sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh", path.as_str()];
    let words = [initdb.as_str(), &user, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D", &path];
    run(&[&as_nobody()[..], &script, &words].concat()).context("cannot make a database")?;
    let network = format!("host all all {}/16 trust\n", listen.ip());
    let rules = data.join("pg_hba.conf");
    let text = std::fs::read_to_string(&rules).context("a database has rules")?;
    std::fs::write(&rules, text + &network).context("cannot write the database's rules")?;
    let program = programs.join("postgres").to_string_lossy().into_owned();
    let at = format!("listen_addresses={}", listen.ip());
    let settings = ["port=5432", at.as_str(), "unix_socket_directories=", "fsync=off", "shared_buffers=16MB"];
    let settings = settings.iter().flat_map(|s| ["-c", s]);
    let words: Vec<&str> = as_nobody().into_iter().chain([program.as_str(), "-D", &path]).chain(settings).collect();
    let mut process = center.start(host, unit, &words)?;
    center.wait_for(host, listen, &mut process)?;
    Ok(Server::Debian(process))
}

/// Long-lived connections to the database, by its own tool; by ours when that is not there.
///
/// # Errors
/// When it cannot be started.
pub fn pgbench(center: &Center, host: &str, unit: &str, connections: u64, per_s: u64) -> Result<Client> {
    let to = center.net.socket("db", 5432)?;
    let program = postgres_programs()?.join("pgbench");
    let count = connections.to_string();
    if !program.exists() {
        let rate = per_s.to_string();
        let words = ["pool", "--to", &to.to_string(), "--talk", Talk::Session.word(), "--connections", &count];
        return center.part(host, unit, "shop-pool", &[&words[..], &["--per-s", &rate]].concat()).map(Client::Own);
    }
    let script = center.folder().join("query.sql");
    std::fs::write(&script, "select 1;\n").context("cannot write a query")?;
    let rate = (connections * per_s).to_string();
    let (program, script) = (program.to_string_lossy().into_owned(), script.to_string_lossy().into_owned());
    let (ip, port) = (to.ip().to_string(), to.port().to_string());
    let words = [
        program.as_str(),
        "-n",
        "-h",
        &ip,
        "-p",
        &port,
        "-U",
        super::part::USER,
        "-c",
        &count,
        "-R",
        &rate,
        "-T",
        "3600",
        "-f",
        &script,
        "postgres",
    ];
    center.start(host, unit, &words).map(Client::Debian)
}

/// Long-lived connections.
pub enum Client {
    /// Debian's: it opens one more at its start.
    Debian(Process),
    /// Ours.
    Own(Worker),
}

/// The words that run a program as `nobody`.
fn as_nobody() -> [&'static str; 6] {
    // The signal by which it would end with the bench is lost with the user; the control group ends it.
    ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
}

fn find(program: &str, package: &str) -> Result<String> {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found = folders.iter().map(|f| Path::new(f).join(program)).find(|p| p.exists());
    match found {
        Some(path) => Ok(path.to_string_lossy().into_owned()),
        None => bail!("{program} is not installed: Debian has it in {package}; or use --own-servers"),
    }
}

/// The newest PostgreSQL of Debian.
fn postgres_programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = versions.map(|v| v.path().join("bin")).filter(|bin| bin.join("postgres").exists());
    match folders.max() {
        Some(bin) => Ok(bin),
        None => bail!("PostgreSQL is not installed: Debian has it in postgresql; or leave out db with --hosts"),
    }
}
