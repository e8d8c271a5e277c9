//! The spec of an EmbeddingModel as checked values.
//!
//! Why: after this point a plan is total. Invariant: what decides vectors enters the digest, what only decides
//! speed does not.

use std::time::Duration;

use crate::api::EmbeddingModel;
use crate::api::model::{EmbeddingModelSpec, Endpoint, ManagedEndpoint, OpenAiEndpoint};
use crate::controller::spec::{Invalid, below_root, duration, label, resources};
use crate::worker::job::{Identity, digest};

/// Where an encoder answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place<'a> {
    OpenAi(&'a OpenAiEndpoint),
    Managed(&'a ManagedEndpoint),
}

/// Exactly one place; `None` for an endpoint that breaks this.
pub fn place(endpoint: &Endpoint) -> Option<Place<'_>> {
    match (&endpoint.open_ai, &endpoint.managed) {
        (Some(asked), None) => Some(Place::OpenAi(asked)),
        (None, Some(managed)) => Some(Place::Managed(managed)),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// The server that the operator runs for an endpoint.
pub fn managed(endpoint: &Endpoint) -> Option<&ManagedEndpoint> {
    match place(endpoint)? {
        Place::Managed(managed) => Some(managed),
        Place::OpenAi(_) => None,
    }
}

/// What a probe measures: identity, and of the endpoint all that can change vectors or whether it answers.
pub fn measured(spec: &EmbeddingModelSpec, endpoint: &Endpoint) -> String {
    let asked = endpoint.open_ai.as_ref().map(|e| (&e.url, &e.model, &e.api_key, &e.ca_bundle));
    let managed = endpoint.managed.as_ref().map(|m| (m.format, &m.model));
    digest(&(Identity::of(spec), asked, managed))
}

/// The spec, checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Declared<'a> {
    pub place: Place<'a>,
    /// Time limit of one request to the encoder.
    pub timeout: Duration,
}

/// Checks all that the CRD states, since stored objects may predate it.
pub fn parse(model: &EmbeddingModel) -> Result<Declared<'_>, Invalid> {
    let spec = &model.spec;
    label("metadata.name", model.metadata.name.as_deref().unwrap_or_default())?;
    length("spec.model", &spec.model, 1, 253)?;
    length("spec.revision", &spec.revision, 0, 128)?;
    length("spec.prefixes.query", &spec.prefixes.query, 0, 512)?;
    length("spec.prefixes.passage", &spec.prefixes.passage, 0, 512)?;
    number("spec.dimensions", spec.dimensions, 1, 8_192)?;
    number("spec.maxInputTokens", spec.max_input_tokens, 1, 131_072)?;
    let place = place(&spec.endpoint)
        .ok_or_else(|| Invalid::new("spec.endpoint", "must hold exactly one of `openAI` and `managed`"))?;
    let timeout = match place {
        Place::OpenAi(endpoint) => open_ai(endpoint)?,
        Place::Managed(managed) => {
            let field = "spec.endpoint.managed";
            number(&format!("{field}.replicas"), managed.replicas, 1, 100)?;
            length(&format!("{field}.model.claimName"), &managed.model.claim_name, 1, 253)?;
            below_root(&format!("{field}.model.path"), &managed.model.path)?;
            resources(&format!("{field}.resources"), managed.resources.as_ref())?;
            Duration::from_secs(30)
        }
    };
    Ok(Declared { place, timeout })
}

fn open_ai(endpoint: &OpenAiEndpoint) -> Result<Duration, Invalid> {
    let field = "spec.endpoint.openAI";
    address(&format!("{field}.url"), &endpoint.url)?;
    number(&format!("{field}.batchSize"), endpoint.batch_size, 1, 2_048)?;
    number(&format!("{field}.maxConcurrency"), endpoint.max_concurrency, 1, 64)?;
    duration(&format!("{field}.timeout"), &endpoint.timeout, Duration::from_millis(100), Duration::from_secs(600))
}

/// An http or https address with a host and without user info.
fn address(field: &str, url: &str) -> Result<(), Invalid> {
    let uri: Option<http::Uri> = url.parse().ok();
    let good = uri.is_some_and(|uri| {
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().is_some_and(|host| !host.is_empty());
        scheme && host && !url.contains('@') && uri.query().is_none()
    });
    if good && url.len() <= 2_048 {
        return Ok(());
    }
    // The text itself is not repeated: it might hold a password.
    Err(Invalid::new(
        field,
        "is no address that can be asked; write `http://host:port/v1` or `https://host/v1`, without user name, \
         password and query",
    ))
}

fn number(field: &str, value: i32, least: i32, most: i32) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(field, format!("is {value}; it must be from {least} to {most}")))
}

fn length(field: &str, text: &str, least: usize, most: usize) -> Result<(), Invalid> {
    let found = text.chars().count();
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(Invalid::new(field, format!("has {found} characters; it must have from {least} to {most}")))
}
