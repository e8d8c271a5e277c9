//! Whether the encoder that answers is still the one that built the index.
//!
//! Why while serving: a fingerprint is declared, and what stands behind an address can be exchanged at any time.
//!
//! Invariants: nothing here makes a server unready, since answers of a drifted encoder are better than none; while
//! nothing answers, what was found last stands.

use std::sync::Arc;
use std::time::Duration;

use super::api;
use crate::embedding::{Encoder, probe};

/// Time between two measurements of the encoder: 64 texts, which a large encoder without an accelerator works on
/// for seconds, and every pod asks.
pub const MEASURE_EVERY: Duration = Duration::from_secs(300);
/// Wait before the encoder is measured again after it did not answer; doubled each time.
const MEASURE_AGAIN: Duration = Duration::from_secs(1);
const MEASURE_AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// Compares the encoder in use with the one that built the version, again and again. What is found bars every raise
/// of weight.
pub(super) async fn measure(state: Arc<api::State>, encoder: Arc<dyn Encoder>, every: Duration) {
    let (mut wait, mut said) = (MEASURE_AGAIN, true);
    loop {
        match probe::vectors(encoder.as_ref()).await {
            Ok(vectors) => {
                let cosines = probe::cosines(state.engine.references(), &vectors);
                match (said, cosines.same()) {
                    (true, false) => tracing::warn!(
                        mean = cosines.mean,
                        min = cosines.min,
                        "the encoder is not the one of the index"
                    ),
                    (false, true) => tracing::info!("the encoder is the one of the index again"),
                    (true, true) | (false, false) => {}
                }
                said = cosines.same();
                state.metrics.encoder(cosines);
                wait = MEASURE_AGAIN;
                tokio::time::sleep(every).await;
            }
            Err(error) => {
                tracing::warn!(%error, "the encoder could not be measured; trying again");
                tokio::time::sleep(wait).await;
                wait = wait.saturating_mul(2).min(MEASURE_AGAIN_AT_MOST);
            }
        }
    }
}
