//! The encoder behind the fault proxy: brought into the cluster, switched.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::{Request, header};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;

use super::cluster::Cluster;
use super::data::manifest;
use super::fault::{CONTROL_PORT, Fault};
use super::objects::{Look, apply, documents, placed, wait};

/// Name of the Deployment and the Service.
const NAME: &str = "fault-proxy";

/// Runs the proxy in front of `upstream` (an address without `/v1`) and waits until it answers.
pub async fn start(cluster: &Cluster, namespace: &str, upstream: &str) -> Result<()> {
    let yaml = manifest("dev/demo/manifests/fault-proxy.yaml")?
        .replace("IMAGE", &cluster.fault_proxy_image)
        .replace("UPSTREAM", upstream);
    for document in placed(documents(&yaml)?, namespace) {
        apply(&cluster.client, &document).await?;
    }
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    wait(api, NAME, "the fault proxy to be ready", Duration::from_secs(60), |deployment| {
        let ready = deployment.and_then(|d| d.status.as_ref()?.ready_replicas).unwrap_or(0);
        Ok(if ready == 1 { Look::Done(()) } else { Look::NotYet(format!("{ready} ready pods")) })
    })
    .await
}

/// Switches a fault on, or off.
pub async fn set(cluster: &Cluster, namespace: &str, fault: Fault) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/services/{NAME}:{CONTROL_PORT}/proxy/fault");
    let request =
        Request::put(&path).header(header::CONTENT_TYPE, "application/json").body(serde_json::to_vec(&fault)?)?;
    let answer: Fault = cluster.client.request(request).await.context("cannot switch the fault proxy")?;
    ensure!(answer == fault, "the fault proxy answers {answer:?}, not {fault:?}");
    Ok(())
}
