//! What the gates of a release say: as they were frozen, how their runs stand, and what they found.
//!
//! Why apart: the rest of the status is where revisions are; this is why they may go on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;
use crate::api::gate::{MetricResult, ReportStatus, SliceResult, VerdictWord};

/// A gate as it was when the candidate started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrozenGate {
    /// Name of the EvalGate.
    #[schemars(length(max = 40))]
    pub name: String,
    /// When it is asked.
    pub when: When,
    /// Digest of the gate's spec.
    #[schemars(length(max = 64))]
    pub spec_digest: String,
    /// Digest of the dataset; absent for online gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub dataset_digest: Option<String>,
    /// The gate's spec.
    pub spec: EvalGateSpec,
}

/// A BeforeTraffic gate of a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateProgress {
    /// Name of the EvalGate.
    #[schemars(length(max = 40))]
    pub name: String,
    /// Revision that is measured.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Revision it is compared with; absent for a first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub baseline: Option<String>,
    /// Attempt under way or last, from 1; 0 before the first.
    pub attempt: i32,
    /// Evidence key: what exactly was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub evidence: Option<String>,
    /// Pass, Fail, Inconclusive or Error; absent while running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictWord>,
    /// true: `ragops.dev/promote` let an Inconclusive verdict pass. Absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
    /// One word that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// A sentence with the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1200))]
    pub message: Option<String>,
    /// Queries that counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<i64>,
    /// Numbers of each metric, in the gate's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub metrics: Vec<MetricResult>,
    /// Queries (with `clusterBy` clusters) that a verdict would need, when the run could not decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_queries: Option<i64>,
    /// Slice of the lowest mean on the gate's first metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_slice: Option<SliceResult>,
    /// What became of the report; absent where the gate asks for none, and while the run goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportStatus>,
    /// Job of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub job: Option<String>,
    /// When the attempt ended (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub finished_at: Option<String>,
}

/// What a gate measured of a revision before it was promoted: what a scheduled run is compared with, and what
/// `maxCumulativeDrop` counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateEvidence {
    /// Name of the EvalGate.
    #[schemars(length(max = 40))]
    pub gate: String,
    /// SHA-256 of the dataset: another dataset begins anew.
    #[schemars(length(max = 64))]
    pub dataset_digest: String,
    /// Since when differences are summed (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub anchored_at: String,
    /// In the gate's order.
    #[schemars(length(max = 8))]
    pub metrics: Vec<MetricEvidence>,
}

/// One metric of a revision before it was promoted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricEvidence {
    /// Name of the metric.
    #[schemars(length(max = 32))]
    pub name: String,
    /// Mean of the revision.
    pub mean: f64,
    /// Sum of the differences of the revisions promoted since the anchor, this one included.
    pub since_anchor: f64,
}

/// A run of a gate on the stable revision by the gate's schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledRun {
    /// When it was begun; the next is due after it (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub begun_at: String,
    /// Why candidates wait: what the last run that failed said. Only a run that passes takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1200))]
    pub failed: Option<String>,
    /// The run and its numbers.
    pub run: GateProgress,
}

/// Sums of one online objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectiveStatus {
    /// Name of the EvalGate.
    #[schemars(length(max = 40))]
    pub gate: String,
    /// Name of the objective.
    #[schemars(length(max = 40))]
    pub objective: String,
    /// Revision that the sums are of.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Requests.
    pub requests: i64,
    /// Bad ones among them: errors, empty or slow answers.
    pub bad: i64,
    /// Safe, Undecided, Breached or NoData.
    #[schemars(length(max = 16))]
    pub state: String,
}
