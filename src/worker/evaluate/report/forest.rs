//! Forest plot: the difference of each metric and slice with its bounds and its margin, on one axis.

use super::head::{class, shape};
use super::page::{Numbers, Page, word};
use super::scale::{Scale, anchor, percent};
use super::tables::more;
use super::text::{change, count, name, shown};
use crate::evaluation::verdict::Verdict;

/// Slices that are drawn: the table has more.
const MOST_SLICES: usize = 40;
const MOST_NAME: usize = 40;
const HEIGHT: u32 = 26;
const MIDDLE: u32 = 13;

struct Bar {
    label: String,
    difference: f64,
    lower: f64,
    upper: f64,
    n: u64,
    margin: Option<f64>,
    verdict: Option<Verdict>,
    slice: bool,
}

/// The plot; nothing without a baseline.
pub fn forest(page: &Page) -> String {
    let metrics = page
        .metrics
        .iter()
        .filter_map(|line| bar(name(&line.name, MOST_NAME), &line.numbers, line.margin, Some(line.verdict), false));
    let slices = page.slices.iter().take(MOST_SLICES).filter_map(|line| {
        let label = format!(
            "<small>{} in</small> {}=<wbr>{}",
            shown(&line.metric, MOST_NAME),
            name(&line.key, MOST_NAME),
            name(&line.value, MOST_NAME)
        );
        bar(label, &line.numbers, line.margin, line.verdict, true)
    });
    let bars: Vec<Bar> = metrics.chain(slices).collect();
    if bars.is_empty() {
        return String::new();
    }
    let scale = scale(&bars);
    format!(
        "<section>\n<h2>Differences with their bounds</h2>\n<p class=\"note\">Candidate minus baseline: right of 0 is \
         better. The line reaches from the lower to the upper one-sided {}\u{a0}% bound. {}</p>\n{}<div class=\"forest\">\n{}{}\
         </div>\n</section>\n",
        page.confidence_percent,
        more(page.slices.len(), MOST_SLICES, "slices"),
        legend(),
        bars.iter().map(|bar| row(bar, &scale)).collect::<String>(),
        axis(&scale)
    )
}

fn bar(label: String, numbers: &Numbers, margin: Option<f64>, verdict: Option<Verdict>, slice: bool) -> Option<Bar> {
    let (difference, lower, upper) = (numbers.difference?, numbers.lower?, numbers.upper?);
    Some(Bar { label, difference, lower, upper, n: numbers.n, margin, verdict, slice })
}

/// Metrics set the axis; the wide bounds of a small slice leave it and end in an arrow.
fn scale(bars: &[Bar]) -> Scale {
    let whole = bars.iter().filter(|bar| !bar.slice).flat_map(|bar| [bar.lower, bar.upper]);
    let points = bars.iter().flat_map(|bar| [bar.difference, -bar.margin.unwrap_or(0.0)]);
    let all: Vec<f64> = whole.chain(points).chain([0.0]).collect();
    let width = all.iter().copied().fold(0.0, |widest: f64, x| widest.max(x.abs()));
    Scale::covering(all.iter().copied().chain([width * 0.1, width * -0.1]), 4.0)
}

fn row(bar: &Bar, scale: &Scale) -> String {
    format!(
        "<div class=\"{}\"><div class=\"label\">{}</div><svg class=\"strip {}\" height=\"{HEIGHT}\" width=\"100%\" \
         role=\"img\" aria-label=\"{}, bounds {} and {}\">{}{}{}{}</svg><div class=\"value\">{}<small>n {}</small></div>\
         </div>\n",
        if bar.slice { "row slice" } else { "row" },
        bar.label,
        class(bar.verdict),
        change(bar.difference),
        change(bar.lower),
        change(bar.upper),
        grid(scale),
        bar.margin.filter(|margin| scale.holds(-margin)).map_or_else(String::new, |margin| {
            let x = percent(scale.at(-margin));
            format!("<line class=\"margin\" x1=\"{x}\" x2=\"{x}\" y1=\"2\" y2=\"{}\"/>", HEIGHT.saturating_sub(2))
        }),
        whisker(bar, scale),
        marker(bar, scale),
        change(bar.difference),
        count(bar.n)
    )
}

fn grid(scale: &Scale) -> String {
    let lines = scale.ticks().into_iter().map(|(x, _)| {
        let at = percent(scale.at(x));
        let class = if x == 0.0 { "zero" } else { "grid" };
        format!("<line class=\"{class}\" x1=\"{at}\" x2=\"{at}\" y1=\"0\" y2=\"{HEIGHT}\"/>")
    });
    lines.collect()
}

fn whisker(bar: &Bar, scale: &Scale) -> String {
    let (from, to) = (percent(scale.at(bar.lower)), percent(scale.at(bar.upper)));
    let end = |x: f64, at: &str, arrow: &str| {
        if scale.holds(x) {
            let (top, bottom) = (MIDDLE.saturating_sub(4), MIDDLE.saturating_add(4));
            format!("<line class=\"bound\" x1=\"{at}\" x2=\"{at}\" y1=\"{top}\" y2=\"{bottom}\"/>")
        } else {
            placed(at, &format!("<path class=\"arrow\" d=\"{arrow}\"/>"))
        }
    };
    format!(
        "<line class=\"bound\" x1=\"{from}\" x2=\"{to}\" y1=\"{MIDDLE}\" y2=\"{MIDDLE}\"/>{}{}",
        end(bar.lower, &from, "M0 0L7 -4V4Z"),
        end(bar.upper, &to, "M0 0L-7 -4V4Z")
    )
}

fn marker(bar: &Bar, scale: &Scale) -> String {
    placed(&percent(scale.at(bar.difference)), shape(bar.verdict))
}

/// A shape around a point that is given in percent.
fn placed(at: &str, shape: &str) -> String {
    format!("<svg x=\"{at}\" y=\"{MIDDLE}\" overflow=\"visible\">{shape}</svg>")
}

fn axis(scale: &Scale) -> String {
    let labels = scale.ticks().into_iter().map(|(x, label)| {
        let at = scale.at(x);
        format!("<text x=\"{}\" y=\"14\" class=\"tick{}\">{label}</text>", percent(at), anchor(at))
    });
    format!(
        "<div class=\"row axis\"><div class=\"label\"></div><svg class=\"strip\" height=\"18\" width=\"100%\" \
         aria-hidden=\"true\">{}</svg><div class=\"value\"></div></div>\n",
        labels.collect::<String>()
    )
}

fn legend() -> String {
    let words = [Some(Verdict::Pass), Some(Verdict::Fail), Some(Verdict::Inconclusive), None]
        .map(|verdict| format!("<li>{}{}</li>", super::head::mark(verdict), word(verdict)));
    format!(
        "<ul class=\"legend\" aria-hidden=\"true\">{}<li><svg class=\"mark\" width=\"14\" height=\"14\"><line \
         class=\"margin\" x1=\"7\" x2=\"7\" y1=\"0\" y2=\"14\"/></svg>margin</li></ul>\n",
        words.concat()
    )
}
