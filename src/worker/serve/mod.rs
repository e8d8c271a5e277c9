//! `rag serve`: the retrieval API over one index version with its pinned encoder.
//!
//! Why one process a revision: index version, encoder and retrieval settings change together or not at all,
//! so what a gate measured is what users get.
//!
//! Invariants: a version with another content digest or another encoder's fingerprint than promised is never
//! served; after SIGTERM the server says so on /readyz, keeps answering for a while, then finishes what is
//! in flight.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::encoder::{self, Mounts};
use super::exit::{Failure, finish, job_input, report};
use super::http::{self, Stop};
use super::job::{self, ServeTask, Task, digest, paths};
use crate::api::names::{PORT_EVALUATION, PORT_HEALTH, PORT_TRAFFIC};
use crate::api::release::{Fusion, Mode, Retrieval, Rrf};
use crate::embedding::Encoder;
use crate::embedding::openai::Patience;
use crate::store::embedded::plain_name;

mod api;
mod drift;
pub mod engine;
pub mod fuse;
pub mod metrics;
mod openai;
mod problem;
mod request;

pub use api::{MAX_REQUESTS, TIME_LIMIT};
pub use drift::MEASURE_EVERY;
pub use request::{MAX_K_EVALUATION, evaluation_question};

/// Flags of `rag serve`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Index version directory. In a Job: the directory that holds the versions, default /index.
    #[arg(long)]
    pub index: Option<PathBuf>,
    /// Model directory of the encoder that built the index. In a Job the input names an endpoint instead.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Address of the retrieval API; default 127.0.0.1:8080, in a Job every address.
    #[arg(long)]
    pub listen: Option<SocketAddr>,
    /// Address of the same search for evaluation; default 127.0.0.1:8081.
    #[arg(long)]
    pub evaluation: Option<SocketAddr>,
    /// Address of /livez, /readyz and /metrics; default 127.0.0.1:8082.
    #[arg(long)]
    pub health: Option<SocketAddr>,
    /// Vector, Keyword or Hybrid.
    #[arg(long, default_value = "vector", value_parser = mode_flag)]
    pub mode: Mode,
    /// Results when a request names no k, 1 to 100.
    #[arg(long, default_value_t = 10)]
    pub top_k: i32,
    /// Constant of the rank fusion in mode Hybrid, 1 to 1000.
    #[arg(long, default_value_t = 60)]
    pub rrf_k: i32,
    /// Least vector score of a result, before fusion.
    #[arg(long, allow_negative_numbers = true)]
    pub min_score: Option<f64>,
    /// Results asked of the store beyond k, 0 to 100.
    #[arg(long, default_value_t = 10)]
    pub overfetch: i32,
    /// Name in /v1/vector_stores/{name}/search.
    #[arg(long, default_value = "local")]
    pub release: String,
    /// Time after SIGTERM in which requests are still taken, while /readyz already says no.
    #[arg(long, default_value = "5s", value_parser = duration_flag)]
    pub drain: Duration,
}

/// A flag with a retrieval mode.
pub fn mode_flag(text: &str) -> Result<Mode, String> {
    match text.to_ascii_lowercase().as_str() {
        "vector" => Ok(Mode::Vector),
        "keyword" => Ok(Mode::Keyword),
        "hybrid" => Ok(Mode::Hybrid),
        _ => Err(format!("{text:?} is no mode; write vector, keyword or hybrid")),
    }
}

/// A flag with a Go-style duration.
pub fn duration_flag(text: &str) -> Result<Duration, String> {
    encoder::duration("the value", text).map_err(|failure| failure.to_string())
}

/// Runs `rag serve`.
pub fn run(args: Args) -> ExitCode {
    let input = match job_input() {
        Ok(input) => input,
        Err(unread) => return unread.finish(),
    };
    let Some(input) = input else {
        let (Some(index), Some(model)) = (args.index.clone(), args.model.clone()) else {
            eprintln!("error: --index DIR and --model DIR are needed: what is served, and the encoder of its queries");
            return ExitCode::from(USAGE);
        };
        return report(http::runtime().and_then(|runtime| runtime.block_on(from_flags(args, index, &model))));
    };
    let Task::Serve(task) = input.task else {
        let failure = Failure::invalid("InvalidSpec", "`rag serve` was given the input of another program");
        return finish(&input.run, Err(failure));
    };
    match http::runtime().and_then(|runtime| runtime.block_on(from_task(args, task))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => finish(&input.run, Err(failure)),
    }
}

async fn from_flags(args: Args, index: PathBuf, model: &Path) -> Result<(), Failure> {
    let local = encoder::local(model)?;
    let retrieval = Retrieval {
        top_k: args.top_k,
        mode: args.mode,
        fusion: Fusion { rrf: Rrf { k: args.rrf_k } },
        min_score: args.min_score,
        overfetch: args.overfetch,
    };
    let expected = Expected { content_digest: None, fingerprint: local.fingerprint() };
    let local_port = |port: i32| SocketAddr::from(([127, 0, 0, 1], port as u16));
    let listeners = Listeners {
        traffic: http::listen(args.listen.unwrap_or(local_port(PORT_TRAFFIC)), "search").await?,
        evaluation: http::listen(args.evaluation.unwrap_or(local_port(PORT_EVALUATION)), "evaluation").await?,
        health: http::listen(args.health.unwrap_or(local_port(PORT_HEALTH)), "health").await?,
    };
    let config = Config {
        release: args.release,
        revision: None,
        version: None,
        index,
        expected,
        retrieval,
        limits: Limits::default(),
        measure_every: MEASURE_EVERY,
    };
    until_signal(start(config, Encoders::one(Arc::new(local)), listeners).await?, args.drain).await
}

async fn from_task(args: Args, task: ServeTask) -> Result<(), Failure> {
    let root = args.index.unwrap_or_else(|| paths::INDEX.into());
    let encoders = Encoders::of(&task.encoder, &Mounts::default())?;
    let listeners = Listeners {
        traffic: listen_in_pod(args.listen, PORT_TRAFFIC, "search").await?,
        evaluation: listen_in_pod(args.evaluation, PORT_EVALUATION, "evaluation").await?,
        health: listen_in_pod(args.health, PORT_HEALTH, "health").await?,
    };
    until_signal(start(Config::of(task, &root)?, encoders, listeners).await?, args.drain).await
}

/// Every address of the pod: both families where there are two, else IPv4 alone.
async fn listen_in_pod(flag: Option<SocketAddr>, port: i32, purpose: &str) -> Result<TcpListener, Failure> {
    if let Some(address) = flag {
        return http::listen(address, purpose).await;
    }
    let port = port as u16;
    match http::listen(SocketAddr::from(([0u16; 8], port)), purpose).await {
        Ok(listener) => Ok(listener),
        Err(_) => http::listen(SocketAddr::from(([0, 0, 0, 0], port)), purpose).await,
    }
}

async fn until_signal(server: Server, drain: Duration) -> Result<(), Failure> {
    eprintln!(
        "revision {} ({}): search at http://{}/v1/search, evaluation at http://{}, health at http://{}",
        server.state.identity.revision, server.state.identity.version, server.traffic, server.evaluation, server.health
    );
    if http::signal().await? == http::Signal::Terminate {
        server.drain(drain).await;
    }
    server.stop().await;
    Ok(())
}

/// What to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the release.
    pub release: String,
    /// Default: a digest of version, encoder and settings.
    pub revision: Option<String>,
    /// Index and version; default: what the manifest says.
    pub version: Option<String>,
    /// Directory of the version.
    pub index: PathBuf,
    pub expected: Expected,
    pub retrieval: Retrieval,
    pub limits: Limits,
    /// Time between two measurements of the encoder.
    pub measure_every: Duration,
}

/// What the version must be.
#[derive(Clone, Debug)]
pub struct Expected {
    /// `None`: any.
    pub content_digest: Option<String>,
    /// Of the encoder that queries are encoded with.
    pub fingerprint: String,
}

/// Bounds of one port.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests at once.
    pub requests: usize,
    /// Time for an answer.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: MAX_REQUESTS, time: TIME_LIMIT }
    }
}

impl Config {
    /// What a job input asks for, with versions below `root`.
    pub fn of(task: ServeTask, root: &Path) -> Result<Self, Failure> {
        let physical = plain_name(&task.physical).map_err(|why| Failure::invalid("InvalidSpec", why.to_string()))?;
        Ok(Self {
            release: task.release,
            revision: Some(task.revision),
            version: Some(task.version),
            index: root.join(physical),
            expected: Expected {
                content_digest: Some(task.content_digest),
                fingerprint: task.encoder.identity.fingerprint(),
            },
            retrieval: task.retrieval,
            limits: Limits::default(),
            measure_every: MEASURE_EVERY,
        })
    }
}

/// What answers say of their origin.
struct Identity {
    release: String,
    revision: String,
    version: String,
    retrieval: Retrieval,
}

/// The three ports.
pub struct Listeners {
    pub traffic: TcpListener,
    pub evaluation: TcpListener,
    pub health: TcpListener,
}

impl Listeners {
    /// Free ports of this machine.
    pub async fn local() -> Result<Self, Failure> {
        let any = || SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self {
            traffic: http::listen(any(), "search").await?,
            evaluation: http::listen(any(), "evaluation").await?,
            health: http::listen(any(), "health").await?,
        })
    }
}

/// The pinned encoder, for its two uses.
///
/// Why two: a query may wait seconds only, since a person waits for it, while the 64 texts of the measurement may take
/// as long as a build's would; and a measurement must not take the turn of a query.
pub struct Encoders {
    /// Encodes queries.
    pub queries: Arc<dyn Encoder>,
    /// Is held against the encoder of the index.
    pub measured: Arc<dyn Encoder>,
}

impl Encoders {
    /// One for both: it is in this process, or what it answers is set.
    pub fn one(encoder: Arc<dyn Encoder>) -> Self {
        Self { queries: encoder.clone(), measured: encoder }
    }

    /// Two clients of the endpoint that a job input names.
    fn of(encoder: &job::Encoder, mounts: &Mounts) -> Result<Self, Failure> {
        // One request more in flight than the user allows is the least that takes no query's turn.
        let measured = job::Encoder { max_concurrency: 1, ..encoder.clone() };
        Ok(Self {
            queries: Arc::new(encoder::client(encoder, Patience::SERVE, mounts)?),
            measured: Arc::new(encoder::client(&measured, Patience::BUILD, mounts)?),
        })
    }
}

/// A running server; dropping it stops it.
pub struct Server {
    pub traffic: SocketAddr,
    pub evaluation: SocketAddr,
    pub health: SocketAddr,
    state: Arc<api::State>,
    answers: Stop,
    health_stop: Stop,
    tasks: [tokio::task::JoinHandle<()>; 3],
    measuring: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.measuring.abort();
    }
}

impl Server {
    /// Says on /readyz that no new requests should come, and answers those that still do.
    pub async fn drain(&self, time: Duration) {
        self.state.drain();
        tokio::time::sleep(time).await;
    }

    /// Finishes what is in flight and ends; health last.
    pub async fn stop(mut self) {
        self.state.drain();
        self.answers.now();
        let [traffic, evaluation, health] = &mut self.tasks;
        let _ = traffic.await;
        let _ = evaluation.await;
        self.health_stop.now();
        let _ = health.await;
    }
}

/// Opens the version, checks that it is the promised one, and starts answering.
pub async fn start(config: Config, encoders: Encoders, listeners: Listeners) -> Result<Server, Failure> {
    let Encoders { queries, measured } = encoders;
    let settings = engine::Settings::of(&config.retrieval)?;
    let directory = config.index.clone();
    let engine = tokio::task::spawn_blocking(move || engine::Engine::open(&directory, queries, settings))
        .await
        .map_err(|error| Failure::invalid("InternalError", format!("opening the index stopped: {error}")))??;
    check(&config, engine.manifest())?;
    let identity = identify(config.release, config.revision, config.version, config.retrieval, engine.manifest());
    let state = Arc::new(api::State::new(engine, identity, config.limits));
    let Listeners { traffic, evaluation, health } = listeners;
    let addresses = (http::address(&traffic)?, http::address(&evaluation)?, http::address(&health)?);
    let (answers, health_stop) = (Stop::default(), Stop::default());
    let tasks = [
        answers.serve(traffic, api::router(state.clone(), request::Port::Traffic)),
        answers.serve(evaluation, api::router(state.clone(), request::Port::Evaluation)),
        health_stop.serve(health, api::health(state.clone())),
    ];
    let measuring = tokio::spawn(drift::measure(state.clone(), measured, config.measure_every));
    let (traffic, evaluation, health) = addresses;
    Ok(Server { traffic, evaluation, health, state, answers, health_stop, tasks, measuring })
}

/// Holds the version against what was promised.
fn check(config: &Config, manifest: &crate::store::Manifest) -> Result<(), Failure> {
    let mismatch = |what: &str, found: &str, expected: &str| {
        Failure::invalid(
            "FingerprintMismatch",
            format!("index {} has {what} {found}, expected is {expected}", config.index.display()),
        )
    };
    if let Some(expected) = &config.expected.content_digest
        && *expected != manifest.content_digest
    {
        return Err(mismatch("content digest", &manifest.content_digest, expected));
    }
    if config.expected.fingerprint != manifest.fingerprint {
        return Err(mismatch("fingerprint", &manifest.fingerprint, &config.expected.fingerprint));
    }
    Ok(())
}

fn identify(
    release: String,
    revision: Option<String>,
    version: Option<String>,
    retrieval: Retrieval,
    manifest: &crate::store::Manifest,
) -> Identity {
    let revision = revision.unwrap_or_else(|| self::revision(manifest, &retrieval));
    Identity { release, revision, version: version.unwrap_or_else(|| manifest.version.clone()), retrieval }
}

/// The name of a version, its encoder and settings outside a cluster.
pub fn revision(manifest: &crate::store::Manifest, retrieval: &Retrieval) -> String {
    let mut hex = digest(&(&manifest.content_digest, &manifest.fingerprint, retrieval));
    hex.truncate(10);
    hex
}

/// Exit code of a command line that cannot be meant.
const USAGE: u8 = 64;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::Json;
    use axum::http::{HeaderMap, StatusCode, header};
    use axum::response::{IntoResponse as _, Response};
    use serde_json::{Value, json};
    use tokio::sync::watch;

    use super::*;
    use crate::embedding::{Side, probe};

    /// An embedding server that answers one text at once. Several it refuses for a moment as often as `busy` says, and
    /// then holds them until a single text was answered.
    #[derive(Clone)]
    struct SlowWithMany {
        busy: Arc<AtomicU32>,
        answered: watch::Sender<bool>,
        held: watch::Sender<bool>,
    }

    impl SlowWithMany {
        async fn answer(self, Json(body): Json<Value>) -> Response {
            let texts = body["input"].as_array().unwrap().len();
            if texts == 1 {
                self.answered.send_replace(true);
            } else {
                let busy = |left: u32| left.checked_sub(1);
                if self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, busy).is_ok() {
                    let again = HeaderMap::from_iter([(header::RETRY_AFTER, "0".parse().unwrap())]);
                    return (StatusCode::SERVICE_UNAVAILABLE, again).into_response();
                }
                self.held.send_replace(true);
                self.answered.subscribe().wait_for(|answered| *answered).await.unwrap();
            }
            let vectors: Vec<Value> =
                (0..texts).map(|index| json!({"index": index, "embedding": [1.0, 0.0]})).collect();
            Json(json!({"data": vectors})).into_response()
        }
    }

    #[tokio::test]
    async fn the_measurement_has_the_patience_of_a_build_and_takes_no_query_s_turn() {
        // More refusals than a query bears.
        let busy = Patience::SERVE.attempts + 1;
        let server = SlowWithMany {
            busy: Arc::new(AtomicU32::new(busy)),
            answered: watch::channel(false).0,
            held: watch::channel(false).0,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let handler = {
            let server = server.clone();
            move |body| server.clone().answer(body)
        };
        let router = axum::Router::new().route("/v1/embeddings", axum::routing::post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let encoder: job::Encoder = serde_json::from_value(json!({
            "identity": {"model": "m", "revision": "", "dimensions": 2, "distance": "Cosine", "normalize": true,
                "prefixes": {"query": "", "passage": ""}, "maxInputTokens": 512},
            "url": url, "model": "m", "batchSize": 64, "maxConcurrency": 1, "timeout": "30s", "apiKey": false,
            "caBundle": false}))
        .unwrap();
        let encoders = Encoders::of(&encoder, &Mounts::default()).unwrap();
        let measuring = tokio::spawn(async move { probe::vectors(encoders.measured.as_ref()).await });
        // Whatever ends first: a measurement that is given up never holds anything.
        let mut held = server.held.subscribe();
        tokio::select! {
            _ = held.wait_for(|held| *held) => {}
            () = async { while !measuring.is_finished() { tokio::task::yield_now().await } } => {}
        }
        let query = encoders.queries.embed(&["a question".to_owned()], Side::Query).await;
        assert_eq!(query.unwrap(), [[1.0, 0.0]]);
        assert_eq!(measuring.await.unwrap().unwrap().len(), probe::TEXTS.len());
    }
}
