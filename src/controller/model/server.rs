//! Whether a server of ours can be asked, read from its Deployment and its pods.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;

use super::observe::{Observed, Server};
use crate::api::model::ManagedEndpoint;
use crate::api::{Reason, names};
use crate::controller::attempt::{pods_refused, waits_for_volumes, why_stuck};
use crate::controller::condition::{Meanwhile, State};
use crate::worker::receipt::EXIT_INVALID;

/// How far a Deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rollout {
    /// No pod of an older template is left.
    current: bool,
    available: i32,
}

fn rollout(deployment: Option<&Deployment>) -> Rollout {
    let Some(deployment) = deployment else { return Rollout { current: false, available: 0 } };
    let Some(status) = &deployment.status else { return Rollout { current: false, available: 0 } };
    let seen = status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0);
    let (all, updated) = (status.replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    Rollout { current: seen && updated > 0 && all == updated, available: status.available_replicas.unwrap_or(0) }
}

/// Why a server cannot be measured yet; `None`: it can. `unused` says what serves meanwhile.
pub fn starting(live: &Server, managed: &ManagedEndpoint, observed: &Observed, unused: &str) -> Option<State> {
    if let Some(state) = claim_missing(managed, observed, unused) {
        return Some(state);
    }
    let now = rollout(live.deployment.as_ref());
    if now.current && now.available > 0 {
        return None;
    }
    let (reason, text) = why(live, managed, observed)
        .unwrap_or_else(|| (Reason::Progressing, "The encoder's server is starting.".to_owned()));
    Some(State::waiting(reason, format!("{text} {unused}")))
}

/// What is wrong with a server that pods use; `None`: nothing.
pub fn serving(live: &Server, managed: &ManagedEndpoint, observed: &Observed) -> Option<State> {
    let now = rollout(live.deployment.as_ref());
    if now.available == 0
        && let Some(state) = claim_missing(managed, observed, "Searches and builds fail until it is there.")
    {
        return Some(state);
    }
    if now.current && now.available >= managed.replicas {
        return None;
    }
    let wanted = managed.replicas;
    let found = why(live, managed, observed);
    if now.available == 0 {
        let (reason, text) = found.unwrap_or_else(|| {
            (Reason::EndpointUnavailable, format!("0 of {wanted} pods of the encoder's server are available."))
        });
        let text = format!("{text} Searches and builds that need the encoder fail until one is; it is watched.");
        return Some(State::waiting(reason, text));
    }
    let (reason, text) = found.unwrap_or_else(|| {
        (Reason::Progressing, format!("Not all of the {wanted} pods of the encoder's server are up to date."))
    });
    let message = format!("{text} The others answer; nothing is missing to users.");
    Some(State::Reconciling { ready: Meanwhile::True, reason, message })
}

fn claim_missing(managed: &ManagedEndpoint, observed: &Observed, meanwhile: &str) -> Option<State> {
    let claim = &managed.model.claim_name;
    if observed.claims.contains_key(claim) {
        return None;
    }
    let text = format!(
        "PersistentVolumeClaim `{claim}`, which `spec.endpoint.managed.model.claimName` names, does not exist in this \
         namespace. {meanwhile} Create it and put the model directory on it; the server starts by itself then."
    );
    Some(State::waiting(Reason::RefNotFound, text))
}

/// Why pods do not start.
fn why(live: &Server, managed: &ManagedEndpoint, observed: &Observed) -> Option<(Reason, String)> {
    let stuck = live.pods.iter().find_map(why_stuck);
    let stuck = stuck.or_else(|| pods_refused(live.deployment.as_ref()?));
    let volumes = live.pods.iter().any(|pod| waits_for_volumes(pod, observed.now)).then(|| {
        let claim = &managed.model.claim_name;
        let text = format!("A pod of the encoder's server waits for claim `{claim}` to be mounted; see its events.");
        (Reason::PodConfigError, text)
    });
    stuck.or(volumes).or_else(|| live.pods.iter().find_map(|pod| ends(pod, managed, live)))
}

/// A server that ends again and again; its log says more than its exit code.
fn ends(pod: &Pod, managed: &ManagedEndpoint, live: &Server) -> Option<(Reason, String)> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let container = statuses.iter().find(|s| s.name == names::CONTAINER && !s.ready)?;
    let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let present = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    let ended = present.or(last)?;
    let (claim, path) = (&managed.model.claim_name, &managed.model.path);
    let deployment = live.deployment.as_ref().and_then(|d| d.metadata.name.as_deref()).unwrap_or_default();
    let look = format!("see `kubectl logs deployment/{deployment}`");
    if ended.exit_code == EXIT_INVALID {
        let text = format!(
            "The encoder's server ends at its start: the model directory `{path}` on claim `{claim}` cannot be used; {look}."
        );
        return Some((Reason::PodConfigError, text));
    }
    if ended.reason.as_deref() == Some("OOMKilled") {
        let text = "The encoder's server needed more memory than its limit; raise \
                    `spec.endpoint.managed.resources.limits.memory`.";
        return Some((Reason::PodConfigError, text.to_owned()));
    }
    let text = format!("The encoder's server ended with exit code {}; {look}.", ended.exit_code);
    Some((Reason::PodConfigError, text))
}
