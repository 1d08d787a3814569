//! How much arithmetic one run takes, counted on the graph before the runtime optimises it.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::Cost;
use tract_onnx::tract_core::ops::gru_seq::GruSeq;
use tract_onnx::tract_core::ops::scan::Scan;
use tract_onnx::tract_hir::internal::DimLike as _;

use crate::import::finding::{Code, Finding};

/// Most bodies inside one another that are counted.
const MAX_DEPTH: usize = 4;

/// Multiplications and divisions of one run with an input of this shape.
pub(super) fn count(bytes: &[u8], input: [usize; 2]) -> Result<u64, Finding> {
    let load = |e: TractError| {
        let text = format!("{e:#}").replace('\n', " ");
        Finding::new(Code::Load, "the runtime", text, "a graph whose shapes follow from its input")
    };
    let mut reader = bytes;
    let typed = tract_onnx::onnx()
        .model_for_read(&mut reader)
        .and_then(|m| m.with_input_fact(0, f32::fact(input).into()))
        .and_then(InferenceModelExt::into_typed)
        .map_err(load)?;
    Ok(of_model(&typed, 0))
}

fn of_model(model: &TypedModel, depth: usize) -> u64 {
    let mut sum = 0_u64;
    for node in model.nodes() {
        let Ok(inputs) = model.node_input_facts(node.id) else {
            continue;
        };
        if let Some(scan) = node.op_as::<Scan>().filter(|_| depth < MAX_DEPTH) {
            // A recurrent layer: its body as often as there are steps.
            let times = scan.iteration_count(&inputs).and_then(|n| n.to_usize().ok()).unwrap_or(1);
            sum = sum.saturating_add(of_model(&scan.body, depth + 1).saturating_mul(times as u64));
            continue;
        }
        if let (Some(gru), Some(input)) = (node.op_as::<GruSeq>(), inputs.first()) {
            // The runtime does not count its fused GRU: three gates, each over the input and the state, at each step.
            if let Some([batch, steps, width]) = input.shape.as_concrete() {
                let gates = 3_u64.saturating_mul(gru.hidden as u64);
                let each = gates.saturating_mul((*width as u64).saturating_add(gru.hidden as u64));
                let steps = (*batch as u64).saturating_mul(*steps as u64);
                sum = sum.saturating_add(each.saturating_mul(steps));
            }
            continue;
        }
        for (cost, n) in node.op.cost(&inputs).unwrap_or_default() {
            if matches!(cost, Cost::FMA(_) | Cost::Div(_)) {
                sum = sum.saturating_add(n.to_usize().map_or(u64::MAX, |n| n as u64));
            }
        }
    }
    sum
}
