//! `tacit model import | inspect | test | pack`
//!
//! All of it works on files of this machine; no collector is asked.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tacit_models::Manifest;
use tacit_models::import::inspect::{Inspection, inspect};
use tacit_models::import::package::ENDING;
use tacit_models::import::{
    self, Finding, ImportError, Imported, Measured, Package, Program, Refused, Tested, TrialError, TrialLimits,
};
use tacit_models::runtime::MAX_MODEL_BYTES;

use super::{print, print_json};
use crate::arguments::{Model, ModelImport, Trial};
use crate::output::table;

/// Runs one of the commands.
///
/// # Errors
/// A file that cannot be read or written, or a model that is refused.
pub fn run(what: &Model) -> Result<()> {
    match what {
        Model::Import(options) => bring_in(options),
        Model::Inspect { path, json } => look(path, *json),
        Model::Test { path, how } => test(path, how),
        Model::Pack { folder, output, json } => pack(folder, output, *json),
    }
}

/// The hidden command that a trial runs in a process of its own.
pub fn trial() -> ExitCode {
    import::trial::child()
}

fn program() -> Result<Program> {
    Program::current(&[import::trial::COMMAND]).context("cannot find this program's own path")
}

/// At most one byte more than a model may have: the linter says what is wrong then.
fn read_model(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.take(MAX_MODEL_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

fn bring_in(options: &ModelImport) -> Result<()> {
    let path = &options.manifest;
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest = Manifest::parse(&text).with_context(|| format!("cannot use {}", path.display()))?;
    let bytes = read_model(&options.model)?;
    let limits = TrialLimits::new(manifest.budget.memory_bytes).with_seconds(options.how.seconds);
    let (package, imported) = match import::import(&bytes, &manifest, &program()?, limits) {
        Ok(done) => done,
        Err(ImportError::Trial(error)) => return refused(error, options.how.json),
        Err(error) => return Err(error.into()),
    };
    let out = options.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-{}", imported.name, imported.version)));
    if out.extension().is_some_and(|e| e == ENDING) {
        write_packed(&package, &out)?;
    } else {
        package.write_folder(&out)?;
    }
    if options.how.json {
        return print_json(&json!({ "imported": imported, "package": out }));
    }
    print(&said(&imported, &out))
}

fn said(imported: &Imported, out: &Path) -> String {
    let mut text = format!("imported {} {} into {}\n", imported.name, imported.version, out.display());
    for line in &imported.rewritten {
        text += &format!("  rewritten: {line}\n");
    }
    if imported.rewritten.is_empty() {
        text += "  nothing had to be rewritten\n";
    }
    text += &format!(
        "  golden: {} inputs run{}\n",
        imported.golden,
        if imported.given > 0 {
            format!(", {} of them agree with your framework", imported.given)
        } else {
            String::new()
        }
    );
    text + &figures(&imported.measured, imported.bytes) + &format!("  sha256 {}\n", imported.digest)
}

fn figures(m: &Measured, bytes: usize) -> String {
    format!(
        "  cost: {:.0} us a run (99 of 100 below {:.0} us), {} multiplications, loaded in {:.1} ms, {} KiB of memory, \
         model {bytes} bytes\n",
        m.p50_us,
        m.p99_us,
        m.work,
        m.load_ms,
        m.memory_bytes / 1024
    )
}

/// A refusal: its reasons as JSON on standard output when asked for, in words on standard error in any case.
fn refused(error: TrialError, json: bool) -> Result<()> {
    if let (TrialError::Refused(Refused(findings)), true) = (&error, json) {
        print_json(&json!({ "refused": findings }))?;
    }
    Err(error.into())
}

fn look(path: &Path, json: bool) -> Result<()> {
    if path.is_dir() || path.extension().is_some_and(|e| e == ENDING) {
        let package = Package::read(path)?;
        let graph = inspect(package.model()).map_err(Refused::from)?;
        return if json { print_json(&package_json(&package, &graph)) } else { print(&package_text(&package, &graph)) };
    }
    let graph = inspect(&read_model(path)?).map_err(Refused::from)?;
    if json { print_json(&json!({ "graph": graph })) } else { print(&graph_text(&graph)) }
}

fn package_json(package: &Package, graph: &Inspection) -> serde_json::Value {
    let parts: Vec<_> = package
        .parts()
        .map(|(name, bytes, digest)| json!({ "name": name, "bytes": bytes, "sha256": digest }))
        .collect();
    json!({
        "manifest": package.manifest,
        "digest": package.digest(),
        "parts": parts,
        "golden": { "cases": package.golden.cases.len(), "runtime": package.golden.runtime },
        "graph": graph,
    })
}

fn package_text(package: &Package, graph: &Inspection) -> String {
    let m = &package.manifest;
    let mut text = format!("{} {}\nsha256 {}\n", m.name, m.version, package.digest());
    let rows: Vec<Vec<String>> =
        package.parts().map(|(name, bytes, digest)| vec![name.to_owned(), bytes.to_string(), digest]).collect();
    text += &table(&["PART", "BYTES", "SHA-256"], &rows);
    if let Some(origin) = &m.origin {
        text += &format!("from {} ({})\n", origin.sha256, origin.producer);
        text.extend(origin.rewritten.iter().map(|line| format!("  rewritten: {line}\n")));
    }
    text += &format!("golden: {} inputs, outputs by {}\n", package.golden.cases.len(), package.golden.runtime);
    text + &graph_text(graph)
}

fn graph_text(graph: &Inspection) -> String {
    let mut text = format!("{} nodes, operator set {}, by {}\n", graph.nodes, graph.opset, graph.producer);
    text += &format!("inputs:  {}\noutputs: {}\n", graph.inputs.join("; "), graph.outputs.join("; "));
    let counted: Vec<String> = graph.operators.iter().map(|(name, n)| format!("{name} {n}")).collect();
    text += &format!("operators: {}\n", counted.join(", "));
    if !graph.rewritten.is_empty() {
        text += &format!("import writes anew: {}\n", graph.rewritten.join(", "));
    }
    text + &findings_text(&graph.findings)
}

fn findings_text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing is wrong with it\n".to_owned();
    }
    findings.iter().map(|f| format!("{f}\n")).collect()
}

fn test(path: &Path, how: &Trial) -> Result<()> {
    let package = Package::read(path)?;
    let limits = TrialLimits::new(package.manifest.budget.memory_bytes).with_seconds(how.seconds);
    let tested: Tested = match import::test(&package, &program()?, limits) {
        Ok(tested) => tested,
        Err(error) => return refused(error, how.json),
    };
    if how.json {
        print_json(&tested)?;
    } else {
        let bytes = package.model().len();
        let head =
            format!("{} {}: {} golden inputs run\n", package.manifest.name, package.manifest.version, tested.golden);
        print(&(head + &figures(&tested.measured, bytes) + &findings_text(&tested.findings)))?;
    }
    if !tested.findings.is_empty() {
        bail!("{} of its promises are not kept", tested.findings.len());
    }
    Ok(())
}

fn pack(folder: &Path, output: &Path, json: bool) -> Result<()> {
    let package = Package::read(folder)?;
    let bytes = write_packed(&package, output)?;
    if json {
        return print_json(&json!({ "package": output, "bytes": bytes, "digest": package.digest() }));
    }
    print(&format!("{}: {bytes} bytes, sha256 of the package {}\n", output.display(), package.digest()))
}

fn write_packed(package: &Package, output: &Path) -> Result<usize> {
    let bytes = package.encode()?;
    if let Some(folder) = output.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(output, &bytes).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(bytes.len())
}
