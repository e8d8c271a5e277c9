//! What a release makes: snapshot, Deployment, Service, evaluation Job. Pure.

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

use super::revision::Snapshot;
use super::traffic::service_name;
use crate::api::gate::{Dataset, DatasetFormat};
use crate::api::release::FrozenGate;
use crate::api::{DataFrom, EmbeddingModel, RagRelease, names};
use crate::controller::config::Config;
use crate::controller::model;
use crate::controller::pod::{self, JobRequest, LIGHT, Mounts, Pod, SERVE};
use crate::controller::reconcile::owner;
use crate::controller::spec::duration;
use crate::worker::job::{Arm, JobInput, ServeTask, Task, paths};
use crate::worker::receipt::whole;

/// Seconds that an ended Job stays whose result was read by nobody: a week, for an operator that was down.
const UNREAD: i32 = 604_800;

fn labels(release: &RagRelease, revision: &str) -> BTreeMap<String, String> {
    let mut labels = pod::labels(&release.name_any(), &release.uid().unwrap_or_default());
    labels.insert(names::LABEL_REVISION.to_owned(), revision.to_owned());
    labels
}

fn meta(release: &RagRelease, revision: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(service_name(&release.name_any(), revision)),
        namespace: release.namespace(),
        labels: Some(labels(release, revision)),
        owner_references: Some(vec![owner(release)]),
        ..ObjectMeta::default()
    }
}

fn selector(release: &RagRelease, revision: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::LABEL_OWNER_UID.to_owned(), release.uid().unwrap_or_default()),
        (names::LABEL_REVISION.to_owned(), revision.to_owned()),
    ])
}

/// The snapshot as a ControllerRevision.
pub fn snapshot(release: &RagRelease, snapshot: &Snapshot, number: i64) -> Value {
    let body = ControllerRevision {
        metadata: meta(release, &snapshot.revision),
        revision: number,
        data: serde_json::to_value(snapshot).ok().map(RawExtension),
    };
    serde_json::to_value(body).unwrap_or_default()
}

/// The Deployment of a revision; `None` until its encoder has an address.
pub fn deployment(
    release: &RagRelease,
    config: &Config,
    snapshot: &Snapshot,
    encoder: &EmbeddingModel,
    one_node: bool,
) -> Option<Value> {
    let input = JobInput {
        v: 1,
        run: snapshot.revision.clone(),
        task: Task::Serve(ServeTask {
            release: release.name_any(),
            revision: snapshot.revision.clone(),
            version: snapshot.version_text(),
            physical: snapshot.physical.clone(),
            content_digest: snapshot.tuple.content_digest.clone(),
            search: snapshot.tuple.search.clone(),
            retrieval: snapshot.tuple.retrieval.clone(),
            encoder: model::encoder(encoder)?,
        }),
    };
    let pod = Pod {
        config,
        image: Some(&snapshot.image),
        args: vec!["serve".to_owned()],
        input: Some(&input),
        mounts: model::mounts(encoder, Mounts::default().claim(&snapshot.claim, paths::INDEX, true)),
        resources: release.spec.serving.resources.as_ref(),
        defaults: SERVE,
        labels: labels(release, &snapshot.revision),
        together: one_node.then(|| snapshot.claim.clone()),
        serves: true,
    };
    let body = Deployment {
        metadata: meta(release, &snapshot.revision),
        spec: Some(DeploymentSpec {
            replicas: Some(release.spec.serving.replicas),
            revision_history_limit: Some(2),
            selector: LabelSelector {
                match_labels: Some(selector(release, &snapshot.revision)),
                ..LabelSelector::default()
            },
            strategy: Some(pod::one_by_one()),
            template: pod::template(&pod),
            ..DeploymentSpec::default()
        }),
        status: None,
    };
    serde_json::to_value(body).ok()
}

/// The Service of a revision: traffic, and the evaluation port for gate runs.
pub fn service(release: &RagRelease, revision: &str) -> Value {
    let port = |name: &str, port: i32| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    };
    let body = Service {
        metadata: meta(release, revision),
        spec: Some(ServiceSpec {
            selector: Some(selector(release, revision)),
            ports: Some(vec![port("http", names::PORT_TRAFFIC), port("evaluation", names::PORT_EVALUATION)]),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    serde_json::to_value(body).unwrap_or_default()
}

/// The evaluation port of a revision's own Service.
pub fn arm(release: &str, namespace: &str, snapshot: &Snapshot) -> Arm {
    let service = service_name(release, &snapshot.revision);
    Arm {
        url: format!("http://{service}.{namespace}.svc:{}", names::PORT_EVALUATION),
        revision: snapshot.revision.clone(),
        content_digest: snapshot.tuple.content_digest.clone(),
        fingerprint: snapshot.tuple.fingerprint.clone(),
    }
}

/// A dataset with no source: what a gate of another kind has.
pub fn no_dataset() -> Dataset {
    Dataset { from: DataFrom::default(), format: DatasetFormat::Beir, split: String::new() }
}

/// The Job of one gate run. It mounts the dataset, read-only, and where reports are kept: its arms are Services.
pub fn evaluate_job(release: &RagRelease, config: &Config, gate: &FrozenGate, name: &str, input: &JobInput) -> Value {
    let uid = release.uid().unwrap_or_default();
    let mounts = match gate.spec.retrieval.as_ref() {
        Some(retrieval) => Mounts::default().data(&retrieval.dataset.from, paths::DATASET),
        None => Mounts::default(),
    };
    let report = match &input.task {
        Task::Evaluate(task) => task.report.as_ref(),
        Task::Build(_) | Task::Verify(_) | Task::Prune(_) | Task::Check(_) | Task::Probe(_) | Task::Serve(_) => None,
    };
    let mounts = match report {
        Some(report) => mounts.claim(&report.claim_name, paths::REPORT, false),
        None => mounts,
    };
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(72 * 3600));
    let deadline = duration("timeout", &gate.spec.timeout, least, most).unwrap_or(Duration::from_secs(1_800));
    let mut job = pod::job(&JobRequest {
        name: name.to_owned(),
        namespace: &release.namespace().unwrap_or_default(),
        owner: owner(release),
        purpose: "evaluate",
        deadline_seconds: whole(deadline.as_secs()),
        retries: 0,
        pod: Pod {
            config,
            image: None,
            args: vec!["evaluate".to_owned()],
            input: Some(input),
            mounts,
            resources: None,
            defaults: LIGHT,
            labels: pod::labels(&release.name_any(), &uid),
            together: None,
            serves: false,
        },
    });
    // The pass that reads the result gives it less; where that write was lost, nobody names the Job any more.
    if let Some(spec) = job.spec.as_mut() {
        spec.ttl_seconds_after_finished = Some(UNREAD);
    }
    serde_json::to_value(job).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Pods of a kept revision run the image that it began with and are told this: a field beyond it is refused by
    /// that image, and another text rolls every pod. What is added must be left out while it has its default.
    const TOLD: &str = concat!(
        r#"{"run":"REV","task":{"serve":{"contentDigest":"c0ffee","encoder":{"apiKey":false,"batchSize":64,"#,
        r#""caBundle":false,"identity":{"dimensions":8,"distance":"Cosine","maxInputTokens":512,"model":"words","#,
        r#""normalize":true,"prefixes":{"passage":"","query":""},"revision":""},"maxConcurrency":4,"model":"words","#,
        r#""timeout":"30s","url":"https://encoder/v1"},"physical":"docs-v1","release":"shop","#,
        r#""retrieval":{"fusion":{"rrf":{"k":60}},"mode":"Vector","overfetch":10,"topK":10},"revision":"REV","#,
        r#""search":{"exactBelow":20000},"version":"docs/v1"}},"v":1}"#
    );

    #[test]
    fn an_upgrade_tells_the_pods_of_a_kept_revision_nothing_new() {
        let release: RagRelease = serde_json::from_value(json!({
            "apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease",
            "metadata": {"name": "shop", "namespace": "team", "uid": "uid-shop"},
            "spec": {"indexRef": {"name": "docs"}, "traffic": {"gateway": {"parentRefs": [{"name": "public"}]}}}
        }))
        .unwrap();
        let endpoint = json!({"openAI": {"url": "https://encoder/v1"}});
        let encoder: EmbeddingModel = serde_json::from_value(json!({
            "apiVersion": "ragops.dev/v1alpha1", "kind": "EmbeddingModel", "metadata": {"name": "words"},
            "spec": {"model": "words", "dimensions": 8, "endpoint": endpoint},
            "status": {"url": "https://encoder/v1", "endpoint": endpoint}
        }))
        .unwrap();
        let snapshot: Snapshot = serde_json::from_value(json!({
            "revision": "REV", "index": "docs", "version": "v1", "physical": "docs-v1", "claim": "c", "model": "words",
            "image": "i",
            "tuple": {"contentDigest": "c0ffee", "fingerprint": "0123456789ab", "search": {}, "retrieval": {}}
        }))
        .unwrap();
        let body = deployment(&release, &Config::plain(), &snapshot, &encoder, false).unwrap();
        let env = body["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        let job = env.iter().find(|e| e["name"] == "RAG_JOB").unwrap()["value"].as_str().unwrap();
        let told: Value = serde_json::from_str(job).unwrap();
        assert_eq!(told.to_string(), TOLD);
    }
}
