//! Bounds and tests of a paired difference, and how many queries they need.
//!
//! Conventions: d = candidate - baseline of one query; a margin is above 0; alpha is one-sided; a unit is a query, or
//! with `clusterBy` a cluster of them ([`super::sample`]).
//!
//! Invariants: draws come from PCG64 (XSL RR 128/64, `rand_pcg` 0.9) with the seed given; the order of the
//! differences does not matter to the test; functions are total, what cannot be computed is `None`.

use rand_pcg::Pcg64;
use sha2::{Digest, Sha256};
use statrs::distribution::{ChiSquared, ContinuousCDF, Normal, StudentsT};

use super::sample::Sample;
use super::signs::{self, Column};

/// Drawn sign patterns of the sign-flip test.
pub const DRAWS: u32 = 10_000;
/// Up to here every sign pattern is looked at instead.
pub const EXACT_UP_TO: usize = 20;
/// Power for which needed queries are computed.
const POWER: f64 = 0.8;
/// Largest credible drop of one query: metrics lie in [0, 1].
pub const LARGEST_DROP: f64 = 1.0;

/// One-sided bounds of the mean by Student's t over the units: D ∓ t(1 - alpha, units - 1)·se. `None` below two.
pub fn t_bounds(sample: &Sample, alpha: f64) -> Option<(f64, f64)> {
    let degrees = count(sample.units().len()) - 1.0;
    let half = t_quantile(1.0 - alpha, degrees)? * sample.standard_error()?;
    Some((sample.mean() - half, sample.mean() + half))
}

/// The standard error times the root of the units: s where a unit is a query. What the formulas of needed units read.
pub fn unit_deviation(sample: &Sample) -> Option<f64> {
    sample.standard_error().map(|error| error * count(sample.units().len()).sqrt())
}

/// Quantile of Student's t.
pub fn t_quantile(p: f64, degrees: f64) -> Option<f64> {
    let inside = p > 0.0 && p < 1.0;
    StudentsT::new(0.0, 1.0, degrees).ok().filter(|_| inside).map(|t| t.inverse_cdf(p))
}

fn z_quantile(p: f64) -> Option<f64> {
    let inside = p > 0.0 && p < 1.0;
    Normal::new(0.0, 1.0).ok().filter(|_| inside).map(|z| z.inverse_cdf(p))
}

/// A seed from the digest of a run's inputs and a label: equal inputs draw equal signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    state: u128,
    stream: u128,
}

impl Seed {
    pub fn of(inputs: &str, label: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(inputs);
        hash.update([0]);
        hash.update(label);
        let digest: [u8; 32] = hash.finalize().into();
        let (mut state, mut stream) = ([0; 16], [0; 16]);
        for (to, from) in state.iter_mut().chain(stream.iter_mut()).zip(digest) {
            *to = from;
        }
        Self { state: u128::from_be_bytes(state), stream: u128::from_be_bytes(stream) }
    }

    /// The generator that draws from it.
    pub fn generator(self) -> Pcg64 {
        Pcg64::new(self.state, self.stream)
    }

    /// The seed of one of many parts.
    pub fn part(self, part: usize) -> Self {
        Self::of(&format!("{:032x}{:032x}", self.state, self.stream), &part.to_string())
    }
}

/// p of the hypothesis "the candidate is worse by the margin or more", for each metric with its margin: how often random
/// signs of the units give a sum of d + margin at least as large as the observed one. All sign patterns up to 20 units,
/// drawn ones beyond. What is found of one metric does not depend on the others.
pub fn sign_flip_ps(tests: &[(&Sample, f64)], seed: Seed, draws: u32) -> Vec<f64> {
    let of_units = |(sample, margin): &(&Sample, f64)| sample.units().iter().map(|u| u.sum + margin * u.size).collect();
    reached_ps(tests.iter().map(of_units).collect(), seed, draws)
}

/// The same for one metric.
pub fn sign_flip_p(sample: &Sample, margin: f64, seed: Seed, draws: u32) -> Option<f64> {
    margin.is_finite().then(|| sign_flip_ps(&[(sample, margin)], seed, draws)).and_then(|p| p.first().copied())
}

/// p of the hypothesis "the candidate is not worse": how often random signs give a sum of d at most as large as the
/// observed one. Small when the candidate harms.
pub fn harm_p(sample: &Sample, seed: Seed, draws: u32) -> f64 {
    reached_p(sample.units().iter().map(|u| -u.sum).collect(), seed, draws)
}

fn reached_p(values: Vec<f64>, seed: Seed, draws: u32) -> f64 {
    reached_ps(vec![values], seed, draws).first().copied().unwrap_or(1.0)
}

/// For each list how often random signs reach its sum. What is found of one does not depend on the others.
fn reached_ps(lists: Vec<Vec<f64>>, seed: Seed, draws: u32) -> Vec<f64> {
    let columns: Vec<Column> = lists.into_iter().map(column).collect();
    let (exact, drawn): (Vec<_>, Vec<_>) =
        columns.into_iter().enumerate().partition(|(_, c)| c.values.len() <= EXACT_UP_TO);
    let mut found: Vec<(usize, f64)> = exact.into_iter().map(|(i, c)| (i, exact_p(&c))).collect();
    let (places, drawn): (Vec<usize>, Vec<Column>) = drawn.into_iter().unzip();
    let p = |reached: u32| (1.0 + f64::from(reached)) / (1.0 + f64::from(draws));
    found.extend(places.into_iter().zip(signs::reached(&drawn, seed, draws).into_iter().map(p)));
    found.sort_unstable_by_key(|(i, _)| *i);
    found.into_iter().map(|(_, p)| p).collect()
}

/// Sorted, so that the order of the queries does not matter.
fn column(mut values: Vec<f64>) -> Column {
    values.sort_unstable_by(f64::total_cmp);
    // Sums that differ by rounding alone count as reached, which can only raise p.
    let slack = 1e-12 * values.iter().map(|x| x.abs()).sum::<f64>();
    let observed = values.iter().sum::<f64>() - slack;
    Column { values, observed }
}

fn exact_p(column: &Column) -> f64 {
    let (low, high) = column.values.split_at(column.values.len() / 2);
    let (low, high) = (signed_sums(low), signed_sums(high));
    let reached: usize = high.iter().map(|h| low.iter().filter(|l| *l + h >= column.observed).count()).sum();
    count(reached) / (count(low.len()) * count(high.len()))
}

fn signed_sums(values: &[f64]) -> Vec<f64> {
    values.iter().fold(vec![0.0], |sums, x| sums.iter().flat_map(|s| [s + x, s - x]).collect())
}

/// Fewest units with which a margin can be passed: with fewer, a fault of exactly the forbidden size could
/// have been missed whole with a probability above alpha.
pub fn floor_queries(margin: f64, alpha: f64) -> Option<u64> {
    if !(margin > 0.0 && alpha > 0.0 && alpha < 1.0) {
        return None;
    }
    if margin >= LARGEST_DROP {
        return Some(1);
    }
    whole(alpha.ln() / (1.0 - margin / LARGEST_DROP).ln())
}

/// Upper bound at 1 - alpha of the mean of a Poisson count of which so many were seen (Garwood, *Fiducial limits for the
/// Poisson distribution*, 1936): half of the chi-squared quantile with 2 (seen + 1) degrees; also between whole numbers.
pub fn count_bound(seen: f64, alpha: f64) -> Option<f64> {
    let inside = alpha > 0.0 && alpha < 1.0 && seen >= 0.0;
    let degrees = 2.0 * (seen + 1.0);
    ChiSquared::new(degrees).ok().filter(|_| inside).map(|chi| chi.inverse_cdf(1.0 - alpha) / 2.0)
}

/// Units that decide with a power of .8 if the true difference is `difference`.
pub fn power_queries(sd: f64, margin: f64, difference: f64, alpha: f64) -> Option<u64> {
    let room = margin + difference;
    if !(room > 0.0 && sd >= 0.0) {
        return None;
    }
    let z = z_quantile(1.0 - alpha)? + z_quantile(POWER)?;
    whole((z * sd / room).powi(2))
}

/// The smallest margin that `n` units could have passed, given the lower bound found, if any.
pub fn certifiable_margin(n: u64, alpha: f64, lower: Option<f64>) -> f64 {
    if n == 0 {
        return LARGEST_DROP;
    }
    let at_best = LARGEST_DROP * (1.0 - alpha.powf(1.0 / n as f64));
    lower.map_or(at_best, |l| at_best.max(-l))
}

/// Rounded up; `None` for what is no count. The allowance keeps 59.000000000001 from becoming 60.
fn whole(x: f64) -> Option<u64> {
    let up = (x - 1e-9).ceil().max(1.0);
    (up.is_finite() && up < 1e15).then_some(up as u64)
}

fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: Seed = Seed { state: 7, stream: 1 };

    fn plain(d: &[f64]) -> Sample {
        Sample::plain(d).unwrap()
    }

    fn p_of(d: &[f64], margin: f64, seed: Seed) -> f64 {
        sign_flip_p(&plain(d), margin, seed, DRAWS).unwrap()
    }

    fn close(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() <= within, "{found}, expected {expected}");
    }

    #[test]
    fn quantiles_equal_the_table() {
        let table =
            [(10, 1.833_113), (20, 1.729_133), (60, 1.671_093), (149, 1.655_215), (200, 1.652_547), (300, 1.649_966)];
        for (n, t) in table {
            close(t_quantile(0.95, f64::from(n) - 1.0).unwrap(), t, 1e-6);
        }
        assert_eq!(t_quantile(0.95, 0.0), None);
    }

    #[test]
    fn the_floor_equals_the_table() {
        for (margin, queries) in [(0.02, 149), (0.03, 99), (0.05, 59), (0.10, 29), (1.0, 1)] {
            assert_eq!(floor_queries(margin, 0.05), Some(queries), "{margin}");
        }
        assert_eq!(floor_queries(0.0, 0.05), None);
        assert_eq!(floor_queries(f64::NAN, 0.05), None);
    }

    #[test]
    fn bounds_of_counts_equal_the_table() {
        for (seen, bound) in [(0.0, 2.9957), (1.0, 4.7439), (2.0, 6.2958), (3.0, 7.7537), (4.0, 9.1535)] {
            close(count_bound(seen, 0.05).unwrap(), bound, 1e-4);
        }
        assert_eq!((count_bound(-1.0, 0.05), count_bound(1.0, 0.0)), (None, None));
    }

    #[test]
    fn needed_queries_equal_the_table() {
        for (sd, queries) in [(0.05, 39), (0.10, 155), (0.15, 348), (0.25, 967)] {
            assert_eq!(power_queries(sd, 0.02, 0.0, 0.05), Some(queries), "{sd}");
        }
        assert_eq!(power_queries(0.128, 0.02, 0.0, 0.05), Some(254));
        assert_eq!(power_queries(0.1, 0.02, -0.02, 0.05), None);
    }

    #[test]
    fn sixty_queries_certify_a_margin_of_049_at_best() {
        close(certifiable_margin(60, 0.05, None), 0.0487, 5e-5);
        close(certifiable_margin(60, 0.05, Some(0.0)), 0.0487, 5e-5);
        close(certifiable_margin(60, 0.05, Some(-0.1)), 0.1, 1e-12);
        close(certifiable_margin(0, 0.05, None), 1.0, 0.0);
    }

    #[test]
    fn bounds_of_three_lost_queries_in_two_hundred() {
        let mut d = vec![0.0; 200];
        d[..3].fill(-0.5);
        let sample = plain(&d);
        close(sample.mean(), -0.0075, 1e-12);
        close(t_bounds(&sample, 0.05).unwrap().0, -0.0146, 5e-5);
        assert_eq!((sample.len(), sample.changed(), sample.min()), (200, 3, -0.5));
        let one = plain(&[0.25]);
        assert_eq!((unit_deviation(&one), t_bounds(&one, 0.05)), (None, None));
    }

    #[test]
    fn small_samples_look_at_every_sign_pattern() {
        // x = d + margin = (1, 2, 3): only one of the 8 patterns reaches 6, two reach 4.
        assert_eq!(p_of(&[0.0, 1.0, 2.0], 1.0, SEED), 1.0 / 8.0);
        assert_eq!(p_of(&[-2.0, 1.0, 2.0], 1.0, SEED), 2.0 / 8.0);
        assert_eq!(p_of(&[0.0; 20], 0.1, SEED), 1.0 / f64::from(1 << 20));
        // Nothing but zeros: every pattern ties with what was observed.
        assert_eq!(p_of(&[-0.5; 10], 0.5, SEED), 1.0);
        assert_eq!(sign_flip_p(&plain(&[0.5]), f64::NAN, SEED, DRAWS), None);
    }

    #[test]
    fn harm_is_the_test_in_the_other_direction() {
        assert_eq!(harm_p(&plain(&[-1.0, -2.0, -3.0]), SEED, DRAWS), 1.0 / 8.0);
        assert_eq!(harm_p(&plain(&[1.0, 2.0, 3.0]), SEED, DRAWS), 1.0);
        assert_eq!(harm_p(&plain(&[0.0; 60]), SEED, DRAWS), 1.0);
    }

    #[test]
    fn whole_clusters_are_flipped() {
        // Six queries in three clusters: 8 patterns and not 64.
        let d = [-0.1, -0.1, -0.2, -0.2, -0.3, -0.3];
        assert_eq!(harm_p(&Sample::clustered(&d, &[0, 0, 1, 1, 2, 2]).unwrap(), SEED, DRAWS), 1.0 / 8.0);
        assert_eq!(harm_p(&plain(&d), SEED, DRAWS), 1.0 / 64.0);
        // x of a cluster is the sum of d + margin of its queries: (.2, 0, .4) with margin .2; 0 ties with itself.
        let d = [-0.1, -0.1, -0.2, -0.2, 0.0, 0.0];
        let clustered = Sample::clustered(&d, &[0, 0, 1, 1, 2, 2]).unwrap();
        assert_eq!(sign_flip_p(&clustered, 0.2, SEED, DRAWS), Some(2.0 / 8.0));
    }

    #[test]
    fn sums_that_differ_by_rounding_alone_count_as_equal() {
        // .1 + .2 and .3 are not the same bits; two of the 8 patterns tie with the observed sum of 0, three exceed it.
        let p = p_of(&[0.1, 0.2, -0.3], 0.0, SEED);
        close(p, 5.0 / 8.0, 1e-12);
    }

    #[test]
    fn drawn_and_exact_tests_agree() {
        let d: Vec<f64> = (0..20_i32).map(|i| f64::from(i % 7) * 0.05 - 0.12).collect();
        let column = column(d.iter().map(|x| x + 0.02).collect());
        let exact = exact_p(&column);
        let drawn = f64::from(signs::reached(&[column], SEED, DRAWS)[0]) / f64::from(DRAWS);
        // Three standard errors of 10,000 draws.
        close(drawn, exact, 3.0 * (exact * (1.0 - exact) / 10_000.0).sqrt() + 1e-4);
    }

    #[test]
    fn a_seed_depends_on_inputs_and_label() {
        assert_eq!(Seed::of("a", "b"), Seed::of("a", "b"));
        assert_ne!(Seed::of("a", "b"), Seed::of("ab", ""));
        let d: Vec<f64> = (0..50_i32).map(|i| f64::from(i % 5) * 0.1 - 0.2).collect();
        let p = |seed| p_of(&d, 0.02, seed);
        assert_eq!(p(Seed::of("a", "ndcg@10")).to_bits(), p(Seed::of("a", "ndcg@10")).to_bits());
        assert_ne!(p(Seed::of("a", "ndcg@10")).to_bits(), p(Seed::of("b", "ndcg@10")).to_bits());
    }

    proptest! {
        #[test]
        fn the_test_does_not_depend_on_the_order(
            d in prop::collection::vec(-1.0..1.0_f64, 1..60), margin in 0.001..0.5_f64, turn in 0_usize..60,
        ) {
            let mut turned = d.clone();
            turned.rotate_left(turn % d.len());
            turned.reverse();
            let (a, b) = (p_of(&d, margin, SEED), p_of(&turned, margin, SEED));
            prop_assert_eq!(a.to_bits(), b.to_bits());
            prop_assert!(a > 0.0 && a <= 1.0);
        }

        #[test]
        fn a_wider_margin_never_raises_p(
            d in prop::collection::vec(-1.0..1.0_f64, 1..14), margin in 0.001..0.5_f64, more in 0.0..0.5_f64,
        ) {
            // Exact only: both sides see the same sign patterns.
            let (a, b) = (p_of(&d, margin, SEED), p_of(&d, margin + more, SEED));
            prop_assert!(b <= a + 1e-9, "{} then {}", a, b);
        }
    }
}
