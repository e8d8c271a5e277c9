//! BeforeTraffic gates of a candidate: attempts, evidence, verdicts.
//!
//! Invariants: a run is named by what it measures, so it is found again and counted once; Error is tried again
//! up to `retries` and never counts as Fail; Fail is final; Inconclusive waits or fails as the plan says.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{Draft, elapsed, verdict};
use crate::api::gate::{Baseline, ReportStatus, VerdictWord};
use crate::api::reason::VerdictReason;
use crate::api::release::{Failure, FrozenGate, GateProgress, OnInconclusive, RollbackCause, Stage, When};
use crate::api::{EvalGate, Reason};
use crate::controller::attempt::{Outcome, waits_for_volumes, why_stuck};
use crate::controller::condition::{self, State, parse_time};
use crate::controller::gate::plan::CHECK_AGE;
use crate::controller::plan::{Action, ChildKind};
use crate::controller::pod::job_name;
use crate::controller::read::Referred;
use crate::controller::release::render;
use crate::controller::release::revision::Snapshot;
use crate::worker::job::{Counting, EvaluateTask, JobInput, ReportTask, Task, digest, run_inputs};
use crate::worker::receipt::EvaluateReport;

/// Time between attempts once `retries` are spent.
const RETRY: Duration = Duration::from_secs(3600);
/// How long a pod may take to start before its report is given up.
const MOUNT: Duration = Duration::from_secs(30);
/// A finished Job is kept this long.
const KEEP_SECONDS: i64 = 3_600;
const KEEP_FAILED_SECONDS: i64 = 86_400;

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
        let Some(progress) = self.plan.status.gates.get(i).cloned() else { return Gates::Passed };
        if without_report(&progress) {
            task.report = None;
        }
        let (progress, gates) = match progress.verdict {
            None => self.attempt(progress, gate, &task),
            Some(verdict) => self.decided(progress, verdict, gate, &task),
        };
        if let Some(slot) = self.plan.status.gates.get_mut(i) {
            *slot = progress;
        }
        gates
    }

    /// A run of the candidate's under way, or one to begin.
    fn attempt(&mut self, progress: GateProgress, gate: &FrozenGate, task: &EvaluateTask) -> (GateProgress, Gates) {
        // `since` tells a start from an earlier one of the same revision: a retry measures anew.
        let since = self.plan.status.candidate.as_ref().map(|c| c.since.clone()).unwrap_or_default();
        match self.measure(progress, gate, task, &since) {
            (progress, Some(state)) => (progress, Gates::Hold(state)),
            (progress, None) => self.after(progress, gate, task),
        }
    }

    /// Begins a run or reads on in it; `None`: it has ended, and its verdict is in the progress. `since` tells it from
    /// an earlier one of the same inputs.
    pub(super) fn measure(
        &mut self,
        mut progress: GateProgress,
        gate: &FrozenGate,
        task: &EvaluateTask,
        since: &str,
    ) -> (GateProgress, Option<State>) {
        let uid = self.release.uid().unwrap_or_default();
        if progress.attempt == 0 || progress.job.is_none() {
            progress.attempt = progress.attempt.max(1);
            self.begin(&mut progress, gate, task, since);
        }
        let name = progress.job.clone().unwrap_or_default();
        let input = input(&progress, task, since);
        let outcome = self.world().and_then(|w| w.attempts.get(&name)).map(|a| a.outcome(&uid, &input.run));
        let outcome = outcome.map(|outcome| outcome.of::<Box<EvaluateReport>>(&name));
        let running = format!("Gate {} measures revision {} (Job {name}).", gate.name, progress.revision);
        let hold = |text: String| Some(State::waiting(Reason::Verifying, text));
        match outcome {
            // Not looked for yet, or its creation was lost: the name is the same, so it is made once.
            None if self.began_before(&name) => (progress, hold(running)),
            None | Some(Outcome::Absent) => {
                let job = render::evaluate_job(self.release, &self.seen.config, gate, &name, &input);
                self.plan.actions.push(Action::Create { kind: ChildKind::Job, name, body: job });
                (progress, hold(running))
            }
            Some(Outcome::Foreign) => {
                let text = format!("A Job {name} that is not ours stands in the way; delete or rename it.");
                (progress, Some(State::stalled(Reason::NotOwned, text)))
            }
            Some(Outcome::Running | Outcome::Stuck { .. }) if self.report_hinders(&name, task) => {
                self.leave_report_out(progress, gate, task, since)
            }
            Some(Outcome::Running) => {
                self.plan.look_again(Duration::from_secs(10));
                (progress, hold(running))
            }
            Some(Outcome::Stuck { reason, message }) => {
                self.plan.look_again(Duration::from_secs(10));
                let text = format!("Gate {} cannot measure yet. {message}", gate.name);
                (progress, Some(State::waiting(reason, text)))
            }
            Some(Outcome::Done { report, .. }) => {
                let at = self.now_text();
                let retrieval = gate.spec.retrieval.clone();
                if let Some(retrieval) = retrieval {
                    let promoted = self.promoted_differences(gate);
                    let compared = task.baseline.is_some();
                    let told = verdict::judged(&retrieval, &report, &run_inputs(task), compared, promoted);
                    verdict::record(&mut progress, told, at);
                }
                if let Some(kept) = &report.report {
                    progress.report = Some(verdict::kept(kept));
                }
                self.expire(name, KEEP_SECONDS);
                (progress, None)
            }
            Some(Outcome::Failed { error, .. }) => {
                verdict::record_error(&mut progress, &error, self.now_text());
                self.expire(name, KEEP_FAILED_SECONDS);
                (progress, None)
            }
        }
    }

    /// Whether a Job of this name was decided on in an earlier pass.
    fn began_before(&self, name: &str) -> bool {
        let scheduled = self.old.scheduled.iter().map(|scheduled| &scheduled.run);
        self.old.gates.iter().chain(scheduled).any(|run| run.job.as_deref() == Some(name))
    }

    /// Whether the pod of a run has waited too long to start, and the claim of the report may be why: one that is
    /// missing, or on another node, must not cost the verdict.
    fn report_hinders(&self, job: &str, task: &EvaluateTask) -> bool {
        let attempt = self.world().and_then(|world| world.attempts.get(job)).filter(|_| task.report.is_some());
        let Some(attempt) = attempt else { return false };
        let created = attempt.job.as_ref().and_then(|job| job.metadata.creation_timestamp.as_ref()).map(|at| at.0);
        let waited = created.is_some_and(|at| elapsed(at, self.now()) > MOUNT);
        let unscheduled = |pod| matches!(why_stuck(pod), Some((Reason::PodUnschedulable, _)));
        waited && attempt.pods.iter().any(|pod| unscheduled(pod) || waits_for_volumes(pod, self.now()))
    }

    /// The same run again, without a report: it is the same attempt, since nothing was measured.
    fn leave_report_out(
        &mut self,
        mut progress: GateProgress,
        gate: &FrozenGate,
        task: &EvaluateTask,
        since: &str,
    ) -> (GateProgress, Option<State>) {
        let claim = task.report.as_ref().map(|report| report.claim_name.clone()).unwrap_or_default();
        let job = progress.job.clone().unwrap_or_default();
        self.plan.actions.extend(self.deletion(&job));
        let problem = format!(
            "The Job did not start with claim {claim}, so the run goes on without a report. Does the claim exist, and can \
             it be mounted on the node of the pod?"
        );
        progress.report = Some(ReportStatus { problem: Some(problem), ..ReportStatus::default() });
        let task = EvaluateTask { report: None, ..task.clone() };
        progress.job = Some(self.job_of(&progress, gate, &task, since));
        self.measure(progress, gate, &task, since)
    }

    /// A verdict is progress, whatever it says; a run that measured nothing is none.
    fn after(&mut self, progress: GateProgress, gate: &FrozenGate, task: &EvaluateTask) -> (GateProgress, Gates) {
        match progress.verdict {
            Some(VerdictWord::Error) | None => {}
            Some(VerdictWord::Pass | VerdictWord::Fail | VerdictWord::Inconclusive) => self.progressed(),
        }
        match progress.verdict {
            Some(verdict) => self.decided(progress, verdict, gate, task),
            None => (progress, Gates::Passed),
        }
    }

    fn decided(
        &mut self,
        mut progress: GateProgress,
        verdict: VerdictWord,
        gate: &FrozenGate,
        task: &EvaluateTask,
    ) -> (GateProgress, Gates) {
        let told = progress.message.clone().unwrap_or_default();
        let failure =
            |message: String| Gates::Failed(Failure { reason: Reason::GateFailed.as_str().to_owned(), message });
        match verdict {
            VerdictWord::Pass => (progress, Gates::Passed),
            VerdictWord::Fail if self.rolls_back_on(RollbackCause::GateFailed) => {
                let text = format!("Gate {} failed for revision {}: {told}", gate.name, progress.revision);
                (progress, failure(text))
            }
            VerdictWord::Fail => {
                let text = format!(
                    "Gate {} failed for revision {}: {told} `spec.rollback.on` does not list GateFailed, so it waits; \
                     withdraw it with {}.",
                    gate.name,
                    progress.revision,
                    self.command("abort", &progress.revision)
                );
                (progress, Gates::Hold(State::stalled(Reason::GateFailed, text)))
            }
            VerdictWord::Inconclusive if progress.accepted => (progress, Gates::Passed),
            VerdictWord::Inconclusive if self.use_promote().is_some() => {
                progress.accepted = true;
                (progress, Gates::Passed)
            }
            VerdictWord::Inconclusive => match self.plan.status.plan.as_ref().map(|p| p.on_inconclusive) {
                Some(OnInconclusive::Fail) => {
                    let text = format!("Gate {} is inconclusive, which counts as failed here: {told}", gate.name);
                    (progress, failure(text))
                }
                Some(OnInconclusive::Hold) | None => {
                    let text = format!(
                        "Gate {} cannot decide: {told} It waits; let it pass with {}, or withdraw it with {}.",
                        gate.name,
                        self.command("promote", &progress.revision),
                        self.command("abort", &progress.revision)
                    );
                    (progress, Gates::Hold(State::waiting(Reason::GateInconclusive, text)))
                }
            },
            VerdictWord::Error => self.error(progress, gate, task, &told),
        }
    }

    fn error(
        &mut self,
        mut progress: GateProgress,
        gate: &FrozenGate,
        task: &EvaluateTask,
        told: &str,
    ) -> (GateProgress, Gates) {
        let attempts = progress.attempt;
        let spent = attempts > gate.spec.retries;
        let waited = self.since(progress.finished_at.as_deref());
        if !spent || waited >= RETRY {
            if progress.reason.as_deref() == Some(VerdictReason::InputsChanged.as_str()) {
                // Nothing was measured: the gate reads its dataset again, and what it finds then is frozen.
                let frozen = self.freeze_dataset(&gate.name, progress.finished_at.as_deref().and_then(parse_time));
                if let Err(state) = frozen {
                    return (progress, Gates::Hold(state));
                }
                progress.reason = None;
                progress.verdict = None;
                progress.job = None;
                progress.attempt = attempts.saturating_add(1);
                let text = format!("Gate {} is asked again: its dataset had changed.", gate.name);
                return (progress, Gates::Hold(State::waiting(Reason::Verifying, text)));
            }
            progress.attempt = attempts.saturating_add(1);
            progress.verdict = None;
            progress.job = None;
            let (progress, gates) = self.attempt(progress, gate, task);
            return (progress, gates);
        }
        self.plan.look_again(RETRY.saturating_sub(waited).max(Duration::from_secs(1)));
        let text = format!(
            "Gate {} could not measure in {attempts} attempts; the last: {told} It is tried again once an hour; to \
             start at once: {}, then {}; or correct the cause.",
            gate.name,
            self.command("abort", &progress.revision),
            self.command("retry", &progress.revision)
        );
        (progress, Gates::Hold(State::stalled(Reason::GateUnavailable, text)))
    }

    fn begin(&self, progress: &mut GateProgress, gate: &FrozenGate, task: &EvaluateTask, since: &str) {
        progress.evidence = Some(evidence_key(&self.release.uid().unwrap_or_default(), task));
        progress.job = Some(self.job_of(progress, gate, task, since));
        progress.finished_at = None;
        progress.message = None;
        progress.reason = None;
        progress.metrics = Vec::new();
        progress.worst_slice = None;
        progress.report = None;
    }

    fn job_of(&self, progress: &GateProgress, gate: &FrozenGate, task: &EvaluateTask, since: &str) -> String {
        let (evidence, release) = (&progress.evidence, self.release.name_any());
        // With and without a report are two Jobs.
        job_name(&release, &(evidence, &gate.name, progress.attempt, since, task.report.is_some()))
    }

    pub(super) fn task(&self, gate: &FrozenGate, candidate: &Snapshot, baseline: Option<&Snapshot>) -> EvaluateTask {
        let retrieval = gate.spec.retrieval.as_ref();
        let compared = retrieval.is_some_and(|r| match r.baseline {
            Baseline::Stable => true,
            Baseline::None => false,
        });
        let namespace = self.release.namespace().unwrap_or_default();
        let arm = |snapshot: &Snapshot| render::arm(&self.release.name_any(), &namespace, snapshot);
        EvaluateTask {
            dataset: retrieval.map_or_else(render::no_dataset, |r| r.dataset.clone()),
            dataset_digest: gate.dataset_digest.clone().unwrap_or_default(),
            metrics: retrieval.map(|r| r.metrics.clone()).unwrap_or_default(),
            statistics: retrieval.map(|r| r.statistics.clone()).unwrap_or_default(),
            slices: retrieval.and_then(|r| r.slices.clone()),
            counting: retrieval.map(Counting::of).unwrap_or_default(),
            spec_digest: gate.spec_digest.clone(),
            candidate: arm(candidate),
            baseline: baseline.filter(|_| compared).map(arm),
            report: gate.spec.report.as_ref().map(|report| ReportTask {
                claim_name: report.claim_name.clone(),
                path: report.path.clone(),
                release: self.release.name_any(),
                gate: gate.name.clone(),
                expose_text: gate.spec.expose_text,
            }),
        }
    }

    /// Takes the Jobs of a withdrawn candidate away: a cancelled run has no verdict.
    pub(super) fn cancel_runs(&mut self) {
        let running = self.plan.status.gates.iter().filter(|g| g.verdict.is_none());
        let deletions: Vec<Action> = running.filter_map(|g| self.deletion(g.job.as_deref()?)).collect();
        self.plan.actions.extend(deletions);
    }

    pub(super) fn deletion(&self, job: &str) -> Option<Action> {
        Action::delete(ChildKind::Job, &self.world()?.attempts.get(job)?.job.as_ref()?.metadata)
    }

    fn expire(&mut self, name: String, seconds: i64) {
        self.plan.actions.push(Action::ExpireJob { name, seconds });
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

/// A run that is to be made.
pub(super) fn asked(gate: &str, revision: &str, baseline: Option<String>) -> GateProgress {
    GateProgress {
        name: gate.to_owned(),
        revision: revision.to_owned(),
        baseline,
        attempt: 0,
        evidence: None,
        verdict: None,
        accepted: false,
        reason: None,
        message: None,
        n: None,
        metrics: Vec::new(),
        required_queries: None,
        worst_slice: None,
        report: None,
        job: None,
        finished_at: None,
    }
}

fn input(progress: &GateProgress, task: &EvaluateTask, since: &str) -> JobInput {
    let evidence: String = progress.evidence.clone().unwrap_or_default().chars().take(40).collect();
    let run = format!("{evidence}-{}-{since}", progress.attempt);
    JobInput { v: 1, run: run.chars().take(72).collect(), task: Task::Evaluate(Box::new(task.clone())) }
}

/// Whether the report of the present attempt was given up before anything was measured.
pub(super) fn without_report(progress: &GateProgress) -> bool {
    let given_up = progress.report.as_ref().is_some_and(|report| report.problem.is_some());
    given_up && progress.verdict.is_none() && progress.job.is_some()
}

/// What exactly is measured.
pub fn evidence_key(uid: &str, task: &EvaluateTask) -> String {
    digest(&(uid, run_inputs(task)))
}

fn not_usable(gate: &EvalGate, name: &str) -> State {
    let conditions = gate.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    let stalled = condition::find(conditions, crate::api::ConditionType::Stalled);
    match stalled {
        Some(told) => State::waiting(Reason::GateUnavailable, format!("Gate {name} is not usable: {}", told.message)),
        None => State::waiting(Reason::Preparing, format!("Waits for gate {name} to check its dataset.")),
    }
}
