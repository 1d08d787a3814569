//! `tacit man DIR`: man pages and completions of all three programs, as packages install them.
//!
//! ```text
//! DIR/man/tacit.1  tacit-status.1 …  tacit-agent.1 …  tacit-collector.1 …
//! DIR/completions/bash/tacit.bash …  fish/tacit.fish …  zsh/_tacit …
//! ```
//!
//! They are made of the command lines themselves, so they cannot say anything else than the programs do. It is a command of the
//! operator's program since that one is built for the machine that packs, whatever the packages are for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::arguments::Arguments;

/// Shells whose completions are packed.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Fish, Shell::Zsh];

/// Writes them below `folder`, which is made.
///
/// # Errors
/// When a file cannot be written; the path is named.
pub fn write(folder: &Path) -> Result<()> {
    let programs = [
        ("tacit", Arguments::command()),
        ("tacit-agent", tacit_agent::cli::command()),
        ("tacit-collector", tacit_collector::cli::command()),
    ];
    let man = make(folder.join("man"))?;
    for (name, mut command) in programs {
        let failed = || format!("cannot write the man pages of {name} in {}", man.display());
        clap_mangen::generate_to(command.clone(), &man).with_context(failed)?;
        for shell in SHELLS {
            let folder = make(folder.join("completions").join(shell.to_string()))?;
            let failed = || format!("cannot write the completions of {name} in {}", folder.display());
            clap_complete::generate_to(shell, &mut command, name, &folder).with_context(failed)?;
        }
    }
    Ok(())
}

fn make(folder: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
