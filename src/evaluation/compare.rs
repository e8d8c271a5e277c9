//! The numbers of one or two arms on one query set: a row a metric.
//!
//! Invariants: a judged query that an arm did not answer counts 0; queries without a relevant document count
//! in the means and not in the paired test (their difference is 0 by construction); a row is rounded to six
//! decimals, so that the receipt, the command line and the operator judge the same numbers.

use std::collections::BTreeSet;

use super::dataset::Dataset;
use super::metric::{Gains, Metric};
use super::paired::{Seed, sign_flip_p, spread};
use super::run::Run;
use super::verdict::{Method, Row, Rule, Statistics};

/// Values of one arm: for each judged query (bytewise ascending) one value a metric.
pub type Values = Vec<Vec<f64>>;

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// A row for each rule, in the same order.
    pub rows: Vec<Row>,
    pub candidate: Values,
    pub baseline: Option<Values>,
    /// Judged queries that the candidate's and the baseline's run do not name.
    pub missing: (usize, usize),
    /// Queries that the file or a run names and nobody judged.
    pub unjudged: usize,
    /// Judged queries without a relevant document.
    pub without_relevant: usize,
}

/// Measures both arms. Seeds derive from `inputs`, the digest of what the run saw.
pub fn compare(
    dataset: &Dataset,
    rules: &[Rule],
    statistics: &Statistics,
    inputs: &str,
    candidate: &Run,
    baseline: Option<&Run>,
) -> Comparison {
    let metrics: Vec<Metric> = rules.iter().map(Rule::metric).collect();
    let candidate_values = values(dataset, &metrics, candidate);
    let baseline_values = baseline.map(|run| values(dataset, &metrics, run));
    let testable: Vec<bool> = dataset.judged().map(|(_, judgments)| judgments.relevant() > 0).collect();
    let row = |(i, rule): (usize, &Rule)| {
        let c = column(&candidate_values, i);
        let b = baseline_values.as_ref().map(|values| column(values, i));
        row(&c, b.as_deref(), &testable, rule, statistics, inputs)
    };
    let rows = rules.iter().enumerate().map(row).collect();
    let missing = |run: &Run| dataset.judged().filter(|(query, _)| run.list(query).is_none()).count();
    Comparison {
        rows,
        missing: (missing(candidate), baseline.map_or(0, missing)),
        unjudged: unjudged(dataset, candidate, baseline),
        without_relevant: testable.iter().filter(|t| !**t).count(),
        candidate: candidate_values,
        baseline: baseline_values,
    }
}

fn values(dataset: &Dataset, metrics: &[Metric], run: &Run) -> Values {
    let of_query = |(query, judgments)| {
        let list = run.list(query).unwrap_or_default();
        let gains = Gains::of(judgments, list.iter().map(|hit| hit.document.as_str()));
        metrics.iter().map(|metric| metric.value(&gains)).collect()
    };
    dataset.judged().map(of_query).collect()
}

fn column(values: &Values, metric: usize) -> Vec<f64> {
    values.iter().filter_map(|of_query| of_query.get(metric).copied()).collect()
}

fn unjudged(dataset: &Dataset, candidate: &Run, baseline: Option<&Run>) -> usize {
    let judged: BTreeSet<&str> = dataset.judged().map(|(query, _)| query).collect();
    let named = dataset.unjudged().chain(candidate.queries()).chain(baseline.into_iter().flat_map(Run::queries));
    named.filter(|query| !judged.contains(query)).collect::<BTreeSet<_>>().len()
}

fn row(
    candidate: &[f64],
    baseline: Option<&[f64]>,
    testable: &[bool],
    rule: &Rule,
    statistics: &Statistics,
    inputs: &str,
) -> Row {
    let Some(baseline) = baseline else { return Row::absolute(candidate.len() as u64, rounded(mean(candidate))) };
    let differences: Vec<f64> =
        candidate.iter().zip(baseline).zip(testable).filter(|(_, t)| **t).map(|((c, b), _)| c - b).collect();
    let spread = spread(&differences, statistics.alpha);
    let p = rule
        .margin()
        .filter(|_| statistics.method == Method::PairedSignFlip)
        .and_then(|margin| sign_flip_p(&differences, margin, Seed::of(inputs, &rule.metric().to_string())));
    Row {
        n: differences.len() as u64,
        candidate: rounded(mean(candidate)),
        baseline: Some(rounded(mean(baseline))),
        sd: spread.and_then(|s| s.sd).map(rounded),
        lower: spread.and_then(|s| s.bounds).map(|(lower, _)| rounded(lower)),
        upper: spread.and_then(|s| s.bounds).map(|(_, upper)| rounded(upper)),
        p: p.map(rounded),
        nonzero: spread.map(|s| s.nonzero as u64),
        min: spread.map(|s| rounded(s.min)),
    }
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Six decimals; never minus zero.
fn rounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::dataset::Files;
    use crate::evaluation::run::Hit;

    fn dataset() -> Dataset {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::config_map(dir.path());
        let queries: String = ["q1", "q2", "q3", "q4", "q5", "q9"]
            .iter()
            .map(|q| format!("{{\"_id\":\"{q}\",\"text\":\"t\"}}\n"))
            .collect();
        std::fs::write(&files.queries, queries).unwrap();
        let qrels = "query-id\tcorpus-id\tscore\nq1\td1\t3\nq1\td2\t2\nq1\td3\t1\nq1\td4\t0\nq2\ta\t1\nq2\tb\t1\nq2\tc\t0\n\
            q3\tx\t0\nq3\ty\t0\nq4\tm\t1\nq5\tn\t2\nq5\to\t-1\nq5\tp\t1\n";
        std::fs::write(&files.qrels, qrels).unwrap();
        Dataset::read(&files).unwrap()
    }

    fn run(lists: &[(&str, &[(&str, f64)])]) -> Run {
        let mut run = Run::default();
        for (query, hits) in lists {
            let hits = hits.iter().map(|(d, s)| Hit { document: (*d).to_owned(), score: *s }).collect();
            run.insert((*query).to_owned(), hits);
        }
        run
    }

    fn golden_run() -> Run {
        run(&[
            ("q1", &[("d4", 0.9), ("d1", 0.8), ("zz", 0.7), ("d3", 0.6)]),
            ("q2", &[("a", 0.5), ("b", 0.5), ("c", 0.5)]),
            ("q3", &[("x", 0.5)]),
            ("q5", &[("o", 0.9), ("n", 0.800_000_000_1), ("p", 0.800_000_000_2)]),
            ("q6", &[("n", 0.8)]),
        ])
    }

    fn rule(name: &str) -> Rule {
        Rule::new(name, Some(0.05), None, None, true).unwrap()
    }

    #[test]
    fn means_equal_those_of_trec_eval_and_odd_queries_are_counted() {
        let rules = [rule("ndcg@3"), rule("map")];
        let found = compare(&dataset(), &rules, &Statistics::default(), "i", &golden_run(), None);
        let means: Vec<f64> = found.rows.iter().map(|r| (r.candidate * 1e4).round() / 1e4).collect();
        assert_eq!(means, [0.3422, 0.3]);
        assert_eq!(found.rows[0].n, 5);
        assert_eq!(found.missing, (1, 0));
        assert_eq!(found.unjudged, 2, "q9 of the file and q6 of the run");
        assert_eq!(found.without_relevant, 1);
        assert_eq!(found.candidate.len(), 5);
    }

    #[test]
    fn the_paired_test_leaves_out_queries_without_a_relevant_document() {
        let baseline = run(&[("q1", &[("d1", 1.0)]), ("q3", &[("y", 1.0)])]);
        let rules = [rule("success@1")];
        let found = compare(&dataset(), &rules, &Statistics::default(), "i", &golden_run(), Some(&baseline));
        let row = found.rows[0];
        assert_eq!((row.n, row.candidate, row.baseline), (4, 0.0, Some(0.2)));
        assert_eq!((row.nonzero, row.min), (Some(1), Some(-1.0)));
        assert_eq!(row.difference().map(|d| (d * 1e6).round() / 1e6), Some(-0.25));
        assert!(row.p.unwrap() > 0.5);
        let plain = Statistics { method: Method::PairedT, ..Statistics::default() };
        let found = compare(&dataset(), &rules, &plain, "i", &golden_run(), Some(&baseline));
        assert_eq!(found.rows[0].p, None);
    }

    #[test]
    fn equal_inputs_give_equal_bits() {
        let baseline = run(&[("q1", &[("d1", 1.0)])]);
        let rules = [rule("ndcg@10"), rule("mrr")];
        let once = || compare(&dataset(), &rules, &Statistics::default(), "i", &golden_run(), Some(&baseline));
        assert_eq!(format!("{:?}", once()), format!("{:?}", once()));
    }

    #[test]
    fn a_difference_of_nothing_is_plain_zero() {
        let rules = [rule("ndcg@10")];
        let same = golden_run();
        let row = compare(&dataset(), &rules, &Statistics::default(), "i", &same, Some(&same)).rows[0];
        assert_eq!(format!("{:?} {:?} {:?}", row.lower, row.upper, row.sd), "Some(0.0) Some(0.0) Some(0.0)");
        assert_eq!(rounded(-1e-9).to_bits(), 0.0_f64.to_bits());
    }
}
