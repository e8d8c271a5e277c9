//! What the cases share: one connection, one installed operator, one namespace with an index and encoders.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::{Client, Resource};
use rag_operator::api::release::RagReleaseStatus;
use rag_operator::api::{Condition, EmbeddingModel, EvalGate, RagRelease, VectorIndex};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

use crate::admission;
use crate::demo::cluster::{Cluster, Programs};
use crate::demo::data::{Dataset, manifest, models};
use crate::demo::objects::{Look, apply, delete, documents, placed, poll, remove_namespace, wait, wait_gone};
use crate::demo::story::{Seen, Story, release_document};
use crate::demo::{audit, claims, install, load, web};
use crate::foreign::Taken;
use crate::gates::{Edited, Graded};

/// Namespace of the cases beside the story.
pub const CASES: &str = "e2e-cases";
/// Namespace of the story.
pub const STORY: &str = "e2e-story";
/// The usual patience.
pub const SOON: Duration = Duration::from_secs(60);
/// For what builds an index or starts pods.
pub const LATER: Duration = Duration::from_secs(180);

/// Shared by all cases; each part is made when the first case asks for it.
#[derive(Default)]
pub struct Bench {
    cluster: OnceCell<&'static Cluster>,
    operator: OnceCell<()>,
    fixture: OnceCell<()>,
    graded: OnceCell<Graded>,
    edited: OnceCell<Edited>,
    taken: OnceCell<Taken>,
    audit_mark: OnceCell<Option<u64>>,
    pub story: Mutex<Option<Story<'static>>>,
    ran: AtomicUsize,
    expected: AtomicUsize,
}

impl Bench {
    /// The cluster, with the CRDs.
    pub async fn cluster(&self) -> Result<&'static Cluster> {
        let cluster = self.cluster.get_or_try_init(|| async {
            let programs = Programs::beside(PathBuf::from(env!("CARGO_BIN_EXE_rag")));
            let cluster: &'static Cluster = Box::leak(Box::new(Cluster::connect(&programs).await?));
            install::crds(cluster).await?;
            anyhow::Ok(cluster)
        });
        cluster.await.copied()
    }

    /// The cluster with the operator that is tried.
    pub async fn operator(&self) -> Result<&'static Cluster> {
        let cluster = self.cluster().await?;
        let mark = || async { cluster.audit.as_deref().map(audit::mark).transpose() };
        self.audit_mark.get_or_try_init(mark).await?;
        self.operator.get_or_try_init(|| install::install(cluster)).await?;
        Ok(cluster)
    }

    /// The cluster with the operator and, in [`CASES`], claims, encoders and the index `handbook`, all Ready.
    pub async fn fixture(&self) -> Result<&'static Cluster> {
        let cluster = self.operator().await?;
        self.fixture.get_or_try_init(|| make_fixture(cluster)).await?;
        Ok(cluster)
    }

    /// A change that lost a domain, judged by slices with a report.
    pub async fn graded(&self) -> Result<&Graded> {
        let cluster = self.fixture().await?;
        self.graded.get_or_try_init(|| Graded::make(cluster)).await
    }

    /// A release whose gate found an edited data set.
    pub async fn edited(&self) -> Result<&Edited> {
        let cluster = self.fixture().await?;
        self.edited.get_or_try_init(|| Edited::make(cluster)).await
    }

    /// A release whose name a route of somebody else had.
    pub async fn taken(&self) -> Result<&Taken> {
        let cluster = self.fixture().await?;
        self.taken.get_or_try_init(|| Taken::make(cluster)).await
    }

    /// Removes what the cases made, if any of them ran.
    pub async fn clean_up(&self) -> Result<()> {
        let Some(cluster) = self.cluster.get() else { return Ok(()) };
        for namespace in [CASES, admission::NAMESPACE] {
            remove_namespace(&cluster.client, namespace).await?;
        }
        Ok(())
    }

    /// Where the audit log stood before the operator was installed.
    pub fn audit_mark(&self) -> Option<u64> {
        self.audit_mark.get().copied().flatten()
    }

    pub fn expects(&self, cases: usize) {
        self.expected.store(cases, Ordering::Release);
    }

    pub fn ran(&self) {
        self.ran.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether every case but the last has run.
    pub fn all_but_one_ran(&self) -> bool {
        self.ran.load(Ordering::Acquire).saturating_add(1) == self.expected.load(Ordering::Acquire)
    }
}

async fn make_fixture(cluster: &Cluster) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    if namespaces.get_opt(CASES).await?.is_some() {
        remove_namespace(&cluster.client, CASES).await?;
    }
    for file in ["1-namespace", "2-claims"] {
        apply_file(cluster, &format!("examples/handbook/{file}.yaml")).await?;
    }
    claims::fill(cluster, CASES, "corpus", Dataset::open()?.files()).await?;
    claims::fill(cluster, CASES, "models", models()?).await?;
    for file in ["3-models", "4-index", "5-gates"] {
        apply_file(cluster, &format!("examples/handbook/{file}.yaml")).await?;
    }
    until_ready::<EmbeddingModel>(cluster, "wordllama", LATER).await?;
    until_ready::<VectorIndex>(cluster, "handbook", LATER).await?;
    until_ready::<EvalGate>(cluster, "answers-stay-good", LATER).await
}

/// Applies a manifest of the repository in [`CASES`].
pub async fn apply_file(cluster: &Cluster, path: &str) -> Result<()> {
    for document in placed(documents(&manifest(path)?)?, CASES) {
        apply(&cluster.client, &document).await?;
    }
    Ok(())
}

/// Applies YAML text in [`CASES`].
pub async fn apply_text(cluster: &Cluster, yaml: &str) -> Result<()> {
    for document in placed(documents(yaml)?, CASES) {
        apply(&cluster.client, &document).await?;
    }
    Ok(())
}

/// The objects of a kind in [`CASES`].
pub fn api<K>(client: &Client) -> Api<K>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(client.clone(), CASES)
}

/// A kind of ours, as far as conditions go.
pub trait OurKind:
    Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Send
    + 'static
{
    fn observed(&self) -> (i64, Vec<Condition>);
}

macro_rules! our_kind {
    ($($kind:ty),+) => { $(impl OurKind for $kind {
        fn observed(&self) -> (i64, Vec<Condition>) {
            self.status.as_ref().map_or((-1, Vec::new()), |s| (s.observed_generation, s.conditions.clone()))
        }
    })+ };
}
our_kind!(EmbeddingModel, VectorIndex, EvalGate, RagRelease);

/// Conditions of an object.
pub fn seen<K: OurKind>(object: &K) -> Seen {
    let (observed, conditions) = object.observed();
    Seen::of(object.meta().generation, observed, &conditions)
}

/// Waits until an object of [`CASES`] is Ready; a standstill ends the wait.
pub async fn until_ready<K: OurKind>(cluster: &Cluster, name: &str, limit: Duration) -> Result<()> {
    let what = format!("{} {name} to be Ready", K::kind(&()));
    wait(api::<K>(&cluster.client), name, &what, limit, |object| {
        let Some(object) = object else { return Ok(Look::NotYet("not there".to_owned())) };
        let seen = seen(object);
        Ok(seen.ready()?.map_or_else(|| Look::NotYet(seen.words()), Look::Done))
    })
    .await
}

/// Waits until a condition of the present spec is True for one of some reasons; its message.
pub async fn until_condition<K: OurKind>(
    cluster: &Cluster,
    name: &str,
    condition: &str,
    reasons: &[&str],
    limit: Duration,
) -> Result<String> {
    let what = format!("{} {name} to be {condition} for {reasons:?}", K::kind(&()));
    wait(api::<K>(&cluster.client), name, &what, limit, |object| {
        let Some(object) = object else { return Ok(Look::NotYet("not there".to_owned())) };
        let seen = seen(object);
        let (status, reason) = seen.word(condition);
        Ok(if seen.current && status == "True" && reasons.contains(&reason.as_str()) {
            Look::Done(seen.message(condition))
        } else {
            Look::NotYet(seen.words())
        })
    })
    .await
}

/// Waits until a release's status satisfies a sentence.
pub async fn until_release<T>(
    cluster: &Cluster,
    name: &str,
    what: &str,
    mut look: impl FnMut(&RagReleaseStatus, &Seen) -> Option<T>,
) -> Result<T> {
    wait(api::<RagRelease>(&cluster.client), name, what, LATER, |release| {
        let Some(release) = release else { return Ok(Look::NotYet("not there".to_owned())) };
        let seen = seen(release);
        let status = release.status.clone().unwrap_or_default();
        if !seen.current {
            return Ok(Look::NotYet(seen.words()));
        }
        Ok(look(&status, &seen).map_or_else(|| Look::NotYet(seen.words()), Look::Done))
    })
    .await
}

/// A release of [`CASES`] without gates, at `/e2e-<name>`.
pub fn release(name: &str, changes: &[(&str, Value)]) -> Result<Value> {
    let no_gates = [("/rollout/gates", json!([])), ("/serving/replicas", json!(1))];
    let changes: Vec<(&str, Value)> = no_gates.into_iter().chain(changes.iter().cloned()).collect();
    let mut document = release_document(CASES, &format!("/e2e-{name}"), &changes)?;
    document["metadata"]["name"] = Value::from(name);
    Ok(document)
}

/// Waits until a release serves its present spec; the stable revision.
pub async fn until_promoted(cluster: &Cluster, name: &str) -> Result<String> {
    until_release(cluster, name, &format!("release {name} to serve"), |status, seen| {
        let ready = seen.word("Ready") == ("True".to_owned(), "Promoted".to_owned());
        let stable = status.stable.as_ref().filter(|_| ready && status.candidate.is_none());
        stable.map(|s| s.revision.clone())
    })
    .await
}

/// A question through the gateway, until it is answered with 200; the revision that answered.
pub async fn answers(cluster: &Cluster, name: &str) -> Result<String> {
    let http = web::client(load::PATIENCE)?;
    let url = format!("{}/e2e-{name}/v1/search", cluster.gateway);
    poll(&format!("an answer at {url}"), Duration::from_secs(20), async || {
        let answer = match http.post(&url).json(&json!({"query": "how much leave do I have"})).send().await {
            Ok(answer) => answer,
            Err(error) => return Ok(Look::NotYet(error.to_string())),
        };
        let header = answer.headers().get(rag_operator::api::names::HEADER_REVISION);
        let revision = header.and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok(match revision {
            Some(revision) if answer.status().as_u16() == 200 => Look::Done(revision),
            _ => Look::NotYet(format!("status {}", answer.status())),
        })
    })
    .await
    .context("users are not served")
}

/// Deletes a release of [`CASES`] to its end.
pub async fn remove_release(cluster: &Cluster, name: &str) -> Result<()> {
    let releases = api::<RagRelease>(&cluster.client);
    delete(&releases, name).await?;
    wait_gone(releases, name, LATER).await
}
