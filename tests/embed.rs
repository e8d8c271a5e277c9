//! The embedding server and the client of such servers, both real, over 127.0.0.1; and the two models of
//! `make models` against vectors that other programs computed.

// Helpers of tests may stop at the first surprise, as tests may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../dev/models/place.rs"]
mod place;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rag_operator::embedding::local::Local;
use rag_operator::embedding::openai::{Client, Endpoint, Patience};
use rag_operator::embedding::static_model::StaticModel;
use rag_operator::embedding::{Encoder, Settings, Side, probe};
use rag_operator::worker::embed;

/// A model directory made here: three words in two dimensions.
fn toy(directory: &Path) {
    use safetensors::tensor::{Dtype, TensorView};
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "east": 1, "north": 2}, "unk_token": "[UNK]"}
    });
    std::fs::write(directory.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let config = r#"{"format":"static","name":"toy","dimensions":2,"pooling":"mean","normalize":false}"#;
    std::fs::write(directory.join("config.json"), config).unwrap();
    let values: Vec<u8> = [0.5f32, 0.5, 3.0, 0.0, 0.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![3, 2], &values).unwrap();
    std::fs::write(directory.join("model.safetensors"), safetensors::serialize([("vectors", view)], None).unwrap())
        .unwrap();
}

fn args(model: &Path) -> embed::Args {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    embed::Args {
        model: model.to_owned(),
        listen: any,
        health: any,
        name: None,
        max_input_tokens: 512,
        drain: Duration::ZERO,
    }
}

fn settings() -> Settings {
    Settings {
        model: "toy".into(),
        dimensions: 2,
        normalize: true,
        query_prefix: String::new(),
        passage_prefix: String::new(),
        max_input_tokens: 512,
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        patience: Patience { attempts: 4, total: Duration::from_secs(20), whole: 0 },
        ..Endpoint::new(format!("http://{address}/v1"))
    }
}

async fn post(address: SocketAddr, body: String) -> (u16, serde_json::Value) {
    let response = reqwest::Client::builder()
        .tls_backend_preconfigured(no_tls())
        .build()
        .unwrap()
        .post(format!("http://{address}/v1/embeddings"))
        .body(body)
        .send()
        .await
        .unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().tls_backend_preconfigured(no_tls()).build().unwrap();
    let response = client.get(format!("http://{address}{path}")).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn no_tls() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test]
async fn client_and_server_agree_with_the_model_in_process() {
    let dir = tempfile::tempdir().unwrap();
    toy(dir.path());
    let server = embed::start(args(dir.path())).await.unwrap();
    let client = Client::new(Endpoint { batch_size: 7, ..endpoint(server.traffic) }, settings()).unwrap();
    let local = Local::new(Arc::new(StaticModel::load(dir.path()).unwrap()), settings()).unwrap();
    let texts: Vec<String> = (0..100).map(|i| ["east", "north", "east north north"][i % 3].to_owned()).collect();
    let over_http = client.embed(&texts, Side::Passage).await.unwrap();
    assert_eq!(over_http, local.embed(&texts, Side::Passage).await.unwrap());
    assert_eq!(over_http[0], [1.0, 0.0]);
    // As it came, before normalisation.
    assert_eq!(client.raw(&texts[..1], Side::Passage).await.unwrap()[0], [3.0, 0.0]);
    server.stop().await;
}

#[tokio::test]
async fn both_encodings_and_forms_of_input_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    toy(dir.path());
    let server = embed::start(args(dir.path())).await.unwrap();
    let (status, body) = post(server.traffic, r#"{"input": "east", "model": "any"}"#.into()).await;
    assert_eq!((status, &body["data"][0]["embedding"]), (200, &serde_json::json!([3.0, 0.0])));
    assert_eq!((&body["model"], &body["usage"]["total_tokens"]), (&"toy".into(), &1.into()));
    let (_, body) = post(server.traffic, r#"{"input": ["north", "east"], "encoding_format": "base64"}"#.into()).await;
    // 0.0 and 4.0 as little-endian floats.
    assert_eq!(body["data"][0]["embedding"], "AAAAAAAAgEA=");
    assert_eq!(body["data"][1]["index"], 1);
    let (status, body) = get(server.traffic, "/v1/models").await;
    assert_eq!(status, 200);
    assert!(body.contains(r#""id":"toy""#), "{body}");
    let (_, metrics) = get(server.health, "/metrics").await;
    assert!(metrics.contains(r#"rag_embed_requests_total{outcome="ok"} 2"#), "{metrics}");
    assert!(metrics.contains("rag_embed_texts_total 3"), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    toy(dir.path());
    let server = embed::start(embed::Args { name: Some("toy".into()), ..args(dir.path()) }).await.unwrap();
    let many = serde_json::json!({"input": vec!["a"; 2049]}).to_string();
    let long = serde_json::json!({"input": ["a", "b".repeat(65_537)]}).to_string();
    let huge = serde_json::json!({"input": vec!["x".repeat(65_536); 300]}).to_string();
    for (body, status, words) in [
        ("{".to_owned(), 400, "no embeddings request"),
        (r#"{"input": []}"#.to_owned(), 400, "0 texts; send 1 to 2048"),
        (many, 400, "2049 texts"),
        (r#"{"input": ["a", ""]}"#.to_owned(), 400, "input[1] is an empty text"),
        (r#"{"input": [[1, 2]]}"#.to_owned(), 400, "input[0] is not a string"),
        (long, 400, "input[1] has 65537 bytes, at most 65536"),
        (huge, 413, "more than 16777216 bytes"),
        (r#"{"input": "a", "model": "other"}"#.to_owned(), 404, "the model \"toy\" only"),
        (r#"{"input": "a", "dimensions": 1}"#.to_owned(), 400, "dimensions is 1, this model has 2"),
        (r#"{"input": "a", "encoding_format": "hex"}"#.to_owned(), 400, "unknown variant `hex`"),
    ] {
        let (found, answer) = post(server.traffic, body).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(found, status, "{message}");
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(get(server.traffic, "/v1/other").await.0, 404);
    assert_eq!(get(server.traffic, "/v1/embeddings").await.0, 405);
    let (_, metrics) = get(server.health, "/metrics").await;
    assert!(metrics.contains(r#"rag_embed_requests_total{outcome="client_error"} 10"#), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn readiness_ends_before_answers_do() {
    let dir = tempfile::tempdir().unwrap();
    toy(dir.path());
    let server = embed::start(args(dir.path())).await.unwrap();
    assert_eq!(get(server.health, "/livez").await, (200, "ok".into()));
    assert_eq!(get(server.health, "/readyz").await.0, 200);
    server.drain(Duration::ZERO).await;
    assert_eq!(get(server.health, "/readyz").await, (503, "stopping".into()));
    assert_eq!(post(server.traffic, r#"{"input": "east"}"#.into()).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_directory_that_is_no_model_ends_with_42() {
    let dir = tempfile::tempdir().unwrap();
    let failure = embed::start(args(dir.path())).await.err().unwrap();
    assert_eq!(failure.code(), 42);
    assert!(failure.to_string().contains("config.json"), "{failure}");
}

// ---- the client against servers that misbehave

/// A server whose answers are scripted, one for each request; the last repeats.
async fn scripted(
    answers: Vec<(u16, Option<&'static str>, &'static str)>,
) -> (SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    use axum::response::IntoResponse as _;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let record = seen.clone();
    let handler = move |headers: axum::http::HeaderMap| {
        let token = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        let place = {
            let mut seen = record.lock().unwrap();
            seen.push(token);
            seen.len() - 1
        };
        let (status, retry, body) = answers[place.min(answers.len() - 1)];
        async move {
            let mut response = (axum::http::StatusCode::from_u16(status).unwrap(), body).into_response();
            if let Some(retry) = retry {
                response.headers_mut().insert("retry-after", retry.parse().unwrap());
            }
            response
        }
    };
    tokio::spawn(async move {
        axum::serve(listener, axum::Router::new().route("/v1/embeddings", axum::routing::post(handler))).await
    });
    (address, seen)
}

const GOOD: &str = r#"{"data":[{"index":0,"embedding":[0.6,0.8]}]}"#;

async fn ask(endpoint: Endpoint) -> Result<Vec<Vec<f32>>, String> {
    Client::new(endpoint, settings()).unwrap().embed(&["x".into()], Side::Query).await.map_err(|e| format!("{e:?}"))
}

#[tokio::test]
async fn limits_and_outages_are_tried_again() {
    let (address, seen) = scripted(vec![(429, Some("0"), ""), (503, None, ""), (200, None, GOOD)]).await;
    assert_eq!(ask(endpoint(address)).await.unwrap().len(), 1);
    assert_eq!(seen.lock().unwrap().len(), 3);

    let (address, seen) = scripted(vec![(500, Some("0"), "")]).await;
    let error = ask(endpoint(address)).await.unwrap_err();
    assert!(error.starts_with("Unavailable") && error.contains("in 4 attempts: it answered 500"), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 4);

    // A wait longer than the patience is not begun.
    let (address, seen) = scripted(vec![(429, Some("3600"), "")]).await;
    assert!(ask(endpoint(address)).await.unwrap_err().starts_with("Unavailable"));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = ask(endpoint(address)).await.unwrap_err();
    assert!(error.starts_with("Unavailable") && error.contains("no connection"), "{error}");
}

#[tokio::test]
async fn refusals_and_wrong_answers_are_told_at_once_and_quote_nothing() {
    for (status, body, words) in [
        (401, r#"{"error":{"message":"bad key sk-123"}}"#, "check the Secret"),
        (404, "", "has this model"),
        (200, "<html>", "not an embeddings object"),
        (200, r#"{"data":[]}"#, "1 texts were sent, 0 vectors"),
        (200, r#"{"data":[{"index":0,"embedding":[1,2,3]}]}"#, "has 3 dimensions, declared are 2"),
        (200, r#"{"data":[{"index":0,"embedding":"AADAf8A/gD8="}]}"#, "NaN at position 0"),
        (200, r#"{"data":[{"index":4,"embedding":[1,2]}]}"#, "index 4"),
    ] {
        let (address, seen) = scripted(vec![(status, None, body)]).await;
        let error = ask(endpoint(address)).await.unwrap_err();
        assert!(error.starts_with("Invalid") && error.contains(words), "{error}");
        assert!(!error.contains("sk-123"), "{error}");
        assert_eq!(seen.lock().unwrap().len(), 1, "{error}");
    }
}

#[tokio::test]
async fn a_rotated_token_is_used_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let (address, seen) = scripted(vec![(200, None, GOOD)]).await;
    let client = Client::new(Endpoint { api_key: Some(key.clone()), ..endpoint(address) }, settings()).unwrap();
    let missing = client.embed(&["x".into()], Side::Query).await.unwrap_err().to_string();
    assert!(missing.contains("cannot read the API key"), "{missing}");
    for token in ["first\n", "second"] {
        std::fs::write(&key, token).unwrap();
        client.embed(&["x".into()], Side::Query).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), ["Bearer first", "Bearer second"]);
}

// ---- the models of `make models`

/// Their absence fails the test: they are a part of the build.
fn models() -> PathBuf {
    place::models().unwrap()
}

#[test]
fn models_give_the_vectors_that_other_programs_computed() {
    let golden: serde_json::Value = serde_json::from_str(include_str!("golden/static_models.json")).unwrap();
    let limit = golden["limit"].as_u64().unwrap() as usize;
    let texts: Vec<&str> = golden["texts"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    for name in ["wordllama", "tokenlearn"] {
        let model = StaticModel::load(&models().join(name)).unwrap();
        for (text, expected) in texts.iter().zip(golden[name].as_array().unwrap()) {
            let (vector, tokens) = model.embed(text, limit).unwrap();
            assert!(tokens > 0 && tokens <= limit);
            let expected: Vec<f64> = expected.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            assert_eq!(vector.len(), expected.len());
            for (found, wanted) in vector.iter().zip(&expected) {
                assert!((f64::from(*found) - wanted).abs() < 1e-5, "{name}, {text:?}: {found} for {wanted}");
            }
        }
    }
}

#[tokio::test]
async fn every_probe_text_has_a_direction_under_both_models() {
    for name in ["wordllama", "tokenlearn"] {
        let local = Local::with_defaults(Arc::new(StaticModel::load(&models().join(name)).unwrap()));
        let vectors = probe::vectors(&local).await.unwrap();
        for (text, vector) in probe::TEXTS.iter().zip(&vectors) {
            let norm: f32 = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!((norm - 1.0).abs() < 1e-4, "{name}: {text:?} has length {norm}");
        }
        assert!(probe::cosines(&vectors, &vectors).same());
    }
}
