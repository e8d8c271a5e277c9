//! What a pass over an EmbeddingModel reads.
//!
//! Invariant: reads only; absence is data.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, PodTemplateSpec, Service};
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};

use super::{declared, render};
use crate::api::model::Endpoint;
use crate::api::{EmbeddingModel, RagRelease, VectorIndex, names};
use crate::controller::attempt::{Attempt, has_ended};
use crate::controller::config::Config;
use crate::controller::context::Context;
use crate::controller::error::{Error, Refusal};
use crate::controller::read;
use crate::controller::reconcile::refusal;
use crate::controller::release::revision::{Snapshot, kept};

/// What was read.
#[derive(Clone, Debug)]
pub struct Observed {
    pub now: Timestamp,
    pub config: Config,
    /// What the API server did not take in the last pass.
    pub refusal: Option<Refusal>,
    /// The server under the model's own name.
    pub main: Server,
    /// The server of a changed model directory while it is measured.
    pub trial: Server,
    /// The claims that are there, of those that the endpoints name; true: its pods must run on one node.
    pub claims: BTreeMap<String, bool>,
    /// The ConfigMaps that are there, of those that the endpoints name.
    pub config_maps: BTreeSet<String>,
    /// The Job that would measure the declared endpoint.
    pub probe: Attempt,
    /// Our other Jobs.
    pub others: Vec<Job>,
    /// Who still names the model; read only while it is being deleted.
    pub users: Vec<String>,
    /// Who still asks the server under the model's own name; read only when the spec wants none.
    pub callers: Vec<String>,
}

/// A server that we run, or an object of its name.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub deployment: Option<Deployment>,
    pub service: Option<Service>,
    pub pods: Vec<Pod>,
}

/// Reads all that the plan needs; `None`: the object is gone.
pub async fn observe(ctx: &Context, cached: &EmbeddingModel) -> Result<Option<(EmbeddingModel, Observed)>, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    let name = cached.name_any();
    let Some(model) = read::one::<EmbeddingModel>(ctx, &namespace, &name).await? else { return Ok(None) };
    let uid = model.uid().unwrap_or_default();
    let probe_name = render::probe_name(&model);
    let endpoints: Vec<&Endpoint> =
        [Some(&model.spec.endpoint), model.status.as_ref().and_then(|s| s.endpoint.as_ref())]
            .into_iter()
            .flatten()
            .collect();
    let main = server(ctx, &namespace, &name, render::PURPOSE_MAIN, &uid).await?;
    let leftover = main.deployment.is_some() && declared::managed(&model.spec.endpoint).is_none();
    let observed = Observed {
        now: Timestamp::now(),
        config: ctx.config.clone(),
        refusal: refusal::<super::Models>(ctx, &namespace, &name),
        trial: server(ctx, &namespace, &render::trial_name(&model), render::PURPOSE_TRIAL, &uid).await?,
        claims: claims(ctx, &namespace, &endpoints).await?,
        config_maps: config_maps(ctx, &namespace, &endpoints).await?,
        probe: read::attempt(ctx, &namespace, &probe_name).await?,
        others: read::owned::<Job>(ctx, &namespace, &uid)
            .await?
            .into_iter()
            .filter(|job| job.name_any() != probe_name)
            .collect(),
        users: match model.metadata.deletion_timestamp {
            Some(_) => users(ctx, &namespace, &name).await?,
            None => Vec::new(),
        },
        callers: if leftover { callers(ctx, &namespace, &render::url(&model, &name)).await? } else { Vec::new() },
        main,
    };
    Ok(Some((model, observed)))
}

async fn server(ctx: &Context, namespace: &str, name: &str, purpose: &str, uid: &str) -> Result<Server, Error> {
    let deployment: Option<Deployment> = read::one(ctx, namespace, name).await?;
    let selector = format!("{}={uid},{}={purpose}", names::LABEL_OWNER_UID, names::LABEL_PURPOSE);
    let pods = match deployment {
        Some(_) => read::labelled(ctx, namespace, &selector).await?,
        None => Vec::new(),
    };
    Ok(Server { deployment, service: read::one(ctx, namespace, name).await?, pods })
}

async fn claims(ctx: &Context, namespace: &str, endpoints: &[&Endpoint]) -> Result<BTreeMap<String, bool>, Error> {
    let named: BTreeSet<&str> =
        endpoints.iter().filter_map(|e| declared::managed(e)).map(|m| m.model.claim_name.as_str()).collect();
    let mut found = BTreeMap::new();
    for claim in named {
        if read::exists::<PersistentVolumeClaim>(ctx, namespace, claim).await? {
            found.insert(claim.to_owned(), read::one_node_only(ctx, namespace, claim).await?);
        }
    }
    Ok(found)
}

async fn config_maps(ctx: &Context, namespace: &str, endpoints: &[&Endpoint]) -> Result<BTreeSet<String>, Error> {
    let named: BTreeSet<&str> = endpoints
        .iter()
        .filter_map(|e| e.open_ai.as_ref()?.ca_bundle.as_ref())
        .map(|bundle| bundle.name.as_str())
        .collect();
    let mut found = BTreeSet::new();
    for name in named {
        if read::exists::<ConfigMap>(ctx, namespace, name).await? {
            found.insert(name.to_owned());
        }
    }
    Ok(found)
}

async fn users(ctx: &Context, namespace: &str, name: &str) -> Result<Vec<String>, Error> {
    let indexes = read::guarded::<VectorIndex>(ctx, namespace).await?;
    // Before the releases: a revision that begins in between stands in the status that is read then.
    let stored = read::snapshots(ctx, namespace).await?;
    let releases = read::guarded::<RagRelease>(ctx, namespace).await?;
    Ok(who_uses(name, &indexes, &releases, &stored))
}

/// Who names the model: indexes, and releases that run a version which it built or whose snapshots name it: from
/// those their pods are made, also when index and version are long gone.
fn who_uses(
    name: &str,
    indexes: &[DeserializeGuard<VectorIndex>],
    releases: &[DeserializeGuard<RagRelease>],
    stored: &[ControllerRevision],
) -> Vec<String> {
    let mut found: Vec<String> = unreadable("VectorIndex", indexes).chain(unreadable("RagRelease", releases)).collect();
    let readable: Vec<&VectorIndex> = indexes.iter().filter_map(|g| g.0.as_ref().ok()).collect();
    let naming = readable.iter().filter(|index| index.spec.embedding_model_ref.name == name);
    found.extend(naming.map(|index| format!("VectorIndex {}", index.name_any())));
    let built: BTreeSet<String> = readable
        .iter()
        .flat_map(|index| {
            let versions = index.status.iter().flat_map(|s| &s.versions).filter(|v| v.model == name);
            versions.map(|version| format!("{}/{}", index.name_any(), version.name))
        })
        .collect();
    for release in releases.iter().filter_map(|g| g.0.as_ref().ok()) {
        let used = versions_in_use(release).into_iter().find(|version| built.contains(*version)).map(str::to_owned);
        let named =
            used.or_else(|| kept(release, stored).find_map(|(stored, snapshot)| by_snapshot(name, stored, snapshot)));
        found.extend(named.map(|version| format!("RagRelease {} ({version})", release.name_any())));
    }
    found
}

/// The version that a snapshot of this model reads; of one that cannot be read, its own name.
fn by_snapshot(model: &str, stored: String, snapshot: Option<Snapshot>) -> Option<String> {
    match snapshot {
        Some(snapshot) => (snapshot.model == model).then(|| snapshot.version_text()),
        None => Some(format!("ControllerRevision {stored}, which cannot be read")),
    }
}

/// Index versions that a release runs or may go back to, such as `handbook/v3`.
fn versions_in_use(release: &RagRelease) -> Vec<&str> {
    let status = release.status.as_ref();
    let stable = status.and_then(|s| s.stable.as_ref()).map(|r| r.version.as_str());
    let candidate = status.and_then(|s| s.candidate.as_ref()).map(|r| r.version.as_str());
    let previous = status.and_then(|s| s.previous.as_ref()).map(|r| r.version.as_str());
    [stable, candidate, previous].into_iter().flatten().collect()
}

/// An object that cannot be read may name the model.
fn unreadable<'a, K: Resource<DynamicType = ()>>(
    kind: &'a str,
    objects: &'a [DeserializeGuard<K>],
) -> impl Iterator<Item = String> + 'a {
    objects.iter().filter_map(move |guard| {
        let invalid = guard.0.as_ref().err()?;
        Some(format!("{kind} {} (cannot be read)", invalid.metadata.name.as_deref().unwrap_or_default()))
    })
}

/// Pods of ours that were told this address.
async fn callers(ctx: &Context, namespace: &str, url: &str) -> Result<Vec<String>, Error> {
    let ours = format!("app.kubernetes.io/managed-by={}", names::MANAGER);
    let deployments: Vec<Deployment> = read::labelled(ctx, namespace, &ours).await?;
    let jobs: Vec<Job> = read::labelled(ctx, namespace, &ours).await?;
    let told = |template: Option<&PodTemplateSpec>| {
        let containers = template.and_then(|t| t.spec.as_ref()).into_iter().flat_map(|s| &s.containers);
        containers.flat_map(|c| c.env.iter().flatten()).any(|env| env.value.as_deref().is_some_and(|v| v.contains(url)))
    };
    let serving = deployments
        .iter()
        .filter(|d| told(d.spec.as_ref().map(|s| &s.template)))
        .map(|d| format!("Deployment {}", d.name_any()));
    let running = jobs
        .iter()
        .filter(|job| !has_ended(job) && told(job.spec.as_ref().map(|s| &s.template)))
        .map(|job| format!("Job {}", job.name_any()));
    Ok(serving.chain(running).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn guards<K: Resource + serde::de::DeserializeOwned>(objects: &[Value]) -> Vec<DeserializeGuard<K>> {
        objects.iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
    }

    fn index(name: &str, model: &str, built_by: &str) -> Value {
        json!({"apiVersion": "ragops.dev/v1alpha1", "kind": "VectorIndex", "metadata": {"name": name}, "spec": {
            "embeddingModelRef": {"name": model}, "sources": [], "store": {"embedded": {"claimName": "c"}}},
            "status": {"versions": [{"name": "v1", "state": "Ready", "cause": "Spec", "physical": "p", "claim": "c",
                "fingerprint": "f", "model": built_by, "createdAt": "2026-01-01T00:00:00Z"}]}})
    }

    fn release(role: &str, version: &str) -> Value {
        let revision = json!({"revision": "0123456789", "version": version, "weight": 100, "image": "i",
            "since": "2026-01-01T00:00:00Z", "retainedUntil": "2026-01-01T00:00:00Z", "stage": "Preparing", "step": 0,
            "stepText": "0/1", "progressedAt": "2026-01-01T00:00:00Z"});
        json!({"apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease", "metadata": {"name": "r"}, "spec": {
            "indexRef": {"name": "i"}, "traffic": {"gateway": {"parentRefs": [{"name": "g"}]}}}, "status": {role: revision}})
    }

    #[test]
    fn an_index_that_names_the_model_uses_it() {
        let indexes = guards(&[index("a", "m", "m"), index("b", "other", "other")]);
        assert_eq!(who_uses("m", &indexes, &[], &[]), ["VectorIndex a"]);
        assert_eq!(who_uses("nobody", &indexes, &[], &[]), Vec::<String>::new());
    }

    #[test]
    fn a_release_that_runs_or_may_go_back_to_its_version_uses_it() {
        let indexes = guards(&[index("i", "new", "m")]);
        for role in ["stable", "candidate", "previous"] {
            assert_eq!(
                who_uses("m", &indexes, &guards(&[release(role, "i/v1")]), &[]),
                ["RagRelease r (i/v1)"],
                "{role}"
            );
            assert_eq!(who_uses("m", &indexes, &guards(&[release(role, "i/v2")]), &[]), Vec::<String>::new(), "{role}");
        }
    }

    #[test]
    fn a_release_whose_snapshot_names_it_uses_it_though_its_status_and_the_index_are_gone() {
        let mut shop = release("stable", "i/v9");
        shop["metadata"]["uid"] = json!("shop-1");
        shop["status"] = json!({});
        let stored = |data: Value| -> Vec<ControllerRevision> {
            let owner = json!([{"apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease", "name": "r",
                "uid": "shop-1", "controller": true}]);
            let stored = json!({"metadata": {"name": "r-a", "ownerReferences": owner}, "revision": 1, "data": data});
            vec![serde_json::from_value(stored).unwrap()]
        };
        let snapshot = |model: &str| {
            json!({"revision": "a", "index": "i", "version": "v1", "physical": "p", "claim": "c", "model": model,
                "image": "i", "tuple": {"contentDigest": "c", "fingerprint": "f", "search": {}, "retrieval": {}}})
        };
        let users = |data| who_uses("m", &[], &guards(&[shop.clone()]), &stored(data));
        assert_eq!(users(snapshot("m")), ["RagRelease r (i/v1)"]);
        assert_eq!(users(snapshot("other")), Vec::<String>::new());
        assert_eq!(users(json!(7)), ["RagRelease r (ControllerRevision r-a, which cannot be read)"]);
    }

    #[test]
    fn what_cannot_be_read_may_use_it() {
        let broken =
            json!({"apiVersion": "ragops.dev/v1alpha1", "kind": "VectorIndex", "metadata": {"name": "x"}, "spec": 7});
        assert_eq!(who_uses("m", &guards(&[broken]), &[], &[]), ["VectorIndex x (cannot be read)"]);
    }
}
