//! Arguments of `tacit user`, `tacit token` and `tacit access-log`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tacit_agent::config::Duration;
use tacit_collector::store::Role;

use crate::arguments::Ask;

/// `tacit user …`
#[derive(Debug, Clone, Subcommand)]
pub enum User {
    /// The users.
    List(Ask),
    /// Make a user. The password is read from standard input, or from a file.
    Add {
        /// The name: letters, digits and . _ @ -
        name: String,
        /// viewer reads, operator acts on incidents, silences and nodes, admin makes users and tokens.
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        #[allow(missing_docs)]
        password: FromFile,
        #[command(flatten)]
        #[allow(missing_docs)]
        ask: Ask,
    },
    /// Give a user another role; it counts at once.
    Role {
        /// The name.
        name: String,
        /// viewer, operator or admin.
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        #[allow(missing_docs)]
        ask: Ask,
    },
    /// Disable a user: their sessions and tokens end at once.
    Disable(OneUser),
    /// Let a disabled user in again.
    Enable(OneUser),
    /// Give a user another password, read from standard input, or from a file; their sessions end.
    Password {
        /// The name.
        name: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        password: FromFile,
        #[command(flatten)]
        #[allow(missing_docs)]
        ask: Ask,
    },
}

/// Where a password is. (Not `Password`: arguments are grouped by the name of their type, and a command has that name already.)
#[derive(Debug, Clone, Args)]
pub struct FromFile {
    /// File with the password in its first line.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// A user by name.
#[derive(Debug, Clone, Args)]
pub struct OneUser {
    /// The name.
    pub name: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// `tacit token …`
#[derive(Debug, Clone, Subcommand)]
pub enum Token {
    /// The tokens, without their secrets.
    List(Ask),
    /// Make a token and print it, once.
    Make {
        /// What it is for.
        name: String,
        /// viewer, operator or admin.
        #[arg(long)]
        role: Role,
        /// For how long: 12h, 30d; by default until it is revoked.
        #[arg(long, value_name = "TIME")]
        ttl: Option<Duration>,
        #[command(flatten)]
        #[allow(missing_docs)]
        ask: Ask,
    },
    /// End a token.
    Revoke {
        /// Its number, as `tacit token list` has it.
        id: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        ask: Ask,
    },
}

/// `tacit access-log`
#[derive(Debug, Clone, Args)]
pub struct AccessLog {
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// Only those before this number.
    #[arg(long, value_name = "N")]
    pub before: Option<i64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}
