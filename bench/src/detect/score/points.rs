//! Point metrics of one series: areas under the precision-recall and the ROC curve over all distinct thresholds.

/// Areas of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Areas {
    /// Area under precision over recall.
    pub pr: f64,
    /// Area under true over false positive rate.
    pub roc: f64,
}

/// AUC-PR = Σ ΔR·P (average precision) and AUC-ROC by trapezoids; equal scores are one threshold. Without a labelled point
/// there is neither.
#[must_use]
pub fn areas(labels: &[bool], scores: &[f64]) -> Option<Areas> {
    let positives = labels.iter().filter(|y| **y).count() as f64;
    if positives == 0.0 {
        return None;
    }
    let negatives = (labels.len() as f64 - positives).max(1.0);
    let mut order: Vec<usize> = (0..labels.len().min(scores.len())).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let (mut pr, mut roc) = (0.0, 0.0);
    let (mut hits, mut recall, mut false_rate) = (0.0, 0.0, 0.0);
    for (i, at) in order.iter().enumerate() {
        hits += f64::from(u8::from(labels[*at]));
        if order.get(i + 1).is_some_and(|next| scores[*next] == scores[*at]) {
            continue;
        }
        let predicted = (i + 1) as f64;
        let (r, f) = (hits / positives, (predicted - hits) / negatives);
        pr += (r - recall) * (hits / predicted);
        roc += (f - false_rate) * (r + recall) / 2.0;
        (recall, false_rate) = (r, f);
    }
    Some(Areas { pr, roc })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_ranking_has_area_one_and_a_reversed_one_none() {
        let labels = [false, false, true, true];
        assert_eq!(areas(&labels, &[0.0, 1.0, 2.0, 3.0]), Some(Areas { pr: 1.0, roc: 1.0 }));
        let reversed = areas(&labels, &[3.0, 2.0, 1.0, 0.0]).unwrap();
        assert_eq!(reversed.roc, 0.0);
        // Precision 1/3 at recall 1/2, then 2/4 at 1.
        assert!((reversed.pr - (0.5 / 3.0 + 0.5 * 0.5)).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_are_one_threshold() {
        let constant = areas(&[true, false, false, true, false], &[1.0; 5]).unwrap();
        assert!((constant.pr - 0.4).abs() < 1e-12 && (constant.roc - 0.5).abs() < 1e-12, "{constant:?}");
        assert_eq!(areas(&[false; 3], &[1.0; 3]), None);
    }
}
