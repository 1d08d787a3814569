//! What becomes of a configuration that was changed while the agent runs: which keys come into force at once, and which with the
//! next start.

use toml::{Table, Value};

use super::layers::leaves;
use super::{Config, check};

/// How a changed key comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// At once; nothing that waits or was learned is lost.
    Live,
    /// With the next start.
    Restart,
}

use How::{Live, Restart};

/// All keys; a list of sections is one key.
pub const KEYS: &[(&str, How)] = &[
    // Topics, the state folder and what is in it are of one node.
    ("node.id", Restart),
    ("node.site", Restart),
    ("node.tags", Restart),
    ("node.data_dir", Restart),
    // The grid, the size of every buffer, and what is held open.
    ("sampling.interval", Restart),
    ("sampling.process_interval", Restart),
    ("sampling.max_series", Restart),
    ("sampling.disable", Restart),
    ("sampling.command_lines", Live),
    ("sampling.ignore_interfaces", Restart),
    ("sampling.ignore_devices", Restart),
    ("sampling.ignore_mounts", Restart),
    ("detect.alarm_budget", Live),
    ("detect.disk_full_within", Live),
    ("detect.snapshot_interval", Live),
    // By a new connection, where it is about the connection.
    ("publish.broker", Live),
    ("publish.profile", Live),
    ("publish.encoding", Live),
    ("publish.bytes_per_month", Live),
    ("publish.username", Live),
    ("publish.password_file", Live),
    ("publish.ca_file", Live),
    ("publish.cert_file", Live),
    ("publish.key_file", Live),
    ("publish.alpn", Live),
    ("publish.proxy", Live),
    ("publish.backoff_max", Live),
    ("outbox.max_bytes", Live),
    ("outbox.max_age", Live),
    ("context.disable", Restart),
    ("links.enabled", Restart),
    ("links.interval", Restart),
    ("links.report", Restart),
    ("links.helper", Restart),
    ("statsd.listen", Restart),
    ("statsd.interval", Restart),
    ("statsd.max_names", Restart),
    // Each is a task or a thread of its own.
    ("probe", Live),
    ("scrape", Live),
    // Tried before they are used.
    ("model", Restart),
];

/// What differs between the configuration in force and another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Keys that come into force at once.
    pub live: Vec<String>,
    /// Keys that wait for the next start.
    pub restart: Vec<String>,
    /// What is in force then: the new values of the former, the old ones of the latter.
    pub config: Config,
}

impl Change {
    /// From what is in force to what is wanted.
    ///
    /// # Errors
    /// When what can be taken over now does not go with what cannot.
    pub fn between(running: &Config, wanted: &Config) -> Result<Self, String> {
        let table = |config: &Config| Table::try_from(config).expect("a configuration is tables and values");
        let mut table_in_force = table(running);
        let (before, after) = (leaves(&table_in_force), leaves(&table(wanted)));
        let (mut live, mut restart) = (Vec::new(), Vec::new());
        let gone = before.keys().filter(|key| !after.contains_key(*key));
        for key in after.keys().chain(gone).filter(|key| before.get(*key) != after.get(*key)) {
            if how(key) == Restart {
                restart.push(key.clone());
                continue;
            }
            live.push(key.clone());
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            let holder = match table_in_force.get_mut(section).and_then(Value::as_table_mut) {
                Some(holder) => holder,
                None => &mut table_in_force,
            };
            match after.get(key) {
                Some(value) => drop(holder.insert(name.to_owned(), value.clone())),
                None => drop(holder.remove(name)),
            }
        }
        let config: Config = table_in_force.try_into().map_err(|e| e.message().to_owned())?;
        check::check(&config).map_err(|wrong| {
            format!(
                "{}: {} (with the old values of {}, which need a restart)",
                wrong.key,
                wrong.text,
                restart.join(", ")
            )
        })?;
        live.sort();
        restart.sort();
        Ok(Self { live, restart, config })
    }

    /// In plain words.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.live[..], &self.restart[..]) {
            ([], []) => "nothing has changed".to_owned(),
            (live, []) => format!("in force: {}", live.join(", ")),
            ([], restart) => format!("a restart is needed for {}", restart.join(", ")),
            (live, restart) => {
                format!("in force: {}; a restart is needed for {}", live.join(", "), restart.join(", "))
            }
        }
    }
}

/// What nobody thought of waits for a restart.
fn how(key: &str) -> How {
    KEYS.iter().find(|(known, _)| *known == key).map_or(Restart, |(_, how)| *how)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The fields that a section takes, as it says itself.
    fn fields(section: &str) -> Vec<String> {
        let text =
            if section.is_empty() { "no-such-key = 1".to_owned() } else { format!("[{section}]\nno-such-key = 1") };
        let error = toml::from_str::<Config>(&text).expect_err("there is none").message().to_owned();
        error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_key_is_in_the_table_and_nothing_else() {
        let default = Table::try_from(Config::default()).expect("tables and values");
        let mut all = BTreeSet::new();
        for root in fields("") {
            match default.get(&root) {
                Some(Value::Table(_)) => all.extend(fields(&root).into_iter().map(|key| format!("{root}.{key}"))),
                _ => all.extend([root]),
            }
        }
        let table: BTreeSet<String> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
        assert!(all.len() > 30, "{all:?}");
        assert_eq!(all, table, "a new key needs a line in KEYS");
        assert_eq!(table.len(), KEYS.len(), "no key is there twice");
    }

    fn parsed(text: &str) -> Config {
        Config::parse(text).expect("a good configuration")
    }

    #[test]
    fn each_key_is_sorted() {
        let running = parsed("[publish]\nbytes_per_month = \"1GiB\"\n");
        let wanted = parsed(
            "[node]\nid = \"n2\"\n[sampling]\ninterval = \"2s\"\ncommand_lines = false\n[detect]\nalarm_budget = \"2/day\"\n\
             [publish]\nbroker = \"mqtts://b:8883\"\nca_file = \"/ca.pem\"\n[[probe]]\nname = \"a\"\ntarget = \"tcp://a:1\"\n",
        );
        let change = Change::between(&running, &wanted).expect("it goes together");
        assert_eq!(
            change.live,
            [
                "detect.alarm_budget",
                "probe",
                "publish.broker",
                "publish.bytes_per_month",
                "publish.ca_file",
                "sampling.command_lines"
            ]
        );
        assert_eq!(change.restart, ["node.id", "sampling.interval"]);
        let expected = Config {
            node: running.node.clone(),
            sampling: super::super::SamplingConfig { interval: running.sampling.interval, ..wanted.sampling.clone() },
            ..wanted.clone()
        };
        assert_eq!(change.config, expected);
        assert_eq!(change.config.publish.bytes_per_month, None, "a key that is gone is at its default");
        assert!(change.words().ends_with("; a restart is needed for node.id, sampling.interval"), "{}", change.words());

        let nothing = Change::between(&change.config, &change.config.clone()).expect("it goes together");
        assert_eq!((nothing.words().as_str(), &nothing.config), ("nothing has changed", &change.config));
        // Going back leaves nothing to restart for.
        let back = Change::between(&change.config, &running).expect("it goes together");
        assert!(back.restart.is_empty() && back.config == running, "{back:?}");
    }
}
