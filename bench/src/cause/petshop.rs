//! PetShop: 41 components of a web shop on AWS, a point every five minutes, with a symptom for each incident.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use tacit_collector::cause::{Edge, Entity, Evidence, Metric, Series, Symptom};

use super::case::{self, Case, Each, kind_of};
use super::table::Table;

/// What the table calls it.
pub const SYSTEM: &str = "PetShop";
/// Its folder.
pub const FOLDER: &str = "petshop";

/// Statistics of a metric that are looked at.
const STATISTICS: [&str; 4] = ["Average", "p90", "p95", "Sum"];
/// Seconds that a row stands for.
const STEP_S: i64 = 300;
/// The reference of scenarios that have none.
const OTHER_REFERENCE: &str = "reference/high_traffic.csv.zst";

#[derive(Debug, Deserialize)]
struct Incident {
    id: String,
    symptom: Complaint,
    reference: Option<String>,
    graph: String,
}

#[derive(Debug, Deserialize)]
struct Complaint {
    node: String,
    metric: String,
    timestamp: i64,
}

/// Gives every incident to `each`.
///
/// # Errors
/// Data that is incomplete or damaged; what `each` fails with.
pub fn cases(root: &Path, each: &mut Each<'_>) -> Result<()> {
    let root = root.join(FOLDER);
    let incidents: Vec<Incident> = case::json(&root.join("incidents.json"))?;
    let mut references: HashMap<String, Reference> = HashMap::new();
    for incident in incidents {
        let file = incident.reference.as_deref().unwrap_or(OTHER_REFERENCE);
        if !references.contains_key(file) {
            references.insert(file.to_owned(), Reference::read(&root.join(file))?);
        }
        let evidence = evidence(&root, &incident, &references[file]).with_context(|| incident.id.clone())?;
        each(Case { system: SYSTEM.to_owned(), id: incident.id, evidence })?;
    }
    Ok(())
}

/// A time in which nothing was wrong, by column.
struct Reference {
    columns: HashMap<String, Vec<f64>>,
}

impl Reference {
    fn read(path: &Path) -> Result<Self> {
        let table = Table::read(path)?;
        let names = table.columns.iter().enumerate().skip(1).filter(|(_, name)| is_looked_at(name));
        let columns = names.map(|(i, name)| Ok((name.clone(), table.numbers(i)?))).collect::<Result<_>>()?;
        Ok(Self { columns })
    }
}

/// `node|metric|statistic`.
fn parts(column: &str) -> Option<(&str, &str, &str)> {
    let (rest, statistic) = column.rsplit_once('|')?;
    let (node, metric) = rest.rsplit_once('|')?;
    Some((node, metric, statistic))
}

fn is_looked_at(column: &str) -> bool {
    parts(column).is_some_and(|(_, _, statistic)| STATISTICS.contains(&statistic))
}

fn evidence(root: &Path, incident: &Incident, reference: &Reference) -> Result<Evidence> {
    let table = Table::read(&root.join("cases").join(format!("{}.csv.zst", incident.id)))?;
    let times = table.whole(0)?;
    let after = |at: i64| at.saturating_add(STEP_S) > incident.symptom.timestamp;
    // A symptom after the last row has all rows.
    let none_after = !times.iter().any(|at| after(*at));
    let mut entities: BTreeMap<String, Entity> = BTreeMap::new();
    for (i, column) in table.columns.iter().enumerate().skip(1).filter(|(_, c)| is_looked_at(c)) {
        let (Some((node, metric, statistic)), Some(before)) = (parts(column), reference.columns.get(column)) else {
            continue;
        };
        let values = table.numbers(i)?;
        let window = case::cut(&times, &values, |_| false, |row| none_after || after(times[row]));
        let series = Series::new(before.iter().copied(), window.window().iter().copied());
        let entity =
            entities.entry(node.to_owned()).or_insert_with(|| Entity { name: node.to_owned(), ..Entity::default() });
        let name = format!("{metric} {statistic}");
        let unit = if metric == "latency" { "s" } else { "" };
        entity.metrics.push(Metric { name, kind: kind_of(metric), unit: unit.to_owned(), series });
    }
    Ok(Evidence {
        entities: entities.into_values().collect(),
        edges: graph(&root.join(&incident.graph))?,
        symptom: Some(Symptom { entity: incident.symptom.node.clone(), kind: kind_of(&incident.symptom.metric) }),
        clean_reference: true,
        onset_ms: incident.symptom.timestamp.saturating_mul(1000),
        ..Evidence::default()
    })
}

/// Callers and callees, without anything measured.
///
/// # Errors
/// A file that cannot be read, or does not have two columns.
pub fn graph(path: &Path) -> Result<Vec<Edge>> {
    let table = Table::read(path)?;
    let edge = |row: &Vec<String>| match row.as_slice() {
        [caller, callee] => Ok(Edge { caller: caller.clone(), callee: callee.clone(), ..Edge::default() }),
        _ => anyhow::bail!("{} has not two columns", path.display()),
    };
    table.rows.iter().map(edge).collect()
}
