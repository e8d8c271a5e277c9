//! The result as a table and a sentence, for a terminal.

use comfy_table::{CellAlignment, Table, presets};

use super::{bounds, change, mean, or_dash};
use crate::evaluation::verdict::Verdict;
use crate::worker::evaluate::report::page::{Numbers, Page, word};

/// Slices that are listed; the page with plots has more.
const MOST_SLICES: usize = 20;

/// The result as a table and a sentence.
pub fn table(page: &Page) -> String {
    let mut text = String::new();
    if !page.metrics.is_empty() {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["metric", "candidate", "baseline", "difference", "[L, U]", "required", "verdict"]);
        for line in &page.metrics {
            table.add_row(cells(&line.name, &line.numbers, line.rule.clone(), line.verdict, line.reason));
        }
        for line in page.slices.iter().take(MOST_SLICES) {
            let name = format!("{} {}={}", line.metric, line.key, line.value);
            let rule = line.rule().unwrap_or_else(|| "-".to_owned());
            table.add_row(cells(&name, &line.numbers, rule, line.verdict, line.reason));
        }
        for column in table.column_iter_mut().skip(1).take(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        text.push_str(&table.to_string());
        text.push('\n');
        if let Some(more) = page.slices.len().checked_sub(MOST_SLICES).filter(|more| *more > 0) {
            text.push_str(&format!("{more} more slices are in the report (--report FILE)\n"));
        }
    }
    if let Some(facts) = &page.facts {
        for line in std::iter::once(facts.in_words()).chain(facts.of_domains()) {
            text.push_str(&format!("{line}\n"));
        }
        for warning in facts.warnings() {
            text.push_str(&format!("warning: {warning}\n"));
        }
    }
    text.extend(page.counting_in_words().map(|line| format!("{line}\n")));
    text.push_str(&format!("{} ({}): {}", page.verdict, page.reason, page.sentence));
    text
}

fn cells(
    name: &str,
    numbers: &Numbers,
    rule: String,
    verdict: impl Into<Option<Verdict>>,
    reason: &str,
) -> [String; 7] {
    [
        name.to_owned(),
        mean(numbers.candidate),
        or_dash(numbers.baseline, mean),
        or_dash(numbers.difference, change),
        bounds(numbers).unwrap_or_else(|| "-".to_owned()),
        rule,
        format!("{} ({reason})", word(verdict)),
    ]
}
