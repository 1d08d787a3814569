//! What is in a model file, without running it.

use std::collections::BTreeMap;

use serde::Serialize;
use tract_onnx::pb::{ModelProto, ValueInfoProto};

use super::bounds::is_core;
use super::finding::Finding;
use super::lint::{self, Accept};
use super::rewrite::describe;

/// A model file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Who made it.
    pub producer: String,
    /// Version of the default operator set; 0: none.
    pub opset: i64,
    /// Inputs, as `name FLOAT [1, 38]`.
    pub inputs: Vec<String>,
    /// Outputs.
    pub outputs: Vec<String>,
    /// Number of nodes.
    pub nodes: usize,
    /// How often each operator is used.
    pub operators: BTreeMap<String, usize>,
    /// Operators that import writes anew.
    pub rewritten: Vec<String>,
    /// Everything that would be refused whatever the manifest says. Parts that feed no score are looked at too, which
    /// import would cut off.
    pub findings: Vec<Finding>,
}

/// Looks into a model file of anybody.
///
/// # Errors
/// When it cannot be decoded at all.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Finding> {
    let model = lint::decode(bytes)?;
    let mut findings = lint::structure(&model);
    let graph = model.graph.clone().unwrap_or_default();
    if findings.is_empty() {
        findings = lint::contents(&graph, Accept::Foreign);
    }
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    let mut rewritten = Vec::new();
    for node in &graph.node {
        let name =
            if is_core(&node.domain) { node.op_type.clone() } else { format!("{}:{}", node.domain, node.op_type) };
        if super::bounds::is_rewritten(&node.domain, &node.op_type) && !rewritten.contains(&name) {
            rewritten.push(name.clone());
        }
        *operators.entry(name).or_default() += 1;
    }
    let constants: Vec<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs: Vec<ValueInfoProto> =
        graph.input.iter().filter(|i| !constants.contains(&i.name.as_str())).cloned().collect();
    Ok(Inspection {
        producer: producer(&model),
        opset: lint::opset(&model).unwrap_or(0),
        inputs: inputs.iter().map(describe).collect(),
        outputs: graph.output.iter().map(describe).collect(),
        nodes: graph.node.len(),
        operators,
        rewritten,
        findings,
    })
}

fn producer(model: &ModelProto) -> String {
    let text = format!("{} {}", model.producer_name, model.producer_version);
    text.trim().chars().filter(|c| !c.is_control()).take(100).collect()
}
