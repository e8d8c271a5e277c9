//! How alike two lists are, and how far the order of one is chance: facts of a run that need no judgments.
//!
//! Why they never pass a gate: two lists can differ much and be equally good, or agree and be equally bad.

use super::dataset::Dataset;
use super::run::{List, Run};

/// How many documents of a list are looked at.
pub const DEPTH: usize = 10;
/// Scores that are no further apart are a tie.
const TIE: f64 = 1e-6;
/// Weight that the next place has of the one before.
const PERSISTENCE: f64 = 0.9;

/// Means over the judged queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// Share of the lists beyond ten documents in which those at ranks 10 and 11 have one score, so that the order of
    /// ids decides which of them counts; `None`: no list is that long.
    pub candidate_tie_rate: Option<f64>,
    pub baseline: Option<Compared>,
}

/// Of both arms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    pub tie_rate: Option<f64>,
    /// Documents that both have among the first ten, over ten, or over the longer list.
    pub overlap: f64,
    /// Rank-biased overlap.
    pub rbo: f64,
}

/// Looks at the lists of both arms.
pub fn likeness(dataset: &Dataset, candidate: &Run, baseline: Option<&Run>) -> Likeness {
    let mean = |of_query: &dyn Fn(&str) -> f64| {
        let sum: f64 = dataset.judged().map(|(query, _)| of_query(query)).sum();
        if dataset.judged_count() == 0 { 0.0 } else { sum / dataset.judged_count() as f64 }
    };
    let tie_rate = |run: &Run| {
        let long: Vec<bool> = dataset.judged().filter_map(|(query, _)| tied(run.list(query)?)).collect();
        (!long.is_empty()).then(|| long.iter().filter(|tied| **tied).count() as f64 / long.len() as f64)
    };
    let of_both = |baseline: &Run, measure: fn(List<'_>, List<'_>) -> f64| {
        mean(&|query| measure(candidate.list(query).unwrap_or_default(), baseline.list(query).unwrap_or_default()))
    };
    Likeness {
        candidate_tie_rate: tie_rate(candidate),
        baseline: baseline.map(|baseline| Compared {
            tie_rate: tie_rate(baseline),
            overlap: of_both(baseline, overlap),
            rbo: of_both(baseline, rbo),
        }),
    }
}

/// Whether a tie crosses the cut; `None`: nothing stands behind it.
fn tied(list: List<'_>) -> Option<bool> {
    let scores: Vec<f64> = list.iter().skip(DEPTH - 1).take(2).map(|at| at.score).collect();
    let [last, next] = scores.as_slice() else { return None };
    Some((last - next).abs() <= TIE)
}

/// Shared documents among the first ten, over the length of the longer list cut at ten. Two empty lists are alike.
fn overlap(a: List<'_>, b: List<'_>) -> f64 {
    let longest = a.len().max(b.len()).min(DEPTH);
    if longest == 0 { 1.0 } else { shared(a, b, longest) as f64 / longest as f64 }
}

fn shared(a: List<'_>, b: List<'_>, depth: usize) -> usize {
    let first: Vec<&str> = a.iter().take(depth).map(|at| at.document).collect();
    b.iter().take(depth).filter(|at| first.contains(&at.document)).count()
}

/// RBO_ext of Webber, Moffat and Zobel, *A similarity measure for indefinite rankings*, TOIS 2010, with p = 0.9, over the
/// first ten places: (X_k/k) p^k + ((1-p)/p) Σ_{d≤k} (X_d/d) p^d, X_d = shared documents at depth d. What the shorter list
/// does not have is not shared. Two empty lists are alike.
fn rbo(a: List<'_>, b: List<'_>) -> f64 {
    let longest = a.len().max(b.len()).min(DEPTH);
    if longest == 0 {
        return 1.0;
    }
    let agreement = |depth: usize| shared(a, b, depth) as f64 / depth as f64;
    let weights = std::iter::successors(Some(PERSISTENCE), |weight| Some(weight * PERSISTENCE));
    let sum: f64 = (1..=longest).zip(weights.clone()).map(|(depth, weight)| agreement(depth) * weight).sum();
    let last = weights.take(longest).last().unwrap_or(1.0);
    agreement(longest) * last + (1.0 - PERSISTENCE) / PERSISTENCE * sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluation::run::Hit;

    fn run(documents: &[&str]) -> Run {
        let scored = documents.iter().enumerate().map(|(i, d)| Hit { document: (*d).to_owned(), score: -(i as f64) });
        let mut run = Run::default();
        run.insert("q".to_owned(), scored.collect());
        run
    }

    fn measured(measure: fn(List<'_>, List<'_>) -> f64, a: &[&str], b: &[&str]) -> f64 {
        let (a, b) = (run(a), run(b));
        measure(a.list("q").unwrap(), b.list("q").unwrap())
    }

    #[test]
    fn rank_biased_overlap_has_the_published_values() {
        assert!((measured(rbo, &["1", "2", "3"], &["3", "2", "1"]) - 0.855).abs() < 5e-4);
        assert!((measured(rbo, &["1", "2", "3"], &["1", "2", "3"]) - 1.0).abs() < 1e-12);
        assert_eq!(measured(rbo, &["1", "2"], &["3", "4"]), 0.0);
        assert_eq!(measured(rbo, &[], &[]), 1.0);
        assert_eq!(measured(rbo, &[], &["1"]), 0.0);
    }

    #[test]
    fn overlap_is_of_the_first_ten_and_of_the_longer_list() {
        assert_eq!(measured(overlap, &["1", "2", "3", "4"], &["4", "3"]), 0.5);
        assert_eq!(measured(overlap, &[], &[]), 1.0);
        let names: Vec<String> = (0..30).map(|i| i.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(measured(overlap, &names[..20], &names[10..]), 0.0);
    }

    #[test]
    fn a_tie_counts_where_it_crosses_the_cut() {
        let with = |scores: &[f64]| {
            let hits = scores.iter().enumerate().map(|(i, s)| Hit { document: format!("d{i}"), score: *s });
            let mut run = Run::default();
            run.insert("q".to_owned(), hits.collect());
            tied(run.list("q").unwrap())
        };
        let mut scores: Vec<f64> = (0..12).map(|i| f64::from(-i)).collect();
        assert_eq!(with(&scores), Some(false));
        scores[10] = scores[9] - 5e-7;
        assert_eq!(with(&scores), Some(true));
        scores[10] = scores[9] - 5e-6;
        assert_eq!(with(&scores), Some(false));
        assert_eq!(with(&[1.0; 10]), None, "nothing stands behind the cut");
    }

    proptest! {
        #[test]
        fn likeness_lies_in_0_to_1_and_does_not_care_which_list_comes_first(
            a in prop::collection::hash_set("[a-z]", 0..14), b in prop::collection::hash_set("[a-z]", 0..14),
        ) {
            let borrowed = |set| -> Vec<&str> { std::collections::HashSet::<String>::iter(set).map(String::as_str).collect() };
            let (a, b) = (borrowed(&a), borrowed(&b));
            for measure in [rbo, overlap] as [fn(List<'_>, List<'_>) -> f64; 2] {
                let found = measured(measure, &a, &b);
                prop_assert!((0.0..=1.0 + 1e-12).contains(&found), "{found}");
                prop_assert!((found - measured(measure, &b, &a)).abs() < 1e-12);
            }
        }
    }
}
