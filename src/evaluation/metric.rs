//! Metrics of one ranked list against the judgments of one query, with trec_eval's definitions.
//!
//! Invariants: every value lies in [0, 1]; a higher value is better; the order of the ranked list comes from
//! [`super::run`], this module never sorts documents.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Deepest cut-off.
pub const MAX_DEPTH: usize = 1000;

/// Which quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantity {
    /// DCG over ideal DCG, linear gain.
    Ndcg,
    /// Relevant documents found, over those that exist.
    Recall,
    /// Whether a relevant document was found.
    Success,
    /// Relevant documents found, over the cut-off.
    Precision,
    /// Mean of the precisions at the ranks of relevant documents, over the relevant documents that exist.
    AveragePrecision,
    /// One over the rank of the first relevant document.
    ReciprocalRank,
}

impl Quantity {
    const ALL: [Self; 6] =
        [Self::Ndcg, Self::Recall, Self::Success, Self::Precision, Self::AveragePrecision, Self::ReciprocalRank];

    const fn word(self) -> &'static str {
        match self {
            Self::Ndcg => "ndcg",
            Self::Recall => "recall",
            Self::Success => "success",
            Self::Precision => "P",
            Self::AveragePrecision => "map",
            Self::ReciprocalRank => "mrr",
        }
    }

    const fn needs_cut(self) -> bool {
        match self {
            Self::Ndcg | Self::Recall | Self::Success | Self::Precision => true,
            Self::AveragePrecision | Self::ReciprocalRank => false,
        }
    }
}

/// A metric with its cut-off, as users name it: `ndcg@10`, `map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    quantity: Quantity,
    cut: Option<usize>,
}

/// Why a name is not a metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no metric: write ndcg@k, recall@k, success@k, P@k, map, map@k, mrr or mrr@k with k from 1 to {MAX_DEPTH}"
)]
pub struct UnknownMetric(pub String);

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        let unknown = || UnknownMetric(name.chars().take(64).collect());
        let (word, cut) = match name.split_once('@') {
            Some((word, digits)) => (word, Some(depth(digits).ok_or_else(unknown)?)),
            None => (name, None),
        };
        let quantity = Quantity::ALL.into_iter().find(|q| q.word() == word).ok_or_else(unknown)?;
        if cut.is_none() && quantity.needs_cut() {
            return Err(unknown());
        }
        Ok(Self { quantity, cut })
    }
}

fn depth(digits: &str) -> Option<usize> {
    if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|k| (1..=MAX_DEPTH).contains(k))
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cut {
            Some(k) => write!(f, "{}@{k}", self.quantity.word()),
            None => f.write_str(self.quantity.word()),
        }
    }
}

/// The judgments of one query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgments {
    grades: BTreeMap<String, i32>,
}

impl Judgments {
    /// Adds a judgment; gives back the earlier grade if the document was judged before.
    pub fn insert(&mut self, document: String, grade: i32) -> Option<i32> {
        self.grades.insert(document, grade)
    }

    /// Judged documents.
    pub fn len(&self) -> usize {
        self.grades.len()
    }

    /// Whether nothing is judged.
    pub fn is_empty(&self) -> bool {
        self.grades.is_empty()
    }

    /// Documents of grade 1 and above.
    pub fn relevant(&self) -> usize {
        self.grades.values().filter(|g| **g > 0).count()
    }

    /// Grade of a document; `None`: nobody judged it.
    pub fn grade(&self, document: &str) -> Option<i32> {
        self.grades.get(document).copied()
    }

    /// Gain of a document: its grade; nothing if it is unjudged, in the pool but unjudged (negative), or not
    /// relevant.
    fn gain(&self, document: &str) -> u32 {
        self.grades.get(document).and_then(|g| u32::try_from(*g).ok()).unwrap_or(0)
    }
}

/// What the metrics read: the gains in rank order and what an ideal list would hold. Computed once a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Gains {
    ranked: Vec<u32>,
    ideal: Vec<u32>,
}

impl Gains {
    /// Looks the ranked documents up.
    pub fn of<'a>(judgments: &Judgments, ranked: impl IntoIterator<Item = &'a str>) -> Self {
        let mut ideal: Vec<u32> =
            judgments.grades.values().filter_map(|g| u32::try_from(*g).ok()).filter(|g| *g > 0).collect();
        ideal.sort_unstable_by(|a, b| b.cmp(a));
        Self { ranked: ranked.into_iter().map(|d| judgments.gain(d)).collect(), ideal }
    }
}

impl Metric {
    /// Documents that this metric needs from an arm.
    pub fn depth(self) -> usize {
        self.cut.unwrap_or(MAX_DEPTH)
    }

    /// Value of one query. 0 where no document is relevant.
    pub fn value(self, gains: &Gains) -> f64 {
        let relevant = gains.ideal.len();
        if relevant == 0 {
            return 0.0;
        }
        let cut = self.cut.unwrap_or(usize::MAX);
        let top = || gains.ranked.iter().copied().take(cut);
        let hits = || top().filter(|g| *g > 0).count();
        match self.quantity {
            Quantity::Ndcg => discounted(top()) / discounted(gains.ideal.iter().copied().take(cut)),
            Quantity::Recall => ratio(hits(), relevant),
            Quantity::Success => f64::from(u8::from(hits() > 0)),
            Quantity::Precision => ratio(hits(), self.depth()),
            Quantity::AveragePrecision => average_precision(top()) / count(relevant),
            Quantity::ReciprocalRank => top().position(|g| g > 0).map_or(0.0, |i| ratio(1, i.saturating_add(1))),
        }
    }
}

fn discounted(gains: impl Iterator<Item = u32>) -> f64 {
    gains.zip(1_u32..).map(|(gain, rank)| f64::from(gain) / (f64::from(rank) + 1.0).log2()).sum()
}

fn average_precision(gains: impl Iterator<Item = u32>) -> f64 {
    let relevant_ranks = gains.zip(1_usize..).filter(|(gain, _)| *gain > 0).map(|(_, rank)| rank);
    relevant_ranks.zip(1_usize..).map(|(rank, found)| ratio(found, rank)).sum()
}

fn ratio(a: usize, b: usize) -> f64 {
    count(a) / count(b)
}

/// Counts here stay far below 2^53.
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluation::run::{Hit, ranked};

    fn judged(grades: &[(&str, i32)]) -> Judgments {
        let mut judgments = Judgments::default();
        for (document, grade) in grades {
            assert_eq!(judgments.insert((*document).to_owned(), *grade), None);
        }
        judgments
    }

    fn value(name: &str, judgments: &Judgments, hits: &[(&str, f64)]) -> f64 {
        let hits = hits.iter().map(|(d, s)| Hit { document: (*d).to_owned(), score: *s }).collect();
        let list = ranked(hits);
        name.parse::<Metric>().unwrap().value(&Gains::of(judgments, list.iter().map(|h| h.document.as_str())))
    }

    type Golden<'a> = (Judgments, Vec<(&'a str, f64)>, Vec<(&'a str, f64)>);

    /// Numbers computed with trec_eval 9.0.8 and 10.0.
    fn golden() -> Vec<Golden<'static>> {
        vec![
            (
                judged(&[("d1", 3), ("d2", 2), ("d3", 1), ("d4", 0)]),
                vec![("d4", 0.9), ("d1", 0.8), ("zz", 0.7), ("d3", 0.6)],
                vec![
                    ("map", 0.3333),
                    ("mrr", 0.5),
                    ("P@3", 0.3333),
                    ("recall@3", 0.3333),
                    ("ndcg@3", 0.3975),
                    ("ndcg@10", 0.4879),
                    ("map@3", 0.1667),
                    ("success@1", 0.0),
                    ("success@3", 1.0),
                    ("mrr@1", 0.0),
                ],
            ),
            (
                judged(&[("a", 1), ("b", 1), ("c", 0)]),
                vec![("a", 0.5), ("b", 0.5), ("c", 0.5)],
                vec![
                    ("map", 0.5833),
                    ("mrr", 0.5),
                    ("P@3", 0.6667),
                    ("recall@3", 1.0),
                    ("ndcg@3", 0.6934),
                    ("success@1", 0.0),
                ],
            ),
            (
                judged(&[("x", 0), ("y", 0)]),
                vec![("x", 0.5)],
                vec![("map", 0.0), ("mrr", 0.0), ("P@3", 0.0), ("recall@3", 0.0), ("ndcg@3", 0.0), ("success@3", 0.0)],
            ),
            (judged(&[("m", 1)]), vec![], vec![("map", 0.0), ("ndcg@10", 0.0), ("P@3", 0.0), ("success@3", 0.0)]),
            (
                judged(&[("n", 2), ("o", -1), ("p", 1)]),
                vec![("o", 0.9), ("n", 0.800_000_000_1), ("p", 0.800_000_000_2)],
                vec![("map", 0.5833), ("mrr", 0.5), ("P@3", 0.6667), ("recall@3", 1.0), ("ndcg@3", 0.6199)],
            ),
        ]
    }

    #[test]
    fn values_equal_those_of_trec_eval() {
        for (judgments, hits, expected) in golden() {
            for (name, number) in expected {
                let found = value(name, &judgments, &hits);
                assert!((found - number).abs() < 5e-5, "{name}: {found}, expected {number}");
            }
        }
    }

    #[test]
    fn means_over_all_judged_queries_equal_those_of_trec_eval_with_c() {
        let expected = [
            ("map", 0.3),
            ("mrr", 0.3),
            ("P@3", 0.3333),
            ("recall@3", 0.4667),
            ("ndcg@3", 0.3422),
            ("ndcg@10", 0.3603),
            ("map@3", 0.2667),
            ("success@3", 0.6),
        ];
        for (name, number) in expected {
            let values: Vec<f64> = golden().iter().map(|(j, hits, _)| value(name, j, hits)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!((mean - number).abs() < 5e-5, "{name}: {mean}, expected {number}");
        }
    }

    #[test]
    fn equal_scores_rank_the_bytewise_greater_document_first() {
        for (first, second) in [("9", "10"), ("a", "A"), ("é", "z")] {
            let judgments = judged(&[(second, 1)]);
            assert_eq!(value("mrr", &judgments, &[(first, 1.0), (second, 1.0)]), 0.5, "{second} before {first}");
        }
    }

    #[test]
    fn names_are_read_and_written_alike_and_others_are_refused() {
        for name in ["ndcg@10", "recall@1000", "success@1", "P@5", "map", "map@3", "mrr", "mrr@10"] {
            assert_eq!(name.parse::<Metric>().unwrap().to_string(), name);
        }
        let long = "x".repeat(1000);
        for name in ["ndcg", "P", "recall@0", "recall@1001", "recall@010", "p@5", "map@", "mrr@+1", "", &long] {
            let error = name.parse::<Metric>().unwrap_err().to_string();
            assert!(error.contains("write ndcg@k"), "{error}");
            assert!(error.len() < 250, "{error}");
        }
        assert_eq!("map".parse::<Metric>().unwrap().depth(), MAX_DEPTH);
        assert_eq!("P@5".parse::<Metric>().unwrap().depth(), 5);
    }

    const NAMES: [&str; 9] = ["ndcg@5", "recall@5", "success@5", "P@5", "map", "map@5", "mrr", "mrr@5", "ndcg@1000"];

    fn hits() -> impl Strategy<Value = Vec<(String, f64)>> {
        prop::collection::btree_map("[a-h][0-9]?", 0..4_u8, 0..20)
            .prop_map(|m| m.into_iter().map(|(d, s)| (d, f64::from(s))).collect())
    }

    fn judgments() -> impl Strategy<Value = Judgments> {
        prop::collection::btree_map("[a-h][0-9]?", -1..4_i32, 0..12).prop_map(|grades| Judgments { grades })
    }

    fn borrowed(hits: &[(String, f64)]) -> Vec<(&str, f64)> {
        hits.iter().map(|(d, s)| (d.as_str(), *s)).collect()
    }

    proptest! {
        #[test]
        fn values_lie_between_0_and_1_whatever_the_order_of_the_input(
            judgments in judgments(), hits in hits(), seed in any::<u64>(),
        ) {
            let mut shuffled = hits.clone();
            shuffled.sort_by_key(|(d, _)| d.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)));
            for name in NAMES {
                let found = value(name, &judgments, &borrowed(&hits));
                prop_assert!((0.0..=1.0).contains(&found), "{name} {found}");
                prop_assert_eq!(found.to_bits(), value(name, &judgments, &borrowed(&shuffled)).to_bits());
            }
        }

        #[test]
        fn putting_a_relevant_document_first_never_lowers_a_value(judgments in judgments(), hits in hits()) {
            let best = judgments.grades.iter().max_by_key(|(_, g)| **g).filter(|(_, g)| **g > 0);
            if let Some((document, _)) = best {
                let mut better = hits.clone();
                better.retain(|(d, _)| d != document);
                better.push((document.clone(), 100.0));
                for name in NAMES {
                    let (before, after) =
                        (value(name, &judgments, &borrowed(&hits)), value(name, &judgments, &borrowed(&better)));
                    prop_assert!(after >= before - 1e-12, "{name}: {before} then {after}");
                }
            }
        }
    }
}
