//! The controller of VectorIndex.

use std::sync::Arc;

use super::context::Context;
use super::error::Error;
use super::plan::Plan;
use super::reconcile::Controlled;
use crate::api::VectorIndex;

/// The controller of VectorIndex.
pub struct Indexes;

impl Controlled for Indexes {
    const WORD: &'static str = "index";
    type Object = VectorIndex;
    type Status = crate::api::VectorIndexStatus;
    type Observed = ();

    async fn observe(_ctx: &Context, object: Arc<VectorIndex>) -> Result<Option<(VectorIndex, ())>, Error> {
        Ok(Some((object.as_ref().clone(), ())))
    }

    fn plan(object: &VectorIndex, (): &()) -> Plan<Self::Status> {
        Plan::of(object.status.clone().unwrap_or_default())
    }
}

/// Whether a release names this index.
pub fn used_by(index: &VectorIndex, release: &crate::api::RagRelease) -> bool {
    Some(&release.spec.index_ref.name) == index.metadata.name.as_ref()
}
