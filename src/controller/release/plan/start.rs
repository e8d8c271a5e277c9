//! The start of a candidate: what it will be judged by is frozen before anything of it is made.
//!
//! Invariant: a gate that is missing or of the wrong kind keeps a candidate from starting.

use super::{Draft, MOVING, Validated, gates};
use crate::api::release::{CandidateStatus, FrozenGate, FrozenPlan, Stage, When};
use crate::api::{EvalGateSpec, Reason};
use crate::controller::condition::State;
use crate::controller::read::Referred;
use crate::controller::release::revision::Snapshot;

impl Draft<'_> {
    pub(super) fn start(&mut self, target: &Snapshot, spec: &Validated) -> State {
        // A revision that is still kept comes back as it was: its pods are made from that snapshot, with the
        // directory and the image that it names.
        let kept = self.snapshot(&target.revision);
        let snapshot = kept.as_ref().unwrap_or(target);
        let frozen = match self.freeze_gates() {
            Ok(frozen) => frozen,
            Err(state) => return state,
        };
        let now = self.now_text();
        let baseline = self.plan.status.stable.as_ref().map(|s| s.revision.clone());
        let progress = |g: &FrozenGate| gates::asked(&g.name, &snapshot.revision, baseline.clone());
        // Those of a candidate that left while the world was not in view.
        self.cancel_runs();
        self.keep_watch();
        let status = &mut self.plan.status;
        status.gates = frozen.iter().filter(|g| g.when == When::BeforeTraffic).map(progress).collect();
        status.plan = Some(FrozenPlan {
            revision: snapshot.revision.clone(),
            baseline,
            frozen_at: now.clone(),
            steps: spec.steps.clone(),
            gates: frozen,
            min_requests: spec.min_requests,
            on_inconclusive: spec.on_inconclusive,
            progress_deadline: self.release.spec.rollout.progress_deadline.clone(),
        });
        status.candidate = Some(CandidateStatus {
            revision: snapshot.revision.clone(),
            version: snapshot.version_text(),
            weight: 0,
            image: snapshot.image.clone(),
            since: now.clone(),
            stage: Stage::Preparing,
            step: 0,
            step_text: format!("0/{}", spec.steps.len()),
            step_started_at: None,
            step_requests: 0,
            progressed_at: now,
            paused_at: None,
            failure: None,
        });
        self.plan.look_again(MOVING);
        self.preparing_state(&snapshot.revision, "its pods are started")
    }

    /// Gates as they are now; a gate that is missing or of the wrong kind keeps a candidate from starting.
    fn freeze_gates(&self) -> Result<Vec<FrozenGate>, State> {
        let Some(world) = self.world() else { return Err(self.unchanged()) };
        let mut frozen = Vec::new();
        for gate in &self.release.spec.rollout.gates {
            let name = &gate.name;
            let found = match world.gates.get(name) {
                Some(Referred::Here(found)) => found,
                Some(Referred::Unreadable(why)) => {
                    let text = format!("EvalGate {name} cannot be read: {why}.");
                    return Err(State::waiting(Reason::RefNotFound, self.beside(&text)));
                }
                Some(Referred::Absent) | None => {
                    let text = format!("EvalGate {name}, named in spec.rollout.gates, does not exist.");
                    return Err(State::waiting(Reason::RefNotFound, self.beside(&text)));
                }
            };
            let fits = match gate.when {
                When::BeforeTraffic => found.spec.retrieval.is_some(),
                When::DuringTraffic => found.spec.online.is_some(),
            };
            if !fits {
                let text = format!(
                    "Gate {name} is used with `when: {:?}`, which needs {}; correct spec.rollout.gates.",
                    gate.when,
                    match gate.when {
                        When::BeforeTraffic => "a gate with `spec.retrieval`",
                        When::DuringTraffic => "a gate with `spec.online`",
                    }
                );
                return Err(State::stalled(Reason::InvalidSpec, self.beside(&text)));
            }
            frozen.push(FrozenGate {
                name: name.clone(),
                when: gate.when,
                spec_digest: crate::worker::job::spec_digest(&found.spec),
                dataset_digest: None,
                spec: EvalGateSpec::clone(&found.spec),
            });
        }
        Ok(frozen)
    }
}
