//! d: a change that passes its gate and turns bad under traffic. It goes back by itself.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use rag_operator::api::RagRelease;
use rag_operator::api::gate::{GateRun, VerdictWord};
use rag_operator::api::release::Stage;

use super::{RELEASE, STEPS, Story, change, until};
use crate::demo::fault::Fault;
use crate::demo::objects::{Look, poll, wait};
use crate::demo::trace::course;
use crate::demo::{audit, remote, scrape};

/// What a rollback did, and what users saw of it.
pub struct Rollback {
    pub revision: String,
    pub stable: String,
    pub run: GateRun,
    pub reason: String,
    pub message: String,
    /// Scrape that showed the breach complete → weight 0 written, by the operator's own metric.
    pub own_time: Duration,
    /// The breach → the apiserver had the request that took the weight away; needs the audit log.
    pub route_received: Option<SystemTime>,
    /// Route request received → last bad answer.
    pub data_plane: Option<Duration>,
    /// Fault switched on → last bad answer.
    pub until_last_bad: Duration,
    /// Fault switched on → route changed, as a watch saw it.
    pub until_route: Duration,
    pub bad: BTreeMap<String, usize>,
    /// Requests from the fault to the last bad answer.
    pub requests: usize,
}

impl Rollback {
    pub fn errors(&self) -> usize {
        self.bad.values().sum()
    }
}

/// Answers that the candidate must have given before the encoder fails: it was good, under real traffic.
const GOOD_BEFORE: usize = 30;
/// So long without a bad answer means that it is over.
const QUIET: Duration = Duration::from_secs(3);

impl Story<'_> {
    /// The remote encoder fails at 10 % and all traffic goes back to stable.
    pub async fn change_that_turns_bad(&mut self) -> Result<Rollback> {
        let managed = self.model_ready("wordllama").await?;
        let url = managed.status.and_then(|s| s.url).context("the managed encoder names no address")?;
        remote::start(self.cluster, &self.namespace, url.trim_end_matches("/v1")).await?;
        remote::set(self.cluster, &self.namespace, Fault::None).await?;
        self.apply("dev/demo/manifests/remote.yaml").await?;
        self.model_ready("wordllama-remote").await?;
        self.index_ready("handbook-remote").await?;
        let outcome = self.fail_at_ten_percent().await;
        // Whatever came of it, the encoder works again for whoever looks around.
        remote::set(self.cluster, &self.namespace, Fault::None).await?;
        outcome
    }

    async fn fail_at_ten_percent(&mut self) -> Result<Rollback> {
        let stable = self.stable().await?;
        let mark = self.trace.mark();
        let since = SystemTime::now();
        let [mode, _] = change::another_good_change();
        self.apply_release(&[mode, ("/indexRef/name", json!("handbook-remote"))]).await?;
        let revision = self.first_step(&stable).await?;
        let run = self.gate_run(&revision, VerdictWord::Pass).await?;
        self.answers_well(&revision, since).await?;
        let before = scrape::operator(self.cluster).await?;
        let log = self.cluster.audit.as_deref().map(|log| audit::mark(log).map(|at| (log, at))).transpose()?;

        let fault_on = SystemTime::now();
        remote::set(self.cluster, &self.namespace, Fault::Error).await?;
        let status = self.rolled_back("the failing encoder to be noticed").await?;
        let failed = status.failed_revisions.last().context("no revision is remembered as failed")?.clone();
        ensure!(failed.revision == revision, "{} is remembered as failed, not {revision}", failed.revision);
        // Its pods stay ready: it is the answers that tell.
        ensure!(failed.reason == "SloBreached", "it failed for {}: {}", failed.reason, failed.message);
        let serves = status.stable.context("nothing is stable")?.revision;
        ensure!(serves == stable, "stable was {stable} and is {serves}");
        let service = Self::service(&revision);
        let routes = self.trace.routes_since(mark);
        let seen: Vec<i64> = course(&routes, &service).into_iter().skip_while(|w| *w == 0).collect();
        ensure!(seen == [STEPS[0], 0], "the route gave {revision} the weights {seen:?}, expected 10 and then 0");
        let gone = |w: &super::super::trace::Weights| w.get(&service).copied().unwrap_or(0) == 0;
        let route_seen = routes
            .iter()
            .find(|s| s.at >= fault_on && s.weights.as_ref().is_none_or(gone))
            .context("no route without the candidate was seen")?
            .at;
        self.quiet().await?;
        let route_received = log.map(|(log, at)| self.weight_taken(log, at, route_seen)).transpose()?;
        let own_time = rollback_time(&before, &scrape::operator(self.cluster).await?)?;
        let tally = self.load()?.since(fault_on);
        let last_bad = tally.last_bad.unwrap_or(fault_on);
        self.made_bad = self.made_bad.saturating_add(tally.bad_total());
        Ok(Rollback {
            requests: self.load()?.between(fault_on, last_bad).requests,
            bad: tally.bad,
            data_plane: route_received.map(|received| until(received, last_bad)),
            until_last_bad: until(fault_on, last_bad),
            until_route: until(fault_on, route_seen),
            revision,
            stable,
            run,
            reason: failed.reason,
            message: failed.message,
            own_time,
            route_received,
        })
    }

    /// Waits until the candidate has its first share of traffic.
    async fn first_step(&self, stable: &str) -> Result<String> {
        let what = "the remote index to get its first 10 %";
        wait(self.releases(), RELEASE, what, super::A_RELEASE, |release: Option<&RagRelease>| {
            let status = release.and_then(|r| r.status.clone()).unwrap_or_default();
            let stalled = status.conditions.iter().find(|c| c.type_ == "Stalled" && c.status == "True");
            let current = release.and_then(|r| r.metadata.generation) == Some(status.observed_generation);
            if let Some(stalled) = stalled.filter(|_| current) {
                anyhow::bail!("it is Stalled ({}): {}", stalled.reason, stalled.message);
            }
            let words = super::where_it_is(&status);
            Ok(match status.candidate {
                Some(c) if c.stage == Stage::Stepping && c.step == 1 && c.revision != stable => Look::Done(c.revision),
                Some(_) | None => Look::NotYet(words),
            })
        })
        .await
    }

    async fn answers_well(&self, revision: &str, since: SystemTime) -> Result<()> {
        let load = self.load()?;
        poll("the candidate to answer users", Duration::from_secs(30), async || {
            let tally = load.since(since);
            ensure!(tally.bad_total() == 0, "bad answers before any fault: {:?}", tally.bad);
            let answered = tally.answered_by(revision);
            Ok(if answered >= GOOD_BEFORE { Look::Done(()) } else { Look::NotYet(format!("{answered} answers")) })
        })
        .await
    }

    /// Waits until users see nothing bad any more.
    async fn quiet(&self) -> Result<()> {
        let load = self.load()?;
        let begin = SystemTime::now();
        poll("users to see no bad answer for three seconds", Duration::from_secs(30), async || {
            let last = load.since(SystemTime::UNIX_EPOCH).last_bad.unwrap_or(begin).max(begin);
            let passed = until(last, SystemTime::now());
            Ok(if passed >= QUIET {
                Look::Done(())
            } else {
                Look::NotYet(format!("the last bad answer was {} ms ago", passed.as_millis()))
            })
        })
        .await
    }

    /// The operator's last write of the route before a watch saw it without the candidate.
    fn weight_taken(&self, log: &std::path::Path, mark: u64, seen: SystemTime) -> Result<SystemTime> {
        let mut received = None;
        for entry in audit::since(log, mark)? {
            let object = entry.object_ref.clone().unwrap_or_default();
            let ours = entry.by_operator()
                && entry.writes()
                && object.resource == "httproutes"
                && object.namespace == self.namespace
                && object.name == RELEASE
                && (200..300).contains(&entry.code());
            if ours && entry.received()? <= seen {
                received = Some(entry.received()?);
            }
        }
        received.context("the audit log holds no write of the route by the operator")
    }
}

/// One rollback's time out of the growth of the operator's histogram.
fn rollback_time(before: &scrape::Exposition, after: &scrape::Exposition) -> Result<Duration> {
    let grown = |name: &str| after.sum(name, &[]) - before.sum(name, &[]);
    let count = grown("rag_rollback_duration_seconds_count");
    ensure!((count - 1.0).abs() < f64::EPSILON, "the operator counted {count} rollbacks, expected 1");
    let seconds = grown("rag_rollback_duration_seconds_sum");
    Duration::try_from_secs_f64(seconds).with_context(|| format!("the operator's rollback took {seconds} s"))
}
