//! What is known of one watched release: its pods' last answers, and what they sum up to.
//!
//! Invariants: sums go on from the persisted ones, at most one minute old; the first sight of a pod is only a mark; what
//! a pod answered before a weight was accepted is not counted at that weight; a breach is told until a pass has seen it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::counters::{add, difference, plus, share};
use super::recent::Recent;
use super::{Answers, Readings, RevisionReading, Test, Watch};
use crate::evaluation::sequence::{self, Share, State};
use crate::worker::signals::Signals as Counters;

/// How often sums of a settled release are worth a write.
const SETTLED_PERSIST: Duration = Duration::from_secs(300);

/// A watched release.
pub struct Entry {
    pub watch: Watch,
    pub changed: Arc<Notify>,
    pub pods: HashMap<String, PodReading>,
    pub judged: Sums,
    pub step_stable: Answers,
    pub step_candidate: Answers,
    /// Since when answers count at the present weight.
    pub step_since: Instant,
    pub scraped: Option<Instant>,
    pub woken_at: Option<Instant>,
    /// Whether a pass has looked at the present breach with all that it needs, and let it be.
    pub let_be: bool,
}

/// What one pod answered last.
#[derive(Clone, Default)]
pub struct PodReading {
    last: Option<Counters>,
    /// When its last answer came, and when that was asked for.
    at: Option<Instant>,
    asked: Option<Instant>,
}

/// Counters of the judged revision since the watch began; beside them what was persisted by then.
#[derive(Clone, Default)]
pub struct Sums {
    since: Counters,
    recent: Recent,
    persisted: BTreeMap<(String, String), Share>,
}

impl Entry {
    pub fn new(watch: Watch, changed: Arc<Notify>) -> Self {
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

    /// Goes on with another watch of the same release.
    pub fn change(&mut self, watch: Watch) {
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
    pub fn take(&mut self, revision: &str, pod: &str, counters: Counters, asked: Instant, now: Instant) {
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

    /// Sums of each objective, by (gate, objective).
    pub fn sums(&self) -> BTreeMap<(String, String), Share> {
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

    /// What is known now.
    pub fn readings(&self) -> Readings {
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

    /// Whether an objective of the judged revision is breached.
    pub fn breached(&self, sums: &BTreeMap<(String, String), Share>) -> bool {
        self.watch.judged.tests.iter().any(|test| {
            let share = sums.get(&(test.gate.clone(), test.objective.clone())).copied().unwrap_or_default();
            sequence::against_max(share, test.max, test.alpha).state == State::Breached
                || sequence::far_beyond(self.judged.recent.share(test.signal, test.threshold_ms), test.max)
        })
    }

    /// Whether the controller has something to decide after a scrape: while traffic moves always, else a breach until a
    /// pass has seen it. One that nothing may act on is not told again at every scrape.
    pub fn worth_a_pass(&mut self, now: Instant) -> bool {
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
