//! A recorded day: minutes of metrics of each service, who calls whom, and which host each is on.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tacit_collector::incident::group::{EntityNo, Numbers, Topology};

use crate::cause::table::Table;

const METRICS: &str = "-metrics.csv.zst";
const SEEN_BY_CALLER: &str = "src_p50";
const SEEN_BY_CALLEE: &str = "dst_p50";

/// Minutes of one metric of a service.
#[derive(Debug, Clone)]
pub struct Column {
    /// The service.
    pub entity: EntityNo,
    /// What it is about, without unit and percentile: `server` of `server_p99_s`.
    pub family: String,
    /// A value a minute; NaN where there is none.
    pub values: Vec<f64>,
}

/// All of a day.
#[derive(Debug)]
pub struct Day {
    /// Starts of the minutes, Unix seconds.
    pub times: Vec<i64>,
    /// Metrics.
    pub columns: Vec<Column>,
    /// Who is related to whom.
    pub relations: Topology,
}

/// Names of the days in a folder, in order.
///
/// # Errors
/// A folder that cannot be read, or has none.
pub fn names(root: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(root).with_context(|| format!("--data: cannot read {}", root.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.with_context(|| format!("cannot read {}", root.display()))?.file_name();
        if let Some(day) = file.to_str().and_then(|f| f.strip_suffix(METRICS)) {
            names.push(day.to_owned());
        }
    }
    names.sort_unstable();
    ensure!(!names.is_empty(), "{} has no file *{METRICS}", root.display());
    Ok(names)
}

/// Reads a day. Metrics of the front door and of hosts are left out, as in the reference. Of edges there is the latency that the
/// caller sees and what of it is not the callee's, where they were recorded all day; traces and logs are left out, as there are
/// only the minutes around faults: whatever is found in them tells where the faults are.
///
/// # Errors
/// Files that are missing or damaged.
pub fn read(root: &Path, name: &str) -> Result<Day> {
    let table = Table::read(&root.join(format!("{name}{METRICS}")))?;
    let times = table.whole(table.column("time")?)?;
    ensure!(times.is_sorted(), "{}: times go back", table.path.display());
    ensure!(
        times.first().is_none_or(|t| *t >= 0) && times.last().is_none_or(|t| *t <= i64::from(u32::MAX)),
        "{}: times are not of our days",
        table.path.display()
    );
    let mut numbers = Numbers::default();
    let mut columns = Vec::new();
    for (n, column) in table.columns.iter().enumerate() {
        let Some((service, metric)) = column.rsplit_once('|') else { continue };
        if let Some(edge) = service.strip_prefix("edge:") {
            if metric == SEEN_BY_CALLER {
                columns.extend(of_edge(&table, n, edge, &mut numbers)?);
            }
            continue;
        }
        if service.starts_with('_') || metric.starts_with("node_") {
            continue;
        }
        let entity = EntityNo(numbers.number(service));
        columns.push(Column { entity, family: family(metric).to_owned(), values: table.numbers(n)? });
    }
    Ok(Day { times, columns, relations: relations(root, name, &mut numbers)? })
}

/// An edge is slow where its callee is, or on the way there: it is the callee's.
fn of_edge(table: &Table, column: usize, edge: &str, numbers: &mut Numbers) -> Result<Vec<Column>> {
    let (caller, callee) = edge.split_once('>').with_context(|| format!("{edge:?} is no edge"))?;
    let seen = table.numbers(column)?;
    let of_callee = table.numbers(table.column(&format!("edge:{edge}|{SEEN_BY_CALLEE}"))?)?;
    let on_the_way = seen.iter().zip(&of_callee).map(|(a, b)| a - b).collect();
    let entity = EntityNo(numbers.number(callee));
    let one = |values| Column { entity, family: format!("edge from {caller}"), values };
    Ok(vec![one(on_the_way), one(seen)])
}

/// What is before the first digit or underline.
fn family(metric: &str) -> &str {
    metric.split(|c: char| c == '_' || c.is_ascii_digit()).next().unwrap_or(metric)
}

fn relations(root: &Path, name: &str, numbers: &mut Numbers) -> Result<Topology> {
    let mut pairs = |file: &str, from: &str, to: &str, prefix: &str| -> Result<Vec<(EntityNo, EntityNo)>> {
        let table = Table::read(&root.join(format!("{name}-{file}.csv")))?;
        let (from, to) = (table.column(from)?, table.column(to)?);
        let one = |row: &Vec<String>| {
            let other = format!("{prefix}{}", row[to]);
            (EntityNo(numbers.number(&row[from])), EntityNo(numbers.number(&other)))
        };
        Ok(table.rows.iter().map(one).collect())
    };
    let edges = pairs("graph", "caller", "callee", "")?;
    // Not every day says where its services ran. Of one that ran in several places the first counts.
    let is_known = root.join(format!("{name}-placement.csv")).exists();
    let placed = if is_known { pairs("placement", "service", "node", "host ")? } else { Vec::new() };
    let mut hosts: HashMap<EntityNo, EntityNo> = HashMap::new();
    for (service, host) in placed {
        hosts.entry(service).or_insert(host);
    }
    let hosts: Vec<_> = hosts.into_iter().collect();
    Ok(Topology::new(&hosts, &edges, &[], 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_collector::incident::group::Relations as _;

    /// A folder with a day of three minutes.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = "time,segment,web|cpu_pct,web|node_cpu_pct,edge:web>db|src_p50,edge:web>db|dst_p50,_entry|x_s,\
            db|server_p99_s\n60,block0,1,2,3,1,4,0.5\n120,block0,,2,3,1,4,0.5\n240,quiet,4,2,,1,4,0.5\n";
        let packed = zstd::encode_all(metrics.as_bytes(), 1).expect("it is small");
        fs::write(folder.path().join(format!("d1{METRICS}")), packed).expect("a file");
        fs::write(folder.path().join("d1-graph.csv"), "caller,callee\nweb,db\n").expect("a file");
        fs::write(folder.path().join("d1-placement.csv"), "service,node\nweb,n1\nweb,n2\ndb,n1\n").expect("a file");
        folder
    }

    #[test]
    fn a_day_is_what_its_files_say() {
        let folder = folder();
        assert_eq!(names(folder.path()).expect("a day"), ["d1"]);
        let day = read(folder.path(), "d1").expect("it is whole");
        assert_eq!(day.times, [60, 120, 240]);
        let columns: Vec<_> = day.columns.iter().map(|c| (c.entity, c.family.as_str())).collect();
        let (web, db) = (EntityNo(0), EntityNo(1));
        assert_eq!(columns, [(web, "cpu"), (db, "edge from web"), (db, "edge from web"), (db, "server")]);
        assert_eq!(day.columns[1].values[..2], [2.0, 2.0]);
        assert!(day.columns[1].values[2].is_nan());
        assert!(day.columns[0].values[1].is_nan());
        assert_eq!(day.relations.host(web), day.relations.host(db));
        assert!(day.relations.neighbours(web).contains(&db));
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = folder();
        fs::remove_file(folder.path().join("d1-graph.csv")).expect("it was there");
        let error = format!("{:#}", read(folder.path(), "d1").expect_err("no graph"));
        assert!(error.contains("d1-graph.csv"), "{error}");
        let empty = tempfile::tempdir().expect("a folder");
        assert!(format!("{:#}", names(empty.path()).expect_err("no day")).contains("-metrics.csv.zst"));
    }
}
