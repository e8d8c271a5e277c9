//! When a request is sent again, and how long after.
//!
//! Why: an endpoint that limits its rate says so (429, Retry-After) and one that restarts answers 5xx or
//! nothing; both are right a moment later. Anything else fails again and is told at once.

use std::time::{Duration, SystemTime};

use rand_core::{RngCore as _, SeedableRng as _};
use rand_pcg::Pcg32;

/// Bounds of the attempts of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts, the first included.
    pub attempts: u32,
    /// Time for all attempts and the waits between them, at least.
    pub total: Duration,
    /// Attempts that may take their whole time limit: with a longer limit than fits so often into `total`, the time
    /// for all attempts grows.
    pub whole: u32,
}

impl Patience {
    /// For Jobs: a build may wait out a restart of the endpoint.
    pub const BUILD: Self = Self { attempts: 8, total: Duration::from_secs(180), whole: 2 };
    /// For requests that a person waits for, who waits no longer because an encoder is slow.
    pub const SERVE: Self = Self { attempts: 3, total: Duration::from_secs(6), whole: 0 };

    /// Time for all attempts of a request with this time limit.
    pub fn total(self, limit: Duration) -> Duration {
        self.total.max(limit.saturating_mul(self.whole))
    }
}

/// Longest wait between two attempts when the server names none.
const LONGEST: Duration = Duration::from_secs(20);
const FIRST: Duration = Duration::from_millis(100);

/// The wait before the attempt after `attempt` (from 1): doubled each time, with jitter from half to the whole.
pub(super) fn backoff(attempt: u32, jitter: &mut Jitter) -> Duration {
    let doubled = FIRST.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST);
    doubled.mul_f64(0.5 + 0.5 * jitter.next())
}

/// Numbers from 0 to 1. They need to differ between processes, not to be secret.
pub(super) struct Jitter(Pcg32);

impl Jitter {
    pub(super) fn new() -> Self {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        Self(Pcg32::seed_from_u64(nanos ^ (u64::from(std::process::id()) << 32)))
    }

    fn next(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / f64::from(u32::MAX)
    }
}

/// `Retry-After` in seconds; a date counts as absent, since clocks differ.
pub(super) fn retry_after(value: Option<&str>) -> Option<Duration> {
    value?.trim().parse::<u64>().ok().map(Duration::from_secs)
}

/// Whether a status may be another one next time.
pub(super) fn transient(status: u16) -> bool {
    status == 429 || status == 408 || (500..600).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_and_end_at_the_longest() {
        let mut jitter = Jitter::new();
        for (attempt, most) in [(1, 100), (2, 200), (3, 400), (8, 12_800), (9, 20_000), (60, 20_000)] {
            let wait = backoff(attempt, &mut jitter).as_millis();
            assert!(wait <= most && wait >= most / 2, "attempt {attempt}: {wait}");
        }
    }

    #[test]
    fn a_long_time_limit_lengthens_the_patience_of_a_job_and_no_other() {
        for (limit, build) in [(30, 180), (90, 180), (120, 240), (600, 1200)] {
            let limit = Duration::from_secs(limit);
            assert_eq!(Patience::BUILD.total(limit).as_secs(), build);
            assert_eq!(Patience::SERVE.total(limit).as_secs(), 6);
        }
        assert!(Patience::BUILD.total(Duration::MAX) == Duration::MAX);
    }

    #[test]
    fn only_what_can_change_is_tried_again() {
        assert!([429, 408, 500, 502, 503, 504].into_iter().all(transient));
        assert!(![200, 400, 401, 403, 404, 413, 422].into_iter().any(transient));
        assert_eq!(retry_after(Some(" 7 ")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(Some("Wed, 21 Oct 2015 07:28:00 GMT")), None);
        assert_eq!(retry_after(None), None);
    }
}
