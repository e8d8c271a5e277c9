//! What a run tells beside its metrics: how alike both arms answer, how much of the order is chance, what was left out.
//!
//! Invariant: nothing here enters a verdict.

use std::collections::BTreeMap;

use serde::Serialize;

use super::plan::Gate;
use crate::evaluation::dataset::Dataset;
use crate::evaluation::likeness::likeness;
use crate::evaluation::metric::{Gains, Metric};
use crate::evaluation::run::Run;

/// Facts of a run, as `--output json` prints them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Share of the lists in which a tie crosses rank 10.
    #[serde(rename = "tieRate@10")]
    tie_rate: OfArms,
    /// Share of the first ten documents that both arms have.
    #[serde(rename = "overlap@10")]
    overlap: Option<f64>,
    /// Rank-biased overlap of the first ten documents, p = 0.9.
    rbo: Option<f64>,
    /// For rank-biased precision: what the unjudged documents could add at most.
    residuals: BTreeMap<String, OfArms>,
    /// Judged queries left out because an arm did not answer.
    left_out: usize,
    /// Judged queries without a nugget, where a metric counts nuggets.
    without_nuggets: Option<usize>,
}

/// A number of each arm; absent where there is nothing to measure it on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct OfArms {
    candidate: Option<f64>,
    baseline: Option<f64>,
}

impl Facts {
    /// Looks at the lists of both arms.
    pub fn of(dataset: &Dataset, gate: &Gate, candidate: &Run, baseline: Option<&Run>) -> Self {
        let likeness = likeness(dataset, candidate, baseline);
        let compared = likeness.baseline;
        let metrics: Vec<Metric> = gate.judging.rules.iter().map(|rule| rule.metric()).collect();
        let residuals = metrics.iter().filter_map(|metric| {
            let of_candidate = mean_residual(dataset, *metric, candidate)?;
            let of_baseline = baseline.and_then(|run| mean_residual(dataset, *metric, run));
            Some((metric.to_string(), OfArms { candidate: Some(of_candidate), baseline: of_baseline }))
        });
        let nuggets = metrics.iter().any(|metric| metric.needs_nuggets());
        Self {
            tie_rate: OfArms {
                candidate: likeness.candidate_tie_rate.map(rounded),
                baseline: compared.and_then(|c| c.tie_rate).map(rounded),
            },
            overlap: compared.map(|c| rounded(c.overlap)),
            rbo: compared.map(|c| rounded(c.rbo)),
            residuals: residuals.collect(),
            left_out: dataset.left_out().len(),
            without_nuggets: nuggets.then(|| dataset.judged_count().saturating_sub(dataset.with_nuggets())),
        }
    }

    /// One line for people.
    pub fn in_words(&self) -> String {
        let of_arms = |of: &OfArms| match (of.candidate, of.baseline) {
            (None, None) => "unknown (no list is longer)".to_owned(),
            (candidate, baseline) => {
                let number = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.4}"));
                match baseline {
                    Some(_) => format!("{} (baseline {})", number(candidate), number(baseline)),
                    None => number(candidate),
                }
            }
        };
        let mut parts = vec![format!("tieRate@10 {}", of_arms(&self.tie_rate))];
        parts.extend(self.overlap.map(|x| format!("overlap@10 {x:.4}")));
        parts.extend(self.rbo.map(|x| format!("RBO {x:.4}")));
        parts.extend(self.residuals.iter().map(|(name, of)| format!("residual of {name} {}", of_arms(of))));
        parts.extend((self.left_out > 0).then(|| format!("{} queries left out", self.left_out)));
        parts.extend(self.without_nuggets.filter(|n| *n > 0).map(|n| format!("{n} queries without nuggets")));
        parts.join(", ")
    }
}

fn mean_residual(dataset: &Dataset, metric: Metric, run: &Run) -> Option<f64> {
    let of_query = |(query, judgments)| {
        let list = run.list(query).unwrap_or_default();
        metric.residual(&Gains::of(judgments, list.iter().map(|at| at.document)))
    };
    let residuals = dataset.judged().map(of_query).collect::<Option<Vec<f64>>>()?;
    let sum: f64 = residuals.iter().sum();
    (!residuals.is_empty()).then(|| rounded(sum / residuals.len() as f64))
}

fn rounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}
