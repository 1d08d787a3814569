//! The command line of `tacit-collector`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::access::local;
use crate::config::Config;
use crate::supervisor::Collector;

/// Takes in what Tacit's agents publish, makes incidents of it, and shows it.
#[derive(Debug, Parser)]
#[command(name = "tacit-collector", version)]
struct Arguments {
    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, global = true, env = "TACIT_LOG", default_value = "info")]
    log: tracing::Level,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run until told to stop.
    Serve {
        /// Configuration file (default: /etc/tacit/collector.toml when it is there).
        #[arg(long)]
        config: Option<PathBuf>,
        /// Where everything is kept; overrides the configuration.
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Say whether a configuration can be used.
    CheckConfig {
        /// The file (default: /etc/tacit/collector.toml).
        file: Option<PathBuf>,
    },
    /// Users in the database of this machine: the first admin is made here.
    #[command(subcommand)]
    User(local::UserCommand),
    /// Tokens in the database of this machine.
    #[command(subcommand)]
    Token(local::TokenCommand),
    /// Completions for a shell.
    Completions {
        /// bash, zsh, fish, elvish, powershell.
        shell: clap_complete::Shell,
    },
}

const DEFAULT_CONFIG: &str = "/etc/tacit/collector.toml";

/// The command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Parses the command line and runs it. Exit codes: 0 it worked, 1 it failed, 2 wrong usage or configuration.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(arguments.log);
    match arguments.command {
        Command::Serve { config, data } => {
            let mut config = match load(config) {
                Ok(config) => config,
                Err(code) => return code,
            };
            if let Some(data) = data {
                config.data_dir = data;
            }
            match serve(&config) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&format!("{error:#}"), 1),
            }
        }
        Command::CheckConfig { file } => match load(Some(file.unwrap_or_else(|| DEFAULT_CONFIG.into()))) {
            Ok(_) => {
                println!("The configuration is good.");
                ExitCode::SUCCESS
            }
            Err(code) => code,
        },
        Command::User(command) => {
            let place = command.place().clone();
            here(place, |config| local::user(command, config))
        }
        Command::Token(command) => {
            let place = command.place().clone();
            here(place, |config| local::token(command, config))
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "tacit-collector", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// Logs to standard error; the broker's library says at `info` what belongs to `debug`, so it is one level quieter.
pub fn start_logging(level: tracing::Level) {
    let library = if level > tracing::Level::WARN { tracing::Level::WARN } else { level };
    let library = if level >= tracing::Level::DEBUG { level } else { library };
    let targets = Targets::new().with_default(level).with_target("mqtt5", library).with_target("rumqttc", library);
    let output =
        tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    // A test in the same process may have set one before.
    let _ = tracing_subscriber::registry().with(output.with_filter(targets)).try_init();
}

fn fail(words: &str, code: u8) -> ExitCode {
    eprintln!("tacit-collector: {words}");
    ExitCode::from(code)
}

fn load(named: Option<PathBuf>) -> Result<Config, ExitCode> {
    let path = named.or_else(|| Some(PathBuf::from(DEFAULT_CONFIG)).filter(|p| p.exists()));
    match path {
        None => Ok(Config::default()),
        Some(path) => Config::load(&path).map_err(|e| fail(&e.to_string(), 2)),
    }
}

/// Does something to the database of a collector of this machine, and prints what came of it.
fn here(place: local::Place, work: impl FnOnce(&Config) -> anyhow::Result<String>) -> ExitCode {
    let mut config = match load(place.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Some(data) = place.data {
        config.data_dir = data;
    }
    match work(&config) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("{error:#}"), 1),
    }
}

fn serve(config: &Config) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let collector = Collector::start(config).await?;
        match collector.mqtt_address() {
            Some(mqtt) => tracing::info!(console = collector.console(), %mqtt, tls = config.tls.enabled, "Ready."),
            None => tracing::info!(console = collector.console(), "Ready; using an external broker."),
        }
        stop_signal().await.context("cannot wait for signals")?;
        tracing::info!("Stopping.");
        collector.stop().await;
        Ok(())
    })
}

/// Waits for Ctrl-C or a service manager's request to end.
///
/// # Errors
/// When the system refuses to report signals.
pub async fn stop_signal() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
