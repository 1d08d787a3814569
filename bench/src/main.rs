//! The bench's program: see `tacit-bench --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match tacit_bench::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tacit-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
