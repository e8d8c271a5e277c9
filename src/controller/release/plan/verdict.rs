//! From a receipt to a verdict: the gate's frozen rules over the numbers that the Job measured.
//!
//! Why here: the Job measures, the operator judges, by the same pure function as the command line.

use crate::api::gate::{MetricResult, RetrievalGate, SliceResult, VerdictWord};
use crate::api::release::GateProgress;
use crate::evaluation::verdict::{GateJudged, Judged, Reason, Row, Rule, Verdict, Worst, error, judge};
use crate::worker::job::Judging;
use crate::worker::receipt::{ErrorReport, EvaluateReport};

/// What a report says.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub judged: GateJudged,
    /// Queries that counted.
    pub n: Option<i64>,
    pub metrics: Vec<MetricResult>,
    pub worst: Option<SliceResult>,
}

impl Told {
    fn nothing(judged: GateJudged, n: Option<i64>) -> Self {
        Self { judged, n, metrics: Vec::new(), worst: None }
    }
}

/// Judges a report. `compared`: the plan names a baseline. `promoted`: for each metric the sum of the differences of the
/// revisions promoted since the anchor.
pub fn judged(gate: &RetrievalGate, report: &EvaluateReport, inputs: &str, compared: bool, promoted: Vec<f64>) -> Told {
    let n = report.n.first().copied().flatten();
    let judging = match Judging::of(&gate.metrics, &gate.statistics, gate.slices.as_ref(), gate.max_cumulative_drop) {
        Ok(judging) => judging,
        Err((field, problem)) => {
            let text = format!("The gate's rules cannot be read: {field}: {problem}.");
            return Told::nothing(error(Reason::JobFailed, text), n);
        }
    };
    if report.inputs != inputs {
        let text = "The run saw other inputs (dataset, revisions or gate) than were planned; its numbers do not count.";
        return Told::nothing(error(Reason::InputsChanged, text), n);
    }
    let evidence = report.evidence(compared, promoted);
    let judged = judge(&judging.criteria(), &evidence);
    let rules = judging.rules.iter().zip(&evidence.rows);
    let metrics = judged.metrics.iter().zip(rules).map(|(j, (rule, row))| result(j, rule, row)).collect();
    Told { n, metrics, worst: evidence.worst.as_ref().map(slice), judged }
}

fn slice(worst: &Worst) -> SliceResult {
    SliceResult {
        name: cut_name(&worst.name),
        n: i64::try_from(worst.n).unwrap_or(i64::MAX),
        candidate: six(worst.candidate),
        baseline: worst.baseline.map(six),
    }
}

fn cut_name(name: &str) -> String {
    name.chars().take(63).collect()
}

fn result(judged: &Judged, rule: &Rule, row: &Row) -> MetricResult {
    MetricResult {
        name: rule.metric().to_string(),
        candidate: six(row.candidate),
        baseline: row.baseline.map(six),
        difference: row.difference.map(six),
        lower: row.lower.map(six),
        upper: row.upper.map(six),
        required: rule.in_words(),
        verdict: word(judged.verdict()),
        reason: judged.reason.as_str().to_owned(),
    }
}

/// The API's word for a verdict.
pub fn word(verdict: Verdict) -> VerdictWord {
    match verdict {
        Verdict::Pass => VerdictWord::Pass,
        Verdict::Fail => VerdictWord::Fail,
        Verdict::Inconclusive => VerdictWord::Inconclusive,
        Verdict::Error => VerdictWord::Error,
    }
}

fn six(x: f64) -> f64 {
    // A status is JSON: what is no number would make it unwritable.
    if x.is_finite() { (x * 1e6).round() / 1e6 } else { 0.0 }
}

/// Writes a judgement into the gate's progress.
pub fn record(gate: &mut GateProgress, told: Told, at: String) {
    let judged = &told.judged;
    gate.verdict = Some(word(judged.gate.verdict()));
    gate.reason = Some(judged.gate.reason.as_str().to_owned());
    gate.message = Some(judged.gate.sentence.chars().take(1_200).collect());
    gate.required_queries = judged.gate.required_queries.and_then(|n| i64::try_from(n).ok());
    gate.metrics = told.metrics;
    gate.worst_slice = told.worst;
    gate.n = told.n;
    gate.finished_at = Some(at);
}

/// Writes a run that measured nothing.
pub fn record_error(gate: &mut GateProgress, report: &ErrorReport, at: String) {
    gate.verdict = Some(VerdictWord::Error);
    gate.reason = Some(report.reason.chars().take(64).collect());
    gate.message = Some(report.error.chars().take(1_200).collect());
    gate.metrics = Vec::new();
    gate.worst_slice = None;
    gate.n = None;
    gate.required_queries = None;
    gate.finished_at = Some(at);
}
