//! From a run to the plain data that is shown.

use std::collections::HashMap;

use super::page::{
    AnswerList, Arm, Counts, MetricLine, Numbers, Page, Ranked, Seen, SliceLine, Spread, Worst, WorstQuery, deciding,
};
use crate::evaluation::dataset::Dataset;
use crate::evaluation::metric::{Judgments, Metric};
use crate::evaluation::run::{List, Listed};
use crate::evaluation::verdict::{
    GateJudged, Judged, Method, Row, Rule, SLICE_MARGINS, SliceJudged, SliceRow, Statistics, Verdict,
    Worst as WorstSlice, best_margin, is_required, judge_slice,
};
use crate::worker::evaluate::measure::{Answered, Measured};
use crate::worker::evaluate::plan::Gate;
use crate::worker::job::EVALUATOR_VERSION;

/// Queries that are shown with their answers.
const MOST_QUERIES: usize = 10;
/// Documents that are shown of an answer.
const MOST_DOCUMENTS: usize = 10;

/// A finished run.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    pub dataset: &'a Dataset,
    pub candidate: &'a Answered,
    pub baseline: Option<&'a Answered>,
    pub measured: &'a Measured,
}

/// What is said of a run beside its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub subject: String,
    pub candidate: String,
    pub baseline: String,
    pub repeat: Vec<String>,
    /// Whether the texts of queries may be shown.
    pub expose_text: bool,
}

/// Everything that can be shown of a run. `found`: `None` where it could not measure.
pub fn page(gate: &Gate, found: Option<Found<'_>>, judged: &GateJudged, told: &Told) -> Page {
    let statistics = &gate.judging.statistics;
    let metrics: Vec<MetricLine> = found.map(|found| metrics(gate, found.measured, judged)).unwrap_or_default();
    let decides = deciding(&metrics, judged.gate.reason.as_str());
    Page {
        subject: told.subject.clone(),
        verdict: judged.gate.verdict(),
        reason: judged.gate.reason.as_str(),
        sentence: judged.gate.sentence.clone(),
        required_queries: judged.gate.required_queries,
        confidence_percent: ((1.0 - statistics.alpha) * 1e4).round() / 1e2,
        method: match statistics.method {
            Method::PairedSignFlip => "paired differences, bounds of Student's t, sign-flip test",
            Method::PairedT => "paired differences, bounds of Student's t",
            Method::BoundedMean => "paired differences, bounds of a bounded mean (Gaffke)",
        },
        counting: gate.counting,
        seen: found.map(|found| seen(&found, told)),
        slices: found.map(|found| slices(gate, found.measured, judged)).unwrap_or_default(),
        facts: found.map(|found| found.measured.facts.clone()),
        spreads: found.map(|found| spreads(&found, gate)).unwrap_or_default(),
        worst: found.and_then(|found| worst(&found, gate, decides?, told.expose_text)),
        repeat: told.repeat.clone(),
        metrics,
    }
}

fn seen(found: &Found<'_>, told: &Told) -> Seen {
    let arm = |answered: &Answered, name: &str| Arm {
        name: name.to_owned(),
        revision: answered.identity.revision.clone(),
        content_digest: answered.identity.content_digest.clone(),
        fingerprint: answered.identity.fingerprint.clone(),
    };
    let (coverage, comparison) = (&found.measured.coverage, &found.measured.comparison);
    Seen {
        inputs: found.measured.inputs.clone(),
        dataset: found.dataset.digest().to_owned(),
        evaluator: EVALUATOR_VERSION.to_owned(),
        candidate: arm(found.candidate, &told.candidate),
        baseline: found.baseline.map(|answered| arm(answered, &told.baseline)),
        counts: Counts {
            judged: coverage.queries,
            answered_by_candidate: coverage.candidate,
            answered_by_baseline: coverage.baseline,
            missing_in_candidate: comparison.missing.0,
            missing_in_baseline: comparison.missing.1,
            unjudged: comparison.unjudged,
            without_relevant_document: comparison.without_relevant,
        },
    }
}

fn metrics(gate: &Gate, measured: &Measured, judged: &GateJudged) -> Vec<MetricLine> {
    let rows = gate.judging.rules.iter().zip(&measured.comparison.rows).zip(&judged.metrics);
    rows.map(|((rule, row), judged)| metric(rule, row, judged, &gate.judging.statistics)).collect()
}

fn metric(rule: &Rule, row: &Row, judged: &Judged, statistics: &Statistics) -> MetricLine {
    let compared = row.lower.is_some();
    MetricLine {
        name: rule.metric().to_string(),
        numbers: numbers(row),
        p: row.p,
        margin: rule.margin().and_then(|margin| margin.against(row.baseline)),
        floor: rule.floor(),
        max: rule.max(),
        required: rule.required(),
        rule: rule.in_words(),
        certifiable: best_margin(row, statistics).filter(|_| compared),
        verdict: judged.verdict(),
        reason: judged.reason.as_str(),
        sentence: judged.sentence.clone(),
        required_queries: judged.required_queries,
    }
}

fn numbers(row: &Row) -> Numbers {
    Numbers {
        n: row.n,
        candidate: row.candidate,
        baseline: row.baseline,
        difference: row.difference,
        lower: row.lower,
        upper: row.upper,
    }
}

/// Every slice: those that the verdict looked at, then the others, which stand as they would have been judged.
fn slices(gate: &Gate, measured: &Measured, judged: &GateJudged) -> Vec<SliceLine> {
    let evidence = measured.evidence();
    let criteria = gate.judging.criteria();
    let row =
        |row: &SliceRow| slice(gate, row, &judge_slice(&criteria, &evidence, row)?, evidence.rows.get(row.metric)?);
    let rows = measured.comparison.slices.iter().filter_map(row);
    let worst = worst_slice(gate, evidence.worst.as_ref(), judged.worst.as_ref());
    worst.into_iter().chain(rows).collect()
}

/// The floor of the worst slice, first: lists of slices are cut at the end.
fn worst_slice(gate: &Gate, worst: Option<&WorstSlice>, judged: Option<&Judged>) -> Option<SliceLine> {
    let floor = gate.judging.slices.as_ref()?.worst_group_floor()?;
    let (rule, worst) = gate.judging.rules.first().zip(worst)?;
    let (key, value) = key_and_value(&worst.name);
    let (n, candidate, baseline) = (worst.n, worst.candidate, worst.baseline);
    Some(SliceLine {
        key,
        value,
        metric: rule.metric().to_string(),
        numbers: Numbers { n, candidate, baseline, difference: None, lower: None, upper: None },
        margin: None,
        floor: Some(floor),
        harm: None,
        required: true,
        verdict: Some(judged.map_or(Verdict::Pass, Judged::verdict)),
        reason: judged.map_or("FloorHolds", |judged| judged.reason.as_str()),
    })
}

fn key_and_value(name: &str) -> (String, String) {
    let (key, value) = name.split_once('=').unwrap_or((name, ""));
    (key.to_owned(), value.to_owned())
}

fn slice(gate: &Gate, found: &SliceRow, judged: &SliceJudged, whole: &Row) -> Option<SliceLine> {
    let rule = gate.judging.rules.get(found.metric)?;
    let required = gate.judging.slices.as_ref().is_some_and(|rules| is_required(rules, &found.name));
    let margins = if required { 1.0 } else { SLICE_MARGINS };
    let (key, value) = key_and_value(&found.name);
    let verdict = judged.judged.as_ref();
    Some(SliceLine {
        key,
        value,
        metric: rule.metric().to_string(),
        numbers: numbers(&found.row),
        margin: rule.margin().and_then(|margin| margin.against(whole.baseline)).map(|margin| margins * margin),
        floor: None,
        harm: found.harm,
        required,
        verdict: verdict.map(Judged::verdict),
        reason: verdict.map_or("Tolerated", |judged| judged.reason.as_str()),
    })
}

/// What each query gave, by metric.
fn spreads(found: &Found<'_>, gate: &Gate) -> Vec<Spread> {
    let of_metric = |(i, rule): (usize, &Rule)| {
        let mut values: Vec<f64> = per_query(found, i, rule.metric()).map(|query| query.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        Spread { values, differences: found.measured.comparison.baseline.is_some() }
    };
    gate.judging.rules.iter().enumerate().map(of_metric).collect()
}

/// One query's value of one metric.
struct Valued<'a> {
    id: &'a str,
    judgments: &'a Judgments,
    candidate: f64,
    baseline: Option<f64>,
    /// The difference, or without a baseline the candidate's value.
    value: f64,
}

/// The queries that a metric's row speaks of: with a baseline those on which lists can differ, else all that it counts.
fn per_query<'a>(found: &Found<'a>, column: usize, metric: Metric) -> impl Iterator<Item = Valued<'a>> {
    let comparison = &found.measured.comparison;
    found.dataset.judged().enumerate().filter_map(move |(i, (id, judgments))| {
        let candidate = *comparison.candidate.get(i)?.get(column)?;
        let baseline = match &comparison.baseline {
            _ if !metric.counts(judgments) => return None,
            Some(_) if !metric.can_differ(judgments) => return None,
            Some(values) => Some(*values.get(i)?.get(column)?),
            None => None,
        };
        let value = baseline.map_or(candidate, |baseline| candidate - baseline);
        Some(Valued { id, judgments, candidate, baseline, value })
    })
}

/// The queries that lost most; without a baseline those of the lowest value.
fn worst(found: &Found<'_>, gate: &Gate, column: usize, expose_text: bool) -> Option<Worst> {
    let metric = gate.judging.rules.get(column)?.metric();
    let differences = found.measured.comparison.baseline.is_some();
    let lost = |query: &Valued<'_>| if differences { query.value < 0.0 } else { query.value < 1.0 };
    let mut queries: Vec<Valued<'_>> = per_query(found, column, metric).filter(lost).collect();
    queries.sort_unstable_by(|a, b| a.value.total_cmp(&b.value).then_with(|| a.id.cmp(b.id)));
    let of = queries.len();
    queries.truncate(MOST_QUERIES);
    Some(Worst {
        metric: metric.to_string(),
        differences,
        of,
        queries: queries.iter().map(|query| worst_query(found, query, expose_text)).collect(),
    })
}

fn worst_query(found: &Found<'_>, query: &Valued<'_>, expose_text: bool) -> WorstQuery {
    let candidate = found.candidate.run.list(query.id).unwrap_or_default();
    let baseline = found.baseline.map(|answered| answered.run.list(query.id).unwrap_or_default());
    let mut lists = vec![answer("candidate", candidate, baseline, query.judgments)];
    lists.extend(baseline.map(|baseline| answer("baseline", baseline, Some(candidate), query.judgments)));
    WorstQuery {
        id: query.id.to_owned(),
        text: expose_text.then(|| found.dataset.text(query.id)).flatten().map(str::to_owned),
        candidate: query.candidate,
        baseline: query.baseline,
        lists,
    }
}

fn answer(arm: &'static str, list: List<'_>, other: Option<List<'_>>, judgments: &Judgments) -> AnswerList {
    let ranks: HashMap<&str, usize> = other.unwrap_or_default().iter().map(|at| (at.document, at.rank)).collect();
    let ranked = |at: Listed<'_>| {
        let grade = judgments.grade(at.document);
        let relevant = grade.is_some_and(|grade| grade > 0);
        let elsewhere = ranks.get(at.document).copied().filter(|_| relevant);
        Ranked { document: at.document.to_owned(), grade, elsewhere }
    };
    AnswerList { arm, documents: list.iter().take(MOST_DOCUMENTS).map(ranked).collect(), of: list.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::gate::{Baseline, Statistics};
    use crate::evaluation::dataset::{Files, Form};
    use crate::worker::evaluate::command_line::{MeasureOrder, measure};
    use crate::worker::evaluate::plan::{self, metric_flag};

    /// Of two queries one has a relevant document and no nugget, the other a nugget and no relevant document.
    #[tokio::test]
    async fn each_metric_shows_the_queries_that_it_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = Files {
            form: Form::ByContent,
            queries: None,
            qrels: file("qrels.txt", "q1 0 d1 1\nq2 0 d2 0\n"),
            slices: None,
            nuggets: Some(file("nuggets.jsonl", r#"{"query_id":"q2","nugget_id":"n","doc_ids":["d2"]}"#)),
        };
        let arm = |name: &str, second: &str| {
            let run = format!("q1 Q0 d1 1 1 r\nq2 Q0 {second} 1 1 r\n");
            plan::Arm::parse(file(name, &run).to_str().unwrap(), None, &[], false).unwrap()
        };
        let metrics = ["taskRecall@1:margin=0.05", "success@1:margin=0.05"].map(|flag| metric_flag(flag).unwrap());
        let gate = Gate::new(metrics.to_vec(), Statistics::default(), None, None, Baseline::Stable).unwrap();
        let expected: [(bool, &[f64], &[f64]); 2] = [(true, &[-1.0], &[0.0]), (false, &[0.0], &[0.0, 1.0])];
        for (compared, of_nuggets, of_relevance) in expected {
            let order = MeasureOrder {
                files: files.clone(),
                gate: gate.clone(),
                candidate: arm("a.run", "other"),
                baseline: compared.then(|| arm("b.run", "d2")),
                corpus: None,
                write_run: false,
                progress: crate::worker::evaluate::progress::Display::None,
            };
            let outcome = measure(&order).await.unwrap_or_else(|stopped| panic!("{stopped}"));
            let spreads = spreads(&outcome.found(), &order.gate);
            assert_eq!((spreads[0].values.as_slice(), spreads[1].values.as_slice()), (of_nuggets, of_relevance));
            let worst = worst(&outcome.found(), &order.gate, 0, false).unwrap();
            assert_eq!((worst.metric.as_str(), worst.of, worst.queries[0].id.as_str()), ("taskRecall@1", 1, "q2"));
        }
    }
}
