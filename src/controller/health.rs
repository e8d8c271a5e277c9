//! The operator's own port: liveness, readiness, metrics.
//!
//! Invariant: liveness does not depend on the API server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::context::Context;
use crate::worker::http::open_metrics;

/// Answers at once whether the operator lives and is ready; metrics as OpenMetrics.
pub async fn serve(address: SocketAddr, ctx: Arc<Context>, ready: Arc<AtomicBool>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let app = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route(
            "/readyz",
            get(move || {
                let ready = ready.load(Ordering::Relaxed);
                async move { if ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting") } }
            }),
        )
        .route(
            "/metrics",
            get(move || {
                let text = ctx.metrics.text();
                async move { open_metrics(text) }
            }),
        );
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "health and metrics stopped");
        }
    });
    Ok(())
}
