//! The controller of EmbeddingModel: an encoder is measured before anybody uses it.
//!
//! Why: an index is worth as much as the encoder that its queries meet. Invariants: `status.url` and
//! `status.endpoint` are those of the last endpoint that passed its probe; a changed endpoint is measured beside
//! the one in use, a changed model directory in a server of its own (the trial); a model that somebody uses is
//! not deleted.
//!
//! Layout: [`declared`] the spec as checked values; [`observe`] reads; [`plan`] decides; [`judge`] what a probe's
//! numbers mean; [`render`] servers and Jobs; `encoder` what other pods are told.

use std::sync::Arc;

use super::context::Context;
use super::error::Error;
use super::plan::Plan;
use super::reconcile::Controlled;
use crate::api::EmbeddingModel;

pub mod declared;
mod encoder;
pub mod judge;
pub mod observe;
pub mod plan;
pub mod render;
mod server;

pub use encoder::{encoder, mounts};

/// The controller of EmbeddingModel.
pub struct Models;

impl Controlled for Models {
    const WORD: &'static str = "model";
    type Object = EmbeddingModel;
    type Status = crate::api::EmbeddingModelStatus;
    type Observed = observe::Observed;

    async fn observe(
        ctx: &Context,
        object: Arc<EmbeddingModel>,
    ) -> Result<Option<(EmbeddingModel, observe::Observed)>, Error> {
        observe::observe(ctx, &object).await
    }

    fn plan(object: &EmbeddingModel, observed: &observe::Observed) -> Plan<Self::Status> {
        plan::plan(object, observed)
    }
}
