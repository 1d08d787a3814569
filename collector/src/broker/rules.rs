//! Who may publish and read what.
//!
//! A client whose id is a valid node id is that node: it publishes as itself and reads what is for it. Every other client
//! (`mosquitto_sub`, `tacit tail`, Node-RED with an upper-case id) is a tool: it reads everything and publishes nothing. Without TLS a client is who it
//! says it is; with TLS a node is who its certificate says, in the site that its certificate says, and a tool signs in as a user.

use tacit_wire::{NodeId, SiteId, Topic};

/// Whether `client` may publish to `topic`.
pub fn may_publish(client: &str, topic: &str) -> bool {
    matches!(topic.parse(), Ok(Topic::Up(_, node, _)) if node.as_str() == client)
}

/// Whether `client` may subscribe to `filter`.
pub fn may_subscribe(client: &str, filter: &str) -> bool {
    if client.parse::<NodeId>().is_err() {
        return may_tool_subscribe(filter);
    }
    match shared(filter).as_slice() {
        ["tacit", "1", _, "d", node, what] => *node == client && *what != "#",
        ["tacit", "1", _, "g", _, "config" | "+"] | ["tacit", "1", _, "c", "status"] => true,
        _ => false,
    }
}

/// Whether a node of a site, known by its certificate, may publish to `topic`.
pub fn may_node_publish(site: &SiteId, node: &NodeId, topic: &str) -> bool {
    matches!(topic.parse(), Ok(Topic::Up(of, by, _)) if of == *site && by == *node)
}

/// Whether a node of a site, known by its certificate, may subscribe to `filter`. It may share nothing: a share takes messages away from others.
pub fn may_node_subscribe(site: &SiteId, node: &NodeId, filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    let ["tacit", "1", of, what @ ..] = levels.as_slice() else { return false };
    if *of != site.as_str() {
        return false;
    }
    match what {
        ["d", to, what] => *to == node.as_str() && *what != "#",
        ["g", group, "config" | "+"] => *group != "#",
        ["c", "status"] => true,
        _ => false,
    }
}

/// Whether a tool may subscribe to `filter`.
pub fn may_tool_subscribe(filter: &str) -> bool {
    matches!(shared(filter).as_slice(), ["tacit", "1", _, ..])
}

/// The levels of a filter, without the share that it may be read in.
fn shared(filter: &str) -> Vec<&str> {
    let filter = filter.strip_prefix("$share/").and_then(|f| Some(f.split_once('/')?.1)).unwrap_or(filter);
    filter.split('/').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_one_node_of_one_site() {
        let (site, node) = ("lab".parse().unwrap(), "web-1".parse().unwrap());
        assert!(may_node_publish(&site, &node, "tacit/1/lab/u/web-1/event"));
        for topic in [
            "tacit/1/home/u/web-1/event",
            "tacit/1/lab/u/web-2/event",
            "tacit/1/lab/u/web-10/event",
            "tacit/1/lab/u/web-1/event/x",
            "tacit/1/lab/u/web-1/x",
            "tacit/1/lab/d/web-1/config",
            "tacit/1/lab/c/status",
            "tacit/2/lab/u/web-1/event",
            "$SYS/broker/uptime",
            "",
        ] {
            assert!(!may_node_publish(&site, &node, topic), "{topic}");
        }
        for filter in ["tacit/1/lab/d/web-1/+", "tacit/1/lab/g/+/config", "tacit/1/lab/g/all/+", "tacit/1/lab/c/status"]
        {
            assert!(may_node_subscribe(&site, &node, filter), "{filter}");
        }
        for filter in [
            "tacit/1/+/d/web-1/+",
            "tacit/1/home/d/web-1/+",
            "tacit/1/+/g/+/config",
            "tacit/1/+/c/status",
            "tacit/1/lab/d/web-2/+",
            "tacit/1/lab/d/+/+",
            "tacit/1/lab/d/web-1/#",
            "tacit/1/lab/d/#",
            "tacit/1/lab/g/#",
            "tacit/1/lab/u/web-1/+",
            "tacit/1/lab/#",
            "$share/x/tacit/1/lab/d/web-1/+",
            "$SYS/#",
            "#",
            "+/+/+/+/+/+",
        ] {
            assert!(!may_node_subscribe(&site, &node, filter), "{filter}");
        }
    }

    #[test]
    fn a_node_is_only_itself() {
        assert!(may_publish("web-1", "tacit/1/lab/u/web-1/event"));
        for topic in [
            "tacit/1/lab/u/web-2/event",
            "tacit/1/lab/d/web-1/config",
            "tacit/1/lab/c/status",
            "other",
            "tacit/1/lab/u/web-1/x",
        ] {
            assert!(!may_publish("web-1", topic), "{topic}");
        }
        for filter in ["tacit/1/lab/d/web-1/+", "tacit/1/+/g/+/config", "tacit/1/+/g/+/+", "tacit/1/lab/c/status"] {
            assert!(may_subscribe("web-1", filter), "{filter}");
        }
        for filter in [
            "tacit/1/lab/d/+/+",
            "tacit/1/lab/d/web-2/+",
            "tacit/1/lab/u/+/+",
            "#",
            "tacit/#",
            "tacit/1/lab/d/#",
            "$share/x/tacit/1/lab/u/+/+",
        ] {
            assert!(!may_subscribe("web-1", filter), "{filter}");
        }
    }

    #[test]
    fn a_tool_reads_and_does_not_write() {
        assert!(may_subscribe("mosq-Ab1", "tacit/1/+/u/#"));
        assert!(may_subscribe("Tail-1", "tacit/1/lab/u/+/+"));
        assert!(!may_subscribe("mosq-Ab1", "#"));
        assert!(!may_subscribe("mosq-Ab1", "$SYS/#"));
        assert!(!may_publish("mosq-Ab1", "tacit/1/lab/u/web-1/event"));
    }
}
