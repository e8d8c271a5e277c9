//! A small world: what a plan writes is there in the next pass, what time and other people do is said by the test.

mod leaving;
mod managed_server;
mod refused;
mod remote;
mod remote_changes;
mod server_changes;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::super::observe::Server;
use super::super::{encoder, mounts};
use super::*;
use crate::api::ConditionType;
use crate::controller::attempt::Attempt;
use crate::controller::condition::{find, is_true};
use crate::controller::config::Config;
use crate::controller::pod::Mounts;

struct World {
    now: i64,
    model: EmbeddingModel,
    /// Deployments and Services by kind and name.
    objects: BTreeMap<(&'static str, String), Value>,
    jobs: BTreeMap<String, Value>,
    /// Pods of probes by Job.
    pods: BTreeMap<String, Value>,
    server_pods: Vec<Value>,
    claims: BTreeMap<String, bool>,
    config_maps: BTreeSet<String>,
    users: Vec<String>,
    callers: Vec<String>,
    made: u32,
    last: Plan<EmbeddingModelStatus>,
}

fn world(endpoint: Value) -> World {
    let model: EmbeddingModel = serde_json::from_value(json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "EmbeddingModel",
        "metadata": {"name": "words", "namespace": "team", "uid": "model-uid", "generation": 1},
        "spec": {"model": "wordllama", "dimensions": 256, "endpoint": endpoint}
    }))
    .unwrap();
    World {
        now: 1_000_000,
        last: Plan::of(EmbeddingModelStatus::default()),
        model,
        objects: BTreeMap::new(),
        jobs: BTreeMap::new(),
        pods: BTreeMap::new(),
        server_pods: Vec::new(),
        claims: BTreeMap::from([("models".to_owned(), false)]),
        config_maps: BTreeSet::new(),
        users: Vec::new(),
        callers: Vec::new(),
        made: 0,
    }
}

fn remote(host: &str) -> Value {
    json!({"openAI": {"url": format!("https://{host}/v1")}})
}

fn local(path: &str) -> Value {
    json!({"managed": {"format": "Static", "model": {"claimName": "models", "path": path}}})
}

fn report(dimensions: i64, noise: f64, sketch: &str, cosine: Option<f64>) -> Value {
    json!({"kind": "probe", "dimensions": dimensions, "selfNoise": noise, "normMin": 1.0, "normMax": 1.0,
        "sketch": sketch, "cosineMean": cosine})
}

fn good() -> Value {
    report(256, 1.0, "first", None)
}

fn same() -> Value {
    report(256, 1.0, "again", Some(0.9999))
}

fn drifted() -> Value {
    report(256, 1.0, "other", Some(0.91))
}

impl World {
    fn observed(&self) -> Observed {
        let name = self.model.name_any();
        let probe = render::probe_name(&self.model);
        let server = |name: &str| Server {
            deployment: self.objects.get(&("Deployment", name.to_owned())).map(typed::<Deployment>),
            service: self.objects.get(&("Service", name.to_owned())).map(typed::<Service>),
            pods: self.server_pods.iter().map(typed).collect(),
        };
        Observed {
            now: Timestamp::from_second(self.now).unwrap(),
            config: Config::plain(),
            refusal: None,
            main: server(&name),
            trial: server(&render::trial_name(&self.model)),
            claims: self.claims.clone(),
            config_maps: self.config_maps.clone(),
            probe: Attempt {
                job: self.jobs.get(&probe).map(typed),
                pods: self.pods.get(&probe).map(typed).into_iter().collect(),
                seen_at: Timestamp::from_second(self.now).unwrap(),
            },
            others: self.jobs.iter().filter(|(name, _)| **name != probe).map(|(_, job)| typed(job)).collect(),
            users: self.users.clone(),
            callers: self.callers.clone(),
        }
    }

    /// One pass; what it writes is there afterwards.
    fn pass(&mut self) -> Plan<EmbeddingModelStatus> {
        let plan = plan(&self.model, &self.observed());
        self.hold(&plan.status);
        self.model.status = Some(plan.status.clone());
        for action in plan.actions.clone() {
            self.write(action);
        }
        self.last = plan.clone();
        plan
    }

    fn write(&mut self, action: Action) {
        self.made += 1;
        let uid = format!("uid-{}", self.made);
        match action {
            Action::Create { kind: ChildKind::Job, name, mut body } => {
                body["metadata"]["uid"] = uid.into();
                assert!(self.jobs.insert(name, body).is_none(), "a Job is made once");
            }
            Action::Create { kind: kind @ (ChildKind::Deployment | ChildKind::Service), name, body }
            | Action::Apply { kind, name, body, .. } => {
                assert!(body["apiVersion"].is_string() && body["kind"].is_string());
                let old = self.objects.get(&(kind.word(), name.clone())).cloned().unwrap_or_default();
                let mut new = body;
                let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
                new["metadata"]["generation"] = generation.into();
                new["metadata"]["uid"] = uid.into();
                new["status"] = old["status"].clone();
                self.objects.insert((kind.word(), name), new);
            }
            Action::Delete { kind: ChildKind::Job, name, uid, .. } => {
                let job = self.jobs.remove(&name).unwrap();
                assert_eq!(job["metadata"]["uid"], json!(uid));
                self.pods.remove(&name);
            }
            Action::Delete { kind, name, uid, .. } => {
                let gone = self.objects.remove(&(kind.word(), name)).unwrap();
                assert_eq!(gone["metadata"]["uid"], json!(uid));
            }
            Action::ExpireJob { name, seconds } => {
                self.jobs.get_mut(&name).unwrap()["spec"]["ttlSecondsAfterFinished"] = seconds.into();
            }
            Action::Finalizer { present } => {
                self.model.metadata.finalizers = present.then(|| vec![names::FINALIZER.to_owned()]);
            }
            Action::Create { .. } | Action::Replace { .. } => panic!("a model makes nothing else"),
        }
    }

    /// What must be true of every status.
    fn hold(&self, status: &EmbeddingModelStatus) {
        if self.model.metadata.deletion_timestamp.is_some() && self.users.is_empty() {
            return;
        }
        let ready = find(&status.conditions, ConditionType::Ready).unwrap();
        let (moving, stalled) = (
            is_true(&status.conditions, ConditionType::Reconciling),
            is_true(&status.conditions, ConditionType::Stalled),
        );
        assert!(!(moving && stalled));
        assert!(ready.status == "True" || moving || stalled, "{ready:?}");
        assert!(ready.message.len() < 1_000 && ready.message.ends_with('.'), "{}", ready.message);
        for bad in ["error:", "Some(", "None", "  ", ".. "] {
            assert!(!ready.message.contains(bad), "`{bad}` in {}", ready.message);
        }
        assert_eq!(status.url.is_some(), status.endpoint.is_some());
    }

    /// Passes until nothing is left to do; a world that stays the same must stay as it is.
    fn settle(&mut self) -> &mut Self {
        for _ in 0..6 {
            let before = self.model.status.clone();
            let plan = self.pass();
            if plan.actions.is_empty() && before == self.model.status {
                return self;
            }
        }
        panic!("never settles: {:?}", self.last);
    }

    /// The spec as somebody applies it.
    fn apply(&mut self, endpoint: Value) -> &mut Self {
        self.model.spec.endpoint = serde_json::from_value(endpoint).unwrap();
        *self.model.metadata.generation.as_mut().unwrap() += 1;
        self.settle()
    }

    fn status(&self) -> &EmbeddingModelStatus {
        self.model.status.as_ref().unwrap()
    }

    fn url(&self) -> Option<&str> {
        self.status().url.as_deref()
    }

    /// Reason of Ready, and whether it is True, and a word of the message.
    #[track_caller]
    fn says(&mut self, ready: &str, reason: Reason, word: &str) -> &mut Self {
        let found = find(&self.status().conditions, ConditionType::Ready).unwrap();
        assert_eq!((found.status.as_str(), found.reason.as_str()), (ready, reason.as_str()), "{}", found.message);
        assert!(found.message.contains(word), "`{word}` not in: {}", found.message);
        self
    }

    #[track_caller]
    fn stalls(&mut self, reason: Reason, word: &str) -> &mut Self {
        assert!(is_true(&self.status().conditions, ConditionType::Stalled));
        self.says("False", reason, word)
    }

    #[track_caller]
    fn waits(&mut self, reason: Reason, word: &str) -> &mut Self {
        assert!(is_true(&self.status().conditions, ConditionType::Reconciling));
        self.says("False", reason, word)
    }

    #[track_caller]
    fn serves(&mut self, url: &str) -> &mut Self {
        assert_eq!(self.url(), Some(url));
        assert_eq!(encoder(&self.model).unwrap().url, url);
        self.says("True", Reason::Succeeded, url)
    }

    #[track_caller]
    fn still_uses(&mut self, url: &str) -> &mut Self {
        assert_eq!(self.url(), Some(url));
        self
    }

    fn running(&self) -> usize {
        self.jobs.values().filter(|job| job["status"].is_null()).count()
    }

    /// The Job that runs ends.
    fn end(&mut self, condition: &str, exit: i32, receipt: &Value) -> &mut Self {
        let (name, job) = self.jobs.iter_mut().find(|(_, job)| job["status"].is_null()).unwrap();
        self.now += 5;
        let at = Timestamp::from_second(self.now).unwrap().to_string();
        job["status"] =
            json!({"conditions": [{"type": condition, "status": "True", "message": "", "lastTransitionTime": at}]});
        let mut line = receipt.clone();
        line["v"] = 1.into();
        line["run"] = name.clone().into();
        let message = if receipt.is_null() { String::new() } else { line.to_string() };
        let pod = json!({
            "metadata": {"name": "p", "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}]},
            "status": {"containerStatuses": [{"name": "rag", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": exit, "message": message}}}]}
        });
        self.pods.insert(name.clone(), pod);
        self
    }

    fn measured(&mut self, receipt: Value) -> &mut Self {
        self.end("Complete", 0, &receipt).settle()
    }

    fn fails(&mut self, exit: i32, reason: &str, text: &str) -> &mut Self {
        self.end("Failed", exit, &json!({"kind": "error", "reason": reason, "error": text})).settle()
    }

    /// Ended Jobs go when their time is over.
    fn jobs_expire(&mut self) -> &mut Self {
        for (name, job) in &self.jobs {
            assert!(
                job["status"].is_null() || job["spec"]["ttlSecondsAfterFinished"].is_i64(),
                "{name} stays for ever"
            );
        }
        self.jobs.retain(|_, job| job["status"].is_null());
        self.settle()
    }

    fn later(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self.settle()
    }

    /// All Deployments get as far as they are declared.
    fn pods_start(&mut self) -> &mut Self {
        self.server_pods.clear();
        for ((kind, _), object) in &mut self.objects {
            if *kind == "Deployment" {
                let (replicas, generation) =
                    (object["spec"]["replicas"].clone(), object["metadata"]["generation"].clone());
                object["status"] = json!({"observedGeneration": generation, "replicas": replicas,
                    "updatedReplicas": replicas, "availableReplicas": replicas});
            }
        }
        self.settle()
    }

    fn pods_fall(&mut self, available: i32) -> &mut Self {
        for object in self.objects.values_mut().filter(|o| o["kind"] == "Deployment") {
            object["status"]["availableReplicas"] = available.into();
        }
        self.settle()
    }

    fn server_pod(&mut self, status: Value) -> &mut Self {
        self.server_pods = vec![json!({"metadata": {"name": "words-x"}, "status": status})];
        self.settle()
    }

    fn probe_pod(&mut self, status: Value) -> &mut Self {
        let name = self.jobs.iter().find(|(_, job)| job["status"].is_null()).unwrap().0.clone();
        let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": self.jobs[&name]["metadata"]["uid"]}]);
        self.pods.insert(name, json!({"metadata": {"name": "p", "ownerReferences": owner}, "status": status}));
        self.settle()
    }

    fn delete(&mut self) -> &mut Self {
        let at = json!("2026-01-01T00:00:00Z");
        self.model.metadata.deletion_timestamp = Some(serde_json::from_value(at).unwrap());
        self.settle()
    }

    fn deployment(&self, name: &str) -> Option<&Value> {
        self.objects.get(&("Deployment", name.to_owned()))
    }

    fn directory(&self, name: &str) -> Option<&str> {
        self.deployment(name)?["spec"]["template"]["spec"]["containers"][0]["args"][2].as_str()
    }

    fn drifted(&self) -> Option<(&str, &str)> {
        let found = find(&self.status().conditions, ConditionType::Drifted)?;
        Some((&found.status, &found.reason))
    }

    /// A Job's input as its pod gets it.
    fn probe_input(&self) -> Value {
        let job = self.jobs.values().find(|job| job["status"].is_null()).unwrap();
        let text = job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"].as_str().unwrap();
        serde_json::from_str(text).unwrap()
    }
}

fn typed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn container(state: Value) -> Value {
    json!({"startTime": "1970-01-12T13:46:40Z", "containerStatuses": [{"name": "rag", "image": "rag:1", "imageID": "",
        "ready": false, "restartCount": 3, "state": state}]})
}

fn waiting(reason: &str, message: &str) -> Value {
    container(json!({"waiting": {"reason": reason, "message": message}}))
}

/// A remote encoder that passed.
fn accepted() -> World {
    let mut w = world(remote("a"));
    w.settle().measured(good()).jobs_expire();
    w
}

/// A managed encoder that passed.
fn managed() -> World {
    let mut w = world(local("one"));
    w.settle().pods_start().measured(good()).jobs_expire();
    w
}

const OWN: &str = "http://words.team.svc:8080/v1";
