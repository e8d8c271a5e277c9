//! The HTTP side of the retrieval server: paths, limits, counting, health.
//!
//! Invariants: whatever stands before the last `/v1/` of a path is ignored, so a route's prefix needs no
//! rewrite; every answer names the revision; a search goes on when its caller gave up, so that slowness shows
//! also when callers are impatient; requests of the evaluation port are never counted.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore};

use super::engine::{Engine, SearchError};
use super::metrics::{Metrics, Outcome};
use super::problem::Problem;
use super::request::{self, Defaults, Port};
use super::{Identity, openai};
use crate::api::names::HEADER_REVISION;
use crate::evaluation::silhouette::Silhouette;
use crate::store::Scored;
use crate::worker::http::{BodyError, open_metrics, read_body};

/// Requests of one port at once.
pub const MAX_REQUESTS: usize = 256;
/// Time for an answer, and before it for the request's body.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What all requests share.
pub(super) struct State {
    pub engine: Engine,
    pub identity: Identity,
    pub metrics: Metrics,
    time_limit: Duration,
    traffic: Semaphore,
    evaluation: Semaphore,
    /// Worked out for who asks first: a version does not change.
    silhouette: OnceCell<Option<Silhouette>>,
    draining: AtomicBool,
}

impl State {
    pub fn new(engine: Engine, identity: Identity, limits: super::Limits) -> Self {
        Self {
            metrics: Metrics::new(&identity.revision, &identity.version),
            engine,
            identity,
            time_limit: limits.time,
            traffic: Semaphore::new(limits.requests),
            evaluation: Semaphore::new(limits.requests),
            silhouette: OnceCell::new(),
            draining: AtomicBool::new(false),
        }
    }

    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn defaults(&self) -> Defaults {
        let settings = self.engine.settings();
        Defaults { k: settings.top_k, mode: settings.mode }
    }
}

/// The calls of a port.
pub(super) fn router(state: Arc<State>, port: Port) -> axum::Router {
    axum::Router::new()
        .fallback(move |Shared(state): Shared<Arc<State>>, request: Request| async move {
            let (revision, started) = (state.identity.revision.clone(), Instant::now());
            // In a task of its own: dropped with the connection it would vanish from the counts.
            let answered = tokio::spawn(answer(state, port, request, started)).await;
            let mut response = answered.unwrap_or_else(|_| Problem::internal().response());
            if let Ok(value) = HeaderValue::from_str(&revision) {
                response.headers_mut().insert(HeaderName::from_static(HEADER_REVISION), value);
            }
            response
        })
        .with_state(state)
}

async fn answer(state: Arc<State>, port: Port, request: Request, started: Instant) -> Response {
    let call = match call(request.method(), request.uri().path(), &state.identity.release, port) {
        Ok(Call::Revision) => return revision(&state),
        Ok(call) => Ok(call),
        Err(problem) => Err(problem),
    };
    let searched = async { search(&state, port, call?, request).await };
    // A panic in the search is this request's error and is counted as one.
    let searched = AssertUnwindSafe(searched).catch_unwind().await;
    let (response, results) = match searched.unwrap_or_else(|_| Err(Problem::internal())) {
        Ok((body, results)) => (Json(body).into_response(), results),
        Err(problem) => (problem.response(), 0),
    };
    match port {
        Port::Traffic => state.metrics.count(Outcome::of(response.status().as_u16(), results), started.elapsed()),
        Port::Evaluation => {}
    }
    response
}

/// What a path and a method ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Search,
    VectorStoreSearch,
    Revision,
    /// Of the evaluation port.
    Domains,
}

fn call(method: &Method, path: &str, release: &str, port: Port) -> Result<Call, Problem> {
    let segments: Vec<&str> = path.rsplitn(5, '/').collect();
    let (call, allow) = match segments.as_slice() {
        ["search", store, "vector_stores", "v1", ..] if *store == release => (Call::VectorStoreSearch, "POST"),
        ["search", _, "vector_stores", "v1", ..] => {
            return Err(Problem::not_found(format!("this server answers for the vector store {release:?} only")));
        }
        ["search", "v1", ..] => (Call::Search, "POST"),
        ["revision", "v1", ..] => (Call::Revision, "GET"),
        ["domains", "v1", ..] if port == Port::Evaluation => (Call::Domains, "GET"),
        _ => {
            let more = match port {
                Port::Traffic => "",
                Port::Evaluation => ", and here GET /v1/domains",
            };
            return Err(Problem::not_found(format!(
                "the calls are POST /v1/search, POST /v1/vector_stores/{release}/search and GET /v1/revision{more}"
            )));
        }
    };
    let taken = match call {
        Call::Search | Call::VectorStoreSearch => method == Method::POST,
        Call::Revision | Call::Domains => method == Method::GET || method == Method::HEAD,
    };
    if taken { Ok(call) } else { Err(Problem::method(allow)) }
}

/// The body of an answer and its number of results.
async fn search(state: &Arc<State>, port: Port, call: Call, request: Request) -> Result<(Value, usize), Problem> {
    let turns = match port {
        Port::Traffic => &state.traffic,
        Port::Evaluation => &state.evaluation,
    };
    let _turn = turns
        .try_acquire()
        .map_err(|_| Problem::unavailable("as many requests as this server takes are being answered; try again"))?;
    let limit = port.max_body_bytes();
    let body = read_body(request.into_body(), limit, state.time_limit).await.map_err(|error| match error {
        BodyError::TooLarge => Problem::too_large(limit),
        BodyError::TooSlow => Problem::too_slow_body(),
        BodyError::Broken => Problem::bad_request("the body broke off"),
    })?;
    let work = async {
        match call {
            Call::Search => own_form(state, port, &body).await,
            Call::VectorStoreSearch => openai_form(state, port, &body).await,
            Call::Domains => Ok((domains(state).await?, 0)),
            // Answered before, without a turn.
            Call::Revision => Ok((revision_body(state), 0)),
        }
    };
    let limit = state.time_limit;
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Problem::time_limit(limit.as_secs())))
}

async fn own_form(state: &State, port: Port, body: &[u8]) -> Result<(Value, usize), Problem> {
    let started = Instant::now();
    let (question, described) = request::search(body, port, state.defaults())?;
    let hits = state.engine.search(question, port.share()).await.map_err(problem)?;
    let results = match port {
        Port::Traffic => results(&state.engine, &hits, port).await?,
        Port::Evaluation => measured(&state.engine, &hits, described).await?,
    };
    let took_ms = started.elapsed().as_micros() as f64 / 1000.0;
    let body = json!({"revision": state.identity.revision, "results": results, "took_ms": took_ms});
    Ok((body, hits.len()))
}

async fn openai_form(state: &State, port: Port, body: &[u8]) -> Result<(Value, usize), Problem> {
    let (question, threshold) = request::vector_store_search(body, port, state.defaults())?;
    let query = question.query.clone();
    let mut hits = state.engine.search(question, port.share()).await.map_err(problem)?;
    if let Some(least) = threshold {
        hits.retain(|hit| hit.score >= least);
    }
    let chunks = state.engine.chunks(&hits, port.share()).await.map_err(problem)?;
    Ok((openai::page(&query, &hits, chunks), hits.len()))
}

async fn results(engine: &Engine, hits: &[Scored], port: Port) -> Result<Vec<Value>, Problem> {
    let chunks = engine.chunks(hits, port.share()).await.map_err(problem)?;
    let result = |(hit, chunk): (&Scored, crate::store::StoredChunk)| {
        json!({
            "id": chunk.id,
            "document": chunk.document,
            "score": hit.score,
            "text": chunk.text,
            "title": chunk.title,
            "metadata": chunk.metadata,
        })
    };
    Ok(hits.iter().zip(chunks).map(result).collect())
}

/// Thousands of results whose texts nobody reads: ids and scores are what is measured, and of the first documents, where
/// it is asked for, what they are about.
async fn measured(engine: &Engine, hits: &[Scored], described: usize) -> Result<Vec<Value>, Problem> {
    let chunks = engine.described(hits, described, Port::Evaluation.share()).await.map_err(problem)?;
    let metadata: HashMap<String, crate::metadata::Metadata> =
        chunks.into_iter().map(|chunk| (chunk.id, chunk.metadata)).collect();
    let result = |hit: &Scored| match metadata.get(&hit.id) {
        Some(metadata) => {
            json!({"id": hit.id, "document": hit.document(), "score": hit.score, "metadata": metadata})
        }
        None => json!({"id": hit.id, "document": hit.document(), "score": hit.score}),
    };
    Ok(hits.iter().map(result).collect())
}

/// What is told of the domains of the version.
async fn domains(state: &Arc<State>) -> Result<Value, Problem> {
    // In a task of its own: who asks again after the time limit finds what was begun.
    let begun = Arc::clone(state);
    let found = tokio::spawn(async move {
        let measure = || begun.engine.silhouette(Port::Evaluation.share());
        begun.silhouette.get_or_try_init(measure).await.cloned()
    });
    let silhouette = found.await.map_err(|_| Problem::internal())?.map_err(problem)?;
    Ok(json!({"revision": state.identity.revision, "silhouette": silhouette}))
}

fn problem(error: SearchError) -> Problem {
    match error {
        SearchError::Dimensions { .. } => Problem::bad_request(error.to_string()),
        SearchError::Encoder(_) | SearchError::Store(_) => {
            tracing::warn!(%error, "a search failed");
            Problem::unavailable(error.to_string())
        }
        SearchError::Stopped(_) => {
            tracing::error!(%error, "a search failed");
            Problem::internal()
        }
    }
}

fn revision(state: &State) -> Response {
    Json(revision_body(state)).into_response()
}

fn revision_body(state: &State) -> Value {
    let manifest = state.engine.manifest();
    json!({
        "revision": state.identity.revision,
        "version": state.identity.version,
        "contentDigest": manifest.content_digest,
        "fingerprint": manifest.fingerprint,
        "retrieval": state.identity.retrieval,
        "documents": manifest.documents,
        "chunks": manifest.chunks,
        "describe": true,
        "domains": true,
    })
}

/// /livez, /readyz and /metrics.
pub(super) fn health(state: Arc<State>) -> axum::Router {
    axum::Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|Shared(state): Shared<Arc<State>>| async move { ready(&state).await }))
        .route("/metrics", get(|Shared(state): Shared<Arc<State>>| async move { open_metrics(state.metrics.page()) }))
        .with_state(state)
}

/// Digest and fingerprint were compared at start-up and cannot change; what can is the store.
async fn ready(state: &State) -> (StatusCode, String) {
    if state.draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping".to_owned());
    }
    match tokio::time::timeout(Duration::from_secs(2), state.engine.check()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok".to_owned()),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store did not answer within 2 s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::release::Retrieval;
    use crate::worker::serve::Limits;
    use crate::worker::serve::engine::tests::of_documents;

    #[tokio::test]
    async fn what_one_who_gave_up_began_is_there_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity {
            release: "handbook".to_owned(),
            revision: "r".to_owned(),
            version: "v".to_owned(),
            retrieval: Retrieval::default(),
        };
        let state = Arc::new(State::new(of_documents(dir.path(), 4), identity, Limits::default()));
        assert!(domains(&state).now_or_never().is_none(), "it is under way, and now its caller is gone");
        let there = async {
            while !state.silhouette.initialized() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), there).await.expect("nobody goes on with it");
        assert_eq!(domains(&state).await.unwrap()["silhouette"]["documents"], 4);
    }

    #[test]
    fn paths_may_have_any_prefix() {
        for (path, expected) in [
            ("/v1/search", Call::Search),
            ("/handbook/v1/search", Call::Search),
            ("/v1/v1/search", Call::Search),
            ("/a/v1/b/v1/vector_stores/handbook/search", Call::VectorStoreSearch),
        ] {
            assert_eq!(call(&Method::POST, path, "handbook", Port::Traffic), Ok(expected), "{path}");
        }
        // A release may have the name v1.
        assert_eq!(
            call(&Method::POST, "/v1/vector_stores/v1/search", "v1", Port::Traffic),
            Ok(Call::VectorStoreSearch)
        );
        assert_eq!(call(&Method::GET, "/x/v1/revision", "handbook", Port::Traffic), Ok(Call::Revision));
        for path in ["/", "", "/search", "/v1/search/", "/v1/other", "/v1", "/v1/vector_stores/other/search"] {
            assert_eq!(
                call(&Method::POST, path, "handbook", Port::Traffic).unwrap_err().status,
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
        assert_eq!(call(&Method::GET, "/x/v1/domains", "handbook", Port::Evaluation), Ok(Call::Domains));
        let wrong = call(&Method::GET, "/v1/search", "handbook", Port::Traffic).unwrap_err();
        assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}
