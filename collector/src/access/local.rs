//! `tacit-collector user …` and `tacit-collector token …`: users and tokens straight in the database, for the first admin, and for a day on which
//! nobody can sign in. Whoever may write the database rules the collector anyway. It works beside a running collector, which looks everything
//! up at each request.

use std::io::{IsTerminal as _, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use super::roles::Role;
use super::{check_name, log, password, token};
use crate::clock::now_ms;
use crate::config::Config;
use crate::notify::units::Span;
use crate::store::{AccessStore as _, ApiToken, SqliteStore, StoreError, User};

/// Most of a file or of standard input that is read for a password.
const READ_MAX: u64 = 4096;
/// A running collector may write at the same moment: so often, and so long between.
const TRIES: usize = 40;
const BETWEEN: Duration = Duration::from_millis(50);

/// Which collector.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Configuration file (default: /etc/tacit/collector.toml when it is there).
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Where everything is kept; overrides the configuration.
    #[arg(long)]
    pub data: Option<PathBuf>,
}

/// `tacit-collector user …`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user. The password is read from standard input, or from a file.
    Add {
        /// The name.
        name: String,
        /// viewer, operator or admin.
        #[arg(long)]
        role: Role,
        /// File with the password in its first line.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// The users.
    List {
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// Give a user another role.
    Role {
        /// The name.
        name: String,
        /// viewer, operator or admin.
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// Disable a user: sessions and tokens end at once.
    Disable {
        /// The name.
        name: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// Let a disabled user in again.
    Enable {
        /// The name.
        name: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
    /// Give a user another password, read from standard input, or from a file.
    Password {
        /// The name.
        name: String,
        /// File with the password in its first line.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
}

/// `tacit-collector token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once.
    Make {
        /// What it is for.
        name: String,
        /// viewer, operator or admin.
        #[arg(long)]
        role: Role,
        /// For how long: 12h, 30d; by default until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = |text: &str| Span::try_from(text.to_owned()))]
        ttl: Option<Span>,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: Place,
    },
}

impl UserCommand {
    /// Which collector it is about.
    #[must_use]
    pub fn place(&self) -> &Place {
        match self {
            Self::Add { place, .. }
            | Self::List { place }
            | Self::Role { place, .. }
            | Self::Disable { place, .. }
            | Self::Enable { place, .. }
            | Self::Password { place, .. } => place,
        }
    }
}

impl TokenCommand {
    /// Which collector it is about.
    #[must_use]
    pub fn place(&self) -> &Place {
        let Self::Make { place, .. } = self;
        place
    }
}

/// Does it and gives what to print.
///
/// # Errors
/// What did not work, in words.
pub fn user(command: UserCommand, config: &Config) -> Result<String> {
    let store = open(config)?;
    block(async move {
        let (what, done) = match command {
            UserCommand::List { .. } => return listed(&patiently(|| store.users()).await?),
            UserCommand::Add { name, role, password_file, .. } => {
                check_name(&name).map_err(anyhow::Error::msg)?;
                let password_hash = password::hash(&read_password(password_file.as_deref())?)?;
                let user = User { name, role, password_hash, created_ms: now_ms(), disabled_ms: None };
                patiently(|| store.add_user(user.clone())).await?;
                ("add", user)
            }
            UserCommand::Role { name, role, .. } => ("role", patiently(|| store.set_role(&name, role)).await?),
            UserCommand::Disable { name, .. } => {
                ("disable", patiently(|| store.set_disabled(&name, Some(now_ms()))).await?)
            }
            UserCommand::Enable { name, .. } => ("enable", patiently(|| store.set_disabled(&name, None)).await?),
            UserCommand::Password { name, password_file, .. } => {
                let hash = password::hash(&read_password(password_file.as_deref())?)?;
                ("password", patiently(|| store.set_password(&name, hash.clone())).await?)
            }
        };
        log::note_local(&store, whoever(), &format!("user {what} {} ({})", done.name, done.role)).await;
        let state = if done.disabled_ms.is_some() { "is disabled" } else { "may sign in" };
        Ok(format!("User {} has the role {} and {state}.\n", done.name, done.role))
    })
}

/// Does it and gives what to print.
///
/// # Errors
/// What did not work, in words.
pub fn token(command: TokenCommand, config: &Config) -> Result<String> {
    let TokenCommand::Make { name, role, ttl, .. } = command;
    token::check_name(&name).map_err(anyhow::Error::msg)?;
    let store = open(config)?;
    block(async move {
        let (fresh, now) = (token::make()?, now_ms());
        let made = ApiToken {
            id: fresh.id,
            name,
            role,
            made_by: None,
            created_ms: now,
            expires_ms: ttl.map(|ttl| now.saturating_add(ttl.ms())),
            revoked_ms: None,
            last_used_ms: None,
        };
        patiently(|| store.add_token(made.clone(), fresh.secret_hash)).await?;
        log::note_local(&store, whoever(), &format!("token make {} ({}, {role})", made.name, made.id)).await;
        Ok(format!("{}\n", fresh.text))
    })
}

fn block<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(work)
}

/// Opens the database. One that is not there yet has to be made by the collector's own user, or the collector could not use it.
fn open(config: &Config) -> Result<SqliteStore> {
    let folder = &config.data_dir;
    let file = folder.join("tacit.db");
    if !file.exists() {
        let shown = folder.display();
        let found = std::fs::metadata(folder).with_context(|| {
            format!("cannot use the data folder {shown}: start the collector once, or name its folder with --data")
        })?;
        let own = rustix::process::geteuid().as_raw();
        if found.uid() != own {
            bail!(
                "the data folder {shown} belongs to user number {}, and this runs as {own}: start the collector once, or run this as that user",
                found.uid()
            );
        }
    }
    Ok(SqliteStore::open(&file)?)
}

/// Tries again when the running collector wrote at the same moment.
async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(mut work: impl FnMut() -> F) -> Result<T, StoreError> {
    for _ in 1..TRIES {
        match work().await {
            Err(StoreError::Database(why)) if why.contains("locked") => tokio::time::sleep(BETWEEN).await,
            done => return done,
        }
    }
    work().await
}

/// Who runs this, by number: names can be said by anybody.
fn whoever() -> String {
    format!("user number {}", rustix::process::getuid().as_raw())
}

fn listed(users: &[User]) -> Result<String> {
    if users.is_empty() {
        return Ok("There is no user: tacit-collector user add NAME --role admin makes the first.\n".into());
    }
    let state = |user: &User| if user.disabled_ms.is_some() { "disabled" } else { "" };
    let row = |user: &User| format!("{:<9} {:<32} {}", user.role, user.name, state(user)).trim_end().to_owned() + "\n";
    Ok(users.iter().map(row).collect())
}

/// A password from the first line of a file, or of standard input. Nothing is asked, so that scripts can send it.
///
/// # Errors
/// When it cannot be read.
pub fn read_password(file: Option<&Path>) -> Result<String> {
    let mut text = String::new();
    match file {
        Some(file) => {
            let wrong = || format!("cannot read the password in {}", file.display());
            std::fs::File::open(file)
                .with_context(wrong)?
                .take(READ_MAX)
                .read_to_string(&mut text)
                .with_context(wrong)?;
        }
        None => {
            let input = std::io::stdin();
            if input.is_terminal() {
                eprintln!(
                    "Write the password and end the line; it is shown as you write. --password-file reads a file."
                );
                input.read_line(&mut text).context("cannot read the password")?;
            } else {
                let all = input.lock().take(READ_MAX).read_to_string(&mut text);
                all.context("cannot read the password from standard input")?;
            }
        }
    }
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        bail!("there is no password: send it on standard input, or name a file with --password-file");
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        Config { data_dir: folder.to_owned(), ..Config::default() }
    }

    fn place() -> Place {
        Place { config: None, data: None }
    }

    fn add(name: &str, role: Role, file: &Path) -> UserCommand {
        UserCommand::Add { name: name.into(), role, password_file: Some(file.to_owned()), place: place() }
    }

    #[test]
    fn the_first_admin_is_made_here() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let file = folder.path().join("password");
        std::fs::write(&file, "correct horse\nsecond line\n").unwrap();
        assert!(user(UserCommand::List { place: place() }, &config).unwrap().starts_with("There is no user"));
        let made = user(add("ana", Role::Admin, &file), &config).unwrap();
        assert_eq!(made, "User ana has the role admin and may sign in.\n");
        assert!(user(add("ana", Role::Admin, &file), &config).unwrap_err().to_string().contains("already"));
        assert!(user(add("a b", Role::Admin, &file), &config).unwrap_err().to_string().contains("is no name"));
        let last = UserCommand::Disable { name: "ana".into(), place: place() };
        assert!(user(last, &config).unwrap_err().to_string().contains("last admin"));
        user(add("bo", Role::Viewer, &file), &config).unwrap();
        user(UserCommand::Disable { name: "bo".into(), place: place() }, &config).unwrap();
        let list = user(UserCommand::List { place: place() }, &config).unwrap();
        assert_eq!(list, "admin     ana\nviewer    bo                               disabled\n");

        let made = TokenCommand::Make { name: "ci".into(), role: Role::Operator, ttl: None, place: place() };
        let text = token(made, &config).unwrap();
        let (id, secret) = super::super::token::parse(text.trim_end()).unwrap();
        let store = open(&config).unwrap();
        block(async {
            let kept = store.user("ana").await?.expect("ana is there");
            assert!(kept.password_hash.starts_with("$argon2id$") && kept.role == Role::Admin);
            let known = store.token(id).await?.expect("the token is there");
            assert_eq!(super::super::token::role(&known, secret, now_ms()), Some(Role::Operator));
            let log = store.access_log(None, 10).await?;
            let said: Vec<_> = log.iter().rev().map(|line| line.path.clone()).collect();
            let token = format!("token make ci ({id}, operator)");
            assert_eq!(said, ["user add ana (admin)", "user add bo (viewer)", "user disable bo (viewer)", &token]);
            assert!(log.iter().all(|line| line.address == "local"));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = config(&folder.path().join("nowhere"));
        let said = format!("{:#}", user(UserCommand::List { place: place() }, &nowhere).unwrap_err());
        assert!(said.contains("start the collector once"), "{said}");
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "\n").unwrap();
        assert!(read_password(Some(&empty)).unwrap_err().to_string().contains("there is no password"));
        let missing = read_password(Some(&folder.path().join("missing"))).unwrap_err().to_string();
        assert!(missing.contains("cannot read the password in"), "{missing}");
        std::fs::write(&empty, "short\n").unwrap();
        let short = user(add("ana", Role::Admin, &empty), &config(folder.path())).unwrap_err().to_string();
        assert!(short.contains("the password has 5 bytes"), "{short}");
    }
}
