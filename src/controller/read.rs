//! Reads that several controllers make: one object, the objects of an owner, a Job with its pods.
//!
//! Invariant: no write; absence is data; every call has a time limit.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::core::{ApiResource, DeserializeGuard, DynamicObject, NamespaceResourceScope};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::attempt::Attempt;
use super::context::Context;
use super::error::{Error, LIST_LIMIT, OBJECT_LIMIT, within};
use crate::api::{Reason, names};

/// One object of a namespace.
pub async fn one<K>(ctx: &Context, namespace: &str, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let what = format!("{} {namespace}/{name}", K::kind(&()));
    let api: Api<K> = Api::namespaced(ctx.client.clone(), namespace);
    within(OBJECT_LIMIT, &what, api.get_opt(name)).await?.map_err(Error::read(what))
}

/// An object that a reference names.
#[derive(Clone, Debug, PartialEq)]
pub enum Referred<K> {
    Absent,
    /// It is there, but this operator cannot decode it: why.
    Unreadable(String),
    Here(Box<K>),
}

/// One of our own kinds, by reference: one that cannot be decoded is told apart from one that is absent.
pub async fn referred<K>(ctx: &Context, namespace: &str, name: &str) -> Result<Referred<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    Ok(match one::<DeserializeGuard<K>>(ctx, namespace, name).await? {
        None => Referred::Absent,
        Some(DeserializeGuard(Err(invalid))) => Referred::Unreadable(invalid.error),
        Some(DeserializeGuard(Ok(object))) => Referred::Here(Box::new(object)),
    })
}

/// All objects of one of our own kinds in a namespace; those that cannot be decoded are left out.
pub async fn all<K>(ctx: &Context, namespace: &str) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let found: Vec<DeserializeGuard<K>> = guarded(ctx, namespace).await?;
    Ok(found.into_iter().filter_map(|guard| guard.0.ok()).collect())
}

/// All objects of one of our own kinds in a namespace, also those that cannot be decoded: who asks whether
/// something is in use must not overlook them.
pub async fn guarded<K>(ctx: &Context, namespace: &str) -> Result<Vec<DeserializeGuard<K>>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    list(ctx, namespace, &ListParams::default()).await
}

/// Whether an object is there, without its content.
pub async fn exists<K>(ctx: &Context, namespace: &str, name: &str) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let what = format!("{} {namespace}/{name}", K::kind(&()));
    let api: Api<K> = Api::namespaced(ctx.client.clone(), namespace);
    let found = within(OBJECT_LIMIT, &what, api.get_metadata_opt(name)).await?.map_err(Error::read(what))?;
    Ok(found.is_some())
}

/// Objects that carry the label of an owner's UID. The label finds, the owner reference decides.
pub async fn owned<K>(ctx: &Context, namespace: &str, owner_uid: &str) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let params = ListParams::default().labels(&format!("{}={owner_uid}", names::LABEL_OWNER_UID));
    let found: Vec<K> = list(ctx, namespace, &params).await?;
    Ok(found.into_iter().filter(|o| is_owned(o.meta(), owner_uid)).collect())
}

/// Objects that match a label selector.
pub async fn labelled<K>(ctx: &Context, namespace: &str, selector: &str) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    list(ctx, namespace, &ListParams::default().labels(selector)).await
}

async fn list<K>(ctx: &Context, namespace: &str, params: &ListParams) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let what = format!("list of {} in {namespace}", K::kind(&()));
    let api: Api<K> = Api::namespaced(ctx.client.clone(), namespace);
    Ok(within(LIST_LIMIT, &what, api.list(params)).await?.map_err(Error::read(what))?.items)
}

/// Every snapshot of a revision that a release of this namespace keeps.
pub async fn snapshots(ctx: &Context, namespace: &str) -> Result<Vec<ControllerRevision>, Error> {
    labelled(ctx, namespace, &format!("app.kubernetes.io/managed-by={}", names::MANAGER)).await
}

/// A Job by name, with its pods.
pub async fn attempt(ctx: &Context, namespace: &str, name: &str) -> Result<Attempt, Error> {
    let job: Option<Job> = one(ctx, namespace, name).await?;
    let pods: Vec<Pod> = match &job {
        Some(_) => labelled(ctx, namespace, &format!("batch.kubernetes.io/job-name={name}")).await?,
        None => Vec::new(),
    };
    Ok(Attempt { job, pods, seen_at: Timestamp::now() })
}

/// Whether every pod that mounts this claim must run on one node: no access mode for many nodes.
pub async fn one_node_only(ctx: &Context, namespace: &str, claim: &str) -> Result<bool, Error> {
    let found: Option<PersistentVolumeClaim> = one(ctx, namespace, claim).await?;
    Ok(found.as_ref().is_some_and(only_one_node))
}

/// The same for a claim that was read.
pub fn only_one_node(claim: &PersistentVolumeClaim) -> bool {
    let modes = claim.spec.as_ref().and_then(|s| s.access_modes.as_deref()).unwrap_or_default();
    !modes.is_empty() && !modes.iter().any(|m| m == "ReadWriteMany")
}

/// Whether the owner reference of a controller has this UID.
pub fn is_owned(meta: &kube::core::ObjectMeta, owner_uid: &str) -> bool {
    meta.owner_references.iter().flatten().any(|o| o.controller == Some(true) && o.uid == owner_uid)
}

/// Whether an object that cannot be decoded already carries this message: nothing is written twice.
pub async fn told_already(
    ctx: &Context,
    resource: &ApiResource,
    namespace: &str,
    name: &str,
    reason: Reason,
    message: &str,
) -> Result<bool, Error> {
    let what = format!("{} {namespace}/{name}", resource.kind);
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), namespace, resource);
    let found = within(OBJECT_LIMIT, &what, api.get_opt(name)).await?.map_err(Error::read(what))?;
    let Some(object) = found else { return Ok(true) };
    let conditions = object.data.pointer("/status/conditions").and_then(|c| c.as_array());
    Ok(conditions.into_iter().flatten().any(|c| {
        c.get("type").and_then(|t| t.as_str()) == Some("Stalled")
            && c.get("reason").and_then(|r| r.as_str()) == Some(reason.as_str())
            && c.get("message").and_then(|m| m.as_str()) == Some(message)
    }))
}
