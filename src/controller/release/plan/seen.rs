//! What the world shows of a revision. What is not known is never taken for good news.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::Draft;
use crate::api::release::CandidateStatus;
use crate::api::{Reason, names};
use crate::controller::attempt;
use crate::controller::condition::{self, State};
use crate::controller::model;
use crate::controller::read::Referred;
use crate::controller::release::observe::ready_pods;
use crate::controller::release::revision::Snapshot;
use crate::controller::release::traffic::service_name;
use crate::worker::receipt::{Body, EXIT_INVALID, EXIT_UNAVAILABLE, Receipt};

/// Exit codes of a process that was killed by SIGKILL and by SIGTERM: an eviction, a node that goes.
const KILLED: i32 = 137;
const TERMINATED: i32 = 143;

impl Draft<'_> {
    pub(super) fn snapshot(&self, revision: &str) -> Option<Snapshot> {
        let world = self.world()?;
        world.snapshots.iter().filter_map(Snapshot::read).find(|s| s.revision == revision)
    }

    /// Whether every pod of a revision is updated and ready behind its Service, by its Deployment and by the pods
    /// themselves: the Deployment learns of a pod that fell out a moment later. What is not known is not available.
    pub(super) fn available(&self, revision: &str) -> bool {
        let name = service_name(&self.release.name_any(), revision);
        let found = self.world().and_then(|w| w.deployments.iter().find(|d| d.name_any() == name));
        let ready = self.ready_pods(revision).unwrap_or(0);
        found.is_some_and(|deployment| is_available(deployment, ready)) && self.has_service(revision) == Some(true)
    }

    /// Ready pods of a revision; `None`: not known.
    pub(super) fn ready_pods(&self, revision: &str) -> Option<usize> {
        Some(ready_pods(self.world()?, revision))
    }

    /// Whether a revision is known to have no ready pod: seen in this pass, or in the last look at the world where
    /// this pass has none. What is not known counts as ready.
    pub(super) fn is_empty(&self, revision: &str) -> bool {
        let known = self.ready_pods(revision).or_else(|| self.seen.readings.ready.get(revision).copied());
        known == Some(0)
    }

    /// Whether the Service that a route names is there; `None`: not known.
    pub(super) fn has_service(&self, revision: &str) -> Option<bool> {
        let name = service_name(&self.release.name_any(), revision);
        Some(self.world()?.services.iter().any(|s| s.name_any() == name && s.metadata.deletion_timestamp.is_none()))
    }

    /// Whether stable is known to have no ready pod while the candidate has weight: then taking the weight away
    /// would end the service instead of mending it.
    pub(super) fn stable_is_empty(&self, candidate: &CandidateStatus) -> bool {
        candidate.weight > 0 && self.plan.status.stable.as_ref().is_some_and(|s| self.is_empty(&s.revision))
    }

    /// Why a revision has no pods yet: its encoder is not there or has no address.
    pub(super) fn encoder_missing(&self, revision: &str) -> Option<State> {
        let snapshot = self.snapshot(revision)?;
        let name = &snapshot.model;
        let text = match self.world()?.models.get(name) {
            Some(Referred::Here(found)) if model::encoder(found).is_some() => return None,
            Some(Referred::Here(found)) => {
                let conditions = found.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
                let told = condition::find(conditions, crate::api::ConditionType::Ready);
                let told = told.map(|c| format!(" It says: {}", c.message)).unwrap_or_default();
                let text = format!("Revision {revision} waits for an endpoint of EmbeddingModel {name}.{told}");
                return Some(State::waiting(Reason::Preparing, self.beside(&text)));
            }
            Some(Referred::Unreadable(why)) => format!("EmbeddingModel {name} cannot be read: {why}."),
            Some(Referred::Absent) | None => {
                format!("EmbeddingModel {name}, which encodes the queries of revision {revision}, does not exist.")
            }
        };
        Some(State::waiting(Reason::RefNotFound, self.beside(&text)))
    }

    /// What stands where an object of a revision should be, if it is not ours.
    pub(super) fn in_the_way(&self, revision: &str) -> Option<State> {
        let wanted = service_name(&self.release.name_any(), revision);
        let (kind, name) = self.world()?.in_the_way.iter().find(|(_, name)| *name == wanted)?;
        let text = format!(
            "A {} {name} that this release does not own stands where one of revision {revision} should be; it is not \
             touched. Delete or rename it.",
            kind.word()
        );
        Some(State::stalled(Reason::NotOwned, self.beside(&text)))
    }

    /// How pods of a revision end, if they do.
    pub(super) fn ends(&self, revision: &str) -> Option<Ends> {
        let namespace = self.release.namespace().unwrap_or_default();
        let logs = format!("`kubectl -n {namespace} logs -p -l {}={revision}`", names::LABEL_REVISION);
        let of = |p: &&Pod| p.labels().get(names::LABEL_REVISION).is_some_and(|r| r == revision);
        self.world()?.pods.iter().filter(of).find_map(|pod| ends(pod, revision, &logs))
    }

    /// What is known of why a revision has no ready pod, as a sentence to add.
    pub(super) fn why_no_pod(&self, revision: &str) -> String {
        let ends = self.ends(revision).map(|ends| ends.message);
        let told = ends.or_else(|| self.pods_stuck(revision).map(|(_, message)| message));
        told.map(|told| format!(" {told}")).unwrap_or_default()
    }

    pub(super) fn pods_stuck(&self, revision: &str) -> Option<(Reason, String)> {
        let name = service_name(&self.release.name_any(), revision);
        let deployment = self.world()?.deployments.iter().find(|d| d.name_any() == name);
        let pods = self.world()?.pods.iter();
        let stuck = pods
            .filter(|p| p.labels().get(names::LABEL_REVISION).is_some_and(|r| r == revision))
            .find_map(attempt::why_stuck);
        stuck.or_else(|| attempt::pods_refused(deployment?))
    }
}

/// How a retrieval server ends.
pub(super) struct Ends {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// It ends by itself and would again: the revision is to blame, and neither a node nor a service that it needs.
    pub(super) by_itself: bool,
}

/// A pod that is not ready and whose server ended at least once. One that was killed from outside tells nothing.
fn ends(pod: &Pod, revision: &str, logs: &str) -> Option<Ends> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let container = statuses.iter().find(|s| s.name == names::CONTAINER && !s.ready)?;
    let present = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    let ended = present.or(container.last_state.as_ref().and_then(|s| s.terminated.as_ref()))?;
    let receipt = ended.message.as_deref().and_then(|message| Receipt::parse(message, revision).ok());
    let told = match receipt {
        Some(Receipt { body: Body::Error(error), .. }) => Some((attempt::reason_of(&error), attempt::told(&error))),
        Some(_) | None => None,
    };
    let head = format!("Pods of revision {revision} end");
    match (ended.exit_code, told) {
        (EXIT_INVALID | EXIT_UNAVAILABLE, Some((reason, told))) => Some(Ends {
            reason: reason.unwrap_or(Reason::PodConfigError),
            message: format!("{head}: {told}"),
            by_itself: ended.exit_code == EXIT_INVALID,
        }),
        _ if ended.reason.as_deref() == Some("OOMKilled") => Some(Ends {
            reason: Reason::PodConfigError,
            message: format!(
                "{head}: they need more memory than their limit. Raise `spec.serving.resources.limits.memory`."
            ),
            by_itself: true,
        }),
        (0 | KILLED | TERMINATED, _) => None,
        (code, _) => Some(Ends {
            reason: Reason::PodConfigError,
            message: format!("{head} with exit code {code}; see {logs}."),
            by_itself: code != EXIT_UNAVAILABLE,
        }),
    }
}

fn is_available(deployment: &Deployment, ready: usize) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let observed = deployment.status.as_ref();
    let current = observed.and_then(|s| s.observed_generation) >= deployment.metadata.generation;
    let enough = |n: Option<i32>| n.unwrap_or(0) >= wanted;
    let ready = i32::try_from(ready).ok();
    current && enough(ready) && observed.is_some_and(|s| enough(s.available_replicas) && enough(s.updated_replicas))
}
