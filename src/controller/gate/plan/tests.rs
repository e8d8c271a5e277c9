//! A small world: what a plan writes is there in the next pass, what time and other people do is said by the test.

mod checks;
mod online;
mod runs;
mod specs;
mod young;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::api::names;
use crate::controller::attempt::Attempt;
use crate::controller::condition::{find, is_true};
use crate::controller::config::Config;

struct World {
    now: i64,
    gate: EvalGate,
    data: bool,
    jobs: BTreeMap<String, Value>,
    pods: BTreeMap<String, Value>,
    releases: Vec<RagRelease>,
    made: u32,
    /// Seconds by which the clock that stamps Jobs is behind.
    behind: i64,
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
        behind: 0,
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
            config: Config::plain(),
            refusal: None,
            data: self.data,
            check: Attempt {
                job: self.jobs.get(&check).map(typed),
                pods: self.pods.get(&check).map(typed).into_iter().collect(),
                seen_at: Timestamp::from_second(self.now).unwrap(),
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
                Action::Delete { kind: ChildKind::Job, name, uid, .. } => {
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
        let at = text_of(self.now - self.behind);
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
        let receipt = json!({"kind": "check", "digest": digest, "queries": queries, "judgments": queries * 2, "clusters": null, "slices": [],
            "tested": queries, "advice": "add queries"});
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
