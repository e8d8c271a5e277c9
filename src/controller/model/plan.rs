//! What to do for an EmbeddingModel: pure and total.
//!
//! Why in this order: numbers of a finished probe enter status first, then it is known which endpoint is accepted,
//! then which servers must run, then whether something must be measured. Invariants: the accepted endpoint changes
//! only with the verdict Same; nothing of ours that somebody asks is removed.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::declared::{self, Declared};
use super::judge::{self, Verdict};
use super::observe::Observed;
use super::render;
use super::server;
use crate::api::model::EmbeddingModelStatus;
use crate::api::{EmbeddingModel, Reason, names};
use crate::controller::attempt::{self, Fault, Outcome, reason_of};
use crate::controller::condition::{self, State, time_text};
use crate::controller::plan::{Action, ChildKind, Plan, body};
use crate::worker::job::Identity;
use crate::worker::receipt::{ErrorReport, ProbeReport};

/// While a Job runs or pods start: stuck pods become a reason within 30 s.
const SOON: Duration = Duration::from_secs(10);
/// Waiting for somebody else's object.
const LATER: Duration = Duration::from_secs(60);
/// How long a probe that could not measure rests before the next.
const RETRY: Duration = Duration::from_secs(60);

/// Decides for one model.
pub fn plan(model: &EmbeddingModel, observed: &Observed) -> Plan<EmbeddingModelStatus> {
    let deleting = model.metadata.deletion_timestamp.is_some();
    let held = model.finalizers().iter().any(|f| f == names::FINALIZER);
    let status = model.status.clone().unwrap_or_default();
    if deleting && (!held || observed.users.is_empty()) {
        let mut plan = Plan::of(status);
        plan.actions.extend(held.then_some(Action::Finalizer { present: false }));
        return plan;
    }
    let mut pass = Pass {
        model,
        observed,
        uid: model.uid().unwrap_or_default(),
        digest: declared::measured(&model.spec, &model.spec.endpoint),
        probe_name: render::probe_name(model),
        plan: Plan::of(status),
    };
    if !held {
        pass.plan.actions.push(Action::Finalizer { present: true });
    }
    let state = match pass.decide() {
        // A model that is to go, but is used, goes on serving.
        _ if deleting => pass.in_use(),
        state => state,
    };
    pass.finish(&state)
}

mod children;
mod told;

struct Pass<'a> {
    model: &'a EmbeddingModel,
    observed: &'a Observed,
    uid: String,
    /// Of the declared endpoint.
    digest: String,
    probe_name: String,
    plan: Plan<EmbeddingModelStatus>,
}

impl Pass<'_> {
    fn decide(&mut self) -> State {
        let model = self.model;
        let declared = match declared::parse(model) {
            Ok(declared) => declared,
            Err(invalid) => {
                return State::stalled(Reason::InvalidSpec, format!("{invalid}. {}", self.untouched()));
            }
        };
        let fingerprint = Identity::of(&model.spec).fingerprint();
        if let Some(before) = self.plan.status.fingerprint.as_ref().filter(|before| **before != fingerprint) {
            let text = format!(
                "The identity (model, revision, dimensions, distance, normalize, prefixes, maxInputTokens) has fingerprint \
                 {fingerprint}, but this object was begun as {before}; it must not change. {} Put the old values back, \
                 and declare the other encoder as a new EmbeddingModel.",
                self.untouched()
            );
            return State::stalled(Reason::InvalidSpec, text);
        }
        self.plan.status.fingerprint = Some(fingerprint);
        let probe = self.probe();
        if probe == Outcome::Foreign {
            return self.not_owned("Job", &self.probe_name);
        }
        self.take(&probe);
        if let Some((kind, name)) = self.foreign() {
            return self.not_owned(kind, &name);
        }
        self.keep_servers();
        self.tidy(&probe);
        match self.verdict() {
            Some(Verdict::Same) => self.serves(),
            verdict => self.measure(&declared, probe, verdict),
        }
    }

    /// What is known of the probe of the declared endpoint.
    fn probe(&self) -> Outcome<ProbeReport> {
        let asked = self.model.status.as_ref().is_some_and(|status| status.sketch.is_some());
        match self.observed.probe.unless_going::<ProbeReport>(&self.uid, &self.probe_name) {
            Outcome::Done { report, finished_at } if asked && report.cosine_mean.is_none() => {
                let error = "The probe did not compare its vectors with the sketch in status".to_owned();
                let error = ErrorReport { reason: Reason::JobFailed.as_str().to_owned(), error };
                Outcome::Failed { error, fault: Fault::Other, finished_at }
            }
            outcome => outcome,
        }
    }

    /// Numbers enter status; an endpoint whose numbers are good becomes the accepted one.
    fn take(&mut self, probe: &Outcome<ProbeReport>) {
        let (spec, status) = (&self.model.spec, &mut self.plan.status);
        if let Outcome::Done { report, finished_at } = probe {
            status.dimensions = Some(i32::try_from(report.dimensions.clamp(0, 65_536)).unwrap_or(0));
            status.self_noise = Some(report.self_noise);
            status.cosine_mean = report.cosine_mean;
            status.probed_at = finished_at.map(time_text);
            status.probed_endpoint = Some(self.digest.clone());
        }
        if judge::verdict(status, spec.dimensions, &self.digest) != Some(Verdict::Same) {
            return;
        }
        if let (None, Outcome::Done { report, .. }) = (&status.sketch, probe) {
            status.sketch = Some(report.sketch.clone());
        }
        // Also what decides no vectors, such as replicas or the size of a batch, is in force from here.
        status.endpoint = Some(spec.endpoint.clone());
        status.url = Some(render::address(self.model, &spec.endpoint, &self.model.name_any()));
    }

    fn verdict(&self) -> Option<Verdict> {
        judge::verdict(&self.plan.status, self.model.spec.dimensions, &self.digest)
    }

    /// The declared endpoint has passed: does it still answer?
    fn serves(&mut self) -> State {
        if let Some(managed) = declared::managed(&self.model.spec.endpoint)
            && let Some(state) = server::serving(&self.observed.main, managed, self.observed)
        {
            self.plan.look_again(if state.reason() == Reason::RefNotFound { LATER } else { SOON });
            return state;
        }
        let status = &self.plan.status;
        State::ready(
            Reason::Succeeded,
            format!(
                "{} answers at {} with {} dimensions; two encodings of one text agree to {:.4}. Its probe passed; \
                 indexes may use it.",
                self.model.spec.model,
                status.url.as_deref().unwrap_or_default(),
                self.model.spec.dimensions,
                status.self_noise.unwrap_or_default()
            ),
        )
    }

    /// The declared endpoint has not passed: measure it, again if its last Job is gone.
    fn measure(&mut self, declared: &Declared<'_>, probe: Outcome<ProbeReport>, verdict: Option<Verdict>) -> State {
        // A bad verdict stands until there is another one.
        let stands = verdict.and_then(|verdict| self.refused(verdict));
        if let Some(state) = self.not_yet() {
            self.plan.look_again(if state.reason() == Reason::RefNotFound { LATER } else { SOON });
            return stands.unwrap_or(state);
        }
        let state = match probe {
            Outcome::Foreign => self.not_owned("Job", &self.probe_name),
            Outcome::Absent => {
                self.create(declared);
                self.probing()
            }
            Outcome::Running => {
                self.plan.look_again(SOON);
                self.waits_for_files().unwrap_or_else(|| self.probing())
            }
            Outcome::Stuck { reason, message } => {
                self.plan.look_again(SOON);
                State::waiting(reason, format!("{message} {}", self.unused()))
            }
            // Its numbers are in the verdict.
            Outcome::Done { .. } => self.probing(),
            Outcome::Failed { error, fault: Fault::Invalid, .. } => State::stalled(
                reason_of(&error).unwrap_or(Reason::InvalidSpec),
                format!("{} {} {}", attempt::told(&error), self.unused(), self.again()),
            ),
            Outcome::Failed { error, fault: Fault::Passing | Fault::Other, finished_at } => {
                self.retry(finished_at);
                State::waiting(
                    reason_of(&error).unwrap_or(Reason::JobFailed),
                    format!("{} {} It is tried again every minute.", attempt::told(&error), self.unused()),
                )
            }
        };
        stands.unwrap_or(state)
    }

    /// What must be there before a probe can ask the endpoint.
    fn not_yet(&self) -> Option<State> {
        let endpoint = &self.model.spec.endpoint;
        let bundle = endpoint.open_ai.as_ref().and_then(|e| e.ca_bundle.as_ref());
        if let Some(missing) = bundle.filter(|b| !self.observed.config_maps.contains(&b.name)) {
            let text = format!(
                "ConfigMap `{}`, which `spec.endpoint.openAI.caBundle` names, does not exist in this namespace. {} Create \
                 it with the key `{}`.",
                missing.name,
                self.unused(),
                missing.key
            );
            return Some(State::waiting(Reason::RefNotFound, text));
        }
        let managed = declared::managed(endpoint)?;
        let live = if self.trial().is_some() { &self.observed.trial } else { &self.observed.main };
        server::starting(live, managed, self.observed, &self.unused())
    }

    fn create(&mut self, declared: &Declared<'_>) {
        let server = if self.trial().is_some() { render::trial_name(self.model) } else { self.model.name_any() };
        let url = render::address(self.model, &self.model.spec.endpoint, &server);
        let job = render::probe(self.model, &self.observed.config, &self.probe_name, &url, declared.timeout);
        let name = self.probe_name.clone();
        self.plan.actions.push(Action::Create { kind: ChildKind::Job, name, body: body(&job) });
        self.plan.look_again(SOON);
    }

    /// A probe that could not measure is no result: it goes, and the next pass makes it anew.
    fn retry(&mut self, finished_at: Option<Timestamp>) {
        let rest = attempt::rest(finished_at, self.observed.now, RETRY);
        if rest.is_zero()
            && let Some(job) = &self.observed.probe.job
        {
            self.plan.delete_job(job);
        }
        self.plan.look_again(rest.max(Duration::from_secs(1)));
    }

    fn finish(mut self, state: &State) -> Plan<EmbeddingModelStatus> {
        let generation = self.model.metadata.generation.unwrap_or(0);
        let status = &mut self.plan.status;
        status.observed_generation = generation;
        let extras: Vec<_> = judge::drifted(status).into_iter().collect();
        let state = state.clone().unless_refused(self.observed.refusal.as_ref());
        status.conditions = condition::derive(&status.conditions, &state, &extras, generation, self.observed.now);
        self.plan
    }
}

#[cfg(test)]
mod tests;
