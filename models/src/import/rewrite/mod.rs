//! The rewriter: makes of a foreign graph one that the runtime computes right.
//!
//! What it does and why: operators of `ai.onnx.ml` that the runtime lacks or computes slowly or wrongly become core
//! operators ([`scaler`], [`trees`], [`leaves`]), log-sum-exp is made safe ([`logsumexp`]), both ends are brought into the form of a
//! package ([`adapt`]), and everything that feeds no score (labels, above all) is cut off. The result is plain ONNX: any
//! other runtime reads it too.

mod adapt;
mod editor;
mod leaves;
mod logsumexp;
mod scaler;
mod trees;

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

pub(crate) use editor::attribute;

use self::editor::Editor;
use super::finding::{Code, Finding, Refused};
use super::lint::{self, Accept, place};
use crate::manifest::Manifest;

/// A model in the form of a package.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewritten {
    /// The graph.
    pub model: ModelProto,
    /// What was done, one line each.
    pub done: Vec<String>,
}

/// Lints and rewrites a decoded model.
///
/// # Errors
/// Everything that was found; nothing is repaired by guessing.
pub fn rewrite(mut model: ModelProto, manifest: &Manifest) -> Result<Rewritten, Refused> {
    let findings = lint::structure(&model);
    if !findings.is_empty() {
        return Err(Refused(findings));
    }
    let opset = lint::opset(&model).ok_or_else(no_graph)?;
    let mut graph = model.graph.take().ok_or_else(no_graph)?;
    let mut done = Vec::new();
    let wanted = manifest.foreign.as_ref().and_then(|f| f.output.clone());
    choose_output(&mut graph, wanted.as_deref(), &mut done)?;
    prune(&mut graph);
    let findings = lint::contents(&graph, Accept::Foreign);
    if !findings.is_empty() {
        return Err(Refused(findings));
    }
    labels_in_use(&graph)?;
    let mut editor = Editor::new(graph, opset);
    operators(&mut editor, manifest, &mut done)?;
    done.extend(adapt::adapt(&mut editor, manifest)?);
    let mut graph = editor.graph;
    prune(&mut graph);
    tidy(&mut graph)?;
    let model = finish(&model, graph, opset);
    let findings = lint::package(&model);
    if findings.is_empty() { Ok(Rewritten { model, done }) } else { Err(Refused(findings)) }
}

fn no_graph() -> Finding {
    Finding::new(Code::NoGraph, "the model", "no graph", "one graph")
}

/// Keeps the one output that is the score.
fn choose_output(graph: &mut GraphProto, wanted: Option<&str>, done: &mut Vec<String>) -> Result<(), Finding> {
    let names: Vec<String> = graph.output.iter().map(|o| o.name.clone()).collect();
    let wrong = |allowed: &str| Finding::new(Code::Output, "the outputs", format!("{names:?}"), allowed);
    match wanted {
        Some(name) if names.iter().any(|n| n == name) => graph.output.retain(|o| o.name == name),
        Some(name) => return Err(wrong(&format!("`{name}`, as `foreign.output` says"))),
        None if names.len() == 1 => {}
        None => return Err(wrong("one output, or `foreign.output` to choose one")),
    }
    graph.output.truncate(1);
    // An input that has a constant of its name is that constant.
    let constants: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    graph.input.retain(|i| !constants.contains(i.name.as_str()));
    let left: Vec<&String> = names.iter().filter(|n| graph.output.iter().all(|o| o.name != **n)).collect();
    if !left.is_empty() {
        done.push(format!("outputs {left:?} left out"));
    }
    Ok(())
}

/// Cuts off every node and constant that the output does not need.
fn prune(graph: &mut GraphProto) {
    let maker: HashMap<&str, usize> =
        graph.node.iter().enumerate().flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i))).collect();
    let mut keep = vec![false; graph.node.len()];
    let mut used: HashSet<String> = HashSet::new();
    let mut open: Vec<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    while let Some(name) = open.pop() {
        if !used.insert(name.to_owned()) {
            continue;
        }
        if let Some(i) = maker.get(name).copied().filter(|i| !std::mem::replace(&mut keep[*i], true)) {
            open.extend(graph.node[i].input.iter().filter(|i| !i.is_empty()).map(String::as_str));
        }
    }
    let mut kept = keep.into_iter();
    graph.node.retain(|_| kept.next().unwrap_or(false));
    graph.initializer.retain(|t| used.contains(&t.name));
}

/// The runtime's labels of a binary classifier are wrong, and a label is no score: nobody may use them.
fn labels_in_use(graph: &GraphProto) -> Result<(), Finding> {
    let used: HashSet<&str> = graph
        .node
        .iter()
        .flat_map(|n| &n.input)
        .chain(graph.output.iter().map(|o| &o.name))
        .map(String::as_str)
        .collect();
    let classifier = |n: &&NodeProto| n.domain == "ai.onnx.ml" && n.op_type == "TreeEnsembleClassifier";
    let labels = |n: &&NodeProto| n.output.first().is_some_and(|l| !l.is_empty() && used.contains(l.as_str()));
    match graph.node.iter().filter(classifier).find(labels) {
        None => Ok(()),
        Some(node) => {
            Err(Finding::new(Code::Output, place(node), "its labels are used", "its scores, the second output"))
        }
    }
}

/// Writes operators anew.
fn operators(editor: &mut Editor, manifest: &Manifest, done: &mut Vec<String>) -> Result<(), Refused> {
    done.extend(logsumexp::rewrite(editor)?.into_iter().map(|place| format!("{place} made safe from overflow")));
    let ml = |op: &'static str| move |n: &NodeProto| n.domain == "ai.onnx.ml" && n.op_type == op;
    for node in editor.take(ml("Scaler")) {
        scaler::rewrite(editor, &node)?;
        done.push(format!("{} written as Sub and Mul", place(&node)));
    }
    for node in editor.take(ml("ArrayFeatureExtractor")) {
        scaler::rewrite_extractor(editor, &node)?;
        done.push(format!("{} written as Gather", place(&node)));
    }
    let folded = leaves::fold(editor);
    if folded > 0 {
        // The trees that only said which leaf it was.
        prune(&mut editor.graph);
        done.push(format!("{folded} nodes behind single trees computed into their leaves"));
    }
    let trees = editor.take(trees::is_ensemble);
    if !trees.is_empty() {
        let width = input_width(&editor.graph, manifest);
        trees::rewrite(editor, &trees, width).map_err(Refused)?;
        let more = if trees.len() > 1 { format!(" and {} more", trees.len() - 1) } else { String::new() };
        done.push(format!("{}{more} written as core operators", place(&trees[0])));
    }
    Ok(())
}

/// Tells how many columns a tensor has when it is the graph's input, or the input scaled.
fn input_width(graph: &GraphProto, manifest: &Manifest) -> impl Fn(&str) -> Option<usize> + use<> {
    let constants: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let keeps = |n: &NodeProto| match n.op_type.as_str() {
        "Identity" | "Cast" => true,
        "Add" | "Sub" | "Mul" | "Div" => n.input.get(1).is_some_and(|i| constants.contains(i.as_str())),
        _ => false,
    };
    let feeds: HashMap<String, String> = graph
        .node
        .iter()
        .filter(|n| keeps(n))
        .filter_map(|n| Some((n.output.first()?.clone(), n.input.first()?.clone())))
        .collect();
    let inputs: HashMap<String, Option<usize>> = graph
        .input
        .iter()
        .map(|i| (i.name.clone(), adapt::declared(i).1.and_then(|dims| dims.last().copied().flatten())))
        .collect();
    let rows = manifest.input.rows;
    let columns = match (&manifest.input.columns, manifest.input.layout) {
        (_, super::contract::Layout::RowPerSeries) => Some(rows),
        (crate::manifest::Columns::Named(names), _) if rows == 1 => {
            Some(names.len() * if manifest.input.mask { 2 } else { 1 })
        }
        _ => None,
    };
    move |name| {
        let mut name = name;
        // No circles here: the structure was checked.
        while let Some(from) = feeds.get(name) {
            name = from;
        }
        inputs.get(name).and_then(|declared| declared.or(columns))
    }
}

/// Puts the nodes in order; what the rewriter adds stands at the end.
fn tidy(graph: &mut GraphProto) -> Result<(), Finding> {
    let order = lint::sorted(&graph.node)
        .ok_or_else(|| Finding::new(Code::Cycle, "the rewritten graph", "a circle", "a graph without circles"))?;
    graph.node = order.into_iter().map(|i| std::mem::take(&mut graph.node[i])).collect();
    Ok(())
}

/// A model with this graph and nothing that does not matter to it: the same model gives the same bytes.
fn finish(from: &ModelProto, mut graph: GraphProto, opset: i64) -> ModelProto {
    graph.value_info.clear();
    graph.quantization_annotation.clear();
    graph.doc_string.clear();
    graph.node.iter_mut().for_each(|n| n.doc_string.clear());
    ModelProto {
        ir_version: from.ir_version.clamp(7, 9),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
        producer_name: "tacit".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// A value as people write it: `window FLOAT [16, 38]`; an open side is `?`.
pub(crate) fn describe(value: &tract_onnx::pb::ValueInfoProto) -> String {
    let (kind, dims) = adapt::declared(value);
    let name: String = value.name.chars().filter(|c| !c.is_control()).take(100).collect();
    let kind = kind.map_or("?", |k| k.as_str_name());
    format!("{name} {kind} {}", dims.map_or_else(String::new, |d| adapt::show(&d)))
}
