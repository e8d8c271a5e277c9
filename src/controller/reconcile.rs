//! One pass for one object: observe → plan → apply, with a time limit, a panic guard and backoff.
//!
//! Why generic: the four controllers differ in what they observe and plan, not in how a pass runs.
//! Invariants: a poison object never ends the process and never stops the others; an error never changes
//! conditions; a pass that plans no change writes nothing.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

use std::fmt::Debug;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use jiff::Timestamp;
use kube::core::object::HasStatus;
use kube::core::{ApiResource, DeserializeGuard};
use kube::runtime::controller::Action as Requeue;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::apply::{self, Conditioned};
use super::condition::{self, State};
use super::context::Context;
use super::error::{Class, Error, Refusal};
use super::event::Note;
use super::plan::Plan;
use crate::api::{Reason, names};

/// Longest pass: beyond it something hangs.
const PASS_LIMIT: Duration = Duration::from_secs(60);
/// So many conflicts in a row are no race: the object is tried less often, and people are told.
const STUBBORN: u32 = 5;

/// The object as it was read, with what the plan needs; `None`: it is gone.
pub type Seen<C> = Option<(<C as Controlled>::Object, <C as Controlled>::Observed)>;

/// One of the four controllers.
pub trait Controlled: Sized + 'static {
    /// Word in metrics and logs.
    const WORD: &'static str;
    type Object: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + HasStatus<Status = Self::Status>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static;
    type Status: PartialEq + Clone + Default + Conditioned + Send + Sync;
    type Observed: Send + Sync;

    /// Reads all that the plan needs.
    fn observe(ctx: &Context, object: Arc<Self::Object>) -> impl Future<Output = Result<Seen<Self>, Error>> + Send;

    /// Decides; pure and total.
    fn plan(object: &Self::Object, observed: &Self::Observed) -> Plan<Self::Status>;

    /// Lets go of what this controller keeps in memory of an object that is gone.
    fn forget(_ctx: &Context, _namespace: &str, _name: &str) {}

    /// Longest delay before this object is tried again after an error.
    fn patience(_object: &Self::Object) -> Duration {
        Duration::MAX
    }
}

/// Runs one pass and says when to come back; never fails, so that kube's own error policy has nothing to do.
pub async fn pass<C: Controlled>(object: Arc<DeserializeGuard<C::Object>>, ctx: Arc<Context>) -> Requeue {
    let key = key::<C>(object.meta());
    let started = Instant::now();
    let patience = object.0.as_ref().map_or(Duration::MAX, C::patience);
    let guarded = AssertUnwindSafe(tokio::time::timeout(PASS_LIMIT, one::<C>(&object, &ctx))).catch_unwind();
    let (result, requeue) = match guarded.await {
        Ok(Ok(Ok(requeue))) => {
            ctx.failures.reset(&key);
            ("success", requeue)
        }
        Ok(Ok(Err(error))) => ("error", failed::<C>(&ctx, &object, &key, patience, &error)),
        Ok(Err(_)) => {
            tracing::error!(object = key, "a pass took longer than {} s and was ended", PASS_LIMIT.as_secs());
            ctx.metrics.error(C::WORD);
            ("error", Requeue::requeue(ctx.failures.next(&key).1.min(patience)))
        }
        Err(panic) => {
            let text = panic_text(panic.as_ref());
            tracing::error!(object = key, panic = text, "a pass panicked; other objects go on");
            ctx.metrics.panic(C::WORD);
            let message = "The operator met an internal error at this object (see its log). Nothing that serves was \
                           touched. It tries again in 5 minutes; please report the log line.";
            let told = tell::<C>(object.meta(), &ctx, Reason::InternalError, message).await;
            if let Err(error) = told {
                tracing::warn!(object = key, %error, "cannot write the status");
            }
            ("panic", Requeue::requeue(Duration::from_secs(300)))
        }
    };
    ctx.metrics.pass(C::WORD, result, started.elapsed().as_secs_f64());
    requeue
}

async fn one<C: Controlled>(guard: &DeserializeGuard<C::Object>, ctx: &Context) -> Result<Requeue, Error> {
    let object = match &guard.0 {
        Ok(object) => Arc::new(object.clone()),
        Err(invalid) => {
            ctx.metrics.invalid(C::WORD);
            let message = format!(
                "This object cannot be read: {}. Nothing that serves was touched. Correct the field, or delete the \
                 object and apply it again.",
                invalid.error
            );
            tell::<C>(&invalid.metadata, ctx, Reason::InvalidObject, &message).await?;
            return Ok(Requeue::await_change());
        }
    };
    let Some((live, observed)) = C::observe(ctx, object).await? else { return Ok(Requeue::await_change()) };
    let seen = Instant::now();
    let plan = C::plan(&live, &observed);
    let requeue = plan.requeue;
    let key = key::<C>(live.meta());
    apply::carry_out(ctx, &key, &live, plan, seen).await?;
    if ctx.refusals.clear(&key) {
        // Nothing is refused any more: the status is told so.
        return Ok(Requeue::requeue(Duration::ZERO));
    }
    Ok(requeue.map_or_else(Requeue::await_change, Requeue::requeue))
}

/// Writes a Stalled state without reading the object's spec or status.
async fn tell<C: Controlled>(
    meta: &kube::core::ObjectMeta,
    ctx: &Context,
    reason: Reason,
    message: &str,
) -> Result<(), Error> {
    let generation = meta.generation.unwrap_or(0);
    let conditions = condition::derive(&[], &State::stalled(reason, message), &[], generation, Timestamp::now());
    let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let resource = ApiResource::erase::<C::Object>(&());
    if super::read::told_already(ctx, &resource, namespace, name, reason, message).await? {
        return Ok(());
    }
    apply::report_undecodable(ctx, &resource, namespace, name, &conditions, generation).await
}

fn failed<C: Controlled>(
    ctx: &Context,
    guard: &DeserializeGuard<C::Object>,
    key: &str,
    patience: Duration,
    error: &Error,
) -> Requeue {
    let object = guard.object_ref(&());
    let later = || {
        ctx.metrics.error(C::WORD);
        ctx.failures.next(key).1.min(patience)
    };
    match error.class() {
        // Somebody wrote between our read and our write: read again. One that stays is no race any more.
        Class::Conflict => {
            let (failures, delay) = ctx.failures.next(key);
            if failures < STUBBORN {
                return Requeue::requeue(Duration::from_secs(1));
            }
            let delay = delay.min(patience);
            ctx.metrics.error(C::WORD);
            tracing::warn!(object = key, %error, failures, retry_seconds = delay.as_secs(), "a conflict stays");
            let text =
                format!("{failures} passes in a row met a conflict ({error}); something else writes all the time.");
            ctx.events.send(object, Note::warning(Reason::WriteConflict, text));
            Requeue::requeue(delay)
        }
        Class::Transient => {
            let delay = later();
            tracing::warn!(object = key, %error, retry_seconds = delay.as_secs(), "a pass failed");
            Requeue::requeue(delay)
        }
        // What is left of the object goes with its namespace; its finalizer may still have to.
        Class::Ending => Requeue::requeue(Duration::from_secs(10)),
        Class::NotOwned => {
            let delay = later();
            tracing::warn!(object = key, %error, retry_seconds = delay.as_secs(), "a name is taken");
            ctx.events.send(object, Note::warning(Reason::NotOwned, format!("{error}.")));
            Requeue::requeue(delay)
        }
        Class::Forbidden => {
            let delay = later();
            tracing::warn!(object = key, %error, "the operator's role lacks a right; compare it with dev/install");
            let text = format!("The operator's role lacks a right: {error}. Compare it with dev/install/2-role.yaml.");
            ctx.events.send(object, Note::warning(Reason::Forbidden, text));
            Requeue::requeue(delay)
        }
        Class::Unsaid => {
            let delay = later();
            tracing::warn!(object = key, %error, retry_seconds = delay.as_secs(), "a status is refused");
            ctx.events.send(object, Note::warning(Reason::Refused, format!("{error}.")));
            Requeue::requeue(delay)
        }
        Class::Refused => {
            ctx.metrics.error(C::WORD);
            let (failures, delay) = ctx.failures.next(key);
            let delay = delay.min(patience);
            let generation = guard.meta().generation.unwrap_or(0);
            let news = error.refusal().is_some_and(|refusal| ctx.refusals.keep(key, generation, refusal));
            tracing::warn!(object = key, %error, retry_seconds = delay.as_secs(), "a write is refused");
            // The next pass tells it in the status; at once the first time, so that nothing turns without rest.
            Requeue::requeue(if news && failures == 1 { Duration::ZERO } else { delay })
        }
        Class::Bug => {
            ctx.metrics.error(C::WORD);
            tracing::error!(object = key, %error, "a bug; please report this line");
            Requeue::requeue(Duration::from_secs(300))
        }
    }
}

/// Lets go of what is kept in memory of an object that is gone.
pub fn forget<C: Controlled>(ctx: &Context, namespace: &str, name: &str) {
    let key = named::<C>(namespace, name);
    ctx.failures.reset(&key);
    ctx.refusals.clear(&key);
    C::forget(ctx, namespace, name);
}

fn key<C: Controlled>(meta: &kube::core::ObjectMeta) -> String {
    named::<C>(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// What the API server does not take of an object, by the last try.
pub fn refusal<C: Controlled>(ctx: &Context, namespace: &str, name: &str) -> Option<Refusal> {
    ctx.refusals.of(&named::<C>(namespace, name))
}

fn named<C: Controlled>(namespace: &str, name: &str) -> String {
    format!("{}/{namespace}/{name}", C::WORD)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}

/// The reference that children carry: ours as controller, in the same namespace.
pub fn owner<K: Resource<DynamicType = ()>>(
    object: &K,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
        api_version: format!("{}/{}", names::GROUP, names::VERSION),
        kind: K::kind(&()).into_owned(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests;
