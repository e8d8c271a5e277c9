//! Differences of made-up runs whose truth is known, and how often the rules pass them.
//!
//! Shared by the test and the bench, so that both speak of the same populations. Every sample has its own seed, made of
//! the population's name and a running number: a rate can be computed again.

use rag_operator::evaluation::inference::tested;
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
    /// 6 % of the queries flip, as those of success@1 do: at mean -.02 4 % lose 1, 2 % win 1.
    Flips,
}

impl Shape {
    pub const ALL: [Self; 4] = [Self::Dense, Self::Sparse, Self::Lost, Self::Flips];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense, sd .10",
            Self::Sparse => "70 % unchanged, others up to .6",
            Self::Lost => "4 % of queries lose .5",
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
