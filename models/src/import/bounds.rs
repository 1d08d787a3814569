//! What a model may use: operators, nodes, constants, bytes, arithmetic.
//!
//! The bounds are far above what a model of one node's series needs, and far below what hurts a small machine. They are
//! checked before the runtime sees a byte; what cannot be told without running (memory, time) is bounded in the child
//! process of [`super::trial`].

use std::ops::RangeInclusive;

use super::finding::{Code, Finding};

/// Versions of the default operator set that the runtime is tested with and the rewriter writes.
pub const OPSETS: RangeInclusive<i64> = 13..=18;

/// Most nodes of a graph, before and after rewriting.
pub const MAX_NODES: usize = 4096;

/// Most elements of all constants together, those that a node would make at load included.
pub const MAX_CONSTANTS: u64 = 10_000_000;

/// Most axes of a tensor.
pub const MAX_RANK: usize = 6;

/// Most multiplications of one run. At one run a second this is the order of 1 % of a small core.
pub const MAX_WORK: u64 = 20_000_000;

/// Most fields of the file. A field of two bytes can cost 250 in memory once decoded, so they are counted before.
pub const MAX_FIELDS: usize = 200_000;

/// Most axes and graphs inside one another when fields are counted.
const MAX_DEPTH: usize = 24;

/// Operators of the default domain that are allowed, in order. Not here: control flow, random numbers, anything whose
/// output shape depends on values, strings, sequences, and what the runtime does not know.
pub const OPERATORS: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "DynamicQuantizeLinear",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "RNN",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shape",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// Operators that are not allowed as they are, and that the rewriter turns into core operators. (A LabelEncoder only where it
/// looks up the leaves of a tree.)
pub const REWRITTEN: &[(&str, &str)] = &[
    ("", "ReduceLogSumExp"),
    ("ai.onnx.ml", "ArrayFeatureExtractor"),
    ("ai.onnx.ml", "LabelEncoder"),
    ("ai.onnx.ml", "Scaler"),
    ("ai.onnx.ml", "TreeEnsembleClassifier"),
    ("ai.onnx.ml", "TreeEnsembleRegressor"),
];

/// The default domain has two names.
#[must_use]
pub fn is_core(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// May this operator be in a package?
#[must_use]
pub fn is_allowed(domain: &str, operator: &str) -> bool {
    is_core(domain) && OPERATORS.binary_search(&operator).is_ok()
}

/// Does the rewriter know this operator?
#[must_use]
pub fn is_rewritten(domain: &str, operator: &str) -> bool {
    let domain = if is_core(domain) { "" } else { domain };
    REWRITTEN.contains(&(domain, operator))
}

/// Messages of `onnx.proto` that hold other messages.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    Value,
    Type,
    TensorType,
    Shape,
    Leaf,
}

/// Which message a field of a message holds, if any.
fn child(kind: Kind, field: u64) -> Option<Kind> {
    match (kind, field) {
        (Kind::Model, 7) | (Kind::Attribute, 6 | 11) => Some(Kind::Graph),
        (Kind::Model, 8 | 14 | 20 | 25) | (Kind::Graph, 14) | (Kind::Tensor, 13) | (Kind::Shape, 1) => Some(Kind::Leaf),
        (Kind::Graph, 1) => Some(Kind::Node),
        (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) | (Kind::Sparse, 1 | 2) => Some(Kind::Tensor),
        (Kind::Graph, 11..=13) => Some(Kind::Value),
        (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => Some(Kind::Sparse),
        (Kind::Node, 5) => Some(Kind::Attribute),
        (Kind::Value, 2) | (Kind::Attribute, 14 | 15) => Some(Kind::Type),
        (Kind::Type, 1) => Some(Kind::TensorType),
        (Kind::TensorType, 2) => Some(Kind::Shape),
        _ => None,
    }
}

/// Counts the fields of a model without decoding it, so that a file made of empty messages costs nothing.
///
/// # Errors
/// Too many fields, or something that is not protobuf. Functions and training graphs, which are refused anyway, are
/// refused here: what is in them is not counted.
pub fn count_fields(bytes: &[u8]) -> Result<usize, Finding> {
    let mut count = 0;
    let mut open = vec![(Kind::Model, bytes)];
    // A stack of our own: depth is the stranger's choice.
    while let Some((kind, rest)) = open.pop() {
        if rest.is_empty() {
            continue;
        }
        count += 1;
        if count > MAX_FIELDS {
            let allowed = format!("at most {MAX_FIELDS}");
            return Err(Finding::new(
                Code::TooManyFields,
                "the file",
                format!("more than {MAX_FIELDS} fields"),
                allowed,
            ));
        }
        let (field, value, after) = split_field(rest).ok_or_else(not_onnx)?;
        if matches!((kind, field), (Kind::Model, 20 | 25)) {
            let what = if field == 20 { "a training graph" } else { "a function" };
            return Err(Finding::new(
                Code::ControlFlow,
                "the model",
                what,
                "one plain graph; inline functions on export",
            ));
        }
        open.push((kind, after));
        if let (Some(inner), Some(value)) = (child(kind, field), value) {
            if open.len() > MAX_DEPTH {
                return Err(Finding::new(Code::ControlFlow, "the model", "graphs nested deeply", "one plain graph"));
            }
            open.push((inner, value));
        }
    }
    Ok(count)
}

/// The finding for bytes that are no ONNX file.
pub(super) fn not_onnx() -> Finding {
    Finding::new(
        Code::NotOnnx,
        "the file",
        "not an ONNX model, or a damaged one",
        "a file as torch.onnx or skl2onnx writes it",
    )
}

type Field<'a> = (u64, Option<&'a [u8]>, &'a [u8]);

/// The first field: its number, its bytes if it has a length, and what follows.
fn split_field(bytes: &[u8]) -> Option<Field<'_>> {
    let (key, rest) = varint(bytes)?;
    let number = key >> 3;
    let skip = |n: usize| rest.get(n..).map(|after| (number, None, after));
    match key & 7 {
        0 => varint(rest).map(|(_, after)| (number, None, after)),
        1 => skip(8),
        5 => skip(4),
        2 => {
            let (length, rest) = varint(rest)?;
            let length = usize::try_from(length).ok()?;
            (length <= rest.len()).then(|| (number, Some(&rest[..length]), &rest[length..]))
        }
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_has_no_doubtful_operator() {
        assert!(OPERATORS.is_sorted(), "binary search needs it");
        for refused in ["If", "Loop", "Scan", "RandomNormal", "NonZero", "ReduceLogSumExp", "Compress"] {
            assert!(!is_allowed("", refused), "{refused}");
        }
        assert!(is_allowed("ai.onnx", "MatMul") && !is_allowed("com.microsoft", "MatMul"));
        assert!(is_rewritten("ai.onnx.ml", "Scaler") && !is_rewritten("", "Scaler"));
    }

    #[test]
    fn empty_messages_are_counted_before_they_cost_memory() {
        // 100 000 nodes of two bytes each inside one graph.
        let nodes = [0x0a, 0x00].repeat(MAX_FIELDS);
        let mut file = vec![0x3a];
        let mut length = nodes.len();
        while length >= 0x80 {
            file.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        file.push(length as u8);
        file.extend(nodes);
        assert_eq!(count_fields(&file).map_err(|f| f.code), Err(Code::TooManyFields));
        assert_eq!(count_fields(&[0x0a]).map_err(|f| f.code), Err(Code::NotOnnx));
        assert_eq!(count_fields(&[0x08, 0x08]), Ok(1));
    }
}
