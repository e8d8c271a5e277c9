//! The controller of EmbeddingModel.

use std::sync::Arc;

mod encoder;

pub use encoder::{encoder, mounts};

use super::context::Context;
use super::error::Error;
use super::plan::Plan;
use super::reconcile::Controlled;
use crate::api::EmbeddingModel;

/// The controller of EmbeddingModel.
pub struct Models;

impl Controlled for Models {
    const WORD: &'static str = "model";
    type Object = EmbeddingModel;
    type Status = crate::api::EmbeddingModelStatus;
    type Observed = ();

    async fn observe(_ctx: &Context, object: Arc<EmbeddingModel>) -> Result<Option<(EmbeddingModel, ())>, Error> {
        Ok(Some((object.as_ref().clone(), ())))
    }

    fn plan(object: &EmbeddingModel, (): &()) -> Plan<Self::Status> {
        Plan::of(object.status.clone().unwrap_or_default())
    }
}
