//! The retrieval server over real index directories, asked over 127.0.0.1; the program itself for signals.

// Helpers of tests may stop at the first surprise, as tests may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rag_operator::api::release::{Fusion, Mode, Retrieval, Rrf};
use rag_operator::embedding::local::Local;
use rag_operator::embedding::static_model::StaticModel;
use rag_operator::embedding::{EmbedError, Encoder, Side, probe};
use rag_operator::store::embedded::{Builder, NewChunk, Stamp};
use rag_operator::store::{BuildCounts, Distance};
use rag_operator::worker::serve::{self, Config, Encoders, Expected, Limits, Listeners, Server};
use rag_operator::worker::signals::{self, Signals};
use serde_json::{Value, json};

/// An encoder whose vectors can be read off: letters a to d of a text, counted, and a little of everything so
/// that no text is without direction.
struct Letters;

fn letters(text: &str) -> Vec<f32> {
    let mut v: Vec<f32> = "abcd".chars().map(|c| text.matches(c).count() as f32 + 0.01).collect();
    let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    v.iter_mut().for_each(|x| *x /= norm);
    v
}

impl Encoder for Letters {
    fn embed<'a>(&'a self, texts: &'a [String], _: Side) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> {
        Box::pin(async move { Ok(texts.iter().map(|text| letters(text)).collect()) })
    }
    fn dimensions(&self) -> usize {
        4
    }
}

/// 300 chunks of 100 documents: chunk 0 of each document repeats a letter, the others mix; two documents hold a
/// word of their own.
fn index(
    directory: &Path,
    keyword: bool,
    fingerprint: &str,
    vector: impl Fn(&str) -> Vec<f32>,
    references: &[Vec<f32>],
) {
    let mut builder = Builder::create(directory, references[0].len(), Distance::Cosine, keyword).unwrap();
    for document in 0..100 {
        for part in 0..3 {
            let letter = ["a", "b", "c", "d"][document % 4];
            let mut text = format!("{} ", letter).repeat(1 + document / 10) + &"abcd ".repeat(part);
            if document == 42 || document == 77 {
                text.push_str("zebra");
            }
            let metadata = json!({"year": 2000 + document, "letter": letter});
            let chunk = NewChunk {
                id: &format!("doc{document}#{part}"),
                document: &format!("doc{document}"),
                title: &format!("Document {document}"),
                embedded: &text,
                text: &text,
                metadata: metadata.as_object().unwrap(),
            };
            builder.add(&chunk, &vector(&text)).unwrap();
        }
    }
    let stamp = Stamp {
        owner_uid: String::new(),
        version: "v1".into(),
        fingerprint: fingerprint.into(),
        content_digest: "digest-1".into(),
        source_digest: "source-1".into(),
        normalized: true,
        documents: 100,
        chunking: json!({}),
        build: BuildCounts::default(),
    };
    builder.finish(stamp, references).unwrap();
}

/// An index by [`Letters`] in a directory of its own.
fn letters_index(keyword: bool) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("version");
    let references: Vec<Vec<f32>> = probe::TEXTS.iter().map(|text| letters(text)).collect();
    index(&path, keyword, "f1", letters, &references);
    (dir, path)
}

fn config(index: &Path) -> Config {
    Config {
        release: "handbook".into(),
        revision: Some("a1b2c3d4e5".into()),
        version: Some("handbook/v1".into()),
        index: index.to_owned(),
        expected: Expected { content_digest: Some("digest-1".into()), fingerprint: "f1".into() },
        retrieval: Retrieval::default(),
        limits: Limits::default(),
        measure_every: serve::MEASURE_EVERY,
    }
}

async fn start(config: Config, encoder: impl Encoder + 'static) -> Server {
    serve::start(config, Encoders::one(Arc::new(encoder)), Listeners::local().await.unwrap()).await.unwrap()
}

fn client() -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap()
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Answer {
    fn ids(&self) -> Vec<&str> {
        self.body["results"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect()
    }
}

async fn send(method: &str, address: SocketAddr, path: &str, body: String) -> Answer {
    let request = client().request(method.parse().unwrap(), format!("http://{address}{path}")).body(body);
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    assert_eq!(headers["x-rag-revision"], "a1b2c3d4e5", "every answer names the revision: {text}");
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

async fn search(address: SocketAddr, body: Value) -> Answer {
    send("POST", address, "/v1/search", body.to_string()).await
}

async fn page(server: &Server) -> Signals {
    let text = client().get(format!("http://{}/metrics", server.health)).send().await.unwrap().text().await.unwrap();
    signals::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Asks until the numbers are as wanted.
async fn until(server: &Server, wanted: impl Fn(&Signals) -> bool) -> Signals {
    let ask = async {
        loop {
            let found = page(server).await;
            if wanted(&found) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ask).await.expect("the numbers never were as wanted")
}

async fn readyz(server: &Server) -> u16 {
    client().get(format!("http://{}/readyz", server.health)).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_search_answers_in_total_order_with_texts() {
    let (_dir, path) = letters_index(false);
    let server = start(config(&path), Letters).await;
    let answer = search(server.traffic, json!({"query": "b"})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["revision"], "a1b2c3d4e5");
    assert_eq!(answer.ids().len(), 10, "top_k is the default");
    let rows: Vec<(f64, &str)> = answer.body["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["score"].as_f64().unwrap(), r["id"].as_str().unwrap()))
        .collect();
    assert!(rows.windows(2).all(|w| w[0].0 > w[1].0 || (w[0].0 == w[1].0 && w[0].1 < w[1].1)), "{rows:?}");
    let first = &answer.body["results"][0];
    let year = first["metadata"]["year"].as_i64().unwrap();
    assert_eq!(first["document"], format!("doc{}", year - 2000));
    assert_eq!(first["title"], format!("Document {}", year - 2000));
    assert_eq!(first["metadata"]["letter"], "b");
    assert!(first["text"].as_str().unwrap().starts_with("b "), "{first}");
    assert!(answer.body["took_ms"].as_f64().unwrap() >= 0.0);

    let filtered =
        search(server.traffic, json!({"query": "b", "k": 100, "filter": {"letter": "a", "year": {"gte": 2050}}})).await;
    assert_eq!(filtered.ids().len(), 36, "12 documents a of 2052 and later, 3 chunks each");
    assert!(filtered.body["results"].as_array().unwrap().iter().all(|r| r["metadata"]["letter"] == "a"));

    let revision = send("GET", server.traffic, "/some/prefix/v1/revision", String::new()).await;
    assert_eq!(revision.body["contentDigest"], "digest-1");
    assert_eq!(revision.body["fingerprint"], "f1");
    assert_eq!(revision.body["version"], "handbook/v1");
    assert_eq!((&revision.body["documents"], &revision.body["chunks"]), (&json!(100), &json!(300)));
    assert_eq!(revision.body["retrieval"]["topK"], 10);
    server.stop().await;
}

#[tokio::test]
async fn refusals_are_problem_documents() {
    let (_dir, path) = letters_index(false);
    let server = start(config(&path), Letters).await;
    let huge = json!({"query": "b", "filter": {"x": "y".repeat(70_000)}}).to_string();
    for (method, path, body, status, words) in [
        ("POST", "/v1/search", r#"{"query": ""}"#.to_owned(), 400, "query is empty"),
        ("POST", "/v1/search", r#"{"query": "b", "k": 101}"#.to_owned(), 400, "from 1 to 100"),
        ("POST", "/v1/search", "nonsense".to_owned(), 400, "line 1 column"),
        ("POST", "/v1/search", r#"{"query": "b", "filter": {"year": {"gt": 1}}}"#.to_owned(), 400, "\"year\""),
        ("POST", "/v1/search", huge, 413, "more than 65536 bytes"),
        ("POST", "/v2/search", r#"{"query": "b"}"#.to_owned(), 404, "POST /v1/search"),
        ("GET", "/v1/search", String::new(), 405, "takes POST"),
        ("DELETE", "/v1/revision", String::new(), 405, "takes GET"),
    ] {
        let answer = send(method, server.traffic, path, body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.body["status"], status);
        assert!(answer.body["detail"].as_str().unwrap().contains(words), "{}", answer.body);
        assert!(answer.body["title"].as_str().unwrap().len() > 3);
    }
    let found = page(&server).await;
    assert_eq!((found.client_error, found.ok, found.error, found.answers), (8, 0, 0, 0), "refusals are not timed");
    server.stop().await;
}

#[tokio::test]
async fn hybrid_gives_the_same_first_results_for_every_k() {
    let (_dir, path) = letters_index(true);
    let retrieval = Retrieval { mode: Mode::Hybrid, fusion: Fusion { rrf: Rrf { k: 60 } }, ..Retrieval::default() };
    let server = start(Config { retrieval, ..config(&path) }, Letters).await;
    let few = search(server.traffic, json!({"query": "c zebra", "k": 10})).await;
    let many = search(
        server.evaluation,
        json!({"query": "c zebra", "k": 1000, "noCache": true, "exact": true, "stage": "R0"}),
    )
    .await;
    assert_eq!(many.status, 200, "{}", many.body);
    assert_eq!(few.ids(), many.ids()[..10]);
    assert!(many.ids().len() > 100 && many.ids().len() <= 400, "{}", many.ids().len());
    // Both sides speak: documents with the word come from the keyword side, though their vectors are far.
    assert!(few.ids().iter().any(|id| id.starts_with("doc42#") || id.starts_with("doc77#")), "{:?}", few.ids());
    server.stop().await;
}

#[tokio::test]
async fn modes_and_least_score() {
    let (_dir, path) = letters_index(true);
    let with =
        |mode, min_score| Config { retrieval: Retrieval { mode, min_score, ..Retrieval::default() }, ..config(&path) };
    let server = start(with(Mode::Keyword, None), Letters).await;
    let answer = search(server.traffic, json!({"query": "zebra", "k": 100})).await;
    assert_eq!(answer.ids().len(), 6, "two documents of three chunks hold the word");
    assert_eq!(search(server.traffic, json!({"query": "unicorn"})).await.ids().len(), 0);
    server.stop().await;

    let server = start(with(Mode::Vector, Some(0.99)), Letters).await;
    let answer = search(server.traffic, json!({"query": "a", "k": 100})).await;
    assert!(!answer.ids().is_empty() && answer.ids().len() < 100, "{}", answer.ids().len());
    assert!(answer.body["results"].as_array().unwrap().iter().all(|r| r["score"].as_f64().unwrap() >= 0.99));
    server.stop().await;

    // Before fusion: no vector result is left, so only the words decide.
    let server = start(with(Mode::Hybrid, Some(1.5)), Letters).await;
    assert_eq!(
        search(server.traffic, json!({"query": "a zebra", "k": 100, "filter": {"letter": "b"}})).await.ids().len(),
        3
    );
    server.stop().await;
}

#[tokio::test]
async fn evaluation_takes_more_and_counts_nothing() {
    let (_dir, path) = letters_index(false);
    let server = start(config(&path), Letters).await;
    let by_text = search(server.evaluation, json!({"query": "d", "k": 300})).await;
    assert_eq!(by_text.ids().len(), 300);
    assert_eq!(by_text.body["results"][0]["document"], by_text.ids()[0].split('#').next().unwrap());
    let frozen = search(server.evaluation, json!({"vector": letters("d"), "k": 300})).await;
    assert_eq!(frozen.ids(), by_text.ids());
    let short = search(server.evaluation, json!({"vector": [1.0], "k": 5})).await;
    assert_eq!((short.status, short.body["detail"].as_str().unwrap().contains("4 dimensions")), (400, true));
    let stage = search(server.evaluation, json!({"query": "d", "stage": "R1"})).await;
    assert_eq!(stage.status, 400);
    assert_eq!(search(server.traffic, json!({"query": "d", "vector": [1, 0, 0, 0]})).await.status, 400);
    search(server.traffic, json!({"query": "d"})).await;
    let found = page(&server).await;
    assert_eq!((found.ok, found.client_error, found.answers), (1, 1, 1), "only the traffic port counts");
    server.stop().await;
}

#[tokio::test]
async fn the_openai_form() {
    let (_dir, path) = letters_index(false);
    let server = start(config(&path), Letters).await;
    let body = json!({"query": "b", "max_num_results": 3, "rewrite_query": false, "filters": {"type": "and", "filters": [
        {"type": "eq", "key": "letter", "value": "b"}, {"type": "gte", "key": "year", "value": 2090}]}});
    let answer = send("POST", server.traffic, "/x/v1/vector_stores/handbook/search", body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["object"], "vector_store.search_results.page");
    let data = answer.body["data"].as_array().unwrap();
    assert_eq!(data.len(), 3);
    assert_eq!(data[0]["attributes"]["letter"], "b");
    assert!(data[0]["content"][0]["text"].as_str().unwrap().contains("b "));
    let own =
        search(server.traffic, json!({"query": "b", "k": 3, "filter": {"letter": "b", "year": {"gte": 2090}}})).await;
    assert_eq!(own.body["results"][0]["document"], data[0]["file_id"]);
    let refused = json!({"query": "b", "filters": {"type": "ne", "key": "letter", "value": "b"}}).to_string();
    assert_eq!(send("POST", server.traffic, "/v1/vector_stores/handbook/search", refused).await.status, 400);
    assert_eq!(send("POST", server.traffic, "/v1/vector_stores/other/search", body.to_string()).await.status, 404);
    server.stop().await;
}

/// An encoder that does what it is told.
#[derive(Clone, Default)]
struct Told(Arc<ToldState>);

#[derive(Default)]
struct ToldState {
    /// Held while an answer must wait.
    gate: tokio::sync::RwLock<()>,
    broken: std::sync::atomic::AtomicBool,
    asked: tokio::sync::Notify,
}

impl Encoder for Told {
    fn embed<'a>(&'a self, texts: &'a [String], side: Side) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> {
        Box::pin(async move {
            // The measurement at start-up is not what these tests are about.
            if texts.len() > 1 {
                return Letters.embed(texts, side).await;
            }
            self.0.asked.notify_one();
            let _pass = self.0.gate.read().await;
            if texts[0] == "panic" {
                panic!("told to");
            }
            if self.0.broken.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(EmbedError::Unavailable("the encoder at http://e/v1 gave no vectors".into()));
            }
            Letters.embed(texts, side).await
        })
    }
    fn dimensions(&self) -> usize {
        4
    }
}

#[tokio::test]
async fn an_encoder_outage_is_an_error_that_ends_with_it() {
    let (_dir, path) = letters_index(false);
    let told = Told::default();
    let server = start(config(&path), told.clone()).await;
    told.0.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = search(server.traffic, json!({"query": "a"})).await;
    assert_eq!((answer.status, &answer.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert!(answer.body["detail"].as_str().unwrap().contains("encoder"), "{}", answer.body);
    assert_eq!(readyz(&server).await, 200, "an outage of the encoder makes no pod unready");
    told.0.broken.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(search(server.traffic, json!({"query": "a"})).await.status, 200);
    assert_eq!(search(server.traffic, json!({"query": "panic"})).await.status, 500);
    let found = page(&server).await;
    assert_eq!((found.error, found.ok, found.answers), (2, 1, 3));
    server.stop().await;
}

#[tokio::test]
async fn overload_and_slowness_have_their_own_answers() {
    let (_dir, path) = letters_index(false);
    let told = Told::default();
    let limits = Limits { requests: 1, time: Duration::from_secs(60) };
    let server = start(Config { limits, ..config(&path) }, told.clone()).await;
    let closed = told.0.gate.write().await;
    let address = server.traffic;
    let first = tokio::spawn(async move { search(address, json!({"query": "a"})).await.status });
    told.0.asked.notified().await;
    let second = search(server.traffic, json!({"query": "a"})).await;
    assert_eq!((second.status, &second.headers["retry-after"]), (503, &"1".parse().unwrap()));
    // Traffic that is full leaves evaluation and health alone.
    assert_eq!(send("GET", server.evaluation, "/v1/revision", String::new()).await.status, 200);
    drop(closed);
    assert_eq!(first.await.unwrap(), 200);
    server.stop().await;

    let told = Told::default();
    let limits = Limits { requests: 8, time: Duration::from_millis(50) };
    let server = start(Config { limits, ..config(&path) }, told.clone()).await;
    let _closed = told.0.gate.write().await;
    assert_eq!(search(server.traffic, json!({"query": "a"})).await.status, 504);
    assert_eq!(page(&server).await.error, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_caller_that_gives_up_is_counted() {
    let (_dir, path) = letters_index(false);
    let told = Told::default();
    let server = start(config(&path), told.clone()).await;
    let closed = told.0.gate.write().await;
    let address = server.traffic;
    let caller = tokio::spawn(async move { search(address, json!({"query": "a"})).await.status });
    told.0.asked.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(closed);
    let found = until(&server, |signals| signals.answers == 1).await;
    assert_eq!(found.ok, 1);
    server.stop().await;
}

#[tokio::test]
async fn the_encoder_is_measured_against_the_references() {
    let (_dir, path) = letters_index(false);
    let server = start(config(&path), Letters).await;
    let found = until(&server, |signals| signals.encoder_match.is_some()).await;
    assert_eq!((found.encoder_match, found.revision.as_deref()), (Some(true), Some("a1b2c3d4e5")));
    assert!(found.cosine_min.unwrap() > 0.9999);
    server.stop().await;

    /// The same encoder with its axes exchanged: another encoder under the same declared identity.
    struct Rotated;
    impl Encoder for Rotated {
        fn embed<'a>(&'a self, texts: &'a [String], _: Side) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> {
            let turn = |text: &String| {
                let mut v = letters(text);
                v.rotate_left(1);
                v
            };
            Box::pin(async move { Ok(texts.iter().map(turn).collect()) })
        }
        fn dimensions(&self) -> usize {
            4
        }
    }
    let server = start(config(&path), Rotated).await;
    let found = until(&server, |signals| signals.encoder_match.is_some()).await;
    assert_eq!(found.encoder_match, Some(false));
    assert!(found.cosine_min.unwrap() < 0.9, "{found:?}");
    assert_eq!(readyz(&server).await, 200, "a drifted encoder makes no pod unready");
    assert_eq!(search(server.traffic, json!({"query": "a"})).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn an_encoder_that_changes_later_is_seen() {
    /// What the encoder does now, and a word for each call that it fails.
    #[derive(Default)]
    struct State {
        now: std::sync::Mutex<&'static str>,
        failed: tokio::sync::Notify,
    }
    #[derive(Clone, Default)]
    struct Replaced(Arc<State>);
    impl Replaced {
        fn set(&self, now: &'static str) {
            *self.0.now.lock().unwrap() = now;
        }
    }
    impl Encoder for Replaced {
        fn embed<'a>(&'a self, texts: &'a [String], side: Side) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> {
            let now = *self.0.now.lock().unwrap();
            Box::pin(async move {
                let mut vectors = Letters.embed(texts, side).await?;
                match now {
                    "other" => vectors.iter_mut().for_each(|v| v.rotate_left(1)),
                    "none" => {
                        self.0.failed.notify_one();
                        return Err(EmbedError::Unavailable("gone".into()));
                    }
                    _ => {}
                }
                Ok(vectors)
            })
        }
        fn dimensions(&self) -> usize {
            4
        }
    }
    let (_dir, path) = letters_index(false);
    let encoder = Replaced::default();
    let config = Config { measure_every: Duration::from_millis(5), ..config(&path) };
    let server = start(config, encoder.clone()).await;
    until(&server, |signals| signals.encoder_match == Some(true)).await;
    encoder.set("none");
    // A second failed measurement begins after what the first one led to.
    encoder.0.failed.notified().await;
    encoder.0.failed.notified().await;
    assert_eq!(page(&server).await.encoder_match, Some(true), "an outage says nothing new");
    encoder.set("other");
    until(&server, |signals| signals.encoder_match == Some(false)).await;
    encoder.set("");
    until(&server, |signals| signals.encoder_match == Some(true)).await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_as_promised_is_not_served() {
    let (_dir, path) = letters_index(false);
    let refused = |config: Config| async move {
        let listeners = Listeners::local().await.unwrap();
        let failure = serve::start(config, Encoders::one(Arc::new(Letters)), listeners).await.err().unwrap();
        (failure.code(), failure.to_string())
    };
    let digest = Expected { content_digest: Some("other".into()), fingerprint: "f1".into() };
    let (code, text) = refused(Config { expected: digest, ..config(&path) }).await;
    assert!(code == 42 && text.contains("content digest digest-1, expected is other"), "{text}");
    let fingerprint = Expected { content_digest: None, fingerprint: "f2".into() };
    let (code, text) = refused(Config { expected: fingerprint, ..config(&path) }).await;
    assert!(code == 42 && text.contains("fingerprint f1, expected is f2"), "{text}");
    let keyword = Retrieval { mode: Mode::Keyword, ..Retrieval::default() };
    let (code, text) = refused(Config { retrieval: keyword, ..config(&path) }).await;
    assert!(code == 42 && text.contains("keyword.enabled"), "{text}");
    let (code, text) = refused(config(&path.join("absent"))).await;
    assert_eq!(code, 43, "{text}");
    let top_k = Retrieval { top_k: 0, ..Retrieval::default() };
    let (code, text) = refused(Config { retrieval: top_k, ..config(&path) }).await;
    assert!(code == 42 && text.contains("topK is 0; write a number from 1 to 100"), "{text}");
}

#[tokio::test]
async fn draining_says_no_on_readyz_and_yes_to_requests() {
    let (_dir, path) = letters_index(false);
    let told = Told::default();
    let server = start(config(&path), told.clone()).await;
    assert_eq!(readyz(&server).await, 200);
    server.drain(Duration::ZERO).await;
    assert_eq!(readyz(&server).await, 503);
    assert_eq!(search(server.traffic, json!({"query": "a"})).await.status, 200);
    // An answer in flight at the stop is finished.
    let closed = told.0.gate.write().await;
    let address = server.traffic;
    let last = tokio::spawn(async move { search(address, json!({"query": "a"})).await.status });
    told.0.asked.notified().await;
    told.0.asked.notified().await;
    let stopping = tokio::spawn(server.stop());
    drop(closed);
    assert_eq!(last.await.unwrap(), 200);
    stopping.await.unwrap();
}

/// Two domains, a document of two chunks each time; only the first chunks lie where their domain does.
fn index_of_domains(directory: &Path) {
    let mut builder = Builder::create(directory, 4, Distance::Cosine, false).unwrap();
    for (n, domain) in ["tax", "tax", "legal", "legal", ""].into_iter().enumerate() {
        let metadata = if domain.is_empty() { json!({}) } else { json!({"domain": domain}) };
        for part in 0..2 {
            let (id, document) = (format!("d{n}#{part}"), format!("d{n}"));
            let own = if domain == "tax" { "a" } else { "b" };
            let text = if part == 0 { own.repeat(n + 1) } else { "c".to_owned() };
            let mut vector = letters(&text);
            // Exactly in one place: what is expected can be read off.
            vector.iter_mut().for_each(|x| *x = x.round());
            let chunk = NewChunk {
                id: &id,
                document: &document,
                title: "",
                embedded: &text,
                text: &text,
                metadata: metadata.as_object().unwrap(),
            };
            builder.add(&chunk, &vector).unwrap();
        }
    }
    let stamp = Stamp {
        owner_uid: String::new(),
        version: "v1".into(),
        fingerprint: "f1".into(),
        content_digest: "digest-1".into(),
        source_digest: "source-1".into(),
        normalized: true,
        documents: 5,
        chunking: json!({}),
        build: BuildCounts::default(),
    };
    let references: Vec<Vec<f32>> = probe::TEXTS.iter().map(|text| letters(text)).collect();
    builder.finish(stamp, &references).unwrap();
}

#[tokio::test]
async fn the_evaluation_port_tells_how_far_domains_lie_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("version");
    index_of_domains(&path);
    let server = start(config(&path), Letters).await;
    let (traffic, evaluation) = (server.traffic, server.evaluation);
    let ask = |address: SocketAddr, method: &'static str| send(method, address, "/any/v1/domains", String::new());
    assert_eq!(send("GET", evaluation, "/v1/revision", String::new()).await.body["domains"], true);
    // A file that cannot be read is an error of the moment.
    let vectors = path.join("vectors.f32");
    let (bytes, file) =
        (std::fs::read(&vectors).unwrap(), std::fs::File::options().write(true).open(&vectors).unwrap());
    file.set_len(0).unwrap();
    let broken = ask(evaluation, "GET").await;
    assert_eq!(broken.status, 503, "{}", broken.body);
    assert!(broken.body["detail"].as_str().unwrap().contains("vectors.f32"), "{}", broken.body);
    std::fs::write(&vectors, bytes).unwrap();
    let found = ask(evaluation, "GET").await;
    let expected = json!({
        "revision": "a1b2c3d4e5",
        "silhouette": {"documents": 4, "mean": 1.0, "lowest": {"domain": "legal", "mean": 1.0}},
    });
    assert_eq!((found.status, &found.body), (200, &expected), "{}", found.body);
    // It is worked out once.
    file.set_len(0).unwrap();
    assert_eq!(ask(evaluation, "GET").await.body, expected);
    assert_eq!(ask(evaluation, "POST").await.status, 405);
    let elsewhere = send("GET", evaluation, "/v1/elsewhere", String::new()).await;
    assert!(elsewhere.body["detail"].as_str().unwrap().contains("GET /v1/domains"), "{}", elsewhere.body);
    assert_eq!(page(&server).await.client_error, 0, "nothing of this is traffic");
    let refused = ask(traffic, "GET").await;
    assert_eq!(refused.status, 404, "{}", refused.body);
    assert!(!refused.body["detail"].as_str().unwrap().contains("domains"), "{}", refused.body);
    server.stop().await;

    let (_dir, path) = letters_index(false);
    let server = start(config(&path), Letters).await;
    let found = ask(server.evaluation, "GET").await;
    assert_eq!((found.status, &found.body["silhouette"]), (200, &Value::Null), "no document has a domain");
    server.stop().await;
}

// ---- the program itself

/// A toy model directory whose encoder knows three words.
fn toy_model(directory: &Path) {
    use safetensors::tensor::{Dtype, TensorView};
    std::fs::create_dir_all(directory).unwrap();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2, "c": 3}, "unk_token": "[UNK]"}
    });
    std::fs::write(directory.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let config = r#"{"format":"static","name":"toy","dimensions":2,"pooling":"mean","normalize":false}"#;
    std::fs::write(directory.join("config.json"), config).unwrap();
    let values: Vec<u8> = [0.5f32, 0.5, 3.0, 0.0, 0.0, 4.0, 1.0, 1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![4, 2], &values).unwrap();
    std::fs::write(directory.join("model.safetensors"), safetensors::serialize([("vectors", view)], None).unwrap())
        .unwrap();
}

/// A started program and the addresses that it told.
struct Program {
    child: tokio::process::Child,
    addresses: Vec<SocketAddr>,
}

/// Starts `rag` and reads standard error until the line with the addresses.
async fn program(arguments: &[&str], job: Option<String>) -> Program {
    use tokio::io::AsyncBufReadExt as _;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_rag"));
    command.args(arguments).stderr(std::process::Stdio::piped()).kill_on_drop(true).env_remove("RAG_JOB");
    if let Some(job) = job {
        command.env("RAG_JOB", job);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let addresses: Vec<SocketAddr> = line
            .split("http://")
            .skip(1)
            .filter_map(|rest| rest.split(['/', ',', ' ', ')']).next()?.parse().ok())
            .collect();
        if addresses.len() >= 2 {
            // Keeps the pipe open, so that the program can go on writing.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Program { child, addresses };
        }
        seen.push(line);
    }
    panic!("the program ended without an address: {seen:?}, {:?}", child.wait().await);
}

async fn terminate(mut program: Program) -> Option<i32> {
    let pid = program.child.id().unwrap().to_string();
    assert!(tokio::process::Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    program.child.wait().await.unwrap().code()
}

#[tokio::test]
async fn the_program_serves_a_directory_and_ends_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let (model, version) = (dir.path().join("model"), dir.path().join("version"));
    toy_model(&model);
    let local = Local::with_defaults(Arc::new(StaticModel::load(&model).unwrap()));
    let references = probe::vectors(&local).await.unwrap();
    let raw = StaticModel::load(&model).unwrap();
    index(&version, true, &local.fingerprint(), |text| raw.embed(text, 512).unwrap().0, &references);
    let (index, model) = (version.to_str().unwrap(), model.to_str().unwrap());
    let any = "127.0.0.1:0";
    let program = program(
        &[
            "serve",
            "--index",
            index,
            "--model",
            model,
            "--listen",
            any,
            "--evaluation",
            any,
            "--health",
            any,
            "--mode",
            "hybrid",
            "--top-k",
            "7",
            "--drain",
            "0s",
        ],
        None,
    )
    .await;
    let url = format!("http://{}/v1/search", program.addresses[0]);
    let answer = client().post(url).body(r#"{"query": "a"}"#).send().await.unwrap();
    let revision = answer.headers()["x-rag-revision"].to_str().unwrap().to_owned();
    assert_eq!(revision.len(), 10);
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(body["results"].as_array().unwrap().len(), 7);
    let health = client().get(format!("http://{}/readyz", program.addresses[2])).send().await.unwrap();
    assert_eq!(health.status(), 200);
    assert_eq!(terminate(program).await, Some(0));
}

#[tokio::test]
async fn the_program_serves_a_job_input_over_an_embedding_server() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    toy_model(&model);
    let embed = program(
        &[
            "embed",
            "--model",
            model.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
            "--health",
            "127.0.0.1:0",
            "--drain",
            "0s",
        ],
        None,
    )
    .await;
    let identity = json!({"model": "toy", "revision": "", "dimensions": 2, "distance": "Cosine", "normalize": true,
        "prefixes": {"query": "", "passage": ""}, "maxInputTokens": 512});
    let fingerprint =
        serde_json::from_value::<rag_operator::worker::job::Identity>(identity.clone()).unwrap().fingerprint();
    let local = Local::with_defaults(Arc::new(StaticModel::load(&model).unwrap()));
    let references = probe::vectors(&local).await.unwrap();
    let raw = StaticModel::load(&model).unwrap();
    index(&dir.path().join("handbook-v3"), false, &fingerprint, |text| raw.embed(text, 512).unwrap().0, &references);
    let job = json!({"v": 1, "run": "r1", "task": {"serve": {
        "release": "handbook", "revision": "a1b2c3d4e5", "version": "handbook/v3", "physical": "handbook-v3",
        "contentDigest": "digest-1", "search": {"exactBelow": 20000}, "retrieval": {"topK": 5},
        "encoder": {"identity": identity, "url": format!("http://{}/v1", embed.addresses[0]), "model": "toy",
            "batchSize": 64, "maxConcurrency": 4, "timeout": "30s", "apiKey": false, "caBundle": false}}}});
    let any = "127.0.0.1:0";
    let serve = program(
        &[
            "serve",
            "--index",
            dir.path().to_str().unwrap(),
            "--listen",
            any,
            "--evaluation",
            any,
            "--health",
            any,
            "--drain",
            "0s",
        ],
        Some(job.to_string()),
    )
    .await;
    let answer = search(serve.addresses[0], json!({"query": "b"})).await;
    assert_eq!((answer.status, answer.ids().len()), (200, 5));
    // The encoder goes away: an error that says so, and no readiness lost.
    assert_eq!(terminate(embed).await, Some(0));
    let answer = search(serve.addresses[0], json!({"query": "b"})).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body["detail"].as_str().unwrap().contains("no connection"), "{}", answer.body);
    let health = client().get(format!("http://{}/readyz", serve.addresses[2])).send().await.unwrap();
    assert_eq!(health.status(), 200);
    assert_eq!(terminate(serve).await, Some(0));
}
