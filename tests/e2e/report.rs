//! The report of a real run, read where it lies: on its claim.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::Api;
use rag_operator::api::EvalGate;
use rag_operator::api::gate::{GateRun, VerdictWord};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::bench::{Bench, api};
use crate::demo::cluster::{Cluster, root};
use crate::demo::data::Dataset;
use crate::gates::REPORTS;

/// Pages, rows and run files of a Pass and of a Fail; `rag evaluate` repeats the verdict from them.
pub async fn a_report_reads_back_from_its_claim(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let graded = bench.graded().await?;
    let volume = volume_of(cluster, REPORTS.0).await?;
    for run in [&graded.passed, &graded.failed] {
        let page = place(run, &volume)?;
        let html = read(&page)?;
        let told = run.report.as_ref().and_then(|report| report.sha256.as_deref());
        ensure!(told == Some(&hex(html.as_bytes())), "status says sha256 {told:?} of another page");
        well_formed(&html)?;
        speaks_of(&html, run)?;
        let rows = read(&beside(&page, ".jsonl"))?;
        let arms = if run.baseline.is_some() { 2 } else { 1 };
        for line in rows.lines() {
            serde_json::from_str::<serde_json::Value>(line)
                .with_context(|| format!("a row that is no JSON: {line}"))?;
        }
        let queries = Dataset::open()?.queries.len();
        ensure!(rows.lines().count() == arms * queries, "{} rows of {queries} queries", rows.lines().count());
        ensure!(beside(&page, ".candidate.run").is_file(), "the answers of the candidate are missing");
        ensure!(beside(&page, ".baseline.run").is_file() == (arms == 2), "the answers of the baseline");
        for text in Dataset::open()?.queries {
            ensure!(!html.contains(&text) && !rows.contains(&text), "the text of a query is shown: {text}");
        }
    }
    repeated(cluster, &graded.failed, &place(&graded.failed, &volume)?).await
}

/// Where the volume of a claim lies on this machine.
async fn volume_of(cluster: &Cluster, claim: &str) -> Result<PathBuf> {
    let claim = api::<PersistentVolumeClaim>(&cluster.client).get(claim).await?;
    let name = claim.spec.and_then(|spec| spec.volume_name).context("the claim has no volume")?;
    let volume = Api::<PersistentVolume>::all(cluster.client.clone()).get(&name).await?;
    let path = volume.spec.and_then(|spec| spec.local).context("the volume is not on this machine")?.path;
    Ok(PathBuf::from(path))
}

/// The page that the status of a run names.
fn place(run: &GateRun, volume: &Path) -> Result<PathBuf> {
    let report = run.report.as_ref().context("the run names no report")?;
    let uri = report.uri.as_deref().with_context(|| format!("no page was kept: {:?}", report.problem))?;
    let (claim, path) = REPORTS;
    let directory = format!("pvc://{claim}/{path}/graded/{}-by-domain-", run.revision);
    ensure!(uri.starts_with(&directory) && uri.ends_with(".html"), "the page lies at {uri}, not below {directory}");
    Ok(volume.join(uri.trim_start_matches(&format!("pvc://{claim}/"))))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The file of the same run with another suffix.
fn beside(page: &Path, suffix: &str) -> PathBuf {
    let mut name = page.with_extension("").into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As XML, once the elements without an end have one.
fn well_formed(html: &str) -> Result<()> {
    let body = html.strip_prefix("<!DOCTYPE html>").context("no doctype")?;
    let mut xml = String::new();
    for part in body.split_inclusive('>') {
        let tag = part.rfind('<').and_then(|at| part.get(at..)).unwrap_or_default();
        match part.strip_suffix('>').filter(|_| tag.starts_with("<meta ") || tag == "<wbr>") {
            Some(open) => xml.push_str(&format!("{open}/>")),
            None => xml.push_str(part),
        }
    }
    roxmltree::Document::parse(&xml).context("the page is not well formed")?;
    Ok(())
}

/// It names what it is about: verdict, both arms, every metric, and the slice that broke.
fn speaks_of(html: &str, run: &GateRun) -> Result<()> {
    let verdict = format!("{:?}", run.verdict);
    let metrics = run.metrics.iter().map(|metric| metric.name.as_str());
    let arms = [Some(&run.revision), run.baseline.as_ref()].into_iter().flatten().map(String::as_str);
    let broke = (run.verdict == VerdictWord::Fail).then_some("legal");
    for name in
        [verdict.as_str(), &run.reason, "graded", "by-domain"].into_iter().chain(metrics).chain(arms).chain(broke)
    {
        ensure!(html.contains(name), "the page does not say {name:?}");
    }
    Ok(())
}

/// On another machine, from the gate and the files beside the page: the same sentence.
async fn repeated(cluster: &Cluster, run: &GateRun, page: &Path) -> Result<()> {
    let gate = api::<EvalGate>(&cluster.client).get("by-domain").await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("gate.yaml");
    std::fs::write(&file, serde_json::to_string(&gate)?)?;
    let handbook = root().join("examples/handbook");
    let done = Command::new(env!("CARGO_BIN_EXE_rag"))
        .args(["evaluate", "--gate"])
        .arg(&file)
        .arg("--queries")
        .arg(handbook.join("queries.jsonl"))
        .arg("--qrels")
        .arg(handbook.join("qrels/test.tsv"))
        .arg("--candidate")
        .arg(beside(page, ".candidate.run"))
        .arg("--baseline")
        .arg(beside(page, ".baseline.run"))
        .kill_on_drop(true)
        .output()
        .await?;
    let told = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.code() == Some(1), "exit code {:?}: {told}", done.status.code());
    ensure!(told.contains(&run.message), "{:?} is not said: {told}", run.message);
    Ok(())
}
