//! Where settings come from, the later over the earlier:
//!
//! ```text
//! defaults < agent.toml < agent.d/*.toml, by name < TACIT_SECTION_KEY < the command line
//! ```
//!
//! Tables are merged key by key; a list is replaced as a whole. Each file is read by itself first, so that a complaint names its
//! line; what is wrong only in all of them together is told of the place that decided. [`Layers::print`] shows for each key
//! where it was set, and what it was set to before.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, ConfigError, check, explain, locate};

/// What every variable begins with.
const PREFIX: &str = "TACIT_";
/// Variables that begin like that and are no settings of the agent.
const OTHERS: [&str; 9] = [
    "TACIT_LOG",
    "TACIT_DATA",
    "TACIT_KEEP_PAGES",
    crate::clock::AHEAD,
    "TACIT_TOKEN",
    "TACIT_ENROLL_TOKEN",
    "TACIT_COLLECTOR",
    "TACIT_CA_FILE",
    "TACIT_BROKER",
];

/// Where to look.
#[derive(Debug, Clone)]
pub struct Places {
    file: PathBuf,
    /// Somebody named the file, so it has to be there.
    named: bool,
    data: Option<PathBuf>,
    environment: Vec<(String, OsString)>,
}

/// Where a key was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file, on a line.
    File(PathBuf, usize),
    /// By a variable of the environment.
    Variable(String),
    /// On the command line.
    Argument(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Argument(name) => f.write_str(name),
        }
    }
}

/// What all places together say.
#[derive(Debug, Clone)]
pub struct Layers {
    /// What is in force.
    pub config: Config,
    places: Places,
    files: Vec<PathBuf>,
    /// By key: each place that sets it, and to what; the last one decides.
    set: BTreeMap<String, Vec<(Origin, Value)>>,
    unused: Vec<String>,
}

/// One place and what it sets.
struct Layer {
    origin: Name,
    table: Table,
    /// The file's text, to find lines in; empty for a variable.
    text: String,
}

enum Name {
    File(PathBuf),
    Variable(String),
}

impl Places {
    /// The file that somebody named, or `default`, which need not exist; a folder for state that replaces the configured one;
    /// and the variables of the process.
    #[must_use]
    pub fn new(named: Option<PathBuf>, default: &Path, data: Option<PathBuf>) -> Self {
        let (named, file) = (named.is_some(), named.unwrap_or_else(|| default.to_owned()));
        Self { file, named, data, environment: Vec::new() }.with_environment(std::env::vars_os())
    }

    /// With these variables instead of those of the process.
    #[must_use]
    pub fn with_environment(self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        let mut environment: Vec<_> =
            variables.into_iter().filter_map(ours).filter(|(name, _)| name.starts_with(PREFIX)).collect();
        environment.sort();
        Self { environment, ..self }
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// The first thing wrong: what cannot be read, a key that does not exist, a value that is impossible.
    pub fn read(&self) -> Result<Layers, ConfigError> {
        let mut layers = Vec::new();
        for path in self.files()? {
            layers.push(Layer::of_file(path)?);
        }
        let files = layers.iter().filter_map(Layer::path).map(Path::to_owned).collect();
        let known = Table::try_from(Config::default()).expect("a configuration is tables and values");
        let mut unused = Vec::new();
        for (name, value) in &self.environment {
            match Layer::of_variable(name, value, &known)? {
                Of::Setting(layer) => layers.push(layer),
                Of::Nothing => {}
                Of::Unknown => unused.push(name.clone()),
            }
        }
        self.join(&layers, files, unused)
    }

    /// The files that are there, in order.
    fn files(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let unreadable = |path: &Path, source| ConfigError::Read { path: path.to_owned(), source };
        // Whether the main file can be read shows when it is read.
        let is_there =
            self.named || !matches!(self.file.symlink_metadata(), Err(e) if e.kind() == io::ErrorKind::NotFound);
        let mut files = if is_there { vec![self.file.clone()] } else { Vec::new() };
        let folder = self.file.with_extension("d");
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(files),
            Err(e) => return Err(unreadable(&folder, e)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(|e| unreadable(&folder, e))?.file_name());
        }
        names.retain(|name| is_drop_in(name));
        names.sort();
        files.extend(names.into_iter().map(|name| folder.join(name)));
        Ok(files)
    }

    fn join(&self, layers: &[Layer], files: Vec<PathBuf>, unused: Vec<String>) -> Result<Layers, ConfigError> {
        let mut table = Table::new();
        let mut set: BTreeMap<String, Vec<(Origin, Value)>> = BTreeMap::new();
        for layer in layers {
            merge(&mut table, &layer.table);
            for (key, origin) in layer.keys() {
                if let Some(value) = value_at(&layer.table, &key) {
                    set.entry(key).or_default().push((origin, value.clone()));
                }
            }
        }
        // Each layer by itself could be read, and so can what they have in common.
        let mut config: Config = table.try_into().map_err(|e| ConfigError::Together(e.message().to_owned()))?;
        if let Some(data) = &self.data {
            config.node.data_dir.clone_from(data);
            let value = Value::String(data.display().to_string());
            set.entry("node.data_dir".into()).or_default().push((Origin::Argument("--data"), value));
        }
        if let Err(wrong) = check::check(&config) {
            return Err(complain(&wrong, &set, layers));
        }
        Ok(Layers { config, places: self.clone(), files, set, unused })
    }
}

/// Hidden files, and what editors and package managers leave beside others, are none.
fn is_drop_in(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.ends_with(".toml") && !name.starts_with('.'))
}

/// What a variable is.
enum Of {
    Setting(Layer),
    Nothing,
    Unknown,
}

impl Layer {
    fn of_file(path: PathBuf) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let parsed = toml::from_str::<Config>(&text).and_then(|_| toml::from_str::<Table>(&text));
        match parsed {
            Ok(table) => Ok(Self { origin: Name::File(path), table, text }),
            Err(error) => Err(ConfigError::Invalid { path, text: explain(&text, &error) }),
        }
    }

    /// `known` has all sections.
    fn of_variable(name: &str, value: &OsStr, known: &Table) -> Result<Of, ConfigError> {
        let lower = name.strip_prefix(PREFIX).unwrap_or_default().to_lowercase();
        let wrong = |text: String| ConfigError::Variable { name: name.to_owned(), text };
        let Some((section, key)) = lower.split_once('_').filter(|_| !OTHERS.contains(&name)) else {
            return Ok(if OTHERS.contains(&name) { Of::Nothing } else { Of::Unknown });
        };
        match known.get(section) {
            Some(Value::Table(_)) => {}
            Some(_) => return Err(wrong(format!("{section} is a list of sections; it can only be set in a file"))),
            None => return Ok(Of::Unknown),
        }
        let text = value.to_str().ok_or_else(|| wrong(format!("{section}.{key}: the value is not UTF-8")))?;
        // As everywhere, an empty variable is one that is not set.
        if text.is_empty() {
            return Ok(Of::Nothing);
        }
        let mut error = None;
        for value in text.parse::<Value>().ok().into_iter().chain([Value::String(text.to_owned())]) {
            let inner = Table::from_iter([(key.to_owned(), value)]);
            let table = Table::from_iter([(section.to_owned(), Value::Table(inner))]);
            match table.clone().try_into::<Config>() {
                Ok(_) => {
                    let origin = Name::Variable(name.to_owned());
                    return Ok(Of::Setting(Self { origin, table, text: String::new() }));
                }
                // Of a number without its unit the text says more.
                Err(e) if error.is_none() || !e.message().starts_with("invalid type") => error = Some(e),
                Err(_) => {}
            }
        }
        let why = error.map_or_else(String::new, |e| e.message().replace('\n', "; "));
        Err(wrong(format!("{section}.{key}: {why}")))
    }

    fn path(&self) -> Option<&Path> {
        match &self.origin {
            Name::File(path) => Some(path),
            Name::Variable(_) => None,
        }
    }

    /// What it sets, and where in it.
    fn keys(&self) -> Vec<(String, Origin)> {
        match &self.origin {
            Name::File(path) => {
                let origin = |(key, line)| (key, Origin::File(path.clone(), line));
                locate::keys(&self.text).into_iter().map(origin).collect()
            }
            Name::Variable(name) => {
                leaves(&self.table).into_keys().map(|key| (key, Origin::Variable(name.clone()))).collect()
            }
        }
    }
}

/// The complaint about a key, at the place that decided; a key that nobody set is looked for in the files by its section.
fn complain(wrong: &check::Wrong, set: &BTreeMap<String, Vec<(Origin, Value)>>, layers: &[Layer]) -> ConfigError {
    let check::Wrong { key, text } = wrong;
    let leaf = key.split('[').next().unwrap_or(key);
    let in_file = |layer: &Layer| Some((layer.path()?.to_owned(), locate::line_of_key(&layer.text, key)?));
    let at = |path: &Path, line: usize| ConfigError::Invalid {
        path: path.to_owned(),
        text: format!("line {line}: {key}: {text}"),
    };
    match set.get(leaf).and_then(|places| places.last()) {
        Some((Origin::File(path, line), _)) => {
            let layer = layers.iter().find(|layer| layer.path() == Some(path.as_path()));
            at(path, layer.and_then(in_file).map_or(*line, |(_, line)| line))
        }
        Some((Origin::Variable(name), _)) => {
            ConfigError::Variable { name: name.clone(), text: format!("{key}: {text}") }
        }
        Some((Origin::Argument(name), _)) => {
            ConfigError::Variable { name: (*name).to_owned(), text: format!("{key}: {text}") }
        }
        None => match layers.iter().rev().find_map(in_file) {
            Some((path, line)) => at(&path, line),
            None => ConfigError::Together(format!("{key}: {text}")),
        },
    }
}

/// Puts the values of `over` into `table`.
fn merge(table: &mut Table, over: &Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

fn value_at<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => value_at(table.get(section)?.as_table()?, rest),
        None => table.get(key),
    }
}

/// All values by their dotted keys; a list is one value.
pub(super) fn leaves(table: &Table) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => all.extend(leaves(inner).into_iter().map(|(k, v)| (format!("{key}.{k}"), v))),
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
    all
}

impl Layers {
    /// Reads the same places anew. The environment and the command line of a process do not change.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn again(&self) -> Result<Self, ConfigError> {
        self.places.read()
    }

    /// The files that were read, in order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether any place sets a key.
    #[must_use]
    pub fn sets(&self, key: &str) -> bool {
        self.set.contains_key(key)
    }

    /// With another folder for state, also when it is read again.
    #[must_use]
    pub fn with_data(mut self, folder: PathBuf) -> Self {
        self.config.node.data_dir.clone_from(&folder);
        self.places.data = Some(folder);
        self
    }

    /// Variables that look like settings and are none: their section does not exist.
    #[must_use]
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// Keys that are not decided by the main file, with the place that decides.
    pub fn overridden(&self) -> impl Iterator<Item = (&str, &Origin)> {
        let decided = self.set.iter().filter_map(|(key, places)| Some((key.as_str(), &places.last()?.0)));
        decided.filter(move |(_, origin)| !matches!(origin, Origin::File(path, _) if *path == self.places.file))
    }

    /// What is in force, one key a line and valid as a configuration; behind what is set, where, and what it replaced.
    #[must_use]
    pub fn print(&self) -> String {
        let table = Table::try_from(&self.config).expect("a configuration is tables and values");
        let mut text = String::new();
        for (key, value) in leaves(&table) {
            let _ = write!(text, "{key} = {value}");
            let mut places = self.set.get(&key).into_iter().flatten().rev();
            if let Some((origin, set)) = places.next() {
                let _ = write!(text, "  # {}", one_line(&origin.to_string()));
                for (origin, before) in places.filter(|(_, before)| before != set) {
                    let before = one_line(&format!("{before} ({origin})"));
                    let _ = write!(text, ", instead of {before}");
                }
            }
            text.push('\n');
        }
        text
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
