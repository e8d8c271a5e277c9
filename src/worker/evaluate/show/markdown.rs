//! The result as Markdown, for a comment on a pull request.
//!
//! Invariants: names from a data set are shown as they are and never as markup: a `|` cuts no table, an `@` calls
//! nobody, a line end ends no cell.

use super::{bounds, change, mean, or_dash};
use crate::evaluation::verdict::Verdict;
use crate::worker::evaluate::report::page::{Numbers, Page, Worst, word};

/// Slices that are listed: a comment is read on one screen.
const MOST_SLICES: usize = 10;
/// Worst queries that are named.
const MOST_QUERIES: usize = 5;
/// Longest name.
const MOST_CHARACTERS: usize = 80;
/// Invisible; parts a sign from the name behind it.
const JOINER: char = '\u{2060}';

/// The result as Markdown.
pub fn markdown(page: &Page) -> String {
    let mut text =
        format!("### {} {}: {}\n\n{}\n", sign(page.verdict), page.verdict, page.reason, escaped(&page.sentence));
    if !page.metrics.is_empty() {
        let percent = page.confidence_percent;
        text.push_str(&format!(
            "\n| metric | candidate | baseline | difference | one-sided {percent} % bounds | required | n | verdict |\n"
        ));
        text.push_str("| --- | ---: | ---: | ---: | :---: | --- | ---: | --- |\n");
        for line in &page.metrics {
            text.push_str(&row(&escaped(&line.name), &line.numbers, &line.rule, line.verdict, line.reason));
        }
        for line in page.slices.iter().take(MOST_SLICES) {
            let name = format!("{} {}", escaped(&line.metric), code(&format!("{}={}", line.key, line.value)));
            let rule = line.rule().unwrap_or_else(|| "-".to_owned());
            text.push_str(&row(&name, &line.numbers, &rule, line.verdict, line.reason));
        }
        if let Some(more) = page.slices.len().checked_sub(MOST_SLICES).filter(|more| *more > 0) {
            text.push_str(&format!("\n{more} more slices are in the report.\n"));
        }
    }
    if let Some(worst) = page.worst.as_ref().filter(|worst| !worst.queries.is_empty()) {
        text.push_str(&format!("\n{}\n", lost(worst)));
    }
    if let Some(facts) = &page.facts {
        text.extend(facts.of_domains().iter().map(|line| format!("\n- {}", escaped(line))));
        text.extend(facts.warnings().iter().map(|warning| format!("\n- ⚠️ {}", escaped(warning))));
        text.push('\n');
    }
    text.extend(page.counting_in_words().map(|line| format!("\n{}\n", escaped(&line))));
    if let Some(seen) = &page.seen {
        let short: String = seen.inputs.chars().take(12).collect();
        let queries = seen.counts.judged;
        text.push_str(&format!("\n<sub>{queries} judged queries · inputs {} · rag evaluate</sub>\n", code(&short)));
    }
    text
}

fn row(name: &str, numbers: &Numbers, rule: &str, verdict: impl Into<Option<Verdict>>, reason: &str) -> String {
    let verdict = verdict.into();
    format!(
        "| {name} | {} | {} | {} | {} | {rule} | {} | {} {} ({reason}) |\n",
        mean(numbers.candidate),
        or_dash(numbers.baseline, mean),
        or_dash(numbers.difference, change),
        bounds(numbers).unwrap_or_else(|| "-".to_owned()),
        numbers.n,
        sign(verdict),
        word(verdict)
    )
}

/// A shape that differs without colour.
fn sign(verdict: impl Into<Option<Verdict>>) -> &'static str {
    match verdict.into() {
        Some(Verdict::Pass) => "✅",
        Some(Verdict::Fail) => "❌",
        Some(Verdict::Inconclusive) => "❔",
        Some(Verdict::Error) => "⚠️",
        None => "➖",
    }
}

fn lost(worst: &Worst) -> String {
    let queries = worst.queries.iter().take(MOST_QUERIES).map(|query| {
        let change = query.baseline.map_or_else(|| mean(query.candidate), |b| change(query.candidate - b));
        format!("{} ({change})", code(&query.id))
    });
    let what = if worst.differences { "lost most" } else { "have the lowest value" };
    format!("By {} these queries {what}: {}.", escaped(&worst.metric), queries.collect::<Vec<_>>().join(", "))
}

/// A name as code: nothing in it is markup and it calls nobody.
fn code(text: &str) -> String {
    let clean: String = text.chars().take(MOST_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let cut = if text.chars().count() > MOST_CHARACTERS { "…" } else { "" };
    let longest = clean.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.saturating_add(1));
    // A space on both sides is taken away again by the reader of the fence.
    let pad = if clean.starts_with(['`', ' ']) || clean.ends_with(['`', ' ']) || clean.is_empty() { " " } else { "" };
    // Cells are cut before code is read: a `|` needs its backslash here too.
    format!("{fence}{pad}{}{cut}{pad}{fence}", clean.replace('|', "\\|"))
}

/// A text as text. Mentions and references are looked for in what is rendered, so escaping does not stop them: an
/// invisible joiner behind the sign does.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '@' if before.is_alphanumeric() => out.push(c),
            '@' => out.extend([c, JOINER]),
            '#' => out.extend(['\\', c, JOINER]),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '!' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

    use super::*;
    use crate::worker::evaluate::report::sample;

    /// Cells of the table and all text outside it.
    fn read(text: &str) -> (Vec<Vec<String>>, String) {
        let (mut rows, mut cell, mut outside, mut in_cell) = (Vec::new(), String::new(), String::new(), false);
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::TableHead | Tag::TableRow) => rows.push(Vec::new()),
                Event::Start(Tag::TableCell) => (in_cell, cell) = (true, String::new()),
                Event::End(TagEnd::TableCell) => {
                    in_cell = false;
                    rows.last_mut().unwrap().push(std::mem::take(&mut cell));
                }
                Event::Text(t) | Event::Code(t) if in_cell => cell.push_str(&t),
                Event::Text(t) | Event::Code(t) => outside.push_str(&t),
                Event::Html(t) | Event::InlineHtml(t) => assert!(t.contains("sub>"), "markup: {t}"),
                Event::Start(Tag::Link { .. } | Tag::Image { .. }) => panic!("a link"),
                _ => {}
            }
        }
        (rows, outside)
    }

    #[test]
    fn the_table_has_a_row_a_metric_and_eight_cells_each() {
        let page = sample::regressed();
        let (rows, outside) = read(&markdown(&page));
        assert_eq!(rows.len(), 1 + page.metrics.len() + page.slices.len());
        assert!(rows.iter().all(|row| row.len() == 8), "{rows:?}");
        assert_eq!(rows[1][0], "ndcg@10");
        assert!(rows[1][7].contains("Fail (RegressionProven)"), "{rows:?}");
        assert!(outside.contains("Fail: RegressionProven") && outside.contains(page.sentence.as_str()), "{outside}");
    }

    #[test]
    fn hostile_names_are_shown_and_are_no_markup() {
        let page = sample::hostile();
        let text = markdown(&page);
        let (rows, outside) = read(&text);
        assert!(rows.iter().all(|row| row.len() == 8), "{rows:?}");
        let slice = format!("{}={}", page.slices[0].key, page.slices[0].value);
        assert!(rows[2][0].contains(&slice.chars().take(60).collect::<String>()), "{}: {rows:?}", slice);
        assert!(outside.contains("<script>"), "{outside}");
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            if let Event::Text(plain) = event {
                let calls = plain.match_indices('@').filter(|(at, _)| {
                    let (before, after) = (&plain[..*at], &plain[at + 1..]);
                    !before.ends_with(char::is_alphanumeric) && !after.starts_with(JOINER)
                });
                assert_eq!(calls.count(), 0, "{plain}");
            }
        }
    }

    #[test]
    fn a_run_that_measured_nothing_has_no_table() {
        let (rows, outside) = read(&markdown(&sample::stopped()));
        assert!(rows.is_empty() && outside.contains("Error: DatasetInvalid"), "{outside}");
    }

    #[test]
    fn code_survives_backticks_and_pipes() {
        for text in ["a`b", "``", "`", " x ", "a|b", ""] {
            let (rows, _) = read(&format!("| a |\n| --- |\n| {} |\n", code(text)));
            let shown = if text.trim().is_empty() { "" } else { text };
            assert_eq!(rows[1][0].trim(), shown.trim(), "{text:?}");
        }
    }
}
