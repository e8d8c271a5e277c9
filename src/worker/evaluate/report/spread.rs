//! What single queries gave: a histogram and a sorted plot for each metric.
//!
//! Invariant: the size of a plot does not grow with the number of queries: at most [`BINS`] and [`BARS`] shapes.

use super::page::{MetricLine, Page, Spread};
use super::scale::{Scale, anchor, percent, round_step};
use super::text::{change, count, mean, name};

/// Bars of a histogram, about.
const BINS: f64 = 40.0;
/// Bars of a sorted plot.
const BARS: usize = 240;
const HEIGHT: f64 = 150.0;
/// Differences closer to 0 than this are rounding of equal lists.
const ZERO: f64 = 1e-12;

/// Both plots of every metric.
pub fn spreads(page: &Page) -> String {
    let parts: String = page.metrics.iter().zip(&page.spreads).map(|(line, spread)| part(line, spread)).collect();
    let differences = page.spreads.iter().any(|spread| spread.differences);
    let title = if differences { "Query by query" } else { "Values, query by query" };
    format!("<section>\n<h2>{title}</h2>\n{parts}</section>\n")
}

fn part(line: &MetricLine, spread: &Spread) -> String {
    if spread.values.is_empty() {
        return String::new();
    }
    format!(
        "<div class=\"metric\">\n<h3>{}</h3>\n<p class=\"note\">{}</p>\n{}<div class=\"pair\">\n{}{}</div>\n</div>\n",
        name(&line.name, 60),
        summary(spread),
        legend(line, spread),
        histogram(line, spread),
        sorted(line, spread)
    )
}

fn summary(spread: &Spread) -> String {
    let values = &spread.values;
    let number = |chosen: fn(f64) -> bool| count(values.iter().filter(|x| chosen(**x)).count() as u64);
    let (least, most) = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0));
    if spread.differences {
        format!(
            "{} queries got worse, {} better, {} did not change. Largest loss {}, largest gain {}.",
            number(|x| x < -ZERO),
            number(|x| x > ZERO),
            number(|x| x.abs() <= ZERO),
            change(least.min(0.0)),
            change(most.max(0.0))
        )
    } else {
        format!("{} queries; lowest value {}, highest {}.", count(values.len() as u64), mean(least), mean(most))
    }
}

/// A line across a plot, and its name.
struct Mark {
    class: &'static str,
    value: f64,
    label: String,
}

fn marks(line: &MetricLine, spread: &Spread) -> Vec<Mark> {
    let numbers = line.numbers;
    let mark = |class, value: Option<f64>, word: &str, form: fn(f64) -> String| {
        value.map(|value| Mark { class, value, label: format!("{word} {}", form(value)) })
    };
    let marks = if spread.differences {
        [
            mark("mean", numbers.difference, "mean", change),
            mark("low", numbers.lower, "lower bound of the mean", change),
            mark("margin", line.margin.map(|margin| -margin), "margin of the mean", change),
        ]
    } else {
        [
            mark("mean", Some(numbers.candidate), "mean", mean),
            mark("margin", line.floor, "floor of the mean", mean),
            mark("low", line.max, "largest mean", mean),
        ]
    };
    marks.into_iter().flatten().collect()
}

fn legend(line: &MetricLine, spread: &Spread) -> String {
    let items = marks(line, spread).into_iter().map(|mark| {
        format!(
            "<li><svg class=\"mark\" width=\"14\" height=\"14\"><line class=\"{}\" x1=\"7\" x2=\"7\" y1=\"0\" \
             y2=\"14\"/></svg>{}</li>",
            mark.class, mark.label
        )
    });
    format!("<ul class=\"legend\">{}</ul>\n", items.collect::<String>())
}

/// Bars from the least to the largest value; 0 is always an edge of a bar.
fn histogram(line: &MetricLine, spread: &Spread) -> String {
    // Queries that did not change would hide all others: their number stands in the text.
    let values: Vec<f64> = spread.values.iter().copied().filter(|x| !spread.differences || x.abs() > ZERO).collect();
    let marks = marks(line, spread);
    let scale = Scale::covering(values.iter().copied().chain(marks.iter().map(|mark| mark.value)).chain([0.0]), 4.0);
    let (from, to) = scale.ends();
    let width = round_step((to - from) / BINS);
    let bins = bins(&values, from, to, width);
    let most = bins.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let bars = bins.iter().filter(|(_, n)| *n > 0).map(|(edge, n)| {
        let height = HEIGHT * *n as f64 / most.max(1) as f64;
        let (x, right) = (scale.at(*edge), scale.at(edge + width));
        let class = if !spread.differences {
            "bar"
        } else if *edge < -width * 0.5 {
            "bar worse"
        } else {
            "bar better"
        };
        format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{:.1}\" width=\"{}\" height=\"{height:.1}\"/>",
            percent(x),
            HEIGHT - height,
            percent((right - x) * 0.92)
        )
    });
    let lines = marks.iter().map(|mark| upright(mark.class, scale.at(mark.value)));
    let title = if spread.differences { "Queries by difference" } else { "Queries by value" };
    let without = if spread.differences { ", unchanged queries left out" } else { "" };
    let inner = format!("{}{}{}", bars.collect::<String>(), upright("zero", scale.at(0.0)), lines.collect::<String>());
    let ticks = [(0.0, count(most)), (100.0, "0".to_owned())];
    figure(title, &format!("Histogram{without}"), &inner, &ticks, &x_axis(&scale))
}

/// Lower edge and count of each bar.
fn bins(values: &[f64], from: f64, to: f64, width: f64) -> Vec<(f64, u64)> {
    let first = (from / width).round();
    let last = (((to - from) / width).round() as usize).max(1);
    let mut bins: Vec<(f64, u64)> = (0..last).map(|i| ((first + i as f64) * width, 0)).collect();
    for x in values {
        // The largest value belongs to the last bar; a loss that is exactly an edge stays left of it.
        let place = x / width - first;
        let place = if *x < 0.0 { (place - 1e-9).floor() } else { (place + 1e-9).floor() };
        let place = (place.max(0.0) as usize).min(last.saturating_sub(1));
        if let Some((_, n)) = bins.get_mut(place) {
            *n = n.saturating_add(1);
        }
    }
    bins
}

/// Queries from the largest loss to the largest gain; of many queries each bar stands for several.
fn sorted(line: &MetricLine, spread: &Spread) -> String {
    let values = &spread.values;
    let marks = marks(line, spread);
    let scale = Scale::covering(values.iter().copied().chain(marks.iter().map(|mark| mark.value)).chain([0.0]), 4.0);
    let y = |x: f64| HEIGHT * (1.0 - scale.at(x) / 100.0);
    let drawn = thinned(values);
    let bars = drawn.len();
    let shapes = drawn.iter().enumerate().filter(|(_, value)| value.abs() > ZERO).map(|(i, value)| {
        let (top, bottom) = (y(value.max(0.0)), y(value.min(0.0)));
        let class = if !spread.differences {
            "bar"
        } else if *value < 0.0 {
            "bar worse"
        } else {
            "bar better"
        };
        format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{top:.1}\" width=\"{}\" height=\"{:.1}\"/>",
            percent(100.0 * i as f64 / bars as f64),
            percent(if bars > 120 { 100.0 / bars as f64 + 0.02 } else { 88.0 / bars as f64 }),
            (bottom - top).max(0.5)
        )
    });
    let shapes: String = shapes.collect();
    let lines: String = marks.iter().map(|mark| level(mark.class, y(mark.value))).collect();
    let inner = format!("{shapes}{}{lines}", level("zero", y(0.0)));
    let ticks: Vec<(f64, String)> = scale.ticks().into_iter().map(|(x, label)| (100.0 - scale.at(x), label)).collect();
    let note = match values.len().div_ceil(BARS) {
        0 | 1 => "A bar a query".to_owned(),
        group => format!("A bar for about {group} queries: the largest change among them"),
    };
    let ends = "<text x=\"0%\" y=\"14\" class=\"tick first\">lowest</text><text x=\"100%\" y=\"14\" class=\"tick \
                last\">highest</text>";
    figure("Queries sorted", &note, &inner, &ticks, ends)
}

/// Of many sorted values at most [`BARS`]: each group is shown by the value that is furthest from 0, and a group on both
/// sides of 0 by its loss, but for the last: neither the largest loss nor the largest gain is smoothed away.
fn thinned(values: &[f64]) -> Vec<f64> {
    let bars = values.len().min(BARS);
    let begin = |i: usize| i.saturating_mul(values.len()).checked_div(bars);
    let shown = |i: usize| {
        let next = i.saturating_add(1);
        let group = values.get(begin(i)?..begin(next)?)?;
        let (least, most) = (*group.first()?, *group.last()?);
        Some(if least < 0.0 && (most <= 0.0 || next < bars) { least } else { most })
    };
    (0..bars).filter_map(shown).collect()
}

fn upright(class: &str, at: f64) -> String {
    let x = percent(at);
    format!("<line class=\"{class}\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{HEIGHT}\"/>")
}

fn level(class: &str, y: f64) -> String {
    format!("<line class=\"{class}\" x1=\"0%\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")
}

fn x_axis(scale: &Scale) -> String {
    let labels = scale.ticks().into_iter().map(|(x, label)| {
        let at = scale.at(x);
        format!("<text x=\"{}\" y=\"14\" class=\"tick{}\">{label}</text>", percent(at), anchor(at))
    });
    labels.collect()
}

/// A plot with its axes. `ticks`: of the upright axis, in percent from above.
fn figure(title: &str, note: &str, inner: &str, ticks: &[(f64, String)], below: &str) -> String {
    let labels = ticks.iter().map(|(at, label)| {
        // Letters hang around their line, but not out of the plot.
        let y = (HEIGHT * at / 100.0 + 4.0).clamp(10.0, HEIGHT);
        format!("<text x=\"46\" y=\"{y:.1}\" class=\"tick last\">{label}</text>")
    });
    format!(
        "<figure>\n<figcaption>{title}<small>{note}</small></figcaption>\n<div class=\"plot\"><svg width=\"50\" \
         height=\"{HEIGHT}\" aria-hidden=\"true\">{}</svg><svg class=\"area\" width=\"100%\" height=\"{HEIGHT}\" \
         role=\"img\"><title>{title}</title><desc>{note}. The text above gives the numbers.</desc>{inner}</svg><span></span><svg class=\"below\" \
         width=\"100%\" height=\"20\" aria-hidden=\"true\">{below}</svg></div>\n</figure>\n",
        labels.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_on_an_edge_fall_away_from_nothing() {
        let found = bins(&[-0.2, -0.1, 0.1, 0.2], -0.2, 0.2, 0.1);
        assert_eq!(found.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2, 0, 0, 2]);
        assert_eq!(found.iter().map(|(edge, _)| (edge * 10.0).round()).collect::<Vec<_>>(), [-2.0, -1.0, 0.0, 1.0]);
    }

    #[test]
    fn a_lone_loss_or_gain_among_many_is_drawn() {
        for (lone, others) in [(-0.01, 0.9), (0.01, -0.9), (-0.9, 0.0)] {
            let mut values = vec![others; 1_000];
            values.push(lone);
            values.sort_by(f64::total_cmp);
            assert!(thinned(&values).contains(&lone), "{lone}");
        }
    }

    proptest! {
        #[test]
        fn every_value_is_counted_in_its_bar(values in prop::collection::vec(-1.0..1.0_f64, 1..300)) {
            let scale = Scale::covering(values.iter().copied().chain([0.0]), 4.0);
            let (from, to) = scale.ends();
            let width = round_step((to - from) / BINS);
            let found = bins(&values, from, to, width);
            prop_assert!(found.len() as f64 <= BINS + 1.0, "{} bars", found.len());
            for (edge, n) in &found {
                let inside = values.iter().filter(|x| (*edge..edge + width).contains(*x)).count() as u64;
                prop_assert!(n.abs_diff(inside) == 0, "{edge}: {n} of {inside}");
            }
        }

        #[test]
        fn thinning_keeps_the_largest_loss_and_gain(mut values in prop::collection::vec(-1.0..1.0_f64, 1..2_000)) {
            values.sort_by(f64::total_cmp);
            let drawn = thinned(&values);
            prop_assert_eq!(drawn.len(), values.len().min(BARS));
            let loss = values.iter().copied().fold(0.0, f64::min);
            let gain = values.iter().copied().fold(0.0, f64::max);
            prop_assert_eq!(drawn.iter().copied().fold(0.0, f64::min), loss);
            prop_assert_eq!(drawn.iter().copied().fold(0.0, f64::max), gain);
        }
    }
}
