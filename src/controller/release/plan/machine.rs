//! The life of a candidate: start, prepare, verify, step, promote, withdraw; and the watch after it.
//!
//! Invariants: one decision a pass; what takes traffic away comes before what gives it; a weight goes up only
//! to the next frozen step (or to 100 by a command); a withdrawn candidate leaves only when the gateway took
//! the weight away; only what failed by itself is remembered as failed.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::gates::Gates;
use super::target::Target;
use super::{Draft, MOVING, SETTLED, Validated, command::Promote, online, watch};
use crate::api::release::{
    CandidateStatus, Counted, FailedRevision, Failure, FrozenGate, FrozenPlan, GateProgress, HistoryEntry,
    PreviousStatus, RevisionStatus, RollbackCause, Stage, When,
};
use crate::api::{EvalGateSpec, Reason, names};
use crate::controller::condition::{State, parse_time, time_text};
use crate::controller::event::Note;
use crate::controller::read::Referred;
use crate::controller::release::observe::is_ready;
use crate::controller::release::revision::Snapshot;
use crate::controller::release::traffic::{Acceptance, service_name};
use crate::controller::spec::{Invalid, words};
use crate::evaluation::sequence::{Agreement, State as Online, agrees};

/// Most entries of the lists in status.
const KEPT: usize = 20;
/// Sums are written at most this often while nothing else changes.
const SAMPLE_MOVING: Duration = Duration::from_secs(60);
const SAMPLE_SETTLED: Duration = Duration::from_secs(300);

impl Draft<'_> {
    /// Takes the one decision of this pass and says where the release stands.
    pub(super) fn step(&mut self, target: &Target, spec: &Result<Validated, Invalid>) -> State {
        let Some(candidate) = self.plan.status.candidate.clone() else { return self.settled(target, spec) };
        self.plan.look_again(MOVING);
        if candidate.stage == Stage::RollingBack {
            return self.rolling_back(&candidate);
        }
        self.resumed();
        if let Some(failure) = self.must_go(&candidate, target) {
            return self.withdraw(&candidate, failure);
        }
        match candidate.stage {
            Stage::Preparing => self.preparing(&candidate),
            Stage::Verifying => self.verifying(&candidate),
            Stage::Stepping => self.stepping(&candidate),
            Stage::RollingBack => self.rolling_back(&candidate),
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
            Target::Unknown => return self.unchanged(),
        };
        if self.plan.status.stable.as_ref().is_some_and(|s| s.revision == snapshot.revision) {
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
        self.start(snapshot, spec)
    }

    fn start(&mut self, snapshot: &Snapshot, spec: &Validated) -> State {
        let gates = match self.freeze_gates() {
            Ok(gates) => gates,
            Err(state) => return state,
        };
        let now = self.now_text();
        let baseline = self.plan.status.stable.as_ref().map(|s| s.revision.clone());
        let progress = |g: &FrozenGate| GateProgress {
            name: g.name.clone(),
            revision: snapshot.revision.clone(),
            baseline: baseline.clone(),
            attempt: 0,
            evidence: None,
            verdict: None,
            accepted: false,
            reason: None,
            message: None,
            n: None,
            metrics: Vec::new(),
            required_queries: None,
            job: None,
            finished_at: None,
        };
        let status = &mut self.plan.status;
        status.gates = gates.iter().filter(|g| g.when == When::BeforeTraffic).map(progress).collect();
        status.online = Vec::new();
        status.plan = Some(FrozenPlan {
            revision: snapshot.revision.clone(),
            baseline,
            frozen_at: now.clone(),
            steps: spec.steps.clone(),
            gates,
            min_requests: spec.min_requests,
            on_inconclusive: spec.on_inconclusive,
            progress_deadline: self.release.spec.rollout.progress_deadline.clone(),
        });
        status.candidate = Some(CandidateStatus {
            revision: snapshot.revision.clone(),
            version: snapshot.version_text(),
            weight: 0,
            image: snapshot.image.clone(),
            since: now.clone(),
            stage: Stage::Preparing,
            step: 0,
            step_text: format!("0/{}", spec.steps.len()),
            step_started_at: None,
            step_requests: 0,
            progressed_at: now,
            failure: None,
        });
        self.plan.look_again(MOVING);
        self.preparing_state(&snapshot.revision, "its pods are started")
    }

    /// Gates as they are now; a gate that is missing or of the wrong kind keeps a candidate from starting.
    fn freeze_gates(&self) -> Result<Vec<FrozenGate>, State> {
        let Some(world) = self.world() else { return Err(self.unchanged()) };
        let mut frozen = Vec::new();
        for gate in &self.release.spec.rollout.gates {
            let name = &gate.name;
            let found = match world.gates.get(name) {
                Some(Referred::Here(found)) => found,
                Some(Referred::Unreadable(why)) => {
                    let text = format!("EvalGate {name} cannot be read: {why}.");
                    return Err(State::waiting(Reason::RefNotFound, self.beside(&text)));
                }
                Some(Referred::Absent) | None => {
                    let text = format!("EvalGate {name}, named in spec.rollout.gates, does not exist.");
                    return Err(State::waiting(Reason::RefNotFound, self.beside(&text)));
                }
            };
            let fits = match gate.when {
                When::BeforeTraffic => found.spec.retrieval.is_some(),
                When::DuringTraffic => found.spec.online.is_some(),
            };
            if !fits {
                let text = format!(
                    "Gate {name} is used with `when: {:?}`, which needs {}; correct spec.rollout.gates.",
                    gate.when,
                    match gate.when {
                        When::BeforeTraffic => "a gate with `spec.retrieval`",
                        When::DuringTraffic => "a gate with `spec.online`",
                    }
                );
                return Err(State::stalled(Reason::InvalidSpec, self.beside(&text)));
            }
            frozen.push(FrozenGate {
                name: name.clone(),
                when: gate.when,
                spec_digest: crate::controller::gate::spec_digest(&found.spec),
                dataset_digest: None,
                spec: EvalGateSpec::clone(&found.spec),
            });
        }
        Ok(frozen)
    }

    fn preparing(&mut self, candidate: &CandidateStatus) -> State {
        let revision = &candidate.revision;
        if let Some((reason, message)) = self.pods_stuck(revision) {
            return State::stalled(reason, self.beside(&message));
        }
        if !self.available(revision) {
            return self.preparing_state(revision, "its pods load the index and are not ready yet");
        }
        let reading = self.seen.readings.revisions.get(revision).copied().unwrap_or_default();
        match reading.encoder_match.filter(|_| reading.complete()) {
            None => return self.preparing_state(revision, "its pods measure their encoder"),
            Some(false) => {
                let text = format!(
                    "Revision {revision} gets no traffic: the encoder that answers now gives other vectors than the one \
                     that built its index. Check the endpoint of the EmbeddingModel, or rebuild the index."
                );
                return State::waiting(Reason::FingerprintMismatch, self.beside(&text));
            }
            Some(true) => {}
        }
        if let Err(state) = self.freeze_datasets() {
            return state;
        }
        self.progressed();
        if self.plan.status.gates.is_empty() {
            return self.first_weight(candidate);
        }
        self.set_stage(Stage::Verifying);
        State::waiting(Reason::Verifying, self.beside(&format!("The gates measure revision {revision}.")))
    }

    fn verifying(&mut self, candidate: &CandidateStatus) -> State {
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
        if self.plan.status.stable.is_none() {
            self.promote(candidate);
            return self.serving();
        }
        self.go_to_step(candidate, 1)
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

    fn stepping(&mut self, candidate: &CandidateStatus) -> State {
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
        if candidate.weight == 100 {
            if self.paused() {
                return self.paused_state(candidate);
            }
            self.promote(candidate);
            return self.serving();
        }
        if candidate.step_started_at.is_none() {
            let now = self.now_text();
            if let Some(c) = self.plan.status.candidate.as_mut() {
                c.step_started_at = Some(now);
            }
            self.progressed();
            return self.stepping_state(candidate, "the gateway took the weight");
        }
        if self.paused() {
            return self.paused_state(candidate);
        }
        match self.may_advance(candidate) {
            Ok(()) => {
                let last = self.plan.status.plan.as_ref().map_or(1, |p| p.steps.len());
                let last = i32::try_from(last).unwrap_or(i32::MAX);
                let next = match self.commands.promote {
                    Some(Promote::All) => last,
                    Some(Promote::NextStep) | None => candidate.step.saturating_add(1).min(last),
                };
                self.go_to_step(candidate, next)
            }
            Err(state) => state,
        }
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
        let counted = self.counted(candidate);
        if counted.agrees == "False" {
            let text = format!(
                "Stable answered {} requests and revision {revision} {} at a weight of {} %: the gateway does not split \
                 as declared. No step is taken; look at the route and its Gateway.",
                counted.stable, counted.candidate, candidate.weight
            );
            return Err(State::waiting(Reason::RouteDrift, self.beside(&text)));
        }
        if self.commands.promote.is_some() {
            return Ok(());
        }
        let step = usize::try_from(candidate.step).ok().and_then(|n| plan.steps.get(n.saturating_sub(1)));
        let held = self.since(candidate.step_started_at.as_deref());
        let wanted = step.map_or(Duration::ZERO, |s| duration_of(&s.hold));
        if held < wanted {
            return hold(format!("it holds this weight for {}", words(wanted)));
        }
        if counted.candidate < plan.min_requests {
            return hold(format!("it waits for {} requests at this weight (minRequests)", plan.min_requests));
        }
        let reading = |r: &str| self.seen.readings.revisions.get(r).copied().unwrap_or_default();
        if !reading(revision).complete() {
            return hold("its pods do not all answer with their counters".to_owned());
        }
        let outcomes = online::outcomes(&self.plan.status, &self.seen.readings, revision);
        if let Some(o) = outcomes.iter().find(|o| o.reading.state == Online::NoData) {
            return hold(format!("objective {} of gate {} has no data", o.test.objective, o.test.gate));
        }
        Ok(())
    }

    /// Requests of both arms since the gateway took the weight.
    fn counted(&self, candidate: &CandidateStatus) -> Counted {
        let readings = &self.seen.readings;
        let persisted = self.plan.status.traffic.as_ref().and_then(|t| t.counted.clone()).unwrap_or_default();
        if watch::step_key(&self.plan.status).as_deref() != Some(readings.step_key.as_str()) {
            return persisted;
        }
        let (c, s) = (readings.step_candidate.answers, readings.step_stable.answers);
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let agreement = agrees(c, s, u8::try_from(candidate.weight).unwrap_or(100));
        let agrees = match agreement {
            Agreement::True => "True",
            Agreement::False => "False",
            Agreement::Unknown => "Unknown",
        };
        Counted { stable: signed(s), candidate: signed(c), agrees: agrees.to_owned() }
    }

    /// Why the candidate must go, if it must.
    fn must_go(&self, candidate: &CandidateStatus, target: &Target) -> Option<Failure> {
        let revision = &candidate.revision;
        let failure = |reason: Reason, message: String| Failure { reason: reason.as_str().to_owned(), message };
        if candidate.weight > 0 && !self.stable_is_empty() {
            let found =
                self.unavailable(revision).or_else(|| self.outage(revision)).or_else(|| self.breached(revision));
            if found.is_some() {
                return found;
            }
        }
        if self.commands.abort {
            return Some(failure(Reason::Aborted, format!("Revision {revision} was withdrawn by ragops.dev/abort.")));
        }
        if let Target::Revision(wanted) = target {
            if wanted.revision != *revision {
                let text = format!("Revision {revision} was superseded: the spec now asks for {}.", wanted.revision);
                return Some(failure(Reason::Superseded, text));
            }
        }
        let plan = self.plan.status.plan.as_ref()?;
        let step = usize::try_from(candidate.step).ok().and_then(|n| plan.steps.get(n.saturating_sub(1)));
        let hold = step.map_or(Duration::ZERO, |s| duration_of(&s.hold));
        let deadline = duration_of(&plan.progress_deadline);
        let stood = self.since(Some(&candidate.progressed_at));
        if !self.paused() && stood > deadline.saturating_add(hold) {
            let text = format!(
                "Revision {revision} made no progress for {} (progressDeadline) in stage {:?}.",
                words(deadline),
                candidate.stage
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
        let message = format!("Revision {revision} has no ready pod.");
        Some(Failure { reason: Reason::Unavailable.as_str().to_owned(), message })
    }

    /// Known to have no ready pod: then traffic stays where there is one.
    fn stable_is_empty(&self) -> bool {
        let stable = self.plan.status.stable.as_ref().map(|s| s.revision.clone());
        stable.and_then(|revision| self.ready_pods(&revision)) == Some(0)
    }

    /// Takes the candidate's weight away; without a weight it goes at once.
    fn withdraw(&mut self, candidate: &CandidateStatus, failure: Failure) -> State {
        let written = self.plan.status.traffic.as_ref().and_then(|t| t.written).unwrap_or(0);
        if candidate.weight == 0 && written == 0 {
            return self.leave(candidate, &failure);
        }
        let reason = Reason::ALL.iter().find(|r| r.as_str() == failure.reason).copied();
        self.plan.rollback = Some(crate::controller::plan::Rollback {
            reason: reason.unwrap_or(Reason::RollingBack),
            since: self.seen.readings.scraped,
        });
        if let Some(c) = self.plan.status.candidate.as_mut() {
            c.stage = Stage::RollingBack;
            c.weight = 0;
            c.step_started_at = None;
            c.failure = Some(failure.clone());
        }
        if let Some(stable) = self.plan.status.stable.as_mut() {
            stable.weight = 100;
        }
        self.unconverged();
        self.rolling_back_state(&candidate.revision, &failure)
    }

    fn rolling_back(&mut self, candidate: &CandidateStatus) -> State {
        let failure = candidate.failure.clone().unwrap_or_else(|| Failure {
            reason: Reason::Superseded.as_str().to_owned(),
            message: format!("Revision {} was withdrawn.", candidate.revision),
        });
        match self.acceptance() {
            Acceptance::Accepted => self.leave(candidate, &failure),
            Acceptance::Pending | Acceptance::Refused(_) => self.rolling_back_state(&candidate.revision, &failure),
        }
    }

    /// The candidate leaves the status; its pods follow.
    fn leave(&mut self, candidate: &CandidateStatus, failure: &Failure) -> State {
        self.cancel_runs();
        let now = self.now_text();
        let superseded = failure.reason == Reason::Superseded.as_str();
        let outcome = if superseded {
            "Superseded"
        } else if failure.reason == Reason::Aborted.as_str() {
            "Aborted"
        } else {
            "RolledBack"
        };
        let status = &mut self.plan.status;
        status.candidate = None;
        remember(
            &mut status.history,
            HistoryEntry {
                revision: candidate.revision.clone(),
                version: candidate.version.clone(),
                outcome: outcome.to_owned(),
                message: failure.message.chars().take(300).collect(),
                at: now.clone(),
            },
        );
        if superseded {
            self.plan.events.push(Note::normal(Reason::Superseded, failure.message.clone()));
            self.plan.look_again(Duration::ZERO);
            return State::waiting(Reason::Superseded, self.beside(&failure.message));
        }
        let failed = FailedRevision {
            revision: candidate.revision.clone(),
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            at: now,
        };
        status.failed_revisions.retain(|f| f.revision != failed.revision);
        remember(&mut status.failed_revisions, failed.clone());
        self.failed_before(&failed)
    }

    /// The candidate becomes stable, stable becomes previous.
    fn promote(&mut self, candidate: &CandidateStatus) {
        let now = self.now_text();
        let window = duration_of(&self.release.spec.rollback.window);
        let until = self.now().checked_add(jiff::SignedDuration::try_from(window).unwrap_or_default());
        let status = &mut self.plan.status;
        let before = status.stable.take();
        status.previous = before.map(|stable| PreviousStatus {
            revision: stable.revision,
            version: stable.version,
            image: stable.image,
            retained_until: until.map(time_text).unwrap_or_else(|_| now.clone()),
        });
        status.stable = Some(RevisionStatus {
            revision: candidate.revision.clone(),
            version: candidate.version.clone(),
            weight: 100,
            image: candidate.image.clone(),
            since: now.clone(),
        });
        status.candidate = None;
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

    /// The watch after a promotion: a breach brings the previous revision back, the window's end lets it go.
    fn watching(&mut self) -> Option<State> {
        let previous = self.plan.status.previous.clone()?;
        let stable = self.plan.status.stable.clone()?;
        let ends = parse_time(&previous.retained_until)?;
        if ends <= self.now() {
            self.plan.status.previous = None;
            return None;
        }
        self.plan.look_again(super::elapsed(self.now(), ends).max(Duration::from_secs(1)));
        // Going back to what has no ready pod would end the service instead of mending it.
        if self.ready_pods(&previous.revision).is_some_and(|n| n == 0) {
            return None;
        }
        let failure = self.unavailable(&stable.revision).or_else(|| self.breached(&stable.revision))?;
        let now = self.now_text();
        let status = &mut self.plan.status;
        status.stable = Some(RevisionStatus {
            revision: previous.revision,
            version: previous.version,
            weight: 100,
            image: previous.image,
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
            failure: None,
        };
        status.candidate = Some(back.clone());
        self.plan.look_again(MOVING);
        Some(self.withdraw(&back, failure))
    }

    /// Sums and counts go into the status with every decision, and now and then by themselves.
    pub(super) fn sample(&mut self) {
        let judged = match (&self.plan.status.candidate, &self.plan.status.stable) {
            (Some(candidate), _) if candidate.weight > 0 => Some(candidate.revision.clone()),
            (None, Some(stable)) if self.plan.status.previous.is_some() => Some(stable.revision.clone()),
            (Some(_) | None, _) => None,
        };
        let Some(revision) = judged else { return };
        let decided = self.plan.status != self.old;
        let sampled = self.old.traffic.as_ref().and_then(|t| t.sampled_at.as_deref()).map(|at| self.since(Some(at)));
        let every = if self.plan.status.candidate.is_some() { SAMPLE_MOVING } else { SAMPLE_SETTLED };
        if !decided && sampled.is_some_and(|age| age < every) {
            return;
        }
        let outcomes = online::outcomes(&self.plan.status, &self.seen.readings, &revision);
        let sums = online::to_status(&outcomes, &revision);
        let candidate = self.plan.status.candidate.clone();
        let counted = candidate.as_ref().filter(|c| c.step_started_at.is_some()).map(|c| self.counted(c));
        let before = self.plan.status.traffic.as_ref().and_then(|t| t.counted.clone());
        if sums == self.plan.status.online && counted == before {
            return;
        }
        let now = self.now_text();
        self.plan.status.online = sums;
        if let (Some(c), Some(counted)) = (self.plan.status.candidate.as_mut(), &counted) {
            c.step_requests = counted.candidate;
        }
        if let Some(traffic) = self.plan.status.traffic.as_mut() {
            traffic.counted = counted;
            traffic.sampled_at = Some(now);
        }
    }

    /// A pause that ended restarts the deadline.
    fn resumed(&mut self) {
        let was = crate::controller::condition::find(&self.old.conditions, crate::api::ConditionType::Ready);
        if !self.paused() && was.is_some_and(|c| c.reason == Reason::Paused.as_str()) {
            self.progressed();
        }
    }

    pub(super) fn progressed(&mut self) {
        let now = self.now_text();
        if let Some(c) = self.plan.status.candidate.as_mut() {
            c.progressed_at = now;
        }
    }

    fn set_stage(&mut self, stage: Stage) {
        if let Some(c) = self.plan.status.candidate.as_mut() {
            c.stage = stage;
        }
    }

    fn unconverged(&mut self) {
        if let Some(traffic) = self.plan.status.traffic.as_mut() {
            traffic.accepted = false;
            traffic.converged_at = None;
            traffic.counted = None;
        }
    }

    pub(super) fn snapshot(&self, revision: &str) -> Option<Snapshot> {
        let world = self.world()?;
        world.snapshots.iter().filter_map(Snapshot::read).find(|s| s.revision == revision)
    }

    /// Whether every pod of a revision is updated and ready. What is not known is not available.
    pub(super) fn available(&self, revision: &str) -> bool {
        let name = service_name(&self.release.name_any(), revision);
        let found = self.world().and_then(|w| w.deployments.iter().find(|d| d.name_any() == name));
        found.is_some_and(is_available)
    }

    /// Ready pods of a revision; `None`: not known.
    pub(super) fn ready_pods(&self, revision: &str) -> Option<usize> {
        let world = self.world()?;
        let of = |p: &&k8s_openapi::api::core::v1::Pod| {
            p.labels().get(names::LABEL_REVISION).is_some_and(|r| r == revision)
                && p.metadata.deletion_timestamp.is_none()
                && is_ready(p)
        };
        Some(world.pods.iter().filter(of).count())
    }

    fn pods_stuck(&self, revision: &str) -> Option<(Reason, String)> {
        let pods = self.world()?.pods.iter();
        pods.filter(|p| p.labels().get(names::LABEL_REVISION).is_some_and(|r| r == revision))
            .find_map(crate::controller::attempt::why_stuck)
    }
}

fn is_available(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let observed = deployment.status.as_ref();
    let current = observed.and_then(|s| s.observed_generation) >= deployment.metadata.generation;
    let enough = |n: Option<i32>| n.unwrap_or(0) >= wanted;
    current && observed.is_some_and(|s| enough(s.available_replicas) && enough(s.updated_replicas))
}

/// A duration that was checked when it was frozen.
fn duration_of(text: &str) -> Duration {
    text.parse::<kube::core::Duration>().map(Duration::from).unwrap_or(Duration::ZERO)
}

fn remember<T>(list: &mut Vec<T>, entry: T) {
    list.push(entry);
    if list.len() > KEPT {
        list.remove(0);
    }
}
