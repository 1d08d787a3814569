//! What is rewritten computes what it should.

use proptest::prelude::*;
use prost::Message as _;
use tacit_models::import::{Code, prepare};
use tract_onnx::pb::{ModelProto, NodeProto, ValueInfoProto};

use super::{
    decoded, floats, int, ints, loaded, manifest, node, refused, run, string, strings, sum_of_three, with_nodes,
};
use tacit_models::graph::GraphBuilder;

const COLUMNS: usize = 5;

/// A tree of the test's own, evaluated by walking it.
#[derive(Debug, Clone)]
enum Tree {
    Leaf(Vec<f32>),
    Split { feature: usize, threshold: f32, mode: &'static str, nan_yes: bool, yes: Box<Tree>, no: Box<Tree> },
}

impl Tree {
    fn eval<'a>(&'a self, x: &[f32]) -> &'a [f32] {
        match self {
            Self::Leaf(weights) => weights,
            Self::Split { feature, threshold, mode, nan_yes, yes, no } => {
                let v = x[*feature];
                let holds = match *mode {
                    "BRANCH_LEQ" => v <= *threshold,
                    "BRANCH_LT" => v < *threshold,
                    "BRANCH_GT" => v > *threshold,
                    _ => v >= *threshold,
                };
                if holds || v.is_nan() && *nan_yes { yes.eval(x) } else { no.eval(x) }
            }
        }
    }
}

/// The parallel lists of an ensemble, node by node.
#[derive(Default)]
struct Lists {
    tree: Vec<i64>,
    id: Vec<i64>,
    feature: Vec<i64>,
    value: Vec<f32>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
    mode: Vec<&'static str>,
    leaf_tree: Vec<i64>,
    leaf_id: Vec<i64>,
    leaf_target: Vec<i64>,
    leaf_weight: Vec<f32>,
}

impl Lists {
    fn add(&mut self, number: i64, next: &mut i64, tree: &Tree) -> i64 {
        let (id, at) = (*next, self.id.len());
        *next += 1;
        self.tree.push(number);
        self.id.push(id);
        for list in [&mut self.feature, &mut self.yes, &mut self.no, &mut self.missing] {
            list.push(0);
        }
        self.value.push(0.0);
        self.mode.push("LEAF");
        match tree {
            Tree::Leaf(weights) => {
                for (target, weight) in weights.iter().enumerate() {
                    self.leaf_tree.push(number);
                    self.leaf_id.push(id);
                    self.leaf_target.push(target as i64);
                    self.leaf_weight.push(*weight);
                }
            }
            Tree::Split { feature, threshold, mode, nan_yes, yes, no } => {
                self.feature[at] = *feature as i64;
                self.value[at] = *threshold;
                self.mode[at] = mode;
                self.missing[at] = i64::from(*nan_yes);
                self.yes[at] = self.add(number, next, yes);
                self.no[at] = self.add(number, next, no);
            }
        }
        id
    }

    fn node(
        &self,
        op: &str,
        prefix: &str,
        output: &[&str],
        mut more: Vec<tract_onnx::pb::AttributeProto>,
    ) -> NodeProto {
        let of = |what: &str| format!("{prefix}_{what}");
        more.extend([
            ints("nodes_treeids", &self.tree),
            ints("nodes_nodeids", &self.id),
            ints("nodes_featureids", &self.feature),
            floats("nodes_values", &self.value),
            ints("nodes_truenodeids", &self.yes),
            ints("nodes_falsenodeids", &self.no),
            ints("nodes_missing_value_tracks_true", &self.missing),
            strings("nodes_modes", &self.mode),
            ints(&of("treeids"), &self.leaf_tree),
            ints(&of("nodeids"), &self.leaf_id),
            ints(&of("ids"), &self.leaf_target),
            floats(&of("weights"), &self.leaf_weight),
        ]);
        node("ai.onnx.ml", op, &["x"], output, more)
    }
}

fn lists(trees: &[Tree]) -> Lists {
    let mut lists = Lists::default();
    for (i, tree) in trees.iter().enumerate() {
        lists.add(i as i64, &mut 0, tree);
    }
    lists
}

fn trees(targets: usize) -> impl Strategy<Value = Tree> {
    let leaf = prop::collection::vec(-1.0_f32..1.0, targets).prop_map(Tree::Leaf);
    let mode = prop::sample::select(vec!["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"]);
    leaf.prop_recursive(6, 40, 2, move |inner| {
        // Thresholds on a coarse grid, so that inputs hit them exactly.
        (0..COLUMNS, -4_i32..5, mode.clone(), any::<bool>(), inner.clone(), inner).prop_map(
            |(feature, threshold, mode, nan_yes, yes, no)| Tree::Split {
                feature,
                threshold: threshold as f32 / 2.0,
                mode,
                nan_yes,
                yes: Box::new(yes),
                no: Box::new(no),
            },
        )
    })
}

/// A model of these nodes over one row of `COLUMNS` columns.
fn over_columns(nodes: Vec<NodeProto>, output: &str) -> ModelProto {
    let mut g = GraphBuilder::default();
    let out = g.node("Relu", &["x"], vec![]);
    let form = decoded(&g.finish("form", ("x", [1, COLUMNS]), (&out, [1, 1]))).graph.unwrap();
    let mut model = with_nodes(nodes);
    let graph = model.graph.as_mut().unwrap();
    graph.input = form.input;
    graph.output[0].name = output.to_owned();
    model
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 + 1e-5 * b.abs())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// For every ensemble and every row, NaN included, the rewritten trees give the sum of the leaves that walking gives.
    #[test]
    fn rewritten_trees_equal_a_direct_evaluation(
        first in prop::collection::vec(trees(1), 1..6),
        second in prop::collection::vec(trees(1), 1..4),
        rows in prop::collection::vec(prop::collection::vec(-6_i32..7, COLUMNS), 12),
        base in -1.0_f32..1.0,
    ) {
        // Two ensembles over the same input go down together; one is an average, one has a base.
        let average = vec![string("aggregate_function", "AVERAGE")];
        let model = over_columns(vec![
            lists(&first).node("TreeEnsembleRegressor", "target", &["a"], vec![int("n_targets", 1), floats("base_values", &[base])]),
            lists(&second).node("TreeEnsembleRegressor", "target", &["b"], average),
            node("", "Add", &["a", "b"], &["y"], vec![]),
        ], "y");
        let mut model = loaded(&model, &manifest(1, COLUMNS, "host-score", ""), COLUMNS);
        for row in rows {
            // Six is NaN; the others are on the grid of thresholds.
            let x: Vec<f32> = row.iter().map(|v| if *v == 6 { f32::NAN } else { *v as f32 / 2.0 }).collect();
            let sum = |trees: &[Tree]| trees.iter().map(|t| t.eval(&x)[0]).sum::<f32>();
            let expected = sum(&first) + base + sum(&second) / second.len() as f32;
            let got = run(&mut model, &x);
            prop_assert!(close(&got, &[expected]), "{got:?} and {expected} for {x:?}");
        }
    }

    /// For every ensemble of three classes the rewritten scores are the softmax of the sums.
    #[test]
    fn rewritten_classifiers_equal_a_direct_evaluation(
        forest in prop::collection::vec(trees(3), 1..5),
        rows in prop::collection::vec(prop::collection::vec(-5_i32..6, COLUMNS), 6),
    ) {
        let more = vec![ints("classlabels_int64s", &[0, 1, 2]), string("post_transform", "SOFTMAX")];
        let classifier = lists(&forest).node("TreeEnsembleClassifier", "class", &["label", "p"], more);
        let pick = |i: i64| node("", "Gather", &["p", "which"], &["y"], vec![int("axis", i)]);
        let mut model = over_columns(vec![classifier, pick(1)], "y");
        model.graph.as_mut().unwrap().initializer.push(tract_onnx::pb::TensorProto {
            name: "which".into(), dims: vec![1], data_type: 7, int64_data: vec![2], ..Default::default()
        });
        let mut model = loaded(&model, &manifest(1, COLUMNS, "host-score", ""), COLUMNS);
        for row in rows {
            let x: Vec<f32> = row.iter().map(|v| *v as f32 / 2.0).collect();
            let sums: Vec<f32> = (0..3).map(|c| forest.iter().map(|t| t.eval(&x)[c]).sum()).collect();
            let all: f32 = sums.iter().map(|s| s.exp()).sum();
            let got = run(&mut model, &x);
            prop_assert!(close(&got, &[sums[2].exp() / all]), "{got:?} for {sums:?}");
        }
    }

    /// For all values, far outliers included, log-sum-exp is finite and right.
    #[test]
    fn rewritten_log_sum_exp_never_overflows(x in prop::collection::vec(-400.0_f32..400.0, COLUMNS), form in 0..3, opset in 0..2) {
        let axes = vec![ints("axes", &[1]), int("keepdims", i64::from(form == 0))];
        let nodes = match (form, opset) {
            // Written out by an exporter; over all axes, to a scalar.
            (2, _) => vec![
                node("", "Exp", &["x"], &["e"], vec![]),
                node("", "ReduceSum", &["e"], &["s"], vec![int("keepdims", 0)]),
                node("", "Log", &["s"], &["y"], vec![]),
            ],
            (_, 0) => vec![node("", "ReduceLogSumExp", &["x"], &["y"], axes)],
            _ => vec![node("", "ReduceLogSumExp", &["x", "axes"], &["y"], vec![axes[1].clone()])],
        };
        let mut model = over_columns(nodes, "y");
        if opset == 1 {
            model.opset_import[0].version = 18;
            model.graph.as_mut().unwrap().initializer.push(tract_onnx::pb::TensorProto {
                name: "axes".into(), dims: vec![1], data_type: 7, int64_data: vec![1], ..Default::default()
            });
        }
        let mut model = loaded(&model, &manifest(1, COLUMNS, "host-score", ""), COLUMNS);
        let max = x.iter().copied().fold(f32::MIN, f32::max);
        let expected = max + x.iter().map(|v| (v - max).exp()).sum::<f32>().ln();
        let got = run(&mut model, &x);
        prop_assert!(close(&got, &[expected]), "{got:?} and {expected}");
    }
}

fn one_split() -> Lists {
    let leaf = |w| Box::new(Tree::Leaf(vec![w]));
    let tree =
        Tree::Split { feature: 1, threshold: 0.0, mode: "BRANCH_LEQ", nan_yes: false, yes: leaf(-1.0), no: leaf(1.0) };
    lists(&[tree])
}

#[test]
fn what_is_no_tree_is_refused() {
    let check = |change: &dyn Fn(&mut Lists), found: &str| {
        let mut lists = one_split();
        change(&mut lists);
        let model = over_columns(vec![lists.node("TreeEnsembleRegressor", "target", &["y"], vec![])], "y");
        refused(
            &model,
            &manifest(1, COLUMNS, "host-score", ""),
            Code::Tree,
            "`y` (ai.onnx.ml:TreeEnsembleRegressor)",
            found,
        );
    };
    // Its root is its own child: no root is left. Two nodes that are each other's child: not reached.
    check(&|l| l.yes[0] = 0, "");
    check(
        &|l| {
            for i in 3..5 {
                l.tree.push(0);
                l.id.push(i);
                l.feature.push(0);
                l.value.push(0.0);
                l.yes.push(7 - i);
                l.no.push(7 - i);
                l.missing.push(0);
                l.mode.push("BRANCH_LEQ");
            }
        },
        "two parents",
    );
    check(&|l| (l.mode[1], l.yes[1], l.no[1]) = ("BRANCH_LEQ", 0, 2), "no leaf");
    check(&|l| l.no[0] = 9, "child 9, which does not exist");
    check(&|l| l.no[0] = -1, "child -1, which does not exist");
    check(&|l| l.no[0] = 1, "two parents");
    check(&|l| l.id[2] = 1, "same id");
    check(&|l| l.value.truncate(2), "`nodes_values` has 2 entries for 3");
    check(&|l| l.feature[0] = 5, "feature 5 of an input with 5 columns");
    check(&|l| l.feature[0] = -1, "feature -1");
    check(&|l| l.mode[0] = "BRANCH_EQ", "comparison `BRANCH_EQ`");
    check(&|l| l.leaf_weight[0] = f32::INFINITY, "the weight inf");
    check(&|l| l.leaf_target[0] = 3, "target 3 of 1");
    check(&|l| l.leaf_id[0] = 0, "no leaf");
}

#[test]
fn a_circle_of_nodes_is_refused_whatever_its_size() {
    let mut lists = one_split();
    // 3 -> 4 -> 5 -> 3, each with a leaf of its own: one parent each, and no way in.
    for (id, yes, no) in [(3, 4, 6), (4, 5, 7), (5, 3, 8), (6, 0, 0), (7, 0, 0), (8, 0, 0)] {
        lists.tree.push(0);
        lists.id.push(id);
        lists.feature.push(0);
        lists.value.push(0.0);
        lists.yes.push(yes);
        lists.no.push(no);
        lists.missing.push(0);
        lists.mode.push(if id < 6 { "BRANCH_LEQ" } else { "LEAF" });
    }
    let model = over_columns(vec![lists.node("TreeEnsembleRegressor", "target", &["y"], vec![])], "y");
    refused(&model, &manifest(1, COLUMNS, "host-score", ""), Code::Tree, "`y`", "its own ancestor");
}

#[test]
fn labels_are_no_scores() {
    let more = vec![ints("classlabels_int64s", &[0, 1])];
    let classifier = one_split().node("TreeEnsembleClassifier", "class", &["label", "p"], more);
    let cast = node("", "Cast", &["label"], &["y"], vec![int("to", 1)]);
    let model = over_columns(vec![classifier, cast], "y");
    refused(&model, &manifest(1, COLUMNS, "host-score", ""), Code::Output, "TreeEnsembleClassifier", "labels are used");
}

#[test]
fn a_scaler_becomes_sub_and_mul() {
    let attribute = vec![floats("offset", &[1.0, 2.0, 3.0]), floats("scale", &[2.0])];
    let model = with_nodes(vec![node("ai.onnx.ml", "Scaler", &["x"], &["y"], attribute)]);
    let manifest = manifest(1, 3, "score-per-series", "");
    let prepared = prepare(&model.encode_to_vec(), &manifest).unwrap();
    assert!(prepared.done[0].contains("written as Sub and Mul"), "{:?}", prepared.done);
    let mut model = loaded(&model, &manifest, 3);
    assert_eq!(run(&mut model, &[1.0, 3.0, 5.0]), [0.0, 2.0, 4.0]);
}

#[test]
fn a_falling_score_rises_and_a_reconstruction_becomes_its_error() {
    let mut falling = loaded(&sum_of_three(), &manifest(1, 3, "host-score", "[foreign]\nlower_is_worse = true"), 3);
    assert_eq!(run(&mut falling, &[1.0, 1.0, 1.0]), [-6.0]);
    // Half of the input as its reconstruction: the error is the other half.
    let mut g = GraphBuilder::default();
    let half = g.constant(&[], &[0.5]);
    let out = g.node("Mul", &["x", &half], vec![]);
    let model = decoded(&g.finish("half", ("x", [2, 2]), (&out, [2, 2])));
    let meaning = "[foreign]\nmeaning = \"reconstruction\"";
    let mut per_series = loaded(&model, &manifest(2, 2, "score-per-series", meaning), 2);
    assert_eq!(run(&mut per_series, &[2.0, 4.0, 2.0, 4.0]), [1.0, 2.0]);
    let mut host = loaded(&model, &manifest(2, 2, "host-score", meaning), 2);
    assert_eq!(run(&mut host, &[2.0, 2.0, 2.0, 2.0]), [1.0]);
}

#[test]
fn a_mask_of_its_own_is_taken_from_the_window() {
    let mut g = GraphBuilder::default();
    let out = g.node("Mul", &["x", "present"], vec![]);
    let mut model = decoded(&g.finish("masked", ("x", [1, 3]), (&out, [1, 3])));
    let graph = model.graph.as_mut().unwrap();
    graph.input.push(ValueInfoProto { name: "present".into(), ..graph.input[0].clone() });
    let mut manifest = manifest(1, 3, "score-per-series", "[foreign]\nmask_input = \"present\"");
    refused(&model, &manifest, Code::Input, "the inputs", "present");
    manifest.input.mask = true;
    let mut model = loaded(&model, &manifest, 3);
    assert_eq!(run(&mut model, &[5.0, 6.0, 7.0, 1.0, 0.0, 1.0]), [5.0, 0.0, 7.0]);
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let bytes = sum_of_three().encode_to_vec();
    let manifest = manifest(1, 3, "host-score", "");
    assert_eq!(prepare(&bytes, &manifest), prepare(&bytes, &manifest));
}
