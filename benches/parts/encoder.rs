//! An encoder that costs next to nothing: a vector of random numbers with the text as their seed.
//!
//! Why a process of its own: its processor time must not be counted as that of what is measured, and `rag` asks
//! encoders over HTTP, so that way is part of the figure.
//!
//! Invariants: the same text has the same vector here and there; the process ends with the bench that started it.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand_core::{RngCore as _, SeedableRng as _};
use rand_pcg::Pcg32;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use rag_operator::api::model::{Distance, Prefixes};
use rag_operator::worker::job;

/// Length of its vectors.
pub const DIMENSIONS: usize = 256;
/// The argument that makes a bench this encoder.
pub const ARGUMENT: &str = "null-encoder";

/// The vector of a text.
pub fn vector(text: &str) -> Vec<f32> {
    // FNV-1a: any hash that is the same in both processes would do.
    let seed = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut random = Pcg32::seed_from_u64(seed);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_wrap)]
    let number = |random: &mut Pcg32| random.next_u32() as i32 as f32 / i32::MAX as f32;
    (0..DIMENSIONS).map(|_| number(&mut random)).collect()
}

/// Whether this process was started as the encoder; if so it has been one until its parent ended.
pub fn was_it() -> Result<bool> {
    if std::env::args().nth(1).as_deref() != Some(ARGUMENT) {
        return Ok(false);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve())?;
    Ok(true)
}

#[derive(Deserialize)]
struct Request {
    input: Vec<String>,
}

#[derive(Serialize)]
struct Response {
    object: &'static str,
    model: &'static str,
    data: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: String,
}

async fn serve() -> Result<()> {
    let texts = Arc::new(AtomicU64::new(0));
    let router = Router::new()
        .route("/v1/embeddings", post(embeddings))
        .route("/texts", get(|State(texts): State<Arc<AtomicU64>>| async move { Json(texts.load(Ordering::Relaxed)) }))
        .layer(DefaultBodyLimit::max(64 << 20))
        .with_state(texts);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let (sender, parent_ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Nothing is ever written; the end of the parent is the end of the input.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(sender);
    });
    tokio::select! {
        ended = axum::serve(listener, router) => Ok(ended?),
        _ = parent_ended => Ok(()),
    }
}

async fn embeddings(State(texts): State<Arc<AtomicU64>>, Json(request): Json<Request>) -> Json<Response> {
    texts.fetch_add(u64::try_from(request.input.len()).unwrap_or(0), Ordering::Relaxed);
    let item = |(index, text): (usize, &String)| {
        let bytes: Vec<u8> = vector(text).iter().flat_map(|x| x.to_le_bytes()).collect();
        Item { object: "embedding", index, embedding: STANDARD.encode(bytes) }
    };
    let data = request.input.iter().enumerate().map(item).collect();
    Json(Response { object: "list", model: "null", data })
}

/// The running encoder; dropping it ends it.
pub struct NullEncoder {
    _child: Child,
    address: String,
    http: reqwest::Client,
}

impl NullEncoder {
    /// Starts this program once more, as the encoder.
    pub async fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the null encoder")?;
        let stdout = child.stdout.take().context("the null encoder has no output")?;
        let first = tokio::time::timeout(Duration::from_secs(10), BufReader::new(stdout).lines().next_line()).await;
        let address = first.context("the null encoder names no address within 10 s")??;
        let address = address.context("the null encoder ended at once")?;
        let http = crate::web::client(Duration::from_secs(10))?;
        Ok(Self { _child: child, address, http })
    }

    /// Base address with `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Texts that it has embedded so far.
    pub async fn texts(&self) -> Result<u64> {
        let answer = self.http.get(format!("http://{}/texts", self.address)).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// As a job input names it, with the defaults of the API.
    pub fn as_input(&self) -> job::Encoder {
        job::Encoder {
            identity: identity(),
            url: self.url(),
            model: "null".to_owned(),
            batch_size: 64,
            max_concurrency: 4,
            timeout: "30s".to_owned(),
            api_key: false,
            ca_bundle: false,
        }
    }
}

/// What an EmbeddingModel would declare of it.
pub fn identity() -> job::Identity {
    job::Identity {
        model: "null".to_owned(),
        revision: "1".to_owned(),
        dimensions: i32::try_from(DIMENSIONS).unwrap_or(i32::MAX),
        distance: Distance::Cosine,
        normalize: true,
        prefixes: Prefixes::default(),
        max_input_tokens: 512,
    }
}
