//! The page with plots: one self-contained HTML file of a run.
//!
//! Why one file without scripts: it is opened from a claim, an artifact of a CI system or a mail, years later, on a
//! phone or on paper, and what it holds came from a data set that anybody may have written.
//!
//! Layout: [`page`] what is shown, as plain data; [`gather`] a run as such data; [`head`] verdict and key figures;
//! [`tables`] numbers; [`forest`], [`spread`] plots on a [`scale`]; [`lost`] the worst queries; [`text`] foreign text;
//! [`keep`] files on a claim.
//!
//! Invariants: equal pages give equal bytes; at most [`MAX_BYTES`], whatever the data set holds; foreign text is
//! escaped in one place ([`text`]) and never stands in an attribute; no script, no address, no style comes from data;
//! every plot has its numbers in a table beside it, and colour is never the only sign.

mod forest;
pub mod gather;
mod head;
pub mod keep;
mod lost;
pub mod page;
#[cfg(test)]
pub mod sample;
mod scale;
mod spread;
mod tables;
mod text;

use page::Page;
use text::shown;

/// Largest file.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;
const STYLE: &str = include_str!("style.css");
/// Longest sentence: a verdict's fits, the text of an error may be longer.
const MOST_SENTENCE: usize = 1_200;
/// Longest fact.
const MOST_FACT: usize = 400;

/// The page as HTML.
pub fn html(page: &Page) -> String {
    let mut body = head::head(page);
    if !page.metrics.is_empty() {
        body.push_str(&tables::metrics(page));
        body.push_str(&forest::forest(page));
        body.push_str(&tables::slices(page));
        body.push_str(&tables::domains(page));
        body.push_str(&spread::spreads(page));
    }
    body.push_str(&lost::lost(page));
    body.push_str(&tables::provenance(page));
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light\">\n\
         <title>{}: {}{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        page.verdict,
        page.reason,
        subject(page)
    );
    debug_assert!(html.len() <= MAX_BYTES, "{} bytes", html.len());
    html
}

fn subject(page: &Page) -> String {
    if page.subject.is_empty() { String::new() } else { format!(" · {}", shown(&page.subject, 120)) }
}

#[cfg(test)]
mod tests;
