use proptest::prelude::*;

use super::comparing::LEAST_QUERIES;
// The rules alone: their rows are made up, so that one number can be moved at a time.
use super::decide as judge;
use super::*;
use crate::evaluation::paired::{floor_queries, t_bounds, unit_deviation};
use crate::evaluation::sample::Sample;

mod boundaries;
mod guards;
mod soundness;

fn rule(margin: Option<f64>, floor: Option<f64>, max: Option<f64>) -> Rule {
    Rule::new("ndcg@10", Wanted { margin: margin.map(Margin::Absolute), floor, max, ..Wanted::default() }).unwrap()
}

fn margin(margin: f64) -> Rule {
    rule(Some(margin), None, None)
}

/// A row from differences, as `compare` makes it; p is 0 unless said otherwise.
fn row(differences: &[f64]) -> Row {
    let sample = Sample::plain(differences).unwrap();
    let bounds = t_bounds(&sample, 0.05);
    Row {
        n: sample.len() as u64,
        clusters: None,
        candidate: (1.0 + sample.mean()) / 2.0,
        baseline: Some((1.0 - sample.mean()) / 2.0),
        candidate_lower: None,
        sd: unit_deviation(&sample),
        difference: Some(sample.mean()),
        lower: bounds.map(|b| b.0),
        upper: bounds.map(|b| b.1),
        p: Some(0.0),
        nonzero: Some(sample.changed() as u64),
        min: Some(sample.min()),
    }
}

/// A row with given bounds around a difference.
fn bounded(n: u64, lower: f64, upper: f64) -> Row {
    Row {
        n,
        clusters: None,
        candidate: 0.5,
        baseline: Some(0.5),
        candidate_lower: None,
        sd: Some(0.1),
        difference: Some(f64::midpoint(lower, upper)),
        lower: Some(lower),
        upper: Some(upper),
        p: Some(0.0),
        nonzero: Some(n),
        min: Some(f64::midpoint(lower, upper).min(0.0) - 0.1),
    }
}

fn covered(queries: u64) -> Coverage {
    Coverage { queries, candidate: queries, baseline: Some(queries) }
}

fn evidence(coverage: Coverage, rows: &[Row]) -> Evidence {
    Evidence {
        coverage,
        rows: rows.to_vec(),
        unjudged: None,
        guardrails: None,
        slices: Vec::new(),
        worst: None,
        promoted: Vec::new(),
    }
}

fn statistics(method: Method) -> Statistics {
    Statistics { method, ..Statistics::default() }
}

fn criteria<'a>(rules: &'a [Rule], statistics: &'a Statistics) -> Criteria<'a> {
    Criteria { rules, statistics, slices: None, max_cumulative_drop: None }
}

/// One metric of a run that was compared.
fn judged_by(rule: &Rule, row: &Row, statistics: &Statistics) -> Judged {
    let rules = [*rule];
    judge(&criteria(&rules, statistics), &evidence(covered(100_000), &[*row])).metrics.remove(0)
}

fn judged(rule: &Rule, row: &Row) -> Judged {
    judged_by(rule, row, &Statistics::default())
}

fn reason(rule: &Rule, row: &Row) -> Reason {
    judged(rule, row).reason
}

/// A gate over these rows.
fn gate(coverage: Coverage, rules: &[Rule], rows: &[Row]) -> GateJudged {
    judge(&criteria(rules, &Statistics::default()), &evidence(coverage, rows))
}

/// One metric without a baseline.
fn alone(rule: &Rule, row: &Row) -> Judged {
    gate(Coverage { queries: row.n, candidate: row.n, baseline: None }, &[*rule], &[*row]).metrics.remove(0)
}

#[test]
fn nothing_changed_in_60_queries_is_too_few_and_in_149_enough() {
    let judged = judged(&margin(0.02), &row(&[0.0; 60]));
    assert_eq!((judged.reason, judged.required_queries), (Reason::TooFewQueries, Some(149)));
    assert!(judged.sentence.contains("60 queries are too few for a margin of 0.02"), "{}", judged.sentence);
    assert!(judged.sentence.contains("a margin of 0.0487 at best"), "{}", judged.sentence);
    assert_eq!(reason(&margin(0.02), &row(&[0.0; 148])), Reason::TooFewQueries);
    assert_eq!(reason(&margin(0.02), &row(&[0.0; 149])), Reason::NonInferior);
}

#[test]
fn three_lost_queries_of_200_are_underpowered_although_the_bound_passes() {
    let mut d = vec![0.0; 200];
    d[..3].fill(-0.5);
    let three = row(&d);
    assert!(three.lower.unwrap() > -0.02);
    let judged = judged(&margin(0.02), &three);
    assert_eq!(judged.reason, Reason::Underpowered);
    let told = "what changed is made by about 3 queries and one query lost 0.50";
    assert!(judged.sentence.contains(told), "{}", judged.sentence);
    // Tiny differences beside them hide nothing.
    for (i, tiny) in d.iter_mut().skip(3).enumerate() {
        *tiny = if i % 2 == 0 { 0.001 } else { -0.001 };
    }
    let among = row(&d);
    assert!(among.lower.unwrap() > -0.02 && among.nonzero == Some(200));
    assert_eq!(reason(&margin(0.02), &among), Reason::Underpowered);
    // Wins make a spread too, and there are still fewer than five changes.
    let mut won = vec![0.0; 200];
    (won[0], won[1], won[2], won[3]) = (-0.5, 1.0, 1.0, 1.0);
    assert!(row(&won).lower.unwrap() > -0.02);
    assert_eq!(reason(&margin(0.02), &row(&won)), Reason::Underpowered);
    // Five of .3 are no longer few.
    let mut five = vec![0.0; 200];
    five[..5].fill(-0.3);
    assert_eq!(reason(&margin(0.02), &row(&five)), Reason::NonInferior);
}

#[test]
fn few_smaller_losses_pass_if_as_many_as_chance_could_hide_would_pass_too() {
    // Four losses of .4 in 149 queries: the bound says -.0191, but 9.15 of them are not ruled out.
    let mut d = vec![0.0; 149];
    d[..4].fill(-0.4);
    let four = row(&d);
    assert!(four.lower.unwrap() > -0.02, "{four:?}");
    let judged = judged(&margin(0.02), &four);
    assert_eq!(judged.reason, Reason::Underpowered);
    assert!(
        judged.sentence.contains("about 4 queries that lost up to 0.40; with so few, a drop of 0.0243"),
        "{judged:?}"
    );
    assert!(judged.sentence.contains("a margin of 0.0243 at best"), "{judged:?}");
    assert_eq!(reason(&margin(0.025), &four), Reason::NonInferior);
    d[..4].fill(-0.3);
    assert_eq!(reason(&margin(0.02), &row(&d)), Reason::NonInferior);
}

#[test]
fn a_drop_inside_the_margin_with_too_wide_bounds_is_underpowered() {
    let wide = Row { sd: Some(0.128), ..bounded(300, -0.0289, -0.0045) };
    let judged = judged(&margin(0.02), &wide);
    assert_eq!((judged.reason, judged.required_queries), (Reason::Underpowered, Some(254)));
    assert!(judged.sentence.contains("254 queries would decide if the true difference were 0"), "{}", judged.sentence);
    assert!(judged.sentence.contains("if it is the measured one"), "{}", judged.sentence);
}

#[test]
fn without_a_baseline_only_floor_and_max_decide() {
    let six = Row::absolute(6, 0.41);
    let judge = |rule: Rule| alone(&rule, &six).reason;
    assert_eq!(judge(rule(None, Some(0.40), None)), Reason::AbsoluteOnly);
    assert_eq!(judge(rule(Some(0.02), Some(0.40), None)), Reason::AbsoluteOnly);
    assert_eq!(judge(margin(0.02)), Reason::NoBaseline);
    assert_eq!(judge(rule(None, Some(0.45), None)), Reason::FloorBreached);
    assert_eq!(judge(rule(Some(0.02), Some(0.45), None)), Reason::FloorBreached);
    assert_eq!(judge(rule(None, None, Some(0.40))), Reason::LimitExceeded);
    // Both limits include their value.
    assert_eq!(judge(rule(None, Some(0.41), Some(0.41))), Reason::AbsoluteOnly);
}

#[test]
fn a_comparison_without_a_baseline_number_never_passes() {
    let missing = Row::absolute(200, 0.41);
    assert_eq!(reason(&margin(0.02), &missing), Reason::NoData);
    let judged = gate(covered(200), &[margin(0.02)], &[missing]);
    assert_eq!(judged.gate.verdict(), Verdict::Inconclusive);
}

#[test]
fn the_floor_holds_at_any_number_of_queries_and_before_the_comparison() {
    let low = Row { candidate: 0.3, ..bounded(5, 0.1, 0.2) };
    assert_eq!(reason(&rule(Some(0.02), Some(0.4), None), &low), Reason::FloorBreached);
}

#[test]
fn ten_queries_are_the_least() {
    assert_eq!(reason(&margin(0.5), &row(&[0.0; 9])), Reason::TooFewQueries);
    assert_eq!(reason(&margin(0.5), &row(&[0.0; 10])), Reason::NonInferior);
    // Nine queries that all fail are not proof either.
    assert_eq!(reason(&margin(0.1), &row(&[-0.9; 9])), Reason::TooFewQueries);
    assert_eq!(reason(&margin(0.1), &row(&[-0.9; 10])), Reason::RegressionProven);
}

#[test]
fn a_regression_is_proven_by_the_upper_bound() {
    let judge = |lower, upper| reason(&margin(0.02), &bounded(200, lower, upper));
    assert_eq!(judge(-0.06, -0.0201), Reason::RegressionProven);
    // The bound lies between 0 and the margin: the measured drop must reach the margin.
    assert_eq!(judge(-0.04, -0.0001), Reason::RegressionProven);
    assert_eq!(judge(-0.0398, -0.0001), Reason::Underpowered);
    assert_eq!(judge(-0.06, 0.0), Reason::WorseWithinNoise);
    assert_eq!(judge(-0.041, 0.001), Reason::Underpowered);
    assert_eq!(judge(-0.0411, 0.001), Reason::WorseWithinNoise);
}

#[test]
fn a_regression_is_proven_below_the_floor_of_queries_too() {
    assert_eq!(reason(&margin(0.02), &bounded(20, -0.3, -0.1)), Reason::RegressionProven);
}

#[test]
fn the_lower_bound_passes_at_the_margin_and_is_superior_above_0() {
    let judge = |lower, upper| reason(&margin(0.02), &bounded(200, lower, upper));
    assert_eq!(judge(-0.02, 0.03), Reason::NonInferior);
    assert_eq!(judge(-0.020_001, 0.03), Reason::Underpowered);
    assert_eq!(judge(0.0, 0.03), Reason::NonInferior);
    assert_eq!(judge(0.000_001, 0.03), Reason::Superior);
}

#[test]
fn p_can_only_take_a_pass_away() {
    let with_p = |p| Row { p, ..bounded(200, -0.01, 0.03) };
    assert_eq!(reason(&margin(0.02), &with_p(Some(0.05))), Reason::NonInferior);
    assert_eq!(reason(&margin(0.02), &with_p(Some(0.051))), Reason::Underpowered);
    assert_eq!(reason(&margin(0.02), &with_p(None)), Reason::Underpowered);
    let plain = statistics(Method::PairedT);
    assert_eq!(judged_by(&margin(0.02), &with_p(None), &plain).reason, Reason::NonInferior);
    let failing = Row { p: Some(0.0), ..bounded(200, -0.05, 0.03) };
    assert_eq!(reason(&margin(0.02), &failing), Reason::Underpowered);
}

#[test]
fn coverage_below_99_percent_is_an_error_of_either_arm() {
    let rows = [bounded(200, 0.0, 0.1)];
    let judge = |queries, candidate, baseline| gate(Coverage { queries, candidate, baseline }, &[margin(0.02)], &rows);
    assert_eq!(judge(200, 198, Some(198)).gate.verdict(), Verdict::Pass);
    let low = judge(200, 197, Some(200));
    assert_eq!((low.gate.reason, low.gate.verdict()), (Reason::LowCoverage, Verdict::Error));
    assert_eq!(
        low.gate.sentence,
        "The candidate answered 197 of 200 queries; at least 99 % must be answered for a verdict."
    );
    assert!(low.metrics.is_empty());
    assert!(judge(200, 200, Some(0)).gate.sentence.starts_with("The baseline answered 0 of 200"));
}

#[test]
fn a_gate_fails_before_it_is_inconclusive_and_reports_what_is_not_required() {
    let pass = bounded(200, 0.001, 0.1);
    let fail = bounded(200, -0.2, -0.1);
    let open = bounded(200, -0.1, 0.1);
    let judge = |rules: &[Rule], rows: &[Row]| gate(covered(200), rules, rows);
    let must = margin(0.02);
    let may = Rule::new("ndcg@10", Wanted { margin: must.margin(), required: false, ..Wanted::default() }).unwrap();
    assert_eq!(judge(&[must, must, must], &[pass, open, fail]).gate.reason, Reason::RegressionProven);
    assert_eq!(judge(&[must, must], &[pass, open]).gate.reason, Reason::Underpowered);
    let reported = judge(&[must, may], &[pass, fail]);
    assert_eq!(reported.gate.reason, Reason::Superior);
    assert_eq!(reported.metrics[1].reason, Reason::RegressionProven);
    // The weakest evidence names a Pass.
    assert_eq!(judge(&[must, must], &[pass, bounded(200, -0.01, 0.1)]).gate.reason, Reason::NonInferior);
    let floor = rule(None, Some(0.1), None);
    assert_eq!(judge(&[must, floor], &[pass, pass]).gate.reason, Reason::AbsoluteOnly);
    // A row that is missing is no data; no rule that is required is a Pass that says so.
    assert_eq!(judge(&[must, must], &[pass]).gate.reason, Reason::NoData);
    assert!(judge(&[may], &[fail]).gate.sentence.contains("No metric is required"));
    // The largest need is the gate's need.
    let wide = Row { sd: Some(0.5), ..open };
    assert_eq!(judge(&[must, must], &[open, wide]).gate.required_queries, Some(3865));
}

#[test]
fn the_sentence_of_a_gate_fits_into_a_status_field() {
    let judged = gate(covered(200), &[margin(0.02); 8], &[bounded(200, -0.1, 0.1); 8]);
    assert!(judged.gate.sentence.len() <= 1200, "{}", judged.gate.sentence.len());
    assert!(judged.gate.sentence.ends_with(" more in the table.)"), "{}", judged.gate.sentence);
}

fn reach(queries: u64, rule: Rule) -> Reach {
    Reach { rule, queries, tested: queries, clusters: None }
}

#[test]
fn advice_names_the_margin_and_the_queries_that_would_do() {
    let say = |n, margins: &[f64]| advice(&margins.iter().map(|m| reach(n, margin(*m))).collect::<Vec<_>>(), 0.05);
    assert_eq!(
        say(60, &[0.05, 0.02]).as_deref(),
        Some("60 queries can certify a margin of .049 at best; set margin 0.05 or add 89 queries")
    );
    assert_eq!(say(149, &[0.02]), None);
    assert_eq!(say(59, &[0.05]), None);
    assert!(say(58, &[0.05]).unwrap().ends_with("set margin 0.06 or add 1 query"));
    assert_eq!(say(5, &[0.5]).as_deref(), Some("5 queries can certify no margin; add 5 queries"));
    assert_eq!(say(60, &[]), None);
    let clusters = Reach { clusters: Some(58), ..reach(60, margin(0.05)) };
    assert!(advice(&[clusters], 0.05).unwrap().ends_with("or add 1 cluster"));
    // What is only reported needs nothing; a share of a mean is at most that share.
    let wanted = Wanted { margin: Some(Margin::Relative(0.02)), ..Wanted::default() };
    let relative = Rule::new("map", wanted).unwrap();
    assert!(advice(&[reach(148, relative)], 0.05).unwrap().ends_with("add 1 query"));
    let reported = Rule::new("map", Wanted { required: false, ..wanted }).unwrap();
    assert_eq!(advice(&[reach(5, reported)], 0.05), None);
}

#[test]
fn rules_are_checked_and_said_in_words() {
    assert_eq!(rule(Some(0.05), Some(0.4), Some(0.9)).in_words(), "drop at most 0.05, at least 0.4, at most 0.9");
    let sure = Wanted { margin: Some(Margin::Relative(0.03)), floor: Some(0.4), confident: true, ..Wanted::default() };
    assert_eq!(
        Rule::new("map", sure).unwrap().in_words(),
        "drop at most 3 % of the baseline, at least 0.4 at the lower bound"
    );
    let refused = |name: &str, wanted: Wanted| Rule::new(name, wanted).unwrap_err().to_string();
    let drop = |margin| Wanted { margin: Some(margin), ..Wanted::default() };
    assert!(refused("recall", drop(Margin::Absolute(0.1))).contains("`recall` is no metric"));
    for name in ["unj@10", "Hole@10"] {
        assert!(refused(name, drop(Margin::Absolute(0.1))).contains("takes max only"));
        assert!(refused(name, Wanted { floor: Some(0.1), ..Wanted::default() }).contains("takes max only"));
        assert!(Rule::new(name, Wanted { max: Some(0.2), ..Wanted::default() }).is_ok());
    }
    let text = refused("map", drop(Margin::Absolute(0.0)));
    assert!(text.contains("margin must be at least 0.000001 and at most 1; got 0"), "{text}");
    assert!(refused("map", drop(Margin::Absolute(f64::NAN))).contains("got NaN"));
    for share in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
        assert!(refused("map", drop(Margin::Relative(share))).contains("relativeMargin must be above 0"), "{share}");
    }
    let floor = |floor| Wanted { floor: Some(floor), ..Wanted::default() };
    assert!(refused("map", floor(1.1)).contains("floor must lie between 0 and 1; got 1.1"));
    let max = Wanted { max: Some(-0.1), ..Wanted::default() };
    assert!(refused("map", max).contains("max must lie between 0 and 1; got -0.1"));
    assert!(refused("map", Wanted { floor: None, ..sure }).contains("confident needs a floor"));
    assert!(refused("map", Wanted::default()).contains("at least one of margin, floor and max"));
    assert!(Statistics::new(Method::PairedT, 0.0, None).is_err());
    assert!(Statistics::new(Method::PairedT, 0.2, None).is_ok());
    assert!(Statistics::new(Method::PairedT, 0.2, Some(String::new())).is_err());
}

proptest! {
    #[test]
    fn advised_margins_can_be_certified_with_the_queries_at_hand(
        queries in LEAST_QUERIES..5000, margin in 0.0005..0.5_f64,
    ) {
        let rule = super::tests::margin(margin);
        if let Some(text) = advice(&[reach(queries, rule)], 0.05) {
            let advised: f64 = text.split("set margin ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            prop_assert!(floor_queries(advised, 0.05).unwrap() <= queries, "{}", text);
            let more: u64 = text.split("or add ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            prop_assert!(advice(&[reach(queries + more, rule)], 0.05).is_none());
        }
    }

    #[test]
    fn any_numbers_get_a_verdict_and_a_passing_one_has_its_bound(
        n in 0..1000_u64, centre in -1.0..1.0_f64, half in 0.0..0.5_f64, p in 0.0..1.0_f64,
        nonzero in 1..1000_u64, min in -1.0..1.0_f64, delta in 0.001..0.5_f64,
    ) {
        let row = Row { p: Some(p), nonzero: Some(nonzero), min: Some(min), ..bounded(n, centre - half, centre + half) };
        let judged = judged(&margin(delta), &row);
        if judged.verdict() == Verdict::Pass {
            prop_assert!(centre - half >= -delta && p <= 0.05);
            prop_assert!(n >= floor_queries(delta, 0.05).unwrap());
        }
        prop_assert!(judged.sentence.len() < 450, "{}", judged.sentence);
    }
}
