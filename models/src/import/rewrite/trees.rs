//! Tree ensembles as core operators: all trees go down one level at a time, together.
//!
//! ```text
//! at [B, T]     where each of B rows stands in each of T trees, an index into the lists of all nodes
//! one level     feature = Gather(features, at)    threshold = Gather(thresholds, at)
//!               value   = GatherElements(x, feature, axis 1)
//!               at      = Where(value <= threshold, Gather(yes, at), Gather(no, at))
//! leaves        stand still: their children are they themselves
//! the end       Gather(weights, at) [B, T, targets], summed over trees
//! ```
//!
//! Ensembles that read the same tensor go down together: an isolation forest of skl2onnx is one ensemble for each of its
//! trees. The result is within rounding of the order of the sum (1.5e-7 measured), and 25 to 50 times faster than the
//! runtime's own tree operator.

use std::collections::BTreeMap;

use tract_onnx::pb::{GraphProto, NodeProto};

use super::editor::{Editor, attribute, int};
use crate::import::bounds::MAX_CONSTANTS;
use crate::import::ensemble::{Binary, Ensemble, Post, TreeNode};
use crate::import::finding::{Code, Finding};
use crate::import::lint::place;
use crate::import::tensor::constant_integers;

/// One operator to be written anew.
struct Work {
    ensemble: Ensemble,
    output: String,
}

/// Is this one of the operators written anew here?
pub(super) fn is_ensemble(node: &NodeProto) -> bool {
    node.domain == "ai.onnx.ml" && matches!(node.op_type.as_str(), "TreeEnsembleRegressor" | "TreeEnsembleClassifier")
}

/// Writes these tree operators anew. `width` tells how many columns a tensor has, where that is known.
///
/// # Errors
/// Every ensemble that is none, with its reason.
pub(super) fn rewrite(
    editor: &mut Editor,
    nodes: &[NodeProto],
    width: impl Fn(&str) -> Option<usize>,
) -> Result<(), Vec<Finding>> {
    let mut groups: BTreeMap<(String, usize), Vec<Work>> = BTreeMap::new();
    let mut findings = Vec::new();
    let mut elements = 0_u64;
    for node in nodes {
        match work(&editor.graph, node, &width) {
            Ok((_, work)) if added(&mut elements, &work.ensemble) > MAX_CONSTANTS => {
                let (found, allowed) =
                    (format!("more than {elements} constant elements"), format!("at most {MAX_CONSTANTS}"));
                return Err(vec![Finding::new(Code::TooManyConstants, place(node), found, allowed)]);
            }
            Ok((input, work)) => groups.entry((input, work.ensemble.targets)).or_default().push(work),
            Err(found) => findings.push(Finding::new(
                Code::Tree,
                place(node),
                found,
                "trees with one root, children that exist, and sums of leaves",
            )),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    for ((input, targets), works) in &groups {
        emit(editor, input, *targets, works);
    }
    Ok(())
}

/// Elements that an ensemble becomes, added to those of the others.
fn added(elements: &mut u64, ensemble: &Ensemble) -> u64 {
    *elements += (ensemble.nodes.len() * (5 + ensemble.targets)) as u64;
    *elements
}

fn work(
    graph: &GraphProto,
    node: &NodeProto,
    width: &impl Fn(&str) -> Option<usize>,
) -> Result<(String, Work), String> {
    let mut ensemble = Ensemble::parse(node)?;
    let mut input = node.input.first().ok_or("no input")?.clone();
    while let Some((from, columns)) = columns_of(graph, &input) {
        ensemble.choose(&columns)?;
        input = from;
    }
    if let Some(columns) = width(&input).filter(|columns| ensemble.widest() >= *columns) {
        return Err(format!("feature {} of an input with {columns} columns", ensemble.widest()));
    }
    // A classifier's first output are labels, its second the scores; labels were refused before if somebody used them.
    let scores = usize::from(node.op_type == "TreeEnsembleClassifier");
    let output = node.output.get(scores).filter(|o| !o.is_empty()).ok_or("no output for scores")?.clone();
    Ok((input, Work { ensemble, output }))
}

/// When a tensor is some columns of another: of which, and which. A forest that draws features for each tree is exported
/// that way, and without it no two of its trees would read the same tensor.
fn columns_of(graph: &GraphProto, name: &str) -> Option<(String, Vec<i64>)> {
    let node = graph.node.iter().find(|n| n.op_type == "Gather" && n.output.first().is_some_and(|o| o == name))?;
    let along_columns = attribute(node, "axis").is_some_and(|a| a.i == 1);
    let columns = constant_integers(graph, node.input.get(1)?).filter(|_| along_columns)?;
    Some((node.input.first()?.clone(), columns))
}

/// The lists of all nodes of all trees of a group.
#[derive(Default)]
struct Lists {
    features: Vec<i64>,
    thresholds: Vec<f32>,
    yes: Vec<i64>,
    no: Vec<i64>,
    nan_yes: Vec<f32>,
    weights: Vec<f32>,
    roots: Vec<usize>,
    depth: usize,
}

impl Lists {
    fn add(&mut self, ensemble: &Ensemble) {
        let offset = self.features.len();
        for (i, node) in ensemble.nodes.iter().enumerate() {
            let own = (offset + i) as i64;
            let (feature, threshold, yes, no, nan_yes) = match *node {
                TreeNode::Split { feature, threshold, yes, no, nan_yes } => {
                    (feature as i64, threshold, (offset + yes) as i64, (offset + no) as i64, nan_yes)
                }
                TreeNode::Leaf { .. } => (0, 0.0, own, own, false),
            };
            self.features.push(feature);
            self.thresholds.push(threshold);
            self.yes.push(yes);
            self.no.push(no);
            self.nan_yes.push(f32::from(nan_yes));
            let targets = ensemble.targets;
            match *node {
                TreeNode::Leaf { leaf } => {
                    self.weights.extend_from_slice(&ensemble.weights[leaf * targets..][..targets]);
                }
                TreeNode::Split { .. } => self.weights.extend(std::iter::repeat_n(0.0, targets)),
            }
        }
        self.roots.extend(ensemble.roots.iter().map(|r| offset + r));
        self.depth = self.depth.max(ensemble.depth);
    }
}

fn emit(editor: &mut Editor, input: &str, targets: usize, works: &[Work]) {
    let mut lists = Lists::default();
    works.iter().for_each(|w| lists.add(&w.ensemble));
    let at = descend(editor, input, &lists);
    let nodes = lists.features.len();
    let weights = editor.floats(&[nodes, targets], &lists.weights);
    let values = editor.node("Gather", &[&weights, &at], vec![int("axis", 0)]);
    let mut first = 0;
    for work in works {
        let trees = work.ensemble.roots.len();
        let own = if works.len() == 1 {
            values.clone()
        } else {
            let [from, to, axis] = [first, first + trees as i64, 1].map(|v| editor.integers(&[v]));
            editor.node("Slice", &[&values, &from, &to, &axis], vec![])
        };
        first += trees as i64;
        let sums = editor.reduce("ReduceSum", &own, Some(&[1]), false);
        finish(editor, &work.ensemble, sums, &work.output);
    }
}

/// Where each row ends in each tree, `[B, T]`.
fn descend(editor: &mut Editor, input: &str, lists: &Lists) -> String {
    let n = lists.features.len();
    let features = editor.integers(&lists.features);
    let thresholds = editor.floats(&[n], &lists.thresholds);
    let (yes, no) = (editor.integers(&lists.yes), editor.integers(&lists.no));
    let nan = lists.nan_yes.contains(&1.0).then(|| editor.floats(&[n], &lists.nan_yes));
    let root = |list: &[i64]| lists.roots.iter().map(|r| list[*r]).collect::<Vec<_>>();
    let t = lists.roots.len();
    // The first level is the same for every row: its lists are constants.
    let columns = editor.integers(&root(&lists.features));
    let value = editor.node("Gather", &[input, &columns], vec![int("axis", 1)]);
    let bar: Vec<f32> = lists.roots.iter().map(|r| lists.thresholds[*r]).collect();
    let bar = editor.floats(&[1, t], &bar);
    let nan_here: Vec<f32> = lists.roots.iter().map(|r| lists.nan_yes[*r]).collect();
    let nan_here = nan.is_some().then(|| editor.floats(&[1, t], &nan_here));
    let goes = compare(editor, &value, &bar, nan_here.as_deref());
    let (to_yes, to_no) = (editor.integers(&root(&lists.yes)), editor.integers(&root(&lists.no)));
    let mut at = editor.node("Where", &[&goes, &to_yes, &to_no], vec![]);
    for _ in 1..lists.depth {
        let mut gather = |list: &str| editor.node("Gather", &[list, &at], vec![int("axis", 0)]);
        let (feature, bar) = (gather(&features), gather(&thresholds));
        let (to_yes, to_no) = (gather(&yes), gather(&no));
        let nan_here = nan.as_deref().map(gather);
        let value = editor.node("GatherElements", &[input, &feature], vec![int("axis", 1)]);
        let goes = compare(editor, &value, &bar, nan_here.as_deref());
        at = editor.node("Where", &[&goes, &to_yes, &to_no], vec![]);
    }
    at
}

/// `value <= bar`, and for NaN what the node says.
fn compare(editor: &mut Editor, value: &str, bar: &str, nan_yes: Option<&str>) -> String {
    let smaller = editor.node("LessOrEqual", &[value, bar], vec![]);
    let Some(nan_yes) = nan_yes else {
        return smaller;
    };
    let half = editor.floats(&[], &[0.5]);
    let wanted = editor.node("Greater", &[nan_yes, &half], vec![]);
    let missing = editor.node("IsNaN", &[value], vec![]);
    let both = editor.node("And", &[&wanted, &missing], vec![]);
    editor.node("Or", &[&smaller, &both], vec![])
}

/// From sums `[B, targets]` to the operator's output.
fn finish(editor: &mut Editor, ensemble: &Ensemble, mut sums: String, output: &str) {
    if ensemble.average {
        let trees = editor.floats(&[], &[1.0 / ensemble.roots.len() as f32]);
        sums = editor.node("Mul", &[&sums, &trees], vec![]);
    }
    if !ensemble.base.is_empty() {
        let base = editor.floats(&[1, ensemble.base.len()], &ensemble.base);
        sums = editor.node("Add", &[&sums, &base], vec![]);
    }
    sums = match ensemble.post {
        Post::None => sums,
        Post::Logistic => editor.node("Sigmoid", &[&sums], vec![]),
        Post::Softmax => editor.node("Softmax", &[&sums], vec![int("axis", -1)]),
    };
    let other = match ensemble.binary {
        Binary::No => return editor.node_named("Identity", &[&sums], vec![], output),
        Binary::Complement => {
            let one = editor.floats(&[], &[1.0]);
            editor.node("Sub", &[&one, &sums], vec![])
        }
        Binary::Negative => editor.node("Neg", &[&sums], vec![]),
    };
    editor.node_named("Concat", &[&other, &sums], vec![int("axis", 1)], output);
}
