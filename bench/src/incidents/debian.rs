//! Redis and PostgreSQL of Debian on hosts of the shop.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::place::ground::Ground;
use super::place::hosts::Host;
use crate::live::process::Process;
use crate::live::undo::run;
use crate::map::part::USER;

/// User and group `nobody` of Debian: PostgreSQL does not run as root.
const NOBODY: u32 = 65_534;
/// Connections that the database has.
pub const CONNECTIONS: u64 = 30;

/// A cache that writes everything to `folder` before it confirms it.
///
/// # Errors
/// When it does not start.
pub fn redis(ground: &Ground, host: &Host, program: &Path, folder: &Path) -> Result<Process> {
    let at = ground.net.socket(host.name, host.port())?;
    let [program, folder] = [program, folder].map(|path| path.to_string_lossy().into_owned());
    let (ip, port) = (at.ip().to_string(), at.port().to_string());
    let words = [program.as_str(), "--bind", &ip, "127.0.0.1", "--port", &port, "--protected-mode", "no"];
    let keeps = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec", "--dir", &folder];
    let words = [&words[..], &keeps].concat();
    let mut process = ground.start(host.name, host.unit(&ground.programs), &words)?;
    ground.wait_for(at, &mut process)?;
    Ok(process)
}

/// A database with few connections; `programs` is the folder of its programs. It is made when it is not there.
///
/// # Errors
/// When it cannot be made or does not start.
pub fn postgres(ground: &Ground, host: &Host, programs: &Path) -> Result<Process> {
    let at = ground.net.socket(host.name, host.port())?;
    let data = ground.folder.join("postgresql");
    if !data.join("PG_VERSION").exists() {
        make_database(&data, programs, &format!("host all all {}/16 trust\n", at.ip()))?;
    }
    let program = programs.join("postgres").to_string_lossy().into_owned();
    let (ip, port) = (format!("listen_addresses={}", at.ip()), format!("port={}", at.port()));
    let most = format!("max_connections={CONNECTIONS}");
    let settings = [ip.as_str(), &port, &most, "unix_socket_directories=", "fsync=off", "shared_buffers=16MB"];
    let (nobody, path) = (as_nobody(), data.to_string_lossy().into_owned());
    let settings = settings.into_iter().flat_map(|s| ["-c", s]);
    let words: Vec<&str> =
        nobody.iter().map(String::as_str).chain([program.as_str(), "-D", &path]).chain(settings).collect();
    let mut process = ground.start(host.name, host.unit(&ground.programs), &words)?;
    ground.wait_for(at, &mut process)?;
    Ok(process)
}

fn make_database(data: &Path, programs: &Path, network: &str) -> Result<()> {
    std::fs::create_dir_all(data).context("cannot make a folder for the database")?;
    std::os::unix::fs::chown(data, Some(NOBODY), Some(NOBODY)).context("cannot hand over the database's folder")?;
    let path = data.to_string_lossy().into_owned();
    let initdb = programs.join("initdb").to_string_lossy().into_owned();
    let user = format!("--username={USER}");
    // In its own folder: it looks where it is, and may not look where the bench is.
    let script = ["sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh", path.as_str()];
    let words = [initdb.as_str(), &user, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "-D", &path];
    let nobody = as_nobody();
    let nobody: Vec<&str> = nobody.iter().map(String::as_str).collect();
    run(&[&nobody[..], &script, &words].concat()).context("cannot make a database")?;
    let rules = data.join("pg_hba.conf");
    let text = std::fs::read_to_string(&rules).context("a database has rules")?;
    std::fs::write(&rules, text + network).context("cannot write the database's rules")
}

/// The words that run a program as `nobody`. The signal by which it would end with the bench is lost with the user; the control group
/// ends it.
fn as_nobody() -> [String; 6] {
    let [user, group] = [NOBODY, NOBODY].map(|id| id.to_string());
    ["setpriv".into(), "--reuid".into(), user, "--regid".into(), group, "--clear-groups".into()]
}

/// A report that keeps the database's processor busy for as long as it runs.
pub const REPORT: &str = "select count(*) from (select generate_series(1, 2000000000)) report";
/// Ends all reports: the database does not see by itself that who asked for them is gone.
pub const END_REPORTS: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
     where query like '%) report' and pid <> pg_backend_pid()";

/// The words of a session of the database with one query.
///
/// # Errors
/// When there is no such host.
pub fn session(ground: &Ground, host: &Host, programs: &Path, query: &str) -> Result<Vec<String>> {
    let at = ground.net.socket(host.name, host.port())?;
    let program = programs.join("psql").to_string_lossy().into_owned();
    let (ip, port) = (at.ip().to_string(), at.port().to_string());
    let words = ["--host", &ip, "--port", &port, "--username", USER, "--command", query, "postgres"];
    Ok([program].into_iter().chain(words.map(ToOwned::to_owned)).collect())
}
