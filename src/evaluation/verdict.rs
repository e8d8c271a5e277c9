//! From numbers to Pass, Fail, Inconclusive or Error: one pure function.
//!
//! Why only plain numbers come in: the operator judges what a receipt carries, the command line what it just
//! measured, and both must say the same.
//!
//! Invariants: the first rule that matches decides; what is missing or no number never passes; a measurement
//! that was to be compared and has no baseline never passes; p can only take a Pass away.

mod advice;
mod comparing;
mod rule;

use std::fmt;

pub use advice::advice;
pub use rule::{Method, Rule, RuleError, Statistics};

use comparing::Comparing;

/// Share of the queries that an arm must answer.
pub const LEAST_COVERAGE: f64 = 0.99;
/// Length of a gate's sentence, but for the note that there is more.
const MAX_SENTENCE_BYTES: usize = 1100;

/// Outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    Inconclusive,
    Error,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "Pass",
            Self::Fail => "Fail",
            Self::Inconclusive => "Inconclusive",
            Self::Error => "Error",
        })
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $word:ident: $verdict:ident),+ $(,)?) => {
        /// One word that says why.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $($(#[$doc])* $word),+ }

        impl Reason {
            /// Every word.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// The word as users read it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word)),+ }
            }

            /// The verdict that this word belongs to.
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$word => Verdict::$verdict),+ }
            }
        }
    };
}

reasons! {
    /// Better than the baseline, beyond noise.
    Superior: Pass,
    /// Not worse than the baseline by the margin, beyond noise.
    NonInferior: Pass,
    /// Nothing to compare with; floor and max hold.
    AbsoluteOnly: Pass,
    /// Nothing to compare with, and nothing else was asked.
    NoBaseline: Pass,
    /// Worse than the baseline, beyond noise.
    RegressionProven: Fail,
    FloorBreached: Fail,
    LimitExceeded: Fail,
    TooFewQueries: Inconclusive,
    /// The measured drop is beyond the margin, but noise could make it.
    WorseWithinNoise: Inconclusive,
    Underpowered: Inconclusive,
    /// The number is missing.
    NoData: Inconclusive,
    /// An arm left too many queries without an answer.
    LowCoverage: Error,
    /// The run saw another data set or another revision than planned.
    InputsChanged: Error,
    DatasetInvalid: Error,
    EndpointUnavailable: Error,
    SourceUnavailable: Error,
    JobFailed: Error,
    ReceiptRejected: Error,
    Timeout: Error,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The numbers of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Queries in the paired test; without a baseline the queries in the mean.
    pub n: u64,
    pub candidate: f64,
    pub baseline: Option<f64>,
    /// Sample standard deviation of the differences.
    pub sd: Option<f64>,
    /// One-sided bounds of the mean difference.
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    /// p of the sign-flip test against the margin.
    pub p: Option<f64>,
    /// Differences that are not 0.
    pub nonzero: Option<u64>,
    /// Smallest difference.
    pub min: Option<f64>,
}

impl Row {
    /// A row without a baseline.
    pub fn absolute(n: u64, candidate: f64) -> Self {
        Self { n, candidate, baseline: None, sd: None, lower: None, upper: None, p: None, nonzero: None, min: None }
    }

    /// Mean difference of the paired test: the bounds lie around it evenly.
    pub fn difference(&self) -> Option<f64> {
        self.lower.zip(self.upper).map(|(lower, upper)| f64::midpoint(lower, upper))
    }
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Queries asked.
    pub queries: u64,
    /// Queries that the candidate answered.
    pub candidate: u64,
    /// Queries that the baseline answered; `None`: the run was not to be compared with anything.
    pub baseline: Option<u64>,
}

/// Judgement of one metric or of a whole gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub reason: Reason,
    /// A sentence with the numbers.
    pub sentence: String,
    /// Queries that a verdict would need, where this run could not decide.
    pub required_queries: Option<u64>,
}

impl Judged {
    fn new(reason: Reason, sentence: String) -> Self {
        Self { reason, sentence, required_queries: None }
    }

    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.reason.verdict()
    }
}

/// Judgement of a gate and of each of its metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct GateJudged {
    pub gate: Judged,
    /// In the order of the rules; empty when the run could not measure.
    pub metrics: Vec<Judged>,
}

/// A run that could not measure.
pub fn error(reason: Reason, sentence: impl Into<String>) -> GateJudged {
    GateJudged { gate: Judged::new(reason, sentence.into()), metrics: Vec::new() }
}

/// Judges a run: a row for each rule, in the same order.
pub fn judge(coverage: &Coverage, rules: &[Rule], rows: &[Row], statistics: &Statistics) -> GateJudged {
    if let Some(sentence) = low_coverage(coverage) {
        return error(Reason::LowCoverage, sentence);
    }
    let compared = coverage.baseline.is_some();
    let metrics: Vec<Judged> = rules
        .iter()
        .enumerate()
        .map(|(i, rule)| match rows.get(i) {
            Some(row) => judge_metric(rule, row, compared, statistics),
            None => no_data(rule),
        })
        .collect();
    GateJudged { gate: whole(rules, &metrics), metrics }
}

fn low_coverage(coverage: &Coverage) -> Option<String> {
    let arms = [("candidate", Some(coverage.candidate)), ("baseline", coverage.baseline)];
    arms.into_iter().find_map(|(arm, answered)| {
        let answered = answered?;
        let low = (answered as f64) < LEAST_COVERAGE * coverage.queries as f64;
        low.then(|| {
            format!(
                "The {arm} answered {answered} of {} queries; at least {} % must be answered for a verdict.",
                coverage.queries,
                LEAST_COVERAGE * 100.0
            )
        })
    })
}

/// Fail before Inconclusive before Pass; of the passes the weakest evidence names the gate.
fn whole(rules: &[Rule], metrics: &[Judged]) -> Judged {
    let required: Vec<&Judged> =
        rules.iter().zip(metrics).filter(|(rule, _)| rule.required).map(|(_, judged)| judged).collect();
    for verdict in [Verdict::Error, Verdict::Fail, Verdict::Inconclusive] {
        let of_it: Vec<&Judged> = required.iter().copied().filter(|j| j.verdict() == verdict).collect();
        if let Some(first) = of_it.first() {
            return Judged {
                reason: first.reason,
                sentence: sentences(&of_it),
                required_queries: of_it.iter().filter_map(|j| j.required_queries).max(),
            };
        }
    }
    for reason in [Reason::NoBaseline, Reason::AbsoluteOnly, Reason::NonInferior] {
        if required.iter().any(|j| j.reason == reason) {
            return Judged::new(reason, sentences(&required));
        }
    }
    if required.is_empty() {
        return Judged::new(Reason::NoBaseline, "No metric is required, so nothing had to hold.".to_owned());
    }
    Judged::new(Reason::Superior, sentences(&required))
}

/// The sentences of the metrics, as many as fit into a status field.
fn sentences(judged: &[&Judged]) -> String {
    let mut text = String::new();
    for (i, one) in judged.iter().enumerate() {
        if !text.is_empty() && text.len().saturating_add(one.sentence.len()) > MAX_SENTENCE_BYTES {
            text.push_str(&format!(" ({} more in the table.)", judged.len().saturating_sub(i)));
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&one.sentence);
    }
    text
}

fn no_data(rule: &Rule) -> Judged {
    Judged::new(Reason::NoData, format!("{} has no number: nothing was measured.", rule.metric()))
}

/// Judges one metric. `compared`: whether the run was to be compared with a baseline.
pub fn judge_metric(rule: &Rule, row: &Row, compared: bool, statistics: &Statistics) -> Judged {
    if row.n == 0 || !row.candidate.is_finite() {
        return no_data(rule);
    }
    let (name, n, mean) = (rule.metric(), row.n, row.candidate);
    if let Some(floor) = rule.floor.filter(|floor| mean < *floor) {
        let text = format!("{name} is {mean:.4}, must be at least {floor} (n={n}).");
        return Judged::new(Reason::FloorBreached, text);
    }
    if let Some(max) = rule.max.filter(|max| mean > *max) {
        let text = format!("{name} is {mean:.4}, must be at most {max} (n={n}).");
        return Judged::new(Reason::LimitExceeded, text);
    }
    let has_limit = rule.floor.is_some() || rule.max.is_some();
    match rule.margin {
        Some(margin) if compared => Comparing { rule, row, margin, statistics }.judge(),
        Some(_) if !has_limit => {
            let text = format!("{name} is {mean:.4}; there is no baseline to compare with (n={n}).");
            Judged::new(Reason::NoBaseline, text)
        }
        Some(_) | None => {
            let text = format!("{name} is {mean:.4}, {} holds (n={n}).", limits(rule));
            Judged::new(Reason::AbsoluteOnly, text)
        }
    }
}

fn limits(rule: &Rule) -> String {
    Rule { margin: None, required: true, ..*rule }.in_words()
}

#[cfg(test)]
mod tests;
