//! The model's door: ONNX bytes in, scores out, and nothing a model does can hurt its host.
//!
//! Every model, the built-in one and a stranger's alike, comes through [`Model::load`]: a size cap before anything is
//! parsed, fixed shapes checked against the contract of the manifest, panics caught. [`Model::run`] reuses one input
//! tensor and refuses an output that is not finite. An error is an error: it never reads as "normal".

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_core::ops::gru_seq::GruSeq;
use tract_onnx::tract_core::ops::scan::Scan;
use tract_onnx::tract_hir::internal::Factoid;

/// Largest model that is parsed, in bytes. Parsing takes about three times the file in memory (seven times for trees).
pub const MAX_MODEL_BYTES: usize = 8 << 20;

/// What a model must fit into before it may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest file in bytes, at most [`MAX_MODEL_BYTES`].
    pub max_bytes: usize,
    /// Shape of the one input: `[rows, columns]`, rows oldest first, series in the last axis.
    pub input: [usize; 2],
    /// Number of values of the one output.
    pub output: usize,
}

impl Limits {
    /// The usual size cap with this input shape and output length.
    #[must_use]
    pub fn new(input: [usize; 2], output: usize) -> Self {
        Self { max_bytes: MAX_MODEL_BYTES, input, output }
    }
}

/// Why a model cannot be used, or failed in use.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// More bytes than allowed.
    #[error("the model has {bytes} bytes, at most {max} are allowed; make it smaller or split it")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
        /// The cap.
        max: usize,
    },
    /// Not ONNX, or an operator the runtime does not know.
    #[error("the model cannot be loaded: {reason}; run the linter on it to see which operator is at fault")]
    Load {
        /// What the runtime said.
        reason: String,
    },
    /// A shape other than the contract's.
    #[error("{what}: the model has {found}, the manifest asks for {expected}")]
    Shape {
        /// Input or output, and which side of it.
        what: &'static str,
        /// What the model declares.
        found: String,
        /// What the manifest declares.
        expected: String,
    },
    /// A buffer of the wrong length was handed in.
    #[error("{what} has {found} values, the model takes {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The right length.
        expected: usize,
    },
    /// The runtime failed.
    #[error("inference failed: {reason}")]
    Run {
        /// What the runtime said.
        reason: String,
    },
    /// An output was NaN or infinite.
    #[error("output {index} is not a finite number")]
    NotFinite {
        /// Position of the first such value.
        index: usize,
    },
    /// The runtime panicked; the model is not used again.
    #[error("the runtime panicked while it {during}: {reason}")]
    Panicked {
        /// "loaded the model" or "ran the model".
        during: &'static str,
        /// The panic's message.
        reason: String,
    },
}

/// A loaded model with one input and one output, ready to run.
pub struct Model {
    state: TypedSimpleState,
    input: Arc<Tensor>,
    limits: Limits,
    digest: [u8; 32],
    poisoned: Option<ModelError>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Model {
    /// Parses, checks and optimises a model. Nothing of `bytes` is kept.
    ///
    /// # Errors
    /// Too large, not ONNX, an unknown operator, another shape than `limits` says, or a panic inside the runtime.
    pub fn load(bytes: &[u8], limits: Limits) -> Result<Self, ModelError> {
        let max = limits.max_bytes.min(MAX_MODEL_BYTES);
        if bytes.len() > max {
            return Err(ModelError::TooLarge { bytes: bytes.len(), max });
        }
        let state = guarded("loaded the model", || load(bytes, limits))??;
        let input = Tensor::zero::<f32>(&limits.input).map_err(|e| ModelError::Load { reason: one_line(&e) })?;
        Ok(Self { state, input: Arc::new(input), limits, digest: Sha256::digest(bytes).into(), poisoned: None })
    }

    /// Shape of the input, `[rows, columns]`.
    #[must_use]
    pub fn input_shape(&self) -> [usize; 2] {
        self.limits.input
    }

    /// Number of output values.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.limits.output
    }

    /// SHA-256 of the bytes it was loaded from.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Runs the model on one input of `rows * columns` values, row after row, and fills `output`.
    /// `output` is only meaningful when the answer is `Ok`.
    ///
    /// # Errors
    /// Wrong lengths, a failure or panic of the runtime, an output of another shape or one that is not finite. After a
    /// panic every later call fails too.
    pub fn run(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), ModelError> {
        let expected = self.limits.input[0] * self.limits.input[1];
        if input.len() != expected {
            return Err(ModelError::Length { what: "the input", found: input.len(), expected });
        }
        self.run_with(|window| window.copy_from_slice(input), output)
    }

    /// As [`Model::run`], with the input written in place by `fill` (it gets `rows * columns` values of the last run).
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn run_with(&mut self, fill: impl FnOnce(&mut [f32]), output: &mut [f32]) -> Result<(), ModelError> {
        if let Some(error) = &self.poisoned {
            return Err(error.clone());
        }
        if output.len() != self.limits.output {
            let (found, expected) = (output.len(), self.limits.output);
            return Err(ModelError::Length { what: "the output", found, expected });
        }
        self.fill_input(fill)?;
        let input = TValue::from_const(Arc::clone(&self.input));
        let values = match guarded("ran the model", || self.state.run(tvec!(input))) {
            Ok(result) => result.map_err(|e| run_error(&e))?,
            Err(error) => {
                self.poisoned = Some(error.clone());
                return Err(error);
            }
        };
        let first = values.first().ok_or_else(|| ModelError::Run { reason: "no output".to_owned() })?;
        let view = first.try_as_plain_ram().map_err(|e| run_error(&e))?;
        let scores = view.as_slice::<f32>().map_err(|e| run_error(&e))?;
        if scores.len() != output.len() {
            return Err(ModelError::Length { what: "the model's output", found: scores.len(), expected: output.len() });
        }
        if let Some(index) = scores.iter().position(|s| !s.is_finite()) {
            return Err(ModelError::NotFinite { index });
        }
        output.copy_from_slice(scores);
        Ok(())
    }

    fn fill_input(&mut self, fill: impl FnOnce(&mut [f32])) -> Result<(), ModelError> {
        if Arc::get_mut(&mut self.input).is_none() {
            // The runtime kept the last input (after an error in the middle of a run): give it up and take a new one.
            let fresh = Tensor::zero::<f32>(&self.limits.input).map_err(|e| run_error(&e))?;
            self.input = Arc::new(fresh);
        }
        let tensor = Arc::get_mut(&mut self.input).expect("made or checked to be exclusive just above");
        let mut view = tensor.try_as_plain_ram_mut().map_err(|e| run_error(&e))?;
        fill(view.as_slice_mut::<f32>().map_err(|e| run_error(&e))?);
        Ok(())
    }
}

fn load(bytes: &[u8], limits: Limits) -> Result<TypedSimpleState, ModelError> {
    let load_error = |e: TractError| ModelError::Load { reason: one_line(&e) };
    let mut reader = bytes;
    let model = tract_onnx::onnx().model_for_read(&mut reader).map_err(load_error)?;
    let count = |what, found: usize| {
        let (found, expected) = (found.to_string(), "1".to_owned());
        if found == expected { Ok(()) } else { Err(ModelError::Shape { what, found, expected }) }
    };
    count("number of inputs", model.inputs.len())?;
    count("number of outputs", model.outputs.len())?;
    check_declared_input(&model, limits.input)?;
    let mut typed = model
        .with_input_fact(0, f32::fact(limits.input).into())
        .and_then(InferenceModelExt::into_typed)
        .map_err(load_error)?;
    forget_between_runs(&mut typed);
    let typed = typed.into_optimized().map_err(load_error)?;
    let fact = typed.output_fact(0).map_err(load_error)?;
    let volume = fact.shape.as_concrete().map(|dims| dims.iter().product::<usize>());
    if fact.datum_type != f32::datum_type() || volume != Some(limits.output) {
        let expected = format!("{} values of f32", limits.output);
        return Err(ModelError::Shape { what: "output", found: format!("{fact:?}"), expected });
    }
    typed.into_runnable().and_then(|plan| plan.spawn()).map_err(load_error)
}

/// Recurrent layers start anew on each run. Left alone the runtime carries their state from one run into the next, and
/// the same window gets another score each time; ONNX means every run to start from the initial state.
fn forget_between_runs(model: &mut TypedModel) {
    for node in model.nodes_mut() {
        if let Some(scan) = node.op_as_mut::<Scan>() {
            scan.reset_every_turn = true;
        } else if let Some(gru) = node.op_as_mut::<GruSeq>() {
            gru.reset_every_turn = true;
        }
    }
}

fn check_declared_input(model: &InferenceModel, expected: [usize; 2]) -> Result<(), ModelError> {
    let fact = model.input_fact(0).map_err(|e| ModelError::Load { reason: one_line(&e) })?;
    let Some(dims) = fact.shape.concretize() else {
        return Ok(()); // Some side is open (a batch, say): the contract fixes it.
    };
    let found: Vec<Option<usize>> = dims.iter().map(|d| d.to_usize().ok()).collect();
    let fits = |side: usize| found.get(side).is_some_and(|d| d.is_none() || *d == Some(expected[side]));
    let shape = |what| ModelError::Shape { what, found: format!("{dims:?}"), expected: format!("{expected:?}") };
    if found.len() != 2 {
        return Err(shape("number of axes of the input"));
    }
    if !fits(0) {
        return Err(shape("rows of the input (length of the window)"));
    }
    if !fits(1) {
        return Err(shape("columns of the input (number of series)"));
    }
    Ok(())
}

fn run_error(error: &TractError) -> ModelError {
    ModelError::Run { reason: one_line(error) }
}

/// The chain of causes in one line of bounded length.
fn one_line(error: &TractError) -> String {
    let mut text = format!("{error:#}").replace('\n', " ");
    if let Some((cut, _)) = text.char_indices().nth(300) {
        text.truncate(cut);
    }
    text
}

/// Runs a part of the runtime; a panic inside becomes an error.
fn guarded<T>(during: &'static str, run: impl FnOnce() -> T) -> Result<T, ModelError> {
    catch_unwind(AssertUnwindSafe(run))
        .map_err(|panic| ModelError::Panicked { during, reason: panic_text(panic.as_ref()) })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{GraphBuilder, whitened_windows};
    use crate::whiten::{WINDOW, Whitening};

    fn bytes(series: usize) -> Vec<u8> {
        let one = Whitening::fit(&std::array::from_fn(|l| 0.5_f32.powi(l as i32)), 1000);
        whitened_windows(&vec![one; series])
    }

    #[test]
    fn a_wrong_shape_is_refused_and_named() {
        for (input, output, what) in
            [([15, 3], 3, "rows"), ([WINDOW, 4], 4, "columns"), ([WINDOW, 3], 1, "output"), ([WINDOW, 3], 4, "output")]
        {
            let error = Model::load(&bytes(3), Limits::new(input, output)).expect_err(what).to_string();
            assert!(error.contains(what), "{error} does not name {what}");
        }
    }

    #[test]
    fn what_is_not_a_model_is_refused() {
        let good = bytes(2);
        let limits = Limits::new([WINDOW, 2], 2);
        let small = Limits { max_bytes: 100, ..limits };
        assert!(matches!(Model::load(&good, small), Err(ModelError::TooLarge { max: 100, .. })));
        for cut in [0, 1, good.len() / 3, good.len() - 1] {
            assert!(Model::load(&good[..cut], limits).is_err(), "cut at {cut}");
        }
        assert!(Model::load(b"not a model at all", limits).is_err());
        let mut g = GraphBuilder::default();
        let out = g.node("NoSuchOperator", &["window"], vec![]);
        let foreign = g.finish("foreign", ("window", [WINDOW, 2]), (&out, [1, 2]));
        let error = Model::load(&foreign, limits).expect_err("unknown operator").to_string();
        assert!(error.contains("NoSuchOperator"), "{error}");
    }

    #[test]
    fn an_output_that_is_not_finite_is_an_error_and_the_model_goes_on() {
        let mut model = Model::load(&bytes(2), Limits::new([WINDOW, 2], 2)).expect("our own");
        let mut output = [0.0; 2];
        let mut input = [1.0; 2 * WINDOW];
        input[1] = f32::NAN;
        assert_eq!(model.run(&input, &mut output), Err(ModelError::NotFinite { index: 1 }));
        input[1] = 1.0;
        assert_eq!(model.run(&input, &mut output), Ok(()));
        assert!(output.iter().all(|s| *s > 0.0));
        assert!(matches!(model.run(&input[1..], &mut output), Err(ModelError::Length { .. })));
        assert!(matches!(model.run(&input, &mut output[1..]), Err(ModelError::Length { .. })));
    }

    #[test]
    fn a_panic_in_use_is_an_error_for_good() {
        let caught = guarded("ran the model", || panic!("index {} out of range", 7)).map(|(): ()| ());
        let expected = "the runtime panicked while it ran the model: index 7 out of range";
        assert_eq!(caught.map_err(|e| e.to_string()), Err(expected.to_owned()));
        let mut model = Model::load(&bytes(1), Limits::new([WINDOW, 1], 1)).expect("our own");
        model.poisoned = Some(ModelError::Panicked { during: "ran the model", reason: "test".to_owned() });
        assert!(matches!(model.run(&[0.0; WINDOW], &mut [0.0]), Err(ModelError::Panicked { .. })));
    }

    #[test]
    fn equal_bytes_have_equal_digests() {
        let limits = Limits::new([WINDOW, 1], 1);
        let load = || Model::load(&bytes(1), limits).expect("our own").digest();
        assert_eq!(load(), load());
    }
}
