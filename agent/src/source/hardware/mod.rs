//! Temperatures, fans, voltages, power, batteries, and whether the processor is slowed for heat.
//!
//! A sensor sits behind a bus, and a bus can hang: node_exporter stood still for years on one thermal zone of a Jetson.
//! All sensors are therefore read on their own thread every five seconds; one that blocks is set aside, and a fresh
//! thread goes on with the others ([`reader`]).

mod discover;
mod reader;
mod sensor;

use tacit_wire::semconv::Metric;

use super::{Root, Sample, Sampled, Slot, Source, SourceError};
use reader::{Reader, Set};
use std::sync::Arc;

/// The source of family `hardware`.
#[derive(Debug)]
pub struct Hardware {
    reader: Reader,
    /// The sensors whose slots are held, in their order.
    set: Option<Arc<Set>>,
    slots: Vec<Option<Slot>>,
    looked: bool,
}

impl Hardware {
    /// Reads the sensors below `root`.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn new(root: &Root) -> std::io::Result<Self> {
        let reader = if root.is_live() { Reader::start(root.clone())? } else { Reader::inline(root.clone()) };
        Ok(Self { reader, set: None, slots: Vec::new(), looked: false })
    }

    /// Takes over a new list of sensors; those that stay keep their slots.
    fn follow(&mut self, set: &Arc<Set>, out: &mut Sample<'_>) {
        let mut slots = vec![None; set.sensors.len()];
        let before = self.set.take();
        for (old, slot) in before.iter().flat_map(|b| &b.sensors).zip(self.slots.drain(..)) {
            let Some(slot) = slot else { continue };
            match set.sensors.iter().position(|s| s.metric == old.metric && s.id == old.id) {
                Some(i) => slots[i] = Some(slot),
                None => out.table.retire(slot),
            }
        }
        self.slots = slots;
        self.set = Some(Arc::clone(set));
    }
}

impl Source for Hardware {
    fn name(&self) -> &'static str {
        "hardware"
    }

    /// A machine without sensors is asked once a minute whether it got one.
    fn every(&self) -> u32 {
        if self.set.is_none() && self.looked { 60 } else { 1 }
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let Some(set) = self.reader.newest(out.at) else { return Ok(Sampled::Data) };
        if set.sensors.is_empty() {
            self.looked = true;
            return Ok(Sampled::Absent(
                "no sensor below /sys/class/hwmon, /sys/class/thermal, /sys/class/power_supply and cpufreq".into(),
            ));
        }
        if !self.set.as_ref().is_some_and(|held| Arc::ptr_eq(held, &set)) {
            self.follow(&set, out);
        }
        for (i, (sensor, slot)) in set.sensors.iter().zip(&mut self.slots).enumerate() {
            let value = set.value(i);
            // A sensor gets its place when it first says something: many exist that never do.
            let slot = match *slot {
                Some(slot) => slot,
                None if value.is_nan() => continue,
                None => *slot.insert(out.table.register(sensor.metric, &attribute(sensor.metric, &sensor.id))),
            };
            out.set(slot, value);
        }
        Ok(Sampled::Data)
    }
}

fn attribute<'a>(metric: &Metric, id: &'a str) -> Vec<(&'static str, &'a str)> {
    metric.attributes.iter().map(|key| (*key, id)).collect()
}
