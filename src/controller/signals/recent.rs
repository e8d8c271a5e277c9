//! The last answers of a revision, in slots of time.
//!
//! Why: sums since a promotion are the proof for a small excess, but after a good day a total failure would have to last
//! an hour before it shows in them. Invariants: memory is bounded; a tail says nothing before it spans two minutes, so
//! that a hiccup of seconds is none; it reaches back no further than an hour.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::counters::{add, share};
use crate::api::gate::Signal;
use crate::evaluation::sequence::{HARD_LEAST, Share};
use crate::worker::signals::Signals as Counters;

/// Shortest and longest tail.
const LEAST: Duration = Duration::from_secs(120);
const MOST: Duration = Duration::from_secs(3_600);
/// Scrapes within this time share a slot.
const SLOT: Duration = Duration::from_secs(10);

/// What came lately, newest last.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    slots: VecDeque<Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    from: Instant,
    until: Instant,
    counters: Counters,
}

impl Recent {
    /// Takes in what a pod answered in between.
    pub fn add(&mut self, from: Instant, until: Instant, delta: &Counters) {
        let same = |last: &&mut Slot| {
            until == last.until || (until > last.until && until.saturating_duration_since(last.from) <= SLOT)
        };
        match self.slots.back_mut().filter(same) {
            Some(last) => {
                add(&mut last.counters, delta);
                last.until = until;
            }
            None => self.slots.push_back(Slot { from, until, counters: delta.clone() }),
        }
        while self.slots.front().is_some_and(|first| until.saturating_duration_since(first.until) > MOST) {
            self.slots.pop_front();
        }
    }

    /// The share in the shortest tail of two minutes or more that holds enough bad answers for the rule; in all that is
    /// kept where none does. Without an answer until two minutes are known.
    pub fn share(&self, signal: Signal, threshold_ms: Option<u32>) -> Share {
        let Some(newest) = self.slots.back().map(|slot| slot.until) else { return Share::default() };
        let mut tail = Share::default();
        let mut spans = Duration::ZERO;
        for slot in self.slots.iter().rev() {
            if tail.bad >= HARD_LEAST && spans >= LEAST {
                break;
            }
            let more = share(&slot.counters, signal, threshold_ms);
            tail.answers = tail.answers.saturating_add(more.answers);
            tail.bad = tail.bad.saturating_add(more.bad);
            spans = newest.saturating_duration_since(slot.from);
        }
        if spans >= LEAST { tail } else { Share::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(ok: u64, error: u64) -> Counters {
        Counters { ok, error, answers: ok + error, ..Counters::default() }
    }

    /// One scrape each `interval` seconds: so many good and bad answers in each.
    fn after(scrapes: &[(usize, u64, u64)], interval: u64) -> Recent {
        let (mut recent, mut now) = (Recent::default(), Instant::now());
        for (count, ok, error) in scrapes {
            for _ in 0..*count {
                let until = now + Duration::from_secs(interval);
                recent.add(now, until, &counters(*ok, *error));
                now = until;
            }
        }
        recent
    }

    fn errors(recent: &Recent) -> (u64, u64) {
        let share = recent.share(Signal::ErrorRate, None);
        (share.answers, share.bad)
    }

    #[test]
    fn nothing_is_said_before_two_minutes_are_known() {
        assert_eq!(errors(&Recent::default()), (0, 0));
        assert_eq!(errors(&after(&[(23, 0, 500)], 5)), (0, 0));
        assert_eq!(errors(&after(&[(24, 0, 500)], 5)), (12_000, 12_000));
    }

    #[test]
    fn the_tail_is_as_short_as_two_minutes_and_fifty_bad_answers_allow() {
        assert_eq!(errors(&after(&[(500, 500, 0), (4, 0, 500)], 5)), (12_000, 2_000));
        // Few answers: the tail reaches back until it holds fifty bad ones.
        assert_eq!(errors(&after(&[(100, 1, 0), (60, 0, 1)], 5)), (50, 50));
        assert_eq!(errors(&after(&[(3, 9, 1)], 300)), (30, 3));
    }

    #[test]
    fn what_is_older_than_an_hour_is_forgotten() {
        let recent = after(&[(5_000, 1, 0)], 5);
        assert!(recent.slots.len() <= 362, "{}", recent.slots.len());
        assert_eq!(after(&[(30, 0, 1), (800, 1, 0)], 5).share(Signal::ErrorRate, None).bad, 0);
    }

    #[test]
    fn pods_of_one_scrape_share_a_slot() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        let until = start + Duration::from_secs(300);
        (0..100).for_each(|_| recent.add(start, until, &counters(1, 0)));
        assert_eq!((recent.slots.len(), errors(&recent)), (1, (100, 0)));
    }
}
