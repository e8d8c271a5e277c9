//! Differences of made-up runs whose truth is known, and how often the rules pass them.
//!
//! Shared by the test and the bench, so that both speak of the same populations. Every sample has its own seed, made of
//! the population's name and a running number: a rate can be computed again.

use rag_operator::evaluation::inference::{differences, lower_of_mean, tested};
use rag_operator::evaluation::paired::Seed;
use rag_operator::evaluation::sample::Sample;
use rag_operator::evaluation::verdict::{
    Coverage, Criteria, Evidence, Margin, Method, Row, Rule, Statistics, Verdict, Wanted, judge,
};
use rand_core::RngCore;
use rand_pcg::Pcg64;

/// The margin of all tables.
pub const MARGIN: f64 = 0.02;
const ALPHA: f64 = 0.05;

/// How differences of queries are spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Normal with standard deviation .10: every query changes a little.
    Dense,
    /// 70 % unchanged, the others up or down by up to .6, evenly.
    Sparse,
    /// 4 % of the queries lose .5, the others are unchanged. Mean -.02 only.
    Lost,
    /// About 2 % of the queries lose .99, every other one changes by .01. Mean -.02 only.
    LostAmongChanges,
    /// 5 % of the queries lose .4, the others are unchanged. Mean -.02 only.
    LostLess,
    /// 6 % of the queries flip, as those of success@1 do: at mean -.02 4 % lose 1, 2 % win 1.
    Flips,
}

impl Shape {
    pub const ALL: [Self; 6] =
        [Self::Dense, Self::Sparse, Self::Lost, Self::LostAmongChanges, Self::LostLess, Self::Flips];

    /// Whether it can have another mean than -.02.
    pub const fn moves(self) -> bool {
        match self {
            Self::Dense | Self::Sparse | Self::Flips => true,
            Self::Lost | Self::LostAmongChanges | Self::LostLess => false,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense, sd .10",
            Self::Sparse => "70 % unchanged, others up to .6",
            Self::Lost => "4 % of queries lose .5",
            Self::LostAmongChanges => "2 % lose .99, others change by .01",
            Self::LostLess => "5 % of queries lose .4",
            Self::Flips => "success@1, 6 % flip",
        }
    }

    /// One difference of a population with this mean.
    pub fn draw(self, mean: f64, random: &mut impl RngCore) -> f64 {
        match self {
            Self::Dense => mean + 0.1 * normal(random),
            Self::Sparse => {
                let size = 0.6 * uniform(random);
                let up = uniform(random) < 0.5 + mean / 0.18;
                if uniform(random) < 0.7 {
                    0.0
                } else if up {
                    size
                } else {
                    -size
                }
            }
            Self::Lost => {
                if uniform(random) < 0.04 {
                    -0.5
                } else {
                    0.0
                }
            }
            Self::LostAmongChanges => {
                if uniform(random) < 0.02 / 0.99 {
                    -0.99
                } else if uniform(random) < 0.5 {
                    0.01
                } else {
                    -0.01
                }
            }
            Self::LostLess => {
                if uniform(random) < 0.05 {
                    -0.4
                } else {
                    0.0
                }
            }
            Self::Flips => {
                let u = uniform(random);
                if u < 0.03 - mean / 2.0 {
                    -1.0
                } else if u < 0.06 {
                    1.0
                } else {
                    0.0
                }
            }
        }
    }
}

pub fn uniform(random: &mut impl RngCore) -> f64 {
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Box and Muller.
pub fn normal(random: &mut impl RngCore) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(random)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(random)).cos()
}

/// How often each part says Pass.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// The lower bound reaches the margin.
    pub bound: f64,
    /// p of the sign-flip test is at most alpha.
    pub test: f64,
    /// The whole verdict.
    pub verdict: f64,
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub method: Method,
    pub repetitions: u32,
    /// Draws of a test or bound.
    pub draws: u32,
}

impl Plan {
    /// Rates of samples of `n` queries of a population.
    pub fn rates(self, shape: Shape, mean: f64, n: usize) -> Rates {
        self.rates_of(&format!("{} {mean} {n}", shape.name()), |random| {
            let values: Vec<f64> = (0..n).map(|_| shape.draw(mean, random)).collect();
            Sample::plain(&values)
        })
    }

    /// Rates of any samples.
    pub fn rates_of(self, name: &str, sample: impl Fn(&mut Pcg64) -> Option<Sample>) -> Rates {
        let statistics = Statistics { method: self.method, alpha: ALPHA, cluster_by: None };
        let (mut bound, mut test, mut verdict) = (0_u32, 0_u32, 0_u32);
        for i in 0..self.repetitions {
            let inputs = format!("{name} {i}");
            let Some(sample) = sample(&mut Seed::of(&inputs, "sample").generator()) else { continue };
            let row = tested(&sample, Some(MARGIN), &statistics, (&inputs, "test"), self.draws);
            bound += u32::from(row.lower.is_some_and(|lower| lower >= -MARGIN));
            test += u32::from(row.p.is_some_and(|p| p <= ALPHA));
            verdict += u32::from(passes(&row, &statistics));
        }
        let share = |count: u32| f64::from(count) / f64::from(self.repetitions);
        Rates { bound: share(bound), test: share(test), verdict: share(verdict) }
    }
}

/// Whether the whole verdict passes these differences.
pub fn passes(row: &Row, statistics: &Statistics) -> bool {
    let wanted = Wanted { margin: Some(Margin::Absolute(MARGIN)), ..Wanted::default() };
    let Ok(rule) = Rule::new("ndcg@10", wanted) else { return false };
    let rules = [rule];
    let criteria = Criteria { rules: &rules, statistics, slices: None, max_cumulative_drop: None };
    let coverage = Coverage { queries: row.n, candidate: row.n, baseline: Some(row.n) };
    // Means that differ as the queries do: others would be refused.
    let half = row.difference.unwrap_or(0.0) / 2.0;
    let rows = vec![Row { candidate: 0.5 + half, baseline: Some(0.5 - half), ..*row }];
    let evidence = Evidence {
        coverage,
        rows,
        unjudged: None,
        guardrails: None,
        slices: Vec::new(),
        worst: None,
        promoted: Vec::new(),
    };
    judge(&criteria, &evidence).gate.verdict() == Verdict::Pass
}

/// A candidate that lost exactly the share of the baseline's mean that it may lose.
#[derive(Clone, Copy, Debug)]
pub struct Relative {
    pub share: f64,
    /// Whether the baseline is .9 or .3 by chance; else it is spread about .5.
    pub two_values: bool,
    /// Deviation of what the candidate has beside it.
    pub sd: f64,
}

impl Relative {
    pub const ALL: [(&str, Self); 3] = [
        ("share .04, baseline .5 with sd .15, sd .1", Self { share: 0.04, two_values: false, sd: 0.1 }),
        ("share .1, baseline .9 or .3, sd .05", Self { share: 0.1, two_values: true, sd: 0.05 }),
        ("share .2, baseline .9 or .3, sd .05", Self { share: 0.2, two_values: true, sd: 0.05 }),
    ];

    /// How often the lower bound of 200 queries reaches the margin.
    pub fn passed(self, repetitions: u32) -> Option<f64> {
        let statistics = Statistics { method: Method::PairedT, alpha: ALPHA, cluster_by: None };
        let (mean, mut passed) = (if self.two_values { 0.6 } else { 0.5 }, 0_u32);
        for i in 0..repetitions {
            let inputs = format!("{self:?} {i}");
            let mut random = Seed::of(&inputs, "sample").generator();
            let pairs: Vec<(f64, f64)> = (0..200)
                .map(|_| {
                    let baseline = match self.two_values {
                        true => {
                            if uniform(&mut random) < 0.5 {
                                0.9
                            } else {
                                0.3
                            }
                        }
                        false => mean + 0.15 * normal(&mut random),
                    };
                    (baseline - self.share * mean + self.sd * normal(&mut random), baseline)
                })
                .collect();
            let margin = Margin::Relative(self.share).against(Some(pairs.iter().map(|(_, b)| b).sum::<f64>() / 200.0));
            let sample = Sample::plain(&differences(&pairs, self.share))?;
            let row = tested(&sample, None, &statistics, (&inputs, "test"), 0);
            passed += u32::from(row.lower.zip(margin).is_some_and(|(lower, margin)| lower >= -margin));
        }
        Some(f64::from(passed) / f64::from(repetitions))
    }
}

/// Exact rate at which a floor that is just met holds at the lower bound, where each query has 0 or 1 (success@1).
pub fn exact_floor(n: u32, floor: f64) -> f64 {
    let (mut passed, mut probability) = (0.0, floor.powi(i32::try_from(n).unwrap_or(i32::MAX)));
    // P(all found), then one less; what is far from the floor adds nothing.
    for missed in 0..=n / 2 {
        let values: Vec<f64> = (0..n).map(|i| if i < missed { 0.0 } else { 1.0 }).collect();
        let lower = Sample::plain(&values).map(|sample| lower_of_mean(&sample, ALPHA, Seed::of("exact", "floor")));
        match lower {
            Some(lower) if lower >= floor => passed += probability,
            Some(_) | None => break,
        }
        probability *= f64::from(n - missed) / f64::from(missed + 1) * ((1.0 - floor) / floor);
    }
    passed
}

/// Exact rate at which samples of [`Shape::Lost`] pass: the number of lost queries is binomial, and everything else
/// follows from it. Gives the rate of the bound alone and of the whole verdict.
pub fn exact_lost(n: u32, method: Method) -> (f64, f64) {
    let statistics = Statistics { method, alpha: ALPHA, cluster_by: None };
    let (mut bound, mut verdict) = (0.0, 0.0);
    // P(0), then P(k + 1) from P(k).
    let mut probability = 0.96_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    for lost in 0..=n.min(60) {
        let values: Vec<f64> = (0..n).map(|i| if i < lost { -0.5 } else { 0.0 }).collect();
        if let Some(sample) = Sample::plain(&values) {
            let row = tested(&sample, Some(MARGIN), &statistics, ("exact", "lost"), 1_000);
            if row.lower.is_some_and(|lower| lower >= -MARGIN) {
                bound += probability;
            }
            if passes(&row, &statistics) {
                verdict += probability;
            }
        }
        probability *= f64::from(n - lost) / f64::from(lost + 1) * (0.04 / 0.96);
    }
    (bound, verdict)
}
