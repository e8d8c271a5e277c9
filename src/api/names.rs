//! Labels, annotations, finalizers and field managers: every fixed name in one place.
//!
//! Why: the same word in two files drifts apart; tests and docs read these constants.

/// API group of the four kinds.
pub const GROUP: &str = "ragops.dev";
/// API version of the four kinds.
pub const VERSION: &str = "v1alpha1";
/// Field manager and User-Agent of the operator.
pub const MANAGER: &str = "rag-operator";
/// Finalizer of objects that own data outside the cluster's own store, or that others still use.
pub const FINALIZER: &str = "ragops.dev/cleanup";

/// Label: the release, index, gate or model an object belongs to.
pub const LABEL_OWNER: &str = "ragops.dev/owner";
/// Label: UID of the owner, part of every selector.
pub const LABEL_OWNER_UID: &str = "ragops.dev/owner-uid";
/// Label: the revision of a release.
pub const LABEL_REVISION: &str = "ragops.dev/revision";
/// Label: what a Job is for (`build`, `verify`, `prune`, `check`, `evaluate`, `probe`).
pub const LABEL_PURPOSE: &str = "ragops.dev/purpose";
/// Label: the claim that holds an embedded index; pods that mount it find each other by it.
pub const LABEL_CLAIM: &str = "ragops.dev/index-claim";

/// Annotation of a route: revision behind `backendRefs[0]`.
pub const ANNOTATION_STABLE: &str = "ragops.dev/stable";
/// Annotation of a route: revision behind `backendRefs[1]`.
pub const ANNOTATION_CANDIDATE: &str = "ragops.dev/candidate";
/// Annotation of a route: the step that its weights belong to.
pub const ANNOTATION_STEP: &str = "ragops.dev/step";
/// Annotation: what a Deployment or Service was last written from: a field that was dropped since then must go.
pub const ANNOTATION_RENDERED: &str = "ragops.dev/rendered";

/// Command: past holds and Inconclusive gates to the next step.
pub const COMMAND_PROMOTE: &str = "ragops.dev/promote";
/// Command: weight 0, candidate removed and remembered as failed.
pub const COMMAND_ABORT: &str = "ragops.dev/abort";
/// Command: forget a failed revision and start it again.
pub const COMMAND_RETRY: &str = "ragops.dev/retry";
/// Command: the sums that `maxCumulativeDrop` limits begin anew; the value is any token.
pub const COMMAND_RESET_ANCHOR: &str = "ragops.dev/reset-anchor";
/// Command: `"true"` freezes going up, removed to resume.
pub const COMMAND_PAUSE: &str = "ragops.dev/pause";
/// Command of a VectorIndex: build a new version.
pub const COMMAND_REBUILD: &str = "ragops.dev/rebuild";

/// Traffic port of `rag serve` and `rag embed`.
pub const PORT_TRAFFIC: i32 = 8080;
/// Evaluation port of `rag serve`.
pub const PORT_EVALUATION: i32 = 8081;
/// Health and metrics port.
pub const PORT_HEALTH: i32 = 8082;
/// Name of the one container of every pod that we create.
pub const CONTAINER: &str = "rag";
/// Environment variable with the worker's input, one JSON document.
pub const ENV_JOB: &str = "RAG_JOB";
/// Response header that names the revision that answered.
pub const HEADER_REVISION: &str = "x-rag-revision";
