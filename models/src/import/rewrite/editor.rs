//! Writes nodes and constants into a graph under names that nobody uses yet.

use std::collections::HashSet;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// First operator set in which all reductions take their axes as an input; ReduceSum does since 13.
const AXES_AS_INPUT: i64 = 18;

/// A graph under change. What it is given stays; what is added goes to the end and is put in order by
/// [`super::tidy`].
pub(super) struct Editor {
    pub graph: GraphProto,
    opset: i64,
    taken: HashSet<String>,
    next: usize,
}

impl Editor {
    pub fn new(graph: GraphProto, opset: i64) -> Self {
        let nodes = graph.node.iter().flat_map(|n| n.input.iter().chain(&n.output).chain([&n.name]));
        let constants = graph.initializer.iter().map(|t| &t.name);
        let values = graph.input.iter().chain(&graph.output).map(|v| &v.name);
        let taken = nodes.chain(constants).chain(values).cloned().collect();
        Self { graph, opset, taken, next: 0 }
    }

    /// A name nobody has.
    pub fn fresh(&mut self, what: &str) -> String {
        loop {
            let name = format!("{what}_{}", self.next);
            self.next += 1;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }

    /// Adds a node and returns the name of its output.
    pub fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let output = self.fresh("tacit");
        self.node_named(op, inputs, attribute, &output);
        output
    }

    /// Adds a node whose output has this name.
    pub fn node_named(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>, output: &str) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|i| (*i).to_owned()).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: op.to_owned(),
            attribute,
            ..NodeProto::default()
        });
    }

    /// Adds a constant of f32.
    pub fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        self.constant(dims, DataType::Float, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Adds a constant of i64 with one axis.
    pub fn integers(&mut self, values: &[i64]) -> String {
        self.constant(&[values.len()], DataType::Int64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn constant(&mut self, dims: &[usize], kind: DataType, raw_data: Vec<u8>) -> String {
        let name = self.fresh("constant");
        self.graph.initializer.push(TensorProto {
            dims: dims.iter().map(|d| *d as i64).collect(),
            data_type: kind as i32,
            raw_data,
            name: name.clone(),
            ..TensorProto::default()
        });
        name
    }

    /// Adds a reduction over `axes`, or over all without.
    pub fn reduce(&mut self, op: &str, input: &str, axes: Option<&[i64]>, keepdims: bool) -> String {
        let mut attributes = vec![int("keepdims", i64::from(keepdims))];
        let Some(axes) = axes else {
            return self.node(op, &[input], attributes);
        };
        if self.opset >= AXES_AS_INPUT || op == "ReduceSum" {
            let axes = self.integers(axes);
            return self.node(op, &[input, &axes], attributes);
        }
        attributes.push(ints("axes", axes));
        self.node(op, &[input], attributes)
    }

    /// Adds a Reshape.
    pub fn reshape(&mut self, input: &str, shape: &[i64]) -> String {
        let shape = self.integers(shape);
        self.node("Reshape", &[input, &shape], vec![])
    }

    /// Adds a Transpose.
    pub fn transpose(&mut self, input: &str, order: &[i64]) -> String {
        self.node("Transpose", &[input], vec![ints("perm", order)])
    }

    /// Takes the nodes out that `wanted` names, in their order; the rest stays.
    pub fn take(&mut self, wanted: impl Fn(&NodeProto) -> bool) -> Vec<NodeProto> {
        self.graph.node.extract_if(.., |n| wanted(n)).collect()
    }
}

/// An integer attribute.
pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Int as i32, i, ..AttributeProto::default() }
}

/// An attribute of integers.
pub(super) fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let ints = values.to_vec();
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Ints as i32, ints, ..AttributeProto::default() }
}

/// An attribute of floats.
pub(super) fn floats(name: &str, values: &[f32]) -> AttributeProto {
    let floats = values.to_vec();
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Floats as i32, floats, ..AttributeProto::default() }
}

/// An attribute of a node, by name.
pub(crate) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}
