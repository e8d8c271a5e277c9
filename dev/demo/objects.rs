//! Objects of the cluster: applied as YAML, waited for by watch, deleted to the end.
//!
//! Invariant: a wait that ends in vain names its condition and what it last saw.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, discovery};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Field manager of the story.
pub const MANAGER: &str = "demo";

/// What one look at an object found.
pub enum Look<T> {
    Done(T),
    /// Not yet; what is seen, in words.
    NotYet(String),
}

/// The documents of a YAML text.
pub fn documents(yaml: &str) -> Result<Vec<Value>> {
    serde_yaml::Deserializer::from_str(yaml).map(|d| Ok(Value::deserialize(d)?)).collect()
}

/// The HTTPRoutes of a namespace.
pub fn routes(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind))
}

/// The Api of an object, by its kind.
pub async fn api_of(client: &Client, object: &DynamicObject) -> Result<Api<DynamicObject>> {
    let types = object.types.clone().context("an object without apiVersion and kind")?;
    let kind = GroupVersionKind::try_from(&types)?;
    let (resource, capabilities) = discovery::oneshot::pinned_kind(client, &kind)
        .await
        .with_context(|| format!("the cluster does not know {} {}", types.api_version, types.kind))?;
    Ok(match (capabilities.scope, object.metadata.namespace.as_deref()) {
        (discovery::Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (discovery::Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), namespace, &resource),
        (discovery::Scope::Namespaced, None) => bail!("{} {:?} names no namespace", types.kind, object.metadata.name),
    })
}

/// Applies one object server-side, as `kubectl apply --server-side --force-conflicts` does.
pub async fn apply(client: &Client, document: &Value) -> Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(document.clone())?;
    let name = object.metadata.name.clone().context("an object without a name")?;
    let api = api_of(client, &object).await?;
    let (how, what) = (PatchParams::apply(MANAGER).force(), Patch::Apply(document));
    tokio::time::timeout(Duration::from_secs(30), api.patch(&name, &how, &what))
        .await
        .with_context(|| format!("apply of {name} was not answered within 30 s"))?
        .with_context(|| format!("apply of {name} was refused"))
}

/// Applies every document of a YAML text.
pub async fn apply_yaml(client: &Client, yaml: &str) -> Result<()> {
    for document in documents(yaml)? {
        apply(client, &document).await?;
    }
    Ok(())
}

/// Puts every document into `namespace`; a Namespace takes the name itself.
pub fn placed(documents: Vec<Value>, namespace: &str) -> Vec<Value> {
    documents
        .into_iter()
        .map(|mut document| {
            let field = if document["kind"] == "Namespace" { "name" } else { "namespace" };
            document["metadata"][field] = Value::from(namespace);
            document
        })
        .collect()
}

/// Watches one object until `look` is done, fails, or the time is over.
pub async fn wait<K, T>(
    api: Api<K>,
    name: &str,
    what: &str,
    limit: Duration,
    mut look: impl FnMut(Option<&K>) -> Result<Look<T>>,
) -> Result<T>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut seen = "nothing yet".to_owned();
    let mut stream = std::pin::pin!(watcher::watch_object(api, name).default_backoff());
    let watching = async {
        while let Some(event) = stream.next().await {
            match event {
                Ok(object) => match look(object.as_ref())? {
                    Look::Done(value) => return Ok(value),
                    Look::NotYet(words) => seen = words,
                },
                // The watcher begins again by itself; a cluster that restarts is no failure of the story.
                Err(error) => seen = format!("the watch broke: {error}"),
            }
        }
        bail!("the watch ended")
    };
    match tokio::time::timeout(limit, watching).await {
        Ok(result) => result.with_context(|| format!("while waiting for {what}")),
        Err(_) => bail!("waited {} s for {what}; last seen: {seen}", limit.as_secs()),
    }
}

/// Asks again and again, a few times a second, for what no watch shows.
pub async fn poll<T, F>(what: &str, limit: Duration, mut ask: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<Look<T>>,
{
    let mut seen = "nothing yet".to_owned();
    let asking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            ticks.tick().await;
            match ask().await? {
                Look::Done(value) => return anyhow::Ok(value),
                Look::NotYet(words) => seen = words,
            }
        }
    };
    match tokio::time::timeout(limit, asking).await {
        Ok(result) => result.with_context(|| format!("while waiting for {what}")),
        Err(_) => bail!("waited {} s for {what}; last seen: {seen}", limit.as_secs()),
    }
}

/// Waits until an object is gone.
pub async fn wait_gone<K>(api: Api<K>, name: &str, limit: Duration) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    wait(api, name, &format!("{name} to be gone"), limit, |object| {
        Ok(match object {
            None => Look::Done(()),
            Some(object) => Look::NotYet(format!(
                "deletion asked for: {}, finalizers {:?}",
                object.meta().deletion_timestamp.is_some(),
                object.meta().finalizers.clone().unwrap_or_default()
            )),
        })
    })
    .await
}

/// Deletes an object that may be gone already.
pub async fn delete<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot delete {name}")),
    }
}

/// Deletes a namespace with all that is in it, and waits for its end.
pub async fn remove_namespace(client: &Client, namespace: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    delete(&namespaces, namespace).await?;
    wait_gone(namespaces, namespace, Duration::from_secs(180)).await
}
