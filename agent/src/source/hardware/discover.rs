//! Which sensors there are: `/sys/class/hwmon`, `thermal`, `power_supply`, cpufreq, and a Raspberry Pi's firmware.

use std::path::{Path, PathBuf};

use tacit_wire::semconv::{self as m, Metric};

use super::sensor::{Read, Sensor, text};
use crate::source::{Rate, Root};

/// Most sensors of one node.
const MOST: usize = 256;
/// Processors whose frequency is read: it costs an inter-processor call each.
const PROCESSORS: usize = 16;

/// The attributes of an hwmon chip: prefix, metric, factor to base units, believable range in base units.
const HWMON: [(&str, &Metric, f64, (f64, f64)); 5] = [
    ("temp", &m::HW_TEMPERATURE, 1e-3, CELSIUS),
    ("fan", &m::HW_FAN_SPEED, 1.0, (0.0, 1e5)),
    ("in", &m::HW_VOLTAGE, 1e-3, (-1e3, 1e3)),
    ("power", &m::HW_POWER, 1e-6, (0.0, 1e5)),
    ("curr", &m::HW_CURRENT, 1e-3, (-1e4, 1e4)),
];
const CELSIUS: (f64, f64) = (-80.0, 250.0);

/// Bits of a Raspberry Pi's `get_throttled` that speak of now (16 and up speak of the past).
const THROTTLED: [(u32, &str); 4] =
    [(0, "under_voltage"), (1, "frequency_capped"), (2, "throttled"), (3, "soft_temperature_limit")];

/// All sensors below `root`.
pub fn discover(root: &Root) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    let chips = hwmon(&root.join("sys/class/hwmon"), &mut sensors);
    thermal(&root.join("sys/class/thermal"), &chips, &mut sensors);
    supplies(&root.join("sys/class/power_supply"), &mut sensors);
    processors(&root.join("sys/devices/system/cpu"), &mut sensors);
    firmware(root, &mut sensors);
    sensors.truncate(MOST);
    distinguish(&mut sensors);
    sensors
}

fn scaled(metric: &'static Metric, id: String, path: PathBuf, factor: f64, limits: (f64, f64)) -> Sensor {
    Sensor { metric, id, read: Read::Scaled { path, factor, limits } }
}

/// Gives the names of the chips, so that thermal zones that are the same thing are not taken twice.
fn hwmon(class: &Path, sensors: &mut Vec<Sensor>) -> Vec<String> {
    let mut chips = Vec::new();
    for chip in folders(class) {
        let name = tidy(&text(&chip.join("name")).unwrap_or_default());
        for file in names(&chip) {
            let Some((channel, kind)) = file.rsplit_once('_') else { continue };
            // A power meter has an average, an input, or both; the average is what one wants.
            let wanted = kind == "average" || (kind == "input" && !chip.join(format!("{channel}_average")).exists());
            let prefix = channel.trim_end_matches(|c: char| c.is_ascii_digit());
            let known = HWMON.iter().find(|(p, ..)| *p == prefix && prefix.len() < channel.len());
            if let (true, Some((_, metric, factor, limits))) = (wanted, known) {
                let label = text(&chip.join(format!("{channel}_label"))).filter(|l| !l.trim().is_empty());
                let id = format!("{name}/{}", tidy(label.as_deref().unwrap_or(channel)));
                sensors.push(scaled(metric, id, chip.join(&file), *factor, *limits));
            }
        }
        chips.push(name);
    }
    chips
}

fn thermal(class: &Path, chips: &[String], sensors: &mut Vec<Sensor>) {
    for zone in folders(class) {
        let Some(kind) = text(&zone.join("type")).map(|t| tidy(&t)) else { continue };
        if zone.join("temp").exists() && !chips.contains(&kind) {
            sensors.push(scaled(&m::HW_TEMPERATURE, kind, zone.join("temp"), 1e-3, CELSIUS));
        }
    }
}

fn supplies(class: &Path, sensors: &mut Vec<Sensor>) {
    for supply in folders(class) {
        let id = tidy(&supply.file_name().unwrap_or_default().to_string_lossy());
        let file = |name: &str| Some(supply.join(name)).filter(|p| p.exists());
        if text(&supply.join("type")).as_deref() != Some("Battery") {
            if let Some(path) = file("online") {
                sensors.push(scaled(&m::HW_SUPPLY_ONLINE, id, path, 1.0, (0.0, 2.0)));
            }
            continue;
        }
        let numbers = [
            ("capacity", &m::HW_BATTERY_CHARGE, 1e-2, (0.0, 1.0)),
            ("voltage_now", &m::HW_VOLTAGE, 1e-6, (0.0, 1e3)),
            ("power_now", &m::HW_POWER, 1e-6, (0.0, 1e4)),
            ("temp", &m::HW_TEMPERATURE, 1e-1, CELSIUS),
        ];
        for (name, metric, factor, limits) in numbers {
            if let Some(path) = file(name) {
                sensors.push(scaled(metric, id.clone(), path, factor, limits));
            }
        }
        if let Some(path) = file("status") {
            sensors.push(Sensor { metric: &m::HW_BATTERY_DISCHARGING, id, read: Read::Word(path, "Discharging") });
        }
    }
}

fn processors(base: &Path, sensors: &mut Vec<Sensor>) {
    let mut frequencies = Vec::new();
    let mut counters = Vec::new();
    let is_processor = |p: &PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy();
        name.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    for cpu in folders(base).into_iter().filter(is_processor).take(PROCESSORS) {
        let now = cpu.join("cpufreq/scaling_cur_freq");
        let max = text(&cpu.join("cpufreq/cpuinfo_max_freq")).and_then(|t| t.trim().parse::<f64>().ok());
        if let (true, Some(max)) = (now.exists(), max.filter(|m| *m > 0.0)) {
            frequencies.push((now, max));
        }
        let throttled = cpu.join("thermal_throttle/core_throttle_count");
        if throttled.exists() {
            counters.push(throttled);
        }
    }
    if !frequencies.is_empty() {
        let read = Read::Frequency(frequencies);
        sensors.push(Sensor { metric: &m::CPU_FREQUENCY_RATIO, id: String::new(), read });
    }
    if !counters.is_empty() {
        let read = Read::Counters(counters, Rate::default());
        sensors.push(Sensor { metric: &m::CPU_THROTTLED, id: String::new(), read });
    }
}

fn firmware(root: &Root, sensors: &mut Vec<Sensor>) {
    let path = root.join("sys/devices/platform/soc/soc:firmware/get_throttled");
    if path.exists() {
        sensors.extend(THROTTLED.map(|(bit, reason)| Sensor {
            metric: &m::BOARD_THROTTLED,
            id: reason.to_owned(),
            read: Read::Bit(path.clone(), bit),
        }));
    }
}

/// Two chips of one kind get numbers: `nvme/composite`, `nvme/composite#2`.
fn distinguish(sensors: &mut [Sensor]) {
    for i in 0..sensors.len() {
        let (done, rest) = sensors.split_at_mut(i);
        let sensor = &mut rest[0];
        let taken = |id: &str| done.iter().any(|d| d.metric == sensor.metric && d.id == id);
        if taken(&sensor.id)
            && let Some(free) = (2..).map(|n| format!("{}#{n}", sensor.id)).find(|id| !taken(id))
        {
            sensor.id = free;
        }
    }
}

/// Names as in `core_0`: lower case, words joined by `_`.
fn tidy(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '_' };
    name.trim().chars().take(48).map(plain).collect()
}

/// What is in a folder, sorted as people count: `cpu2` before `cpu10`.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort_by_key(|name| {
        let digits: String = name.chars().filter(char::is_ascii_digit).take(9).collect();
        (name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(), digits.parse::<u32>().unwrap_or(0))
    });
    names
}

fn folders(class: &Path) -> Vec<PathBuf> {
    names(class).into_iter().map(|name| class.join(name)).filter(|p| p.is_dir()).collect()
}
