//! From numbers to Pass, Fail, Inconclusive or Error: one pure function.
//!
//! Why only plain numbers come in: the operator judges what a receipt carries, the command line what it just
//! measured, and both must say the same.
//!
//! Invariants: the first rule that matches decides; what is missing or no number never passes; a measurement
//! that was to be compared and has no baseline never passes; p can only take a Pass away.

use std::fmt;

use super::metric::{Metric, UnknownMetric};
use super::paired::{certifiable_margin, floor_queries, power_queries};

/// Fewest queries of any comparison.
const LEAST_QUERIES: u64 = 10;
/// Share of the queries that an arm must answer.
pub const LEAST_COVERAGE: f64 = 0.99;
/// With fewer non-zero differences, and one that is a lost query, no variance can be believed.
const SKEW_NONZERO: u64 = 5;
const SKEW_DROP: f64 = -0.5;
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

/// How a difference is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Bounds of Student's t, and a sign-flip test that can only take a Pass away.
    PairedSignFlip,
    /// The bounds alone.
    PairedT,
}

/// Method and one-sided error rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    pub method: Method,
    pub alpha: f64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { method: Method::PairedSignFlip, alpha: 0.05 }
    }
}

impl Statistics {
    /// Checks the error rate.
    pub fn new(method: Method, alpha: f64) -> Result<Self, RuleError> {
        if (0.001..=0.2).contains(&alpha) { Ok(Self { method, alpha }) } else { Err(RuleError::Alpha(alpha)) }
    }

    fn confidence_percent(&self) -> f64 {
        ((1.0 - self.alpha) * 1e4).round() / 1e2
    }
}

/// What must hold of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    metric: Metric,
    /// Largest acceptable drop against the baseline.
    pub margin: Option<f64>,
    /// Least mean of the candidate.
    pub floor: Option<f64>,
    /// Largest mean of the candidate.
    pub max: Option<f64>,
    /// Whether the gate's verdict depends on it.
    pub required: bool,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    #[error(transparent)]
    Metric(#[from] UnknownMetric),
    #[error("{metric}: margin must be at least 0.000001 and at most 1; got {found}")]
    Margin { metric: Metric, found: f64 },
    #[error("{metric}: {field} must lie between 0 and 1; got {found}")]
    Share { metric: Metric, field: &'static str, found: f64 },
    #[error("{0}: at least one of margin, floor and max must be set")]
    Nothing(Metric),
    #[error("alpha must lie between 0.001 and 0.2; got {0}")]
    Alpha(f64),
}

impl Rule {
    /// Checks a rule as a user wrote it.
    pub fn new(
        name: &str,
        margin: Option<f64>,
        floor: Option<f64>,
        max: Option<f64>,
        required: bool,
    ) -> Result<Self, RuleError> {
        let metric: Metric = name.parse()?;
        if let Some(found) = margin.filter(|m| !(0.000_001..=1.0).contains(m)) {
            return Err(RuleError::Margin { metric, found });
        }
        for (field, value) in [("floor", floor), ("max", max)] {
            if let Some(found) = value.filter(|x| !(0.0..=1.0).contains(x)) {
                return Err(RuleError::Share { metric, field, found });
            }
        }
        if margin.is_none() && floor.is_none() && max.is_none() {
            return Err(RuleError::Nothing(metric));
        }
        Ok(Self { metric, margin, floor, max, required })
    }

    /// The metric.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// What must hold, in words.
    pub fn in_words(&self) -> String {
        let part = |words: &str, x: Option<f64>| x.map(|x| format!("{words} {x}"));
        let parts = [part("drop at most", self.margin), part("at least", self.floor), part("at most", self.max)];
        let mut words = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if !self.required {
            words.push_str(" (reported only)");
        }
        words
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
    Judged::new(Reason::NoData, format!("{} has no number: nothing was measured.", rule.metric))
}

/// Judges one metric. `compared`: whether the run was to be compared with a baseline.
pub fn judge_metric(rule: &Rule, row: &Row, compared: bool, statistics: &Statistics) -> Judged {
    if row.n == 0 || !row.candidate.is_finite() {
        return no_data(rule);
    }
    let (name, n, mean) = (rule.metric, row.n, row.candidate);
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

/// One metric against its margin.
struct Comparing<'a> {
    rule: &'a Rule,
    row: &'a Row,
    margin: f64,
    statistics: &'a Statistics,
}

impl Comparing<'_> {
    fn judge(&self) -> Judged {
        let (row, margin) = (self.row, self.margin);
        let too_few =
            || self.undecided(Reason::TooFewQueries, format!("{} queries are too few for a margin of {margin}", row.n));
        if row.n < LEAST_QUERIES {
            return too_few();
        }
        let Some((lower, upper, difference)) = self.finite_bounds() else { return no_data(self.rule) };
        if upper < -margin || (upper < 0.0 && difference <= -margin) {
            let meaning = format!("a proven regression, a drop of at most {margin} is allowed");
            return self.decided(Reason::RegressionProven, &meaning);
        }
        if floor_queries(margin, self.statistics.alpha).is_none_or(|floor| row.n < floor) {
            return too_few();
        }
        if let Some(why) = self.skew() {
            return self.undecided(Reason::Underpowered, why);
        }
        if lower >= -margin && self.test_agrees() {
            return if lower > 0.0 {
                self.decided(Reason::Superior, "better than the baseline")
            } else {
                self.decided(Reason::NonInferior, &format!("a drop of more than {margin} is ruled out"))
            };
        }
        if difference < -margin {
            let why = format!("the drop is beyond the margin of {margin}, but noise could have made it");
            return self.undecided(Reason::WorseWithinNoise, why);
        }
        self.undecided(Reason::Underpowered, format!("a drop of more than {margin} is neither proven nor ruled out"))
    }

    /// Bounds and difference, when every number that the rules read is there.
    fn finite_bounds(&self) -> Option<(f64, f64, f64)> {
        let row = self.row;
        let all = [row.baseline, row.sd, row.lower, row.upper, row.min];
        let complete = row.nonzero.is_some() && all.iter().all(|x| x.is_some_and(f64::is_finite));
        let bounds = row.lower.zip(row.upper).zip(row.difference()).filter(|_| complete);
        bounds.map(|((lower, upper), difference)| (lower, upper, difference))
    }

    /// A sample with hardly a change and a lost query among them has no variance to believe.
    fn skew(&self) -> Option<String> {
        let (nonzero, min) = self.row.nonzero.zip(self.row.min)?;
        (nonzero < SKEW_NONZERO && min <= SKEW_DROP).then(|| {
            format!("only {nonzero} queries changed and one lost {:.2}: too few changes to trust the bounds", -min)
        })
    }

    fn test_agrees(&self) -> bool {
        match self.statistics.method {
            Method::PairedSignFlip => self.row.p.is_some_and(|p| p <= self.statistics.alpha),
            Method::PairedT => true,
        }
    }

    /// "ndcg@10 changed by -0.0612 (candidate .., baseline .., between .. and ..)".
    fn numbers(&self) -> String {
        let or_none = |x: Option<f64>| x.map_or_else(|| "none".to_owned(), |x| format!("{x:.4}"));
        let row = self.row;
        let bounds = match (row.lower, row.upper) {
            (Some(lower), Some(upper)) => {
                let percent = self.statistics.confidence_percent();
                format!(", {percent} % bounds {lower:+.4} and {upper:+.4}")
            }
            (None, _) | (_, None) => String::new(),
        };
        let difference = row.difference().map_or_else(|| "by an unknown amount".to_owned(), |d| format!("by {d:+.4}"));
        format!(
            "{} changed {difference} (candidate {:.4}, baseline {}{bounds}, n={})",
            self.rule.metric,
            row.candidate,
            or_none(row.baseline),
            row.n
        )
    }

    fn decided(&self, reason: Reason, meaning: &str) -> Judged {
        Judged::new(reason, format!("{}: {meaning}.", self.numbers()))
    }

    fn undecided(&self, reason: Reason, why: String) -> Judged {
        let (row, margin, alpha) = (self.row, self.margin, self.statistics.alpha);
        let floor = floor_queries(margin, alpha).unwrap_or(0).max(LEAST_QUERIES);
        let by_power = row.sd.and_then(|sd| power_queries(sd, margin, 0.0, alpha)).unwrap_or(0);
        let required = by_power.max(floor);
        let certifiable = certifiable_margin(row.n, alpha, row.lower);
        let need = if row.n < required {
            format!("{required} queries would decide if the true difference is 0")
        } else {
            self.need_at_the_measured_difference(required)
        };
        let sentence = format!(
            "{}: {why}. {need}; this run could have passed a margin of {certifiable:.4} at best.",
            self.numbers()
        );
        Judged { reason, sentence, required_queries: Some(required) }
    }

    /// The run already had what a true difference of 0 needs, so that assumption tells nothing.
    fn need_at_the_measured_difference(&self, required: u64) -> String {
        let (row, alpha) = (self.row, self.statistics.alpha);
        let at_measured = row.sd.zip(row.difference()).and_then(|(sd, d)| power_queries(sd, self.margin, d, alpha));
        match at_measured.filter(|more| *more > row.n) {
            Some(more) => format!(
                "{required} queries would decide if the true difference were 0, {more} if it is the measured one"
            ),
            None => format!("{required} queries would decide if the true difference were 0"),
        }
    }
}

/// A sentence when a query set is too small for its margins: for status and command line, before any run.
pub fn advice(queries: u64, margins: &[f64], alpha: f64) -> Option<String> {
    let tightest = margins.iter().copied().filter(|m| *m > 0.0).min_by(f64::total_cmp)?;
    let needed = floor_queries(tightest, alpha)?.max(LEAST_QUERIES);
    if queries >= needed {
        return None;
    }
    let missing = needed.saturating_sub(queries);
    if queries < LEAST_QUERIES {
        return Some(format!("{queries} queries can certify no margin; add {missing} queries"));
    }
    let best = certifiable_margin(queries, alpha, None);
    let at_best = significant_up(best, 2);
    let at_best = at_best.strip_prefix('0').unwrap_or(&at_best);
    let margin = significant_up(best, 1);
    Some(format!(
        "{queries} queries can certify a margin of {at_best} at best; set margin {margin} or add {missing} queries"
    ))
}

/// Rounded up to so many significant digits, so that what is advised can be certified. For 0 < x <= 1.
fn significant_up(x: f64, digits: i32) -> String {
    let decimals = digits.saturating_sub(1).saturating_sub(x.log10().floor() as i32).max(0);
    let scale = 10_f64.powi(decimals);
    let up = ((x * scale) - 1e-9).ceil() / scale;
    format!("{up:.*}", usize::try_from(decimals).unwrap_or(0))
}

#[cfg(test)]
mod tests;
