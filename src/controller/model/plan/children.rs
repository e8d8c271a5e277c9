//! Which servers and Jobs of a model must be there, and which must go.

use kube::ResourceExt;

use super::super::judge::Verdict;
use super::super::observe::Server as Live;
use super::super::{declared, render};
use super::{LATER, Pass};
use crate::api::model::ManagedEndpoint;
use crate::controller::attempt::{Fault, Outcome, has_ended};
use crate::controller::plan::{Action, ChildKind, body, put};
use crate::controller::read::is_owned;
use crate::worker::receipt::ProbeReport;

/// How long ended Jobs stay for people, in seconds.
const KEEP_DONE: i64 = 3_600;
const KEEP_FAILED: i64 = 86_400;

impl Pass<'_> {
    /// The accepted endpoint, if it is another than the declared one.
    pub(super) fn former(&self) -> Option<&ManagedEndpoint> {
        let accepted = self.plan.status.endpoint.as_ref()?;
        let differs = declared::measured(&self.model.spec, accepted) != self.digest;
        if differs { declared::managed(accepted) } else { None }
    }

    /// What runs under the model's own name: the accepted model directory until the declared one has passed.
    pub(super) fn main(&self) -> Option<render::Server<'_>> {
        let managed = self.former().or_else(|| declared::managed(&self.model.spec.endpoint))?;
        Some(self.server(managed, self.model.name_any(), render::PURPOSE_MAIN, managed.replicas))
    }

    /// A changed model directory is measured in a server of its own.
    pub(super) fn trial(&self) -> Option<render::Server<'_>> {
        self.former()?;
        let managed = declared::managed(&self.model.spec.endpoint)?;
        Some(self.server(managed, render::trial_name(self.model), render::PURPOSE_TRIAL, 1))
    }

    pub(super) fn server<'b>(
        &'b self,
        managed: &'b ManagedEndpoint,
        name: String,
        purpose: &'static str,
        replicas: i32,
    ) -> render::Server<'b> {
        let one_node = self.observed.claims.get(&managed.model.claim_name).copied().unwrap_or(false);
        let config = &self.observed.config;
        render::Server { model: self.model, config, name, purpose, managed, replicas, one_node }
    }

    /// An object that has the name of one of our servers and is not ours.
    pub(super) fn foreign(&self) -> Option<(&'static str, String)> {
        let pairs = [(self.main(), &self.observed.main), (self.trial(), &self.observed.trial)];
        pairs.into_iter().find_map(|(wanted, live)| {
            let name = wanted?.name;
            let deployment = live.deployment.as_ref().is_some_and(|d| !is_owned(&d.metadata, &self.uid));
            let service = live.service.as_ref().is_some_and(|s| !is_owned(&s.metadata, &self.uid));
            match (deployment, service) {
                (true, _) => Some(("Deployment", name)),
                (false, true) => Some(("Service", name)),
                (false, false) => None,
            }
        })
    }

    pub(super) fn keep_servers(&mut self) {
        let observed = self.observed;
        let mut actions = Vec::new();
        match self.main() {
            Some(server) => keep(&server, &observed.main, &mut actions),
            None if observed.callers.is_empty() => remove(&observed.main, &self.uid, &mut actions),
            // Pods were told its address and have not rolled yet.
            None => self.plan.look_again(LATER),
        }
        match self.trial() {
            Some(server) => keep(&server, &observed.trial, &mut actions),
            None => remove(&observed.trial, &self.uid, &mut actions),
        }
        self.plan.actions.extend(actions);
    }

    /// Jobs whose result is in status, or wanted by nobody any more.
    pub(super) fn tidy(&mut self, probe: &Outcome<ProbeReport>) {
        let observed = self.observed;
        for job in &observed.others {
            if has_ended(job) {
                self.plan.expire(job, KEEP_DONE);
            } else {
                self.plan.delete_job(job);
            }
        }
        let Some(job) = &observed.probe.job else { return };
        match probe {
            Outcome::Done { .. } => self.plan.expire(job, KEEP_DONE),
            Outcome::Failed { fault, .. } if *fault == Fault::Invalid || self.verdict() == Some(Verdict::Same) => {
                self.plan.expire(job, KEEP_FAILED);
            }
            Outcome::Failed { .. } | Outcome::Absent | Outcome::Foreign | Outcome::Running | Outcome::Stuck { .. } => {}
        }
    }
}

/// Writes what differs.
fn keep(server: &render::Server<'_>, live: &Live, actions: &mut Vec<Action>) {
    let children = [
        (ChildKind::Deployment, body(&server.deployment()), live.deployment.as_ref().map(body)),
        (ChildKind::Service, body(&server.service()), live.service.as_ref().map(body)),
    ];
    for (kind, wanted, live) in children {
        actions.extend(put(kind, &server.name, live.as_ref(), wanted));
    }
}

/// Removes what is ours.
fn remove(live: &Live, uid: &str, actions: &mut Vec<Action>) {
    let deployment = live.deployment.as_ref().map(|d| (ChildKind::Deployment, &d.metadata));
    let service = live.service.as_ref().map(|s| (ChildKind::Service, &s.metadata));
    for (kind, metadata) in [deployment, service].into_iter().flatten() {
        if is_owned(metadata, uid) {
            actions.extend(Action::delete(kind, metadata));
        }
    }
}
