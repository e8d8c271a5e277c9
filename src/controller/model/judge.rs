//! What the numbers of a probe mean, read back from status.
//!
//! Why from status: the Job goes, its numbers stay, and every pass judges them in the same way.

use crate::api::model::EmbeddingModelStatus;
use crate::api::{ConditionType, Reason};
use crate::controller::condition::Extra;

/// Least cosine between two encodings of one text.
pub const LEAST_SELF_NOISE: f64 = 0.999;
/// Least mean cosine with the sketch of the encoder that was accepted.
pub const LEAST_COSINE: f64 = 0.9995;

/// What the last probe found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The declared encoder: the first that passed, or the same again.
    Same,
    DimensionMismatch {
        found: i32,
    },
    Noisy {
        cosine: f64,
    },
    Drifted {
        cosine: f64,
    },
}

/// The verdict on what `digest` stands for; `None` while that was not measured.
pub fn verdict(status: &EmbeddingModelStatus, dimensions: i32, digest: &str) -> Option<Verdict> {
    if status.probed_endpoint.as_deref() != Some(digest) {
        return None;
    }
    let (found, noise) = (status.dimensions?, status.self_noise?);
    Some(if found != dimensions {
        Verdict::DimensionMismatch { found }
    } else if !at_least(noise, LEAST_SELF_NOISE) {
        Verdict::Noisy { cosine: noise }
    } else if let Some(cosine) = status.cosine_mean.filter(|c| !at_least(*c, LEAST_COSINE)) {
        Verdict::Drifted { cosine }
    } else {
        Verdict::Same
    })
}

/// NaN is not at least anything.
fn at_least(value: f64, least: f64) -> bool {
    value >= least
}

impl Verdict {
    /// The reason of a failed probe.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Same => None,
            Self::DimensionMismatch { .. } => Some(Reason::DimensionMismatch),
            Self::Noisy { .. } => Some(Reason::NoisyEndpoint),
            Self::Drifted { .. } => Some(Reason::FingerprintChanged),
        }
    }
}

/// The condition Drifted: there as soon as there is something to compare with.
pub fn drifted(status: &EmbeddingModelStatus) -> Option<Extra> {
    status.sketch.as_ref()?;
    let cosine = status.cosine_mean;
    let drifted = cosine.is_some_and(|c| !at_least(c, LEAST_COSINE));
    let message = match (drifted, cosine) {
        (true, Some(cosine)) => format!(
            "The last probe gave other vectors than the encoder that was accepted: mean cosine {cosine:.4}, at least \
             {LEAST_COSINE} is needed."
        ),
        (_, Some(cosine)) => {
            format!("The last probe gave the vectors of the encoder that was accepted: mean cosine {cosine:.4}.")
        }
        (_, None) => "The first probe; later ones are compared with it.".to_owned(),
    };
    let reason = if drifted { Reason::FingerprintChanged } else { Reason::FingerprintSame };
    Some(Extra { type_: ConditionType::Drifted, status: drifted, reason, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(dimensions: i32, noise: f64, cosine: Option<f64>) -> EmbeddingModelStatus {
        EmbeddingModelStatus {
            probed_endpoint: Some("d".to_owned()),
            dimensions: Some(dimensions),
            self_noise: Some(noise),
            cosine_mean: cosine,
            sketch: Some("s".to_owned()),
            ..EmbeddingModelStatus::default()
        }
    }

    #[test]
    fn the_borders_belong_to_the_good_side() {
        let of = |status: &EmbeddingModelStatus| verdict(status, 8, "d");
        assert_eq!(of(&measured(8, 0.999, Some(0.9995))), Some(Verdict::Same));
        assert_eq!(of(&measured(8, 0.998_999, None)), Some(Verdict::Noisy { cosine: 0.998_999 }));
        assert_eq!(of(&measured(8, 1.0, Some(0.999_49))), Some(Verdict::Drifted { cosine: 0.999_49 }));
        assert_eq!(of(&measured(7, 0.0, Some(0.0))), Some(Verdict::DimensionMismatch { found: 7 }));
        assert!(matches!(of(&measured(8, f64::NAN, None)), Some(Verdict::Noisy { .. })));
        assert!(matches!(of(&measured(8, 1.0, Some(f64::NAN))), Some(Verdict::Drifted { .. })));
    }

    #[test]
    fn numbers_of_another_endpoint_say_nothing() {
        assert_eq!(verdict(&measured(8, 1.0, None), 8, "other"), None);
        assert_eq!(verdict(&EmbeddingModelStatus::default(), 8, "d"), None);
    }
}
