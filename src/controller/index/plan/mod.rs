//! What happens next with an index: pure, total, decided anew in every pass from spec, world and old status.
//!
//! Why in parts: [`inputs`] says what is wanted, [`build`] begins versions and brings them to Ready or Failed, [`keep`] decides which
//! directories go, [`leave`] ends with the object, [`tell`] says it all in words.
//!
//! Invariants: what a Job did is read from the Job, never remembered; a number is given out once; a Job that
//! nothing waits for is deleted, a finished one expires only after its result is in status.

mod build;
mod inputs;
mod keep;
mod leave;
mod spec;
mod tell;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;

pub use spec::Spec;

use super::observe::Observed;
use super::{newest_ready, render};
use crate::api::index::{IndexVersion, VersionState};
use crate::api::{Reason, VectorIndex, VectorIndexStatus, names};
use crate::controller::attempt::Outcome;
use crate::controller::condition::{self, Extra, State};
use crate::controller::event::Note;
use crate::controller::plan::{Action, ChildKind, Plan};

/// A pod that cannot start is told of within 30 s.
const WATCH_JOB: Duration = Duration::from_secs(10);
/// References wake the index when they come; this is the safety net.
const WAIT: Duration = Duration::from_secs(60);
/// The status that was just written wakes the next pass; this is the safety net.
const SOON: Duration = Duration::from_secs(1);

const EXPIRE_DONE: i64 = 3_600;
const EXPIRE_FAILED: i64 = 86_400;
/// A prune that failed is tried again once its Job is gone.
const EXPIRE_FAILED_PRUNE: i64 = 600;

/// A plan in the making.
struct Draft<'a> {
    index: &'a VectorIndex,
    seen: &'a Observed,
    uid: String,
    status: VectorIndexStatus,
    actions: Vec<Action>,
    events: Vec<Note>,
    requeue: Option<Duration>,
}

/// Decides.
pub fn plan(index: &VectorIndex, seen: &Observed) -> Plan<VectorIndexStatus> {
    let mut draft = Draft::new(index, seen);
    if index.metadata.deletion_timestamp.is_some() {
        return leave::plan(draft);
    }
    let spec = match Spec::of(index) {
        Ok(spec) => spec,
        Err(invalid) => {
            let text = format!("{invalid}. Nothing is built; {} Correct the field.", tell::serves(&draft.status));
            return draft.finish(State::stalled(Reason::InvalidSpec, text));
        }
    };
    keep::settle(&mut draft);
    let state = build::advance(&mut draft, &spec);
    keep::retain(&mut draft, spec.keep);
    let pruning = keep::prune(&mut draft);
    draft.sweep();
    let state = tell::with_pruning(state, &pruning);
    draft.finish(state)
}

/// Names of the Jobs that the present status may ask for.
pub fn job_names(index: &VectorIndex) -> Vec<String> {
    let status = index.status.clone().unwrap_or_default();
    let build = status
        .build
        .iter()
        .flat_map(|b| [render::BUILD, render::VERIFY].map(|purpose| render::job_name(index, purpose, &b.version)));
    let prune = keep::groups(status.versions.iter().filter(|v| keep::leaves_data(v)))
        .into_values()
        .map(|physical| render::prune_name(index, &physical));
    build.chain(prune).collect()
}

impl<'a> Draft<'a> {
    fn new(index: &'a VectorIndex, seen: &'a Observed) -> Self {
        Self {
            index,
            seen,
            uid: index.uid().unwrap_or_default(),
            status: index.status.clone().unwrap_or_default(),
            actions: Vec::new(),
            events: Vec::new(),
            requeue: None,
        }
    }

    fn base(&self) -> render::Base<'a> {
        render::Base { index: self.index, config: &self.seen.config, one_node: &self.seen.one_node }
    }

    fn look_again(&mut self, delay: Duration) {
        self.requeue = Some(self.requeue.map_or(delay, |before| before.min(delay)));
    }

    fn outcome(&self, job: &str) -> Outcome {
        self.seen.outcome(&self.uid, job)
    }

    fn now(&self) -> String {
        condition::time_text(self.seen.now)
    }

    /// What the status of the last pass said about a version.
    fn persisted(&self, name: &str) -> Option<&'a IndexVersion> {
        self.index.status.as_ref().and_then(|s| super::version(s, name))
    }

    fn has_finalizer(&self) -> bool {
        self.index.finalizers().iter().any(|f| f == names::FINALIZER)
    }

    /// The Job whose result the build under way waits for.
    fn awaited(&self) -> Option<String> {
        let build = self.status.build.as_ref()?;
        let purpose = match super::version(&self.status, &build.version)?.state {
            VersionState::Building => render::BUILD,
            VersionState::Verifying => render::VERIFY,
            VersionState::Ready | VersionState::Failed | VersionState::Retiring => return None,
        };
        Some(render::job_name(self.index, purpose, &build.version))
    }

    /// Ends what nothing waits for, and lets finished Jobs go: their results are in status, which is written
    /// before any action.
    fn sweep(&mut self) {
        let awaited = self.awaited();
        let mut deletions = Vec::new();
        let mut expiries = Vec::new();
        for job in self.seen.jobs.iter().filter(|j| j.metadata.deletion_timestamp.is_none()) {
            let name = job.name_any();
            if awaited.as_deref() == Some(&name) {
                continue;
            }
            let prune = render::purpose_of(job) == render::PRUNE;
            match self.outcome(&name) {
                Outcome::Absent | Outcome::Foreign => {}
                Outcome::Running | Outcome::Stuck { .. } if prune => {}
                Outcome::Running | Outcome::Stuck { .. } => {
                    deletions.extend(Action::delete(ChildKind::Job, &job.metadata));
                }
                Outcome::Done { .. } => expiries.extend(expire(job, name, EXPIRE_DONE)),
                Outcome::Failed { .. } if prune => expiries.extend(expire(job, name, EXPIRE_FAILED_PRUNE)),
                Outcome::Failed { .. } => expiries.extend(expire(job, name, EXPIRE_FAILED)),
            }
        }
        // What is no longer wanted ends before anything begins.
        deletions.append(&mut self.actions);
        self.actions = deletions;
        self.actions.append(&mut expiries);
        if !self.status.versions.is_empty() && !self.has_finalizer() && self.index.metadata.deletion_timestamp.is_none()
        {
            self.actions.insert(0, Action::Finalizer { present: true });
        }
    }

    fn finish(mut self, state: State) -> Plan<VectorIndexStatus> {
        let generation = self.index.metadata.generation.unwrap_or(0);
        let newest = newest_ready(&self.status).cloned();
        self.status.observed_generation = generation;
        self.status.documents = newest.as_ref().and_then(|v| v.documents);
        self.status.chunks = newest.as_ref().and_then(|v| v.chunks);
        self.status.latest_version = newest.map(|v| v.name);
        self.status.store = self.index.spec.store.embedded.as_ref().map(|_| "embedded".to_owned());
        let old = self.index.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
        let extras: Vec<Extra> = tell::reliable(&self.status, &state).into_iter().collect();
        let state = state.unless_refused(self.seen.refusal.as_ref());
        self.status.conditions = condition::derive(&old, &state, &extras, generation, self.seen.now);
        Plan { status: self.status, actions: self.actions, events: self.events, requeue: self.requeue, rollback: None }
    }
}

fn expire(job: &Job, name: String, seconds: i64) -> Option<Action> {
    let set = job.spec.as_ref().is_some_and(|s| s.ttl_seconds_after_finished.is_some());
    (!set).then_some(Action::ExpireJob { name, seconds })
}
