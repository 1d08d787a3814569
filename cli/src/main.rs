//! The operator's program: see `tacit --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tacit::run()
}
