//! `tacit node …`: who may become a node, and who is one.

use anyhow::{Result, bail};
use serde_json::json;
use tacit_collector::api::identity::{EnrollTokens, Identities, MadeEnrollToken};
use tacit_collector::store::{EnrollToken, NodeKey};

use super::{print, print_json};
use crate::arguments::Ask;
use crate::client::Client;
use crate::identity::{Node, NodeToken};
use crate::output::{duration, now_ms, plain, table, utc};

/// Makes, lists or ends tokens; lists or revokes nodes.
///
/// # Errors
/// When the collector cannot be asked or refuses.
pub fn run(what: &Node) -> Result<()> {
    match what {
        Node::Token(options) => make(options),
        Node::Tokens(ask) => tokens(ask),
        Node::TokenRevoke { id, ask } => {
            let ended: EnrollToken =
                Client::of(ask)?.post(&format!("/enroll-tokens/{}/revoke", part(id)?), &json!({}))?;
            if ask.json { print_json(&ended) } else { print(&format!("Token {} is over.\n", ended.id)) }
        }
        Node::Identities(ask) => identities(ask),
        Node::Revoke { node, reason, ask } => {
            let path = format!("/identities/{}/revoke", part(node)?);
            let revoked: NodeKey = Client::of(ask)?.post(&path, &json!({ "reason": reason }))?;
            if ask.json {
                return print_json(&revoked);
            }
            print(&format!(
                "Node {} is revoked: its connection is cut, its certificate counts no more.\n",
                revoked.node
            ))
        }
    }
}

/// A name as a part of a path. What is none of its letters is said here: the collector could not be asked.
fn part(name: &str) -> Result<&str> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        bail!("{name:?} is no name of a node or number of a token");
    }
    Ok(name)
}

fn make(options: &NodeToken) -> Result<()> {
    let ask = &options.ask;
    let order = json!({
        "site": options.site,
        "uses": options.uses,
        "seconds": options.ttl.as_millis() / 1000,
        "replace": options.replace,
    });
    let made: MadeEnrollToken = Client::of(ask)?.post("/enroll-tokens", &order)?;
    if ask.json {
        return print_json(&made);
    }
    // The token alone is what scripts want.
    print(&format!("{}\n", made.secret))?;
    let nodes =
        if made.token.uses_left == 1 { "one node".to_owned() } else { format!("{} nodes", made.token.uses_left) };
    eprintln!(
        "For {nodes} of the site {}, until {}. On the machine: tacit-agent enroll --collector {} --token-file -",
        made.token.site,
        utc(made.token.expires_ms),
        ask.collector
    );
    Ok(())
}

fn tokens(ask: &Ask) -> Result<()> {
    let answer: EnrollTokens = Client::of(ask)?.get("/enroll-tokens")?;
    if ask.json {
        return print_json(&answer);
    }
    if answer.tokens.is_empty() {
        return print("There is no token to enrol with: tacit node token --site SITE makes one.\n");
    }
    let now = now_ms();
    let row = |t: &EnrollToken| {
        let state = match t.revoked_ms {
            Some(since) => format!("revoked {}", utc(since)),
            None if t.expires_ms <= now => format!("ended {}", utc(t.expires_ms)),
            None if t.uses_left == 0 => "used".to_owned(),
            None => format!("until {} (in {})", utc(t.expires_ms), duration((t.expires_ms - now) / 1000)),
        };
        let replace = if t.replace { "yes" } else { "" };
        let (site, by) = (t.site.to_string(), plain(&t.created_by));
        vec![t.id.clone(), site, t.uses_left.to_string(), replace.to_owned(), by, state]
    };
    let rows: Vec<_> = answer.tokens.iter().map(row).collect();
    print(&table(&["ID", "SITE", "USES LEFT", "REPLACES", "BY", "STATE"], &rows))
}

fn identities(ask: &Ask) -> Result<()> {
    let client = Client::of(ask)?;
    let mut all: Identities = client.get("/identities")?;
    while let Some(after) = all.next.take() {
        let more: Identities = client.get(&format!("/identities?after={after}"))?;
        all.identities.extend(more.identities);
        all.next = more.next;
    }
    if ask.json {
        return print_json(&all);
    }
    if all.identities.is_empty() {
        return print("No node is enrolled: tacit node token --site SITE makes a token for the first.\n");
    }
    let now = now_ms();
    let row = |n: &NodeKey| {
        let state = match (n.revoked_ms, &n.reason) {
            (Some(since), reason) => {
                format!("revoked {}: {}", utc(since), plain(reason.as_deref().unwrap_or_default()))
            }
            (None, _) if n.not_after_ms <= now => "its certificate has ended".to_owned(),
            (None, _) => String::new(),
        };
        vec![n.node.to_string(), n.site.to_string(), utc(n.enrolled_ms), utc(n.not_after_ms), state]
    };
    let rows: Vec<_> = all.identities.iter().map(row).collect();
    print(&table(&["NODE", "SITE", "RENEWED", "CERTIFICATE ENDS", "STATE"], &rows))
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn only_names_go_into_a_path() {
        for good in ["web-1", "0a1b2c3d"] {
            assert!(part(good).is_ok(), "{good}");
        }
        for wrong in ["", "a/b", "Web", "a b", "..", "%2e"] {
            assert!(part(wrong).is_err(), "{wrong:?}");
        }
    }
}
