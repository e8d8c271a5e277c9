//! EvalGate: what must hold, and how it is measured.
//!
//! Invariant: Ready means usable; a failing candidate never turns a gate red.
//!
//! Why rules repeat some bounds: the API server compares a whole number with the bound cut to a whole number, so that
//! `0` would pass a minimum of 0.001.

mod online;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, DataFrom};

pub use online::*;
pub use status::*;

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
    validation = Rule::new("!has(self.schedule) || has(self.retrieval)")
        .message("spec.schedule needs spec.retrieval: an online gate watches all the time"),
    validation = Rule::new("!has(self.timeZone) || has(self.schedule)")
        .message("spec.timeZone needs spec.schedule"),
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
    /// When the stable revision of each release that names this gate is measured again, as five fields (minute, hour,
    /// day of month, month, day of week), such as `0 3 * * *`. A run that fails warns and keeps candidates from going
    /// on; it rolls nothing back. Only with retrieval. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^\S+( +\S+){4}$"))]
    pub schedule: Option<String>,
    /// Time zone of the schedule, an IANA name such as `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[A-Za-z0-9_+/-]+$"))]
    pub time_zone: Option<String>,
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
#[x_kube(
    validation = Rule::new("!has(self.slices) || !has(self.slices.required) || self.slices.required.size() * self.metrics.filter(m, m.required && (has(m.margin) || has(m.relativeMargin))).size() <= 7")
        .message("spec.retrieval.slices.required times the required metrics with a margin must make at most 7 rows; require fewer slices"),
    validation = Rule::new("!has(self.slices) || !has(self.slices.required) || self.slices.required.size() == 0 || self.metrics.exists(m, m.required && (has(m.margin) || has(m.relativeMargin)))")
        .message("spec.retrieval.slices.required are held to the margins of required metrics, and there is none; give a required metric a margin, or use worstGroupFloor"),
    validation = Rule::new("!has(self.slices) || !has(self.slices.worstGroupFloor) || !self.metrics[0].name.matches('^(unj|Hole)@')")
        .message("spec.retrieval.slices.worstGroupFloor holds the first metric, and of unj and Hole a lower value is better; put another metric first"),
    validation = Rule::new("!has(self.maxCumulativeDrop) || self.metrics.exists(m, has(m.margin) || has(m.relativeMargin))")
        .message("spec.retrieval.maxCumulativeDrop limits metrics with a margin, and there is none; give one a margin")
)]
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
    /// Whether a result whose id is the id of its query is removed before anything is computed (default false), for
    /// collections whose queries are documents too. One document more is then asked for.
    #[serde(default)]
    pub ignore_identical_ids: bool,
    /// What counts for a judged query that an arm gave no answer to. zero (default): value 0. drop: the query is left out
    /// of both arms; more than 1 % of such queries is verdict Error either way.
    #[serde(default)]
    pub missing: Missing,
    /// Which trec_eval decides about equal scores: trec_eval_10 (default) compares them in double precision,
    /// trec_eval_9 in single precision, as its versions up to 9.0.8 and pytrec_eval do.
    #[serde(default)]
    pub compat: Compat,
    /// Groups of queries that must not break while the whole looks well. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<Slices>,
    /// Most that a metric with a margin may lose over all releases since the anchor, this one included, above 0, at most
    /// 1: a loss inside the margin of each release must not add up. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 1.0))]
    #[x_kube(validation = Rule::new("self > 0.0")
        .message("maxCumulativeDrop must be above 0; leave it out for no limit"))]
    pub max_cumulative_drop: Option<f64>,
}

/// Groups of queries by their metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slices {
    /// Keys of the queries' `metadata`, 1 to 4; each value of a key is a slice, named `key=value`. A slice fails the gate
    /// when it is proven worse after correction for all slices and metrics (Holm) and lost at least twice the margin.
    #[schemars(length(min = 1, max = 4), inner(length(min = 1, max = 63), regex(pattern = r"^[^=]+$")))]
    #[x_kube(validation = Rule::new("self.all(k, self.exists_one(o, o == k))")
        .message("spec.retrieval.slices.by must name different keys"))]
    pub by: Vec<String>,
    /// Queries from which on a slice can fail the gate, 10 to 1000000, default 30; smaller ones are only reported.
    #[serde(default = "default_min_queries")]
    #[schemars(range(min = 10, max = 1_000_000))]
    pub min_queries: i64,
    /// Least mean of the worst slice on the first metric, of which a higher value must be better, 0 to 1: below it the gate
    /// fails. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub worst_group_floor: Option<f64>,
    /// Slices, as `key=value`, that must pass like the whole, with the gate's margins, floors and limits and enough queries of
    /// their own; at most 7, and at most 7 with the required metrics that have a margin multiplied. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), inner(length(min = 3, max = 63), regex(pattern = r"^[^=]+=.+$")))]
    #[x_kube(validation = Rule::new("self.all(k, self.exists_one(o, o == k))")
        .message("spec.retrieval.slices.required must name different slices"))]
    pub required: Vec<String>,
}

/// A labelled query set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dataset {
    /// Exactly one of configMap and volume. Which keys, or files of the volume's directory, are read says `format`. Beside
    /// them, if there: `slices.tsv` (query id, name, value; tab-separated), added to the queries' metadata, and
    /// `nuggets.jsonl` for taskRecall and taskSuccess. Every file may be packed, with `.gz` or `.zst` after its name.
    #[x_kube(validation = Rule::new("[has(self.configMap), has(self.volume)].exists_one(x, x)")
        .message("exactly one of from.configMap and from.volume must be set"))]
    pub from: DataFrom,
    /// Layout of the files. Beir (default): `queries.jsonl` and, tab-separated with a header, the judgments `qrels.tsv`
    /// (in a volume `qrels/<split>.tsv`). Trec: `queries.tsv`, lines `id⇥text`, and judgments `query 0 document grade` in
    /// `qrels.txt` (in a volume `qrels/<split>.txt`). Jsonl: `dataset.jsonl` (in a volume `<split>.jsonl`), a JSON object
    /// with `query_id`, `text`, `qrels` {document: grade} and `metadata` a line.
    #[serde(default)]
    pub format: DatasetFormat,
    /// Which file of a volume holds the judgments, default `test`.
    #[serde(default = "default_split")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub split: String,
}

/// Layout of a dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DatasetFormat {
    #[default]
    Beir,
    Trec,
    Jsonl,
}

/// What counts for a judged query that an arm did not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    #[default]
    Zero,
    Drop,
}

/// Which trec_eval decides about equal scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Compat {
    #[default]
    #[serde(rename = "trec_eval_10")]
    TrecEval10,
    #[serde(rename = "trec_eval_9")]
    TrecEval9,
}

/// One metric and what must hold of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.margin) || has(self.relativeMargin) || has(self.floor) || has(self.max)")
        .message("a metric needs at least one of margin, relativeMargin, floor and max"),
    validation = Rule::new("!(has(self.margin) && has(self.relativeMargin))")
        .message("a metric has either margin or relativeMargin, not both"),
    validation = Rule::new("!self.name.matches('^(unj|Hole)@') || !(has(self.margin) || has(self.relativeMargin) || has(self.floor))")
        .message("of unj and Hole a lower value is better: they take max only"),
    validation = Rule::new("!self.confident || has(self.floor)")
        .message("confident needs a floor, whose lower bound it asks for")
)]
pub struct Metric {
    /// `ndcg`, `map` or `mrr`, alone or with `@k`; `recall@k`, `success@k`, `P@k`, `R_cap@k`; `Rprec`, `bpref`,
    /// `rbp(p=0.8)`; with nuggets `taskRecall@k`, `taskSuccess@k`; with max alone `unj@k`, `Hole@k`; k from 1 to 1000.
    /// Where relevance counts, `(rel=2)` lets grades from 2 on count only: `recall(rel=2)@10`, `rbp(p=0.8,rel=2)`.
    #[schemars(
        length(min = 1, max = 32),
        regex(
            pattern = r"^((recall|success|P|R_cap)(\(rel=[1-9][0-9]?\))?@[1-9][0-9]{0,3}|(map|mrr)(\(rel=[1-9][0-9]?\))?(@[1-9][0-9]{0,3})?|ndcg(@[1-9][0-9]{0,3})?|(Rprec|bpref)(\(rel=[1-9][0-9]?\))?|rbp\(p=0\.[0-9]{0,2}[1-9](,rel=[1-9][0-9]?)?\)|(taskRecall|taskSuccess|unj|Hole)@[1-9][0-9]{0,3})$"
        )
    )]
    pub name: String,
    /// Largest drop against the baseline that is still acceptable, above 0, at most 1 (absolute). A margin of
    /// 0.05 needs at least 59 queries, 0.02 at least 149. Default: no comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 1.0))]
    #[x_kube(validation = Rule::new("self > 0.0")
        .message("margin must be above 0; without one nothing is compared"))]
    pub margin: Option<f64>,
    /// In place of margin: the largest drop as a share of the baseline's mean in the same run, above 0, below 1; 0.03 is
    /// 3 %. The drop is fixed, with six decimals, before the difference is judged. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 0.999_999))]
    #[x_kube(validation = Rule::new("self > 0.0")
        .message("relativeMargin must be above 0; without one nothing is compared"))]
    pub relative_margin: Option<f64>,
    /// Least mean of the candidate, 0 to 1. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub floor: Option<f64>,
    /// Whether the floor must hold at the lower bound of the candidate's mean instead of the mean itself (default
    /// false): a floor that luck alone could have reached then fails.
    #[serde(default)]
    pub confident: bool,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statistics {
    /// PairedSignFlip (default): bounds of Student's t, and a sign-flip test that can only take a Pass away.
    /// PairedT: the bounds alone. BoundedMean: bounds that hold where few queries lose much, at the price of two to three
    /// times the queries; for compression, chunking and success@1.
    #[serde(default)]
    pub method: Method,
    /// One-sided error rate, 0.001 to 0.2, default 0.05.
    #[serde(default = "default_alpha")]
    #[schemars(range(min = 0.001, max = 0.2))]
    #[x_kube(validation = Rule::new("self >= 0.001")
        .message("alpha must be at least 0.001"))]
    pub alpha: f64,
    /// Seed of the drawn signs, 0 or more, default 7. Equal inputs and seed give equal results.
    #[serde(default = "default_seed")]
    #[schemars(range(min = 0))]
    pub seed: i64,
    /// Key of the queries' `metadata` whose values group queries that fail together, such as paraphrases or questions about
    /// one document. A cluster then counts as one, and margins need clusters where they needed queries. Default: each
    /// query stands for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub cluster_by: Option<String>,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { method: Method::default(), alpha: default_alpha(), seed: default_seed(), cluster_by: None }
    }
}

/// Statistical method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    #[default]
    PairedSignFlip,
    PairedT,
    BoundedMean,
}

fn yes() -> bool {
    true
}

fn default_timeout() -> String {
    "30m".to_owned()
}

fn default_split() -> String {
    "test".to_owned()
}

fn default_seed() -> i64 {
    7
}

fn default_alpha() -> f64 {
    0.05
}

fn default_min_queries() -> i64 {
    30
}

fn default_retries() -> i32 {
    2
}
