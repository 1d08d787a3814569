//! The result as a table for people and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

/// One measured program.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// CPU seconds a minute, user and system.
    pub cpu_s_per_min: f64,
    /// The same by thread (agent) or process (peers).
    pub cpu_by_part: BTreeMap<String, f64>,
    /// CPU seconds until the first message.
    pub start_cpu_s: Option<f64>,
    /// Median proportional set size in bytes.
    pub pss: u64,
    /// Median anonymous memory in bytes.
    pub anonymous: u64,
    /// Peak resident size in bytes.
    pub peak: u64,
    /// Payload bytes a second on the wire.
    pub payload_per_s: Option<f64>,
    /// IP bytes a second on the wire.
    pub ip_per_s: Option<f64>,
    /// Bytes a second written to disk.
    pub disk_per_s: f64,
    /// Series sampled.
    pub series: u64,
    /// Size of the program file in bytes.
    pub binary: u64,
}

/// Prints rows; the first one is what the others are compared with.
pub fn print(rows: &[Row], minutes: f64, json: bool) {
    if json {
        println!("{}", serde_json::json!({ "minutes": minutes, "rows": rows }));
        return;
    }
    println!(
        "| program | series | CPU s/min | ratio | PSS MB | ratio | anon MB | peak MB | payload B/s | IP B/s | disk B/s | start CPU s | binary MB |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let first = rows.first().cloned().unwrap_or_default();
    let optional = |v: Option<f64>, digits| v.map_or_else(|| "–".to_owned(), |v: f64| format!("{v:.digits$}"));
    for r in rows {
        println!(
            "| {} | {} | {:.3} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} | {:.1} | {} | {:.1} |",
            r.name,
            r.series,
            r.cpu_s_per_min,
            r.cpu_s_per_min / first.cpu_s_per_min.max(1e-9),
            mb(r.pss),
            r.pss as f64 / first.pss.max(1) as f64,
            mb(r.anonymous),
            mb(r.peak),
            optional(r.payload_per_s, 1),
            optional(r.ip_per_s, 1),
            r.disk_per_s,
            optional(r.start_cpu_s, 2),
            mb(r.binary),
        );
    }
    println!("\nCPU by part, s/min:");
    for r in rows {
        let parts: Vec<String> = r.cpu_by_part.iter().map(|(name, cpu)| format!("{name} {cpu:.3}")).collect();
        println!("- {}: {}", r.name, parts.join(", "));
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The middle of a list; 0 when it is empty.
pub fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
