//! Arguments of `tacit`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tacit_collector::config::BrokerUrl;

use crate::moment::moment;

/// Fleet monitoring that speaks only when something is wrong.
///
/// Without a command: `tacit up`.
#[derive(Debug, Parser)]
#[command(name = "tacit", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `tacit up`, when no command is named.
    #[command(flatten)]
    pub up: Up,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start collector, console and an agent for this machine, in one process.
    Up(Up),
    /// Watch a simulated shop fail: a collector, its console and the agents' judgement are real, nothing else is.
    Demo(Demo),
    /// Is all quiet? What stands behind it?
    Status(Ask),
    /// The nodes of the fleet.
    Nodes(Ask),
    /// Announce a change, a deploy or a new configuration: an incident that begins soon after can name it.
    Change(Change),
    /// Say that somebody works on a node: it learns nothing meanwhile, and no model raises an alarm.
    Maintenance(Maintenance),
    /// Incidents that are not resolved, or all.
    Incidents(Incidents),
    /// One incident.
    #[command(subcommand)]
    Incident(Incident),
    /// Mute alarms that match for a time: they are still shown, but disturb nobody.
    #[command(subcommand)]
    Silence(crate::quiet::Silence),
    /// Maintenance windows that come again, with an owner, a reason and an end.
    #[command(subcommand)]
    Window(crate::quiet::Window),
    /// What disturbed nobody, and why: events that opened nothing, what is muted, what was folded.
    Digest(Digest),
    /// Whether people elsewhere can be told, and what they were told.
    #[command(subcommand)]
    Notify(Notify),
    /// Users: who may sign in, and what they may do. The first is made by tacit-collector user add, on its machine.
    #[command(subcommand)]
    User(crate::access::User),
    /// Tokens for programs, such as this one.
    #[command(subcommand)]
    Token(crate::access::Token),
    /// Who changed what.
    AccessLog(crate::access::AccessLog),
    /// The certificate authority of the collector on this machine.
    #[command(subcommand)]
    Ca(crate::identity::Ca),
    /// Who may become a node, and who is one.
    #[command(subcommand)]
    Node(crate::identity::Node),
    /// Events, newest first.
    Events(Events),
    /// Which service on which node talks to which: how much, how fast, how reliably.
    Map(Map),
    /// What breaks when a service or a node goes down, and what does not.
    Blast(Blast),
    /// How one service or node reaches another.
    Path(Path),
    /// Everything that nodes publish, decoded, as it comes.
    Tail(Tail),
    /// Models made elsewhere: bring them in, look at them, test them, pack them.
    #[command(subcommand)]
    Model(Model),
    /// The child process in which a model runs for the first time.
    #[command(name = tacit_models::import::trial::COMMAND, hide = true)]
    ModelTrial,
    /// Completions for a shell.
    Completions {
        /// bash, zsh, fish, elvish, powershell.
        shell: clap_complete::Shell,
    },
    /// Write man pages and completions of all three programs, for packages.
    #[command(hide = true)]
    Man {
        /// The folder; it is made.
        folder: PathBuf,
    },
    /// The fault that `tacit up --try` injects; it runs in a process of its own so that it can be named as the culprit.
    #[command(name = "try-fault", hide = true)]
    TryFault {
        /// How long it lasts.
        #[arg(long, default_value_t = 45)]
        seconds: u64,
        /// Memory to take, in bytes.
        #[arg(long, default_value_t = 0)]
        memory: u64,
    },
}

/// `tacit up`
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// Where everything is kept.
    #[arg(long, default_value = ".tacit")]
    pub data: PathBuf,
    /// Where the console and the API listen.
    #[arg(long, default_value = "127.0.0.1:8420")]
    pub http: SocketAddr,
    /// Where the broker listens.
    #[arg(long, default_value = "127.0.0.1:1883")]
    pub mqtt: SocketAddr,
    /// An MQTT 5 broker that runs already, to use instead of the embedded one: mqtt://HOST:PORT.
    #[arg(long, value_parser = |url: &str| BrokerUrl::try_from(url.to_owned()), conflicts_with = "mqtt")]
    pub broker: Option<BrokerUrl>,
    /// Inject a bounded, reversible cpu and memory fault once a first model has been learned.
    #[arg(long = "try")]
    pub try_fault: bool,
    /// How messages travel: cbor, or json for people and scripts.
    #[arg(long, default_value = "cbor", value_parser = ["cbor", "json"])]
    pub encoding: String,
    /// Log more: error, warn, info, debug.
    #[arg(long, default_value = "warn")]
    pub log: String,
}

/// `tacit demo`
#[derive(Debug, Clone, Args)]
pub struct Demo {
    /// Where the console and the API listen.
    #[arg(long, default_value = "127.0.0.1:8420")]
    pub http: SocketAddr,
    /// End after so long: 90s, 5min. Without it the demonstration goes on until Ctrl-C.
    #[arg(long = "for", value_name = "TIME")]
    pub time: Option<tacit_agent::config::Duration>,
    /// Log more: error, warn, info, debug.
    #[arg(long, default_value = "warn")]
    pub log: String,
}

/// What every question has.
#[derive(Debug, Clone, Args)]
pub struct Ask {
    /// Address of the collector.
    #[arg(long, env = "TACIT_COLLECTOR", default_value = "http://127.0.0.1:8420")]
    pub collector: String,
    /// File with the token to show to the collector; without it the variable TACIT_TOKEN holds one, where one is needed.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the roots that the collector's certificate is of, for https: see `tacit ca show --pem`.
    #[arg(long, env = "TACIT_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tacit change`
#[derive(Debug, Clone, Args)]
pub struct Change {
    /// What was done: "deploy api 1.2.3".
    pub what: String,
    /// To this service: NODE/OWNER, or an owner's name on whatever nodes the map has it.
    #[arg(long)]
    pub service: Option<String>,
    /// To this node. Without service, node, entity or site it is the whole fleet.
    #[arg(long)]
    pub node: Option<String>,
    /// To this vertex of the map, by its id.
    #[arg(long, conflicts_with_all = ["service", "node"])]
    pub entity: Option<String>,
    /// To everything in this site.
    #[arg(long)]
    pub site: Option<String>,
    /// When: 2026-11-23T12:00:00Z, 12:00, or 10min for ten minutes ago; by default now.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub at: Option<i64>,
    /// deploy, config, flag, maintenance, or another word.
    #[arg(long, default_value = "deploy")]
    pub kind: String,
    /// Where more can be read.
    #[arg(long)]
    pub url: Option<String>,
    /// Your name for it: announced again under it, it is the same change.
    #[arg(long)]
    pub id: Option<String>,
    /// Who made it; by default the user of this shell.
    #[arg(long, env = "USER")]
    pub actor: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// `tacit maintenance`
#[derive(Debug, Clone, Args)]
pub struct Maintenance {
    /// The node.
    pub node: String,
    /// For how long: 30min, 2h, at most 7d.
    #[arg(long = "for", value_name = "TIME", required_unless_present = "end", conflicts_with = "end")]
    pub time: Option<tacit_agent::config::Duration>,
    /// Why.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// It is over.
    #[arg(long)]
    pub end: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// `tacit incidents`
#[derive(Debug, Clone, Args)]
pub struct Incidents {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
    /// Resolved ones too.
    #[arg(long)]
    pub all: bool,
    /// Only those that are muted, and by what.
    #[arg(long, conflicts_with = "all")]
    pub muted: bool,
    /// How good incidents and causes were, counted from what people said of them.
    #[arg(long, conflicts_with_all = ["all", "muted"])]
    pub scores: bool,
}

/// `tacit incident …`
#[derive(Debug, Clone, Subcommand)]
pub enum Incident {
    /// What is wrong, why we think so, since when.
    Show(OneIncident),
    /// Say that you have it.
    Ack(OneIncident),
    /// Say that it is over.
    Resolve(OneIncident),
    /// Say what it was.
    Label {
        #[command(flatten)]
        #[allow(missing_docs)]
        one: OneIncident,
        /// true, false-alarm, maintenance, duplicate, unsure.
        #[arg(value_parser = ["true", "false-alarm", "maintenance", "duplicate", "unsure"])]
        label: String,
        /// The incident that it is a duplicate of.
        #[arg(long, value_name = "ID")]
        of: Option<i64>,
    },
    /// Say whether the cause is right, or which it was.
    Cause {
        #[command(flatten)]
        #[allow(missing_docs)]
        one: OneIncident,
        /// The first of the ranking was it.
        #[arg(long)]
        right: bool,
        /// It was this one: a node, or NODE/SERVICE as on the map.
        #[arg(long, value_name = "ENTITY", required_unless_present = "right", conflicts_with = "right")]
        was: Option<String>,
    },
    /// Remark something.
    Comment {
        #[command(flatten)]
        #[allow(missing_docs)]
        one: OneIncident,
        /// The remark.
        text: String,
    },
    /// Say who has it.
    Assign {
        #[command(flatten)]
        #[allow(missing_docs)]
        one: OneIncident,
        /// Who; without a name nobody has it.
        who: Option<String>,
    },
    /// Say that it is part of another incident: that one takes its events, this one is over.
    Merge {
        #[command(flatten)]
        #[allow(missing_docs)]
        one: OneIncident,
        /// The one that goes on.
        #[arg(long, value_name = "ID")]
        into: i64,
    },
    /// Make an incident of its own of some of its events.
    Split {
        #[command(flatten)]
        #[allow(missing_docs)]
        one: OneIncident,
        /// The events, each as NODE/EVENT: `tacit incident why` lists them.
        #[arg(required = true, value_name = "NODE/EVENT")]
        events: Vec<String>,
    },
    /// Why it opened, why each event is in it, what muted it, and what the ranking of causes saw.
    Why(OneIncident),
    /// Rank its causes again from the evidence of then, and compare.
    Replay {
        #[command(flatten)]
        #[allow(missing_docs)]
        one: OneIncident,
        /// The ranking made at this time, Unix milliseconds; by default the newest.
        #[arg(long, value_name = "MS")]
        at_ms: Option<i64>,
    },
}

/// An incident by its number.
#[derive(Debug, Clone, Args)]
pub struct OneIncident {
    /// Its number.
    pub id: i64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
    /// Who does it; by default the user of this shell.
    #[arg(long, env = "USER", default_value = "operator")]
    pub actor: String,
    /// A remark for the audit trail.
    #[arg(long)]
    pub note: Option<String>,
}

/// `tacit digest`
#[derive(Debug, Clone, Args)]
pub struct Digest {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
    /// Of this day, 2026-01-31, in UTC; by default of the last 24 hours.
    #[arg(long)]
    pub day: Option<String>,
    /// At most so many events.
    #[arg(long, default_value_t = 30)]
    pub limit: usize,
}

/// `tacit notify …`
#[derive(Debug, Clone, Subcommand)]
pub enum Notify {
    /// Send a test message now, and say what each receiver answered.
    Test {
        /// Only to this receiver.
        receiver: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        ask: Ask,
    },
    /// What was told to whom, and what waits to be, newest first; and receivers that take nothing.
    List {
        /// Only of this incident.
        #[arg(long)]
        incident: Option<i64>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        #[allow(missing_docs)]
        ask: Ask,
    },
}

/// `tacit events`
#[derive(Debug, Clone, Args)]
pub struct Events {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
    /// Only of this node.
    #[arg(long)]
    pub node: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// Go on with new ones as they come.
    #[arg(long)]
    pub follow: bool,
}

/// `tacit map`
#[derive(Debug, Clone, Args)]
pub struct Map {
    /// Address of the collector.
    #[arg(long, env = "TACIT_COLLECTOR", default_value = "http://127.0.0.1:8420")]
    pub collector: String,
    /// File with the token to show to the collector; without it the variable TACIT_TOKEN holds one, where one is needed.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the roots that the collector's certificate is of, for https: see `tacit ca show --pem`.
    #[arg(long, env = "TACIT_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Only edges with an end on this node.
    #[arg(long)]
    pub node: Option<String>,
    /// Only edges with an end that is this service: NODE/OWNER, or an owner's name on any node.
    #[arg(long)]
    pub service: Option<String>,
    /// The map as it was: 2026-11-23T12:00:00Z, "2026-11-23 12:00", 12:00, yesterday, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub as_of: Option<i64>,
    /// What differs between two times, as for --as-of: yesterday now.
    #[arg(long, value_names = ["TIME", "TIME"], num_args = 2, value_parser = moment,
        conflicts_with_all = ["as_of", "node", "service", "fold"])]
    pub diff: Option<Vec<i64>>,
    /// Leave out infrastructure: names, time, monitoring.
    #[arg(long)]
    pub fold: bool,
    /// table, json, dot or mermaid.
    #[arg(long, default_value = "table", value_parser = ["table", "json", "dot", "mermaid"])]
    pub format: String,
}

/// `tacit blast`
#[derive(Debug, Clone, Args)]
pub struct Blast {
    /// NODE/OWNER, an owner's name on any node, or a node.
    pub service: String,
    /// The map as it was: 2026-11-23T12:00:00Z, "2026-11-23 12:00", 12:00, yesterday, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub as_of: Option<i64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// `tacit path`
#[derive(Debug, Clone, Args)]
pub struct Path {
    /// Where it begins: NODE/OWNER, an owner's name on any node, or a node.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// The map as it was: 2026-11-23T12:00:00Z, "2026-11-23 12:00", 12:00, yesterday, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub as_of: Option<i64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub ask: Ask,
}

/// `tacit tail`
#[derive(Debug, Clone, Args)]
pub struct Tail {
    /// Address of the broker: mqtt://HOST:PORT, or mqtts://HOST:PORT for one with TLS.
    #[arg(long, env = "TACIT_BROKER", default_value = "mqtt://127.0.0.1:1883")]
    pub broker: String,
    /// File with the token to show to the collector's broker; without it the variable TACIT_TOKEN holds one, where one is needed.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the roots that the broker's certificate is of, for mqtts: see `tacit ca show --pem`.
    #[arg(long, env = "TACIT_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Only of this node.
    #[arg(long)]
    pub node: Option<String>,
    /// One JSON object a line, whole.
    #[arg(long)]
    pub json: bool,
}

/// `tacit model …`
#[derive(Debug, Clone, Subcommand)]
pub enum Model {
    /// Lint, rewrite and try a foreign model, and make a package of it.
    Import(ModelImport),
    /// What is in a package or an ONNX file, and what would be refused. Nothing is run.
    Inspect {
        /// A package (folder or .tacitmodel) or an .onnx file.
        path: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run the golden inputs of a package again; fails when an output differs or the budget is exceeded.
    Test {
        /// A package: folder or .tacitmodel.
        path: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        how: Trial,
    },
    /// Make one file of a package folder; the same package gives the same bytes.
    Pack {
        /// The folder.
        folder: PathBuf,
        /// The file to write, NAME.tacitmodel.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `tacit model import`
#[derive(Debug, Clone, Args)]
pub struct ModelImport {
    /// The ONNX file.
    pub model: PathBuf,
    /// What the model takes and what its output means: see docs/MODELS.md.
    #[arg(long, value_name = "FILE")]
    pub manifest: PathBuf,
    /// Where the package goes: a folder, or a file when it ends in .tacitmodel. By default the folder NAME-VERSION.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub how: Trial,
}

/// How a model is tried.
#[derive(Debug, Clone, Args)]
pub struct Trial {
    /// Most processor time of the trial, in seconds; three times that of real time.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
