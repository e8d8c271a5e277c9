//! The queries that lost most, with both answers: what a person looks at before believing a number.

use super::page::{AnswerList, Page, Ranked, Worst, WorstQuery};
use super::text::{change, mean, name};

const MOST_ID: usize = 120;
const MOST_TEXT: usize = 400;

/// The worst queries.
pub fn lost(page: &Page) -> String {
    let Some(worst) = &page.worst else { return String::new() };
    let title = if worst.differences { "Queries that lost most" } else { "Queries of the lowest value" };
    if worst.queries.is_empty() {
        let none = if worst.differences { "No query lost anything" } else { "Every query has the best value" };
        return format!("<section>\n<h2>{title}</h2>\n<p>{none} by {}.</p>\n</section>\n", name(&worst.metric, 60));
    }
    let queries: String = worst.queries.iter().map(|query| one(worst, query)).collect();
    format!(
        "<section>\n<h2>{title}</h2>\n<p class=\"note\">By {}; {} of {}. A filled number is the grade of a relevant \
         document, an empty one of a document judged not relevant, a dash of one that nobody judged.</p>\n{queries}\
         </section>\n",
        name(&worst.metric, 60),
        worst.queries.len(),
        worst.of
    )
}

fn one(worst: &Worst, query: &WorstQuery) -> String {
    let text = query
        .text
        .as_ref()
        .map_or_else(String::new, |text| format!("<p class=\"text\">{}</p>\n", name(text, MOST_TEXT)));
    let values = match query.baseline {
        Some(baseline) => format!(
            "<b>{}</b> <small>{} → {}</small>",
            change(query.candidate - baseline),
            mean(baseline),
            mean(query.candidate)
        ),
        None => format!("<b>{}</b>", mean(query.candidate)),
    };
    let compared = query.lists.len() > 1;
    let lists: String = query.lists.iter().map(|list| answer(list, compared)).collect();
    debug_assert!(!worst.differences || query.baseline.is_some());
    format!(
        "<article>\n<h3><code>{}</code><span class=\"delta\">{values}</span></h3>\n{text}<div class=\"pair\">\n{lists}\
         </div>\n</article>\n",
        name(&query.id, MOST_ID)
    )
}

fn answer(list: &AnswerList, compared: bool) -> String {
    let title = if list.documents.len() < list.of {
        format!("{} <small>first {} of {}</small>", list.arm, list.documents.len(), list.of)
    } else {
        list.arm.to_owned()
    };
    if list.documents.is_empty() {
        return format!("<div><h4>{title}</h4><p class=\"note\">nothing was found</p></div>\n");
    }
    let other = if list.arm == "candidate" { "baseline" } else { "candidate" };
    let documents = list.documents.iter().map(|document| item(document, compared.then_some(other)));
    format!("<div><h4>{title}</h4><ol>\n{}</ol></div>\n", documents.collect::<String>())
}

fn item(document: &Ranked, other: Option<&str>) -> String {
    let (class, grade) = match document.grade {
        Some(grade) if grade > 0 => ("grade relevant", grade.to_string()),
        Some(grade) => ("grade", grade.to_string().replace('-', "−")),
        None => ("grade unjudged", "–".to_owned()),
    };
    // Only where it tells something: a relevant document that moved.
    let moved = match (document.grade.is_some_and(|grade| grade > 0), other, document.elsewhere) {
        (true, Some(other), Some(rank)) => format!(" <small>{other}: rank {rank}</small>"),
        (true, Some(other), None) => format!(" <small>{other}: not found</small>"),
        (true, None, _) | (false, _, _) => String::new(),
    };
    format!(
        "<li><span class=\"{class}\">{grade}</span><span><code>{}</code>{moved}</span></li>\n",
        name(&document.document, MOST_ID)
    )
}
