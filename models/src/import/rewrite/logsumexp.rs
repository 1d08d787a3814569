//! Log-sum-exp without overflow: `max + log(sum(exp(x - max)))`.
//!
//! The runtime computes ReduceLogSumExp as exp, sum, log: `[-200, -201]` becomes minus infinity and `[100, 99]` infinity,
//! which are just the outliers a Gaussian mixture is asked for. The same chain written out by an exporter (Log of
//! ReduceSum of Exp) has the same fault and is found too.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;

use super::editor::{Editor, attribute};
use crate::import::finding::{Code, Finding};
use crate::import::lint::place;
use crate::import::tensor::constant_integers;

/// A log-sum-exp found in the graph.
struct Found {
    input: String,
    /// None: over all axes.
    axes: Option<Vec<i64>>,
    keepdims: bool,
    output: String,
}

/// Writes every log-sum-exp anew and says which nodes they were.
///
/// # Errors
/// One whose axes are computed: they must be constants.
pub(super) fn rewrite(editor: &mut Editor) -> Result<Vec<String>, Finding> {
    let maker: HashMap<&str, &NodeProto> =
        editor.graph.node.iter().flat_map(|n| n.output.iter().map(move |o| (o.as_str(), n))).collect();
    let made_by = |node: &NodeProto, op: &str| {
        let input = node.input.first()?;
        maker.get(input.as_str()).copied().filter(|n| n.op_type == op)
    };
    let mut found = Vec::new();
    for node in &editor.graph.node {
        let chain = match node.op_type.as_str() {
            "ReduceLogSumExp" => node.input.first().map(|input| (node, input)),
            "ReduceLogSum" => made_by(node, "Exp").and_then(|exp| Some((node, exp.input.first()?))),
            "Log" => made_by(node, "ReduceSum")
                .and_then(|sum| made_by(sum, "Exp").and_then(|exp| Some((sum, exp.input.first()?)))),
            _ => None,
        };
        let (Some((reduction, input)), Some(output)) = (chain, node.output.first()) else {
            continue;
        };
        let axes = axes(editor, reduction)?;
        let keepdims = attribute(reduction, "keepdims").is_none_or(|a| a.i != 0);
        found.push((place(node), Found { input: input.clone(), axes, keepdims, output: output.clone() }));
    }
    let outputs: Vec<String> = found.iter().map(|(_, f)| f.output.clone()).collect();
    editor.take(|n| n.output.first().is_some_and(|o| outputs.contains(o)));
    found.iter().for_each(|(_, f)| emit(editor, f));
    Ok(found.into_iter().map(|(place, _)| place).collect())
}

/// The axes of a reduction: an attribute, or since operator set 18 (ReduceSum: 13) a constant input.
fn axes(editor: &Editor, node: &NodeProto) -> Result<Option<Vec<i64>>, Finding> {
    if let Some(a) = attribute(node, "axes") {
        return Ok(Some(a.ints.clone()));
    }
    let Some(name) = node.input.get(1).filter(|n| !n.is_empty()) else {
        return Ok(None);
    };
    let wrong = || Finding::new(Code::Rewrite, place(node), "axes that are computed or none", "constant axes");
    let axes = constant_integers(&editor.graph, name).filter(|a| !a.is_empty()).ok_or_else(wrong)?;
    Ok(Some(axes))
}

fn emit(editor: &mut Editor, found: &Found) {
    let axes = found.axes.as_deref();
    let max = editor.reduce("ReduceMax", &found.input, axes, true);
    let shifted = editor.node("Sub", &[&found.input, &max], vec![]);
    let exp = editor.node("Exp", &[&shifted], vec![]);
    let sum = editor.reduce("ReduceSum", &exp, axes, true);
    let log = editor.node("Log", &[&sum], vec![]);
    if found.keepdims {
        return editor.node_named("Add", &[&log, &max], vec![], &found.output);
    }
    let kept = editor.node("Add", &[&log, &max], vec![]);
    match axes {
        Some(axes) => {
            let axes = editor.integers(axes);
            editor.node_named("Squeeze", &[&kept, &axes], vec![], &found.output);
        }
        None => {
            let scalar = editor.integers(&[]);
            editor.node_named("Reshape", &[&kept, &scalar], vec![], &found.output);
        }
    }
}
