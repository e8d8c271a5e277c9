//! One run of a gate: its Job, its evidence, what it measured.
//!
//! Why apart from what follows from it: a run of the candidate before traffic and a scheduled one of stable are made,
//! found again and read in the same way.
//!
//! Invariants: a run is named by what it measures, so it is found again and counted once; a report that cannot be kept
//! never costs the verdict.

use std::time::Duration;

use kube::ResourceExt;

use super::super::{Draft, elapsed, verdict};
use crate::api::gate::{Baseline, ReportStatus};
use crate::api::release::{FrozenGate, GateProgress};
use crate::api::{RagRelease, Reason};
use crate::controller::attempt::{Outcome, waits_for_volumes, why_stuck};
use crate::controller::condition::State;
use crate::controller::plan::{Action, ChildKind};
use crate::controller::pod::job_name;
use crate::controller::release::render;
use crate::controller::release::revision::Snapshot;
use crate::worker::job::{Counting, Earlier, EvaluateTask, JobInput, ReportTask, Task, digest, run_inputs};
use crate::worker::receipt::EvaluateReport;

/// How long a pod may take to start before its report is given up.
const MOUNT: Duration = Duration::from_secs(30);
/// A finished Job is kept this long.
const KEEP_SECONDS: i64 = 3_600;
const KEEP_FAILED_SECONDS: i64 = 86_400;

/// A run of a gate: what it measures, and of which start.
pub struct Run<'a> {
    pub gate: &'a FrozenGate,
    pub task: EvaluateTask,
    /// Tells it from an earlier one of the same inputs.
    pub since: String,
}

impl Run<'_> {
    fn begin(&self, release: &RagRelease, progress: &mut GateProgress) {
        progress.evidence = Some(evidence_key(&release.uid().unwrap_or_default(), &self.task));
        progress.job = Some(self.job(release, progress));
        progress.finished_at = None;
        progress.message = None;
        progress.reason = None;
        progress.metrics = Vec::new();
        progress.worst_slice = None;
        progress.report = None;
    }

    /// The name of its Job. With and without a report are two Jobs.
    fn job(&self, release: &RagRelease, progress: &GateProgress) -> String {
        let (evidence, reported) = (&progress.evidence, self.task.report.is_some());
        job_name(&release.name_any(), &(evidence, &self.gate.name, progress.attempt, &self.since, reported))
    }

    fn input(&self, progress: &GateProgress) -> JobInput {
        let evidence: String = progress.evidence.clone().unwrap_or_default().chars().take(40).collect();
        let run = format!("{evidence}-{}-{}", progress.attempt, self.since);
        let task = Task::Evaluate(Box::new(self.task.clone()));
        JobInput { v: 1, run: run.chars().take(72).collect(), task }
    }

    fn without_report(&self) -> Self {
        Self { gate: self.gate, task: EvaluateTask { report: None, ..self.task.clone() }, since: self.since.clone() }
    }
}

impl Draft<'_> {
    /// Begins a run or reads on in it; `None`: it has ended, and its verdict is in the progress.
    pub fn measure(&mut self, run: &Run<'_>, progress: &mut GateProgress) -> Option<State> {
        let uid = self.release.uid().unwrap_or_default();
        if progress.attempt == 0 || progress.job.is_none() {
            progress.attempt = progress.attempt.max(1);
            run.begin(self.release, progress);
        }
        let name = progress.job.clone().unwrap_or_default();
        let input = run.input(progress);
        let gate = run.gate;
        let outcome = self.world().and_then(|w| w.attempts.get(&name)).map(|a| a.outcome(&uid, &input.run));
        let outcome = outcome.map(|outcome| outcome.of::<Box<EvaluateReport>>(&name));
        let running = format!("Gate {} measures revision {} (Job {name}).", gate.name, progress.revision);
        let hold = |text: String| Some(State::waiting(Reason::Verifying, text));
        match outcome {
            // Not looked for yet, or its creation was lost: the name is the same, so it is made once.
            None if self.began_before(&name) => hold(running),
            None | Some(Outcome::Absent) => {
                let job = render::evaluate_job(self.release, &self.seen.config, gate, &name, &input);
                self.plan.actions.push(Action::Create { kind: ChildKind::Job, name, body: job });
                hold(running)
            }
            Some(Outcome::Foreign) => {
                let text = format!("A Job {name} that is not ours stands in the way; delete or rename it.");
                Some(State::stalled(Reason::NotOwned, text))
            }
            Some(Outcome::Running | Outcome::Stuck { .. }) if self.report_hinders(&name, &run.task) => {
                self.leave_report_out(run, progress)
            }
            Some(Outcome::Running) => {
                self.plan.look_again(Duration::from_secs(10));
                hold(running)
            }
            Some(Outcome::Stuck { reason, message }) => {
                self.plan.look_again(Duration::from_secs(10));
                let text = format!("Gate {} cannot measure yet. {message}", gate.name);
                Some(State::waiting(reason, text))
            }
            Some(Outcome::Done { report, .. }) => {
                let at = self.now_text();
                let retrieval = gate.spec.retrieval.clone();
                if let Some(retrieval) = retrieval {
                    let promoted = self.promoted_differences(gate);
                    let compared = run.task.baseline.is_some();
                    let told = verdict::judged(&retrieval, &report, &run_inputs(&run.task), compared, promoted);
                    verdict::record(progress, told, at);
                }
                if let Some(kept) = &report.report {
                    progress.report = Some(verdict::kept(kept));
                }
                self.expire(name, KEEP_SECONDS);
                None
            }
            Some(Outcome::Failed { error, .. }) => {
                verdict::record_error(progress, &error, self.now_text());
                self.expire(name, KEEP_FAILED_SECONDS);
                None
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
    fn leave_report_out(&mut self, run: &Run<'_>, progress: &mut GateProgress) -> Option<State> {
        let claim = run.task.report.as_ref().map(|report| report.claim_name.clone()).unwrap_or_default();
        let job = progress.job.clone().unwrap_or_default();
        self.plan.actions.extend(self.deletion(&job));
        let problem = format!(
            "The Job did not start with claim {claim}, so the run goes on without a report. Does the claim exist, and can \
             it be mounted on the node of the pod?"
        );
        progress.report = Some(ReportStatus { problem: Some(problem), ..ReportStatus::default() });
        let run = run.without_report();
        progress.job = Some(run.job(self.release, progress));
        self.measure(&run, progress)
    }

    pub fn task(&self, gate: &FrozenGate, candidate: &Snapshot, baseline: Option<&Snapshot>) -> EvaluateTask {
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
            earlier: Earlier {
                max_cumulative_drop: retrieval.and_then(|r| r.max_cumulative_drop),
                promoted: self.promoted_differences(gate),
                ..Earlier::default()
            },
            report: gate.spec.report.as_ref().map(|report| ReportTask {
                claim_name: report.claim_name.clone(),
                path: report.path.clone(),
                namespace: namespace.clone(),
                release: self.release.name_any(),
                gate: gate.name.clone(),
                expose_text: gate.spec.expose_text,
            }),
        }
    }

    /// Takes the Jobs of a withdrawn candidate away: a cancelled run has no verdict.
    pub fn cancel_runs(&mut self) {
        let running = self.plan.status.gates.iter().filter(|g| g.verdict.is_none());
        let deletions: Vec<Action> = running.filter_map(|g| self.deletion(g.job.as_deref()?)).collect();
        self.plan.actions.extend(deletions);
    }

    pub fn deletion(&self, job: &str) -> Option<Action> {
        Action::delete(ChildKind::Job, &self.world()?.attempts.get(job)?.job.as_ref()?.metadata)
    }

    fn expire(&mut self, name: String, seconds: i64) {
        self.plan.actions.push(Action::ExpireJob { name, seconds });
    }
}

/// A run that is to be made.
pub fn asked(gate: &str, revision: &str, baseline: Option<String>) -> GateProgress {
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

/// Whether the report of the present attempt was given up before anything was measured.
pub fn without_report(progress: &GateProgress) -> bool {
    let given_up = progress.report.as_ref().is_some_and(|report| report.problem.is_some());
    given_up && progress.verdict.is_none() && progress.job.is_some()
}

/// What exactly is measured.
pub fn evidence_key(uid: &str, task: &EvaluateTask) -> String {
    digest(&(uid, run_inputs(task)))
}
