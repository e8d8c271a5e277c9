//! Where a release stands, in words: conditions, the summary, the columns.
//!
//! Invariants: a message says what serves; no times or counters that churn; the summary has at most 160
//! characters.

use kube::ResourceExt;

use super::Draft;
use super::fit::fit;
use crate::api::release::{CandidateStatus, FailedRevision, Failure};
use crate::api::{ConditionType, RagRelease, Reason};
use crate::controller::condition::{self, Extra, Meanwhile, State};
use crate::controller::release::traffic::Acceptance;
use crate::controller::text;

/// Most characters of the summary.
const SUMMARY: usize = 160;

/// The head of a message that fits the summary: whole sentences, or a cut one where even the first is too long.
fn summary(message: &str) -> String {
    let ends = message.match_indices(". ").map(|(at, _)| at.saturating_add(1)).chain([message.len()]);
    let fits = |end: &usize| message.get(..*end).is_some_and(|head| head.chars().count() <= SUMMARY);
    match ends.filter(fits).last().and_then(|end| message.get(..end)) {
        Some(head) => head.to_owned(),
        None => text::shortened(message, SUMMARY),
    }
}

pub fn route_not_owned(release: &RagRelease) -> State {
    let name = release.name_any();
    State::stalled(
        Reason::NotOwned,
        format!(
            "An HTTPRoute {name} that this release does not own stands in its namespace; nothing is written. Delete or \
             rename that route, or give the release another name."
        ),
    )
}

pub fn gateway_api_missing() -> State {
    State::stalled(
        Reason::GatewayApiMissing,
        "This cluster has no HTTPRoute kind; nothing is written. Install the Gateway API and an implementation of it; \
         it is looked for every 5 minutes.",
    )
}

impl Draft<'_> {
    /// Writes conditions, summary and columns.
    pub(super) fn conclude(&mut self, state: State) {
        let serving = self.serving_condition();
        let now = self.now();
        // Ready of a spec that nobody could look up yet would be a lie: it stays with the generation before.
        let generation = match self.old.observed_generation {
            before if self.unresolved && before >= 0 => before,
            _ => self.release.metadata.generation.unwrap_or(0),
        };
        let state = state.unless_refused(self.seen.refusal.as_ref());
        let state = match (&state, &self.plan.status.stable) {
            (State::Reconciling { reason, message, .. }, None) => {
                State::Reconciling { ready: Meanwhile::Unknown, reason: *reason, message: message.clone() }
            }
            (State::Ready { .. } | State::Reconciling { .. } | State::Stalled { .. }, _) => state,
        };
        let conditions = condition::derive(&self.old.conditions, &state, &[serving], generation, now);
        let gate = self.gate_word();
        let summary = summary(state.message());
        let status = self.status();
        status.conditions = conditions;
        status.observed_generation = generation;
        status.summary = Some(summary);
        status.gate = gate;
        fit(status);
    }

    fn serving_condition(&self) -> Extra {
        let extra = |status, reason, message: String| Extra { type_: ConditionType::Serving, status, reason, message };
        let Some(stable) = &self.plan.status.stable else {
            return extra(false, Reason::NoReadyEndpoints, "Nothing is routed yet.".to_owned());
        };
        let revision = &stable.revision;
        let before = condition::find(&self.old.conditions, ConditionType::Serving);
        let served = before.is_some_and(|c| c.status == "True");
        let routed = self.plan.status.traffic.as_ref().is_some_and(|t| t.accepted);
        if !served && !routed {
            let text = format!("Revision {revision} is routed: the gateway has not accepted the route yet.");
            return extra(false, Reason::RouteNotAccepted, text);
        }
        if self.live_route().is_none() && self.place().is_none() {
            let text = format!("Revision {revision} has no HTTPRoute, and the spec names no place for one.");
            return extra(false, Reason::RouteNotAccepted, text);
        }
        let candidate = self.plan.status.candidate.as_ref().filter(|c| c.weight > 0);
        match self.ready_pods(revision) {
            Some(0) if candidate.is_some_and(|c| self.ready_pods(&c.revision) > Some(0)) => extra(
                true,
                Reason::ServingCandidate,
                format!("Stable revision {revision} has no ready pod; the candidate answers its share."),
            ),
            Some(0) => extra(false, Reason::NoReadyEndpoints, format!("Revision {revision} has no ready pod.")),
            // Not known in this pass: as it was.
            None if before.is_some() && !served => {
                extra(false, Reason::NoReadyEndpoints, format!("Revision {revision} has no ready pod."))
            }
            Some(_) | None => extra(true, Reason::ServingStable, format!("Revision {revision} answers.")),
        }
    }

    /// A text with what serves beside it.
    pub(super) fn beside(&self, text: &str) -> String {
        let status = &self.plan.status;
        match (&status.stable, &status.candidate) {
            (Some(stable), Some(c)) if c.weight > 0 => {
                let rest = 100_i32.saturating_sub(c.weight);
                format!("{text} Revision {} serves {rest} %, {} {} %.", stable.revision, c.revision, c.weight)
            }
            (Some(stable), _) => format!("{text} Revision {} serves 100 %.", stable.revision),
            (None, _) => format!("{text} Nothing is routed yet."),
        }
    }

    pub(super) fn beside_state(&self, state: State) -> State {
        match state {
            State::Ready { reason, message } => State::Ready { reason, message },
            State::Reconciling { ready, reason, message } => {
                State::Reconciling { ready, reason, message: self.beside(&message) }
            }
            State::Stalled { reason, message } => State::Stalled { reason, message: self.beside(&message) },
        }
    }

    /// What was waited for until now, as it was said, without what serves beside it.
    pub(super) fn waited_for(&self) -> String {
        let ready = condition::find(&self.old.conditions, ConditionType::Ready);
        let Some(said) = ready.map(|c| c.message.as_str()) else { return String::new() };
        let serves = self.beside("");
        let said = said.strip_suffix(serves.as_str()).unwrap_or(said);
        format!(" It waited for this: {said}")
    }

    pub(super) fn preparing_state(&self, revision: &str, what: &str) -> State {
        State::waiting(Reason::Preparing, self.beside(&format!("Revision {revision} is prepared: {what}.")))
    }

    pub(super) fn stepping_state(&self, candidate: &CandidateStatus, what: &str) -> State {
        let now = self.plan.status.candidate.as_ref().unwrap_or(candidate);
        let text = format!("Revision {} is at step {}: {what}.", now.revision, now.step_text);
        State::waiting(Reason::Stepping, self.beside(&text))
    }

    pub(super) fn paused_state(&self, candidate: &CandidateStatus) -> State {
        let text = format!(
            "Paused at step {} of revision {}; going down still works. Resume by removing ragops.dev/pause or \
             spec.paused.",
            candidate.step_text, candidate.revision
        );
        State::waiting(Reason::Paused, self.beside(&text))
    }

    pub(super) fn rolling_back_state(&self, revision: &str, failure: &Failure) -> State {
        let text = format!("Revision {revision} is withdrawn: {}", failure.message);
        State::waiting(Reason::RollingBack, self.beside(&text))
    }

    /// A revision that failed before stays out until somebody acts.
    pub(super) fn failed_before(&self, failed: &FailedRevision) -> State {
        let retry = self.command("retry", &failed.revision);
        let text = self.beside(&failed.message);
        let text = format!("{text} No retry until the spec changes; to try it again: {retry}.");
        let why = Reason::of(&failed.reason).unwrap_or(Reason::GateFailed);
        let reason = match (why, &self.plan.status.stable) {
            (Reason::Aborted | Reason::ProgressDeadlineExceeded, _) | (_, None) => why,
            (_, Some(_)) => Reason::RolledBack,
        };
        State::stalled(reason, text)
    }

    /// Nothing but stable: ready as soon as the gateway took its route.
    pub(super) fn serving(&self) -> State {
        let Some(stable) = &self.plan.status.stable else { return self.unchanged() };
        match self.acceptance() {
            Acceptance::Accepted => {}
            Acceptance::Pending => {
                let text =
                    format!("Revision {} is routed: the gateway has not accepted the route yet.", stable.revision);
                return State::waiting(Reason::Stepping, text);
            }
            Acceptance::Refused(told) => {
                let text = format!("Revision {} is not routed: {told}.", stable.revision);
                return State::waiting(Reason::RouteNotAccepted, text);
            }
        }
        if let Some(state) = self.in_the_way(&stable.revision) {
            return state;
        }
        if self.ready_pods(&stable.revision) == Some(0) {
            let why = self.why_no_pod(&stable.revision);
            let text = format!("Revision {} is routed, but has no ready pod.{why}", stable.revision);
            return State::waiting(Reason::StableUnavailable, text);
        }
        let back = match &self.plan.status.previous {
            Some(previous) => format!(" {} is kept ready for a way back.", previous.revision),
            None => String::new(),
        };
        let warning = match self.stable_failed() {
            Some((gate, told)) => format!(
                " The scheduled run of gate {gate} failed: {told} Nothing is rolled back for it; candidates wait."
            ),
            None => String::new(),
        };
        let text = format!("Revision {} ({}) serves 100 %.{warning}{back}", stable.revision, stable.version);
        State::ready(Reason::Promoted, text)
    }

    /// The world is not in view: a release that was ready is so while its route stands.
    pub(super) fn unknown(&self) -> State {
        match condition::is_true(&self.old.conditions, ConditionType::Ready) {
            true => self.serving(),
            false => self.unchanged(),
        }
    }

    /// Nothing could be decided in this pass: what was said stays.
    pub(super) fn unchanged(&self) -> State {
        let ready = condition::find(&self.old.conditions, ConditionType::Ready);
        let Some(ready) = ready else {
            return State::waiting(Reason::Progressing, "The cluster could not be read in full; it is tried again.");
        };
        let reason = Reason::of(&ready.reason).unwrap_or(Reason::Progressing);
        if condition::is_true(&self.old.conditions, ConditionType::Stalled) {
            return State::stalled(reason, ready.message.clone());
        }
        if condition::is_true(&self.old.conditions, ConditionType::Reconciling) {
            return State::waiting(reason, ready.message.clone());
        }
        State::ready(reason, ready.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_ends_with_a_sentence() {
        let first = "Revision 20bdb084f9 has no ready pod.";
        let second = "Revision f1e1be6b01 serves 100 %.";
        let command = "x".repeat(120);
        assert_eq!(summary(&format!("{first} {second} {command}.")), format!("{first} {second}"));
        assert_eq!(summary(first), first);
        let long = summary(&"ü".repeat(500));
        assert_eq!((long.chars().count(), long.chars().last()), (SUMMARY, Some('…')));
    }
}
