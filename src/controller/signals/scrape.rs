//! The task of one watched release: asks its pods, sums up, wakes the controller.
//!
//! Invariants: an answer is hostile input (bounded, timed, no redirects); a task ends with the watch it was begun for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Notify, mpsc};

use super::lock;
use super::sums::Entry;
use crate::answer;
use crate::api::RagRelease;
use crate::worker::signals::{self, Signals as Counters};

/// A pod to ask.
pub struct Target {
    pub revision: String,
    pub uid: String,
    pub address: String,
}

/// Runs as long as the watch that it was begun for.
pub struct ScrapeTask {
    pub uid: String,
    pub watched: Arc<Mutex<HashMap<String, Entry>>>,
    pub wake: mpsc::Sender<ObjectRef<RagRelease>>,
    pub http: reqwest::Client,
    pub changed: Arc<Notify>,
}

impl ScrapeTask {
    pub async fn run(self) {
        while let Some((targets, interval)) = self.wanted() {
            let began = Instant::now();
            let task = &self;
            let answers: Vec<_> = futures::stream::iter(targets)
                .map(|pod| async move {
                    let answer = task.scrape(&pod.address).await;
                    (pod, answer)
                })
                .buffer_unordered(16)
                .collect()
                .await;
            if let Some(object) = self.take(answers, began) {
                // A full queue means that passes are about to run anyway.
                let _ = self.wake.try_send(object);
            }
            let pause = interval.saturating_sub(began.elapsed()).max(Duration::from_millis(100));
            let _ = tokio::time::timeout(pause, self.changed.notified()).await;
        }
    }

    fn wanted(&self) -> Option<(Vec<Target>, Duration)> {
        let map = lock(&self.watched);
        // An entry that was ended and begun anew has a task of its own.
        let entry = map.get(&self.uid).filter(|entry| Arc::ptr_eq(&entry.changed, &self.changed))?;
        let targets = entry.watch.targets.iter().flat_map(|(revision, pods)| {
            pods.iter().map(|(uid, address)| Target {
                revision: revision.clone(),
                uid: uid.clone(),
                address: address.clone(),
            })
        });
        Some((targets.collect(), entry.watch.interval))
    }

    async fn scrape(&self, address: &str) -> Result<Counters, String> {
        let answer = self.http.get(address).send().await.map_err(|e| e.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("status {}", answer.status()));
        }
        let body = answer::read(answer, signals::MAX_BYTES).await.map_err(|e| e.to_string())?;
        let text = String::from_utf8(body).map_err(|e| e.to_string())?;
        signals::parse(&text).map_err(|e| e.to_string())
    }

    /// Takes the answers in; what is returned is to be looked at.
    pub fn take(
        &self,
        answers: Vec<(Target, Result<Counters, String>)>,
        asked: Instant,
    ) -> Option<ObjectRef<RagRelease>> {
        let mut map = lock(&self.watched);
        // What was asked before the watch ended says nothing to one that began meanwhile.
        let entry = map.get_mut(&self.uid).filter(|entry| Arc::ptr_eq(&entry.changed, &self.changed))?;
        let now = Instant::now();
        for (pod, answer) in answers {
            match answer {
                Ok(counters) => entry.take(&pod.revision, &pod.uid, counters, asked, now),
                Err(error) => tracing::debug!(pod = pod.uid, error, "a pod did not answer with its counters"),
            }
        }
        entry.scraped = Some(now);
        if !entry.worth_a_pass(now) {
            return None;
        }
        entry.woken_at = Some(now);
        Some(entry.watch.object.clone())
    }
}
