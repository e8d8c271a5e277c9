//! Tables of the planner: a small world, told in sentences, that carries plans out and reports Jobs.
//!
//! Every case ends in a fixed point: the world that a plan made asks for nothing more.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::api::{Condition, ConditionType, RagRelease, VectorIndexSpec};
use crate::controller::config::{Config, PullPolicy, Scope};
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
    /// Creating Jobs is refused, as in a namespace that terminates.
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
        config: Config {
            image: "rag:1".to_owned(),
            image_pull_policy: PullPolicy::IfNotPresent,
            scope: Scope::Cluster,
            resources: None,
        },
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
        for action in &plan.actions {
            match action {
                Action::Create { .. } if self.refuses => {}
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
                Action::Delete { kind: ChildKind::Job, name, uid } => {
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

    /// Passes until nothing changes; then a later look changes nothing either.
    fn rest(&mut self) -> &mut Self {
        for _ in 0..8 {
            let before = self.index.status.clone();
            let plan = self.pass();
            if plan.actions.is_empty() && self.index.status == before {
                let now = self.seen.now;
                self.seen.now = now + jiff::SignedDuration::from_secs(7);
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
        let job = self.seen.jobs.iter_mut().find(|j| j.metadata.name.as_deref() == Some(&name)).unwrap();
        let status = json!({"conditions": [{"type": condition, "status": "True",
            "lastTransitionTime": "2026-06-01T00:00:00Z"}]});
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

mod beginning {
    use super::*;

    #[test]
    fn the_first_pass_persists_number_and_version_and_creates_the_job() {
        let mut world = handbook();
        let plan = world.pass();
        world.lists("v1 Building").says("False", Reason::Building, "Builds v1").reconciling();
        let status = world.status();
        assert_eq!((status.last_number, status.build.as_ref().unwrap().version.as_str()), (1, "v1"));
        assert_eq!(status.versions[0].physical, "handbook-0a1b2c3d-v1");
        assert_eq!(status.versions[0].claim, "indexes");
        assert_eq!(status.store.as_deref(), Some("embedded"));
        assert_eq!(plan.actions[0], Action::Finalizer { present: true });
        assert!(matches!(&plan.actions[1], Action::Create { kind: ChildKind::Job, .. }));
        assert_eq!((plan.actions.len(), plan.requeue), (2, Some(WATCH_JOB)));
    }

    #[test]
    fn a_lost_job_is_made_again_under_the_same_name() {
        let mut world = handbook();
        world.rest();
        let name = world.running("build").unwrap();
        world.vanish(&name);
        world.rest().lists("v1 Building");
        assert_eq!(world.running("build"), Some(name));
    }

    #[test]
    fn a_job_is_not_made_again_while_its_old_pod_still_writes() {
        let mut world = handbook();
        world.rest();
        let name = world.running("build").unwrap();
        world.seen.jobs.clear();
        world.rest().says("False", Reason::Progressing, "earlier pod").reconciling();
        assert!(world.running("build").is_none());
        world.vanish(&name);
        assert!(world.rest().running("build").is_some());
    }

    #[test]
    fn the_build_job_has_sources_claim_key_limits_and_owner() {
        let mut world = handbook();
        world.spec(|spec| {
            spec.build.deadline = "30m".to_owned();
            spec.build.resources = Some(serde_json::from_value(json!({"limits": {"memory": "3Gi"}})).unwrap());
        });
        world.seen.one_node = vec!["indexes".to_owned()];
        world.rest();
        let job = serde_json::to_value(world.job_named(&world.running("build").unwrap())).unwrap();
        assert_eq!(job["spec"]["backoffLimit"], 2);
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 1800);
        assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], UID);
        assert_eq!(job["metadata"]["labels"]["ragops.dev/purpose"], "build");
        let pod = &job["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"]["ragops.dev/index-claim"], "indexes");
        assert!(pod["spec"]["affinity"]["podAffinity"].is_object());
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["args"], json!(["index", "build"]));
        assert_eq!(container["resources"]["limits"]["memory"], "3Gi");
        let mounts: Vec<(&str, bool)> = container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| (m["mountPath"].as_str().unwrap(), m["readOnly"] == true))
            .collect();
        assert_eq!(mounts, [("/sources/pages", true), ("/index", false), ("/secrets/encoder", true), ("/tmp", false)]);
    }

    #[test]
    fn source_and_index_may_share_a_claim_and_only_the_index_is_writable() {
        let mut world = handbook();
        world.spec(|spec| {
            let from = json!({"volume": {"claimName": "indexes", "path": "pages"}});
            spec.sources[0].from = serde_json::from_value(from).unwrap();
        });
        world.rest();
        let job = serde_json::to_value(world.job_named(&world.running("build").unwrap())).unwrap();
        let spec = &job["spec"]["template"]["spec"];
        let claims = spec["volumes"].as_array().unwrap().iter().filter(|v| v["persistentVolumeClaim"].is_object());
        assert_eq!(claims.count(), 1);
        let mounts = &spec["containers"][0]["volumeMounts"];
        assert_eq!((&mounts[0]["readOnly"], &mounts[1]["readOnly"]), (&json!(true), &Value::Null));
    }

    #[test]
    fn pods_of_a_claim_for_many_nodes_are_free() {
        let mut world = handbook();
        world.rest();
        let job = serde_json::to_value(world.job_named(&world.running("build").unwrap())).unwrap();
        assert!(job["spec"]["template"]["spec"]["affinity"].is_null());
    }

    #[test]
    fn names_of_directories_fit_every_store() {
        let mut world = handbook();
        world.index.metadata.name = Some("a".repeat(40));
        let name = render::physical(&world.index, 99_999_999);
        assert_eq!(name.len(), 59);
        assert_eq!(name, name.to_lowercase());
    }

    #[test]
    fn a_lost_status_never_gives_a_number_that_a_release_remembers() {
        let mut world = handbook();
        world.used("shop", "stable", "v7").rest().lists("v8 Building");
    }
}

mod waiting {
    use super::*;

    #[track_caller]
    fn waits(world: &mut World, reason: Reason, part: &str) {
        world.rest().says("False", reason, part).reconciling().lists("");
        assert!(world.seen.jobs.is_empty());
        assert_eq!(world.status().last_number, 0);
        assert!(plan(&world.index, &world.seen).requeue.is_some());
    }

    #[test]
    fn for_a_model_that_is_absent() {
        let mut world = handbook();
        world.seen.model = Referred::Absent;
        waits(&mut world, Reason::RefNotFound, "EmbeddingModel `wordllama`");
        world.seen.model = ready_model("aaaaaaaaaaaa");
        world.rest().lists("v1 Building");
    }

    #[test]
    fn for_a_model_that_cannot_be_read() {
        let mut world = handbook();
        world.seen.model = Referred::Unreadable("unknown field `x`".to_owned());
        waits(&mut world, Reason::InvalidObject, "unknown field `x`");
    }

    #[test]
    fn for_a_model_that_is_not_ready() {
        let mut world = handbook();
        world.seen.model = model("False", "its endpoint does not answer.", Some("aaaaaaaaaaaa"));
        waits(&mut world, Reason::Progressing, "its endpoint does not answer.");
    }

    #[test]
    fn for_a_model_without_a_fingerprint() {
        let mut world = handbook();
        world.seen.model = model("False", "Probes.", None);
        waits(&mut world, Reason::Progressing, "Probes.");
    }

    #[test]
    fn for_a_model_whose_status_is_behind_its_spec() {
        let mut world = handbook();
        let Referred::Here(mut model) = ready_model("aaaaaaaaaaaa") else { panic!("a model") };
        model.metadata.generation = Some(2);
        world.seen.model = Referred::Here(model);
        waits(&mut world, Reason::Progressing, "is not ready");
    }

    #[test]
    fn for_a_model_without_an_accepted_endpoint() {
        let mut world = handbook();
        let Referred::Here(mut model) = ready_model("aaaaaaaaaaaa") else { panic!("a model") };
        model.status.as_mut().unwrap().endpoint = None;
        world.seen.model = Referred::Here(model);
        waits(&mut world, Reason::Progressing, "is not ready");
    }

    #[test]
    fn for_what_sources_and_store_name() {
        let mut world = handbook();
        world.seen.missing = vec!["ConfigMap `pages` (named by source `pages`)".to_owned()];
        waits(&mut world, Reason::RefNotFound, "ConfigMap `pages` (named by source `pages`) is not in this namespace");
        world.seen.missing.clear();
        world.rest().lists("v1 Building");
    }

    #[test]
    fn and_names_at_most_five_of_many() {
        let mut world = handbook();
        world.seen.missing = (0..2_000).map(|i| format!("key `k{i}` of ConfigMap `pages`")).collect();
        waits(&mut world, Reason::RefNotFound, "and 1995 more are not in this namespace");
    }

    #[test]
    fn a_missing_reference_stops_no_build_under_way() {
        let mut world = handbook();
        world.rest();
        world.seen.missing = vec!["ConfigMap `pages`".to_owned()];
        world.seen.model = Referred::Absent;
        world.rest().says("False", Reason::Building, "Builds v1");
    }

    #[test]
    fn a_ready_index_whose_model_went_says_so_and_keeps_its_version() {
        let mut world = World::with_ready(1);
        world.seen.model = Referred::Absent;
        world.rest().says("False", Reason::RefNotFound, "v1 stays the newest ready version").lists("v1 Ready");
    }

    #[test]
    fn a_ready_index_does_not_mind_a_model_that_is_measured_again() {
        let mut world = World::with_ready(1);
        world.seen.model = model("False", "Probes.", Some("aaaaaaaaaaaa"));
        world.rest().says("True", Reason::Succeeded, "v1 is ready");
    }

    #[test]
    fn a_verification_waits_for_the_model_too() {
        let mut world = handbook();
        world.rest().done("build", &build_report("c", 10));
        world.seen.model = model("False", "Probes.", Some("aaaaaaaaaaaa"));
        world.rest().says("False", Reason::Progressing, "Probes.").lists("v1 Verifying");
        world.seen.model = ready_model("aaaaaaaaaaaa");
        world.rest().says("False", Reason::Verifying, "Reads v1 back");
        assert!(world.running("verify").is_some());
    }
}

mod specs {
    use super::*;

    #[test]
    fn that_break_a_rule_say_which_and_build_nothing() {
        type Edit = fn(&mut VectorIndexSpec);
        let cases: [(Edit, &str); 16] = [
            (|s| s.store.embedded = None, "`spec.store` holds no store"),
            (|s| s.sources.clear(), "spec.sources"),
            (|s| s.sources = vec![s.sources[0].clone(); 33], "between 1 and 32"),
            (|s| s.sources.push(s.sources[0].clone()), "`spec.sources[1].name` is `pages`"),
            (|s| s.sources[0].name = "Pages".to_owned(), "`spec.sources[0].name` is `Pages`"),
            (|s| s.sources[0].from.config_map = None, "`spec.sources[0].from` must hold exactly one"),
            (
                |s| {
                    let from = json!({"volume": {"claimName": "c", "path": "../x"}});
                    s.sources[0].from = serde_json::from_value(from).unwrap();
                },
                "`../x`",
            ),
            (|s| s.chunking.max_tokens = 8, "between 16 and 8192"),
            (|s| s.chunking.overlap_tokens = 256, "smaller than `spec.chunking.maxTokens` (256)"),
            (|s| s.chunking.overlap_tokens = -1, "at least 0"),
            (|s| s.build.deadline = "soon".to_owned(), "no duration"),
            (|s| s.build.deadline = "10s".to_owned(), "between 1 min and 72 h"),
            (|s| s.retention.versions = 0, "between 1 and 50"),
            (|s| s.search.exact_below = 0, "between 1 and 1000000"),
            (|s| s.data_quality.self_retrieval_min = f64::NAN, "`spec.dataQuality.selfRetrievalMin` is NaN"),
            (|s| s.data_quality.min_documents = -1, "spec.dataQuality.minDocuments"),
        ];
        for (edit, part) in cases {
            let mut world = handbook();
            world.spec(edit).rest().says("False", Reason::InvalidSpec, part).stalled().lists("");
            assert!(world.seen.jobs.is_empty());
        }
    }

    #[test]
    fn a_name_that_fits_no_store_is_refused() {
        let mut world = handbook();
        world.index.metadata.name = Some("Handbook".to_owned());
        world.rest().says("False", Reason::InvalidSpec, "`metadata.name` is `Handbook`").stalled();
    }

    #[test]
    fn corrected_go_on() {
        let mut world = handbook();
        world.spec(|s| s.chunking.max_tokens = 8).rest().stalled();
        world.spec(|s| s.chunking.max_tokens = 64).rest().lists("v1 Building").reconciling();
    }

    #[test]
    fn broken_later_leave_versions_alone() {
        let mut world = World::with_ready(1);
        world.spec(|s| s.chunking.max_tokens = 8).rest();
        world.says("False", Reason::InvalidSpec, "v1 stays the newest ready version").lists("v1 Ready");
        world.reliable(Some("True"), Reason::ChecksPassed);
    }

    #[test]
    fn that_change_nothing_of_the_content_build_nothing() {
        let mut world = World::with_ready(1);
        let before = world.seen.jobs.len();
        world
            .spec(|s| {
                s.retention.versions = 5;
                s.search.exact_below = 1_000;
                s.build.deadline = "1h".to_owned();
            })
            .rest()
            .says("True", Reason::Succeeded, "v1 is ready");
        assert_eq!(world.seen.jobs.len(), before);
    }

    #[test]
    fn that_change_the_content_build_a_version() {
        type Edit = fn(&mut VectorIndexSpec);
        let cases: [Edit; 6] = [
            |s| s.chunking.max_tokens = 64,
            |s| s.keyword.enabled = true,
            |s| s.sources[0].exclude = vec!["*.tmp".to_owned()],
            |s| s.sources[0].domain = Some("legal".to_owned()),
            |s| s.data_quality.shrink_guard_percent = 50.0,
            |s| s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned(),
        ];
        for edit in cases {
            let mut world = World::with_ready(1);
            world.spec(edit).rest().lists("v1 Ready, v2 Building");
            world.says("False", Reason::Building, "v1 stays the newest ready version").reconciling();
        }
    }

    #[test]
    fn another_fingerprint_builds_a_version() {
        let mut world = World::with_ready(1);
        world.seen.model = ready_model("bbbbbbbbbbbb");
        world.rest().lists("v1 Ready, v2 Building");
        assert_eq!(world.status().versions[1].fingerprint, "bbbbbbbbbbbb");
    }

    #[test]
    fn another_claim_takes_over_no_vectors_but_compares_documents() {
        let mut world = World::with_ready(1);
        world.spec(|s| s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned()).rest();
        let Task::Build(task) = world.task("build") else { panic!("a build") };
        assert_eq!((task.previous, task.previous_documents), (None, Some(10)));
        assert_eq!(world.status().versions[1].claim, "other");
    }

    #[test]
    fn the_next_version_starts_from_the_newest_ready_one() {
        let mut world = World::with_ready(2);
        world.change(3).rest();
        let Task::Build(task) = world.task("build") else { panic!("a build") };
        assert_eq!(task.previous.as_deref(), Some("handbook-0a1b2c3d-v2"));
        assert_eq!((task.previous_documents, task.version.as_str()), (Some(10), "v3"));
        assert_eq!((task.physical.as_str(), task.owner_uid.as_str()), ("handbook-0a1b2c3d-v3", UID));
    }
}

mod finishing {
    use super::*;

    #[test]
    fn a_build_is_verified_before_it_is_ready() {
        let mut world = handbook();
        world.rest().done("build", &build_report("c1", 10));
        let plan = world.pass();
        world.lists("v1 Verifying").says("False", Reason::Verifying, "10 documents in 40 chunks").reconciling();
        assert_eq!(world.status().latest_version, None);
        assert!(plan.actions.iter().any(|a| matches!(a, Action::ExpireJob { seconds: 3600, .. })));
        let Task::Verify(task) = world.task("verify") else { panic!("a verification") };
        assert_eq!((task.content_digest.as_str(), task.documents, task.chunks), ("c1", 10, 40));
    }

    #[test]
    fn the_verify_job_reads_only() {
        let mut world = handbook();
        world.rest().done("build", &build_report("c1", 10)).rest();
        let job = serde_json::to_value(world.job_named(&world.running("verify").unwrap())).unwrap();
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["args"], json!(["index", "verify"]));
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert!(mounts.iter().all(|m| m["readOnly"] == true || m["mountPath"] == "/tmp"), "{mounts:?}");
        assert!(mounts.iter().all(|m| !m["mountPath"].as_str().unwrap().starts_with("/sources")));
    }

    #[test]
    fn a_verified_version_is_ready_with_its_numbers() {
        let world = World::with_ready(1);
        world.lists("v1 Ready").says("True", Reason::Succeeded, "v1 is ready: 10 documents in 40 chunks, 1 documents");
        world.reliable(Some("True"), Reason::ChecksPassed);
        let status = world.status().clone();
        assert_eq!(
            (status.latest_version.as_deref(), status.documents, status.chunks),
            (Some("v1"), Some(10), Some(40))
        );
        assert!(status.build.is_none());
        let v1 = &status.versions[0];
        assert_eq!((v1.quarantined, v1.size_bytes, v1.model.as_str()), (Some(1), Some(1000), "wordllama"));
        assert!(v1.ready_at.is_some());
        assert!(world.seen.jobs.iter().all(|j| j.spec.as_ref().unwrap().ttl_seconds_after_finished == Some(3600)));
        assert_eq!(newest_ready(&status).map(|v| v.name.as_str()), Some("v1"));
    }

    #[test]
    fn verifications_that_find_something_else_fail_the_version() {
        let cases = [
            (json!({"contentDigest": "other"}), Reason::CountMismatch, "another digest"),
            (json!({"documents": 9}), Reason::CountMismatch, "9 documents were read back, 10 were built"),
            (json!({"chunks": 39}), Reason::CountMismatch, "39 chunks were read back, 40 were built"),
            (json!({"dimensions": 384}), Reason::CountMismatch, "384 dimensions"),
            (json!({"selfRetrieval": 0.98}), Reason::SelfRetrievalLow, "0.9800 of 100 sampled chunks"),
        ];
        for (change, reason, part) in cases {
            let mut world = handbook();
            world.rest().done("build", &build_report("c1", 10)).rest();
            let mut report = verify_report("c1", 10);
            for (key, value) in change.as_object().unwrap() {
                report[key] = value.clone();
            }
            world.done("verify", &report).rest().says("False", reason, part).stalled().lists("v1 Failed");
            world.reliable(Some("False"), reason);
            assert_eq!(world.status().latest_version, None);
        }
    }

    #[test]
    fn a_build_that_loses_documents_fails() {
        let mut world = handbook();
        let mut report = build_report("c1", 10);
        report["source"] = json!(20);
        world.rest().done("build", &report).rest();
        world.says("False", Reason::CountMismatch, "20 documents, but the build accounts for 13").stalled();
    }

    #[test]
    fn a_receipt_of_another_kind_fails_the_version() {
        let mut world = handbook();
        world.rest().done("build", &verify_report("c1", 10)).rest();
        world.says("False", Reason::JobFailed, "of another kind").stalled().reliable(None, Reason::JobFailed);
    }

    #[test]
    fn failures_are_told_in_the_workers_words() {
        let cases = [
            ("ShrinkGuard", Reason::ShrinkGuard, true),
            ("ChecksFailed", Reason::ChecksFailed, true),
            ("SelfRetrievalLow", Reason::SelfRetrievalLow, true),
            ("CountMismatch", Reason::CountMismatch, true),
            ("SourceUnavailable", Reason::SourceUnavailable, false),
            ("EndpointUnavailable", Reason::EndpointUnavailable, false),
            ("InvalidSpec", Reason::InvalidSpec, false),
            ("SomethingNew", Reason::JobFailed, false),
        ];
        for (word, reason, of_data) in cases {
            let mut world = World::with_ready(1);
            world.change(2).rest().failed("build", word, "8 documents, 10 before").rest();
            world.says("False", reason, "Version v2 failed: 8 documents, 10 before. v1 stays").stalled();
            world.says("False", reason, "kubectl annotate vidx handbook ragops.dev/rebuild=<token>");
            world.lists("v1 Ready, v2 Failed");
            if of_data {
                world.reliable(Some("False"), reason);
            } else {
                world.reliable(Some("True"), Reason::ChecksPassed);
            }
            assert_eq!(world.status().latest_version.as_deref(), Some("v1"));
        }
    }

    #[test]
    fn a_failed_build_is_not_repeated() {
        let mut world = handbook();
        world.rest().failed("build", "ShrinkGuard", "shrank").rest();
        let jobs = world.jobs("build");
        for _ in 0..50 {
            world.later(3600).pass();
        }
        assert_eq!(world.jobs("build"), jobs);
        world.rest().lists("v1 Failed").says("False", Reason::ShrinkGuard, "shrank");
    }

    #[test]
    fn a_new_spec_fingerprint_or_token_tries_again() {
        type Edit = fn(&mut World);
        let cases: [Edit; 3] =
            [|w| _ = w.change(9), |w| w.seen.model = ready_model("bbbbbbbbbbbb"), |w| _ = w.rebuild("again")];
        for edit in cases {
            let mut world = handbook();
            world.rest().failed("build", "ShrinkGuard", "shrank").rest();
            edit(&mut world);
            world.rest().lists("v1 Failed, v2 Building").reconciling();
            world.reliable(Some("False"), Reason::ShrinkGuard);
        }
    }

    #[test]
    fn a_failed_job_keeps_a_day_for_its_logs() {
        let mut world = handbook();
        world.rest().failed("build", "ChecksFailed", "no documents").rest();
        let build = world.seen.jobs.iter().find(|j| render::purpose_of(j) == "build").unwrap();
        assert_eq!(build.spec.as_ref().unwrap().ttl_seconds_after_finished, Some(86_400));
    }

    #[test]
    fn a_job_that_left_no_receipt_is_a_failure_too() {
        let mut world = handbook();
        world.rest().end_job("build", "Complete", 0, &json!({"kind": "nonsense"})).rest();
        world.says("False", Reason::JobFailed, "its receipt does not count").stalled();
    }

    #[test]
    fn long_texts_fit_the_schema() {
        let mut world = handbook();
        world.rest().failed("build", "ChecksFailed", &"x".repeat(1_024)).rest();
        let status = world.status();
        assert!(status.versions[0].reason.as_ref().unwrap().chars().count() <= 1_200);
        assert!(status.conditions.iter().all(|c| c.message.chars().count() <= 4_096));
    }

    #[test]
    fn a_large_index_says_that_searches_are_slow() {
        let mut world = handbook();
        world.spec(|s| s.search.exact_below = 39).becomes_ready("c1", 10);
        world.says("True", Reason::Succeeded, "scans all vectors");
        world.spec(|s| s.search.exact_below = 40).rest();
        assert!(!world.condition(ConditionType::Ready).unwrap().message.contains("scans"));
    }

    #[test]
    fn a_directory_that_is_not_ours_is_told_and_never_pruned() {
        let mut world = handbook();
        world.rest().failed("build", "NotOwned", "already holds version v1 of another owner").rest();
        world.says("False", Reason::NotOwned, "another owner").stalled();
        assert_eq!(world.jobs("prune"), 0);
    }
}

mod pods {
    use super::*;

    fn waiting(world: &mut World, reason: &str, message: &str) {
        let job = world.running("build").unwrap();
        let status = json!({"phase": "Pending", "startTime": "2026-01-01T00:00:00Z", "containerStatuses": [{
            "name": "rag", "image": "rag:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}}}]});
        world.pod_of(&job).status = Some(serde_json::from_value(status).unwrap());
    }

    #[test]
    fn that_cannot_start_become_a_reason() {
        let cases = [
            ("ImagePullBackOff", Reason::ImagePullFailed, "cannot be pulled"),
            ("CreateContainerConfigError", Reason::PodConfigError, "cannot start"),
            ("ContainerCreating", Reason::PodConfigError, "waits for its volumes"),
        ];
        for (word, reason, part) in cases {
            let mut world = World::with_ready(1);
            world.change(2).rest();
            waiting(&mut world, word, "why");
            world.rest().says("False", reason, part).says("False", reason, "v1 stays").reconciling();
            assert_eq!(plan(&world.index, &world.seen).requeue, Some(WATCH_JOB));
        }
    }

    #[test]
    fn that_cannot_be_scheduled_become_a_reason() {
        let mut world = handbook();
        world.rest();
        let job = world.running("build").unwrap();
        let status = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes: insufficient memory"}]});
        world.pod_of(&job).status = Some(serde_json::from_value(status).unwrap());
        world.rest().says("False", Reason::PodUnschedulable, "insufficient memory").reconciling();
    }

    #[test]
    fn a_job_of_our_name_that_is_not_ours_stops_the_build() {
        let mut world = handbook();
        world.rest();
        let name = world.running("build").unwrap();
        world.vanish(&name);
        world.seen.foreign.insert(name.clone());
        world.rest().says("False", Reason::NotOwned, &name).stalled();
        assert_eq!(world.seen.jobs.len(), 0);
        world.seen.foreign.clear();
        world.rest().lists("v1 Building").reconciling();
    }

    #[test]
    fn the_foreign_check_asks_for_every_name_that_may_be_used() {
        let mut world = World::with_ready(3);
        world.change(4).rest();
        let names = job_names(&world.index);
        for purpose in ["build", "prune"] {
            assert!(names.contains(&world.running(purpose).unwrap()), "{purpose}");
        }
    }
}

mod changing {
    use super::*;

    #[test]
    fn a_new_spec_in_mid_build_supersedes_it() {
        let mut world = World::with_ready(1);
        world.change(2).rest();
        let old = world.running("build").unwrap();
        world.change(3);
        let plan = world.pass();
        world.lists("v1 Ready, v2 Failed, v3 Building").says("False", Reason::Building, "Builds v3");
        assert!(matches!(&plan.actions[0], Action::Delete { name, .. } if *name == old));
        let v2 = &world.status().versions[1];
        assert!(v2.reason.as_ref().unwrap().contains("superseded by a newer spec"));
        world.rest();
    }

    #[test]
    fn a_new_spec_in_mid_verification_supersedes_it() {
        let mut world = handbook();
        world.rest().done("build", &build_report("c1", 10)).rest();
        world.change(2).rest().lists("v1 Failed, v2 Building");
        assert!(world.running("verify").is_none());
    }

    #[test]
    fn a_superseded_build_waits_for_nothing_of_the_new_spec() {
        let mut world = handbook();
        world.rest();
        world.seen.missing = vec!["ConfigMap `new`".to_owned()];
        world.change(2).rest().lists("v1 Failed").says("False", Reason::RefNotFound, "ConfigMap `new`");
        assert!(world.running("build").is_none());
        world.seen.missing.clear();
        world.rest().lists("v1 Failed, v2 Building");
    }

    #[test]
    fn back_to_the_superseded_spec_builds_again() {
        let mut world = handbook();
        world.rest();
        world.seen.missing = vec!["ConfigMap `new`".to_owned()];
        world.change(2).rest();
        world.seen.missing.clear();
        world.spec(|s| s.chunking.max_tokens = 256).rest().lists("v1 Failed, v2 Building");
    }

    #[test]
    fn back_to_the_superseded_spec_builds_again_beside_a_ready_version() {
        let mut world = World::with_ready(1);
        world.change(2).rest();
        world.seen.missing = vec!["ConfigMap `new`".to_owned()];
        world.change(3).rest().lists("v1 Ready, v2 Failed");
        world.seen.missing.clear();
        world.change(2).rest().lists("v1 Ready, v2 Failed, v3 Building");
    }

    #[test]
    fn superseding_says_nothing_of_the_data() {
        let mut world = World::with_ready(1);
        world.change(2).rest().change(3).rest().reliable(Some("True"), Reason::ChecksPassed);
    }

    #[test]
    fn the_same_content_is_unchanged_and_lists_no_version() {
        let mut world = World::with_ready(1);
        world.change(2).rest().done("build", &build_report("c1", 10)).rest();
        world.lists("v1 Ready, v2 Retiring").says("True", Reason::Succeeded, "(v2) found the same content");
        world.pruned().lists("v1 Ready").says("True", Reason::Succeeded, "v1 is ready");
        world.says("True", Reason::Succeeded, "(v2) found the same content");
        assert_eq!((world.jobs("verify"), world.status().last_number), (1, 2));
        assert_eq!(world.status().latest_version.as_deref(), Some("v1"));
    }

    #[test]
    fn the_same_content_by_another_encoder_is_another_version() {
        let mut world = World::with_ready(1);
        world.seen.model = ready_model("bbbbbbbbbbbb");
        world.becomes_ready("c1", 10).lists("v1 Ready, v2 Ready");
    }

    #[test]
    fn the_same_content_on_another_claim_is_another_version() {
        let mut world = World::with_ready(1);
        world.spec(|s| s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned());
        world.becomes_ready("c1", 10).lists("v1 Ready, v2 Ready");
    }

    #[test]
    fn unchanged_after_a_failure_makes_the_data_reliable_again() {
        let mut world = World::with_ready(1);
        world.change(2).rest().failed("build", "ShrinkGuard", "shrank").rest();
        world.change(3).rest().done("build", &build_report("c1", 10));
        world.pruned().says("True", Reason::Succeeded, "(v3) found the same content");
        world.reliable(Some("True"), Reason::ChecksPassed);
    }
}

mod commands {
    use super::*;

    #[test]
    fn a_rebuild_is_carried_out_once_and_recorded() {
        let mut world = World::with_ready(1);
        world.rebuild("monday").rest().lists("v1 Ready, v2 Building");
        world.says("False", Reason::Building, "a rebuild was asked for");
        let command = &world.status().commands[0];
        assert_eq!(
            (command.command.as_str(), command.value.as_str(), command.manager.as_str(), command.outcome.as_str()),
            ("rebuild", "monday", "kubectl-annotate", "began v2")
        );
        world.becomes_ready("c2", 10);
        assert_eq!((world.status().commands.len(), world.jobs("build")), (1, 2));
        world.rebuild("monday@2").rest().lists("v1 Ready, v2 Ready, v3 Building");
    }

    #[test]
    fn its_cause_is_told() {
        use crate::api::index::VersionCause;
        let mut world = World::with_ready(1);
        world.rebuild("a").rest();
        assert_eq!(world.status().versions[1].cause, VersionCause::Rebuild);
        assert_eq!(world.status().versions[0].cause, VersionCause::Spec);
        let mut world = World::with_ready(1);
        world.rebuild("a").change(2).rest();
        assert_eq!(world.status().versions[1].cause, VersionCause::Spec);
        assert_eq!(world.status().commands.len(), 1);
    }

    #[test]
    fn taking_the_annotation_away_builds_nothing() {
        let mut world = World::with_ready(1);
        world.rebuild("a").becomes_ready("c2", 10);
        world.index.metadata.annotations = None;
        world.rest().lists("v1 Ready, v2 Ready");
    }

    #[test]
    fn an_empty_value_is_no_command() {
        let mut world = World::with_ready(1);
        world.rebuild("").rest().lists("v1 Ready");
    }

    #[test]
    fn a_rebuild_waits_for_references_and_is_not_lost() {
        let mut world = World::with_ready(1);
        world.seen.missing = vec!["ConfigMap `pages`".to_owned()];
        world.rebuild("a").rest().says("False", Reason::RefNotFound, "ConfigMap");
        assert!(world.status().commands.is_empty());
        world.seen.missing.clear();
        world.rest().lists("v1 Ready, v2 Building");
    }

    #[test]
    fn a_rebuild_in_mid_build_supersedes_it() {
        let mut world = World::with_ready(1);
        world.change(2).rest().rebuild("now").rest().lists("v1 Ready, v2 Failed, v3 Building");
        assert!(world.status().versions[1].reason.as_ref().unwrap().contains("rebuild `now`"));
    }

    #[test]
    fn many_rebuilds_stay_bounded() {
        let mut world = World::with_ready(1);
        for n in 0..25 {
            world.rebuild(&format!("t{n}")).rest().done("build", &build_report("c1", 10));
            world.pruned();
            world.seen.jobs.clear();
            world.seen.pods.clear();
        }
        world.lists("v1 Ready");
        assert_eq!(world.status().commands.len(), 20);
        assert_eq!(world.status().last_number, 26);
    }

    #[test]
    fn a_long_value_is_cut_and_still_handled_once() {
        let mut world = World::with_ready(1);
        world.rebuild(&"ü".repeat(1_000)).becomes_ready("c2", 10).lists("v1 Ready, v2 Ready");
    }
}

mod retention {
    use super::*;

    #[test]
    fn keeps_the_newest_and_deletes_the_rest_by_a_job() {
        let mut world = World::with_ready(2);
        world.change(3).rest().done("build", &build_report("c3", 10)).rest();
        world.done("verify", &verify_report("c3", 10));
        let plan = world.pass();
        world.lists("v1 Retiring, v2 Ready, v3 Ready");
        assert!(!plan.actions.iter().any(|a| matches!(a, Action::Create { .. })), "Retiring is persisted first");
        world.rest().lists("v1 Retiring, v2 Ready, v3 Ready");
        let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
        assert_eq!((task.physical, task.owner_uid.as_str()), (vec!["handbook-0a1b2c3d-v1".to_owned()], UID));
        world.pruned().lists("v2 Ready, v3 Ready").says("True", Reason::Succeeded, "v3 is ready");
    }

    #[test]
    fn the_prune_job_writes_to_the_index_claim_and_mounts_nothing_else() {
        let world = World::with_ready(3);
        let job = serde_json::to_value(world.job_named(&world.running("prune").unwrap())).unwrap();
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["args"], json!(["index", "prune"]));
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert_eq!(mounts.len(), 2);
        assert_eq!((&mounts[0]["mountPath"], &mounts[0]["readOnly"]), (&json!("/index"), &Value::Null));
    }

    #[test]
    fn never_takes_a_version_that_a_release_names() {
        for role in ["stable", "candidate", "previous", "spec.version"] {
            let mut world = World::with_ready(2);
            world.used("shop", role, "v1").change(3).becomes_ready("c3", 10);
            world.pruned().change(4).becomes_ready("c4", 10);
            world.pruned().lists("v1 Ready, v3 Ready, v4 Ready");
        }
    }

    #[test]
    fn a_release_that_leaves_frees_its_version() {
        let mut world = World::with_ready(2);
        world.used("shop", "stable", "v1").change(3).becomes_ready("c3", 10).lists("v1 Ready, v2 Ready, v3 Ready");
        world.unused().pruned().lists("v2 Ready, v3 Ready");
    }

    #[test]
    fn a_version_that_is_named_again_before_the_job_is_ready_again() {
        let mut world = World::with_ready(2);
        world.change(3).rest().done("build", &build_report("c3", 10)).rest();
        world.done("verify", &verify_report("c3", 10)).pass();
        world.lists("v1 Retiring, v2 Ready, v3 Ready");
        world.used("shop", "spec.version", "v1").rest().lists("v1 Ready, v2 Ready, v3 Ready");
        assert_eq!(world.jobs("prune"), 0);
        assert_eq!(world.status().versions[0].reason, None);
    }

    #[test]
    fn a_version_that_a_job_was_told_to_delete_does_not_come_back() {
        let mut world = World::with_ready(3);
        assert!(world.running("prune").is_some());
        world.used("shop", "spec.version", "v1").rest().lists("v1 Retiring, v2 Ready, v3 Ready");
    }

    #[test]
    fn nor_is_it_deleted_further_when_that_job_failed() {
        let mut world = World::with_ready(3);
        let job = world.running("prune").unwrap();
        world.failed("prune", "VectorStoreUnavailable", "input/output error").rest();
        world.used("shop", "spec.version", "v1").rest();
        world.vanish(&job);
        world.rest().lists("v1 Retiring, v2 Ready, v3 Ready");
        world.change(4).becomes_ready("c4", 10).lists("v1 Retiring, v2 Retiring, v3 Ready, v4 Ready");
        assert!(world.seen.jobs.iter().filter_map(render::task_of).all(|task| match task {
            Task::Prune(task) => task.physical == ["handbook-0a1b2c3d-v2"],
            _ => true,
        }));
    }

    #[test]
    fn a_failed_version_that_a_release_pins_is_left_alone() {
        let mut world = World::with_ready(1);
        world.change(2).rest().used("shop", "spec.version", "v2");
        world.failed("build", "ShrinkGuard", "shrank").rest().lists("v1 Ready, v2 Failed");
        assert_eq!(world.jobs("prune"), 0);
        world.unused().rest();
        assert_eq!(world.jobs("prune"), 1);
    }

    #[test]
    fn nothing_goes_while_a_release_cannot_be_decoded() {
        let mut world = World::with_ready(2);
        world.seen.unreadable = vec!["odd".to_owned()];
        world.change(3).becomes_ready("c3", 10).lists("v1 Ready, v2 Ready, v3 Ready");
        world.seen.unreadable.clear();
        world.pruned().lists("v2 Ready, v3 Ready");
    }

    #[test]
    fn one_prune_at_a_time() {
        let mut world = World::with_ready(3);
        let first = world.running("prune").unwrap();
        world.change(4).becomes_ready("c4", 10).lists("v1 Retiring, v2 Retiring, v3 Ready, v4 Ready");
        assert_eq!((world.jobs("prune"), world.running("prune")), (1, Some(first)));
        world.pruned().lists("v3 Ready, v4 Ready");
    }

    #[test]
    fn several_go_in_one_job() {
        let mut world = handbook();
        world.spec(|s| s.retention.versions = 10);
        for n in 1..=5 {
            world.change(n).becomes_ready(&format!("c{n}"), 10);
        }
        world.spec(|s| s.retention.versions = 1).rest();
        let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
        assert_eq!((task.physical.len(), world.jobs("prune")), (4, 1));
        world.pruned().lists("v5 Ready");
    }

    #[test]
    fn claims_are_pruned_one_after_the_other() {
        let mut world = World::with_ready(2);
        world.spec(|s| {
            s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned();
            s.retention.versions = 1;
        });
        world.becomes_ready("c3", 10);
        world.change(4).becomes_ready("c4", 10);
        world.pruned().lists("v4 Ready");
        let claims: BTreeSet<String> = world
            .seen
            .jobs
            .iter()
            .filter(|j| render::purpose_of(j) == "prune")
            .map(|j| serde_json::to_value(j).unwrap())
            .map(|j| j["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"].to_string())
            .collect();
        assert_eq!(claims.len(), 2);
    }

    #[test]
    fn a_claim_that_is_gone_needs_no_job() {
        let mut world = World::with_ready(2);
        world.spec(|s| s.store.embedded.as_mut().unwrap().claim_name = "other".to_owned());
        world.seen.gone_claims.insert("indexes".to_owned());
        world.becomes_ready("c3", 10).lists("v2 Ready, v3 Ready");
        assert_eq!(world.jobs("prune"), 0);
    }

    #[test]
    fn a_prune_that_fails_is_told_and_tried_again() {
        let mut world = World::with_ready(3);
        let job = world.running("prune").unwrap();
        world.failed("prune", "VectorStoreUnavailable", "input/output error").rest();
        world.says("True", Reason::Succeeded, "cannot be deleted yet").lists("v1 Retiring, v2 Ready, v3 Ready");
        let ttl = world.job_named(&job).spec.as_ref().unwrap().ttl_seconds_after_finished;
        assert_eq!(ttl, Some(600));
        world.vanish(&job);
        world.rest();
        assert_eq!(world.running("prune"), Some(job));
        world.pruned().lists("v2 Ready, v3 Ready");
    }

    #[test]
    fn a_directory_of_another_owner_is_left_and_told_once() {
        let mut world = World::with_ready(3);
        world.done("prune", &json!({"kind": "prune", "deleted": 0, "missing": 0, "foreign": ["handbook-0a1b2c3d-v1"]}));
        world.rest().lists("v2 Ready, v3 Ready");
        let warnings: Vec<_> = world.notes.iter().filter(|n| n.warning && n.reason == "NotOwned").collect();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].text.contains("handbook-0a1b2c3d-v1 on claim indexes"));
    }

    #[test]
    fn a_prune_job_of_somebody_else_is_told() {
        let mut world = World::with_ready(3);
        let name = world.running("prune").unwrap();
        world.vanish(&name);
        world.seen.foreign.insert(name.clone());
        world.rest().says("False", Reason::NotOwned, &name).stalled();
    }

    #[test]
    fn failed_versions_lose_their_directories_and_keep_three_reasons() {
        let mut world = World::with_ready(1);
        for n in 2..=6 {
            world.change(n).rest().failed("build", "ShrinkGuard", &format!("shrank {n}"));
            world.pruned();
        }
        world.lists("v1 Ready, v4 Failed, v5 Failed, v6 Failed").says("False", Reason::ShrinkGuard, "shrank 6");
        assert!(world.status().versions[1..].iter().all(|v| v.size_bytes == Some(0)));
        assert_eq!(world.jobs("prune"), 5);
    }

    #[test]
    fn a_failed_version_is_pruned_only_when_its_pod_has_ended() {
        let mut world = World::with_ready(1);
        world.change(2).rest();
        let old = world.running("build").unwrap();
        let pod = world.pod_of(&old).clone();
        world.change(3).pass();
        world.seen.pods.push(pod);
        world.rest().lists("v1 Ready, v2 Failed, v3 Building");
        assert_eq!(world.jobs("prune"), 0);
        world.vanish(&old);
        world.rest();
        let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
        assert_eq!(task.physical, ["handbook-0a1b2c3d-v2"]);
    }

    #[test]
    fn status_never_lists_more_than_fifty() {
        let mut world = handbook();
        world.spec(|s| s.retention.versions = 50);
        for n in 1..=60 {
            world.change(n).becomes_ready(&format!("c{n}"), 10);
            assert!(world.status().versions.len() <= 50);
            world.pruned();
            world.seen.jobs.clear();
            world.seen.pods.clear();
        }
        assert_eq!(world.status().versions.len(), 44);
    }

    #[test]
    fn fifty_versions_in_use_hold_the_next_build() {
        let mut world = handbook();
        world.spec(|s| s.retention.versions = 50);
        for n in 1..=50 {
            world.used("shop", "spec.version", &format!("v{n}"));
        }
        world.index.status = Some(VectorIndexStatus::default());
        for n in 1..=50 {
            let version = json!({"name": format!("v{n}"), "state": "Ready", "cause": "Spec", "claim": "indexes",
                "physical": format!("p{n}"), "fingerprint": "f", "model": "m", "createdAt": "2026-01-01T00:00:00Z"});
            let status = world.index.status.as_mut().unwrap();
            status.versions.push(serde_json::from_value(version).unwrap());
            status.last_number = n;
        }
        world.rest().says("False", Reason::InUse, "50 versions are listed").reconciling();
        assert_eq!(world.status().versions.len(), 50);
    }
}

mod leaving {
    use super::*;

    fn gone(world: &World) -> bool {
        world.index.metadata.finalizers.is_none()
    }

    #[test]
    fn an_index_without_versions_has_no_finalizer() {
        let mut world = handbook();
        world.seen.model = Referred::Absent;
        world.rest();
        assert!(gone(&world));
        let before = world.index.status.clone();
        let plan = world.deleted().pass();
        assert!(plan.actions.is_empty());
        assert_eq!(world.index.status, before);
    }

    #[test]
    fn in_use_waits_with_the_releases_name() {
        let mut world = World::with_ready(1);
        world.used("handbook", "stable", "v1").deleted().rest();
        world.says(
            "True",
            Reason::InUse,
            "Index handbook is used by release handbook (stable); delete or repoint it first; serving goes on.",
        );
        world.reconciling().lists("v1 Ready");
        assert!(!gone(&world));
        assert_eq!(plan(&world.index, &world.seen).requeue, Some(WAIT));
        for _ in 0..10 {
            world.later(3_600).rest();
        }
        assert_eq!(world.jobs("prune"), 0);
    }

    #[test]
    fn a_release_that_cannot_be_decoded_holds_it_too() {
        let mut world = World::with_ready(1);
        world.seen.unreadable = vec!["odd".to_owned()];
        world.deleted().rest().says("True", Reason::InUse, "release odd, which cannot be decoded").reconciling();
    }

    #[test]
    fn the_last_user_leaves_and_a_job_deletes_all_versions() {
        let mut world = World::with_ready(2);
        world.used("shop", "stable", "v1").deleted().rest();
        world.unused().later(7_200);
        let plan = world.pass();
        world.lists("v1 Retiring, v2 Retiring").says("Unknown", Reason::Deleting, "handbook-0a1b2c3d-v1").reconciling();
        assert!(plan.actions.is_empty(), "Retiring is persisted first");
        assert_eq!(plan.requeue, Some(SOON));
        world.rest();
        let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
        assert_eq!(task.physical, ["handbook-0a1b2c3d-v1", "handbook-0a1b2c3d-v2"]);
        assert!(!gone(&world));
        world.done("prune", &json!({"kind": "prune", "deleted": 2, "missing": 0, "foreign": []})).pass();
        assert!(gone(&world));
        world.lists("");
        assert!(world.notes.iter().all(|n| !n.warning));
        assert!(world.pass().actions.is_empty());
    }

    #[test]
    fn a_release_that_names_it_again_before_the_job_takes_it_back() {
        let mut world = World::with_ready(1);
        world.deleted().pass();
        world.lists("v1 Retiring");
        world.used("shop", "stable", "v1").rest().lists("v1 Ready").says("True", Reason::InUse, "shop (stable)");
        assert_eq!(world.jobs("prune"), 0);
    }

    #[test]
    fn orphans_stay_at_once_and_are_named() {
        let mut world = World::with_ready(1);
        world.spec(|s| s.deletion_policy = crate::api::index::DeletionPolicy::Orphan).deleted();
        world.pass();
        assert!(gone(&world));
        assert_eq!(world.jobs("prune"), 0);
        assert!(world.notes.iter().any(|n| !n.warning && n.text.contains("handbook-0a1b2c3d-v1 on claim indexes")));
    }

    #[test]
    fn orphans_in_use_wait_too() {
        let mut world = World::with_ready(1);
        world.spec(|s| s.deletion_policy = crate::api::index::DeletionPolicy::Orphan);
        world.used("shop", "previous", "v1").deleted().rest().says("True", Reason::InUse, "shop (previous)");
        assert!(!gone(&world));
    }

    #[test]
    fn a_build_under_way_ends_first() {
        let mut world = World::with_ready(1);
        world.change(2).rest().deleted();
        let job = world.running("build").unwrap();
        let pod = world.pod_of(&job).clone();
        world.pass();
        world.seen.pods.push(pod);
        world.rest().lists("v1 Retiring, v2 Failed");
        assert!(world.running("build").is_none());
        let Task::Prune(task) = world.task("prune") else { panic!("a prune") };
        assert_eq!(task.physical, ["handbook-0a1b2c3d-v1"]);
        world.vanish(&job);
        world.rest().done("prune", &json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []})).rest();
        assert!(!gone(&world));
        world.done("prune", &json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []})).pass();
        assert!(gone(&world));
    }

    #[test]
    fn a_namespace_that_takes_no_jobs_holds_it_two_minutes() {
        let mut world = World::with_ready(1);
        world.refuses = true;
        world.deleted().pass();
        for _ in 0..11 {
            world.later(10).pass();
            assert!(!gone(&world));
        }
        world.later(10).pass();
        assert!(gone(&world));
        let warning = world.notes.iter().find(|n| n.warning).unwrap();
        assert!(warning.text.contains("handbook-0a1b2c3d-v1 on claim indexes"), "{}", warning.text);
    }

    #[test]
    fn the_two_minutes_count_from_the_last_user_not_from_the_deletion() {
        let mut world = World::with_ready(1);
        world.used("shop", "stable", "v1").deleted().rest();
        world.later(86_400).unused().pass();
        world.later(10).rest();
        assert!(!gone(&world) && world.running("prune").is_some());
    }

    #[test]
    fn a_prune_that_hangs_or_fails_holds_it_two_minutes() {
        for fails in [false, true] {
            let mut world = World::with_ready(1);
            world.deleted().rest();
            if fails {
                world.failed("prune", "VectorStoreUnavailable", "input/output error").rest();
                world.says("Unknown", Reason::Deleting, "input/output error").reconciling();
            }
            world.later(119).pass();
            assert!(!gone(&world));
            world.later(1).pass();
            assert!(gone(&world));
            assert_eq!(world.notes.iter().filter(|n| n.warning && n.reason == "Deleting").count(), 1);
        }
    }

    #[test]
    fn a_claim_that_is_gone_holds_nothing() {
        let mut world = World::with_ready(1);
        world.seen.gone_claims.insert("indexes".to_owned());
        world.deleted().pass();
        assert!(gone(&world));
        assert!(world.notes.iter().all(|n| !n.warning));
    }

    #[test]
    fn failed_versions_without_directories_hold_nothing() {
        let mut world = handbook();
        world.rest().failed("build", "ChecksFailed", "no documents");
        world.pruned().lists("v1 Failed");
        world.deleted().pass();
        assert!(gone(&world));
    }

    #[test]
    fn a_spec_that_breaks_a_rule_can_still_be_deleted() {
        let mut world = World::with_ready(1);
        world.spec(|s| s.store.embedded = None).rest().stalled();
        world.deleted().rest();
        world.done("prune", &json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []})).pass();
        assert!(gone(&world));
    }
}

#[test]
fn releases_name_versions_in_four_ways() {
    let revision = |version: &str| json!({"revision": "r", "version": version, "weight": 0, "image": "i", "since": ""});
    let release = json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease", "metadata": {"name": "shop"},
        "spec": {"indexRef": {"name": "handbook"}, "version": "v4",
            "traffic": {"gateway": {"parentRefs": [{"name": "public"}]}}},
        "status": {
            "stable": revision("handbook/v1"),
            "candidate": {"revision": "r", "version": "handbook/v2", "weight": 0, "image": "i", "since": "",
                "stage": "Preparing", "step": 0, "stepText": "", "progressedAt": ""},
            "previous": {"revision": "r", "version": "other/v3", "image": "i", "retainedUntil": ""}
        }
    });
    let release: RagRelease = serde_json::from_value(release).unwrap();
    let uses: Vec<(&str, String)> = uses_of(&release, "handbook").into_iter().map(|u| (u.role, u.version)).collect();
    let expected = [("stable", "v1"), ("candidate", "v2"), ("spec.version", "v4")];
    assert_eq!(uses, expected.map(|(role, version)| (role, version.to_owned())));
    assert_eq!(uses_of(&release, "other").len(), 1);
    assert!(uses_of(&release, "hand").is_empty());
}

#[test]
fn a_build_of_a_version_that_nobody_lists_begins_anew() {
    let mut world = handbook();
    world.rest();
    world.index.status.as_mut().unwrap().versions.clear();
    world.rest().lists("v2 Building");
    assert_eq!(world.seen.jobs.len(), 1);
}

mod any_order {
    use proptest::prelude::*;

    use super::*;

    /// Something happens to the world; what does not apply happens not.
    fn happens(world: &mut World, what: u8, n: i32) {
        let ready = json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []});
        let content = format!("c{}", n % 4);
        let runs = |world: &World, purpose: &str| world.running(purpose).is_some();
        match what {
            0 => _ = world.change(n),
            1 => _ = world.rebuild(&format!("t{n}")),
            2 if runs(world, "build") => _ = world.done("build", &build_report(&content, 10)),
            3 if runs(world, "build") => _ = world.failed("build", "ShrinkGuard", "shrank"),
            4 if runs(world, "verify") => {
                let Task::Verify(task) = world.task("verify") else { panic!("a verification") };
                world.done("verify", &verify_report(&task.content_digest, 10));
            }
            5 if runs(world, "verify") => _ = world.failed("verify", "SelfRetrievalLow", "low"),
            6 if runs(world, "prune") => _ = world.done("prune", &ready),
            7 if runs(world, "prune") => _ = world.failed("prune", "VectorStoreUnavailable", "input/output error"),
            8 => {
                let names: Vec<String> = world
                    .index
                    .status
                    .iter()
                    .flat_map(|s| &s.versions)
                    .filter(|v| v.state == VersionState::Ready)
                    .map(|v| v.name.clone())
                    .collect();
                if let Some(name) = names.get(usize::try_from(n).unwrap() % names.len().max(1)) {
                    world.used("shop", "stable", name);
                }
            }
            9 => _ = world.unused(),
            10 => world.seen.missing = vec!["ConfigMap `pages`".to_owned()],
            11 => world.seen.missing.clear(),
            12 => world.seen.model = ready_model(if n % 2 == 0 { "aaaaaaaaaaaa" } else { "bbbbbbbbbbbb" }),
            13 => world.seen.model = Referred::Absent,
            14 => world.seen.unreadable = vec!["odd".to_owned()],
            15 => world.seen.unreadable.clear(),
            16 => _ = world.spec(|s| s.retention.versions = 1 + n % 4),
            17 => _ = world.later(i64::from(n)),
            // Finished Jobs reach the end of their time, or somebody deletes one that runs.
            18 => {
                let expired = |j: &&Job| j.spec.as_ref().is_some_and(|s| s.ttl_seconds_after_finished.is_some());
                let names: Vec<String> =
                    world.seen.jobs.iter().filter(expired).filter_map(|j| j.metadata.name.clone()).collect();
                names.iter().for_each(|name| world.vanish(name));
            }
            19 => {
                let running = world.running("build").or(world.running("verify")).or(world.running("prune"));
                running.iter().for_each(|name| world.vanish(name));
            }
            _ => {}
        }
    }

    fn holds(world: &World) {
        let status = world.status();
        let numbers: Vec<i64> = status.versions.iter().map(|v| v.name[1..].parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.iter().all(|n| *n <= status.last_number));
        assert!(status.versions.len() <= 50 && status.commands.len() <= 20);
        assert_eq!(status.latest_version, newest_ready(status).map(|v| v.name.clone()));
        assert!(world.condition(ConditionType::Ready).is_some());
        let stalled = world.condition(ConditionType::Stalled).is_some();
        assert!(!(stalled && world.condition(ConditionType::Reconciling).is_some()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        /// The checks of `may_be_made` hold at every Job, whatever happens, with passes between or not.
        #[test]
        fn what_is_used_is_never_deleted(steps in prop::collection::vec((0u8..20, 0i32..200, any::<bool>()), 1..60)) {
            let mut world = handbook();
            for (what, n, rests) in steps {
                happens(&mut world, what, n);
                if rests {
                    world.rest();
                } else {
                    world.pass();
                }
                holds(&world);
            }
            // What users left alone comes to an end: deleted, with everything that it stored.
            world.unused().seen.unreadable.clear();
            world.deleted().rest();
            for _ in 0..60 {
                if world.running("prune").is_none() {
                    break;
                }
                world.done("prune", &json!({"kind": "prune", "deleted": 1, "missing": 0, "foreign": []})).pass();
            }
            world.later(300).pass();
            prop_assert!(world.index.metadata.finalizers.is_none(), "{}", world.versions());
        }
    }
}
