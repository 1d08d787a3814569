//! A model's first run, in a process of its own.
//!
//! Loading a stranger's model may take all memory, run for ever or crash, so it happens first where that hurts nobody: the
//! current program starts itself once more with a hidden argument, gives itself limits (address space, processor time,
//! no files, first in line when memory is short), loads the model, runs the golden inputs, measures, and says what it found as
//! lines of JSON. The parent adds a limit of real time and knows from the last line during which step a child died.

mod child;
mod confine;
mod work;

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

pub use child::child;

use super::finding::{Code, Finding, Refused};

/// The hidden command of each program that runs trials.
pub const COMMAND: &str = "model-trial";

/// Most bytes of either output of a child that are read.
const MAX_OUTPUT: u64 = 8 << 20;
/// How often the parent looks whether the child is done.
const LOOK: Duration = Duration::from_millis(2);

/// How this program is started as a child: its hidden arguments.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// Arguments that make it call [`child`].
    pub arguments: Vec<String>,
}

impl Program {
    /// The program that is running.
    ///
    /// # Errors
    /// When it cannot tell its own path.
    pub fn current(arguments: &[&str]) -> std::io::Result<Self> {
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        Ok(Self { path: std::env::current_exe()?, arguments })
    }
}

/// What a child may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialLimits {
    /// Address space beyond that of the program itself, in bytes.
    pub memory_bytes: u64,
    /// Processor time in whole seconds.
    pub cpu_seconds: u64,
    /// Real time.
    pub wall: Duration,
}

impl TrialLimits {
    /// The usual limits around a budget of memory: 10 s of processor time, 30 s of real time.
    #[must_use]
    pub fn new(memory_bytes: u64) -> Self {
        // Address space is more than memory: room for allocator arenas and stacks.
        Self { memory_bytes: memory_bytes + (64 << 20), cpu_seconds: 10, wall: Duration::from_secs(30) }
    }

    /// The same with this much processor time and three times that of real time.
    #[must_use]
    pub fn with_seconds(self, seconds: u64) -> Self {
        let seconds = seconds.clamp(1, 600);
        Self { cpu_seconds: seconds, wall: Duration::from_secs(3 * seconds), ..self }
    }
}

/// What a child is asked.
#[derive(Debug, Clone, Encode, Decode)]
pub struct Request {
    /// The graph.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub model: Vec<u8>,
    /// Rows of its input.
    #[n(1)]
    pub rows: usize,
    /// Columns of its input.
    #[n(2)]
    pub width: usize,
    /// Values of its output.
    #[n(3)]
    pub output: usize,
    /// Inputs to run.
    #[n(4)]
    pub inputs: Vec<Vec<f32>>,
    /// Most multiplications a run.
    #[n(5)]
    pub max_work: u64,
    /// Set by [`run`].
    #[n(6)]
    memory_bytes: u64,
    /// Set by [`run`].
    #[n(7)]
    cpu_seconds: u64,
}

impl Request {
    /// A question about a model in the form of a package.
    #[must_use]
    pub fn new(model: &[u8], limits: crate::Limits, inputs: Vec<Vec<f32>>) -> Self {
        Self {
            model: model.to_vec(),
            rows: limits.input[0],
            width: limits.input[1],
            output: limits.output,
            inputs,
            max_work: super::bounds::MAX_WORK,
            memory_bytes: 0,
            cpu_seconds: 0,
        }
    }
}

/// The steps of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    Start,
    Analyse,
    Load,
    Golden,
    Measure,
}

impl Step {
    fn words(self) -> &'static str {
        match self {
            Self::Start => "it started",
            Self::Analyse => "its shapes were analysed",
            Self::Load => "it was loaded",
            Self::Golden => "the golden inputs ran",
            Self::Measure => "it was measured",
        }
    }
}

/// One line of a child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Begins(Step),
    Refused(Finding),
    Measured(Measured),
}

/// What a child measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Output for each input.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub outputs: Vec<Vec<f32>>,
    /// Multiplications (and divisions) of one run, as the runtime counts them before it optimises.
    pub work: u64,
    /// Processor time to load and optimise, in milliseconds.
    pub load_ms: f64,
    /// Median processor time of a run, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 runs take less.
    pub p99_us: f64,
    /// Runs that were timed.
    pub runs: u32,
    /// Greatest growth of resident memory from before loading to the end, in bytes.
    pub memory_bytes: u64,
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The child could not be started or spoken to.
    #[error("the trial's child process {0}")]
    Child(String),
    /// The model is at fault.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Loads and runs a model in a child process.
///
/// # Errors
/// The model was refused or stopped, or no child could be started.
pub fn run(program: &Program, mut request: Request, limits: TrialLimits) -> Result<Measured, TrialError> {
    request.memory_bytes = limits.memory_bytes;
    request.cpu_seconds = limits.cpu_seconds;
    let message = minicbor::to_vec(&request).map_err(|e| TrialError::Child(format!("cannot be asked: {e}")))?;
    let failed = |what: &str, e: std::io::Error| TrialError::Child(format!("{what}: {e}"));
    let mut child = Command::new(&program.path)
        .args(&program.arguments)
        .env_clear()
        // With backtraces every error that the runtime makes and drops costs milliseconds.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed("cannot be started", e))?;
    let readers = (child.stdout.take().map(read_in_background), child.stderr.take().map(read_in_background));
    let writer = child.stdin.take().map(|mut stdin| {
        // On a thread of its own: a child that dies before it has read everything must not hold the parent up.
        std::thread::spawn(move || stdin.write_all(&message))
    });
    let began = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| failed("cannot be waited for", e))? {
            Some(status) => break Some(status),
            None if began.elapsed() > limits.wall => {
                // Both fail only when the child is gone already.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => std::thread::sleep(LOOK),
        }
    };
    if let Some(writer) = writer {
        // What it could not write shows in what the child says.
        let _ = writer.join();
    }
    let text = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| {
        reader.and_then(|r| r.join().ok()).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    };
    verdict(status, &text(readers.0), &text(readers.1), limits)
}

fn read_in_background(pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error counts.
        let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes);
        bytes
    })
}

/// What a child's end and its words mean. No status: it was stopped by the parent.
fn verdict(status: Option<ExitStatus>, out: &str, err: &str, limits: TrialLimits) -> Result<Measured, TrialError> {
    let said: Vec<Said> = out.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let step = said.iter().rev().find_map(|s| if let Said::Begins(step) = s { Some(*step) } else { None });
    match said.into_iter().next_back() {
        Some(Said::Measured(measured)) if status.is_some_and(|s| s.success()) => return Ok(measured),
        Some(Said::Refused(finding)) => return Err(Refused::from(finding).into()),
        _ => {}
    }
    let Some(step) = step else {
        return Err(TrialError::Child(format!("said nothing ({status:?}): {}", err.trim())));
    };
    let place = format!("the trial, while {}", step.words());
    let memory = || format!("more than {} MiB of address space asked for", limits.memory_bytes >> 20);
    let found = match status {
        None => format!("not done after {} s of real time", limits.wall.as_secs()),
        Some(status) => match status.signal() {
            // SIGXCPU, and SIGKILL when that was not heard. Nobody else kills it but the kernel out of memory.
            Some(24) => format!("not done after {} s of processor time", limits.cpu_seconds),
            Some(9) => "killed (processor time, or no memory left)".to_owned(),
            Some(6) if err.contains("memory allocation") || err.contains("overflow") => memory(),
            Some(signal) => format!("died of signal {signal}: {}", last_line(err)),
            None if err.contains("memory allocation") => memory(),
            None => format!("ended ({status}): {}", last_line(err)),
        },
    };
    Err(Refused::from(Finding::new(Code::Stopped, place, found, "less time and memory")).into())
}

fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: Option<ExitStatus>, out: &str, err: &str) -> String {
        match verdict(status, out, err, TrialLimits::new(1 << 20)) {
            Err(TrialError::Refused(refused)) => refused.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_child_that_died_is_told_by_its_step_and_signal() {
        let loading = "{\"begins\":\"start\"}\n{\"begins\":\"load\"}\n";
        let by = |signal: i32| Some(ExitStatus::from_raw(signal));
        assert!(refused(None, loading, "").contains("while it was loaded: not done after 30 s of real time"));
        assert!(refused(by(24), loading, "").contains("not done after 10 s of processor time"));
        let out = refused(by(6), loading, "memory allocation of 8000 bytes failed\n");
        assert!(out.contains("more than 65 MiB of address space"), "{out}");
        assert!(refused(by(11), loading, "").contains("died of signal 11"));
        assert!(matches!(verdict(by(1), "", "no", TrialLimits::new(0)), Err(TrialError::Child(_))));
    }
}
