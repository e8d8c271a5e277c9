//! What disturbs the operator itself: objects that no rule would let in, and an image that is not there.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::CustomResourceExt as _;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use rag_operator::api::{EmbeddingModel, EvalGate, RagRelease};
use serde_json::{Value, json};

use crate::bench::{
    Bench, CASES, LATER, SOON, answers, api, apply_text, release, remove_release, until_condition, until_promoted,
    until_ready,
};
use crate::demo::cluster::Cluster;
use crate::demo::data::manifest;
use crate::demo::install;
use crate::demo::objects::{Look, apply, apply_yaml, delete, poll, wait_gone};

/// Releases as they lie in the store, whatever their shape.
fn raw(cluster: &Cluster) -> Api<DynamicObject> {
    let resource: ApiResource = RagRelease::api_resource();
    Api::namespaced_with(cluster.client.clone(), CASES, &resource)
}

/// Objects that were stored past the rules: they say what is wrong with them, and every other object goes on.
pub async fn a_poison_object_stops_nobody(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    apply(&cluster.client, &release("bystander", &[])?).await?;
    until_promoted(cluster, "bystander").await?;
    let stored = store_poison(cluster).await;
    // The rules are back before anything else is judged, even when the storing failed.
    install::crds(cluster).await?;
    stored?;
    let outcome = judge_poison(cluster).await;
    for name in ["poison-rule", "poison-shape"] {
        delete(&raw(cluster), name).await?;
        wait_gone(raw(cluster), name, SOON).await?;
    }
    outcome?;
    remove_release(cluster, "bystander").await
}

/// Takes the rules of RagRelease away and stores what they refuse.
async fn store_poison(cluster: &Cluster) -> Result<()> {
    let mut crd = serde_json::to_value(RagRelease::crd())?;
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    apply(&cluster.client, &crd).await?;
    let mut rule = release("poison-rule", &[])?;
    rule["spec"]["rollout"]["steps"] = json!([{"weight": 50}, {"weight": 10}, {"weight": 100}]);
    let mut shape = release("poison-shape", &[])?;
    shape["spec"]["indexRef"] = json!("handbook");
    shape["spec"]["serving"] = json!(["two"]);
    for document in [rule, shape] {
        let object: DynamicObject = serde_json::from_value(document)?;
        // The apiserver takes a moment until it serves the changed CRD.
        poll("the poison to be stored", SOON, async || {
            Ok(match raw(cluster).create(&PostParams::default(), &object).await {
                Ok(_) => Look::Done(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
        .await?;
    }
    Ok(())
}

async fn judge_poison(cluster: &Cluster) -> Result<()> {
    poll("the rules to hold again", SOON, async || {
        let mut rule = release("poison-again", &[])?;
        rule["spec"]["rollout"]["steps"] = json!([{"weight": 50}]);
        let object: DynamicObject = serde_json::from_value(rule)?;
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        Ok(match raw(cluster).create(&dry, &object).await {
            Ok(_) => Look::NotYet("a release without a step of 100 is accepted".to_owned()),
            Err(_) => Look::Done(()),
        })
    })
    .await?;
    let (reason, words) = stalled(cluster, "poison-rule").await?;
    ensure!(reason == "InvalidSpec" && words.contains("steps"), "poison-rule is {reason}: {words}");
    let (reason, words) = stalled(cluster, "poison-shape").await?;
    ensure!(reason == "InvalidObject", "poison-shape is {reason}: {words}");
    // The same kind and another one go on.
    let patch = Patch::Merge(json!({"spec": {"rollback": {"window": "71h"}}}));
    api::<RagRelease>(&cluster.client).patch("bystander", &PatchParams::default(), &patch).await?;
    until_promoted(cluster, "bystander").await?;
    answers(cluster, "bystander").await?;
    apply_text(
        cluster,
        "{apiVersion: ragops.dev/v1alpha1, kind: EvalGate, metadata: {name: after-poison}, spec: {online: {objectives: \
         [{name: errors, signal: ErrorRate, max: 0.05}]}}}",
    )
    .await?;
    until_ready::<EvalGate>(cluster, "after-poison", SOON).await?;
    delete(&api::<EvalGate>(&cluster.client), "after-poison").await
}

/// Reason and message of an object's Stalled, read without its type.
async fn stalled(cluster: &Cluster, name: &str) -> Result<(String, String)> {
    poll(&format!("{name} to be Stalled"), SOON, async || {
        let object = raw(cluster).get(name).await?;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let text = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
        Ok(match conditions.iter().find(|c| c["type"] == "Stalled" && c["status"] == "True") {
            Some(c) => Look::Done((text(c, "reason"), text(c, "message"))),
            None => Look::NotYet(format!("{conditions:?}")),
        })
    })
    .await
}

/// An image that no registry has: the object says so within a minute, what serves goes on, and the right image
/// mends it.
pub async fn an_image_that_cannot_be_pulled_is_named(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    apply(&cluster.client, &release("unpulled", &[])?).await?;
    let revision = until_promoted(cluster, "unpulled").await?;
    let missing = "localhost/no-such-image:1";
    configure(cluster, missing).await?;
    let outcome = async {
        apply_text(
            cluster,
            "{apiVersion: ragops.dev/v1alpha1, kind: EmbeddingModel, metadata: {name: unpulled}, spec: {model: \
             unpulled, dimensions: 256, endpoint: {managed: {format: Static, model: {claimName: models, path: \
             wordllama}}}}}",
        )
        .await?;
        let stalled = until_condition::<EmbeddingModel>(cluster, "unpulled", "Stalled", &["ImagePullFailed"], SOON);
        let waiting = until_condition::<EmbeddingModel>(cluster, "unpulled", "Reconciling", &["ImagePullFailed"], SOON);
        let words = tokio::select! {
            Ok(words) = stalled => words,
            Ok(words) = waiting => words,
            else => anyhow::bail!("the EmbeddingModel does not say that its image cannot be pulled"),
        };
        ensure!(words.contains(missing), "the message does not name the image: {words}");
        ensure!(answers(cluster, "unpulled").await? == revision, "what served does not serve on");
        Ok(())
    }
    .await;
    configure(cluster, &cluster.image).await?;
    outcome?;
    until_ready::<EmbeddingModel>(cluster, "unpulled", LATER).await?;
    until_ready::<EmbeddingModel>(cluster, "wordllama", LATER).await?;
    delete(&api::<EmbeddingModel>(&cluster.client), "unpulled").await?;
    remove_release(cluster, "unpulled").await
}

/// Gives the operator another image for its pods, and starts it again with it.
async fn configure(cluster: &Cluster, image: &str) -> Result<()> {
    let yaml = manifest("dev/install/3-config.yaml")?.replace("localhost/rag-operator:dev", image);
    apply_yaml(&cluster.client, &yaml).await?;
    let pod = install::operator_pod(cluster).await?;
    let name = pod.metadata.name.context("a pod without a name")?;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(cluster.client.clone(), install::NAMESPACE);
    pods.delete(&name, &DeleteParams::default()).await?;
    wait_gone(pods, &name, Duration::from_secs(60)).await?;
    install::ready(cluster).await
}
