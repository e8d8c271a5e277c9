//! Numbers as tables: metrics, slices, and where all of it comes from.

use super::MOST_FACT;
use super::head::{class, mark};
use super::page::{Arm, Numbers, Page, Seen, word};
use super::text::{NONE, change, count, mean, name, or_none, shown};
use crate::api::gate::Missing;
use crate::evaluation::verdict::Verdict;

/// Slices that are listed.
const MOST_SLICES: usize = 200;
const MOST_NAME: usize = 80;

/// A row a metric.
pub fn metrics(page: &Page) -> String {
    let rows = page.metrics.iter().map(|line| {
        let mut rule = shown(&line.rule, 128);
        if let Some(p) = line.p {
            rule.push_str(&format!("<small>sign-flip p {}</small>", p_value(p)));
        }
        row(&name(&line.name, MOST_NAME), &line.numbers, &rule, line.verdict, line.reason)
    });
    format!(
        "<section>\n<h2>Metrics</h2>\n{}<tbody>\n{}</tbody>\n</table>\n</section>\n",
        table("metric", page.confidence_percent, "must hold"),
        rows.collect::<String>()
    )
}

/// A row a slice and metric.
pub fn slices(page: &Page) -> String {
    if page.slices.is_empty() {
        return String::new();
    }
    let rows = page.slices.iter().take(MOST_SLICES).map(|line| {
        let what = format!("{}=<wbr>{}", name(&line.key, MOST_NAME), name(&line.value, MOST_NAME));
        let what = format!("{what}<small>{}</small>", shown(&line.metric, MOST_NAME));
        let mut rule = line.rule().unwrap_or_else(|| NONE.to_owned());
        if let Some(harm) = line.harm {
            rule.push_str(&format!("<small>corrected p of harm {}</small>", p_value(harm)));
        }
        row(&what, &line.numbers, &rule, line.verdict, line.reason)
    });
    format!(
        "<section>\n<h2>Slices</h2>\n<p class=\"note\">A slice alone fails the gate only if its harm is proven after \
         correction for the number of slices, and it lost what is allowed twice. {}</p>\n{}<tbody>\n{}</tbody>\n</table>\n</section>\n",
        more(page.slices.len(), MOST_SLICES, "slices"),
        table("slice", page.confidence_percent, "must hold"),
        rows.collect::<String>()
    )
}

/// What is told of domains and slices beside the metrics.
pub fn domains(page: &Page) -> String {
    let Some(facts) = &page.facts else { return String::new() };
    let lines = facts.of_domains().into_iter().map(|line| shown(&line, MOST_FACT));
    let items: Vec<String> = lines.map(|item| format!("<li>{item}</li>\n")).collect();
    if items.is_empty() {
        return String::new();
    }
    format!(
        "<section>\n<h2>Facts</h2>\n<p class=\"note\">They say where to look, and decide nothing. Documents without a \
         known domain are in no share.</p>\n<ul>\n{}</ul>\n</section>\n",
        items.concat()
    )
}

/// "… 12 more slices are not shown."
pub fn more(all: usize, most: usize, what: &str) -> String {
    match all.checked_sub(most).filter(|left| *left > 0) {
        Some(left) => format!("{left} more {what} are not shown."),
        None => String::new(),
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "below 0.0001".to_owned() } else { mean(p) }
}

fn table(first: &str, percent: f64, last: &str) -> String {
    format!(
        "<table>\n<thead><tr><th scope=\"col\">{first}</th><th scope=\"col\" class=\"num\">n</th><th scope=\"col\" \
         class=\"num\">candidate</th><th scope=\"col\" class=\"num\">baseline</th><th scope=\"col\" \
         class=\"num\">difference</th><th scope=\"col\" class=\"num\">one-sided {percent}\u{a0}% bounds</th><th \
         scope=\"col\">{last}</th><th scope=\"col\">verdict</th></tr></thead>\n"
    )
}

fn row(what: &str, numbers: &Numbers, rule: &str, verdict: impl Into<Option<Verdict>>, reason: &str) -> String {
    let verdict = verdict.into();
    let bounds = numbers.lower.zip(numbers.upper);
    let bounds = bounds.map_or_else(|| NONE.to_owned(), |(l, u)| format!("{} … {}", change(l), change(u)));
    let cell = |label: &str, value: String| format!("<td class=\"num\" data-label=\"{label}\">{value}</td>");
    format!(
        "<tr><th scope=\"row\">{what}</th>{}{}{}{}{}<td data-label=\"must hold\">{rule}</td><td data-label=\"verdict\" \
         class=\"verdict {}\"><span>{}{}</span><small>{reason}</small></td></tr>\n",
        cell("n", count(numbers.n)),
        cell("candidate", mean(numbers.candidate)),
        cell("baseline", or_none(numbers.baseline, mean)),
        cell("difference", or_none(numbers.difference, change)),
        cell("bounds", bounds),
        class(verdict),
        mark(verdict),
        word(verdict)
    )
}

/// What was measured, and how to do it again.
pub fn provenance(page: &Page) -> String {
    if page.seen.is_none() && page.repeat.is_empty() {
        return String::new();
    }
    let mut html = "<section>\n<h2>How it was measured</h2>\n".to_owned();
    if let Some(seen) = &page.seen {
        html.push_str(&counts(page, seen));
        html.extend(page.counting_in_words().map(|text| format!("<p>{}</p>\n", shown(&text, MOST_FACT))));
        html.push_str(&digests(seen));
    }
    if !page.repeat.is_empty() {
        let lines = page.repeat.iter().map(|line| format!("{}\n", shown(line, 2_000)));
        html.push_str(&format!("<h3>To repeat it</h3>\n<pre><code>{}</code></pre>\n", lines.collect::<String>()));
    }
    html.push_str("</section>\n");
    html
}

fn counts(page: &Page, seen: &Seen) -> String {
    let counts = seen.counts;
    let answered = |n: u64| if n == counts.judged { "all".to_owned() } else { count(n) };
    let mut parts = vec![
        format!("{} judged queries", count(counts.judged)),
        format!("the candidate answered {}", answered(counts.answered_by_candidate)),
    ];
    parts.extend(counts.answered_by_baseline.map(|n| format!("the baseline {}", answered(n))));
    // What was asked counts as answered, with or without a list.
    let missing = |arm: &str, answered: u64, not_compared: &'static str| {
        let fate = match page.counting.missing {
            _ if answered >= counts.judged => "they count 0",
            Missing::Zero => not_compared,
            Missing::Drop => "left out of both arms",
        };
        format!("not named by the {arm}'s run ({fate})")
    };
    let (answered_by, compared) =
        (counts.answered_by_baseline.unwrap_or_default(), "they count 0, and are not compared");
    let extra = [
        (counts.missing_in_candidate, missing("candidate", counts.answered_by_candidate, "they count 0")),
        (counts.missing_in_baseline, missing("baseline", answered_by, compared)),
        (
            counts.without_relevant_document,
            "without a relevant document (metrics of relevance count them as 0 in the means, and in no comparison)"
                .to_owned(),
        ),
        (counts.unjudged, "without judgments (not counted)".to_owned()),
    ];
    let extra = extra.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n as u64)));
    parts.extend(extra);
    let judged = seen
        .baseline
        .as_ref()
        .map(|_| format!(" Judged by {}; one-sided bounds at {}\u{a0}%.", page.method, page.confidence_percent));
    format!("<p>{}.{}</p>\n", parts.join("; "), judged.unwrap_or_default())
}

fn digests(seen: &Seen) -> String {
    let mut rows = vec![
        ("all inputs".to_owned(), seen.inputs.clone()),
        ("queries and judgments".to_owned(), seen.dataset.clone()),
    ];
    let arms = [("candidate", Some(&seen.candidate)), ("baseline", seen.baseline.as_ref())];
    for (arm, identity) in arms.iter().filter_map(|(arm, identity)| identity.map(|identity| (arm, identity))) {
        rows.extend(identity_rows(arm, identity));
    }
    rows.push(("version of the numbers".to_owned(), seen.evaluator.clone()));
    let rows = rows
        .iter()
        .map(|(what, digest)| format!("<div><dt>{what}</dt><dd><code>{}</code></dd></div>\n", shown(digest, 128)));
    format!("<dl class=\"digests\">\n{}</dl>\n", rows.collect::<String>())
}

fn identity_rows(arm: &str, identity: &Arm) -> Vec<(String, String)> {
    let parts =
        [("revision", &identity.revision), ("content", &identity.content_digest), ("encoder", &identity.fingerprint)];
    let parts = parts.iter().filter(|(_, value)| !value.is_empty());
    parts.map(|(what, value)| (format!("{arm}, {what}"), (*value).clone())).collect()
}
