//! What a run found, as plain data: everything that is printed or written is a rendering of it.
//!
//! Why a form of its own: the table, the comment of a pull request and the page with plots must say the same, and none
//! of them should know how numbers are computed.
//!
//! Invariant: no time and no place of an output file is in it, so equal inputs give equal bytes.

use serde::Serialize;

use crate::api::gate::{Compat, Missing};
use crate::evaluation::verdict::Verdict;
use crate::worker::evaluate::facts::Facts;
use crate::worker::job::Counting;

/// What a run found.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// What was measured for whom, such as a gate's name; empty on the command line.
    pub subject: String,
    pub verdict: Verdict,
    pub reason: &'static str,
    /// The verdict in a sentence, with the numbers.
    pub sentence: String,
    /// Queries that a verdict would need, where this run could not decide.
    pub required_queries: Option<u64>,
    /// Confidence of a bound, in percent.
    pub confidence_percent: f64,
    /// How differences are judged, in words.
    pub method: &'static str,
    /// How answers were read.
    pub counting: Counting,
    /// `None`: nothing was measured.
    pub seen: Option<Seen>,
    pub metrics: Vec<MetricLine>,
    pub slices: Vec<SliceLine>,
    /// What the run tells beside its metrics.
    pub facts: Option<Facts>,
    /// For each metric, in the same order, what its queries gave.
    pub spreads: Vec<Spread>,
    /// The queries that lost most, worst first.
    pub worst: Option<Worst>,
    /// Commands that repeat the run, and comments; a line each.
    pub repeat: Vec<String>,
}

/// What the run saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Digest of all inputs.
    pub inputs: String,
    /// Digest of queries and judgments.
    pub dataset: String,
    /// Version of the program's numbers.
    pub evaluator: String,
    pub candidate: Arm,
    pub baseline: Option<Arm>,
    pub counts: Counts,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// As the user named it, or its revision.
    pub name: String,
    pub revision: String,
    pub content_digest: String,
    /// Empty where no encoder is known.
    pub fingerprint: String,
}

/// How many queries of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    pub judged: u64,
    pub answered_by_candidate: u64,
    pub answered_by_baseline: Option<u64>,
    pub missing_in_candidate: usize,
    pub missing_in_baseline: usize,
    pub unjudged: usize,
    pub without_relevant_document: usize,
}

/// Numbers of one metric, over all queries or a slice of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Numbers {
    pub n: u64,
    pub candidate: f64,
    pub baseline: Option<f64>,
    pub difference: Option<f64>,
    pub lower: Option<f64>,
    pub upper: Option<f64>,
}

/// One metric, what had to hold, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricLine {
    pub name: String,
    pub numbers: Numbers,
    pub p: Option<f64>,
    pub margin: Option<f64>,
    pub floor: Option<f64>,
    pub max: Option<f64>,
    pub required: bool,
    /// What had to hold, in words.
    pub rule: String,
    /// Smallest margin that this run could have passed.
    pub certifiable: Option<f64>,
    pub verdict: Verdict,
    pub reason: &'static str,
    pub sentence: String,
    pub required_queries: Option<u64>,
}

/// What had to hold of one metric in one slice of the queries: a margin, or a floor of the mean. A slice may stand here
/// once for each.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceLine {
    /// Key and value of the queries' metadata.
    pub key: String,
    pub value: String,
    pub metric: String,
    pub numbers: Numbers,
    /// Largest acceptable drop in this slice.
    pub margin: Option<f64>,
    /// Least mean, of the worst slice alone.
    pub floor: Option<f64>,
    /// p of "not worse", corrected for the number of slices; `None` where the slice is too small.
    pub harm: Option<f64>,
    /// Whether it must pass like the whole.
    pub required: bool,
    /// `None`: a guardrail that nothing was proven against, which is no Pass.
    pub verdict: Option<Verdict>,
    pub reason: &'static str,
}

/// A verdict as a word.
pub fn word(verdict: impl Into<Option<Verdict>>) -> String {
    verdict.into().map_or_else(|| "not proven".to_owned(), |verdict| verdict.to_string())
}

/// What each query gave, ascending: differences, or without a baseline the candidate's values.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    pub values: Vec<f64>,
    pub differences: bool,
}

/// The queries that lost most.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Name of the metric by which they were chosen.
    pub metric: String,
    /// Whether they were chosen by difference, or by the candidate's value alone.
    pub differences: bool,
    /// How many queries lost (or, without a baseline, missed the best value).
    pub of: usize,
    pub queries: Vec<WorstQuery>,
}

/// One query with both answers.
#[derive(Clone, Debug, PartialEq)]
pub struct WorstQuery {
    pub id: String,
    /// Its text, where it may be shown.
    pub text: Option<String>,
    pub candidate: f64,
    pub baseline: Option<f64>,
    pub lists: Vec<AnswerList>,
}

/// The first documents that an arm answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerList {
    /// `candidate` or `baseline`.
    pub arm: &'static str,
    /// Best first.
    pub documents: Vec<Ranked>,
    /// How many there are in all.
    pub of: usize,
}

/// One document of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    pub document: String,
    /// `None`: not judged for this query.
    pub grade: Option<i32>,
    /// Rank of a relevant document in the other arm's answer, from 1; `None`: it is not there, or there is no other arm.
    pub elsewhere: Option<usize>,
}

impl SliceLine {
    /// What had to hold, in words; `None`: nothing.
    pub fn rule(&self) -> Option<String> {
        let floor = self.floor.map(|floor| format!("at least {floor} in the worst slice"));
        let margin = |margin| match self.required {
            true => format!("drop at most {margin}"),
            false => format!("no proven drop of {margin} or more"),
        };
        floor.or_else(|| self.margin.map(margin))
    }
}

impl Page {
    /// How answers were read, where that is not the default: without it the numbers of two runs look comparable and are
    /// not.
    pub fn counting_in_words(&self) -> Option<String> {
        let Counting { ignore_identical_ids, missing, compat } = self.counting;
        let ids = ignore_identical_ids.then_some("ignoreIdenticalIds (a result with the id of its query is removed)");
        let missing = match missing {
            Missing::Zero => None,
            Missing::Drop => Some("missing: drop (a query that an arm did not answer is left out of both)"),
        };
        let compat = match compat {
            Compat::TrecEval10 => None,
            Compat::TrecEval9 => Some("compat: trec_eval_9 (scores are compared in single precision)"),
        };
        let parts: Vec<&str> = [ids, missing, compat].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("Answers were read with {}.", parts.join(", ")))
    }

    /// The metric that tells most about the verdict: the first required one with the gate's reason, else the first.
    pub fn deciding(&self) -> Option<&MetricLine> {
        self.metrics.get(deciding(&self.metrics, self.reason)?)
    }

    /// The slice that tells why the run did not pass, where no required metric of the whole does.
    pub fn deciding_slice(&self) -> Option<&SliceLine> {
        let whole = self.metrics.iter().any(|line| line.required && line.reason == self.reason);
        let tells = |slice: &&SliceLine| slice.verdict == Some(self.verdict) && slice.reason == self.reason;
        self.slices.iter().find(tells).filter(|_| !whole && self.verdict != Verdict::Pass)
    }
}

/// Where the metric stands that tells most about a gate's reason.
pub fn deciding(metrics: &[MetricLine], reason: &str) -> Option<usize> {
    let named = metrics.iter().position(|line| line.required && line.reason == reason);
    named.or_else(|| (!metrics.is_empty()).then_some(0))
}
