//! The end of an index: used, it waits; then its directories go, or stay, with it.
//!
//! Why the time in Ready: it is Unknown only here, so its transition says when the last user left, across
//! restarts. Invariants: nothing is deleted while a release names a version or cannot be decoded; nothing can
//! hold the object for longer than the limit after that.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::keep::{self, Pruning};
use super::{Draft, SOON, WAIT, WATCH_JOB, build, tell};
use crate::api::index::{DeletionPolicy, VersionState};
use crate::api::{ConditionType, Reason, VectorIndexStatus};
use crate::controller::condition::{self, Meanwhile, State};
use crate::controller::event::Note;
use crate::controller::plan::{Action, Plan};

/// Longest time that deleting directories may take, in seconds.
const LIMIT: i64 = 120;

/// Decides for an index that is being deleted.
pub(super) fn plan(mut draft: Draft<'_>) -> Plan<VectorIndexStatus> {
    if !draft.has_finalizer() {
        // Others may still hold the object; nothing of ours is left to do.
        return Plan::of(draft.status);
    }
    keep::settle(&mut draft);
    build::cancel(&mut draft, Reason::Deleting, "the index is being deleted");
    if let Some(state) = in_use(&mut draft) {
        keep::restore(&mut draft);
        draft.look_again(WAIT);
        draft.sweep();
        return draft.finish(state);
    }
    match draft.index.spec.deletion_policy {
        DeletionPolicy::Orphan => orphan(draft),
        DeletionPolicy::Delete => delete(draft),
    }
}

/// Who still needs a version, in words.
fn in_use(draft: &mut Draft<'_>) -> Option<State> {
    let name = draft.index.name_any();
    let by = match (draft.seen.uses.first(), draft.seen.unreadable.first()) {
        (Some(first), _) => {
            format!("is used by release {} ({}); delete or repoint it first", first.release, first.role)
        }
        (None, Some(release)) => {
            format!("may be used by release {release}, which cannot be decoded; correct or delete it first")
        }
        (None, None) => return None,
    };
    let ready = if super::newest_ready(&draft.status).is_some() { Meanwhile::True } else { Meanwhile::False };
    let message = format!("Index {name} {by}; serving goes on.");
    Some(State::Reconciling { ready, reason: Reason::InUse, message })
}

fn orphan(mut draft: Draft<'_>) -> Plan<VectorIndexStatus> {
    let kept = directories(&draft, |v| matches!(v.state, VersionState::Ready | VersionState::Retiring));
    if !kept.is_empty() {
        let text = format!("The object goes, its data stay (deletionPolicy Orphan): {}.", kept.join(", "));
        draft.events.push(Note::normal(Reason::Deleting, text));
    }
    release(draft, "The data stay where they are (deletionPolicy Orphan).")
}

fn delete(mut draft: Draft<'_>) -> Plan<VectorIndexStatus> {
    let since = since(&draft);
    keep::retire(&mut draft, "the index is being deleted", |_| true);
    let left = directories(&draft, |v| keep::leaves_data(v) && !draft.seen.gone_claims.contains(&v.claim));
    if left.is_empty() {
        return release(draft, "Its versions are deleted.");
    }
    let late = since.is_some_and(|at| draft.seen.now.duration_since(at) >= SignedDuration::from_secs(LIMIT));
    if late {
        let text = format!(
            "These directories could not be deleted within {} min and stay behind: {}. Delete them by hand.",
            LIMIT / 60,
            left.join(", ")
        );
        draft.events.push(Note::warning(Reason::Deleting, text));
        return release(draft, "Some of its data stay behind; see the Warning event.");
    }
    let pruning = match since {
        Some(_) => keep::prune(&mut draft),
        None => Pruning::Quiet,
    };
    draft.look_again(if since.is_some() { WATCH_JOB } else { SOON });
    let names = left.join(", ");
    let state = State::Reconciling {
        ready: Meanwhile::Unknown,
        reason: Reason::Deleting,
        message: format!("Deletes {names}. No release uses this index. What cannot be deleted in time stays behind."),
    };
    draft.sweep();
    let state = tell::with_pruning_while_leaving(state, &pruning);
    draft.finish(state)
}

/// When the last user left: since then Ready is Unknown.
fn since(draft: &Draft<'_>) -> Option<Timestamp> {
    let conditions = draft.index.status.as_ref()?.conditions.as_slice();
    let ready = condition::find(conditions, ConditionType::Ready)?;
    let leaving = ready.status == "Unknown" && ready.reason == Reason::Deleting.as_str();
    leaving.then(|| condition::parse_time(&ready.last_transition_time)).flatten()
}

fn directories(draft: &Draft<'_>, these: impl Fn(&crate::api::index::IndexVersion) -> bool) -> Vec<String> {
    let versions = draft.status.versions.iter().filter(|v| these(v));
    versions.map(|v| format!("{} on claim {}", v.physical, v.claim)).collect()
}

fn release(mut draft: Draft<'_>, message: &str) -> Plan<VectorIndexStatus> {
    draft.sweep();
    draft.actions.push(Action::Finalizer { present: false });
    let state = State::Reconciling { ready: Meanwhile::Unknown, reason: Reason::Deleting, message: message.to_owned() };
    draft.finish(state)
}
