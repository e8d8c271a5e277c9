//! Where a release stands, and which part of its life decides in this pass.
//!
//! Invariants: one decision a pass; what takes traffic away comes before what gives it; what the spec cannot
//! name is no reason to go up; a pause stops the deadline, and a corrected spec begins it anew.

use std::time::Duration;

use super::target::Target;
use super::{Draft, MOVING, SETTLED, Validated, elapsed};
use crate::api::release::Stage;
use crate::api::{ConditionType, Reason};
use crate::controller::condition::{self, State, parse_time, time_text};
use crate::controller::spec::Invalid;

/// Most entries of the lists in status.
const KEPT: usize = 20;

impl Draft<'_> {
    /// Takes the one decision of this pass and says where the release stands.
    pub(super) fn step(&mut self, target: &Target, spec: &Result<Validated, Invalid>) -> State {
        let Some(candidate) = self.plan.status.candidate.clone() else { return self.settled(target, spec) };
        self.plan.look_again(MOVING);
        if candidate.stage == Stage::RollingBack {
            return self.rolling_back(&candidate, target);
        }
        // A candidate without weight takes nothing from the watch over stable.
        if candidate.weight == 0
            && let Some(state) = self.watching()
        {
            return state;
        }
        self.clocks(target);
        let Some(candidate) = self.plan.status.candidate.clone() else { return self.unchanged() };
        if let Some(failure) = self.must_go(&candidate, target) {
            return if self.stable_is_empty(&candidate) {
                self.stays_up(&candidate, &failure)
            } else {
                self.withdraw(&candidate, failure)
            };
        }
        // The spec asks for something else that is not there (yet): no reason to go down, and none to go up.
        match target {
            Target::Waiting { reason, message } => return State::waiting(*reason, self.beside(message)),
            Target::Wrong { reason, message } => return State::stalled(*reason, self.beside(message)),
            Target::Revision(_) | Target::Unknown => {}
        }
        let state = match candidate.stage {
            Stage::Preparing => self.preparing(&candidate),
            Stage::Verifying => self.verifying(&candidate),
            Stage::Stepping => self.stepping(&candidate),
            Stage::RollingBack => self.rolling_back(&candidate, target),
        };
        self.while_paused(state)
    }

    /// What the deadline counts from: not in a pause, and anew when a wrong spec or what was refused was corrected.
    fn clocks(&mut self, target: &Target) {
        let (now, paused) = (self.now(), self.paused());
        let ready = condition::find(&self.old.conditions, ConditionType::Ready);
        let was_wrong = ready.is_some_and(|c| c.reason == Reason::InvalidSpec.as_str());
        // Pods that are refused are waited for, and nobody of ours is told when they are taken: only a write stalls.
        let stalled = condition::find(&self.old.conditions, ConditionType::Stalled);
        let was_refused = stalled.is_some_and(|c| c.reason == Reason::Refused.as_str());
        let taken = was_refused && self.seen.refusal.is_none();
        if (was_wrong || taken) && matches!(target, Target::Revision(_)) {
            self.progressed();
        }
        let Some(candidate) = self.plan.status.candidate.as_mut() else { return };
        match (paused, candidate.paused_at.as_deref().and_then(parse_time)) {
            (true, Some(_)) => {}
            (true, None) => candidate.paused_at = Some(time_text(now)),
            (false, None) => candidate.paused_at = None,
            (false, Some(since)) => {
                let stood = parse_time(&candidate.progressed_at).map_or(Duration::ZERO, |at| elapsed(at, since));
                let counts_from = now.checked_sub(stood).unwrap_or(now);
                candidate.progressed_at = time_text(counts_from);
                candidate.paused_at = None;
            }
        }
    }

    /// On its way, but nobody may go up: said so, beside what goes on meanwhile.
    fn while_paused(&self, state: State) -> State {
        match state {
            State::Reconciling { reason: Reason::Preparing | Reason::Verifying | Reason::Stepping, message, ready }
                if self.paused() && self.plan.status.candidate.is_some() =>
            {
                let message = format!(
                    "Paused: no weight goes up until ragops.dev/pause or spec.paused is taken back; going down still \
                     works. {message}"
                );
                State::Reconciling { ready, reason: Reason::Paused, message }
            }
            State::Ready { .. } | State::Reconciling { .. } | State::Stalled { .. } => state,
        }
    }

    /// No candidate: watch what serves, or start one.
    fn settled(&mut self, target: &Target, spec: &Result<Validated, Invalid>) -> State {
        self.plan.look_again(SETTLED);
        if let Some(state) = self.watching() {
            return state;
        }
        let snapshot = match target {
            Target::Revision(snapshot) => snapshot,
            Target::Waiting { reason, message } => return State::waiting(*reason, self.beside(message)),
            Target::Wrong { reason, message } => return State::stalled(*reason, self.beside(message)),
            Target::Unknown => return self.unknown(),
        };
        if self.plan.status.stable.as_ref().is_some_and(|s| s.revision == snapshot.revision) {
            self.plan.status.restored_at = None;
            return self.serving();
        }
        if let Some(failed) = self.plan.status.failed_revisions.iter().find(|f| f.revision == snapshot.revision) {
            return self.failed_before(&failed.clone());
        }
        let Ok(spec) = spec else { return self.unchanged() };
        if self.paused() {
            let text = format!("Revision {} waits: the release is paused.", snapshot.revision);
            return State::waiting(Reason::Paused, self.beside(&text));
        }
        if let Some(state) = self.held_after_restore(snapshot) {
            return state;
        }
        self.start(snapshot, spec)
    }

    pub(super) fn progressed(&mut self) {
        let now = self.now_text();
        if let Some(c) = self.plan.status.candidate.as_mut() {
            c.progressed_at = now;
        }
    }

    pub(super) fn set_stage(&mut self, stage: Stage) {
        if let Some(c) = self.plan.status.candidate.as_mut() {
            c.stage = stage;
        }
    }

    /// Whether the gateway took the route as it stands, as the last pass persisted it.
    pub(super) fn converged(&self) -> bool {
        self.plan.status.traffic.as_ref().is_some_and(|t| t.accepted && t.converged_at.is_some())
    }

    pub(super) fn unconverged(&mut self) {
        if let Some(traffic) = self.plan.status.traffic.as_mut() {
            traffic.accepted = false;
            traffic.converged_at = None;
            traffic.counted = None;
        }
    }
}

/// A duration that was checked when it was frozen.
pub(super) fn duration_of(text: &str) -> Duration {
    text.parse::<kube::core::Duration>().map(Duration::from).unwrap_or(Duration::ZERO)
}

pub(super) fn remember<T>(list: &mut Vec<T>, entry: T) {
    list.push(entry);
    if list.len() > KEPT {
        list.remove(0);
    }
}
