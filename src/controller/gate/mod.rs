//! The controller of EvalGate.

use std::sync::Arc;

use super::context::Context;
use super::error::Error;
use super::plan::Plan;
use super::reconcile::Controlled;
use crate::api::EvalGate;

/// The controller of EvalGate.
pub struct Gates;

impl Controlled for Gates {
    const WORD: &'static str = "gate";
    type Object = EvalGate;
    type Status = crate::api::EvalGateStatus;
    type Observed = ();

    async fn observe(_ctx: &Context, object: Arc<EvalGate>) -> Result<Option<(EvalGate, ())>, Error> {
        Ok(Some((object.as_ref().clone(), ())))
    }

    fn plan(object: &EvalGate, (): &()) -> Plan<Self::Status> {
        Plan::of(object.status.clone().unwrap_or_default())
    }
}

/// Whether a release names this gate.
pub fn used_by(gate: &EvalGate, release: &crate::api::RagRelease) -> bool {
    release.spec.rollout.gates.iter().any(|g| Some(&g.name) == gate.metadata.name.as_ref())
}

/// Digest of the part of a gate's spec that decides what a run measures and how it is judged.
pub fn spec_digest(spec: &crate::api::EvalGateSpec) -> String {
    crate::worker::job::digest(&(&spec.retrieval, &spec.online))
}
