//! b: a good change. The gate compares it with stable, traffic moves in steps, shares are counted.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use rag_operator::api::gate::{GateRun, VerdictWord};

use super::{RELEASE, STEPS, Story};
use crate::demo::objects::{Look, poll};
use crate::demo::scrape;
use crate::demo::trace::{Mark, RouteSeen, course};

/// Requests of one step, counted at the client.
pub struct StepShare {
    pub weight: i64,
    pub requests: usize,
    pub to_candidate: usize,
}

/// Requests of one revision, counted twice.
pub struct Counted {
    pub revision: String,
    /// Good answers that the client had before the pods were read, and after.
    pub client: (usize, usize),
    /// Answers that the pods counted.
    pub pods: u64,
}

/// What a promotion did.
pub struct Promotion {
    pub from: String,
    pub to: String,
    pub run: GateRun,
    pub steps: Vec<StepShare>,
    pub counted: Vec<Counted>,
    pub requests: usize,
    pub took: Duration,
}

/// The data plane follows the route by this much; what is counted as a step's traffic begins after it.
const FOLLOWS: Duration = Duration::from_secs(1);

impl Story<'_> {
    /// `mode: Hybrid`, to the end.
    pub async fn good_change(&mut self) -> Result<Promotion> {
        let begin = Instant::now();
        let since = SystemTime::now();
        let from = self.stable().await?;
        let mark = self.trace.mark();
        self.apply_release(&[("/retrieval/mode", json!("Hybrid"))]).await?;
        let status = self.promoted("the Hybrid revision to be promoted").await?;
        let took = begin.elapsed();
        let to = status.stable.context("Ready, but nothing is stable")?.revision;
        ensure!(to != from, "mode Hybrid has the same revision as mode Vector");
        let run = self.gate_run(&to, VerdictWord::Pass).await?;
        ensure!(run.baseline.as_deref() == Some(from.as_str()), "compared with {:?}, not {from}", run.baseline);
        self.settled_at_full(&to).await?;
        self.course_is_the_steps(mark, &to)?;
        let steps = self.shares(mark, &to).await?;
        let counted = vec![self.counted(&from).await?, self.counted(&to).await?];
        let tally = self.load()?.since(since);
        ensure!(tally.bad_total() == 0, "users saw {} bad answers: {:?}", tally.bad_total(), tally.bad);
        self.serves = Some(to.clone());
        Ok(Promotion { from, to, run, steps, counted, requests: tally.requests, took })
    }

    /// Waits until the last hundred answers all came from a revision: the gateway follows the route a moment
    /// after the operator has seen it accepted.
    pub(super) async fn settled_at_full(&self, revision: &str) -> Result<()> {
        let load = self.load()?;
        let what = "a hundred answers in a row of the promoted revision";
        poll(what, Duration::from_secs(20), async || {
            let tally = load.last(100);
            ensure!(tally.bad_total() == 0, "users see bad answers after the promotion: {:?}", tally.bad);
            let all = tally.requests == 100 && tally.answered_by(revision) == 100;
            Ok(if all { Look::Done(()) } else { Look::NotYet(format!("{:?}, bad {:?}", tally.good, tally.bad)) })
        })
        .await
    }

    /// Every weight of the plan once, in order, and nothing between.
    pub(super) fn course_is_the_steps(&self, mark: Mark, revision: &str) -> Result<Vec<i64>> {
        let seen: Vec<i64> = course(&self.trace.routes_since(mark), &Self::service(revision))
            .into_iter()
            .skip_while(|weight| *weight == 0)
            .collect();
        ensure!(seen == STEPS, "the route gave {revision} the weights {seen:?}, the plan says {STEPS:?}");
        Ok(seen)
    }

    async fn shares(&self, mark: Mark, revision: &str) -> Result<Vec<StepShare>> {
        let service = Self::service(revision);
        let load = self.load()?;
        let mut shares = Vec::new();
        for weight in STEPS {
            // The last step has no end: it has its requests after a moment.
            let what = format!("{} requests at weight {weight}", StepShare::ENOUGH);
            let tally = poll(&what, Duration::from_secs(10), async || {
                let (from, to) = span(&self.trace.routes_since(mark), &service, weight)?;
                let tally = load.between(from, to);
                let enough = tally.good_total() >= StepShare::ENOUGH;
                Ok(if enough { Look::Done(tally) } else { Look::NotYet(format!("{}", tally.good_total())) })
            })
            .await?;
            let to_candidate = tally.answered_by(revision);
            let share = StepShare { weight, requests: tally.good_total(), to_candidate };
            share.agrees()?;
            shares.push(share);
        }
        Ok(shares)
    }

    /// Counts at the pods must lie between what the client had before and what it can have after.
    async fn counted(&self, revision: &str) -> Result<Counted> {
        let load = self.load()?;
        let before = load.since(SystemTime::UNIX_EPOCH).answered_by(revision);
        let pods = scrape::answered(self.cluster, &self.namespace, RELEASE, revision).await?;
        let in_flight = load.in_flight();
        let after = load.since(SystemTime::UNIX_EPOCH).answered_by(revision);
        let most = after.saturating_add(in_flight).saturating_add(self.asked);
        ensure!(
            u64::try_from(before)? <= pods && pods <= u64::try_from(most)?,
            "the pods of {revision} counted {pods} answers, the client {before} before and at most {most} after"
        );
        Ok(Counted { revision: revision.to_owned(), client: (before, after), pods })
    }
}

impl StepShare {
    /// So many requests say something about a share.
    const ENOUGH: usize = 100;

    /// The share within five standard deviations of the weight.
    fn agrees(&self) -> Result<()> {
        #[expect(clippy::cast_precision_loss)]
        let (n, hits, p) = (self.requests as f64, self.to_candidate as f64, self.weight as f64 / 100.0);
        let bound = 5.0 * (p * (1.0 - p) / n).sqrt();
        ensure!(
            (hits / n - p).abs() <= bound + f64::EPSILON,
            "at weight {} the candidate answered {hits} of {n} requests, beyond five standard deviations",
            self.weight
        );
        Ok(())
    }
}

/// From the moment when the data plane has followed a weight until the next change of the route.
fn span(routes: &[RouteSeen], service: &str, weight: i64) -> Result<(SystemTime, SystemTime)> {
    let has = |seen: &RouteSeen| seen.weights.as_ref().and_then(|w| w.get(service)).copied() == Some(weight);
    let at = routes.iter().position(has).with_context(|| format!("the route never had weight {weight}"))?;
    let from = routes.get(at).map(|s| s.at).context("no route")?;
    let to = routes.iter().skip(at).find(|s| !has(s)).map_or_else(SystemTime::now, |s| s.at);
    Ok((from.checked_add(FOLLOWS).context("an odd clock")?, to))
}

/// One more good change: other numbers of the same index.
pub(super) fn another_good_change() -> [(&'static str, Value); 2] {
    [("/retrieval/mode", json!("Hybrid")), ("/retrieval/topK", json!(12))]
}
