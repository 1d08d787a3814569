//! Who may publish and read what.
//!
//! A client whose id is a valid node id is that node: it publishes as itself and reads what is for it. Every other client
//! (`mosquitto_sub`, `tacit tail`, Node-RED with an upper-case id) is a tool: on loopback it reads everything and publishes
//! nothing.

use tacit_wire::{NodeId, Topic};

/// Whether `client` may publish to `topic`.
pub fn may_publish(client: &str, topic: &str) -> bool {
    matches!(topic.parse(), Ok(Topic::Up(_, node, _)) if node.as_str() == client)
}

/// Whether `client` may subscribe to `filter`.
pub fn may_subscribe(client: &str, filter: &str) -> bool {
    let filter = filter.strip_prefix("$share/").and_then(|f| Some(f.split_once('/')?.1)).unwrap_or(filter);
    let levels: Vec<&str> = filter.split('/').collect();
    if client.parse::<NodeId>().is_err() {
        return matches!(levels.as_slice(), ["tacit", "1", _, ..]);
    }
    match levels.as_slice() {
        ["tacit", "1", _, "d", node, what] => *node == client && *what != "#",
        ["tacit", "1", _, "g", _, "config" | "+"] | ["tacit", "1", _, "c", "status"] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
