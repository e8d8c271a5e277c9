//! What the operator costs on a real cluster: its own time of a rollback, and what 50 settled releases ask of the API
//! server.
//!
//! Needs the cluster of `make cluster` (or `CLUSTER=current`, where what only the audit log shows is left out) and the
//! release build of the example `fault-proxy`, as `make bench` makes it. The operator that is installed is the one that
//! is measured.

#[path = "../dev/demo/mod.rs"]
mod demo;
#[path = "cluster/ground.rs"]
mod ground;
#[path = "cluster/idle.rs"]
mod idle;
mod parts;
#[path = "cluster/rollback.rs"]
mod rollback;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use demo::cluster::{Cluster, Programs};
use demo::install;
use demo::web;
use ground::Ground;
use parts::report::Report;

fn main() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Result<()> {
    let mut report = Report::begin("cluster")?;
    eprintln!("Connecting to the cluster, loading the images …");
    let cluster = Cluster::connect(&Programs::beside(PathBuf::from(env!("CARGO_BIN_EXE_rag")))).await?;
    eprintln!("Installing the CRDs and the operator …");
    install::install(&cluster).await?;
    let ground = Ground::prepare(&cluster).await?;
    // What one of them found is told although the other failed.
    let rolled_back = rollback::measure(&ground, &mut report).await;
    let idle = idle::measure(&ground, &mut report).await;
    report.finish()?;
    rolled_back.context("the rollbacks were not measured to the end")?;
    idle.context("the idle operator was not measured")?;
    ground.remove().await
}
