//! What a query set is too small for, said before any run.

use super::comparing::LEAST_QUERIES;
use crate::evaluation::paired::{certifiable_margin, floor_queries};

/// A sentence when a query set is too small for its margins: for status and command line, before any run.
pub fn advice(queries: u64, margins: &[f64], alpha: f64) -> Option<String> {
    let tightest = margins.iter().copied().filter(|m| *m > 0.0).min_by(f64::total_cmp)?;
    let needed = floor_queries(tightest, alpha)?.max(LEAST_QUERIES);
    if queries >= needed {
        return None;
    }
    let missing = needed.saturating_sub(queries);
    if queries < LEAST_QUERIES {
        return Some(format!("{} can certify no margin; add {}", counted(queries), counted(missing)));
    }
    let best = certifiable_margin(queries, alpha, None);
    let at_best = significant_up(best, 2);
    let at_best = at_best.strip_prefix('0').unwrap_or(&at_best);
    let margin = significant_up(best, 1);
    Some(format!(
        "{} can certify a margin of {at_best} at best; set margin {margin} or add {}",
        counted(queries),
        counted(missing)
    ))
}

fn counted(queries: u64) -> String {
    if queries == 1 { "1 query".to_owned() } else { format!("{queries} queries") }
}

/// Rounded up to so many significant digits, so that what is advised can be certified. For 0 < x <= 1.
fn significant_up(x: f64, digits: i32) -> String {
    let decimals = digits.saturating_sub(1).saturating_sub(x.log10().floor() as i32).max(0);
    let scale = 10_f64.powi(decimals);
    let up = ((x * scale) - 1e-9).ceil() / scale;
    format!("{up:.*}", usize::try_from(decimals).unwrap_or(0))
}
