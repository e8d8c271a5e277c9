//! What `rag index` itself costs: a Job's build over generated documents, with an encoder that costs nothing.
//!
//! The Job's own function runs in this process, so this process's processor time is that of the worker; the encoder
//! is another process. The sources are read twice, as always: once for the guards, once to build.

mod parts;
#[path = "../dev/demo/web.rs"]
mod web;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use parts::encoder::{self, NullEncoder};
use parts::process;
use parts::report::Report;
use parts::size;
use parts::words::Words;
use rag_operator::api::index::{Chunking, DataQuality, Source};
use rag_operator::embedding::openai::Patience;
use rag_operator::embedding::probe;
use rag_operator::worker::encoder::Mounts;
use rag_operator::worker::http;
use rag_operator::worker::index::{Action, Places, job};
use rag_operator::worker::job::{BuildTask, JobInput, Task};
use rag_operator::worker::receipt::{Body, BuildReport};

/// Seed of the documents.
const SEED: u64 = 20_000;
/// Builds of each kind; kinds alternate.
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    if encoder::was_it()? {
        return Ok(());
    }
    // The runtime of `rag index` itself.
    http::runtime()?.block_on(measure())
}

async fn measure() -> Result<()> {
    let mut report = Report::begin("index")?;
    let encoder = NullEncoder::start().await?;
    let dir = tempfile::tempdir()?;
    let ground = Ground { root: dir.path(), encoder: &encoder };
    let written = ground.write_documents()?;
    report.note(format!("{} documents, {} bytes of text, seed {SEED}.", written.documents, written.bytes));
    for keyword in [false, true] {
        let mut kinds = [Runs::default(), Runs::default()];
        for round in 0..ROUNDS {
            let [first, second] = &mut kinds;
            let fresh = ground.build(&format!("fresh-{keyword}-{round}"), keyword, None).await?;
            ensure!(fresh.embedded == fresh.chunks, "{} chunks, {} embedded", fresh.chunks, fresh.embedded);
            let name = fresh.name.clone();
            let again = ground.build(&format!("again-{keyword}-{round}"), keyword, Some(&fresh)).await?;
            ensure!(again.chunks == fresh.chunks, "{} chunks became {}", fresh.chunks, again.chunks);
            ground.remove(&name)?;
            ground.remove(&again.name)?;
            first.push(fresh);
            second.push(again);
        }
        let side = if keyword { "with keyword side" } else { "vectors only" };
        let [first, second] = kinds;
        first.tell(&mut report, &format!("build, {side}"), written.bytes);
        second.tell(&mut report, &format!("unchanged rebuild, {side}"), written.bytes);
    }
    report.finish()
}

/// What was generated.
struct Written {
    documents: u64,
    bytes: usize,
}

/// One build.
struct Run {
    name: String,
    chunks: u64,
    documents: i64,
    /// Texts that the encoder got, the probe texts not counted.
    embedded: u64,
    wall: Duration,
    cpu: Duration,
}

#[derive(Default)]
struct Runs(Vec<Run>);

impl Runs {
    fn push(&mut self, run: Run) {
        self.0.push(run);
    }

    fn tell(&self, report: &mut Report, kind: &str, bytes: usize) {
        let per_run = |value: &dyn Fn(&Run) -> f64| self.0.iter().map(value).collect::<Vec<f64>>();
        let megabytes = real(u64::try_from(bytes).unwrap_or(u64::MAX)) / 1e6;
        let micros = |run: &Run| run.cpu.as_secs_f64() * 1e6 / real(run.chunks);
        report.note(format!("{kind}: {:?} chunks.", self.0.iter().map(|run| run.chunks).collect::<Vec<_>>()));
        report.figure(format!("{kind}: speed"), "chunks/s", per_run(&|run| real(run.chunks) / run.wall.as_secs_f64()));
        report.figure(format!("{kind}: own CPU"), "µs/chunk", per_run(&micros));
        report.figure(
            format!("{kind}: text per own CPU"),
            "MB/CPU-s",
            per_run(&|run| megabytes / run.cpu.as_secs_f64()),
        );
        report.figure(format!("{kind}: embedded"), "chunks", per_run(&|run| real(run.embedded)));
    }
}

#[expect(clippy::cast_precision_loss)]
fn real(n: u64) -> f64 {
    n as f64
}

struct Ground<'a> {
    root: &'a Path,
    encoder: &'a NullEncoder,
}

impl Ground<'_> {
    /// About 20 MB as JSON lines: documents of .5 to 8 KB, most of them several chunks.
    fn write_documents(&self) -> Result<Written> {
        let wanted = size(20_000_000, 200_000);
        let directory = self.root.join("sources/docs");
        std::fs::create_dir_all(&directory)?;
        std::fs::create_dir_all(self.root.join("index"))?;
        let mut file = std::io::BufWriter::new(std::fs::File::create(directory.join("corpus.jsonl"))?);
        let mut words = Words::new(SEED);
        let mut written = Written { documents: 0, bytes: 0 };
        while written.bytes < wanted {
            let length = usize::try_from(words.number(500, 8_000))?;
            let (title, text) = (words.query(), words.text(length));
            written.bytes = written.bytes.saturating_add(text.len());
            let line = json!({"id": format!("d{}", written.documents), "title": title, "text": text});
            writeln!(file, "{line}")?;
            written.documents = written.documents.saturating_add(1);
        }
        file.flush()?;
        Ok(written)
    }

    async fn build(&self, name: &str, keyword: bool, previous: Option<&Run>) -> Result<Run> {
        let source = json!({"name": "docs", "from": {"volume": {"claimName": "c"}}, "format": "Jsonl"});
        let source: Source = serde_json::from_value(source)?;
        let task = BuildTask {
            physical: name.to_owned(),
            owner_uid: "bench".to_owned(),
            version: "v1".to_owned(),
            sources: vec![source],
            chunking: Chunking::default(),
            keyword,
            data_quality: DataQuality::default(),
            encoder: self.encoder.as_input(),
            previous: previous.map(|run| run.name.clone()),
            previous_documents: previous.map(|run| run.documents),
        };
        let places = Places {
            sources: self.root.join("sources"),
            index: self.root.join("index"),
            encoder: Mounts::default(),
            patience: Patience::BUILD,
        };
        let input = JobInput { v: 1, run: "bench".to_owned(), task: Task::Build(task) };
        let (texts, cpu) = (self.encoder.texts().await?, process::cpu(std::process::id())?);
        let begin = Instant::now();
        let body = job(input, Action::Build, &places).await.with_context(|| format!("build {name}"))?;
        let wall = begin.elapsed();
        let cpu = process::cpu(std::process::id())?.saturating_sub(cpu);
        let probes = u64::try_from(probe::TEXTS.len())?;
        let embedded = self.encoder.texts().await?.saturating_sub(texts).saturating_sub(probes);
        let Body::Build(BuildReport { chunks, documents, .. }) = body else { bail!("a build reports {body:?}") };
        let chunks = u64::try_from(chunks)?;
        Ok(Run { name: name.to_owned(), chunks, documents, embedded, wall, cpu })
    }

    fn remove(&self, name: &str) -> Result<()> {
        let directory = self.root.join("index").join(name);
        std::fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))
    }
}
