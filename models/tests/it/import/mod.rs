//! Foreign models: what is refused and why, what is rewritten and that it computes the same, packages.

// What clippy allows in a test it does not allow in the helpers around it.
#![allow(clippy::unwrap_used)]

mod contract;
mod lint;
mod package;
mod rewrite;

use prost::Message as _;
use tacit_models::Manifest;
use tacit_models::graph::GraphBuilder;
use tacit_models::import::{Code, Finding, Refused, prepare};
use tacit_models::runtime::Model;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto, OperatorSetIdProto};

/// A manifest for `columns` named series; `more` goes to the end, after the table `decision`.
fn manifest(rows: usize, columns: usize, kind: &str, more: &str) -> Manifest {
    let names: Vec<String> = (0..columns).map(|i| format!("s{i}")).collect();
    let text = format!(
        "name = \"under-test\"\nversion = \"1.0.0\"\nformat = \"onnx\"\n\
         [input]\nrows = {rows}\ncolumns = {{ named = {names:?} }}\n\
         preprocessing = \"standardised-window\"\nperiod_ms = 1000\n\
         [output]\nkind = \"{kind}\"\n\
         [decision]\nfusion = \"mean\"\nthreshold = \"alarm-budget\"\n{more}"
    );
    Manifest::parse(&text).unwrap()
}

/// A small good model: the sum of three columns.
fn sum_of_three() -> ModelProto {
    let mut g = GraphBuilder::default();
    let factor = g.constant(&[3, 1], &[1.0, 2.0, 3.0]);
    let out = g.node("MatMul", &["x", &factor], vec![]);
    decoded(&g.finish("sum", ("x", [1, 3]), (&out, [1, 1])))
}

fn decoded(bytes: &[u8]) -> ModelProto {
    ModelProto::decode(bytes).unwrap()
}

fn node(domain: &str, op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    NodeProto {
        input: owned(inputs),
        output: owned(outputs),
        name: outputs[0].to_owned(),
        op_type: op.to_owned(),
        domain: domain.to_owned(),
        attribute,
        ..NodeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let ints = values.to_vec();
    AttributeProto { name: name.into(), r#type: AttributeType::Ints as i32, ints, ..AttributeProto::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i, ..AttributeProto::default() }
}

fn floats(name: &str, values: &[f32]) -> AttributeProto {
    let floats = values.to_vec();
    AttributeProto { name: name.into(), r#type: AttributeType::Floats as i32, floats, ..AttributeProto::default() }
}

fn strings(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|s| s.as_bytes().to_vec()).collect();
    AttributeProto { name: name.into(), r#type: AttributeType::Strings as i32, strings, ..AttributeProto::default() }
}

fn string(name: &str, value: &str) -> AttributeProto {
    let s = value.as_bytes().to_vec();
    AttributeProto { name: name.into(), r#type: AttributeType::String as i32, s, ..AttributeProto::default() }
}

/// `sum_of_three` with these nodes in front of its output instead, and their last output as the model's.
fn with_nodes(nodes: Vec<NodeProto>) -> ModelProto {
    let mut model = sum_of_three();
    let graph = model.graph.as_mut().unwrap();
    let last = nodes.last().unwrap().output.last().unwrap().clone();
    graph.node = nodes;
    graph.output[0].name = last;
    model.opset_import.push(OperatorSetIdProto { domain: "ai.onnx.ml".into(), version: 3 });
    model
}

/// Rewrites a model and loads it, here and now.
fn loaded(model: &ModelProto, manifest: &Manifest, series: usize) -> Model {
    let prepared = prepare(&model.encode_to_vec(), manifest).unwrap();
    Model::load(&prepared.model, prepared.manifest.limits(series)).unwrap()
}

fn run(model: &mut Model, input: &[f32]) -> Vec<f32> {
    let mut output = vec![0.0; model.output_len()];
    model.run(input, &mut output).unwrap();
    output
}

fn findings(model: &ModelProto, manifest: &Manifest) -> Vec<Finding> {
    match prepare(&model.encode_to_vec(), manifest) {
        Ok(_) => vec![],
        Err(Refused(findings)) => findings,
    }
}

/// Asserts that the model is refused with this code, at this place, for this reason.
fn refused(model: &ModelProto, manifest: &Manifest, code: Code, place: &str, found: &str) {
    let findings = findings(model, manifest);
    let fits = |f: &Finding| f.code == code && f.place.contains(place) && f.found.contains(found);
    assert!(findings.iter().any(fits), "expected {code} at {place:?} with {found:?}, got {findings:?}");
}
