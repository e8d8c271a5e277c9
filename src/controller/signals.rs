//! Live signals: the counters of the retrieval servers that we run, scraped in the background.
//!
//! Why a room beside observe: a release that settled must be watched without a request to the API server, so
//! each watched release has one task that reads its pods and wakes the controller when there is something to
//! decide. [`sums`] what is known of one release, [`scrape`] its task, [`counters`] differences, [`recent`] the last
//! answers.
//!
//! Invariants: reads only; only addresses of pods that a ReplicaSet owns and our labels name.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

mod counters;
pub mod recent;
mod scrape;
mod sums;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Notify, mpsc};

use self::scrape::ScrapeTask;
use self::sums::Entry;
use crate::api::RagRelease;
use crate::api::gate::Signal;
use crate::evaluation::sequence::Share;

/// Time limit of one answer.
const LIMIT: Duration = Duration::from_secs(2);
/// What to watch for one release.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    pub object: ObjectRef<RagRelease>,
    pub interval: Duration,
    /// Age from which a reading counts as missing.
    pub stale_after: Duration,
    /// Addresses of the metrics of each revision's pods, by pod UID.
    pub targets: BTreeMap<String, BTreeMap<String, String>>,
    /// The judged revision: its sums run under this key, and begin anew with another.
    pub judged: Judged,
    /// Counts since the present weight was accepted.
    pub step: Option<StepWindow>,
    /// Whether every scrape is worth a pass (traffic moves), or only a breach.
    pub every_scrape: bool,
    /// Ready pods by revision when the world was looked at last: a pass that goes on the signals alone must not send
    /// traffic to nobody.
    pub ready: BTreeMap<String, usize>,
}

/// The revision that objectives judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub key: String,
    pub revision: String,
    pub tests: Vec<Test>,
}

/// One objective with what was persisted of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub gate: String,
    pub objective: String,
    pub signal: Signal,
    pub threshold_ms: Option<u32>,
    pub max: f64,
    pub alpha: f64,
    pub persisted: Share,
}

/// Counts of both arms at the present weight.
#[derive(Clone, Debug, PartialEq)]
pub struct StepWindow {
    pub key: String,
    pub stable: Option<String>,
    pub candidate: String,
    pub persisted_stable: u64,
    pub persisted_candidate: u64,
}

/// Answers of one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub answers: u64,
    pub errors: u64,
    pub empty: u64,
}

/// What is known now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    pub revisions: BTreeMap<String, RevisionReading>,
    /// Sums of each objective of the judged revision, by (gate, objective).
    pub tests: BTreeMap<(String, String), Share>,
    /// What came lately of each objective.
    pub recent: BTreeMap<(String, String), Share>,
    /// Key of the judged revision that the sums belong to.
    pub key: String,
    pub step_key: String,
    pub step_stable: Answers,
    pub step_candidate: Answers,
    /// When the last scrape was complete.
    pub scraped: Option<Instant>,
    /// Ready pods by revision, as the world showed them last.
    pub ready: BTreeMap<String, usize>,
}

/// What one revision's pods say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevisionReading {
    pub pods: usize,
    /// Pods that answered within the window.
    pub fresh: usize,
    /// Whether every fresh pod measures the encoder that built its index; `None`: some has not said yet.
    pub encoder_match: Option<bool>,
}

impl RevisionReading {
    /// Every pod answered.
    pub fn complete(&self) -> bool {
        self.pods > 0 && self.fresh == self.pods
    }
}

/// The room: one task a watched release.
pub struct Signals {
    watched: Arc<Mutex<HashMap<String, Entry>>>,
    wake: mpsc::Sender<ObjectRef<RagRelease>>,
    http: reqwest::Client,
}

/// Why there is no client to scrape with.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("HTTP: {0}")]
    Http(#[from] reqwest::Error),
}

impl Signals {
    pub fn new(wake: mpsc::Sender<ObjectRef<RagRelease>>) -> Result<Self, ClientError> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(no_certificates()?)
            .timeout(LIMIT)
            .connect_timeout(LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { watched: Arc::default(), wake, http })
    }

    /// Begins, changes or ends the watch of a release, by its UID.
    pub fn watch(&self, uid: &str, wanted: Option<Watch>) {
        let mut map = lock(&self.watched);
        let Some(watch) = wanted else {
            if let Some(entry) = map.remove(uid) {
                entry.changed.notify_one();
            }
            return;
        };
        if let Some(entry) = map.get_mut(uid) {
            entry.change(watch);
            return;
        }
        let changed = Arc::new(Notify::new());
        map.insert(uid.to_owned(), Entry::new(watch, changed.clone()));
        drop(map);
        let task = ScrapeTask {
            uid: uid.to_owned(),
            watched: self.watched.clone(),
            wake: self.wake.clone(),
            http: self.http.clone(),
            changed,
        };
        tokio::spawn(task.run());
    }

    /// Whether an objective of the judged revision is breached.
    pub fn breached(&self, uid: &str) -> bool {
        lock(&self.watched).get(uid).is_some_and(|entry| entry.breached(&entry.sums()))
    }

    /// The present breach was looked at with all that a decision needs, and nothing may act on it: only another one
    /// wakes the controller.
    pub fn let_be(&self, uid: &str) {
        if let Some(entry) = lock(&self.watched).get_mut(uid) {
            entry.let_be = true;
        }
    }

    /// Ends the watch of a release that went without a last pass: somebody took its finalizer off.
    pub fn forget(&self, namespace: &str, name: &str) {
        lock(&self.watched).retain(|_, entry| {
            let object = &entry.watch.object;
            let gone = object.name == name && object.namespace.as_deref() == Some(namespace);
            if gone {
                entry.changed.notify_one();
            }
            !gone
        });
    }

    /// What is known now.
    pub fn readings(&self, uid: &str) -> Readings {
        lock(&self.watched).get(uid).map(Entry::readings).unwrap_or_default()
    }
}

/// Only plain addresses of our own pods are asked. The image holds no certificates, and reqwest makes no client at all
/// when it looks for the system's and finds none.
fn no_certificates() -> Result<rustls::ClientConfig, rustls::Error> {
    Ok(rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}

fn lock(map: &Mutex<HashMap<String, Entry>>) -> MutexGuard<'_, HashMap<String, Entry>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
