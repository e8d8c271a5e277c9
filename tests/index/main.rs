//! `rag index` on real files: Job mode against an embedding server over 127.0.0.1, and the program itself.

// Helpers outside test functions may stop at the first surprise too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use rag_operator::api::index::{Chunking, DataQuality, Source, Strategy};
use rag_operator::api::model::{Distance, Prefixes};
use rag_operator::embedding::openai::Patience;
use rag_operator::store::embedded::EmbeddedIndex;
use rag_operator::worker::encoder::Mounts;
use rag_operator::worker::exit::Failure;
use rag_operator::worker::index::{Action, Places, job};
use rag_operator::worker::job::{BuildTask, Encoder, Identity, JobInput, PruneTask, Task, VerifyTask};
use rag_operator::worker::receipt::{Body, BuildReport, PruneReport, VerifyReport};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};

const DIMENSIONS: usize = 32;

type Refuses = fn(&[&str]) -> Option<StatusCode>;

/// An embedding server: each word has a direction of its own.
struct Fake {
    texts: AtomicUsize,
    requests: AtomicUsize,
    /// Answers given before the first good one.
    failures: std::sync::Mutex<Vec<(StatusCode, Option<&'static str>)>>,
    short: AtomicBool,
    /// The answer to texts that are not taken.
    refuses: std::sync::Mutex<Refuses>,
    /// Other words, other directions: another model.
    salt: &'static str,
    /// Requests that are let through.
    gate: Semaphore,
    arrived: watch::Sender<usize>,
}

impl Fake {
    fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; DIMENSIONS];
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty() && *w != "zero") {
            let hash = Sha256::digest(format!("{}{word}", self.salt));
            for (x, byte) in vector.iter_mut().zip(hash) {
                *x += f32::from(byte) - 127.5;
            }
        }
        vector
    }
}

async fn embeddings(State(fake): State<Arc<Fake>>, Json(body): Json<Value>) -> Response {
    let number = fake.requests.fetch_add(1, Ordering::SeqCst);
    fake.arrived.send_replace(number + 1);
    if let Some((status, retry_after)) = fake.failures.lock().unwrap().pop() {
        let headers = retry_after.map(|seconds| [("retry-after", seconds)]);
        return (status, headers.map(axum::response::AppendHeaders), "busy").into_response();
    }
    fake.gate.acquire().await.unwrap().forget();
    // Later requests often answer first.
    tokio::time::sleep(Duration::from_millis(8 - (number as u64 % 5) * 2)).await;
    let texts: Vec<&str> = body["input"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let refused = (fake.refuses.lock().unwrap())(&texts);
    if let Some(status) = refused {
        return (status, "too long").into_response();
    }
    fake.texts.fetch_add(texts.len(), Ordering::SeqCst);
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let mut vector = fake.vector(text);
            if fake.short.load(Ordering::SeqCst) {
                vector.truncate(DIMENSIONS - 1);
            }
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            json!({"object": "embedding", "index": index,
                   "embedding": base64::engine::general_purpose::STANDARD.encode(bytes)})
        })
        .collect();
    Json(json!({"object": "list", "data": data, "model": "fake"})).into_response()
}

/// A world: sources, index claim, server.
struct World {
    dir: tempfile::TempDir,
    fake: Arc<Fake>,
    url: String,
}

/// Probe texts that every build embeds besides its chunks.
const PROBES: usize = 64;

impl World {
    async fn new() -> Self {
        Self::with_salt("").await
    }

    async fn with_salt(salt: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sources/docs")).unwrap();
        fs::create_dir_all(dir.path().join("index")).unwrap();
        let fake = Arc::new(Fake {
            texts: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            failures: Default::default(),
            short: AtomicBool::new(false),
            refuses: std::sync::Mutex::new(|_| None),
            salt,
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: watch::Sender::new(0),
        });
        let router = Router::new().route("/v1/embeddings", post(embeddings)).with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { dir, fake, url }
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    fn write(&self, file: &str, lines: &[String]) {
        fs::write(self.dir.path().join("sources/docs").join(file), lines.join("\n")).unwrap();
    }

    fn places(&self) -> Places {
        Places {
            sources: self.dir.path().join("sources"),
            index: self.index(),
            encoder: Mounts::default(),
            patience: Patience { attempts: 5, total: Duration::from_secs(30), whole: 0 },
        }
    }

    fn encoder(&self) -> Encoder {
        let identity = Identity {
            model: "fake".into(),
            revision: String::new(),
            dimensions: DIMENSIONS as i32,
            distance: Distance::Cosine,
            normalize: true,
            prefixes: Prefixes { query: "q: ".into(), passage: String::new() },
            max_input_tokens: 40,
        };
        Encoder {
            identity,
            url: self.url.clone(),
            model: "fake".into(),
            batch_size: 7,
            max_concurrency: 4,
            timeout: "10s".into(),
            api_key: false,
            ca_bundle: false,
        }
    }

    fn task(&self, version: &str) -> BuildTask {
        let source: Source = serde_json::from_value(json!({
            "name": "docs", "from": {"volume": {"claimName": "c"}}, "domain": "handbook", "mapping": {"metadata": ["kind"]},
        }))
        .unwrap();
        BuildTask {
            physical: format!("idx-{version}"),
            owner_uid: "uid-1".into(),
            version: version.into(),
            sources: vec![source],
            chunking: Chunking { max_tokens: 16, overlap_tokens: 2, ..Chunking::default() },
            keyword: true,
            data_quality: DataQuality::default(),
            encoder: self.encoder(),
            previous: None,
            previous_documents: None,
        }
    }

    async fn run(&self, action: Action, task: Task) -> Result<Body, Failure> {
        job(JobInput { v: 1, run: "r".into(), task }, action, &self.places()).await
    }

    async fn build(&self, task: &BuildTask) -> Result<BuildReport, Failure> {
        match self.run(Action::Build, Task::Build(task.clone())).await? {
            Body::Build(report) => Ok(report),
            other => panic!("{other:?}"),
        }
    }

    fn verify_task(&self, task: &BuildTask, report: &BuildReport) -> VerifyTask {
        VerifyTask {
            physical: task.physical.clone(),
            owner_uid: task.owner_uid.clone(),
            version: task.version.clone(),
            content_digest: report.content_digest.clone(),
            documents: report.documents,
            chunks: report.chunks,
            self_retrieval_min: 0.99,
            encoder: task.encoder.clone(),
        }
    }

    async fn verify(&self, task: VerifyTask) -> Result<VerifyReport, Failure> {
        match self.run(Action::Verify, Task::Verify(task)).await? {
            Body::Verify(report) => Ok(report),
            other => panic!("{other:?}"),
        }
    }

    async fn prune(&self, owner_uid: &str, physical: &[&str]) -> PruneReport {
        let physical = physical.iter().map(|name| (*name).to_owned()).collect();
        let task = Task::Prune(PruneTask { owner_uid: owner_uid.into(), physical });
        match self.run(Action::Prune, task).await.unwrap() {
            Body::Prune(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Chunks embedded since the last call, the probe texts of builds not counted.
    fn embedded(&self, builds: usize) -> usize {
        self.fake.texts.swap(0, Ordering::SeqCst) - builds * PROBES
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(self.index()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A document of about three chunks with words of its own.
fn line(n: usize) -> String {
    let words: Vec<String> = (0..24).map(|w| format!("w{}", n * 24 + w)).collect();
    json!({"id": format!("d{n}"), "title": format!("title{n}"), "text": words.join(" "), "kind": n % 3}).to_string()
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(line).collect()
}

fn reason(failure: &Failure) -> (&str, &str, i32) {
    match failure {
        Failure::Invalid { reason, text } => (reason, text, 42),
        Failure::Unavailable { reason, text } => (reason, text, 43),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_built_read_back_and_searched() {
    let world = World::new().await;
    let mut all = lines(100);
    all[7] = "{\"id\": \"broken\"".into();
    all.push(json!({"id": "empty", "text": " "}).to_string());
    all.push(json!({"id": "d0", "text": "again"}).to_string());
    world.write("a.jsonl", &all);
    let task = world.task("v1");
    let report = world.build(&task).await.unwrap();
    assert_eq!((report.source, report.documents, report.quarantined, report.skipped), (102, 99, 2, 1));
    assert_eq!(report.examples.len(), 2);
    assert!(report.examples[0].starts_with("docs/a.jsonl:8: not JSON: EOF"), "{:?}", report.examples);
    assert_eq!(report.examples[1], "docs/a.jsonl:102: duplicate id \"d0\", first at docs/a.jsonl:1");
    assert_eq!(report.reused_chunks, 0);
    assert_eq!(world.names(), ["idx-v1"]);
    let sizes: u64 = ["index.sqlite", "vectors.f32", "ref.f32"]
        .map(|f| fs::metadata(world.index().join("idx-v1").join(f)).unwrap().len())
        .iter()
        .sum();
    assert_eq!(report.size_bytes, sizes as i64);
    assert_eq!(world.embedded(1), report.chunks as usize);

    let verified = world.verify(world.verify_task(&task, &report)).await.unwrap();
    assert_eq!((verified.documents, verified.chunks, verified.dimensions), (99, report.chunks, DIMENSIONS as i64));
    assert_eq!((verified.sampled, verified.self_retrieval), (200, 1.0));

    let index = EmbeddedIndex::open(&world.index().join("idx-v1")).unwrap();
    assert_eq!(index.references().len(), PROBES);
    let hits = index.search_keyword("w2376", 5, None).unwrap();
    assert_eq!(hits.len(), 1);
    let chunk = index.chunk(hits[0].ordinal).unwrap();
    assert_eq!((chunk.document.as_str(), chunk.title.as_str(), chunk.id.as_str()), ("d99", "title99", "d99#0"));
    assert_eq!(Value::Object(chunk.metadata), json!({"kind": 0, "domain": "handbook"}));
    let hits = index.search_keyword("title99", 50, None).unwrap();
    assert!(hits.len() > 1 && hits.iter().all(|h| h.id.starts_with("d99#")), "the title is in every chunk: {hits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_and_failing_answers_are_tried_again() {
    let world = World::new().await;
    world.write("a.jsonl", &lines(10));
    *world.fake.failures.lock().unwrap() =
        vec![(StatusCode::INTERNAL_SERVER_ERROR, None), (StatusCode::TOO_MANY_REQUESTS, Some("0"))];
    let report = world.build(&world.task("v1")).await.unwrap();
    assert_eq!(report.documents, 10);
    assert_eq!(world.embedded(1), report.chunks as usize, "nothing was embedded twice");
    assert!(world.fake.failures.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_inputs_give_the_same_files_whatever_comes_back_first() {
    let world = World::new().await;
    world.write("b.jsonl", &lines(60));
    world.write("a.jsonl", &(60..90).map(line).collect::<Vec<_>>());
    let first = world.build(&world.task("v1")).await.unwrap();
    let mut task = world.task("v2");
    (task.encoder.batch_size, task.encoder.max_concurrency) = (3, 1);
    let second = world.build(&task).await.unwrap();
    assert_eq!((&first.content_digest, &first.source_digest), (&second.content_digest, &second.source_digest));
    let bytes = |version: &str, file: &str| fs::read(world.index().join(version).join(file)).unwrap();
    for file in ["vectors.f32", "ref.f32", "index.sqlite"] {
        assert!(bytes("idx-v1", file) == bytes("idx-v2", file), "{file}");
    }
    let index = EmbeddedIndex::open(&world.index().join("idx-v1")).unwrap();
    assert_eq!(index.chunk(0).unwrap().id, "d60#0", "files in byte order of their names");

    // Whatever the version is made of changes the digest.
    let mut others = [world.task("v3"), world.task("v4"), world.task("v5"), world.task("v6")];
    others[0].chunking.max_tokens = 17;
    others[1].keyword = false;
    others[2].encoder.identity.revision = "2".into();
    others[3].sources[0].domain = None;
    for task in others {
        let other = world.build(&task).await.unwrap();
        assert_ne!(other.content_digest, first.content_digest, "{}", task.version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_texts_are_not_embedded_again() {
    let world = World::new().await;
    world.write("a.jsonl", &lines(40));
    let first = world.build(&world.task("v1")).await.unwrap();
    world.embedded(1);

    let mut again = world.task("v2");
    again.previous = Some("idx-v1".into());
    again.previous_documents = Some(first.documents);
    let second = world.build(&again).await.unwrap();
    assert_eq!((second.reused_chunks, second.chunks), (first.chunks, first.chunks));
    assert_eq!(world.embedded(1), 0);
    assert_eq!(second.content_digest, first.content_digest);

    let mut edited = lines(40);
    edited[3] = json!({"id": "d3", "title": "title3", "text": "all of it is new"}).to_string();
    world.write("a.jsonl", &edited);
    let mut third = world.task("v3");
    third.previous = Some("idx-v2".into());
    let report = world.build(&third).await.unwrap();
    assert_eq!((world.embedded(1), report.chunks - report.reused_chunks), (1, 1));
    world.verify(world.verify_task(&third, &report)).await.unwrap();
    world.embedded(0);

    // Another encoder's vectors are never taken over.
    let mut other = world.task("v4");
    other.previous = Some("idx-v3".into());
    other.encoder.identity.revision = "2".into();
    let report = world.build(&other).await.unwrap();
    assert_eq!((report.reused_chunks, world.embedded(1)), (0, report.chunks as usize));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_documents_that_wait_behind_one_are_written_in_order() {
    let world = World::new().await;
    let short = |n: usize| json!({"id": format!("d{n}"), "text": format!("word{n}")}).to_string();
    world.write("a.jsonl", &(0..900).map(short).collect::<Vec<_>>());
    world.build(&world.task("v1")).await.unwrap();
    world.embedded(1);
    let mut edited: Vec<String> = (0..900).map(short).collect();
    edited[0] = json!({"id": "d0", "text": "edited"}).to_string();
    edited[899] = json!({"id": "d899", "text": "edited too"}).to_string();
    world.write("a.jsonl", &edited);
    let mut task = world.task("v2");
    task.previous = Some("idx-v1".into());
    task.encoder.batch_size = 100;
    task.encoder.max_concurrency = 1;
    let report = world.build(&task).await.unwrap();
    assert_eq!((report.chunks, report.reused_chunks, world.embedded(1)), (900, 898, 2));
    let index = EmbeddedIndex::open(&world.index().join("idx-v2")).unwrap();
    assert_eq!((index.chunk(0).unwrap().id, index.chunk(899).unwrap().id), ("d0#0".into(), "d899#0".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_may_be_empty_where_that_is_allowed() {
    let world = World::new().await;
    let mut task = world.task("v1");
    task.data_quality.min_documents = 0;
    let report = world.build(&task).await.unwrap();
    assert_eq!((report.source, report.chunks), (0, 0));
    assert_eq!(world.verify(world.verify_task(&task, &report)).await.unwrap().sampled, 0);
    let index = EmbeddedIndex::open(&world.index().join("idx-v1")).unwrap();
    assert!(index.search_vector(&[1.0; DIMENSIONS], 5, None).unwrap().is_empty());
    assert!(index.search_keyword("word", 5, None).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_build_leaves_nothing_and_the_next_one_succeeds() {
    let world = World::new().await;
    world.write("a.jsonl", &lines(50));
    // The probe texts need 10 requests of 7; then the gate closes.
    let open = 12;
    world.fake.gate.forget_permits(Semaphore::MAX_PERMITS - open);
    let mut arrived = world.fake.arrived.subscribe();
    let (task, places) = (world.task("v1"), world.places());
    let input = JobInput { v: 1, run: "r".into(), task: Task::Build(task.clone()) };
    let build = tokio::spawn(async move { job(input, Action::Build, &places).await });
    arrived.wait_for(|count| *count > open + 2).await.unwrap();
    assert_eq!(world.names(), ["idx-v1.building"]);
    assert!(EmbeddedIndex::open(&world.index().join("idx-v1.building")).is_err());
    build.abort();
    assert!(build.await.unwrap_err().is_cancelled());
    assert!(world.names().is_empty());
    world.fake.gate.add_permits(1000);
    assert_eq!(world.build(&task).await.unwrap().documents, 50);
    assert_eq!(world.names(), ["idx-v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_receipt_was_lost_adopts_its_own_version_and_no_other() {
    let world = World::new().await;
    // One of them is set aside by the encoder only.
    let mut all = lines(99);
    all.push(json!({"id": "z", "text": "zero"}).to_string());
    world.write("a.jsonl", &all);
    let task = world.task("v1");
    let first = world.build(&task).await.unwrap();
    let requests = world.fake.requests.load(Ordering::SeqCst);
    assert_eq!(world.build(&task).await.unwrap(), first);
    assert_eq!(world.fake.requests.load(Ordering::SeqCst), requests);
    let stranger = BuildTask { owner_uid: "uid-2".into(), ..task.clone() };
    let changed = BuildTask { keyword: false, ..task.clone() };
    for other in [stranger, changed] {
        let failure = world.build(&other).await.unwrap_err();
        assert_eq!((reason(&failure).0, reason(&failure).2), ("NotOwned", 42), "{failure}");
    }
    // A number that is given out again after a lost status finds the documents of then.
    world.write("b.jsonl", &[json!({"id": "new", "text": "words"}).to_string()]);
    let failure = world.build(&task).await.unwrap_err();
    assert_eq!((reason(&failure).0, reason(&failure).2), ("NotOwned", 42), "{failure}");
    assert!(failure.to_string().contains("made from other documents"), "{failure}");
    fs::remove_file(world.index().join("idx-v1/manifest.json")).unwrap();
    let failure = world.build(&task).await.unwrap_err();
    assert_eq!(reason(&failure).0, "NotOwned", "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guards_refuse_is_refused_before_anything_is_embedded() {
    let world = World::new().await;
    let mut all = lines(97);
    all.extend(["{".to_owned(), "[]".to_owned(), "{\"id\":\"x\"}".to_owned()]);
    world.write("a.jsonl", &all);
    let failed = async |task: &BuildTask| {
        let failure = world.build(task).await.unwrap_err();
        let (reason, text, code) = reason(&failure);
        assert_eq!(code, 42);
        (reason.to_owned(), text.to_owned())
    };
    let (reason, text) = failed(&world.task("v1")).await;
    assert_eq!(reason, "ChecksFailed");
    assert!(text.contains("3 of 100 documents (3.0 %)"), "{text}");
    for place in ["docs/a.jsonl:98: not JSON", "docs/a.jsonl:99: expected a JSON object", "docs/a.jsonl:100: no field"]
    {
        assert!(text.contains(place), "{place} in {text}");
    }
    let mut tolerant = world.task("v1");
    tolerant.data_quality.max_quarantine_percent = 3.0;
    tolerant.previous_documents = Some(108);
    let (reason, text) = failed(&tolerant).await;
    assert_eq!(reason, "ShrinkGuard");
    assert!(text.contains("from 108 to 97 documents (10.2 %), at most 10 %"), "{text}");
    tolerant.previous_documents = None;
    tolerant.data_quality.min_documents = 98;
    let (reason, text) = failed(&tolerant).await;
    assert_eq!(reason, "ChecksFailed");
    assert!(text.contains("97 documents can be indexed (100 in the sources"), "{text}");
    assert_eq!(world.fake.requests.load(Ordering::SeqCst), 0);
    assert!(world.names().is_empty());

    tolerant.data_quality =
        DataQuality { shrink_guard_percent: 100.0, max_quarantine_percent: 3.0, ..DataQuality::default() };
    tolerant.previous_documents = Some(100_000);
    assert_eq!(world.build(&tolerant).await.unwrap().documents, 97);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_the_encoder_makes_nothing_of_sets_its_document_aside() {
    let world = World::new().await;
    let mut all = lines(99);
    all.push(json!({"id": "z", "text": "zero zero ?"}).to_string());
    world.write("a.jsonl", &all);
    let report = world.build(&world.task("v1")).await.unwrap();
    assert_eq!((report.source, report.documents, report.quarantined), (100, 99, 1));
    assert!(report.examples[0].starts_with("docs/a.jsonl:100: the encoder gives chunk 0 a vector of zeros"));

    // The guards hold for what the encoder set aside too.
    world.write("a.jsonl", &[line(0), json!({"id": "z", "text": "zero"}).to_string()]);
    let failure = world.build(&world.task("v2")).await.unwrap_err();
    assert_eq!(reason(&failure).0, "ChecksFailed", "{failure}");
    assert_eq!(world.names(), ["idx-v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_the_encoder_refuses_sets_its_document_aside_and_stops_no_other() {
    let world = World::new().await;
    let mut all = lines(100);
    all[50] = json!({"id": "long", "text": format!("before {} after", "long ".repeat(400))}).to_string();
    world.write("a.jsonl", &all);
    let mut task = world.task("v1");
    task.chunking.strategy = Strategy::None;
    *world.fake.refuses.lock().unwrap() =
        |texts| texts.iter().any(|text| text.starts_with("before long")).then_some(StatusCode::BAD_REQUEST);
    let report = world.build(&task).await.unwrap();
    assert_eq!((report.source, report.documents, report.quarantined), (100, 99, 1));
    let told = "docs/a.jsonl:51: the encoder refuses chunk 0 (2013 bytes) with status 400";
    assert!(report.examples[0].starts_with(told), "{:?}", report.examples);
    // Every other text still has its own vector.
    let verified = world.verify(world.verify_task(&task, &report)).await.unwrap();
    assert_eq!((verified.documents, verified.self_retrieval), (99, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_loses_no_text() {
    let world = World::new().await;
    world.write("a.jsonl", &lines(20));
    *world.fake.refuses.lock().unwrap() =
        |texts| (texts.len() > 2 && texts[0].starts_with("title")).then_some(StatusCode::PAYLOAD_TOO_LARGE);
    let task = world.task("v1");
    let whole = world.build(&task).await.unwrap();
    assert_eq!((whole.documents, whole.quarantined), (20, 0));
    let verified = world.verify(world.verify_task(&task, &whole)).await.unwrap();
    assert_eq!((verified.documents, verified.self_retrieval), (20, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_encoder_is_told_with_numbers() {
    let world = World::new().await;
    world.write("a.jsonl", &lines(3));
    world.fake.short.store(true, Ordering::SeqCst);
    let failure = world.build(&world.task("v1")).await.unwrap_err();
    let (_, text, code) = reason(&failure);
    assert!(code == 42 && text.contains("31") && text.contains("32"), "{failure}");
    assert!(world.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_may_be_tried_again() {
    let world = World::new().await;
    let mut task = world.task("v1");
    task.sources[0].from = serde_json::from_value(json!({"volume": {"claimName": "c", "path": "not/there"}})).unwrap();
    let failure = world.build(&task).await.unwrap_err();
    assert_eq!((reason(&failure).0, reason(&failure).2), ("SourceUnavailable", 43), "{failure}");
    world.write("a.jsonl", &lines(3));
    let mut task = world.task("v1");
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    task.encoder.url = format!("http://{closed}/v1");
    let places =
        Places { patience: Patience { attempts: 2, total: Duration::from_secs(5), whole: 0 }, ..world.places() };
    let input = JobInput { v: 1, run: "r".into(), task: Task::Build(task) };
    let failure = job(input, Action::Build, &places).await.unwrap_err();
    assert_eq!((reason(&failure).0, reason(&failure).2), ("EndpointUnavailable", 43), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_tasks_that_make_no_sense_are_refused() {
    let world = World::new().await;
    let mut escaping = world.task("v1");
    escaping.sources[0].from =
        serde_json::from_value(json!({"volume": {"claimName": "c", "path": "../other"}})).unwrap();
    let nested = BuildTask { physical: "a/b".into(), ..world.task("v1") };
    let hidden = BuildTask { previous: Some("..".into()), ..world.task("v1") };
    let mut glob = world.task("v1");
    glob.sources[0].include = vec!["[".into()];
    let mut overlap = world.task("v1");
    overlap.chunking.overlap_tokens = 16;
    for task in [escaping, nested, hidden, glob, overlap] {
        let failure = world.build(&task).await.unwrap_err();
        assert_eq!((reason(&failure).0, reason(&failure).2), ("InvalidSpec", 42), "{failure}");
    }
    let failure = world.run(Action::Verify, Task::Build(world.task("v1"))).await.unwrap_err();
    assert_eq!(reason(&failure).0, "InvalidSpec", "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_believes_only_what_it_reads() {
    let world = World::new().await;
    world.write("a.jsonl", &lines(30));
    let task = world.task("v1");
    let report = world.build(&task).await.unwrap();
    let good = world.verify_task(&task, &report);
    let failed = async |task: VerifyTask| {
        let failure = world.verify(task).await.unwrap_err();
        let (reason, text, code) = reason(&failure);
        assert_eq!(code, 42, "{text}");
        (reason.to_owned(), text.to_owned())
    };
    let other_owner = VerifyTask { owner_uid: "x".into(), ..good.clone() };
    assert_eq!(failed(other_owner).await.0, "NotOwned");
    let (reason, text) = failed(VerifyTask { chunks: 5, ..good.clone() }).await;
    assert_eq!(reason, "CountMismatch");
    assert!(text.contains(&format!("chunks {}, expected 5", report.chunks)), "{text}");
    assert_eq!(failed(VerifyTask { content_digest: "0".into(), ..good.clone() }).await.0, "CountMismatch");
    let mut encoder = good.encoder.clone();
    encoder.identity.revision = "2".into();
    assert_eq!(failed(VerifyTask { encoder, ..good.clone() }).await.0, "FingerprintMismatch");

    // The same declared identity, but another model answers.
    let impostor = World::with_salt("other").await;
    let encoder = Encoder { url: impostor.url.clone(), ..good.encoder.clone() };
    let (reason, text) = failed(VerifyTask { encoder, ..good.clone() }).await;
    assert_eq!(reason, "SelfRetrievalLow");
    assert!(text.contains("chunks (0.0") && text.contains("at least 0.99"), "{text}");

    // One bit of one vector.
    let path = world.index().join("idx-v1/vectors.f32");
    let mut bytes = fs::read(&path).unwrap();
    bytes[41] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (reason, text) = failed(good.clone()).await;
    assert!(reason == "CountMismatch" && text.contains("SHA-256"), "{reason}: {text}");
    fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    assert_eq!(failed(good.clone()).await.0, "CountMismatch");
    fs::remove_file(world.index().join("idx-v1/manifest.json")).unwrap();
    let (reason, text) = failed(good).await;
    assert!(reason == "CountMismatch" && text.contains("no manifest.json"), "{reason}: {text}");
}

/// Changes the texts of a version and makes its manifest agree, as a build with a fault would leave them.
fn rewritten(version: &Path, sql: &str, edit: impl FnOnce(&mut Value)) {
    let file = version.join("index.sqlite");
    let sqlite = rusqlite::Connection::open(&file).unwrap();
    sqlite.execute_batch(sql).unwrap();
    drop(sqlite);
    let bytes = fs::read(&file).unwrap();
    let path = version.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    manifest["files"]["index.sqlite"] = json!({"bytes": bytes.len(), "sha256": sha256});
    edit(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_counts_what_is_there_and_not_what_the_build_says() {
    let world = World::new().await;
    world.write("a.jsonl", &lines(30));
    let task = world.task("v1");
    let report = world.build(&task).await.unwrap();
    let version = world.index().join("idx-v1");
    // A build that wrote 30 documents and stamped 31.
    rewritten(&version, "", |manifest| manifest["documents"] = json!(31));
    let claimed = BuildReport { documents: 31, ..report.clone() };
    let failure = world.verify(world.verify_task(&task, &claimed)).await.unwrap_err();
    assert_eq!(reason(&failure).0, "CountMismatch");
    assert!(failure.to_string().contains("documents 30, expected 31"), "{failure}");
    // The texts of two chunks exchanged: every count is right.
    let exchange = "CREATE TEMP TABLE kept AS SELECT text FROM chunk WHERE ordinal = 0;
        UPDATE chunk SET text = (SELECT text FROM chunk WHERE ordinal = 1) WHERE ordinal = 0;
        UPDATE chunk SET text = (SELECT text FROM kept) WHERE ordinal = 1;";
    rewritten(&version, exchange, |manifest| manifest["documents"] = json!(30));
    let failure = world.verify(world.verify_task(&task, &report)).await.unwrap_err();
    assert_eq!(reason(&failure).0, "CountMismatch");
    assert!(failure.to_string().contains("d0#0: its vector was made from another text"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_with_equal_vectors_stand_for_each_other() {
    let world = World::new().await;
    let same: Vec<String> =
        (0..30).map(|n| json!({"id": format!("s{n}"), "text": "one and the same"}).to_string()).collect();
    world.write("a.jsonl", &same);
    let task = world.task("v1");
    let report = world.build(&task).await.unwrap();
    let verified = world.verify(world.verify_task(&task, &report)).await.unwrap();
    assert_eq!((verified.sampled, verified.self_retrieval), (30, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_leaves_foreign_versions_alone() {
    let world = World::new().await;
    world.write("a.jsonl", &lines(3));
    world.build(&world.task("v1")).await.unwrap();
    world.build(&BuildTask { owner_uid: "uid-2".into(), ..world.task("v2") }).await.unwrap();
    let report = world.prune("uid-1", &["idx-v1", "idx-v2", "idx-v3"]).await;
    assert_eq!(report, PruneReport { deleted: 1, missing: 1, foreign: vec!["idx-v2".into()] });
    assert_eq!(world.names(), ["idx-v2"]);
    let report = world.prune("uid-1", &["idx-v1"]).await;
    assert_eq!((report.deleted, report.missing), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_strategy_and_format_builds() {
    let world = World::new().await;
    let docs = world.dir.path().join("sources/docs");
    fs::write(docs.join("a.md"), "---\nkind: guide\n---\n# Guide\n\nalpha beta\n\n## More\n\ngamma").unwrap();
    fs::write(docs.join("b.html"), "<title>Page</title><p>delta<script>omega</script></p>").unwrap();
    fs::write(docs.join("c.txt"), "epsilon ".repeat(60)).unwrap();
    for (n, strategy) in
        [Strategy::Recursive, Strategy::Markdown, Strategy::Fixed, Strategy::None].into_iter().enumerate()
    {
        let mut task = world.task(&format!("v{n}"));
        task.chunking.strategy = strategy;
        let report = world.build(&task).await.unwrap();
        assert_eq!(report.documents, 3);
        // 480 bytes are 120 tokens; the encoder reads 40.
        assert_eq!(report.cut_chunks, i64::from(strategy == Strategy::None), "{strategy:?}");
        let index = EmbeddedIndex::open(&world.index().join(&task.physical)).unwrap();
        let found = |query: &str| {
            let hits = index.search_keyword(query, 1, None).unwrap();
            hits.first().map(|hit| index.chunk(hit.ordinal).unwrap())
        };
        let guide = found("alpha").unwrap();
        assert_eq!((guide.document.as_str(), guide.title.as_str()), ("a.md", "Guide"));
        assert_eq!(guide.metadata["kind"], "guide");
        assert_eq!(found("delta").unwrap().title, "Page");
        assert!(found("omega").is_none());
    }
}
