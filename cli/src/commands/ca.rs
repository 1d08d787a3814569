//! `tacit ca …`: the certificate authority of the collector on this machine.

use std::path::PathBuf;

use anyhow::Result;
use tacit_collector::access::local::Place;
use tacit_collector::config::Config;
use tacit_collector::identity::local;

use super::print;
use crate::identity::Ca;

/// Where the collector's configuration is unless somebody says otherwise.
const DEFAULT_CONFIG: &str = "/etc/tacit/collector.toml";

/// Makes, rotates, retires or shows.
///
/// # Errors
/// When the configuration or the files cannot be used.
pub fn run(what: &Ca) -> Result<()> {
    let text = match what {
        Ca::Init(place) => local::init(&config(place)?)?,
        Ca::Rotate(place) => local::rotate(&config(place)?)?,
        Ca::Retire { force, place } => local::retire(&config(place)?, *force)?,
        Ca::Show { pem: true, place } => local::pem(&config(place)?)?,
        Ca::Show { pem: false, place } => local::show(&config(place)?)?,
    };
    print(&text)
}

/// The configuration of the collector that is meant.
fn config(place: &Place) -> Result<Config> {
    let default = || Some(PathBuf::from(DEFAULT_CONFIG)).filter(|path| path.exists());
    // Who names a folder needs no configuration, and may not be allowed to read the one that is there.
    let file = place.config.clone().or_else(|| if place.data.is_some() { None } else { default() });
    let mut config = file.as_deref().map_or_else(|| Ok(Config::default()), Config::load)?;
    if let Some(data) = &place.data {
        config.data_dir.clone_from(data);
    }
    Ok(config)
}
