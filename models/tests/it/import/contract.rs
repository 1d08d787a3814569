//! The input contract on a node.

use tacit_models::import::contract::{Lacking, Missing};
use tacit_models::import::{BindError, Binding, Series};

use super::manifest;

const NODE: [Series<'static>; 3] =
    [Series { label: "s2", unit: "By" }, Series { label: "other", unit: "1" }, Series { label: "s0", unit: "1" }];

#[test]
fn columns_are_found_by_name_whatever_their_order_on_the_node() {
    let mut manifest = manifest(1, 3, "host-score", "");
    manifest.input.lacking = Lacking::Fill;
    let mut binding = Binding::new(&manifest, &NODE).unwrap();
    let mut row = [9.0; 3];
    assert!(binding.fill(&[2.0, 5.0, 0.5], &mut row));
    assert_eq!(row, [0.5, 0.0, 2.0], "s1 is lacking and zero");
}

#[test]
fn a_node_that_lacks_a_series_or_has_another_unit_is_refused_by_name() {
    let mut manifest = manifest(1, 3, "host-score", "");
    let error = Binding::new(&manifest, &NODE).unwrap_err();
    assert_eq!(error, BindError::Lacking { missing: 1, first: "s1".into() });
    manifest.input.lacking = Lacking::Fill;
    manifest.input.units = vec!["1".into(), "1".into(), "s".into()];
    let error = Binding::new(&manifest, &NODE).unwrap_err().to_string();
    assert_eq!(error, "series `s2` is measured in `By` here, the model was trained on `s`");
    assert_eq!(Binding::new(&manifest, &NODE[1..2]).unwrap_err(), BindError::Nothing);
}

#[test]
fn missing_values_are_held_zero_or_skip_the_point_and_the_mask_says_so() {
    let mut manifest = manifest(1, 1, "host-score", "");
    let points = [f32::NAN, 3.0, f32::NAN, 4.0];
    for (missing, expected, judged) in [
        (Missing::Hold, [0.0, 3.0, 3.0, 4.0], [true; 4]),
        (Missing::Zero, [0.0, 3.0, 0.0, 4.0], [true; 4]),
        (Missing::Skip, [0.0, 3.0, 3.0, 4.0], [false, true, false, true]),
    ] {
        for mask in [false, true] {
            (manifest.input.missing, manifest.input.mask) = (missing, mask);
            let mut binding = Binding::new(&manifest, &[Series { label: "s0", unit: "1" }]).unwrap();
            let mut row = vec![9.0; binding.width()];
            for ((point, expected), judged) in points.iter().zip(expected).zip(judged) {
                assert_eq!(binding.fill(&[*point], &mut row), judged, "{missing:?}");
                assert_eq!(row[0], expected, "{missing:?}");
                assert_eq!(row.get(1).copied(), mask.then(|| f32::from(point.is_finite())));
            }
        }
    }
}
