//! What a run on the command line prints and writes, but for the page with plots.
//!
//! Invariant: equal inputs give equal bytes: no times, no paths, numbers with six decimals at most.

mod json;
mod junit;
mod markdown;
mod rows;
mod table;

pub use json::json;
pub use junit::junit;
pub use markdown::markdown;
pub use rows::write_rows;
pub use table::table;

use super::report::page::Numbers;

/// Four decimals, or a dash.
fn or_dash(x: Option<f64>, shown: impl Fn(f64) -> String) -> String {
    x.map_or_else(|| "-".to_owned(), shown)
}

fn mean(x: f64) -> String {
    format!("{x:.4}")
}

fn change(x: f64) -> String {
    format!("{x:+.4}")
}

fn bounds(numbers: &Numbers) -> Option<String> {
    numbers.lower.zip(numbers.upper).map(|(lower, upper)| format!("[{lower:+.4}, {upper:+.4}]"))
}
