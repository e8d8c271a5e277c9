//! A small world: what a plan writes is there in the next pass, what time and other people do is said by the test.

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
use crate::controller::config::{Config, PullPolicy, Scope};
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
            config: Config {
                image: "rag:1".to_owned(),
                image_pull_policy: PullPolicy::Never,
                scope: Scope::Cluster,
                resources: None,
            },
            main: server(&name),
            trial: server(&render::trial_name(&self.model)),
            claims: self.claims.clone(),
            config_maps: self.config_maps.clone(),
            probe: Attempt {
                job: self.jobs.get(&probe).map(typed),
                pods: self.pods.get(&probe).map(typed).into_iter().collect(),
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
            Action::Apply { kind, name, body, .. } => {
                assert!(body["apiVersion"].is_string() && body["kind"].is_string());
                let old = self.objects.get(&(kind.word(), name.clone())).cloned().unwrap_or_default();
                let mut new = body;
                let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
                new["metadata"]["generation"] = generation.into();
                new["metadata"]["uid"] = uid.into();
                new["status"] = old["status"].clone();
                self.objects.insert((kind.word(), name), new);
            }
            Action::Delete { kind: ChildKind::Job, name, uid } => {
                let job = self.jobs.remove(&name).unwrap();
                assert_eq!(job["metadata"]["uid"], json!(uid));
                self.pods.remove(&name);
            }
            Action::Delete { kind, name, uid } => {
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

// A remote endpoint.

#[test]
fn a_new_endpoint_is_measured_before_anybody_is_told() {
    let mut w = world(remote("a"));
    w.settle().waits(Reason::Probing, "No pod uses this encoder yet");
    assert_eq!((w.running(), w.url(), encoder(&w.model)), (1, None, None));
    assert_eq!(w.status().fingerprint, Some(Identity::of(&w.model.spec).fingerprint()));
    assert_eq!(w.drifted(), None);
    w.measured(good()).serves("https://a/v1");
    assert_eq!(w.drifted(), Some(("False", "FingerprintSame")));
    let status = w.status();
    assert_eq!((status.dimensions, status.self_noise, status.cosine_mean), (Some(256), Some(1.0), None));
    assert_eq!(status.sketch.as_deref(), Some("first"));
    assert_eq!(status.probed_at.as_deref(), Some("1970-01-12T13:46:45Z"));
    w.jobs_expire().later(100_000).serves("https://a/v1");
    assert_eq!(w.jobs.len(), 0);
    assert_eq!(w.last.requeue, None);
}

#[test]
fn the_probe_asks_as_the_spec_says() {
    let mut w = world(json!({"openAI": {"url": "https://a/v1", "model": "sent", "timeout": "90s", "batchSize": 8,
        "apiKey": {"name": "key", "key": "token"}, "caBundle": {"name": "ca", "key": "ca.crt"}}}));
    w.config_maps.insert("ca".to_owned());
    w.settle();
    let input = w.probe_input();
    assert_eq!(input["task"]["probe"]["encoder"]["model"], "sent");
    assert_eq!(input["task"]["probe"]["encoder"]["apiKey"], true);
    assert_eq!(input["task"]["probe"]["sketch"], Value::Null);
    let job = w.jobs.values().next().unwrap();
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 600 + 4 * 90);
    assert_eq!(job["metadata"]["labels"]["ragops.dev/purpose"], "probe");
    let text = job.to_string();
    assert!(text.contains("\"secretName\":\"key\"") && text.contains("/secrets/encoder-ca"), "{text}");
    w.measured(good());
    let sent = format!("{:?}", mounts(&w.model, Mounts::default()));
    assert!(sent.contains("\"key\"") && sent.contains("\"ca\""));
}

#[test]
fn verdicts_of_a_first_probe() {
    for (receipt, reason, word) in [
        (report(384, 1.0, "s", None), Reason::DimensionMismatch, "384 dimensions"),
        (report(0, 1.0, "s", None), Reason::DimensionMismatch, "declares 256"),
        (report(9_999_999, 1.0, "s", None), Reason::DimensionMismatch, "65536"),
        (report(256, 0.9989, "s", None), Reason::NoisyEndpoint, "0.99890"),
        (report(256, -1.0, "s", None), Reason::NoisyEndpoint, "at least 0.999"),
    ] {
        let mut w = world(remote("a"));
        w.settle().measured(receipt).stalls(reason, word).stalls(reason, "No pod uses this encoder yet");
        assert_eq!((w.url(), w.status().sketch.as_deref(), w.drifted()), (None, None, None));
        w.later(3_599).stalls(reason, word);
        assert_eq!(w.running(), 0);
        // The server behind the address may have been mended: measured again when the Job is gone.
        w.jobs_expire().stalls(reason, word);
        assert_eq!(w.running(), 1);
        w.measured(good()).serves("https://a/v1");
    }
}

#[test]
fn an_endpoint_that_cannot_be_asked_is_tried_again() {
    for (exit, word, reason) in [
        (43, "EndpointUnavailable", Reason::EndpointUnavailable),
        (43, "SourceUnavailable", Reason::SourceUnavailable),
        (1, "Unheard", Reason::JobFailed),
    ] {
        let mut w = world(remote("a"));
        w.settle()
            .fails(exit, word, "cannot reach https://a/v1: connection refused")
            .waits(reason, "connection refused");
        assert_eq!(w.jobs.len(), 1);
        assert_eq!(w.last.requeue, Some(Duration::from_secs(60)));
        w.later(59).waits(reason, "every minute");
        assert_eq!((w.running(), w.last.requeue), (0, Some(Duration::from_secs(1))));
        // The words stay while it is tried again: no event a minute.
        w.later(1).waits(reason, "connection refused");
        assert_eq!(w.running(), 1);
        w.measured(good()).serves("https://a/v1");
    }
}

#[test]
fn a_job_without_a_receipt_is_told_and_tried_again() {
    let mut w = world(remote("a"));
    w.settle().end("Failed", 137, &Value::Null).settle().waits(Reason::JobFailed, "exit code 137");
    w.later(60);
    assert_eq!(w.running(), 1);
    let mut w = world(remote("a"));
    w.settle().end("Complete", 0, &Value::Null).settle().waits(Reason::JobFailed, "left no receipt");
    let mut w = world(remote("a"));
    let foreign = json!({"kind": "check", "digest": "d", "queries": 1, "judgments": 1, "clusters": null, "slices": []});
    w.settle().end("Complete", 0, &foreign).settle().waits(Reason::JobFailed, "another kind");
}

#[test]
fn a_configuration_that_cannot_work_stalls() {
    for (word, reason) in [
        ("DimensionMismatch", Reason::DimensionMismatch),
        ("InvalidSpec", Reason::InvalidSpec),
        ("Unheard", Reason::InvalidSpec),
    ] {
        let mut w = world(remote("a"));
        w.settle()
            .fails(42, word, "384 values where 256 are declared")
            .stalls(reason, "384 values")
            .stalls(reason, "delete Job");
        w.later(3_600).stalls(reason, "384 values");
        assert_eq!(w.running(), 0);
        let job = w.jobs.values().next().unwrap();
        assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 86_400);
        w.jobs_expire();
        assert_eq!(w.running(), 1);
    }
}

#[test]
fn pods_of_a_probe_that_cannot_start_are_told() {
    for (status, reason, word) in [
        (waiting("ErrImagePull", "not found"), Reason::ImagePullFailed, "rag:1"),
        (waiting("ImagePullBackOff", "back-off"), Reason::ImagePullFailed, "cannot be pulled"),
        (waiting("CreateContainerConfigError", "secret missing"), Reason::PodConfigError, "secret missing"),
        (
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
            Reason::PodUnschedulable,
            "0/1 nodes",
        ),
        (waiting("ContainerCreating", ""), Reason::Probing, "measured"),
    ] {
        let mut w = world(remote("a"));
        w.settle().probe_pod(status).waits(reason, word);
        assert_eq!(w.last.requeue, Some(SOON));
        w.measured(good()).serves("https://a/v1");
    }
}

#[test]
fn a_secret_that_is_missing_is_named() {
    let mut w = world(json!({"openAI": {"url": "https://a/v1", "apiKey": {"name": "key", "key": "token"}}}));
    w.settle().probe_pod(waiting("ContainerCreating", "")).waits(Reason::Probing, "");
    w.later(31).waits(Reason::PodConfigError, "Secret `key` with key `token`");
}

#[test]
fn a_certificate_that_is_missing_is_named_and_waited_for() {
    let mut w = world(json!({"openAI": {"url": "https://a/v1", "caBundle": {"name": "ca", "key": "root.pem"}}}));
    w.settle().waits(Reason::RefNotFound, "ConfigMap `ca`").waits(Reason::RefNotFound, "root.pem");
    assert_eq!((w.jobs.len(), w.last.requeue), (0, Some(LATER)));
    w.config_maps.insert("ca".to_owned());
    w.settle().waits(Reason::Probing, "");
}

// A remote endpoint that changes.

#[test]
fn a_changed_address_is_told_only_when_it_is_the_same_encoder() {
    let mut w = accepted();
    w.apply(remote("b")).waits(Reason::Probing, "Pods keep using https://a/v1").still_uses("https://a/v1");
    assert_eq!(w.probe_input()["task"]["probe"]["sketch"], "first");
    assert_eq!(encoder(&w.model).unwrap().url, "https://a/v1");
    w.measured(same()).serves("https://b/v1");
    assert_eq!(w.status().sketch.as_deref(), Some("first"), "likeness is always to the first");
    assert_eq!(w.status().cosine_mean, Some(0.9999));
    w.jobs_expire().serves("https://b/v1");
}

#[test]
fn a_changed_address_with_other_vectors_is_never_told() {
    let mut w = accepted();
    w.apply(remote("b")).measured(drifted());
    w.stalls(Reason::FingerprintChanged, "0.9100").stalls(Reason::FingerprintChanged, "Pods keep using https://a/v1");
    w.still_uses("https://a/v1");
    assert_eq!(w.drifted(), Some(("True", "FingerprintChanged")));
    w.jobs_expire().stalls(Reason::FingerprintChanged, "0.9100").still_uses("https://a/v1");
    w.measured(drifted()).stalls(Reason::FingerprintChanged, "0.9995");
    // Back to the old address: measured again, as declared meanwhile by what is in use.
    w.apply(remote("a")).still_uses("https://a/v1");
    w.measured(same()).serves("https://a/v1");
    assert_eq!(w.drifted(), Some(("False", "FingerprintSame")));
    w.jobs_expire();
}

#[test]
fn bad_verdicts_of_a_changed_address() {
    for (receipt, reason) in [
        (report(255, 1.0, "x", Some(1.0)), Reason::DimensionMismatch),
        (report(256, 0.99, "x", Some(1.0)), Reason::NoisyEndpoint),
        (report(256, 1.0, "x", Some(0.999_49)), Reason::FingerprintChanged),
        (report(256, 1.0, "x", Some(-1.0)), Reason::FingerprintChanged),
    ] {
        let mut w = accepted();
        w.apply(remote("b")).measured(receipt).stalls(reason, "https://b/v1").still_uses("https://a/v1");
        assert_eq!(w.status().sketch.as_deref(), Some("first"));
    }
}

#[test]
fn a_probe_that_did_not_compare_is_no_result() {
    let mut w = accepted();
    w.apply(remote("b")).measured(report(256, 1.0, "x", None)).waits(Reason::JobFailed, "did not compare");
    w.still_uses("https://a/v1").later(60);
    assert_eq!(w.running(), 1);
}

#[test]
fn a_second_change_ends_the_first_probe() {
    let mut w = accepted();
    w.apply(remote("b")).apply(remote("c"));
    assert_eq!((w.running(), w.jobs.len()), (1, 1));
    w.measured(same()).serves("https://c/v1");
}

#[test]
fn a_change_while_an_outage_lasts_is_a_new_matter() {
    let mut w = world(remote("a"));
    w.settle().fails(43, "EndpointUnavailable", "no answer from a").waits(Reason::EndpointUnavailable, "from a");
    w.apply(remote("b")).waits(Reason::Probing, "measured");
    w.jobs_expire();
}

#[test]
fn what_decides_no_vectors_is_in_force_without_a_probe() {
    let mut w = accepted();
    w.apply(json!({"openAI": {"url": "https://a/v1", "batchSize": 7, "maxConcurrency": 2, "timeout": "9s"}}));
    w.serves("https://a/v1");
    let told = encoder(&w.model).unwrap();
    assert_eq!((told.batch_size, told.max_concurrency, told.timeout.as_str()), (7, 2, "9s"));
    assert_eq!(w.jobs.len(), 0);
}

#[test]
fn what_may_decide_vectors_is_measured() {
    for endpoint in [
        json!({"openAI": {"url": "https://a/v1", "model": "other"}}),
        json!({"openAI": {"url": "https://a/v1", "apiKey": {"name": "s", "key": "k"}}}),
        json!({"openAI": {"url": "http://a/v1"}}),
        local("one"),
    ] {
        let mut w = accepted();
        w.apply(endpoint).pods_start().waits(Reason::Probing, "").still_uses("https://a/v1");
        assert_eq!(w.running(), 1);
    }
}

#[test]
fn a_lost_status_is_measured_anew() {
    let mut w = accepted();
    w.model.status = None;
    w.settle().waits(Reason::Probing, "No pod");
    w.measured(good()).serves("https://a/v1");
}

#[test]
fn a_job_of_somebody_else_is_not_touched() {
    let mut w = world(remote("a"));
    let name = render::probe_name(&w.model);
    w.jobs.insert(name.clone(), json!({"metadata": {"name": name, "uid": "x"}, "spec": {"template": {}}}));
    w.settle().stalls(Reason::NotOwned, &name);
    assert_eq!(w.jobs.len(), 1);
}

// What cannot be meant.

#[test]
fn specs_that_break_a_rule_stall_and_touch_nothing() {
    let long = "x".repeat(600);
    for (path, value, word) in [
        ("/metadata/name", json!("Words"), "DNS label"),
        ("/metadata/name", json!("a".repeat(41)), "at most 40"),
        ("/metadata/name", json!("1a"), "begins with a letter"),
        ("/metadata/name", json!("a-"), "DNS label"),
        ("/spec/model", json!(""), "spec.model"),
        ("/spec/revision", json!(long), "at"),
        ("/spec/dimensions", json!(0), "from 1 to 8192"),
        ("/spec/dimensions", json!(8193), "is 8193"),
        ("/spec/maxInputTokens", json!(0), "from 1 to 131072"),
        ("/spec/prefixes/query", json!(long), "prefixes.query"),
        ("/spec/prefixes/passage", json!(long), "prefixes.passage"),
        ("/spec/endpoint", json!({}), "exactly one"),
        ("/spec/endpoint", json!({"openAI": {"url": "https://a"}, "managed": local("x")["managed"]}), "exactly one"),
        ("/spec/endpoint/openAI/url", json!("ftp://a/v1"), "no address"),
        ("/spec/endpoint/openAI/url", json!("https://u:secret@a/v1"), "user name"),
        ("/spec/endpoint/openAI/url", json!("a/v1"), "https://host/v1"),
        ("/spec/endpoint/openAI/url", json!("https://a/v1?k=1"), "query"),
        ("/spec/endpoint/openAI/timeout", json!("soon"), "no duration"),
        ("/spec/endpoint/openAI/timeout", json!("11m"), "between"),
        ("/spec/endpoint/openAI/batchSize", json!(0), "from 1 to 2048"),
        ("/spec/endpoint/openAI/maxConcurrency", json!(65), "from 1 to 64"),
        (
            "/spec/endpoint",
            json!({"managed": {"format": "Static", "model": {"claimName": "c"}, "replicas": 0}}),
            "replicas",
        ),
        ("/spec/endpoint", json!({"managed": {"format": "Static", "model": {"claimName": ""}}}), "claimName"),
        (
            "/spec/endpoint",
            json!({"managed": {"format": "Static", "model": {"claimName": "c", "path": "/etc"}}}),
            "relative",
        ),
        (
            "/spec/endpoint",
            json!({"managed": {"format": "Static", "model": {"claimName": "c", "path": "a/../../b"}}}),
            "`..`",
        ),
    ] {
        let mut w = world(remote("a"));
        let mut text = serde_json::to_value(&w.model).unwrap();
        text["spec"]["prefixes"] = json!({"query": "", "passage": ""});
        *text.pointer_mut(path).unwrap() = value;
        w.model = serde_json::from_value(text).unwrap();
        w.settle().stalls(Reason::InvalidSpec, word).stalls(Reason::InvalidSpec, "Nothing was created");
        assert_eq!((w.jobs.len(), w.objects.len()), (0, 0));
        let told = &find(&w.status().conditions, ConditionType::Ready).unwrap().message;
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn an_identity_that_changed_past_admission_is_refused() {
    let mut w = accepted();
    let before = w.status().fingerprint.clone();
    w.model.spec.dimensions = 128;
    w.settle().stalls(Reason::InvalidSpec, "must not change").still_uses("https://a/v1");
    assert_eq!(w.status().fingerprint, before);
    assert_eq!(w.jobs.len(), 0);
    w.model.spec.dimensions = 256;
    w.settle().serves("https://a/v1");
}

#[test]
fn a_broken_change_leaves_what_is_in_use() {
    let mut w = managed();
    let before = w.objects.clone();
    w.apply(json!({})).stalls(Reason::InvalidSpec, "pods keep using").still_uses(OWN);
    assert_eq!(w.objects, before);
    w.apply(local("one")).serves(OWN);
}

// A server of our own.

#[test]
fn a_managed_encoder_starts_is_measured_and_serves() {
    let mut w = world(local("one"));
    w.settle().waits(Reason::Progressing, "starting");
    assert_eq!((w.jobs.len(), w.last.requeue), (0, Some(SOON)));
    let args = &w.deployment("words").unwrap()["spec"]["template"]["spec"]["containers"][0]["args"];
    let wanted = "embed --model /model/one --listen 0.0.0.0:8080 --health 0.0.0.0:8082 --max-input-tokens 512";
    assert_eq!(args, &json!(wanted.split(' ').collect::<Vec<_>>()));
    let service = &w.objects[&("Service", "words".to_owned())];
    assert_eq!(
        service["spec"]["selector"],
        json!({"ragops.dev/owner-uid": "model-uid", "ragops.dev/purpose": "embed"})
    );
    assert_eq!(service["spec"]["ports"][0]["name"], "http");
    w.pods_start().waits(Reason::Probing, "");
    assert_eq!(w.probe_input()["task"]["probe"]["encoder"]["url"], OWN);
    w.measured(good()).serves(OWN);
    assert_eq!(w.last.requeue, None);
}

#[test]
fn a_service_never_reaches_pods_of_probes() {
    let mut w = world(local("one"));
    w.settle().pods_start();
    let selector = w.objects[&("Service", "words".to_owned())]["spec"]["selector"].clone();
    let job = w.jobs.values().next().unwrap();
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    assert!(selector.as_object().unwrap().iter().any(|(key, value)| labels[key] != *value), "{labels}");
}

#[test]
fn a_claim_that_is_missing_is_named_and_waited_for() {
    let mut w = world(local("one"));
    w.claims.clear();
    w.settle().waits(Reason::RefNotFound, "PersistentVolumeClaim `models`");
    assert_eq!(w.last.requeue, Some(LATER));
    w.claims.insert("models".to_owned(), false);
    w.pods_start().measured(good()).serves(OWN);
}

#[test]
fn pods_of_a_server_that_cannot_start_are_told() {
    let ended = |code: i32, reason: &str| {
        let mut status = waiting("CrashLoopBackOff", "back-off");
        status["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": code, "reason": reason}});
        status
    };
    for (status, reason, word) in [
        (waiting("ErrImageNeverPull", "absent"), Reason::ImagePullFailed, "rag:1"),
        (waiting("CreateContainerError", "no space"), Reason::PodConfigError, "no space"),
        (
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
            Reason::PodUnschedulable,
            "0/1 nodes",
        ),
        (ended(42, "Error"), Reason::PodConfigError, "model directory `one` on claim `models`"),
        (ended(137, "OOMKilled"), Reason::PodConfigError, "more memory"),
        (ended(1, "Error"), Reason::PodConfigError, "exit code 1"),
        (waiting("ContainerCreating", ""), Reason::Progressing, "starting"),
    ] {
        let mut w = world(local("one"));
        w.settle().server_pod(status).waits(reason, word).waits(reason, "No pod uses this encoder yet");
        assert_eq!(w.jobs.len(), 0);
        w.pods_start().waits(Reason::Probing, "");
    }
    let mut w = world(local("one"));
    w.settle().server_pod(waiting("ContainerCreating", "")).later(31).waits(Reason::PodConfigError, "claim `models`");
}

#[test]
fn a_server_that_falls_is_told() {
    let mut w = managed();
    w.pods_fall(0).waits(Reason::EndpointUnavailable, "0 of 1 pods").still_uses(OWN);
    assert_eq!(w.last.requeue, Some(SOON));
    w.pods_start().serves(OWN);
    let mut two = local("one");
    two["managed"]["replicas"] = json!(2);
    w.apply(two).pods_start().serves(OWN);
    assert_eq!(w.deployment("words").unwrap()["spec"]["replicas"], 2);
    w.pods_fall(1).says("True", Reason::Progressing, "The others answer");
    w.pods_fall(0).claims.clear();
    w.settle().waits(Reason::RefNotFound, "models");
    assert_eq!(w.jobs.len(), 0, "nothing of this needs a probe");
}

#[test]
fn an_edit_by_hand_is_set_back() {
    let mut w = managed();
    let key = ("Deployment", "words".to_owned());
    w.objects.get_mut(&key).unwrap()["spec"]["replicas"] = json!(0);
    let plan = w.pass();
    assert!(
        matches!(plan.actions.as_slice(), [Action::Apply { kind: ChildKind::Deployment, .. }]),
        "{:?}",
        plan.actions
    );
    w.objects.get_mut(&("Service", "words".to_owned())).unwrap()["spec"]["selector"]["ragops.dev/purpose"] = json!("x");
    let plan = w.pass();
    assert!(matches!(plan.actions.as_slice(), [Action::Apply { kind: ChildKind::Service, .. }]), "{:?}", plan.actions);
    w.objects.remove(&key);
    let plan = w.pass();
    assert!(
        matches!(plan.actions.as_slice(), [Action::Apply { kind: ChildKind::Deployment, .. }]),
        "{:?}",
        plan.actions
    );
}

#[test]
fn what_the_server_adds_to_our_objects_is_no_difference() {
    let mut w = managed();
    let key = ("Deployment", "words".to_owned());
    let live = w.objects.get_mut(&key).unwrap();
    live["spec"]["progressDeadlineSeconds"] = json!(600);
    live["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
    live["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
    w.objects.get_mut(&("Service", "words".to_owned())).unwrap()["spec"]["clusterIP"] = json!("10.0.0.1");
    assert_eq!(w.pass().actions, Vec::new());
}

#[test]
fn objects_of_the_models_name_that_are_not_ours_are_not_touched() {
    for kind in ["Deployment", "Service"] {
        let mut w = world(local("one"));
        w.objects.insert((kind, "words".to_owned()), json!({"metadata": {"name": "words", "uid": "x"}}));
        w.settle().stalls(Reason::NotOwned, kind);
        assert_eq!((w.objects.len(), w.jobs.len()), (1, 0));
        // Somebody's server does not matter to an encoder elsewhere.
        let foreign = w.objects.clone();
        w.apply(remote("a")).measured(good()).serves("https://a/v1");
        assert_eq!(w.objects, foreign);
    }
}

#[test]
fn a_claim_for_one_node_keeps_its_pods_together() {
    let mut w = world(local("one"));
    w.claims.insert("models".to_owned(), true);
    w.settle();
    assert!(w.deployment("words").unwrap()["spec"]["template"]["spec"]["affinity"]["podAffinity"].is_object());
}

// A server of our own that changes.

#[test]
fn a_changed_directory_is_measured_in_a_server_of_its_own() {
    let mut w = managed();
    let trial = render::trial_name(&w.model);
    w.apply(local("two")).waits(Reason::Progressing, "model directory before").still_uses(OWN);
    assert_eq!((w.directory("words"), w.directory(&trial)), (Some("/model/one"), Some("/model/two")));
    w.pods_start().waits(Reason::Probing, "");
    assert_eq!(w.probe_input()["task"]["probe"]["encoder"]["url"], format!("http://{trial}.team.svc:8080/v1"));
    w.measured(same());
    assert_eq!((w.directory("words"), w.directory(&trial)), (Some("/model/two"), None));
    assert_eq!(w.objects.len(), 2);
    w.pods_start().serves(OWN).jobs_expire();
}

#[test]
fn a_changed_directory_with_other_vectors_reaches_nobody() {
    let mut w = managed();
    let trial = render::trial_name(&w.model);
    w.apply(local("two")).pods_start().measured(drifted());
    w.stalls(Reason::FingerprintChanged, "directory `two` on claim `models`").still_uses(OWN);
    assert_eq!((w.directory("words"), w.directory(&trial)), (Some("/model/one"), Some("/model/two")));
    w.apply(local("one")).measured(same()).serves(OWN);
    assert_eq!((w.directory("words"), w.directory(&trial), w.objects.len()), (Some("/model/one"), None, 2));
}

#[test]
fn a_trial_that_fails_leaves_the_server_in_use_alone() {
    let mut w = managed();
    w.apply(local("two"))
        .server_pod(waiting("ErrImagePull", "x"))
        .waits(Reason::ImagePullFailed, "rag:1")
        .still_uses(OWN);
    let trial = render::trial_name(&w.model);
    w.objects.remove(&("Deployment", trial.clone()));
    w.objects.insert(("Deployment", trial.clone()), json!({"metadata": {"name": trial, "uid": "x"}}));
    w.settle().stalls(Reason::NotOwned, &trial).still_uses(OWN);
}

#[test]
fn from_our_server_to_another_address_and_back() {
    let mut w = managed();
    w.apply(remote("b")).waits(Reason::Probing, OWN).still_uses(OWN);
    assert!(w.deployment("words").is_some());
    // Pods that were told the old address are still there.
    w.callers = vec!["Deployment handbook-0123456789".to_owned()];
    w.measured(same()).serves("https://b/v1");
    assert!(w.deployment("words").is_some());
    assert_eq!(w.last.requeue, Some(LATER));
    w.callers.clear();
    w.settle();
    assert_eq!(w.objects.len(), 0);
    w.jobs_expire();
    w.apply(local("one")).waits(Reason::Progressing, "https://b/v1").still_uses("https://b/v1");
    w.pods_start().measured(same()).serves(OWN);
}

#[test]
fn a_first_directory_that_was_wrong_is_replaced_in_place() {
    let mut w = world(local("one"));
    w.settle().pods_start().measured(report(8, 1.0, "s", None)).stalls(Reason::DimensionMismatch, "8 dimensions");
    w.apply(local("two")).waits(Reason::Progressing, "starting");
    assert_eq!((w.directory("words"), w.objects.len()), (Some("/model/two"), 2));
    w.pods_start().measured(good()).serves(OWN);
}

// The end.

#[test]
fn a_model_is_held_from_the_first_pass_and_let_go_when_nobody_uses_it() {
    let mut w = world(remote("a"));
    let plan = w.pass();
    assert_eq!(plan.actions.first(), Some(&Action::Finalizer { present: true }));
    w.settle().delete();
    assert_eq!(w.model.metadata.finalizers, None);
}

#[test]
fn a_model_in_use_waits_and_serves_on() {
    let mut w = managed();
    w.users = vec!["VectorIndex handbook".to_owned(), "RagRelease handbook (handbook/v3)".to_owned()];
    w.delete().waits(Reason::InUse, "VectorIndex handbook, RagRelease handbook (handbook/v3)").still_uses(OWN);
    assert_eq!(w.last.requeue, Some(LATER));
    w.objects.remove(&("Deployment", "words".to_owned()));
    w.settle();
    assert!(w.deployment("words").is_some());
    w.users = (0..9).map(|i| format!("VectorIndex i{i}")).collect();
    w.settle().waits(Reason::InUse, "and 4 more");
    w.users.clear();
    let plan = w.pass();
    assert_eq!(plan.actions, vec![Action::Finalizer { present: false }]);
}

#[test]
fn a_model_that_is_going_and_not_held_is_left_alone() {
    let mut w = world(remote("a"));
    w.users = vec!["VectorIndex x".to_owned()];
    let at = json!("2026-01-01T00:00:00Z");
    w.model.metadata.deletion_timestamp = Some(serde_json::from_value(at).unwrap());
    let plan = plan(&w.model, &w.observed());
    assert_eq!((plan.actions.len(), plan.requeue), (0, None));
}

#[test]
fn a_job_that_is_going_is_waited_for() {
    let mut w = world(remote("a"));
    w.settle().end("Failed", 43, &json!({"kind": "error", "reason": "EndpointUnavailable", "error": "down"}));
    w.settle();
    let name = render::probe_name(&w.model);
    w.jobs.get_mut(&name).unwrap()["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    w.later(600).waits(Reason::EndpointUnavailable, "down");
    assert_eq!((w.last.actions.len(), w.last.requeue), (0, Some(SOON)));
}
