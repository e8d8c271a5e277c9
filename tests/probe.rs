//! `rag probe` against real embedding servers.

// Helpers of tests may stop at the first surprise, as tests may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rag_operator::embedding::Settings;
use rag_operator::embedding::openai::{Client, Endpoint, Patience};
use rag_operator::worker::probe::probe;
use rag_operator::worker::receipt::{Body, Receipt};

/// An embedding server whose vector of a text is given by its number of requests so far and the text.
async fn server(vector: impl Fn(usize, &str) -> Vec<f32> + Clone + Send + Sync + 'static) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let handler = move |axum::Json(body): axum::Json<serde_json::Value>| {
        let request = requests.fetch_add(1, Ordering::SeqCst);
        let data: Vec<serde_json::Value> = body["input"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .map(|(index, text)| serde_json::json!({"index": index, "embedding": vector(request, text.as_str().unwrap())}))
            .collect();
        async move { axum::Json(serde_json::json!({"data": data})) }
    };
    let router = axum::Router::new().route("/v1/embeddings", axum::routing::post(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A direction for a text, twice as long as 1.
fn hashed(text: &str) -> Vec<f32> {
    let mut state = text.bytes().fold(17u64, |h, b| h.wrapping_mul(0x0100_0000_01b3) ^ u64::from(b));
    let mut v: Vec<f32> = (0..32)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        })
        .collect();
    let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    v.iter_mut().for_each(|x| *x *= 2.0 / norm);
    v
}

fn client(address: SocketAddr, prefix: &str) -> Client {
    let settings = Settings {
        model: "m".into(),
        dimensions: 32,
        normalize: true,
        query_prefix: prefix.into(),
        passage_prefix: String::new(),
        max_input_tokens: 512,
    };
    Client::new(Endpoint { patience: Patience::SERVE, ..Endpoint::new(format!("http://{address}/v1")) }, settings)
        .unwrap()
}

#[tokio::test]
async fn a_steady_encoder_is_measured_and_recognised() {
    let address = server(|_, text| hashed(text)).await;
    let first = probe(&client(address, ""), Some(32), None).await.unwrap();
    assert_eq!((first.dimensions, first.cosine_mean), (32, None));
    assert!(first.self_noise > 0.999_999, "{first:?}");
    assert!((first.norm_min - 2.0).abs() < 1e-5 && (first.norm_max - 2.0).abs() < 1e-5, "as returned: {first:?}");
    let again = probe(&client(address, ""), None, Some(&first.sketch)).await.unwrap();
    assert!(again.cosine_mean.unwrap() > 0.9999, "{again:?}");
    // A lost prefix moves half of the texts.
    let moved = probe(&client(address, "query: "), Some(32), Some(&first.sketch)).await.unwrap();
    assert!(moved.cosine_mean.unwrap() < 0.7, "{moved:?}");
    let receipt = Receipt { v: 1, run: "r".repeat(72), body: Body::Probe(moved) };
    assert!(receipt.to_line().unwrap().len() < 1400);
}

#[tokio::test]
async fn noise_and_wrong_numbers_are_seen() {
    let noisy = server(|request, text| hashed(&format!("{text}{}", request / 2))).await;
    let found = probe(&client(noisy, ""), Some(32), None).await.unwrap();
    assert!(found.self_noise < 0.9, "{found:?}");

    let failure = probe(&client(noisy, ""), Some(31), None).await.unwrap_err();
    assert_eq!(failure.code(), 42);
    assert!(failure.to_string().contains("32 dimensions for probe text 0, 31 are declared"), "{failure}");

    let ragged = server(|_, text| if text == "42" { vec![1.0] } else { hashed(text) }).await;
    let failure = probe(&client(ragged, ""), None, None).await.unwrap_err();
    assert!(failure.to_string().contains("returned 1 dimensions"), "{failure}");

    let failure = probe(&client(noisy, ""), None, Some("short")).await.unwrap_err();
    assert!(failure.code() == 42 && failure.to_string().contains("sketch"), "{failure}");
}

#[test]
fn the_program_prints_or_says_who_is_missing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let address = runtime.block_on(server(|_, text| hashed(text)));
    let rag = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_rag")).arg("probe").args(arguments).output().unwrap()
    };
    let url = format!("http://{address}/v1");
    let output = rag(&["--url", &url, "--dimensions", "32"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["dimensions"], report["sketch"].as_str().unwrap().len()), (&32.into(), 1024));
    let output = rag(&["--url", &url, "--dimensions", "64"]);
    assert_eq!(output.status.code(), Some(42));
    assert!(String::from_utf8(output.stderr).unwrap().contains("32 dimensions"));

    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = rag(&["--url", &format!("http://{gone}/v1")]);
    assert_eq!(output.status.code(), Some(43), "{output:?}");
    assert_eq!(rag(&[]).status.code(), Some(64));
}
