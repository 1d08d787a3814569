//! Every finding of the linter, each by a small model made for it.

use proptest::prelude::*;
use prost::Message as _;
use tacit_models::Manifest;
use tacit_models::import::inspect::inspect;
use tacit_models::import::{Code, prepare};
use tacit_models::runtime::MAX_MODEL_BYTES;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{AttributeProto, FunctionProto, GraphProto, ModelProto, TensorProto, ValueInfoProto};

use super::{findings, floats, int, manifest, node, refused, sum_of_three, with_nodes};

fn usual() -> Manifest {
    manifest(1, 3, "host-score", "")
}

/// `sum_of_three`, changed.
fn changed(change: impl FnOnce(&mut ModelProto, &mut GraphProto)) -> ModelProto {
    let mut model = sum_of_three();
    let mut graph = model.graph.take().unwrap();
    change(&mut model, &mut graph);
    model.graph.get_or_insert(graph);
    model
}

fn constant(change: impl FnOnce(&mut TensorProto)) -> ModelProto {
    changed(|_, g| change(&mut g.initializer[0]))
}

#[test]
fn a_good_model_passes() {
    assert_eq!(findings(&sum_of_three(), &usual()), vec![]);
}

#[test]
fn what_is_no_model_is_refused() {
    let code = |bytes: &[u8]| prepare(bytes, &usual()).unwrap_err().0[0].code;
    assert_eq!(code(b"not a model at all"), Code::NotOnnx);
    assert_eq!(code(&vec![0; MAX_MODEL_BYTES + 1]), Code::TooLarge);
    assert_eq!(code(b""), Code::NoGraph);
    let no_nodes = changed(|_, g| g.node.clear());
    refused(&no_nodes, &usual(), Code::NoGraph, "the model", "no graph");
}

#[test]
fn an_unknown_operator_set_is_refused() {
    for (version, found) in [(12, "version 12"), (19, "version 19")] {
        let model = changed(|m, _| m.opset_import[0].version = version);
        refused(&model, &usual(), Code::Opset, "the default operator set", found);
    }
    let none = changed(|m, _| m.opset_import.clear());
    refused(&none, &usual(), Code::Opset, "the default operator set", "no version");
}

#[test]
fn operators_that_are_not_on_the_list_are_refused_by_name() {
    for (domain, op) in [
        ("", "NonZero"),
        ("", "RandomNormalLike"),
        ("", "Loop"),
        ("com.microsoft", "Gelu"),
        ("ai.onnx.ml", "SVMRegressor"),
    ] {
        let model = with_nodes(vec![node(domain, op, &["x"], &["y"], vec![])]);
        refused(&model, &usual(), Code::Operator, op, "not on the list");
    }
}

#[test]
fn graphs_inside_nodes_and_functions_are_refused() {
    let branch =
        AttributeProto { name: "then_branch".into(), g: Some(GraphProto::default()), ..AttributeProto::default() };
    let model = with_nodes(vec![node("", "If", &["x"], &["y"], vec![branch])]);
    refused(&model, &usual(), Code::ControlFlow, "`y` (If)", "a graph inside");
    let model = changed(|m, _| m.functions.push(FunctionProto::default()));
    refused(&model, &usual(), Code::ControlFlow, "the model", "a function");
}

#[test]
fn weights_elsewhere_of_odd_types_shapes_and_values_are_refused() {
    let external = constant(|t| t.data_location = Some(DataLocation::External as i32));
    refused(&external, &usual(), Code::ExternalData, "constant `c0`", "another file");
    let strings = constant(|t| t.data_type = DataType::String as i32);
    refused(&strings, &usual(), Code::TensorType, "constant `c0`", "STRING");
    for dims in [vec![4, 1], vec![-3, -1], vec![i64::MAX, 3], vec![1; 7]] {
        let model = constant(|t| t.dims = dims);
        refused(&model, &usual(), Code::TensorShape, "constant `c0`", "");
    }
    let ragged = constant(|t| t.raw_data.truncate(11));
    refused(&ragged, &usual(), Code::TensorShape, "constant `c0`", "broken number");
    let nan = constant(|t| t.raw_data[4..8].copy_from_slice(&f32::NAN.to_le_bytes()));
    refused(&nan, &usual(), Code::NanWeight, "constant `c0`", "NaN");
    let attribute = vec![floats("offset", &[f32::NAN; 3]), floats("scale", &[1.0; 3])];
    let scaler = with_nodes(vec![node("ai.onnx.ml", "Scaler", &["x"], &["y"], attribute)]);
    refused(&scaler, &usual(), Code::NanWeight, "`y` (ai.onnx.ml:Scaler)", "`offset`");
}

#[test]
fn a_huge_constant_is_refused_before_it_is_made() {
    let model = changed(|_, g| {
        let dims = [1000_i64, 1000, 800];
        g.initializer.push(TensorProto {
            name: "dims".into(),
            dims: vec![3],
            data_type: DataType::Int64 as i32,
            raw_data: dims.iter().flat_map(|d| d.to_le_bytes()).collect(),
            ..TensorProto::default()
        });
        g.node.push(node("", "ConstantOfShape", &["dims"], &["huge"], vec![]));
        g.node.push(node("", "ReduceSum", &["huge"], &["sum"], vec![]));
        g.node.push(node("", "Add", &["n0", "sum"], &["out"], vec![]));
        g.output[0].name = "out".into();
    });
    assert!(model.encoded_len() < 400);
    refused(&model, &usual(), Code::TooManyConstants, "`huge` (ConstantOfShape)", "800000000");
}

#[test]
fn too_many_nodes_are_refused() {
    let name = |i: usize| format!("y{i}");
    let chain: Vec<_> = (0..5000)
        .map(|i| node("", "Relu", &[if i == 0 { "x".to_owned() } else { name(i - 1) }.as_str()], &[&name(i)], vec![]))
        .collect();
    refused(&with_nodes(chain), &usual(), Code::TooManyNodes, "the graph", "5000 nodes");
}

#[test]
fn circles_and_broken_names_are_refused() {
    let circle =
        with_nodes(vec![node("", "Add", &["x", "b"], &["a"], vec![]), node("", "Relu", &["a"], &["b"], vec![])]);
    refused(&circle, &usual(), Code::Cycle, "the graph", "their own output");
    let twice = with_nodes(vec![node("", "Relu", &["x"], &["y"], vec![]), node("", "Abs", &["x"], &["y"], vec![])]);
    refused(&twice, &usual(), Code::Name, "`y` (Abs)", "second time");
    let nowhere = with_nodes(vec![node("", "Relu", &["nowhere"], &["y"], vec![])]);
    refused(&nowhere, &usual(), Code::Name, "`y` (Relu)", "`nowhere`");
    let output = changed(|_, g| g.output[0].name = "nowhere".into());
    refused(&output, &usual(), Code::Name, "the outputs", "`nowhere`");
}

#[test]
fn an_input_that_does_not_fit_is_refused_with_both_shapes() {
    let refusal = &findings(&sum_of_three(), &manifest(1, 4, "host-score", ""))[0];
    assert_eq!(
        refusal.to_string(),
        "input: input `x`: shape [1, 3]; allowed: [1, 4] or [1, 1, 4] or [1, 4, 1] or [1, 4] or [4]"
    );
    refused(&sum_of_three(), &manifest(2, 3, "host-score", ""), Code::Input, "input `x`", "shape [1, 3]");
    let two = changed(|_, g| g.input.push(ValueInfoProto { name: "mask".into(), ..g.input[0].clone() }));
    refused(&two, &usual(), Code::Input, "the inputs", "mask");
    let untyped = changed(|_, g| g.input[0].r#type = None);
    refused(&untyped, &usual(), Code::Input, "input `x`", "no type");
    let fitted = Manifest::parse(tacit_models::manifest::HOST_DETECTOR).unwrap();
    refused(&sum_of_three(), &fitted, Code::Input, "the manifest", "fitted-on-node");
}

#[test]
fn an_output_that_does_not_fit_is_refused() {
    let two = changed(|_, g| g.output.push(ValueInfoProto { name: "x".into(), ..g.output[0].clone() }));
    refused(&two, &usual(), Code::Output, "the outputs", "n0");
    let wrong = manifest(1, 3, "host-score", "[foreign]\noutput = \"scores\"");
    refused(&sum_of_three(), &wrong, Code::Output, "the outputs", "n0");
    let untyped = changed(|_, g| g.output[0].r#type = None);
    refused(&untyped, &usual(), Code::Output, "output `n0`", "no type");
}

#[test]
fn what_cannot_be_rewritten_is_refused() {
    let attribute = vec![floats("offset", &[0.0; 2]), floats("scale", &[1.0; 3])];
    let scaler = with_nodes(vec![node("ai.onnx.ml", "Scaler", &["x"], &["y"], attribute)]);
    refused(&scaler, &usual(), Code::Rewrite, "Scaler", "2 offsets and 3 scales");
    let mut computed = with_nodes(vec![
        node("", "Shape", &["x"], &["s"], vec![]),
        node("", "ReduceLogSumExp", &["x", "s"], &["y"], vec![int("keepdims", 1)]),
    ]);
    computed.opset_import[0].version = 18;
    refused(&computed, &usual(), Code::Rewrite, "ReduceLogSumExp", "axes");
}

#[test]
fn what_feeds_no_score_is_cut_off_before_it_is_judged() {
    let model = changed(|_, g| g.node.push(node("", "NonZero", &["x"], &["indices"], vec![])));
    assert_eq!(findings(&model, &usual()), vec![]);
    assert_eq!(inspect(&model.encode_to_vec()).unwrap().findings[0].code, Code::Operator);
}

/// Models of some substance to damage.
fn subjects() -> Vec<Vec<u8>> {
    ["autoencoder", "gru", "isolation-forest", "pca"].iter().map(|name| super::package::example(name).0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// For all bytes: an answer, never a panic.
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = prepare(&bytes, &usual());
        let _ = inspect(&bytes);
    }

    /// For every model, every place to cut it and every byte to change: an answer, never a panic.
    #[test]
    fn damaged_models_never_panic(which in 0_usize..4, cut in 0.0_f64..1.0, at in 0.0_f64..1.0, byte in any::<u8>()) {
        let mut bytes = subjects().swap_remove(which);
        let (cut, at) = ((cut * bytes.len() as f64) as usize, (at * bytes.len() as f64) as usize);
        let _ = prepare(&bytes[..cut], &usual());
        bytes[at] = byte;
        for manifest in [usual(), manifest(1, 8, "host-score", "[foreign]\noutput = \"scores\"")] {
            let _ = prepare(&bytes, &manifest);
        }
        let _ = inspect(&bytes);
    }
}

#[test]
fn the_documentation_lists_every_operator_and_every_code() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/MODELS.md")).unwrap();
    let list = page.split("### Operators").nth(1).unwrap();
    let listed: Vec<&str> = list.split([',', '.', '\n']).map(str::trim).filter(|o| !o.is_empty()).collect();
    assert_eq!(listed, tacit_models::import::bounds::OPERATORS);
    for code in [Code::TooLarge, Code::NanWeight, Code::TooMuchWork, Code::Tree, Code::Stopped, Code::TooManyFields] {
        assert!(page.contains(&format!("`{code}`")), "{code}");
    }
}
