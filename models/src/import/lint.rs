//! The linter: every check that needs no more than the file.
//!
//! It works on the decoded protobuf and never starts the runtime, so it may run anywhere, on anything. Two passes: the
//! structure of the graph (names, circles, operator set), which everything later relies on; and its contents (operators,
//! tensors, sizes), which is run on what is left after the parts that feed no score were cut off, and once more on what
//! the rewriter made.

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::bounds::{MAX_CONSTANTS, MAX_NODES, OPSETS, count_fields, is_allowed, is_core, is_rewritten, not_onnx};
use super::finding::{Code, Finding};
use super::tensor;
use crate::runtime::MAX_MODEL_BYTES;

/// Most findings of one kind of pass; a stranger's file may have thousands.
const MAX_FINDINGS: usize = 100;

/// Decodes a model file.
///
/// # Errors
/// Too large, too many fields, or not ONNX.
pub fn decode(bytes: &[u8]) -> Result<ModelProto, Finding> {
    if bytes.len() > MAX_MODEL_BYTES {
        let (found, allowed) = (format!("{} bytes", bytes.len()), format!("at most {MAX_MODEL_BYTES}"));
        return Err(Finding::new(Code::TooLarge, "the file", found, allowed));
    }
    count_fields(bytes)?;
    ModelProto::decode(bytes).map_err(|_| not_onnx())
}

/// How a node is called in a finding.
pub(super) fn place(node: &NodeProto) -> String {
    let name = [&node.name].into_iter().chain(&node.output).find(|n| !n.is_empty());
    let name = name.map_or("without a name", String::as_str);
    if is_core(&node.domain) {
        format!("node `{name}` ({})", node.op_type)
    } else {
        format!("node `{name}` ({}:{})", node.domain, node.op_type)
    }
}

/// Checks the graph as a graph: one default operator set that is known, names that are defined once, no circle.
#[must_use]
pub fn structure(model: &ModelProto) -> Vec<Finding> {
    let Some(graph) = model.graph.as_ref().filter(|g| !g.node.is_empty()) else {
        return vec![Finding::new(Code::NoGraph, "the model", "no graph with nodes", "one graph")];
    };
    let mut findings = Vec::new();
    if let Some(finding) = opset_fault(model) {
        findings.push(finding);
    }
    if graph.node.len() > MAX_NODES {
        let found = format!("{} nodes", graph.node.len());
        findings.push(Finding::new(Code::TooManyNodes, "the graph", found, format!("at most {MAX_NODES}")));
        return findings;
    }
    names(graph, &mut findings);
    if findings.is_empty() && sorted(&graph.node).is_none() {
        let found = "some nodes need their own output";
        findings.push(Finding::new(Code::Cycle, "the graph", found, "a graph without circles"));
    }
    findings.truncate(MAX_FINDINGS);
    findings
}

/// Version of the default operator set.
#[must_use]
pub fn opset(model: &ModelProto) -> Option<i64> {
    model.opset_import.iter().find(|o| is_core(&o.domain)).map(|o| o.version)
}

fn opset_fault(model: &ModelProto) -> Option<Finding> {
    let found = match opset(model) {
        Some(version) if OPSETS.contains(&version) => return None,
        Some(version) => format!("version {version}"),
        None => "no version".to_owned(),
    };
    let allowed = format!("{} to {}; export with opset_version=17", OPSETS.start(), OPSETS.end());
    Some(Finding::new(Code::Opset, "the default operator set", found, allowed))
}

/// Every name is made once, before all by nobody else, and every name that is used is made.
fn names(graph: &GraphProto, findings: &mut Vec<Finding>) {
    let mut made: HashSet<&str> = HashSet::new();
    let twice = |name: &str, place: String, findings: &mut Vec<Finding>| {
        findings.push(Finding::new(Code::Name, place, format!("`{name}` a second time"), "every name once"));
    };
    for tensor in &graph.initializer {
        if !made.insert(&tensor.name) {
            twice(&tensor.name, "the constants".to_owned(), findings);
        }
    }
    // An input with a constant of the same name is an input with a default: allowed, and then no input.
    made.extend(graph.input.iter().map(|i| i.name.as_str()));
    for node in &graph.node {
        if node.output.iter().all(String::is_empty) {
            findings.push(Finding::new(Code::Name, place(node), "no output", "at least one output"));
        }
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if !made.insert(output) {
                twice(output, place(node), findings);
            }
        }
    }
    let undefined = |name: &str, place: String| {
        Finding::new(Code::Name, place, format!("`{name}`, which nothing makes"), "names that are defined")
    };
    for node in &graph.node {
        for input in node.input.iter().filter(|i| !i.is_empty() && !made.contains(i.as_str())) {
            findings.push(undefined(input, place(node)));
        }
    }
    for output in graph.output.iter().filter(|o| !made.contains(o.name.as_str())) {
        findings.push(undefined(&output.name, "the outputs".to_owned()));
    }
}

/// The nodes in an order in which each comes after those it needs, or nothing when they run in a circle. Nodes that are
/// in order already stay as they are.
pub(super) fn sorted(nodes: &[NodeProto]) -> Option<Vec<usize>> {
    let maker: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .flat_map(|(i, n)| n.output.iter().filter(|o| !o.is_empty()).map(move |o| (o.as_str(), i)))
        .collect();
    let mut waits = vec![0_usize; nodes.len()];
    let mut serves: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for from in node.input.iter().filter_map(|name| maker.get(name.as_str())) {
            waits[i] += 1;
            serves[*from].push(i);
        }
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..nodes.len()).filter(|i| waits[*i] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(i) = ready.pop_first() {
        order.push(i);
        for next in &serves[i] {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                ready.insert(*next);
            }
        }
    }
    (order.len() == nodes.len()).then_some(order)
}

/// Which operators a pass accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// A foreign model: those that are allowed and those that will be rewritten.
    Foreign,
    /// A finished package: only those that are allowed.
    Package,
}

/// Checks what is in the graph: operators, subgraphs, tensors, and how much there is of them.
#[must_use]
pub fn contents(graph: &GraphProto, accept: Accept) -> Vec<Finding> {
    let mut findings = Vec::new();
    if graph.node.len() > MAX_NODES {
        let found = format!("{} nodes", graph.node.len());
        findings.push(Finding::new(Code::TooManyNodes, "the graph", found, format!("at most {MAX_NODES}")));
    }
    if !graph.sparse_initializer.is_empty() {
        findings.push(Finding::new(Code::TensorType, "the constants", "a sparse tensor", "dense tensors"));
    }
    let mut elements = 0_u64;
    let mut biggest = (0, String::new());
    let mut count = |n: u64, place: &str| {
        elements = elements.saturating_add(n);
        if n > biggest.0 {
            biggest = (n, place.to_owned());
        }
    };
    for constant in &graph.initializer {
        let place = format!("constant `{}`", constant.name);
        match tensor::check(constant, &place) {
            Ok(n) => count(n, &place),
            Err(finding) => findings.push(finding),
        }
    }
    for node in &graph.node {
        node_faults(node, accept, &mut findings, &mut count);
        if let Some(n) = tensor::made_by(graph, node) {
            count(n, &place(node));
        }
        if findings.len() >= MAX_FINDINGS {
            break;
        }
    }
    if elements > MAX_CONSTANTS {
        let found = format!("{} of {elements} constant elements", biggest.0);
        let allowed = format!("at most {MAX_CONSTANTS} in the whole model");
        findings.push(Finding::new(Code::TooManyConstants, biggest.1, found, allowed));
    }
    findings.truncate(MAX_FINDINGS);
    findings
}

/// Every check on a model that claims to be in the form of a package.
#[must_use]
pub fn package(model: &ModelProto) -> Vec<Finding> {
    let mut findings = structure(model);
    if let (Some(graph), true) = (&model.graph, findings.is_empty()) {
        findings = contents(graph, Accept::Package);
    }
    findings
}

fn node_faults(node: &NodeProto, accept: Accept, findings: &mut Vec<Finding>, count: &mut impl FnMut(u64, &str)) {
    let place = place(node);
    let allowed = is_allowed(&node.domain, &node.op_type);
    if node.attribute.iter().any(|a| a.g.is_some() || !a.graphs.is_empty()) {
        let hint = "a plain graph; trace the model instead of scripting it";
        findings.push(Finding::new(Code::ControlFlow, &place, "a graph inside the node", hint));
    } else if !(allowed || accept == Accept::Foreign && is_rewritten(&node.domain, &node.op_type)) {
        findings.push(Finding::new(Code::Operator, &place, "an operator that is not on the list", hint(node)));
    }
    for attribute in &node.attribute {
        if attribute.sparse_tensor.is_some() || !attribute.sparse_tensors.is_empty() {
            findings.push(Finding::new(Code::TensorType, &place, "a sparse tensor", "dense tensors"));
        }
        if attribute.f.is_nan() || attribute.floats.iter().any(|v| v.is_nan()) {
            let found = format!("NaN in `{}`", attribute.name);
            findings.push(Finding::new(Code::NanWeight, &place, found, "numbers; check the training"));
        }
        count(attribute.floats.len().max(attribute.ints.len()) as u64, &place);
        for tensor in attribute.t.iter().chain(&attribute.tensors) {
            match tensor::check(tensor, &place) {
                Ok(n) => count(n, &place),
                Err(finding) => findings.push(finding),
            }
        }
    }
}

/// What to do about an operator that is not allowed.
fn hint(node: &NodeProto) -> &'static str {
    match (node.domain.as_str(), node.op_type.as_str()) {
        ("", "If" | "Loop" | "Scan") => "a plain graph; trace the model instead of scripting it",
        (_, "ZipMap") => "plain outputs; export with options={'zipmap': False}",
        ("ai.onnx.ml", "TreeEnsemble") => "TreeEnsembleRegressor; export with target_opset={'': 17, 'ai.onnx.ml': 3}",
        ("ai.onnx.ml", _) => {
            "Scaler, TreeEnsembleRegressor and TreeEnsembleClassifier of ai.onnx.ml; labels are not scores"
        }
        ("", operator) if operator.starts_with("Random") => "deterministic operators; export in evaluation mode",
        _ => "the operators listed in docs/MODELS.md",
    }
}
