//! What the operator says of a release: decisions, as they are persisted, and observations; [`gates`] what gates say.
//!
//! Invariant: every list and text has a bound, and what is absent is not written.

mod gates;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use gates::*;

use super::*;

/// What was decided and observed. The decision is the intent: traffic never exceeds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RagReleaseStatus {
    /// Generation of the spec that this status speaks of; -1 before the first look.
    #[serde(default = "unseen")]
    pub observed_generation: i64,
    /// One sentence: what serves, what happens, what next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub summary: Option<String>,
    /// The revision that users get when no candidate is in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<RevisionStatus>,
    /// The revision on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,
    /// The revision before stable, kept ready until retainedUntil.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousStatus>,
    /// Gates of the last candidate with their numbers; kept until the next candidate starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub gates: Vec<GateProgress>,
    /// Verdict of the gates of the last candidate: Pass, Fail, Inconclusive, Error or Running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub gate: Option<String>,
    /// Last runs by the gates' schedules on the stable revision. One that failed keeps candidates from going on until
    /// it passes, or `ragops.dev/promote` lets them; it rolls nothing back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub scheduled: Vec<ScheduledRun>,
    /// Revisions that failed and are not tried again until the spec changes or `ragops.dev/retry` names them;
    /// newest last, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub failed_revisions: Vec<FailedRevision>,
    /// How candidates ended, newest last, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub history: Vec<HistoryEntry>,
    /// Steps and gates as they were when the candidate started; a change of the spec does not reach them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<FrozenPlan>,
    /// Online gates of stable as they were frozen for it, kept while a next candidate has a plan of its own: stable is
    /// judged by them until the candidate gets its first weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<FrozenPlan>,
    /// Since when this status is one that was lost and taken over from what was left (RFC 3339, UTC): nothing starts
    /// until the spec asks for stable, or `ragops.dev/promote` names the revision that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub restored_at: Option<String>,
    /// Weights: wanted, written, accepted by the gateway, counted at the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficStatus>,
    /// Sums of the online objectives of stable and of the candidate, kept across restarts of the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub online: Vec<ObjectiveStatus>,
    /// Commands that were carried out, newest last, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub commands: Vec<HandledCommand>,
    /// Ready, Reconciling, Stalled and Serving.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

impl Default for RagReleaseStatus {
    fn default() -> Self {
        Self {
            observed_generation: unseen(),
            summary: None,
            stable: None,
            candidate: None,
            previous: None,
            gates: Vec::new(),
            gate: None,
            scheduled: Vec::new(),
            failed_revisions: Vec::new(),
            history: Vec::new(),
            plan: None,
            watch: None,
            restored_at: None,
            traffic: None,
            online: Vec::new(),
            commands: Vec::new(),
            conditions: Vec::new(),
        }
    }
}

/// A revision that serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RevisionStatus {
    /// 10 hex digits of index content, encoder and retrieval settings.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Index and version, such as `handbook/v3`.
    #[schemars(length(max = 80))]
    pub version: String,
    /// Percent of requests it is to get.
    pub weight: i32,
    /// Image of its pods.
    #[schemars(length(max = 512))]
    pub image: String,
    /// Since when it is stable (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub since: String,
    /// What its gates measured before it was promoted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub evidence: Vec<GateEvidence>,
}

/// A revision on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// 10 hex digits of index content, encoder and retrieval settings.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Index and version, such as `handbook/v3`.
    #[schemars(length(max = 80))]
    pub version: String,
    /// Percent of requests it is to get.
    pub weight: i32,
    /// Image of its pods.
    #[schemars(length(max = 512))]
    pub image: String,
    /// Since when it is the candidate (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub since: String,
    /// Where it is: Preparing, Verifying, Stepping or RollingBack.
    pub stage: Stage,
    /// Number of the present step, from 1; 0 before traffic.
    pub step: i32,
    /// Step and number of steps, such as `2/4`.
    #[schemars(length(max = 8))]
    pub step_text: String,
    /// When the gateway had accepted the weight of this step: the hold counts from here (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub step_started_at: Option<String>,
    /// Requests that the candidate has answered in this step.
    #[serde(default)]
    pub step_requests: i64,
    /// Last progress: the deadline counts from here (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub progressed_at: String,
    /// Since when the release is paused: meanwhile the deadline does not run (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub paused_at: Option<String>,
    /// Why it is rolling back, in words; set with stage RollingBack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Where a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    Preparing,
    Verifying,
    Stepping,
    RollingBack,
}

/// Why a candidate was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// One word: GateFailed, SloBreached, Unavailable, Aborted, Superseded, ProgressDeadlineExceeded.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// A sentence with the numbers.
    #[schemars(length(max = 1200))]
    pub message: String,
}

/// The revision before stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousStatus {
    /// 10 hex digits of index content, encoder and retrieval settings.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Index and version, such as `handbook/v2`.
    #[schemars(length(max = 80))]
    pub version: String,
    /// Image of its pods.
    #[schemars(length(max = 512))]
    pub image: String,
    /// Until when it stays ready (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub retained_until: String,
    /// What its gates measured before it was promoted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub evidence: Vec<GateEvidence>,
}

/// A revision that is not tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailedRevision {
    /// The revision.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// One word: GateFailed, SloBreached, Unavailable, Aborted or ProgressDeadlineExceeded.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// A sentence with the numbers.
    #[schemars(length(max = 1200))]
    pub message: String,
    /// When (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub at: String,
}

/// How a candidate ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// The revision.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Index and version.
    #[schemars(length(max = 80))]
    pub version: String,
    /// Promoted, RolledBack, Superseded, Aborted or Interrupted (its pods were gone and came back).
    #[schemars(length(max = 64))]
    pub outcome: String,
    /// A sentence.
    #[schemars(length(max = 300))]
    pub message: String,
    /// When (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub at: String,
}

/// Steps and gates as they were when the candidate started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrozenPlan {
    /// Revision that the plan is for.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Revision that gates compare with; absent for a first release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub baseline: Option<String>,
    /// When it was frozen (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub frozen_at: String,
    /// Steps.
    #[schemars(length(max = 16))]
    pub steps: Vec<Step>,
    /// Gates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub gates: Vec<FrozenGate>,
    /// Requests that each step needs.
    pub min_requests: i64,
    /// What an Inconclusive gate does.
    pub on_inconclusive: OnInconclusive,
    /// Time without progress after which the candidate is withdrawn.
    #[schemars(length(max = 32))]
    pub progress_deadline: String,
}

/// Weights, from intent to effect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficStatus {
    /// Percent of requests that the candidate is to get.
    pub wanted: i32,
    /// Percent that the route declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<i32>,
    /// Whether every Gateway reports Accepted and ResolvedRefs for the present route.
    #[serde(default)]
    pub accepted: bool,
    /// Requests counted at the pods since the present weight was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    /// When the present weight was accepted (RFC 3339, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub converged_at: Option<String>,
    /// When counts and sums were last written here (RFC 3339, UTC); at most once a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub sampled_at: Option<String>,
}

/// Requests counted at the pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counted {
    /// Requests that stable answered.
    pub stable: i64,
    /// Requests that the candidate answered.
    pub candidate: i64,
    /// True: the shares agree with the weights (5 sigma). Unknown: fewer than 500 requests. False: they do not.
    #[schemars(length(max = 8))]
    pub agrees: String,
}

/// A command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HandledCommand {
    /// Annotation without the prefix, such as `promote`.
    #[schemars(length(max = 32))]
    pub command: String,
    /// Its value.
    #[schemars(length(max = 256))]
    pub value: String,
    /// Field manager that wrote it.
    #[schemars(length(max = 128))]
    pub manager: String,
    /// What it did.
    #[schemars(length(max = 300))]
    pub outcome: String,
    /// When it was carried out (RFC 3339, UTC).
    #[schemars(length(max = 40))]
    pub at: String,
}

fn unseen() -> i64 {
    -1
}
