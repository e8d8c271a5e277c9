//! What a tired reader needs first: the verdict, a sentence, the figures that it rests on.

use super::page::{MetricLine, Numbers, Page, SliceLine};
use super::text::{change, count, name, shown};
use super::{MOST_FACT, MOST_SENTENCE, text};
use crate::evaluation::verdict::Verdict;

/// The verdict and its key figures.
pub fn head(page: &Page) -> String {
    let subject = if page.subject.is_empty() {
        String::new()
    } else {
        format!("<p class=\"subject\">{}</p>\n", name(&page.subject, 200))
    };
    format!(
        "<header class=\"{}\">\n{subject}<h1>{}<span>{}</span> <small>{}</small></h1>\n<p class=\"lead\">{}</p>\n{}{}{}\
         </header>\n",
        class(page.verdict),
        badge(page.verdict),
        page.verdict,
        page.reason,
        shown(&page.sentence, MOST_SENTENCE),
        arms(page),
        warnings(page),
        figures(page)
    )
}

/// Word of a style.
pub fn class(verdict: impl Into<Option<Verdict>>) -> &'static str {
    match verdict.into() {
        Some(Verdict::Pass) => "pass",
        Some(Verdict::Fail) => "fail",
        Some(Verdict::Inconclusive) => "open",
        Some(Verdict::Error) => "error",
        None => "unproven",
    }
}

/// A shape around the origin that tells a verdict without colour: disc, square, diamond, triangle, ring.
pub fn shape(verdict: impl Into<Option<Verdict>>) -> &'static str {
    match verdict.into() {
        Some(Verdict::Pass) => "<circle r=\"5\"/>",
        Some(Verdict::Fail) => "<path d=\"M-5 -5H5V5H-5Z\"/>",
        Some(Verdict::Inconclusive) => "<path class=\"hollow\" d=\"M0 -6L6 0L0 6L-6 0Z\"/>",
        Some(Verdict::Error) => "<path d=\"M0 -6L6 5H-6Z\"/>",
        None => "<circle class=\"hollow\" r=\"4\"/>",
    }
}

/// The shape with the word in a table.
pub fn mark(verdict: impl Into<Option<Verdict>>) -> String {
    let verdict = verdict.into();
    format!(
        "<svg class=\"mark {}\" width=\"14\" height=\"14\" viewBox=\"-7 -7 14 14\" aria-hidden=\"true\">{}</svg>",
        class(verdict),
        shape(verdict)
    )
}

fn badge(verdict: Verdict) -> String {
    let sign = match verdict {
        Verdict::Pass => "<circle r=\"15\"/><path class=\"sign\" d=\"M-7 0L-2 6L7 -6\"/>",
        Verdict::Fail => {
            "<rect x=\"-14\" y=\"-14\" width=\"28\" height=\"28\" rx=\"3\"/><path class=\"sign\" d=\"M-6 -6L6 6M6 -6L-6 6\"/>"
        }
        Verdict::Inconclusive => {
            "<path d=\"M0 -16L16 0L0 16L-16 0Z\"/><path class=\"sign\" d=\"M-7 -2q3.5 -5 7 0t7 0M-7 5q3.5 -5 7 0t7 0\"/>"
        }
        Verdict::Error => "<path d=\"M0 -15L16 13H-16Z\"/><path class=\"sign\" d=\"M0 -5V4M0 8V9\"/>",
    };
    format!(
        "<svg class=\"badge\" width=\"34\" height=\"34\" viewBox=\"-17 -17 34 34\" aria-hidden=\"true\">{sign}</svg>"
    )
}

fn arms(page: &Page) -> String {
    let Some(seen) = &page.seen else { return String::new() };
    let candidate = format!("candidate {}", name(&seen.candidate.name, 120));
    let against = seen.baseline.as_ref().map_or_else(
        || " · no baseline".to_owned(),
        |baseline| format!(" <span class=\"against\">against</span> baseline {}", name(&baseline.name, 120)),
    );
    format!("<p class=\"arms\">{candidate}{against}</p>\n")
}

/// What deserves a look: a reader who sees no more than the head must not miss it.
fn warnings(page: &Page) -> String {
    let warnings = page.facts.iter().flat_map(|facts| facts.warnings());
    let items: String =
        warnings.map(|text| format!("<li><b>Look here:</b> {}</li>\n", shown(text, MOST_FACT))).collect();
    if items.is_empty() { items } else { format!("<ul class=\"look\">\n{items}</ul>\n") }
}

/// What one figure is, its value, and what to know of it.
type Figure = (&'static str, String, String);

/// The figures that the verdict rests on.
fn figures(page: &Page) -> String {
    let figures = match page.deciding_slice() {
        Some(slice) => of_slice(page, slice),
        None => page.deciding().map(|line| of_metric(page, line)).unwrap_or_default(),
    };
    if figures.is_empty() {
        return String::new();
    }
    let shown = figures.iter().map(|(term, value, note)| {
        format!("<div><dt>{term}</dt><dd>{value}<small>{}</small></dd></div>\n", shown(note, 120))
    });
    format!("<dl class=\"figures\">\n{}</dl>\n", shown.collect::<String>())
}

/// How much a row changed against the baseline; nothing where it was not compared.
fn changed(page: &Page, numbers: Numbers, of: String) -> Vec<Figure> {
    let Some((lower, upper)) = numbers.lower.zip(numbers.upper) else { return Vec::new() };
    let bounds = format!("one-sided {}\u{a0}%; upper {}", page.confidence_percent, change(upper));
    vec![("Change", text::or_none(numbers.difference, change), of), ("Lower bound", change(lower), bounds)]
}

/// Of a slice that broke while the whole held: those of the whole would tell of a run that passed.
fn of_slice(page: &Page, slice: &SliceLine) -> Vec<Figure> {
    let numbers = slice.numbers;
    let mut of = format!("of {}", slice.metric);
    of.extend(numbers.baseline.map(|baseline| format!("; baseline {}", text::mean(baseline))));
    let mut figures = vec![
        ("Slice", text::name(&slice.value, 60), slice.key.clone()),
        ("Queries", count(numbers.n), "in this slice".to_owned()),
        ("Mean", text::mean(numbers.candidate), of),
    ];
    figures.extend(changed(page, numbers, format!("of {}", slice.metric)));
    figures.extend(slice.margin.map(|margin| ("Margin", format!("−{margin}"), "largest drop allowed here".to_owned())));
    figures.extend(slice.floor.map(|floor| ("Floor", floor.to_string(), "least mean of the worst slice".to_owned())));
    figures
}

fn of_metric(page: &Page, line: &MetricLine) -> Vec<Figure> {
    let numbers = line.numbers;
    let mut figures = vec![("Queries", count(numbers.n), compared_of(page, line))];
    figures.extend(changed(page, numbers, format!("of {}", line.name)));
    if numbers.lower.is_none() || numbers.upper.is_none() {
        figures.push(("Mean", text::mean(numbers.candidate), format!("of {}", line.name)));
    }
    if let Some(margin) = line.margin.filter(|_| numbers.lower.is_some()) {
        figures.push(("Margin", format!("−{margin}"), "largest drop allowed".to_owned()));
    }
    if let Some(floor) = line.floor {
        figures.push(("Floor", floor.to_string(), format!("mean is {}", text::mean(numbers.candidate))));
    }
    if let Some(max) = line.max {
        figures.push(("Most", max.to_string(), format!("mean is {}", text::mean(numbers.candidate))));
    }
    if let Some(certifiable) = line.certifiable {
        figures.push(("Smallest margin", text::mean(certifiable), "this run could have certified".to_owned()));
    }
    if let Some(required) = page.required_queries.or(line.required_queries) {
        figures.push(("Queries needed", count(required), "for a decision, see the sentence above".to_owned()));
    }
    figures
}

fn compared_of(page: &Page, line: &MetricLine) -> String {
    let Some(seen) = &page.seen else { return String::new() };
    let judged = count(seen.counts.judged);
    if line.numbers.lower.is_some() { format!("compared, of {judged} judged") } else { "judged".to_owned() }
}
