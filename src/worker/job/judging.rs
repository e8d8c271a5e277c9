//! What a gate judges by, checked: its rules, its statistics, its slices, and how answers are counted.
//!
//! Why here: the pod measures and the operator judges by the same reading of a gate, and the command line does both.
//!
//! Invariant: what the API server checks is said again, for files and for objects that were stored before a rule was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::gate::{Compat, Method, Metric, Missing, RetrievalGate, Slices, Statistics};
use crate::evaluation::dataset::Dataset;
use crate::evaluation::{reach, verdict};

/// How answers are read before metrics see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counting {
    pub ignore_identical_ids: bool,
    pub missing: Missing,
    pub compat: Compat,
}

impl Counting {
    /// Of a gate.
    pub fn of(gate: &RetrievalGate) -> Self {
        Self { ignore_identical_ids: gate.ignore_identical_ids, missing: gate.missing, compat: gate.compat }
    }
}

/// Most metrics of a gate: a receipt has room for no more.
pub const MAX_METRICS: usize = 8;

/// The rules of a gate, checked: what the API server checks too, said again for files and stored objects.
pub fn rules(metrics: &[Metric]) -> Result<Vec<verdict::Rule>, String> {
    distinct(metrics)?.into_iter().map(|rule| rule.demanding().map_err(|e| e.to_string())).collect()
}

/// A rule a metric, some of which may only be reported.
fn distinct(metrics: &[Metric]) -> Result<Vec<verdict::Rule>, String> {
    if metrics.is_empty() || metrics.len() > MAX_METRICS {
        return Err(format!("metrics must have 1 to {MAX_METRICS} entries; got {}", metrics.len()));
    }
    let mut rules: Vec<verdict::Rule> = Vec::with_capacity(metrics.len());
    for m in metrics {
        let rule = rule(m)?;
        if rules.iter().any(|r| r.metric() == rule.metric()) {
            return Err(format!("metrics must have unique names; `{}` stands twice", m.name));
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// What must hold of one metric, checked.
pub fn rule(metric: &Metric) -> Result<verdict::Rule, String> {
    let margin = match (metric.margin, metric.relative_margin) {
        (Some(drop), None) => Some(verdict::Margin::Absolute(drop)),
        (None, Some(share)) => Some(verdict::Margin::Relative(share)),
        (None, None) => None,
        (Some(_), Some(_)) => {
            return Err(format!("{}: margin and relativeMargin exclude each other; remove one", metric.name));
        }
    };
    let wanted = verdict::Wanted {
        margin,
        floor: metric.floor,
        confident: metric.confident,
        max: metric.max,
        required: metric.required,
    };
    verdict::Rule::new(&metric.name, wanted).map_err(|e| e.to_string())
}

/// How a gate judges, checked.
pub fn judging(statistics: &Statistics) -> Result<verdict::Statistics, String> {
    let method = match statistics.method {
        Method::PairedSignFlip => verdict::Method::PairedSignFlip,
        Method::PairedT => verdict::Method::PairedT,
        Method::BoundedMean => verdict::Method::BoundedMean,
    };
    verdict::Statistics::new(method, statistics.alpha, statistics.cluster_by.clone()).map_err(|e| e.to_string())
}

/// The slices of a gate, checked.
pub fn slice_rules(slices: &Slices, rules: &[verdict::Rule]) -> Result<verdict::SliceRules, String> {
    let least = u64::try_from(slices.min_queries).unwrap_or(0);
    verdict::SliceRules::new(slices.by.clone(), least, slices.worst_group_floor, slices.required.clone(), rules)
        .map_err(|e| e.to_string())
}

/// What is worse than it was when the revision was promoted, in words; `None`: nothing. Only required metrics with a
/// margin are compared. `now`: the mean of a metric in this run.
pub fn worse_than_at_promotion(
    metrics: &[Metric],
    then: &BTreeMap<String, f64>,
    now: impl Fn(&str) -> Option<f64>,
) -> Option<String> {
    let worse = |metric: &Metric| {
        let (then, now) = (*then.get(&metric.name)?, now(&metric.name)?);
        let allowed = metric.margin.or_else(|| metric.relative_margin.map(|share| share * then))?;
        let drop = then - now;
        (drop > allowed).then(|| {
            format!(
                "{} was {then:.4} when the revision was promoted and is {now:.4} now on the same queries, a drop of \
                 {drop:.4}; at most {allowed:.4} is allowed.",
                metric.name
            )
        })
    };
    let told: Vec<String> = metrics.iter().filter(|metric| metric.required).filter_map(worse).collect();
    (!told.is_empty()).then(|| told.join(" "))
}

/// What can be said of a comparison before there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// Fewest units (queries, with `clusterBy` clusters) in the paired test of a required metric with a margin; `None`:
    /// there is none.
    pub tested: Option<u64>,
    pub advice: Option<String>,
}

/// Everything that a retrieval gate judges by, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Judging {
    pub rules: Vec<verdict::Rule>,
    pub statistics: verdict::Statistics,
    pub slices: Option<verdict::SliceRules>,
    pub max_cumulative_drop: Option<f64>,
}

impl Judging {
    /// Of a gate as it is written; a field that is wrong is named.
    pub fn of(
        metrics: &[Metric],
        statistics: &Statistics,
        slices: Option<&Slices>,
        most: Option<f64>,
    ) -> Result<Self, (&'static str, String)> {
        let rules = rules(metrics).map_err(|problem| ("metrics", problem))?;
        let slices = slices.map(|slices| slice_rules(slices, &rules)).transpose();
        if let Some(found) = most.filter(|most| !(0.000_001..=1.0).contains(most)) {
            return Err(("maxCumulativeDrop", format!("write a number above 0, at most 1; got {found}")));
        }
        if most.is_some() && rules.iter().all(|rule| rule.margin().is_none()) {
            let text = "it limits metrics with a margin, and there is none; give one a margin, or remove it";
            return Err(("maxCumulativeDrop", text.to_owned()));
        }
        Ok(Self {
            statistics: judging(statistics).map_err(|problem| ("statistics", problem))?,
            slices: slices.map_err(|problem| ("slices", problem))?,
            rules,
            max_cumulative_drop: most,
        })
    }

    /// Of metrics that are asked for on the command line: unlike in a gate, a metric may demand nothing. Everything else is
    /// the default.
    pub fn of_metrics(metrics: &[Metric]) -> Result<Self, String> {
        let (rules, statistics) = (distinct(metrics)?, judging(&Statistics::default())?);
        Ok(Self { rules, statistics, slices: None, max_cumulative_drop: None })
    }

    /// What a data set is too small for, said before any run. `compared`: whether there will be a baseline.
    pub fn advice(&self, dataset: &Dataset, compared: bool) -> Foreseen {
        let alpha = self.statistics.alpha;
        let (whole, slices) = reach::reaches(dataset, &self.criteria());
        let of_slices = self.slices.iter().flat_map(|rules| verdict::slice_advice(&slices, rules, alpha));
        let said: Vec<String> =
            verdict::advice(&whole, alpha).into_iter().chain(of_slices).filter(|_| compared).collect();
        Foreseen {
            tested: whole.iter().map(verdict::Reach::units).min(),
            advice: (!said.is_empty()).then(|| said.join("; ")),
        }
    }

    /// As the verdict reads it.
    pub fn criteria(&self) -> verdict::Criteria<'_> {
        verdict::Criteria {
            rules: &self.rules,
            statistics: &self.statistics,
            slices: self.slices.as_ref(),
            max_cumulative_drop: self.max_cumulative_drop,
        }
    }
}
