//! The graph of calls among the candidates, as compressed sparse rows.

use std::collections::{HashSet, VecDeque};

/// Who calls whom, by number. Edges that lead back to where they begin are left out; two of the same ends are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    callees: Rows,
    callers: Rows,
}

/// Lists of numbers, one after another: row `i` is `to[start[i]..start[i + 1]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rows {
    start: Vec<usize>,
    to: Vec<u32>,
}

impl Rows {
    /// Rows of pairs that are sorted by their first.
    fn new(count: usize, pairs: &[(u32, u32)]) -> Self {
        let mut start = vec![0; count + 1];
        for (from, _) in pairs {
            start[*from as usize + 1] += 1;
        }
        for i in 0..count {
            start[i + 1] += start[i];
        }
        Self { start, to: pairs.iter().map(|(_, to)| *to).collect() }
    }

    fn row(&self, i: usize) -> &[u32] {
        &self.to[self.start[i]..self.start[i + 1]]
    }
}

impl Graph {
    /// A graph of `count` candidates with edges from callers to callees, both below `count`.
    #[must_use]
    pub fn new(count: usize, edges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let inside = |(a, b): &(u32, u32)| a != b && (*a as usize) < count && (*b as usize) < count;
        let mut pairs: Vec<(u32, u32)> = edges.into_iter().filter(inside).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let callees = Rows::new(count, &pairs);
        for pair in &mut pairs {
            *pair = (pair.1, pair.0);
        }
        pairs.sort_unstable();
        Self { callees, callers: Rows::new(count, &pairs) }
    }

    /// How many candidates there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.callees.start.len().saturating_sub(1)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whom `i` calls, ascending.
    #[must_use]
    pub fn callees(&self, i: usize) -> &[u32] {
        self.callees.row(i)
    }

    /// Who calls `i`, ascending.
    #[must_use]
    pub fn callers(&self, i: usize) -> &[u32] {
        self.callers.row(i)
    }

    /// What is reached from `start` through callees that are `hot`, itself included.
    #[must_use]
    pub fn reach(&self, start: usize, hot: impl Fn(usize) -> bool) -> HashSet<usize> {
        let mut seen = HashSet::from([start]);
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for callee in self.callees(at) {
                let callee = *callee as usize;
                if hot(callee) && seen.insert(callee) {
                    queue.push_back(callee);
                }
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_kept_both_ways_once_and_without_loops() {
        let graph = Graph::new(4, [(2, 1), (0, 2), (0, 1), (0, 1), (3, 3), (1, 9), (9, 1)]);
        assert_eq!(
            (graph.callees(0), graph.callees(2), graph.callees(3)),
            ([1, 2].as_slice(), [1].as_slice(), [].as_slice())
        );
        assert_eq!((graph.callers(1), graph.callers(0)), ([0, 2].as_slice(), [].as_slice()));
        assert_eq!((graph.len(), Graph::new(0, []).is_empty()), (4, true));
    }

    #[test]
    fn a_walk_follows_hot_callees_and_ends_in_circles() {
        let graph = Graph::new(6, [(0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (2, 5)]);
        let reached = graph.reach(0, |i| i != 3);
        assert_eq!(reached, HashSet::from([0, 1, 2, 5]));
        // Where it starts need not be hot.
        assert_eq!(graph.reach(4, |_| false), HashSet::from([4]));
    }
}
