//! What no rule of ours can know and the API server refuses: a policy on routes, a LimitRange on pods.

use anyhow::{Result, ensure};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use rag_operator::api::RagRelease;
use serde_json::{Value, json};

use crate::bench::{
    Bench, CASES, LATER, SOON, api, apply_text, release, remove_release, until_condition, until_promoted, until_release,
};
use crate::demo::cluster::Cluster;
use crate::demo::objects::{Look, api_of, apply, delete, documents, poll, routes, wait};
use crate::demo::trace::weights;

/// The host name that the policy takes for somebody else's.
const TAKEN: &str = "taken.example.com";

/// A policy as a cluster's owner would write one, and where it holds.
fn policy() -> Result<Vec<Value>> {
    documents(&format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: e2e-hosts}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: [gateway.networking.k8s.io], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [httproutes]}}
  validations:
  - expression: \"!has(object.spec.hostnames) || !object.spec.hostnames.exists(h, h == '{TAKEN}')\"
    message: {TAKEN} belongs to another team
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: e2e-hosts}}
spec:
  policyName: e2e-hosts
  validationActions: [Deny]
  matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {CASES}}}}}}}
"
    ))
}

/// A place that is refused is told in the policy's words, and the way back is open meanwhile.
pub async fn a_refused_host_name_is_told_and_blocks_no_way_back(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let steps = ("/rollout/steps", json!([{"weight": 10, "hold": "1h"}, {"weight": 100}]));
    apply(&cluster.client, &release("refused", std::slice::from_ref(&steps))?).await?;
    let stable = until_promoted(cluster, "refused").await?;
    let change = [steps, ("/retrieval/mode", json!("Hybrid"))];
    apply(&cluster.client, &release("refused", &change)?).await?;
    let candidate = until_release(cluster, "refused", "release refused to hold at 10 %", |status, _| {
        let holds = status.candidate.as_ref().filter(|c| c.weight == 10 && c.step_started_at.is_some());
        holds.map(|c| c.revision.clone())
    })
    .await?;
    for document in policy()? {
        apply(&cluster.client, &document).await?;
    }
    let outcome = in_the_way(cluster, &stable, &candidate).await;
    for document in policy()? {
        let object: DynamicObject = serde_json::from_value(document)?;
        delete(&api_of(&cluster.client, &object).await?, "e2e-hosts").await?;
    }
    outcome?;
    remove_release(cluster, "refused").await
}

async fn in_the_way(cluster: &Cluster, stable: &str, candidate: &str) -> Result<()> {
    let routes = routes(&cluster.client, CASES);
    let before = routes.get("refused").await?.data["spec"]["hostnames"].clone();
    poll("the policy to hold", SOON, async || {
        let mut route = routes.get("refused").await?;
        route.data["spec"]["hostnames"] = json!([TAKEN]);
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        Ok(match routes.replace("refused", &dry, &route).await {
            Ok(_) => Look::NotYet("the route is taken".to_owned()),
            Err(error) if error.to_string().contains("another team") => Look::Done(()),
            Err(error) => Look::NotYet(error.to_string()),
        })
    })
    .await?;
    hosts(cluster, json!([TAKEN])).await?;
    let told = until_condition::<RagRelease>(cluster, "refused", "Stalled", &["Refused"], SOON).await?;
    for word in ["HTTPRoute", "refused", "belongs to another team"] {
        ensure!(told.contains(word), "the message lacks {word:?}: {told}");
    }
    let abort = Patch::Merge(json!({"metadata": {"annotations": {"ragops.dev/abort": candidate}}}));
    api::<RagRelease>(&cluster.client).patch("refused", &PatchParams::default(), &abort).await?;
    let stable = format!("refused-{stable}");
    wait(routes.clone(), "refused", "all traffic on stable", SOON, |route| {
        let found = route.map(weights).unwrap_or_default();
        let back = found.get(&stable) == Some(&100) && found.values().sum::<i64>() == 100;
        Ok(if back { Look::Done(()) } else { Look::NotYet(format!("{found:?}")) })
    })
    .await?;
    let after = routes.get("refused").await?.data["spec"]["hostnames"].clone();
    ensure!(after == before, "the route moved from {before} to {after}");
    hosts(cluster, before).await?;
    let told = until_condition::<RagRelease>(cluster, "refused", "Stalled", &["Aborted"], SOON).await?;
    ensure!(!told.contains("another team"), "what is taken is still told: {told}");
    Ok(())
}

async fn hosts(cluster: &Cluster, hosts: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"traffic": {"gateway": {"hostnames": hosts}}}}));
    api::<RagRelease>(&cluster.client).patch("refused", &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Pods that a LimitRange refuses: the release says so in its words, and goes on when it asks for less.
pub async fn pods_over_the_limit_of_their_namespace_are_told(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    apply_text(
        cluster,
        "{apiVersion: v1, kind: LimitRange, metadata: {name: most}, spec: {limits: [{type: Container, max: {memory: \
         3Gi}}]}}",
    )
    .await?;
    let outcome = async {
        let large = ("/serving/resources", json!({"limits": {"memory": "4Gi"}}));
        apply(&cluster.client, &release("large", &[large])?).await?;
        let told = until_condition::<RagRelease>(cluster, "large", "Reconciling", &["Refused"], LATER).await?;
        ensure!(told.contains("Deployment large-") && told.contains("3Gi"), "the message does not say why: {told}");
        let small = Patch::Merge(json!({"spec": {"serving": {"resources": {"limits": {"memory": "1Gi"}}}}}));
        api::<RagRelease>(&cluster.client).patch("large", &PatchParams::default(), &small).await?;
        until_promoted(cluster, "large").await
    }
    .await;
    let ranges: Api<k8s_openapi::api::core::v1::LimitRange> = Api::namespaced(cluster.client.clone(), CASES);
    delete(&ranges, "most").await?;
    outcome?;
    remove_release(cluster, "large").await
}
