//! Data that is missing or wrong: named in the object's status, and nothing that serves is touched.

use anyhow::{Result, ensure};
use rag_operator::api::index::VersionState;
use rag_operator::api::{EvalGate, VectorIndex};
use serde_json::json;

use crate::bench::{
    Bench, LATER, SOON, answers, api, apply_text, release, remove_release, until_condition, until_promoted,
    until_ready, until_release,
};
use crate::demo::objects::{Look, apply, delete, wait, wait_gone};

/// A gate whose data is not there says which; a release that names it keeps its stable revision.
pub async fn missing_gate_data_is_named_and_nothing_moves(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    apply(&cluster.client, &release("no-data", &[])?).await?;
    let stable = until_promoted(cluster, "no-data").await?;
    let gate = |name: &str, from: &str| {
        format!(
            "{{apiVersion: ragops.dev/v1alpha1, kind: EvalGate, metadata: {{name: {name}}}, spec: {{retrieval: \
             {{dataset: {{from: {from}}}, metrics: [{{name: ndcg@10, floor: 0.4}}]}}}}}}"
        )
    };
    apply_text(cluster, &gate("no-directory", "{volume: {claimName: corpus, path: nowhere}}")).await?;
    apply_text(cluster, &gate("no-map", "{configMap: {name: no-such-map}}")).await?;
    let words = until_condition::<EvalGate>(
        cluster,
        "no-directory",
        "Stalled",
        &["DatasetInvalid", "SourceUnavailable"],
        LATER,
    )
    .await?;
    ensure!(words.contains("nowhere"), "the message does not name the directory: {words}");
    let words = until_condition::<EvalGate>(cluster, "no-map", "Reconciling", &["RefNotFound"], LATER).await?;
    ensure!(words.contains("no-such-map"), "the message does not name the ConfigMap: {words}");

    let gates = json!([{"name": "no-directory", "when": "BeforeTraffic"}]);
    let changed = release("no-data", &[("/retrieval/mode", json!("Hybrid")), ("/rollout/gates", gates)])?;
    apply(&cluster.client, &changed).await?;
    until_release(cluster, "no-data", "the release to wait for its gate", |status, seen| {
        let (_, reason) = seen.word("Ready");
        let waits = matches!(reason.as_str(), "GateUnavailable" | "RefNotFound" | "DatasetInvalid");
        let still = status.stable.as_ref().is_some_and(|s| s.revision == stable);
        let weight = status.candidate.as_ref().map_or(0, |c| c.weight);
        (waits && still && weight == 0).then_some(())
    })
    .await?;
    ensure!(answers(cluster, "no-data").await? == stable, "another revision than stable answers");
    remove_release(cluster, "no-data").await
}

/// A line that is no JSON: the gate's status names file and line.
pub async fn a_malformed_line_is_named_by_file_and_number(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    apply_text(
        cluster,
        r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: malformed}
data:
  queries.jsonl: |
    {"_id": "q1", "text": "how much leave"}
    {"_id": "q2", "text": "who pays the train"}
    {"_id": "q3", "text": "an open quote}
    {"_id": "q4", "text": "where is the printer"}
  qrels.tsv: "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t2\n"
---
apiVersion: ragops.dev/v1alpha1
kind: EvalGate
metadata: {name: malformed}
spec:
  retrieval:
    dataset: {from: {configMap: {name: malformed}}}
    metrics: [{name: ndcg@10, floor: 0.4}]
"#,
    )
    .await?;
    let words = until_condition::<EvalGate>(cluster, "malformed", "Stalled", &["DatasetInvalid"], SOON).await?;
    ensure!(words.contains("queries.jsonl:3"), "the message names neither file nor line: {words}");
    Ok(())
}

/// A source that is not there stalls the index with its path; the corrected spec builds.
pub async fn a_bad_source_is_named_and_its_correction_builds(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let index = |path: &str| {
        format!(
            "{{apiVersion: ragops.dev/v1alpha1, kind: VectorIndex, metadata: {{name: bad-source}}, spec: \
             {{embeddingModelRef: {{name: wordllama}}, store: {{embedded: {{claimName: handbook-index}}}}, sources: \
             [{{name: docs, from: {{volume: {{claimName: corpus, path: {path}}}}}, format: Jsonl, mapping: \
             {{id: _id}}}}]}}}}"
        )
    };
    apply_text(cluster, &index("handbook/corpsu.jsonl")).await?;
    let reasons = ["SourceUnavailable", "ChecksFailed", "JobFailed", "RefNotFound"];
    let words = until_condition::<VectorIndex>(cluster, "bad-source", "Stalled", &reasons, LATER).await?;
    ensure!(words.contains("corpsu.jsonl"), "the message does not name the path: {words}");
    apply_text(cluster, &index("handbook/corpus.jsonl")).await?;
    until_ready::<VectorIndex>(cluster, "bad-source", LATER).await?;
    let built = api::<VectorIndex>(&cluster.client).get("bad-source").await?.status.unwrap_or_default();
    ensure!(built.documents.unwrap_or(0) > 0, "Ready without documents");
    delete(&api::<VectorIndex>(&cluster.client), "bad-source").await?;
    wait_gone(api::<VectorIndex>(&cluster.client), "bad-source", LATER).await
}

/// A spec that changes while a build runs: the running Job goes, the new spec is what is built.
pub async fn a_spec_changed_in_mid_build_wins(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let index = |tokens: u32| {
        format!(
            "{{apiVersion: ragops.dev/v1alpha1, kind: VectorIndex, metadata: {{name: mid-build}}, spec: \
             {{embeddingModelRef: {{name: wordllama}}, store: {{embedded: {{claimName: handbook-index}}}}, chunking: \
             {{maxTokens: {tokens}}}, sources: [{{name: docs, from: {{volume: {{claimName: corpus, path: \
             handbook/corpus.jsonl}}}}, format: Jsonl, mapping: {{id: _id}}}}]}}}}"
        )
    };
    apply_text(cluster, &index(64)).await?;
    let indexes = api::<VectorIndex>(&cluster.client);
    wait(indexes.clone(), "mid-build", "the first build to be under way", SOON, |index| {
        let under_way = index.and_then(|i| i.status.as_ref()?.build.clone());
        Ok(under_way.map_or_else(|| Look::NotYet("no build".to_owned()), |_| Look::Done(())))
    })
    .await?;
    apply_text(cluster, &index(8192)).await?;
    until_ready::<VectorIndex>(cluster, "mid-build", LATER).await?;
    let status = indexes.get("mid-build").await?.status.unwrap_or_default();
    let ready: Vec<&str> =
        status.versions.iter().filter(|v| v.state == VersionState::Ready).map(|v| v.name.as_str()).collect();
    ensure!(ready == ["v2"], "Ready versions are {ready:?}, expected v2 alone");
    // Longer chunks than documents: the second spec is what was built.
    ensure!(status.chunks == status.documents, "{:?} chunks of {:?} documents", status.chunks, status.documents);
    delete(&indexes, "mid-build").await?;
    wait_gone(indexes, "mid-build", LATER).await
}
