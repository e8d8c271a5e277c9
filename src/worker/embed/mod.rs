//! `rag embed`: an OpenAI-compatible embedding server for small local models.
//!
//! Why: a release needs an encoder that behaves like any other (an address, a wire format, failures), also
//! on a laptop and in a cluster without graphics cards; the operator runs it for managed models.
//!
//! Invariants: vectors are the model's own (normalised only if its directory says so; prefixes are the
//! caller's); CPU work runs off the threads that answer; what is in flight at SIGTERM is finished.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::exit::{Failure, report};
use super::http::{self, Stop};
use crate::embedding::local::DEFAULT_MAX_INPUT_TOKENS;
use crate::embedding::static_model::StaticModel;

mod api;
mod metrics;

/// Flags of `rag embed`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Model directory: model.safetensors, tokenizer.json, config.json.
    #[arg(long)]
    pub model: PathBuf,
    /// Address of /v1/embeddings and /v1/models.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, default_value = "127.0.0.1:8082")]
    pub health: SocketAddr,
    /// Name that requests must give as `model`; without it any name is taken.
    #[arg(long)]
    pub name: Option<String>,
    /// Tokens of one text that count; the rest of a longer text is cut off.
    #[arg(long, default_value_t = DEFAULT_MAX_INPUT_TOKENS, value_parser = limit)]
    pub max_input_tokens: usize,
    /// Time after SIGTERM in which requests are still taken, while /readyz already says no.
    #[arg(long, default_value = "5s", value_parser = super::serve::duration_flag)]
    pub drain: Duration,
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(value) if (1..=131_072).contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a number from 1 to 131072")),
    }
}

/// Runs `rag embed`.
pub fn run(args: Args) -> ExitCode {
    report(http::runtime().and_then(|runtime| runtime.block_on(serve(args))))
}

async fn serve(args: Args) -> Result<(), Failure> {
    let drain = args.drain;
    let server = start(args).await?;
    eprintln!("embeddings at http://{}/v1 (health at http://{})", server.traffic, server.health);
    if http::signal().await? == http::Signal::Terminate {
        server.drain(drain).await;
    }
    server.stop().await;
    Ok(())
}

/// A running server; dropping it stops it.
pub struct Server {
    pub traffic: SocketAddr,
    pub health: SocketAddr,
    state: Arc<api::State>,
    traffic_stop: Stop,
    health_stop: Stop,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Server {
    /// Says on /readyz that no new requests should come, and answers those that still do.
    pub async fn drain(&self, time: Duration) {
        self.state.drain();
        tokio::time::sleep(time).await;
    }

    /// Finishes what is in flight and ends.
    pub async fn stop(self) {
        self.traffic_stop.now();
        let mut tasks = self.tasks.into_iter();
        if let Some(traffic) = tasks.next() {
            let _ = traffic.await;
        }
        self.health_stop.now();
        for task in tasks {
            let _ = task.await;
        }
    }
}

/// Loads the model and starts answering.
pub async fn start(args: Args) -> Result<Server, Failure> {
    let directory = args.model.clone();
    let load = move || {
        StaticModel::load(&directory).map_err(|error| {
            Failure::invalid("InvalidSpec", format!("model directory {}: {error}", directory.display()))
        })
    };
    let model = tokio::task::spawn_blocking(load)
        .await
        .map_err(|error| Failure::invalid("InternalError", format!("loading the model stopped: {error}")))??;
    let state = Arc::new(api::State::new(Arc::new(model), args.name, args.max_input_tokens));
    let traffic_listener = http::listen(args.listen, "embeddings").await?;
    let health_listener = http::listen(args.health, "health").await?;
    let (traffic, health) = (http::address(&traffic_listener)?, http::address(&health_listener)?);
    let (traffic_stop, health_stop) = (Stop::default(), Stop::default());
    let tasks = vec![
        traffic_stop.serve(traffic_listener, api::traffic(state.clone())),
        health_stop.serve(health_listener, api::health(state.clone())),
    ];
    Ok(Server { traffic, health, state, traffic_stop, health_stop, tasks })
}
