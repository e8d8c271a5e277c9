//! Installs the operator as a user does: the CRDs, then `dev/install`, with the image that is tried.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, LogParams};
use serde_json::Value;

use super::cluster::Cluster;
use super::data::manifest;
use super::objects::{Look, apply, apply_yaml, documents, wait};

/// Where the operator runs.
pub const NAMESPACE: &str = "rag-system";
/// Its name.
pub const OPERATOR: &str = "rag-operator";
/// What the manifests say in place of an image.
const PLACEHOLDER: &str = "localhost/rag-operator:dev";

/// CRDs and operator, until it is ready.
pub async fn install(cluster: &Cluster) -> Result<()> {
    crds(cluster).await?;
    for file in ["1-namespace", "2-role", "3-config", "4-operator"] {
        let yaml = manifest(&format!("dev/install/{file}.yaml"))?.replace(PLACEHOLDER, &cluster.image);
        apply_yaml(&cluster.client, &yaml).await?;
    }
    ready(cluster).await
}

/// Applies the CRDs and waits until the apiserver serves them.
pub async fn crds(cluster: &Cluster) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    for (file, yaml) in rag_operator::controller::crds::all()? {
        let document: Value = documents(&yaml)?.into_iter().next().context("an empty CRD")?;
        let applied = apply(&cluster.client, &document).await.with_context(|| file.to_owned())?;
        let name = applied.metadata.name.unwrap_or_default();
        wait(api.clone(), &name, "the CRD to be served", Duration::from_secs(30), |crd| {
            let established = crd
                .and_then(|c| c.status.as_ref()?.conditions.clone())
                .unwrap_or_default()
                .iter()
                .any(|c| c.type_ == "Established" && c.status == "True");
            Ok(if established { Look::Done(()) } else { Look::NotYet("not established".to_owned()) })
        })
        .await?;
    }
    Ok(())
}

/// Waits until the Deployment of the operator is rolled out and ready; its own words when it does not come.
pub async fn ready(cluster: &Cluster) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let waited = wait(api, OPERATOR, "the operator to be ready", Duration::from_secs(90), |deployment| {
        let Some(deployment) = deployment else { return Ok(Look::NotYet("no Deployment".to_owned())) };
        let status = deployment.status.clone().unwrap_or_default();
        let current = status.observed_generation == deployment.metadata.generation;
        let (updated, ready) = (status.updated_replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
        Ok(if current && updated == 1 && ready == 1 && status.replicas == Some(1) {
            Look::Done(())
        } else {
            Look::NotYet(format!("{updated} pod of this version, {ready} ready"))
        })
    })
    .await;
    match waited {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(last_words(cluster).await)),
    }
}

/// What the operator has written last.
pub async fn last_words(cluster: &Cluster) -> String {
    let words = async {
        let name = operator_pod(cluster).await?.metadata.name.context("a pod without a name")?;
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
        anyhow::Ok(pods.logs(&name, &LogParams { tail_lines: Some(10), ..LogParams::default() }).await?)
    };
    match words.await {
        Ok(words) => format!("the operator wrote last: {}", words.trim()),
        Err(error) => format!("the operator left no words ({error:#})"),
    }
}

/// The operator's one pod.
pub async fn operator_pod(cluster: &Cluster) -> Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    pods.list(&ListParams::default().labels(&format!("app.kubernetes.io/name={OPERATOR}")))
        .await?
        .items
        .into_iter()
        .find(|p| p.metadata.deletion_timestamp.is_none())
        .context("the operator has no pod")
}

/// How often the operator's container was started again, over all its pods that are there.
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.and_then(|s| s.first()).map_or(0, |s| s.restart_count)
}
