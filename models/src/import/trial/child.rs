//! The child's side of a trial.

use std::io::{Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use rustix::time::{ClockId, clock_gettime};

use super::confine::{confine, forget_peak, resident, resident_peak};
use super::{Measured, Request, Said, Step, work};
use crate::graph::GraphBuilder;
use crate::import::finding::{Code, Finding};
use crate::runtime::{Limits, Model, ModelError};

/// Longest question that is read.
const MAX_REQUEST: u64 = 64 << 20;
/// Runs that are timed: as many as there is processor time for, within these.
const RUNS: u32 = 200;
const FEWEST_RUNS: u32 = 20;
/// Seconds of processor time for them.
const MEASURE_SECONDS: f64 = 2.0;

/// What the hidden argument runs: reads the question from standard input, answers on standard output.
#[must_use]
pub fn child() -> ExitCode {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(MAX_REQUEST).read_to_end(&mut bytes);
    let request: Request =
        match read.map_err(|e| e.to_string()).and_then(|_| minicbor::decode(&bytes).map_err(|e| e.to_string())) {
            Ok(request) => request,
            Err(error) => {
                eprintln!("this command is for tacit itself: {error}");
                return ExitCode::from(2);
            }
        };
    drop(bytes);
    say(&Said::Begins(Step::Start));
    warm_up();
    if let Err(error) = confine(request.memory_bytes, request.cpu_seconds) {
        eprintln!("the limits cannot be set: {error}");
        return ExitCode::FAILURE;
    }
    let said = match trial(&request) {
        Ok(measured) => Said::Measured(measured),
        Err(finding) => Said::Refused(finding),
    };
    say(&said);
    ExitCode::SUCCESS
}

fn say(what: &Said) {
    let mut out = std::io::stdout().lock();
    // A parent that is gone hears nothing, and the kernel ends this process.
    if let Ok(line) = serde_json::to_string(what) {
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Runs the smallest model there is, so that the runtime's own pages are not counted as the model's memory.
fn warm_up() {
    let mut graph = GraphBuilder::default();
    let output = graph.node("Relu", &["window"], vec![]);
    let bytes = graph.finish("warm-up", ("window", [1, 1]), (&output, [1, 1]));
    if let Ok(mut model) = Model::load(&bytes, Limits::new([1, 1], 1)) {
        // Its output is of no interest.
        let _ = model.run(&[0.0], &mut [0.0]);
    }
}

fn trial(request: &Request) -> Result<Measured, Finding> {
    let input = [request.rows, request.width];
    let before = resident();
    forget_peak();
    say(&Said::Begins(Step::Analyse));
    // The runtime can panic on a hostile model; here that is one more reason to refuse it.
    let counted = catch_unwind(AssertUnwindSafe(|| work::count(&request.model, input)));
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let found = format!("it panicked: {}", text.unwrap_or("no message"));
        Finding::new(Code::Load, "the runtime", found, "a graph that can be analysed within the memory")
    };
    let work = counted.map_err(panicked)??;
    if work > request.max_work {
        let (found, allowed) = (format!("{work} multiplications a run"), format!("at most {}", request.max_work));
        return Err(Finding::new(Code::TooMuchWork, "the graph", found, allowed));
    }
    say(&Said::Begins(Step::Load));
    let began = cpu_seconds();
    let mut model = Model::load(&request.model, Limits::new(input, request.output)).map_err(|e| load_fault(&e))?;
    let load_ms = (cpu_seconds() - began) * 1e3;
    say(&Said::Begins(Step::Golden));
    let mut outputs = Vec::with_capacity(request.inputs.len());
    for (i, values) in request.inputs.iter().enumerate() {
        let mut output = vec![0.0; request.output];
        model.run(values, &mut output).map_err(|e| run_fault(i, &e))?;
        outputs.push(output);
    }
    say(&Said::Begins(Step::Measure));
    let times = measure(&mut model, request, &outputs)?;
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)] * 1e6;
    let memory_bytes = resident_peak().saturating_sub(before);
    let (p50_us, p99_us, runs) = (at(0.5), at(0.99), times.len() as u32);
    Ok(Measured { outputs, work, load_ms, p50_us, p99_us, runs, memory_bytes })
}

/// Times of single runs in order, in seconds. Equal inputs must give equal outputs.
fn measure(model: &mut Model, request: &Request, outputs: &[Vec<f32>]) -> Result<Vec<f64>, Finding> {
    let mut times = Vec::with_capacity(RUNS as usize);
    let mut output = vec![0.0; request.output];
    let mut sum = 0.0;
    for (i, expected) in (0..outputs.len()).cycle().zip(outputs.iter().cycle()).take(RUNS as usize) {
        let began = cpu_seconds();
        let ran = model.run(&request.inputs[i], &mut output);
        let time = cpu_seconds() - began;
        ran.map_err(|e| run_fault(i, &e))?;
        if output.iter().zip(expected).any(|(a, b)| a.to_bits() != b.to_bits()) {
            let place = format!("golden input {i}");
            return Err(Finding::new(
                Code::Run,
                place,
                "another output the second time",
                "the same output for the same input",
            ));
        }
        times.push(time);
        sum += time;
        if sum > MEASURE_SECONDS && times.len() >= FEWEST_RUNS as usize {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    if times.is_empty() { Err(Finding::new(Code::Golden, "the golden set", "no inputs", "some")) } else { Ok(times) }
}

/// Processor time of this thread: what other processes do does not count.
fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn load_fault(error: &ModelError) -> Finding {
    match error {
        ModelError::Shape { what, found, expected } => {
            let code = if what.contains("output") { Code::Output } else { Code::Input };
            Finding::new(code, *what, found, expected)
        }
        other => Finding::new(Code::Load, "the runtime", other.to_string(), "a graph that can be loaded"),
    }
}

fn run_fault(input: usize, error: &ModelError) -> Finding {
    Finding::new(Code::Run, format!("golden input {input}"), error.to_string(), "finite scores for every input")
}
