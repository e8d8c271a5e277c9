//! One metric against its margin: rules 5 to 11 of the verdict.

use super::{Judged, Method, Reason, Row, Rule, Statistics, no_data};
use crate::evaluation::paired::{certifiable_margin, floor_queries, power_queries};

/// Fewest queries of any comparison.
pub(super) const LEAST_QUERIES: u64 = 10;
/// With fewer non-zero differences, and one that is a lost query, no variance can be believed.
const SKEW_NONZERO: u64 = 5;
const SKEW_DROP: f64 = -0.5;

/// One metric against its margin.
pub(super) struct Comparing<'a> {
    pub rule: &'a Rule,
    pub row: &'a Row,
    pub margin: f64,
    pub statistics: &'a Statistics,
}

impl Comparing<'_> {
    pub fn judge(&self) -> Judged {
        let (row, margin) = (self.row, self.margin);
        let too_few =
            || self.undecided(Reason::TooFewQueries, format!("{} queries are too few for a margin of {margin}", row.n));
        if row.n < LEAST_QUERIES {
            return too_few();
        }
        let Some((lower, upper, difference)) = self.finite_bounds() else { return no_data(self.rule) };
        if upper < -margin || (upper < 0.0 && difference <= -margin) {
            let meaning = format!("a proven regression, a drop of at most {margin} is allowed");
            return self.decided(Reason::RegressionProven, &meaning);
        }
        if floor_queries(margin, self.statistics.alpha).is_none_or(|floor| row.n < floor) {
            return too_few();
        }
        if let Some(why) = self.skew() {
            return self.undecided(Reason::Underpowered, why);
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
            return self.undecided(Reason::WorseWithinNoise, why);
        }
        self.undecided(Reason::Underpowered, format!("a drop of more than {margin} is neither proven nor ruled out"))
    }

    /// Bounds and difference, when every number that the rules read is there.
    fn finite_bounds(&self) -> Option<(f64, f64, f64)> {
        let row = self.row;
        let all = [row.baseline, row.sd, row.lower, row.upper, row.min];
        let complete = row.nonzero.is_some() && all.iter().all(|x| x.is_some_and(f64::is_finite));
        let bounds = row.lower.zip(row.upper).zip(row.difference()).filter(|_| complete);
        bounds.map(|((lower, upper), difference)| (lower, upper, difference))
    }

    /// A sample with hardly a change and a lost query among them has no variance to believe.
    fn skew(&self) -> Option<String> {
        let (nonzero, min) = self.row.nonzero.zip(self.row.min)?;
        (nonzero < SKEW_NONZERO && min <= SKEW_DROP).then(|| {
            format!("only {nonzero} queries changed and one lost {:.2}: too few changes to trust the bounds", -min)
        })
    }

    fn test_agrees(&self) -> bool {
        match self.statistics.method {
            Method::PairedSignFlip => self.row.p.is_some_and(|p| p <= self.statistics.alpha),
            Method::PairedT => true,
        }
    }

    /// "ndcg@10 changed by -0.0612 (candidate .., baseline .., between .. and ..)".
    fn numbers(&self) -> String {
        let or_none = |x: Option<f64>| x.map_or_else(|| "none".to_owned(), |x| format!("{x:.4}"));
        let row = self.row;
        let bounds = match (row.lower, row.upper) {
            (Some(lower), Some(upper)) => {
                let percent = self.statistics.confidence_percent();
                format!(", {percent} % bounds {lower:+.4} and {upper:+.4}")
            }
            (None, _) | (_, None) => String::new(),
        };
        let difference = row.difference().map_or_else(|| "by an unknown amount".to_owned(), |d| format!("by {d:+.4}"));
        format!(
            "{} changed {difference} (candidate {:.4}, baseline {}{bounds}, n={})",
            self.rule.metric(),
            row.candidate,
            or_none(row.baseline),
            row.n
        )
    }

    fn decided(&self, reason: Reason, meaning: &str) -> Judged {
        Judged::new(reason, format!("{}: {meaning}.", self.numbers()))
    }

    fn undecided(&self, reason: Reason, why: String) -> Judged {
        let (row, margin, alpha) = (self.row, self.margin, self.statistics.alpha);
        let floor = floor_queries(margin, alpha).unwrap_or(0).max(LEAST_QUERIES);
        let by_power = row.sd.and_then(|sd| power_queries(sd, margin, 0.0, alpha)).unwrap_or(0);
        let required = by_power.max(floor);
        let certifiable = certifiable_margin(row.n, alpha, row.lower);
        let need = if row.n < required {
            format!("{required} queries would decide if the true difference is 0")
        } else {
            self.need_at_the_measured_difference(required)
        };
        let sentence = format!(
            "{}: {why}. {need}; this run could have passed a margin of {certifiable:.4} at best.",
            self.numbers()
        );
        Judged { reason, sentence, required_queries: Some(required) }
    }

    /// The run already had what a true difference of 0 needs, so that assumption tells nothing.
    fn need_at_the_measured_difference(&self, required: u64) -> String {
        let (row, alpha) = (self.row, self.statistics.alpha);
        let at_measured = row.sd.zip(row.difference()).and_then(|(sd, d)| power_queries(sd, self.margin, d, alpha));
        match at_measured.filter(|more| *more > row.n) {
            Some(more) => format!(
                "{required} queries would decide if the true difference were 0, {more} if it is the measured one"
            ),
            None => format!("{required} queries would decide if the true difference were 0"),
        }
    }
}
