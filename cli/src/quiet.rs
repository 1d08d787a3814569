//! Arguments of `tacit silence` and `tacit window`.

use clap::{Args, Subcommand};
use tacit_agent::config::Duration;
use tacit_collector::store::Matcher;

use crate::arguments::Ask;
use crate::moment::moment;

/// `tacit silence …`
#[derive(Debug, Clone, Subcommand)]
pub enum Silence {
    /// Silences that are not over, or all.
    List(List),
    /// Mute what matches for a time: it is still shown, but disturbs nobody.
    Add(AddSilence),
    /// End a silence before its time.
    End(End),
}

/// `tacit window …`
#[derive(Debug, Clone, Subcommand)]
pub enum Window {
    /// Windows that are not over, or all, and what their owners should look at.
    List(List),
    /// Mute what matches each week or month again, until it expires.
    Add(Box<AddWindow>),
    /// End a window before it expires.
    End(End),
}

/// Which are listed.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Those that are over too.
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// What is muted, and who says so.
#[derive(Debug, Clone, Args)]
pub struct Mute {
    /// What to mute; all have to hold: node=web-1, 'family=~disk*|cpu', site!=lab. Fields are node, site, entity, source, kind,
    /// family, text, tag.KEY of a node, or a label of an alert; in a pattern * is any text, ? one character, | stands between alternatives.
    #[arg(value_name = "MATCHER")]
    pub matchers: Vec<Matcher>,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// Who does it; by default the user of this shell.
    #[arg(long, env = "USER", default_value = "operator")]
    pub actor: String,
    /// It is meant to mute everything, or all but what the matchers name.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// `tacit silence add`
#[derive(Debug, Clone, Args)]
pub struct AddSilence {
    /// For how long: 30min, 2h, at most 90d.
    #[arg(long = "for", value_name = "TIME")]
    pub time: Duration,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub mute: Mute,
}

/// `tacit window add`
#[derive(Debug, Clone, Args)]
pub struct AddWindow {
    /// What it is for.
    #[arg(long)]
    pub name: String,
    /// Each week on these days: mon,tue.
    #[arg(
        long,
        value_name = "DAYS",
        value_delimiter = ',',
        required_unless_present = "monthly",
        conflicts_with = "monthly"
    )]
    pub weekly: Vec<String>,
    /// Each month on these days: 1,15, or -1 for the last.
    #[arg(long, value_name = "DAYS", value_delimiter = ',', allow_hyphen_values = true)]
    pub monthly: Vec<i8>,
    /// At what time of day: 02:00.
    #[arg(long, value_name = "HH:MM")]
    pub at: String,
    /// For how long: 30min, 1h, at most 7d.
    #[arg(long = "for", value_name = "TIME")]
    pub time: Duration,
    /// In which time zone: Europe/Berlin. By default that of this machine.
    #[arg(long)]
    pub zone: Option<String>,
    /// Who answers for it.
    #[arg(long)]
    pub owner: String,
    /// It does not open after this, at most 400 days ahead: 2027-06-01, "2027-06-01 12:00".
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: i64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub mute: Mute,
}

/// Which one ends.
#[derive(Debug, Clone, Args)]
pub struct End {
    /// Its number.
    pub id: i64,
    /// Who does it; by default the user of this shell.
    #[arg(long, env = "USER", default_value = "operator")]
    pub actor: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}
