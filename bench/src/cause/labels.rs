//! What really was behind each incident. Only the scorer reads this, after the rankings are done.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use super::case;
use super::{nezha, petshop, rootcausebench};

/// The label of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// What kind of incident it is: the fault, or the symptom where faults have no kinds.
    pub group: String,
    /// Who was behind it.
    pub cause: String,
}

/// Labels by the incident's system and id.
pub type Labels = BTreeMap<(String, String), Label>;

#[derive(Debug, Deserialize)]
struct NezhaIncident {
    id: String,
    system: String,
    root_cause: NezhaCause,
}

#[derive(Debug, Deserialize)]
struct NezhaCause {
    service: String,
    fault_type: String,
}

#[derive(Debug, Deserialize)]
struct PetShopIncident {
    id: String,
    symptom: PetShopSymptom,
    root_cause: PetShopCause,
}

#[derive(Debug, Deserialize)]
struct PetShopSymptom {
    metric: String,
}

#[derive(Debug, Deserialize)]
struct PetShopCause {
    node: String,
}

#[derive(Debug, Deserialize)]
struct Scenario {
    ground_truth: GroundTruth,
}

#[derive(Debug, Deserialize)]
struct GroundTruth {
    first_failing_service: String,
}

/// Reads the labels of all data sets that are there.
///
/// # Errors
/// Labels that are damaged.
pub fn read(root: &Path) -> Result<Labels> {
    let mut labels = Labels::new();
    let path = root.join(nezha::FOLDER).join("incidents.json");
    if path.exists() {
        for incident in case::json::<Vec<NezhaIncident>>(&path)? {
            let label = Label { group: incident.root_cause.fault_type, cause: incident.root_cause.service };
            labels.insert((incident.system, incident.id), label);
        }
    }
    let path = root.join(petshop::FOLDER).join("incidents.json");
    if path.exists() {
        for incident in case::json::<Vec<PetShopIncident>>(&path)? {
            let label = Label { group: incident.symptom.metric, cause: incident.root_cause.node };
            labels.insert((petshop::SYSTEM.to_owned(), incident.id), label);
        }
    }
    let folder = root.join(rootcausebench::FOLDER);
    if folder.exists() {
        for name in rootcausebench::names(&folder)? {
            let scenario: Scenario = case::json(&folder.join(format!("{name}.json.zst")))?;
            let label = Label { group: "any".to_owned(), cause: scenario.ground_truth.first_failing_service };
            labels.insert((rootcausebench::SYSTEM.to_owned(), rootcausebench::id(&name)), label);
        }
    }
    Ok(labels)
}
