//! VectorIndex: versions of an index, each immutable once Ready.
//!
//! Invariant: a version is never changed after its verify Job passed; a change is a new version.

mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, DataFrom, LocalRef, Resources};

pub use status::*;

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

fn field_title() -> String {
    "title".to_owned()
}

fn default_max_tokens() -> i32 {
    256
}

fn default_exact_below() -> i32 {
    20_000
}

fn default_max_quarantine_percent() -> f64 {
    2.0
}

fn default_self_retrieval_min() -> f64 {
    0.99
}

fn default_versions() -> i32 {
    3
}

fn field_id() -> String {
    "id".to_owned()
}

fn default_overlap_tokens() -> i32 {
    32
}

fn default_shrink_guard_percent() -> f64 {
    10.0
}

fn field_text() -> String {
    "text".to_owned()
}

fn default_deadline() -> String {
    "2h".to_owned()
}

fn default_min_documents() -> i64 {
    1
}
