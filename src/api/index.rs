//! VectorIndex: versions of an index, each immutable once Ready.
//!
//! Invariant: a version is never changed after its verify Job passed; a change is a new version.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, DataFrom, LocalRef, Resources};

/// What is indexed, with which encoder, and where the versions are kept.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "ragops.dev",
    version = "v1alpha1",
    kind = "VectorIndex",
    plural = "vectorindexes",
    shortname = "vidx",
    category = "rag",
    namespaced,
    status = "VectorIndexStatus",
    doc = "An index of documents. Each change of content, chunking or encoder builds a new, verified, immutable version beside the old ones.",
    printcolumn = r#"{"name":"READY","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"STATE","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"VERSION","type":"string","jsonPath":".status.latestVersion"}"#,
    printcolumn = r#"{"name":"DOCS","type":"integer","jsonPath":".status.documents"}"#,
    printcolumn = r#"{"name":"CHUNKS","type":"integer","jsonPath":".status.chunks"}"#,
    printcolumn = r#"{"name":"MODEL","type":"string","jsonPath":".spec.embeddingModelRef.name"}"#,
    printcolumn = r#"{"name":"STORE","type":"string","jsonPath":".status.store"}"#,
    printcolumn = r#"{"name":"AGE","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"MESSAGE","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters that begins with a letter, such as `handbook`")
)]
pub struct VectorIndexSpec {
    /// The EmbeddingModel that encodes passages and queries. Another model builds a new version.
    pub embedding_model_ref: LocalRef,
    /// Where documents come from, 1 to 32 sources; their names are unique.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.all(s, self.exists_one(o, o.name == s.name))")
        .message("spec.sources must have unique names"))]
    pub sources: Vec<Source>,
    /// How documents are cut into chunks. Part of the version.
    #[serde(default)]
    pub chunking: Chunking,
    /// Where versions are kept.
    pub store: Store,
    /// Search parameters; part of a release's revision, not of the version.
    #[serde(default)]
    pub search: Search,
    /// Keyword side (BM25); needed for retrieval modes Keyword and Hybrid.
    #[serde(default)]
    pub keyword: Keyword,
    /// What the data must look like before a version is Ready.
    #[serde(default)]
    pub data_quality: DataQuality,
    /// Fields of the Jobs that build and verify.
    #[serde(default)]
    pub build: Build,
    /// How many versions are kept.
    #[serde(default)]
    pub retention: Retention,
    /// What happens to the stored versions when this object is deleted: Delete (default) or Orphan.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// One source of documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// Name of the source, a DNS label of at most 40 characters; reports and quarantine name it.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Label of every chunk of this source in the field `domain`; a metadata field named `domain` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub domain: Option<String>,
    /// Exactly one of configMap and volume.
    #[x_kube(validation = Rule::new("[has(self.configMap), has(self.volume)].exists_one(x, x)")
        .message("exactly one of from.configMap and from.volume must be set"))]
    pub from: DataFrom,
    /// Format of the files: Auto (default: by name, then content), Jsonl, Markdown, Text or Html.
    #[serde(default)]
    pub format: Format,
    /// Names of fields in structured formats (Jsonl).
    #[serde(default)]
    pub mapping: Mapping,
    /// Glob patterns of files to read, at most 32. Default: all files. `*` stops at `/`, `**` does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    pub include: Vec<String>,
    /// Glob patterns of files to leave out, at most 32; stronger than include.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    pub exclude: Vec<String>,
}

/// Format of a source's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Format {
    #[default]
    Auto,
    Jsonl,
    Markdown,
    Text,
    Html,
}

/// Names of fields in structured formats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Field that holds the document id. Default: `id`.
    #[serde(default = "field_id")]
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// Field that holds the title. Default: `title`; a document without it has an empty title.
    #[serde(default = "field_title")]
    #[schemars(length(min = 1, max = 128))]
    pub title: String,
    /// Field that holds the text. Default: `text`.
    #[serde(default = "field_text")]
    #[schemars(length(min = 1, max = 128))]
    pub text: String,
    /// Fields kept as metadata (strings, numbers, booleans), at most 32; looked up in the document and in
    /// its `metadata` object. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)))]
    pub metadata: Vec<String>,
}

impl Default for Mapping {
    fn default() -> Self {
        Self { id: field_id(), title: field_title(), text: field_text(), metadata: Vec::new() }
    }
}

/// How documents are cut into chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("self.overlapTokens < self.maxTokens")
    .message("spec.chunking.overlapTokens must be smaller than spec.chunking.maxTokens"))]
pub struct Chunking {
    /// Recursive (default: paragraphs, sentences, words), Markdown (headings first), Fixed (by length
    /// alone) or None (a document is one chunk).
    #[serde(default)]
    pub strategy: Strategy,
    /// Most tokens of a chunk, 16 to 8192, default 256.
    #[serde(default = "default_max_tokens")]
    #[schemars(range(min = 16, max = 8192))]
    pub max_tokens: i32,
    /// Tokens that neighbouring chunks share, default 32; smaller than maxTokens.
    #[serde(default = "default_overlap_tokens")]
    #[schemars(range(min = 0, max = 8191))]
    pub overlap_tokens: i32,
    /// How tokens are counted. Approximate (default): 4 bytes of Latin text or 1 CJK character a token.
    #[serde(default)]
    pub tokenizer: Tokenizer,
}

impl Default for Chunking {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            max_tokens: default_max_tokens(),
            overlap_tokens: default_overlap_tokens(),
            tokenizer: Tokenizer::default(),
        }
    }
}

/// How documents are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    #[default]
    Recursive,
    Markdown,
    Fixed,
    None,
}

/// How tokens are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Tokenizer {
    #[default]
    Approximate,
}

/// Exactly one kind of store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.embedded)")
    .message("spec.store.embedded must be set"))]
pub struct Store {
    /// Files on a claim, read by `rag serve` itself; no server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<EmbeddedStore>,
}

/// Versions are directories on a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddedStore {
    /// Name of a PersistentVolumeClaim in the same namespace. With access mode ReadWriteOnce alone all
    /// pods that mount it run on one node.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
}

/// Search parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Search {
    /// Chunks up to which search is exact (a scan of all vectors), 1 to 1,000,000, default 20,000. This
    /// version searches exactly at any size; above the number the index says that searches are slow.
    #[serde(default = "default_exact_below")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub exact_below: i32,
}

impl Default for Search {
    fn default() -> Self {
        Self { exact_below: default_exact_below() }
    }
}

/// Keyword side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keyword {
    /// Whether a BM25 index is built beside the vectors. Default: false.
    #[serde(default)]
    pub enabled: bool,
}

/// What the data must look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataQuality {
    /// Fewest documents of a version, 0 to 1,000,000,000, default 1; fewer is a failed build.
    #[serde(default = "default_min_documents")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub min_documents: i64,
    /// Most documents set aside because they cannot be read, in percent of the source, 0 to 100, default 2.
    #[serde(default = "default_max_quarantine_percent")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub max_quarantine_percent: f64,
    /// Most that the source may shrink against the version before, in percent, 0 to 100, default 10; more
    /// is a failed build (ShrinkGuard). 100 switches the guard off.
    #[serde(default = "default_shrink_guard_percent")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub shrink_guard_percent: f64,
    /// Least share of sampled chunks that find themselves first when searched by their own text, 0 to 1,
    /// default 0.99; less is a failed verification (SelfRetrievalLow).
    #[serde(default = "default_self_retrieval_min")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub self_retrieval_min: f64,
}

impl Default for DataQuality {
    fn default() -> Self {
        Self {
            min_documents: default_min_documents(),
            max_quarantine_percent: default_max_quarantine_percent(),
            shrink_guard_percent: default_shrink_guard_percent(),
            self_retrieval_min: default_self_retrieval_min(),
        }
    }
}

/// Fields of the Jobs that build and verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Build {
    /// Time limit of a build or verify Job, 1m to 72h, default `2h`.
    #[serde(default = "default_deadline")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub deadline: String,
    /// CPU and memory of the Jobs' pods. On a full node they get processor time in the share of their request to those
    /// of the servers. Default: 25m and 256Mi requested, 2Gi at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Default for Build {
    fn default() -> Self {
        Self { deadline: default_deadline(), resources: None }
    }
}

/// How many versions are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Ready versions kept beyond those in use, 1 to 50, default 3; older ones are deleted by a Job.
    #[serde(default = "default_versions")]
    #[schemars(range(min = 1, max = 50))]
    pub versions: i32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { versions: default_versions() }
    }
}

/// What happens to the stored versions with the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    #[default]
    Delete,
    Orphan,
}

/// What was observed of the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VectorIndexStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// Name of the newest Ready version, such as `v3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub latest_version: Option<String>,
    /// Number of the last version that was begun; counts up only.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub last_number: i64,
    /// Documents of the newest Ready version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<i64>,
    /// Chunks of the newest Ready version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<i64>,
    /// Kind of store in use, such as `embedded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub store: Option<String>,
    /// The versions, newest last, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub versions: Vec<IndexVersion>,
    /// The build under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildStatus>,
    /// Digest of the inputs (spec, fingerprint, rebuild token) that the last begun build was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub built_for: Option<String>,
    /// Commands that were carried out, newest last, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub commands: Vec<super::release::HandledCommand>,
    /// Ready, Reconciling, Stalled and DataReliable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for VectorIndexStatus {
    fn default() -> Self {
        Self {
            observed_generation: unseen(),
            latest_version: None,
            last_number: 0,
            documents: None,
            chunks: None,
            store: None,
            versions: Vec::new(),
            build: None,
            built_for: None,
            commands: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

/// One version of the index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IndexVersion {
    /// Name of the version, `v` and its number.
    #[schemars(length(max = 20))]
    pub name: String,
    /// Building, Verifying, Ready, Failed or Retiring.
    pub state: VersionState,
    /// What began the build: Spec or Rebuild.
    pub cause: VersionCause,
    /// Directory of the version on its claim.
    #[schemars(length(max = 64))]
    pub physical: String,
    /// PersistentVolumeClaim that holds the directory; a later change of spec.store does not move it.
    #[schemars(length(max = 253))]
    pub claim: String,
    /// SHA-256 of what the version is: source manifest, chunking, fingerprint, keyword side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub content_digest: Option<String>,
    /// SHA-256 of the source manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub source_digest: Option<String>,
    /// Fingerprint of the encoder that built it.
    #[schemars(length(max = 24))]
    pub fingerprint: String,
    /// EmbeddingModel that built it.
    #[schemars(length(max = 253))]
    pub model: String,
    /// Documents indexed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<i64>,
    /// Chunks indexed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<i64>,
    /// Documents set aside because they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<i64>,
    /// Chunks whose vectors were taken from the version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_chunks: Option<i64>,
    /// Size on the claim in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// Whether the version has a keyword side.
    #[serde(default)]
    pub keyword: bool,
    /// When the build was begun (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub created_at: String,
    /// When it became Ready (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub ready_at: Option<String>,
    /// Why it failed or is retiring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1200))]
    pub reason: Option<String>,
}

/// State of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VersionState {
    Building,
    Verifying,
    Ready,
    Failed,
    Retiring,
}

/// What began a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VersionCause {
    Spec,
    Rebuild,
}

/// The build under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildStatus {
    /// Version under way.
    #[schemars(length(max = 20))]
    pub version: String,
    /// How far the build is; for display only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

/// How far a Job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// Units done.
    #[schemars(range(min = 0))]
    pub done: i64,
    /// Units in all.
    #[schemars(range(min = 0))]
    pub total: i64,
    /// What is counted, such as `chunks`.
    #[schemars(length(max = 20))]
    pub unit: String,
}

fn unseen() -> i64 {
    -1
}
fn field_id() -> String {
    "id".to_owned()
}
fn field_title() -> String {
    "title".to_owned()
}
fn field_text() -> String {
    "text".to_owned()
}
fn default_max_tokens() -> i32 {
    256
}
fn default_overlap_tokens() -> i32 {
    32
}
fn default_exact_below() -> i32 {
    20_000
}
fn default_min_documents() -> i64 {
    1
}
fn default_max_quarantine_percent() -> f64 {
    2.0
}
fn default_shrink_guard_percent() -> f64 {
    10.0
}
fn default_self_retrieval_min() -> f64 {
    0.99
}
fn default_deadline() -> String {
    "2h".to_owned()
}
fn default_versions() -> i32 {
    3
}
