//! What every controller shares: client, configuration, metrics, events, backoff.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use super::backoff;
use super::config::Config;
use super::error::Refusal;
use super::event::{Note, cut};
use super::metrics::Metrics;
use super::signals::Signals;
use crate::api::names;

/// Shared by all controllers.
pub struct Context {
    /// For reads of one pass and for writes: no retries of its own, short time limits.
    pub client: Client,
    pub config: Config,
    pub metrics: Metrics,
    pub events: Events,
    pub failures: Failures,
    pub refusals: Refusals,
    pub signals: Signals,
}

/// Failures in a row of each object: the delay grows per object.
#[derive(Default)]
pub struct Failures(Mutex<HashMap<String, u32>>);

impl Failures {
    /// Counts one more, and says how many in a row that is and how long to wait.
    pub fn next(&self, key: &str) -> (u32, Duration) {
        let mut map = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = map.entry(key.to_owned()).or_insert(0);
        *count = count.saturating_add(1);
        (*count, backoff::delay(*count, jitter(key, *count)))
    }

    pub fn reset(&self, key: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(key);
    }
}

/// What the API server did not take of each object when it was tried last.
///
/// Why in memory: it says what stands in the way now, and the next try finds out again.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<String, (i64, Refusal)>>);

impl Refusals {
    pub fn of(&self, key: &str) -> Option<Refusal> {
        let map = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        map.get(key).map(|(_, refusal)| refusal.clone())
    }

    /// Keeps it, and says whether it is news. Words that differ in numbers only stay as they were first: a webhook that
    /// puts one of its own into each answer would change the status for ever.
    pub fn keep(&self, key: &str, generation: i64, refusal: Refusal) -> bool {
        let mut map = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = map.get(key).is_some_and(|(at, kept)| *at == generation && kept.is_like(&refusal));
        if !known {
            map.insert(key.to_owned(), (generation, refusal));
        }
        !known
    }

    /// Forgets it, and says whether there was one.
    pub fn clear(&self, key: &str) -> bool {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(key).is_some()
    }
}

/// Spreads objects without a random generator: the same object and count always wait equally long.
fn jitter(key: &str, count: u32) -> f64 {
    let sum = key.bytes().fold(u64::from(count), |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(b)));
    f64::from(u32::try_from(sum % 1_000).unwrap_or(0)) / 1_000.0
}

/// A bounded queue of events: a slow or broken API never delays a pass, an event too many is dropped.
pub struct Events(mpsc::Sender<(ObjectReference, Note)>);

impl Events {
    const QUEUE: usize = 256;

    /// Starts the sender task.
    pub fn start(client: Client) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(ObjectReference, Note)>(Self::QUEUE);
        tokio::spawn(async move {
            let reporter = Reporter { controller: names::MANAGER.to_owned(), instance: None };
            let recorder = Recorder::new(client, reporter);
            while let Some((object, note)) = receiver.recv().await {
                let event = Event {
                    type_: if note.warning { EventType::Warning } else { EventType::Normal },
                    action: note.action(),
                    note: Some(cut(&note.text)),
                    reason: note.reason,
                    secondary: None,
                };
                let sent = tokio::time::timeout(Duration::from_secs(5), recorder.publish(&event, &object)).await;
                if let Ok(Err(error)) = sent {
                    tracing::debug!(%error, "an event was not accepted");
                }
            }
        });
        Self(sender)
    }

    pub fn send(&self, object: ObjectReference, note: Note) {
        if self.0.try_send((object, note)).is_err() {
            tracing::debug!("the event queue is full; an event was dropped");
        }
    }
}
