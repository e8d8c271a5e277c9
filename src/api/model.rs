//! EmbeddingModel: an encoder with a declared and measured identity.
//!
//! Invariant: the identity fields never change; another encoder is another object.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, KeyRef, Resources};

/// An encoder: what it is (identity, immutable) and where it answers (endpoint, may change).
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[kube(
    group = "ragops.dev",
    version = "v1alpha1",
    kind = "EmbeddingModel",
    plural = "embeddingmodels",
    shortname = "emb",
    category = "rag",
    namespaced,
    status = "EmbeddingModelStatus",
    doc = "An encoder with a declared and measured identity. Indexes name it; a new model is a new object.",
    printcolumn = r#"{"name":"READY","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"MODEL","type":"string","jsonPath":".spec.model"}"#,
    printcolumn = r#"{"name":"DIM","type":"integer","jsonPath":".spec.dimensions"}"#,
    printcolumn = r#"{"name":"FINGERPRINT","type":"string","jsonPath":".status.fingerprint"}"#,
    printcolumn = r#"{"name":"DRIFTED","type":"string","jsonPath":".status.conditions[?(@.type==\"Drifted\")].status"}"#,
    printcolumn = r#"{"name":"AGE","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"MESSAGE","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].message"}"#,
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 40 characters that begins with a letter, such as `wordllama`")
)]
#[x_kube(
    validation = Rule::new("self.model == oldSelf.model && self.revision == oldSelf.revision && self.dimensions == oldSelf.dimensions && self.distance == oldSelf.distance && self.normalize == oldSelf.normalize && self.prefixes == oldSelf.prefixes && self.maxInputTokens == oldSelf.maxInputTokens")
        .message("the identity (model, revision, dimensions, distance, normalize, prefixes, maxInputTokens) must not change; create a new EmbeddingModel and name it in the index")
)]
pub struct EmbeddingModelSpec {
    /// Name of the model, 1 to 253 characters. Part of the identity: immutable.
    #[schemars(length(min = 1, max = 253))]
    pub model: String,
    /// Revision of the model, at most 128 characters. Default: empty. Part of the identity: immutable.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub revision: String,
    /// Length of the vectors that the encoder must return, 1 to 8192. Part of the identity: immutable.
    #[schemars(range(min = 1, max = 8192))]
    pub dimensions: i32,
    /// How vectors are compared: Cosine (default), Dot or Euclidean. Part of the identity: immutable.
    #[serde(default)]
    pub distance: Distance,
    /// Whether the worker scales every vector to length 1. Default: true. Part of the identity: immutable.
    #[serde(default = "yes")]
    pub normalize: bool,
    /// Texts put before a query and before a passage. Default: both empty. Part of the identity: immutable.
    #[serde(default)]
    pub prefixes: Prefixes,
    /// Most tokens of one text that the encoder reads, 1 to 131072, default 512; longer texts are cut
    /// by the encoder. Part of the identity: immutable.
    #[serde(default = "default_max_input_tokens")]
    #[schemars(range(min = 1, max = 131_072))]
    pub max_input_tokens: i32,
    /// Where the encoder answers. May change; a changed endpoint is probed before pods use it.
    pub endpoint: Endpoint,
}

/// How vectors are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Distance {
    #[default]
    Cosine,
    Dot,
    Euclidean,
}

/// Texts that some encoders want before a query and before a passage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prefixes {
    /// Put before every query, at most 512 characters. Default: empty.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub query: String,
    /// Put before every passage, at most 512 characters. Default: empty.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub passage: String,
}

/// Exactly one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.openAI), has(self.managed)].exists_one(x, x)")
    .message("exactly one of spec.endpoint.openAI and spec.endpoint.managed must be set"))]
pub struct Endpoint {
    /// A server with an OpenAI-compatible `/embeddings` call.
    #[serde(default, rename = "openAI", skip_serializing_if = "Option::is_none")]
    pub open_ai: Option<OpenAiEndpoint>,
    /// A small server (`rag embed`) that the operator runs from a model directory on a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedEndpoint>,
}

/// `POST {url}/embeddings`. Answers 429 and 5xx are tried again, honouring Retry-After.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenAiEndpoint {
    /// Base address, such as `http://embedder.ml:8080/v1`; https, or http in the cluster; no user info.
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^@\s]+$"))]
    pub url: String,
    /// Name sent as `model`. Default: spec.model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub model: Option<String>,
    /// Key of a Secret whose value is sent as bearer token. Default: no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<KeyRef>,
    /// Texts in one request, 1 to 2048, default 64.
    #[serde(default = "default_batch_size")]
    #[schemars(range(min = 1, max = 2048))]
    pub batch_size: i32,
    /// Requests in flight at once from one worker, 1 to 64, default 4.
    #[serde(default = "default_max_concurrency")]
    #[schemars(range(min = 1, max = 64))]
    pub max_concurrency: i32,
    /// Time limit of one try, default `30s`, at most `10m`. Jobs get 180 s for all tries of a request, or twice this
    /// where that is longer; a retrieval server gives a query 6 s for all its tries, whatever stands here.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))]
    pub timeout: String,
    /// PEM certificates to trust beside the built-in roots: a key of a ConfigMap. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<KeyRef>,
}

/// The operator runs `rag embed` as a Deployment with a Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManagedEndpoint {
    /// Kind of model directory. Static: a matrix of token vectors (model.safetensors, tokenizer.json, config.json).
    pub format: ManagedFormat,
    /// Where the model directory lies.
    pub model: ModelSource,
    /// Pods, 1 to 100, default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,
    /// CPU and memory of each pod. Default: 100m and 256Mi requested, 512Mi at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// Kind of model directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManagedFormat {
    Static,
}

/// A model directory on a claim, mounted read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelSource {
    /// Name of a PersistentVolumeClaim in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
    /// Directory on the claim, relative, without `..`. Default: the claim's root.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub path: String,
}

/// What was observed of the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmbeddingModelStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// Address that pods use, with the `/v1` path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,
    /// Endpoint that pods use: the last one that passed its probe. A changed spec.endpoint takes its place only
    /// then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// 12 hex digits of the declared identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub fingerprint: Option<String>,
    /// Length of the vectors that the encoder returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65_536))]
    pub dimensions: Option<i32>,
    /// Lowest cosine between two encodings of the same probe text (1 = the encoder repeats itself exactly).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_noise: Option<f64>,
    /// Compact form of the 64 probe vectors of the first probe that passed, 1024 base64 characters; every later
    /// probe is compared with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1100))]
    pub sketch: Option<String>,
    /// Mean cosine of the last probe with that sketch; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine_mean: Option<f64>,
    /// When the last probe ended (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub probed_at: Option<String>,
    /// Digest of identity and endpoint that the last probe measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub probed_endpoint: Option<String>,
    /// Ready, Reconciling, Stalled and Drifted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for EmbeddingModelStatus {
    fn default() -> Self {
        Self {
            observed_generation: unseen(),
            url: None,
            endpoint: None,
            fingerprint: None,
            dimensions: None,
            self_noise: None,
            sketch: None,
            cosine_mean: None,
            probed_at: None,
            probed_endpoint: None,
            conditions: Vec::new(),
        }
    }
}

fn yes() -> bool {
    true
}
fn one() -> i32 {
    1
}
fn unseen() -> i64 {
    -1
}
fn default_max_input_tokens() -> i32 {
    512
}
fn default_batch_size() -> i32 {
    64
}
fn default_max_concurrency() -> i32 {
    4
}
fn default_timeout() -> String {
    "30s".to_owned()
}
