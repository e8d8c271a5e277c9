//! A small world: what a plan writes is there in the next pass, what time and other people do is said by the test.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::api::names;
use crate::controller::attempt::Attempt;
use crate::controller::condition::{find, is_true};
use crate::controller::config::{Config, PullPolicy, Scope};

struct World {
    now: i64,
    gate: EvalGate,
    data: bool,
    jobs: BTreeMap<String, Value>,
    pods: BTreeMap<String, Value>,
    releases: Vec<RagRelease>,
    made: u32,
    last: Plan<EvalGateStatus>,
}

fn world(spec: Value) -> World {
    let gate = serde_json::from_value(json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "EvalGate",
        "metadata": {"name": "good", "namespace": "team", "uid": "gate-uid", "generation": 1},
        "spec": spec
    }))
    .unwrap();
    World {
        now: 1_000_000,
        gate,
        data: true,
        jobs: BTreeMap::new(),
        pods: BTreeMap::new(),
        releases: Vec::new(),
        made: 0,
        last: Plan::of(EvalGateStatus::default()),
    }
}

fn offline() -> Value {
    json!({"retrieval": {
        "dataset": {"from": {"volume": {"claimName": "corpus", "path": "handbook"}}},
        "metrics": [{"name": "ndcg@10", "margin": 0.05, "floor": 0.4}, {"name": "recall@10", "margin": 0.02}]
    }})
}

fn live() -> Value {
    json!({"online": {"objectives": [
        {"name": "errors", "signal": "ErrorRate", "max": 0.05},
        {"name": "p95", "signal": "SlowRate", "threshold": "250ms", "max": 0.05}
    ]}})
}

fn text_of(seconds: i64) -> String {
    time_text(Timestamp::from_second(seconds).unwrap())
}

/// A release whose candidate waits for the gate.
fn release(stage: &str, since: i64) -> Value {
    json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease", "metadata": {"name": "handbook", "namespace": "team"},
        "spec": {
            "indexRef": {"name": "handbook"},
            "traffic": {"gateway": {"parentRefs": [{"name": "public"}]}},
            "rollout": {"gates": [{"name": "good", "when": "BeforeTraffic"}]}
        },
        "status": {"candidate": {"revision": "0123456789", "version": "handbook/v2", "weight": 0, "image": "rag:1",
            "since": text_of(since), "stage": stage, "step": 0, "stepText": "0/1", "progressedAt": text_of(since)}}
    })
}

fn run(job: &str, verdict: &str, finished: i64) -> Value {
    json!({"name": "good", "revision": "0123456789", "baseline": "9876543210", "attempt": 1, "verdict": verdict,
        "reason": "NonInferior", "message": "Holds.", "n": 168, "job": job, "finishedAt": text_of(finished)})
}

fn typed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"startTime": "1970-01-12T13:46:40Z", "containerStatuses": [{"name": "rag", "image": "rag:1", "imageID": "",
        "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}]})
}

impl World {
    fn observed(&self) -> Observed {
        let check = render::check_name(&self.gate);
        Observed {
            now: Timestamp::from_second(self.now).unwrap(),
            config: Config {
                image: "rag:1".to_owned(),
                image_pull_policy: PullPolicy::Never,
                scope: Scope::Cluster,
                resources: None,
            },
            data: self.data,
            check: Attempt {
                job: self.jobs.get(&check).map(typed),
                pods: self.pods.get(&check).map(typed).into_iter().collect(),
            },
            others: self.jobs.iter().filter(|(name, _)| **name != check).map(|(_, job)| typed(job)).collect(),
            releases: self.releases.clone(),
        }
    }

    fn pass(&mut self) -> Plan<EvalGateStatus> {
        let plan = plan(&self.gate, &self.observed());
        self.hold(&plan.status);
        self.gate.status = Some(plan.status.clone());
        for action in plan.actions.clone() {
            self.made += 1;
            match action {
                Action::Create { kind: ChildKind::Job, name, mut body } => {
                    body["metadata"]["uid"] = format!("uid-{}", self.made).into();
                    assert!(self.jobs.insert(name, body).is_none(), "a Job is made once");
                }
                Action::Delete { kind: ChildKind::Job, name, uid } => {
                    assert_eq!(self.jobs.remove(&name).unwrap()["metadata"]["uid"], json!(uid));
                    self.pods.remove(&name);
                }
                Action::ExpireJob { name, seconds } => {
                    self.jobs.get_mut(&name).unwrap()["spec"]["ttlSecondsAfterFinished"] = seconds.into();
                }
                other => panic!("a gate makes Jobs only: {other:?}"),
            }
        }
        self.last = plan.clone();
        plan
    }

    fn hold(&self, status: &EvalGateStatus) {
        let ready = find(&status.conditions, ConditionType::Ready).unwrap();
        let moving = is_true(&status.conditions, ConditionType::Reconciling);
        let stalled = is_true(&status.conditions, ConditionType::Stalled);
        assert!(!(moving && stalled));
        assert!(ready.status == "True" || moving || stalled, "{ready:?}");
        assert!(ready.message.len() < 1_000 && ready.message.ends_with('.'), "{}", ready.message);
        for bad in ["error:", "Some(", "None", "  ", ".. "] {
            assert!(!ready.message.contains(bad), "`{bad}` in {}", ready.message);
        }
        assert!(status.last_runs.len() <= 20);
    }

    fn settle(&mut self) -> &mut Self {
        for _ in 0..6 {
            let before = self.gate.status.clone();
            let plan = self.pass();
            if plan.actions.is_empty() && before == self.gate.status {
                return self;
            }
        }
        panic!("never settles: {:?}", self.last);
    }

    fn apply(&mut self, spec: Value) -> &mut Self {
        self.gate.spec = serde_json::from_value(spec).unwrap();
        *self.gate.metadata.generation.as_mut().unwrap() += 1;
        self.settle()
    }

    fn status(&self) -> &EvalGateStatus {
        self.gate.status.as_ref().unwrap()
    }

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
    fn usable(&mut self, word: &str) -> &mut Self {
        assert!(!is_true(&self.status().conditions, ConditionType::Reconciling));
        self.says("True", Reason::Succeeded, word)
    }

    fn running(&self) -> usize {
        self.jobs.values().filter(|job| job["status"].is_null()).count()
    }

    fn end(&mut self, condition: &str, exit: i32, receipt: &Value) -> &mut Self {
        let (name, job) = self.jobs.iter_mut().find(|(_, job)| job["status"].is_null()).unwrap();
        self.now += 5;
        let at = text_of(self.now);
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

    fn read(&mut self, digest: &str, queries: i64) -> &mut Self {
        let receipt = json!({"kind": "check", "digest": digest, "queries": queries, "judgments": queries * 2, "clusters": null, "slices": []});
        self.end("Complete", 0, &receipt).settle()
    }

    fn fails(&mut self, exit: i32, reason: &str, text: &str) -> &mut Self {
        self.end("Failed", exit, &json!({"kind": "error", "reason": reason, "error": text})).settle()
    }

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

    fn pod(&mut self, status: Value) -> &mut Self {
        let name = self.jobs.iter().find(|(_, job)| job["status"].is_null()).unwrap().0.clone();
        let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": self.jobs[&name]["metadata"]["uid"]}]);
        self.pods.insert(name, json!({"metadata": {"name": "p", "ownerReferences": owner}, "status": status}));
        self.settle()
    }

    fn releases(&mut self, releases: &[Value]) -> &mut Self {
        self.releases = releases.iter().map(typed).collect();
        self.settle()
    }
}

/// A gate whose data set was read at second 1,000,005.
fn checked() -> World {
    let mut w = world(offline());
    w.settle().read("d1", 168).jobs_expire();
    w
}

// Retrieval gates.

#[test]
fn a_data_set_is_read_in_full_before_the_gate_is_usable() {
    let mut w = world(offline());
    w.settle().waits(Reason::Progressing, "being read in full");
    assert_eq!((w.running(), w.last.requeue), (1, Some(SOON)));
    w.read("d1", 168).usable("168 queries with 336 judgments");
    let dataset = w.status().dataset.clone().unwrap();
    assert_eq!((dataset.digest.as_str(), dataset.queries, dataset.judgments), ("d1", 168, 336));
    assert_eq!(dataset.spec_digest, crate::worker::job::spec_digest(&w.gate.spec));
    assert_eq!(dataset.checked_at, text_of(1_000_005));
    assert_eq!(w.status().kind.as_deref(), Some("retrieval"));
    assert_eq!(w.status().observed_generation, 1);
    w.jobs_expire().later(100_000).usable("ndcg@10");
    assert_eq!((w.jobs.len(), w.last.requeue), (0, None));
}

#[test]
fn the_job_reads_what_the_spec_names() {
    let mut spec = offline();
    spec["timeout"] = json!("10m");
    spec["retrieval"]["dataset"]["split"] = json!("dev");
    let mut w = world(spec);
    w.settle();
    let job = w.jobs.values().next().unwrap();
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 600);
    assert_eq!(job["spec"]["backoffLimit"], 0);
    assert_eq!(job["metadata"]["labels"][names::LABEL_PURPOSE], "check");
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["evaluate"]));
    assert!(
        container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|m| m["mountPath"] == "/dataset" && m["readOnly"] == true)
    );
    let input: Value = serde_json::from_str(container["env"][0]["value"].as_str().unwrap()).unwrap();
    assert_eq!(input["task"]["check"]["dataset"]["split"], "dev");
    assert_eq!(input["run"], job["metadata"]["name"]);
}

#[test]
fn small_sets_are_told_at_once() {
    for (queries, advice, margin) in [
        (168, None, 0.0177),
        (149, None, 0.02),
        (148, Some("add 1 query"), 0.0201),
        (60, Some("60 queries can certify a margin of .049 at best; set margin 0.05 or add 89 queries"), 0.0488),
        (9, Some("9 queries can certify no margin"), 0.2832),
        (0, Some("can certify no margin"), 1.0),
    ] {
        let mut w = world(offline());
        w.settle().read("d", queries).usable(advice.unwrap_or("recall@10"));
        assert_eq!(w.status().certifiable_margin, Some(margin), "{queries}");
        assert_eq!(w.status().advice.is_some(), advice.is_some(), "{queries}: {:?}", w.status().advice);
    }
}

#[test]
fn slices_and_clusters_are_counted_and_told_when_they_are_too_small() {
    let mut spec = offline();
    spec["retrieval"]["slices"] = json!({"by": ["domain"], "required": ["domain=legal", "domain=it"]});
    spec["retrieval"]["statistics"] = json!({"clusterBy": "source"});
    let mut w = world(spec.clone());
    w.settle();
    let job = w.jobs.values().next().unwrap().to_string();
    assert!(job.contains(r#"\"slices\":[\"domain\"],\"clusterBy\":\"source\""#), "{job}");
    let receipt = json!({"kind": "check", "digest": "d", "queries": 500, "judgments": 900, "clusters": 148,
        "slices": [["domain=tax", 352], ["domain=legal", 148]]});
    w.end("Complete", 0, &receipt).settle().usable("148 clusters can certify a margin of .021 at best");
    let status = w.status().clone();
    assert_eq!(status.certifiable_margin, Some(0.0201));
    let dataset = status.dataset.unwrap();
    assert_eq!(dataset.clusters, Some(148));
    assert_eq!((dataset.slices[1].name.as_str(), dataset.slices[1].queries), ("domain=legal", 148));
    let advice = status.advice.unwrap();
    assert!(advice.ends_with("required slice domain=it has 0 queries, its margin of 0.02 needs 149"), "{advice}");
    assert!(advice.contains("required slice domain=legal has 148 queries"), "{advice}");
    // What does not fit together is said with its field.
    spec["retrieval"]["slices"]["required"] = json!(["legal"]);
    world(spec).settle().stalls(Reason::InvalidSpec, "`spec.retrieval.slices` is wrong: required: `legal` is no slice");
    let mut spec = offline();
    spec["retrieval"]["maxCumulativeDrop"] = json!(0.0);
    world(spec).settle().stalls(Reason::InvalidSpec, "`spec.retrieval.maxCumulativeDrop` is wrong");
    let mut spec = offline();
    spec["retrieval"]["metrics"][0]["relativeMargin"] = json!(0.1);
    world(spec).settle().stalls(Reason::InvalidSpec, "margin and relativeMargin exclude each other");
}

#[test]
fn margins_that_decide_nothing_need_no_queries() {
    let mut spec = offline();
    spec["retrieval"]["baseline"] = json!("None");
    let mut w = world(spec);
    w.settle().read("d", 5).usable("against no baseline");
    assert_eq!(w.status().advice, None);
    let mut spec = offline();
    spec["retrieval"]["metrics"][1]["required"] = json!(false);
    let mut w = world(spec);
    w.settle().read("d", 59).usable("");
    assert_eq!(w.status().advice, None, "0.02 is only reported, 0.05 needs 59");
}

#[test]
fn a_data_set_that_is_wrong_stalls_with_file_and_line() {
    let mut w = world(offline());
    w.settle()
        .fails(42, "DatasetInvalid", "qrels/test.tsv:7: grade `x` is no number")
        .stalls(Reason::DatasetInvalid, "test.tsv:7");
    w.stalls(Reason::DatasetInvalid, "delete Job");
    assert_eq!(w.status().dataset, None);
    let job = w.jobs.values().next().unwrap();
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 86_400);
    w.later(3_600).stalls(Reason::DatasetInvalid, "test.tsv:7");
    assert_eq!(w.running(), 0);
    // Corrected, and the Job deleted.
    w.jobs_expire();
    assert_eq!(w.running(), 1);
    w.read("d2", 168).usable("168");
}

#[test]
fn words_of_a_failed_check() {
    for (exit, told, reason, stalls) in [
        (42, "DatasetInvalid", Reason::DatasetInvalid, true),
        (42, "InvalidSpec", Reason::InvalidSpec, true),
        (42, "Unheard", Reason::DatasetInvalid, true),
        (43, "SourceUnavailable", Reason::SourceUnavailable, false),
        (43, "Unheard", Reason::SourceUnavailable, false),
        (137, "JobFailed", Reason::JobFailed, false),
    ] {
        let mut w = world(offline());
        w.settle().fails(exit, told, "queries.jsonl cannot be read");
        match stalls {
            true => w.stalls(reason, "cannot be read"),
            false => w.waits(reason, "cannot be read"),
        };
        w.says("False", reason, "Releases that name this gate wait");
    }
}

#[test]
fn a_source_that_cannot_be_reached_is_read_again() {
    let mut w = world(offline());
    w.settle()
        .fails(43, "SourceUnavailable", "the volume does not answer")
        .waits(Reason::SourceUnavailable, "every minute");
    assert_eq!(w.last.requeue, Some(RETRY));
    w.later(59);
    assert_eq!((w.running(), w.last.requeue), (0, Some(Duration::from_secs(1))));
    w.later(1).waits(Reason::SourceUnavailable, "does not answer");
    assert_eq!(w.running(), 1);
    w.read("d", 168).usable("168");
}

#[test]
fn receipts_that_do_not_count() {
    for (condition, exit, receipt, word) in [
        ("Failed", 137, Value::Null, "exit code 137"),
        ("Complete", 0, Value::Null, "left no receipt"),
        ("Complete", 0, json!({"kind": "prune", "deleted": 0, "missing": 0, "foreign": []}), "another kind"),
        ("Complete", 0, json!({"kind": "check", "digest": "d"}), "does not count"),
    ] {
        let mut w = world(offline());
        w.settle().end(condition, exit, &receipt).settle().waits(Reason::JobFailed, word);
        assert_eq!(w.status().dataset, None);
        w.later(60);
        assert_eq!(w.running(), 1);
    }
}

#[test]
fn data_that_is_missing_is_named_and_waited_for() {
    let map = json!({"retrieval": {"dataset": {"from": {"configMap": {"name": "questions"}}}, "metrics": [{"name": "map", "floor": 0.1}]}});
    for (spec, word) in [(offline(), "PersistentVolumeClaim `corpus`"), (map, "ConfigMap `questions`")] {
        let mut w = world(spec);
        w.data = false;
        w.settle().waits(Reason::RefNotFound, word);
        assert_eq!((w.jobs.len(), w.last.requeue), (0, Some(LATER)));
        w.data = true;
        w.settle().waits(Reason::Progressing, "");
        assert_eq!(w.running(), 1);
    }
}

#[test]
fn data_that_goes_after_the_check_leaves_the_gate_usable() {
    let mut w = checked();
    w.data = false;
    w.settle().usable("168");
}

#[test]
fn pods_of_a_check_that_cannot_start_are_told() {
    for (status, reason, word) in [
        (waiting("ErrImagePull", "not found"), Reason::ImagePullFailed, "rag:1"),
        (waiting("InvalidImageName", "x"), Reason::ImagePullFailed, "cannot be pulled"),
        (waiting("CreateContainerConfigError", "no such key"), Reason::PodConfigError, "no such key"),
        (
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]}),
            Reason::PodUnschedulable,
            "0/1 nodes",
        ),
        (waiting("ContainerCreating", ""), Reason::Progressing, "being read"),
    ] {
        let mut w = world(offline());
        w.settle().pod(status).waits(reason, word);
        assert_eq!(w.last.requeue, Some(SOON));
        w.read("d", 168).usable("168");
    }
    let mut w = world(offline());
    w.settle()
        .pod(waiting("ContainerCreating", ""))
        .later(31)
        .waits(Reason::PodConfigError, "PersistentVolumeClaim `corpus`");
}

#[test]
fn a_changed_spec_is_checked_again() {
    let mut other_margin = offline();
    other_margin["retrieval"]["metrics"][0]["margin"] = json!(0.04);
    let mut other_path = offline();
    other_path["retrieval"]["dataset"]["from"]["volume"]["path"] = json!("elsewhere");
    let mut other_split = offline();
    other_split["retrieval"]["dataset"]["split"] = json!("dev");
    for spec in [other_margin, other_path, other_split] {
        let mut w = checked();
        w.apply(spec).waits(Reason::Progressing, "being read");
        assert_eq!(w.running(), 1);
        assert_eq!(w.status().certifiable_margin, None, "the numbers of another spec say nothing");
        w.read("d2", 500).usable("500");
    }
}

#[test]
fn what_decides_no_measurement_is_not_checked_again() {
    let mut w = checked();
    let mut spec = offline();
    spec["timeout"] = json!("5m");
    spec["retries"] = json!(0);
    w.apply(spec).usable("168");
    assert_eq!(w.jobs.len(), 0);
}

#[test]
fn a_second_change_ends_the_first_check() {
    let mut w = world(offline());
    let mut second = offline();
    second["retrieval"]["dataset"]["split"] = json!("dev");
    w.settle().apply(second);
    assert_eq!((w.jobs.len(), w.running()), (1, 1));
}

#[test]
fn a_job_of_somebody_else_is_not_touched() {
    let mut w = world(offline());
    let name = render::check_name(&w.gate);
    w.jobs.insert(name.clone(), json!({"metadata": {"name": name, "uid": "x"}, "spec": {"template": {}}}));
    w.settle().stalls(Reason::NotOwned, &name);
    assert_eq!(w.jobs.len(), 1);
}

#[test]
fn a_lost_status_is_checked_anew() {
    let mut w = checked();
    w.gate.status = None;
    w.settle().waits(Reason::Progressing, "");
    assert_eq!(w.running(), 1);
}

// A candidate wants a young check.

#[test]
fn a_candidate_long_after_the_check_has_the_data_read_again() {
    let at = 1_000_005;
    for (stage, since, again) in [
        ("Preparing", at + 3_600, false),
        ("Preparing", at + 3_601, true),
        ("Verifying", at + 3_601, true),
        ("Stepping", at + 90_000, false),
        ("RollingBack", at + 90_000, false),
        ("Preparing", at - 90_000, false),
    ] {
        let mut w = checked();
        w.now = since.max(at) + 10;
        w.releases(&[release(stage, since)]);
        assert_eq!(w.running() == 1, again, "{stage} {since}");
        if again {
            w.says("True", Reason::Progressing, "read again");
            w.read("d1", 168).usable("168").jobs_expire();
            assert_eq!(w.jobs.len(), 0, "once");
            w.later(90_000).usable("168");
        }
    }
}

#[test]
fn a_candidate_that_has_its_data_or_its_verdict_wants_no_check() {
    let since = 1_000_005 + 90_000;
    let mut frozen = release("Verifying", since);
    frozen["status"]["plan"] = json!({"revision": "0123456789", "frozenAt": text_of(since), "steps": [], "minRequests": 0,
        "onInconclusive": "Hold", "progressDeadline": "6h",
        "gates": [{"name": "good", "when": "BeforeTraffic", "specDigest": "s", "datasetDigest": "d1", "spec": offline()}]});
    let mut measured = release("Verifying", since);
    measured["status"]["gates"] = json!([run("j", "Pass", since)]);
    let mut nobody = release("Verifying", since);
    nobody["status"].as_object_mut().unwrap().remove("candidate");
    let mut unnamed = release("Preparing", since);
    unnamed["spec"]["rollout"]["gates"] = json!([]);
    unnamed["status"]["gates"] = json!([{"name": "good", "revision": "old", "attempt": 0}]);
    for release in [frozen, measured, nobody, unnamed] {
        let mut w = checked();
        w.now = since;
        w.releases(&[release]);
        assert_eq!(w.running(), 0);
    }
}

#[test]
fn a_second_check_is_made_although_the_first_job_is_still_there() {
    let mut w = world(offline());
    w.settle().read("d1", 168).later(4_000).usable("168");
    let since = w.now;
    w.releases(&[release("Preparing", since)]);
    assert_eq!((w.jobs.len(), w.running()), (2, 1));
    w.read("d2", 169).usable("169").jobs_expire();
}

#[test]
fn a_second_check_that_finds_other_data_says_so() {
    let mut w = checked();
    w.now += 90_000;
    let since = w.now;
    w.releases(&[release("Preparing", since)]).read("d2", 170).usable("170");
    assert_eq!(w.status().dataset.as_ref().unwrap().digest, "d2");
}

#[test]
fn a_second_check_that_fails_makes_the_gate_unusable() {
    let mut w = checked();
    w.now += 90_000;
    let since = w.now;
    w.releases(&[release("Preparing", since)]).fails(42, "DatasetInvalid", "queries.jsonl:3: no text");
    w.stalls(Reason::DatasetInvalid, "queries.jsonl:3");
    assert_eq!(w.status().dataset.as_ref().unwrap().digest, "d1");
}

// Runs.

#[test]
fn runs_are_listed_once_newest_first_and_stay() {
    let mut w = checked();
    let mut first = release("Stepping", 0);
    first["status"]["gates"] = json!([run("job-a", "Fail", 1_000_010)]);
    w.releases(&[first.clone()]).usable("168");
    assert_eq!(w.status().last_runs.len(), 1);
    let listed = &w.status().last_runs[0];
    assert_eq!((listed.release.as_str(), listed.revision.as_str(), listed.n), ("handbook", "0123456789", 168));
    assert_eq!(listed.baseline.as_deref(), Some("9876543210"));
    first["status"]["gates"] = json!([run("job-b", "Pass", 1_000_020)]);
    w.releases(&[first]);
    let jobs: Vec<&str> = w.status().last_runs.iter().map(|r| r.job.as_str()).collect();
    assert_eq!(jobs, ["job-b", "job-a"]);
    w.releases(&[]);
    assert_eq!(w.status().last_runs.len(), 2);
}

#[test]
fn what_is_no_result_of_this_gate_is_not_listed() {
    let mut running = run("j", "Pass", 5);
    running.as_object_mut().unwrap().remove("verdict");
    let mut unnamed = run("j", "Pass", 5);
    unnamed.as_object_mut().unwrap().remove("job");
    let mut open = run("j", "Pass", 5);
    open.as_object_mut().unwrap().remove("finishedAt");
    let mut other = run("j", "Pass", 5);
    other["name"] = json!("other");
    let mut w = checked();
    let mut found = release("Stepping", 0);
    found["status"]["gates"] = json!([running, unnamed, open, other]);
    w.releases(&[found]);
    assert_eq!(w.status().last_runs, Vec::new());
}

#[test]
fn a_run_that_is_told_anew_is_replaced() {
    let mut w = checked();
    let mut found = release("Stepping", 0);
    found["status"]["gates"] = json!([run("j", "Error", 5)]);
    w.releases(&[found.clone()]);
    found["status"]["gates"] = json!([run("j", "Pass", 6)]);
    w.releases(&[found]);
    let runs = &w.status().last_runs;
    assert_eq!((runs.len(), runs[0].verdict), (1, crate::api::gate::VerdictWord::Pass));
}

#[test]
fn the_list_stays_short_and_small() {
    let mut w = checked();
    for i in 0..25 {
        let mut found = release("Stepping", 0);
        let mut run = run(&format!("j{i:02}"), "Pass", 1_000_000 + i);
        run["message"] = json!("m".repeat(1_100));
        found["status"]["gates"] = json!([run]);
        w.releases(&[found]);
    }
    let runs = &w.status().last_runs;
    assert!((15..=20).contains(&runs.len()), "{}", runs.len());
    assert_eq!(runs[0].job, "j24");
    assert!(serde_json::to_string(w.status()).unwrap().len() < 32 * 1024);
}

#[test]
fn a_failing_candidate_never_turns_the_gate_red() {
    for verdict in ["Pass", "Fail", "Inconclusive", "Error"] {
        let mut w = checked();
        let mut found = release("RollingBack", 0);
        found["status"]["gates"] = json!([run("j", verdict, 5)]);
        w.releases(&[found]).usable("168");
    }
}

// Online gates.

#[test]
fn an_online_gate_is_usable_at_once() {
    let mut w = world(live());
    w.settle().usable("errors (ErrorRate at most 0.05), p95 (SlowRate above 250ms at most 0.05) every 5 s");
    w.usable("older than 10 s counts as missing");
    assert_eq!((w.jobs.len(), w.status().kind.as_deref(), w.last.requeue), (0, Some("online"), None));
}

#[test]
fn a_gate_that_becomes_online_forgets_its_data() {
    let mut w = checked();
    w.apply(live()).usable("Watches");
    assert_eq!((&w.status().dataset, w.status().certifiable_margin, &w.status().advice), (&None, None, &None));
    let mut w = world(offline());
    w.settle().apply(live()).usable("Watches");
    assert_eq!(w.jobs.len(), 0);
}

// What cannot be meant.

#[test]
fn specs_that_break_a_rule_stall() {
    let (dataset, from) = ("/retrieval/dataset", "/retrieval/dataset/from");
    for (path, value, word) in [
        ("/timeout", json!("soon"), "no duration"),
        ("/timeout", json!("25h"), "between"),
        ("/retries", json!(11), "from 0 to 10"),
        ("/retries", json!(-1), "is -1"),
        ("/report", json!({"claimName": "r", "path": "../x"}), "relative path"),
        ("/report", json!({"claimName": "r", "path": "/x"}), "relative path"),
        ("/report", json!({"claimName": "r", "path": "p".repeat(64)}), "at most 63"),
        ("/report", json!({"claimName": "c".repeat(64)}), "at most 63"),
        ("/report", json!({"claimName": ""}), "is empty"),
        ("/exposeText", json!(true), "set `spec.report` too"),
        (from, json!({}), "exactly one"),
        (from, json!({"configMap": {"name": "a"}, "volume": {"claimName": "b"}}), "exactly one"),
        (from, json!({"volume": {"claimName": "a", "path": "../x"}}), "relative"),
        (from, json!({"configMap": {"name": "a", "keys": ["queries.jsonl"]}}), "qrels.tsv"),
        (from, json!({"configMap": {"name": "a", "keys": ["qrels.tsv.gz", "queries.jsonl.bz2"]}}), "queries.jsonl"),
        (
            dataset,
            json!({"format": "Trec", "from": {"configMap": {"name": "a", "keys": ["queries.tsv"]}}}),
            "qrels.txt",
        ),
        (dataset, json!({"format": "Jsonl", "from": {"configMap": {"name": "a", "keys": ["x"]}}}), "dataset.jsonl"),
        ("/retrieval/dataset/split", json!("../x"), "split"),
        ("/retrieval/dataset/split", json!(""), "1 to 63"),
        ("/retrieval/metrics", json!([]), "1 to 8"),
        ("/retrieval/metrics", json!([{"name": "map", "floor": 0.1}, {"name": "map", "max": 0.9}]), "twice"),
        ("/retrieval/metrics/0/name", json!("recall"), "no metric"),
        ("/retrieval/metrics/0/name", json!("unj@10"), "takes max only"),
        ("/retrieval/metrics/0/name", json!("ndcg@0"), "from 1 to 1000"),
        ("/retrieval/metrics/0/name", json!("ndcg@1001"), "from 1 to 1000"),
        ("/retrieval/metrics/0/name", json!("bleu"), "no metric"),
        ("/retrieval/metrics/0/margin", json!(0.0), "margin"),
        ("/retrieval/metrics/0/margin", json!(1.5), "margin"),
        ("/retrieval/metrics/0/floor", json!(-0.1), "floor"),
        ("/retrieval/metrics/0/max", json!(2), "max"),
        ("/retrieval/metrics", json!([{"name": "map"}]), "at least one of margin, floor and max"),
        ("/retrieval/statistics/alpha", json!(0.5), "alpha"),
        ("/retrieval/statistics/seed", json!(-7), "0 or more"),
    ] {
        let mut spec = offline();
        let defaults =
            [("timeout", json!("30m")), ("retries", json!(2)), ("report", Value::Null), ("exposeText", json!(false))];
        for (field, default) in defaults {
            spec[field] = default;
        }
        spec["retrieval"]["dataset"]["split"] = json!("test");
        spec["retrieval"]["metrics"][0]["max"] = json!(1.0);
        spec["retrieval"]["statistics"] = json!({"alpha": 0.05, "seed": 7});
        *spec.pointer_mut(path).unwrap() = value;
        let mut w = world(spec);
        w.settle().stalls(Reason::InvalidSpec, word).stalls(Reason::InvalidSpec, "what serves is untouched");
        assert_eq!(w.jobs.len(), 0);
    }
}

#[test]
fn online_specs_that_break_a_rule_stall() {
    for (path, value, word) in [
        ("/report", json!({"claimName": "r"}), "belongs to a gate with `spec.retrieval`"),
        ("/online/interval", json!("500ms"), "between"),
        ("/online/interval", json!("6m"), "between"),
        ("/online/window", json!("0s"), "between"),
        ("/online/window", json!("x"), "no duration"),
        ("/online/objectives", json!([]), "1 to 8"),
        ("/online/objectives/1/name", json!("errors"), "second time"),
        ("/online/objectives/0/max", json!(1.0), "share"),
        ("/online/objectives/0/max", json!(-0.5), "share"),
        ("/online/objectives/1/threshold", json!("240ms"), "250ms 300ms"),
        ("/online/objectives/1/threshold", json!("1000ms"), "1s 2s 5s"),
        ("/online/objectives/1/threshold", Value::Null, "missing"),
        ("/online/objectives/1/signal", json!("ErrorRate"), "SlowRate only"),
    ] {
        let mut spec = live();
        spec["online"]["interval"] = json!("5s");
        spec["online"]["window"] = json!("5s");
        spec["report"] = Value::Null;
        *spec.pointer_mut(path).unwrap() = value;
        let mut w = world(spec);
        w.settle().stalls(Reason::InvalidSpec, word);
    }
    let both = json!({"retrieval": offline()["retrieval"], "online": live()["online"]});
    for spec in [both, json!({})] {
        world(spec).settle().stalls(Reason::InvalidSpec, "exactly one of `retrieval` and `online`");
    }
}

#[test]
fn a_wrong_spec_keeps_what_was_found_and_is_mended() {
    let mut w = checked();
    let mut wrong = offline();
    wrong["retrieval"]["metrics"][0]["name"] = json!("bleu");
    w.apply(wrong).stalls(Reason::InvalidSpec, "bleu");
    assert!(w.status().dataset.is_some());
    w.apply(offline()).usable("168");
    assert_eq!(w.jobs.len(), 0);
}

#[test]
fn a_gate_that_is_going_is_left_alone() {
    let mut w = checked();
    w.gate.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    let plan = w.pass();
    assert_eq!((plan.actions.len(), plan.requeue), (0, None));
}
