//! What a run tells beside its metrics: how alike both arms answer, how much of the order is chance, what was left out.
//!
//! Invariant: nothing here enters a verdict.

use std::collections::BTreeMap;

use serde::Serialize;

use super::doubts;
use super::measure::Answered;
use super::plan::Gate;
use crate::evaluation::compare::Comparison;
use crate::evaluation::dataset::Dataset;
use crate::evaluation::likeness::{DEPTH, likeness};
use crate::evaluation::metric::{Gains, Metric};
use crate::evaluation::mixed::{self, MOST_CONTAMINATION, Means};
use crate::evaluation::run::Run;
use crate::evaluation::silhouette::{Lowest, Silhouette};
use crate::evaluation::verdict::SliceRules;

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
    /// Share of the first ten documents that are of another domain than their query.
    #[serde(rename = "contamination@10", skip_serializing_if = "Option::is_none")]
    contamination: Option<Contaminated>,
    /// How far the domains of the documents lie apart, seen by their vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    silhouette: Option<Silhouettes>,
    /// For each key of the slices and each metric.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    means: Vec<MeansOf>,
    /// What deserves a look; nothing follows from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
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

/// Of each arm; absent where no label is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Contaminated {
    candidate: Option<Share>,
    baseline: Option<Share>,
}

/// Of each arm; absent where no two domains are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Silhouettes {
    candidate: Option<Silhouette>,
    baseline: Option<Silhouette>,
}

/// A share, and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Share {
    share: f64,
    hits: usize,
}

/// The mean of the queries beside that of the slices of a key.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct MeansOf {
    key: String,
    metric: String,
    candidate: Pair,
    baseline: Option<Pair>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pair {
    micro: f64,
    #[serde(rename = "macro")]
    macro_: f64,
    macro_micro_gap: f64,
}

impl From<Means> for Pair {
    fn from(means: Means) -> Self {
        let Means { micro, macro_ } = means;
        Self { micro: rounded(micro), macro_: rounded(macro_), macro_micro_gap: rounded(means.gap()) }
    }
}

impl Facts {
    /// Looks at the lists and values of both arms.
    pub fn of(
        dataset: &Dataset,
        gate: &Gate,
        of_candidate: &Answered,
        of_baseline: Option<&Answered>,
        comparison: &Comparison,
    ) -> Self {
        let (candidate, baseline) = (&of_candidate.run, of_baseline.map(|answered| &answered.run));
        let contamination = contamination(dataset, of_candidate, of_baseline);
        let (means, opposed) = means(dataset, gate, comparison);
        let (silhouette, unknown) = silhouettes(of_candidate, of_baseline);
        let likeness = likeness(dataset, candidate, baseline);
        let compared = likeness.baseline;
        let doubts = doubts::of(dataset, gate, of_candidate, of_baseline, compared.map(|c| c.overlap));
        let of_domains = contamination.iter().flat_map(Contaminated::warnings).chain(opposed).chain(unknown);
        let not_compared = gate.not_compared(baseline.is_some());
        let warnings = not_compared.into_iter().chain(doubts).chain(of_domains).collect();
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
            contamination,
            silhouette,
            means,
            warnings,
            left_out: dataset.left_out().len(),
            without_nuggets: nuggets.then(|| dataset.judged_count().saturating_sub(dataset.with_nuggets())),
        }
    }

    /// What deserves a look, in sentences.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Everything that is told of domains and slices, for people: a line each.
    pub fn of_domains(&self) -> Vec<String> {
        let told = |share: Option<Share>| {
            share.map_or_else(|| "unknown".to_owned(), |s| format!("{:.4} of {} documents", s.share, s.hits))
        };
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.contamination.map(|found| {
            let baseline = found.baseline.map(|share| format!(" (baseline {})", told(Some(share))));
            format!("contamination@10 {}{}", told(found.candidate), baseline.unwrap_or_default())
        }));
        lines.extend(self.silhouette.iter().map(Silhouettes::in_words));
        lines.extend(self.means.iter().map(|found| {
            let pair = |p: Pair| {
                format!("of queries {:.4}, of slices {:.4}, macroMicroGap {:+.4}", p.micro, p.macro_, p.macro_micro_gap)
            };
            let baseline = found.baseline.map(|baseline| format!("; baseline {}", pair(baseline)));
            let (metric, key) = (&found.metric, &found.key);
            format!("{metric} by {key}: mean {}{}", pair(found.candidate), baseline.unwrap_or_default())
        }));
        lines
    }

    /// One line for people.
    pub fn in_words(&self) -> String {
        let of_arms = |of: &OfArms| match (of.candidate, of.baseline) {
            (None, None) => format!("unknown (no list has more than {DEPTH} documents)"),
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

impl Silhouettes {
    fn in_words(&self) -> String {
        let told = |Silhouette { documents, mean, lowest: Lowest { domain, mean: least } }: &Silhouette| {
            // Quoted, so that a name of several lines makes no line of its own.
            format!("{mean:+.4} of {documents} documents, lowest {domain:?} {least:+.4}")
        };
        let baseline = self.baseline.as_ref().map(|found| format!(" (baseline {})", told(found)));
        let candidate = self.candidate.as_ref().map_or_else(|| "unknown".to_owned(), told);
        format!("silhouette by domain {candidate}{}", baseline.unwrap_or_default())
    }
}

impl Contaminated {
    fn warnings(&self) -> Vec<String> {
        let arms = [("candidate", self.candidate), ("baseline", self.baseline)];
        let high = arms.into_iter().filter_map(|(arm, share)| Some((arm, share?)));
        high.filter(|(_, found)| found.share > MOST_CONTAMINATION)
            .map(|(arm, found)| {
                format!(
                    "{:.0} % of the first ten documents of the {arm} are of another domain than their query, more than \
                     {:.0} %.",
                    found.share * 100.0,
                    MOST_CONTAMINATION * 100.0
                )
            })
            .collect()
    }
}

/// `None`: no arm has a document and a query of a known domain.
fn contamination(dataset: &Dataset, candidate: &Answered, baseline: Option<&Answered>) -> Option<Contaminated> {
    let share = |answered: &Answered| {
        let found = mixed::contamination(dataset, &answered.run, &answered.domains)?;
        Some(Share { share: rounded(found.share), hits: found.hits })
    };
    let found = Contaminated { candidate: share(candidate), baseline: baseline.and_then(share) };
    (found.candidate.is_some() || found.baseline.is_some()).then_some(found)
}

/// `None`: no arm tells one. And why not, where one was asked.
fn silhouettes(candidate: &Answered, baseline: Option<&Answered>) -> (Option<Silhouettes>, Vec<String>) {
    let of = |answered: &Answered| {
        let Silhouette { documents, mean, lowest } = answered.silhouette.as_ref().ok()?.clone()?;
        let lowest = Lowest { mean: rounded(lowest.mean), ..lowest };
        Some(Silhouette { documents, mean: rounded(mean), lowest })
    };
    let found = Silhouettes { candidate: of(candidate), baseline: baseline.and_then(of) };
    let arms = [("candidate", Some(candidate)), ("baseline", baseline)];
    let unknown = arms.into_iter().filter_map(|(name, arm)| {
        let why = arm?.silhouette.as_ref().err()?;
        Some(format!("How far the domains of the {name} lie apart is not known: {why}."))
    });
    let told = found.candidate.is_some() || found.baseline.is_some();
    (told.then_some(found), unknown.collect())
}

/// The means of each key and metric, and what is said where they moved apart.
fn means(dataset: &Dataset, gate: &Gate, comparison: &Comparison) -> (Vec<MeansOf>, Vec<String>) {
    let metrics: Vec<Metric> = gate.judging.rules.iter().map(|rule| rule.metric()).collect();
    let (mut found, mut opposed) = (Vec::new(), Vec::new());
    for key in gate.judging.slices.as_ref().map(SliceRules::by).unwrap_or_default() {
        let of_candidate = mixed::means(dataset, key, &metrics, &comparison.candidate);
        let of_baseline = comparison.baseline.as_ref().map(|values| mixed::means(dataset, key, &metrics, values));
        for (i, metric) in metrics.iter().enumerate() {
            let Some(candidate) = of_candidate.get(i).copied().flatten() else { continue };
            let baseline = of_baseline.as_ref().and_then(|means| means.get(i).copied().flatten());
            if let Some(baseline) = baseline.filter(|baseline| mixed::opposed(candidate, *baseline)) {
                opposed.push(format!(
                    "{metric} by {key}: the mean of the queries changed by {:+.4}, that of the slices by {:+.4}; large and \
                     small slices moved apart.",
                    candidate.micro - baseline.micro,
                    candidate.macro_ - baseline.macro_
                ));
            }
            let (key, metric) = (key.clone(), metric.to_string());
            found.push(MeansOf { key, metric, candidate: candidate.into(), baseline: baseline.map(Pair::from) });
        }
    }
    (found, opposed)
}

fn mean_residual(dataset: &Dataset, metric: Metric, run: &Run) -> Option<f64> {
    let of_query = |(query, judgments)| {
        let list = run.list(query).unwrap_or_default();
        metric.residual(&Gains::of_list(judgments, list, None))
    };
    let residuals = dataset.judged().map(of_query).collect::<Option<Vec<f64>>>()?;
    let sum: f64 = residuals.iter().sum();
    (!residuals.is_empty()).then(|| rounded(sum / residuals.len() as f64))
}

fn rounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}
