//! BeforeTraffic gates of a candidate: what is frozen of them, attempts, and what follows from a verdict.
//!
//! Invariants: Error is tried again up to `retries` and never counts as Fail; Fail is final; Inconclusive waits or
//! fails as the plan says.

mod run;

use std::time::Duration;

use jiff::Timestamp;

pub(super) use run::{Run, asked, evidence_key, without_report};

use super::Draft;
use crate::api::gate::VerdictWord;
use crate::api::reason::VerdictReason;
use crate::api::release::{Failure, FrozenGate, GateProgress, OnInconclusive, RollbackCause, Stage, When};
use crate::api::{EvalGate, Reason};
use crate::controller::condition::{self, State, parse_time};
use crate::controller::gate::plan::CHECK_AGE;
use crate::controller::read::Referred;
use crate::controller::release::revision::Snapshot;

/// Time between attempts once `retries` are spent.
const RETRY: Duration = Duration::from_secs(3600);
/// What the gates say together.
#[derive(Clone, Debug, PartialEq)]
pub enum Gates {
    /// Every one passed, or was let pass by a command.
    Passed,
    Failed(Failure),
    /// Not yet.
    Hold(State),
}

impl Draft<'_> {
    /// The frozen gates get the digest of their datasets; a gate that is not usable says why.
    pub(super) fn freeze_datasets(&mut self) -> Result<(), State> {
        let since = self.plan.status.candidate.as_ref().and_then(|c| parse_time(&c.since));
        // Checked at most so long before the candidate began.
        let oldest = since.and_then(|since| since.checked_sub(CHECK_AGE).ok());
        let frozen = self.plan.status.plan.iter().flat_map(|plan| &plan.gates);
        let names: Vec<String> = frozen.filter(|g| g.when == When::BeforeTraffic).map(|g| g.name.clone()).collect();
        names.iter().try_for_each(|name| self.freeze_dataset(name, oldest))
    }

    /// One frozen gate gets the digest of its dataset, as a check found it that is not older than `oldest`.
    fn freeze_dataset(&mut self, name: &str, oldest: Option<Timestamp>) -> Result<(), State> {
        let Some(world) = self.seen.world.as_ref() else {
            return Err(State::waiting(Reason::Preparing, "The cluster could not be read in full; it is tried again."));
        };
        let gates = self.plan.status.plan.iter_mut().flat_map(|plan| &mut plan.gates);
        let Some(gate) = gates.into_iter().find(|g| g.name == name) else { return Ok(()) };
        let found = match world.gates.get(name) {
            Some(Referred::Here(found)) => found,
            Some(Referred::Absent | Referred::Unreadable(_)) | None => {
                let text = format!("EvalGate {name}, which must pass before traffic, is gone.");
                return Err(State::waiting(Reason::RefNotFound, text));
            }
        };
        // Nothing was measured yet: a gate that was edited since the start is taken as it is checked now, for the
        // old form will never be checked again.
        if found.spec.retrieval.is_none() {
            let text = format!(
                "Gate {name} is used with `when: BeforeTraffic`, which needs a gate with `spec.retrieval`; correct \
                 spec.rollout.gates, or the gate."
            );
            return Err(State::stalled(Reason::InvalidSpec, text));
        }
        let wanted = crate::worker::job::spec_digest(&found.spec);
        if wanted != gate.spec_digest {
            gate.spec = found.spec.clone();
            gate.spec_digest = wanted.clone();
            gate.dataset_digest = None;
        }
        let dataset = found.status.as_ref().and_then(|s| s.dataset.as_ref());
        let fresh = dataset.filter(|d| {
            let checked = parse_time(&d.checked_at);
            d.spec_digest == wanted && checked.zip(oldest).is_some_and(|(checked, oldest)| checked >= oldest)
        });
        match fresh {
            Some(dataset) => {
                gate.dataset_digest = Some(dataset.digest.clone());
                Ok(())
            }
            None => Err(not_usable(found, name)),
        }
    }

    /// Starts, reads and judges the runs of all gates.
    pub(super) fn gates(&mut self, candidate: &Snapshot, baseline: Option<&Snapshot>) -> Gates {
        let frozen: Vec<FrozenGate> = self
            .plan
            .status
            .plan
            .iter()
            .flat_map(|p| &p.gates)
            .filter(|g| g.when == When::BeforeTraffic)
            .cloned()
            .collect();
        let mut holds = Vec::new();
        for gate in &frozen {
            match self.gate(gate, candidate, baseline) {
                Gates::Passed => {}
                Gates::Failed(failure) => return Gates::Failed(failure),
                Gates::Hold(state) => holds.push(state),
            }
        }
        // A gate that cannot go on by itself is told before one that is at work.
        let stalled = holds.iter().position(|s| matches!(s, State::Stalled { .. }));
        match stalled.or_else(|| (!holds.is_empty()).then_some(0)) {
            Some(i) => Gates::Hold(holds.swap_remove(i)),
            None => Gates::Passed,
        }
    }

    fn gate(&mut self, gate: &FrozenGate, candidate: &Snapshot, baseline: Option<&Snapshot>) -> Gates {
        let Some(i) = self.plan.status.gates.iter().position(|g| g.name == gate.name) else {
            return Gates::Hold(State::waiting(Reason::Verifying, format!("Gate {} is prepared.", gate.name)));
        };
        let mut task = self.task(gate, candidate, baseline);
        let Some(mut progress) = self.plan.status.gates.get(i).cloned() else { return Gates::Passed };
        if without_report(&progress) {
            task.report = None;
        }
        // `since` tells a start from an earlier one of the same revision: a retry measures anew.
        let since = self.plan.status.candidate.as_ref().map(|c| c.since.clone()).unwrap_or_default();
        let run = Run { gate, task, since };
        let gates = match progress.verdict {
            None => self.attempt(&run, &mut progress),
            Some(verdict) => self.decided(&run, &mut progress, verdict),
        };
        if let Some(slot) = self.plan.status.gates.get_mut(i) {
            *slot = progress;
        }
        gates
    }

    /// A run of the candidate's under way, or one to begin. A verdict is progress, whatever it says; a run that measured
    /// nothing is none.
    fn attempt(&mut self, run: &Run<'_>, progress: &mut GateProgress) -> Gates {
        if let Some(state) = self.measure(run, progress) {
            return Gates::Hold(state);
        }
        match progress.verdict {
            Some(VerdictWord::Error) | None => {}
            Some(VerdictWord::Pass | VerdictWord::Fail | VerdictWord::Inconclusive) => self.progressed(),
        }
        progress.verdict.map_or(Gates::Passed, |verdict| self.decided(run, progress, verdict))
    }

    fn decided(&mut self, run: &Run<'_>, progress: &mut GateProgress, verdict: VerdictWord) -> Gates {
        let gate = run.gate;
        let told = progress.message.clone().unwrap_or_default();
        let failure =
            |message: String| Gates::Failed(Failure { reason: Reason::GateFailed.as_str().to_owned(), message });
        match verdict {
            VerdictWord::Pass => Gates::Passed,
            VerdictWord::Fail if self.rolls_back_on(RollbackCause::GateFailed) => {
                let text = format!("Gate {} failed for revision {}: {told}", gate.name, progress.revision);
                failure(text)
            }
            VerdictWord::Fail => {
                let text = format!(
                    "Gate {} failed for revision {}: {told} `spec.rollback.on` does not list GateFailed, so it waits; \
                     withdraw it with {}.",
                    gate.name,
                    progress.revision,
                    self.command("abort", &progress.revision)
                );
                Gates::Hold(State::stalled(Reason::GateFailed, text))
            }
            VerdictWord::Inconclusive if progress.accepted => Gates::Passed,
            VerdictWord::Inconclusive if self.use_promote().is_some() => {
                progress.accepted = true;
                Gates::Passed
            }
            VerdictWord::Inconclusive => match self.plan.status.plan.as_ref().map(|p| p.on_inconclusive) {
                Some(OnInconclusive::Fail) => {
                    let text = format!("Gate {} is inconclusive, which counts as failed here: {told}", gate.name);
                    failure(text)
                }
                Some(OnInconclusive::Hold) | None => {
                    let text = format!(
                        "Gate {} cannot decide: {told} It waits; let it pass with {}, or withdraw it with {}.",
                        gate.name,
                        self.command("promote", &progress.revision),
                        self.command("abort", &progress.revision)
                    );
                    Gates::Hold(State::waiting(Reason::GateInconclusive, text))
                }
            },
            VerdictWord::Error => self.error(run, progress, &told),
        }
    }

    fn error(&mut self, run: &Run<'_>, progress: &mut GateProgress, told: &str) -> Gates {
        let gate = run.gate;
        let attempts = progress.attempt;
        let spent = attempts > gate.spec.retries;
        let waited = self.since(progress.finished_at.as_deref());
        if !spent || waited >= RETRY {
            if progress.reason.as_deref() == Some(VerdictReason::InputsChanged.as_str()) {
                // Nothing was measured: the gate reads its dataset again, and what it finds then is frozen.
                let frozen = self.freeze_dataset(&gate.name, progress.finished_at.as_deref().and_then(parse_time));
                if let Err(state) = frozen {
                    return Gates::Hold(state);
                }
                progress.reason = None;
                progress.verdict = None;
                progress.job = None;
                progress.attempt = attempts.saturating_add(1);
                let text = format!("Gate {} is asked again: its dataset had changed.", gate.name);
                return Gates::Hold(State::waiting(Reason::Verifying, text));
            }
            progress.attempt = attempts.saturating_add(1);
            progress.verdict = None;
            progress.job = None;
            return self.attempt(run, progress);
        }
        self.plan.look_again(RETRY.saturating_sub(waited).max(Duration::from_secs(1)));
        let text = format!(
            "Gate {} could not measure in {attempts} attempts; the last: {told} It is tried again once an hour; to \
             start at once: {}, then {}; or correct the cause.",
            gate.name,
            self.command("abort", &progress.revision),
            self.command("retry", &progress.revision)
        );
        Gates::Hold(State::stalled(Reason::GateUnavailable, text))
    }

    /// The word of the GATE column.
    pub(super) fn gate_word(&self) -> Option<String> {
        let status = &self.plan.status;
        let running = status.candidate.as_ref().is_some_and(|c| c.stage == Stage::Verifying);
        let has = |verdict: VerdictWord| status.gates.iter().any(|g| g.verdict == Some(verdict) && !g.accepted);
        let word = if status.gates.is_empty() {
            return None;
        } else if has(VerdictWord::Fail) {
            "Fail"
        } else if has(VerdictWord::Error) {
            "Error"
        } else if has(VerdictWord::Inconclusive) {
            "Inconclusive"
        } else if status.gates.iter().all(|g| g.verdict.is_some()) {
            "Pass"
        } else if running {
            "Running"
        } else {
            return None;
        };
        Some(word.to_owned())
    }
}

fn not_usable(gate: &EvalGate, name: &str) -> State {
    let conditions = gate.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    let stalled = condition::find(conditions, crate::api::ConditionType::Stalled);
    match stalled {
        Some(told) => State::waiting(Reason::GateUnavailable, format!("Gate {name} is not usable: {}", told.message)),
        None => State::waiting(Reason::Preparing, format!("Waits for gate {name} to check its dataset.")),
    }
}
