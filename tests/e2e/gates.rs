//! Gates on a real cluster: what they measure, what they keep, and what happens to them in mid-run.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use rag_operator::api::gate::{EvalGateStatus, GateRun, VerdictWord};
use rag_operator::api::names::LABEL_OWNER;
use rag_operator::api::release::GateProgress;
use rag_operator::api::{EvalGate, RagRelease, VectorIndex};
use serde_json::{Value, json};

use crate::bench::{
    Bench, CASES, LATER, SOON, api, apply_text, release, remove_release, until_promoted, until_ready, until_release,
};
use crate::demo::cluster::Cluster;
use crate::demo::data::manifest;
use crate::demo::install;
use crate::demo::objects::{Look, apply, delete, poll, wait};

/// The claim of the reports, and the directory on it.
pub const REPORTS: (&str, &str) = ("reports", "rag/pages");
/// The gate that looks at domains.
const BY_DOMAIN: &str = "by-domain";
/// A gate whose data set is the ConfigMap [`JUDGED`].
pub const LABELLED: &str = "labelled";
const JUDGED: &str = "judged";
/// Release on whose stable revision gate [`LABELLED`] is tried.
pub const ASKED: &str = "asked";

/// A change that every gate judges: what it measured of the first revision, and of an index that lost a domain.
pub struct Graded {
    pub passed: GateRun,
    pub failed: GateRun,
    /// The same two in the status of the release.
    in_release: [GateProgress; 2],
    gate: EvalGateStatus,
    stable: String,
}

impl Graded {
    /// A first release, and a change of its index to one without the documents of the domain `legal`.
    pub async fn make(cluster: &Cluster) -> Result<Self> {
        let (claim, path) = REPORTS;
        let without_legal: String =
            manifest("examples/handbook/corpus.jsonl")?.split_inclusive('\n').filter(|line| !is_legal(line)).collect();
        apply(&cluster.client, &config_map("without-legal", json!({"corpus.jsonl": without_legal}))).await?;
        apply_text(
            cluster,
            &format!(
                "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {claim}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
---
apiVersion: ragops.dev/v1alpha1
kind: VectorIndex
metadata: {{name: without-legal}}
spec:
  embeddingModelRef: {{name: wordllama}}
  store: {{embedded: {{claimName: handbook-index}}}}
  sources:
    - {{name: docs, from: {{configMap: {{name: without-legal}}}}, format: Jsonl, mapping: {{id: _id, title: title, text: text}}}}
---
apiVersion: ragops.dev/v1alpha1
kind: EvalGate
metadata: {{name: {BY_DOMAIN}}}
spec:
  retrieval:
    dataset: {{from: {{volume: {{claimName: corpus, path: handbook}}}}}}
    metrics: [{{name: ndcg@10, margin: 0.25}}, {{name: recall@10, floor: 0.1}}]
    slices: {{by: [domain], worstGroupFloor: 0.2, required: [domain=people]}}
  report: {{claimName: {claim}, path: {path}}}
"
            ),
        )
        .await?;
        until_ready::<EvalGate>(cluster, BY_DOMAIN, LATER).await?;
        let gates = ("/rollout/gates", json!([{"name": BY_DOMAIN, "when": "BeforeTraffic"}]));
        apply(&cluster.client, &release("graded", std::slice::from_ref(&gates))?).await?;
        let stable = until_promoted(cluster, "graded").await?;
        let first = api::<RagRelease>(&cluster.client).get("graded").await?.status.context("no status")?;
        until_ready::<VectorIndex>(cluster, "without-legal", LATER).await?;
        apply(&cluster.client, &release("graded", &[gates, ("/indexRef/name", json!("without-legal"))])?).await?;
        let then = until_release(cluster, "graded", "the poor index to be refused", |status, seen| {
            let told = status.failed_revisions.last().is_some_and(|failed| failed.reason == "GateFailed");
            (told && seen.word("Stalled").0 == "True").then(|| status.clone())
        })
        .await?;
        let of = |gates: &[GateProgress]| gates.first().cloned().context("the release lists no gate");
        let in_release = [of(&first.gates)?, of(&then.gates)?];
        let runs = [&in_release[0], &in_release[1]].map(|run| run.job.clone().unwrap_or_default());
        let gate = until_gate(cluster, BY_DOMAIN, "to list both runs", |gate| {
            let listed = |job: &String| gate.last_runs.iter().any(|run| run.job == *job);
            runs.iter().all(listed).then(|| gate.clone())
        })
        .await?;
        let run = |job: &str| gate.last_runs.iter().find(|run| run.job == job).cloned().context("a run is not listed");
        ensure!(then.stable.as_ref().is_some_and(|s| s.revision == stable), "stable is not what it was");
        Ok(Self { passed: run(&runs[0])?, failed: run(&runs[1])?, in_release, stable, gate })
    }
}

fn is_legal(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|document| document["metadata"]["domain"] == "legal")
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": CASES}, "data": data})
}

/// An index that lost a domain: the whole stays within its margin, the gate names the slice in release and gate.
pub async fn a_domain_that_was_lost_is_named(bench: &Bench) -> Result<()> {
    let graded = bench.graded().await?;
    let slices: Vec<(&str, i64)> = graded
        .gate
        .dataset
        .iter()
        .flat_map(|dataset| &dataset.slices)
        .map(|slice| (slice.name.as_str(), slice.queries))
        .collect();
    let named: BTreeSet<&str> = slices.iter().map(|(name, _)| *name).collect();
    let domains = BTreeSet::from(["domain=it", "domain=legal", "domain=people", "domain=travel"]);
    ensure!(named == domains && slices.iter().all(|(_, n)| *n == 42), "the gate's slices are {slices:?}");

    let (passed, failed) = (&graded.passed, &graded.failed);
    ensure!(
        passed.verdict == VerdictWord::Pass && passed.baseline.is_none(),
        "{:?}: {}",
        passed.verdict,
        passed.message
    );
    ensure!(passed.message.contains("Worst slice: domain="), "a Pass names no worst slice: {}", passed.message);
    let word = (failed.verdict, failed.reason.as_str(), failed.baseline.as_ref());
    ensure!(word == (VerdictWord::Fail, "SliceRegression", Some(&graded.stable)), "{word:?}: {}", failed.message);
    let whole = failed.metrics.first().context("no metric")?;
    ensure!(whole.verdict == VerdictWord::Pass, "the whole is not within its margin: {whole:?}");
    for part in ["ndcg@10 of domain=legal", "the worst slice must have at least 0.2"] {
        ensure!(failed.message.contains(part), "{part:?} is not said: {}", failed.message);
    }
    ensure!(!failed.message.contains("domain=people"), "a slice that is unharmed is blamed: {}", failed.message);
    let worst = failed.worst_slice.as_ref().context("no worst slice")?;
    ensure!(worst.name == "domain=legal" && worst.n == 42 && worst.candidate < 0.2, "the worst slice is {worst:?}");
    ensure!(worst.baseline.is_some_and(|baseline| baseline > 0.4), "the worst slice is {worst:?}");
    for (run, progress) in [passed, failed].into_iter().zip(&graded.in_release) {
        ensure!(
            progress.worst_slice == run.worst_slice && progress.message.as_ref() == Some(&run.message),
            "release and gate do not say the same: {progress:?}, {run:?}"
        );
    }
    Ok(())
}

/// The data set of [`LABELLED`]: the handbook's queries; `judgments` makes the lines of its qrels another list.
pub async fn judge(cluster: &Cluster, judgments: impl FnOnce(Vec<String>) -> Vec<String>) -> Result<()> {
    let qrels = manifest("examples/handbook/qrels/test.tsv")?;
    let (header, lines) = qrels.split_once('\n').context("qrels without a header")?;
    let lines = judgments(lines.lines().map(str::to_owned).collect());
    let data = json!({
        "queries.jsonl": manifest("examples/handbook/queries.jsonl")?,
        "qrels.tsv": format!("{header}\n{}\n", lines.join("\n")),
    });
    apply(&cluster.client, &config_map(JUDGED, data)).await.map(drop)
}

/// Gate [`LABELLED`], with more fields of its spec.
pub async fn labelled(cluster: &Cluster, more: &str) -> Result<()> {
    apply_text(
        cluster,
        &format!(
            "{{apiVersion: ragops.dev/v1alpha1, kind: EvalGate, metadata: {{name: {LABELLED}}}, spec: {{retrieval: \
             {{dataset: {{from: {{configMap: {{name: {JUDGED}}}}}}}, metrics: [{{name: ndcg@10, margin: 0.05, floor: \
             0.4}}]}}{more}}}}}"
        ),
    )
    .await
}

/// Release [`ASKED`] with gate [`LABELLED`] and one step.
pub fn asked(changes: &[(&str, Value)]) -> Result<Value> {
    let gate = ("/rollout/gates", json!([{"name": LABELLED, "when": "BeforeTraffic"}]));
    let steps = ("/rollout/steps", json!([{"weight": 100}]));
    let changes: Vec<_> =
        [gate, steps, ("/rollout/minRequests", json!(0))].into_iter().chain(changes.to_vec()).collect();
    release(ASKED, &changes)
}

/// What became of a run whose data set was edited after its check.
pub struct Edited {
    /// Digest that the check had found.
    checked: String,
    /// The gate in the release, once it was promoted.
    progress: GateProgress,
    evidence: Vec<String>,
    gate: EvalGateStatus,
}

impl Edited {
    /// Makes release [`ASKED`] with a data set that is edited between the gate's check and its run.
    pub async fn make(cluster: &Cluster) -> Result<Self> {
        judge(cluster, |lines| lines).await?;
        labelled(cluster, "").await?;
        until_ready::<EvalGate>(cluster, LABELLED, LATER).await?;
        let checked = until_gate(cluster, LABELLED, "to have a digest", |gate| {
            gate.dataset.as_ref().map(|dataset| dataset.digest.clone())
        })
        .await?;
        judge(cluster, |lines| lines.into_iter().skip(1).collect()).await?;
        apply(&cluster.client, &asked(&[])?).await?;
        until_promoted(cluster, ASKED).await?;
        let status = api::<RagRelease>(&cluster.client).get(ASKED).await?.status.context("no status")?;
        let progress = status.gates.first().cloned().context("no gate")?;
        let evidence =
            status.stable.iter().flat_map(|s| &s.evidence).map(|evidence| evidence.dataset_digest.clone()).collect();
        let gate = until_gate(cluster, LABELLED, "to list both runs", |gate| {
            (gate.last_runs.len() >= 2).then(|| gate.clone())
        })
        .await?;
        Ok(Self { checked, progress, evidence, gate })
    }
}

/// A data set edited between check and run: the run does not count, the gate reads again, and the new run counts.
pub async fn a_dataset_edited_after_its_check_is_read_again(bench: &Bench) -> Result<()> {
    let edited = bench.edited().await?;
    let now = &edited.gate.dataset.as_ref().context("the gate has no data set")?.digest;
    ensure!(*now != edited.checked, "the gate has not read the edited data set");
    let progress = &edited.progress;
    ensure!(
        progress.attempt == 2 && progress.verdict == Some(VerdictWord::Pass),
        "attempt {} ended in {:?}: {:?}",
        progress.attempt,
        progress.verdict,
        progress.message
    );
    ensure!(edited.evidence == [now.clone()], "the verdict stands on {:?}, not on {now}", edited.evidence);
    let said: Vec<(VerdictWord, &str, bool)> =
        edited.gate.last_runs.iter().map(|run| (run.verdict, run.reason.as_str(), run.metrics.is_empty())).collect();
    let wanted = [(VerdictWord::Pass, "AbsoluteOnly", false), (VerdictWord::Error, "InputsChanged", true)];
    ensure!(said == wanted, "the gate lists {said:?}");
    Ok(())
}

/// Two gates on one revision. One run waits for its claim; meanwhile its gate is edited and the operator is killed.
pub async fn a_run_under_way_outlives_an_edit_and_the_operator(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    apply_text(
        cluster,
        "{apiVersion: ragops.dev/v1alpha1, kind: EvalGate, metadata: {name: held}, spec: {retrieval: {dataset: {from: \
         {volume: {claimName: corpus, path: handbook}}}, metrics: [{name: mrr@10, floor: 0.2}]}, report: {claimName: \
         comes-late}}}",
    )
    .await?;
    until_ready::<EvalGate>(cluster, "held", LATER).await?;
    let gates =
        json!([{"name": "answers-stay-good", "when": "BeforeTraffic"}, {"name": "held", "when": "BeforeTraffic"}]);
    apply(&cluster.client, &release("paired", &[("/rollout/gates", gates)])?).await?;
    let job = until_release(cluster, "paired", "one gate to have passed and one to be under way", |status, _| {
        let of = |name: &str| status.gates.iter().find(|gate| gate.name == name);
        let passed = of("answers-stay-good").is_some_and(|gate| gate.verdict == Some(VerdictWord::Pass));
        of("held").filter(|gate| passed && gate.verdict.is_none())?.job.clone()
    })
    .await?;
    let before = runs_of(cluster, "paired").await?;
    ensure!(before.len() == 2, "two gates have made these Jobs: {before:?}");

    let stricter = Patch::Merge(json!({"spec": {"retrieval": {"metrics": [{"name": "mrr@10", "floor": 0.99}]}}}));
    api::<EvalGate>(&cluster.client).patch("held", &PatchParams::default(), &stricter).await?;
    kill_operator(cluster).await?;
    apply_text(
        cluster,
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: comes-late}, spec: {accessModes: \
         [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
    )
    .await?;
    until_promoted(cluster, "paired").await?;

    let after = runs_of(cluster, "paired").await?;
    ensure!(after == before, "the Jobs were {before:?} and are {after:?}");
    let status = api::<RagRelease>(&cluster.client).get("paired").await?.status.unwrap_or_default();
    let told: Vec<(&str, Option<VerdictWord>)> = status.gates.iter().map(|g| (g.name.as_str(), g.verdict)).collect();
    let both = [("answers-stay-good", Some(VerdictWord::Pass)), ("held", Some(VerdictWord::Pass))];
    ensure!(told == both, "the gates say {told:?}");
    let held = status.gates.iter().find(|gate| gate.name == "held").context("no gate held")?;
    ensure!(held.job.as_ref() == Some(&job) && held.attempt == 1, "it was measured again: {held:?}");
    let asked_for: Vec<&str> = held.metrics.iter().map(|metric| metric.required.as_str()).collect();
    ensure!(asked_for == ["at least 0.2"], "the candidate was judged by another form of the gate: {asked_for:?}");
    let report = held.report.as_ref().context("no report")?;
    ensure!(report.problem.is_none() && report.uri.is_some(), "the report: {report:?}");
    let measured: BTreeSet<&str> = status.stable.iter().flat_map(|s| &s.evidence).map(|e| e.gate.as_str()).collect();
    ensure!(measured == BTreeSet::from(["answers-stay-good", "held"]), "evidence of stable: {measured:?}");
    remove_release(cluster, "paired").await?;
    delete(&api::<EvalGate>(&cluster.client), "held").await
}

/// The Jobs of a release with their uids; a Job has one pod.
async fn runs_of(cluster: &Cluster, release: &str) -> Result<BTreeSet<(String, String)>> {
    let ours = ListParams::default().labels(&format!("{LABEL_OWNER}={release}"));
    let jobs = api::<Job>(&cluster.client).list(&ours).await?;
    Ok(jobs.items.iter().map(|job| (job.name_any(), job.uid().unwrap_or_default())).collect())
}

/// SIGKILL to the operator, and its container started anew.
async fn kill_operator(cluster: &Cluster) -> Result<()> {
    let pod: Pod = install::operator_pod(cluster).await?;
    let name = pod.metadata.name.clone().context("a pod without a name")?;
    cluster.kill_pod(install::NAMESPACE, &name).await?;
    poll("the operator to be started again", SOON, async || {
        let now = install::operator_pod(cluster).await?;
        let again = now.metadata.uid != pod.metadata.uid || install::restarts(&now) > install::restarts(&pod);
        Ok(if again { Look::Done(()) } else { Look::NotYet("not yet".to_owned()) })
    })
    .await?;
    install::ready(cluster).await
}

/// Waits until a gate's status satisfies a sentence.
pub async fn until_gate<T>(
    cluster: &Cluster,
    name: &str,
    what: &str,
    mut look: impl FnMut(&EvalGateStatus) -> Option<T>,
) -> Result<T> {
    wait(api::<EvalGate>(&cluster.client), name, &format!("gate {name} {what}"), SOON, |gate| {
        let status = gate.and_then(|gate| gate.status.clone()).unwrap_or_default();
        let runs: Vec<_> = status.last_runs.iter().map(|run| (run.verdict, run.reason.clone())).collect();
        Ok(look(&status).map_or_else(|| Look::NotYet(format!("{:?}, runs {runs:?}", status.dataset)), Look::Done))
    })
    .await
}
