//! Live shares (errors, empty answers, slow answers), looked at as often as one likes.
//!
//! Why not a test at a fixed size: whoever looks every few seconds and stops at the first alarm condemns a
//! healthy candidate in more than a third of the releases. A confidence sequence (asymptotic, one-sided;
//! Waudby-Smith et al. 2024) holds its error rate at every look at once.
//!
//! Invariants: no data is no verdict (0/0 is never 0); nothing is called below 100 answers; where nothing
//! failed yet the variance is that of the limit, since no failure seen is no variance.

use serde::{Deserialize, Serialize};

/// Answers from which the sequence is valid.
const LEAST_ANSWERS: u64 = 100;
/// Answers at which the sequence is tightest.
const TIGHTEST_AT: f64 = 2000.0;
/// Answers from which the split of the traffic can be checked by counting.
const LEAST_COUNTED: u64 = 500;
const SIGMAS: f64 = 5.0;
/// The hard rule: so many bad answers, and so many times the share of stable.
pub const HARD_LEAST: u64 = 50;
const HARD_ERRORS: f64 = 3.0;
const HARD_EMPTY: f64 = 2.0;
/// Natural logarithm of 20 billion.
const HARD_RARITY: f64 = 23.72;

/// What one arm counted of one signal; kept in status, so that a restart goes on from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Answers.
    pub answers: u64,
    /// Those of them that the signal counts.
    pub bad: u64,
}

impl Share {
    /// The share; `None` without an answer, or when the counts contradict each other.
    pub fn value(self) -> Option<f64> {
        (self.answers > 0 && self.bad <= self.answers).then(|| self.bad as f64 / self.answers as f64)
    }
}

/// What the data say of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Proven to be below the limit.
    Safe,
    Undecided,
    /// Proven to be above the limit.
    Breached,
    NoData,
}

/// The state with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub state: State,
    /// The share of the candidate.
    pub share: Option<f64>,
    /// Lower bound of the true share, once there are enough answers.
    pub lower: Option<f64>,
    /// Upper bound of the true share, with the variance of the limit.
    pub upper: Option<f64>,
}

/// Error rate of each of `tests` that run during one release: it is spent once per release.
pub fn alpha_each(alpha: f64, tests: u32) -> f64 {
    alpha / f64::from(tests.max(1))
}

/// Half-width at `t` answers with variance `v`.
pub fn half_width(t: u64, v: f64, alpha: f64) -> f64 {
    let t = t as f64;
    let rho2 = (-2.0 * alpha.ln() + (1.0 - 2.0 * alpha.ln()).ln()) / TIGHTEST_AT;
    let grown = t * rho2 + 1.0;
    v.sqrt() * (2.0 * grown / (t * t * rho2) * (1.0 + grown.sqrt() / (2.0 * alpha)).ln()).sqrt()
}

/// The candidate's share against the largest that is acceptable.
pub fn against_max(candidate: Share, max: f64, alpha: f64) -> Reading {
    let Some(share) = candidate.value() else {
        return Reading { state: State::NoData, share: None, lower: None, upper: None };
    };
    if candidate.answers < LEAST_ANSWERS {
        return Reading { state: State::Undecided, share: Some(share), lower: None, upper: None };
    }
    let lower = share - half_width(candidate.answers, share * (1.0 - share), alpha);
    let upper = share + half_width(candidate.answers, max * (1.0 - max), alpha);
    let state = if lower > max {
        State::Breached
    } else if upper < max {
        State::Safe
    } else {
        State::Undecided
    };
    Reading { state, share: Some(share), lower: Some(lower), upper: Some(upper) }
}

/// What an outage looks like; statistics must not delay its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outage {
    /// At least 50 errors, and at least 3 times the error rate of stable.
    Errors,
    /// At least 50 answers without a result, and at least 2 times their share at stable.
    Empty,
}

/// What one arm counted of the two signals that the hard rule reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    pub answers: u64,
    pub errors: u64,
    pub empty: u64,
}

/// The hard rule. Without an answer of stable there is nothing to compare with.
pub fn outage(candidate: Answers, stable: Answers) -> Option<Outage> {
    let multiple = |candidate_bad: u64, stable_bad: u64, times: f64| {
        let candidate = Share { answers: candidate.answers, bad: candidate_bad }.value();
        let stable = Share { answers: stable.answers, bad: stable_bad }.value();
        candidate_bad >= HARD_LEAST && candidate.zip(stable).is_some_and(|(c, s)| c >= times * s)
    };
    if multiple(candidate.errors, stable.errors, HARD_ERRORS) {
        return Some(Outage::Errors);
    }
    multiple(candidate.empty, stable.empty, HARD_EMPTY).then_some(Outage::Empty)
}

/// The hard rule against a limit: at least 50 bad ones among the last answers, and at least 3 times the share that is
/// acceptable; above .2, where that comes near to 1 or beyond, half of the way from the limit to 1. At a true share of the
/// limit that is seen in less than 1 of 20 billion looks: up to .2 by the binomial distribution itself (17 are expected
/// where 50 are found), above it by Chernoff's bound, exp(-n KL(share, limit)).
pub fn far_beyond(recent: Share, max: f64) -> bool {
    let Some(share) = recent.value().filter(|_| recent.bad >= HARD_LEAST) else { return false };
    let (times, half_way) = (HARD_ERRORS * max, f64::midpoint(max, 1.0));
    if times <= half_way {
        return share >= times;
    }
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    let divergence = part(share, max) + part(1.0 - share, 1.0 - max);
    share >= half_way && recent.answers as f64 * divergence >= HARD_RARITY
}

/// Whether the counted split is the declared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Agreement {
    True,
    False,
    /// Too few answers to say.
    Unknown,
}

/// Checks the answers counted at a weight (percent of the candidate) against it, within 5 sigma. The declared
/// share counts as at least .1 % away from 0 and 1: an answer that was under way when the weight changed is
/// no drift.
pub fn agrees(candidate: u64, stable: u64, weight_percent: u8) -> Agreement {
    let all = candidate.saturating_add(stable);
    if all < LEAST_COUNTED {
        return Agreement::Unknown;
    }
    let declared = (f64::from(weight_percent) / 100.0).clamp(0.001, 0.999);
    let counted = candidate as f64 / all as f64;
    let sigma = (declared * (1.0 - declared) / all as f64).sqrt();
    if (counted - declared).abs() <= SIGMAS * sigma { Agreement::True } else { Agreement::False }
}

#[cfg(test)]
mod tests {
    use rand_core::RngCore as _;
    use rand_pcg::Pcg64;

    use super::*;

    fn close(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() <= within, "{found}, expected {expected}");
    }

    fn state(answers: u64, bad: u64, max: f64) -> State {
        against_max(Share { answers, bad }, max, 0.05).state
    }

    #[test]
    fn half_widths_equal_the_golden_numbers() {
        let both = 2.0 * 0.02 * 0.98;
        close(half_width(1000, both, 0.05), 0.017_578, 5e-7);
        close(half_width(2000, both, 0.05), 0.012_305, 5e-7);
        close(half_width(1000, 0.05 * 0.95, 0.05), 0.019_350, 5e-7);
    }

    #[test]
    fn no_answers_are_no_data_and_few_are_undecided() {
        assert_eq!(state(0, 0, 0.05), State::NoData);
        assert_eq!(state(5, 6, 0.05), State::NoData, "more bad answers than answers");
        assert_eq!(state(99, 99, 0.05), State::Undecided);
        assert_eq!(state(100, 100, 0.05), State::Breached);
        assert_eq!(state(100, 0, 0.05), State::Undecided, "no failure seen is no variance");
    }

    #[test]
    fn safe_and_breached_lie_on_both_sides_of_the_limit() {
        assert_eq!(state(20_000, 400, 0.05), State::Safe);
        assert_eq!(state(20_000, 1000, 0.05), State::Undecided);
        assert_eq!(state(20_000, 2000, 0.05), State::Breached);
        // A limit of 0 is never proven to hold.
        assert_eq!(state(20_000, 0, 0.0), State::Undecided);
        assert_eq!(state(20_000, 100, 0.0), State::Breached);
        let reading = against_max(Share { answers: 1000, bad: 20 }, 0.05, 0.05);
        close(reading.share.unwrap(), 0.02, 0.0);
        close(reading.upper.unwrap(), 0.02 + 0.019_350, 5e-7);
        assert!(reading.lower.unwrap() < 0.02);
    }

    #[test]
    fn more_tests_in_a_release_ask_for_more_proof() {
        close(alpha_each(0.05, 16), 0.003_125, 1e-12);
        close(alpha_each(0.05, 0), 0.05, 0.0);
        assert!(half_width(1000, 0.05, alpha_each(0.05, 16)) > half_width(1000, 0.05, 0.05));
    }

    #[test]
    fn an_outage_needs_fifty_bad_answers_and_a_multiple_of_stable() {
        let stable = Answers { answers: 1000, errors: 20, empty: 50 };
        let of = |errors, empty| outage(Answers { answers: 1000, errors, empty }, stable);
        assert_eq!(of(60, 0), Some(Outage::Errors));
        assert_eq!(of(59, 0), None);
        assert_eq!(of(0, 100), Some(Outage::Empty));
        assert_eq!(of(0, 99), None);
        let quiet = Answers { answers: 1000, errors: 0, empty: 0 };
        let against_quiet = |errors| outage(Answers { answers: 1000, errors, empty: 0 }, quiet);
        assert_eq!(against_quiet(49), None);
        assert_eq!(against_quiet(50), Some(Outage::Errors));
        let silent = Answers::default();
        assert_eq!(outage(Answers { answers: 1000, errors: 900, empty: 0 }, silent), None, "0/0 is no data");
    }

    #[test]
    fn far_beyond_its_limit_are_fifty_bad_answers_and_three_times_the_share() {
        let of = |answers, bad, max| far_beyond(Share { answers, bad }, max);
        assert!(of(1_000, 151, 0.05) && !of(1_000, 149, 0.05));
        assert!(of(50, 50, 0.05) && !of(49, 49, 0.05));
        // Above .2: half of the way to 1, and so many answers that chance does not do it.
        assert!(of(84, 51, 0.2) && !of(86, 51, 0.2), "3 times .2 is half of the way too");
        assert!(of(50, 50, 0.34) && of(1_000, 680, 0.34) && !of(1_000, 660, 0.34));
        assert!(!of(80, 56, 0.4) && of(130, 92, 0.4), "56 of 80 come about once in a million");
        assert!(of(60, 60, 0.6) && !of(60, 60, 0.7) && !of(1_000, 1_000, 1.0));
        assert!(!of(0, 0, 0.0) && !of(40, 50, 0.05), "no data is no verdict");
    }

    #[test]
    fn a_counted_split_agrees_within_five_sigma() {
        assert_eq!(agrees(0, 499, 50), Agreement::Unknown);
        // sigma of 10,000 at 50 % is .005.
        assert_eq!(agrees(5249, 4751, 50), Agreement::True);
        assert_eq!(agrees(5251, 4749, 50), Agreement::False);
        assert_eq!(agrees(4749, 5251, 50), Agreement::False);
        assert_eq!(agrees(0, 10_000, 0), Agreement::True);
        assert_eq!(agrees(9999, 1, 100), Agreement::True);
        assert_eq!(agrees(9900, 100, 100), Agreement::False);
        assert_eq!(agrees(0, 500, 5), Agreement::False, "a candidate that gets nothing");
    }

    #[test]
    fn readings_survive_a_restart() {
        let share = Share { answers: 7, bad: 3 };
        let text = serde_json::to_string(&share).unwrap();
        assert_eq!(serde_json::from_str::<Share>(&text).unwrap(), share);
    }

    /// Runs of 20,000 answers, looked at every 50: the answers at the first look with this state.
    fn first_looks(true_share: f64, max: f64, wanted: State, runs: usize) -> Vec<u64> {
        let mut generator = Pcg64::new(7, 1);
        let threshold = (true_share * 2_f64.powi(64)) as u64;
        let mut looks = Vec::new();
        for _ in 0..runs {
            let mut share = Share::default();
            while share.answers < 20_000 {
                share.answers += 1;
                share.bad += u64::from(generator.next_u64() < threshold);
                if share.answers % 50 == 0 && against_max(share, max, 0.05).state == wanted {
                    looks.push(share.answers);
                    break;
                }
            }
        }
        looks
    }

    #[test]
    fn a_candidate_at_the_limit_is_condemned_about_as_rarely_as_measured() {
        // Measured 1.5 % of the runs; 300 runs, more than four standard errors above it is 4.5 %.
        let alarms = first_looks(0.05, 0.05, State::Breached, 300).len();
        assert!(alarms <= 13, "{alarms} of 300");
        assert_eq!(first_looks(0.02, 0.05, State::Breached, 100).len(), 0);
    }

    #[test]
    fn a_bad_candidate_is_found_as_fast_as_measured_and_a_good_one_is_safe() {
        for (share, mean) in [(0.10, 394.0), (0.20, 143.0)] {
            let looks = first_looks(share, 0.05, State::Breached, 200);
            assert_eq!(looks.len(), 200);
            let found = looks.iter().sum::<u64>() as f64 / 200.0;
            close(found, mean, 0.15 * mean);
        }
        let mut looks = first_looks(0.02, 0.05, State::Safe, 200);
        looks.sort_unstable();
        assert_eq!(looks.len(), 200);
        close(looks[100] as f64, 500.0, 100.0);
    }
}
