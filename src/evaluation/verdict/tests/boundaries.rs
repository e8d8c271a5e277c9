//! Both sides of the boundaries of relative margins, confident floors, clusters, bounded means, the cumulative guard
//! and unjudged documents.

use super::*;

fn wanted(name: &str, wanted: Wanted) -> Rule {
    Rule::new(name, wanted).unwrap()
}

#[test]
fn a_relative_margin_is_a_share_of_the_baselines_mean_with_six_decimals() {
    let share = |share: f64, mean| Margin::Relative(share).against(mean);
    assert_eq!(share(0.03, Some(0.5)), Some(0.015));
    assert_eq!(share(0.03, Some(0.333_333)), Some(0.01));
    // No drop from nothing is allowed, but the margin stays a number above 0.
    assert_eq!(share(0.03, Some(0.0)), Some(0.000_001));
    assert_eq!(share(0.03, None), None);
    assert_eq!(share(0.03, Some(f64::NAN)), None);
    let rule = wanted("ndcg@10", Wanted { margin: Some(Margin::Relative(0.04)), ..Wanted::default() });
    // 4 % of .5 is .02.
    assert_eq!(reason(&rule, &bounded(200, -0.02, 0.03)), Reason::NonInferior);
    assert_eq!(reason(&rule, &bounded(200, -0.020_001, 0.03)), Reason::Underpowered);
    assert_eq!(judged(&rule, &bounded(148, -0.01, 0.03)).required_queries, Some(155));
    assert_eq!(reason(&rule, &bounded(148, -0.01, 0.03)), Reason::TooFewQueries);
    let low = Row { baseline: Some(0.25), ..bounded(200, -0.02, 0.03) };
    assert_eq!(reason(&rule, &low), Reason::TooFewQueries, "4 % of .25 is .01, which needs 299");
    assert_eq!(reason(&rule, &Row { baseline: None, ..low }), Reason::NoData);
}

#[test]
fn a_confident_floor_holds_at_the_lower_bound() {
    let rule = wanted("ndcg@10", Wanted { floor: Some(0.4), confident: true, ..Wanted::default() });
    let with = |candidate_lower| Row { candidate_lower, ..Row::absolute(20, 0.5) };
    assert_eq!(alone(&rule, &with(Some(0.4))).reason, Reason::AbsoluteOnly);
    let low = alone(&rule, &with(Some(0.399_999)));
    assert_eq!(low.reason, Reason::FloorBreached);
    assert!(low.sentence.contains("with a lower bound of 0.4000, which must be at least 0.4"), "{}", low.sentence);
    assert_eq!(alone(&rule, &with(None)).reason, Reason::NoData);
    assert_eq!(alone(&rule, &with(Some(f64::NAN))).reason, Reason::NoData);
    // A bound above its mean is a forged one.
    assert_eq!(alone(&rule, &with(Some(0.6))).reason, Reason::NoData);
    let plain = rule_of_floor(0.4);
    assert_eq!(alone(&plain, &with(Some(0.1))).reason, Reason::AbsoluteOnly);
}

fn rule_of_floor(floor: f64) -> Rule {
    rule(None, Some(floor), None)
}

#[test]
fn clusters_take_the_place_of_queries() {
    let clustered = |n, clusters| Row { clusters: Some(clusters), nonzero: Some(9), ..bounded(n, -0.01, 0.03) };
    assert_eq!(reason(&margin(0.02), &clustered(1000, 149)), Reason::NonInferior);
    let few = judged(&margin(0.02), &clustered(1000, 148));
    assert_eq!((few.reason, few.required_queries), (Reason::TooFewQueries, Some(155)));
    assert!(few.sentence.contains("n=1000 in 148 clusters"), "{}", few.sentence);
    assert!(few.sentence.contains("148 clusters are too few for a margin of 0.02"), "{}", few.sentence);
    let proven = Row { clusters: Some(9), ..bounded(500, -0.3, -0.2) };
    assert_eq!(reason(&margin(0.02), &Row { nonzero: Some(9), ..proven }), Reason::TooFewQueries);
    assert_eq!(
        reason(&margin(0.02), &Row { clusters: Some(10), nonzero: Some(9), ..proven }),
        Reason::RegressionProven
    );
    // More clusters than queries, or none: no data.
    assert_eq!(reason(&margin(0.02), &clustered(200, 201)), Reason::NoData);
    assert_eq!(reason(&margin(0.02), &clustered(200, 0)), Reason::NoData);
}

#[test]
fn bounded_means_need_no_skew_guard_and_no_test_but_enough_queries() {
    let bounded_mean = statistics(Method::BoundedMean);
    let judge = |row: Row| judged_by(&margin(0.02), &row, &bounded_mean).reason;
    let skewed = Row { nonzero: Some(3), min: Some(-0.5), p: None, ..bounded(400, -0.019, 0.01) };
    assert_eq!(judge(skewed), Reason::NonInferior);
    let few = Row { sd: Some(0.05), ..skewed };
    assert_eq!(judge(few), Reason::NonInferior);
    assert_eq!(judged_by(&margin(0.02), &few, &statistics(Method::PairedT)).reason, Reason::Underpowered);
    assert_eq!(judge(Row { n: 148, ..skewed }), Reason::TooFewQueries);
    assert_eq!(judge(Row { lower: Some(-0.021), ..skewed }), Reason::Underpowered);
    // The difference does not lie in the middle of such bounds.
    let uneven = Row { difference: Some(-0.021), ..bounded(400, -0.06, 0.005) };
    assert_eq!(judge(uneven), Reason::WorseWithinNoise);
    assert_eq!(judge(Row { difference: Some(-0.02), ..uneven }), Reason::Underpowered);
    assert_eq!(judge(Row { upper: Some(-0.001), ..uneven }), Reason::RegressionProven);
}

fn after(promoted: f64, most: Option<f64>, row: Row) -> Judged {
    let rules = [margin(0.02)];
    let statistics = Statistics::default();
    let criteria = Criteria { max_cumulative_drop: most, ..criteria(&rules, &statistics) };
    let evidence = Evidence { promoted: vec![promoted], ..evidence(covered(row.n), &[row]) };
    judge(&criteria, &evidence).metrics.remove(0)
}

#[test]
fn small_losses_that_pass_one_by_one_fail_together() {
    // A loss of .015 a release: the first passes, the second reaches the limit, the third goes beyond.
    let loss = bounded(500, -0.018, -0.012);
    assert_eq!(after(0.0, Some(0.03), loss).reason, Reason::NonInferior);
    assert_eq!(after(-0.015, Some(0.03), loss).reason, Reason::NonInferior);
    let third = after(-0.03, Some(0.03), loss);
    assert_eq!(third.reason, Reason::CumulativeDrop);
    assert!(
        third.sentence.contains("with -0.0300 of the releases since the anchor the sum is -0.0450"),
        "{}",
        third.sentence
    );
    assert_eq!(after(-0.03, None, loss).reason, Reason::NonInferior);
    // Both sides of the boundary, and what was gained counts too.
    assert_eq!(after(-0.015_001, Some(0.03), loss).reason, Reason::CumulativeDrop);
    assert_eq!(after(0.2, Some(0.03), loss).reason, Reason::NonInferior);
    assert_eq!(after(f64::NAN, Some(0.03), loss).reason, Reason::NoData);
}

#[test]
fn the_cumulative_guard_stands_behind_a_proven_regression_and_before_the_floor_of_queries() {
    assert_eq!(after(-0.5, Some(0.03), bounded(500, -0.06, -0.021)).reason, Reason::RegressionProven);
    assert_eq!(after(-0.5, Some(0.03), bounded(50, -0.01, 0.01)).reason, Reason::CumulativeDrop);
    assert_eq!(after(-0.5, Some(0.03), bounded(9, -0.01, 0.01)).reason, Reason::TooFewQueries);
}

fn with_unjudged(gap: (f64, f64), difference: f64, upper: Option<f64>, row: Row) -> Judged {
    let rules = [margin(0.02)];
    let statistics = Statistics::default();
    let unjudged = Some(Unjudged { candidate: gap.0, baseline: gap.1, difference, upper });
    judge(&criteria(&rules, &statistics), &Evidence { unjudged, ..evidence(covered(row.n), &[row]) }).metrics.remove(0)
}

#[test]
fn a_drop_that_is_gone_without_unjudged_documents_proves_nothing() {
    let regression = bounded(500, -0.1, -0.06);
    let biased = with_unjudged((0.31, 0.2), 0.01, Some(0.02), regression);
    assert_eq!((biased.reason, biased.verdict()), (Reason::UnjudgedBias, Verdict::Inconclusive));
    assert!(
        biased.sentence.contains("31 % of the candidate's first ten documents are unjudged, 20 %"),
        "{}",
        biased.sentence
    );
    // The share must exceed the baseline's by more than .10.
    assert_eq!(with_unjudged((0.3, 0.2), 0.01, Some(0.02), regression).reason, Reason::RegressionProven);
    assert_eq!(with_unjudged((0.300_001, 0.2), 0.01, Some(0.02), regression).reason, Reason::UnjudgedBias);
    // A regression that stands without them is one.
    assert_eq!(with_unjudged((0.5, 0.2), -0.03, Some(-0.000_001), regression).reason, Reason::RegressionProven);
    assert_eq!(with_unjudged((0.5, 0.2), -0.03, Some(0.0), regression).reason, Reason::UnjudgedBias);
    assert_eq!(with_unjudged((0.5, 0.2), -0.03, None, regression).reason, Reason::UnjudgedBias);
    // Where nothing was lost there is no drop to explain.
    assert_eq!(with_unjudged((0.5, 0.2), 0.01, Some(0.02), bounded(500, 0.001, 0.02)).reason, Reason::Superior);
    assert_eq!(with_unjudged((0.5, 0.2), 0.01, Some(0.02), bounded(500, -0.019, 0.01)).reason, Reason::UnjudgedBias);
    // It stands before the least number of queries, and what is no share is no data.
    assert_eq!(with_unjudged((0.5, 0.2), 0.01, Some(0.02), bounded(5, -0.1, 0.0)).reason, Reason::UnjudgedBias);
    assert_eq!(with_unjudged((f64::NAN, 0.2), 0.01, Some(0.02), regression).reason, Reason::NoData);
    assert_eq!(with_unjudged((0.2, -1.0), 0.01, Some(0.02), regression).reason, Reason::NoData);
}
