//! What a run on the command line prints and writes.
//!
//! Invariant: equal inputs give equal bytes: no times, no paths, numbers with six decimals at most.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::facts::Facts;
use super::measure::Measured;
use super::plan::Gate;
use crate::evaluation::compare::Values;
use crate::evaluation::dataset::Dataset;
use crate::evaluation::verdict::{GateJudged, Judged, Row, Rule};

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
    queries: Option<Queries>,
    metrics: Vec<MetricSummary<'a>>,
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
struct MetricSummary<'a> {
    name: String,
    n: u64,
    candidate: f64,
    baseline: Option<f64>,
    difference: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
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

/// The result as one JSON object.
pub fn json(gate: &Gate, measured: Option<&Measured>, judged: &GateJudged) -> serde_json::Result<String> {
    let rows = measured.map(|m| m.comparison.rows.as_slice()).unwrap_or_default();
    let metrics =
        gate.judging.rules.iter().zip(rows).zip(&judged.metrics).map(|((rule, row), judged)| metric(rule, row, judged));
    serde_json::to_string(&Summary {
        verdict: judged.gate.verdict().to_string(),
        reason: judged.gate.reason.as_str(),
        message: &judged.gate.sentence,
        required_queries: judged.gate.required_queries,
        inputs: measured.map(|m| m.inputs.as_str()),
        queries: measured.map(queries),
        metrics: metrics.collect(),
        facts: measured.map(|m| &m.facts),
    })
}

fn queries(measured: &Measured) -> Queries {
    let (coverage, comparison) = (&measured.coverage, &measured.comparison);
    Queries {
        judged: coverage.queries,
        answered_by_candidate: coverage.candidate,
        answered_by_baseline: coverage.baseline,
        missing_in_candidate: comparison.missing.0,
        missing_in_baseline: comparison.missing.1,
        unjudged: comparison.unjudged,
        without_relevant_document: comparison.without_relevant,
    }
}

fn metric<'a>(rule: &Rule, row: &Row, judged: &'a Judged) -> MetricSummary<'a> {
    MetricSummary {
        name: rule.metric().to_string(),
        n: row.n,
        candidate: row.candidate,
        baseline: row.baseline,
        difference: row.difference,
        lower: row.lower,
        upper: row.upper,
        p: row.p,
        margin: rule.margin().and_then(|margin| margin.against(row.baseline)),
        floor: rule.floor(),
        max: rule.max(),
        required: rule.required(),
        verdict: judged.verdict().to_string(),
        reason: judged.reason.as_str(),
        message: &judged.sentence,
        required_queries: judged.required_queries,
    }
}

/// The result as a table and a sentence.
pub fn table(gate: &Gate, measured: Option<&Measured>, judged: &GateJudged) -> String {
    let mut text = String::new();
    let rows = measured.map(|m| m.comparison.rows.as_slice()).unwrap_or_default();
    if !judged.metrics.is_empty() {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["metric", "candidate", "baseline", "difference", "[L, U]", "required", "verdict"]);
        for ((rule, row), judged) in gate.judging.rules.iter().zip(rows).zip(&judged.metrics) {
            table.add_row(cells(rule, row, judged));
        }
        for column in table.column_iter_mut().skip(1).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        text.push_str(&table.to_string());
        text.push('\n');
    }
    if let Some(measured) = measured {
        text.push_str(&measured.facts.in_words());
        text.push('\n');
    }
    text.push_str(&format!("{} ({}): {}", judged.gate.verdict(), judged.gate.reason, judged.gate.sentence));
    text
}

fn cells(rule: &Rule, row: &Row, judged: &Judged) -> [String; 7] {
    let or_dash = |x: Option<String>| x.unwrap_or_else(|| "-".to_owned());
    [
        rule.metric().to_string(),
        format!("{:.4}", row.candidate),
        or_dash(row.baseline.map(|b| format!("{b:.4}"))),
        or_dash(row.difference.map(|d| format!("{d:+.4}"))),
        or_dash(row.lower.zip(row.upper).map(|(lower, upper)| format!("[{lower:+.4}, {upper:+.4}]"))),
        rule.in_words(),
        format!("{} ({})", judged.verdict(), judged.reason),
    ]
}

/// One line a query and arm, values unrounded.
pub fn write_per_query(file: &Path, dataset: &Dataset, gate: &Gate, measured: &Measured) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        query: &'a str,
        arm: &'a str,
        metrics: serde_json::Map<String, serde_json::Value>,
    }
    let mut to = BufWriter::new(File::create(file)?);
    let none = Values::new();
    let comparison = &measured.comparison;
    for (i, (query, _)) in dataset.judged().enumerate() {
        for (arm, values) in
            [("candidate", &comparison.candidate), ("baseline", comparison.baseline.as_ref().unwrap_or(&none))]
        {
            let Some(values) = values.get(i) else { continue };
            let named =
                gate.judging.rules.iter().zip(values).map(|(rule, value)| (rule.metric().to_string(), (*value).into()));
            serde_json::to_writer(&mut to, &Line { query, arm, metrics: named.collect() })?;
            to.write_all(b"\n")?;
        }
    }
    to.flush()
}
