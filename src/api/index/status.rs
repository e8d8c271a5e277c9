//! What the operator says of an index: its versions and the build under way.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

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
    pub commands: Vec<crate::api::release::HandledCommand>,
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
}

fn unseen() -> i64 {
    -1
}
