//! The scorer against the reference scorer (numpy): the same scores, the same numbers. `fixtures/scored-hosts.csv` has three
//! hosts of 400 points at ten minutes, of which the first 150 are for learning; the third has no event. Scores have two
//! decimals, so that many are equal; events lie at both ends, inside each other's slack, and across the end of learning.

use tacit_bench::detect::attribution::HitRates;
use tacit_bench::detect::data::Entry;
use tacit_bench::detect::result::{Extras, SeriesResult, SourceRow};
use tacit_bench::detect::scores::Scores;

const TRAIN_END: usize = 150;

/// What the reference printed for the source.
const VUS_PR: f64 = 0.626_041_6;
const AUC_PR: f64 = 0.548_750_110_9;
const VUS_ROC: f64 = 0.906_926_288_2;
const AUC_ROC: f64 = 0.838_776_698_6;
const RECALL_AT_1: f64 = 5.0 / 6.0;
const RECALL_AT_01: f64 = 0.5;
const DELAY_S: f64 = 1800.0;
const NAB: f64 = 91.285_532_824_3;
/// VUS-PR of the hosts with events.
const HOSTS_VUS_PR: [f64; 2] = [0.794_277_599_2, 0.457_805_600_8];
/// False alarms a day of each host at its own threshold for two a day, and events caught there.
const OWN: [(f64, usize); 3] = [(4.032, 3), (1.152, 3), (0.0, 0)];

/// The hosts of the fixture, held against their labels.
fn hosts() -> Vec<SeriesResult> {
    let text = include_str!("../fixtures/scored-hosts.csv");
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let host = |name: &str| {
        let of_host: Vec<&Vec<&str>> = rows.iter().filter(|row| row[0] == name).collect();
        let labels: Vec<bool> = of_host.iter().map(|row| row[1] == "1").collect();
        let scores: Vec<f32> = of_host.iter().map(|row| row[2].parse().expect("a number")).collect();
        let entry = Entry {
            source: "NAB".into(),
            name: name.into(),
            points: scores.len(),
            metrics: 1,
            train_end: TRAIN_END,
            period_s: 600,
            vus_window: 20,
        };
        let extras = Extras { cpu_s: 0.0, hit_rates: HitRates::default() };
        SeriesResult::new(&entry, &Scores::one(scores, 0), &labels, extras, 2.0)
    };
    ["a", "b", "c"].map(host).into()
}

#[test]
fn the_same_scores_give_the_numbers_of_the_reference() {
    let row = SourceRow::new("NAB", &hosts());
    let pairs = [
        ("VUS-PR", row.vus_pr, VUS_PR),
        ("AUC-PR", row.auc_pr, AUC_PR),
        ("VUS-ROC", row.vus_roc, VUS_ROC),
        ("AUC-ROC", row.auc_roc, AUC_ROC),
        ("recall at 1", row.recall_at_1, RECALL_AT_1),
        ("recall at .1", row.recall_at_01, RECALL_AT_01),
        ("delay", row.delay_s, DELAY_S),
        ("NAB", row.nab, NAB),
        ("VUS-PR of a", row.by_series[0].vus_pr, HOSTS_VUS_PR[0]),
        ("VUS-PR of b", row.by_series[1].vus_pr, HOSTS_VUS_PR[1]),
    ];
    for (what, found, wanted) in pairs {
        let found = found.expect(what);
        assert!((found - wanted).abs() < 1e-6, "{what}: {found} where the reference has {wanted}");
    }
    assert_eq!(row.by_series[2].vus_pr, None, "without an event there is nothing to rank");
    for (line, (per_day, caught)) in row.by_series.iter().zip(OWN) {
        let found = line.asked_got_per_day;
        assert!((found - per_day).abs() < 1e-6, "{}: {found} a day where the reference has {per_day}", line.name);
        assert_eq!(line.asked_caught, caught, "{}", line.name);
    }
}
