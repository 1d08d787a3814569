//! Arithmetic on the outcome of one tree, done once for each leaf instead of on every run.
//!
//! skl2onnx writes an isolation forest as single trees that say in which leaf a row ended, a LabelEncoder that looks up
//! how many samples that leaf had, and some twenty operators that make a path length of it, for each tree: four thousand
//! nodes for a forest of a hundred. But all of that is a function of the leaf alone, so it is computed here and
//! becomes the leaf's weight. What is left are trees and their sum.

use std::collections::{BTreeSet, HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto};

use super::editor::{Editor, attribute, floats, ints};
use crate::import::ensemble::{Ensemble, Post, TreeNode};
use crate::import::lint;
use crate::import::tensor::scalar;

/// Most values of all tables together: a stranger's file may put thousands of operators behind a huge tree.
const MAX_VALUES: usize = 4_000_000;

/// What kind of number a table holds; all are kept as f64, which holds each of them (integers up to 2^53).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Float,
    Integer,
    Boolean,
}

/// A value for each leaf of one tree.
#[derive(Debug, Clone)]
struct Table {
    /// Which tree operator.
    tree: usize,
    kind: Kind,
    values: Vec<f64>,
}

/// Folds what can be folded and says how many operators went into leaves.
pub(super) fn fold(editor: &mut Editor) -> usize {
    let Some(order) = lint::sorted(&editor.graph.node) else {
        return 0;
    };
    let mut tables: HashMap<String, Table> = HashMap::new();
    let mut folded: BTreeSet<usize> = BTreeSet::new();
    let mut values = 0;
    for i in order {
        let node = &editor.graph.node[i];
        let [output] = node.output.as_slice() else {
            continue;
        };
        let table = if super::trees::is_ensemble(node) {
            leaf_values(node).map(|values| Table { tree: i, kind: Kind::Float, values })
        } else {
            apply(editor, node, &tables)
        };
        if let Some(table) = table {
            values += table.values.len();
            if values > MAX_VALUES {
                // Left as it is; what cannot be written otherwise is then refused by name.
                return 0;
            }
            if !super::trees::is_ensemble(node) {
                folded.insert(i);
            }
            tables.insert(output.clone(), table);
        }
    }
    if folded.is_empty() {
        return 0;
    }
    // A folded value that something else needs becomes a tree with that value in its leaves.
    let graph = &editor.graph;
    let mut needed: HashSet<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    let others = graph.node.iter().enumerate().filter(|(i, _)| !folded.contains(i));
    needed.extend(others.flat_map(|(_, n)| n.input.iter().map(String::as_str)));
    let made: Vec<NodeProto> = folded
        .iter()
        .map(|i| &graph.node[*i].output[0])
        .filter(|output| needed.contains(output.as_str()))
        .map(|output| with_weights(&graph.node[tables[output].tree], output, &tables[output].values))
        .collect();
    let outputs: HashSet<String> = folded.iter().map(|i| graph.node[*i].output[0].clone()).collect();
    editor.take(|n| n.output.first().is_some_and(|o| outputs.contains(o)));
    editor.graph.node.extend(made);
    outputs.len()
}

/// The values of a regressor's leaves, when it is one tree with one target and nothing behind it.
fn leaf_values(node: &NodeProto) -> Option<Vec<f64>> {
    let ensemble = Ensemble::parse(node).ok().filter(|_| node.op_type == "TreeEnsembleRegressor")?;
    if ensemble.roots.len() != 1 || ensemble.targets != 1 || ensemble.post != Post::None {
        return None;
    }
    let base = ensemble.base.first().copied().unwrap_or(0.0);
    let leaf = |n: &TreeNode| if let TreeNode::Leaf { leaf } = n { Some(ensemble.weights[*leaf] + base) } else { None };
    Some(ensemble.nodes.iter().filter_map(leaf).map(f64::from).collect())
}

/// The same tree with other values in its leaves, one each.
fn with_weights(tree: &NodeProto, output: &str, values: &[f64]) -> NodeProto {
    let of = |name: &str| attribute(tree, name).map_or(&[][..], |a| a.ints.as_slice());
    let modes = attribute(tree, "nodes_modes").map_or(&[][..], |a| a.strings.as_slice());
    let leaves: Vec<usize> = (0..modes.len()).filter(|i| modes[*i] == b"LEAF").collect();
    let pick = |list: &[i64]| leaves.iter().map(|i| list[*i]).collect::<Vec<i64>>();
    let weights: Vec<f32> = values.iter().map(|v| *v as f32).collect();
    let keep = |a: &&AttributeProto| a.name.starts_with("nodes_");
    let mut node = NodeProto { output: vec![output.to_owned()], name: output.to_owned(), ..tree.clone() };
    node.attribute = tree.attribute.iter().filter(keep).cloned().collect();
    node.attribute.extend([
        ints("target_treeids", &pick(of("nodes_treeids"))),
        ints("target_nodeids", &pick(of("nodes_nodeids"))),
        ints("target_ids", &vec![0; leaves.len()]),
        floats("target_weights", &weights),
    ]);
    node
}

/// A node applied to tables of one tree and constants of one value; nothing when it is anything else.
fn apply(editor: &Editor, node: &NodeProto, tables: &HashMap<String, Table>) -> Option<Table> {
    let first = node.input.iter().find_map(|i| tables.get(i))?;
    let known = |name: &String| match tables.get(name) {
        Some(table) => (table.tree == first.tree).then(|| table.clone()),
        None => scalar(&editor.graph, name).map(|(value, kind)| Table {
            tree: first.tree,
            kind: if kind == DataType::Float { Kind::Float } else { Kind::Integer },
            values: vec![value; first.values.len()],
        }),
    };
    let (kind, values) = if node.domain == "ai.onnx.ml" {
        label_encoder(node, first)?
    } else {
        match node.op_type.as_str() {
            // A column stays a column.
            "Reshape" => {
                let shape = crate::import::tensor::constant_integers(&editor.graph, node.input.get(1)?)?;
                return (shape == [-1, 1]).then(|| first.clone());
            }
            "Cast" => cast(attribute(node, "to")?.i, first)?,
            _ => arithmetic(&node.op_type, &node.input.iter().map(known).collect::<Option<Vec<_>>>()?)?,
        }
    };
    Some(Table { tree: first.tree, kind, values })
}

fn cast(to: i64, table: &Table) -> Option<(Kind, Vec<f64>)> {
    let to = DataType::try_from(i32::try_from(to).ok()?).ok()?;
    match to {
        DataType::Float => Some((Kind::Float, table.values.iter().map(|v| f64::from(*v as f32)).collect())),
        DataType::Int64 | DataType::Int32 => Some((Kind::Integer, table.values.iter().map(|v| v.trunc()).collect())),
        _ => None,
    }
}

/// LabelEncoder from numbers to numbers.
fn label_encoder(node: &NodeProto, table: &Table) -> Option<(Kind, Vec<f64>)> {
    let numbers = |what: &str| -> Option<(Kind, Vec<f64>)> {
        let integers = attribute(node, &format!("{what}_int64s")).map(|a| a.ints.iter().map(|v| *v as f64).collect());
        let reals =
            || attribute(node, &format!("{what}_floats")).map(|a| a.floats.iter().map(|v| f64::from(*v)).collect());
        integers.map(|v| (Kind::Integer, v)).or_else(|| reals().map(|v| (Kind::Float, v)))
    };
    if node.op_type != "LabelEncoder" {
        return None;
    }
    let ((from, keys), (to, values)) = (numbers("keys")?, numbers("values")?);
    if from != table.kind || keys.len() != values.len() {
        return None;
    }
    let find = |v: &f64| keys.iter().position(|k| k == v).map(|i| values[i]);
    // Every leaf must be among the keys: what else would come out is not the author's intent.
    Some((to, table.values.iter().map(find).collect::<Option<_>>()?))
}

fn arithmetic(op: &str, inputs: &[Table]) -> Option<(Kind, Vec<f64>)> {
    let kind = inputs.first()?.kind;
    if inputs.iter().any(|i| i.kind != kind) {
        return None;
    }
    let bool = |b: bool| f64::from(u8::from(b));
    let (kind, of): (Kind, Box<dyn Fn(f64, f64) -> f64>) = match (op, inputs.len()) {
        ("Add" | "Sum", 2..) => (kind, Box::new(|a, b| a + b)),
        ("Max", 2..) => (kind, Box::new(f64::max)),
        ("Min", 2..) => (kind, Box::new(f64::min)),
        ("Sub", 2) => (kind, Box::new(|a, b| a - b)),
        ("Mul", 2) => (kind, Box::new(|a, b| a * b)),
        ("Div", 2) if kind == Kind::Float => (kind, Box::new(|a, b| a / b)),
        ("Pow", 2) if kind == Kind::Float => (kind, Box::new(f64::powf)),
        ("Equal", 2) => (Kind::Boolean, Box::new(move |a, b| bool(a == b))),
        ("Greater", 2) => (Kind::Boolean, Box::new(move |a, b| bool(a > b))),
        ("Less", 2) => (Kind::Boolean, Box::new(move |a, b| bool(a < b))),
        ("Log", 1) if kind == Kind::Float => (kind, Box::new(|a, _| a.ln())),
        ("Exp", 1) if kind == Kind::Float => (kind, Box::new(|a, _| a.exp())),
        ("Neg", 1) => (kind, Box::new(|a, _| -a)),
        ("Identity", 1) => (kind, Box::new(|a, _| a)),
        _ => return None,
    };
    // Rounding to f32 after each step gives what f32 arithmetic gives.
    let round = |v: f64| if kind == Kind::Float { f64::from(v as f32) } else { v };
    let each = |leaf: usize| {
        let start = inputs[0].values[leaf];
        match inputs {
            [_] => round(of(start, 0.0)),
            _ => inputs[1..].iter().fold(start, |a, b| round(of(a, b.values[leaf]))),
        }
    };
    Some((kind, (0..inputs[0].values.len()).map(each).collect()))
}
