use proptest::prelude::*;

use super::comparing::LEAST_QUERIES;
use super::*;
use crate::evaluation::paired::floor_queries;

fn rule(margin: Option<f64>, floor: Option<f64>, max: Option<f64>) -> Rule {
    Rule::new("ndcg@10", margin, floor, max, true).unwrap()
}

fn margin(margin: f64) -> Rule {
    rule(Some(margin), None, None)
}

/// A row from differences, as `compare` makes it; p is 0 unless said otherwise.
fn row(differences: &[f64]) -> Row {
    let s = crate::evaluation::paired::spread(differences, 0.05).unwrap();
    Row {
        n: s.n as u64,
        candidate: 0.5,
        baseline: Some(0.5 - s.mean),
        sd: s.sd,
        lower: s.bounds.map(|b| b.0),
        upper: s.bounds.map(|b| b.1),
        p: Some(0.0),
        nonzero: Some(s.nonzero as u64),
        min: Some(s.min),
    }
}

/// A row with given bounds around a difference.
fn bounded(n: u64, lower: f64, upper: f64) -> Row {
    Row {
        n,
        candidate: 0.5,
        baseline: Some(0.5),
        sd: Some(0.1),
        lower: Some(lower),
        upper: Some(upper),
        p: Some(0.0),
        nonzero: Some(n),
        min: Some(-0.1),
    }
}

fn reason(rule: &Rule, row: &Row) -> Reason {
    judge_metric(rule, row, true, &Statistics::default()).reason
}

#[test]
fn nothing_changed_in_60_queries_is_too_few_and_in_149_enough() {
    let judged = judge_metric(&margin(0.02), &row(&[0.0; 60]), true, &Statistics::default());
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
    let judged = judge_metric(&margin(0.02), &three, true, &Statistics::default());
    assert_eq!(judged.reason, Reason::Underpowered);
    assert!(judged.sentence.contains("only 3 queries changed and one lost 0.50"), "{}", judged.sentence);
    // A drop of .49 is not a lost query; five changes are no longer few.
    d[..3].fill(-0.49);
    assert_eq!(reason(&margin(0.02), &row(&d)), Reason::NonInferior);
    let many = Row { nonzero: Some(5), ..three };
    assert_eq!(reason(&margin(0.02), &many), Reason::NonInferior);
    assert_eq!(reason(&margin(0.02), &Row { nonzero: Some(4), ..three }), Reason::Underpowered);
}

#[test]
fn a_drop_inside_the_margin_with_too_wide_bounds_is_underpowered() {
    let wide = Row { sd: Some(0.128), ..bounded(300, -0.0289, -0.0045) };
    let judged = judge_metric(&margin(0.02), &wide, true, &Statistics::default());
    assert_eq!((judged.reason, judged.required_queries), (Reason::Underpowered, Some(254)));
    assert!(judged.sentence.contains("254 queries would decide if the true difference were 0"), "{}", judged.sentence);
    assert!(judged.sentence.contains("if it is the measured one"), "{}", judged.sentence);
}

#[test]
fn without_a_baseline_only_floor_and_max_decide() {
    let six = Row::absolute(6, 0.41);
    let judge = |rule: Rule| judge_metric(&rule, &six, false, &Statistics::default()).reason;
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
    let coverage = Coverage { queries: 200, candidate: 200, baseline: Some(200) };
    let judged = judge(&coverage, &[margin(0.02)], &[missing], &Statistics::default());
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
    let plain = Statistics { method: Method::PairedT, alpha: 0.05 };
    assert_eq!(judge_metric(&margin(0.02), &with_p(None), true, &plain).reason, Reason::NonInferior);
    let failing = Row { p: Some(0.0), ..bounded(200, -0.05, 0.03) };
    assert_eq!(reason(&margin(0.02), &failing), Reason::Underpowered);
}

#[test]
fn what_is_no_number_never_passes() {
    for broken in [
        Row { candidate: f64::NAN, ..bounded(200, 0.0, 0.1) },
        Row { lower: Some(f64::NAN), ..bounded(200, 0.0, 0.1) },
        Row { upper: Some(f64::INFINITY), ..bounded(200, 0.0, 0.1) },
        Row { sd: None, ..bounded(200, 0.0, 0.1) },
        Row { min: None, ..bounded(200, 0.0, 0.1) },
        Row { nonzero: None, ..bounded(200, 0.0, 0.1) },
        Row { baseline: None, ..bounded(200, 0.0, 0.1) },
        Row { n: 0, ..bounded(200, 0.0, 0.1) },
    ] {
        assert_eq!(reason(&margin(0.02), &broken), Reason::NoData, "{broken:?}");
    }
    assert_eq!(
        judge_metric(&rule(None, Some(0.1), None), &Row::absolute(0, 0.9), false, &Statistics::default()).reason,
        Reason::NoData
    );
}

#[test]
fn coverage_below_99_percent_is_an_error_of_either_arm() {
    let rows = [bounded(200, 0.0, 0.1)];
    let judge = |queries, candidate, baseline| {
        judge(&Coverage { queries, candidate, baseline }, &[margin(0.02)], &rows, &Statistics::default())
    };
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
    let coverage = Coverage { queries: 200, candidate: 200, baseline: Some(200) };
    let judge = |rules: &[Rule], rows: &[Row]| judge(&coverage, rules, rows, &Statistics::default());
    let must = margin(0.02);
    let may = Rule { required: false, ..must };
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
    let coverage = Coverage { queries: 200, candidate: 200, baseline: Some(200) };
    let judged = judge(&coverage, &[margin(0.02); 8], &[bounded(200, -0.1, 0.1); 8], &Statistics::default());
    assert!(judged.gate.sentence.len() <= 1200, "{}", judged.gate.sentence.len());
    assert!(judged.gate.sentence.ends_with(" more in the table.)"), "{}", judged.gate.sentence);
}

#[test]
fn advice_names_the_margin_and_the_queries_that_would_do() {
    assert_eq!(
        advice(60, &[0.05, 0.02], 0.05).as_deref(),
        Some("60 queries can certify a margin of .049 at best; set margin 0.05 or add 89 queries")
    );
    assert_eq!(advice(149, &[0.02], 0.05), None);
    assert_eq!(advice(59, &[0.05], 0.05), None);
    assert!(advice(58, &[0.05], 0.05).unwrap().ends_with("set margin 0.06 or add 1 query"));
    assert_eq!(advice(5, &[0.5], 0.05).as_deref(), Some("5 queries can certify no margin; add 5 queries"));
    assert_eq!(advice(60, &[], 0.05), None);
}

#[test]
fn rules_are_checked_and_said_in_words() {
    assert_eq!(rule(Some(0.05), Some(0.4), Some(0.9)).in_words(), "drop at most 0.05, at least 0.4, at most 0.9");
    let refused = |name, margin, floor, max| Rule::new(name, margin, floor, max, true).unwrap_err().to_string();
    assert!(refused("ndcg", Some(0.1), None, None).contains("`ndcg` is no metric"));
    assert!(refused("map", Some(0.0), None, None).contains("margin must be at least 0.000001 and at most 1; got 0"));
    assert!(refused("map", Some(f64::NAN), None, None).contains("got NaN"));
    assert!(refused("map", None, Some(1.1), None).contains("floor must lie between 0 and 1; got 1.1"));
    assert!(refused("map", None, None, Some(-0.1)).contains("max must lie between 0 and 1; got -0.1"));
    assert!(refused("map", None, None, None).contains("at least one of margin, floor and max"));
    assert!(Statistics::new(Method::PairedT, 0.0).is_err());
    assert!(Statistics::new(Method::PairedT, 0.2).is_ok());
}

proptest! {
    #[test]
    fn advised_margins_can_be_certified_with_the_queries_at_hand(
        queries in LEAST_QUERIES..5000, margin in 0.0005..0.5_f64,
    ) {
        if let Some(text) = advice(queries, &[margin], 0.05) {
            let advised: f64 = text.split("set margin ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            prop_assert!(floor_queries(advised, 0.05).unwrap() <= queries, "{}", text);
            let more: u64 = text.split("or add ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            prop_assert!(advice(queries + more, &[margin], 0.05).is_none());
        }
    }

    #[test]
    fn any_numbers_get_a_verdict_and_a_passing_one_has_its_bound(
        n in 0..1000_u64, centre in -1.0..1.0_f64, half in 0.0..0.5_f64, p in 0.0..1.0_f64,
        nonzero in 0..1000_u64, min in -1.0..1.0_f64, delta in 0.001..0.5_f64,
    ) {
        let row = Row { p: Some(p), nonzero: Some(nonzero), min: Some(min), ..bounded(n, centre - half, centre + half) };
        let judged = judge_metric(&margin(delta), &row, true, &Statistics::default());
        if judged.verdict() == Verdict::Pass {
            prop_assert!(centre - half >= -delta && p <= 0.05);
            prop_assert!(n >= floor_queries(delta, 0.05).unwrap());
        }
        prop_assert!(judged.sentence.len() < 400, "{}", judged.sentence);
    }
}
