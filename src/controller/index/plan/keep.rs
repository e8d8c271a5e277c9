//! Which versions stay, and how the directories of the others go.
//!
//! Invariants: a version goes only when it was persisted as Retiring in an earlier pass and no release of this
//! pass names it; while a release cannot be decoded nothing goes; one prune Job at a time; no directory is
//! deleted while a pod may still write it.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::{Draft, SOON, WATCH_JOB, render};
use crate::api::Reason;
use crate::api::index::{IndexVersion, VersionState};
use crate::controller::attempt::Outcome;
use crate::controller::event::Note;
use crate::controller::index::plan::spec::LISTED;
use crate::worker::job::Task;
use crate::worker::receipt::Body;

/// Entries of failed versions that stay listed for their reasons.
const FAILURES: usize = 3;
/// Entries that retention leaves room for: failed ones, one under way, one found unchanged, one that retires.
const RESERVE: usize = FAILURES + 3;

/// Reason of a version that a prune Job was told to delete; it never comes back.
const TOLD: &str = "a Job was told to delete it";

/// How the deleting goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pruning {
    /// Nothing to say.
    Quiet,
    /// The Job failed: in words.
    Failing(String),
    /// A Job of our name is somebody else's.
    Foreign(String),
}

/// Whether a version that goes still has a directory. Nothing else writes a size of 0.
pub(super) fn leaves_data(version: &IndexVersion) -> bool {
    match version.state {
        VersionState::Retiring => true,
        VersionState::Failed => version.size_bytes != Some(0),
        VersionState::Building | VersionState::Verifying | VersionState::Ready => false,
    }
}

/// Directories by claim, each list sorted.
pub(super) fn groups<'v>(versions: impl Iterator<Item = &'v IndexVersion>) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for version in versions {
        groups.entry(version.claim.clone()).or_default().push(version.physical.clone());
    }
    groups.values_mut().for_each(|list| list.sort());
    groups
}

/// Takes over what prune Jobs did, and forgets directories whose claim is gone.
pub(super) fn settle(draft: &mut Draft<'_>) {
    let seen = draft.seen;
    for job in seen.jobs.iter().filter(|j| render::purpose_of(j) == render::PRUNE) {
        let (Some(Task::Prune(task)), Outcome::Done { report: Body::Prune(report), .. }) =
            (render::task_of(job), draft.outcome(&job.name_any()))
        else {
            continue;
        };
        for physical in &task.physical {
            forget(draft, |v| v.physical == *physical, report.foreign.contains(physical));
        }
    }
    forget(draft, |v| seen.gone_claims.contains(&v.claim), false);
    let failed: Vec<&IndexVersion> =
        draft.status.versions.iter().rev().filter(|v| v.state == VersionState::Failed).collect();
    let old: BTreeSet<String> =
        failed.into_iter().skip(FAILURES).filter(|v| !leaves_data(v)).map(|v| v.name.clone()).collect();
    draft.status.versions.retain(|v| !old.contains(&v.name));
}

/// The directories of these versions are no longer ours to delete.
fn forget(draft: &mut Draft<'_>, these: impl Fn(&IndexVersion) -> bool, foreign: bool) {
    let mut events = Vec::new();
    draft.status.versions.retain_mut(|version| {
        if !leaves_data(version) || !these(version) {
            return true;
        }
        if foreign {
            let text = format!(
                "Directory {} on claim {} does not carry the marker of this index and was left alone. Look at it, \
                 and remove it by hand if nothing needs it.",
                version.physical, version.claim
            );
            events.push(Note::warning(Reason::NotOwned, text));
        }
        version.size_bytes = Some(0);
        // A failure stays listed for its reason.
        version.state == VersionState::Failed
    });
    draft.events.append(&mut events);
}

/// Marks what retention no longer keeps, and takes back what a release names again.
pub(super) fn retain(draft: &mut Draft<'_>, keep: usize) {
    if !draft.seen.unreadable.is_empty() {
        return;
    }
    restore(draft);
    let used: BTreeSet<&str> = draft.seen.uses.iter().map(|u| u.version.as_str()).collect();
    let ready = draft.status.versions.iter().filter(|v| v.state == VersionState::Ready);
    let in_use = ready.clone().filter(|v| used.contains(v.name.as_str())).count();
    let room = LISTED.saturating_sub(RESERVE).saturating_sub(in_use).max(1);
    let spare = ready.rev().filter(|v| !used.contains(v.name.as_str()));
    // The newest always stays: it is what a release would take next.
    let newest = super::newest_ready(&draft.status).map(|v| v.name.clone());
    let retiring: BTreeSet<String> =
        spare.skip(keep.min(room)).filter(|v| Some(&v.name) != newest.as_ref()).map(|v| v.name.clone()).collect();
    retire(draft, &format!("beyond the {keep} that retention keeps"), |v| retiring.contains(&v.name));
}

/// Persists that versions go; the next pass reads the releases again.
pub(super) fn retire(draft: &mut Draft<'_>, why: &str, these: impl Fn(&IndexVersion) -> bool) {
    let mut some = false;
    for version in draft.status.versions.iter_mut().filter(|v| v.state == VersionState::Ready && these(v)) {
        version.state = VersionState::Retiring;
        version.reason = Some(why.to_owned());
        some = true;
    }
    if some {
        draft.look_again(SOON);
    }
}

/// A version that a release names again is Ready again, as long as no Job was ever told to delete it: one that
/// failed may have left half of it.
pub(super) fn restore(draft: &mut Draft<'_>) {
    let seen = draft.seen;
    for version in &mut draft.status.versions {
        let named = seen.uses.iter().any(|u| u.version == version.name);
        let whole = version.ready_at.is_some() && version.reason.as_deref() != Some(TOLD);
        if version.state == VersionState::Retiring && named && whole {
            version.state = VersionState::Ready;
            version.reason = None;
        }
    }
}

/// Prune Jobs that exist, with the directories that they were told to delete.
fn told(draft: &Draft<'_>) -> Vec<(String, Vec<String>)> {
    let prunes = draft.seen.jobs.iter().filter(|j| render::purpose_of(j) == render::PRUNE);
    prunes
        .map(|job| match render::task_of(job) {
            Some(Task::Prune(task)) => (job.name_any(), task.physical),
            Some(
                Task::Build(_) | Task::Verify(_) | Task::Check(_) | Task::Evaluate(_) | Task::Probe(_) | Task::Serve(_),
            )
            | None => (job.name_any(), Vec::new()),
        })
        .collect()
}

/// Creates the Job that deletes what goes, or says why it cannot.
pub(super) fn prune(draft: &mut Draft<'_>) -> Pruning {
    let jobs = told(draft);
    let mut failing = Pruning::Quiet;
    for (name, physical) in &jobs {
        match draft.outcome(name) {
            Outcome::Running => {
                draft.look_again(WATCH_JOB);
                return Pruning::Quiet;
            }
            Outcome::Stuck { message, .. } => {
                draft.look_again(WATCH_JOB);
                return Pruning::Failing(format!("{}: {message}", physical.join(", ")));
            }
            Outcome::Failed { error, .. } if awaits(draft, physical) => {
                failing = Pruning::Failing(format!("{}: {}.", physical.join(", "), error.error));
            }
            Outcome::Failed { .. } | Outcome::Done { .. } | Outcome::Absent | Outcome::Foreign => {}
        }
    }
    let going = goes(draft);
    if going.values().flatten().count() == 0 || !draft.seen.unreadable.is_empty() {
        return failing;
    }
    for (claim, physical) in going {
        let name = render::prune_name(draft.index, &physical);
        if draft.seen.foreign.contains(&name) {
            return Pruning::Foreign(name);
        }
        // One that failed expires first.
        if !jobs.iter().any(|(known, _)| *known == name) {
            draft.actions.push(render::prune(draft.base(), &claim, &physical));
            told_of(draft, &physical);
            draft.look_again(WATCH_JOB);
            break;
        }
    }
    failing
}

/// Persists, before the Job exists, that these versions are no longer whole.
fn told_of(draft: &mut Draft<'_>, physical: &[String]) {
    let these = |v: &&mut IndexVersion| v.state == VersionState::Retiring && physical.contains(&v.physical);
    for version in draft.status.versions.iter_mut().filter(these) {
        version.reason = Some(TOLD.to_owned());
    }
}

fn awaits(draft: &Draft<'_>, physical: &[String]) -> bool {
    draft.status.versions.iter().any(|v| leaves_data(v) && physical.contains(&v.physical))
}

/// What may be deleted now.
fn goes(draft: &mut Draft<'_>) -> BTreeMap<String, Vec<String>> {
    let mut waits = false;
    let going: Vec<IndexVersion> = draft
        .status
        .versions
        .iter()
        .filter(|v| leaves_data(v))
        .filter(|v| !draft.seen.gone_claims.contains(&v.claim))
        .filter(|v| !draft.seen.uses.iter().any(|u| u.version == v.name))
        .filter(|v| {
            // Retiring counts from the next pass on.
            v.state != VersionState::Retiring
                || draft.persisted(&v.name).is_some_and(|p| p.state == VersionState::Retiring)
        })
        .filter(|v| {
            let writes = [render::BUILD, render::VERIFY]
                .iter()
                .any(|purpose| draft.seen.writes(&render::job_name(draft.index, purpose, &v.name)));
            waits |= writes;
            !writes
        })
        .cloned()
        .collect();
    if waits {
        draft.look_again(WATCH_JOB);
    }
    groups(going.iter())
}
