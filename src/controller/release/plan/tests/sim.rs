//! A cluster in memory with a clock of its own: carries plans out as the only writer would, and reacts as
//! kubelets, a gateway, Jobs and users would (`nature.rs`). Every pass is checked for what must always hold
//! (`safety.rs`): a test need not ask for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use serde_json::json;

use super::super::{plan, watch};
use super::world::{self, NAMESPACE, RELEASE, START};
use crate::api::release::CandidateStatus;
use crate::api::{ConditionType, EmbeddingModel, EvalGate, RagRelease, RagReleaseStatus, VectorIndex, names};
use crate::controller::attempt::Attempt;
use crate::controller::condition::{find, is_true};
use crate::controller::config::Config;
use crate::controller::error::Refusal;
use crate::controller::event::Note;
use crate::controller::plan::{Action, ChildKind, Plan};
use crate::controller::read::Referred;
use crate::controller::release::observe::{self, Observed, RouteSeen, World};
use crate::controller::release::traffic;
use crate::controller::route::HTTPRoute;
use crate::controller::signals::recent::Recent;
use crate::controller::signals::{Answers, Readings, RevisionReading};

/// What the gateway says of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    Accepts,
    Silent,
    Refuses,
}

/// How a run of a gate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Pass,
    Fail,
    Inconclusive,
    /// A receipt of kind error, exit code 43.
    Error,
    /// The Job fails without a word.
    Dies,
    /// It saw other inputs than were planned.
    OtherInputs,
    /// Floors hold, but the mean is lower than it was.
    Worse,
    /// A loss within the margin.
    Loses,
    Never,
}

/// What is at the release's name in place of a route of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InTheWay {
    Nothing,
    Foreign,
    NoApi,
}

/// Where a pass is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// After the status and so many actions.
    After(usize),
    /// Another writer was quicker: the status write meets a conflict.
    Conflict,
}

#[derive(Clone)]
pub struct Sim {
    pub release: RagRelease,
    pub now: Timestamp,
    pub config: Config,
    pub index: Referred<VectorIndex>,
    pub models: BTreeMap<String, Referred<EmbeddingModel>>,
    pub gates: BTreeMap<String, Referred<EvalGate>>,
    pub in_the_way: InTheWay,
    /// Children that are somebody else's.
    pub foreign: BTreeSet<(ChildKind, String)>,
    pub route: Option<HTTPRoute>,
    pub snapshots: Vec<ControllerRevision>,
    pub deployments: Vec<Deployment>,
    pub services: Vec<Service>,
    pub jobs: BTreeMap<String, Attempt>,
    pub in_view: bool,
    pub gateway: Gateway,
    /// The API server refuses each route with one of these host names, and each object of these kinds.
    pub refused_hosts: Vec<String>,
    pub refused_kinds: Vec<ChildKind>,
    /// Revisions of which the Deployment can make no pod.
    pub refused_pods: Vec<String>,
    pub refusal: Option<Refusal>,
    /// How runs end, by gate; the default is Pass.
    pub runs: BTreeMap<String, Run>,
    /// Statuses of the container of each pod that is not ready, by revision.
    pub containers: BTreeMap<String, serde_json::Value>,
    /// Revisions whose pods find no node.
    pub unscheduled: Vec<String>,
    /// Revisions whose pods do not become ready.
    pub not_ready: Vec<String>,
    pub no_match: Vec<String>,
    /// Share of errors in percent, by revision.
    pub errors: BTreeMap<String, u64>,
    /// Requests that come in each tick.
    pub requests: u64,
    /// Percent of the requests that the gateway really sends to the candidate.
    pub real_share: Option<u64>,
    /// The split that the gateway took last: candidate and its percent.
    pub split: Option<(String, u64)>,
    pub readings: Readings,
    pub recent: Recent,
    /// The instant at which the virtual clock began.
    pub epoch: Instant,
    pub events: Vec<Note>,
    pub status_writes: usize,
    /// Each weight of a candidate that was written to the route: (revision, weight).
    pub weights: Vec<(String, i32)>,
    pub serial: u64,
}

impl Sim {
    /// A cluster with index version v1 Ready, gates `quality` and `live`, and this release.
    pub fn of(release: RagRelease) -> Self {
        let gates = [("quality", world::quality("quality", START, 2)), ("live", world::live("live"))];
        Self {
            release,
            now: START.parse().unwrap(),
            config: crate::controller::config::Config::plain(),
            index: world::index(&[world::version("v1", "Ready", false)]),
            models: BTreeMap::from([("words".to_owned(), world::model())]),
            gates: gates.into_iter().map(|(name, gate)| (name.to_owned(), gate)).collect(),
            in_the_way: InTheWay::Nothing,
            foreign: BTreeSet::new(),
            route: None,
            snapshots: Vec::new(),
            deployments: Vec::new(),
            services: Vec::new(),
            jobs: BTreeMap::new(),
            in_view: true,
            gateway: Gateway::Accepts,
            refused_hosts: Vec::new(),
            refused_kinds: Vec::new(),
            refused_pods: Vec::new(),
            refusal: None,
            runs: BTreeMap::new(),
            containers: BTreeMap::new(),
            unscheduled: Vec::new(),
            not_ready: Vec::new(),
            no_match: Vec::new(),
            errors: BTreeMap::new(),
            requests: 0,
            real_share: None,
            split: None,
            readings: Readings::default(),
            recent: Recent::default(),
            epoch: Instant::now(),
            events: Vec::new(),
            status_writes: 0,
            weights: Vec::new(),
            serial: 100,
        }
    }

    /// The same after its first release settled.
    pub fn serving(release: RagRelease) -> Self {
        let mut sim = Self::of(release);
        sim.settle();
        assert_eq!(sim.reason(), "Promoted", "{}", sim.message());
        sim
    }

    /// v2 becomes Ready, and the release moves until `until` holds.
    pub fn moving(release: RagRelease, until: impl Fn(&CandidateStatus) -> bool) -> Self {
        let mut sim = Self::serving(release);
        sim.requests = 1_000;
        sim.version_ready("v2");
        for _ in 0..200 {
            if sim.status().candidate.as_ref().is_some_and(&until) {
                return sim;
            }
            sim.tick();
        }
        panic!("never got there: {} {}", sim.reason(), sim.message());
    }

    // ---- what users and other controllers do ----

    pub fn version_ready(&mut self, name: &str) {
        let Referred::Here(index) = &mut self.index else { panic!("no index") };
        let version = serde_json::from_value(world::version(name, "Ready", false)).unwrap();
        index.status.get_or_insert_default().versions.push(version);
    }

    pub fn has_version(&self, name: &str) -> bool {
        let Referred::Here(index) = &self.index else { return false };
        index.status.iter().flat_map(|s| &s.versions).any(|v| v.name == name)
    }

    pub fn edit(&mut self, change: impl FnOnce(&mut RagRelease)) {
        change(&mut self.release);
        let generation = self.release.metadata.generation.unwrap_or(0);
        self.release.metadata.generation = Some(generation + 1);
    }

    pub fn annotate(&mut self, command: &str, value: impl Into<String>) {
        self.release.annotations_mut().insert(format!("ragops.dev/{command}"), value.into());
    }

    pub fn unannotate(&mut self, command: &str) {
        self.release.annotations_mut().remove(&format!("ragops.dev/{command}"));
    }

    pub fn gate_mut(&mut self, name: &str) -> &mut EvalGate {
        match self.gates.get_mut(name) {
            Some(Referred::Here(gate)) => gate,
            _ => panic!("no gate {name}"),
        }
    }

    pub fn advance(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    /// Servers of a revision end like this, and are not ready.
    pub fn pods_end(&mut self, revision: &str, exit: i32, reason: &str, message: &str) {
        self.not_ready.push(revision.to_owned());
        let ended = json!({"terminated": {"exitCode": exit, "reason": reason, "message": message}});
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
        let container = json!({
            "name": names::CONTAINER, "image": "i", "imageID": "", "ready": false, "restartCount": 1,
            "state": waits, "lastState": ended
        });
        self.containers.insert(revision.to_owned(), container);
    }

    /// The operator's process ends and another takes over: what was only in memory is gone.
    pub fn restart(&mut self) {
        self.readings = Readings::default();
        self.recent = Recent::default();
    }

    /// The virtual clock as scrapes see it.
    pub fn instant(&self) -> Instant {
        let began: Timestamp = START.parse().unwrap();
        self.epoch + Duration::try_from(self.now.duration_since(began)).unwrap_or_default()
    }

    // ---- what tests look at ----

    pub fn status(&self) -> RagReleaseStatus {
        self.release.status.clone().unwrap_or_default()
    }

    pub fn candidate(&self) -> CandidateStatus {
        self.status().candidate.unwrap_or_else(|| panic!("no candidate: {} {}", self.reason(), self.message()))
    }

    pub fn stable(&self) -> String {
        self.status().stable.map(|s| s.revision).unwrap_or_default()
    }

    pub fn condition(&self, type_: ConditionType) -> String {
        find(&self.status().conditions, type_).map(|c| c.status.clone()).unwrap_or_default()
    }

    pub fn reason(&self) -> String {
        find(&self.status().conditions, ConditionType::Ready).map(|c| c.reason.clone()).unwrap_or_default()
    }

    pub fn message(&self) -> String {
        find(&self.status().conditions, ConditionType::Ready).map(|c| c.message.clone()).unwrap_or_default()
    }

    pub fn stalled(&self) -> bool {
        is_true(&self.status().conditions, ConditionType::Stalled)
    }

    pub fn has_event(&self, word: &str) -> bool {
        self.events.iter().any(|e| e.reason == word || e.text.contains(word))
    }

    /// Weights that the route declares, stable first.
    pub fn route_weights(&self) -> Vec<(String, i64)> {
        let rules = self.route.iter().flat_map(|r| &r.spec.rules).flat_map(|r| &r.backend_refs);
        rules.map(|b| (b.name.trim_start_matches("shop-").to_owned(), b.weight.unwrap_or(1))).collect()
    }

    pub fn weight(&self, revision: &str) -> i32 {
        self.route.as_ref().and_then(|r| traffic::written(r, RELEASE, revision)).unwrap_or(0)
    }

    /// Everything that a person would call the outcome.
    pub fn outcome(&self) -> String {
        let s = self.status();
        let history: Vec<_> = s.history.iter().map(|h| (&h.revision, &h.outcome)).collect();
        format!(
            "{} stable={:?} candidate={:?} previous={:?} failed={:?} history={history:?} route={:?} deployments={:?}",
            self.reason(),
            s.stable.as_ref().map(|x| (&x.revision, x.weight)),
            s.candidate.as_ref().map(|c| (&c.revision, c.weight, c.step)),
            s.previous.as_ref().map(|p| &p.revision),
            s.failed_revisions.iter().map(|f| (&f.revision, &f.reason)).collect::<Vec<_>>(),
            self.route_weights(),
            self.deployments.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
        )
    }

    // ---- the operator ----

    pub fn observed(&mut self) -> Observed {
        let route = match (self.in_the_way, &self.route) {
            (InTheWay::NoApi, _) => RouteSeen::ApiMissing,
            (InTheWay::Foreign, _) => RouteSeen::Foreign,
            (InTheWay::Nothing, Some(route)) => RouteSeen::Ours(Box::new(route.clone())),
            (InTheWay::Nothing, None) => RouteSeen::Absent,
        };
        let readings = self.readings.clone();
        let refusal = self.refusal.clone();
        let known = Observed { now: self.now, config: self.config.clone(), refusal, route, readings, world: None };
        // As the operator chooses: what must go goes on what is known already.
        if !self.in_view || observe::is_urgent(&self.release, &known) {
            return known;
        }
        let world = self.view();
        self.watch(&world);
        Observed { readings: self.readings.clone(), world: Some(world), ..known }
    }

    fn view(&self) -> World {
        let status = self.status();
        let runs = status.gates.into_iter().chain(status.scheduled.into_iter().map(|scheduled| scheduled.run));
        let running = runs.filter(|run| run.verdict.is_none()).filter_map(|run| run.job);
        World {
            index: self.index.clone(),
            models: self.models.clone(),
            gates: self.gates.clone(),
            snapshots: self.snapshots.clone(),
            deployments: self.deployments.clone(),
            services: self.services.clone(),
            pods: self.pods(),
            in_the_way: self.foreign.clone(),
            attempts: running.map(|name| (name.clone(), self.jobs.get(&name).cloned().unwrap_or_default())).collect(),
            one_node_claims: Vec::new(),
        }
    }

    fn pods(&self) -> Vec<Pod> {
        let mut pods = Vec::new();
        for deployment in &self.deployments {
            let revision = deployment.labels()[names::LABEL_REVISION].clone();
            if self.refused_pods.contains(&revision) {
                continue;
            }
            let ready = if self.not_ready.contains(&revision) { "False" } else { "True" };
            for i in 0..deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1) {
                let name = format!("{revision}-{i}");
                let mut pod = json!({
                    "metadata": {"name": name, "uid": name, "labels": {(names::LABEL_REVISION): revision}},
                    "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": ready}]}
                });
                if let Some(container) = self.containers.get(&revision).filter(|_| ready == "False") {
                    pod["status"]["containerStatuses"] = json!([container]);
                }
                if self.unscheduled.contains(&revision) {
                    let waits = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"});
                    pod["status"] = json!({"phase": "Pending", "conditions": [waits]});
                }
                pods.push(serde_json::from_value(pod).unwrap());
            }
        }
        pods
    }

    /// What the scrapes of the watch that the plan asks for would say.
    fn watch(&mut self, world: &World) {
        let object = ObjectRef::new(RELEASE).within(NAMESPACE);
        let Some(wanted) = watch::wanted(&self.release, object, world) else {
            self.readings = Readings::default();
            return;
        };
        let reading = |(revision, pods): (&String, &BTreeMap<String, String>)| {
            let matches = (!pods.is_empty()).then(|| !self.no_match.contains(revision));
            (revision.clone(), RevisionReading { pods: pods.len(), fresh: pods.len(), encoder_match: matches })
        };
        let revisions = wanted.targets.iter().map(reading).collect();
        let old = &mut self.readings;
        old.revisions = revisions;
        old.ready = wanted.ready;
        if old.key != wanted.judged.key {
            let persisted = wanted.judged.tests.iter().map(|t| ((t.gate.clone(), t.objective.clone()), t.persisted));
            old.tests = persisted.collect();
            old.recent.clear();
            self.recent = Recent::default();
            old.key = wanted.judged.key;
        }
        let step = wanted.step.unwrap_or_else(|| crate::controller::signals::StepWindow {
            key: String::new(),
            stable: None,
            candidate: String::new(),
            persisted_stable: 0,
            persisted_candidate: 0,
        });
        if old.step_key != step.key {
            old.step_key = step.key;
            old.step_stable = Answers { answers: step.persisted_stable, ..Answers::default() };
            old.step_candidate = Answers { answers: step.persisted_candidate, ..Answers::default() };
        }
    }

    /// One pass, carried out in full.
    pub fn pass(&mut self) -> Plan<RagReleaseStatus> {
        self.pass_until(Cut::After(usize::MAX))
    }

    /// One pass, cut off.
    pub fn pass_until(&mut self, cut: Cut) -> Plan<RagReleaseStatus> {
        let observed = self.observed();
        let plan = plan(&self.release, &observed);
        self.check(&plan, &observed);
        let Cut::After(actions) = cut else { return plan };
        if self.release.status.as_ref() != Some(&plan.status) {
            self.release.status = Some(plan.status.clone());
            self.status_writes += 1;
        }
        self.refusal = None;
        for action in plan.actions.iter().take(actions) {
            if self.refusal.is_some() && matches!(action, Action::Finalizer { present: false }) {
                break;
            }
            if let Err(refusal) = self.carry_out(action) {
                self.refusal.get_or_insert(refusal);
            }
        }
        self.events.extend(plan.events.iter().cloned());
        plan
    }
}
