//! `rag operator`: clients, the four controllers with their watches.
//!
//! Invariants: watches ask for the newest state, never for any cached one; at most eight passes of a kind at once.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use http::header::{HeaderValue, USER_AGENT};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{Action as Requeue, Config as ControllerConfig, Controller, Error as ControllerError};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::{mpsc, watch};

use super::backoff;
use super::config::{self, Config, Scope};
use super::context::{Context, Events, Failures, Refusals};
use super::metrics::Metrics;
use super::reconcile::{Controlled, forget, pass};
use super::route::HTTPRoute;
use super::signals::Signals;
use super::{gate, health, index, model, release};
use crate::api::{EmbeddingModel, EvalGate, RagRelease, VectorIndex, names};

/// Longest pause before routes, which could not be listed, are listed again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Flags of `rag operator`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Configuration file, YAML; unknown keys are refused.
    #[arg(long, value_name = "F")]
    config: PathBuf,
    /// Address of health and metrics.
    #[arg(long, default_value = "0.0.0.0:8082", value_name = "ADDRESS")]
    health: SocketAddr,
}

/// Runs the operator until SIGTERM.
pub fn run(args: Args) -> ExitCode {
    let config = match config::read(&args.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(42);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(operate(config, args.health)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("no cluster to talk to: {0}")]
    Config(#[from] kube::config::InferConfigError),
    #[error("cannot make a client for the cluster: {0}")]
    Client(#[from] kube::Error),
    #[error("cannot listen on {address} for health and metrics: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot make a client for the pods' metrics: {0}")]
    Scrape(#[from] super::signals::ClientError),
    #[error("cannot listen for signals: {0}")]
    Signal(std::io::Error),
}

async fn operate(config: Config, address: SocketAddr) -> Result<(), StartError> {
    let mut control = kube::Config::infer().await?;
    control.headers.push((USER_AGENT, HeaderValue::from_static(names::MANAGER)));
    let watching = control.clone();
    // A pass has its own time limits and its own backoff: hidden retries would hold it for minutes.
    control.default_retry = false;
    control.read_timeout = Some(Duration::from_secs(15));
    let client = Client::try_from(control)?;
    let watching = Client::try_from(watching)?;

    let (wake, woken) = mpsc::channel(1_024);
    let scope = config.scope.clone();
    let ctx = Arc::new(Context {
        events: Events::start(client.clone()),
        signals: Signals::new(wake)?,
        client,
        config,
        metrics: Metrics::default(),
        failures: Failures::default(),
        refusals: Refusals::default(),
    });
    let ready = Arc::new(AtomicBool::new(false));
    let listening = health::serve(address, ctx.clone(), ready.clone()).await;
    listening.map_err(|source| StartError::Listen { address, source })?;

    let (stop, stopped) = watch::channel(false);
    let mut controllers = Vec::new();
    let namespaces: Vec<Option<String>> = match scope {
        Scope::Cluster => vec![None],
        Scope::Namespaces { namespaces } => namespaces.into_iter().map(Some).collect(),
    };
    let wakes = fan_out(woken, namespaces.len());
    for (namespace, wakes) in namespaces.into_iter().zip(wakes) {
        let watches = Watches { client: watching.clone(), namespace, stopped: stopped.clone() };
        controllers.extend(watches.start(&ctx, wakes));
    }
    ready.store(true, Ordering::Relaxed);
    tracing::info!(image = ctx.config.image, "the operator runs");

    let all = futures::future::join_all(controllers);
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(StartError::Signal)?;
    tokio::pin!(all);
    tokio::select! {
        _ = &mut all => {}
        _ = terminate.recv() => {
            tracing::info!("stopping: passes under way are finished");
            let _ = stop.send(true);
            let _ = tokio::time::timeout(Duration::from_secs(20), all).await;
        }
    }
    Ok(())
}

/// Every namespace's controller hears every wake-up and takes those of its own objects.
fn fan_out(
    mut woken: mpsc::Receiver<ObjectRef<RagRelease>>,
    count: usize,
) -> Vec<mpsc::Receiver<ObjectRef<RagRelease>>> {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(1_024)).unzip();
    tokio::spawn(async move {
        while let Some(object) = woken.recv().await {
            for sender in &senders {
                // A full queue means that the controller is about to look anyway.
                let _ = sender.try_send(object.clone());
            }
        }
    });
    receivers
}

struct Watches {
    client: Client,
    namespace: Option<String>,
    stopped: watch::Receiver<bool>,
}

type Task = futures::future::BoxFuture<'static, ()>;

impl Watches {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn start(&self, ctx: &Arc<Context>, wakes: mpsc::Receiver<ObjectRef<RagRelease>>) -> Vec<Task> {
        vec![
            self.models(ctx.clone()),
            self.indexes(ctx.clone()),
            self.gates(ctx.clone()),
            self.releases(ctx.clone(), wakes),
        ]
    }

    fn models(&self, ctx: Arc<Context>) -> Task {
        let controller = self.controller::<EmbeddingModel>();
        let (by_index, by_release) = (controller.store(), controller.store());
        let controller = controller
            .owns(self.api::<PartialObjectMeta<Deployment>>(), ours())
            .owns(self.api::<PartialObjectMeta<Job>>(), ours())
            .watches(self.api::<DeserializeGuard<VectorIndex>>(), watcher::Config::default(), move |index| {
                // A deleted user may free a model that waits to be deleted.
                neighbours(&by_index, index.0.as_ref().ok(), |model, index| {
                    model.metadata.deletion_timestamp.is_some()
                        && index.spec.embedding_model_ref.name == model.name_any()
                })
            })
            .watches(self.api::<DeserializeGuard<RagRelease>>(), watcher::Config::default(), move |release| {
                neighbours(&by_release, release.0.as_ref().ok(), |model, _| model.metadata.deletion_timestamp.is_some())
            });
        self.run::<model::Models>(controller, ctx)
    }

    fn indexes(&self, ctx: Arc<Context>) -> Task {
        let controller = self.controller::<VectorIndex>();
        let (by_model, by_release) = (controller.store(), controller.store());
        let controller = controller
            .owns(self.api::<PartialObjectMeta<Job>>(), ours())
            .watches(self.api::<DeserializeGuard<EmbeddingModel>>(), watcher::Config::default(), move |model| {
                neighbours(&by_model, model.0.as_ref().ok(), |index, model| {
                    index.spec.embedding_model_ref.name == model.name_any()
                })
            })
            .watches(self.api::<DeserializeGuard<RagRelease>>(), watcher::Config::default(), move |release| {
                neighbours(&by_release, release.0.as_ref().ok(), index::used_by)
            });
        self.run::<index::Indexes>(controller, ctx)
    }

    fn gates(&self, ctx: Arc<Context>) -> Task {
        let controller = self.controller::<EvalGate>();
        let by_release = controller.store();
        let controller = controller.owns(self.api::<PartialObjectMeta<Job>>(), ours()).watches(
            self.api::<DeserializeGuard<RagRelease>>(),
            watcher::Config::default(),
            move |release| neighbours(&by_release, release.0.as_ref().ok(), gate::used_by),
        );
        self.run::<gate::Gates>(controller, ctx)
    }

    fn releases(&self, ctx: Arc<Context>, wakes: mpsc::Receiver<ObjectRef<RagRelease>>) -> Task {
        let controller = self.controller::<RagRelease>();
        let (by_index, by_model, by_gate) = (controller.store(), controller.store(), controller.store());
        let store = controller.store();
        let woken = tokio_receiver(wakes)
            .filter_map(move |object| {
                let found = store.get(&guarded(&object)).is_some();
                futures::future::ready(found.then(|| guarded(&object)))
            })
            .boxed();
        let controller = controller
            .owns(self.api::<PartialObjectMeta<Job>>(), ours())
            .owns(self.api::<PartialObjectMeta<Deployment>>(), ours())
            .watches(self.api::<DeserializeGuard<VectorIndex>>(), watcher::Config::default(), move |index| {
                neighbours(&by_index, index.0.as_ref().ok(), |release, index| {
                    release.spec.index_ref.name == index.name_any()
                })
            })
            .watches(self.api::<DeserializeGuard<EmbeddingModel>>(), watcher::Config::default(), move |model| {
                neighbours(&by_model, model.0.as_ref().ok(), |_, _| true)
            })
            .watches(self.api::<DeserializeGuard<EvalGate>>(), watcher::Config::default(), move |gate| {
                neighbours(&by_gate, gate.0.as_ref().ok(), |release, gate| gate::used_by(gate, release))
            })
            .reconcile_on(self.routes())
            .reconcile_on(woken);
        self.run::<release::Releases>(controller, ctx)
    }

    fn controller<K>(&self) -> Controller<DeserializeGuard<K>>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let mut stopped = self.stopped.clone();
        Controller::new(self.api::<DeserializeGuard<K>>(), watcher::Config::default())
            .with_config(ControllerConfig::default().concurrency(8))
            .graceful_shutdown_on(async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            })
    }

    fn run<C: Controlled>(&self, controller: Controller<DeserializeGuard<C::Object>>, ctx: Arc<Context>) -> Task {
        let shared = ctx.clone();
        controller
            .run(
                |object, ctx| async move { Ok::<Requeue, std::convert::Infallible>(pass::<C>(object, ctx).await) },
                |_, never, _| match *never {},
                ctx,
            )
            .for_each(move |result| {
                match result {
                    Ok(_) => {}
                    // Asked for again, and gone meanwhile: no pass will ever tidy up after it.
                    Err(ControllerError::ObjectNotFound(gone)) => {
                        forget::<C>(&shared, gone.namespace.as_deref().unwrap_or_default(), &gone.name);
                    }
                    Err(error) => tracing::debug!(%error, "a watch was interrupted"),
                }
                futures::future::ready(())
            })
            .boxed()
    }

    /// Releases whose route changed. Where routes cannot be listed, since the kind is missing or the API server does
    /// not answer, the watch begins as soon as they can.
    fn routes(&self) -> BoxStream<'static, ObjectRef<DeserializeGuard<RagRelease>>> {
        let api = self.api::<HTTPRoute>();
        let list = move || {
            let api = api.clone();
            async move { api.list(&kube::api::ListParams::default().limit(1)).await.map(|_| api) }
        };
        let pause = |failures| tokio::time::sleep(backoff::delay(failures, 0.0).min(LONGEST_PAUSE));
        futures::stream::once(until_it_works(list, pause))
            .flat_map(|api| {
                watcher(api, ours())
                    .default_backoff()
                    .touched_objects()
                    .filter_map(|route| futures::future::ready(route.ok().and_then(|route| release_of(&route))))
            })
            .boxed()
    }
}

/// Calls until it works, with a pause after each failure in a row.
async fn until_it_works<T, E, C, P>(mut call: impl FnMut() -> C, mut pause: impl FnMut(u32) -> P) -> T
where
    C: Future<Output = Result<T, E>>,
    E: std::fmt::Display,
    P: Future<Output = ()>,
{
    let mut failures = 0_u32;
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::debug!(%error, failures, "routes cannot be listed yet");
                pause(failures).await;
            }
        }
    }
}

/// Only objects that carry our label: other people's never reach this process.
fn ours() -> watcher::Config {
    watcher::Config::default().labels(names::LABEL_OWNER_UID)
}

fn release_of(route: &HTTPRoute) -> Option<ObjectRef<DeserializeGuard<RagRelease>>> {
    let owner = route.owner_references().iter().find(|o| o.kind == RagRelease::kind(&()))?;
    Some(ObjectRef::new(&owner.name).within(route.namespace().as_deref()?))
}

fn guarded(object: &ObjectRef<RagRelease>) -> ObjectRef<DeserializeGuard<RagRelease>> {
    ObjectRef::new(&object.name).within(object.namespace.as_deref().unwrap_or_default())
}

/// Objects of the same namespace that stand in a relation to `other`.
fn neighbours<K, O>(
    store: &Store<DeserializeGuard<K>>,
    other: Option<&O>,
    related: impl Fn(&K, &O) -> bool,
) -> Vec<ObjectRef<DeserializeGuard<K>>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    O: Resource<DynamicType = ()>,
{
    let Some(other) = other else { return Vec::new() };
    store
        .state()
        .iter()
        .filter_map(|guard| guard.0.as_ref().ok())
        .filter(|object| object.meta().namespace == other.meta().namespace && related(object, other))
        .map(|object| ObjectRef::new(&object.name_any()).within(&object.namespace().unwrap_or_default()))
        .collect()
}

fn tokio_receiver<T: Send + 'static>(mut receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_fails_is_made_again_after_growing_pauses_until_it_works() {
        let (mut calls, mut pauses) = (0, Vec::new());
        let call = || {
            calls += 1;
            futures::future::ready(if calls < 8 { Err("no answer") } else { Ok("a list") })
        };
        let pause = |failures| {
            pauses.push(backoff::delay(failures, 0.0).min(LONGEST_PAUSE).as_secs());
            futures::future::ready(())
        };
        assert_eq!(until_it_works(call, pause).now_or_never(), Some("a list"));
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }
}
