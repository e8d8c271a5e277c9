//! e: the operator is killed in the middle of a step of a good change, and goes on where it was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use rag_operator::api::gate::{GateRun, VerdictWord};
use rag_operator::api::release::Stage;

use super::{RELEASE, Story, change};
use crate::demo::install;
use crate::demo::objects::{Look, wait};

/// What a change did whose operator was killed.
pub struct Restart {
    pub from: String,
    pub to: String,
    pub run: GateRun,
    /// Weight at which the operator was killed.
    pub killed_at: i32,
    /// Weights that the route gave the candidate, in order.
    pub weights: Vec<i64>,
    pub restarts: i32,
    pub requests: usize,
    pub took: Duration,
}

impl Story<'_> {
    /// SIGKILL to the operator at 50 %.
    pub async fn operator_killed(&mut self) -> Result<Restart> {
        let begin = Instant::now();
        let since = SystemTime::now();
        let from = self.stable().await?;
        let mark = self.trace.mark();
        let [mode, top_k] = change::another_good_change();
        self.apply_release(&[mode, top_k, ("/indexRef/name", json!("handbook"))]).await?;
        let killed_at = self.second_step().await?;
        let pod = install::operator_pod(self.cluster).await?;
        let name = pod.metadata.name.clone().context("a pod without a name")?;
        self.cluster.kill_pod(install::NAMESPACE, &name).await?;
        let status = self.promoted("the change to be promoted although the operator was killed").await?;
        let took = begin.elapsed();
        let after = install::operator_pod(self.cluster).await?;
        let restarts = if after.metadata.uid == pod.metadata.uid {
            install::restarts(&after).saturating_sub(install::restarts(&pod))
        } else {
            1
        };
        ensure!(restarts >= 1, "the operator was not started again: it was never killed");
        let to = status.stable.context("Ready, but nothing is stable")?.revision;
        ensure!(to != from, "the change has the revision of stable");
        let run = self.gate_run(&to, VerdictWord::Pass).await?;
        self.settled_at_full(&to).await?;
        let weights = self.course_is_the_steps(mark, &to)?;
        self.no_step_began_twice(mark, &to)?;
        let tally = self.load()?.since(since);
        ensure!(tally.bad_total() == 0, "users saw {} bad answers: {:?}", tally.bad_total(), tally.bad);
        self.serves = Some(to.clone());
        Ok(Restart { from, to, run, killed_at, weights, restarts, requests: tally.requests, took })
    }

    /// Waits until the second step has begun to count its hold.
    async fn second_step(&self) -> Result<i32> {
        wait(self.releases(), RELEASE, "the change to stand at its second step", super::A_RELEASE, |release| {
            let status = release.and_then(|r| r.status.clone()).unwrap_or_default();
            let words = super::where_it_is(&status);
            Ok(match status.candidate {
                Some(c) if c.stage == Stage::Stepping && c.step == 2 && c.step_started_at.is_some() => {
                    Look::Done(c.weight)
                }
                Some(_) | None => Look::NotYet(words),
            })
        })
        .await
    }

    /// A step that begins a second time shows a second start of its hold.
    fn no_step_began_twice(&self, mark: crate::demo::trace::Mark, revision: &str) -> Result<()> {
        let mut starts: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for seen in self.trace.statuses_since(mark) {
            if seen.candidate.as_deref() == Some(revision)
                && let Some(start) = seen.step_started_at
            {
                let of_step = starts.entry(seen.step).or_default();
                if !of_step.contains(&start) {
                    of_step.push(start);
                }
            }
        }
        for (step, starts) in starts {
            ensure!(starts.len() == 1, "step {step} began {} times: {starts:?}", starts.len());
        }
        Ok(())
    }
}
