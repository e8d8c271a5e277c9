//! What pods are told of an encoder: address, identity, and the files that they mount.
//!
//! Why one place: index Jobs, retrieval servers and probes must ask the same encoder in the same way.
//! Invariant: callers get the endpoint that passed its probe, never one that was only declared.

use crate::api::EmbeddingModel;
use crate::api::model::{EmbeddingModelSpec, Endpoint, OpenAiEndpoint};
use crate::controller::pod::Mounts;
use crate::worker::job::{Encoder, Identity};

/// What `rag embed` is asked with: texts in a request, requests at once, time limit of one.
const MANAGED: (i32, i32, &str) = (64, 4, "30s");

/// The encoder of a model as pods need it; `None` until an endpoint passed its probe.
pub fn encoder(model: &EmbeddingModel) -> Option<Encoder> {
    let status = model.status.as_ref()?;
    Some(at(&model.spec, status.endpoint.as_ref()?, status.url.as_deref()?))
}

/// Adds the token and the certificates that the encoder needs, as [`encoder`] says that they are mounted.
pub fn mounts(model: &EmbeddingModel, mounts: Mounts) -> Mounts {
    let accepted = model.status.as_ref().and_then(|status| status.endpoint.as_ref());
    match accepted {
        Some(endpoint) => files(endpoint, mounts),
        None => mounts,
    }
}

/// The encoder behind one endpoint, whether it passed or not.
pub(super) fn at(spec: &EmbeddingModelSpec, endpoint: &Endpoint, url: &str) -> Encoder {
    let asked = endpoint.open_ai.as_ref();
    let (batch_size, max_concurrency, timeout) =
        asked.map_or(MANAGED, |e| (e.batch_size, e.max_concurrency, e.timeout.as_str()));
    Encoder {
        identity: Identity::of(spec),
        url: url.to_owned(),
        model: asked.and_then(|e| e.model.clone()).unwrap_or_else(|| spec.model.clone()),
        batch_size,
        max_concurrency,
        timeout: timeout.to_owned(),
        api_key: asked.is_some_and(|e| e.api_key.is_some()),
        ca_bundle: asked.is_some_and(|e| e.ca_bundle.is_some()),
    }
}

/// The files that one endpoint needs.
pub(super) fn files(endpoint: &Endpoint, mounts: Mounts) -> Mounts {
    let asked: Option<&OpenAiEndpoint> = endpoint.open_ai.as_ref();
    match asked {
        Some(endpoint) => mounts.encoder(endpoint),
        None => mounts,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(status: serde_json::Value) -> EmbeddingModel {
        serde_json::from_value(json!({
            "apiVersion": "ragops.dev/v1alpha1", "kind": "EmbeddingModel", "metadata": {"name": "m"},
            "spec": {"model": "words", "dimensions": 8, "endpoint": {"openAI": {"url": "https://new/v1"}}},
            "status": status
        }))
        .unwrap()
    }

    #[test]
    fn nobody_is_told_an_endpoint_that_was_only_declared() {
        assert_eq!(encoder(&model(json!({}))), None);
        let accepted = json!({"openAI": {"url": "https://old/v1", "model": "sent", "timeout": "5s",
            "apiKey": {"name": "s", "key": "k"}}});
        let found = encoder(&model(json!({"url": "https://old/v1", "endpoint": accepted}))).unwrap();
        assert_eq!((found.url.as_str(), found.model.as_str()), ("https://old/v1", "sent"));
        assert_eq!((found.batch_size, found.max_concurrency, found.timeout.as_str()), (64, 4, "5s"));
        assert!(found.api_key && !found.ca_bundle);
    }

    #[test]
    fn a_managed_encoder_is_asked_with_the_defaults() {
        let accepted = json!({"managed": {"format": "Static", "model": {"claimName": "models", "path": "w"}}});
        let found = encoder(&model(json!({"url": "http://m.team.svc:8080/v1", "endpoint": accepted}))).unwrap();
        assert_eq!((found.batch_size, found.max_concurrency, found.timeout.as_str()), MANAGED);
        assert_eq!(found.model, "words");
        assert!(!found.api_key && !found.ca_bundle);
    }
}
