//! `fault-proxy UPSTREAM`: a proxy in front of an encoder whose faults are switched on at a control port.
//!
//! Why: the story needs an encoder that turns bad under traffic, at a moment that the story chooses.
//!
//! Invariant: without a fault it passes everything through unchanged.

mod fault;
mod web;

use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use fault::{CONTROL_PORT, Fault, PORT};

#[tokio::main]
async fn main() -> Result<()> {
    let upstream = std::env::args().nth(1).context("usage: fault-proxy UPSTREAM, such as http://wordllama:8080")?;
    let http = web::client(Duration::from_secs(60))?;
    let (traffic, control) = routers(&upstream, http);
    let traffic_socket = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let control_socket = TcpListener::bind((Ipv4Addr::UNSPECIFIED, CONTROL_PORT)).await?;
    eprintln!("proxy for {upstream} on port {}, switch on port {}", PORT, CONTROL_PORT);
    let (traffic, control) = tokio::join!(
        axum::serve(traffic_socket, traffic).with_graceful_shutdown(told_to_stop()).into_future(),
        axum::serve(control_socket, control).with_graceful_shutdown(told_to_stop()).into_future(),
    );
    traffic?;
    Ok(control?)
}

async fn told_to_stop() {
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        // Without the signal the kubelet's SIGKILL ends the proxy.
        Err(_) => std::future::pending().await,
    }
}

#[derive(Clone)]
struct Proxy {
    upstream: String,
    http: reqwest::Client,
    fault: Arc<RwLock<Fault>>,
}

/// The encoder's interface and the switch.
fn routers(upstream: &str, http: reqwest::Client) -> (Router, Router) {
    let proxy = Proxy { upstream: upstream.trim_end_matches('/').to_owned(), http, fault: Arc::default() };
    let traffic = Router::new().fallback(pass).with_state(proxy.clone());
    let control =
        Router::new().route("/fault", get(shown).put(switch)).route("/livez", get(|| async { "ok" })).with_state(proxy);
    (traffic, control)
}

async fn shown(State(proxy): State<Proxy>) -> axum::Json<Fault> {
    axum::Json(*proxy.fault.read().unwrap_or_else(PoisonError::into_inner))
}

async fn switch(State(proxy): State<Proxy>, axum::Json(fault): axum::Json<Fault>) -> axum::Json<Fault> {
    *proxy.fault.write().unwrap_or_else(PoisonError::into_inner) = fault;
    eprintln!("fault: {fault:?}");
    axum::Json(fault)
}

async fn pass(State(proxy): State<Proxy>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let fault = *proxy.fault.read().unwrap_or_else(PoisonError::into_inner);
    match fault {
        Fault::None | Fault::Wrong => {}
        Fault::Error => {
            let body = json!({"error": {"message": "the fault proxy was told to fail", "type": "server_error"}});
            return (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(body)).into_response();
        }
        Fault::Delay { milliseconds } => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
    }
    match forward(&proxy, method, &uri, &headers, body).await {
        Ok((status, headers, body)) => {
            let body = if fault == Fault::Wrong { wrong(&body).unwrap_or(body) } else { body };
            (status, headers, body).into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("the encoder behind the fault proxy: {error}")).into_response(),
    }
}

async fn forward(
    proxy: &Proxy,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, HeaderMap, Bytes)> {
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let request = proxy.http.request(method, format!("{}{path}", proxy.upstream));
    let response = request.headers(passed_on(headers)).body(body).send().await?;
    let (status, headers) = (response.status(), passed_on(response.headers()));
    Ok((status, headers, response.bytes().await?))
}

/// All headers but those that belong to one connection or one body.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        passed.remove(name);
    }
    passed
}

/// The same answer with every vector reversed; `None` when it holds no vectors.
fn wrong(body: &[u8]) -> Option<Bytes> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    for item in answer.get_mut("data")?.as_array_mut()? {
        match item.get_mut("embedding")? {
            Value::Array(numbers) => numbers.reverse(),
            Value::String(text) => {
                let bytes = STANDARD.decode(text.as_bytes()).ok()?;
                let reversed: Vec<u8> = bytes.chunks_exact(4).rev().flatten().copied().collect();
                *text = STANDARD.encode(reversed);
            }
            _ => return None,
        }
    }
    serde_json::to_vec(&answer).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_answer_has_the_same_shape_and_other_vectors() {
        let vector: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let body = json!({"data": [{"embedding": STANDARD.encode(&vector)}, {"embedding": [3.0, 4.0]}]});
        let changed: Value = serde_json::from_slice(&wrong(body.to_string().as_bytes()).unwrap()).unwrap();
        let reversed: Vec<u8> = [2.0_f32, 1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(changed["data"][0]["embedding"], STANDARD.encode(reversed));
        assert_eq!(changed["data"][1]["embedding"], json!([4.0, 3.0]));
        assert!(wrong(b"no json").is_none());
    }
}
