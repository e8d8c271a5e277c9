//! The numbers that a verdict is made of: plain data, as a receipt carries them.
//!
//! Invariant: numbers that contradict each other are no numbers: a row that cannot come from any sample never passes.

use super::LEAST_COVERAGE;

/// Rows of slices that travel in a receipt, and so take part in a verdict.
pub const MAX_SLICE_ROWS: usize = 8;
/// Rounding to six decimals moves a number by this much at most, twice.
pub(super) const ROUNDING: f64 = 2e-6;

/// The numbers of one metric, over all queries or a slice of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Queries in the paired test; without a baseline the queries in the mean.
    pub n: u64,
    /// Clusters that these queries form; `None` where each query stands for itself.
    pub clusters: Option<u64>,
    pub candidate: f64,
    pub baseline: Option<f64>,
    /// One-sided lower bound of the candidate's mean.
    pub candidate_lower: Option<f64>,
    /// Standard error of the difference times the root of the independent units: s of the differences, where each
    /// query stands for itself.
    pub sd: Option<f64>,
    /// Mean difference of the paired test.
    pub difference: Option<f64>,
    /// One-sided bounds of the mean difference.
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    /// p of the sign-flip test against the margin.
    pub p: Option<f64>,
    /// Independent units with a difference that is not 0.
    pub nonzero: Option<u64>,
    /// Smallest difference of a query.
    pub min: Option<f64>,
}

impl Row {
    /// A row without a baseline.
    pub fn absolute(n: u64, candidate: f64) -> Self {
        Self {
            n,
            clusters: None,
            candidate,
            baseline: None,
            candidate_lower: None,
            sd: None,
            difference: None,
            lower: None,
            upper: None,
            p: None,
            nonzero: None,
            min: None,
        }
    }

    /// Independent units: clusters, or the queries themselves.
    pub fn units(&self) -> u64 {
        self.clusters.unwrap_or(self.n)
    }

    /// Whether what must be a share is one, and counts do not exceed what they count.
    pub(super) fn is_sound(&self) -> bool {
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let shares = share(self.candidate)
            && self.baseline.is_none_or(share)
            && self.p.is_none_or(share)
            && self.candidate_lower.is_none_or(|lower| share(lower) && lower <= self.candidate + ROUNDING);
        let counts = self.units() <= self.n && self.units() > 0 && self.nonzero.is_none_or(|n| n <= self.units());
        shares && counts
    }

    /// The numbers of a comparison, when all that the rules read are there and fit together.
    pub(super) fn compared(&self) -> Option<Compared> {
        let (difference, lower, upper) = (self.difference?, self.lower?, self.upper?);
        let (sd, nonzero, min) = (self.sd?, self.nonzero?, self.min?);
        self.baseline?;
        let finite = [difference, lower, upper, sd, min].iter().all(|x| x.is_finite());
        let ordered = lower <= difference + ROUNDING && difference <= upper + ROUNDING && min <= difference + ROUNDING;
        let possible = (-1.0..=1.0).contains(&min) && difference <= 1.0 + ROUNDING && sd >= 0.0;
        // Where nothing changed there is no difference, and where nothing is spread all differences are the mean.
        let still = nonzero > 0 || (difference.abs() <= ROUNDING && sd <= ROUNDING);
        (finite && ordered && possible && still).then_some(Compared { difference, lower, upper, sd, nonzero, min })
    }
}

/// See [`Row::compared`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    pub difference: f64,
    pub lower: f64,
    pub upper: f64,
    pub sd: f64,
    pub nonzero: u64,
    pub min: f64,
}

/// The numbers of one metric in one slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceRow {
    /// Index among the slices in bytewise order of key and value.
    pub slice: usize,
    /// `key=value`, shortened to what a receipt can carry.
    pub name: String,
    /// Index of the metric in the gate's order.
    pub metric: usize,
    /// Holm-adjusted p of "not worse", over all guardrails; `None` where the slice is too small to be one.
    pub harm: Option<f64>,
    pub row: Row,
}

/// The slice of the lowest mean on the gate's first metric, of those that are large enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    pub slice: usize,
    pub name: String,
    /// Queries in the means.
    pub n: u64,
    pub candidate: f64,
    pub baseline: Option<f64>,
}

/// How far unjudged documents could explain a drop. Exists where judgments are pooled and there is a baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unjudged {
    /// Mean share of the first ten documents that nobody judged.
    pub candidate: f64,
    pub baseline: f64,
    /// Mean difference on condensed lists, and its upper bound, of the gate's first metric that judgments decide.
    pub difference: f64,
    pub upper: Option<f64>,
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Queries asked.
    pub queries: u64,
    /// Queries that the candidate answered.
    pub candidate: u64,
    /// Queries that the baseline answered; `None`: the run was not to be compared with anything.
    pub baseline: Option<u64>,
}

impl Coverage {
    /// Whether an arm answered too few.
    pub fn is_low(answered: u64, queries: u64) -> bool {
        (answered as f64) < LEAST_COVERAGE * queries as f64
    }

    /// Said when an arm left too much unanswered.
    pub(super) fn low(&self) -> Option<String> {
        let arms = [("candidate", Some(self.candidate)), ("baseline", self.baseline)];
        arms.into_iter().find_map(|(arm, answered)| {
            let answered = answered?;
            Self::is_low(answered, self.queries).then(|| {
                format!(
                    "The {arm} answered {answered} of {} queries; at least {} % must be answered for a verdict.",
                    self.queries,
                    LEAST_COVERAGE * 100.0
                )
            })
        })
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    pub coverage: Coverage,
    /// A row for each rule, in the same order.
    pub rows: Vec<Row>,
    pub unjudged: Option<Unjudged>,
    /// Guardrails: slices that are large enough, times metrics that must hold; `None` without slices or a baseline.
    pub guardrails: Option<u64>,
    /// The first [`MAX_SLICE_ROWS`]: required slices, then those that lost most, then by p.
    pub slices: Vec<SliceRow>,
    pub worst: Option<Worst>,
    /// For each rule the sum of the differences of the revisions promoted since the anchor; what is missing counts 0.
    pub promoted: Vec<f64>,
}
