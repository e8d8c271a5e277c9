//! The story of a release, step by step: each step acts, waits, checks, and returns what it saw.
//!
//! Invariants: a step that returns facts has checked them; the demo only prints, the tests only call.

pub mod change;
pub mod first;
pub mod reject;
pub mod restart;
pub mod rollback;

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::Api;
use serde_json::Value;

use rag_operator::api::gate::{GateRun, VerdictWord};
use rag_operator::api::release::RagReleaseStatus;
use rag_operator::api::{Condition, EmbeddingModel, EvalGate, RagRelease, VectorIndex};

use super::claims;
use super::cluster::Cluster;
use super::data::{Dataset, manifest, models};
use super::load::{Load, Tally};
use super::objects::{Look, apply, documents, placed, remove_namespace, wait};
use super::trace::Trace;

/// Name of the release of the story.
pub const RELEASE: &str = "handbook";
/// The gate before traffic.
pub const GATE: &str = "answers-stay-good";
/// Requests a second.
pub const RATE: u32 = 100;
/// Weights of the steps, as in examples/handbook.
pub const STEPS: [i64; 3] = [10, 50, 100];
/// How long a release may take from one end to the other.
const A_RELEASE: Duration = Duration::from_secs(180);
/// How long a build may take.
const A_BUILD: Duration = Duration::from_secs(180);

/// The story in one namespace.
pub struct Story<'a> {
    pub cluster: &'a Cluster,
    pub namespace: String,
    pub dataset: Dataset,
    /// Where the release answers, without `/v1/search`.
    pub address: String,
    path: String,
    trace: Trace,
    load: Option<Load>,
    /// Questions asked beside the load.
    asked: usize,
    /// The revision that the last step left stable.
    serves: Option<String>,
    /// Bad answers that the story itself made, by a fault.
    made_bad: usize,
}

impl<'a> Story<'a> {
    /// An empty namespace with filled claims. What an earlier story left there is removed.
    pub async fn prepare(cluster: &'a Cluster, namespace: &str) -> Result<Self> {
        let dataset = Dataset::open()?;
        let models = models()?;
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        if namespaces.get_opt(namespace).await?.is_some() {
            remove_namespace(&cluster.client, namespace).await?;
        }
        // The handbook's own path in its own namespace, another one elsewhere: a gateway has one of each.
        let path = if namespace == "handbook" { "/handbook".to_owned() } else { format!("/{namespace}") };
        let story = Self {
            address: format!("{}{path}", cluster.gateway),
            trace: Trace::start(cluster, namespace, RELEASE),
            cluster,
            namespace: namespace.to_owned(),
            dataset,
            path,
            load: None,
            asked: 0,
            serves: None,
            made_bad: 0,
        };
        story.apply("examples/handbook/1-namespace.yaml").await?;
        story.apply("examples/handbook/2-claims.yaml").await?;
        claims::fill(cluster, namespace, "corpus", story.dataset.files()).await?;
        claims::fill(cluster, namespace, "models", models).await?;
        Ok(story)
    }

    fn client(&self) -> Client {
        self.cluster.client.clone()
    }

    /// Applies a manifest of the repository in this story's namespace.
    async fn apply(&self, path: &str) -> Result<()> {
        let yaml = manifest(path)?.replace(".handbook.svc", &format!(".{}.svc", self.namespace));
        for document in placed(documents(&yaml)?, &self.namespace) {
            apply(&self.cluster.client, &document).await?;
        }
        Ok(())
    }

    /// Applies the release of examples/handbook with some fields changed (JSON pointers below `spec`).
    async fn apply_release(&self, changes: &[(&str, Value)]) -> Result<()> {
        let document = release_document(&self.namespace, &self.path, changes)?;
        apply(&self.cluster.client, &document).await?;
        Ok(())
    }

    fn releases(&self) -> Api<RagRelease> {
        Api::namespaced(self.client(), &self.namespace)
    }

    async fn model_ready(&self, name: &str) -> Result<EmbeddingModel> {
        let api: Api<EmbeddingModel> = Api::namespaced(self.client(), &self.namespace);
        wait(api, name, &format!("the EmbeddingModel {name} to be Ready"), A_BUILD, |model| {
            let Some(model) = model else { return Ok(Look::NotYet("not there".to_owned())) };
            let status = model.status.clone().unwrap_or_default();
            let seen = Seen::of(model.metadata.generation, status.observed_generation, &status.conditions);
            Ok(seen.ready()?.map(|()| model.clone()).map_or_else(|| Look::NotYet(seen.words()), Look::Done))
        })
        .await
    }

    async fn index_ready(&self, name: &str) -> Result<VectorIndex> {
        let api: Api<VectorIndex> = Api::namespaced(self.client(), &self.namespace);
        wait(api, name, &format!("the VectorIndex {name} to be Ready"), A_BUILD, |index| {
            let Some(index) = index else { return Ok(Look::NotYet("not there".to_owned())) };
            let status = index.status.clone().unwrap_or_default();
            let seen = Seen::of(index.metadata.generation, status.observed_generation, &status.conditions);
            Ok(seen.ready()?.map(|()| index.clone()).map_or_else(|| Look::NotYet(seen.words()), Look::Done))
        })
        .await
    }

    async fn gate_ready(&self, name: &str) -> Result<EvalGate> {
        let api: Api<EvalGate> = Api::namespaced(self.client(), &self.namespace);
        wait(api, name, &format!("the EvalGate {name} to be Ready"), A_BUILD, |gate| {
            let Some(gate) = gate else { return Ok(Look::NotYet("not there".to_owned())) };
            let status = gate.status.clone().unwrap_or_default();
            let seen = Seen::of(gate.metadata.generation, status.observed_generation, &status.conditions);
            Ok(seen.ready()?.map(|()| gate.clone()).map_or_else(|| Look::NotYet(seen.words()), Look::Done))
        })
        .await
    }

    /// Waits until the release's present spec serves all users.
    async fn promoted(&self, what: &str) -> Result<RagReleaseStatus> {
        wait(self.releases(), RELEASE, what, A_RELEASE, |release| {
            let Some(release) = release else { return Ok(Look::NotYet("not there".to_owned())) };
            let status = release.status.clone().unwrap_or_default();
            let seen = Seen::of(release.metadata.generation, status.observed_generation, &status.conditions);
            Ok(match seen.ready()? {
                Some(()) if status.candidate.is_none() => Look::Done(status),
                Some(()) | None => Look::NotYet(format!("{}; {}", seen.words(), where_it_is(&status))),
            })
        })
        .await
    }

    /// Waits until the release's present spec has failed and stable serves on.
    async fn rolled_back(&self, what: &str) -> Result<RagReleaseStatus> {
        wait(self.releases(), RELEASE, what, A_RELEASE, |release| {
            let Some(release) = release else { return Ok(Look::NotYet("not there".to_owned())) };
            let status = release.status.clone().unwrap_or_default();
            let seen = Seen::of(release.metadata.generation, status.observed_generation, &status.conditions);
            if !seen.current {
                return Ok(Look::NotYet(seen.words()));
            }
            ensure!(
                seen.word("Ready") != ("True".to_owned(), "Promoted".to_owned()),
                "it was promoted: {}",
                where_it_is(&status)
            );
            let (stalled, reason) = seen.word("Stalled");
            Ok(match (stalled.as_str(), reason.as_str()) {
                ("True", "RolledBack" | "GateFailed") => {
                    let (serving, _) = seen.word("Serving");
                    ensure!(serving == "True", "Serving is {serving:?} although stable has never stopped");
                    Look::Done(status)
                }
                ("True", other) => bail!("Stalled for another reason, {other}: {}", seen.words()),
                _ => Look::NotYet(format!("{}; {}", seen.words(), where_it_is(&status))),
            })
        })
        .await
    }

    /// The result that a gate keeps of a revision; all of them must be there.
    async fn gate_runs(&self, revision: &str) -> Result<Vec<GateRun>> {
        let api: Api<EvalGate> = Api::namespaced(self.client(), &self.namespace);
        let what = format!("gate {GATE} to list a run of {revision}");
        wait(api, GATE, &what, Duration::from_secs(20), |gate| {
            let runs = gate.and_then(|g| g.status.as_ref()).map(|s| s.last_runs.clone()).unwrap_or_default();
            let of_it: Vec<GateRun> =
                runs.iter().filter(|r| r.revision == revision && r.release == RELEASE).cloned().collect();
            Ok(if of_it.is_empty() {
                Look::NotYet(format!("runs of {:?}", runs.iter().map(|r| &r.revision).collect::<Vec<_>>()))
            } else {
                Look::Done(of_it)
            })
        })
        .await
    }

    /// The one run of a revision, with the verdict that the story expects.
    async fn gate_run(&self, revision: &str, verdict: VerdictWord) -> Result<GateRun> {
        let runs = self.gate_runs(revision).await?;
        ensure!(runs.len() == 1, "revision {revision} was measured {} times, expected once", runs.len());
        let run = runs.into_iter().next().context("no run")?;
        ensure!(
            run.verdict == verdict,
            "the gate says {:?} of {revision}, expected {verdict:?}: {}",
            run.verdict,
            run.message
        );
        ensure!(!run.metrics.is_empty(), "the run of {revision} shows no numbers");
        Ok(run)
    }

    fn load(&self) -> Result<&Load> {
        self.load.as_ref().context("the load has not begun; the first release comes first")
    }

    /// Name of a revision's Service.
    fn service(revision: &str) -> String {
        format!("{RELEASE}-{revision}")
    }

    /// The stable revision, which must be the one that the step before left: in its rollback window a promoted
    /// revision may be withdrawn between two steps, and the story would go on with another one.
    async fn stable(&self) -> Result<String> {
        let release = self.releases().get(RELEASE).await?;
        let status = release.status.unwrap_or_default();
        let stable = status.stable.as_ref().context("nothing is stable")?.revision.clone();
        let before = self.serves.as_ref().context("no step has left a stable revision")?;
        let last = status.history.last().map(|h| h.message.as_str()).unwrap_or_default();
        ensure!(stable == *before, "the step before left {before} stable, now it is {stable}: {last}");
        Ok(stable)
    }

    /// Ends the load and says what became of every request of the story: none was bad but those whose encoder
    /// the story made fail.
    pub async fn end(mut self) -> Result<Tally> {
        let load = self.load.take().context("the load has not begun")?;
        let tally = load.stop().await;
        ensure!(
            tally.bad_total() == self.made_bad,
            "{} bad answers in all, but {} while the encoder failed: {:?}",
            tally.bad_total(),
            self.made_bad,
            tally.bad
        );
        Ok(tally)
    }
}

/// The release of examples/handbook, placed and changed (JSON pointers below `spec`).
pub fn release_document(namespace: &str, path: &str, changes: &[(&str, Value)]) -> Result<Value> {
    let yaml = manifest("examples/handbook/6-release.yaml")?;
    let mut document = placed(documents(&yaml)?, namespace).into_iter().next().context("no release")?;
    let path_prefix = ("/traffic/gateway/pathPrefix", Value::from(path));
    for (pointer, value) in std::iter::once(&path_prefix).chain(changes) {
        let (parent, field) = pointer.rsplit_once('/').context("a pointer without /")?;
        let parent = format!("/spec{parent}");
        let parent = document.pointer_mut(&parent).with_context(|| format!("the release has no {parent}"))?;
        parent[field] = value.clone();
    }
    Ok(document)
}

/// The standard conditions of an object, as a person reads them.
pub struct Seen {
    /// Whether the status speaks of the present spec.
    pub current: bool,
    conditions: Vec<Condition>,
}

impl Seen {
    pub fn of(generation: Option<i64>, observed: i64, conditions: &[Condition]) -> Self {
        Self { current: generation == Some(observed), conditions: conditions.to_vec() }
    }

    /// Status and reason of a condition; empty when it is absent.
    pub fn word(&self, type_: &str) -> (String, String) {
        self.conditions
            .iter()
            .find(|c| c.type_ == type_)
            .map(|c| (c.status.clone(), c.reason.clone()))
            .unwrap_or_default()
    }

    pub fn message(&self, type_: &str) -> String {
        self.conditions.iter().find(|c| c.type_ == type_).map(|c| c.message.clone()).unwrap_or_default()
    }

    /// `Some` when Ready; an error when it has come to a standstill, which no waiting mends.
    pub fn ready(&self) -> Result<Option<()>> {
        if !self.current {
            return Ok(None);
        }
        let (stalled, reason) = self.word("Stalled");
        ensure!(stalled != "True", "it is Stalled ({reason}): {}", self.message("Stalled"));
        let (ready, _) = self.word("Ready");
        let (reconciling, _) = self.word("Reconciling");
        Ok((ready == "True" && reconciling != "True").then_some(()))
    }

    pub fn words(&self) -> String {
        let mut words: Vec<String> =
            self.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect();
        if !self.current {
            words.push("the status is of an older spec".to_owned());
        }
        words.push(self.message("Ready"));
        words.join(", ")
    }
}

fn where_it_is(status: &RagReleaseStatus) -> String {
    let stable = status.stable.as_ref().map_or("none", |s| s.revision.as_str());
    let candidate = status.candidate.as_ref().map_or_else(
        || "none".to_owned(),
        |c| format!("{} at {} % in {:?} (step {})", c.revision, c.weight, c.stage, c.step_text),
    );
    format!("stable {stable}, candidate {candidate}")
}

/// The time until an instant, 0 when it lies before.
fn until(from: SystemTime, to: SystemTime) -> Duration {
    to.duration_since(from).unwrap_or_default()
}
