//! Names of metrics: a word, parameters in parentheses, a cut-off: `recall(rel=2)@10`, `rbp(p=0.8)`.

use std::fmt;
use std::str::FromStr;

/// Deepest cut-off.
pub const MAX_DEPTH: usize = 1000;
/// Highest grade from which on a document can be said to count.
const MAX_LEVEL: usize = 99;

/// Which quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// DCG over ideal DCG, linear gain.
    Ndcg,
    /// Relevant documents found, over those that exist.
    Recall,
    /// Whether a relevant document was found.
    Success,
    /// Relevant documents found, over the cut-off.
    Precision,
    /// Mean of the precisions at the ranks of relevant documents, over the relevant documents that exist.
    AveragePrecision,
    /// One over the rank of the first relevant document.
    ReciprocalRank,
    /// Precision at as many places as there are relevant documents.
    RPrecision,
    /// Preference of relevant over judged non-relevant documents.
    Bpref,
    /// Places with a document that is not judged for this query, over the cut-off.
    Unjudged,
    /// Places with a document that is judged for no query, over the cut-off.
    Hole,
    /// Relevant documents found, over those that could stand above the cut-off.
    CappedRecall,
    /// Rank-biased precision.
    RankBiased(Patience),
    /// Weight of the nuggets found, over the weight of all.
    TaskRecall,
    /// Whether every required nugget was found.
    TaskSuccess,
}

/// Chance of looking at the next place, in thousandths: 1 to 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience(u16);

impl Patience {
    pub fn share(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    /// `0.8`, without trailing zeros, so that each value has one name.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0.")?;
        if digits.is_empty() || digits.len() > 3 || digits.ends_with('0') || !digits.bytes().all(|b| b.is_ascii_digit())
        {
            return None;
        }
        format!("{digits:0<3}").parse().ok().map(Self)
    }
}

/// Whether a name has a cut-off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Needed,
    Possible,
    None,
}

/// A metric with its parameters and cut-off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    pub(super) quantity: Quantity,
    pub(super) cut: Option<usize>,
    /// Least grade of a relevant document, where the name says one.
    level: Option<u8>,
}

/// Why a name is not a metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no metric: write ndcg@k, recall@k, success@k, P@k, R_cap@k, map, mrr (alone or with @k), Rprec, bpref, \
     rbp(p=0.8), taskRecall@k, taskSuccess@k, unj@k or Hole@k with k from 1 to {MAX_DEPTH}; with (rel=2) grades below 2 \
     do not count, as in recall(rel=2)@10"
)]
pub struct UnknownMetric(pub String);

impl Quantity {
    /// Words, and whether a cut-off follows.
    fn of_word(word: &str) -> Option<(Self, Cut)> {
        Some(match word {
            "ndcg" => (Self::Ndcg, Cut::Possible),
            "recall" => (Self::Recall, Cut::Needed),
            "success" => (Self::Success, Cut::Needed),
            "P" => (Self::Precision, Cut::Needed),
            "map" => (Self::AveragePrecision, Cut::Possible),
            "mrr" => (Self::ReciprocalRank, Cut::Possible),
            "Rprec" => (Self::RPrecision, Cut::None),
            "bpref" => (Self::Bpref, Cut::None),
            "unj" => (Self::Unjudged, Cut::Needed),
            "Hole" => (Self::Hole, Cut::Needed),
            "R_cap" => (Self::CappedRecall, Cut::Needed),
            "taskRecall" => (Self::TaskRecall, Cut::Needed),
            "taskSuccess" => (Self::TaskSuccess, Cut::Needed),
            _ => return None,
        })
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Ndcg => "ndcg",
            Self::Recall => "recall",
            Self::Success => "success",
            Self::Precision => "P",
            Self::AveragePrecision => "map",
            Self::ReciprocalRank => "mrr",
            Self::RPrecision => "Rprec",
            Self::Bpref => "bpref",
            Self::Unjudged => "unj",
            Self::Hole => "Hole",
            Self::CappedRecall => "R_cap",
            Self::RankBiased(_) => "rbp",
            Self::TaskRecall => "taskRecall",
            Self::TaskSuccess => "taskSuccess",
        }
    }

    /// Whether it asks which documents are relevant, so that a least grade means something. Gains of ndcg are the
    /// grades themselves.
    const fn has_level(self) -> bool {
        match self {
            Self::Recall
            | Self::Success
            | Self::Precision
            | Self::AveragePrecision
            | Self::ReciprocalRank
            | Self::RPrecision
            | Self::Bpref
            | Self::CappedRecall
            | Self::RankBiased(_) => true,
            Self::Ndcg | Self::Unjudged | Self::Hole | Self::TaskRecall | Self::TaskSuccess => false,
        }
    }
}

impl Metric {
    /// Least grade of a relevant document.
    pub(super) fn least_grade(self) -> u32 {
        self.level.map_or(1, u32::from)
    }

    fn parse(name: &str) -> Option<Self> {
        let (name, cut) = match name.split_once('@') {
            Some((name, digits)) => (name, Some(number(digits, MAX_DEPTH)?)),
            None => (name, None),
        };
        let (word, parameters) = match name.split_once('(') {
            Some((word, rest)) => (word, Some(rest.strip_suffix(')')?)),
            None => (name, None),
        };
        let (quantity, rule, level) = match (word, parameters) {
            ("rbp", Some(parameters)) => {
                let (p, level) = match parameters.split_once(',') {
                    Some((p, level)) => (p, Some(level)),
                    None => (parameters, None),
                };
                (Quantity::RankBiased(Patience::parse(p.strip_prefix("p=")?)?), Cut::None, level)
            }
            (word, level) => {
                let (quantity, rule) = Quantity::of_word(word)?;
                (quantity, rule, level)
            }
        };
        let level = match level {
            Some(text) if quantity.has_level() => {
                Some(u8::try_from(number(text.strip_prefix("rel=")?, MAX_LEVEL)?).ok()?)
            }
            Some(_) => return None,
            None => None,
        };
        match (rule, cut) {
            (Cut::Needed, None) | (Cut::None, Some(_)) => None,
            (Cut::Needed, Some(_)) | (Cut::None, None) | (Cut::Possible, _) => Some(Self { quantity, cut, level }),
        }
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        Self::parse(name).ok_or_else(|| UnknownMetric(name.chars().take(64).collect()))
    }
}

/// A whole number from 1 on, written in one way only.
fn number(digits: &str, most: usize) -> Option<usize> {
    if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|n| (1..=most).contains(n))
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.quantity.word())?;
        match (self.quantity, self.level) {
            (Quantity::RankBiased(p), None) => write!(f, "(p={})", p.share())?,
            (Quantity::RankBiased(p), Some(level)) => write!(f, "(p={},rel={level})", p.share())?,
            (_, Some(level)) => write!(f, "(rel={level})")?,
            (_, None) => {}
        }
        match self.cut {
            Some(k) => write!(f, "@{k}"),
            None => Ok(()),
        }
    }
}
