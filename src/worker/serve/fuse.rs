//! Reciprocal rank fusion: two lists become one by ranks alone, since their scores cannot be compared.
//!
//! Invariant: the order is total: score descending, then id ascending by bytes.

use std::collections::HashMap;

use crate::store::Scored;

/// Entries of each list that are fused, whatever k is asked: the first results are then the same for every k,
/// so a gate that asks for many measures what users get.
pub const DEPTH: usize = 200;

/// The fused list; the score of an entry is the sum of 1 / (constant + rank) over the lists that have it.
pub fn fuse(lists: [&[Scored]; 2], constant: f64) -> Vec<Scored> {
    let mut sums: HashMap<u32, (f64, &str)> = HashMap::new();
    for list in lists {
        for (rank, hit) in (1_u32..).zip(list.iter().take(DEPTH)) {
            sums.entry(hit.ordinal).or_insert((0.0, &hit.id)).0 += 1.0 / (constant + f64::from(rank));
        }
    }
    let mut fused: Vec<Scored> =
        sums.into_iter().map(|(ordinal, (score, id))| Scored { ordinal, id: id.to_owned(), score }).collect();
    fused.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    fused
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(ordinals: &[u32]) -> Vec<Scored> {
        ordinals
            .iter()
            .map(|ordinal| Scored { ordinal: *ordinal, id: format!("d{ordinal}#0"), score: f64::from(*ordinal) })
            .collect()
    }

    fn ids(hits: &[Scored]) -> Vec<&str> {
        hits.iter().map(|hit| hit.id.as_str()).collect()
    }

    #[test]
    fn ranks_add_up() {
        let fused = fuse([&list(&[1, 2, 3]), &list(&[3, 1])], 60.0);
        assert_eq!(ids(&fused), ["d1#0", "d3#0", "d2#0"]);
        assert!((fused[0].score - (1.0 / 61.0 + 1.0 / 62.0)).abs() < 1e-12);
        assert!((fused[2].score - 1.0 / 62.0).abs() < 1e-12);
    }

    #[test]
    fn ties_go_by_id() {
        // Each stands first in one list and nowhere in the other.
        assert_eq!(ids(&fuse([&list(&[7]), &list(&[10])], 60.0)), ["d10#0", "d7#0"]);
        assert_eq!(ids(&fuse([&list(&[10]), &list(&[7])], 60.0)), ["d10#0", "d7#0"]);
    }

    proptest! {
        #[test]
        fn every_entry_comes_once_in_total_order(
            left in prop::collection::btree_set(0u32..300, 0..250),
            right in prop::collection::btree_set(0u32..300, 0..250),
            constant in 1u32..1000,
        ) {
            let (left, right): (Vec<u32>, Vec<u32>) = (left.into_iter().collect(), right.into_iter().rev().collect());
            let fused = fuse([&list(&left), &list(&right)], f64::from(constant));
            for pair in fused.windows(2) {
                prop_assert!(
                    pair[0].score > pair[1].score || (pair[0].score == pair[1].score && pair[0].id < pair[1].id)
                );
            }
            let mut expected: Vec<u32> = left.iter().take(DEPTH).chain(right.iter().take(DEPTH)).copied().collect();
            expected.sort_unstable();
            expected.dedup();
            let mut found: Vec<u32> = fused.iter().map(|hit| hit.ordinal).collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
