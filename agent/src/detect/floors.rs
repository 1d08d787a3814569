//! The smallest change of a series that matters on any machine: a node that idles at two packets a second is not in trouble
//! at ten, however unusual that is for it.

use tacit_wire::SeriesDef;

/// By the end of a name, before the unit: what is rare by nature matters sooner.
const BY_NAME: &[(&str, f32)] = &[
    ("filesystem.utilization", 0.003),
    ("inodes.utilization", 0.003),
    ("attempt_failures", 0.5),
    ("resets", 0.5),
    ("retransmits", 1.0),
    ("listen_overflows", 0.1),
    ("listen_drops", 0.1),
    ("oom_kills", 0.0),
    ("network.errors", 0.1),
    ("network.dropped", 0.5),
    ("read_only", 0.0),
    ("memory.available", 16e6),
    ("memory.usage", 16e6),
    ("disk.await", 0.002),
    ("load_average.1m", 0.2),
    ("load_average.5m", 0.1),
    ("load_average.15m", 0.1),
];

const BY_UNIT: &[(&str, f32)] = &[
    ("1", 0.01),
    ("By", 4e6),
    ("By/s", 20e3),
    ("s", 0.002),
    ("{cpu}", 0.02),
    ("{packet}/s", 10.0),
    ("{segment}/s", 10.0),
    ("{connection}/s", 2.0),
    ("{operation}/s", 5.0),
    ("{operation}", 0.2),
    ("{fault}/s", 200.0),
    ("{page}/s", 200.0),
    ("{switch}/s", 200.0),
    ("{interrupt}/s", 100.0),
    ("{event}/s", 1.0),
    ("{message}/s", 1.0),
    ("{timeout}/s", 0.5),
    ("{process}/s", 2.0),
    ("{process}", 2.0),
    ("{thread}", 3.0),
    ("{connection}", 3.0),
    ("{socket}", 3.0),
    ("{file}", 50.0),
    ("{inode}", 1000.0),
    ("Cel", 0.5),
    ("rpm", 50.0),
    ("W", 0.2),
];

/// The smallest change of a series that matters, in its unit; 0 when nothing is known.
#[must_use]
pub fn floor(def: &SeriesDef) -> f32 {
    let named = BY_NAME.iter().find(|(end, _)| def.name.ends_with(end));
    let of_unit = || BY_UNIT.iter().find(|(unit, _)| *unit == def.unit);
    named.or_else(of_unit).map_or(0.0, |(_, floor)| *floor)
}
