//! Counters of pods, read through the apiserver's proxy: pods are not reachable from outside, their apiserver is.

use anyhow::{Context as _, Result};
use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use rag_operator::api::names::{LABEL_OWNER, LABEL_REVISION, PORT_HEALTH};

use super::cluster::Cluster;
use super::install;

/// One exposition of metrics.
pub struct Exposition(String);

impl Exposition {
    /// Sum of a metric over all series whose labels hold every `label="value"` of `with`.
    pub fn sum(&self, metric: &str, with: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = with.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        self.0
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                (name == metric && wanted.iter().all(|w| labels.contains(w.as_str()))).then_some(value)
            })
            .filter_map(|value| value.parse::<f64>().ok())
            .sum()
    }
}

/// `GET /metrics` of a pod's health port.
pub async fn pod(cluster: &Cluster, namespace: &str, name: &str) -> Result<Exposition> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{PORT_HEALTH}/proxy/metrics");
    let request = Request::get(&path).body(Vec::new())?;
    let text = cluster.client.request_text(request).await;
    Ok(Exposition(text.with_context(|| format!("cannot read the metrics of {namespace}/{name}"))?))
}

/// The operator's own metrics.
pub async fn operator(cluster: &Cluster) -> Result<Exposition> {
    let pod_of = install::operator_pod(cluster).await?;
    pod(cluster, install::NAMESPACE, &pod_of.metadata.name.unwrap_or_default()).await
}

/// The pods that serve a revision of a release.
pub async fn pods_of(cluster: &Cluster, namespace: &str, release: &str, revision: &str) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let selector = format!("{LABEL_OWNER}={release},{LABEL_REVISION}={revision}");
    let found = pods.list(&ListParams::default().labels(&selector)).await?;
    Ok(found.items.into_iter().filter_map(|p| p.metadata.name).collect())
}

/// Requests that the pods of a revision have answered on the traffic port, whatever the outcome.
pub async fn answered(cluster: &Cluster, namespace: &str, release: &str, revision: &str) -> Result<u64> {
    let mut sum = 0.0;
    for name in pods_of(cluster, namespace, release, revision).await? {
        sum += pod(cluster, namespace, &name).await?.sum("rag_requests_total", &[]);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(sum as u64)
}
