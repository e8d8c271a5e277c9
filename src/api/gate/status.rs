//! What the operator says of a gate: its data, its runs and their numbers.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

/// What was observed of the gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvalGateStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// `retrieval` or `online`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub kind: Option<String>,
    /// What the last check of the dataset found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetStatus>,
    /// Smallest margin that the query set can certify at best, by the queries (with `clusterBy` their clusters) on which two
    /// lists can differ, of the required metric with a margin that has fewest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certifiable_margin: Option<f64>,
    /// A sentence when the set is too small for its margins, or no slice is large enough to be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub advice: Option<String>,
    /// Results, newest first, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub last_runs: Vec<GateRun>,
    /// Ready, Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for EvalGateStatus {
    fn default() -> Self {
        Self {
            observed_generation: unseen(),
            kind: None,
            dataset: None,
            certifiable_margin: None,
            advice: None,
            last_runs: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

/// What the last check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetStatus {
    /// SHA-256 of queries and judgments; part of the evidence key.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// Queries that have judgments.
    pub queries: i64,
    /// Judgments.
    pub judgments: i64,
    /// Clusters that the queries form, with `clusterBy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<i64>,
    /// Slices with their judged queries, the largest first, at most 40.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    pub slices: Vec<SliceStatus>,
    /// Digest of the gate's spec that was checked.
    #[schemars(length(max = 64))]
    pub spec_digest: String,
    /// When the check ended (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub checked_at: String,
}

/// How large a slice is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SliceStatus {
    /// `key=value`.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Judged queries in it.
    pub queries: i64,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateRun {
    /// Release that was measured.
    #[schemars(length(max = 253))]
    pub release: String,
    /// Revision that was measured.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Revision it was compared with; absent for a first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub baseline: Option<String>,
    /// Whether the gate's schedule asked for it: then the revision was stable, and nothing could be rolled back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scheduled: bool,
    /// Pass, Fail, Inconclusive or Error.
    pub verdict: VerdictWord,
    /// One word that says why.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// A sentence with the numbers.
    #[schemars(length(max = 1200))]
    pub message: String,
    /// Queries that counted.
    pub n: i64,
    /// Numbers of each metric, in the gate's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub metrics: Vec<MetricResult>,
    /// Queries (with `clusterBy` clusters) that a verdict would need, when this run could not decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_queries: Option<i64>,
    /// Slice of the lowest mean on the first metric, of those with `minQueries`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_slice: Option<SliceResult>,
    /// What became of the report; absent where the gate asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportStatus>,
    /// Job that measured.
    #[schemars(length(max = 64))]
    pub job: String,
    /// When the run ended (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub finished_at: String,
}

/// Numbers of one slice on the gate's first metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SliceResult {
    /// `key=value`.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Queries in it.
    pub n: i64,
    /// Mean of the candidate.
    pub candidate: f64,
    /// Mean of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
}

/// What became of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportStatus {
    /// Where the page lies: `pvc://<claim>/<path on it>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub uri: Option<String>,
    /// SHA-256 of the page, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sha256: Option<String>,
    /// Why nothing is kept. The verdict stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub problem: Option<String>,
}

/// Numbers of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricResult {
    /// Name of the metric.
    #[schemars(length(max = 32))]
    pub name: String,
    /// Mean of the candidate.
    pub candidate: f64,
    /// Mean of the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// Mean difference, candidate minus baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// Lower bound of the difference (one-sided).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<f64>,
    /// Upper bound of the difference (one-sided).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
    /// What had to hold, in words.
    #[schemars(length(max = 128))]
    pub required: String,
    /// Pass, Fail, Inconclusive or Error.
    pub verdict: VerdictWord,
    /// One word that says why.
    #[schemars(length(max = 64))]
    pub reason: String,
}

/// Outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerdictWord {
    Pass,
    Fail,
    Inconclusive,
    Error,
}

fn unseen() -> i64 {
    -1
}
