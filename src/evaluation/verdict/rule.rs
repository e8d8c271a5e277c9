//! What must hold of a metric, and how a difference is judged.
//!
//! Invariant: a [`Rule`] that exists names a known metric and holds values in their ranges.

use crate::evaluation::metric::{Metric, UnknownMetric};

/// How a difference is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Bounds of Student's t, and a sign-flip test that can only take a Pass away.
    PairedSignFlip,
    /// The bounds alone.
    PairedT,
}

/// Method and one-sided error rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    pub method: Method,
    pub alpha: f64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { method: Method::PairedSignFlip, alpha: 0.05 }
    }
}

impl Statistics {
    /// Checks the error rate.
    pub fn new(method: Method, alpha: f64) -> Result<Self, RuleError> {
        if (0.001..=0.2).contains(&alpha) { Ok(Self { method, alpha }) } else { Err(RuleError::Alpha(alpha)) }
    }

    pub(super) fn confidence_percent(&self) -> f64 {
        ((1.0 - self.alpha) * 1e4).round() / 1e2
    }
}

/// What must hold of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    pub(super) metric: Metric,
    /// Largest acceptable drop against the baseline.
    pub(super) margin: Option<f64>,
    /// Least mean of the candidate.
    pub(super) floor: Option<f64>,
    /// Largest mean of the candidate.
    pub(super) max: Option<f64>,
    /// Whether the gate's verdict depends on it.
    pub(super) required: bool,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    #[error(transparent)]
    Metric(#[from] UnknownMetric),
    #[error("{metric}: margin must be at least 0.000001 and at most 1; got {found}")]
    Margin { metric: Metric, found: f64 },
    #[error("{metric}: {field} must lie between 0 and 1; got {found}")]
    Share { metric: Metric, field: &'static str, found: f64 },
    #[error("{0}: at least one of margin, floor and max must be set")]
    Nothing(Metric),
    #[error("alpha must lie between 0.001 and 0.2; got {0}")]
    Alpha(f64),
}

impl Rule {
    /// Checks a rule as a user wrote it.
    pub fn new(
        name: &str,
        margin: Option<f64>,
        floor: Option<f64>,
        max: Option<f64>,
        required: bool,
    ) -> Result<Self, RuleError> {
        let metric: Metric = name.parse()?;
        if let Some(found) = margin.filter(|m| !(0.000_001..=1.0).contains(m)) {
            return Err(RuleError::Margin { metric, found });
        }
        for (field, value) in [("floor", floor), ("max", max)] {
            if let Some(found) = value.filter(|x| !(0.0..=1.0).contains(x)) {
                return Err(RuleError::Share { metric, field, found });
            }
        }
        if margin.is_none() && floor.is_none() && max.is_none() {
            return Err(RuleError::Nothing(metric));
        }
        Ok(Self { metric, margin, floor, max, required })
    }

    /// The metric.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Largest acceptable drop against the baseline.
    pub fn margin(&self) -> Option<f64> {
        self.margin
    }

    /// Least mean of the candidate.
    pub fn floor(&self) -> Option<f64> {
        self.floor
    }

    /// Largest mean of the candidate.
    pub fn max(&self) -> Option<f64> {
        self.max
    }

    /// Whether the gate's verdict depends on it.
    pub fn required(&self) -> bool {
        self.required
    }

    /// What must hold, in words.
    pub fn in_words(&self) -> String {
        let part = |words: &str, x: Option<f64>| x.map(|x| format!("{words} {x}"));
        let parts = [part("drop at most", self.margin), part("at least", self.floor), part("at most", self.max)];
        let mut words = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        if !self.required {
            words.push_str(" (reported only)");
        }
        words
    }
}
