//! `rag evaluate` as a process, from run file and judgments to JSON, against pytrec_eval, ir_measures and ranx; and the
//! sign flip of ten metrics against numpy and scipy.
//!
//! Why whole processes: what a pipeline pays is start, reading and computing together. Equality first: the peers' means
//! must be ours before a figure counts.

mod parts;

#[path = "../dev/cache.rs"]
mod cache;
#[allow(dead_code)] // Parts of the other benches ask over HTTP.
#[path = "../dev/demo/web.rs"]
mod web;

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rag_operator::evaluation::paired::{Seed, sign_flip_ps};
use rag_operator::evaluation::sample::Sample;
use rand_core::RngCore as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use parts::report::Report;
use parts::{process, size};

/// Documents of each query in the run, and judged ones; of these so many are in the run.
const DEPTH: u64 = 1_000;
const JUDGED: u64 = 100;
const JUDGED_AND_FOUND: u64 = 40;
const METRICS: [&str; 4] = ["ndcg@10", "map", "recall@100", "mrr"];
/// The statistics: metrics, queries, sign patterns.
const COLUMNS: usize = 10;
const QUERIES: usize = 1_000;
const MARGIN: f64 = 0.02;

/// What a command used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Used {
    code: i32,
    cpu: f64,
    peak_mib: f64,
    out: String,
}

/// Programs to compare with, and where their modules lie.
struct Peers {
    script: PathBuf,
    modules: PathBuf,
}

fn main() -> Result<()> {
    let mut report = Report::begin("evaluate")?;
    let modules = cache::made_by("bench-peers", [PathBuf::from(".requirements")]).map_err(anyhow::Error::msg)?;
    let peers = Peers { script: Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/peers/bench.py"), modules };
    let place = tempfile::tempdir()?;
    files(&mut report, &peers, &place)?;
    statistics(&mut report, &peers, &place)?;
    report.finish()
}

impl Peers {
    fn python(&self) -> Command {
        let mut python = Command::new("python3");
        python.arg(&self.script).env("PYTHONPATH", &self.modules).stderr(Stdio::null());
        python
    }

    /// Runs a command and says what it used.
    fn measured(&self, command: &[&str]) -> Result<Used> {
        let output = self.python().arg("measure").args(command).output().context("cannot run python3")?;
        ensure!(output.status.success(), "dev/peers/bench.py measure {command:?} ended with {}", output.status);
        let used: Used = serde_json::from_slice(&output.stdout).context("dev/peers/bench.py printed no figures")?;
        Ok(used)
    }

    /// Runs a peer and gives what it found.
    fn found<T: DeserializeOwned>(&self, peer: &str, args: &[&str]) -> Result<(T, Used)> {
        let script = self.script.display().to_string();
        let used = self.measured(&[&["python3", &script, peer], args].concat())?;
        ensure!(used.code == 0, "{peer} ended with {}", used.code);
        let found = serde_json::from_str(&used.out).with_context(|| format!("{peer} printed `{}`", used.out))?;
        Ok((found, used))
    }
}

/// A run of ten million lines and a million judgments.
fn files(report: &mut Report, peers: &Peers, place: &TempDir) -> Result<()> {
    let queries = size(10_000, 100);
    let (qrels, run) = (place.path().join("qrels.txt"), place.path().join("run.txt"));
    write_files(queries, &qrels, &run)?;
    let lines = queries.saturating_mul(DEPTH);
    report.note(format!(
        "{lines} run lines ({} MB) and {} judgments; processor seconds of the whole process, start included.",
        std::fs::metadata(&run)?.len() / 1_000_000,
        queries.saturating_mul(JUDGED),
    ));
    let (qrels, run) = (qrels.display().to_string(), run.display().to_string());
    let mut ours = Vec::new();
    let mut means = Vec::new();
    for _ in 0..size(5, 1) {
        let used = evaluate(peers, &qrels, &run)?;
        means = our_means(&used.out)?;
        ours.push(used);
    }
    add(report, "rag evaluate", &ours);
    for (peer, name) in [
        ("pytrec_eval", "pytrec_eval"),
        ("ir_measures", "ir_measures"),
        ("ranx", "ranx, first use"),
        ("ranx", "ranx, again"),
    ] {
        let (found, used) = peers.found::<Vec<f64>>(peer, &[&qrels, &run])?;
        for ((metric, ours), theirs) in METRICS.iter().zip(&means).zip(&found) {
            // Ours are printed with six decimals.
            let same = (ours - theirs).abs() <= 1e-6;
            // It sorts equal scores as they come, so that its means are no reference.
            ensure!(same || peer == "ranx", "{metric}: rag evaluate {ours}, {name} {theirs}");
            if !same {
                report.note(format!(
                    "{name}: {metric} is {theirs} where the others find {ours}; it breaks ties by chance."
                ));
            }
        }
        add(report, name, &[used]);
    }
    Ok(())
}

fn add(report: &mut Report, name: &str, used: &[Used]) {
    report.figure(format!("{name}: CPU"), "s", used.iter().map(|used| used.cpu).collect());
    report.figure(format!("{name}: peak memory"), "MiB", used.iter().map(|used| used.peak_mib).collect());
}

fn evaluate(peers: &Peers, qrels: &str, run: &str) -> Result<Used> {
    let mut command = vec![env!("CARGO_BIN_EXE_rag"), "evaluate", "--qrels", qrels, "--candidate", run];
    command.extend(["--compat", "trec_eval_9", "--output", "json"]);
    let metrics = METRICS.map(|metric| format!("{metric}:floor=0"));
    metrics.iter().for_each(|metric| command.extend(["--metric", metric]));
    let used = peers.measured(&command)?;
    ensure!(used.code == 0, "rag evaluate ended with {}: {}", used.code, used.out);
    Ok(used)
}

fn our_means(out: &str) -> Result<Vec<f64>> {
    let summary: serde_json::Value = serde_json::from_str(out).context("rag evaluate printed no JSON")?;
    let mean = |metric: &&str| {
        let rows = summary["metrics"].as_array()?;
        rows.iter().find(|row| row["name"] == **metric)?["candidate"].as_f64()
    };
    METRICS.iter().map(|metric| mean(metric).with_context(|| format!("no mean of {metric} in {out}"))).collect()
}

/// Ids from a seed: no document stands twice, the scores fall.
fn write_files(queries: u64, qrels: &Path, run: &Path) -> Result<()> {
    let mut random = Seed::of("evaluate", "files").generator();
    let (mut qrels, mut run) =
        (BufWriter::new(std::fs::File::create(qrels)?), BufWriter::new(std::fs::File::create(run)?));
    for query in 0..queries {
        // An odd step goes through all of 2^23 ids once.
        let (first, step) = (random.next_u64(), random.next_u64() | 1);
        let id = |i: u64| first.wrapping_add(step.wrapping_mul(i)) % (1 << 23);
        let mut score = 30.0;
        for rank in 0..DEPTH {
            score -= f64::from(random.next_u32() % 20_000) / 1e6;
            writeln!(run, "q{query} Q0 d{} {} {score:.6} bench", id(rank), rank.saturating_add(1))?;
        }
        for judged in 0..JUDGED {
            let place = if judged < JUDGED_AND_FOUND {
                judged.saturating_mul(DEPTH / JUDGED_AND_FOUND)
            } else {
                DEPTH.saturating_add(judged)
            };
            writeln!(qrels, "q{query} 0 d{} {}", id(place), random.next_u32() % 6 % 3)?;
        }
    }
    qrels.flush()?;
    run.flush()?;
    Ok(())
}

/// Sign patterns of ten metrics of a thousand queries.
fn statistics(report: &mut Report, peers: &Peers, place: &TempDir) -> Result<()> {
    let draws: u32 = size(100_000, 2_000);
    let mut random = Seed::of("evaluate", "values").generator();
    let mut unit = || f64::from(random.next_u32()) / f64::from(u32::MAX);
    let columns: Vec<Vec<f64>> =
        (0..COLUMNS).map(|_| (0..QUERIES).map(|_| 0.4 * (unit() - unit()) - MARGIN).collect()).collect();
    let samples: Vec<Sample> =
        columns.iter().map(|values| Sample::plain(values).context("no sample")).collect::<Result<_>>()?;
    let tests: Vec<(&Sample, f64)> = samples.iter().map(|sample| (sample, MARGIN)).collect();
    let rounds = size(50_u32, 1);
    let mut times = Vec::new();
    let mut ours = Vec::new();
    for _ in 0..size(5, 1) {
        let before = process::cpu(std::process::id())?;
        for _ in 0..rounds {
            ours = sign_flip_ps(&tests, Seed::of("evaluate", "signs"), draws);
        }
        let used = process::cpu(std::process::id())?.saturating_sub(before);
        times.push(used.as_secs_f64() / f64::from(rounds));
    }
    let what = format!("{draws} sign patterns of {QUERIES} queries, {COLUMNS} metrics");
    report.figure(format!("{what}: ours"), "CPU s", times);
    let file = place.path().join("values");
    let shifted = columns.iter().flatten().flat_map(|x| (x + MARGIN).to_le_bytes());
    std::fs::write(&file, shifted.collect::<Vec<u8>>())?;
    let file = file.display().to_string();
    for (peer, draws) in [("numpy", draws), ("scipy", draws)] {
        let (found, used) = peers.found::<Vec<f64>>(peer, &[&file, &draws.to_string()])?;
        for (ours, theirs) in ours.iter().zip(&found) {
            // Five standard errors of two drawn shares.
            let error = (2.0 * theirs * (1.0 - theirs) / f64::from(draws)).sqrt();
            if (ours - theirs).abs() > 5.0 * error + 2.0 / f64::from(draws) {
                bail!("p {ours}, {peer} finds {theirs}");
            }
        }
        report.figure(format!("the same: {peer}, start included"), "CPU s", vec![used.cpu]);
    }
    Ok(())
}
