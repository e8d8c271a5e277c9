//! Metrics of one ranked list against the judgments of one query, with trec_eval's definitions where it has one.
//!
//! Layout: [`name`] names as users write them; [`judgments`] what is known of one query; [`gains`] a ranked list
//! looked up in it; here the formulas.
//!
//! Invariants: every value lies in [0, 1]; the order of the ranked list comes from [`super::run`], this module never
//! sorts documents; whether a higher value is better is [`Metric::higher_is_better`].

mod gains;
mod judgments;
mod name;

pub use gains::{Gains, Pool};
pub use judgments::{Judgments, MAX_NUGGETS, Nugget};
pub use name::{MAX_DEPTH, Metric, UnknownMetric};

use gains::Place;
use name::{Patience, Quantity};

impl Metric {
    /// Documents that this metric needs from an arm.
    pub fn depth(self) -> usize {
        self.cut.unwrap_or(MAX_DEPTH)
    }

    /// Whether a higher value is better. The shares of unjudged documents tell how far a number can be believed, not
    /// how good the list is: they are reported, or held below a `max`.
    pub fn higher_is_better(self) -> bool {
        match self.quantity {
            Quantity::Unjudged | Quantity::Hole => false,
            Quantity::Ndcg
            | Quantity::Recall
            | Quantity::Success
            | Quantity::Precision
            | Quantity::AveragePrecision
            | Quantity::ReciprocalRank
            | Quantity::RPrecision
            | Quantity::Bpref
            | Quantity::CappedRecall
            | Quantity::RankBiased(_)
            | Quantity::TaskRecall
            | Quantity::TaskSuccess => true,
        }
    }

    /// Whether it asks which documents are judged for any query at all.
    pub fn needs_pool(self) -> bool {
        self.quantity == Quantity::Hole
    }

    /// Whether it asks for nuggets in place of judgments.
    pub fn needs_nuggets(self) -> bool {
        matches!(self.quantity, Quantity::TaskRecall | Quantity::TaskSuccess)
    }

    /// Whether the query has what the metric counts; a query without nuggets is in no mean of nuggets.
    pub fn counts(self, judgments: &Judgments) -> bool {
        let nuggets = judgments.nuggets();
        if self.quantity == Quantity::TaskSuccess {
            return nuggets.iter().any(|nugget| nugget.required);
        }
        !(self.needs_nuggets() && nuggets.is_empty())
    }

    /// Whether two lists can differ on this query: not where no document is relevant, there every list has value 0.
    pub fn can_differ(self, judgments: &Judgments) -> bool {
        match self.quantity {
            Quantity::Unjudged | Quantity::Hole => true,
            Quantity::TaskRecall | Quantity::TaskSuccess => self.counts(judgments),
            Quantity::Ndcg => judgments.relevant() > 0,
            Quantity::Recall
            | Quantity::Success
            | Quantity::Precision
            | Quantity::AveragePrecision
            | Quantity::ReciprocalRank
            | Quantity::RPrecision
            | Quantity::Bpref
            | Quantity::CappedRecall
            | Quantity::RankBiased(_) => judgments.relevant_from(self.least_grade()) > 0,
        }
    }

    /// What a query needs for two lists to differ on it, in words.
    pub fn wants(self) -> String {
        match (self.quantity, self.least_grade()) {
            (Quantity::TaskRecall, _) => "a nugget".to_owned(),
            (Quantity::TaskSuccess, _) => "a required nugget".to_owned(),
            (_, 1) => "a relevant document".to_owned(),
            (_, grade) => format!("a document of grade {grade} or above"),
        }
    }

    /// Value of one query. 0 where there is nothing to find.
    pub fn value(self, gains: &Gains) -> f64 {
        let list = List { gains, level: self.least_grade(), cut: self.cut };
        match self.quantity {
            Quantity::Ndcg => list.ndcg(),
            Quantity::Recall => ratio(list.hits(), list.relevant()),
            Quantity::Success => f64::from(u8::from(list.hits() > 0)),
            Quantity::Precision => ratio(list.hits(), self.depth()),
            Quantity::AveragePrecision => list.average_precision(),
            Quantity::ReciprocalRank => {
                list.top().position(|place| list.finds(place)).map_or(0.0, |i| ratio(1, i.saturating_add(1)))
            }
            Quantity::RPrecision => ratio(list.hits_in(list.relevant()), list.relevant()),
            Quantity::Bpref => list.bpref(),
            Quantity::Unjudged => ratio(list.top().filter(|place| place.grade.is_none()).count(), self.depth()),
            Quantity::Hole => ratio(list.top().filter(|place| place.hole).count(), self.depth()),
            Quantity::CappedRecall => ratio(list.hits(), list.relevant().min(self.depth())),
            Quantity::RankBiased(patience) => list.rank_biased(patience),
            Quantity::TaskRecall => gains.covered_weight(self.depth()),
            Quantity::TaskSuccess => f64::from(u8::from(gains.all_required_covered(self.depth()))),
        }
    }

    /// What the documents that nobody judged, and those beyond the end of the list, could add at most: for
    /// rank-biased precision, whose sum never ends.
    pub fn residual(self, gains: &Gains) -> Option<f64> {
        let Quantity::RankBiased(patience) = self.quantity else { return None };
        let unjudged = weights(patience).zip(&gains.ranked).filter(|(_, place)| place.grade.is_none());
        let beyond = weights(patience).nth(gains.ranked.len()).map_or(0.0, |weight| weight / (1.0 - patience.share()));
        Some(beyond + unjudged.map(|(weight, _)| weight).sum::<f64>())
    }
}

/// A ranked list as one metric looks at it.
struct List<'a> {
    gains: &'a Gains,
    /// Least grade of a relevant document.
    level: u32,
    cut: Option<usize>,
}

impl List<'_> {
    fn top(&self) -> impl Iterator<Item = &Place> {
        self.gains.ranked.iter().take(self.cut.unwrap_or(usize::MAX))
    }

    fn finds(&self, place: &Place) -> bool {
        place.grade.is_some_and(|grade| grade >= self.level)
    }

    /// Relevant documents that exist.
    fn relevant(&self) -> usize {
        self.gains.judged_from(self.level)
    }

    fn hits(&self) -> usize {
        self.top().filter(|place| self.finds(place)).count()
    }

    fn hits_in(&self, first: usize) -> usize {
        self.gains.ranked.iter().take(first).filter(|place| self.finds(place)).count()
    }

    /// Järvelin and Kekäläinen, *Cumulated gain-based evaluation of IR techniques*, TOIS 2002, with the grade itself as
    /// gain and the discount log2(rank + 1), as trec_eval's ndcg and ndcg_cut.
    fn ndcg(&self) -> f64 {
        let ideal = discounted(self.gains.grades.iter().copied().take(self.cut.unwrap_or(usize::MAX)));
        if ideal > 0.0 { discounted(self.top().map(|place| place.grade.unwrap_or(0))) / ideal } else { 0.0 }
    }

    fn average_precision(&self) -> f64 {
        let ranks = self.top().zip(1_usize..).filter(|(place, _)| self.finds(place)).map(|(_, rank)| rank);
        let sum: f64 = ranks.zip(1_usize..).map(|(rank, found)| ratio(found, rank)).sum();
        let relevant = self.relevant();
        if relevant == 0 { 0.0 } else { sum / count(relevant) }
    }

    /// Buckley and Voorhees, *Retrieval evaluation with incomplete information*, SIGIR 2004, in the form of trec_eval:
    /// a relevant document counts less for each judged non-relevant one above it, unjudged ones are passed over.
    fn bpref(&self) -> f64 {
        let relevant = self.relevant();
        let rejected = self.gains.grades.len().saturating_sub(relevant);
        let (mut above, mut sum) = (0_usize, 0.0);
        for grade in self.gains.ranked.iter().filter_map(|place| place.grade) {
            if grade < self.level {
                above = above.saturating_add(1);
            } else if above == 0 {
                sum += 1.0;
            } else {
                sum += 1.0 - ratio(above.min(relevant), rejected.min(relevant));
            }
        }
        if relevant == 0 { 0.0 } else { sum / count(relevant) }
    }

    /// Moffat and Zobel, *Rank-biased precision for measurement of retrieval effectiveness*, TOIS 2008, with gain 1 for a
    /// relevant document.
    fn rank_biased(&self, patience: Patience) -> f64 {
        weights(patience).zip(self.top()).filter(|(_, place)| self.finds(place)).map(|(weight, _)| weight).sum()
    }
}

/// (1-p), (1-p)p, (1-p)p², …
fn weights(patience: Patience) -> impl Iterator<Item = f64> {
    let p = patience.share();
    std::iter::successors(Some(1.0 - p), move |weight| Some(weight * p))
}

fn discounted(gains: impl Iterator<Item = u32>) -> f64 {
    gains.zip(1_u32..).map(|(gain, rank)| f64::from(gain) / (f64::from(rank) + 1.0).log2()).sum()
}

/// 0 where there is nothing to divide by.
fn ratio(a: usize, b: usize) -> f64 {
    if b == 0 { 0.0 } else { count(a) / count(b) }
}

/// Counts here stay far below 2^53.
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests;
