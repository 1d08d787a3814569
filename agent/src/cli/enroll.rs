//! `tacit-agent enroll`: makes a key, gets a certificate for it with a one-time token, and writes down where and as whom this
//! node is enrolled. What cannot be written is found out before the token is spent.

use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use rustls::pki_types::CertificateDer;
use tacit_wire::NodeId;

use super::{ConfigArgs, Failure, print};
use crate::clock::Tick;
use crate::config::Config;
use crate::identity::der::date;
use crate::identity::enrol::{Collector, EnrolError, Token, Wish};
use crate::identity::floor::{self, Floor};
use crate::identity::key::Key;
use crate::identity::store::{Enrolled, Given, Owner, Store, owner_of};
use crate::inventory;
use crate::publish::tls::certificates;
use crate::replace::replace;
use crate::source::Root;

/// Name of the drop-in.
const DROP_IN: &str = "50-enrolled.toml";
/// A token is a hundred characters; who gives a larger file gives another one.
const LARGEST_TOKEN_FILE: u64 = 4096;

/// The arguments.
#[derive(Debug, Args)]
pub(super) struct EnrollArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// The collector's https address, as in https://hq.example:8420.
    #[arg(long, value_name = "URL")]
    collector: String,
    /// The token that `tacit node token` printed. Other users of this machine can read it on the command line while this runs;
    /// --token-file and TACIT_ENROLL_TOKEN hide it.
    #[arg(long, value_name = "TOKEN", env = "TACIT_ENROLL_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// File that holds the token; "-" reads it from standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Name of this node in the fleet; without it node.id, or one made from the host name.
    #[arg(long, value_name = "ID")]
    node: Option<NodeId>,
    /// Enrol a node that is enrolled already: with a new key, in place of the old identity.
    #[arg(long)]
    again: bool,
    /// Certificates to trust for the collector's https beside its own authority, for one whose certificate is from elsewhere.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// What is not to be shown.
#[derive(Clone)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// Runs the command; `file` is the main configuration file, there or not.
pub(super) fn run(args: &EnrollArgs, file: &Path, config: &Config) -> Result<(), Failure> {
    let usage = |what: &str, why: String| Failure::Usage(format!("{what}: {why}"));
    let proxy = config.publish.proxy.as_deref();
    let collector = Collector::new(&args.collector, proxy).map_err(|why| usage("--collector", why))?;
    let token = token(args)?;
    let further = args.ca_file.as_deref().map(further_roots).transpose().map_err(|why| usage("--ca-file", why))?;
    let data_dir = std::path::absolute(&config.node.data_dir).context("the state folder has no path")?;
    let store = Store::new(&data_dir);
    not_yet(&store, args.again)?;
    let drop_in =
        std::path::absolute(file.with_extension("d").join(DROP_IN)).context("the configuration has no path")?;

    let key = prepare(&store, &drop_in)?;
    let floor = Arc::new(Floor::open(&data_dir, Tick::now()));
    let (given, kept) = match ask(args, config, &collector, &token, &key, further.as_ref(), &floor) {
        Ok(given) => (given, further.map(|(_, text)| text)),
        Err(EnrolError::Lost(why)) => {
            let way = "run this again with the same token: the key is kept, and the collector answers for it once more";
            return Err(anyhow!("{why}; {way}").into());
        }
        Err(why) => {
            store.abandon();
            return Err(anyhow::Error::from(why).into());
        }
    };
    keep(&store, &given, kept.as_deref(), &data_dir)?;
    write_drop_in(&drop_in, &given.enrolled, &store)?;
    print(&told(&given.enrolled, &store, &drop_in));
    Ok(())
}

/// The token, from wherever it comes; never repeated in an error.
fn token(args: &EnrollArgs) -> Result<Token, Failure> {
    let text = match (&args.token_file, &args.token) {
        (Some(file), _) => {
            let mut text = String::new();
            let read = if file.as_os_str() == "-" {
                std::io::stdin().take(LARGEST_TOKEN_FILE).read_to_string(&mut text)
            } else {
                fs::File::open(file).and_then(|f| f.take(LARGEST_TOKEN_FILE).read_to_string(&mut text))
            };
            read.map_err(|e| Failure::Usage(format!("--token-file {}: {e}", file.display())))?;
            text
        }
        (None, Some(Secret(text))) => text.clone(),
        (None, None) => {
            return Err(Failure::Usage(
                "a token is needed: make one on the collector (tacit node token --site SITE) and give it with --token-file, \
                 TACIT_ENROLL_TOKEN or --token"
                    .into(),
            ));
        }
    };
    text.parse().map_err(Failure::Usage)
}

/// The certificates of `--ca-file`, read and as they are.
type Further = (Vec<CertificateDer<'static>>, String);

fn further_roots(file: &Path) -> Result<Further, String> {
    let roots = certificates(file)?;
    let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok((roots, text))
}

fn not_yet(store: &Store, again: bool) -> anyhow::Result<()> {
    match store.enrolled() {
        Ok(None) => Ok(()),
        _ if again => Ok(()),
        Ok(Some(Enrolled { node, site, collector, .. })) => Err(anyhow!(
            "this node is enrolled already, as {node} in site {site} at {collector} ({}): --again gives it a new key and a new \
             certificate, with a new token",
            store.folder().display()
        )),
        Err(why) => Err(anyhow!("this node seems to be enrolled, but {why}; --again replaces what is there")),
    }
}

/// Makes the key, or takes up one that nobody answered for; everything can be written then, while the token is still good.
fn prepare(store: &Store, drop_in: &Path) -> anyhow::Result<Key> {
    let still = "; nothing was sent, the token is still good. Root can (sudo)";
    let folder = drop_in.parent().unwrap_or(Path::new("/"));
    let probe = folder.join(".enroll");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&probe, ""))
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|e| anyhow!("cannot write to {}: {e}{still}", folder.display()))?;
    if let Some(key) = store.begun() {
        return Ok(key);
    }
    let (key, text) = Key::generate().map_err(anyhow::Error::msg)?;
    store.begin(&text).map_err(|e| anyhow!("cannot write to {}: {e}{still}", store.folder().display()))?;
    Ok(key)
}

fn ask(
    args: &EnrollArgs,
    config: &Config,
    collector: &Collector,
    token: &Token,
    key: &Key,
    further: Option<&Further>,
    floor: &Arc<Floor>,
) -> Result<Given, EnrolError> {
    let now = Tick::now();
    if floor.is_above(now) {
        let (wall, judged) = (date(now.wall_ms), date(floor.at(now)));
        eprintln!(
            "tacit-agent: this machine's clock says {wall}, which cannot be; certificates are judged by {judged}"
        );
    }
    let root = Root::live();
    let wish = Wish {
        token,
        key,
        node: args.node.as_ref().or(config.node.id.as_ref()),
        default: &inventory::default_node_id(&root),
        host: &inventory::identity(&root).hostname,
        further_roots: match further {
            Some((roots, _)) => roots,
            None => &[],
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| EnrolError::Connection(format!("cannot use the network: {e}")))?;
    runtime.block_on(collector.enrol(&wish, floor))
}

/// Puts the new identity in force, for the user that the agent runs as.
fn keep(store: &Store, given: &Given, further: Option<&str>, data_dir: &Path) -> anyhow::Result<()> {
    let owner: Option<Owner> =
        owner_of(data_dir).with_context(|| format!("cannot tell whose {} is", data_dir.display()))?;
    store.complete(given, further, owner).with_context(|| {
        format!("the collector gave a certificate, but it cannot be written to {}", store.folder().display())
    })?;
    let time = data_dir.join(floor::FILE);
    if let Some((user, group)) = owner.filter(|_| time.exists()) {
        chown(&time, Some(user), Some(group)).with_context(|| format!("cannot give away {}", time.display()))?;
    }
    Ok(())
}

fn write_drop_in(drop_in: &Path, enrolled: &Enrolled, store: &Store) -> anyhow::Result<()> {
    let text = drop_in_text(enrolled, store)?;
    replace(drop_in, &[text.as_bytes()])
        // It holds no secret, and the agent's user must be able to read it whatever the mask of this shell is.
        .and_then(|()| fs::set_permissions(drop_in, fs::Permissions::from_mode(0o644)))
        .with_context(|| {
            format!("the certificate is there, but {} cannot be written; it should say:\n{text}", drop_in.display())
        })
}

fn drop_in_text(enrolled: &Enrolled, store: &Store) -> anyhow::Result<String> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let path = |path: PathBuf| {
        let text =
            path.to_str().with_context(|| format!("{} is not UTF-8, as paths in a configuration are", path.display()));
        text.map(quoted)
    };
    let Enrolled { node, site, broker, .. } = enrolled;
    Ok(format!(
        "# Written by `tacit-agent enroll`: where and as whom this node is enrolled. It overrides agent.toml; enrolling again\n\
         # replaces it.\n\
         [node]\nid = {}\nsite = {}\n\n[publish]\nbroker = {}\nca_file = {}\ncert_file = {}\nkey_file = {}\n",
        quoted(node.as_str()),
        quoted(site.as_str()),
        quoted(broker),
        path(store.roots())?,
        path(store.certificate())?,
        path(store.key_file())?,
    ))
}

/// What was done and what is next.
fn told(enrolled: &Enrolled, store: &Store, drop_in: &Path) -> String {
    let Enrolled { collector, node, site, broker, not_after_ms, renew_after_ms } = enrolled;
    let (until, from) = (date(*not_after_ms), date(*renew_after_ms));
    format!(
        "enrolled as {node} in site {site}\n\
         collector    {collector}\n\
         broker       {broker}\n\
         certificate  valid until {until}; the agent renews it by itself from {from} on\n\
         written      {} (the key stays there), {}\n\
         next         systemctl restart tacit-agent, or start the agent anew however it runs here\n",
        store.folder().display(),
        drop_in.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolled() -> Enrolled {
        Enrolled {
            collector: "https://hq.example:8420".into(),
            node: "web-1".parse().expect("a node"),
            site: "lab".parse().expect("a site"),
            broker: "mqtts://hq.example:8883".into(),
            not_after_ms: 1_800_000_000_000,
            renew_after_ms: 1_790_000_000_000,
        }
    }

    #[test]
    fn the_drop_in_is_a_configuration() {
        let store = Store::new(Path::new("/var/lib/a \"strange\" name"));
        let text = drop_in_text(&enrolled(), &store).expect("a text");
        let config = Config::parse(&text).expect("a configuration");
        assert_eq!(config.node.id.as_ref().map(NodeId::as_str), Some("web-1"));
        assert_eq!(config.node.site.as_str(), "lab");
        assert_eq!(config.publish.broker, "mqtts://hq.example:8883");
        assert_eq!(config.publish.key_file, Some(store.key_file()));
        assert_eq!(config.publish.cert_file, Some(store.certificate()));
        assert_eq!(config.publish.ca_file, Some(store.roots()));
    }

    #[test]
    fn a_person_reads_what_is_next() {
        let text =
            told(&enrolled(), &Store::new(Path::new("/var/lib/tacit-agent")), Path::new("/etc/tacit/agent.d/x.toml"));
        for part in
            ["enrolled as web-1 in site lab", "2027-01-15", "/var/lib/tacit-agent/identity", "systemctl restart"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn an_identity_is_not_replaced_by_mistake() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path());
        assert!(not_yet(&store, false).is_ok());
        let given = Given { certificate: "c".into(), roots: "r".into(), enrolled: enrolled() };
        store.begin("k").and_then(|()| store.complete(&given, None, None)).expect("it can be written");
        let error = not_yet(&store, false).expect_err("it is enrolled").to_string();
        assert!(error.contains("as web-1 in site lab") && error.contains("--again"), "{error}");
        assert!(not_yet(&store, true).is_ok());
        fs::write(store.folder().join("enrolled.json"), "{").expect("a file");
        assert!(not_yet(&store, false).is_err_and(|e| e.to_string().contains("--again")));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret: Secret = "tacit1.x".parse().expect("any text");
        assert_eq!(format!("{secret:?}"), "***");
    }
}
