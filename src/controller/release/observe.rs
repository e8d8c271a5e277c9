//! What a pass of a release reads: release and route live, everything else as far as it can be had.
//!
//! Why in two parts: the way back needs the release, its route and the live signals and nothing else, so a
//! failed read of anything else only takes the ways up away ([`World`] is `None`), never the way down.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::plan::{self, online, watch};
use crate::api::{EmbeddingModel, EvalGate, RagRelease, RagReleaseStatus, VectorIndex, names};
use crate::controller::attempt::Attempt;
use crate::controller::config::Config;
use crate::controller::context::Context;
use crate::controller::error::{Error, Refusal, within};
use crate::controller::plan::ChildKind;
use crate::controller::read::{self, Referred};
use crate::controller::reconcile::refusal;
use crate::controller::release::revision::Snapshot;
use crate::controller::release::traffic::service_name;
use crate::controller::route::HTTPRoute;
use crate::controller::signals::Readings;

/// Longest reading of what only the ways up need.
const WORLD_LIMIT: Duration = Duration::from_secs(10);

/// Everything that the plan looks at.
#[derive(Clone, Debug)]
pub struct Observed {
    pub now: Timestamp,
    pub config: Config,
    /// What the API server did not take in the last pass.
    pub refusal: Option<Refusal>,
    pub route: RouteSeen,
    pub readings: Readings,
    pub world: Option<World>,
}

/// The HTTPRoute of the release's name.
#[derive(Clone, Debug)]
pub enum RouteSeen {
    /// The cluster has no such kind.
    ApiMissing,
    Absent,
    /// Somebody else's.
    Foreign,
    Ours(Box<HTTPRoute>),
}

/// What only the ways up need.
#[derive(Clone, Debug)]
pub struct World {
    pub index: Referred<VectorIndex>,
    pub models: BTreeMap<String, Referred<EmbeddingModel>>,
    pub gates: BTreeMap<String, Referred<EvalGate>>,
    pub snapshots: Vec<ControllerRevision>,
    pub deployments: Vec<Deployment>,
    pub services: Vec<Service>,
    pub pods: Vec<Pod>,
    /// Objects of a name that a revision needs, which this release does not own.
    pub in_the_way: BTreeSet<(ChildKind, String)>,
    /// Evaluation Jobs by name.
    pub attempts: BTreeMap<String, Attempt>,
    /// Claims of embedded indexes that only one node may mount.
    pub one_node_claims: Vec<String>,
}

/// Reads it all; `None`: the release is gone.
pub async fn observe(ctx: &Context, cached: Arc<RagRelease>) -> Result<Option<(RagRelease, Observed)>, Error> {
    let namespace = cached.namespace().unwrap_or_default();
    let name = cached.name_any();
    let (release, route) =
        futures::join!(read::one::<RagRelease>(ctx, &namespace, &name), read::one::<HTTPRoute>(ctx, &namespace, &name));
    let uid = cached.uid().unwrap_or_default();
    // Another object of the same name is another object: the watch brings it.
    let Some(release) = release?.filter(|r| r.metadata.uid == cached.metadata.uid) else {
        ctx.signals.watch(&uid, None);
        return Ok(None);
    };
    let route = match route {
        Ok(Some(route)) if read::is_owned(&route.metadata, &uid) => RouteSeen::Ours(Box::new(route)),
        Ok(Some(_)) => RouteSeen::Foreign,
        Ok(None) => api_or_absent(ctx, &namespace).await?,
        Err(error) => return Err(error),
    };
    let readings = ctx.signals.readings(&uid);
    let deleted = release.metadata.deletion_timestamp.is_some();
    if deleted {
        // The last pass of a release ends its watch: nobody would do it later.
        ctx.signals.watch(&uid, None);
    }
    let refusal = refusal::<super::Releases>(ctx, &namespace, &name);
    let config = ctx.config.clone();
    let urgent = Observed { now: Timestamp::now(), config, refusal, route, readings, world: None };
    if is_urgent(&release, &urgent) {
        return Ok(Some((release, urgent)));
    }
    // What hangs here must not keep the way back waiting.
    let read = within(WORLD_LIMIT, "the world around a release", world(ctx, &release, &namespace, &uid)).await;
    let world = match read.and_then(|world| world) {
        Ok(world) => world,
        Err(error) => {
            tracing::warn!(release = name, %error, "the world around a release cannot be read: it cannot go up, only down");
            return Ok(Some((release, urgent)));
        }
    };
    let object = ObjectRef::new(&name).within(&namespace);
    if !deleted {
        ctx.signals.watch(&uid, watch::wanted(&release, object, &world));
    }
    let readings = ctx.signals.readings(&uid);
    let observed = Observed { now: Timestamp::now(), readings, world: Some(world), ..urgent };
    if ctx.signals.breached(&uid) && plan::plan(&release, &observed).rollback.is_none() {
        ctx.signals.let_be(&uid);
    }
    Ok(Some((release, observed)))
}

/// Whether what must go goes on what is known already, without the world: no further read may delay it. A process
/// that has not looked at the world yet looks first: it does not know who could take the traffic over.
pub fn is_urgent(release: &RagRelease, known: &Observed) -> bool {
    !known.readings.ready.is_empty() && plan::plan(release, known).rollback.is_some()
}

/// A name that is not found may mean that the kind is not: a list tells them apart.
async fn api_or_absent(ctx: &Context, namespace: &str) -> Result<RouteSeen, Error> {
    match read::labelled::<HTTPRoute>(ctx, namespace, names::LABEL_OWNER_UID).await {
        Ok(_) => Ok(RouteSeen::Absent),
        Err(Error::Read { source, .. }) if is_not_found(&source) => Ok(RouteSeen::ApiMissing),
        Err(error) => Err(error),
    }
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

async fn world(ctx: &Context, release: &RagRelease, namespace: &str, uid: &str) -> Result<World, Error> {
    let status = release.status.clone().unwrap_or_default();
    let (index, snapshots, deployments, services, pods) = futures::try_join!(
        read::referred::<VectorIndex>(ctx, namespace, &release.spec.index_ref.name),
        read::owned::<ControllerRevision>(ctx, namespace, uid),
        read::owned::<Deployment>(ctx, namespace, uid),
        read::owned::<Service>(ctx, namespace, uid),
        pods(ctx, namespace, uid),
    )?;
    let kept: Vec<Snapshot> = snapshots.iter().filter_map(Snapshot::read).collect();
    let models = models(ctx, namespace, release, &index, &kept).await?;
    let mut gates = BTreeMap::new();
    // Those of the frozen plan too: a gate that the spec names no more still has to pass.
    let frozen =
        status.plan.iter().filter(|_| status.candidate.is_some()).flat_map(|p| p.gates.iter().map(|g| &g.name));
    let named: BTreeSet<&String> = release.spec.rollout.gates.iter().map(|g| &g.name).chain(frozen).collect();
    for name in named {
        gates.insert(name.clone(), read::referred::<EvalGate>(ctx, namespace, name).await?);
    }
    let mut attempts = BTreeMap::new();
    for job in running_jobs(&status) {
        attempts.insert(job.to_owned(), read::attempt(ctx, namespace, job).await?);
    }
    let mut claims: Vec<String> = kept.iter().map(|s| s.claim.clone()).collect();
    if let Referred::Here(index) = &index {
        claims.extend(index.status.iter().flat_map(|s| &s.versions).map(|v| v.claim.clone()));
    }
    claims.sort();
    claims.dedup();
    let mut one_node_claims = Vec::new();
    for claim in claims {
        if read::one_node_only(ctx, namespace, &claim).await? {
            one_node_claims.push(claim);
        }
    }
    let in_the_way =
        in_the_way(ctx, release, [names_of(&snapshots), names_of(&deployments), names_of(&services)]).await?;
    Ok(World { index, models, gates, snapshots, deployments, services, pods, in_the_way, attempts, one_node_claims })
}

fn names_of<K: ResourceExt>(objects: &[K]) -> BTreeSet<String> {
    objects.iter().map(ResourceExt::name_any).collect()
}

/// Foreign objects where a snapshot, a Deployment or a Service of a revision is missing among our own.
async fn in_the_way(
    ctx: &Context,
    release: &RagRelease,
    [snapshots, deployments, services]: [BTreeSet<String>; 3],
) -> Result<BTreeSet<(ChildKind, String)>, Error> {
    let namespace = release.namespace().unwrap_or_default();
    let mut found = BTreeSet::new();
    for revision in release.status.iter().flat_map(in_use) {
        let name = service_name(&release.name_any(), revision);
        if !snapshots.contains(&name) && read::exists::<ControllerRevision>(ctx, &namespace, &name).await? {
            found.insert((ChildKind::ControllerRevision, name.clone()));
        }
        if !deployments.contains(&name) && read::exists::<Deployment>(ctx, &namespace, &name).await? {
            found.insert((ChildKind::Deployment, name.clone()));
        }
        if !services.contains(&name) && read::exists::<Service>(ctx, &namespace, &name).await? {
            found.insert((ChildKind::Service, name));
        }
    }
    Ok(found)
}

/// Revisions that serve, are on their way or may be gone back to.
fn in_use(status: &RagReleaseStatus) -> impl Iterator<Item = &String> {
    let revisions = status.stable.iter().map(|s| &s.revision);
    let revisions = revisions.chain(status.candidate.iter().map(|c| &c.revision));
    revisions.chain(status.previous.iter().map(|p| &p.revision))
}

/// Pods that our Deployments own carry the label; Jobs' pods carry a purpose beside it.
async fn pods(ctx: &Context, namespace: &str, uid: &str) -> Result<Vec<Pod>, Error> {
    let selector = format!("{}={uid},{},!{}", names::LABEL_OWNER_UID, names::LABEL_REVISION, names::LABEL_PURPOSE);
    let found: Vec<Pod> = read::labelled(ctx, namespace, &selector).await?;
    let by_replica_set =
        |pod: &Pod| pod.owner_references().iter().any(|o| o.kind == "ReplicaSet" && o.controller == Some(true));
    Ok(found.into_iter().filter(by_replica_set).collect())
}

/// Models of the target and of every snapshot.
async fn models(
    ctx: &Context,
    namespace: &str,
    release: &RagRelease,
    index: &Referred<VectorIndex>,
    kept: &[Snapshot],
) -> Result<BTreeMap<String, Referred<EmbeddingModel>>, Error> {
    let mut wanted: Vec<String> = kept.iter().map(|s| s.model.clone()).collect();
    if let Referred::Here(index) = index {
        let versions = index.status.iter().flat_map(|s| &s.versions);
        let pinned = release.spec.version.as_deref();
        wanted.extend(versions.filter(|v| pinned.is_none_or(|p| p == v.name)).map(|v| v.model.clone()));
    }
    wanted.sort();
    wanted.dedup();
    let mut models = BTreeMap::new();
    for name in wanted {
        let found = read::referred::<EmbeddingModel>(ctx, namespace, &name).await?;
        models.insert(name, found);
    }
    Ok(models)
}

/// Jobs whose end is still to be read.
fn running_jobs(status: &RagReleaseStatus) -> impl Iterator<Item = &str> {
    let scheduled = status.scheduled.iter().map(|scheduled| &scheduled.run);
    status.gates.iter().chain(scheduled).filter(|g| g.verdict.is_none()).filter_map(|g| g.job.as_deref())
}

/// Addresses of the metrics of running pods, by revision and pod UID. One that is not ready at the moment is
/// asked too: what it has answered counts, and a pod that is left out for a while would be counted anew.
pub fn targets(world: &World) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut targets: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for pod in world.pods.iter().filter(|p| p.metadata.deletion_timestamp.is_none() && is_running(p)) {
        let revision = pod.labels().get(names::LABEL_REVISION);
        let ip = pod.status.as_ref().and_then(|s| s.pod_ip.as_deref());
        let (Some(revision), Some(ip), Some(uid)) = (revision, ip, pod.uid()) else { continue };
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        let address = format!("http://{host}:{}/metrics", names::PORT_HEALTH);
        targets.entry(revision.clone()).or_default().insert(uid, address);
    }
    targets
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")
}

/// Ready pods of each revision in use.
pub fn ready(status: &RagReleaseStatus, world: &World) -> BTreeMap<String, usize> {
    in_use(status).map(|revision| (revision.clone(), ready_pods(world, revision))).collect()
}

/// Ready pods of a revision.
pub fn ready_pods(world: &World, revision: &str) -> usize {
    let of = |pod: &&Pod| {
        pod.labels().get(names::LABEL_REVISION).is_some_and(|r| r == revision)
            && pod.metadata.deletion_timestamp.is_none()
            && is_ready(pod)
    };
    world.pods.iter().filter(of).count()
}

/// Whether the kubelet says that a pod is ready.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Scrape interval of a release without online gates.
pub const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// The interval that the online gates of a revision ask for.
pub fn interval(status: &RagReleaseStatus, revision: &str) -> Duration {
    online::gates(status, revision).map(|gate| gate.interval).min().unwrap_or(PLAIN_INTERVAL)
}
