//! The way down: why a candidate must go, how its weight is taken away, and the watch after a promotion.
//!
//! Invariants: nothing but the release, its route and the signals is needed; nothing stands before the weight;
//! a withdrawn candidate leaves only when the gateway took the weight away; only what failed by itself is
//! remembered as failed, and lost pods alone are no failure; traffic never goes to what is known to have no ready pod.

use std::time::Duration;

use super::machine::{duration_of, remember};
use super::target::Target;
use super::{Draft, MOVING};
use crate::api::Reason;
use crate::api::release::{
    CandidateStatus, FailedRevision, Failure, HistoryEntry, RevisionStatus, RollbackCause, Stage,
};
use crate::controller::condition::{State, parse_time};
use crate::controller::event::{Note, cut};
use crate::controller::plan::Rollback;
use crate::controller::release::traffic::Acceptance;
use crate::controller::spec::words;

/// A revision whose pods are gone without a fault of its own (an eviction, a drained node) has so long to bring them
/// back. Users do not wait for it: its traffic is taken away at once.
const GRACE: Duration = Duration::from_secs(300);
/// One that loses its pods again within this time counts as failed: it would go up and down for ever.
const AGAIN: Duration = Duration::from_secs(86_400);
/// How the history calls one that got its pods back.
const INTERRUPTED: &str = "Interrupted";
/// Most characters of a failure's message in status.
const MESSAGE: usize = 1_200;

/// Who is to blame when a revision had to go.
enum Blame {
    Revision,
    Nobody,
    /// Not known yet.
    Open,
}

impl Draft<'_> {
    /// Why the candidate must go, if it must.
    pub(super) fn must_go(&self, candidate: &CandidateStatus, target: &Target) -> Option<Failure> {
        let revision = &candidate.revision;
        let failure = |reason: Reason, message: String| Failure { reason: reason.as_str().to_owned(), message };
        if candidate.weight > 0 {
            let found = self
                .unavailable(revision)
                .or_else(|| self.unreachable(revision))
                .or_else(|| self.outage(revision))
                .or_else(|| self.breached(revision));
            if found.is_some() {
                return found;
            }
        }
        if self.commands.abort {
            return Some(failure(Reason::Aborted, format!("Revision {revision} was withdrawn by ragops.dev/abort.")));
        }
        if let Target::Revision(wanted) = target
            && asks_for_another(target, revision)
        {
            let text = format!("Revision {revision} was superseded: the spec now asks for {}.", wanted.revision);
            return Some(failure(Reason::Superseded, text));
        }
        let plan = self.plan.status.plan.as_ref()?;
        let hold = self.frozen_step(candidate).map_or(Duration::ZERO, |s| duration_of(&s.hold));
        let deadline = duration_of(&plan.progress_deadline);
        let stood = self.since(Some(&candidate.progressed_at));
        if !self.paused() && stood > deadline.saturating_add(hold) {
            let text = format!(
                "Revision {revision} made no progress for {} (progressDeadline) in stage {:?}.{}",
                words(deadline),
                candidate.stage,
                self.waited_for()
            );
            return Some(failure(Reason::ProgressDeadlineExceeded, text));
        }
        None
    }

    /// A candidate with weight and without a ready pod is an outage.
    fn unavailable(&self, revision: &str) -> Option<Failure> {
        if !self.rolls_back_on(RollbackCause::Unavailable) || self.ready_pods(revision)? > 0 {
            return None;
        }
        let message = format!("Revision {revision} has no ready pod.{}", self.why_no_pod(revision));
        Some(Failure { reason: Reason::Unavailable.as_str().to_owned(), message })
    }

    /// A candidate with weight whose Service is gone: the gateway has nothing to send its share to.
    fn unreachable(&self, revision: &str) -> Option<Failure> {
        if !self.rolls_back_on(RollbackCause::Unavailable) || self.has_service(revision)? {
            return None;
        }
        let message = format!("The Service of revision {revision} was deleted.");
        Some(Failure { reason: Reason::Unavailable.as_str().to_owned(), message })
    }

    /// It should go, but nothing else answers.
    pub(super) fn stays_up(&self, candidate: &CandidateStatus, failure: &Failure) -> State {
        let stable = self.plan.status.stable.as_ref().map(|s| self.why_no_pod(&s.revision)).unwrap_or_default();
        let text = format!(
            "Revision {} is to be withdrawn ({}), but stable has no ready pod: traffic stays where it is until there is \
             one.{stable} {}",
            candidate.revision, failure.reason, failure.message
        );
        State::waiting(Reason::StableUnavailable, self.beside(&text))
    }

    /// Takes the candidate's weight away; without a weight it goes at once.
    pub(super) fn withdraw(&mut self, candidate: &CandidateStatus, failure: Failure) -> State {
        let message = failure.message.chars().take(MESSAGE).collect();
        let failure = Failure { message, ..failure };
        // The live route decides, not what was decided about it.
        if candidate.weight == 0 && self.live_weight(&candidate.revision).unwrap_or(0) == 0 {
            return self.leave(candidate, &failure);
        }
        self.plan.rollback = self.measured(&failure);
        let now = self.now_text();
        if let Some(c) = self.plan.status.candidate.as_mut() {
            c.stage = Stage::RollingBack;
            c.weight = 0;
            c.step_started_at = None;
            // What is waited for after it counts from here.
            c.progressed_at = now;
            c.failure = Some(failure.clone());
        }
        if let Some(stable) = self.plan.status.stable.as_mut() {
            stable.weight = 100;
        }
        self.unconverged();
        self.rolling_back_state(&candidate.revision, &failure)
    }

    /// A rollback is measured and counted; what its owner asked for is none.
    fn measured(&self, failure: &Failure) -> Option<Rollback> {
        let reason = Reason::ALL.iter().find(|r| r.as_str() == failure.reason).copied()?;
        match reason {
            Reason::Superseded | Reason::Aborted => None,
            Reason::SloBreached => Some(Rollback { reason, since: self.seen.readings.scraped }),
            _ => Some(Rollback { reason, since: None }),
        }
    }

    pub(super) fn rolling_back(&mut self, candidate: &CandidateStatus, target: &Target) -> State {
        let failure = candidate.failure.clone().unwrap_or_else(|| Failure {
            reason: Reason::Superseded.as_str().to_owned(),
            message: format!("Revision {} was withdrawn.", candidate.revision),
        });
        match self.weights_acceptance() {
            Acceptance::Accepted => {}
            Acceptance::Pending | Acceptance::Refused(_) => {
                return self.rolling_back_state(&candidate.revision, &failure);
            }
        }
        match self.blame(candidate, &failure, target) {
            Blame::Revision if asks_for_another(target, &candidate.revision) => {
                self.leave(candidate, &failure);
                // Nobody has to act: what the spec asks for starts next.
                self.plan.look_again(Duration::ZERO);
                State::waiting(Reason::RolledBack, self.beside(&failure.message))
            }
            Blame::Revision => self.leave(candidate, &failure),
            Blame::Nobody => self.interrupted(candidate, &failure),
            Blame::Open => {
                let text = format!(
                    "Revision {} gets no traffic any more: {} If its pods are ready again within {} it begins anew, else \
                     it counts as failed.",
                    candidate.revision,
                    failure.message,
                    words(GRACE)
                );
                State::waiting(Reason::RollingBack, self.beside(&text))
            }
        }
    }

    /// Whether a candidate that had to go is to blame for it. Everything but lost pods is its own failure.
    fn blame(&self, candidate: &CandidateStatus, failure: &Failure, target: &Target) -> Blame {
        let revision = &candidate.revision;
        let before = |entry: &HistoryEntry| {
            entry.revision == *revision && entry.outcome == INTERRUPTED && self.since(Some(&entry.at)) < AGAIN
        };
        let lost_pods = failure.reason == Reason::Unavailable.as_str() && !self.commands.abort;
        let own_fault = self.ends(revision).is_some_and(|ends| ends.by_itself);
        if !lost_pods || own_fault || self.plan.status.history.iter().any(before) {
            return Blame::Revision;
        }
        if asks_for_another(target, revision) || self.available(revision) {
            return Blame::Nobody;
        }
        // What is not seen may be back.
        match self.world() {
            Some(_) if self.since(Some(&candidate.progressed_at)) >= GRACE => Blame::Revision,
            Some(_) | None => Blame::Open,
        }
    }

    /// Its pods were gone and are back: no failure, and it begins anew if the spec still asks for it.
    fn interrupted(&mut self, candidate: &CandidateStatus, failure: &Failure) -> State {
        let message = format!("{} It is not to blame for that and may begin anew.", failure.message);
        self.plan.events.push(Note::normal(Reason::Unavailable, cut(&message)));
        self.dismiss(candidate, INTERRUPTED, &message);
        self.plan.look_again(Duration::ZERO);
        State::waiting(Reason::Unavailable, self.beside(&message))
    }

    /// A candidate leaves the status, and the history says how; its pods follow.
    fn dismiss(&mut self, candidate: &CandidateStatus, outcome: &str, message: &str) {
        self.cancel_runs();
        let at = self.now_text();
        let status = &mut self.plan.status;
        status.candidate = None;
        let entry = HistoryEntry {
            revision: candidate.revision.clone(),
            version: candidate.version.clone(),
            outcome: outcome.to_owned(),
            message: message.chars().take(300).collect(),
            at,
        };
        remember(&mut status.history, entry);
    }

    /// The candidate leaves the status; its pods follow.
    fn leave(&mut self, candidate: &CandidateStatus, failure: &Failure) -> State {
        let superseded = failure.reason == Reason::Superseded.as_str();
        let outcome = if superseded {
            "Superseded"
        } else if failure.reason == Reason::Aborted.as_str() {
            "Aborted"
        } else {
            "RolledBack"
        };
        self.dismiss(candidate, outcome, &failure.message);
        if superseded {
            self.plan.events.push(Note::normal(Reason::Superseded, failure.message.clone()));
            self.plan.look_again(Duration::ZERO);
            return State::waiting(Reason::Superseded, self.beside(&failure.message));
        }
        let failed = FailedRevision {
            revision: candidate.revision.clone(),
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            at: self.now_text(),
        };
        let status = &mut self.plan.status;
        status.failed_revisions.retain(|f| f.revision != failed.revision);
        remember(&mut status.failed_revisions, failed.clone());
        self.failed_before(&failed)
    }

    /// What judges stable goes on beside the plan of a candidate that starts now, with its sums.
    pub(super) fn keep_watch(&mut self) {
        let status = &mut self.plan.status;
        let stable = status.stable.as_ref().filter(|_| status.previous.is_some()).map(|s| s.revision.clone());
        status.online.retain(|o| Some(&o.revision) == stable.as_ref());
        match status.plan.take() {
            Some(mut plan) if Some(&plan.revision) == stable.as_ref() => {
                plan.gates.retain(|gate| gate.spec.online.is_some());
                status.watch = Some(plan);
            }
            // Another candidate came between: what judges stable was kept at its start.
            Some(_) | None => {}
        }
    }

    /// A candidate that has no weight yet leaves for the way back of `stable`: it is no failure, and starts anew.
    fn make_way(&mut self, stable: &str) {
        let Some(candidate) = self.plan.status.candidate.clone() else { return };
        let message =
            format!("Revision {} was withdrawn before it had traffic: {stable} is rolled back.", candidate.revision);
        self.plan.events.push(Note::normal(Reason::Superseded, message.clone()));
        self.dismiss(&candidate, Reason::Superseded.as_str(), &message);
    }

    /// The watch after a promotion: a breach brings the previous revision back, the window's end lets it go.
    pub(super) fn watching(&mut self) -> Option<State> {
        let previous = self.plan.status.previous.clone()?;
        let stable = self.plan.status.stable.clone()?;
        let ends = parse_time(&previous.retained_until)?;
        if ends <= self.now() {
            self.plan.status.previous = None;
            return None;
        }
        self.plan.look_again(super::elapsed(self.now(), ends).max(Duration::from_secs(1)));
        // Going back to what has no ready pod would end the service instead of mending it.
        if self.is_empty(&previous.revision) {
            return None;
        }
        let failure = self.unavailable(&stable.revision).or_else(|| self.breached(&stable.revision))?;
        let now = self.now_text();
        self.make_way(&stable.revision);
        let status = &mut self.plan.status;
        status.watch = None;
        status.stable = Some(RevisionStatus {
            revision: previous.revision,
            version: previous.version,
            weight: 100,
            image: previous.image,
            evidence: previous.evidence,
            since: now.clone(),
        });
        status.previous = None;
        let back = CandidateStatus {
            revision: stable.revision,
            version: stable.version,
            weight: 100,
            image: stable.image,
            since: now.clone(),
            stage: Stage::Stepping,
            step: 0,
            step_text: "0/0".to_owned(),
            step_started_at: None,
            step_requests: 0,
            progressed_at: now,
            paused_at: None,
            failure: None,
        };
        status.candidate = Some(back.clone());
        self.plan.look_again(MOVING);
        Some(self.withdraw(&back, failure))
    }
}

fn asks_for_another(target: &Target, revision: &str) -> bool {
    match target {
        Target::Revision(wanted) => wanted.revision != revision,
        Target::Waiting { .. } | Target::Wrong { .. } | Target::Unknown => false,
    }
}
