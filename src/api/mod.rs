//! The four kinds as users write them: types, schema, CEL rules and reasons.
//!
//! Why a room of its own: the operator, the workers and the command line all read these types, and
//! the CRDs are printed from them. Field docs are what `kubectl explain` shows, so each one says
//! unit, default, range and effect.
//!
//! Invariant: no behaviour and no IO here; rules that CEL states are stated again by the planner,
//! since stored objects may predate them. A field exists only when it works.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod gate;
pub mod index;
pub mod model;
pub mod names;
pub mod reason;
pub mod release;

pub use gate::{EvalGate, EvalGateSpec, EvalGateStatus};
pub use index::{VectorIndex, VectorIndexSpec, VectorIndexStatus};
pub use model::{EmbeddingModel, EmbeddingModelSpec, EmbeddingModelStatus};
pub use reason::{ConditionType, Reason};
pub use release::{RagRelease, RagReleaseSpec, RagReleaseStatus};

/// A reference to an object in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalRef {
    /// Name of an object in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a Secret or ConfigMap in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRef {
    /// Name of the object in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key inside the object.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Where files come from. Exactly one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataFrom {
    /// Files are the keys of a ConfigMap in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// Files lie on a PersistentVolumeClaim in the same namespace, mounted read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeSource>,
}

/// The keys of a ConfigMap as files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigMapSource {
    /// Name of the ConfigMap in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Keys to read, at most 64. Default: all keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub keys: Vec<String>,
}

/// A path on a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSource {
    /// Name of a PersistentVolumeClaim in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
    /// File or directory on the claim, relative, without `..`. Default: the claim's root.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub path: String,
}

/// CPU and memory of a pod. A limit without a request is the request too; a memory request without a limit is the
/// limit too. A request may not be more than its limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.limits) || !has(self.requests.cpu) || !has(self.limits.cpu) || quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0")
    .message("resources.requests.cpu must not be more than resources.limits.cpu"))]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.limits) || !has(self.requests.memory) || !has(self.limits.memory) || quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0")
    .message("resources.requests.memory must not be more than resources.limits.memory"))]
pub struct Resources {
    /// What the scheduler reserves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceAmounts>,
    /// What the container may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceAmounts>,
}

/// Amounts as Kubernetes quantities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceAmounts {
    /// Cores, such as `500m` or `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+(\.[0-9]+)?m?$"))]
    pub cpu: Option<String>,
    /// Bytes, such as `256Mi` or `2Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"))]
    pub memory: Option<String>,
}

/// One condition, with the meaning of Kubernetes' own `metav1.Condition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Name of the condition, such as `Ready`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[schemars(length(max = 8))]
    pub status: String,
    /// One word of a closed list that says why; docs/reasons.md explains each.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// One or two sentences: what, why, what serves, what happens next, what to do.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub message: String,
    /// Generation of the spec that this condition speaks of.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
    /// When `status` last changed (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub last_transition_time: String,
}
