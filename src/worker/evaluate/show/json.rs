//! The result as one JSON object.

use serde::Serialize;

use crate::worker::evaluate::facts::Facts;
use crate::worker::evaluate::report::page::{Counts, MetricLine, Numbers, Page, SliceLine};
use crate::worker::job::Counting;

/// The one object that `--output json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    verdict: String,
    reason: &'a str,
    message: &'a str,
    required_queries: Option<u64>,
    /// Absent when nothing was measured.
    inputs: Option<&'a str>,
    counting: Counting,
    queries: Option<Queries>,
    metrics: Vec<Metric<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slices: Vec<Slice<'a>>,
    facts: Option<&'a Facts>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Queries {
    judged: u64,
    answered_by_candidate: u64,
    answered_by_baseline: Option<u64>,
    missing_in_candidate: usize,
    missing_in_baseline: usize,
    unjudged: usize,
    without_relevant_document: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric<'a> {
    name: &'a str,
    #[serde(flatten)]
    numbers: Numbers,
    p: Option<f64>,
    margin: Option<f64>,
    floor: Option<f64>,
    max: Option<f64>,
    required: bool,
    verdict: String,
    reason: &'a str,
    message: &'a str,
    required_queries: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Slice<'a> {
    key: &'a str,
    value: &'a str,
    metric: &'a str,
    #[serde(flatten)]
    numbers: Numbers,
    p_harm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<f64>,
    /// `null`: a guardrail that nothing was proven against.
    verdict: Option<String>,
    reason: &'a str,
}

/// The result as one JSON object.
pub fn json(page: &Page) -> serde_json::Result<String> {
    serde_json::to_string(&Summary {
        verdict: page.verdict.to_string(),
        reason: page.reason,
        message: &page.sentence,
        required_queries: page.required_queries,
        inputs: page.seen.as_ref().map(|seen| seen.inputs.as_str()),
        counting: page.counting,
        queries: page.seen.as_ref().map(|seen| queries(seen.counts)),
        metrics: page.metrics.iter().map(metric).collect(),
        slices: page.slices.iter().map(slice).collect(),
        facts: page.facts.as_ref(),
    })
}

fn queries(counts: Counts) -> Queries {
    Queries {
        judged: counts.judged,
        answered_by_candidate: counts.answered_by_candidate,
        answered_by_baseline: counts.answered_by_baseline,
        missing_in_candidate: counts.missing_in_candidate,
        missing_in_baseline: counts.missing_in_baseline,
        unjudged: counts.unjudged,
        without_relevant_document: counts.without_relevant_document,
    }
}

fn metric(line: &MetricLine) -> Metric<'_> {
    Metric {
        name: &line.name,
        numbers: line.numbers,
        p: line.p,
        margin: line.margin,
        floor: line.floor,
        max: line.max,
        required: line.required,
        verdict: line.verdict.to_string(),
        reason: line.reason,
        message: &line.sentence,
        required_queries: line.required_queries,
    }
}

fn slice(line: &SliceLine) -> Slice<'_> {
    Slice {
        key: &line.key,
        value: &line.value,
        metric: &line.metric,
        numbers: line.numbers,
        p_harm: line.harm,
        floor: line.floor,
        verdict: line.verdict.map(|verdict| verdict.to_string()),
        reason: line.reason,
    }
}
