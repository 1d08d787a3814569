//! `tacit-agent`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tacit_agent::cli::main(|_config| anyhow::bail!("this build samples and checks, but has no supervisor to run"))
}
