//! What `rag serve` itself costs: the program as it runs in a pod, over an index of 20,000 chunks, with an encoder that
//! costs nothing.
//!
//! First a closed loop finds the most requests a second; then requests come on schedule at half of that, whether answers
//! came or not, and time counts from the schedule. Every fourth request also goes straight to the encoder: the
//! difference is what the server adds, search included.
//!
//! Server, encoder and this client share the machine's cores, so the most requests a second is what all three reach
//! together; the server's own processor time a request does not depend on that.

#[path = "serve/load.rs"]
mod load;
mod parts;
#[path = "serve/server.rs"]
mod server;
#[path = "../dev/demo/web.rs"]
mod web;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use load::{Asker, percentile};
use parts::encoder::{self, DIMENSIONS, NullEncoder};
use parts::process;
use parts::report::Report;
use parts::size;
use parts::words::Words;
use rag_operator::api::release::Mode;
use rag_operator::embedding::probe;
use rag_operator::store::embedded::{Builder, EmbeddedIndex, NewChunk, Stamp};
use rag_operator::store::{BuildCounts, Distance, Manifest, StoreError};
use server::Server;

/// Seed of chunks and queries.
const SEED: u64 = 256;
/// Different queries.
const QUERIES: usize = 1_000;
/// Rounds of each mode; modes alternate.
const ROUNDS: usize = 3;
/// Connections of the closed loop, one after the other.
const CONNECTIONS: [usize; 5] = [1, 2, 4, 8, 16];
/// Results asked for; the server takes ten more from the store.
const K: usize = 20;

fn main() -> Result<()> {
    if encoder::was_it()? {
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<()> {
    let mut report = Report::begin("serve")?;
    let encoder = NullEncoder::start().await?;
    let dir = tempfile::tempdir()?;
    let chunks = size(20_000, 500);
    let manifest = build(&dir.path().join("v1"), chunks)?;
    report.note(format!("{chunks} chunks of {DIMENSIONS} dimensions, {QUERIES} queries, seed {SEED}."));
    let mut words = Words::new(SEED.wrapping_add(1));
    let queries: Vec<String> = (0..QUERIES).map(|_| words.query()).collect();
    searches(&dir.path().join("v1"), &queries, &mut report)?;
    let mut arms = Vec::new();
    for mode in [Mode::Vector, Mode::Hybrid] {
        let server = Server::start(dir.path(), &manifest, &encoder, mode).await?;
        let asker = Arc::new(Asker::new(&server.address, &encoder.url(), &queries)?);
        arms.push(Arm { mode, server, asker, rounds: Vec::new() });
    }
    for number in 1..=ROUNDS {
        for arm in &mut arms {
            let round = arm.round().await?;
            eprintln!("round {number} of {ROUNDS}, mode {:?}: at most {:.0} requests/s", arm.mode, round.most);
            arm.rounds.push(round);
        }
    }
    for arm in &arms {
        arm.tell(&mut report)?;
    }
    report.finish()
}

/// The index, as `rag index` would write it of these chunks.
fn build(directory: &Path, chunks: u64) -> Result<Manifest> {
    let mut builder = Builder::create(directory, DIMENSIONS, Distance::Cosine, true)?;
    let mut words = Words::new(SEED);
    for n in 0..chunks {
        let (title, text) = (words.query(), words.text(900));
        let embedded = format!("{title} {text}");
        let metadata = serde_json::Map::from_iter([("domain".to_owned(), json!(format!("d{}", n % 4)))]);
        let chunk = NewChunk {
            id: &format!("doc{n}#0"),
            document: &format!("doc{n}"),
            title: &title,
            embedded: &embedded,
            text: &text,
            metadata: &metadata,
        };
        builder.add(&chunk, &encoder::vector(&embedded))?;
    }
    let stamp = Stamp {
        owner_uid: "bench".to_owned(),
        version: "v1".to_owned(),
        fingerprint: encoder::identity().fingerprint(),
        content_digest: "bench".to_owned(),
        source_digest: "bench".to_owned(),
        normalized: true,
        documents: chunks,
        chunking: json!({}),
        build: BuildCounts::default(),
    };
    let references: Vec<Vec<f32>> = probe::TEXTS.iter().map(|text| encoder::vector(text)).collect();
    Ok(builder.finish(stamp, &references)?)
}

/// Medians of the search alone, without HTTP, encoder and texts of the results.
fn searches(directory: &Path, queries: &[String], report: &mut Report) -> Result<()> {
    let index = EmbeddedIndex::open(directory)?;
    let vectors: Vec<Vec<f32>> = queries.iter().map(|query| encoder::vector(query)).collect();
    let (mut scans, mut words) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let times = vectors.iter().map(|vector| timed(|| index.search_vector(vector, K, None)));
        scans.push(micros(percentile(&mut times.collect::<Result<Vec<_>>>()?, 0.5)));
        let times = queries.iter().map(|query| timed(|| index.search_keyword(query, K, None)));
        words.push(micros(percentile(&mut times.collect::<Result<Vec<_>>>()?, 0.5)));
    }
    report.figure("scan of all vectors, in process: p50", "µs", scans);
    report.figure("keyword search, in process: p50", "µs", words);
    let all = usize::try_from(index.manifest().chunks)?;
    let found = queries.iter().map(|query| Ok(index.search_keyword(query, all, None)?.len()));
    let mut found = found.collect::<Result<Vec<usize>>>()?;
    found.sort_unstable();
    let median = found.get(found.len() / 2).copied().unwrap_or_default();
    report.note(format!(
        "A query's words stand in {median} chunks (median): frequent words are as frequent as in English."
    ));
    Ok(())
}

fn timed<T>(search: impl FnOnce() -> Result<T, StoreError>) -> Result<Duration> {
    let begin = Instant::now();
    search()?;
    Ok(begin.elapsed())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// One mode with its server.
struct Arm {
    mode: Mode,
    server: Server,
    asker: Arc<Asker>,
    rounds: Vec<Round>,
}

/// What one round found; times in µs.
struct Round {
    most: f64,
    connections: usize,
    rate: f64,
    server: [f64; 3],
    encoder: [f64; 3],
    cpu: f64,
}

impl Arm {
    async fn round(&self) -> Result<Round> {
        let (mut most, mut connections) = (0.0, 0);
        self.asker.closed(4, size(Duration::from_secs(2), Duration::from_millis(200))).await?;
        for tried in CONNECTIONS {
            let reached = self.asker.closed(tried, size(Duration::from_secs(3), Duration::from_millis(200))).await?;
            if reached > most {
                (most, connections) = (reached, tried);
            }
        }
        let rate = most / 2.0;
        let before = process::cpu(self.server.pid)?;
        let mut open = self.asker.open(rate, size(Duration::from_secs(20), Duration::from_secs(1))).await?;
        let used = process::cpu(self.server.pid)?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss)]
        let requests = open.server.len() as f64;
        let of = |times: &mut Vec<Duration>| [0.5, 0.99, 1.0].map(|share| micros(percentile(times, share)));
        Ok(Round {
            most,
            connections,
            rate,
            cpu: micros(used) / requests,
            server: of(&mut open.server),
            encoder: of(&mut open.encoder),
        })
    }

    fn tell(&self, report: &mut Report) -> Result<()> {
        let mode = format!("{:?}", self.mode);
        let all = |value: &dyn Fn(&Round) -> f64| self.rounds.iter().map(value).collect::<Vec<f64>>();
        report.figure(format!("{mode}: most requests"), "requests/s", all(&|r| r.most));
        report.figure(format!("{mode}: rate of the open loop"), "requests/s", all(&|r| r.rate));
        for (at, share) in ["p50", "p99", "slowest"].into_iter().enumerate() {
            let value = |times: &[f64; 3]| times.get(at).copied().unwrap_or_default();
            report.figure(format!("{mode}: {share}"), "µs", all(&|r| value(&r.server)));
            report.figure(format!("{mode}: {share} of the encoder alone"), "µs", all(&|r| value(&r.encoder)));
            if share != "slowest" {
                report.figure(
                    format!("{mode}: {share} over the encoder's"),
                    "µs",
                    all(&|r| value(&r.server) - value(&r.encoder)),
                );
            }
        }
        report.figure(format!("{mode}: CPU of the server"), "µs/request", all(&|r| r.cpu));
        let memory = process::memory(self.server.pid)?;
        report.figure(format!("{mode}: memory of the server"), "MiB", vec![memory.resident]);
        let connections: Vec<usize> = self.rounds.iter().map(|r| r.connections).collect();
        report.note(format!("{mode}: the most requests came with {connections:?} connections."));
        Ok(())
    }
}
