//! The collector's program: see `tacit-collector --help`.

fn main() -> std::process::ExitCode {
    tacit_collector::cli::run()
}
