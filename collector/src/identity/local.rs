//! `tacit ca …`: the authority of the collector on this machine, straight in its folder. A running collector sees what changed within some seconds.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use tacit_wire::NodeId;

use super::LOOK_EVERY;
use super::authority::{self, Authority, day};
use crate::clock::now_ms;
use crate::config::Config;
use crate::store::{IdentityStore as _, SqliteStore};

const DAY_MS: i64 = 86_400_000;
/// Nodes that are read at once, and those that are named.
const PAGE: usize = 1000;
const NAMED: usize = 10;

fn folder(config: &Config) -> PathBuf {
    config.data_dir.join(authority::FOLDER)
}

/// Makes the authority; gives what to print.
///
/// # Errors
/// When there is one, or it cannot be written.
pub fn init(config: &Config) -> Result<String> {
    let data = config.data_dir.display();
    if !config.data_dir.is_dir() {
        bail!("there is no data folder {data}: start the collector once, or name its folder with --data");
    }
    let folder = folder(config);
    let made = Authority::init(&folder, now_ms())?;
    let root = made.newest();
    let next = if config.tls.enabled {
        ""
    } else {
        "Next: [tls] enabled = true in collector.toml, and start the collector again.\n"
    };
    Ok(format!(
        "{} is made, valid until {}; its pin is {}.\nKeep a copy of {}: without its key no node can be enrolled or renewed.\n{next}",
        root.says.name,
        day(root.says.not_after_ms),
        root.pin(),
        folder.display(),
    ))
}

/// Makes a new root; gives what to print.
///
/// # Errors
/// When a rotation is under way, or it cannot be written.
pub fn rotate(config: &Config) -> Result<String> {
    let turned = Authority::rotate(&folder(config), now_ms())?;
    let names: Vec<&str> = turned.roots().iter().map(|root| root.says.name.as_str()).collect();
    let (newest, before) = (names.first().copied().unwrap_or_default(), names.get(1).copied().unwrap_or_default());
    Ok(format!(
        "{newest} issues from now on; {before} is trusted until `tacit ca retire`.\n\
         Each node gets the new root when it renews its certificate, within {} days. Keep a copy of {}.\n",
        config.identity.node_days,
        folder(config).display(),
    ))
}

/// Ends the trust in the root before the newest; gives what to print. Nodes that know only that one stop it, unless it is forced.
///
/// # Errors
/// When there is one root only, or nodes would be shut out.
pub fn retire(config: &Config, is_forced: bool) -> Result<String> {
    let authority = Authority::load(&folder(config))?;
    let behind = behind(config, &authority)?;
    if !behind.is_empty() && !is_forced {
        bail!(
            "{} would be shut out, as they have not renewed since the rotation: {}. Wait until they have, revoke those that are gone, or use --force",
            count(behind.len()),
            some(&behind),
        );
    }
    let left = Authority::retire(&folder(config))?;
    let lost = if behind.is_empty() {
        String::new()
    } else {
        format!(" {} shut out until they are enrolled again: {}.", count(behind.len()), some(&behind))
    };
    Ok(format!("Only {} is trusted now.{lost}\n", left.newest().says.name))
}

/// What there is, for people.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn show(config: &Config) -> Result<String> {
    let authority = Authority::load(&folder(config))?;
    let mut text = String::new();
    for (n, root) in authority.roots().iter().enumerate() {
        let role = if n == 0 { "issues" } else { "is trusted until `tacit ca retire`" };
        let (from, to) = (day(root.says.not_before_ms), day(root.says.not_after_ms));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {role}\n  pin    {}\n  valid  {from} to {to}", root.says.name, root.pin());
    }
    let _ = writeln!(text, "in {}", folder(config).display());
    let behind = behind(config, &authority)?;
    if !behind.is_empty() {
        let _ = writeln!(text, "{} not renewed since the rotation: {}", count(behind.len()), some(&behind));
    }
    Ok(text)
}

/// The roots that are trusted, as PEM.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn pem(config: &Config) -> Result<String> {
    let authority = Authority::load(&folder(config))?;
    Ok(authority.roots().iter().map(|root| root.pem.as_str()).collect())
}

/// Nodes that have nothing of the newest root, and could still renew.
fn behind(config: &Config, authority: &Authority) -> Result<Vec<NodeId>> {
    let file = config.data_dir.join("tacit.db");
    if authority.roots().len() < 2 || !file.exists() {
        return Ok(Vec::new());
    }
    // A collector that has not yet seen the new root issues by the old one; and a second look may fail once.
    let seen_ms = i64::try_from(LOOK_EVERY.as_millis()).unwrap_or(i64::MAX).saturating_mul(2);
    let (since_ms, now) = (authority.newest().made_ms().saturating_add(seen_ms), now_ms());
    let grace_ms = i64::from(config.identity.grace_days) * DAY_MS;
    let store = SqliteStore::open(&file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut found = Vec::new();
        let mut after: Option<NodeId> = None;
        loop {
            let nodes = store.node_keys(after.as_ref(), PAGE).await?;
            let Some(last) = nodes.last() else { return Ok::<_, anyhow::Error>(found) };
            after = Some(last.node.clone());
            let lives = |not_after_ms: i64| now <= not_after_ms.saturating_add(grace_ms);
            let old = nodes
                .into_iter()
                .filter(|n| n.revoked_ms.is_none() && n.enrolled_ms < since_ms && lives(n.not_after_ms));
            found.extend(old.map(|n| n.node));
        }
    })
}

fn count(nodes: usize) -> String {
    if nodes == 1 { "1 node".into() } else { format!("{nodes} nodes") }
}

fn some(nodes: &[NodeId]) -> String {
    let names: Vec<&str> = nodes.iter().take(NAMED).map(NodeId::as_str).collect();
    let more = nodes.len().saturating_sub(NAMED);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    names.join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{EnrollToken, NodeKey};

    fn config(folder: &std::path::Path) -> Config {
        Config { data_dir: folder.to_owned(), ..Config::default() }
    }

    /// Puts a node on record that was enrolled at a time.
    fn enrolled(config: &Config, name: &str, enrolled_ms: i64) {
        let store = SqliteStore::open(&config.data_dir.join("tacit.db")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let token = EnrollToken {
            id: "00000001".into(),
            site: "lab".parse().unwrap(),
            uses_left: 100,
            created_ms: 1,
            expires_ms: i64::MAX,
            created_by: "ana".into(),
            revoked_ms: None,
            replace: false,
        };
        let node = NodeKey {
            node: name.parse().unwrap(),
            site: "lab".parse().unwrap(),
            key: [1; 32],
            serial: "01".into(),
            not_after_ms: now_ms() + DAY_MS,
            enrolled_ms,
            revoked_ms: None,
            reason: None,
        };
        runtime.block_on(async {
            // It is there from the second time on.
            let _ = store.add_enroll_token(token, [1; 32]).await;
            store.enroll("00000001", node, now_ms()).await.unwrap();
        });
    }

    #[test]
    fn a_life_of_an_authority() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        assert!(show(&config).unwrap_err().to_string().contains("`tacit ca init` makes one"));
        let made = init(&config).unwrap();
        assert!(made.starts_with("Tacit root ") && made.contains("Next: [tls] enabled = true"), "{made}");
        assert!(init(&config).unwrap_err().to_string().contains("already"));
        assert_eq!(pem(&config).unwrap().matches("BEGIN CERTIFICATE").count(), 1);
        enrolled(&config, "web-1", now_ms() - DAY_MS);

        let turned = rotate(&config).unwrap();
        assert!(turned.contains("issues from now on") && turned.contains("within 90 days"), "{turned}");
        assert_eq!(pem(&config).unwrap().matches("BEGIN CERTIFICATE").count(), 2);
        enrolled(&config, "web-2", now_ms() + 60_000);
        let shown = show(&config).unwrap();
        assert!(
            shown.contains(" issues\n") && shown.contains("1 node not renewed since the rotation: web-1"),
            "{shown}"
        );
        let why = retire(&config, false).unwrap_err().to_string();
        assert!(
            why.starts_with("1 node would be shut out") && why.contains(": web-1.") && why.contains("--force"),
            "{why}"
        );
        let left = retire(&config, true).unwrap();
        assert!(left.starts_with("Only Tacit root ") && left.contains("1 node shut out"), "{left}");
        assert_eq!(pem(&config).unwrap().matches("BEGIN CERTIFICATE").count(), 1);
        assert!(retire(&config, false).is_err());
    }

    #[test]
    fn a_folder_that_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let why = init(&config(&folder.path().join("nowhere"))).unwrap_err().to_string();
        assert!(why.contains("there is no data folder") && why.contains("--data"), "{why}");
    }

    #[test]
    fn many_nodes_are_not_all_named() {
        let nodes: Vec<NodeId> = (0..12).map(|n| format!("n-{n}").parse().unwrap()).collect();
        assert!(some(&nodes).ends_with("n-9 and 2 more"));
        assert_eq!(
            (some(&nodes[..2]).as_str(), count(1).as_str(), count(2).as_str()),
            ("n-0, n-1", "1 node", "2 nodes")
        );
    }
}
