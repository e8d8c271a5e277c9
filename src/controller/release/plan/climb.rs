//! The way up: prepare, verify, step, promote.
//!
//! Invariants: a weight goes up only to the next frozen step (or to 100 by a command), only with the world in
//! view, pods that are ready and an encoder that matches; silence never advances.

use std::time::Duration;

use super::gates::Gates;
use super::machine::{duration_of, remember};
use super::{Draft, command::Promote, online};
use crate::api::release::{CandidateStatus, HistoryEntry, PreviousStatus, RevisionStatus, Stage, Step};
use crate::api::{ConditionType, Reason};
use crate::controller::condition::{self, State, time_text};
use crate::controller::release::traffic::Acceptance;
use crate::controller::spec::words;
use crate::evaluation::sequence::State as Online;

impl Draft<'_> {
    pub(super) fn preparing(&mut self, candidate: &CandidateStatus) -> State {
        let revision = &candidate.revision;
        if self.world().is_none() {
            return self.unchanged();
        }
        if let Some(state) = self.in_the_way(revision) {
            return state;
        }
        if let Some((reason, message)) = self.pods_stuck(revision) {
            let text = self.beside(&message);
            // A node or a quota may be on its way, and the cluster goes on trying.
            let waits = matches!(reason, Reason::PodUnschedulable | Reason::Refused);
            return if waits { State::waiting(reason, text) } else { State::stalled(reason, text) };
        }
        if let Some(state) = self.encoder_missing(revision) {
            return state;
        }
        if let Some(ends) = self.ends(revision) {
            let text = self.beside(&ends.message);
            return if ends.by_itself { State::stalled(ends.reason, text) } else { State::waiting(ends.reason, text) };
        }
        if !self.available(revision) {
            return self.preparing_state(revision, "its pods load the index and are not ready yet");
        }
        if let Err(state) = self.encoder_matches(revision) {
            return state;
        }
        if let Err(state) = self.freeze_datasets() {
            return self.beside_state(state);
        }
        self.progressed();
        if self.plan.status.gates.is_empty() {
            return self.first_weight(candidate);
        }
        self.set_stage(Stage::Verifying);
        State::waiting(Reason::Verifying, self.beside(&format!("The gates measure revision {revision}.")))
    }

    /// Whether every pod measures the encoder that built its index. What is not known is no match.
    fn encoder_matches(&self, revision: &str) -> Result<(), State> {
        let reading = self.seen.readings.revisions.get(revision).copied().unwrap_or_default();
        match reading.encoder_match.filter(|_| reading.complete()) {
            None => Err(self.preparing_state(revision, "its pods measure their encoder")),
            Some(false) => {
                let text = format!(
                    "Revision {revision} gets no traffic: the encoder that answers now gives other vectors than the one \
                     that built its index. Check the endpoint of the EmbeddingModel, or rebuild the index."
                );
                Err(State::waiting(Reason::FingerprintMismatch, self.beside(&text)))
            }
            Some(true) => Ok(()),
        }
    }

    pub(super) fn verifying(&mut self, candidate: &CandidateStatus) -> State {
        if self.world().is_none() {
            return self.unchanged();
        }
        let Some(snapshot) = self.snapshot(&candidate.revision) else {
            return self.preparing_state(&candidate.revision, "its snapshot is written");
        };
        let stable = self.plan.status.plan.as_ref().and_then(|p| p.baseline.clone());
        let baseline = stable.as_deref().and_then(|revision| self.snapshot(revision));
        if stable.is_some() && baseline.is_none() {
            return self.preparing_state(&candidate.revision, "the snapshot of stable is read");
        }
        match self.gates(&snapshot, baseline.as_ref()) {
            Gates::Failed(failure) => self.withdraw(candidate, failure),
            Gates::Hold(state) => self.beside_state(state),
            Gates::Passed => self.first_weight(candidate),
        }
    }

    /// The gates let it pass: the first step, or all of the traffic where nothing serves yet.
    fn first_weight(&mut self, candidate: &CandidateStatus) -> State {
        if self.paused() {
            let text = format!("Revision {} passed its gates and waits: the release is paused.", candidate.revision);
            return State::waiting(Reason::Paused, self.beside(&text));
        }
        if !self.available(&candidate.revision) {
            return self.preparing_state(&candidate.revision, "its pods are not ready");
        }
        if let Err(state) = self.encoder_matches(&candidate.revision) {
            return state;
        }
        if let Some(state) = self.barred_by_stable().filter(|_| self.commands.promote.is_none()) {
            return state;
        }
        let first = match self.use_promote() {
            Some(Promote::All) => self.last_step(),
            Some(Promote::NextStep) | None => 1,
        };
        if self.plan.status.stable.is_none() {
            self.promote(candidate);
            return self.serving();
        }
        self.go_to_step(candidate, first)
    }

    fn last_step(&self) -> i32 {
        let steps = self.plan.status.plan.as_ref().map_or(1, |p| p.steps.len());
        i32::try_from(steps).unwrap_or(i32::MAX)
    }

    /// The present step as it was frozen; `None` before the first.
    pub(super) fn frozen_step(&self, candidate: &CandidateStatus) -> Option<&Step> {
        let before = usize::try_from(candidate.step).ok()?.checked_sub(1)?;
        self.plan.status.plan.as_ref()?.steps.get(before)
    }

    fn go_to_step(&mut self, candidate: &CandidateStatus, number: i32) -> State {
        let steps = self.plan.status.plan.as_ref().map(|p| p.steps.clone()).unwrap_or_default();
        let step = usize::try_from(number).ok().and_then(|n| steps.get(n.saturating_sub(1)));
        let Some(step) = step else { return self.unchanged() };
        let weight = step.weight;
        let now = self.now_text();
        if let Some(c) = self.plan.status.candidate.as_mut() {
            c.stage = Stage::Stepping;
            c.step = number;
            c.step_text = format!("{number}/{}", steps.len());
            c.weight = weight;
            c.step_started_at = None;
            c.step_requests = 0;
            c.progressed_at = now;
        }
        if let Some(stable) = self.plan.status.stable.as_mut() {
            stable.weight = 100_i32.saturating_sub(weight);
        }
        self.unconverged();
        self.stepping_state(candidate, &format!("{weight} % is written to the route"))
    }

    pub(super) fn stepping(&mut self, candidate: &CandidateStatus) -> State {
        match self.acceptance() {
            Acceptance::Accepted => {}
            Acceptance::Pending => {
                return self.stepping_state(candidate, "the gateway has not accepted the weight yet");
            }
            Acceptance::Refused(told) => {
                let text = format!("Revision {} cannot get its weight: {told}.", candidate.revision);
                return State::waiting(Reason::RouteNotAccepted, self.beside(&text));
            }
        }
        // Where it was not converged in the last pass, the counts of this weight begin with the next one.
        let counts = self.converged();
        let (started, now) = (candidate.step_started_at.is_some(), self.now_text());
        if let Some(c) = self.plan.status.candidate.as_mut().filter(|_| !started) {
            c.step_started_at = Some(now);
            self.progressed();
        }
        if self.paused() {
            return self.paused_state(candidate);
        }
        if candidate.weight == 100 {
            return self.at_full_weight(candidate);
        }
        if !(started && counts) {
            return self.stepping_state(candidate, "the gateway took the weight");
        }
        if let Err(state) = self.may_advance(candidate) {
            return state;
        }
        let next = match self.use_promote() {
            Some(Promote::All) => self.last_step(),
            Some(Promote::NextStep) | None => candidate.step.saturating_add(1).min(self.last_step()),
        };
        self.go_to_step(candidate, next)
    }

    /// All of the traffic is there: stable as soon as the last hold, if it has one, is over.
    fn at_full_weight(&mut self, candidate: &CandidateStatus) -> State {
        let hold = self.frozen_step(candidate).map_or(Duration::ZERO, |s| duration_of(&s.hold));
        let held = self.since(candidate.step_started_at.as_deref());
        if held < hold && self.use_promote().is_none() {
            return self.stepping_state(candidate, &format!("it holds this weight for {}", words(hold)));
        }
        self.promote(candidate);
        self.serving()
    }

    /// Whether the next step may come; otherwise what it waits for.
    fn may_advance(&self, candidate: &CandidateStatus) -> Result<(), State> {
        let revision = &candidate.revision;
        let hold = |text: String| Err(self.stepping_state(candidate, &text));
        let Some(plan) = self.plan.status.plan.as_ref() else { return hold("its plan is missing".to_owned()) };
        if self.world().is_none() {
            return hold("the cluster could not be read in full".to_owned());
        }
        if !self.available(revision) {
            return hold("not all of its pods are ready".to_owned());
        }
        let reading = self.seen.readings.revisions.get(revision).copied().unwrap_or_default();
        if reading.encoder_match == Some(false) {
            let text = format!(
                "Revision {revision} keeps its weight and takes no step: its encoder gives other vectors now than the \
                 one that built its index. Check the endpoint of the EmbeddingModel."
            );
            return Err(State::waiting(Reason::FingerprintMismatch, self.beside(&text)));
        }
        let counted = self.counted(candidate);
        // Once seen, a drift is over only when new counts say so.
        let ready = condition::find(&self.old.conditions, ConditionType::Ready);
        let drifted = ready.is_some_and(|c| c.reason == Reason::RouteDrift.as_str());
        if counted.agrees == "False" || (drifted && counted.agrees != "True") {
            let text = format!(
                "The requests counted at the pods (status.traffic.counted) are not split at a weight of {} %: the \
                 gateway does not do as it says. Revision {revision} takes no step; look at the route and its Gateway.",
                candidate.weight
            );
            return Err(State::waiting(Reason::RouteDrift, self.beside(&text)));
        }
        if self.commands.promote.is_some() {
            return Ok(());
        }
        if let Some(state) = self.barred_by_stable() {
            return Err(state);
        }
        let held = self.since(candidate.step_started_at.as_deref());
        let wanted = self.frozen_step(candidate).map_or(Duration::ZERO, |s| duration_of(&s.hold));
        if held < wanted {
            return hold(format!("it holds this weight for {}", words(wanted)));
        }
        if counted.candidate < plan.min_requests {
            return hold(format!("it waits for {} requests at this weight (minRequests)", plan.min_requests));
        }
        if !reading.complete() {
            return hold("its pods do not all answer with their counters".to_owned());
        }
        let outcomes = online::outcomes(&self.plan.status, &self.seen.readings, revision);
        if let Some(o) = outcomes.iter().find(|o| o.reading.state == Online::NoData) {
            return hold(format!("objective {} of gate {} has no data", o.test.objective, o.test.gate));
        }
        Ok(())
    }

    /// The candidate becomes stable, stable becomes previous.
    fn promote(&mut self, candidate: &CandidateStatus) {
        let now = self.now_text();
        let evidence = self.evidence(&candidate.revision);
        let window = duration_of(&self.release.spec.rollback.window);
        let until = self.now().checked_add(jiff::SignedDuration::try_from(window).unwrap_or_default());
        let status = &mut self.plan.status;
        let before = status.stable.take();
        status.previous = before.map(|stable| PreviousStatus {
            revision: stable.revision,
            version: stable.version,
            image: stable.image,
            evidence: stable.evidence,
            retained_until: until.map(time_text).unwrap_or_else(|_| now.clone()),
        });
        status.stable = Some(RevisionStatus {
            revision: candidate.revision.clone(),
            version: candidate.version.clone(),
            weight: 100,
            image: candidate.image.clone(),
            since: now.clone(),
            evidence,
        });
        status.candidate = None;
        status.watch = None;
        let entry = HistoryEntry {
            revision: candidate.revision.clone(),
            version: candidate.version.clone(),
            outcome: "Promoted".to_owned(),
            message: format!("Revision {} serves 100 %.", candidate.revision),
            at: now,
        };
        remember(&mut status.history, entry);
        self.unconverged();
    }
}
