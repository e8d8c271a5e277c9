//! The operator's own metrics, in the names that existing dashboards know.
//!
//! Invariant: labels hold kinds, verbs and reasons, never names of objects or user text.

use std::sync::Mutex;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::worker::http::metrics_text;

/// Label of the controllers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByController {
    controller: &'static str,
}

/// Label of a reconcile's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByResult {
    controller: &'static str,
    result: &'static str,
}

/// Label of what was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByKind {
    kind: &'static str,
}

/// Label of why traffic was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByReason {
    reason: &'static str,
}

/// All of them.
pub struct Metrics {
    registry: Mutex<Registry>,
    reconciles: Family<ByResult, Counter>,
    errors: Family<ByController, Counter>,
    panics: Family<ByController, Counter>,
    seconds: Family<ByController, Histogram>,
    invalid: Family<ByController, Counter>,
    writes: Family<ByKind, Counter>,
    rollbacks: Family<ByReason, Counter>,
    rollback_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let reconciles = Family::default();
        let errors = Family::default();
        let panics = Family::default();
        let seconds = Family::<ByController, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let invalid = Family::default();
        let writes = Family::default();
        let rollbacks = Family::default();
        let rollback_seconds = Histogram::new(BUCKETS);
        registry.register("controller_runtime_reconcile", "Passes by outcome", reconciles.clone());
        registry.register("controller_runtime_reconcile_errors", "Passes that ended in an error", errors.clone());
        registry.register("controller_runtime_reconcile_panics", "Passes that panicked", panics.clone());
        registry.register("controller_runtime_reconcile_time_seconds", "Length of a pass", seconds.clone());
        registry.register("rag_invalid_objects", "Looks at objects that cannot be decoded", invalid.clone());
        registry.register("rag_writes", "Writes to the API server by what was written", writes.clone());
        registry.register("rag_rollback", "Times that traffic was taken away, by reason", rollbacks.clone());
        registry.register(
            "rag_rollback_duration_seconds",
            "From the end of the observation that shows the breach to the write of the route sent",
            rollback_seconds.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            reconciles,
            errors,
            panics,
            seconds,
            invalid,
            writes,
            rollbacks,
            rollback_seconds,
        }
    }
}

const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

impl Metrics {
    pub fn pass(&self, controller: &'static str, result: &'static str, seconds: f64) {
        self.reconciles.get_or_create(&ByResult { controller, result }).inc();
        self.seconds.get_or_create(&ByController { controller }).observe(seconds);
    }

    pub fn error(&self, controller: &'static str) {
        self.errors.get_or_create(&ByController { controller }).inc();
    }

    pub fn panic(&self, controller: &'static str) {
        self.panics.get_or_create(&ByController { controller }).inc();
    }

    pub fn invalid(&self, controller: &'static str) {
        self.invalid.get_or_create(&ByController { controller }).inc();
    }

    pub fn write(&self, kind: &'static str) {
        self.writes.get_or_create(&ByKind { kind }).inc();
    }

    /// Traffic is taken away: decided and persisted.
    pub fn rollback(&self, reason: &'static str) {
        self.rollbacks.get_or_create(&ByReason { reason }).inc();
    }

    /// The route that takes it away was sent.
    pub fn rollback_sent(&self, seconds: f64) {
        self.rollback_seconds.observe(seconds);
    }

    /// The text form.
    pub fn text(&self) -> String {
        metrics_text(&self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
