//! What a pass over an EvalGate reads.
//!
//! Invariant: reads only; absence is data.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::ResourceExt;

use super::render;
use crate::api::{DataFrom, EvalGate, RagRelease};
use crate::controller::attempt::Attempt;
use crate::controller::config::Config;
use crate::controller::context::Context;
use crate::controller::error::{Error, Refusal};
use crate::controller::read;
use crate::controller::reconcile::refusal;

/// What was read.
#[derive(Clone, Debug)]
pub struct Observed {
    pub now: Timestamp,
    pub config: Config,
    /// What the API server did not take in the last pass.
    pub refusal: Option<Refusal>,
    /// Whether the ConfigMap or claim with the data set is there.
    pub data: bool,
    /// The Job of the next check.
    pub check: Attempt,
    /// Our other Jobs.
    pub others: Vec<Job>,
    /// The releases of the namespace that name the gate, now, in the runs that they list or in a frozen plan.
    pub releases: Vec<RagRelease>,
}

/// Reads all that the plan needs; `None`: the object is gone.
pub async fn observe(ctx: &Context, cached: &EvalGate) -> Result<Option<(EvalGate, Observed)>, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    let name = cached.name_any();
    let Some(gate) = read::one::<EvalGate>(ctx, &namespace, &name).await? else { return Ok(None) };
    let check = render::check_name(&gate);
    let others = read::owned::<Job>(ctx, &namespace, &gate.uid().unwrap_or_default()).await?;
    let releases = read::all::<RagRelease>(ctx, &namespace).await?;
    let observed = Observed {
        now: Timestamp::now(),
        config: ctx.config.clone(),
        refusal: refusal::<super::Gates>(ctx, &namespace, &name),
        data: match &gate.spec.retrieval {
            Some(retrieval) => there(ctx, &namespace, &retrieval.dataset.from).await?,
            None => true,
        },
        check: read::attempt(ctx, &namespace, &check).await?,
        others: others.into_iter().filter(|job| job.name_any() != check).collect(),
        releases: releases.into_iter().filter(|release| concerns(release, &gate)).collect(),
    };
    Ok(Some((gate, observed)))
}

async fn there(ctx: &Context, namespace: &str, from: &DataFrom) -> Result<bool, Error> {
    if let Some(map) = &from.config_map {
        return read::exists::<ConfigMap>(ctx, namespace, &map.name).await;
    }
    match &from.volume {
        Some(volume) => read::exists::<PersistentVolumeClaim>(ctx, namespace, &volume.claim_name).await,
        None => Ok(false),
    }
}

fn concerns(release: &RagRelease, gate: &EvalGate) -> bool {
    let name = gate.name_any();
    let scheduled = release.status.iter().flat_map(|status| &status.scheduled).map(|scheduled| &scheduled.run);
    let listed = release.status.iter().flat_map(|status| &status.gates).chain(scheduled).any(|run| run.name == name);
    let plans = release.status.iter().filter_map(|status| status.plan.as_ref());
    let frozen = plans.flat_map(|plan| &plan.gates).any(|frozen| frozen.name == name);
    listed || frozen || super::used_by(gate, release)
}
