//! Counters of an embedding server.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::worker::http::metrics_text;

type Labels = [(&'static str, &'static str); 1];

/// The counters.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    pub texts: Counter,
    pub tokens: Counter,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Labels, Counter>::default();
        for outcome in ["ok", "client_error", "error"] {
            let _ = requests.get_or_create(&[("outcome", outcome)]);
        }
        let (texts, tokens) = (Counter::default(), Counter::default());
        registry.register("rag_embed_requests", "Embedding requests by outcome", requests.clone());
        registry.register("rag_embed_texts", "Texts that were embedded", texts.clone());
        registry.register("rag_embed_tokens", "Tokens of texts that were embedded", tokens.clone());
        Self { registry, requests, texts, tokens }
    }

    pub fn count(&self, status: u16) {
        let outcome = match status {
            0..400 => "ok",
            400..500 => "client_error",
            500.. => "error",
        };
        self.requests.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub fn page(&self) -> String {
        metrics_text(&self.registry)
    }
}
