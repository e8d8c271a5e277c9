//! The controller of RagRelease: what serves, and how change reaches it.
//!
//! Why its own form of the frame: release and route are read live in every pass, and one decision is taken and
//! persisted at a time. Invariants: the route never exceeds the persisted decision; going down needs nothing
//! but the release, its route and the signals; a revision that failed is not tried again by itself.

pub mod observe;
pub mod plan;
pub mod render;
pub mod revision;
pub mod traffic;

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::error::Error;
use super::plan::Plan;
use super::reconcile::Controlled;
use crate::api::release::Stage;
use crate::api::{RagRelease, RagReleaseStatus};

/// The controller of RagRelease.
pub struct Releases;

impl Controlled for Releases {
    const WORD: &'static str = "release";
    type Object = RagRelease;
    type Status = RagReleaseStatus;
    type Observed = observe::Observed;

    async fn observe(ctx: &Context, object: Arc<RagRelease>) -> Result<Option<(RagRelease, observe::Observed)>, Error> {
        observe::observe(ctx, object).await
    }

    fn plan(object: &RagRelease, observed: &observe::Observed) -> Plan<RagReleaseStatus> {
        plan::plan(object, observed)
    }

    fn forget(ctx: &Context, namespace: &str, name: &str) {
        ctx.signals.forget(namespace, name);
    }

    /// While a candidate has traffic, the way back may not wait longer than this for an API server that came back.
    fn patience(release: &RagRelease) -> Duration {
        let candidate = release.status.as_ref().and_then(|s| s.candidate.as_ref());
        match candidate.map(|c| c.stage) {
            Some(Stage::Stepping | Stage::RollingBack) => Duration::from_secs(4),
            Some(Stage::Preparing | Stage::Verifying) | None => Duration::MAX,
        }
    }
}
