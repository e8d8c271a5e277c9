//! EvalGate: what must hold, and how it is measured.
//!
//! Invariant: Ready means usable; a failing candidate never turns a gate red.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, DataFrom};

/// A gate measures in exactly one way: offline on a labelled query set, or online on live signals.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "ragops.dev",
    version = "v1alpha1",
    kind = "EvalGate",
    plural = "evalgates",
    shortname = "gate",
    category = "rag",
    namespaced,
    status = "EvalGateStatus",
    doc = "What must hold before and while a release moves traffic. Ready means usable; verdicts are in status.lastRuns.",
    printcolumn = r#"{"name":"READY","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"KIND","type":"string","jsonPath":".status.kind"}"#,
    printcolumn = r#"{"name":"QUERIES","type":"integer","jsonPath":".status.dataset.queries"}"#,
    printcolumn = r#"{"name":"VERDICT","type":"string","jsonPath":".status.lastRuns[0].verdict"}"#,
    printcolumn = r#"{"name":"REASON","type":"string","jsonPath":".status.lastRuns[0].reason"}"#,
    printcolumn = r#"{"name":"LAST","type":"date","jsonPath":".status.lastRuns[0].finishedAt"}"#,
    printcolumn = r#"{"name":"AGE","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"MESSAGE","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters that begins with a letter, such as `answers-stay-good`")
)]
#[x_kube(
    validation = Rule::new("[has(self.retrieval), has(self.online)].exists_one(x, x)")
        .message("exactly one of spec.retrieval and spec.online must be set"),
    validation = Rule::new("!has(self.report) || has(self.retrieval)")
        .message("spec.report belongs to a gate with spec.retrieval; remove it here"),
    validation = Rule::new("!has(self.exposeText) || !self.exposeText || has(self.report)")
        .message("spec.exposeText says what a report may show; set spec.report too, or remove it")
)]
pub struct EvalGateSpec {
    /// Offline: a labelled query set, asked of both revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<RetrievalGate>,
    /// Online: signals of the pods that serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<OnlineGate>,
    /// Time limit of a run and of a check of the dataset, 1s to 24h, default `30m`; longer is verdict Error.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub timeout: String,
    /// New attempts after a run that could not measure (verdict Error), 0 to 10, default 2; afterwards one
    /// an hour.
    #[serde(default = "default_retries")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: i32,
    /// Retrieval gates only: where each run keeps a page with plots, the values of each query and the answers of both
    /// revisions. Default: nothing is kept, the numbers stay in status. A report that cannot be kept changes no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Whether the report shows the texts of queries (default false: only their ids). Who may read the claim reads them.
    #[serde(default)]
    pub expose_text: bool,
}

/// Files of each run on a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// Name of a PersistentVolumeClaim in the same namespace that the Job may write to, at most 63 characters. Files lie
    /// at `<path>/<release>/<revision>-<gate>-<run>`; of each release and gate the newest 20 runs are kept, at most
    /// 1 GiB of them.
    #[schemars(length(min = 1, max = 63))]
    pub claim_name: String,
    /// Directory on the claim, relative, without `..`, at most 63 characters. Default: the claim's root.
    #[serde(default)]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(part, part == '..')")
        .message("spec.report.path must be relative and without `..`"))]
    pub path: String,
}

/// Offline gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetrievalGate {
    /// Queries and judgments.
    pub dataset: Dataset,
    /// What is measured and what must hold, 1 to 8 metrics with unique names.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(m, self.exists_one(o, o.name == m.name))")
        .message("spec.retrieval.metrics must have unique names"))]
    pub metrics: Vec<Metric>,
    /// Stable (default): the candidate is compared with the stable revision on the same queries. None: only
    /// floors and max decide.
    #[serde(default)]
    pub baseline: Baseline,
    /// How the difference is judged.
    #[serde(default)]
    pub statistics: Statistics,
}

/// A labelled query set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dataset {
    /// Exactly one of configMap (keys `queries.jsonl` and `qrels.tsv`) and volume (a directory that holds
    /// `queries.jsonl` and `qrels/<split>.tsv`).
    #[x_kube(validation = Rule::new("[has(self.configMap), has(self.volume)].exists_one(x, x)")
        .message("exactly one of from.configMap and from.volume must be set"))]
    pub from: DataFrom,
    /// Layout of the files. Beir (default): queries.jsonl and tab-separated judgments with a header.
    #[serde(default)]
    pub format: DatasetFormat,
    /// Which judgments file, default `test`.
    #[serde(default = "default_split")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub split: String,
}

/// Layout of a dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DatasetFormat {
    #[default]
    Beir,
}

/// One metric and what must hold of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.margin) || has(self.floor) || has(self.max)")
    .message("a metric needs at least one of margin, floor and max"))]
pub struct Metric {
    /// `ndcg@k`, `recall@k`, `success@k`, `P@k`, `map`, `map@k`, `mrr` or `mrr@k`, with k from 1 to 1000.
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = r"^((ndcg|recall|success|P)@[1-9][0-9]{0,3}|(map|mrr)(@[1-9][0-9]{0,3})?)$")
    )]
    pub name: String,
    /// Largest drop against the baseline that is still acceptable, above 0, at most 1 (absolute). A margin of
    /// 0.05 needs at least 59 queries, 0.02 at least 149. Default: no comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 1.0))]
    pub margin: Option<f64>,
    /// Least mean of the candidate, 0 to 1. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub floor: Option<f64>,
    /// Largest mean of the candidate, 0 to 1. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max: Option<f64>,
    /// Whether the gate's verdict depends on this metric (default true); otherwise it is only reported.
    #[serde(default = "yes")]
    pub required: bool,
}

/// What the candidate is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Baseline {
    #[default]
    Stable,
    None,
}

/// How a difference is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statistics {
    /// PairedSignFlip (default): bounds of Student's t, and a sign-flip test that can only take a Pass away.
    /// PairedT: the bounds alone.
    #[serde(default)]
    pub method: Method,
    /// One-sided error rate, 0.001 to 0.2, default 0.05.
    #[serde(default = "default_alpha")]
    #[schemars(range(min = 0.001, max = 0.2))]
    pub alpha: f64,
    /// Seed of the drawn signs, 0 or more, default 7. Equal inputs and seed give equal results.
    #[serde(default = "default_seed")]
    #[schemars(range(min = 0))]
    pub seed: i64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { method: Method::default(), alpha: default_alpha(), seed: default_seed() }
    }
}

/// Statistical method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    #[default]
    PairedSignFlip,
    PairedT,
}

/// Online gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnlineGate {
    /// What must hold while traffic moves, 1 to 8 objectives with unique names.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(validation = Rule::new("self.all(m, self.exists_one(o, o.name == m.name))")
        .message("spec.online.objectives must have unique names"))]
    pub objectives: Vec<Objective>,
    /// How often the operator reads the counters of the pods, 1s to 5m, default `5s`. Of several online gates of
    /// a release the shortest interval counts.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub interval: String,
    /// How late a reading may be beyond the interval, 1s to 5m, default `5s`. A pod whose last reading is older
    /// than interval plus window (and than twice the interval) gives no data: then no step is taken, and nothing
    /// is rolled back for it.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub window: String,
}

/// One online objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("(self.signal == 'SlowRate') == has(self.threshold)")
    .message("threshold must be set for signal SlowRate and only for it"))]
pub struct Objective {
    /// Name, a DNS label of at most 40 characters; status and events use it.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// ErrorRate: share of answers 5xx. EmptyRate: share of answers 200 without a result. SlowRate: share of
    /// answers slower than threshold.
    pub signal: Signal,
    /// SlowRate only: one of 5ms 10ms 25ms 50ms 100ms 150ms 200ms 250ms 300ms 400ms 500ms 750ms 1s 2s 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self in ['5ms','10ms','25ms','50ms','100ms','150ms','200ms','250ms','300ms','400ms','500ms','750ms','1s','2s','5s']")
        .message("threshold must be one of 5ms 10ms 25ms 50ms 100ms 150ms 200ms 250ms 300ms 400ms 500ms 750ms 1s 2s 5s: the pods count answers in these buckets"))]
    pub threshold: Option<String>,
    /// Largest share that is acceptable, 0 to below 1. A breach is called only when the data prove it at error
    /// rate 0.05 for the whole release, however often they are looked at.
    #[schemars(range(min = 0.0, max = 0.999))]
    pub max: f64,
}

/// What is counted in the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Signal {
    ErrorRate,
    EmptyRate,
    SlowRate,
}

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
    /// Smallest margin that the query set can certify at best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certifiable_margin: Option<f64>,
    /// A sentence when the set is too small for its margins.
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
    /// Digest of the gate's spec that was checked.
    #[schemars(length(max = 64))]
    pub spec_digest: String,
    /// When the check ended (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub checked_at: String,
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
    /// Queries that a verdict would need, when this run could not decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_queries: Option<i64>,
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

fn yes() -> bool {
    true
}
fn unseen() -> i64 {
    -1
}
fn default_timeout() -> String {
    "30m".to_owned()
}
fn default_retries() -> i32 {
    2
}
fn default_split() -> String {
    "test".to_owned()
}
fn default_alpha() -> f64 {
    0.05
}
fn default_seed() -> i64 {
    7
}
fn default_interval() -> String {
    "5s".to_owned()
}
