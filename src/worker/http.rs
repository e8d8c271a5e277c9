//! What the servers of this room share: listening, stopping, the runtime.
//!
//! Invariants: a stopping server answers what it has begun; it ends within a bounded time even when a client
//! keeps its connection busy.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::exit::Failure;

/// Time that answers in flight get after a server stopped accepting.
const FINISH: Duration = Duration::from_secs(15);

/// The runtime of a worker.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::unavailable("InternalError", format!("cannot start threads: {error}")))
}

/// A listener on an address, port 0 included.
pub async fn listen(address: SocketAddr, purpose: &str) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::unavailable("Unavailable", format!("cannot listen on {address} for {purpose}: {error}"))
    })?;
    Ok(listener)
}

/// The address a listener got.
pub fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener
        .local_addr()
        .map_err(|error| Failure::unavailable("Unavailable", format!("a listener has no address: {error}")))
}

/// Says to servers when to stop; dropping it stops them too.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// Stops what was started with it.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    /// Serves until stopped, then finishes what is in flight within [`FINISH`].
    pub fn serve(&self, listener: TcpListener, router: Router) -> JoinHandle<()> {
        let (asked, bound) = (self.stopped(), self.stopped());
        tokio::spawn(async move {
            let server =
                std::future::IntoFuture::into_future(axum::serve(listener, router).with_graceful_shutdown(asked));
            tokio::select! {
                result = server => if let Err(error) = result {
                    tracing::error!(%error, "a server ended");
                },
                () = async { bound.await; tokio::time::sleep(FINISH).await } => {
                    tracing::warn!("answers still in flight were cut off");
                }
            }
        })
    }

    /// Ends when stopped.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.subscribe();
        async move {
            // An error means that the sender is gone, which stops as well.
            let _ = receiver.wait_for(|stop| *stop).await;
        }
    }
}

/// The numbers of a registry, as text.
pub fn metrics_text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String fails only when an encoder says so; ours do not.
    let _ = prometheus_client::encoding::text::encode(&mut text, registry);
    text
}

/// A page of metrics.
pub fn open_metrics(page: String) -> impl axum::response::IntoResponse {
    ([(axum::http::header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
}

/// Why a program is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: the kubelet takes the pod out of service at the same time.
    Terminate,
    /// SIGINT: a person pressed Ctrl-C.
    Interrupt,
}

/// Waits for SIGTERM or SIGINT.
pub async fn signal() -> Result<Signal, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let watch = |kind| {
        signal(kind).map_err(|error| Failure::unavailable("InternalError", format!("cannot watch signals: {error}")))
    };
    let (mut terminate, mut interrupt) = (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(Signal::Terminate),
        _ = interrupt.recv() => Ok(Signal::Interrupt),
    }
}

/// Reads a body up to a limit within a time; `Err` says which of the two failed.
pub async fn read_body(body: axum::body::Body, limit: usize, time: Duration) -> Result<Vec<u8>, BodyError> {
    use futures::StreamExt as _;
    let read = async {
        let mut bytes = Vec::new();
        let mut stream = body.into_data_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| BodyError::Broken)?;
            if bytes.len().saturating_add(chunk.len()) > limit {
                return Err(BodyError::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(time, read).await.unwrap_or(Err(BodyError::TooSlow))
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    TooLarge,
    TooSlow,
    Broken,
}
