//! BeforeTraffic gates of a candidate: attempts, evidence, verdicts.
//!
//! Invariants: a run is named by what it measures, so it is found again and counted once; Error is tried again
//! up to `retries` and never counts as Fail; Fail is final; Inconclusive waits or fails as the plan says.

use std::time::Duration;

use kube::ResourceExt;

use super::{Draft, elapsed, verdict};
use crate::api::gate::{Baseline, ReportStatus, VerdictWord};
use crate::api::release::{Failure, FrozenGate, GateProgress, OnInconclusive, RollbackCause, Stage, When};
use crate::api::{EvalGate, Reason};
use crate::controller::attempt::{Outcome, waits_for_volumes, why_stuck};
use crate::controller::condition::{self, State, parse_time};
use crate::controller::plan::{Action, ChildKind};
use crate::controller::pod::job_name;
use crate::controller::read::Referred;
use crate::controller::release::render;
use crate::controller::release::revision::Snapshot;
use crate::worker::job::{EvaluateTask, JobInput, ReportTask, Task, digest, run_inputs};
use crate::worker::receipt::Body;

/// A check of a dataset counts for this long before a candidate starts.
const CHECK_AGE: Duration = Duration::from_secs(3600);
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
        let Some(world) = self.seen.world.as_ref() else {
            return Err(State::waiting(Reason::Preparing, "The cluster could not be read in full; it is tried again."));
        };
        let Some(plan) = self.plan.status.plan.as_mut() else { return Ok(()) };
        for gate in plan.gates.iter_mut().filter(|g| g.when == When::BeforeTraffic) {
            let found = match world.gates.get(&gate.name) {
                Some(Referred::Here(found)) => found,
                Some(Referred::Absent | Referred::Unreadable(_)) | None => {
                    let text = format!("EvalGate {}, which must pass before traffic, is gone.", gate.name);
                    return Err(State::waiting(Reason::RefNotFound, text));
                }
            };
            // Nothing was measured yet: a gate that was edited since the start is taken as it is checked now, for
            // the old form will never be checked again.
            if found.spec.retrieval.is_none() {
                let text = format!(
                    "Gate {} is used with `when: BeforeTraffic`, which needs a gate with `spec.retrieval`; correct \
                     spec.rollout.gates, or the gate.",
                    gate.name
                );
                return Err(State::stalled(Reason::InvalidSpec, text));
            }
            let wanted = crate::controller::gate::spec_digest(&found.spec);
            if wanted != gate.spec_digest {
                gate.spec = found.spec.clone();
                gate.spec_digest = wanted.clone();
                gate.dataset_digest = None;
            }
            let dataset = found.status.as_ref().and_then(|s| s.dataset.as_ref());
            let fresh = dataset.filter(|d| {
                let age = parse_time(&d.checked_at).zip(since).map(|(checked, since)| elapsed(checked, since));
                d.spec_digest == wanted && age.is_some_and(|age| age <= CHECK_AGE)
            });
            match fresh {
                Some(dataset) => gate.dataset_digest = Some(dataset.digest.clone()),
                None => return Err(not_usable(found, &gate.name)),
            }
        }
        Ok(())
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

    /// A run under way, or one to begin.
    fn attempt(&mut self, mut progress: GateProgress, gate: &FrozenGate, task: &EvaluateTask) -> (GateProgress, Gates) {
        let uid = self.release.uid().unwrap_or_default();
        if progress.attempt == 0 || progress.job.is_none() {
            progress.attempt = progress.attempt.max(1);
            self.begin(&mut progress, gate, task);
        }
        let name = progress.job.clone().unwrap_or_default();
        let input = self.input(&progress, task);
        let outcome = self.world().and_then(|w| w.attempts.get(&name)).map(|a| a.outcome(&uid, &input.run));
        let running = format!("Gate {} measures revision {} (Job {name}).", gate.name, progress.revision);
        let hold = |text: String| Gates::Hold(State::waiting(Reason::Verifying, text));
        match outcome {
            // Not looked for yet, or its creation was lost: the name is the same, so it is made once.
            None if self.old.gates.iter().any(|g| g.job.as_deref() == Some(&name)) => (progress, hold(running)),
            None | Some(Outcome::Absent) => {
                let job = render::evaluate_job(self.release, &self.seen.config, gate, &name, &input);
                self.plan.actions.push(Action::Create { kind: ChildKind::Job, name, body: job });
                (progress, hold(running))
            }
            Some(Outcome::Foreign) => {
                let text = format!("A Job {name} that is not ours stands in the way; delete or rename it.");
                (progress, Gates::Hold(State::stalled(Reason::NotOwned, text)))
            }
            Some(Outcome::Running | Outcome::Stuck { .. }) if self.report_hinders(&name, task) => {
                self.leave_report_out(progress, gate, task)
            }
            Some(Outcome::Running) => {
                self.plan.look_again(Duration::from_secs(10));
                (progress, hold(running))
            }
            Some(Outcome::Stuck { reason, message }) => {
                self.plan.look_again(Duration::from_secs(10));
                let text = format!("Gate {} cannot measure yet. {message}", gate.name);
                (progress, Gates::Hold(State::waiting(reason, text)))
            }
            Some(Outcome::Done { body: Body::Evaluate(report), .. }) => {
                let at = self.now_text();
                let retrieval = gate.spec.retrieval.clone();
                if let Some(retrieval) = retrieval {
                    let (judged, results) =
                        verdict::judged(&retrieval, &report, &run_inputs(task), task.baseline.is_some());
                    let n = report.n.first().copied().flatten();
                    verdict::record(&mut progress, &judged, results, n, at);
                }
                if let Some(kept) = &report.report {
                    progress.report = Some(verdict::kept(kept));
                }
                self.expire(name, KEEP_SECONDS);
                self.after(progress, gate, task)
            }
            Some(Outcome::Done { .. }) => {
                let report = crate::worker::receipt::ErrorReport {
                    reason: "ReceiptRejected".to_owned(),
                    error: format!("Job {name} left a receipt of another kind."),
                };
                verdict::record_error(&mut progress, &report, self.now_text());
                self.expire(name, KEEP_FAILED_SECONDS);
                self.after(progress, gate, task)
            }
            Some(Outcome::Failed { error, .. }) => {
                verdict::record_error(&mut progress, &error, self.now_text());
                self.expire(name, KEEP_FAILED_SECONDS);
                self.after(progress, gate, task)
            }
        }
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
    ) -> (GateProgress, Gates) {
        let claim = task.report.as_ref().map(|report| report.claim_name.clone()).unwrap_or_default();
        let job = progress.job.clone().unwrap_or_default();
        self.plan.actions.extend(self.deletion(&job));
        let problem = format!(
            "The Job did not start with claim {claim}, so the run goes on without a report. Does the claim exist, and can \
             it be mounted on the node of the pod?"
        );
        progress.report = Some(ReportStatus { problem: Some(problem), ..ReportStatus::default() });
        let task = EvaluateTask { report: None, ..task.clone() };
        progress.job = Some(self.job_of(&progress, gate, &task));
        self.attempt(progress, gate, &task)
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
            progress.attempt = attempts.saturating_add(1);
            progress.verdict = None;
            progress.job = None;
            let (progress, gates) = self.attempt(progress, gate, task);
            return (progress, gates);
        }
        self.plan.look_again(RETRY.saturating_sub(waited).max(Duration::from_secs(1)));
        let text = format!(
            "Gate {} could not measure in {attempts} attempts; the last: {told} It is tried again once an hour; start \
             at once with {} after an abort, or correct the cause.",
            gate.name,
            self.command("retry", &progress.revision)
        );
        (progress, Gates::Hold(State::stalled(Reason::GateUnavailable, text)))
    }

    fn begin(&self, progress: &mut GateProgress, gate: &FrozenGate, task: &EvaluateTask) {
        progress.evidence = Some(evidence_key(&self.release.uid().unwrap_or_default(), task));
        progress.job = Some(self.job_of(progress, gate, task));
        progress.finished_at = None;
        progress.message = None;
        progress.reason = None;
        progress.metrics = Vec::new();
        progress.report = None;
    }

    fn job_of(&self, progress: &GateProgress, gate: &FrozenGate, task: &EvaluateTask) -> String {
        // `since` tells a start from an earlier one of the same revision: a retry measures anew.
        let since = self.plan.status.candidate.as_ref().map(|c| c.since.clone()).unwrap_or_default();
        let (evidence, release) = (&progress.evidence, self.release.name_any());
        // With and without a report are two Jobs.
        job_name(&release, &(evidence, &gate.name, progress.attempt, since, task.report.is_some()))
    }

    fn input(&self, progress: &GateProgress, task: &EvaluateTask) -> JobInput {
        let evidence: String = progress.evidence.clone().unwrap_or_default().chars().take(40).collect();
        let since = self.plan.status.candidate.as_ref().map(|c| c.since.clone()).unwrap_or_default();
        let run = format!("{evidence}-{}-{since}", progress.attempt);
        JobInput { v: 1, run: run.chars().take(72).collect(), task: Task::Evaluate(task.clone()) }
    }

    fn task(&self, gate: &FrozenGate, candidate: &Snapshot, baseline: Option<&Snapshot>) -> EvaluateTask {
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

    fn deletion(&self, job: &str) -> Option<Action> {
        let uid = self.world()?.attempts.get(job)?.job.as_ref()?.metadata.uid.clone()?;
        Some(Action::Delete { kind: ChildKind::Job, name: job.to_owned(), uid })
    }

    fn expire(&mut self, name: String, seconds: i64) {
        self.plan.actions.push(Action::ExpireJob { name, seconds });
    }

    /// A command to paste.
    pub(super) fn command(&self, command: &str, revision: &str) -> String {
        format!(
            "`kubectl -n {} annotate rel {} ragops.dev/{command}={revision} --overwrite`",
            self.release.namespace().unwrap_or_default(),
            self.release.name_any()
        )
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

/// Whether the report of the present attempt was given up before anything was measured.
fn without_report(progress: &GateProgress) -> bool {
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
