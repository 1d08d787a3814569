//! Bring your own model: from a foreign ONNX file to a package, in steps that each can say no.
//!
//! ```text
//! model.onnx ─ count fields ─ decode ─ lint ─ rewrite ─ lint ─┬─ child: load, golden inputs, time, memory ─ package
//!              [bounds]       [lint]          [rewrite]       │          [trial]   [golden]               [package]
//! manifest.toml ─────────────────────────────────────────────┘
//! ```
//! Up to the child nothing is run: the checks read the protobuf. Every refusal is a [`Finding`]: what, where, and what is
//! allowed. [`contract`] says how the package's one input is made on a node.

pub mod bounds;
pub mod contract;
pub mod ensemble;
pub mod finding;
pub mod golden;
pub mod inspect;
pub mod lint;
pub mod package;
pub mod rewrite;
mod tensor;
pub mod trial;

use prost::Message as _;
use serde::Serialize;

pub use self::contract::{BindError, Binding, Series};
pub use self::finding::{Code, Finding, Refused};
pub use self::package::{Package, PackageError};
pub use self::trial::{Measured, Program, TrialError, TrialLimits};

use self::contract::{Budget, Origin};
use self::golden::{Case, GoldenSet};
use self::trial::Request;
use crate::manifest::{Format, Manifest};

/// Most values of one input, rows times columns.
pub const MAX_INPUT: usize = 1 << 18;

/// A foreign model, linted and rewritten, not yet run.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The package's manifest: the author's without what only import reads, with where it comes from.
    pub manifest: Manifest,
    /// The rewritten graph as bytes.
    pub model: Vec<u8>,
    /// What was rewritten, one line each.
    pub done: Vec<String>,
}

/// Lints and rewrites a model. Nothing is run; bytes of anybody are safe here.
///
/// # Errors
/// Everything the linter found.
pub fn prepare(bytes: &[u8], manifest: &Manifest) -> Result<Prepared, Refused> {
    let decoded = lint::decode(bytes)?;
    if manifest.format != Format::Onnx {
        return Err(Finding::new(Code::Input, "the manifest", "format `fitted-on-node`", "`format = \"onnx\"`").into());
    }
    let input = manifest.limits(golden::series(manifest)).input;
    if input[0] * input[1] > MAX_INPUT {
        let found = format!("{} x {} values", input[0], input[1]);
        return Err(Finding::new(Code::Input, "the manifest", found, format!("at most {MAX_INPUT}")).into());
    }
    let producer = format!("{} {}", decoded.producer_name, decoded.producer_version).trim().to_owned();
    let rewritten = rewrite::rewrite(decoded, manifest)?;
    let model = rewritten.model.encode_to_vec();
    if model.len() > crate::runtime::MAX_MODEL_BYTES {
        let (found, allowed) =
            (format!("{} bytes", model.len()), format!("at most {}", crate::runtime::MAX_MODEL_BYTES));
        return Err(Finding::new(Code::TooLarge, "the rewritten model", found, allowed).into());
    }
    let origin = Origin {
        sha256: package::digest(bytes),
        producer: producer.chars().filter(|c| !c.is_control()).take(100).collect(),
        rewritten: rewritten.done.clone(),
        runtime: golden::RUNTIME.to_owned(),
    };
    let manifest = Manifest { foreign: None, origin: Some(origin), ..manifest.clone() };
    Ok(Prepared { manifest, model, done: rewritten.done })
}

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The model is refused, or could not be tried.
    #[error(transparent)]
    Trial(#[from] TrialError),
    /// The package could not be put together.
    #[error(transparent)]
    Package(#[from] PackageError),
}

impl From<Refused> for ImportError {
    fn from(refused: Refused) -> Self {
        Self::Trial(refused.into())
    }
}

/// What import did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Imported {
    /// Name of the package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub digest: String,
    /// Size of the file that was imported, in bytes.
    pub bytes_before: usize,
    /// Size of the rewritten graph, in bytes.
    pub bytes: usize,
    /// What was rewritten.
    pub rewritten: Vec<String>,
    /// Golden inputs.
    pub golden: usize,
    /// Of them, those whose output the author's framework gave too and that agree.
    pub given: usize,
    /// What the child measured.
    pub measured: Measured,
}

/// Lints, rewrites, runs in a child and packs a foreign model.
///
/// # Errors
/// The first step that said no, with all its reasons.
pub fn import(
    bytes: &[u8],
    manifest: &Manifest,
    program: &Program,
    limits: TrialLimits,
) -> Result<(Package, Imported), ImportError> {
    let mut prepared = prepare(bytes, manifest)?;
    let series = golden::series(manifest);
    let shape = manifest.limits(series);
    let (names, inputs): (Vec<String>, Vec<Vec<f32>>) =
        golden::inputs(manifest).map_err(Refused::from)?.into_iter().unzip();
    let request = Request::new(&prepared.model, shape, inputs.clone());
    let mut measured = trial::run(program, request, limits)?;
    within_budget(&measured, manifest.budget)?;
    let outputs = std::mem::take(&mut measured.outputs);
    check_given(manifest, &outputs)?;
    let cases = names.into_iter().zip(inputs).zip(outputs).map(|((name, input), output)| Case { name, input, output });
    let golden = GoldenSet::new(shape.input[0], shape.input[1], cases.collect());
    let given = std::mem::take(&mut prepared.manifest.golden).len();
    let package = Package::new(&prepared.manifest, prepared.model, &golden)?;
    let imported = Imported {
        name: package.manifest.name.clone(),
        version: package.manifest.version.clone(),
        digest: package.digest(),
        bytes_before: bytes.len(),
        bytes: package.model().len(),
        rewritten: prepared.done,
        golden: package.golden.cases.len(),
        given,
        measured,
    };
    Ok((package, imported))
}

/// What a test found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tested {
    /// Digest of the package.
    pub digest: String,
    /// Golden inputs.
    pub golden: usize,
    /// Outputs that differ from the golden ones.
    pub findings: Vec<Finding>,
    /// What the child measured.
    pub measured: Measured,
}

/// Runs the golden inputs of a package again, in a child, and compares.
///
/// # Errors
/// The package is refused; outputs that merely differ, and a budget that is exceeded, are findings of the answer.
pub fn test(package: &Package, program: &Program, limits: TrialLimits) -> Result<Tested, TrialError> {
    let model = lint::decode(package.model()).map_err(Refused::from)?;
    let findings = lint::package(&model);
    if !findings.is_empty() {
        return Err(Refused(findings).into());
    }
    let set = &package.golden;
    let shape = package.manifest.limits(golden::series(&package.manifest));
    if [set.rows, set.width] != shape.input {
        let (found, allowed) = (format!("inputs of {} x {}", set.rows, set.width), format!("{:?}", shape.input));
        return Err(Refused::from(Finding::new(Code::Golden, "golden.cbor", found, allowed)).into());
    }
    let inputs = set.cases.iter().map(|c| c.input.clone()).collect();
    let mut measured = trial::run(program, Request::new(package.model(), shape, inputs), limits)?;
    let outputs = std::mem::take(&mut measured.outputs);
    let mut findings: Vec<Finding> = set
        .cases
        .iter()
        .zip(&outputs)
        .filter_map(|(case, output)| {
            let place = format!("golden input `{}`", case.name);
            differs(&place, &case.output, output, (golden::RELATIVE, golden::ABSOLUTE))
        })
        .collect();
    if let Err(Refused(more)) = within_budget(&measured, package.manifest.budget) {
        findings.extend(more);
    }
    Ok(Tested { digest: package.digest(), golden: set.cases.len(), findings, measured })
}

fn differs(place: &str, golden: &[f32], output: &[f32], (relative, absolute): (f32, f32)) -> Option<Finding> {
    let (at, expected, found) = golden::difference(golden, output, relative, absolute)?;
    Some(Finding::new(Code::Golden, place, format!("output {at} is {found}"), format!("{expected}")))
}

/// The author's outputs come first among the golden inputs, in their order.
fn check_given(manifest: &Manifest, outputs: &[Vec<f32>]) -> Result<(), Refused> {
    let within = (golden::GIVEN_RELATIVE, golden::GIVEN_ABSOLUTE);
    let findings: Vec<Finding> = manifest
        .golden
        .iter()
        .zip(outputs)
        .enumerate()
        .filter_map(|(i, (given, output))| differs(&format!("your golden {i}"), &given.output, output, within))
        .collect();
    if findings.is_empty() { Ok(()) } else { Err(Refused(findings)) }
}

fn within_budget(measured: &Measured, budget: Budget) -> Result<(), Refused> {
    let mut findings = Vec::new();
    let mut check = |code, what: &str, found: f64, most: f64, unit: &str| {
        if found > most {
            let allowed = format!("{most} {unit}; the manifest's table `budget` may ask for more");
            findings.push(Finding::new(code, what, format!("{found:.0} {unit}"), allowed));
        }
    };
    check(Code::TooSlow, "99 of 100 runs", measured.p99_us, f64::from(budget.p99_us), "us");
    check(Code::TooSlow, "loading", measured.load_ms, f64::from(budget.load_ms), "ms");
    let (memory, most) = (measured.memory_bytes as f64, budget.memory_bytes as f64);
    check(Code::TooMuchMemory, "memory", memory, most, "bytes");
    if findings.is_empty() { Ok(()) } else { Err(Refused(findings)) }
}
