//! The HTTP side of `rag embed`.
//!
//! Invariants: at most [`MAX_REQUESTS`] requests are held at once and one text per core is computed at a time, also for
//! callers that gave up; every refusal is an OpenAI error object that says what is wrong and where.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use super::metrics::Metrics;
use crate::embedding::static_model::StaticModel;
use crate::worker::http::{BodyError, open_metrics, read_body};

/// Texts of one request, as OpenAI has it.
pub const MAX_TEXTS: usize = 2048;
/// Bytes of one text.
pub const MAX_TEXT_BYTES: usize = 64 << 10;
/// Bytes of one request.
pub const MAX_BODY_BYTES: usize = 16 << 20;
/// Requests at once.
pub const MAX_REQUESTS: usize = 256;
/// Time for a request's body to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

/// What all requests share.
pub(super) struct State {
    model: Arc<StaticModel>,
    /// What the server calls the model.
    name: String,
    /// Whether requests must name it so.
    named: bool,
    max_input_tokens: usize,
    created: u64,
    requests: Semaphore,
    cores: Arc<Semaphore>,
    draining: AtomicBool,
    metrics: Metrics,
}

impl State {
    pub fn new(model: Arc<StaticModel>, name: Option<String>, max_input_tokens: usize) -> Self {
        let created = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Self {
            named: name.is_some(),
            name: name.unwrap_or_else(|| model.name().to_owned()),
            model,
            max_input_tokens,
            created,
            requests: Semaphore::new(MAX_REQUESTS),
            cores: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from))),
            draining: AtomicBool::new(false),
            metrics: Metrics::new(),
        }
    }

    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// /v1/embeddings and /v1/models.
pub(super) fn traffic(state: Arc<State>) -> axum::Router {
    axum::Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(models))
        .fallback(|| async { Refusal::new(404, "not_found", "the calls are /v1/embeddings and /v1/models").response() })
        .method_not_allowed_fallback(|| async {
            Refusal::new(405, "method_not_allowed", "POST /v1/embeddings, GET /v1/models").response()
        })
        .with_state(state)
}

/// /livez, /readyz and /metrics.
pub(super) fn health(state: Arc<State>) -> axum::Router {
    axum::Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route(
            "/readyz",
            get(|Shared(state): Shared<Arc<State>>| async move {
                if state.draining.load(Ordering::Relaxed) {
                    (StatusCode::SERVICE_UNAVAILABLE, "stopping")
                } else {
                    (StatusCode::OK, "ok")
                }
            }),
        )
        .route("/metrics", get(|Shared(state): Shared<Arc<State>>| async move { open_metrics(state.metrics.page()) }))
        .with_state(state)
}

async fn models(Shared(state): Shared<Arc<State>>) -> Response {
    let model = json!({"id": state.name, "object": "model", "created": state.created, "owned_by": "rag"});
    Json(json!({"object": "list", "data": [model]})).into_response()
}

async fn embeddings(Shared(state): Shared<Arc<State>>, body: Body) -> Response {
    let response = match answer(&state, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(),
    };
    state.metrics.count(response.status().as_u16());
    response
}

async fn answer(state: &Arc<State>, body: Body) -> Result<Response, Refusal> {
    let _held = state.requests.try_acquire().map_err(|_| {
        Refusal::new(503, "overloaded", format!("{MAX_REQUESTS} requests are being answered; try again"))
    })?;
    let bytes = read_body(body, MAX_BODY_BYTES, BODY_TIME).await.map_err(|error| match error {
        BodyError::TooLarge => {
            Refusal::new(413, "too_large", format!("the body has more than {MAX_BODY_BYTES} bytes; send fewer texts"))
        }
        BodyError::TooSlow => Refusal::new(408, "timeout", "the body did not arrive within 10 s"),
        BodyError::Broken => Refusal::new(400, "invalid_request_error", "the body broke off"),
    })?;
    let request = parse(state, &bytes)?;
    let texts = request.texts.len();
    let (vectors, tokens) = compute(state, request.texts).await?;
    state.metrics.texts.inc_by(texts as u64);
    state.metrics.tokens.inc_by(tokens as u64);
    let data: Vec<serde_json::Value> = vectors
        .into_iter()
        .enumerate()
        .map(|(index, vector)| {
            let embedding = match request.format {
                Format::Float => json!(vector),
                Format::Base64 => {
                    json!(STANDARD.encode(vector.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()))
                }
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    Ok(Json(json!({"object": "list", "data": data, "model": state.name, "usage": usage})).into_response())
}

/// Vectors in order and the tokens that counted. The texts are spread over the free cores.
async fn compute(state: &Arc<State>, texts: Vec<String>) -> Result<(Vec<Vec<f32>>, usize), Refusal> {
    let failed = |text: String| Refusal::new(500, "server_error", text);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let part = texts.len().div_ceil(cores).max(64);
    let parts = texts.chunks(part).map(|part| {
        let (state, part) = (state.clone(), part.to_vec());
        async move {
            let (model, limit) = (state.model.clone(), state.max_input_tokens);
            let work = move || part.iter().map(|text| model.embed(text, limit)).collect::<Result<Vec<_>, String>>();
            on_a_core(&state.cores, work).await?
        }
    });
    let done = futures::future::try_join_all(parts).await.map_err(failed)?;
    let tokens = done.iter().flatten().map(|(_, tokens)| tokens).sum();
    Ok((done.into_iter().flatten().map(|(vector, _)| vector).collect(), tokens))
}

/// Off the threads that answer, when a core is free. The work goes on when its caller has gone, so it is the work that
/// holds the core.
async fn on_a_core<T: Send + 'static>(
    cores: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let core = cores.clone().acquire_owned().await.map_err(|error| error.to_string())?;
    let held = move || {
        let _held = core;
        work()
    };
    tokio::task::spawn_blocking(held).await.map_err(|error| error.to_string())
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Float,
    Base64,
}

#[derive(Deserialize)]
struct Wire {
    model: Option<String>,
    input: serde_json::Value,
    #[serde(default)]
    encoding_format: Format,
    dimensions: Option<usize>,
}

/// A request whose texts are within their limits.
struct Request {
    texts: Vec<String>,
    format: Format,
}

fn parse(state: &State, bytes: &[u8]) -> Result<Request, Refusal> {
    let invalid = |text: String| Refusal::new(400, "invalid_request_error", text);
    let wire: Wire = serde_json::from_slice(bytes).map_err(|error| {
        invalid(format!("the body is no embeddings request: {error}; write {{\"input\": [\"text\"]}}"))
    })?;
    if state.named && wire.model.as_ref().is_some_and(|model| *model != state.name) {
        return Err(Refusal::new(404, "model_not_found", format!("this server has the model {:?} only", state.name)));
    }
    if let Some(dimensions) = wire.dimensions
        && dimensions != state.model.dimensions()
    {
        return Err(invalid(format!(
            "dimensions is {dimensions}, this model has {} and does not cut vectors; leave the field out",
            state.model.dimensions()
        )));
    }
    let values = match wire.input {
        serde_json::Value::Array(values) => values,
        one => vec![one],
    };
    if values.is_empty() || values.len() > MAX_TEXTS {
        return Err(invalid(format!("input has {} texts; send 1 to {MAX_TEXTS}", values.len())));
    }
    let texts = values.into_iter().enumerate().map(|(index, value)| match value {
        serde_json::Value::String(text) if text.is_empty() => Err(invalid(format!("input[{index}] is an empty text"))),
        serde_json::Value::String(text) if text.len() > MAX_TEXT_BYTES => {
            Err(invalid(format!("input[{index}] has {} bytes, at most {MAX_TEXT_BYTES} are taken", text.len())))
        }
        serde_json::Value::String(text) => Ok(text),
        _ => Err(invalid(format!("input[{index}] is not a string; token numbers are not taken, send texts"))),
    });
    Ok(Request { texts: texts.collect::<Result<_, _>>()?, format: wire.encoding_format })
}

/// An OpenAI error object.
struct Refusal {
    status: u16,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    fn response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body =
            Json(json!({"error": {"message": self.message, "type": self.kind, "param": null, "code": self.kind}}));
        if self.status == 503 {
            return (status, [(header::RETRY_AFTER, "1")], body).into_response();
        }
        (status, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_core_until_it_ends() {
        let cores = Arc::new(Semaphore::new(1));
        let (hold, open) = std::sync::mpsc::channel::<()>();
        let caller = on_a_core(&cores, move || open.recv());
        assert!(caller.now_or_never().is_none(), "it is under way, and now its caller is gone");
        assert_eq!(cores.available_permits(), 0);
        drop(hold);
        let free = tokio::time::timeout(Duration::from_secs(30), on_a_core(&cores, || ())).await;
        assert_eq!(free.expect("the core never came back"), Ok(()));
    }
}
