//! What a pod counted between two answers.
//!
//! Invariants: a counter that falls is a restart and counts from 0; sums stay at their largest number.

use super::Answers;
use crate::api::gate::Signal;
use crate::evaluation::sequence::Share;
use crate::worker::signals::Signals as Counters;

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

pub fn plus(sum: &mut Answers, delta: Answers) {
    sum.answers = sum.answers.saturating_add(delta.answers);
    sum.errors = sum.errors.saturating_add(delta.errors);
    sum.empty = sum.empty.saturating_add(delta.empty);
}

pub fn add(sum: &mut Counters, delta: &Counters) {
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
pub fn difference(now: &Counters, last: &Counters) -> Counters {
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
