//! What users read: states and conditions of an index, always as what, why, what serves, what next, what to do.
//!
//! Invariant: texts are functions of status and world without times and counters, so an unchanged world
//! writes nothing.

use kube::ResourceExt;

use super::keep::Pruning;
use crate::api::index::{IndexVersion, VersionCause, VersionState};
use crate::api::{ConditionType, EmbeddingModel, Reason, VectorIndex, VectorIndexStatus, names};
use crate::controller::attempt;
use crate::controller::condition::{self, Extra, State};
use crate::controller::index::newest_ready;
use crate::worker::receipt::ErrorReport;

/// Characters of a version's reason.
const REASON: usize = 1_200;
/// References that a message names one by one.
const NAMED: usize = 5;

/// A sentence on what releases can go on using.
pub(super) fn serves(status: &VectorIndexStatus) -> String {
    match newest_ready(status) {
        Some(newest) => format!("{} stays the newest ready version; what serves is untouched.", newest.name),
        None => "No version is ready yet.".to_owned(),
    }
}

/// The word of a receipt as a reason of the closed list.
pub(super) fn reason_of(error: &ErrorReport) -> Reason {
    attempt::reason_of(error).unwrap_or(Reason::JobFailed)
}

/// How a failure is kept in a version: its word first, so that later passes read it back.
pub(super) fn failed_reason(reason: Reason, text: &str) -> String {
    format!("{reason}: {text}").chars().take(REASON).collect()
}

fn read_back(version: &IndexVersion) -> (Reason, &str) {
    let kept = version.reason.as_deref().unwrap_or_default();
    let (word, text) = kept.split_once(": ").unwrap_or(("", kept));
    match Reason::of(word) {
        Some(reason) => (reason, text),
        None => (Reason::JobFailed, kept),
    }
}

/// The version begun last, if it failed for a reason of its own.
pub(super) fn failure(status: &VectorIndexStatus) -> Option<&IndexVersion> {
    let last = format!("v{}", status.last_number);
    let version = super::super::version(status, &last)?;
    let own = !matches!(read_back(version).0, Reason::Superseded | Reason::Deleting);
    (version.state == VersionState::Failed && own).then_some(version)
}

pub(super) fn failed(status: &VectorIndexStatus, version: &IndexVersion, index: &VectorIndex) -> State {
    let (reason, text) = read_back(version);
    let text = text.trim_end_matches('.');
    State::stalled(
        reason,
        format!(
            "Version {} failed: {text}. {} It is not tried again until the spec or the encoder changes; for the same \
             inputs once more: kubectl -n {} annotate vidx {} {}=<token> --overwrite.",
            version.name,
            serves(status),
            index.namespace().unwrap_or_default(),
            index.name_any(),
            names::COMMAND_REBUILD
        ),
    )
}

pub(super) fn ready(status: &VectorIndexStatus, newest: &IndexVersion, exact_below: i64) -> State {
    let chunks = newest.chunks.unwrap_or(0);
    let mut text = format!("{} is ready: {}.", newest.name, counts(newest));
    let last = format!("v{}", status.last_number);
    if last != newest.name {
        text.push_str(&format!(" The build after it ({last}) found the same content, so it is unchanged."));
    }
    if chunks > exact_below {
        text.push_str(&format!(
            " It holds more chunks than `spec.search.exactBelow` ({exact_below}): every search scans all vectors and \
             is slow at this size."
        ));
    }
    State::ready(Reason::Succeeded, text)
}

fn counts(version: &IndexVersion) -> String {
    let (documents, chunks) = (version.documents.unwrap_or(0), version.chunks.unwrap_or(0));
    let aside = match version.quarantined {
        Some(n) if n > 0 => format!(", {n} documents set aside"),
        Some(_) | None => String::new(),
    };
    format!("{documents} documents in {chunks} chunks{aside}")
}

pub(super) fn building(status: &VectorIndexStatus, version: &IndexVersion) -> State {
    let why = match version.cause {
        VersionCause::Spec => "spec or encoder are new",
        VersionCause::Rebuild => "a rebuild was asked for",
    };
    State::waiting(Reason::Building, format!("Builds {}, since {why}. {}", version.name, serves(status)))
}

pub(super) fn verifying(status: &VectorIndexStatus, version: &IndexVersion) -> State {
    let text = format!("Reads {} back ({}). {}", version.name, counts(version), serves(status));
    State::waiting(Reason::Verifying, text)
}

/// A Job that met a passing trouble and will be made again. Stalled, since its pods were tried in vain and a wrong
/// path or address looks the same: somebody should look, though it goes on by itself.
pub(super) fn tried_again(status: &VectorIndexStatus, version: &IndexVersion, error: &ErrorReport) -> State {
    let text = format!(
        "{} does not go on: {} {} It is tried again by itself, after a minute at first and never more than an hour \
         later.",
        version.name,
        attempt::told(error),
        serves(status)
    );
    State::stalled(reason_of(error), text)
}

/// A Job whose pod waits for a volume: only events name it.
pub(super) fn waits_for_volumes(status: &VectorIndexStatus, job: &str, index: &VectorIndex) -> State {
    State::waiting(
        Reason::PodConfigError,
        format!(
            "The pod of Job {job} waits for its volumes: a claim, ConfigMap or Secret that it mounts is missing or \
             cannot be attached. {} Look: kubectl -n {} describe pod -l batch.kubernetes.io/job-name={job}",
            serves(status),
            index.namespace().unwrap_or_default()
        ),
    )
}

pub(super) fn old_pod(status: &VectorIndexStatus, job: &str) -> State {
    let text =
        format!("Waits until an earlier pod of Job {job} has ended; then the Job is made anew. {}", serves(status));
    State::waiting(Reason::Progressing, text)
}

pub(super) fn not_owned(status: &VectorIndexStatus, job: &str) -> State {
    State::stalled(
        Reason::NotOwned,
        format!("Job {job} exists and is not this index's; nothing is written. {} Delete that Job.", serves(status)),
    )
}

pub(super) fn too_many(status: &VectorIndexStatus) -> State {
    State::waiting(
        Reason::InUse,
        format!(
            "{} versions are listed, the most that can be: releases name them or they cannot be deleted. {} Unpin or \
             delete releases; the build begins by itself.",
            status.versions.len(),
            serves(status)
        ),
    )
}

pub(super) fn missing(status: &VectorIndexStatus, missing: &[String]) -> State {
    let is = if missing.len() == 1 { "is" } else { "are" };
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names: Vec<&str> = missing.iter().take(NAMED).map(String::as_str).collect();
    State::waiting(
        Reason::RefNotFound,
        format!(
            "{}{more} {is} not in this namespace. {} Create it or correct the spec; the build begins by itself.",
            names.join(", "),
            serves(status)
        ),
    )
}

pub(super) fn no_model(status: &VectorIndexStatus, name: &str) -> State {
    State::waiting(
        Reason::RefNotFound,
        format!(
            "EmbeddingModel `{name}` (named by `spec.embeddingModelRef`) is not in this namespace. {} Create it or \
             correct the reference; the build begins by itself.",
            serves(status)
        ),
    )
}

pub(super) fn unreadable_model(status: &VectorIndexStatus, name: &str, why: &str) -> State {
    State::waiting(
        Reason::InvalidObject,
        format!("EmbeddingModel `{name}` cannot be read: {why}. {} Correct that object.", serves(status)),
    )
}

/// Whether what the model says now is that it can be used.
pub(super) fn is_ready(model: &EmbeddingModel) -> bool {
    model.status.as_ref().is_some_and(|s| {
        condition::is_true(&s.conditions, ConditionType::Ready)
            && s.observed_generation >= model.metadata.generation.unwrap_or(0)
    })
}

pub(super) fn model_not_ready(status: &VectorIndexStatus, model: &EmbeddingModel) -> State {
    let conditions = model.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    let told = condition::find(conditions, ConditionType::Ready).map_or("", |c| c.message.as_str());
    let says = if told.is_empty() { String::new() } else { format!(": {told}") };
    State::waiting(
        Reason::Progressing,
        format!(
            "EmbeddingModel `{}` is not ready{says} {} The build begins when it is.",
            model.name_any(),
            serves(status)
        ),
    )
}

/// Adds what deleting old versions met. It never hides how the index itself is.
pub(super) fn with_pruning(state: State, pruning: &Pruning) -> State {
    let note = match pruning {
        Pruning::Quiet => return state,
        Pruning::Failing(why) => {
            format!("Old versions cannot be deleted yet ({why}) This is tried again; nothing that serves needs them.")
        }
        Pruning::Foreign(job) => {
            let text = format!(
                "{} Old versions cannot be deleted: Job {job} exists and is not this index's. Delete that Job.",
                state.message()
            );
            return match state {
                State::Ready { .. } => State::stalled(Reason::NotOwned, text),
                State::Reconciling { ready, reason, .. } => State::Reconciling { ready, reason, message: text },
                State::Stalled { reason, .. } => State::stalled(reason, text),
            };
        }
    };
    added(state, &note)
}

/// The same while the object goes: it stays on its way, whatever happens.
pub(super) fn with_pruning_while_leaving(state: State, pruning: &Pruning) -> State {
    match pruning {
        Pruning::Quiet => state,
        Pruning::Failing(why) => added(state, &format!("This fails so far ({why})")),
        Pruning::Foreign(job) => added(state, &format!("Job {job} exists and is not this index's.")),
    }
}

fn added(state: State, note: &str) -> State {
    let message = format!("{} {note}", state.message());
    state.worded(message)
}

/// The condition DataReliable: what the newest version that was judged says about the data.
pub(super) fn reliable(status: &VectorIndexStatus, state: &State) -> Option<Extra> {
    let type_ = ConditionType::DataReliable;
    let settled = matches!(state, State::Ready { .. });
    let judged = status.versions.iter().rev().find_map(|v| match v.state {
        VersionState::Ready => Some((v, None)),
        // A later build that found the content of a Ready version unchanged has passed its checks.
        VersionState::Failed if settled => None,
        VersionState::Failed => data_reason(v).map(|reason| (v, Some(reason))),
        VersionState::Building | VersionState::Verifying | VersionState::Retiring => None,
    })?;
    Some(match judged {
        (version, None) => Extra {
            type_,
            status: true,
            reason: Reason::ChecksPassed,
            message: format!("{} holds {} and was read back in full.", version.name, counts(version)),
        },
        (version, Some(reason)) => Extra {
            type_,
            status: false,
            reason,
            message: format!("{} failed: {}", version.name, read_back(version).1),
        },
    })
}

/// Failures that speak of the data, not of the cluster.
fn data_reason(version: &IndexVersion) -> Option<Reason> {
    let (reason, _) = read_back(version);
    let of_data =
        [Reason::ShrinkGuard, Reason::ChecksFailed, Reason::SelfRetrievalLow, Reason::CountMismatch].contains(&reason);
    of_data.then_some(reason)
}
