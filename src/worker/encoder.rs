//! From the job input to an encoder: the worker's side of [`crate::embedding`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::exit::Failure;
use super::job::{Encoder, paths};
use crate::embedding::local::Local;
use crate::embedding::openai::{Client, Endpoint, Patience};
use crate::embedding::static_model::StaticModel;
use crate::embedding::{EmbedError, Settings};

/// Where the kubelet mounts the files of an encoder.
#[derive(Clone, Debug)]
pub struct Mounts {
    pub api_key: PathBuf,
    pub ca_bundle: PathBuf,
}

impl Default for Mounts {
    fn default() -> Self {
        Self { api_key: paths::API_KEY.into(), ca_bundle: paths::CA_BUNDLE.into() }
    }
}

/// The client that a job input describes.
pub fn client(encoder: &Encoder, patience: Patience, mounts: &Mounts) -> Result<Client, Failure> {
    let endpoint = Endpoint {
        url: encoder.url.clone(),
        batch_size: count("batchSize", encoder.batch_size)?,
        max_concurrency: count("maxConcurrency", encoder.max_concurrency)?,
        timeout: duration("timeout", &encoder.timeout)?,
        api_key: encoder.api_key.then(|| mounts.api_key.clone()),
        ca_bundle: encoder.ca_bundle.then(|| mounts.ca_bundle.clone()),
        patience,
    };
    Client::new(endpoint, settings(encoder)?).map_err(failure)
}

/// The identity that shapes vectors.
pub fn settings(encoder: &Encoder) -> Result<Settings, Failure> {
    let identity = &encoder.identity;
    Ok(Settings {
        model: encoder.model.clone(),
        dimensions: count("dimensions", identity.dimensions)?,
        normalize: identity.normalize,
        query_prefix: identity.prefixes.query.clone(),
        passage_prefix: identity.prefixes.passage.clone(),
        max_input_tokens: count("maxInputTokens", identity.max_input_tokens)?,
    })
}

/// A model directory as an encoder with default settings.
pub fn local(directory: &Path) -> Result<Local, Failure> {
    let model = StaticModel::load(directory).map_err(|error| {
        Failure::invalid("InvalidSpec", format!("model directory {}: {error}", directory.display()))
    })?;
    Ok(Local::with_defaults(Arc::new(model)))
}

/// How an encoder's error ends a worker.
pub fn failure(error: EmbedError) -> Failure {
    match error {
        EmbedError::Invalid(text) | EmbedError::Refused { text, .. } => Failure::invalid("InvalidSpec", text),
        EmbedError::Unavailable(text) => Failure::unavailable("EndpointUnavailable", text),
    }
}

/// A Go-style duration, such as `30s` or `1h30m`.
pub fn duration(field: &str, text: &str) -> Result<Duration, Failure> {
    text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()).ok_or_else(|| {
        Failure::invalid("InvalidSpec", format!("{field} is {text:?}; write a duration such as 30s, 5m or 1h30m"))
    })
}

fn count(field: &str, value: i32) -> Result<usize, Failure> {
    usize::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .ok_or_else(|| Failure::invalid("InvalidSpec", format!("{field} is {value}; write a number of at least 1")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_style() {
        for (text, millis) in [("30s", 30_000), ("1h30m", 5_400_000), ("500ms", 500), ("1.5h", 5_400_000), ("0s", 0)] {
            assert_eq!(duration("timeout", text).unwrap().as_millis(), millis, "{text}");
        }
        for text in ["", "30", "-5s", "soon"] {
            let error = duration("timeout", text).unwrap_err().to_string();
            assert!(error.contains("write a duration such as 30s"), "{text}: {error}");
        }
    }
}
