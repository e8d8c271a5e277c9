//! THE ONLY WRITER: carries a plan out, takes no decision.
//!
//! Why one file: who reads it knows every write that the operator can make, and its right in the role.
//! Invariants: status first, with the resourceVersion that was read; then the actions in order, each with its
//! precondition; a conflict ends the pass, a refusal only its action; every call has a time limit; nobody else's object is ever written.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

use std::fmt::Debug;
use std::future::Future;
use std::time::Instant;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::object::HasStatus;
use kube::core::{ApiResource, DynamicObject, NamespaceResourceScope};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::context::Context;
use super::error::{Class, Error, OBJECT_LIMIT, within};
use super::event;
use super::plan::{Action, ChildKind, Plan, Rollback};
use super::read::is_owned;
use super::route::HTTPRoute;
use crate::api::names;

/// Carries `plan` out for `object`, as it was read; `key`: how logs name it; `seen`: when the observation behind the plan
/// was complete.
pub async fn carry_out<K, S>(ctx: &Context, key: &str, object: &K, plan: Plan<S>, seen: Instant) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + HasStatus<Status = S>
        + Clone
        + Serialize
        + DeserializeOwned
        + Debug,
    S: PartialEq + Clone + Default + Conditioned,
{
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &namespace);
    let mut resource_version = object.resource_version();
    let old = object.status().cloned().unwrap_or_default();
    if object.status() != Some(&plan.status) {
        let mut changed = object.clone();
        changed.meta_mut().managed_fields = None;
        *changed.status_mut() = Some(plan.status.clone());
        let what = format!("status of {} {namespace}/{}", K::kind(&()), object.name_any());
        let written = limited(&what, api.replace_status(&object.name_any(), &PostParams::default(), &changed))
            .await?
            .map_err(Error::write_status(what))?;
        resource_version = written.resource_version();
        ctx.metrics.write("status");
    }
    // Told now: whatever fails below, the next pass finds the decision in the status and sees no change any more.
    if let Some(rollback) = plan.rollback {
        ctx.metrics.rollback(rollback.reason.as_str());
    }
    let reference = object.object_ref(&());
    let derived = event::changes(old.conditions(), plan.status.conditions());
    for note in plan.events.into_iter().chain(derived) {
        ctx.events.send(reference.clone(), note);
    }
    let mut refused = None;
    for action in plan.actions {
        // What goes must be gone before the object may go.
        if refused.is_some() && matches!(action, Action::Finalizer { present: false }) {
            break;
        }
        let route_sent = action.writes_route().then(Instant::now);
        let done = perform(ctx, &api, object, &namespace, &mut resource_version, action).await;
        if let (Some(sent), Some(rollback)) = (route_sent, plan.rollback) {
            measure(ctx, key, rollback, rollback.since.unwrap_or(seen), sent);
        }
        match done {
            // A Job over its quota is no reason to leave a Service unmade: each action has a precondition of its own.
            Err(error) if error.class() == Class::Refused => refused = refused.or(Some(error)),
            done => done?,
        }
    }
    refused.map_or(Ok(()), Err)
}

/// How long it took to take traffic away.
fn measure(ctx: &Context, key: &str, rollback: Rollback, since: Instant, sent: Instant) {
    let own = sent.saturating_duration_since(since);
    ctx.metrics.rollback_sent(own.as_secs_f64());
    tracing::info!(
        object = key,
        reason = rollback.reason.as_str(),
        own_ms = own.as_secs_f64() * 1_000.0,
        answered_ms = since.elapsed().as_secs_f64() * 1_000.0,
        "traffic taken away: from the signals complete to the write of the route sent, and to its answer"
    );
}

/// A status that has conditions.
pub trait Conditioned {
    fn conditions(&self) -> &[crate::api::Condition];
}

macro_rules! conditioned {
    ($($status:ty),+) => { $(impl Conditioned for $status {
        fn conditions(&self) -> &[crate::api::Condition] { &self.conditions }
    })+ };
}
conditioned!(
    crate::api::EmbeddingModelStatus,
    crate::api::VectorIndexStatus,
    crate::api::EvalGateStatus,
    crate::api::RagReleaseStatus
);

async fn perform<K>(
    ctx: &Context,
    api: &Api<K>,
    object: &K,
    namespace: &str,
    resource_version: &mut Option<String>,
    action: Action,
) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    match action {
        Action::Create { kind, name, body } => create(ctx, kind, namespace, &name, body, object).await,
        Action::Apply { kind, name, body, why } => {
            let what = format!("{} {namespace}/{name}", kind.word());
            tracing::info!("{what} is written: {}", why.trim_start());
            apply(ctx, &child(&ctx.client, kind, namespace), kind, what, &name, &body).await
        }
        Action::Replace { kind, name, body, otherwise } => {
            let written = replace(ctx, kind, namespace, &name, body).await;
            match (written, otherwise) {
                (Err(error), Some(otherwise)) if error.class() == Class::Refused => {
                    replace(ctx, kind, namespace, &name, otherwise).await
                }
                (written, _) => written,
            }
        }
        Action::Delete { kind, name, uid, resource_version } => {
            let what = format!("{} {namespace}/{name}", kind.word());
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid: Some(uid), resource_version }),
                ..DeleteParams::background()
            };
            let call = child(&ctx.client, kind, namespace);
            ctx.metrics.write(kind.word());
            match limited(&what, call.delete(&name, &params)).await? {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                Err(error) => Err(Error::write(what)(error)),
            }
        }
        Action::ExpireJob { name, seconds } => {
            let what = format!("Job {namespace}/{name}");
            let patch = json!({"spec": {"ttlSecondsAfterFinished": seconds}});
            let call = child(&ctx.client, ChildKind::Job, namespace);
            ctx.metrics.write("Job");
            match limited(&what, call.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))).await? {
                Ok(_) => Ok(()),
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                Err(error) => Err(Error::write(what)(error)),
            }
        }
        Action::Finalizer { present } => finalizer(ctx, api, object, resource_version, present).await,
    }
}

async fn replace(ctx: &Context, kind: ChildKind, namespace: &str, name: &str, body: Value) -> Result<(), Error> {
    let what = format!("{} {namespace}/{name}", kind.word());
    let body: DynamicObject = serde_json::from_value(body).map_err(|e| Error::Bug(format!("{what}: {e}")))?;
    let params = PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
    let call = child(&ctx.client, kind, namespace);
    ctx.metrics.write(kind.word());
    limited(&what, call.replace(name, &params, &body)).await?.map_err(Error::write(what))?;
    Ok(())
}

async fn create<K: Resource<DynamicType = ()>>(
    ctx: &Context,
    kind: ChildKind,
    namespace: &str,
    name: &str,
    body: Value,
    owner: &K,
) -> Result<(), Error> {
    let what = format!("{} {namespace}/{name}", kind.word());
    let api = child(&ctx.client, kind, namespace);
    match kind {
        ChildKind::Job | ChildKind::ControllerRevision | ChildKind::HttpRoute => {
            let body = serde_json::from_value(body).map_err(|e| Error::Bug(format!("{what}: {e}")))?;
            let params = PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
            ctx.metrics.write(kind.word());
            match limited(&what, api.create(&params, &body)).await? {
                Ok(_) => Ok(()),
                // Made in a pass whose reply was lost, or somebody else's.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    match is_ours(&api, &what, name, owner).await? {
                        Some(true) => Ok(()),
                        Some(false) => Err(Error::NotOwned { what }),
                        None => Err(Error::Conflict { what }),
                    }
                }
                Err(error) => Err(Error::write(what)(error)),
            }
        }
        // Applied from the first write on: what a later intent says no more goes only if we own it by apply. An apply
        // has no precondition "absent", so it is looked for right before.
        ChildKind::Deployment | ChildKind::Service => match is_ours(&api, &what, name, owner).await? {
            Some(true) => Ok(()),
            Some(false) => Err(Error::NotOwned { what }),
            None => apply(ctx, &api, kind, what, name, &body).await,
        },
    }
}

/// Writes the complete intent: what our earlier intent said beyond it goes.
async fn apply(
    ctx: &Context,
    api: &Api<DynamicObject>,
    kind: ChildKind,
    what: String,
    name: &str,
    body: &Value,
) -> Result<(), Error> {
    let params = PatchParams::apply(names::MANAGER).force();
    ctx.metrics.write(kind.word());
    limited(&what, api.patch(name, &params, &Patch::Apply(body))).await?.map_err(Error::write(what))?;
    Ok(())
}

/// Whether the object of this name is the owner's; `None`: there is none.
async fn is_ours<K: Resource<DynamicType = ()>>(
    api: &Api<DynamicObject>,
    what: &str,
    name: &str,
    owner: &K,
) -> Result<Option<bool>, Error> {
    let found = limited(what, api.get_opt(name)).await?.map_err(Error::read(what))?;
    let uid = owner.meta().uid.as_deref().unwrap_or_default();
    Ok(found.map(|found| is_owned(&found.metadata, uid)))
}

async fn finalizer<K>(
    ctx: &Context,
    api: &Api<K>,
    object: &K,
    resource_version: &mut Option<String>,
    present: bool,
) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let mut finalizers: Vec<String> =
        object.finalizers().iter().filter(|f| f.as_str() != names::FINALIZER).cloned().collect();
    if present {
        finalizers.push(names::FINALIZER.to_owned());
    }
    let what = format!("finalizer of {} {}", K::kind(&()), object.name_any());
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": resource_version}});
    ctx.metrics.write("finalizer");
    match limited(&what, api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch))).await? {
        Ok(written) => {
            *resource_version = written.resource_version();
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::write(what)(error)),
    }
}

/// Says on the object itself that it cannot be read, without reading it.
pub async fn report_undecodable(
    ctx: &Context,
    resource: &ApiResource,
    namespace: &str,
    name: &str,
    conditions: &[crate::api::Condition],
    generation: i64,
) -> Result<(), Error> {
    let what = format!("status of {} {namespace}/{name}", resource.kind);
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), namespace, resource);
    let patch = json!({"status": {"observedGeneration": generation, "conditions": conditions}});
    ctx.metrics.write("status");
    limited(&what, api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)))
        .await?
        .map_err(Error::write(what))?;
    Ok(())
}

impl ChildKind {
    /// The kind as users read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::ControllerRevision => "ControllerRevision",
            Self::HttpRoute => "HTTPRoute",
        }
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Job => ApiResource::erase::<Job>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::ControllerRevision => ApiResource::erase::<ControllerRevision>(&()),
            Self::HttpRoute => ApiResource::erase::<HTTPRoute>(&()),
        }
    }
}

fn child(client: &Client, kind: ChildKind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind.resource())
}

/// A call with the time limit of one object.
async fn limited<T>(what: &str, call: impl Future<Output = T>) -> Result<T, Error> {
    within(OBJECT_LIMIT, what, call).await
}

#[cfg(test)]
pub(super) mod tests;
