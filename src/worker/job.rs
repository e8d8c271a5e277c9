//! What the operator tells a pod: one JSON document in the environment (`RAG_JOB`).
//!
//! Why here: operator and workers share two things only, this input and the receipt
//! ([`super::receipt`]); both sides compile against the same types. [`judging`] is how both read a gate.
//!
//! Invariants: no secret travels in it (Secrets are mounted as files by the kubelet); every path is a
//! path inside the pod; unknown fields are refused, so that a version skew ends in a clear error.

mod judging;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use judging::{
    Counting, Foreseen, Judging, MAX_METRICS, judging, rule, rules, slice_rules, worse_than_at_promotion,
};

use crate::api::gate::{Baseline, Dataset, EvalGateSpec, Metric, RetrievalGate, Slices, Statistics};
use crate::api::index::{Chunking, DataQuality, Search, Source};
use crate::api::model::{Distance, EmbeddingModelSpec, Prefixes};
use crate::api::release::Retrieval;
use crate::hex::hex;

/// Where the kubelet mounts what a pod reads and writes.
pub mod paths {
    /// `/sources/<source name>/…`: each source's ConfigMap or claim, read-only.
    pub const SOURCES: &str = "/sources";
    /// The claim that holds the versions of an embedded index.
    pub const INDEX: &str = "/index";
    /// The claim that holds a model directory, read-only.
    pub const MODEL: &str = "/model";
    /// The dataset of a gate, read-only.
    pub const DATASET: &str = "/dataset";
    /// The claim that keeps reports, writable.
    pub const REPORT: &str = "/report";
    /// The file with the bearer token of an encoder.
    pub const API_KEY: &str = "/secrets/encoder/api-key";
    /// The file with certificates to trust beside the built-in roots.
    pub const CA_BUNDLE: &str = "/secrets/encoder-ca/ca.crt";
    /// Where the kubelet reads the receipt.
    pub const TERMINATION_LOG: &str = "/dev/termination-log";
}

/// The input of one pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobInput {
    /// Version of this form: 1.
    pub v: u32,
    /// Nonce that the receipt must carry, at most 72 characters.
    pub run: String,
    /// What to do.
    pub task: Task,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Task {
    Build(BuildTask),
    Verify(VerifyTask),
    Prune(PruneTask),
    Check(CheckTask),
    Evaluate(Box<EvaluateTask>),
    Probe(ProbeTask),
    Serve(ServeTask),
}

/// Identity and endpoint of an encoder, as a pod needs them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Encoder {
    pub identity: Identity,
    /// Base address with `/v1`.
    pub url: String,
    /// Sent as `model`.
    pub model: String,
    pub batch_size: i32,
    pub max_concurrency: i32,
    /// Go-style duration.
    pub timeout: String,
    /// Whether [`paths::API_KEY`] is mounted.
    pub api_key: bool,
    /// Whether [`paths::CA_BUNDLE`] is mounted.
    pub ca_bundle: bool,
}

/// The declared identity of an encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    pub model: String,
    pub revision: String,
    pub dimensions: i32,
    pub distance: Distance,
    pub normalize: bool,
    pub prefixes: Prefixes,
    pub max_input_tokens: i32,
}

impl Identity {
    /// The identity fields of a spec.
    pub fn of(spec: &EmbeddingModelSpec) -> Self {
        Self {
            model: spec.model.clone(),
            revision: spec.revision.clone(),
            dimensions: spec.dimensions,
            distance: spec.distance,
            normalize: spec.normalize,
            prefixes: spec.prefixes.clone(),
            max_input_tokens: spec.max_input_tokens,
        }
    }

    /// First 12 hex digits of SHA-256 over the declared identity as canonical JSON: an id, never a hash of
    /// vectors.
    pub fn fingerprint(&self) -> String {
        let mut hex = digest(self);
        hex.truncate(12);
        hex
    }
}

/// SHA-256 in hex over the JSON of a value with its keys sorted.
pub fn digest<T: Serialize>(value: &T) -> String {
    // `serde_json::Value` keeps object keys sorted (no `preserve_order`), so equal values give equal text.
    let text = serde_json::to_value(value).map(|v| v.to_string()).unwrap_or_default();
    hex(&Sha256::digest(text.as_bytes()))
}

/// Read, check, cut, embed and write one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildTask {
    /// Directory below [`paths::INDEX`] to write.
    pub physical: String,
    /// UID of the VectorIndex: part of the marker in the manifest.
    pub owner_uid: String,
    /// Version name, such as `v3`.
    pub version: String,
    pub sources: Vec<Source>,
    pub chunking: Chunking,
    pub keyword: bool,
    pub data_quality: DataQuality,
    pub encoder: Encoder,
    /// Directory of the newest Ready version, whose vectors of unchanged chunks are taken over.
    pub previous: Option<String>,
    /// Documents of that version, for the shrink guard.
    pub previous_documents: Option<i64>,
}

/// Read one version back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyTask {
    pub physical: String,
    pub owner_uid: String,
    pub version: String,
    /// What the build reported.
    pub content_digest: String,
    pub documents: i64,
    pub chunks: i64,
    pub self_retrieval_min: f64,
    pub encoder: Encoder,
}

/// Delete versions; what is already gone counts as done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PruneTask {
    pub owner_uid: String,
    /// Directories below [`paths::INDEX`]; one that carries another owner's marker is left alone and reported.
    pub physical: Vec<String>,
}

/// Read a dataset in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckTask {
    /// Its files lie below [`paths::DATASET`] (with `from.volume.path` inside it).
    pub dataset: Dataset,
    /// What the data set must serve. An operator of an earlier version names `slices` and `clusterBy` in its place; then
    /// these are counted, and what the gate needs is looked at by its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<AskedOfDataset>,
    /// Metadata keys whose slices are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<String>,
    /// Metadata key whose clusters are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_by: Option<String>,
}

/// The part of a gate that a data set must serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AskedOfDataset {
    pub metrics: Vec<Metric>,
    pub statistics: Statistics,
    pub slices: Option<Slices>,
    pub baseline: Baseline,
}

impl AskedOfDataset {
    /// Of a gate.
    pub fn of(gate: &RetrievalGate) -> Self {
        Self {
            metrics: gate.metrics.clone(),
            statistics: gate.statistics.clone(),
            slices: gate.slices.clone(),
            baseline: gate.baseline,
        }
    }
}

/// Measure one or two arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvaluateTask {
    pub dataset: Dataset,
    /// Digest that the dataset must have; another ends as InputsChanged.
    pub dataset_digest: String,
    pub metrics: Vec<Metric>,
    pub statistics: Statistics,
    pub slices: Option<Slices>,
    pub counting: Counting,
    /// Digest of the gate's spec; enters `inputs`.
    pub spec_digest: String,
    pub candidate: Arm,
    pub baseline: Option<Arm>,
    /// What the operator judges by beside the numbers of this run; no input, so it changes no digest.
    #[serde(default, skip_serializing_if = "Earlier::is_empty")]
    pub earlier: Earlier,
    /// Where the files of the run are kept; no input, so it changes no digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportTask>,
}

/// What earlier runs of a gate measured, as it counts in this one's verdict. The pod shows the verdict that the operator
/// will give, and so must know it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Earlier {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cumulative_drop: Option<f64>,
    /// For each metric the sum of the differences of the revisions promoted since the anchor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promoted: Vec<f64>,
    /// Of a scheduled run: means of the revision when it was promoted, by the names of the metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at_promotion: BTreeMap<String, f64>,
}

impl Earlier {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Files of a run, kept on the claim at [`paths::REPORT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportTask {
    pub claim_name: String,
    /// Directory on the claim.
    pub path: String,
    pub namespace: String,
    pub release: String,
    pub gate: String,
    /// Whether the texts of queries may be shown.
    pub expose_text: bool,
}

/// One arm: the evaluation port of a revision's own Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arm {
    /// Base address, such as `http://handbook-0123456789.team.svc:8081`.
    pub url: String,
    /// What `GET /v1/revision` must answer.
    pub revision: String,
    pub content_digest: String,
    pub fingerprint: String,
}

/// Embed the probe texts twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeTask {
    pub encoder: Encoder,
    /// Sketch of the last probe, to compare with.
    pub sketch: Option<String>,
}

/// Serve one index version with its pinned encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServeTask {
    /// Name of the release.
    pub release: String,
    pub revision: String,
    /// Index and version, such as `handbook/v3`.
    pub version: String,
    /// Directory below [`paths::INDEX`].
    pub physical: String,
    pub content_digest: String,
    pub search: Search,
    pub retrieval: Retrieval,
    pub encoder: Encoder,
}

/// Digest of the part of a gate's spec that decides what a run measures and how it is judged.
pub fn spec_digest(spec: &EvalGateSpec) -> String {
    digest(&(&spec.retrieval, &spec.online))
}

/// Digest of what a retrieval run saw: dataset, both arms, gate spec, evaluator version. The operator
/// computes the same from its frozen plan; unequal means InputsChanged.
pub fn run_inputs(task: &EvaluateTask) -> String {
    let arm = |a: &Arm| (a.revision.clone(), a.content_digest.clone(), a.fingerprint.clone());
    digest(&(
        &task.dataset_digest,
        arm(&task.candidate),
        task.baseline.as_ref().map(arm),
        &task.spec_digest,
        EVALUATOR_VERSION,
    ))
}

/// Changes when the same inputs could give other numbers.
pub const EVALUATOR_VERSION: &str = "4";
