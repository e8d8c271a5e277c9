//! Every manifest of `examples/` and `dev/install/` is what its kind says: no field that the types do not
//! know, no field lost. The CEL rules are asked of a real apiserver by `tests/e2e.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test stops at the first surprise.

use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use rag_operator::api::{EmbeddingModel, EvalGate, RagRelease, VectorIndex};
use serde::de::DeserializeOwned;
use serde_json::Value;

fn manifests(directory: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no manifest in {directory}");
    found
}

fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    rag_operator::yaml::read_all(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the user wrote that the parsed object does not hold: the path of the first loss.
fn lost(written: &Value, kept: &Value, at: &str) -> Option<String> {
    match (written, kept) {
        (Value::Object(w), Value::Object(k)) => w.iter().find_map(|(name, value)| {
            let at = format!("{at}.{name}");
            // An empty list, map or text may be left out when it is written back.
            let empty = value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(|o| o.is_empty())
                || value.as_str().is_some_and(str::is_empty);
            match k.get(name) {
                Some(kept) => lost(value, kept, &at),
                None if empty => None,
                None => Some(at),
            }
        }),
        (Value::Array(w), Value::Array(k)) if w.len() == k.len() => {
            w.iter().zip(k).enumerate().find_map(|(i, (w, k))| lost(w, k, &format!("{at}[{i}]")))
        }
        (Value::Number(w), Value::Number(k)) if w.as_f64() == k.as_f64() => None,
        _ => (written != kept).then(|| format!("{at}: wrote {written}, kept {kept}")),
    }
}

fn keeps_all<K: DeserializeOwned + serde::Serialize>(document: &Value) -> Result<(), String> {
    let parsed: K = serde_json::from_value(document.clone()).map_err(|e| e.to_string())?;
    let kept = serde_json::to_value(&parsed).map_err(|e| e.to_string())?;
    lost(document, &kept, "").map_or(Ok(()), |at| Err(format!("{at} is not a field of this kind")))
}

fn check(document: &Value) -> Result<(), String> {
    match document["kind"].as_str().unwrap_or_default() {
        "EmbeddingModel" => keeps_all::<EmbeddingModel>(document),
        "VectorIndex" => keeps_all::<VectorIndex>(document),
        "EvalGate" => keeps_all::<EvalGate>(document),
        "RagRelease" => keeps_all::<RagRelease>(document),
        "Namespace" => keeps_all::<Namespace>(document),
        "PersistentVolumeClaim" => keeps_all::<PersistentVolumeClaim>(document),
        "ServiceAccount" => keeps_all::<ServiceAccount>(document),
        "ClusterRole" => keeps_all::<ClusterRole>(document),
        "ClusterRoleBinding" => keeps_all::<ClusterRoleBinding>(document),
        "ConfigMap" => keeps_all::<ConfigMap>(document),
        "Deployment" => keeps_all::<Deployment>(document),
        "Service" => keeps_all::<Service>(document),
        other => Err(format!("kind {other:?} is not expected here")),
    }
}

#[test]
fn every_manifest_parses_and_loses_nothing() {
    for path in manifests("examples").into_iter().chain(manifests("dev/install")) {
        for document in documents(&path) {
            check(&document).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
}

#[test]
fn an_unknown_field_is_refused_at_any_depth() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rag-release.yaml");
    let good = documents(&path).remove(0);
    for pointer in ["", "/metadata", "/spec", "/spec/traffic/gateway", "/spec/rollout/steps/0"] {
        let mut bad = good.clone();
        bad.pointer_mut(pointer).unwrap()["shadowing"] = Value::from(1);
        assert!(check(&bad).is_err(), "an unknown field below {pointer:?} was accepted");
    }
}

#[test]
fn each_kind_has_an_example_of_its_name() {
    for (file, kind) in [
        ("embedding-model.yaml", "EmbeddingModel"),
        ("vector-index.yaml", "VectorIndex"),
        ("eval-gate.yaml", "EvalGate"),
        ("rag-release.yaml", "RagRelease"),
    ] {
        let documents = documents(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file));
        assert!(documents.iter().all(|d| d["kind"] == kind), "{file} holds other kinds than {kind}");
    }
}

fn installed(kind: &str) -> Value {
    manifests("dev/install").iter().flat_map(|p| documents(p)).find(|d| d["kind"] == kind).unwrap()
}

#[test]
fn the_role_reads_no_secret_and_widens_no_right() {
    let role = installed("ClusterRole");
    for rule in role["rules"].as_array().unwrap() {
        let words = ["apiGroups", "resources", "verbs"]
            .iter()
            .flat_map(|field| rule[field].as_array().unwrap())
            .map(|w| w.as_str().unwrap());
        for word in words {
            let allowed = !matches!(
                word,
                "*" | "secrets"
                    | "serviceaccounts"
                    | "roles"
                    | "clusterroles"
                    | "nodes"
                    | "escalate"
                    | "bind"
                    | "impersonate"
            ) && !word.starts_with("pods/");
            assert!(allowed, "the role must not name {word:?}: {rule}");
        }
    }
}

#[test]
fn the_operator_runs_restricted_and_gives_its_own_image_to_its_pods() {
    let deployment = installed("Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    let config = installed("ConfigMap");
    let config: Value = rag_operator::yaml::read(config["data"]["config.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(config["image"], container["image"]);
}
