//! From numbers to Pass, Fail, Inconclusive or Error: one pure function.
//!
//! Why only plain numbers come in: the operator judges what a receipt carries, the command line what it just
//! measured, and both must say the same.
//!
//! Layout: [`rule`] what must hold; [`evidence`] what was measured; [`comparing`] one metric against its margin;
//! [`slices`] groups of queries; [`advice`] what a set is too small for; [`soundness`] numbers that no sample has.
//!
//! Invariants: the first rule that matches decides; what contradicts itself is an Error, what is missing never passes; a
//! measurement that was to be compared and has no baseline never passes; p can only take a Pass away.

mod advice;
mod comparing;
mod evidence;
mod rule;
mod slices;
mod soundness;

use std::fmt;

pub use advice::{Reach, SliceReach, advice, slice_advice};
pub use comparing::best_margin;
pub use evidence::{Coverage, Evidence, MAX_SLICE_ROWS, Row, SliceRow, Unjudged, Worst};
pub use rule::{
    Criteria, Margin, Method, Rule, RuleError, SliceError, SliceRules, Statistics, Wanted, guarded, judged_by,
};
pub use slices::{SLICE_MARGINS, SliceJudged, is_required, judge_slice};

use comparing::Comparing;

/// Share of the queries that an arm must answer.
pub const LEAST_COVERAGE: f64 = 0.99;
/// Length of a gate's sentence, but for the note that there is more.
const MAX_SENTENCE_BYTES: usize = 900;

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
    /// Nothing was compared, and no floor or max was asked.
    NoBaseline: Pass,
    /// Worse than the baseline, beyond noise.
    RegressionProven: Fail,
    FloorBreached: Fail,
    LimitExceeded: Fail,
    /// Small losses since the anchor add up to more than is allowed.
    CumulativeDrop: Fail,
    /// A slice is worse than the baseline, beyond noise and the number of slices looked at.
    SliceRegression: Fail,
    /// The worst slice is below its floor.
    WorstGroupBreached: Fail,
    /// A scheduled run found the revision worse than it was when it was promoted.
    WorseThanAtPromotion: Fail,
    TooFewQueries: Inconclusive,
    /// The measured drop is beyond the margin, but noise could make it.
    WorseWithinNoise: Inconclusive,
    Underpowered: Inconclusive,
    /// The drop stands on documents that nobody judged.
    UnjudgedBias: Inconclusive,
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
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Judgement of one metric or of a whole gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub reason: Reason,
    /// A sentence with the numbers.
    pub sentence: String,
    /// Queries (with `clusterBy` clusters) that a verdict would need, where this run could not decide.
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

/// Judgement of a gate and of each of its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct GateJudged {
    pub gate: Judged,
    /// In the order of the rules; empty when the run could not measure.
    pub metrics: Vec<Judged>,
    /// In the order of the evidence; a required slice without a number stands behind them.
    pub slices: Vec<SliceJudged>,
    /// What fails at the floor of the worst slice; `None`: there is no floor, or it holds.
    pub worst: Option<Judged>,
}

/// A run that could not measure.
pub fn error(reason: Reason, sentence: impl Into<String>) -> GateJudged {
    GateJudged { gate: Judged::new(reason, sentence.into()), metrics: Vec::new(), slices: Vec::new(), worst: None }
}

/// Judges a run. Numbers that cannot come from any sample are judged by nothing.
pub fn judge(criteria: &Criteria<'_>, evidence: &Evidence) -> GateJudged {
    match soundness::unsound(criteria, evidence) {
        Some(what) => error(
            Reason::ReceiptRejected,
            format!("The numbers of the run contradict each other and do not count: {what}."),
        ),
        None => decide(criteria, evidence),
    }
}

/// The rules.
fn decide(criteria: &Criteria<'_>, evidence: &Evidence) -> GateJudged {
    if let Some(sentence) = evidence.coverage.low() {
        return error(Reason::LowCoverage, sentence);
    }
    let metrics: Vec<Judged> = (0..criteria.rules.len()).filter_map(|i| metric(criteria, evidence, i)).collect();
    let slices = slices::judge(criteria, evidence);
    let worst = slices::worst(criteria, evidence);
    let required = criteria.rules.iter().zip(&metrics).filter(|(rule, _)| rule.required()).map(|(_, judged)| judged);
    let passing: Vec<&Judged> = required.collect();
    let blocking = slices.iter().filter(|slice| slice.blocks).filter_map(|slice| slice.judged.as_ref());
    let all: Vec<&Judged> = passing.iter().copied().chain(blocking).chain(worst.as_ref()).collect();
    let mut gate = whole(&passing, &all);
    if gate.verdict() == Verdict::Pass
        && let Some(told) = slices::told(criteria, evidence)
    {
        gate.sentence = format!("{} {told}", gate.sentence);
    }
    GateJudged { gate, metrics, slices, worst }
}

/// Judges one metric over all queries; `None`: there is no such rule.
fn metric(criteria: &Criteria<'_>, evidence: &Evidence, i: usize) -> Option<Judged> {
    let rule = criteria.rules.get(i)?;
    let row = evidence.rows.get(i).filter(|row| row.n <= evidence.coverage.queries && row.is_sound());
    let Some(row) = row else { return Some(no_data(&rule.metric().to_string())) };
    if let Some(breach) = limits(&rule.metric().to_string(), rule, row) {
        return Some(breach);
    }
    let (name, n, mean) = (rule.metric(), row.n, row.candidate);
    Some(match (rule.margin(), rule.limits()) {
        (Some(margin), _) if evidence.coverage.baseline.is_some() => Comparing {
            subject: name.to_string(),
            row,
            margin: margin.against(row.baseline),
            statistics: criteria.statistics,
            unjudged: evidence.unjudged,
            judged_by: judged_by(criteria.rules).map(|(_, metric)| metric),
            cumulative: criteria
                .max_cumulative_drop
                .map(|most| (most, evidence.promoted.get(i).copied().unwrap_or(0.0))),
        }
        .judge(),
        (Some(_), None) => {
            let text = format!("{name} is {mean:.4}; there is no baseline to compare with (n={n}).");
            Judged::new(Reason::NoBaseline, text)
        }
        (Some(_) | None, Some(limits)) => {
            Judged::new(Reason::AbsoluteOnly, format!("{name} is {mean:.4}, {limits} holds (n={n})."))
        }
        (None, None) => {
            Judged::new(Reason::NoBaseline, format!("{name} is {mean:.4}; nothing was demanded of it (n={n})."))
        }
    })
}

/// Floor and max hold at any number of queries, or the metric fails. `name`: what is measured.
fn limits(name: &str, rule: &Rule, row: &Row) -> Option<Judged> {
    let (n, mean) = (row.n, row.candidate);
    if let Some(floor) = rule.floor() {
        if mean < floor {
            let text = format!("{name} is {mean:.4}, must be at least {floor} (n={n}).");
            return Some(Judged::new(Reason::FloorBreached, text));
        }
        match row.candidate_lower.filter(|_| rule.confident()) {
            None if rule.confident() => return Some(no_data(name)),
            Some(lower) if lower < floor => {
                let text = format!(
                    "{name} is {mean:.4} with a lower bound of {lower:.4}, which must be at least {floor} (n={n})."
                );
                return Some(Judged::new(Reason::FloorBreached, text));
            }
            Some(_) | None => {}
        }
    }
    let max = rule.max().filter(|max| mean > *max)?;
    let text = format!("{name} is {mean:.4}, must be at most {max} (n={n}).");
    Some(Judged::new(Reason::LimitExceeded, text))
}

/// Fail before Inconclusive before Pass; of the passes the weakest evidence names the gate. `passing`: the required
/// metrics; `all`: these, and what else can keep the gate from passing.
fn whole(passing: &[&Judged], all: &[&Judged]) -> Judged {
    for verdict in [Verdict::Error, Verdict::Fail, Verdict::Inconclusive] {
        let of_it: Vec<&Judged> = all.iter().copied().filter(|j| j.verdict() == verdict).collect();
        if let Some(first) = of_it.first() {
            return Judged {
                reason: first.reason,
                sentence: sentences(&of_it),
                required_queries: of_it.iter().filter_map(|j| j.required_queries).max(),
            };
        }
    }
    for reason in [Reason::NoBaseline, Reason::AbsoluteOnly, Reason::NonInferior] {
        if passing.iter().any(|j| j.reason == reason) {
            return Judged::new(reason, sentences(passing));
        }
    }
    if passing.is_empty() {
        return Judged::new(
            Reason::NoBaseline,
            "No metric is required: nothing was demanded, so nothing had to hold.".to_owned(),
        );
    }
    Judged::new(Reason::Superior, sentences(passing))
}

/// The sentences, as many as fit into a status field.
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

fn no_data(subject: &str) -> Judged {
    Judged::new(
        Reason::NoData,
        format!("{subject} has no number: nothing was measured, or its numbers contradict each other."),
    )
}

#[cfg(test)]
mod tests;
