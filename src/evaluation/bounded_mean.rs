//! Bounds of a mean that hold at every sample size, for numbers that cannot leave an interval.
//!
//! Why: bounds of Student's t come from the spread that was seen. Where few queries lose much, a sample without one of
//! them shows no spread, and t passes it. This bound adds one more observation at the end of the interval, the worst
//! that could have been missed. Gaffke 2005; that it covers everywhere is a conjecture (Learned-Miller & Thomas
//! 2019), a relative of it is proven (Phan, Thomas, Learned-Miller 2021).
//!
//! Invariants: the lower bound is at most the mean, the upper at least; equal numbers and seed give equal bits.

use rand_core::RngCore;
use rand_pcg::Pcg64;

use super::paired::Seed;

/// Up to this shape a gamma number is a product of uniform numbers; the product stays above the smallest double.
const BY_PRODUCT: u32 = 12;

/// One-sided lower and upper bound at error rate alpha of the mean of `values`, which lie in `lowest` to `highest`:
/// the alpha quantile of Σ w·v + w0·lowest, and mirrored, with w from the Dirichlet distribution (1, …, 1).
pub fn bounds(values: &[f64], lowest: f64, highest: f64, alpha: f64, seed: Seed, draws: u32) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let inside = |v: &f64| (lowest - 1e-9..=highest + 1e-9).contains(v);
    if !(alpha > 0.0 && alpha < 0.5 && values.iter().all(inside)) {
        return None;
    }
    let groups: Vec<(f64, u32)> = sorted
        .chunk_by(|a, b| a == b)
        .filter_map(|group| Some((*group.first()?, u32::try_from(group.len()).ok()?)))
        .collect();
    match groups.as_slice() {
        [] => None,
        // One weight is left, and its distribution is known: no draw, no noise.
        [(value, size)] => {
            let missed = 1.0 - alpha.powf(1.0 / f64::from(*size));
            Some((value - missed * (value - lowest), value + missed * (highest - value)))
        }
        groups => Some(drawn(groups, lowest, highest, alpha, seed, draws.max(100))),
    }
}

fn drawn(groups: &[(f64, u32)], lowest: f64, highest: f64, alpha: f64, seed: Seed, draws: u32) -> (f64, f64) {
    let mut weights = Weights { generator: seed.generator(), spare: None };
    let (mut low, mut high): (Vec<f64>, Vec<f64>) = (0..draws)
        .map(|_| {
            let (mut sum, mut total) = (0.0, 0.0);
            for (value, size) in groups {
                let weight = weights.gamma(*size);
                total += weight;
                sum += weight * value;
            }
            let missed = weights.gamma(1);
            total += missed;
            ((sum + missed * lowest) / total, (sum + missed * highest) / total)
        })
        .unzip();
    // The order statistic at or outside the quantile: the drawn bound errs to the safe side.
    let rank = ((alpha * f64::from(draws)).floor() as usize).max(1);
    (nth(&mut low, rank.saturating_sub(1)), nth(&mut high, (draws as usize).saturating_sub(rank)))
}

fn nth(values: &mut [f64], index: usize) -> f64 {
    let index = index.min(values.len().saturating_sub(1));
    *values.select_nth_unstable_by(index, f64::total_cmp).1
}

/// Numbers of the gamma distribution with whole shapes: sums of so many exponential numbers.
struct Weights {
    generator: Pcg64,
    spare: Option<f64>,
}

impl Weights {
    /// Above 0, at most 1.
    fn uniform(&mut self) -> f64 {
        ((self.generator.next_u64() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }

    fn gamma(&mut self, shape: u32) -> f64 {
        if shape <= BY_PRODUCT {
            return -(0..shape).map(|_| self.uniform()).product::<f64>().ln();
        }
        // Marsaglia & Tsang, A simple method for generating gamma variables, ACM TOMS 2000.
        let d = f64::from(shape) - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Marsaglia's polar method gives two numbers at a time.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (a, b) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let r = a * a + b * b;
            if r > 0.0 && r < 1.0 {
                let scale = (-2.0 * r.ln() / r).sqrt();
                self.spare = Some(b * scale);
                return a * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluation::paired::DRAWS;

    fn seed() -> Seed {
        Seed::of("bounded mean", "")
    }

    #[test]
    fn nothing_seen_leaves_what_could_have_been_missed() {
        // -(1 - alpha^(1/n)) for n = 149: the floor of queries of a margin of .02.
        let (low, high) = bounds(&[0.0; 149], -1.0, 1.0, 0.05, seed(), DRAWS).unwrap();
        assert!((low + 0.019_904).abs() < 1e-6 && (high - 0.019_904).abs() < 1e-6, "{low} {high}");
        assert!(bounds(&[0.0; 148], -1.0, 1.0, 0.05, seed(), DRAWS).unwrap().0 < -0.02);
        // With values at an end nothing can be missed there.
        assert_eq!(bounds(&[0.0; 50], 0.0, 1.0, 0.05, seed(), DRAWS).unwrap().0, 0.0);
    }

    #[test]
    fn the_drawn_bound_agrees_with_the_closed_form() {
        // A value beside the others that is as good as equal forces the draws.
        let mut values = vec![0.0; 100];
        values[0] = 1e-9;
        let (low, high) = bounds(&values, -1.0, 1.0, 0.05, seed(), DRAWS).unwrap();
        let exact = 1.0 - 0.05_f64.powf(0.01);
        // Standard error of a 5 % quantile of 10,000 draws over the density there (100 * .05): .0004.
        assert!((low + exact).abs() < 0.0018 && (high - exact).abs() < 0.0018, "{low} {high} {exact}");
    }

    #[test]
    fn one_number_in_zero_to_one_has_its_known_bound() {
        // n = 2 of success: the quantile of w1 + w2·0 over three weights, one of them on 0: the sum of a part w of
        // value 1 is uniform to the power: P(w1 <= x) = 1 - (1 - x)^2.
        let (low, _) = bounds(&[1.0, 0.0], 0.0, 1.0, 0.05, seed(), DRAWS).unwrap();
        let exact = 1.0 - 0.95_f64.sqrt();
        assert!((low - exact).abs() < 0.0045, "{low} {exact}");
    }

    #[test]
    fn gamma_numbers_have_their_mean_and_variance_by_both_ways() {
        let mut weights = Weights { generator: seed().generator(), spare: None };
        for shape in [1, 12, 13, 200] {
            let draws: Vec<f64> = (0..20_000).map(|_| weights.gamma(shape)).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 19_999.0;
            let k = f64::from(shape);
            // Five standard errors of 20,000 draws.
            assert!((mean - k).abs() < 5.0 * (k / 20_000.0).sqrt(), "{shape}: {mean}");
            assert!((variance / k - 1.0).abs() < 5.0 * ((2.0 + 6.0 / k) / 20_000.0).sqrt(), "{shape}: {variance}");
        }
    }

    #[test]
    fn what_lies_outside_the_interval_has_no_bound() {
        assert_eq!(bounds(&[0.1, -1.5], -1.0, 1.0, 0.05, seed(), 100), None);
        assert_eq!(bounds(&[f64::NAN], -1.0, 1.0, 0.05, seed(), 100), None);
        assert_eq!(bounds(&[], -1.0, 1.0, 0.05, seed(), 100), None);
        assert_eq!(bounds(&[0.0], -1.0, 1.0, 0.0, seed(), 100), None);
    }

    proptest! {
        #[test]
        fn bounds_hold_the_mean_and_do_not_depend_on_the_order(
            d in prop::collection::vec(-1.0..1.0_f64, 1..40), turn in 0_usize..40,
        ) {
            let (low, high) = bounds(&d, -1.0, 1.0, 0.05, seed(), 200).unwrap();
            let mean = d.iter().sum::<f64>() / d.len() as f64;
            prop_assert!(low <= mean && mean <= high && low >= -1.0 && high <= 1.0, "{} {} {}", low, mean, high);
            let mut turned = d.clone();
            turned.rotate_left(turn % d.len());
            prop_assert_eq!(bounds(&turned, -1.0, 1.0, 0.05, seed(), 200), Some((low, high)));
        }
    }
}
