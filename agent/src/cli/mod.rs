//! The command line of `tacit-agent`.
//!
//! ```text
//! tacit-agent run [--config F] [--data DIR]
//! tacit-agent sample [--once|--watch] [--json]      every series with its value now
//! tacit-agent links [--for 10s] [--json]            who talks to whom, observed for a while
//! tacit-agent doctor [--json]                       what this host offers, what is absent and why
//! tacit-agent maintenance --for 2h --reason TEXT    somebody works on this machine: learn nothing, let no model alarm
//! tacit-agent enroll --collector URL --token-file F [--node ID] [--again]   join a fleet
//! tacit-agent check-config [FILE] [--print]         file, drop-ins and variables: what is wrong, or what is in force
//! tacit-agent completions SHELL
//! ```
//!
//! Exit codes: 0 it worked, 1 it failed, 2 the command line or the configuration is wrong.

mod agreement;
mod doctor;
mod enroll;
mod links;
mod sample;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use tacit_wire::limits::MAINTENANCE_S;

use crate::clock::Tick;
use crate::config::{Config, ConfigError, Layers, Origin, Places};
use crate::fleet::maintenance::{Mark, MarkFile};
use crate::source::Root;

/// Where the configuration is looked for when none is named.
pub const DEFAULT_CONFIG: &str = "/etc/tacit/agent.toml";

/// Samples this machine, judges it locally, and publishes only what matters.
#[derive(Debug, Parser)]
#[command(name = "tacit-agent", version, about, max_term_width = 100)]
pub struct Cli {
    /// What is logged: error, warn, info, debug or trace. TACIT_LOG sets it too.
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<tracing::Level>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until it is told to stop.
    Run(ConfigArgs),
    /// Print every series with its value now.
    Sample {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print once and end (the default).
        #[arg(long, conflicts_with = "watch")]
        once: bool,
        /// Print again at each interval, until interrupted.
        #[arg(long)]
        watch: bool,
        /// Print an array of {"name","attributes","unit","value"} instead of a table; with --watch one line each time.
        #[arg(long)]
        json: bool,
    },
    /// Observe connections for a while and print who talked to whom.
    Links {
        #[command(flatten)]
        config: ConfigArgs,
        /// For how long, at most 1h.
        #[arg(long = "for", value_name = "TIME", default_value = "10s")]
        time: crate::config::Duration,
        /// Print an array of objects instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Say what this host offers, what is absent and why.
    Doctor {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Say that somebody works on this machine: until it ends nothing is learned and no model raises an alarm; rules go on.
    Maintenance {
        #[command(flatten)]
        config: ConfigArgs,
        /// For how long, at most 7d; without it: say what stands.
        #[arg(long = "for", value_name = "TIME", conflicts_with = "end")]
        time: Option<crate::config::Duration>,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
        /// It is over.
        #[arg(long)]
        end: bool,
    },
    /// Join a fleet: make a key here and get a certificate for it from the collector, with a one-time token.
    Enroll(enroll::EnrollArgs),
    /// Check a configuration and say what is wrong with it.
    CheckConfig {
        /// The file, with its drop-ins (agent.toml: agent.d/*.toml); without it the one that `run` would use.
        file: Option<PathBuf>,
        /// Print what is in force, and for each key that is set where.
        #[arg(long)]
        print: bool,
    },
    /// Runs a model in a process of its own; the agent starts it.
    #[command(name = tacit_models::import::trial::COMMAND, hide = true)]
    ModelTrial,
    /// Judge a recording and print its scores, or compare them with those of another machine (cross/README.md).
    #[command(hide = true)]
    Agreement {
        /// Values, as cross/recording.csv.
        recording: PathBuf,
        /// Known scores; the exit code is 1 when they differ by more than rounding.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file; without it /etc/tacit/agent.toml, and without that the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for state, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A failure with its exit code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The command line or the configuration is wrong: 2.
    #[error("{0}")]
    Usage(String),
    /// It did not work: 1.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// The command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The program: parses the command line and does what it says; `run` runs the agent with a checked configuration.
pub fn main(run: impl FnOnce(&Layers) -> anyhow::Result<()>) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version go to standard output and are no failure.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if matches!(cli.command, Command::ModelTrial) {
        return tacit_models::import::trial::child();
    }
    match dispatch(cli, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tacit-agent: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn dispatch(cli: Cli, run: impl FnOnce(&Layers) -> anyhow::Result<()>) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => {
            start_logging(level(cli.log, tracing::Level::INFO)?);
            let layers = layers(&args)?;
            say_places(&layers);
            let configured = layers.config.node.data_dir.clone();
            // Without any configuration it is to run for anybody; a folder somebody chose is never replaced.
            if layers.files().is_empty() && !layers.sets("node.data_dir") && !can_hold(&configured) {
                let used = PathBuf::from("./.tacit/agent");
                let (configured, shown) = (configured.display(), used.display());
                tracing::info!(%configured, used = %shown, "The state folder cannot be written; another is used.");
                return Ok(run(&layers.with_data(used))?);
            }
            Ok(run(&layers)?)
        }
        Command::Sample { config, once: _, watch, json } => {
            start_logging(level(cli.log, tracing::Level::WARN)?);
            Ok(sample::run(&Root::live(), &load(&config)?, watch, json)?)
        }
        Command::Links { config, time, json } => {
            start_logging(level(cli.log, tracing::Level::WARN)?);
            if !(1000..=3_600_000).contains(&time.as_millis()) {
                return Err(Failure::Usage(format!("--for {time}: allowed are 1s to 1h")));
            }
            Ok(links::run(&Root::live(), &load(&config)?, time.std(), json)?)
        }
        Command::Doctor { config, json } => {
            // What the sources would log is what the report says.
            start_logging(level(cli.log, tracing::Level::ERROR)?);
            let path = config_path(&config);
            Ok(doctor::run(&Root::live(), &load(&config)?, path.as_deref(), json)?)
        }
        Command::Maintenance { config, time, reason, end } => {
            Ok(maintenance(&load(&config)?.node.data_dir, time, &reason, end)?)
        }
        Command::Enroll(args) => {
            start_logging(level(cli.log, tracing::Level::WARN)?);
            let file = args.config.config.clone().unwrap_or_else(|| DEFAULT_CONFIG.into());
            enroll::run(&args, &file, &load(&args.config)?)
        }
        Command::CheckConfig { file, print: shown } => {
            let layers = layers(&ConfigArgs { config: file, data: None })?;
            print(&if shown { layers.print() } else { verdict(&layers) });
            for name in layers.unused() {
                eprintln!("tacit-agent: {name} is not used: the configuration has no such section");
            }
            Ok(())
        }
        // It has its own exit code: `main` has seen to it.
        Command::ModelTrial => Ok(()),
        Command::Agreement { recording, against } => Ok(agreement::run(&recording, against.as_deref())?),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tacit-agent", &mut text);
            print(&String::from_utf8_lossy(&text));
            Ok(())
        }
    }
}

/// Makes, ends or tells the mark of maintenance.
fn maintenance(folder: &Path, time: Option<crate::config::Duration>, reason: &str, end: bool) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let (file, now_ms) = (MarkFile::new(folder), Tick::now().wall_ms);
    let at = || format!("no mark can be kept in {}: is it the agent's state folder? (--data DIR)", folder.display());
    if end {
        file.end().with_context(at)?;
    }
    if let Some(time) = time {
        let seconds = u32::try_from(time.as_millis() / 1000).unwrap_or(u32::MAX);
        anyhow::ensure!((1..=MAINTENANCE_S).contains(&seconds), "--for {time}: a mark lasts from 1s to 7d");
        file.set(&Mark::new(now_ms, seconds, reason)).with_context(at)?;
    }
    print(&format!("{}\n", file.read(now_ms).map_or_else(|| "not in maintenance".to_owned(), |mark| mark.words())));
    Ok(())
}

/// The file that holds the configuration, if there is one.
fn config_path(args: &ConfigArgs) -> Option<PathBuf> {
    args.config.clone().or_else(|| Some(PathBuf::from(DEFAULT_CONFIG)).filter(|p| p.exists()))
}

/// Everything that is set: file, drop-ins, variables, command line.
fn layers(args: &ConfigArgs) -> Result<Layers, Failure> {
    Ok(Places::new(args.config.clone(), Path::new(DEFAULT_CONFIG), args.data.clone()).read()?)
}

fn load(args: &ConfigArgs) -> Result<Config, Failure> {
    layers(args).map(|layers| layers.config)
}

/// What was read and found good.
fn verdict(layers: &Layers) -> String {
    let mut lines: Vec<String> = layers.files().iter().map(|file| format!("{}: good\n", file.display())).collect();
    if lines.is_empty() {
        lines.push(format!("{DEFAULT_CONFIG} does not exist; the defaults are in force\n"));
    }
    let others = layers.overridden().filter(|(_, origin)| !matches!(origin, Origin::File(..)));
    lines.extend(others.map(|(key, origin)| format!("{origin}: good, sets {key}\n")));
    lines.concat()
}

/// Says where the configuration is from; what decides beside the main file must not be a surprise.
fn say_places(layers: &Layers) {
    let files: Vec<String> = layers.files().iter().map(|file| file.display().to_string()).collect();
    tracing::info!(files = files.join(", "), "The configuration was read.");
    for (key, origin) in layers.overridden() {
        tracing::info!("{key} is set by {origin}.");
    }
    for name in layers.unused() {
        tracing::warn!("{name} is not used: the configuration has no such section.");
    }
}

/// Whether the folder can be written, or made.
fn can_hold(folder: &Path) -> bool {
    let existing = folder.ancestors().find(|a| a.exists());
    existing.is_some_and(|f| rustix::fs::access(f, rustix::fs::Access::WRITE_OK).is_ok())
}

fn level(asked: Option<tracing::Level>, default: tracing::Level) -> Result<tracing::Level, Failure> {
    match (asked, std::env::var("TACIT_LOG")) {
        (Some(level), _) => Ok(level),
        (None, Ok(text)) if !text.is_empty() => text.parse().map_err(|_| {
            Failure::Usage(format!("TACIT_LOG={text:?} is no level; use error, warn, info, debug or trace"))
        }),
        _ => Ok(default),
    }
}

fn start_logging(level: tracing::Level) {
    let format = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    let format = format.with_ansi(std::io::stderr().is_terminal()).with_target(false);
    // systemd's journal has its own time stamps. A second start, in tests, keeps the first.
    let _ =
        if std::env::var_os("JOURNAL_STREAM").is_some() { format.without_time().try_init() } else { format.try_init() };
}

/// Writes to standard output; a reader that went away (`| head`) is no failure.
fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_configuration_is_a_usage_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, "[sampling]\nintervall = \"1s\"\n").expect("a file");
        let cli = Cli::parse_from(["tacit-agent", "check-config", &file.to_string_lossy()]);
        let failure = dispatch(cli, |_| Ok(())).expect_err("it has a typo");
        assert!(matches!(&failure, Failure::Usage(text) if text.contains("line 2") && text.contains("intervall")));
        let cli = Cli::parse_from(["tacit-agent", "check-config", "/nowhere/agent.toml"]);
        assert!(dispatch(cli, |_| Ok(())).expect_err("no file").to_string().contains("/nowhere/agent.toml"));
    }

    #[test]
    fn run_hands_over_the_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, "[node]\nsite = \"lab\"\n").expect("a file");
        let (file, data) = (file.to_string_lossy().into_owned(), folder.path().to_string_lossy().into_owned());
        let cli = Cli::parse_from(["tacit-agent", "run", "--config", &file, "--data", &data]);
        let mut seen = None;
        dispatch(cli, |layers| {
            seen = Some((layers.config.node.site.to_string(), layers.config.node.data_dir.clone()));
            Ok(())
        })
        .expect("it runs");
        assert_eq!(seen, Some(("lab".to_owned(), folder.path().to_owned())));
    }
}
