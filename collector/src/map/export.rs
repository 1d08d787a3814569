//! The map as text for other programs: Graphviz and Mermaid.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::names::plain;
use super::view::{MapEdge, MapView, is_outside};
use crate::store::Vertex;

/// Graphviz: services in a box for each node.
#[must_use]
pub fn dot(view: &MapView) -> String {
    let quoted = |text: &str| format!("\"{}\"", plain(text).replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = String::from("digraph tacit {\n  rankdir=LR;\n  node [shape=box];\n");
    let mut node = None;
    let mut inside = false;
    let mut ordered: Vec<_> = view.vertices.iter().collect();
    ordered.sort_by(|a, b| (&a.node, &a.id).cmp(&(&b.node, &b.id)));
    for vertex in ordered {
        if vertex.node != node || (vertex.node.is_none() && inside) {
            out.push_str(if inside { "  }\n" } else { "" });
            inside = vertex.node.is_some();
            if let Some(name) = &vertex.node {
                // Writing to a String cannot fail, here and below.
                let _ = writeln!(
                    out,
                    "  subgraph {} {{\n    label={};",
                    quoted(&format!("cluster_{name}")),
                    quoted(name.as_str())
                );
            }
            node.clone_from(&vertex.node);
        }
        let label = vertex.owner.clone().unwrap_or_else(|| shown(vertex));
        let shape = if is_outside(vertex) { ", shape=ellipse" } else { "" };
        let indent = if inside { "    " } else { "  " };
        let _ = writeln!(out, "{indent}{} [label={}{shape}];", quoted(&vertex.id), quoted(&label));
    }
    out.push_str(if inside { "  }\n" } else { "" });
    for edge in &view.edges {
        let red = if edge.failed > 0 { ", color=red" } else { "" };
        let _ = writeln!(
            out,
            "  {} -> {} [label={}{red}];",
            quoted(&edge.client),
            quoted(&edge.server),
            quoted(&label(edge))
        );
    }
    out.push_str("}\n");
    out
}

/// Mermaid, as Markdown pages draw it.
#[must_use]
pub fn mermaid(view: &MapView) -> String {
    // Mermaid takes entities by number where a character has a meaning.
    let quoted = |text: &str| {
        let safe = |c: char| match c {
            '"' | '#' | '<' | '>' | '&' | '`' | '\\' => format!("#{};", u32::from(c)),
            c => c.into(),
        };
        format!("\"{}\"", plain(text).chars().map(safe).collect::<String>())
    };
    let mut out = String::from("flowchart LR\n");
    let mut numbers = HashMap::new();
    for (n, vertex) in view.vertices.iter().enumerate() {
        numbers.insert(vertex.id.as_str(), n);
        let (open, close) = if is_outside(vertex) { ("([", "])") } else { ("[", "]") };
        let _ = writeln!(out, "  v{n}{open}{}{close}", quoted(&shown(vertex)));
    }
    for edge in &view.edges {
        let (Some(client), Some(server)) = (numbers.get(edge.client.as_str()), numbers.get(edge.server.as_str()))
        else {
            continue;
        };
        let _ = writeln!(out, "  v{client} -->|{}| v{server}", quoted(&label(edge)));
    }
    out
}

/// A vertex's name, and what its address is called.
fn shown(vertex: &Vertex) -> String {
    vertex.hostname.as_ref().map_or_else(|| vertex.name.clone(), |host| format!("{} = {host}", vertex.name))
}

fn label(edge: &MapEdge) -> String {
    let port = edge.port_text();
    edge.rtt_p50.map_or_else(|| port.clone(), |rtt| format!("{port} {:.1} ms", rtt * 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::fixtures::view;

    #[test]
    fn a_small_map_in_both() {
        let mut view = view(&[("lb/nginx", "app/web"), ("app/web", "ext:192.0.2.1:443")]);
        view.edges[0].failed = 1;
        insta::assert_snapshot!(dot(&view), @r#"
        digraph tacit {
          rankdir=LR;
          node [shape=box];
          "ext:192.0.2.1:443" [label="ext:192.0.2.1:443", shape=ellipse];
          subgraph "cluster_app" {
            label="app";
            "app/web" [label="web"];
          }
          subgraph "cluster_lb" {
            label="lb";
            "lb/nginx" [label="nginx"];
          }
          "app/web" -> "ext:192.0.2.1:443" [label="tcp/80 0.5 ms", color=red];
          "lb/nginx" -> "app/web" [label="tcp/80 0.5 ms"];
        }
        "#);
        insta::assert_snapshot!(mermaid(&view), @r#"
        flowchart LR
          v0["app/web"]
          v1(["ext:192.0.2.1:443"])
          v2["lb/nginx"]
          v0 -->|"tcp/80 0.5 ms"| v1
          v2 -->|"tcp/80 0.5 ms"| v0
        "#);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut view = view(&[("app/web", "ext:192.0.2.1")]);
        view.edges[0].port = 0;
        view.vertices[1].hostname = Some("api.example".into());
        let text = dot(&view);
        assert!(text.contains(r#""ext:192.0.2.1" [label="ext:192.0.2.1 = api.example", shape=ellipse]"#), "{text}");
        assert!(text.contains("[label=\"tcp/port unknown 0.5 ms\"]"), "{text}");
    }

    #[test]
    fn names_cannot_break_out() {
        let hostile = view(&[("a/x\n\u{1b}[2J\u{202e}y", "b/</script>|end|")]);
        for text in [dot(&hostile), mermaid(&hostile)] {
            assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
            // A line more for a name is a statement more.
            assert_eq!(
                text.lines().filter(|l| l.contains("[2J")).count(),
                if text.starts_with("digraph") { 2 } else { 1 }
            );
        }
        assert!(!mermaid(&hostile).contains("</script>"));
        let view = view(&[("a/x\"]; evil", "b/\\\"y")]);
        assert!(dot(&view).contains(r#""a/x\"]; evil" -> "b/\\\"y""#));
        assert!(!mermaid(&view).contains("x\"]"));
    }
}
