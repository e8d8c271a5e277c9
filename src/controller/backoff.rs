//! Delay before an object is tried again after an error: per object, 1 s doubling to 5 min.
//!
//! Why our own: kube's error policy has no memory per object, so one failing object would be hammered
//! at a fixed rate. Pure: the caller keeps the counter and supplies the jitter.

use std::time::Duration;

const FIRST_MS: u64 = 1_000;
const MOST_MS: u64 = 300_000;

/// Delay after `failures` failures in a row (1 = the first), with `jitter` in 0..=1 adding up to 10 %.
pub fn delay(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST_MS.saturating_mul(1_u64.checked_shl(failures.saturating_sub(1).min(20)).unwrap_or(u64::MAX));
    let base = Duration::from_millis(doubled.min(MOST_MS));
    base.saturating_add(base.mul_f64(0.1 * jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_from_one_second_to_five_minutes() {
        let seconds: Vec<u64> = (1..=11).map(|n| delay(n, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(delay(u32::MAX, 0.0).as_secs(), 300);
    }

    #[test]
    fn jitter_adds_at_most_a_tenth() {
        assert_eq!(delay(1, 1.0).as_millis(), 1_100);
        assert_eq!(delay(1, 7.0).as_millis(), 1_100);
    }
}
