//! Runs of gates on the stable revision, by the gates' schedules.
//!
//! Why: an index does not change, what it is measured with and by does: data, encoder, judgments. What was true at
//! promotion is measured again. Invariants: such a run never rolls back and never takes traffic; one that failed keeps
//! candidates from going on, for they would be compared with something that is not what it was; it begins only while
//! nothing is on its way, or what is on its way waits for it; what was missed meanwhile is made up for once.
//!
//! Why means are compared without bounds: the same revision answers the same queries of the same dataset, so a
//! difference is a change and no chance.

use jiff::Timestamp;
use kube::ResourceExt;

use super::Draft;
use super::gates::Run;
use crate::api::gate::VerdictWord;
use crate::api::reason::VerdictReason;
use crate::api::release::{FrozenGate, GateProgress, ScheduledRun, When};
use crate::api::{EvalGate, Reason};
use crate::controller::condition::{State, parse_time};
use crate::controller::event::{Note, cut};
use crate::controller::read::Referred;
use crate::controller::release::revision::Snapshot;
use crate::controller::schedule::Schedule;
use crate::worker::job::{spec_digest, worse_than_at_promotion};

impl Draft<'_> {
    /// Goes on with the runs of stable, begins those that are due, and forgets those of another revision.
    pub(super) fn scheduled(&mut self) {
        let Some(world) = self.world() else { return };
        let gates = self.release.spec.rollout.gates.iter().filter(|gate| gate.when == When::BeforeTraffic);
        let followed: Vec<(&EvalGate, Schedule)> = gates
            .filter_map(|named| match world.gates.get(&named.name) {
                Some(Referred::Here(gate)) if gate.spec.retrieval.is_some() => Some(gate.as_ref()),
                Some(Referred::Here(_) | Referred::Absent | Referred::Unreadable(_)) | None => None,
            })
            // One that cannot be read is said by the gate itself.
            .filter_map(|gate| {
                Some((gate, Schedule::parse(gate.spec.schedule.as_deref()?, gate.spec.time_zone.as_deref()).ok()?))
            })
            .collect();
        self.forget(&followed);
        let stable = self.plan.status.stable.clone();
        let Some((since, snapshot)) = stable.and_then(|s| Some((parse_time(&s.since)?, self.snapshot(&s.revision)?)))
        else {
            return;
        };
        for (gate, schedule) in followed {
            let name = gate.name_any();
            match self.plan.status.scheduled.iter().find(|s| s.run.name == name).cloned() {
                Some(entry) if entry.run.verdict.is_none() => self.go_on(entry, gate, &snapshot),
                Some(entry) if self.may_try_again(&entry.run, gate) => self.try_again(entry),
                entry => {
                    let after = entry.and_then(|entry| parse_time(&entry.begun_at)).unwrap_or(since);
                    self.begin_when_due(gate, &schedule, after, &snapshot);
                }
            }
        }
    }

    /// Runs of a revision that is stable no more, or of a gate that asks for none: their Jobs are taken away. A gate that
    /// cannot be read may still ask.
    fn forget(&mut self, followed: &[(&EvalGate, Schedule)]) {
        let stable = self.plan.status.stable.as_ref().map(|s| s.revision.clone());
        let stays = |entry: &ScheduledRun| {
            let name = &entry.run.name;
            let asked = followed.iter().any(|(gate, _)| gate.name_any() == *name);
            let gate = self.world().and_then(|world| world.gates.get(name));
            let unreadable = matches!(gate, Some(Referred::Unreadable(_)));
            Some(&entry.run.revision) == stable.as_ref() && (asked || unreadable)
        };
        let (kept, gone): (Vec<_>, Vec<_>) = self.plan.status.scheduled.iter().cloned().partition(stays);
        self.plan.status.scheduled = kept;
        for job in gone.into_iter().filter(|entry| entry.run.verdict.is_none()).filter_map(|entry| entry.run.job) {
            self.delete_run(&job);
        }
    }

    fn delete_run(&mut self, name: &str) {
        self.plan.actions.extend(self.deletion(name));
    }

    fn begin_when_due(&mut self, gate: &EvalGate, schedule: &Schedule, after: Timestamp, snapshot: &Snapshot) {
        let Some(due) = schedule.next(after) else { return };
        if due > self.now() {
            self.plan.look_again(super::elapsed(self.now(), due));
            return;
        }
        // What is on its way is measured against stable anyway; the rest would only be slowed down. What is barred waits
        // for such a run.
        let under_way = self.plan.status.candidate.is_some() && self.stable_failed().is_none();
        if under_way || checked_gate(gate).is_none() {
            return;
        }
        let name = gate.name_any();
        // Until a run passes, the failure of an earlier one stands: what is not known is no good news.
        let failed = self.plan.status.scheduled.iter().find(|s| s.run.name == name).and_then(|s| s.failed.clone());
        let run = super::gates::asked(&name, &snapshot.revision, None);
        let entry = ScheduledRun { begun_at: self.now_text(), failed, run };
        self.keep(entry.clone());
        self.go_on(entry, gate, snapshot);
    }

    fn go_on(&mut self, mut entry: ScheduledRun, gate: &EvalGate, snapshot: &Snapshot) {
        let Some(frozen) = checked_gate(gate) else { return };
        let mut task = self.task(&frozen, snapshot, None);
        task.earlier.at_promotion = self.means_at_promotion(&frozen);
        if super::gates::without_report(&entry.run) {
            task.report = None;
        }
        let evidence = super::gates::evidence_key(&self.release.uid().unwrap_or_default(), &task);
        // The gate or its dataset changed in mid-run: what is measured is not what would be judged.
        if entry.run.evidence.as_ref().is_some_and(|begun| *begun != evidence)
            && let Some(job) = entry.run.job.take()
        {
            self.delete_run(&job);
        }
        let run = Run { gate: &frozen, task, since: entry.begun_at.clone() };
        if self.measure(&run, &mut entry.run).is_none() {
            self.judge_against_promotion(&mut entry.run, &frozen);
            match entry.run.verdict {
                Some(VerdictWord::Fail) => entry.failed = Some(entry.run.message.clone().unwrap_or_default()),
                Some(VerdictWord::Pass) => entry.failed = None,
                Some(VerdictWord::Inconclusive | VerdictWord::Error) | None => {}
            }
            self.tell(&entry.run);
        }
        self.keep(entry);
    }

    fn keep(&mut self, entry: ScheduledRun) {
        let scheduled = &mut self.plan.status.scheduled;
        match scheduled.iter_mut().find(|known| known.run.name == entry.run.name) {
            Some(known) => *known = entry,
            None => scheduled.push(entry),
        }
    }

    /// A run that measured nothing is made again, as often as the gate allows; on a changed dataset once the gate has
    /// read it.
    fn may_try_again(&self, run: &GateProgress, gate: &EvalGate) -> bool {
        let failed = run.verdict == Some(VerdictWord::Error) && run.attempt <= gate.spec.retries;
        let changed = run.reason.as_deref() == Some(VerdictReason::InputsChanged.as_str());
        let checked = gate.status.as_ref().and_then(|s| s.dataset.as_ref()).and_then(|d| parse_time(&d.checked_at));
        let ended = run.finished_at.as_deref().and_then(parse_time);
        failed && (!changed || checked.zip(ended).is_some_and(|(checked, ended)| checked >= ended))
    }

    fn try_again(&mut self, mut entry: ScheduledRun) {
        let run = &mut entry.run;
        run.attempt = run.attempt.saturating_add(1);
        (run.verdict, run.reason, run.job, run.evidence) = (None, None, None, None);
        self.plan.look_again(std::time::Duration::from_secs(1));
        self.keep(entry);
    }

    /// Floors held: the means must still be what they were when the revision was promoted, within the margins.
    fn judge_against_promotion(&self, run: &mut GateProgress, gate: &FrozenGate) {
        let Some(retrieval) = gate.spec.retrieval.as_ref().filter(|_| run.verdict == Some(VerdictWord::Pass)) else {
            return;
        };
        let now = |name: &str| Some(run.metrics.iter().find(|metric| metric.name == name)?.candidate);
        if let Some(told) = worse_than_at_promotion(&retrieval.metrics, &self.means_at_promotion(gate), now) {
            run.verdict = Some(VerdictWord::Fail);
            run.reason = Some(VerdictReason::WorseThanAtPromotion.as_str().to_owned());
            run.message = Some(cut(&told));
        }
    }

    fn tell(&mut self, run: &GateProgress) {
        let told = run.message.as_deref().unwrap_or_default();
        let (reason, what) = match run.verdict {
            Some(VerdictWord::Fail) => (Reason::GateFailed, "failed; nothing is rolled back, and no candidate goes on"),
            Some(VerdictWord::Inconclusive) => (Reason::GateInconclusive, "could not decide"),
            Some(VerdictWord::Error) => (Reason::GateUnavailable, "could not measure"),
            Some(VerdictWord::Pass) | None => return,
        };
        let text = format!("The scheduled run of gate {} on stable revision {} {what}: {told}", run.name, run.revision);
        self.plan.events.push(Note::warning(reason, cut(&text)));
    }

    /// A gate whose scheduled run failed on stable and has not passed since, and what it said.
    pub(super) fn stable_failed(&self) -> Option<(&str, &str)> {
        self.plan.status.scheduled.iter().find_map(|entry| Some((entry.run.name.as_str(), entry.failed.as_deref()?)))
    }

    /// Why no candidate goes on unless `promote` lets it: stable failed its scheduled run.
    pub(super) fn barred_by_stable(&self) -> Option<State> {
        let candidate = self.plan.status.candidate.as_ref()?.revision.clone();
        let (gate, told) = self.stable_failed()?;
        let text = format!(
            "Revision {candidate} takes no step: a scheduled run of gate {gate} failed on the stable revision, so what the \
             candidate is compared with is not what it was: {told} Let it pass with {}, or withdraw it with {}.",
            self.command("promote", &candidate),
            self.command("abort", &candidate)
        );
        Some(State::waiting(Reason::GateFailed, self.beside(&text)))
    }
}

/// The gate as it is now, with the dataset that its check found; `None`: it is not usable, and says so itself.
fn checked_gate(gate: &EvalGate) -> Option<FrozenGate> {
    let wanted = spec_digest(&gate.spec);
    let dataset = gate.status.as_ref()?.dataset.as_ref().filter(|dataset| dataset.spec_digest == wanted)?;
    Some(FrozenGate {
        name: gate.name_any(),
        when: When::BeforeTraffic,
        spec_digest: wanted,
        dataset_digest: Some(dataset.digest.clone()),
        spec: gate.spec.clone(),
    })
}
