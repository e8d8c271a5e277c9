//! One metric against its margin: what is decided once there is a baseline.

use super::evidence::Compared;
use super::{Judged, Method, Reason, Row, Statistics, Unjudged, no_data};
use crate::evaluation::metric::Metric;
use crate::evaluation::paired::{certifiable_margin, count_bound, floor_queries, power_queries};

/// Fewest queries of any comparison.
pub(super) const LEAST_QUERIES: u64 = 10;
/// With fewer differences that matter, and one that is a lost query, no variance can be believed.
const SKEW_LOSSES: f64 = 5.0;
const SKEW_DROP: f64 = -0.5;
/// From so many on the number of losses is near enough to normal for the bounds.
const MANY_LOSSES: f64 = 10.0;

/// A share of unjudged documents beyond the baseline's by more than this can explain a drop.
const UNJUDGED_GAP: f64 = 0.10;
/// Room for sums that differ by rounding alone.
const ROUNDING: f64 = 1e-9;

/// One metric against its margin, over all queries or a slice of them.
pub(super) struct Comparing<'a> {
    /// What is measured, as a sentence begins with it: `ndcg@10`, `ndcg@10 of domain=legal`.
    pub subject: String,
    pub row: &'a Row,
    /// `None`: a share of a mean that is missing.
    pub margin: Option<f64>,
    pub statistics: &'a Statistics,
    pub unjudged: Option<Unjudged>,
    /// The metric that condensed lists were measured by.
    pub judged_by: Option<Metric>,
    /// Most that may be lost since the anchor, and the sum of the differences so far.
    pub cumulative: Option<(f64, f64)>,
}

/// The smallest margin that a row could have passed; `None`: none, it has too few queries.
pub fn best_margin(row: &Row, statistics: &Statistics) -> Option<f64> {
    let few = row.compared().and_then(|numbers| few_losses(row, &numbers, statistics)).map(|losses| losses.lower);
    let lower = row.lower.map(|lower| few.map_or(lower, |few| few.min(lower)));
    (row.units() >= LEAST_QUERIES).then(|| certifiable_margin(row.units(), statistics.alpha, lower))
}

/// Losses that make up the variance, if they are few: as many of the largest one as give the same sum of squares. Counted so,
/// and not by what is not 0, hundreds of tiny differences beside them hide nothing.
fn few_losses(row: &Row, numbers: &Compared, statistics: &Statistics) -> Option<Losses> {
    let by_variance = match statistics.method {
        Method::PairedSignFlip | Method::PairedT => true,
        Method::BoundedMean => false,
    };
    let (units, largest) = (row.units() as f64, numbers.difference - numbers.min);
    if !by_variance || largest <= ROUNDING {
        return None;
    }
    let count = ((units - 1.0) * numbers.sd * numbers.sd / (largest * largest)).max(0.0);
    // Large wins make a spread, too, and say nothing of a loss that stands nearly alone.
    if count >= MANY_LOSSES && numbers.nonzero as f64 >= SKEW_LOSSES {
        return None;
    }
    let unseen = count_bound(count, statistics.alpha)? - count;
    Some(Losses { count, lower: numbers.difference - largest / units * unseen })
}

/// See [`few_losses`].
struct Losses {
    count: f64,
    /// Lower bound of the mean difference, if their number is one that chance made small.
    lower: f64,
}

impl Comparing<'_> {
    pub fn judge(&self) -> Judged {
        let row = self.row;
        let Some(margin) = self.margin else { return no_data(&self.subject) };
        let numbers = row.compared();
        if let Some(biased) = numbers.as_ref().and_then(|numbers| self.unjudged_bias(numbers)) {
            return biased;
        }
        let units = self.units(row.units());
        let too_few =
            || self.undecided(Reason::TooFewQueries, margin, format!("{units} are too few for a margin of {margin}"));
        if row.units() < LEAST_QUERIES {
            return too_few();
        }
        let Some(Compared { difference, lower, upper, .. }) = numbers else { return no_data(&self.subject) };
        if upper < -margin || (upper < 0.0 && difference <= -margin) {
            let meaning = format!("a proven regression, a drop of at most {margin} is allowed");
            return self.decided(Reason::RegressionProven, &meaning);
        }
        if let Some(spent) = self.cumulative_drop(difference) {
            return spent;
        }
        if floor_queries(margin, self.statistics.alpha).is_none_or(|floor| row.units() < floor) {
            return too_few();
        }
        if let Some(why) = numbers.and_then(|numbers| self.skew(&numbers, margin)) {
            return self.undecided(Reason::Underpowered, margin, why);
        }
        if lower >= -margin && self.test_agrees() {
            return if lower > 0.0 {
                self.decided(Reason::Superior, "better than the baseline")
            } else {
                self.decided(Reason::NonInferior, &format!("a drop of more than {margin} is ruled out"))
            };
        }
        if difference < -margin {
            let why = format!("the drop is beyond the margin of {margin}, but noise could have made it");
            return self.undecided(Reason::WorseWithinNoise, margin, why);
        }
        self.undecided(
            Reason::Underpowered,
            margin,
            format!("a drop of more than {margin} is neither proven nor ruled out"),
        )
    }

    /// A guardrail that was rejected after correction, if the drop is large enough to matter. `harm`: adjusted p.
    pub fn harmed(&self, limit: f64, harm: f64) -> Option<Judged> {
        let Some(numbers) = self.row.compared() else { return Some(no_data(&self.subject)) };
        if numbers.difference > -limit {
            return None;
        }
        Some(self.unjudged_bias(&numbers).unwrap_or_else(|| {
            let meaning = format!(
                "proven worse after correction for all slices (p {harm:.4}), a slice may lose less than {limit}"
            );
            self.decided(Reason::SliceRegression, &meaning)
        }))
    }

    /// A slice that is too small to be a guardrail.
    pub fn too_small(&self, least: u64) -> Judged {
        let row = self.row;
        let why = format!("{} queries are too few for a slice, it takes {least}; reported only", row.n);
        self.decided(Reason::TooFewQueries, &why)
    }

    /// New documents that nobody judged score as wrong: a drop that is gone without them proves nothing.
    fn unjudged_bias(&self, numbers: &Compared) -> Option<Judged> {
        let (unjudged, by) = self.unjudged.zip(self.judged_by)?;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        if !(share(unjudged.candidate) && share(unjudged.baseline)) {
            return Some(no_data(&self.subject));
        }
        let stands = unjudged.upper.is_some_and(|upper| upper < 0.0);
        let gap = unjudged.candidate - unjudged.baseline > UNJUDGED_GAP + ROUNDING;
        (gap && numbers.difference < 0.0 && !stands).then(|| {
            let why = format!(
                "{:.0} % of the candidate's first ten documents are unjudged, {:.0} % of the baseline's, and without them \
                 {by} changes by {:+.4}: judge the new documents",
                unjudged.candidate * 100.0,
                unjudged.baseline * 100.0,
                unjudged.difference
            );
            self.decided(Reason::UnjudgedBias, &why)
        })
    }

    /// Every release may lose a little; this is the limit of what they lose together.
    fn cumulative_drop(&self, difference: f64) -> Option<Judged> {
        let (most, so_far) = self.cumulative?;
        if !so_far.is_finite() {
            return Some(no_data(&self.subject));
        }
        let sum = so_far + difference;
        (sum < -most - ROUNDING).then(|| {
            let meaning = format!(
                "with {so_far:+.4} of the releases since the anchor the sum is {sum:+.4}, a drop of at most {most} is allowed"
            );
            self.decided(Reason::CumulativeDrop, &meaning)
        })
    }

    /// Few losses that are much larger than everything else have no variance to believe: a sample that happened to meet few
    /// of them looks steady. Bounds that do not come from the variance need no such guard.
    fn skew(&self, numbers: &Compared, margin: f64) -> Option<String> {
        let losses = few_losses(self.row, numbers, self.statistics)?;
        let about = self.units(losses.count.round().max(1.0) as u64);
        let hardly_any = losses.count < SKEW_LOSSES || (numbers.nonzero as f64) < SKEW_LOSSES;
        if hardly_any && numbers.min <= SKEW_DROP {
            return Some(format!(
                "what changed is made by about {about} and one query lost {:.2}: too few changes to trust the bounds",
                -numbers.min
            ));
        }
        (losses.lower < -margin).then(|| {
            format!(
                "what changed is made by about {about} that lost up to {:.2}; with so few, a drop of {:.4} is not ruled out",
                -numbers.min, -losses.lower
            )
        })
    }

    fn test_agrees(&self) -> bool {
        match self.statistics.method {
            Method::PairedSignFlip => self.row.p.is_some_and(|p| p <= self.statistics.alpha),
            Method::PairedT | Method::BoundedMean => true,
        }
    }

    /// "60 queries", or "12 clusters".
    fn units(&self, count: u64) -> String {
        match (self.row.clusters, count) {
            (None, 1) => "1 query".to_owned(),
            (None, _) => format!("{count} queries"),
            (Some(_), 1) => "1 cluster".to_owned(),
            (Some(_), _) => format!("{count} clusters"),
        }
    }

    /// "ndcg@10 changed by -0.0612 (candidate .., baseline .., between .. and ..)".
    fn numbers(&self) -> String {
        let or_none = |x: Option<f64>| x.map_or_else(|| "none".to_owned(), |x| format!("{x:.4}"));
        let row = self.row;
        let bounds = match (row.lower, row.upper) {
            (Some(lower), Some(upper)) => {
                let percent = self.statistics.confidence_percent();
                format!(", one-sided {percent} % bounds {lower:+.4} and {upper:+.4}")
            }
            (None, _) | (_, None) => String::new(),
        };
        let difference = row.difference.map_or_else(|| "by an unknown amount".to_owned(), |d| format!("by {d:+.4}"));
        let clusters = row.clusters.map(|clusters| format!(" in {clusters} clusters")).unwrap_or_default();
        format!(
            "{} changed {difference} (candidate {:.4}, baseline {}{bounds}, n={}{clusters})",
            self.subject,
            row.candidate,
            or_none(row.baseline),
            row.n
        )
    }

    fn decided(&self, reason: Reason, meaning: &str) -> Judged {
        Judged::new(reason, format!("{}: {meaning}.", self.numbers()))
    }

    fn undecided(&self, reason: Reason, margin: f64, why: String) -> Judged {
        let (row, alpha) = (self.row, self.statistics.alpha);
        let floor = floor_queries(margin, alpha).unwrap_or(0).max(LEAST_QUERIES);
        let by_power = row.sd.and_then(|sd| power_queries(sd, margin, 0.0, alpha)).unwrap_or(0);
        let required = by_power.max(floor);
        let at_best = match best_margin(row, self.statistics) {
            Some(margin) => format!("this run could have passed a margin of {margin:.4} at best"),
            None => format!("with fewer than {LEAST_QUERIES} no margin can be passed"),
        };
        let need = if row.units() < required {
            format!("{} would decide if the true difference is 0", self.units(required))
        } else {
            self.need_at_the_measured_difference(margin, required)
        };
        let sentence = format!("{}: {why}. {need}; {at_best}.", self.numbers());
        Judged { reason, sentence, required_queries: Some(required) }
    }

    /// The run already had what a true difference of 0 needs, so that assumption tells nothing.
    fn need_at_the_measured_difference(&self, margin: f64, required: u64) -> String {
        let (row, alpha) = (self.row, self.statistics.alpha);
        let at_measured = row.sd.zip(row.difference).and_then(|(sd, d)| power_queries(sd, margin, d, alpha));
        let required = self.units(required);
        match at_measured.filter(|more| *more > row.units()) {
            Some(more) => {
                format!("{required} would decide if the true difference were 0, {more} if it is the measured one")
            }
            None => format!("{required} would decide if the true difference were 0"),
        }
    }
}
