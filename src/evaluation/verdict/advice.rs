//! What a query set is too small for, said before any run.

use std::cmp::Reverse;

use super::comparing::LEAST_QUERIES;
use super::{Margin, Rule, SliceRules, guarded};
use crate::evaluation::paired::{certifiable_margin, floor_queries};

/// How far a rule reaches in a data set or a slice of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    pub rule: Rule,
    /// Judged queries.
    pub queries: u64,
    /// Those of them on which two lists can differ: only they enter the paired test.
    pub tested: u64,
    /// Clusters that these form, where the gate groups queries.
    pub clusters: Option<u64>,
}

impl Reach {
    /// What the paired test counts.
    pub fn units(&self) -> u64 {
        self.clusters.unwrap_or(self.tested)
    }

    /// The margin, if there must be one, and the units that it needs. A relative margin counts as if the baseline's mean
    /// were 1: what is too small for that is too small for any.
    fn needed(&self, alpha: f64) -> Option<(f64, u64)> {
        let margin = self.rule.margin().filter(|_| guarded(&self.rule)).map(Margin::at_most)?;
        Some((margin, floor_queries(margin, alpha)?.max(LEAST_QUERIES)))
    }

    fn missing(&self, alpha: f64) -> u64 {
        self.needed(alpha).map_or(0, |(_, needed)| needed.saturating_sub(self.units()))
    }

    fn all(&self) -> bool {
        self.tested == self.queries
    }

    /// The units, and what sets them apart where not every query counts.
    fn told(&self) -> String {
        let units = self.counted(self.units(), "");
        if self.all() {
            return units;
        }
        let metric = self.rule.metric();
        format!("{units} with {} (of {} queries, for {metric})", metric.wants(), self.queries)
    }

    fn counted(&self, n: u64, such: &str) -> String {
        match (self.clusters, n) {
            (None, 1) => format!("1 {such}query"),
            (None, _) => format!("{n} {such}queries"),
            (Some(_), 1) => format!("1 {such}cluster"),
            (Some(_), _) => format!("{n} {such}clusters"),
        }
    }
}

/// How far the rules that guard slices reach in one.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceReach {
    /// As in a receipt.
    pub name: String,
    /// As in [`SliceRules::required`].
    pub required: bool,
    pub rules: Vec<Reach>,
}

/// The rule that lacks most, the first of equals.
fn worst(found: &[Reach], alpha: f64) -> Option<&Reach> {
    found.iter().filter(|reach| reach.missing(alpha) > 0).min_by_key(|reach| Reverse(reach.missing(alpha)))
}

/// Sentences on slices that guard nothing, and on required ones that are too small for their margins.
pub fn slice_advice(found: &[SliceReach], slices: &SliceRules, alpha: f64) -> Vec<String> {
    let said = |slice: &SliceReach| {
        let worst = worst(&slice.rules, alpha)?;
        let (margin, needed) = worst.needed(alpha)?;
        Some(format!("required slice {} has {}, its margin of {margin} needs {needed}", slice.name, worst.told()))
    };
    let required = found.iter().filter(|slice| slice.required).filter_map(said);
    unguarded(found, slices).into_iter().chain(required).collect()
}

/// A sentence when no slice is large enough to fail a gate.
fn unguarded(found: &[SliceReach], slices: &SliceRules) -> Option<String> {
    let sizes = found.iter().flat_map(|slice| slice.rules.iter().map(|reach| (reach.tested, slice.name.as_str())));
    let (largest, name) = sizes.min_by_key(|(tested, _)| Reverse(*tested))?;
    let least = slices.min_queries();
    let which = if slices.required().is_empty() { "no slice is" } else { "only required slices are" };
    (largest < least).then(|| {
        format!(
            "no slice has the {least} queries of slices.minQueries, the largest that counts is {name} with {largest}, so \
             that {which} looked at; add queries or lower minQueries"
        )
    })
}

/// A sentence when a query set is too small for its margins: for status and command line, before any run.
pub fn advice(found: &[Reach], alpha: f64) -> Option<String> {
    let worst = worst(found, alpha)?;
    let (units, present) = (worst.units(), worst.told());
    let missing = worst.counted(worst.missing(alpha), if worst.all() { "" } else { "such " });
    if units < LEAST_QUERIES {
        return Some(format!("{present} can certify no margin; add {missing}"));
    }
    let best = certifiable_margin(units, alpha, None);
    let at_best = significant_up(best, 2);
    let at_best = at_best.strip_prefix('0').unwrap_or(&at_best);
    let margin = significant_up(best, 1);
    Some(format!("{present} can certify a margin of {at_best} at best; set margin {margin} or add {missing}"))
}

/// Rounded up to so many significant digits, so that what is advised can be certified. For 0 < x <= 1.
fn significant_up(x: f64, digits: i32) -> String {
    let decimals = digits.saturating_sub(1).saturating_sub(x.log10().floor() as i32).max(0);
    let scale = 10_f64.powi(decimals);
    let up = ((x * scale) - 1e-9).ceil() / scale;
    format!("{up:.*}", usize::try_from(decimals).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::verdict::Wanted;

    fn reach(name: &str, margin: f64, queries: u64, tested: u64) -> Reach {
        let wanted = Wanted { margin: Some(Margin::Absolute(margin)), ..Wanted::default() };
        Reach { rule: Rule::new(name, wanted).unwrap(), queries, tested, clusters: None }
    }

    #[test]
    fn queries_on_which_lists_cannot_differ_make_a_set_no_larger() {
        let say = |found: &[Reach]| advice(found, 0.05);
        assert_eq!(
            say(&[reach("success@1", 0.02, 149, 139)]).as_deref(),
            Some(
                "139 queries with a relevant document (of 149 queries, for success@1) can certify a margin of .022 at best; \
                 set margin 0.03 or add 10 such queries"
            )
        );
        // Each metric by its own queries and its own margin; the one that lacks most is told.
        let nuggets = reach("taskRecall@10", 0.2, 200, 20);
        assert_eq!(say(&[nuggets, reach("mrr", 0.02, 200, 149)]), None);
        let told = say(&[reach("mrr", 0.02, 200, 148), Reach { tested: 5, ..nuggets }]).unwrap();
        assert!(
            told.starts_with("5 queries with a nugget (of 200 queries, for taskRecall@10) can certify no"),
            "{told}"
        );
        assert!(told.ends_with("add 9 such queries"), "{told}");
        let grouped = Reach { clusters: Some(1), ..reach("recall(rel=2)@5", 0.02, 149, 139) };
        let told = say(&[grouped]).unwrap();
        assert!(
            told.starts_with("1 cluster with a document of grade 2 or above (of 149 queries, for recall"),
            "{told}"
        );
        assert!(told.ends_with("add 148 such clusters"), "{told}");
    }

    #[test]
    fn slices_that_guard_nothing_and_required_ones_that_are_too_small_are_told() {
        let slice = |name: &str, required, queries, tested| SliceReach {
            name: name.to_owned(),
            required,
            rules: vec![reach("mrr", 0.5, queries, queries), reach("ndcg@10", 0.05, queries, tested)],
        };
        let rules = |required: &[&str]| {
            let required = required.iter().map(|name| (*name).to_owned()).collect();
            let guarding = [reach("mrr", 0.5, 1, 1).rule, reach("ndcg@10", 0.05, 1, 1).rule];
            SliceRules::new(vec!["d".to_owned()], 30, None, required, &guarding).unwrap()
        };
        assert_eq!(slice_advice(&[slice("d=a", false, 30, 5), slice("d=b", false, 9, 9)], &rules(&[]), 0.05), [""; 0]);
        assert_eq!(
            slice_advice(&[slice("d=a", false, 29, 29), slice("d=b", false, 9, 9)], &rules(&[]), 0.05),
            [
                "no slice has the 30 queries of slices.minQueries, the largest that counts is d=a with 29, so that no slice \
                 is looked at; add queries or lower minQueries"
            ]
        );
        let told = slice_advice(&[slice("d=a", true, 80, 58), slice("d=b", false, 9, 9)], &rules(&["d=a"]), 0.05);
        assert_eq!(
            told,
            [
                "required slice d=a has 58 queries with a relevant document (of 80 queries, for ndcg@10), its margin of 0.05 \
              needs 59"
            ]
        );
        let told = slice_advice(&[slice("d=a", true, 12, 12)], &rules(&["d=a"]), 0.05);
        assert!(told[0].contains("so that only required slices are looked at"), "{told:?}");
        assert!(told[1].ends_with("d=a has 12 queries, its margin of 0.05 needs 59"), "{told:?}");
        // Without a margin nothing is compared, and no slice is a guardrail.
        let none = SliceReach { rules: Vec::new(), ..slice("d=a", false, 5, 5) };
        assert_eq!(slice_advice(&[none], &rules(&[]), 0.05), [""; 0]);
    }
}
