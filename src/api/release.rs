//! RagRelease: what serves, and how change reaches it.
//!
//! Invariant: status is the persisted intent; the weight on the route never exceeds it.

mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gate::EvalGateSpec;
use super::{Condition, LocalRef, Resources};

pub use status::*;

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayTraffic {
    /// Gateways to attach to, 1 to 4. Two references to one Gateway need a sectionName each.
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, b.name == a.name && has(b.__namespace__) == has(a.__namespace__) && (!has(a.__namespace__) || b.__namespace__ == a.__namespace__) && (!has(a.sectionName) || !has(b.sectionName) || b.sectionName == a.sectionName)))")
        .message("references of parentRefs to the same Gateway must have a sectionName each, all different"))]
    pub parent_refs: Vec<ParentRef>,
    /// Host names to answer to, at most 8: DNS names in lower case, without port; `*.` may stand before one. Default:
    /// those of the Gateway's listeners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = Rule::new(r"self.all(h, h.matches('^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))")
        .message("hostnames must be DNS names in lower case without port or scheme, such as `search.example.com` or `*.example.com`"))]
    pub hostnames: Vec<String>,
    /// Prefix of the path, default `/`, without `//`, `/./` and `/../`. The servers ignore what stands before the last
    /// `/v1/`.
    #[serde(default = "default_path_prefix")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[-A-Za-z0-9/._~]*$"))]
    #[x_kube(validation = Rule::new(r"!self.contains('//') && !self.matches('/[.][.]?(/|$)')")
        .message("pathPrefix must not hold `//`, `/./` or `/../`"))]
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
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Listener of the Gateway. Default: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
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

fn one() -> i32 {
    1
}

fn default_top_k() -> i32 {
    10
}

fn default_rrf_k() -> i32 {
    60
}

fn default_steps() -> Vec<Step> {
    vec![Step { weight: 100, hold: default_hold() }]
}

fn default_hold() -> String {
    "0s".to_owned()
}

fn default_window() -> String {
    "72h".to_owned()
}

fn default_path_prefix() -> String {
    "/".to_owned()
}

fn default_progress_deadline() -> String {
    "6h".to_owned()
}

fn default_min_requests() -> i64 {
    100
}

fn default_on() -> Vec<RollbackCause> {
    vec![RollbackCause::GateFailed, RollbackCause::SloBreached, RollbackCause::Unavailable]
}

fn default_overfetch() -> i32 {
    10
}
