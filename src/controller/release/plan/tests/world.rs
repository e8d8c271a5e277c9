//! Objects as the API server would hold them, built so that a test reads as a sentence.

use serde_json::{Value, json};

use crate::api::{EmbeddingModel, EvalGate, RagRelease, VectorIndex};
use crate::controller::read::Referred;

pub const RELEASE: &str = "shop";
pub const NAMESPACE: &str = "team";
pub const UID: &str = "uid-shop";
/// The virtual clock begins here.
pub const START: &str = "2026-01-01T00:00:00Z";

/// A release of index `docs` behind Gateway `public`, with these gates and steps (weight, hold).
pub fn release(gates: &[(&str, &str)], steps: &[(i32, &str)]) -> RagRelease {
    let gates: Vec<Value> = gates.iter().map(|(name, when)| json!({"name": name, "when": when})).collect();
    let steps: Vec<Value> = steps.iter().map(|(weight, hold)| json!({"weight": weight, "hold": hold})).collect();
    serde_json::from_value(json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease",
        "metadata": {"name": RELEASE, "namespace": NAMESPACE, "uid": UID, "generation": 1, "resourceVersion": "1"},
        "spec": {
            "indexRef": {"name": "docs"},
            "traffic": {"gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["shop.example.com"]}},
            "rollout": {"gates": gates, "steps": steps}
        }
    }))
    .unwrap()
}

/// A version of an index: its name, its state and whether it has a keyword side.
pub fn version(name: &str, state: &str, keyword: bool) -> Value {
    json!({
        "name": name, "state": state, "cause": "Spec", "physical": format!("docs-{name}"), "claim": "docs",
        "contentDigest": format!("content-{name}"), "fingerprint": "0123456789ab", "model": "words",
        "keyword": keyword, "createdAt": START
    })
}

pub fn index(versions: &[Value]) -> Referred<VectorIndex> {
    here(json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "VectorIndex",
        "metadata": {"name": "docs", "namespace": NAMESPACE, "uid": "uid-docs"},
        "spec": {
            "embeddingModelRef": {"name": "words"},
            "sources": [{"name": "s", "from": {"volume": {"claimName": "corpus"}}, "format": "Markdown"}],
            "store": {"embedded": {"claimName": "docs"}}
        },
        "status": {"versions": versions}
    }))
}

/// The encoder, with an endpoint that passed its probe.
pub fn model() -> Referred<EmbeddingModel> {
    let endpoint = json!({"openAI": {"url": "https://encoder/v1"}});
    here(json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "EmbeddingModel",
        "metadata": {"name": "words", "namespace": NAMESPACE, "uid": "uid-words"},
        "spec": {"model": "words", "dimensions": 8, "endpoint": endpoint},
        "status": {"url": "https://encoder/v1", "endpoint": endpoint}
    }))
}

/// A retrieval gate: ndcg@10 with margin .05 and floor .4, its dataset checked at `checked`.
pub fn quality(name: &str, checked: &str, retries: i32) -> Referred<EvalGate> {
    let mut gate = gate(
        name,
        json!({
            "retries": retries,
            "retrieval": {
                "dataset": {"from": {"volume": {"claimName": "data"}}},
                "metrics": [{"name": "ndcg@10", "margin": 0.05, "floor": 0.4}]
            }
        }),
    );
    check(&mut gate, checked);
    Referred::Here(Box::new(gate))
}

/// What the gate's controller writes after a check.
pub fn check(gate: &mut EvalGate, at: &str) {
    let digest = crate::worker::job::spec_digest(&gate.spec);
    let status = json!({"dataset": {
        "digest": "dataset-1", "queries": 200, "judgments": 900, "specDigest": digest, "checkedAt": at
    }});
    gate.status = serde_json::from_value(status).unwrap();
}

/// An online gate: at most 5 % errors.
pub fn live(name: &str) -> Referred<EvalGate> {
    let online = json!({"objectives": [{"name": "errors", "signal": "ErrorRate", "max": 0.05}]});
    Referred::Here(Box::new(gate(name, json!({"online": online}))))
}

fn gate(name: &str, spec: Value) -> EvalGate {
    serde_json::from_value(json!({
        "apiVersion": "ragops.dev/v1alpha1", "kind": "EvalGate",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": format!("uid-{name}")}, "spec": spec
    }))
    .unwrap()
}

fn here<K: serde::de::DeserializeOwned>(object: Value) -> Referred<K> {
    Referred::Here(Box::new(serde_json::from_value(object).unwrap()))
}
