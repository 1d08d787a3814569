//! A tree ensemble of `ai.onnx.ml`, read from its attributes and checked to be one.
//!
//! The file gives parallel lists: node ids, the two children of each, features, thresholds, and for leaves what they add
//! to which target. Nothing says that these are trees: a child may be its own ancestor, and then the runtime's own tree
//! operator never returns. Here every tree has one root, every other node exactly one parent, and all can be reached from
//! the root; everything is iterative, so that depth costs no stack.
//!
//! All ordered comparisons are brought to one, `x <= threshold`: `x < t` is `x <= t'` with the next smaller float, and
//! the other two are these with exchanged children. Where NaN goes is kept beside it.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;

use super::rewrite::attribute;

/// Most nodes of all trees together; at 32 bytes each they must also fit into a file of 8 MiB.
pub const MAX_TREE_NODES: usize = 200_000;

/// Deepest tree; each level costs about seven nodes of the graph.
pub const MAX_TREE_DEPTH: usize = 64;

/// One node of a tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TreeNode {
    /// `x[feature] <= threshold` goes to `yes`, else to `no`.
    Split {
        /// Column of the input.
        feature: usize,
        /// The threshold.
        threshold: f32,
        /// Node of the ensemble for those that are smaller or equal.
        yes: usize,
        /// Node of the ensemble for the others.
        no: usize,
        /// NaN goes to `yes`.
        nan_yes: bool,
    },
    /// The end; its weights are `weights[leaf * targets..][..targets]`.
    Leaf {
        /// Number of the leaf.
        leaf: usize,
    },
}

/// What is done to the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    /// Nothing.
    None,
    /// `1 / (1 + exp(-x))` each.
    Logistic,
    /// Softmax over targets.
    Softmax,
}

/// How a binary classifier with one sum makes two scores of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// As many sums as outputs.
    No,
    /// `[1 - s, s]`.
    Complement,
    /// `[-s, s]`.
    Negative,
}

/// An ensemble, ready to be written in core operators.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// All nodes of all trees.
    pub nodes: Vec<TreeNode>,
    /// The root of each tree.
    pub roots: Vec<usize>,
    /// Edges from the root to the deepest leaf.
    pub depth: usize,
    /// Number of sums.
    pub targets: usize,
    /// Weights of the leaves, `[leaves, targets]`.
    pub weights: Vec<f32>,
    /// What is added to each sum; empty: nothing.
    pub base: Vec<f32>,
    /// Sums are divided by the number of trees.
    pub average: bool,
    /// What is done to the sums.
    pub post: Post,
    /// How one sum becomes two scores.
    pub binary: Binary,
}

impl Ensemble {
    /// Largest feature that is asked for.
    #[must_use]
    pub fn widest(&self) -> usize {
        let feature = |n: &TreeNode| if let TreeNode::Split { feature, .. } = n { *feature } else { 0 };
        self.nodes.iter().map(feature).max().unwrap_or(0)
    }

    /// Reads its features from these columns of a wider input.
    ///
    /// # Errors
    /// A feature beyond the columns, or a negative column.
    pub fn choose(&mut self, columns: &[i64]) -> Result<(), String> {
        for node in &mut self.nodes {
            if let TreeNode::Split { feature, .. } = node {
                let column = columns.get(*feature).and_then(|c| usize::try_from(*c).ok());
                *feature = column.ok_or_else(|| format!("feature {feature} of {} columns", columns.len()))?;
            }
        }
        Ok(())
    }

    /// Reads a TreeEnsembleRegressor or TreeEnsembleClassifier.
    ///
    /// # Errors
    /// What is wrong, in words: lists of different lengths, no trees, a comparison or transformation that cannot be
    /// written in core operators.
    pub fn parse(node: &NodeProto) -> Result<Self, String> {
        if let Some(a) = node.attribute.iter().find(|a| a.name.ends_with("_as_tensor")) {
            return Err(format!("`{}`: thresholds and weights of 64 bits; train or export in float32", a.name));
        }
        let classifier = node.op_type == "TreeEnsembleClassifier";
        let (ids, index) = node_ids(node)?;
        let prefix = if classifier { "class" } else { "target" };
        let (targets, weights_of, one_class) = leaf_weights(node, prefix, classifier, &index)?;
        let mut parents = vec![0_u8; ids.len()];
        let nodes = splits(node, &ids, &index, &mut parents)?;
        let (nodes, weights) = leaves(nodes, &weights_of, targets)?;
        let (roots, depth) = roots_and_depth(&nodes, &ids, &parents)?;
        let base = floats(node, "base_values").to_vec();
        if !base.is_empty() && base.len() != targets {
            return Err(format!("{} base values for {targets} targets", base.len()));
        }
        let average = match text(node, "aggregate_function").unwrap_or("SUM") {
            "SUM" => false,
            "AVERAGE" => true,
            other => return Err(format!("aggregate `{other}`; SUM and AVERAGE can be written in core operators")),
        };
        let post = match text(node, "post_transform").unwrap_or("NONE") {
            "NONE" => Post::None,
            "LOGISTIC" => Post::Logistic,
            "SOFTMAX" => Post::Softmax,
            other => return Err(format!("post transform `{other}`; NONE, LOGISTIC and SOFTMAX are known")),
        };
        let mut binary = Binary::No;
        if one_class {
            let positive = weights.iter().all(|w| *w >= 0.0);
            binary = match (positive, post) {
                (true, Post::None) | (false, Post::Logistic) => Binary::Complement,
                (false, Post::None) => Binary::Negative,
                _ => return Err("a binary classifier whose transform runtimes disagree about".to_owned()),
            };
        }
        Ok(Self { nodes, roots, depth, targets, weights, base, average, post, binary })
    }
}

type Id = (i64, i64);

fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |a| a.ints.as_slice())
}

fn floats<'a>(node: &'a NodeProto, name: &str) -> &'a [f32] {
    attribute(node, name).map_or(&[], |a| a.floats.as_slice())
}

fn text<'a>(node: &'a NodeProto, name: &str) -> Option<&'a str> {
    attribute(node, name).and_then(|a| std::str::from_utf8(&a.s).ok()).filter(|s| !s.is_empty())
}

fn same_length(name: &str, found: usize, expected: usize) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("`{name}` has {found} entries for {expected}")) }
}

/// The ids of the nodes, (tree, node), and where each is.
fn node_ids(node: &NodeProto) -> Result<(Vec<Id>, HashMap<Id, usize>), String> {
    let (trees, nodes) = (ints(node, "nodes_treeids"), ints(node, "nodes_nodeids"));
    same_length("nodes_treeids", trees.len(), nodes.len())?;
    if nodes.is_empty() || nodes.len() > MAX_TREE_NODES {
        return Err(format!("{} tree nodes; allowed are 1 to {MAX_TREE_NODES}", nodes.len()));
    }
    let ids: Vec<Id> = trees.iter().copied().zip(nodes.iter().copied()).collect();
    let index: HashMap<Id, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    if index.len() != ids.len() {
        return Err("two nodes of a tree have the same id".to_owned());
    }
    Ok((ids, index))
}

/// Number of targets, what each node adds to which, and whether all goes to one class of two.
#[allow(clippy::type_complexity)]
fn leaf_weights(
    node: &NodeProto,
    prefix: &str,
    classifier: bool,
    index: &HashMap<Id, usize>,
) -> Result<(usize, Vec<(usize, usize, f32)>, bool), String> {
    let of = |what: &str| format!("{prefix}_{what}");
    let (trees, nodes) = (ints(node, &of("treeids")), ints(node, &of("nodeids")));
    let (targets, weights) = (ints(node, &of("ids")), floats(node, &of("weights")));
    for (name, found) in [("nodeids", nodes.len()), ("ids", targets.len()), ("weights", weights.len())] {
        same_length(&of(name), found, trees.len())?;
    }
    if let Some(w) = weights.iter().find(|w| !w.is_finite()) {
        return Err(format!("a leaf has the weight {w}"));
    }
    let mut count = if classifier {
        let strings = attribute(node, "classlabels_strings").map_or(0, |a| a.strings.len());
        ints(node, "classlabels_int64s").len().max(strings)
    } else {
        attribute(node, "n_targets").map_or(1, |a| usize::try_from(a.i).unwrap_or(0))
    };
    if !(1..=1000).contains(&count) {
        return Err(format!("{count} targets; allowed are 1 to 1000"));
    }
    let one_class = classifier && count == 2 && targets.iter().all(|t| Some(t) == targets.first());
    if one_class {
        count = 1;
    }
    let mut given = Vec::with_capacity(weights.len());
    for (i, weight) in weights.iter().enumerate() {
        let at = index.get(&(trees[i], nodes[i])).ok_or("a weight for a leaf that does not exist")?;
        let target = if one_class { 0 } else { usize::try_from(targets[i]).unwrap_or(usize::MAX) };
        if target >= count {
            return Err(format!("a weight for target {target} of {count}"));
        }
        given.push((*at, target, *weight));
    }
    Ok((count, given, one_class))
}

/// The nodes with their children; leaves are numbered later.
fn splits(
    node: &NodeProto,
    ids: &[Id],
    index: &HashMap<Id, usize>,
    parents: &mut [u8],
) -> Result<Vec<Option<TreeNode>>, String> {
    let n = ids.len();
    let (features, values) = (ints(node, "nodes_featureids"), floats(node, "nodes_values"));
    let (yes, no) = (ints(node, "nodes_truenodeids"), ints(node, "nodes_falsenodeids"));
    let missing = ints(node, "nodes_missing_value_tracks_true");
    let modes = attribute(node, "nodes_modes").map_or(&[][..], |a| a.strings.as_slice());
    for (name, found) in [
        ("nodes_featureids", features.len()),
        ("nodes_values", values.len()),
        ("nodes_truenodeids", yes.len()),
        ("nodes_falsenodeids", no.len()),
        ("nodes_modes", modes.len()),
    ] {
        same_length(name, found, n)?;
    }
    if !missing.is_empty() {
        same_length("nodes_missing_value_tracks_true", missing.len(), n)?;
    }
    let mut nodes = Vec::with_capacity(n);
    for i in 0..n {
        let (smaller, exchanged) = match modes[i].as_slice() {
            b"LEAF" => {
                nodes.push(None);
                continue;
            }
            b"BRANCH_LEQ" => (false, false),
            b"BRANCH_LT" => (true, false),
            b"BRANCH_GT" => (false, true),
            b"BRANCH_GTE" => (true, true),
            other => return Err(format!("comparison `{}` of node {}", String::from_utf8_lossy(other), ids[i].1)),
        };
        let child = |id: i64| {
            let found = index.get(&(ids[i].0, id)).copied();
            found.ok_or_else(|| {
                format!("node {} of tree {} has the child {id}, which does not exist", ids[i].1, ids[i].0)
            })
        };
        let (mut to_yes, mut to_no) = (child(yes[i])?, child(no[i])?);
        for child in [to_yes, to_no] {
            parents[child] = parents[child].saturating_add(1);
        }
        let mut nan_yes = missing.get(i).is_some_and(|m| *m != 0);
        if exchanged {
            (to_yes, to_no) = (to_no, to_yes);
            nan_yes = !nan_yes;
        }
        let feature = usize::try_from(features[i]).map_err(|_| format!("feature {}", features[i]))?;
        let threshold = if smaller { values[i].next_down() } else { values[i] };
        if values[i].is_nan() {
            return Err(format!("node {} of tree {} has the threshold NaN", ids[i].1, ids[i].0));
        }
        nodes.push(Some(TreeNode::Split { feature, threshold, yes: to_yes, no: to_no, nan_yes }));
    }
    Ok(nodes)
}

/// Numbers the leaves and lays their weights out as `[leaves, targets]`.
fn leaves(
    nodes: Vec<Option<TreeNode>>,
    given: &[(usize, usize, f32)],
    targets: usize,
) -> Result<(Vec<TreeNode>, Vec<f32>), String> {
    let mut count = 0;
    let nodes: Vec<TreeNode> = nodes
        .into_iter()
        .map(|n| {
            n.unwrap_or_else(|| {
                count += 1;
                TreeNode::Leaf { leaf: count - 1 }
            })
        })
        .collect();
    if count * targets > MAX_TREE_NODES * 4 {
        return Err(format!("{count} leaves for {targets} targets"));
    }
    let mut weights = vec![0.0_f32; count * targets];
    for (at, target, weight) in given {
        let TreeNode::Leaf { leaf } = nodes[*at] else {
            return Err("a weight for a node that is no leaf".to_owned());
        };
        weights[leaf * targets + target] += weight;
    }
    Ok((nodes, weights))
}

/// The roots in the order of their trees, and the greatest depth; that everything is a tree is proven here.
fn roots_and_depth(nodes: &[TreeNode], ids: &[Id], parents: &[u8]) -> Result<(Vec<usize>, usize), String> {
    if let Some(i) = parents.iter().position(|p| *p > 1) {
        return Err(format!("node {} of tree {} has two parents", ids[i].1, ids[i].0));
    }
    let roots: Vec<usize> = (0..nodes.len()).filter(|i| parents[*i] == 0).collect();
    let mut trees = std::collections::HashSet::new();
    if let Some(twice) = roots.iter().find(|r| !trees.insert(ids[**r].0)) {
        return Err(format!("tree {} has two roots", ids[*twice].0));
    }
    let (mut level, mut reached, mut depth) = (roots.clone(), roots.len(), 0);
    loop {
        let next: Vec<usize> = level
            .iter()
            .flat_map(|i| match nodes[*i] {
                TreeNode::Split { yes, no, .. } => vec![yes, no],
                TreeNode::Leaf { .. } => vec![],
            })
            .collect();
        if next.is_empty() {
            break;
        }
        depth += 1;
        reached += next.len();
        if depth > MAX_TREE_DEPTH {
            return Err(format!("a tree deeper than {MAX_TREE_DEPTH}"));
        }
        level = next;
    }
    // Each node has at most one parent, so none was counted twice: who was not reached is his own ancestor.
    if reached != nodes.len() {
        return Err("a circle: some node of a tree is its own ancestor".to_owned());
    }
    Ok((roots, depth))
}
