//! Puts an ONNX graph together, node by node.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

/// Version of the default ONNX operator set that is written.
pub const OPSET: i64 = 13;

/// Puts a graph together node by node; names are given in order.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

impl GraphBuilder {
    /// Adds a node with one output and returns the output's name.
    pub fn node(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = format!("n{}", self.nodes.len());
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op.to_owned(),
            attribute,
            ..NodeProto::default()
        });
        name
    }

    /// Adds an initialiser of f32 and returns its name.
    pub fn constant(&mut self, dims: &[usize], values: &[f32]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(dims, DataType::Float, raw)
    }

    /// Adds an initialiser of i64 and returns its name.
    pub fn integers(&mut self, values: &[i64]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(&[values.len()], DataType::Int64, raw)
    }

    fn tensor(&mut self, dims: &[usize], kind: DataType, raw_data: Vec<u8>) -> String {
        let name = format!("c{}", self.constants.len());
        self.constants.push(TensorProto {
            dims: dims.iter().map(|&d| d as i64).collect(),
            data_type: kind as i32,
            raw_data,
            name: name.clone(),
            ..TensorProto::default()
        });
        name
    }

    /// Rows (`axis` 0) or columns (1) `from..to`.
    pub fn slice(&mut self, input: &str, axis: i64, from: i64, to: i64) -> String {
        let [starts, ends, axes] = [from, to, axis].map(|v| self.integers(&[v]));
        self.node("Slice", &[input, &starts, &ends, &axes], vec![])
    }

    /// These rows in this order.
    pub fn gather_rows(&mut self, input: &str, rows: impl Iterator<Item = i64>) -> String {
        let rows = self.integers(&rows.collect::<Vec<_>>());
        self.node("Gather", &[input, &rows], vec![int("axis", 0)])
    }

    /// The sum over rows, one row.
    pub fn sum_rows(&mut self, input: &str) -> String {
        let axes = self.integers(&[0]);
        self.node("ReduceSum", &[input, &axes], vec![int("keepdims", 1)])
    }

    /// The sum over columns, one column.
    pub fn sum_columns(&mut self, input: &str) -> String {
        let axes = self.integers(&[1]);
        self.node("ReduceSum", &[input, &axes], vec![int("keepdims", 1)])
    }

    /// The same values in another shape.
    pub fn reshape(&mut self, input: &str, dims: &[usize]) -> String {
        let dims = self.integers(&dims.iter().map(|&d| d as i64).collect::<Vec<_>>());
        self.node("Reshape", &[input, &dims], vec![])
    }

    /// The whole model as bytes. `output` names the node whose output is the model's.
    #[must_use]
    pub fn finish(self, name: &str, input: (&str, [usize; 2]), output: (&str, [usize; 2])) -> Vec<u8> {
        let graph = GraphProto {
            node: self.nodes,
            name: name.to_owned(),
            initializer: self.constants,
            input: vec![value(input.0, input.1)],
            output: vec![value(output.0, output.1)],
            ..GraphProto::default()
        };
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            producer_name: "tacit".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }
}

/// An attribute of integers of a node.
#[must_use]
pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    let (name, ints) = (name.to_owned(), ints.to_vec());
    AttributeProto { name, r#type: AttributeType::Ints as i32, ints, ..AttributeProto::default() }
}

/// An integer attribute of a node.
#[must_use]
pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: AttributeType::Int as i32, i, ..AttributeProto::default() }
}

fn value(name: &str, dims: [usize; 2]) -> ValueInfoProto {
    let dim = |d: usize| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(d as i64)),
        ..tensor_shape_proto::Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(TensorShapeProto { dim: dims.into_iter().map(dim).collect() }),
    };
    let value = Some(type_proto::Value::TensorType(tensor));
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { value, ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
