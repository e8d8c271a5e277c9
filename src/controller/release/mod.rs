//! The controller of RagRelease.

use std::sync::Arc;

use super::context::Context;
use super::error::Error;
use super::plan::Plan;
use super::reconcile::Controlled;
use crate::api::RagRelease;

/// The controller of RagRelease.
pub struct Releases;

impl Controlled for Releases {
    const WORD: &'static str = "release";
    type Object = RagRelease;
    type Status = crate::api::RagReleaseStatus;
    type Observed = ();

    async fn observe(_ctx: &Context, object: Arc<RagRelease>) -> Result<Option<(RagRelease, ())>, Error> {
        Ok(Some((object.as_ref().clone(), ())))
    }

    fn plan(object: &RagRelease, (): &()) -> Plan<Self::Status> {
        Plan::of(object.status.clone().unwrap_or_default())
    }
}
