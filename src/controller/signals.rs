//! Live signals: the counters of the retrieval servers that we run, scraped in the background.
//!
//! Why a room beside observe: a release that settled must be watched without a request to the API server, so
//! each watched release has one task that reads its pods and wakes the controller when there is something to
//! decide. Invariants: reads only; only addresses of pods that a ReplicaSet owns and our labels name; an answer is
//! hostile input (bounded, timed, no redirects); a pod's counter that falls is a restart and counts from 0; sums go on from
//! the persisted ones, at most one minute old; what a pod answered before a weight was accepted is not counted
//! at that weight.
#![allow(clippy::disallowed_methods)] // It looks at the clock.

pub mod recent;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::{Notify, mpsc};

use self::recent::Recent;
use crate::api::RagRelease;
use crate::api::gate::Signal;
use crate::evaluation::sequence::{self, Share, State};
use crate::worker::signals::{self, Signals as Counters};

/// Time limit of one answer.
const LIMIT: Duration = Duration::from_secs(2);
/// How often sums of a settled release are worth a write.
const SETTLED_PERSIST: Duration = Duration::from_secs(300);

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

struct Entry {
    watch: Watch,
    changed: Arc<Notify>,
    pods: HashMap<String, PodReading>,
    judged: Sums,
    step_stable: Answers,
    step_candidate: Answers,
    /// Since when answers count at the present weight.
    step_since: Instant,
    scraped: Option<Instant>,
    woken_at: Option<Instant>,
    /// Whether a pass has looked at the present breach with all that it needs, and let it be.
    let_be: bool,
}

#[derive(Clone, Default)]
struct PodReading {
    last: Option<Counters>,
    /// When its last answer came, and when that was asked for.
    at: Option<Instant>,
    asked: Option<Instant>,
}

/// Counters of the judged revision since the watch began; beside them what was persisted by then.
#[derive(Clone, Default)]
struct Sums {
    since: Counters,
    recent: Recent,
    persisted: BTreeMap<(String, String), Share>,
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

impl Entry {
    fn new(watch: Watch, changed: Arc<Notify>) -> Self {
        let judged = Sums { persisted: persisted(&watch), ..Sums::default() };
        Self {
            step_stable: start(watch.step.as_ref().map(|s| s.persisted_stable)),
            step_candidate: start(watch.step.as_ref().map(|s| s.persisted_candidate)),
            watch,
            changed,
            pods: HashMap::new(),
            judged,
            step_since: Instant::now(),
            scraped: None,
            woken_at: None,
            let_be: false,
        }
    }

    fn change(&mut self, watch: Watch) {
        if self.watch.judged.key != watch.judged.key {
            self.judged = Sums { persisted: persisted(&watch), ..Sums::default() };
        } else {
            // A test that is new under the same key starts from what is persisted of it.
            for (key, share) in persisted(&watch) {
                self.judged.persisted.entry(key).or_insert(share);
            }
        }
        if self.watch.step.as_ref().map(|s| &s.key) != watch.step.as_ref().map(|s| &s.key) {
            self.step_stable = start(watch.step.as_ref().map(|s| s.persisted_stable));
            self.step_candidate = start(watch.step.as_ref().map(|s| s.persisted_candidate));
            self.step_since = Instant::now();
        }
        let targets_changed = self.watch.targets != watch.targets;
        let quicker = watch.interval < self.watch.interval;
        self.pods.retain(|uid, _| watch.targets.values().any(|pods| pods.contains_key(uid)));
        self.watch = watch;
        if targets_changed || quicker {
            self.changed.notify_one();
        }
    }

    /// Takes one pod's answer in: the difference to its last one counts. `asked`: when it was asked for.
    fn take(&mut self, revision: &str, pod: &str, counters: Counters, asked: Instant, now: Instant) {
        let reading = self.pods.entry(pod.to_owned()).or_default();
        let delta = reading.last.as_ref().map(|last| difference(&counters, last));
        let before = reading.asked.replace(asked);
        reading.last = Some(counters);
        reading.at = Some(now);
        // The first sight of a pod is only a mark to count from.
        let Some(delta) = delta else { return };
        if revision == self.watch.judged.revision {
            add(&mut self.judged.since, &delta);
            self.judged.recent.add(before.unwrap_or(asked), now, &delta);
        }
        // A difference to an answer of before the present weight holds requests of the weight before.
        let Some(step) = self.watch.step.as_ref().filter(|_| before >= Some(self.step_since)) else { return };
        let answers = Answers { answers: delta.answers, errors: delta.error, empty: delta.empty };
        if revision == step.candidate {
            plus(&mut self.step_candidate, answers);
        } else if step.stable.as_deref() == Some(revision) {
            plus(&mut self.step_stable, answers);
        }
    }

    fn sums(&self) -> BTreeMap<(String, String), Share> {
        let sum = |test: &Test| {
            let key = (test.gate.clone(), test.objective.clone());
            let before = self.judged.persisted.get(&key).copied().unwrap_or_default();
            let since = share(&self.judged.since, test.signal, test.threshold_ms);
            let total = Share {
                answers: before.answers.saturating_add(since.answers),
                bad: before.bad.saturating_add(since.bad),
            };
            (key, total)
        };
        self.watch.judged.tests.iter().map(sum).collect()
    }

    fn recent(&self) -> BTreeMap<(String, String), Share> {
        let one = |test: &Test| {
            let key = (test.gate.clone(), test.objective.clone());
            (key, self.judged.recent.share(test.signal, test.threshold_ms))
        };
        self.watch.judged.tests.iter().map(one).collect()
    }

    fn readings(&self) -> Readings {
        let now = Instant::now();
        let revisions = self.watch.targets.iter().map(|(revision, pods)| {
            let seen = pods.keys().map(|uid| self.pods.get(uid));
            let fresh =
                |reading: &&PodReading| reading.at.is_some_and(|at| now.duration_since(at) <= self.watch.stale_after);
            let fresh: Vec<&PodReading> = seen.flatten().filter(fresh).collect();
            let says: Option<Vec<bool>> = fresh.iter().map(|r| r.last.as_ref().and_then(|c| c.encoder_match)).collect();
            let encoder_match = says.filter(|says| says.len() == pods.len()).map(|says| says.iter().all(|m| *m));
            (revision.clone(), RevisionReading { pods: pods.len(), fresh: fresh.len(), encoder_match })
        });
        Readings {
            revisions: revisions.collect(),
            tests: self.sums(),
            recent: self.recent(),
            key: self.watch.judged.key.clone(),
            step_key: self.watch.step.as_ref().map(|s| s.key.clone()).unwrap_or_default(),
            step_stable: self.step_stable,
            step_candidate: self.step_candidate,
            scraped: self.scraped,
            ready: self.watch.ready.clone(),
        }
    }

    fn breached(&self, sums: &BTreeMap<(String, String), Share>) -> bool {
        self.watch.judged.tests.iter().any(|test| {
            let share = sums.get(&(test.gate.clone(), test.objective.clone())).copied().unwrap_or_default();
            sequence::against_max(share, test.max, test.alpha).state == State::Breached
                || sequence::far_beyond(self.judged.recent.share(test.signal, test.threshold_ms), test.max)
        })
    }

    /// Whether the controller has something to decide after a scrape: while traffic moves always, else a breach until a
    /// pass has seen it. One that nothing may act on is not told again at every scrape.
    fn worth_a_pass(&mut self, now: Instant) -> bool {
        let sums = self.sums();
        let breached = self.breached(&sums);
        self.let_be &= breached;
        let due = self.woken_at.is_none_or(|at| now.duration_since(at) >= SETTLED_PERSIST);
        self.watch.every_scrape || (breached && !self.let_be) || (due && sums != self.judged.persisted)
    }
}

fn start(answers: Option<u64>) -> Answers {
    Answers { answers: answers.unwrap_or(0), errors: 0, empty: 0 }
}

fn persisted(watch: &Watch) -> BTreeMap<(String, String), Share> {
    watch.judged.tests.iter().map(|t| ((t.gate.clone(), t.objective.clone()), t.persisted)).collect()
}

/// Bad answers among all answers, as a signal defines them.
pub fn share(counters: &Counters, signal: Signal, threshold_ms: Option<u32>) -> Share {
    let answers = counters.answers;
    let bad = match signal {
        Signal::ErrorRate => counters.error,
        Signal::EmptyRate => counters.empty,
        Signal::SlowRate => threshold_ms.and_then(|ms| counters.slower_than(ms)).unwrap_or(0),
    };
    Share { answers, bad: bad.min(answers) }
}

fn plus(sum: &mut Answers, delta: Answers) {
    sum.answers = sum.answers.saturating_add(delta.answers);
    sum.errors = sum.errors.saturating_add(delta.errors);
    sum.empty = sum.empty.saturating_add(delta.empty);
}

fn add(sum: &mut Counters, delta: &Counters) {
    sum.ok = sum.ok.saturating_add(delta.ok);
    sum.empty = sum.empty.saturating_add(delta.empty);
    sum.client_error = sum.client_error.saturating_add(delta.client_error);
    sum.error = sum.error.saturating_add(delta.error);
    sum.answers = sum.answers.saturating_add(delta.answers);
    for (bucket, more) in sum.buckets.iter_mut().zip(delta.buckets) {
        *bucket = bucket.saturating_add(more);
    }
}

/// What came since `last`. A counter that fell belongs to a process that began anew.
fn difference(now: &Counters, last: &Counters) -> Counters {
    let restarted = now.answers < last.answers || now.ok < last.ok || now.error < last.error || now.empty < last.empty;
    let before = if restarted { &Counters::default() } else { last };
    let mut delta = now.clone();
    delta.ok = now.ok.saturating_sub(before.ok);
    delta.empty = now.empty.saturating_sub(before.empty);
    delta.client_error = now.client_error.saturating_sub(before.client_error);
    delta.error = now.error.saturating_sub(before.error);
    delta.answers = now.answers.saturating_sub(before.answers);
    for (bucket, last) in delta.buckets.iter_mut().zip(before.buckets) {
        *bucket = bucket.saturating_sub(last);
    }
    delta
}

/// A pod to ask.
struct Target {
    revision: String,
    uid: String,
    address: String,
}

struct ScrapeTask {
    uid: String,
    watched: Arc<Mutex<HashMap<String, Entry>>>,
    wake: mpsc::Sender<ObjectRef<RagRelease>>,
    http: reqwest::Client,
    changed: Arc<Notify>,
}

impl ScrapeTask {
    async fn run(self) {
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
        let mut body = Vec::new();
        let mut stream = answer.bytes_stream();
        while let Some(part) = stream.next().await {
            body.extend_from_slice(&part.map_err(|e| e.to_string())?);
            if body.len() > signals::MAX_BYTES {
                return Err(format!("more than {} bytes", signals::MAX_BYTES));
            }
        }
        let text = String::from_utf8(body).map_err(|e| e.to_string())?;
        signals::parse(&text).map_err(|e| e.to_string())
    }

    fn take(&self, answers: Vec<(Target, Result<Counters, String>)>, asked: Instant) -> Option<ObjectRef<RagRelease>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(ok: u64, error: u64) -> Counters {
        Counters { ok, error, answers: ok + error, ..Counters::default() }
    }

    fn watch(revision: &str, persisted: Share) -> Watch {
        Watch {
            object: ObjectRef::new("r").within("n"),
            interval: Duration::from_secs(5),
            stale_after: Duration::from_secs(10),
            targets: BTreeMap::from([(revision.to_owned(), BTreeMap::from([("p".to_owned(), "http://x".to_owned())]))]),
            judged: Judged {
                key: format!("{revision}/1"),
                revision: revision.to_owned(),
                tests: vec![Test {
                    gate: "g".to_owned(),
                    objective: "errors".to_owned(),
                    signal: Signal::ErrorRate,
                    threshold_ms: None,
                    max: 0.05,
                    alpha: 0.05,
                    persisted,
                }],
            },
            step: None,
            every_scrape: false,
            ready: BTreeMap::new(),
        }
    }

    fn total(entry: &Entry) -> Share {
        entry.sums().into_values().next().unwrap()
    }

    #[tokio::test]
    async fn a_release_that_went_without_a_last_pass_is_watched_no_more() {
        let signals = Signals::new(mpsc::channel(1).0).unwrap();
        let named = |name: &str| Watch {
            object: ObjectRef::new(name).within("n"),
            targets: BTreeMap::new(),
            ..watch("a", Share { answers: 9, bad: 0 })
        };
        signals.watch("uid-r", Some(named("r")));
        signals.watch("uid-s", Some(named("s")));
        signals.forget("other", "s");
        signals.forget("n", "r");
        let watched: Vec<String> = lock(&signals.watched).keys().cloned().collect();
        assert_eq!(watched, ["uid-s"]);
    }

    #[test]
    fn sums_go_on_from_the_persisted_ones_and_survive_a_counter_reset() {
        let mut entry = Entry::new(watch("a", Share { answers: 900, bad: 9 }), Arc::default());
        let now = Instant::now();
        entry.take("a", "p", counters(500, 5), now, now);
        assert_eq!(total(&entry), Share { answers: 900, bad: 9 }, "the first sight is only a mark");
        entry.take("a", "p", counters(590, 15), now, now);
        assert_eq!(total(&entry), Share { answers: 1_000, bad: 19 });
        entry.take("a", "p", counters(10, 0), now, now);
        assert_eq!(total(&entry), Share { answers: 1_010, bad: 19 }, "a restarted pod counts from 0");
    }

    #[test]
    fn another_key_begins_anew_and_the_same_key_does_not() {
        let mut entry = Entry::new(watch("a", Share::default()), Arc::default());
        let now = Instant::now();
        entry.take("a", "p", counters(0, 0), now, now);
        entry.take("a", "p", counters(100, 0), now, now);
        entry.change(watch("a", Share { answers: 100, bad: 0 }));
        assert_eq!(total(&entry).answers, 100, "what was persisted in between is not counted twice");
        let mut other = watch("a", Share::default());
        other.judged.key = "a/2".to_owned();
        entry.change(other);
        assert_eq!(total(&entry).answers, 0);
    }

    #[test]
    fn a_settled_release_wakes_the_controller_only_for_a_breach_or_after_five_minutes() {
        let mut entry = Entry::new(watch("a", Share::default()), Arc::default());
        let now = Instant::now();
        entry.woken_at = Some(now);
        entry.take("a", "p", counters(0, 0), now, now);
        entry.take("a", "p", counters(1_000, 0), now, now);
        assert!(!entry.worth_a_pass(now));
        entry.take("a", "p", counters(1_000, 400), now, now);
        assert!(entry.worth_a_pass(now));
    }

    #[test]
    fn a_breach_is_told_at_every_scrape_until_a_pass_has_looked_at_it_in_full() {
        let mut entry = Entry::new(watch("a", Share::default()), Arc::default());
        let now = Instant::now();
        entry.woken_at = Some(now);
        entry.take("a", "p", counters(0, 0), now, now);
        entry.take("a", "p", counters(600, 400), now, now);
        assert!(entry.worth_a_pass(now) && entry.worth_a_pass(now), "its passes fail");
        entry.let_be = true;
        assert!(!entry.worth_a_pass(now), "nothing may act on it");
        entry.take("a", "p", counters(50_600, 400), now, now);
        assert!(!entry.worth_a_pass(now), "it is over");
        entry.take("a", "p", counters(50_600, 50_400), now, now);
        assert!(entry.worth_a_pass(now), "another one");
    }

    #[test]
    fn an_answer_that_was_asked_for_before_the_watch_began_anew_is_left_out() {
        let (wake, _woken) = mpsc::channel(1);
        let changed = Arc::new(Notify::new());
        let entry = Entry::new(watch("a", Share::default()), Arc::default());
        let watched = Arc::new(Mutex::new(HashMap::from([("u".to_owned(), entry)])));
        let http = reqwest::Client::builder();
        let http = http.tls_backend_preconfigured(no_certificates().unwrap()).build().unwrap();
        let ended = ScrapeTask { uid: "u".to_owned(), watched: watched.clone(), wake, http, changed };
        let pod = Target { revision: "a".to_owned(), uid: "p".to_owned(), address: "http://x".to_owned() };
        assert_eq!(ended.take(vec![(pod, Ok(counters(1, 0)))], Instant::now()), None);
        assert!(lock(&watched).get("u").unwrap().pods.is_empty());
    }

    #[test]
    fn without_traffic_a_settled_release_never_wakes_the_controller() {
        let mut entry = Entry::new(watch("a", Share { answers: 7, bad: 0 }), Arc::default());
        assert!(!entry.worth_a_pass(Instant::now()));
    }

    #[test]
    fn answers_of_the_weight_before_do_not_count_at_the_next() {
        let step = |key: &str| {
            Some(StepWindow {
                key: key.to_owned(),
                stable: None,
                candidate: "a".to_owned(),
                persisted_stable: 0,
                persisted_candidate: 0,
            })
        };
        let with = |key: &str| Watch { step: step(key), ..watch("a", Share::default()) };
        let mut entry = Entry::new(with("a/1/x"), Arc::default());
        let before = Instant::now();
        entry.take("a", "p", counters(100, 0), before, before);
        entry.take("a", "p", counters(300, 0), before, before);
        assert_eq!(entry.step_candidate.answers, 200);
        entry.change(with("a/2/y"));
        assert_eq!(entry.step_candidate.answers, 0);
        let after = entry.step_since;
        entry.take("a", "p", counters(900, 0), after, after);
        assert_eq!(entry.step_candidate.answers, 0, "600 answers, some of them at the weight before");
        entry.take("a", "p", counters(950, 0), after, after);
        assert_eq!(entry.step_candidate.answers, 50);
        assert_eq!(total(&entry).answers, 850, "the objectives' sums run on");
    }
}
