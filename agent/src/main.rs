//! `tacit-agent`; everything is in the library.

use std::process::ExitCode;

/// musl's own allocator costs the model's runtime up to four times the time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    tacit_agent::cli::main(tacit_agent::supervisor::run)
}
