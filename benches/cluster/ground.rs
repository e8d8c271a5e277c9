//! The namespace of the bench: claims, one encoder, one index, one online gate; no retrieval gate, since what gates cost
//! is not measured here.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::api::Api;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::demo::claims;
use crate::demo::cluster::Cluster;
use crate::demo::data::{Dataset, manifest, models};
use crate::demo::objects::{Look, apply, delete, documents, placed, remove_namespace, wait, wait_gone};
use crate::demo::story::{Seen, release_document};
use rag_operator::api::release::RagReleaseStatus;
use rag_operator::api::{Condition, EmbeddingModel, EvalGate, RagRelease, VectorIndex};

/// Its namespace.
pub const NAMESPACE: &str = "rag-bench";
/// For what builds an index or starts pods.
pub const LATER: Duration = Duration::from_secs(300);

/// What both measures need.
pub struct Ground<'a> {
    pub cluster: &'a Cluster,
    pub queries: Vec<String>,
}

impl<'a> Ground<'a> {
    /// Makes the namespace anew and fills it.
    pub async fn prepare(cluster: &'a Cluster) -> Result<Self> {
        let data = Dataset::open()?;
        let ground = Self { cluster, queries: data.queries.clone() };
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        if namespaces.get_opt(NAMESPACE).await?.is_some() {
            ground.remove().await?;
        }
        for file in ["1-namespace", "2-claims"] {
            ground.apply(&format!("examples/handbook/{file}.yaml"), |_| true).await?;
        }
        eprintln!("Filling the claims …");
        claims::fill(cluster, NAMESPACE, "corpus", data.files()).await?;
        claims::fill(cluster, NAMESPACE, "models", models()?).await?;
        ground.apply("examples/handbook/3-models.yaml", |name| name == "wordllama").await?;
        ground.apply("examples/handbook/4-index.yaml", |_| true).await?;
        ground.apply("examples/handbook/5-gates.yaml", |name| name == "live-slo").await?;
        ground.ready::<EmbeddingModel>("wordllama").await?;
        ground.ready::<VectorIndex>("handbook").await?;
        ground.ready::<EvalGate>("live-slo").await?;
        Ok(ground)
    }

    /// Removes the namespace with all that is in it.
    pub async fn remove(&self) -> Result<()> {
        remove_namespace(&self.cluster.client, NAMESPACE).await
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client.clone(), NAMESPACE)
    }

    /// Applies those documents of a manifest whose names are wanted.
    pub async fn apply(&self, path: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let yaml = manifest(path)?.replace(".handbook.svc", &format!(".{NAMESPACE}.svc"));
        for document in placed(documents(&yaml)?, NAMESPACE) {
            if wanted(document["metadata"]["name"].as_str().unwrap_or_default()) {
                apply(&self.cluster.client, &document).await?;
            }
        }
        Ok(())
    }

    /// Where a release of the bench answers, without `/v1/search`.
    pub fn address(&self, name: &str) -> String {
        format!("{}/{NAMESPACE}-{name}", self.cluster.gateway)
    }

    /// Applies the release of examples/handbook under a name, with one pod a revision and the changes.
    pub async fn release(&self, name: &str, changes: &[(&str, Value)]) -> Result<()> {
        let one_pod = [("/serving/replicas", json!(1))];
        let changes: Vec<(&str, Value)> = one_pod.into_iter().chain(changes.iter().cloned()).collect();
        let mut document = release_document(NAMESPACE, &format!("/{NAMESPACE}-{name}"), &changes)?;
        document["metadata"]["name"] = Value::from(name);
        apply(&self.cluster.client, &document).await?;
        Ok(())
    }

    /// Waits until a release serves its present spec.
    pub async fn promoted(&self, name: &str) -> Result<RagReleaseStatus> {
        self.watch::<RagRelease, _>(name, "to serve", |release, seen| {
            let status = release.status.clone().unwrap_or_default();
            Ok(seen.ready()?.and(status.candidate.is_none().then_some(status)))
        })
        .await
    }

    /// Waits until an object is Ready; a standstill ends the wait.
    pub async fn ready<K: Ours>(&self, name: &str) -> Result<()> {
        self.watch::<K, _>(name, "to be Ready", |_, seen| seen.ready()).await
    }

    /// Watches an object until `look` finds something.
    pub async fn watch<K: Ours, T>(
        &self,
        name: &str,
        what: &str,
        mut look: impl FnMut(&K, &Seen) -> Result<Option<T>>,
    ) -> Result<T> {
        let what = format!("{} {name} {what}", K::kind(&()));
        wait(self.api::<K>(), name, &what, LATER, |object| {
            let Some(object) = object else { return Ok(Look::NotYet("not there".to_owned())) };
            let seen = seen(object)?;
            Ok(look(object, &seen)?.map_or_else(|| Look::NotYet(seen.words()), Look::Done))
        })
        .await
    }

    /// Deletes an object to its end.
    pub async fn delete<K: Ours>(&self, name: &str) -> Result<()> {
        delete(&self.api::<K>(), name).await?;
        wait_gone(self.api::<K>(), name, LATER).await
    }
}

/// A kind of ours.
pub trait Ours:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + 'static
{
}

impl Ours for EmbeddingModel {}
impl Ours for VectorIndex {}
impl Ours for EvalGate {}
impl Ours for RagRelease {}

/// The conditions of an object; all kinds keep them in the same place.
fn seen<K: Ours>(object: &K) -> Result<Seen> {
    let status = serde_json::to_value(object)?["status"].clone();
    let conditions: Vec<Condition> = match &status["conditions"] {
        Value::Null => Vec::new(),
        conditions => serde_json::from_value(conditions.clone())?,
    };
    Ok(Seen::of(object.meta().generation, status["observedGeneration"].as_i64().unwrap_or(-1), &conditions))
}
