//! Writes the whitened windows of all series as one ONNX graph.
//!
//! ```text
//! input  window [16, N]   deviations, oldest row first, series in the last axis
//! output score  [1, N]    per-series score in training rms
//! ```
//!
//! The form of the graph decides its cost in tract (measured table in `models/README.md`): 2-D, series in the last
//! axis, small dimensions unrolled into Mul and ReduceSum. The two half-size forms of [`crate::whiten`] lie side by side
//! in the last axis, so eight unrolled steps serve both.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use crate::whiten::{HALF, WINDOW, Whitening, packed};

/// Version of the default ONNX operator set that is written.
pub const OPSET: i64 = 13;

/// Emits the graph for these series, in the order of its columns.
#[must_use]
pub fn whitened_windows(series: &[Whitening]) -> Vec<u8> {
    let n = series.len();
    let mut g = GraphBuilder::default();
    let half = HALF as i64;
    let older = g.slice("window", 0, 0, half);
    let newer = g.gather_rows("window", (HALF as i64..WINDOW as i64).rev());
    let sum = g.node("Add", &[&older, &newer], vec![]);
    let difference = g.node("Sub", &[&older, &newer], vec![]);
    let folded = g.node("Concat", &[&sum, &difference], vec![int("axis", 1)]);
    let mut components = Vec::with_capacity(HALF);
    for j in 0..HALF {
        let rows = if j == 0 { folded.clone() } else { g.slice(&folded, 0, j as i64, half) };
        let mut column = Vec::with_capacity((HALF - j) * 2 * n);
        for i in j..HALF {
            column.extend(series.iter().map(|w| w.symmetric[packed(i, j)]));
            column.extend(series.iter().map(|w| w.antisymmetric[packed(i, j)]));
        }
        let factor = g.constant(&[HALF - j, 2 * n], &column);
        let product = g.node("Mul", &[&rows, &factor], vec![]);
        components.push(if j + 1 == HALF { product } else { g.sum_rows(&product) });
    }
    let names: Vec<&str> = components.iter().map(String::as_str).collect();
    let all = g.node("Concat", &names, vec![int("axis", 0)]);
    let squares = g.node("Mul", &[&all, &all], vec![]);
    let forms = g.sum_rows(&squares);
    let symmetric = g.slice(&forms, 1, 0, n as i64);
    let antisymmetric = g.slice(&forms, 1, n as i64, 2 * n as i64);
    let total = g.node("Add", &[&symmetric, &antisymmetric], vec![]);
    let score = g.node("Sqrt", &[&total], vec![]);
    g.finish("whitened-windows", ("window", [WINDOW, n]), (&score, [1, n]))
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain;
    use crate::runtime::{Limits, Model};
    use proptest::prelude::*;

    /// Agreement of the graph with plain Rust: sums in another order, nothing else.
    const ABSOLUTE: f32 = 2e-5;
    const RELATIVE: f32 = 2e-5;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// For every set of statistics and every window the graph gives the score of the plain evaluation.
        #[test]
        fn the_graph_equals_plain_rust(
            rhos in prop::collection::vec((0.0_f32..0.99, 0.01_f32..9.0, 0_u32..5000), 1..9),
            seed in prop::collection::vec(-10.0_f32..10.0, 16 * 9),
        ) {
            let series: Vec<Whitening> = rhos
                .iter()
                .map(|(rho, variance, points)| {
                    Whitening::fit(&std::array::from_fn(|l| variance * rho.powi(l as i32)), *points)
                })
                .collect();
            let n = series.len();
            let input = &seed[..WINDOW * n];
            let (mut expected, mut got) = (vec![0.0; n], vec![0.0; n]);
            plain::scores(&series, input, &mut expected);
            let mut model = Model::load(&whitened_windows(&series), Limits::new([WINDOW, n], n)).expect("our own graph");
            for _ in 0..2 {
                model.run(input, &mut got).expect("finite input");
                for (a, b) in got.iter().zip(&expected) {
                    prop_assert!((a - b).abs() <= ABSOLUTE + RELATIVE * b.abs(), "{} and {}", a, b);
                }
            }
        }
    }
}
