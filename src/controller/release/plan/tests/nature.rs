//! What happens beside the operator: writes take effect, pods become ready, the gateway takes routes, Jobs end,
//! requests flow, time passes.

use std::time::Duration;

use k8s_openapi::api::apps::v1::DeploymentStatus;
use kube::ResourceExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::sim::{Gateway, Run, Sim};
use super::world::{NAMESPACE, RELEASE};
use crate::api::gate::Signal;
use crate::api::{RagReleaseStatus, names};
use crate::controller::attempt::Attempt;
use crate::controller::error::Refusal;
use crate::controller::plan::{Action, ChildKind, Plan};
use crate::controller::release::traffic;
use crate::controller::route::HTTPRoute;
use crate::evaluation::paired::{t_bounds, unit_deviation};
use crate::evaluation::sample::Sample;
use crate::evaluation::verdict::{Coverage, Evidence, Row};
use crate::worker::job::{EvaluateTask, JobInput, Task, run_inputs};
use crate::worker::receipt::{Body, Counts, ErrorReport, EvaluateReport, Kept, Receipt};
use crate::worker::signals::Signals as Counters;

impl Sim {
    /// What the API server does with one write.
    pub fn carry_out(&mut self, action: &Action) -> Result<(), Refusal> {
        if let Action::Create { kind, name, body } | Action::Apply { kind, name, body, .. } = action {
            self.refused(*kind, name, body)?;
        }
        self.serial += 1;
        match action {
            Action::Create { kind, name, body } => self.create(*kind, name, body),
            Action::Apply { kind, name, body, .. } => match kind {
                ChildKind::Deployment => replace(&mut self.deployments, name, body),
                ChildKind::Service => replace(&mut self.services, name, body),
                ChildKind::Job | ChildKind::ControllerRevision | ChildKind::HttpRoute => {
                    panic!("{kind:?} is never applied")
                }
            },
            Action::Replace { kind, name, body, otherwise } => {
                assert_eq!(*kind, ChildKind::HttpRoute);
                let body = match (self.refused(*kind, name, body), otherwise) {
                    (Ok(()), _) => body,
                    (Err(_), Some(otherwise)) => self.refused(*kind, name, otherwise).map(|()| otherwise)?,
                    (Err(refusal), None) => return Err(refusal),
                };
                let live = self.route.clone().expect("replaces what is there");
                let mut route: HTTPRoute = serde_json::from_value(body.clone()).unwrap();
                assert_eq!(route.metadata.resource_version, live.metadata.resource_version, "a conflict");
                let generation = live.metadata.generation.unwrap() + i64::from(route.spec != live.spec);
                route.metadata.generation = Some(generation);
                route.status = live.status;
                self.put_route(route);
            }
            Action::Delete { kind, name, uid, resource_version } => {
                let live = self.route.as_ref().filter(|_| *kind == ChildKind::HttpRoute);
                assert_eq!(
                    *resource_version,
                    live.and_then(|route| route.metadata.resource_version.clone()),
                    "a conflict"
                );
                self.delete(*kind, name, uid);
            }
            Action::ExpireJob { name, .. } => {
                let job = self.jobs.get_mut(name).and_then(|a| a.job.as_mut()).expect("expires what is there");
                job.spec.as_mut().unwrap().ttl_seconds_after_finished = Some(1);
            }
            Action::Finalizer { present: true } => self.release.finalizers_mut().push(names::FINALIZER.to_owned()),
            Action::Finalizer { present: false } => self.release.finalizers_mut().clear(),
        }
        Ok(())
    }

    /// What the API server does not take: a route at a forbidden host, or an object of a forbidden kind.
    fn refused(&self, kind: ChildKind, name: &str, body: &Value) -> Result<(), Refusal> {
        let hosts = body["spec"]["hostnames"].as_array().cloned().unwrap_or_default();
        let host =
            self.refused_hosts.iter().find(|host| kind == ChildKind::HttpRoute && hosts.iter().any(|h| h == *host));
        let why = match host {
            Some(host) => format!("spec.hostnames[0]: Invalid value: {host}"),
            None if self.refused_kinds.contains(&kind) => "exceeded quota: q".to_owned(),
            None => return Ok(()),
        };
        Err(Refusal { what: format!("{} {NAMESPACE}/{name}", kind.word()), why })
    }

    pub fn put_route(&mut self, mut route: HTTPRoute) {
        self.serial += 1;
        route.metadata.resource_version = Some(self.serial.to_string());
        let candidate = route.annotations().get(names::ANNOTATION_CANDIDATE).cloned();
        if let Some(candidate) = candidate {
            let weight = traffic::written(&route, RELEASE, &candidate).unwrap();
            if self.weights.last() != Some(&(candidate.clone(), weight)) {
                self.weights.push((candidate, weight));
            }
        }
        self.route = Some(route);
    }

    fn create(&mut self, kind: ChildKind, name: &str, body: &Value) {
        let mut body = body.clone();
        body["metadata"]["uid"] = json!(format!("uid-{}", self.serial));
        body["metadata"]["generation"] = json!(1);
        match kind {
            ChildKind::HttpRoute if self.route.is_none() => self.put_route(serde_json::from_value(body).unwrap()),
            ChildKind::HttpRoute => {}
            ChildKind::Deployment => add(&mut self.deployments, name, body),
            ChildKind::Service => add(&mut self.services, name, body),
            ChildKind::ControllerRevision => add(&mut self.snapshots, name, body),
            ChildKind::Job => {
                let attempt = Attempt { job: serde_json::from_value(body).unwrap(), ..Attempt::default() };
                self.jobs.entry(name.to_owned()).or_insert(attempt);
            }
        }
    }

    fn delete(&mut self, kind: ChildKind, name: &str, uid: &str) {
        match kind {
            ChildKind::HttpRoute => self.route = self.route.take().filter(|r| r.metadata.uid.as_deref() != Some(uid)),
            ChildKind::Deployment => remove(&mut self.deployments, name, uid),
            ChildKind::Service => remove(&mut self.services, name, uid),
            ChildKind::ControllerRevision => remove(&mut self.snapshots, name, uid),
            ChildKind::Job => {
                let live = self.jobs.get(name).and_then(|a| a.job.as_ref()).and_then(|j| j.metadata.uid.clone());
                assert_eq!(live.as_deref(), Some(uid));
                self.jobs.remove(name);
            }
        }
    }

    /// Everything but the operator does its part; says whether anything changed.
    pub fn react(&mut self) -> bool {
        let mut changed = self.jobs_end();
        for deployment in &mut self.deployments {
            let revision = &deployment.labels()[names::LABEL_REVISION];
            let refused = self.refused_pods.contains(revision);
            let ready = !refused && !self.not_ready.contains(revision);
            let failure = json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}]);
            let replicas = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
            let status = Some(DeploymentStatus {
                observed_generation: deployment.metadata.generation,
                updated_replicas: Some(replicas),
                available_replicas: Some(if ready { replicas } else { 0 }),
                conditions: refused.then(|| serde_json::from_value(failure).unwrap()),
                ..DeploymentStatus::default()
            });
            changed |= deployment.status != status;
            deployment.status = status;
        }
        let before = self.route.as_ref().and_then(|r| r.status.clone());
        self.gateway_reacts();
        changed || before != self.route.as_ref().and_then(|r| r.status.clone())
    }

    /// Runs of gate `quality` end like this from now on.
    pub fn runs_end(&mut self, run: Run) {
        self.runs.insert("quality".to_owned(), run);
    }

    /// So many percent of a revision's answers are errors from now on.
    pub fn fails(&mut self, revision: &str, percent: u64) {
        self.errors.insert(revision.to_owned(), percent);
    }

    /// The gateway says nothing any more of the route, though it goes on splitting.
    pub fn silence(&mut self) {
        self.gateway = Gateway::Silent;
        if let Some(route) = &mut self.route {
            route.status = None;
        }
    }

    fn gateway_reacts(&mut self) {
        let Some(route) = &mut self.route else {
            self.split = None;
            return;
        };
        let generation = route.metadata.generation;
        let condition = |type_: &str, status: &str| json!({"type": type_, "status": status, "reason": "r", "message": "backend not found", "observedGeneration": generation});
        let accepted = match self.gateway {
            Gateway::Accepts => "True",
            Gateway::Refuses => "False",
            Gateway::Silent => return,
        };
        let parents = route.spec.parent_refs.iter().map(|parent| {
            json!({"parentRef": parent, "controllerName": "x",
                "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", "True")]})
        });
        route.status = serde_json::from_value(json!({"parents": parents.collect::<Vec<_>>()})).unwrap();
        if self.gateway == Gateway::Accepts {
            let candidate = route.annotations().get(names::ANNOTATION_CANDIDATE).cloned();
            let weight = |c: &String| u64::try_from(traffic::written(route, RELEASE, c).unwrap()).unwrap();
            self.split = candidate.map(|c| (c.clone(), weight(&c)));
        }
    }

    fn jobs_end(&mut self) -> bool {
        let status = self.status();
        let mut ended = false;
        for gate in status.gates.into_iter().chain(status.scheduled.into_iter().map(|scheduled| scheduled.run)) {
            let Some(name) = gate.job.filter(|_| gate.verdict.is_none()) else { continue };
            let run = self.runs.get(&gate.name).copied().unwrap_or(Run::Pass);
            let Some(attempt) = self.jobs.get_mut(&name).filter(|a| a.pods.is_empty()) else { continue };
            finish(attempt, run);
            ended |= run != Run::Never;
        }
        ended
    }

    /// Requests of one tick, split as the gateway was told and as users fare at each revision.
    pub fn flow(&mut self) {
        let stable = self.stable();
        let (candidate, percent) = self.split.clone().unwrap_or_default();
        let percent = self.real_share.filter(|_| percent > 0).unwrap_or(percent);
        let to_candidate = self.requests * percent / 100;
        for (revision, answers) in [(candidate, to_candidate), (stable, self.requests - to_candidate)] {
            let errors = answers * self.errors.get(&revision).copied().unwrap_or(0) / 100;
            let until = self.instant();
            let readings = &mut self.readings;
            if !revision.is_empty() && readings.key.starts_with(&revision) {
                let delta = Counters { ok: answers - errors, error: errors, answers, ..Counters::default() };
                self.recent.add(until - Duration::from_secs(10), until, &delta);
                for (key, share) in &mut readings.tests {
                    share.answers += answers;
                    share.bad += errors;
                    readings.recent.insert(key.clone(), self.recent.share(Signal::ErrorRate, None));
                }
            }
            if readings.step_key.is_empty() {
                continue;
            }
            let arm = if readings.step_key.starts_with(&revision) {
                &mut readings.step_candidate
            } else {
                &mut readings.step_stable
            };
            arm.answers += answers;
            arm.errors += errors;
        }
    }

    /// A pass, what follows from it, and ten seconds of requests.
    pub fn tick(&mut self) -> Plan<RagReleaseStatus> {
        let plan = self.pass();
        self.react();
        self.advance(10);
        self.flow();
        plan
    }

    pub fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.tick();
        }
    }

    /// Passes until nothing changes any more, while the clock stands still; what is refused may be tried for ever.
    pub fn settle(&mut self) {
        for _ in 0..60 {
            let before = self.release.status.clone();
            let plan = self.pass();
            let reacted = self.react();
            let refused =
                self.refusal.is_some() && plan.actions.iter().all(|action| self.clone().carry_out(action).is_err());
            if !reacted && (plan.actions.is_empty() || refused) && self.release.status == before {
                return;
            }
        }
        panic!("does not come to rest: {} {}", self.reason(), self.message());
    }
}

fn add<K: DeserializeOwned + ResourceExt>(list: &mut Vec<K>, name: &str, body: Value) {
    if !list.iter().any(|o| o.name_any() == name) {
        list.push(serde_json::from_value(body).unwrap());
    }
}

fn replace<K: DeserializeOwned + ResourceExt + Serialize>(list: &mut [K], name: &str, body: &Value) {
    let live = list.iter_mut().find(|o| o.name_any() == name).expect("applies to what is there");
    let mut body = body.clone();
    body["metadata"]["uid"] = json!(live.meta().uid);
    body["metadata"]["generation"] = json!(live.meta().generation.unwrap() + 1);
    *live = serde_json::from_value(body).unwrap();
}

fn remove<K: ResourceExt>(list: &mut Vec<K>, name: &str, uid: &str) {
    let before = list.len();
    list.retain(|o| o.name_any() != name || o.uid().as_deref() != Some(uid));
    assert_eq!(list.len() + 1, before, "deletes what is there: {name}");
}

/// The Job ends as the run does.
fn finish(attempt: &mut Attempt, run: Run) {
    let job = attempt.job.as_mut().unwrap();
    let env = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].env.clone().unwrap();
    let input: JobInput = serde_json::from_str(env[0].value.as_deref().unwrap()).unwrap();
    let Task::Evaluate(task) = &input.task else { panic!("no evaluation") };
    let body = match run {
        Run::Never => return,
        Run::Pass => numbers(task, 200, 0.0, 0.8),
        Run::Fail => numbers(task, 200, -0.5, 0.3),
        Run::Worse => numbers(task, 200, 0.0, 0.7),
        Run::Loses => numbers(task, 200, -0.015, 0.8),
        Run::Inconclusive => numbers(task, 6, 0.0, 0.8),
        Run::OtherInputs => match numbers(task, 200, 0.0, 0.8) {
            Body::Evaluate(report) => {
                Body::Evaluate(Box::new(EvaluateReport { inputs: "other".to_owned(), ..*report }))
            }
            other => other,
        },
        Run::Error | Run::Dies => Body::Error(ErrorReport {
            reason: "EndpointUnavailable".to_owned(),
            error: "the candidate does not answer".to_owned(),
        }),
    };
    let receipt = serde_json::to_string(&Receipt { v: 1, run: input.run.clone(), body }).unwrap();
    let (ended, exit, message) = match run {
        Run::Error => ("Failed", 43, receipt),
        Run::Dies => ("Failed", 137, String::new()),
        Run::Pass | Run::Fail | Run::Worse | Run::Loses | Run::Inconclusive | Run::OtherInputs | Run::Never => {
            ("Complete", 0, receipt)
        }
    };
    job.status = serde_json::from_value(json!({"conditions": [{"type": ended, "status": "True"}]})).unwrap();
    let pod = json!({
        "metadata": {"name": "p", "ownerReferences": [{"apiVersion": "v", "kind": "Job", "name": "j", "uid": job.metadata.uid}]},
        "status": {"containerStatuses": [{"name": "rag", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": exit, "message": message}}}]}
    });
    attempt.pods = vec![serde_json::from_value(pod).unwrap()];
}

/// What a run of `n` queries reports whose candidate has this mean and this difference to the baseline.
fn numbers(task: &EvaluateTask, n: i64, difference: f64, candidate: f64) -> Body {
    let compared = task.baseline.is_some();
    let queries = u64::try_from(n).unwrap();
    // Half of the queries gained, half lost, around the difference.
    let differences: Vec<f64> = (0..n).map(|i| difference + if i % 2 == 0 { 0.05 } else { -0.05 }).collect();
    let sample = Sample::plain(&differences).unwrap();
    let bounds = t_bounds(&sample, 0.05);
    let row = Row {
        n: queries,
        clusters: None,
        candidate,
        baseline: compared.then_some(candidate - sample.mean()),
        candidate_lower: None,
        sd: unit_deviation(&sample).filter(|_| compared),
        difference: compared.then_some(sample.mean()),
        lower: bounds.map(|(lower, _)| lower).filter(|_| compared),
        upper: bounds.map(|(_, upper)| upper).filter(|_| compared),
        p: compared.then_some(if difference < -0.05 { 1.0 } else { 0.02 }),
        nonzero: compared.then_some(sample.changed() as u64),
        min: compared.then_some(sample.min()),
    };
    let coverage = Coverage { queries, candidate: queries, baseline: compared.then_some(queries) };
    let evidence = Evidence {
        coverage,
        rows: vec![row],
        unjudged: None,
        guardrails: None,
        slices: Vec::new(),
        worst: None,
        promoted: Vec::new(),
    };
    let counts = Counts { unjudged: 0, without_relevant: 0 };
    let mut report = EvaluateReport::new(run_inputs(task), counts, &evidence);
    report.report = task
        .report
        .as_ref()
        .map(|report| Kept::Written { uri: format!("pvc://{}/x.html", report.claim_name), sha256: "f".repeat(64) });
    Body::Evaluate(Box::new(report))
}
