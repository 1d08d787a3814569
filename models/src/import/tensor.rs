//! Tensors of a model file: what they hold, checked before anybody believes it.

use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::bounds::MAX_RANK;
use super::finding::{Code, Finding};

/// Bytes of one element, for the types that are allowed.
fn width(kind: DataType) -> Option<usize> {
    match kind {
        DataType::Bool | DataType::Int8 | DataType::Uint8 => Some(1),
        DataType::Float16 | DataType::Int16 | DataType::Uint16 => Some(2),
        DataType::Float | DataType::Int32 => Some(4),
        DataType::Double | DataType::Int64 => Some(8),
        _ => None,
    }
}

/// Number of elements by the declared shape, or nothing when it cannot be.
pub(super) fn volume(dims: &[i64]) -> Option<u64> {
    dims.iter().try_fold(1_u64, |v, d| v.checked_mul(u64::try_from(*d).ok()?))
}

/// Checks a tensor: its data is here, of an allowed type, of the declared shape, and no number is NaN.
///
/// # Errors
/// The first fault.
pub(super) fn check(tensor: &TensorProto, place: &str) -> Result<u64, Finding> {
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        let found = "its data is in another file";
        return Err(Finding::new(Code::ExternalData, place, found, "one file; save without external data"));
    }
    let kind = DataType::try_from(tensor.data_type).unwrap_or(DataType::Undefined);
    let Some(width) = width(kind) else {
        let found = format!("type {}", kind.as_str_name());
        return Err(Finding::new(Code::TensorType, place, found, "floats of 16, 32 or 64 bits, integers, booleans"));
    };
    let shape = |found: String| Err(Finding::new(Code::TensorShape, place, found, "a shape that fits the data"));
    if tensor.dims.len() > MAX_RANK {
        return shape(format!("{} axes, at most {MAX_RANK} are allowed", tensor.dims.len()));
    }
    if tensor.segment.is_some() {
        return shape("a segment of a tensor".to_owned());
    }
    let Some(elements) = volume(&tensor.dims) else {
        return shape(format!("shape {:?}", tensor.dims));
    };
    let held = held(tensor, kind, width);
    if held != Some(elements) {
        let held = held.map_or("a broken number of".to_owned(), |n| n.to_string());
        return shape(format!("shape {:?} with {held} values", tensor.dims));
    }
    if has_nan(tensor, kind) {
        return Err(Finding::new(Code::NanWeight, place, "NaN among its values", "numbers; check the training"));
    }
    Ok(elements)
}

/// Number of elements that are there.
fn held(tensor: &TensorProto, kind: DataType, width: usize) -> Option<u64> {
    let typed = match kind {
        DataType::Float => tensor.float_data.len(),
        DataType::Double => tensor.double_data.len(),
        DataType::Int64 => tensor.int64_data.len(),
        _ => tensor.int32_data.len(),
    };
    let raw = tensor.raw_data.len();
    match (raw, typed) {
        (0, n) => Some(n as u64),
        (n, 0) => n.is_multiple_of(width).then_some((n / width) as u64),
        _ => None,
    }
}

fn has_nan(tensor: &TensorProto, kind: DataType) -> bool {
    let raw = tensor.raw_data.as_slice();
    match kind {
        DataType::Float => {
            tensor.float_data.iter().any(|v| v.is_nan())
                || raw.as_chunks().0.iter().any(|b| f32::from_le_bytes(*b).is_nan())
        }
        DataType::Double => {
            tensor.double_data.iter().any(|v| v.is_nan())
                || raw.as_chunks().0.iter().any(|b| f64::from_le_bytes(*b).is_nan())
        }
        DataType::Float16 => {
            let half = |bits: u16| half::f16::from_bits(bits).is_nan();
            tensor.int32_data.iter().any(|v| half(*v as u16))
                || raw.as_chunks().0.iter().any(|b| half(u16::from_le_bytes(*b)))
        }
        _ => false,
    }
}

/// Values of a small tensor of integers (or of whole floats, for the limits of a Range).
fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    const MOST: usize = 4096;
    let kind = DataType::try_from(tensor.data_type).ok()?;
    if tensor.raw_data.len() > 8 * MOST || tensor.int64_data.len().max(tensor.int32_data.len()) > MOST {
        return None;
    }
    let raw = tensor.raw_data.as_slice();
    let values: Vec<i64> = match kind {
        DataType::Int64 if raw.is_empty() => tensor.int64_data.clone(),
        DataType::Int64 => raw.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        DataType::Int32 if raw.is_empty() => tensor.int32_data.iter().map(|v| i64::from(*v)).collect(),
        DataType::Int32 => raw.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
        DataType::Float if raw.is_empty() => tensor.float_data.iter().take(MOST).map(|v| *v as i64).collect(),
        DataType::Float => raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b) as i64).collect(),
        _ => return None,
    };
    Some(values)
}

/// What a name stands for when it is a small constant of integers.
pub(super) fn constant_integers(graph: &GraphProto, name: &str) -> Option<Vec<i64>> {
    if let Some(tensor) = graph.initializer.iter().find(|t| t.name == name) {
        return integers(tensor);
    }
    let node = graph.node.iter().find(|n| n.op_type == "Constant" && n.output.first().is_some_and(|o| o == name))?;
    let attribute = node.attribute.first()?;
    match attribute.name.as_str() {
        "value" => integers(attribute.t.as_ref()?),
        "value_int" => Some(vec![attribute.i]),
        "value_ints" => Some(attribute.ints.clone()),
        _ => None,
    }
}

/// The value of a constant of one element, and its type: f32 or an integer.
pub(super) fn scalar(graph: &GraphProto, name: &str) -> Option<(f64, DataType)> {
    let tensor = graph.initializer.iter().find(|t| t.name == name)?;
    if volume(&tensor.dims) != Some(1) || tensor.dims.len() > 2 {
        return None;
    }
    if tensor.data_type == DataType::Float as i32 {
        let raw = || tensor.raw_data.as_chunks().0.first().map(|b| f32::from_le_bytes(*b));
        return tensor.float_data.first().copied().or_else(raw).map(|v| (f64::from(v), DataType::Float));
    }
    integers(tensor)?.first().map(|v| (*v as f64, DataType::Int64))
}

/// Elements that a node makes out of constants alone, as far as the file tells: a file of 200 bytes can ask for 3 GB
/// this way, and the runtime would make them while it loads.
pub(super) fn made_by(graph: &GraphProto, node: &NodeProto) -> Option<u64> {
    let input = |i: usize| node.input.get(i).and_then(|name| constant_integers(graph, name));
    match node.op_type.as_str() {
        "ConstantOfShape" => input(0).map(|dims| volume(&dims).unwrap_or(u64::MAX)),
        "Expand" | "Tile" => input(1).map(|dims| volume(&dims).unwrap_or(u64::MAX)),
        "OneHot" => input(1).and_then(|depth| volume(&depth)),
        "Range" => {
            let [from, to, step] = [input(0)?, input(1)?, input(2)?].map(|v| v.first().copied().unwrap_or(0));
            Some(to.saturating_sub(from).unsigned_abs() / step.unsigned_abs().max(1))
        }
        "Pad" => input(1).map(|pads| pads.iter().fold(0_u64, |sum, p| sum.saturating_add(p.unsigned_abs()))),
        _ => None,
    }
}
