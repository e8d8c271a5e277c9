//! What a release and its route went through: every change that the apiserver stored, in order.
//!
//! Why by watch: asking now and then would miss a weight that stood for a moment, and that moment is what the
//! story must exclude.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures::StreamExt as _;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::task::JoinHandle;

use rag_operator::api::RagRelease;
use rag_operator::api::release::Stage;

use super::cluster::Cluster;
use super::objects::routes;

/// Weights of a route, by Service.
pub type Weights = BTreeMap<String, i64>;

/// A change of the route; no weights: it was deleted.
#[derive(Clone, Debug)]
pub struct RouteSeen {
    pub at: SystemTime,
    pub weights: Option<Weights>,
}

/// A change of the release's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSeen {
    pub stable: Option<String>,
    pub candidate: Option<String>,
    pub stage: Option<Stage>,
    pub step: i32,
    pub weight: i32,
    pub step_started_at: Option<String>,
}

#[derive(Default)]
struct Seen {
    routes: Vec<RouteSeen>,
    statuses: Vec<StatusSeen>,
}

/// A running record.
pub struct Trace {
    seen: Arc<Mutex<Seen>>,
    tasks: [JoinHandle<()>; 2],
}

/// A place in the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    routes: usize,
    statuses: usize,
}

impl Trace {
    pub fn start(cluster: &Cluster, namespace: &str, release: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let route = watcher::watch_object(routes(&cluster.client, namespace), release).default_backoff();
        let status = watcher::watch_object(Api::<RagRelease>::namespaced(cluster.client.clone(), namespace), release)
            .default_backoff();
        let for_routes = Arc::clone(&seen);
        let for_statuses = Arc::clone(&seen);
        let tasks = [
            tokio::spawn(route.for_each(move |event| {
                if let Ok(object) = event {
                    for_routes.lock().unwrap_or_else(PoisonError::into_inner).route(object.as_ref());
                }
                std::future::ready(())
            })),
            tokio::spawn(status.for_each(move |event| {
                if let Ok(Some(object)) = event {
                    for_statuses.lock().unwrap_or_else(PoisonError::into_inner).status(&object);
                }
                std::future::ready(())
            })),
        ];
        Self { seen, tasks }
    }

    pub fn mark(&self) -> Mark {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Mark { routes: seen.routes.len(), statuses: seen.statuses.len() }
    }

    pub fn routes_since(&self, mark: Mark) -> Vec<RouteSeen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.routes.iter().skip(mark.routes).cloned().collect()
    }

    pub fn statuses_since(&self, mark: Mark) -> Vec<StatusSeen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.statuses.iter().skip(mark.statuses).cloned().collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Seen {
    fn route(&mut self, route: Option<&DynamicObject>) {
        let weights = route.map(weights);
        if self.routes.last().map(|s| &s.weights) != Some(&weights) {
            self.routes.push(RouteSeen { at: SystemTime::now(), weights });
        }
    }

    fn status(&mut self, release: &RagRelease) {
        let Some(status) = &release.status else { return };
        let candidate = status.candidate.as_ref();
        let seen = StatusSeen {
            stable: status.stable.as_ref().map(|s| s.revision.clone()),
            candidate: candidate.map(|c| c.revision.clone()),
            stage: candidate.map(|c| c.stage),
            step: candidate.map_or(0, |c| c.step),
            weight: candidate.map_or(0, |c| c.weight),
            step_started_at: candidate.and_then(|c| c.step_started_at.clone()),
        };
        if self.statuses.last() != Some(&seen) {
            self.statuses.push(seen);
        }
    }
}

/// Weights of all backends of a route, summed by Service.
pub fn weights(route: &DynamicObject) -> Weights {
    let rules = route.data["spec"]["rules"].as_array().cloned().unwrap_or_default();
    let mut weights = Weights::new();
    for backend in rules.iter().flat_map(|r| r["backendRefs"].as_array().cloned().unwrap_or_default()) {
        let name = backend["name"].as_str().unwrap_or_default().to_owned();
        let sum = weights.entry(name).or_default();
        // The Gateway API reads an omitted weight as 1.
        *sum = sum.saturating_add(backend["weight"].as_i64().unwrap_or(1));
    }
    weights
}

/// The weights that one Service had, one after the other, repeats left out; a deleted route counts as 0.
pub fn course(routes: &[RouteSeen], service: &str) -> Vec<i64> {
    let mut course: Vec<i64> =
        routes.iter().map(|seen| seen.weights.as_ref().and_then(|w| w.get(service)).copied().unwrap_or(0)).collect();
    course.dedup();
    course
}
