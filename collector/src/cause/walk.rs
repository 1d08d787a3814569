//! Personalised PageRank from callers towards causes.
//!
//! A walker goes from a caller to a callee in proportion to how suspicious the callee is, back to a caller with
//! a fifth of that, and stays where nobody near is worse; now and then it starts again, at a candidate in proportion to its suspicion.
//! Where it is found in the long run is the rank (MonitorRank, SIGMETRICS 2013; MicroRCA, NOMS 2020):
//!
//! ```text
//! W[a][b] = s(b)  for each call a → b;     W[b][a] += 0.2·s(a);     W[i][i] = max(0, s(i) − max_j W[i][j])
//! r = s / Σ s;     p = 0.85·p·W + 0.15·r   with every row of W brought to 1
//! ```

use super::constants::{WALK_BACK, WALK_FLOOR, WALK_RESTART, WALK_ROUNDS, WALK_SETTLED};
use super::graph::Graph;

/// Where the walker is found: one share for each candidate, together 1. A suspicion that is missing, negative or no number is none.
#[must_use]
pub fn shares(graph: &Graph, suspicion: &[f64]) -> Vec<f64> {
    let count = graph.len();
    if count == 0 {
        return Vec::new();
    }
    let known = |i: usize| suspicion.get(i).copied().filter(|v| v.is_finite()).unwrap_or(0.0).max(0.0);
    let s: Vec<f64> = (0..count).map(|i| known(i) + WALK_FLOOR).collect();
    let total: f64 = s.iter().sum();
    let restart: Vec<f64> = s.iter().map(|v| v / total).collect();
    let steps = Steps::new(graph, &s);
    let mut p = restart.clone();
    let mut next = vec![0.0; count];
    for _ in 0..WALK_ROUNDS {
        for (n, r) in next.iter_mut().zip(&restart) {
            *n = WALK_RESTART * r;
        }
        steps.walk(&p, &mut next);
        let moved: f64 = next.iter().zip(&p).map(|(a, b)| (a - b).abs()).sum();
        std::mem::swap(&mut p, &mut next);
        if moved < WALK_SETTLED {
            break;
        }
    }
    p
}

/// Steps out of every candidate, each row together 1.
struct Steps {
    start: Vec<usize>,
    to: Vec<(u32, f64)>,
    stay: Vec<f64>,
}

impl Steps {
    fn new(graph: &Graph, s: &[f64]) -> Self {
        let mut steps = Self { start: vec![0], to: Vec::new(), stay: Vec::with_capacity(s.len()) };
        for (i, own) in s.iter().enumerate() {
            let from = steps.to.len();
            steps.to.extend(graph.callees(i).iter().map(|c| (*c, s[*c as usize])));
            let callees = steps.to.len();
            for caller in graph.callers(i) {
                let back = WALK_BACK * s[*caller as usize];
                // Two that call each other have one step with both weights.
                match steps.to[from..callees].binary_search_by_key(caller, |(to, _)| *to) {
                    Ok(at) => steps.to[from + at].1 += back,
                    Err(_) => steps.to.push((*caller, back)),
                }
            }
            let most = steps.to[from..].iter().map(|(_, w)| *w).fold(0.0, f64::max);
            let stay = (own - most).max(0.0);
            let total = stay + steps.to[from..].iter().map(|(_, w)| w).sum::<f64>();
            // Every suspicion has a floor: the total is positive.
            for (_, weight) in &mut steps.to[from..] {
                *weight /= total;
            }
            steps.stay.push(stay / total);
            steps.start.push(steps.to.len());
        }
        steps
    }

    fn walk(&self, p: &[f64], next: &mut [f64]) {
        for (i, here) in p.iter().enumerate() {
            let go = (1.0 - WALK_RESTART) * here;
            next[i] += go * self.stay[i];
            for (to, weight) in &self.to[self.start[i]..self.start[i + 1]] {
                next[*to as usize] += go * weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by the formula, with a full matrix.
    fn dense(count: usize, edges: &[(u32, u32)], suspicion: &[f64]) -> Vec<f64> {
        let s: Vec<f64> = suspicion.iter().map(|v| v + 1e-3).collect();
        let mut w = vec![vec![0.0; count]; count];
        for (a, b) in edges {
            w[*a as usize][*b as usize] += s[*b as usize];
            w[*b as usize][*a as usize] += 0.2 * s[*a as usize];
        }
        for i in 0..count {
            let most = w[i].iter().copied().fold(0.0, f64::max);
            w[i][i] += (s[i] - most).max(0.0);
            let total: f64 = w[i].iter().sum();
            w[i].iter_mut().for_each(|v| *v /= total);
        }
        let total: f64 = s.iter().sum();
        let r: Vec<f64> = s.iter().map(|v| v / total).collect();
        let mut p = r.clone();
        for _ in 0..100 {
            p = (0..count).map(|j| 0.85 * (0..count).map(|i| p[i] * w[i][j]).sum::<f64>() + 0.15 * r[j]).collect();
        }
        p
    }

    #[test]
    fn two_candidates_by_hand() {
        // s = (1, 3) but for the floor: W = [0, 3; 0.2, 2.8] becomes [0, 1; 1/15, 14/15]. With r = (1/4, 3/4) the fixed point is
        // p0 = 0.85·p1/15 + 0.0375 and p0 + p1 = 1, so p0 = (0.85/15 + 0.0375) / (1 + 0.85/15).
        let p = shares(&Graph::new(2, [(0, 1)]), &[1.0 - 1e-3, 3.0 - 1e-3]);
        let wanted = (0.85 / 15.0 + 0.0375) / (1.0 + 0.85 / 15.0);
        assert!((p[0] - wanted).abs() < 1e-9 && (p[1] - (1.0 - wanted)).abs() < 1e-9, "{p:?}");
    }

    #[test]
    fn without_edges_it_is_the_suspicion_itself() {
        let p = shares(&Graph::new(3, []), &[0.999, 1.999, 0.999]);
        assert!(p.iter().zip([0.25, 0.5, 0.25]).all(|(p, wanted)| (p - wanted).abs() < 1e-9), "{p:?}");
        assert!(shares(&Graph::new(0, []), &[]).is_empty());
    }

    proptest::proptest! {
        /// For every graph the sparse walk is that of the full matrix.
        #[test]
        fn sparse_is_dense(
            edges in proptest::collection::btree_set((0_u32..7, 0_u32..7), 0..25),
            suspicion in proptest::collection::vec(0.0_f64..10.0, 7),
        ) {
            let edges: Vec<(u32, u32)> = edges.into_iter().filter(|(a, b)| a != b).collect();
            let found = shares(&Graph::new(7, edges.iter().copied()), &suspicion);
            for (found, wanted) in found.iter().zip(dense(7, &edges, &suspicion)) {
                proptest::prop_assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
            }
        }
    }
}
