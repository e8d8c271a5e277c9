//! Users: an open loop of searches through the gateway, each counted.
//!
//! Why open: a client that waits for answers before it asks again sends less when answers are slow, and hides
//! exactly what it should measure. Requests start at fixed times, and latency counts from those times.
//!
//! Invariants: every request that was due ends as one sample; an answer counts as good only when it is 200,
//! holds results and names its revision.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use rag_operator::api::names::HEADER_REVISION;

use super::web;

/// Most samples that are kept; older ones go first.
const RING: usize = 500_000;
/// Most requests in flight; what would be more counts as missing, so that a dead gateway costs no memory.
const IN_FLIGHT: usize = 4_000;
/// After this time an answer counts as missing.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How one request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200 with results, from this revision.
    Good(String),
    /// Anything else, in a few words.
    Bad(String),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was to start.
    pub due: SystemTime,
    /// When its answer was complete, or given up.
    pub done: SystemTime,
    pub outcome: Outcome,
}

/// What became of the requests of a span of time.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub requests: usize,
    pub good: BTreeMap<String, usize>,
    pub bad: BTreeMap<String, usize>,
    pub first_bad: Option<SystemTime>,
    pub last_bad: Option<SystemTime>,
    latencies: Vec<Duration>,
}

impl Tally {
    pub fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut tally = Self::default();
        for sample in samples {
            tally.requests = tally.requests.saturating_add(1);
            tally.latencies.push(sample.done.duration_since(sample.due).unwrap_or_default());
            let count = match &sample.outcome {
                Outcome::Good(revision) => tally.good.entry(revision.clone()).or_default(),
                Outcome::Bad(words) => {
                    tally.first_bad = Some(tally.first_bad.map_or(sample.done, |t| t.min(sample.done)));
                    tally.last_bad = Some(tally.last_bad.map_or(sample.done, |t| t.max(sample.done)));
                    tally.bad.entry(words.clone()).or_default()
                }
            };
            *count = count.saturating_add(1);
        }
        tally.latencies.sort_unstable();
        tally
    }

    pub fn bad_total(&self) -> usize {
        self.bad.values().sum()
    }

    pub fn good_total(&self) -> usize {
        self.good.values().sum()
    }

    pub fn answered_by(&self, revision: &str) -> usize {
        self.good.get(revision).copied().unwrap_or(0)
    }

    /// The latency that a share of the requests did not exceed.
    pub fn latency(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = (share * last as f64).ceil() as usize;
        self.latencies.get(rank).copied().unwrap_or_default()
    }
}

/// The bad answers in words: `31 x 503, 2 x no answer within 10 s`.
pub fn in_words(bad: &BTreeMap<String, usize>) -> String {
    if bad.is_empty() {
        return "none".to_owned();
    }
    bad.iter().map(|(words, count)| format!("{count} x {words}")).collect::<Vec<_>>().join(", ")
}

struct Shared {
    samples: Mutex<VecDeque<Sample>>,
    in_flight: AtomicUsize,
    http: reqwest::Client,
    url: String,
}

/// A running load.
pub struct Load {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Load {
    /// Asks the `queries` in turn, `per_second` times a second, at `{base}/v1/search`.
    pub fn start(base: &str, queries: Vec<String>, per_second: u32) -> Result<Self> {
        let shared = Arc::new(Shared {
            samples: Mutex::new(VecDeque::new()),
            in_flight: AtomicUsize::new(0),
            http: web::client(PATIENCE)?,
            url: format!("{base}/v1/search"),
        });
        let (stop, stopped) = watch::channel(false);
        let pause = Duration::from_secs(1).checked_div(per_second).unwrap_or(Duration::from_secs(1));
        let task = tokio::spawn(run(Arc::clone(&shared), queries, pause, stopped));
        Ok(Self { shared, stop, task })
    }

    /// What became of the requests that were due in a span of time and have ended.
    pub fn between(&self, from: SystemTime, to: SystemTime) -> Tally {
        let samples = self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        Tally::of(samples.iter().filter(|s| s.due >= from && s.due < to))
    }

    pub fn since(&self, from: SystemTime) -> Tally {
        let samples = self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        Tally::of(samples.iter().filter(|s| s.due >= from))
    }

    /// What became of the last `count` requests that have ended.
    pub fn last(&self, count: usize) -> Tally {
        let samples = self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        Tally::of(samples.iter().rev().take(count))
    }

    /// Requests that have not ended.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Asks no more and waits for what is in flight.
    pub async fn stop(self) -> Tally {
        let _ = self.stop.send(true);
        let _ = self.task.await;
        let samples = self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        Tally::of(samples.iter())
    }
}

async fn run(shared: Arc<Shared>, queries: Vec<String>, pause: Duration, mut stopped: watch::Receiver<bool>) {
    let begin = (Instant::now(), SystemTime::now());
    let mut ticks = tokio::time::interval(pause);
    // A late tick is followed by the next at once: the schedule stands.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = tokio::task::JoinSet::new();
    for query in queries.iter().cycle() {
        let due = tokio::select! {
            due = ticks.tick() => due,
            _ = stopped.changed() => break,
        };
        let due = begin.1.checked_add(due.into_std().saturating_duration_since(begin.0)).unwrap_or(begin.1);
        let body = json!({"query": query, "k": 10});
        let one = ask(Arc::clone(&shared), body, due, begin);
        requests.spawn(one);
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

async fn ask(shared: Arc<Shared>, body: Value, due: SystemTime, begin: (Instant, SystemTime)) {
    let outcome = if shared.in_flight.fetch_add(1, Ordering::AcqRel) < IN_FLIGHT {
        answer(&shared, &body).await.unwrap_or_else(Outcome::Bad)
    } else {
        Outcome::Bad("not sent: too many in flight".to_owned())
    };
    shared.in_flight.fetch_sub(1, Ordering::AcqRel);
    // One clock for due and done: the monotonic one, laid onto the wall clock of the start.
    let done = begin.1.checked_add(begin.0.elapsed()).unwrap_or(due);
    let mut samples = shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
    if samples.len() >= RING {
        samples.pop_front();
    }
    samples.push_back(Sample { due, done, outcome });
}

async fn answer(shared: &Shared, body: &Value) -> Result<Outcome, String> {
    let response = shared.http.post(&shared.url).json(body).send().await.map_err(|e| lost(&e))?;
    let status = response.status();
    let revision = response.headers().get(HEADER_REVISION).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = response.bytes().await.map_err(|e| lost(&e))?;
    if status.as_u16() != 200 {
        return Err(status.as_u16().to_string());
    }
    let answer: Value = serde_json::from_slice(&body).map_err(|_| "200 without JSON".to_owned())?;
    // An index that finds nothing answers 200 with an empty list.
    if answer["results"].as_array().is_none_or(Vec::is_empty) {
        return Err("200 without results".to_owned());
    }
    revision.map(Outcome::Good).ok_or_else(|| "200 without a revision".to_owned())
}

fn lost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        format!("no answer within {} s", PATIENCE.as_secs())
    } else if error.is_connect() {
        "no connection".to_owned()
    } else {
        "a broken answer".to_owned()
    }
}
