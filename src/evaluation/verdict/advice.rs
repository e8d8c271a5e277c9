//! What a query set is too small for, said before any run.

use super::comparing::LEAST_QUERIES;
use super::{Margin, Rule, SliceRules};
use crate::evaluation::paired::{certifiable_margin, floor_queries};
use crate::evaluation::slice::short_name;

/// How large a query set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Judged queries, each for itself.
    Queries(u64),
    /// Clusters of them.
    Clusters(u64),
}

impl Size {
    /// How many.
    pub fn count(self) -> u64 {
        match self {
            Self::Queries(n) | Self::Clusters(n) => n,
        }
    }

    fn counted(self, n: u64) -> String {
        match (self, n) {
            (Self::Queries(_), 1) => "1 query".to_owned(),
            (Self::Queries(_), _) => format!("{n} queries"),
            (Self::Clusters(_), 1) => "1 cluster".to_owned(),
            (Self::Clusters(_), _) => format!("{n} clusters"),
        }
    }
}

/// The margin that needs most, with a baseline's mean of 1 at most.
fn tightest(rules: &[Rule]) -> Option<f64> {
    let margins = rules.iter().filter(|rule| rule.required()).filter_map(Rule::margin);
    margins.map(Margin::at_most).min_by(f64::total_cmp)
}

/// Sentences on required slices that are too small for their margins. `found`: judged queries by slice; `complete`:
/// whether these are all slices.
pub fn slice_advice(
    found: &[(String, u64)],
    complete: bool,
    slices: &SliceRules,
    rules: &[Rule],
    alpha: f64,
) -> Vec<String> {
    let Some((margin, needed)) = tightest(rules).and_then(|margin| Some((margin, floor_queries(margin, alpha)?)))
    else {
        return Vec::new();
    };
    let needed = needed.max(LEAST_QUERIES);
    let said = |name: &String| {
        let name = short_name(name);
        let listed = found.iter().find(|(slice, _)| *slice == name).map(|(_, queries)| *queries);
        let queries = listed.or(complete.then_some(0)).filter(|queries| *queries < needed)?;
        let counted = Size::Queries(queries).counted(queries);
        Some(format!("required slice {name} has {counted}, its margin of {margin} needs {needed}"))
    };
    slices.required().iter().filter_map(said).collect()
}

/// A sentence when a query set is too small for its margins: for status and command line, before any run. A relative
/// margin counts as if the baseline's mean were 1: what is too small for that is too small for any.
pub fn advice(size: Size, rules: &[Rule], alpha: f64) -> Option<String> {
    let tightest = tightest(rules)?;
    let units = size.count();
    let needed = floor_queries(tightest, alpha)?.max(LEAST_QUERIES);
    if units >= needed {
        return None;
    }
    let (present, missing) = (size.counted(units), size.counted(needed.saturating_sub(units)));
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
