//! What people do to a release in mid-canary, and to what it stands on.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt as _};
use rag_operator::api::names::{FINALIZER, LABEL_OWNER};
use rag_operator::api::{RagRelease, VectorIndex};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::bench::{
    Bench, CASES, LATER, SOON, answers, api, apply_text, release, remove_release, seen, until_promoted, until_ready,
    until_release,
};
use crate::demo::cluster::Cluster;
use crate::demo::data::manifest;
use crate::demo::objects::{Look, apply, delete, documents, placed, poll, routes, wait, wait_gone};
use crate::demo::scrape;
use crate::demo::trace::{Mark, Trace, course, weights};

/// How fast a foreign change of the route is put back.
const PUT_BACK: Duration = Duration::from_secs(10);

/// A release that stands at 10 % and stays there.
pub struct MidCanary {
    pub name: &'static str,
    pub stable: String,
    pub candidate: String,
}

impl MidCanary {
    async fn make(cluster: &Cluster, name: &'static str) -> Result<Self> {
        let steps = json!([{"weight": 10, "hold": "1h"}, {"weight": 100}]);
        Self::with_rollout(cluster, name, &[("/rollout/steps", steps)]).await
    }

    /// With a rollout whose first step is 10 % and holds.
    pub async fn with_rollout(cluster: &Cluster, name: &'static str, rollout: &[(&str, Value)]) -> Result<Self> {
        apply(&cluster.client, &release(name, rollout)?).await?;
        let stable = until_promoted(cluster, name).await?;
        answers(cluster, name).await?;
        let change = [("/retrieval/mode", json!("Hybrid"))];
        apply(&cluster.client, &release(name, &[rollout, &change].concat())?).await?;
        let what = format!("release {name} to hold at 10 %");
        let candidate = until_release(cluster, name, &what, |status, _| {
            let candidate = status.candidate.as_ref()?;
            let holds = candidate.weight == 10 && candidate.step_started_at.is_some();
            holds.then(|| candidate.revision.clone())
        })
        .await?;
        Ok(Self { name, stable, candidate })
    }

    pub fn service(&self, revision: &str) -> String {
        format!("{}-{revision}", self.name)
    }

    /// Waits until the route gives 90 to stable and 10 to the candidate.
    async fn at_its_weights(&self, cluster: &Cluster, what: &str) -> Result<()> {
        let (stable, candidate) = (self.service(&self.stable), self.service(&self.candidate));
        wait(routes(&cluster.client, CASES), self.name, what, PUT_BACK, |route| {
            let found = route.map(weights).unwrap_or_default();
            let right = found.get(&stable) == Some(&90) && found.get(&candidate) == Some(&10);
            Ok(if right { Look::Done(()) } else { Look::NotYet(format!("{found:?}")) })
        })
        .await
    }

    /// Still the first step of the same candidate.
    pub async fn has_not_moved(&self, cluster: &Cluster) -> Result<()> {
        let status = api::<RagRelease>(&cluster.client).get(self.name).await?.status.unwrap_or_default();
        let candidate = status.candidate.context("the candidate is gone")?;
        ensure!(
            candidate.revision == self.candidate && candidate.step == 1 && candidate.weight == 10,
            "the candidate is {} at {} % in step {}",
            candidate.revision,
            candidate.weight,
            candidate.step
        );
        Ok(())
    }
}

/// Weights edited by hand are put back, the event names who did it, and the step does not advance.
pub async fn an_edited_weight_is_put_back(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let canary = MidCanary::make(cluster, "edited").await?;
    let api = routes(&cluster.client, CASES);
    let mut route: DynamicObject = api.get(canary.name).await?;
    for backend in route.data["spec"]["rules"][0]["backendRefs"].as_array_mut().context("no backends")? {
        backend["weight"] = json!(50);
    }
    route.managed_fields_mut().clear();
    let meddler = PostParams { field_manager: Some("meddler".to_owned()), ..PostParams::default() };
    api.replace(canary.name, &meddler, &route).await?;
    canary.at_its_weights(cluster, "the edited weights to be put back").await?;
    event_about(cluster, canary.name, "meddler").await?;
    canary.has_not_moved(cluster).await?;
    remove_release(cluster, canary.name).await
}

/// A deleted route is made again at the persisted weights.
pub async fn a_deleted_route_comes_back_at_its_weights(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let canary = MidCanary::make(cluster, "routeless").await?;
    let api = routes(&cluster.client, CASES);
    let old = api.get(canary.name).await?.uid();
    delete(&api, canary.name).await?;
    wait(api, canary.name, "another route of the same name", PUT_BACK, |route| {
        let uid = route.and_then(kube::ResourceExt::uid);
        Ok(if uid.is_some() && uid != old { Look::Done(()) } else { Look::NotYet(format!("uid {uid:?}")) })
    })
    .await?;
    canary.at_its_weights(cluster, "the new route to have the persisted weights").await?;
    canary.has_not_moved(cluster).await?;
    answers(cluster, canary.name).await?;
    remove_release(cluster, canary.name).await
}

/// A release deleted in mid-canary: the candidate's weight goes first, then everything.
pub async fn a_release_deleted_in_mid_canary_leaves_nothing(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let canary = MidCanary::make(cluster, "deleted").await?;
    let trace = Trace::start(cluster, CASES, canary.name);
    let service = canary.service(&canary.candidate);
    poll("the record to show the canary", SOON, async || {
        let weights = course(&trace.routes_since(Mark::default()), &service);
        Ok(if weights == [10] { Look::Done(()) } else { Look::NotYet(format!("{weights:?}")) })
    })
    .await?;
    remove_release(cluster, canary.name).await?;
    wait_gone(routes(&cluster.client, CASES), canary.name, SOON).await?;
    let what = "the record to show the end of the route";
    let seen = poll(what, SOON, async || {
        let seen = trace.routes_since(Mark::default());
        let ended = seen.last().is_some_and(|s| s.weights.is_none());
        Ok(if ended { Look::Done(seen) } else { Look::NotYet("the route is there".to_owned()) })
    })
    .await?;
    let before_the_end = seen.iter().rev().find_map(|s| s.weights.as_ref()).context("no route was seen")?;
    let weight = before_the_end.get(&service).copied().unwrap_or(0);
    ensure!(weight == 0, "the route was deleted while the candidate had {weight} %");
    none_left::<Deployment>(cluster, canary.name).await?;
    none_left::<Service>(cluster, canary.name).await?;
    none_left::<ControllerRevision>(cluster, canary.name).await?;
    none_left::<Job>(cluster, canary.name).await
}

/// An index that a release uses stays, says who uses it, and goes when the last user does.
pub async fn an_index_in_use_outlives_its_deletion(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    apply_text(
        cluster,
        "{apiVersion: ragops.dev/v1alpha1, kind: VectorIndex, metadata: {name: in-use}, spec: {embeddingModelRef: \
         {name: wordllama}, store: {embedded: {claimName: handbook-index}}, sources: [{name: docs, from: {volume: \
         {claimName: corpus, path: handbook/corpus.jsonl}}, format: Jsonl, mapping: {id: _id}}]}}",
    )
    .await?;
    until_ready::<VectorIndex>(cluster, "in-use", LATER).await?;
    apply(&cluster.client, &release("user", &[("/indexRef/name", json!("in-use"))])?).await?;
    let revision = until_promoted(cluster, "user").await?;
    answers(cluster, "user").await?;
    let indexes = api::<VectorIndex>(&cluster.client);
    delete(&indexes, "in-use").await?;
    wait(indexes.clone(), "in-use", "the index to say who uses it", SOON, |index| {
        let index = index.context("the index is gone although it is in use")?;
        ensure!(index.finalizers().iter().any(|f| f == FINALIZER), "the finalizer is gone");
        let seen = seen(index);
        let (_, reason) = seen.word("Ready");
        let named = seen.message("Ready").contains("user");
        Ok(if reason == "InUse" && named { Look::Done(()) } else { Look::NotYet(seen.words()) })
    })
    .await?;
    ensure!(answers(cluster, "user").await? == revision, "serving did not go on");
    remove_release(cluster, "user").await?;
    wait_gone(indexes, "in-use", LATER).await
}

/// A Deployment edited by hand is put back; the step does not advance meanwhile.
pub async fn an_edited_deployment_is_put_back(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let canary = MidCanary::make(cluster, "scaled").await?;
    let api = api::<Deployment>(&cluster.client);
    let name = canary.service(&canary.stable);
    let meddler = PatchParams { field_manager: Some("meddler".to_owned()), ..PatchParams::default() };
    let edit = json!({"spec": {"replicas": 2}});
    let edited = api.patch(&name, &meddler, &Patch::Merge(&edit)).await?.metadata.generation.unwrap_or(0);
    wait(api, &name, "the edited replicas to be put back", PUT_BACK, |deployment| {
        let deployment = deployment.context("the Deployment is gone")?;
        let replicas = deployment.spec.as_ref().and_then(|s| s.replicas);
        let newer = deployment.metadata.generation.unwrap_or(0) > edited;
        Ok(if newer && replicas == Some(1) { Look::Done(()) } else { Look::NotYet(format!("{replicas:?} replicas")) })
    })
    .await?;
    canary.has_not_moved(cluster).await?;
    remove_release(cluster, canary.name).await
}

/// The whole story's YAML again and again: not one new Job, and not one write.
pub async fn the_same_yaml_fifty_times_makes_no_job(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    let mut yaml: Vec<Value> = Vec::new();
    for file in ["3-models", "4-index", "5-gates"] {
        yaml.extend(placed(documents(&manifest(&format!("examples/handbook/{file}.yaml"))?)?, CASES));
    }
    let gates = json!([{"name": "answers-stay-good", "when": "BeforeTraffic"}]);
    yaml.push(release("again", &[("/rollout/gates", gates)])?);
    for document in &yaml {
        apply(&cluster.client, document).await?;
    }
    until_promoted(cluster, "again").await?;
    let before = jobs(cluster).await?;
    let writes = at_rest(cluster).await?;
    for number in 0..50 {
        for document in &mut yaml {
            // A changed annotation wakes the operator; the spec is the same.
            document["metadata"]["annotations"] = json!({"e2e/applied": number.to_string()});
            apply(&cluster.client, document).await?;
        }
    }
    let written = at_rest(cluster).await? - writes;
    ensure!(written == 0.0, "the operator wrote {written} times, although nothing changed; its log says what");
    let new: Vec<String> = jobs(cluster).await?.difference(&before).cloned().collect();
    ensure!(new.is_empty(), "new Jobs: {new:?}");
    remove_release(cluster, "again").await
}

/// The operator's writes so far, once its passes have come to rest: no more of them in ten looks.
async fn at_rest(cluster: &Cluster) -> Result<f64> {
    let mut last = (-1.0, 0);
    poll("the operator to come to rest", SOON, async || {
        let seen = scrape::operator(cluster).await?;
        let passes = seen.sum("controller_runtime_reconcile_total", &[]);
        last = if (passes - last.0).abs() < f64::EPSILON { (passes, last.1 + 1) } else { (passes, 0) };
        let writes = seen.sum("rag_writes_total", &[]);
        Ok(if last.1 >= 10 { Look::Done(writes) } else { Look::NotYet(format!("{passes} passes")) })
    })
    .await
}

async fn jobs(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let jobs = api::<Job>(&cluster.client).list(&ListParams::default()).await?;
    Ok(jobs.items.iter().map(|j| format!("{} {}", j.name_any(), j.uid().unwrap_or_default())).collect())
}

/// Children are gone, by the garbage collector or by the operator.
pub async fn none_left<K>(cluster: &Cluster, release: &str) -> Result<()>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let children = ListParams::default().labels(&format!("{LABEL_OWNER}={release}"));
    poll(&format!("no {} of {release} to be left", K::kind(&())), SOON, async || {
        let left: Vec<String> =
            api::<K>(&cluster.client).list(&children).await?.items.iter().map(|k| k.name_any()).collect();
        Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(format!("{left:?}")) })
    })
    .await
}

/// Waits for an event about an object whose note holds a word.
pub async fn event_about(cluster: &Cluster, name: &str, word: &str) -> Result<()> {
    let begin = SystemTime::now();
    let events: Api<Event> = api(&cluster.client);
    poll(&format!("an event about {name} that says {word}"), SOON, async || {
        let list = events.list(&ListParams::default()).await?;
        let notes: Vec<String> = list
            .items
            .into_iter()
            .filter(|e| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name))
            .filter_map(|e| e.note)
            .collect();
        let said = notes.iter().any(|n| n.contains(word));
        let passed = begin.elapsed().unwrap_or_default();
        Ok(if said { Look::Done(()) } else { Look::NotYet(format!("after {passed:?}: {notes:?}")) })
    })
    .await
}
