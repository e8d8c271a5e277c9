//! From a receipt to a verdict: the gate's frozen rules over the numbers that the Job measured.
//!
//! Why here: the Job measures, the operator judges, by the same pure function as the command line.

use crate::api::gate::{MetricResult, ReportStatus, RetrievalGate, SliceResult, VerdictWord};
use crate::api::release::GateProgress;
use crate::evaluation::verdict::{GateJudged, Judged, Reason, Row, Rule, Verdict, Worst, error, judge};
use crate::worker::job::Judging;
use crate::worker::receipt::{ErrorReport, EvaluateReport, Kept, whole};

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
        n: whole(worst.n),
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
    gate.worst_slice = None;
    gate.n = None;
    gate.required_queries = None;
    gate.finished_at = Some(at);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evaluation::compare::compare;
    use crate::evaluation::domains;
    use crate::evaluation::verdict::Coverage;
    use crate::worker::receipt::{Body, Counts, Receipt};

    fn gate(statistics: serde_json::Value, slices: serde_json::Value) -> RetrievalGate {
        serde_json::from_value(json!({
            "dataset": {"from": {"configMap": {"name": "d"}}},
            "metrics": [
                {"name": "P@20", "margin": 0.02, "floor": 0.3, "confident": true},
                {"name": "ndcg@10", "relativeMargin": 0.5},
                {"name": "success@1", "margin": 0.1, "required": false},
            ],
            "statistics": statistics, "slices": slices, "maxCumulativeDrop": 0.3,
        }))
        .unwrap()
    }

    /// What the command line says, and what the operator makes of the receipt of the same run.
    fn both(gate: &RetrievalGate, compared: bool) -> (GateJudged, Told) {
        let judging =
            Judging::of(&gate.metrics, &gate.statistics, gate.slices.as_ref(), gate.max_cumulative_drop).unwrap();
        let (set, baseline) = (domains::dataset(), domains::baseline());
        let baseline = Some(&baseline).filter(|_| compared);
        let found = compare(&set, &judging.criteria(), "i", &domains::candidate(), baseline);
        let coverage = Coverage { queries: 300, candidate: 300, baseline: compared.then_some(300) };
        let evidence = found.evidence(coverage);
        let counts = Counts { unjudged: found.unjudged, without_relevant: found.without_relevant };
        let body = Body::Evaluate(Box::new(EvaluateReport::new("i".to_owned(), counts, &evidence)));
        let line = Receipt { v: 1, run: "r".to_owned(), body }.to_line().unwrap();
        let Body::Evaluate(report) = Receipt::parse(&line, "r").unwrap().body else { panic!("another kind") };
        (judge(&judging.criteria(), &evidence), judged(gate, &report, "i", compared, Vec::new()))
    }

    #[test]
    fn the_operator_says_what_the_command_line_says() {
        let slices =
            json!({"by": ["domain", "source"], "minQueries": 30, "worstGroupFloor": 0.2, "required": ["domain=tax"]});
        for statistics in [
            json!({}),
            json!({"method": "PairedT", "alpha": 0.2}),
            json!({"method": "BoundedMean"}),
            json!({"clusterBy": "source"}),
        ] {
            for slices in [json!(null), slices.clone()] {
                let gate = gate(statistics.clone(), slices);
                for compared in [true, false] {
                    let (here, told) = both(&gate, compared);
                    assert_eq!(here, told.judged);
                    assert_eq!((told.n, told.metrics.len()), (Some(300), 3));
                    assert_eq!(told.worst.is_some(), gate.slices.is_some());
                }
            }
        }
    }

    #[test]
    fn a_slice_that_breaks_reaches_the_status() {
        let (_, told) = both(&gate(json!({}), json!({"by": ["domain"]})), true);
        let mut progress: GateProgress =
            serde_json::from_value(json!({"name": "g", "revision": "r", "attempt": 1})).unwrap();
        record(&mut progress, told, "2026-01-01T00:00:00Z".to_owned());
        assert_eq!((progress.verdict, progress.reason.as_deref()), (Some(VerdictWord::Fail), Some("SliceRegression")));
        let worst = progress.worst_slice.clone().unwrap();
        assert_eq!(
            (worst.name.as_str(), worst.n, worst.candidate, worst.baseline),
            ("domain=legal", 60, 0.38, Some(0.5))
        );
        record_error(
            &mut progress,
            &ErrorReport { reason: "JobFailed".to_owned(), error: "gone".to_owned() },
            "2026-01-01T00:00:01Z".to_owned(),
        );
        assert_eq!((progress.worst_slice, progress.n), (None, None));
    }

    #[test]
    fn what_earlier_releases_lost_comes_in_as_numbers() {
        let gate = gate(json!({}), json!(null));
        let (_, told) = both(&gate, true);
        assert_eq!(told.judged.gate.reason, Reason::NonInferior);
        let line = {
            let judging = Judging::of(&gate.metrics, &gate.statistics, None, gate.max_cumulative_drop).unwrap();
            let baseline = domains::baseline();
            let found = compare(&domains::dataset(), &judging.criteria(), "i", &domains::candidate(), Some(&baseline));
            let evidence = found.evidence(Coverage { queries: 300, candidate: 300, baseline: Some(300) });
            EvaluateReport::new("i".to_owned(), Counts { unjudged: 0, without_relevant: 0 }, &evidence)
        };
        let after = |lost: f64| judged(&gate, &line, "i", true, vec![lost]).judged.gate.reason;
        // The difference of this run is +.016.
        assert_eq!(after(-0.316), Reason::NonInferior);
        assert_eq!(after(-0.316_1), Reason::CumulativeDrop);
    }
}
