//! Tables of the planner: a small world, told in sentences, that carries plans out and reports Jobs.
//!
//! Every case ends in a fixed point: the world that a plan made asks for nothing more.

mod any_order;
mod beginning;
mod changing;
mod commands;
mod finishing;
mod leaving;
mod pods;
mod retention;
mod specs;
mod waiting;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::api::{Condition, ConditionType, RagRelease, VectorIndexSpec};
use crate::controller::config::Config;
use crate::controller::error::Refusal;
use crate::controller::index::observe::{Observed, Use, uses_of};
use crate::controller::read::Referred;
use crate::worker::job::Task;

const UID: &str = "0A1b2c3d-1111-2222-3333-444455556666";

struct World {
    index: VectorIndex,
    seen: Observed,
    /// Notes of every pass.
    notes: Vec<Note>,
    made: usize,
    /// Creating Jobs is refused, as by a quota.
    refuses: bool,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + seconds).unwrap()
}

fn handbook() -> World {
    let index = json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "VectorIndex",
        "metadata": {"name": "handbook", "namespace": "team", "uid": UID, "generation": 1, "resourceVersion": "1"},
        "spec": {
            "embeddingModelRef": {"name": "wordllama"},
            "sources": [{"name": "pages", "from": {"configMap": {"name": "pages"}}, "format": "Markdown"}],
            "store": {"embedded": {"claimName": "indexes"}},
            "retention": {"versions": 2}
        }
    });
    let seen = Observed {
        now: at(0),
        config: Config::plain(),
        refusal: None,
        model: ready_model("aaaaaaaaaaaa"),
        missing: Vec::new(),
        gone_claims: BTreeSet::new(),
        one_node: Vec::new(),
        uses: Vec::new(),
        unreadable: Vec::new(),
        jobs: Vec::new(),
        pods: Vec::new(),
        foreign: BTreeSet::new(),
    };
    World { index: serde_json::from_value(index).unwrap(), seen, notes: Vec::new(), made: 0, refuses: false }
}

fn model(ready: &str, message: &str, fingerprint: Option<&str>) -> Referred<crate::api::EmbeddingModel> {
    let condition = |type_: &str| {
        json!({"type": type_, "status": ready, "reason": "Succeeded", "message": message, "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let model = json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "EmbeddingModel",
        "metadata": {"name": "wordllama", "namespace": "team", "generation": 1},
        "spec": {"model": "wordllama", "dimensions": 256, "endpoint": {"openAI": {
            "url": "http://wordllama.team:8080/v1", "apiKey": {"name": "key", "key": "token"}}}},
        "status": {"observedGeneration": 1, "url": "http://wordllama.team:8080/v1", "fingerprint": fingerprint,
            "endpoint": {"openAI": {"url": "http://wordllama.team:8080/v1", "apiKey": {"name": "key", "key": "token"}}},
            "conditions": [condition("Ready")]}
    });
    Referred::Here(Box::new(serde_json::from_value(model).unwrap()))
}

fn ready_model(fingerprint: &str) -> Referred<crate::api::EmbeddingModel> {
    model("True", "wordllama answers", Some(fingerprint))
}

fn build_report(content: &str, documents: i64) -> Value {
    json!({"kind": "build", "contentDigest": content, "sourceDigest": format!("s-{content}"), "source": documents + 3,
        "documents": documents, "quarantined": 1, "skipped": 2, "chunks": documents * 4, "reusedChunks": 0,
        "sizeBytes": 1000, "cutChunks": 0, "examples": []})
}

fn verify_report(content: &str, documents: i64) -> Value {
    json!({"kind": "verify", "contentDigest": content, "documents": documents, "chunks": documents * 4,
        "dimensions": 256, "sampled": 100, "selfRetrieval": 1.0})
}

impl World {
    /// One pass, carried out.
    fn pass(&mut self) -> Plan<VectorIndexStatus> {
        let before = self.index.status.clone().unwrap_or_default();
        let plan = plan(&self.index, &self.seen);
        self.notes.extend(plan.events.clone());
        self.index.status = Some(plan.status.clone());
        self.seen.refusal = None;
        for action in &plan.actions {
            match action {
                Action::Create { name, .. } if self.refuses => {
                    let why = "exceeded quota: jobs".to_owned();
                    self.seen.refusal = Some(Refusal { what: format!("Job team/{name}"), why });
                }
                Action::Create { kind: ChildKind::Job, name, body } => {
                    if self.seen.jobs.iter().all(|j| j.metadata.name.as_deref() != Some(name)) {
                        self.made += 1;
                        let mut job: Job = serde_json::from_value(body.clone()).unwrap();
                        assert_eq!((&body["kind"], &body["apiVersion"]), (&json!("Job"), &json!("batch/v1")));
                        job.metadata.uid = Some(format!("job-{}", self.made));
                        self.may_be_made(&job, &before);
                        self.start_pod(name, &format!("job-{}", self.made));
                        self.seen.jobs.push(job);
                    }
                }
                Action::Delete { kind: ChildKind::Job, name, uid, .. } => {
                    let job = self.job_named(name);
                    assert_eq!(job.metadata.uid.as_ref(), Some(uid));
                    self.vanish(name);
                }
                Action::ExpireJob { name, seconds } => {
                    let job = self.seen.jobs.iter_mut().find(|j| j.metadata.name.as_deref() == Some(name)).unwrap();
                    job.spec.as_mut().unwrap().ttl_seconds_after_finished = Some(i32::try_from(*seconds).unwrap());
                }
                Action::Finalizer { present } => {
                    self.index.metadata.finalizers = present.then(|| vec![names::FINALIZER.to_owned()]);
                }
                other => panic!("an index never does this: {other:?}"),
            }
        }
        plan
    }

    /// Passes until nothing changes; then a look before the one that the plan asks for changes nothing either.
    fn rest(&mut self) -> &mut Self {
        for _ in 0..8 {
            let before = self.index.status.clone();
            let plan = self.pass();
            if plan.actions.is_empty() && self.index.status == before {
                let now = self.seen.now;
                let asked = plan.requeue.map_or(7, |delay| delay.as_secs().saturating_sub(1).min(7));
                self.seen.now = now + Duration::from_secs(asked);
                let later = super::plan(&self.index, &self.seen);
                self.seen.now = now;
                assert_eq!(Some(&later.status), self.index.status.as_ref(), "a later look changes status");
                assert!(later.actions.is_empty() && later.events.is_empty(), "{:?}", later.actions);
                return self;
            }
        }
        panic!("no fixed point: {:#?}", self.index.status);
    }

    /// What must hold whenever a Job is created.
    fn may_be_made(&self, job: &Job, before: &VectorIndexStatus) {
        let unfinished = |j: &&Job| j.status.is_none() && render::purpose_of(j) == render::purpose_of(job);
        assert_eq!(self.seen.jobs.iter().filter(unfinished).count(), 0, "two Jobs of one purpose");
        let Some(Task::Prune(task)) = render::task_of(job) else {
            let build = self.status().build.as_ref().expect("persisted before its Job exists");
            assert_eq!(self.awaited(), job.metadata.name, "{}", build.version);
            return;
        };
        assert!(self.seen.unreadable.is_empty());
        for physical in &task.physical {
            let version = self.status().versions.iter().find(|v| v.physical == *physical).unwrap();
            assert!(self.seen.uses.iter().all(|u| u.version != version.name), "{} is in use", version.name);
            let old = crate::controller::index::version(before, &version.name).unwrap();
            let persisted = version.state == VersionState::Failed || old.state == VersionState::Retiring;
            assert!(persisted, "{} was {:?} in the pass before", version.name, old.state);
        }
    }

    fn awaited(&self) -> Option<String> {
        Draft::new(&self.index, &self.seen).awaited()
    }

    fn start_pod(&mut self, job: &str, job_uid: &str) {
        let pod = json!({
            "metadata": {"name": format!("{job}-pod"), "labels": {"batch.kubernetes.io/job-name": job},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": job_uid}]},
            "status": {"phase": "Running"}
        });
        self.seen.pods.push(serde_json::from_value(pod).unwrap());
    }

    fn vanish(&mut self, job: &str) {
        self.seen.jobs.retain(|j| j.metadata.name.as_deref() != Some(job));
        self.seen.pods.retain(|p| p.metadata.name.as_deref() != Some(&format!("{job}-pod")));
    }

    fn job_named(&self, name: &str) -> &Job {
        self.seen.jobs.iter().find(|j| j.metadata.name.as_deref() == Some(name)).unwrap()
    }

    /// The newest unfinished Job of a purpose.
    fn running(&self, purpose: &str) -> Option<String> {
        let unfinished = |j: &&Job| j.status.is_none() && render::purpose_of(j) == purpose;
        self.seen.jobs.iter().rev().find(unfinished).map(|j| j.metadata.name.clone().unwrap())
    }

    fn end_job(&mut self, purpose: &str, condition: &str, exit: i32, body: &Value) -> &mut Self {
        let name = self.running(purpose).unwrap_or_else(|| panic!("no {purpose} Job runs"));
        let mut receipt = body.clone();
        receipt["v"] = json!(1);
        receipt["run"] = json!(name);
        let ended = condition::time_text(self.seen.now);
        let job = self.seen.jobs.iter_mut().find(|j| j.metadata.name.as_deref() == Some(&name)).unwrap();
        let status = json!({"conditions": [{"type": condition, "status": "True", "lastTransitionTime": ended}]});
        job.status = Some(serde_json::from_value(status).unwrap());
        let phase = if exit == 0 { "Succeeded" } else { "Failed" };
        let status = json!({"phase": phase, "containerStatuses": [{"name": "rag", "image": "rag:1", "imageID": "",
            "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": exit, "message": receipt.to_string()}}}]});
        self.pod_of(&name).status = Some(serde_json::from_value(status).unwrap());
        self
    }

    fn pod_of(&mut self, job: &str) -> &mut Pod {
        let name = format!("{job}-pod");
        self.seen.pods.iter_mut().find(|p| p.metadata.name.as_deref() == Some(&name)).unwrap()
    }

    fn done(&mut self, purpose: &str, body: &Value) -> &mut Self {
        self.end_job(purpose, "Complete", 0, body)
    }

    fn failed(&mut self, purpose: &str, reason: &str, error: &str) -> &mut Self {
        self.end_job(purpose, "Failed", 42, &json!({"kind": "error", "reason": reason, "error": error}))
    }

    fn met(&mut self, purpose: &str, reason: &str, error: &str) -> &mut Self {
        self.end_job(purpose, "Failed", 43, &json!({"kind": "error", "reason": reason, "error": error}))
    }

    /// The build under way comes to Ready with this content.
    fn becomes_ready(&mut self, content: &str, documents: i64) -> &mut Self {
        self.rest().done("build", &build_report(content, documents));
        self.rest().done("verify", &verify_report(content, documents));
        self.rest()
    }

    /// What prune Jobs run are done.
    fn pruned(&mut self) -> &mut Self {
        self.rest();
        while self.running("prune").is_some() {
            self.done("prune", &json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []}));
            self.rest();
        }
        self
    }

    /// A spec that wants another version, the n-th of its kind.
    fn change(&mut self, n: i32) -> &mut Self {
        self.spec(|spec| spec.chunking.max_tokens = 100 + n)
    }

    fn spec(&mut self, edit: impl FnOnce(&mut VectorIndexSpec)) -> &mut Self {
        edit(&mut self.index.spec);
        let generation = self.index.metadata.generation.get_or_insert(0);
        *generation += 1;
        self
    }

    fn rebuild(&mut self, token: &str) -> &mut Self {
        let annotations = self.index.metadata.annotations.get_or_insert_default();
        annotations.insert(names::COMMAND_REBUILD.to_owned(), token.to_owned());
        let fields = json!([{"manager": "kubectl-annotate", "operation": "Update", "time": "2026-06-01T00:00:00Z",
            "fieldsV1": {"f:metadata": {"f:annotations": {"f:ragops.dev/rebuild": {}}}}}]);
        self.index.metadata.managed_fields = Some(serde_json::from_value(fields).unwrap());
        self
    }

    /// v1 to vN Ready, each from another spec.
    fn with_ready(count: i32) -> Self {
        let mut world = handbook();
        for n in 1..=count {
            world.change(n).becomes_ready(&format!("c{n}"), 10);
        }
        world
    }

    fn used(&mut self, release: &str, role: &'static str, version: &str) -> &mut Self {
        self.seen.uses.push(Use { release: release.to_owned(), role, version: version.to_owned() });
        self
    }

    fn unused(&mut self) -> &mut Self {
        self.seen.uses.clear();
        self
    }

    fn deleted(&mut self) -> &mut Self {
        self.index.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.seen.now));
        self
    }

    fn later(&mut self, seconds: i64) -> &mut Self {
        self.seen.now += jiff::SignedDuration::from_secs(seconds);
        self
    }

    fn status(&self) -> &VectorIndexStatus {
        self.index.status.as_ref().unwrap()
    }

    /// `v1 Ready, v2 Failed`
    fn versions(&self) -> String {
        let list = &self.status().versions;
        list.iter().map(|v| format!("{} {:?}", v.name, v.state)).collect::<Vec<_>>().join(", ")
    }

    fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        condition::find(&self.status().conditions, type_)
    }

    /// Ready's status and reason, and a part of its message; Reconciling and Stalled follow from them.
    #[track_caller]
    fn says(&self, ready: &str, reason: Reason, part: &str) -> &Self {
        let found = self.condition(ConditionType::Ready).unwrap();
        assert_eq!((found.status.as_str(), found.reason.as_str()), (ready, reason.as_str()), "{}", found.message);
        assert!(found.message.contains(part), "{:?} is not in {:?}", part, found.message);
        assert_eq!(Some(found.observed_generation), self.index.metadata.generation);
        assert_eq!(self.status().observed_generation, found.observed_generation);
        self
    }

    #[track_caller]
    fn stalled(&self) -> &Self {
        assert!(condition::is_true(&self.status().conditions, ConditionType::Stalled));
        assert!(self.condition(ConditionType::Reconciling).is_none());
        self
    }

    #[track_caller]
    fn reconciling(&self) -> &Self {
        assert!(condition::is_true(&self.status().conditions, ConditionType::Reconciling));
        assert!(self.condition(ConditionType::Stalled).is_none());
        self
    }

    #[track_caller]
    fn lists(&self, versions: &str) -> &Self {
        assert_eq!(self.versions(), versions);
        self
    }

    #[track_caller]
    fn reliable(&self, status: Option<&str>, reason: Reason) -> &Self {
        let found = self.condition(ConditionType::DataReliable);
        assert_eq!(found.map(|c| c.status.as_str()), status);
        assert!(found.is_none_or(|c| c.reason == reason.as_str()), "{found:?}");
        self
    }

    /// The task of the newest Job of a purpose, finished or not.
    fn task(&self, purpose: &str) -> Task {
        let job = self.seen.jobs.iter().rev().find(|j| render::purpose_of(j) == purpose).unwrap();
        render::task_of(job).unwrap()
    }

    fn jobs(&self, purpose: &str) -> usize {
        self.seen.jobs.iter().filter(|j| render::purpose_of(j) == purpose).count()
    }
}
