//! From a receipt to a verdict: the gate's frozen rules over the numbers that the Job measured.
//!
//! Why here: the Job measures, the operator judges, by the same pure function as the command line.

use crate::api::gate::{MetricResult, ReportStatus, RetrievalGate, VerdictWord};
use crate::api::release::GateProgress;
use crate::evaluation::verdict::{GateJudged, Judged, Reason, Row, Rule, Verdict, error, judge};
use crate::worker::job;
use crate::worker::receipt::{ErrorReport, EvaluateReport, Kept};

/// Judges a report. `compared`: the plan names a baseline.
pub fn judged(
    gate: &RetrievalGate,
    report: &EvaluateReport,
    inputs: &str,
    compared: bool,
) -> (GateJudged, Vec<MetricResult>) {
    let (rules, statistics) = match (job::rules(&gate.metrics), job::judging(&gate.statistics)) {
        (Ok(rules), Ok(statistics)) => (rules, statistics),
        (Err(problem), _) | (_, Err(problem)) => {
            return (error(Reason::JobFailed, format!("The gate's rules cannot be read: {problem}.")), Vec::new());
        }
    };
    if report.inputs != inputs {
        let text = "The run saw other inputs (dataset, revisions or gate) than were planned; its numbers do not count.";
        return (error(Reason::InputsChanged, text), Vec::new());
    }
    let rows = report.rows();
    let judged = judge(&report.coverage(compared), &rules, &rows, &statistics);
    let results = judged.metrics.iter().zip(&rules).zip(&rows).map(|((j, rule), row)| result(j, rule, row)).collect();
    (judged, results)
}

fn result(judged: &Judged, rule: &Rule, row: &Row) -> MetricResult {
    MetricResult {
        name: rule.metric().to_string(),
        candidate: six(row.candidate),
        baseline: row.baseline.map(six),
        difference: row.difference().map(six),
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
pub fn record(gate: &mut GateProgress, judged: &GateJudged, results: Vec<MetricResult>, n: Option<i64>, at: String) {
    gate.verdict = Some(word(judged.gate.verdict()));
    gate.reason = Some(judged.gate.reason.as_str().to_owned());
    gate.message = Some(judged.gate.sentence.chars().take(1_200).collect());
    gate.required_queries = judged.gate.required_queries.and_then(|n| i64::try_from(n).ok());
    gate.metrics = results;
    gate.n = n;
    gate.finished_at = Some(at);
}

/// What a receipt says of the run's report; what it holds beyond its bounds is cut.
pub fn kept(kept: &Kept) -> ReportStatus {
    let cut = |text: &str, most: usize| Some(text.chars().take(most).collect());
    match kept {
        Kept::Written { uri, sha256 } => ReportStatus { uri: cut(uri, 255), sha256: cut(sha256, 64), problem: None },
        Kept::Lost { problem } => ReportStatus { problem: cut(problem, 512), ..ReportStatus::default() },
    }
}

/// Writes a run that measured nothing.
pub fn record_error(gate: &mut GateProgress, report: &ErrorReport, at: String) {
    gate.verdict = Some(VerdictWord::Error);
    gate.reason = Some(report.reason.chars().take(64).collect());
    gate.message = Some(report.error.chars().take(1_200).collect());
    gate.metrics = Vec::new();
    gate.n = None;
    gate.required_queries = None;
    gate.finished_at = Some(at);
}
