//! What must hold of a metric, and how a difference is judged.
//!
//! Invariants: a [`Rule`] that exists names a known metric and holds values in their ranges; required slices fit into
//! a receipt, with room for the worst of the others.

use std::fmt;

use super::comparing::LEAST_QUERIES;
use super::evidence::MAX_SLICE_ROWS;
use crate::evaluation::metric::{Metric, UnknownMetric};

/// How a difference is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Bounds of Student's t, and a sign-flip test that can only take a Pass away.
    PairedSignFlip,
    /// The bounds alone.
    PairedT,
    /// Bounds that hold at every number of queries ([`crate::evaluation::bounded_mean`]).
    BoundedMean,
}

/// Method, one-sided error rate, and what is independent.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    pub method: Method,
    pub alpha: f64,
    /// Metadata key of the clusters that queries form; `None`: each query stands for itself.
    pub cluster_by: Option<String>,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { method: Method::PairedSignFlip, alpha: 0.05, cluster_by: None }
    }
}

impl Statistics {
    /// Checks the error rate and the key.
    pub fn new(method: Method, alpha: f64, cluster_by: Option<String>) -> Result<Self, RuleError> {
        if !(0.001..=0.2).contains(&alpha) {
            return Err(RuleError::Alpha(alpha));
        }
        match cluster_by {
            Some(key) if key.is_empty() || key.len() > MAX_NAME => Err(RuleError::ClusterBy(key)),
            cluster_by => Ok(Self { method, alpha, cluster_by }),
        }
    }

    pub(super) fn confidence_percent(&self) -> f64 {
        percent(1.0 - self.alpha)
    }
}

/// Smallest margin: the numbers that are judged have six decimals.
const LEAST_MARGIN: f64 = 0.000_001;

/// Largest acceptable drop against the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Margin {
    Absolute(f64),
    /// Share of the baseline's mean.
    Relative(f64),
}

impl Margin {
    /// The drop itself. A share is taken of the baseline's mean in the same run, with the six decimals that a receipt
    /// carries: pod and operator find the same number. `None`: no mean to take it of.
    pub fn against(self, baseline: Option<f64>) -> Option<f64> {
        match self {
            Self::Absolute(drop) => Some(drop),
            Self::Relative(share) => {
                let mean = baseline.filter(|mean| (0.0..=1.0).contains(mean))?;
                Some(((share * mean * 1e6).round() / 1e6).max(LEAST_MARGIN))
            }
        }
    }

    /// The share of the baseline's mean; 0 where the drop does not depend on it.
    pub fn share(self) -> f64 {
        match self {
            Self::Absolute(_) => 0.0,
            Self::Relative(share) => share,
        }
    }

    /// The drop if the baseline's mean were 1, the most it can be.
    pub fn at_most(self) -> f64 {
        match self {
            Self::Absolute(drop) => drop,
            Self::Relative(share) => share,
        }
    }
}

impl fmt::Display for Margin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(drop) => write!(f, "{drop}"),
            Self::Relative(share) => write!(f, "{} % of the baseline", percent(*share)),
        }
    }
}

/// What a user wants of a metric, unchecked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wanted {
    pub margin: Option<Margin>,
    pub floor: Option<f64>,
    /// The floor must hold at the lower bound of the mean.
    pub confident: bool,
    pub max: Option<f64>,
    pub required: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { margin: None, floor: None, confident: false, max: None, required: true }
    }
}

/// What must hold of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    pub(super) metric: Metric,
    pub(super) wanted: Wanted,
}
/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RuleError {
    #[error(transparent)]
    Metric(#[from] UnknownMetric),
    #[error("{metric}: margin must be at least 0.000001 and at most 1; got {found}")]
    Margin { metric: Metric, found: f64 },
    #[error(
        "{metric}: relativeMargin must be above 0 and below 1, such as 0.03 for 3 % of the baseline's mean; got {found}"
    )]
    Relative { metric: Metric, found: f64 },
    #[error("{metric}: {field} must lie between 0 and 1; got {found}")]
    Share { metric: Metric, field: &'static str, found: f64 },
    #[error("{0}: at least one of margin, floor and max must be set")]
    Nothing(Metric),
    #[error("{0}: a lower value is better, so that it takes max only; remove margin and floor, and set max")]
    LowerIsBetter(Metric),
    #[error("{0}: confident needs a floor, whose lower bound it asks for")]
    Confident(Metric),
    #[error("alpha must lie between 0.001 and 0.2; got {0}")]
    Alpha(f64),
    #[error("clusterBy must name a key of the queries' metadata with 1 to {MAX_NAME} characters; got `{0}`")]
    ClusterBy(String),
}

impl Rule {
    /// Checks a rule as a user wrote it. What is only reported need not demand anything.
    pub fn new(name: &str, wanted: Wanted) -> Result<Self, RuleError> {
        let metric: Metric = name.parse()?;
        match wanted.margin {
            Some(Margin::Absolute(found)) if !(LEAST_MARGIN..=1.0).contains(&found) => {
                return Err(RuleError::Margin { metric, found });
            }
            Some(Margin::Relative(found)) if !(LEAST_MARGIN..1.0).contains(&found) => {
                return Err(RuleError::Relative { metric, found });
            }
            Some(Margin::Absolute(_) | Margin::Relative(_)) | None => {}
        }
        for (field, value) in [("floor", wanted.floor), ("max", wanted.max)] {
            if let Some(found) = value.filter(|x| !(0.0..=1.0).contains(x)) {
                return Err(RuleError::Share { metric, field, found });
            }
        }
        if !metric.higher_is_better() && (wanted.margin.is_some() || wanted.floor.is_some()) {
            return Err(RuleError::LowerIsBetter(metric));
        }
        if wanted.confident && wanted.floor.is_none() {
            return Err(RuleError::Confident(metric));
        }
        let rule = Self { metric, wanted };
        if wanted.required { rule.demanding() } else { Ok(rule) }
    }

    /// The rule, if it demands anything.
    pub fn demanding(self) -> Result<Self, RuleError> {
        let Wanted { margin, floor, max, .. } = self.wanted;
        if margin.is_none() && floor.is_none() && max.is_none() {
            return Err(RuleError::Nothing(self.metric));
        }
        Ok(self)
    }

    /// The metric.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Largest acceptable drop against the baseline, as it was asked for.
    pub fn margin(&self) -> Option<Margin> {
        self.wanted.margin
    }

    /// Least mean of the candidate.
    pub fn floor(&self) -> Option<f64> {
        self.wanted.floor
    }

    /// Whether the floor must hold at the lower bound.
    pub fn confident(&self) -> bool {
        self.wanted.confident
    }

    /// Largest mean of the candidate.
    pub fn max(&self) -> Option<f64> {
        self.wanted.max
    }

    /// Whether the gate's verdict depends on it.
    pub fn required(&self) -> bool {
        self.wanted.required
    }

    /// What must hold, in words.
    pub fn in_words(&self) -> String {
        let mut words = [self.margin().map(|margin| format!("drop at most {margin}")), self.limits()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(", ");
        if !self.required() {
            words.push_str(if words.is_empty() { "reported only" } else { " (reported only)" });
        }
        words
    }

    /// What must hold without a baseline, in words.
    pub(super) fn limits(&self) -> Option<String> {
        let sure = if self.confident() { " at the lower bound" } else { "" };
        let floor = self.floor().map(|floor| format!("at least {floor}{sure}"));
        let max = self.max().map(|max| format!("at most {max}"));
        let parts: Vec<String> = [floor, max].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// Which groups of queries are looked at beside the whole, and what must hold of them.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceRules {
    by: Vec<String>,
    min_queries: u64,
    worst_group_floor: Option<f64>,
    required: Vec<String>,
}

/// Why rules of slices are none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SliceError {
    #[error("by must name 1 to {MAX_KEYS} different keys of the queries' metadata, each of 1 to {MAX_NAME} characters")]
    By,
    #[error("minQueries must be from {LEAST_QUERIES} to 1000000; got {0}")]
    MinQueries(u64),
    #[error("worstGroupFloor must lie between 0 and 1; got {0}")]
    WorstGroupFloor(f64),
    #[error("required: `{0}` is no slice of this gate; write one of its keys and a value, such as `{1}=legal`")]
    Required(String, String),
    #[error(
        "nothing is asked of required slices: they are held to the margins of required metrics, and there is none; give a \
         required metric a margin, or use worstGroupFloor"
    )]
    Nothing,
    #[error(
        "worstGroupFloor holds the gate's first metric, of which a lower value is better; put a metric first of which a higher \
         one is"
    )]
    LowerIsBetter,
    #[error("required: `{0}` stands twice")]
    Twice(String),
    #[error(
        "required slices times required metrics with a margin make {0} rows, a receipt has room for {MAX_REQUIRED_ROWS}; require fewer"
    )]
    TooMany(usize),
}

/// Most keys that make slices.
const MAX_KEYS: usize = 4;
/// Longest key, and longest name `key=value` of a required slice.
const MAX_NAME: usize = 63;
/// Rows of required slices: a receipt has eight, and one is kept for the worst of the others.
const MAX_REQUIRED_ROWS: usize = MAX_SLICE_ROWS - 1;

impl SliceRules {
    /// Checks what a user wrote; `rules` are those of the gate.
    pub fn new(
        by: Vec<String>,
        min_queries: u64,
        worst_group_floor: Option<f64>,
        required: Vec<String>,
        rules: &[Rule],
    ) -> Result<Self, SliceError> {
        let key_is_one = |key: &String| (1..=MAX_NAME).contains(&key.len()) && !key.contains('=');
        let once = |list: &[String], i: usize| list.iter().take(i).all(|before| Some(before) != list.get(i));
        if by.is_empty() || by.len() > MAX_KEYS || !by.iter().all(key_is_one) || !(0..by.len()).all(|i| once(&by, i)) {
            return Err(SliceError::By);
        }
        if !(LEAST_QUERIES..=1_000_000).contains(&min_queries) {
            return Err(SliceError::MinQueries(min_queries));
        }
        if let Some(found) = worst_group_floor.filter(|floor| !(0.0..=1.0).contains(floor)) {
            return Err(SliceError::WorstGroupFloor(found));
        }
        for (i, slice) in required.iter().enumerate() {
            let known =
                slice.split_once('=').is_some_and(|(key, value)| by.iter().any(|b| b == key) && !value.is_empty());
            if !known || slice.len() > MAX_NAME {
                return Err(SliceError::Required(slice.clone(), by.first().cloned().unwrap_or_default()));
            }
            if !once(&required, i) {
                return Err(SliceError::Twice(slice.clone()));
            }
        }
        let guarded = rules.iter().filter(|rule| guarded(rule)).count();
        if guarded == 0 && !required.is_empty() {
            return Err(SliceError::Nothing);
        }
        if worst_group_floor.is_some() && rules.first().is_some_and(|rule| !rule.metric().higher_is_better()) {
            return Err(SliceError::LowerIsBetter);
        }
        match required.len().saturating_mul(guarded) {
            rows if rows > MAX_REQUIRED_ROWS => Err(SliceError::TooMany(rows)),
            _ => Ok(Self { by, min_queries, worst_group_floor, required }),
        }
    }

    /// Keys of the queries' metadata.
    pub fn by(&self) -> &[String] {
        &self.by
    }

    /// Fewest queries of a slice that can fail a gate.
    pub fn min_queries(&self) -> u64 {
        self.min_queries
    }

    /// Least mean of the worst slice on the gate's first metric.
    pub fn worst_group_floor(&self) -> Option<f64> {
        self.worst_group_floor
    }

    /// Names `key=value` of the slices that must pass like the whole.
    pub fn required(&self) -> &[String] {
        &self.required
    }
}

/// The first metric that judgments decide: what unjudged documents can make look worse. Where it stands, and it.
pub fn judged_by(rules: &[Rule]) -> Option<(usize, Metric)> {
    let mut metrics = rules.iter().map(Rule::metric).enumerate();
    metrics.find(|(_, metric)| metric.higher_is_better() && !metric.needs_nuggets())
}

/// Whether slices are held against this rule: it must hold, and there is a margin to hold them to.
pub fn guarded(rule: &Rule) -> bool {
    rule.required() && rule.margin().is_some()
}

/// Everything that a gate's verdict is made by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Criteria<'a> {
    pub rules: &'a [Rule],
    pub statistics: &'a Statistics,
    pub slices: Option<&'a SliceRules>,
    /// Most that a metric may have lost since the anchor, this release included.
    pub max_cumulative_drop: Option<f64>,
}

fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}
