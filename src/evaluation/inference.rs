//! What a sample of differences, or of values, says of all queries: bounds and p, by the method of the gate.
//!
//! Invariants: equal samples, seeds and numbers of draws give equal bits; a number that is told is rounded to six
//! decimals.

use super::bounded_mean;
use super::holm;
use super::paired::{DRAWS, EXACT_UP_TO, LARGEST_DROP, Seed, harm_p, sign_flip_p, t_bounds, unit_deviation};
use super::sample::Sample;
use super::verdict::{Method, Row, Statistics};

/// Differences of pairs of candidate and baseline. A margin that is a share of the baseline's mean is estimated by the same
/// queries as the difference: sure must be that candidate - (1 - share) · baseline is 0 or more, whose differences these are,
/// moved so that their mean is that of candidate - baseline.
pub fn differences(pairs: &[(f64, f64)], share: f64) -> Vec<f64> {
    let mean = pairs.iter().map(|(_, baseline)| baseline).sum::<f64>() / pairs.len().max(1) as f64;
    pairs.iter().map(|(candidate, baseline)| candidate - baseline + share * (baseline - mean)).collect()
}

/// Bounds and test of differences; the means of the arms are left at 0. `seed`: the digest of the inputs and a label.
pub fn tested(
    sample: &Sample,
    margin: Option<f64>,
    statistics: &Statistics,
    (inputs, label): (&str, &str),
    draws: u32,
) -> Row {
    let p = margin
        .filter(|_| statistics.method == Method::PairedSignFlip)
        .and_then(|margin| sign_flip_p(sample, margin, Seed::of(inputs, label), draws));
    Row { p: p.map(rounded), ..bounded(sample, statistics, (inputs, label), draws) }
}

pub(super) fn bounded(sample: &Sample, statistics: &Statistics, (inputs, label): (&str, &str), draws: u32) -> Row {
    let bounds = match statistics.method {
        Method::PairedSignFlip | Method::PairedT => t_bounds(sample, statistics.alpha),
        Method::BoundedMean => {
            let (units, grown) = sample.weighed();
            let (drop, seed) = (LARGEST_DROP * grown, Seed::of(inputs, &format!("{label} bounds")));
            bounded_mean::bounds(&units, -drop, drop, statistics.alpha, seed, draws)
        }
    };
    Row {
        clusters: sample.clusters().map(|n| n as u64),
        sd: unit_deviation(sample).map(rounded),
        difference: Some(rounded(sample.mean())),
        lower: bounds.map(|(lower, _)| rounded(lower)),
        upper: bounds.map(|(_, upper)| rounded(upper)),
        nonzero: Some(sample.changed() as u64),
        min: Some(rounded(sample.min())),
        ..Row::absolute(sample.len() as u64, 0.0)
    }
}

/// p of "not worse". Among hundreds of guardrails Holm asks for a p below the smallest that so many draws can give; more
/// draws for more guardrails would take the square of the time. Where no draw reached the sum, what no sum can exceed
/// stands instead: a p above the smallest drawn one is that of the draws, one below it is a bound, so that neither
/// rejects an unchanged slice too often.
pub(super) fn harm(sample: &Sample, seed: Seed) -> f64 {
    let p = harm_p(sample, seed, DRAWS);
    let none_reached = sample.units().len() > EXACT_UP_TO && p * (f64::from(DRAWS) + 1.0) < 1.5;
    if !none_reached {
        return p;
    }
    let sum: f64 = sample.units().iter().map(|unit| -unit.sum).sum();
    let squares: f64 = sample.units().iter().map(|unit| unit.sum * unit.sum).sum();
    p.min(holm::tail(sum, squares))
}

/// Lower bound of a mean of values in 0 to 1, by the method that holds at every number of queries: bounds from the spread are
/// sure of what was never seen to fail, and pass a floor of .9 that is just met 12 times in 100.
pub fn lower_of_mean(sample: &Sample, alpha: f64, seed: Seed) -> f64 {
    let (values, grown) = sample.weighed();
    let bound = bounded_mean::bounds(&values, 0.0, grown, alpha, seed, DRAWS).map(|(lower, _)| lower);
    bound.unwrap_or(0.0).clamp(0.0, 1.0)
}

/// Six decimals; never minus zero.
pub(super) fn rounded(x: f64) -> f64 {
    (x * 1e6).round() / 1e6 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_slice_of_hundreds_is_found() {
        // Beyond 250 guardrails 2m/alpha draws would be needed for a p that Holm rejects.
        let lost: Vec<f64> = (0..60).map(|i| if i % 3 == 0 { 0.1 } else { -0.3 }).collect();
        let broken = harm(&Sample::plain(&lost).unwrap(), Seed::of("i", "l"));
        assert!(broken < 0.05 / 2000.0, "{broken}");
        let mut all = vec![0.5; 1999];
        all.push(broken);
        assert!(holm::adjusted(&all)[1999] <= 0.05);
        // One that a draw reached has the p of the draws.
        let less: Vec<f64> = (0..60).map(|i| if i % 2 == 0 { 0.1 } else { -0.16 }).collect();
        let sample = Sample::plain(&less).unwrap();
        assert_eq!(harm(&sample, Seed::of("i", "l")), harm_p(&sample, Seed::of("i", "l"), DRAWS));
    }
}
