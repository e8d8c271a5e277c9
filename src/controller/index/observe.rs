//! What the plan of an index needs to know: reads only.
//!
//! Invariants: the index is read before the releases, so that a version that was persisted as Retiring is
//! compared with releases that were read later; a version is used by who names it in a status or in a snapshot, for
//! pods are made from snapshots; what cannot be decoded is named, never left out.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use super::plan;
use crate::api::{DataFrom, EmbeddingModel, RagRelease, VectorIndex, names};
use crate::controller::attempt::{self, Attempt, Outcome};
use crate::controller::config::Config;
use crate::controller::context::Context;
use crate::controller::error::{Error, Refusal};
use crate::controller::read::{self, Referred};
use crate::controller::reconcile::refusal;
use crate::controller::release::revision::kept;

/// What was seen in one pass.
#[derive(Clone, Debug)]
pub struct Observed {
    pub now: Timestamp,
    pub config: Config,
    /// What the API server did not take in the last pass.
    pub refusal: Option<Refusal>,
    pub model: Referred<EmbeddingModel>,
    /// ConfigMaps, their keys and claims that sources or the store name and that are not there, as users read
    /// them.
    pub missing: Vec<String>,
    /// Claims of versions that are gone, or that no pod can mount any more since they are being deleted.
    pub gone_claims: BTreeSet<String>,
    /// Claims that only one node may mount.
    pub one_node: Vec<String>,
    /// Versions of this index that releases name.
    pub uses: Vec<Use>,
    /// Releases of the namespace that cannot be decoded, whole or in a snapshot: each may use any version.
    pub unreadable: Vec<String>,
    /// Jobs that this index owns, and all pods that carry its UID.
    pub jobs: Vec<Job>,
    pub pods: Vec<Pod>,
    /// Jobs that have a name of ours and another owner.
    pub foreign: BTreeSet<String>,
}

/// A release that names a version of this index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub release: String,
    /// `stable`, `candidate`, `previous`, `spec.version` or, where only a snapshot names it, [`SNAPSHOT`].
    pub role: &'static str,
    /// Version without the index, such as `v3`.
    pub version: String,
}

/// Role of a version that a release's status does not name: a lost status, or a revision that is being taken away.
pub const SNAPSHOT: &str = "a revision that it keeps";

impl Observed {
    /// What became of the Job `name` of the owner `uid`; its nonce is its name.
    pub fn outcome(&self, uid: &str, name: &str) -> Outcome {
        if self.foreign.contains(name) {
            return Outcome::Foreign;
        }
        let job = self.jobs.iter().find(|j| j.metadata.name.as_deref() == Some(name)).cloned();
        let pods = self.pods.iter().filter(|p| pod_job(p) == Some(name)).cloned().collect();
        Attempt { job, pods, seen_at: self.now }.outcome(uid, name)
    }

    /// Whether a pod of this Job may still write; a Job may be gone before its pods are.
    pub fn writes(&self, job: &str) -> bool {
        self.pods.iter().any(|p| pod_job(p) == Some(job) && !ended(p))
    }

    /// Whether the pod of a Job probably misses a volume.
    pub fn waits_for_volumes(&self, job: &str) -> bool {
        self.pods.iter().any(|p| pod_job(p) == Some(job) && attempt::waits_for_volumes(p, self.now))
    }
}

fn pod_job(pod: &Pod) -> Option<&str> {
    pod.labels().get("batch.kubernetes.io/job-name").map(String::as_str)
}

fn ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Reads the index live, then everything that it depends on.
pub async fn observe(ctx: &Context, object: &Arc<VectorIndex>) -> Result<Option<(VectorIndex, Observed)>, Error> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let index = match read::referred::<VectorIndex>(ctx, &namespace, &name).await? {
        Referred::Here(index) => *index,
        // The watch brings what cannot be decoded as such.
        Referred::Absent | Referred::Unreadable(_) => return Ok(None),
    };
    let uid = index.uid().unwrap_or_default();
    let (uses, unreadable) = releases(ctx, &namespace, &name).await?;
    let jobs = read::owned::<Job>(ctx, &namespace, &uid).await?;
    let pods = read::labelled::<Pod>(ctx, &namespace, &format!("{}={uid}", names::LABEL_OWNER_UID)).await?;
    let model = read::referred(ctx, &namespace, &index.spec.embedding_model_ref.name).await?;
    let claims = claims(ctx, &namespace, &index).await?;
    let foreign = foreign(ctx, &namespace, &index, &jobs).await?;
    let missing = missing(ctx, &namespace, &index, &claims).await?;
    let gone = |found: &Option<PersistentVolumeClaim>| {
        found.as_ref().is_none_or(|claim| claim.metadata.deletion_timestamp.is_some())
    };
    let observed = Observed {
        now: Timestamp::now(),
        config: ctx.config.clone(),
        refusal: refusal::<super::Indexes>(ctx, &namespace, &name),
        model,
        missing,
        gone_claims: claims.iter().filter(|(_, found)| gone(found)).map(|(name, _)| name.clone()).collect(),
        one_node: claims
            .iter()
            .filter(|(_, found)| found.as_ref().is_some_and(read::only_one_node))
            .map(|(name, _)| name.clone())
            .collect(),
        uses,
        unreadable,
        jobs,
        pods,
        foreign,
    };
    Ok(Some((index, observed)))
}

async fn releases(ctx: &Context, namespace: &str, index: &str) -> Result<(Vec<Use>, Vec<String>), Error> {
    let mut uses = Vec::new();
    let mut unreadable = Vec::new();
    // Before the releases: a revision that begins in between stands in the status that is read then.
    let stored = read::snapshots(ctx, namespace).await?;
    for guard in read::guarded::<RagRelease>(ctx, namespace).await? {
        match guard.0 {
            Ok(release) => {
                let mut named = uses_of(&release, index);
                let (kept, odd) = kept_of(&release, index, &stored);
                let more = kept.into_iter().filter(|k| !named.iter().any(|n| n.version == k.version));
                named.extend(more.collect::<Vec<Use>>());
                uses.extend(named);
                unreadable.extend(odd);
            }
            Err(invalid) => unreadable.push(invalid.metadata.name.unwrap_or_default()),
        }
    }
    uses.sort();
    unreadable.sort();
    Ok((uses, unreadable))
}

/// The versions of `index` that a release names.
pub fn uses_of(release: &RagRelease, index: &str) -> Vec<Use> {
    let status = release.status.clone().unwrap_or_default();
    let named = [
        ("stable", status.stable.map(|r| r.version)),
        ("candidate", status.candidate.map(|r| r.version)),
        ("previous", status.previous.map(|r| r.version)),
    ];
    let pinned = release.spec.version.as_ref().map(|v| format!("{}/{v}", release.spec.index_ref.name));
    named
        .into_iter()
        .chain([("spec.version", pinned)])
        .filter_map(|(role, full)| {
            let (of, version) = full.as_deref()?.split_once('/')?;
            (of == index).then(|| Use { release: release.name_any(), role, version: version.to_owned() })
        })
        .collect()
}

/// The versions of `index` that the snapshots of a release name, and the snapshots that cannot be read.
fn kept_of(release: &RagRelease, index: &str, stored: &[ControllerRevision]) -> (Vec<Use>, Vec<String>) {
    let (mut uses, mut odd) = (Vec::new(), Vec::new());
    for (name, snapshot) in kept(release, stored) {
        match snapshot {
            Some(snapshot) if snapshot.index == index => {
                uses.push(Use { release: release.name_any(), role: SNAPSHOT, version: snapshot.version });
            }
            Some(_) => {}
            None => odd.push(format!("{} (ControllerRevision {name})", release.name_any())),
        }
    }
    (uses, odd)
}

/// Every claim that the spec or a version names, as it is found.
async fn claims(
    ctx: &Context,
    namespace: &str,
    index: &VectorIndex,
) -> Result<BTreeMap<String, Option<PersistentVolumeClaim>>, Error> {
    let sources = index.spec.sources.iter().filter_map(|s| s.from.volume.as_ref()).map(|v| &v.claim_name);
    let store = index.spec.store.embedded.iter().map(|e| &e.claim_name);
    let versions = index.status.iter().flat_map(|s| &s.versions).map(|v| &v.claim);
    let names: BTreeSet<&String> = sources.chain(store).chain(versions).collect();
    let mut found = BTreeMap::new();
    for name in names {
        found.insert(name.clone(), read::one(ctx, namespace, name).await?);
    }
    Ok(found)
}

/// What sources and store name and is not there. Keys are looked up too: a pod with a missing key would wait
/// silently until its deadline.
async fn missing(
    ctx: &Context,
    namespace: &str,
    index: &VectorIndex,
    claims: &BTreeMap<String, Option<PersistentVolumeClaim>>,
) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    let absent = |claim: &String| matches!(claims.get(claim), None | Some(None));
    for source in &index.spec.sources {
        let DataFrom { config_map, volume } = &source.from;
        let field = format!("named by source `{}`", source.name);
        if let Some(wanted) = config_map {
            match read::one::<ConfigMap>(ctx, namespace, &wanted.name).await? {
                None => missing.push(format!("ConfigMap `{}` ({field})", wanted.name)),
                Some(found) => missing.extend(
                    wanted
                        .keys
                        .iter()
                        .filter(|key| !has_key(&found, key))
                        .map(|key| format!("key `{key}` of ConfigMap `{}` ({field})", wanted.name)),
                ),
            }
        }
        if let Some(volume) = volume.as_ref().filter(|v| absent(&v.claim_name)) {
            missing.push(format!("PersistentVolumeClaim `{}` ({field})", volume.claim_name));
        }
    }
    if let Some(store) = index.spec.store.embedded.as_ref().filter(|s| absent(&s.claim_name)) {
        missing.push(format!("PersistentVolumeClaim `{}` (named by `spec.store.embedded`)", store.claim_name));
    }
    missing.sort();
    missing.dedup();
    Ok(missing)
}

fn has_key(map: &ConfigMap, key: &str) -> bool {
    map.data.as_ref().is_some_and(|d| d.contains_key(key))
        || map.binary_data.as_ref().is_some_and(|d| d.contains_key(key))
}

/// Jobs with a name that we are about to use, which somebody else owns.
async fn foreign(ctx: &Context, namespace: &str, index: &VectorIndex, own: &[Job]) -> Result<BTreeSet<String>, Error> {
    let mut foreign = BTreeSet::new();
    let uid = index.uid().unwrap_or_default();
    for name in plan::job_names(index) {
        if own.iter().any(|j| j.metadata.name.as_deref() == Some(&name)) {
            continue;
        }
        let found: Option<Job> = read::one(ctx, namespace, &name).await?;
        if found.is_some_and(|job| !read::is_owned(&job.metadata, &uid)) {
            foreign.insert(name);
        }
    }
    Ok(foreign)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::Router;
    use axum::extract::State;
    use axum::http::{StatusCode, Uri};
    use axum::response::{IntoResponse, Json, Response};
    use kube::{Client, Config as ClientConfig};
    use serde_json::{Value, json};

    use super::super::render;
    use super::*;
    use crate::controller::context::{Events, Failures, Refusals};
    use crate::controller::metrics::Metrics;
    use crate::controller::signals::Signals;

    const UID: &str = "0a1b2c3d-1";

    /// An API server that knows these objects by path, and lists what a path leads to.
    async fn api(objects: BTreeMap<String, Value>) -> Context {
        async fn answer(State(objects): State<Arc<BTreeMap<String, Value>>>, uri: Uri) -> Response {
            match objects.get(uri.path()) {
                Some(object) => Json(object.clone()).into_response(),
                None => {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                        "reason": "NotFound", "message": format!("{} not found", uri.path())});
                    (StatusCode::NOT_FOUND, Json(status)).into_response()
                }
            }
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(Arc::new(objects));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::try_from(ClientConfig::new(format!("http://{address}").parse().unwrap())).unwrap();
        Context {
            events: Events::start(client.clone()),
            signals: Signals::new(tokio::sync::mpsc::channel(1).0).unwrap(),
            client,
            config: Config::plain(),
            metrics: Metrics::default(),
            failures: Failures::default(),
            refusals: Refusals::default(),
        }
    }

    fn index() -> Value {
        let map = |name: &str, keys: Value| json!({"name": name, "from": {"configMap": {"name": name, "keys": keys}}});
        json!({
            "apiVersion": "ragops.dev/v1alpha1", "kind": "VectorIndex",
            "metadata": {"name": "handbook", "namespace": "team", "uid": UID},
            "spec": {
                "embeddingModelRef": {"name": "wordllama"},
                "sources": [map("pages", json!(["a.md", "b.md"])), map("absent", json!([])),
                    {"name": "files", "from": {"volume": {"claimName": "files"}}}],
                "store": {"embedded": {"claimName": "indexes"}}
            },
            "status": {"lastNumber": 2, "build": {"version": "v2"}, "versions": [
                {"name": "v1", "state": "Ready", "cause": "Spec", "physical": "p1", "claim": "old", "fingerprint": "f",
                 "model": "wordllama", "createdAt": "2026-01-01T00:00:00Z"},
                {"name": "v2", "state": "Building", "cause": "Spec", "physical": "p2", "claim": "indexes",
                 "fingerprint": "f", "model": "wordllama", "createdAt": "2026-01-01T00:00:00Z"}]}
        })
    }

    fn list(kind: &str, items: Value) -> Value {
        json!({"kind": format!("{kind}List"), "apiVersion": "v1", "metadata": {}, "items": items})
    }

    fn world(index: &Value) -> BTreeMap<String, Value> {
        let ours = "/apis/ragops.dev/v1alpha1/namespaces/team";
        let release = |name: &str, spec: Value| {
            json!({"apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease",
                "metadata": {"name": name, "namespace": "team"}, "spec": spec})
        };
        let traffic = json!({"gateway": {"parentRefs": [{"name": "public"}]}});
        let pinned = release("shop", json!({"indexRef": {"name": "handbook"}, "version": "v1", "traffic": traffic}));
        let odd = release("odd", json!({"indexRef": "handbook"}));
        let claim = |modes: Value| json!({"metadata": {"name": "c"}, "spec": {"accessModes": modes}});
        let mut leaving = claim(json!(["ReadWriteMany"]));
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let foreign = render::job_name(&serde_json::from_value(index.clone()).unwrap(), render::BUILD, "v2");
        let job = json!({"metadata": {"name": foreign, "namespace": "team"}});
        let core = "/api/v1/namespaces/team";
        BTreeMap::from([
            (format!("{ours}/vectorindexes/handbook"), index.clone()),
            (format!("{ours}/ragreleases"), list("RagRelease", json!([pinned, odd]))),
            ("/apis/apps/v1/namespaces/team/controllerrevisions".to_owned(), list("ControllerRevision", json!([]))),
            ("/apis/batch/v1/namespaces/team/jobs".to_owned(), list("Job", json!([]))),
            (format!("/apis/batch/v1/namespaces/team/jobs/{foreign}"), job),
            (format!("{core}/pods"), list("Pod", json!([]))),
            (format!("{core}/configmaps/pages"), json!({"metadata": {"name": "pages"}, "data": {"a.md": "x"}})),
            (format!("{core}/persistentvolumeclaims/indexes"), claim(json!(["ReadWriteOnce"]))),
            (format!("{core}/persistentvolumeclaims/old"), leaving),
        ])
    }

    #[tokio::test]
    async fn absence_is_data_and_nobody_is_overlooked() {
        let index = index();
        let ctx = api(world(&index)).await;
        let cached: VectorIndex = serde_json::from_value(index).unwrap();
        let (live, seen) = observe(&ctx, &Arc::new(cached.clone())).await.unwrap().unwrap();
        assert_eq!(live.status, cached.status);
        assert!(matches!(seen.model, Referred::Absent));
        assert_eq!(
            seen.missing,
            [
                "ConfigMap `absent` (named by source `absent`)",
                "PersistentVolumeClaim `files` (named by source `files`)",
                "key `b.md` of ConfigMap `pages` (named by source `pages`)",
            ]
        );
        let gone: Vec<&str> = seen.gone_claims.iter().map(String::as_str).collect();
        assert_eq!((gone, seen.one_node), (vec!["files", "old"], vec!["indexes".to_owned()]));
        assert_eq!(seen.unreadable, ["odd"]);
        let named = Use { release: "shop".to_owned(), role: "spec.version", version: "v1".to_owned() };
        assert_eq!(seen.uses, [named]);
        assert_eq!(seen.foreign.len(), 1);
    }

    /// A release with this status, and a stored revision of it with these data.
    fn releases(status: &Value, data: &Value) -> BTreeMap<String, Value> {
        let release = json!({"apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease",
            "metadata": {"name": "shop", "namespace": "team", "uid": "shop-1"}, "status": status, "spec": {
            "indexRef": {"name": "other"}, "traffic": {"gateway": {"parentRefs": [{"name": "public"}]}}}});
        let owner = |uid: &str| {
            json!([{"apiVersion": "ragops.dev/v1alpha1", "kind": "RagRelease", "name": "shop", "uid": uid,
                "controller": true}])
        };
        let stored = |name: &str, uid: &str| {
            json!({"metadata": {"name": name, "namespace": "team", "ownerReferences": owner(uid)}, "revision": 1,
                "data": data})
        };
        let kept = json!([stored("shop-a", "shop-1"), stored("shop-b", "gone")]);
        let mut world = world(&index());
        let ours = "/apis/ragops.dev/v1alpha1/namespaces/team/ragreleases".to_owned();
        world.insert(ours, list("RagRelease", json!([release])));
        let path = "/apis/apps/v1/namespaces/team/controllerrevisions".to_owned();
        world.insert(path, list("ControllerRevision", kept));
        world
    }

    async fn seen(world: BTreeMap<String, Value>) -> Observed {
        let cached: VectorIndex = serde_json::from_value(index()).unwrap();
        observe(&api(world).await, &Arc::new(cached)).await.unwrap().unwrap().1
    }

    fn snapshot(index: &str, version: &str) -> Value {
        json!({"revision": "0123456789", "index": index, "version": version, "physical": "p", "claim": "c",
            "model": "m", "image": "i", "tuple": {"contentDigest": "c", "fingerprint": "f", "search": {},
            "retrieval": {}}})
    }

    #[tokio::test]
    async fn a_version_that_only_a_snapshot_names_is_in_use() {
        let seen_by = |role: &'static str| Use { release: "shop".to_owned(), role, version: "v1".to_owned() };
        let lost = seen(releases(&json!({}), &snapshot("handbook", "v1"))).await;
        assert_eq!((lost.uses, lost.unreadable), (vec![seen_by(SNAPSHOT)], vec![]));
        let stable = json!({"stable": {"revision": "0123456789", "version": "handbook/v1", "weight": 100, "image": "i",
            "since": "2026-01-01T00:00:00Z"}});
        assert_eq!(seen(releases(&stable, &snapshot("handbook", "v1"))).await.uses, [seen_by("stable")]);
        let other = seen(releases(&json!({}), &snapshot("other", "v1"))).await;
        assert_eq!((other.uses, other.unreadable), (vec![], vec![]));
    }

    #[tokio::test]
    async fn a_snapshot_that_cannot_be_read_may_use_any_version() {
        let seen = seen(releases(&json!({}), &json!({"revision": 7}))).await;
        assert_eq!((seen.uses, seen.unreadable), (vec![], vec!["shop (ControllerRevision shop-a)".to_owned()]));
    }

    #[tokio::test]
    async fn an_index_that_is_gone_is_no_error() {
        let ctx = api(BTreeMap::new()).await;
        let cached: VectorIndex = serde_json::from_value(index()).unwrap();
        assert!(observe(&ctx, &Arc::new(cached)).await.unwrap().is_none());
    }
}
