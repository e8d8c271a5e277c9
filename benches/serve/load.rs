//! Requests in a closed and in an open loop.
//!
//! Why not the demo's load: it counts by the millisecond, and here microseconds count. Its timer is a thread of its own,
//! since the timers of the runtime have steps of a millisecond.
//!
//! Invariant: an answer that is not 200 ends the bench; a figure of refused requests is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::sync::mpsc;

use crate::web;

/// One request to the encoder in so many to the server.
const EVERY: u64 = 4;
/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who asks: the same queries, to the server and straight to its encoder.
pub struct Asker {
    http: reqwest::Client,
    search: String,
    embeddings: String,
    /// Bodies for the server and for the encoder.
    bodies: Vec<[String; 2]>,
    next: AtomicU64,
}

/// Times of the answers, from the moment at which each request was due.
#[derive(Default)]
pub struct Open {
    pub server: Vec<Duration>,
    pub encoder: Vec<Duration>,
}

#[derive(Clone, Copy)]
enum To {
    Server,
    Encoder,
}

impl Asker {
    pub fn new(server: &str, encoder: &str, queries: &[String]) -> Result<Self> {
        let bodies = |query: &String| {
            let search = json!({"query": query, "k": 10});
            let embeddings = json!({"model": "null", "input": [query], "encoding_format": "base64"});
            [search.to_string(), embeddings.to_string()]
        };
        Ok(Self {
            http: web::client(PATIENCE)?,
            search: format!("http://{server}/v1/search"),
            embeddings: format!("{encoder}/embeddings"),
            bodies: queries.iter().map(bodies).collect(),
            next: AtomicU64::new(0),
        })
    }

    async fn ask(&self, to: To, number: u64) -> Result<()> {
        let at = usize::try_from(number)? % self.bodies.len().max(1);
        let [search, embeddings] = self.bodies.get(at).context("no query")?;
        let (url, body) = match to {
            To::Server => (&self.search, search),
            To::Encoder => (&self.embeddings, embeddings),
        };
        let request = self.http.post(url).header(http::header::CONTENT_TYPE, "application/json").body(body.clone());
        let answer = request.send().await.with_context(|| format!("no answer from {url}"))?;
        let status = answer.status();
        let body = answer.bytes().await?;
        ensure!(status.as_u16() == 200, "{url} answered {status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }

    /// Each connection asks again as soon as it has its answer; answers a second.
    pub async fn closed(self: &Arc<Self>, connections: usize, time: Duration) -> Result<f64> {
        let begin = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let asker = Arc::clone(self);
            tasks.spawn(async move {
                let mut answered = 0_u32;
                while begin.elapsed() < time {
                    asker.ask(To::Server, asker.next.fetch_add(1, Ordering::Relaxed)).await?;
                    answered = answered.saturating_add(1);
                }
                anyhow::Ok(answered)
            });
        }
        let mut answered = 0.0;
        while let Some(task) = tasks.join_next().await {
            answered += f64::from(task??);
        }
        Ok(answered / begin.elapsed().as_secs_f64())
    }

    /// `rate` requests a second on schedule.
    pub async fn open(self: &Arc<Self>, rate: f64, time: Duration) -> Result<Open> {
        ensure!(rate > 1.0, "a rate of {rate} requests a second measures nothing");
        let (sender, mut times) = mpsc::unbounded_channel();
        let (asker, runtime) = (Arc::clone(self), tokio::runtime::Handle::current());
        let pacing = tokio::task::spawn_blocking(move || asker.pace(rate, time, &runtime, &sender));
        let mut open = Open::default();
        while let Some((to, taken)) = times.recv().await {
            match to {
                To::Server => open.server.push(taken?),
                To::Encoder => open.encoder.push(taken?),
            }
        }
        pacing.await?;
        Ok(open)
    }

    /// Starts each request when it is due; those to the encoder lie half-way between two to the server.
    fn pace(
        self: &Arc<Self>,
        rate: f64,
        time: Duration,
        runtime: &tokio::runtime::Handle,
        times: &mpsc::UnboundedSender<(To, Result<Duration>)>,
    ) {
        let period = Duration::from_secs_f64(1.0 / rate);
        let begin = Instant::now();
        let mut due = begin;
        for number in 0_u64.. {
            if due.duration_since(begin) >= time {
                return;
            }
            self.start(To::Server, number, due, runtime, times);
            if number % EVERY == 0 {
                self.start(To::Encoder, number, due + period / 2, runtime, times);
            }
            due += period;
        }
    }

    fn start(
        self: &Arc<Self>,
        to: To,
        number: u64,
        due: Instant,
        runtime: &tokio::runtime::Handle,
        times: &mpsc::UnboundedSender<(To, Result<Duration>)>,
    ) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (asker, times) = (Arc::clone(self), times.clone());
        runtime.spawn(async move {
            let answered = asker.ask(to, number).await;
            // The receiver is gone only when another request has failed.
            let _ = times.send((to, answered.map(|()| due.elapsed())));
        });
    }
}

/// The time that a share of the answers did not exceed.
pub fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let rank = (share * last as f64).ceil() as usize;
    times.get(rank).copied().unwrap_or_default()
}
