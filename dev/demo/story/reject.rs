//! c: a bad change. Only `indexRef` differs; the index has a poor encoder. No user request reaches it.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use rag_operator::api::gate::{GateRun, VerdictWord};

use super::{Story, change};
use crate::demo::trace::course;

/// What a rejection did.
pub struct Rejection {
    pub revision: String,
    pub stable: String,
    pub run: GateRun,
    /// User requests that reached the rejected revision: 0.
    pub reached: usize,
    /// The highest weight that the route ever gave it: 0.
    pub highest_weight: i64,
    pub requests: usize,
    pub took: Duration,
}

impl Story<'_> {
    /// An index with the poor encoder, refused by the gate.
    pub async fn poor_change(&mut self) -> Result<Rejection> {
        self.apply("dev/demo/manifests/poor.yaml").await?;
        self.index_ready("handbook-poor").await?;
        let begin = Instant::now();
        let since = SystemTime::now();
        let stable = self.stable().await?;
        let mark = self.trace.mark();
        let [mode, _] = change::another_good_change();
        self.apply_release(&[mode, ("/indexRef/name", json!("handbook-poor"))]).await?;
        let status = self.rolled_back("the poor index to be refused").await?;
        let took = begin.elapsed();
        let failed = status.failed_revisions.last().context("no revision is remembered as failed")?.clone();
        ensure!(failed.reason == "GateFailed", "it failed for {}: {}", failed.reason, failed.message);
        let serves = status.stable.context("nothing is stable")?.revision;
        ensure!(serves == stable, "stable was {stable} and is {serves}");
        let run = self.gate_run(&failed.revision, VerdictWord::Fail).await?;
        let weights = course(&self.trace.routes_since(mark), &Self::service(&failed.revision));
        let highest_weight = weights.into_iter().max().unwrap_or(0);
        ensure!(highest_weight == 0, "the route gave the refused revision {highest_weight} %");
        let tally = self.load()?.since(since);
        let reached = tally.answered_by(&failed.revision);
        ensure!(reached == 0, "{reached} user requests reached the refused revision");
        ensure!(tally.bad_total() == 0, "users saw {} bad answers: {:?}", tally.bad_total(), tally.bad);
        Ok(Rejection {
            revision: failed.revision,
            stable,
            run,
            reached,
            highest_weight,
            requests: tally.requests,
            took,
        })
    }
}
