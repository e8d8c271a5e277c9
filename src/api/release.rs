//! RagRelease: what serves, and how change reaches it.
//!
//! Invariant: status is the persisted intent; the weight on the route never exceeds it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gate::EvalGateSpec;
use super::{Condition, LocalRef, Resources};

/// An index, retrieval settings and traffic, released together.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "ragops.dev",
    version = "v1alpha1",
    kind = "RagRelease",
    plural = "ragreleases",
    shortname = "rel",
    category = "rag",
    namespaced,
    status = "RagReleaseStatus",
    doc = "What serves behind a route, and how a change of index, encoder or retrieval settings reaches users: gates, steps, rollback.",
    printcolumn = r#"{"name":"READY","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"STATE","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"STABLE","type":"string","jsonPath":".status.stable.revision"}"#,
    printcolumn = r#"{"name":"CANDIDATE","type":"string","jsonPath":".status.candidate.revision"}"#,
    printcolumn = r#"{"name":"WEIGHT","type":"integer","jsonPath":".status.candidate.weight"}"#,
    printcolumn = r#"{"name":"STEP","type":"string","jsonPath":".status.candidate.stepText"}"#,
    printcolumn = r#"{"name":"GATE","type":"string","jsonPath":".status.gate"}"#,
    printcolumn = r#"{"name":"AGE","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"MESSAGE","type":"string","priority":1,"jsonPath":".status.summary"}"#,
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters that begins with a letter, such as `handbook`")
)]
pub struct RagReleaseSpec {
    /// The VectorIndex that is served.
    pub index_ref: LocalRef,
    /// Version of the index to stay on, such as `v3`. Default: the newest Ready version, so every new version
    /// becomes a candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20), regex(pattern = r"^v[1-9][0-9]*$"))]
    pub version: Option<String>,
    /// How queries are answered. Part of the revision: a change is a new candidate.
    #[serde(default)]
    pub retrieval: Retrieval,
    /// Pods of each revision.
    #[serde(default)]
    pub serving: Serving,
    /// How requests reach the pods.
    pub traffic: Traffic,
    /// How a change moves to 100 percent. Frozen when a candidate starts.
    #[serde(default)]
    pub rollout: Rollout,
    /// The way back.
    #[serde(default)]
    pub rollback: Rollback,
    /// true freezes going up; going down still works. Default: false.
    #[serde(default)]
    pub paused: bool,
}

/// How queries are answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retrieval {
    /// Results when a request names no k, 1 to 100, default 10.
    #[serde(default = "default_top_k")]
    #[schemars(range(min = 1, max = 100))]
    pub top_k: i32,
    /// Vector (default), Keyword (BM25) or Hybrid (both, fused); the last two need spec.keyword.enabled of
    /// the index.
    #[serde(default)]
    pub mode: Mode,
    /// How Hybrid fuses the two lists. Default: reciprocal ranks with k 60 over the best 200 of each list.
    #[serde(default)]
    pub fusion: Fusion,
    /// Least vector score of a result, before fusion. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000.0, max = 1_000_000.0))]
    pub min_score: Option<f64>,
    /// Results asked of the store beyond k, 0 to 100, default 10, so that the cut at k is a total order.
    #[serde(default = "default_overfetch")]
    #[schemars(range(min = 0, max = 100))]
    pub overfetch: i32,
}

impl Default for Retrieval {
    fn default() -> Self {
        Self {
            top_k: default_top_k(),
            mode: Mode::default(),
            fusion: Fusion::default(),
            min_score: None,
            overfetch: default_overfetch(),
        }
    }
}

/// Which side answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    #[default]
    Vector,
    Keyword,
    Hybrid,
}

/// How two lists become one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fusion {
    /// Reciprocal rank fusion: the score is the sum of 1 / (k + rank).
    #[serde(default)]
    pub rrf: Rrf,
}

/// Reciprocal rank fusion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rrf {
    /// Constant k, 1 to 1000, default 60; larger gives lower ranks more weight.
    #[serde(default = "default_rrf_k")]
    #[schemars(range(min = 1, max = 1000))]
    pub k: i32,
}

impl Default for Rrf {
    fn default() -> Self {
        Self { k: default_rrf_k() }
    }
}

/// Pods of each revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Serving {
    /// Pods of each revision, 1 to 100, default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,
    /// CPU and memory of each pod. Default: 100m and 128Mi requested, 1Gi at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Default for Serving {
    fn default() -> Self {
        Self { replicas: one(), resources: None }
    }
}

/// How requests reach the pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.gateway)")
    .message("spec.traffic.gateway must be set"))]
pub struct Traffic {
    /// An HTTPRoute that the release owns, with its own name, attached to these Gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayTraffic>,
}

/// The parts of the HTTPRoute that users choose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayTraffic {
    /// Gateways to attach to, 1 to 4.
    #[schemars(length(min = 1, max = 4))]
    pub parent_refs: Vec<ParentRef>,
    /// Host names to answer to, at most 8. Default: those of the Gateway's listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
    /// Prefix of the path, default `/`. The servers ignore what stands before the last `/v1/`.
    #[serde(default = "default_path_prefix")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[-A-Za-z0-9/._~]*$"))]
    pub path_prefix: String,
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Gateway, under its allowedRoutes. Default: the release's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Listener of the Gateway. Default: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// How a change moves to 100 percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// EvalGates that must hold, at most 8, names unique.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.all(g, self.exists_one(o, o.name == g.name))")
        .message("spec.rollout.gates must have unique names"))]
    pub gates: Vec<GateRef>,
    /// Weights of the candidate, rising strictly, the last 100; at most 16. Default: one step of 100.
    #[serde(default = "default_steps")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self[self.size() - 1].weight == 100")
        .message("the last of spec.rollout.steps must have weight 100"))]
    #[x_kube(validation = Rule::new("self.all(s, self.exists_one(o, o.weight == s.weight)) && self.map(s, s.weight).isSorted()")
        .message("the weights of spec.rollout.steps must rise strictly, such as 5, 50, 100"))]
    pub steps: Vec<Step>,
    /// Requests that the candidate must have answered in a step before the next, 0 to 1,000,000, default 100.
    /// Fewer: the step holds until progressDeadline; silence never advances.
    #[serde(default = "default_min_requests")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_requests: i64,
    /// What an Inconclusive gate does: Hold (default: waits for data or `ragops.dev/promote`) or Fail.
    #[serde(default)]
    pub on_inconclusive: OnInconclusive,
    /// Time without progress after which the candidate is withdrawn, 1s to 720h, default `6h`. Progress is: pods
    /// ready, a verdict, a step, a weight that the gateway took. Holds and pauses do not count.
    #[serde(default = "default_progress_deadline")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub progress_deadline: String,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            gates: Vec::new(),
            steps: default_steps(),
            min_requests: default_min_requests(),
            on_inconclusive: OnInconclusive::default(),
            progress_deadline: default_progress_deadline(),
        }
    }
}

/// A gate and when it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateRef {
    /// Name of an EvalGate in the same namespace.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// BeforeTraffic: a retrieval gate that must pass before the first weight. DuringTraffic: an online gate
    /// that is watched while traffic moves and in the rollback window.
    pub when: When,
}

/// When a gate is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum When {
    BeforeTraffic,
    DuringTraffic,
}

/// One step of traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Percent of requests that go to the candidate, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,
    /// Least time at this weight once the gateway has accepted it, 0s to 720h, default `0s`.
    #[serde(default = "default_hold")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub hold: String,
}

/// What an Inconclusive gate does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnInconclusive {
    #[default]
    Hold,
    Fail,
}

/// The way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// Time after a promotion in which the previous revision stays ready and a breached objective brings it
    /// back, 0s to 720h, default `72h`. 0s: no way back by itself.
    #[serde(default = "default_window")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub window: String,
    /// What rolls back by itself; default: all three. GateFailed: a gate before traffic fails. SloBreached: an
    /// objective is proven to be breached, or the outage rule holds. Unavailable: no ready pod, or its Service is
    /// gone. What is left out waits for `ragops.dev/abort`.
    #[serde(default = "default_on")]
    #[schemars(length(max = 3))]
    pub on: Vec<RollbackCause>,
}

impl Default for Rollback {
    fn default() -> Self {
        Self { window: default_window(), on: default_on() }
    }
}

/// What rolls back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollbackCause {
    GateFailed,
    SloBreached,
    Unavailable,
}

/// What was decided and observed. The decision is the intent: traffic never exceeds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RagReleaseStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// One sentence: what serves, what happens, what next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub summary: Option<String>,
    /// The revision that users get when no candidate is in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<RevisionStatus>,
    /// The revision on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,
    /// The revision before stable, kept ready until retainedUntil.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousStatus>,
    /// Gates of the last candidate with their numbers; kept until the next candidate starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub gates: Vec<GateProgress>,
    /// Verdict of the gates of the last candidate: Pass, Fail, Inconclusive, Error or Running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub gate: Option<String>,
    /// Last runs by the gates' schedules on the stable revision. One that failed keeps candidates from going on until
    /// it passes, or `ragops.dev/promote` lets them; it rolls nothing back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub scheduled: Vec<ScheduledRun>,
    /// Revisions that failed and are not tried again until the spec changes or `ragops.dev/retry` names them;
    /// newest last, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failed_revisions: Vec<FailedRevision>,
    /// How candidates ended, newest last, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub history: Vec<HistoryEntry>,
    /// Steps and gates as they were when the candidate started; a change of the spec does not reach them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<FrozenPlan>,
    /// Weights: wanted, written, accepted by the gateway, counted at the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficStatus>,
    /// Sums of the online objectives, kept across restarts of the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub online: Vec<ObjectiveStatus>,
    /// Commands that were carried out, newest last, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub commands: Vec<HandledCommand>,
    /// Ready, Reconciling, Stalled and Serving.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for RagReleaseStatus {
    fn default() -> Self {
        Self {
            observed_generation: unseen(),
            summary: None,
            stable: None,
            candidate: None,
            previous: None,
            gates: Vec::new(),
            gate: None,
            scheduled: Vec::new(),
            failed_revisions: Vec::new(),
            history: Vec::new(),
            plan: None,
            traffic: None,
            online: Vec::new(),
            commands: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

/// A revision that serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RevisionStatus {
    /// 10 hex digits of index content, encoder and retrieval settings.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Index and version, such as `handbook/v3`.
    #[schemars(length(max = 80))]
    pub version: String,
    /// Percent of requests it is to get.
    pub weight: i32,
    /// Image of its pods.
    #[schemars(length(max = 512))]
    pub image: String,
    /// Since when it is stable (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub since: String,
    /// What its gates measured before it was promoted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub evidence: Vec<GateEvidence>,
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

/// A revision on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// 10 hex digits of index content, encoder and retrieval settings.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Index and version, such as `handbook/v3`.
    #[schemars(length(max = 80))]
    pub version: String,
    /// Percent of requests it is to get.
    pub weight: i32,
    /// Image of its pods.
    #[schemars(length(max = 512))]
    pub image: String,
    /// Since when it is the candidate (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub since: String,
    /// Where it is: Preparing, Verifying, Stepping or RollingBack.
    pub stage: Stage,
    /// Number of the present step, from 1; 0 before traffic.
    pub step: i32,
    /// Step and number of steps, such as `2/4`.
    #[schemars(length(max = 8))]
    pub step_text: String,
    /// When the gateway had accepted the weight of this step: the hold counts from here (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub step_started_at: Option<String>,
    /// Requests that the candidate has answered in this step.
    #[serde(default)]
    pub step_requests: i64,
    /// Last progress: the deadline counts from here (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub progressed_at: String,
    /// Since when the release is paused: meanwhile the deadline does not run (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub paused_at: Option<String>,
    /// Why it is rolling back, in words; set with stage RollingBack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Where a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    Preparing,
    Verifying,
    Stepping,
    RollingBack,
}

/// Why a candidate was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// One word: GateFailed, SloBreached, Unavailable, Aborted, Superseded, ProgressDeadlineExceeded.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// A sentence with the numbers.
    #[schemars(length(max = 1200))]
    pub message: String,
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
    pub verdict: Option<super::gate::VerdictWord>,
    /// Whether `ragops.dev/promote` let an Inconclusive verdict pass.
    #[serde(default)]
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
    pub metrics: Vec<super::gate::MetricResult>,
    /// Queries (with `clusterBy` clusters) that a verdict would need, when the run could not decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_queries: Option<i64>,
    /// Slice of the lowest mean on the gate's first metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_slice: Option<super::gate::SliceResult>,
    /// What became of the report; absent where the gate asks for none, and while the run goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<super::gate::ReportStatus>,
    /// Job of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub job: Option<String>,
    /// When the attempt ended (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub finished_at: Option<String>,
}

/// The revision before stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousStatus {
    /// 10 hex digits of index content, encoder and retrieval settings.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Index and version, such as `handbook/v2`.
    #[schemars(length(max = 80))]
    pub version: String,
    /// Image of its pods.
    #[schemars(length(max = 512))]
    pub image: String,
    /// Until when it stays ready (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub retained_until: String,
    /// What its gates measured before it was promoted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub evidence: Vec<GateEvidence>,
}

/// A revision that is not tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailedRevision {
    /// The revision.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// One word: GateFailed, SloBreached, Unavailable, Aborted or ProgressDeadlineExceeded.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// A sentence with the numbers.
    #[schemars(length(max = 1200))]
    pub message: String,
    /// When (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub at: String,
}

/// How a candidate ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// The revision.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Index and version.
    #[schemars(length(max = 80))]
    pub version: String,
    /// Promoted, RolledBack, Superseded or Aborted.
    #[schemars(length(max = 64))]
    pub outcome: String,
    /// A sentence.
    #[schemars(length(max = 300))]
    pub message: String,
    /// When (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub at: String,
}

/// Steps and gates as they were when the candidate started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrozenPlan {
    /// Revision that the plan is for.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Revision that gates compare with; absent for a first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub baseline: Option<String>,
    /// When it was frozen (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub frozen_at: String,
    /// Steps.
    #[schemars(length(max = 16))]
    pub steps: Vec<Step>,
    /// Gates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub gates: Vec<FrozenGate>,
    /// Requests that each step needs.
    pub min_requests: i64,
    /// What an Inconclusive gate does.
    pub on_inconclusive: OnInconclusive,
    /// Time without progress after which the candidate is withdrawn.
    #[schemars(length(max = 32))]
    pub progress_deadline: String,
}

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

/// Weights, from intent to effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficStatus {
    /// Percent of requests that the candidate is to get.
    pub wanted: i32,
    /// Percent that the route declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<i32>,
    /// Whether every Gateway reports Accepted and ResolvedRefs for the present route.
    #[serde(default)]
    pub accepted: bool,
    /// Requests counted at the pods since the present weight was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    /// When the present weight was accepted (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub converged_at: Option<String>,
    /// When counts and sums were last written here (RFC 3339, UTC); at most once a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub sampled_at: Option<String>,
}

/// Requests counted at the pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// Requests that stable answered.
    pub stable: i64,
    /// Requests that the candidate answered.
    pub candidate: i64,
    /// True: the shares agree with the weights (5 sigma). Unknown: fewer than 500 requests. False: they do not.
    #[schemars(length(max = 8))]
    pub agrees: String,
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

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HandledCommand {
    /// Annotation without the prefix, such as `promote`.
    #[schemars(length(max = 32))]
    pub command: String,
    /// Its value.
    #[schemars(length(max = 256))]
    pub value: String,
    /// Field manager that wrote it.
    #[schemars(length(max = 128))]
    pub manager: String,
    /// What it did.
    #[schemars(length(max = 300))]
    pub outcome: String,
    /// When it was carried out (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub at: String,
}

fn one() -> i32 {
    1
}
fn unseen() -> i64 {
    -1
}
fn default_top_k() -> i32 {
    10
}
fn default_overfetch() -> i32 {
    10
}
fn default_rrf_k() -> i32 {
    60
}
fn default_path_prefix() -> String {
    "/".to_owned()
}
fn default_steps() -> Vec<Step> {
    vec![Step { weight: 100, hold: default_hold() }]
}
fn default_min_requests() -> i64 {
    100
}
fn default_hold() -> String {
    "0s".to_owned()
}
fn default_progress_deadline() -> String {
    "6h".to_owned()
}
fn default_window() -> String {
    "72h".to_owned()
}
fn default_on() -> Vec<RollbackCause> {
    vec![RollbackCause::GateFailed, RollbackCause::SloBreached, RollbackCause::Unavailable]
}
