//! What disturbs the operator itself: objects that no rule would let in, and images that are not there.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{CustomResourceExt as _, ResourceExt as _};
use rag_operator::api::names::{COMMAND_ABORT, COMMAND_RETRY};
use rag_operator::api::{EmbeddingModel, EvalGate, RagRelease};
use serde_json::{Value, json};

use crate::bench::{
    Bench, CASES, LATER, SOON, answers, api, apply_text, release, remove_release, until_condition, until_promoted,
    until_ready,
};
use crate::commands::say;
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

/// Name of everything whose image is not there.
const UNPULLED: &str = "unpulled";
/// An image that no registry has.
const MISSING: &str = "localhost/no-such-image:1";

/// An image that no registry has, for an encoder, a Job and a candidate: each says so, stable serves on, and with the
/// right image each is mended as the documentation says.
pub async fn images_that_cannot_be_pulled_are_named(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    apply(&cluster.client, &release(UNPULLED, &[])?).await?;
    let stable = until_promoted(cluster, UNPULLED).await?;
    configure(cluster, MISSING).await?;
    let outcome = without_image(cluster, &stable).await;
    configure(cluster, &cluster.image).await?;
    let candidate = outcome?;

    // A Deployment follows the configuration; a Job and a candidate keep what they began with.
    for job in api::<Job>(&cluster.client).list(&ListParams::default()).await?.items.iter().filter(|j| lacks_image(j)) {
        delete(&api::<Job>(&cluster.client), &job.name_any()).await?;
    }
    say(cluster, UNPULLED, &[(COMMAND_ABORT, &candidate)]).await?;
    until_condition::<RagRelease>(cluster, UNPULLED, "Stalled", &["Aborted"], SOON).await?;
    say(cluster, UNPULLED, &[(COMMAND_RETRY, &candidate)]).await?;
    let promoted = until_promoted(cluster, UNPULLED).await?;
    ensure!(promoted == candidate, "{promoted} was promoted, not {candidate}");
    until_ready::<EvalGate>(cluster, UNPULLED, LATER).await?;
    until_ready::<EmbeddingModel>(cluster, UNPULLED, LATER).await?;
    until_ready::<EmbeddingModel>(cluster, "wordllama", LATER).await?;
    delete(&api::<EvalGate>(&cluster.client), UNPULLED).await?;
    delete(&api::<EmbeddingModel>(&cluster.client), UNPULLED).await?;
    remove_release(cluster, UNPULLED).await
}

/// What begins while the image is missing; the candidate.
async fn without_image(cluster: &Cluster, stable: &str) -> Result<String> {
    apply_text(
        cluster,
        "
apiVersion: ragops.dev/v1alpha1
kind: EmbeddingModel
metadata: {name: unpulled}
spec: {model: unpulled, dimensions: 256, endpoint: {managed: {format: Static, model: {claimName: models, path: wordllama}}}}
---
apiVersion: ragops.dev/v1alpha1
kind: EvalGate
metadata: {name: unpulled}
spec: {retrieval: {dataset: {from: {volume: {claimName: corpus, path: handbook}}}, metrics: [{name: ndcg@10, floor: 0.4}]}}
",
    )
    .await?;
    let changes = [("/retrieval/topK", json!(12)), ("/rollout/steps", json!([{"weight": 100}]))];
    apply(&cluster.client, &release(UNPULLED, &changes)?).await?;
    let encoder =
        until_condition::<EmbeddingModel>(cluster, UNPULLED, "Reconciling", &["ImagePullFailed"], SOON).await?;
    let job = until_condition::<EvalGate>(cluster, UNPULLED, "Reconciling", &["ImagePullFailed"], SOON).await?;
    let pods = until_condition::<RagRelease>(cluster, UNPULLED, "Stalled", &["ImagePullFailed"], SOON).await?;
    for words in [&encoder, &job, &pods] {
        ensure!(words.contains(&format!("image {MISSING} cannot be pulled (")), "image or cause are not said: {words}");
    }
    ensure!(pods.contains(&format!("Revision {stable} serves 100 %")), "what serves is not said: {pods}");
    let status = api::<RagRelease>(&cluster.client).get(UNPULLED).await?.status.unwrap_or_default();
    let candidate = status.candidate.context("the candidate is gone")?;
    ensure!(candidate.weight == 0 && candidate.image == MISSING, "the candidate is {candidate:?}");
    ensure!(answers(cluster, UNPULLED).await? == stable, "what served does not serve on");
    Ok(candidate.revision)
}

fn lacks_image(job: &Job) -> bool {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.is_some_and(|pod| pod.containers.iter().any(|container| container.image.as_deref() == Some(MISSING)))
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
