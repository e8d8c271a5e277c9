//! Live objectives of a release: what is judged, and what the signals say.
//!
//! Invariants: the gates are the frozen ones; the error rate is spent once per release over all tests; missing
//! data never advances and never rolls back; the hard rule against stable needs no gate; a good past does not hide a
//! sudden failure.

use std::time::Duration;

use super::Draft;
use crate::api::gate::{Objective, Signal};
use crate::api::release::{Failure, FrozenPlan, ObjectiveStatus, RollbackCause};
use crate::api::{RagReleaseStatus, Reason};
use crate::controller::signals::{Judged, Readings, Test};
use crate::controller::spec::duration;
use crate::evaluation::sequence::{self, Answers, Outage, Share, State};
use crate::worker::receipt::whole;

/// Error rate of a whole release.
const ALPHA: f64 = 0.05;

/// An online gate of a frozen plan.
#[derive(Clone, Debug)]
pub struct OnlineGate<'a> {
    pub name: &'a str,
    pub objectives: &'a [Objective],
    pub interval: Duration,
    pub window: Duration,
}

/// The plan that a revision is judged by: the one that was frozen for it.
fn plan_of<'a>(status: &'a RagReleaseStatus, revision: &str) -> Option<&'a FrozenPlan> {
    status.plan.iter().chain(&status.watch).find(|plan| plan.revision == revision)
}

/// The online gates that were frozen for a revision.
pub fn gates<'a>(status: &'a RagReleaseStatus, revision: &str) -> impl Iterator<Item = OnlineGate<'a>> {
    let frozen = plan_of(status, revision).into_iter().flat_map(|p| &p.gates);
    frozen.filter_map(|gate| {
        let online = gate.spec.online.as_ref()?;
        let time = |field: &str, text: &str| {
            let (least, most) = (Duration::from_secs(1), Duration::from_secs(300));
            duration(field, text, least, most).unwrap_or(Duration::from_secs(5))
        };
        Some(OnlineGate {
            name: &gate.name,
            objectives: &online.objectives,
            interval: time("interval", &online.interval),
            window: time("window", &online.window),
        })
    })
}

/// The tests of the judged revision, each with its share of the error rate and what was persisted of it.
pub fn judged(status: &RagReleaseStatus, revision: &str) -> Judged {
    let all: Vec<(&str, &Objective)> =
        gates(status, revision).flat_map(|g| g.objectives.iter().map(move |o| (g.name, o))).collect();
    let alpha = sequence::alpha_each(ALPHA, u32::try_from(all.len()).unwrap_or(u32::MAX));
    let tests = all.into_iter().map(|(gate, objective)| {
        let persisted = status
            .online
            .iter()
            .find(|o| o.gate == gate && o.objective == objective.name && o.revision == revision)
            .map(|o| Share { answers: unsigned(o.requests), bad: unsigned(o.bad) })
            .unwrap_or_default();
        Test {
            gate: gate.to_owned(),
            objective: objective.name.clone(),
            signal: objective.signal,
            threshold_ms: objective.threshold.as_deref().and_then(threshold_ms),
            max: objective.max,
            alpha,
            persisted,
        }
    });
    let frozen_at = plan_of(status, revision).map(|p| p.frozen_at.as_str()).unwrap_or_default();
    Judged { key: format!("{revision}/{frozen_at}"), revision: revision.to_owned(), tests: tests.collect() }
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn threshold_ms(text: &str) -> Option<u32> {
    let parsed: kube::core::Duration = text.parse().ok()?;
    u32::try_from(Duration::from(parsed).as_millis()).ok()
}

/// A test with what the data say.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub test: Test,
    pub share: Share,
    /// The last answers, where they alone are far beyond the limit.
    pub sudden: Option<Share>,
    pub reading: sequence::Reading,
}

/// What every objective says of the revision.
pub fn outcomes(status: &RagReleaseStatus, readings: &Readings, revision: &str) -> Vec<Outcome> {
    let judged = judged(status, revision);
    let fresh = readings.key == judged.key;
    let outcome = |test: Test| {
        let key = (test.gate.clone(), test.objective.clone());
        let share = readings.tests.get(&key).copied().filter(|_| fresh).unwrap_or(test.persisted);
        let recent = readings.recent.get(&key).copied().filter(|_| fresh);
        let sudden = recent.filter(|recent| sequence::far_beyond(*recent, test.max));
        let mut reading = sequence::against_max(share, test.max, test.alpha);
        if sudden.is_some() {
            reading.state = State::Breached;
        }
        Outcome { test, share, sudden, reading }
    };
    judged.tests.into_iter().map(outcome).collect()
}

/// The sums as status keeps them.
pub fn to_status(outcomes: &[Outcome], revision: &str) -> Vec<ObjectiveStatus> {
    let one = |o: &Outcome| ObjectiveStatus {
        gate: o.test.gate.clone(),
        objective: o.test.objective.clone(),
        revision: revision.to_owned(),
        requests: whole(o.share.answers),
        bad: whole(o.share.bad),
        state: match o.reading.state {
            State::Safe => "Safe",
            State::Undecided => "Undecided",
            State::Breached => "Breached",
            State::NoData => "NoData",
        }
        .to_owned(),
    };
    outcomes.iter().map(one).collect()
}

impl Draft<'_> {
    /// The first objective that is proven to be breached, as a failure with its numbers.
    pub(super) fn breached(&self, revision: &str) -> Option<Failure> {
        if !self.rolls_back_on(RollbackCause::SloBreached) {
            return None;
        }
        let outcomes = outcomes(&self.plan.status, &self.seen.readings, revision);
        let breached = outcomes.into_iter().find(|o| o.reading.state == State::Breached)?;
        Some(Failure { reason: Reason::SloBreached.as_str().to_owned(), message: sentence(&breached, revision) })
    }

    /// The hard rule: an outage of the candidate beside a stable that works.
    pub(super) fn outage(&self, revision: &str) -> Option<Failure> {
        if !self.rolls_back_on(RollbackCause::SloBreached) {
            return None;
        }
        let readings = &self.seen.readings;
        // Whether the gateway's word was in does not matter here, but it must be this step of this candidate.
        let step = self.plan.status.candidate.as_ref().map(|c| format!("{revision}/{}/", c.step))?;
        if !readings.step_key.starts_with(&step) {
            return None;
        }
        let answers =
            |a: crate::controller::signals::Answers| Answers { answers: a.answers, errors: a.errors, empty: a.empty };
        let (candidate, stable) = (answers(readings.step_candidate), answers(readings.step_stable));
        let (what, bad, other, times) = match sequence::outage(candidate, stable)? {
            Outage::Errors => ("errors", candidate.errors, stable.errors, 3),
            Outage::Empty => ("answers without a result", candidate.empty, stable.empty, 2),
        };
        let message = format!(
            "Revision {revision} gave {bad} {what} in {} answers at this weight, stable {other} in {}: at least {times} \
             times as often.",
            candidate.answers, stable.answers
        );
        Some(Failure { reason: Reason::SloBreached.as_str().to_owned(), message })
    }

    pub(super) fn rolls_back_on(&self, cause: RollbackCause) -> bool {
        self.release.spec.rollback.on.contains(&cause)
    }
}

fn sentence(outcome: &Outcome, revision: &str) -> String {
    let what = match outcome.test.signal {
        Signal::ErrorRate => "were errors".to_owned(),
        Signal::EmptyRate => "had no result".to_owned(),
        Signal::SlowRate => format!("took longer than {} ms", outcome.test.threshold_ms.unwrap_or(0)),
    };
    let head = format!(
        "Objective {} of gate {} is breached by revision {revision}:",
        outcome.test.objective, outcome.test.gate
    );
    let allowed = format!("at most {:.1} % is allowed", outcome.test.max * 100.0);
    if let Some(sudden) = outcome.sudden {
        let share = sudden.value().unwrap_or(0.0) * 100.0;
        let (bad, answers) = (sudden.bad, sudden.answers);
        return format!("{head} {bad} of the last {answers} answers ({share:.1} %) {what}, and {allowed}.");
    }
    let share = outcome.reading.share.unwrap_or(0.0) * 100.0;
    let lower = outcome.reading.lower.unwrap_or(0.0) * 100.0;
    format!(
        "{head} {} of {} answers ({share:.1} %) {what}, at least {lower:.1} % of all with certainty, and {allowed}.",
        outcome.share.bad, outcome.share.answers
    )
}
