//! A rollback again and again: a candidate at 10 % whose encoder is made to fail, as in step d of the demo.
//!
//! The operator's own time is what it says of itself (`own_ms` in its log): from the scrape that shows the breach
//! complete to the route written, answer of the API server included. What users see lasts longer: the breach must be
//! proven first, and the gateway follows the route.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams, Patch, PatchParams};
use serde::Deserialize;
use serde_json::json;

use super::ground::{Ground, NAMESPACE};
use crate::demo::fault::Fault;
use crate::demo::load::Load;
use crate::demo::objects::{Look, MANAGER, delete, poll};
use crate::demo::story::RATE;
use crate::demo::{audit, install, remote};
use crate::parts::report::Report;
use crate::parts::size;
use rag_operator::api::names::COMMAND_RETRY;
use rag_operator::api::release::Stage;
use rag_operator::api::{EmbeddingModel, RagRelease, VectorIndex};

/// The release that is rolled back.
const NAME: &str = "back";
/// Answers of the candidate before its encoder fails.
const GOOD_BEFORE: usize = 30;
/// So long without a bad answer means that it is over.
const QUIET: Duration = Duration::from_secs(2);

/// One rollback; times in ms.
struct Round {
    own: f64,
    /// Fault switched on → the API server had the request that took the weight away; needs the audit log.
    until_route: Option<f64>,
    /// That request → last bad answer.
    data_plane: Option<f64>,
    /// Fault switched on → last bad answer.
    until_last_bad: f64,
    bad: usize,
    bad_before: usize,
}

/// Measures 20 of them.
pub async fn measure(ground: &Ground<'_>, report: &mut Report) -> Result<()> {
    eprintln!("Preparing the release that will be rolled back …");
    let load = prepare(ground).await?;
    let mut rounds = Vec::new();
    let outcome = all(ground, &load, &mut rounds).await;
    load.stop().await;
    tell(&rounds, report);
    outcome?;
    ground.delete::<RagRelease>(NAME).await?;
    ground.delete::<VectorIndex>("handbook-remote").await?;
    ground.delete::<EmbeddingModel>("wordllama-remote").await?;
    delete(&Api::<Deployment>::namespaced(ground.cluster.client.clone(), NAMESPACE), "fault-proxy").await
}

/// Stable serves under load, and its index is exchanged for one whose encoder stands behind the fault proxy.
async fn prepare(ground: &Ground<'_>) -> Result<Load> {
    let managed = ground.api::<EmbeddingModel>().get("wordllama").await?;
    let url = managed.status.and_then(|s| s.url).context("the managed encoder names no address")?;
    remote::start(ground.cluster, NAMESPACE, url.trim_end_matches("/v1")).await?;
    ground.apply("dev/demo/manifests/remote.yaml", |_| true).await?;
    ground.ready::<EmbeddingModel>("wordllama-remote").await?;
    ground.ready::<VectorIndex>("handbook-remote").await?;
    let gates = json!([{"name": "live-slo", "when": "DuringTraffic"}]);
    let steps = json!([{"weight": 10, "hold": "1h"}, {"weight": 100}]);
    let changes = [("/rollout/gates", gates), ("/rollout/steps", steps)];
    ground.release(NAME, &changes).await?;
    ground.promoted(NAME).await?;
    let load = Load::start(&ground.address(NAME), ground.queries.clone(), RATE)?;
    answers(&load).await?;
    let remote_index = changes.into_iter().chain([("/indexRef/name", json!("handbook-remote"))]);
    ground.release(NAME, &remote_index.collect::<Vec<_>>()).await?;
    Ok(load)
}

async fn all(ground: &Ground<'_>, load: &Load, rounds: &mut Vec<Round>) -> Result<()> {
    let total = size(20, 2);
    for number in 1..=total {
        let round = one(ground, load).await;
        // Whatever came of it, the encoder works again.
        remote::set(ground.cluster, NAMESPACE, Fault::None).await?;
        let (revision, round) = round.with_context(|| format!("rollback {number} of {total}"))?;
        eprintln!("rollback {number} of {total}: own time {:.1} ms, {} bad answers", round.own, round.bad);
        rounds.push(round);
        if number < total {
            retry(ground, &revision, number).await?;
        }
    }
    Ok(())
}

fn tell(rounds: &[Round], report: &mut Report) {
    let all = |value: &dyn Fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<f64>>();
    let known = |value: &dyn Fn(&Round) -> Option<f64>| rounds.iter().filter_map(value).collect::<Vec<f64>>();
    report.figure("rollback: the operator's own time", "ms", all(&|r| r.own));
    report.figure("rollback: fault on → route request received", "ms", known(&|r| r.until_route));
    report.figure("rollback: route request received → last bad answer", "ms", known(&|r| r.data_plane));
    report.figure("rollback: fault on → last bad answer", "ms", all(&|r| r.until_last_bad));
    #[expect(clippy::cast_precision_loss)]
    report.figure("rollback: errors that users saw", "answers", all(&|r| r.bad as f64));
    let before: usize = rounds.iter().map(|r| r.bad_before).sum();
    report.note(format!(
        "Rollback: {RATE} requests a second, 10 % to the candidate; {before} bad answers before faults."
    ));
}

/// Waits until users are served: a gateway needs a moment for a new route.
async fn answers(load: &Load) -> Result<()> {
    poll("a hundred good answers in a row", Duration::from_secs(30), async || {
        let tally = load.last(100);
        let good = tally.good_total();
        Ok(if good == 100 { Look::Done(()) } else { Look::NotYet(format!("{good} good, bad {:?}", tally.bad)) })
    })
    .await
}

/// Lets a failed revision start again; each value of the command takes effect once.
async fn retry(ground: &Ground<'_>, revision: &str, number: usize) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {(COMMAND_RETRY): format!("{revision}@{number}")}}});
    let how = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    ground.api::<RagRelease>().patch(NAME, &how, &Patch::Merge(&patch)).await?;
    Ok(())
}

/// The candidate gets its 10 %, answers well, fails, and is taken back.
async fn one(ground: &Ground<'_>, load: &Load) -> Result<(String, Round)> {
    let begin = SystemTime::now();
    let revision = ground
        .watch::<RagRelease, _>(NAME, "to get its first 10 %", |release, _| {
            let candidate = release.status.as_ref().and_then(|s| s.candidate.as_ref());
            let at_ten = candidate.filter(|c| c.stage == Stage::Stepping && c.step == 1);
            Ok(at_ten.map(|c| c.revision.clone()))
        })
        .await?;
    let stepping = SystemTime::now();
    poll("the candidate to answer users", Duration::from_secs(30), async || {
        let answered = load.since(stepping).answered_by(&revision);
        Ok(if answered >= GOOD_BEFORE { Look::Done(()) } else { Look::NotYet(format!("{answered} answers")) })
    })
    .await?;
    let log = ground.cluster.audit.as_deref().map(|log| audit::mark(log).map(|at| (log, at))).transpose()?;
    let fault_on = SystemTime::now();
    let bad_before = load.between(begin, fault_on).bad_total();
    remote::set(ground.cluster, NAMESPACE, Fault::Error).await?;
    ground
        .watch::<RagRelease, _>(NAME, "to be rolled back", |release, _| {
            let status = release.status.clone().unwrap_or_default();
            let failed = status.failed_revisions.iter().any(|f| f.revision == revision);
            Ok((failed && status.candidate.is_none()).then_some(()))
        })
        .await?;
    quiet(load).await?;
    let tally = load.since(fault_on);
    let last_bad = tally.last_bad.unwrap_or(fault_on);
    let received = log.map(|(log, at)| weight_taken(log, at)).transpose()?;
    let round = Round {
        own: own_time(ground, fault_on).await?,
        until_route: received.map(|received| millis(fault_on, received)),
        data_plane: received.map(|received| millis(received, last_bad)),
        until_last_bad: millis(fault_on, last_bad),
        bad: tally.bad_total(),
        bad_before,
    };
    Ok((revision, round))
}

fn millis(from: SystemTime, to: SystemTime) -> f64 {
    to.duration_since(from).unwrap_or_default().as_secs_f64() * 1e3
}

async fn quiet(load: &Load) -> Result<()> {
    let begin = SystemTime::now();
    poll("users to see no bad answer for two seconds", Duration::from_secs(30), async || {
        let last = load.since(SystemTime::UNIX_EPOCH).last_bad.unwrap_or(begin).max(begin);
        let passed = SystemTime::now().duration_since(last).unwrap_or_default();
        Ok(if passed >= QUIET { Look::Done(()) } else { Look::NotYet(format!("{} ms", passed.as_millis())) })
    })
    .await
}

/// The operator's first write of the route since a mark: what took the weight away.
fn weight_taken(log: &std::path::Path, mark: u64) -> Result<SystemTime> {
    for entry in audit::since(log, mark)? {
        let object = entry.object_ref.clone().unwrap_or_default();
        let of_ours = object.resource == "httproutes" && object.namespace == NAMESPACE && object.name == NAME;
        if of_ours && entry.by_operator() && entry.writes() && (200..300).contains(&entry.code()) {
            return entry.received();
        }
    }
    anyhow::bail!("the audit log holds no write of the route by the operator")
}

/// A line of the operator's log, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    timestamp: Timestamp,
    fields: Fields,
}

#[derive(Deserialize)]
struct Fields {
    object: Option<String>,
    own_ms: Option<f64>,
}

/// `own_ms` of the one rollback since an instant.
async fn own_time(ground: &Ground<'_>, since: SystemTime) -> Result<f64> {
    let pod = install::operator_pod(ground.cluster).await?.metadata.name.context("a pod without a name")?;
    let pods: Api<Pod> = Api::namespaced(ground.cluster.client.clone(), install::NAMESPACE);
    let log = pods.logs(&pod, &LogParams { since_seconds: Some(120), ..LogParams::default() }).await?;
    let since = Timestamp::try_from(since)?;
    let object = format!("release/{NAMESPACE}/{NAME}");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let ours = lines.filter(|l| l.timestamp >= since && l.fields.object.as_deref() == Some(object.as_str()));
    let times: Vec<f64> = ours.filter_map(|line| line.fields.own_ms).collect();
    ensure!(times.len() == 1, "the operator's log names {} rollbacks since the fault, expected 1", times.len());
    times.first().copied().context("no time")
}
