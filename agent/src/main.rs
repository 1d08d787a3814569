//! `tacit-agent`; everything is in the library.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: tacit_agent::heap::Heap = tacit_agent::heap::Heap;

fn main() -> ExitCode {
    tacit_agent::cli::main(tacit_agent::supervisor::run)
}
