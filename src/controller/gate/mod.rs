//! The controller of EvalGate: a gate is usable when its data set was read in full.
//!
//! Why a check of its own: a typo in a judgments file must not show first when a release waits for it. Invariants:
//! Ready means usable, a failing candidate never turns a gate red; a verdict is listed once, by its Job's name, and
//! stays listed when its release moves on.
//!
//! Layout: [`declared`] the spec as checked values; [`observe`] reads; [`plan`] decides; [`render`] the check Job.

use std::sync::Arc;

use super::context::Context;
use super::error::Error;
use super::plan::Plan;
use super::reconcile::Controlled;
use crate::api::{EvalGate, RagRelease};

pub mod declared;
pub mod observe;
pub mod plan;
pub mod render;

/// The controller of EvalGate.
pub struct Gates;

impl Controlled for Gates {
    const WORD: &'static str = "gate";
    type Object = EvalGate;
    type Status = crate::api::EvalGateStatus;
    type Observed = observe::Observed;

    async fn observe(ctx: &Context, object: Arc<EvalGate>) -> Result<Option<(EvalGate, observe::Observed)>, Error> {
        observe::observe(ctx, &object).await
    }

    fn plan(object: &EvalGate, observed: &observe::Observed) -> Plan<Self::Status> {
        plan::plan(object, observed)
    }
}

/// Whether a release names this gate.
pub fn used_by(gate: &EvalGate, release: &RagRelease) -> bool {
    release.spec.rollout.gates.iter().any(|g| Some(&g.name) == gate.metadata.name.as_ref())
}
