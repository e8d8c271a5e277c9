//! Objects of a name that a release needs, and that belong to somebody else.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use rag_operator::api::RagRelease;
use serde_json::json;

use crate::bench::{
    Bench, CASES, LATER, SOON, answers, api, apply_text, release, remove_release, until_condition, until_promoted,
};
use crate::canary::none_left;
use crate::demo::cluster::Cluster;
use crate::demo::objects::{apply, delete, routes, wait_gone};

/// Release whose name is taken.
const NAME: &str = "taken";

/// A release that found a route of its name, and what became of that route.
pub struct Taken {
    before: DynamicObject,
    after: DynamicObject,
    message: String,
    serving: String,
}

impl Taken {
    /// A route that no Gateway has, so that nobody else writes it; then the release; then the route is deleted.
    pub async fn make(cluster: &Cluster) -> Result<Self> {
        apply_text(
            cluster,
            "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: taken, labels: {team: \
             somebody-else}}, spec: {hostnames: [somebody-else.example], rules: [{backendRefs: [{name: theirs, port: \
             80}]}]}}",
        )
        .await?;
        let theirs = routes(&cluster.client, CASES);
        let before = theirs.get(NAME).await?;
        apply(&cluster.client, &release(NAME, &[])?).await?;
        let message = until_condition::<RagRelease>(cluster, NAME, "Stalled", &["NotOwned"], LATER).await?;
        let status = api::<RagRelease>(&cluster.client).get(NAME).await?.status.unwrap_or_default();
        let serving = status.conditions.iter().find(|c| c.type_ == "Serving").context("no Serving")?.status.clone();
        none_left::<Deployment>(cluster, NAME).await?;
        none_left::<Service>(cluster, NAME).await?;
        none_left::<ControllerRevision>(cluster, NAME).await?;
        let after = theirs.get(NAME).await?;
        delete(&theirs, NAME).await?;
        wait_gone(theirs, NAME, LATER).await?;
        Ok(Self { before, after, message, serving })
    }
}

/// The release says whose name it is and what to do, makes nothing, and does not touch the route.
pub async fn a_route_of_somebody_else_is_named_and_left_alone(bench: &Bench) -> Result<()> {
    let taken = bench.taken().await?;
    for part in ["An HTTPRoute taken", "nothing is written", "Delete or rename that route"] {
        ensure!(taken.message.contains(part), "{part:?} is not said: {}", taken.message);
    }
    ensure!(taken.serving == "False", "Serving is {} although nothing is routed", taken.serving);
    ensure!(taken.before == taken.after, "the route was {:?} and is {:?}", taken.before, taken.after);
    Ok(())
}

/// Nobody tells the operator that the route is gone: it looks again by itself, and serves. Other cases run meanwhile.
pub async fn a_release_goes_on_when_its_name_is_free(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    bench.taken().await?;
    let revision = until_promoted(cluster, NAME).await?;
    ensure!(answers(cluster, NAME).await? == revision, "another revision answers");
    let route = routes(&cluster.client, CASES).get(NAME).await?;
    let uid = api::<RagRelease>(&cluster.client).get(NAME).await?.uid();
    let owners: Vec<String> = route.owner_references().iter().map(|owner| owner.uid.clone()).collect();
    ensure!(Some(owners.as_slice()) == uid.as_ref().map(std::slice::from_ref), "the route is owned by {owners:?}");
    remove_release(cluster, NAME).await
}

/// A Service stands where that of a candidate should be: the candidate waits at no cost to stable, the Service is left
/// alone, and once it is deleted the candidate goes on by itself.
pub async fn a_service_of_somebody_else_keeps_only_the_candidate(bench: &Bench) -> Result<()> {
    let cluster = bench.fixture().await?;
    // Without a window nothing of a revision is left once another one serves: its name is free.
    let rollout = [("/rollout/steps", json!([{"weight": 100}])), ("/rollback/window", json!("0s"))];
    let first = release("claimed", &rollout)?;
    apply(&cluster.client, &first).await?;
    let candidate = until_promoted(cluster, "claimed").await?;
    let name = format!("claimed-{candidate}");
    let change = [("/retrieval/topK", json!(12))];
    apply(&cluster.client, &release("claimed", &[rollout.as_slice(), &change].concat())?).await?;
    let stable = until_promoted(cluster, "claimed").await?;
    let services = api::<Service>(&cluster.client);
    wait_gone(services.clone(), &name, SOON).await?;
    let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": CASES},
        "spec": {"selector": {"team": "somebody-else"}, "ports": [{"port": 80}]}});
    apply(&cluster.client, &theirs).await?;
    let before = services.get(&name).await?;

    apply(&cluster.client, &first).await?;
    let message = until_condition::<RagRelease>(cluster, "claimed", "Stalled", &["NotOwned"], SOON).await?;
    for part in
        [format!("A Service {name}"), "Delete or rename it".to_owned(), format!("Revision {stable} serves 100 %")]
    {
        ensure!(message.contains(&part), "{part:?} is not said: {message}");
    }
    ensure!(answers(cluster, "claimed").await? == stable, "another revision than stable answers");
    let after = services.get(&name).await?;
    ensure!(before == after, "the Service was {before:?} and is {after:?}");
    delete(&services, &name).await?;
    let promoted = until_promoted(cluster, "claimed").await?;
    ensure!(promoted == candidate, "{promoted} was promoted, not {candidate}");
    remove_release(cluster, "claimed").await
}
