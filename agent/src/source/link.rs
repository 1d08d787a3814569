//! Connections of each service: what [`links`](crate::links) observed, at each sample.

use super::{Sample, Sampled, SeriesTable, Slot, Source, SourceError};
use crate::links::services::{Figure, Row, ServiceFigures};
use tacit_wire::semconv::{
    LINK_ACCEPT_QUEUE, LINK_ACTIVE, LINK_CONNECTS, LINK_FAILED, LINK_IO, LINK_RETRANSMITS, LINK_ROUND_TRIP,
};

/// The source of family `link`.
#[derive(Debug)]
pub struct Link {
    figures: ServiceFigures,
    /// The generation whose slots are held, and they themselves, one a figure of each service.
    generation: u64,
    slots: Vec<[Slot; Figure::COUNT]>,
}

impl Link {
    /// Shows these figures.
    #[must_use]
    pub fn new(figures: ServiceFigures) -> Self {
        Self { figures, generation: 0, slots: Vec::new() }
    }
}

impl Source for Link {
    fn name(&self) -> &'static str {
        "link"
    }

    fn sample(&mut self, out: &mut Sample<'_>) -> Result<Sampled, SourceError> {
        let shown = self.figures.shown();
        if shown.generation != self.generation {
            self.generation = shown.generation;
            let before = std::mem::take(&mut self.slots);
            self.slots = shown.rows.iter().map(|row| register(row, out.table)).collect();
            out.table.retire_all_but(before.into_iter().flatten(), self.slots.as_flattened());
        }
        for (slots, row) in self.slots.iter().zip(&shown.rows) {
            for (slot, value) in slots.iter().zip(row.figures) {
                out.set(*slot, value);
            }
        }
        Ok(Sampled::Data)
    }
}

fn register(row: &Row, table: &mut SeriesTable) -> [Slot; Figure::COUNT] {
    let of = [("service.name", &*row.name), ("tacit.link.role", if row.server { "server" } else { "client" })];
    let to = |direction| [of[0], of[1], ("network.io.direction", direction)];
    [
        table.register(&LINK_CONNECTS, &of),
        table.register(&LINK_FAILED, &of),
        table.register(&LINK_IO, &to("transmit")),
        table.register(&LINK_IO, &to("receive")),
        table.register(&LINK_RETRANSMITS, &of),
        table.register(&LINK_ROUND_TRIP, &of),
        table.register(&LINK_ACTIVE, &of),
        if row.server { table.register(&LINK_ACCEPT_QUEUE, &of) } else { Slot::NONE },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;

    #[test]
    fn services_come_and_go_with_their_slots() {
        let figures = ServiceFigures::default();
        let mut source = Link::new(figures.clone());
        let (mut table, mut values) = (SeriesTable::new(32), [f32::NAN; 32]);
        let mut show = |rows: Vec<Row>, generation: u64| {
            let mut shown = figures.shown();
            (shown.rows, shown.generation) = (rows, generation);
            drop(shown);
            let mut sample = Sample { at: Tick::default(), table: &mut table, values: &mut values };
            assert_eq!(source.sample(&mut sample).expect("it works"), Sampled::Data);
            let dictionary = table.publish();
            dictionary.map(|d| {
                d.entries.iter().map(|e| format!("{} {}", e.def.label(), values[e.slot.index()])).collect::<Vec<_>>()
            })
        };
        let row = |name: &str, server, first| Row {
            name: name.into(),
            server,
            figures: [first, 0.0, 1.0, 2.0, 0.0, 0.001, 3.0, 4.0],
        };
        assert_eq!(show(Vec::new(), 0), None);
        let lines = show(vec![row("web.service", true, 7.0), row("job", false, 1.0)], 1).expect("new series");
        assert_eq!(lines.len(), 15, "a client has no accept queue: {lines:?}");
        assert_eq!(lines[0], "tacit.link.connects{service.name=web.service,tacit.link.role=server} 7");
        assert_eq!(show(vec![row("web.service", true, 8.0), row("job", false, 1.0)], 1), None, "the same series");
        let lines = show(vec![row("web.service", true, 9.0)], 2).expect("one went");
        assert_eq!((lines.len(), lines[0].ends_with(" 9")), (8, true), "{lines:?}");
    }
}
