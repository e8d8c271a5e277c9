//! The controller of VectorIndex: builds, verifies, keeps and deletes immutable versions.
//!
//! Why a version at a time: what a release serves must never change under it, so every change is a new
//! version beside the old ones, built by one Job and read back by another.
//!
//! Invariants: the number of a version is persisted before its Job exists; only a verified version is Ready;
//! a version that a release names is never deleted; deletion is `Retiring` persisted, releases read again,
//! then a Job; a failed build is not repeated until its inputs change.

use std::sync::Arc;

use super::context::Context;
use super::error::Error;
use super::plan::Plan;
use super::reconcile::Controlled;
use crate::api::index::{IndexVersion, VersionState};
use crate::api::{RagRelease, VectorIndex, VectorIndexStatus};

/// The controller of VectorIndex.
pub struct Indexes;

impl Controlled for Indexes {
    const WORD: &'static str = "index";
    type Object = VectorIndex;
    type Status = VectorIndexStatus;
    type Observed = ();

    async fn observe(_ctx: &Context, object: Arc<VectorIndex>) -> Result<Option<(VectorIndex, ())>, Error> {
        Ok(Some((object.as_ref().clone(), ())))
    }

    fn plan(object: &VectorIndex, (): &()) -> Plan<VectorIndexStatus> {
        Plan::of(object.status.clone().unwrap_or_default())
    }
}

/// The newest version that is Ready.
pub fn newest_ready(status: &VectorIndexStatus) -> Option<&IndexVersion> {
    status.versions.iter().rev().find(|v| v.state == VersionState::Ready)
}

/// The version of this name, in whatever state.
pub fn version<'a>(status: &'a VectorIndexStatus, name: &str) -> Option<&'a IndexVersion> {
    status.versions.iter().find(|v| v.name == name)
}

/// Whether a change of this release may matter to this index.
pub fn used_by(index: &VectorIndex, release: &RagRelease) -> bool {
    // A release that no longer names the index may free one that waits to be deleted.
    index.metadata.deletion_timestamp.is_some() || Some(&release.spec.index_ref.name) == index.metadata.name.as_ref()
}
