//! `ai.onnx.ml` Scaler as two core operators: `(x - offset) * scale`, as its definition has it.

use tract_onnx::pb::NodeProto;

use super::editor::{Editor, attribute};
use crate::import::finding::{Code, Finding};
use crate::import::lint::place;

/// Writes a Scaler anew.
///
/// # Errors
/// No input, or factors that are not there.
pub(super) fn rewrite(editor: &mut Editor, node: &NodeProto) -> Result<(), Finding> {
    let floats = |name: &str| attribute(node, name).map_or(&[][..], |a| a.floats.as_slice());
    let (offset, scale) = (floats("offset"), floats("scale"));
    let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
        return Err(Finding::new(Code::Rewrite, place(node), "no input or output", "one of each"));
    };
    let fits = offset.len() == scale.len() || offset.len() == 1 || scale.len() == 1;
    if offset.is_empty() || scale.is_empty() || !fits {
        let found = format!("{} offsets and {} scales", offset.len(), scale.len());
        return Err(Finding::new(Code::Rewrite, place(node), found, "as many of each as features, or one"));
    }
    let offset = editor.floats(&[1, offset.len()], offset);
    let scale = editor.floats(&[1, scale.len()], scale);
    let centred = editor.node("Sub", &[input, &offset], vec![]);
    editor.node_named("Mul", &[&centred, &scale], vec![], output);
    Ok(())
}

/// Writes an ArrayFeatureExtractor anew: it gathers columns, which Gather along the last axis does too.
///
/// # Errors
/// Not two inputs.
pub(super) fn rewrite_extractor(editor: &mut Editor, node: &NodeProto) -> Result<(), Finding> {
    let ([data, columns], Some(output)) = (node.input.as_slice(), node.output.first()) else {
        return Err(Finding::new(Code::Rewrite, place(node), "not two inputs", "data and columns"));
    };
    let columns = editor.reshape(columns, &[-1]);
    editor.node_named("Gather", &[data, &columns], vec![super::editor::int("axis", -1)], output);
    Ok(())
}
