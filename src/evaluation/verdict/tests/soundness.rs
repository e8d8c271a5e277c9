//! Numbers that contradict each other are refused, whatever they would have decided.

use super::*;
use crate::evaluation::inference::tested;
use crate::evaluation::paired::{DRAWS, t_quantile};
use crate::evaluation::verdict::judge;

const MARGIN: f64 = 0.02;
const QUERIES: u64 = 500;

/// A row as a run makes it, of these differences, beside 20 queries on which lists cannot differ.
fn measured(d: &[f64], clusters: Option<&[usize]>, statistics: &Statistics) -> Row {
    let sample = match clusters {
        None => Sample::plain(d),
        Some(clusters) => Sample::clustered(d, clusters),
    };
    let sample = sample.unwrap();
    let six = |x: f64| (x * 1e6).round() / 1e6;
    let change: f64 = d.iter().sum::<f64>() / (d.len() + 20) as f64;
    Row {
        candidate: six((1.0 + change) / 2.0),
        baseline: Some(six((1.0 - change) / 2.0)),
        ..tested(&sample, Some(MARGIN), statistics, ("i", "l"), DRAWS)
    }
}

fn found(statistics: &Statistics, row: Row) -> Judged {
    let rules = [margin(MARGIN)];
    judge(&criteria(&rules, statistics), &evidence(covered(QUERIES), &[row])).gate
}

/// 200 differences: 150 changed a little for the better.
fn good() -> Vec<f64> {
    (0..200_i32).map(|i| if i % 4 == 0 { 0.0 } else { f64::from(i % 7 - 2) * 0.02 }).collect()
}

#[test]
fn every_contradiction_is_an_error_that_says_what() {
    let statistics = Statistics::default();
    let fine = measured(&good(), None, &statistics);
    assert_eq!(found(&statistics, fine).verdict(), Verdict::Pass);
    let (d, n) = (fine.difference.unwrap(), 200);
    let mut broken = vec![
        (Row { lower: Some(d + 0.001), ..fine }, "the lower bound"),
        (Row { upper: Some(d - 0.001), ..fine }, "the upper bound"),
        (Row { lower: fine.upper, upper: fine.lower, ..fine }, "is above the difference"),
        (Row { lower: Some(d - 0.000_01), ..fine }, "the lower bound is"),
        (Row { upper: Some(d + 0.000_01), ..fine }, "the upper bound is"),
        (Row { sd: Some(-0.1), ..fine }, "the deviation is -0.1"),
        (Row { sd: Some(0.0), lower: Some(d), upper: Some(d), ..fine }, "s is 0; with these differences it lies in"),
        (Row { sd: Some(0.5), ..fine }, "s is 0.5; with these differences it lies in"),
        (Row { p: Some(0.0), ..fine }, "p is 0; with 200 independent units it lies in 0.000100 to 1"),
        (Row { p: Some(1.1), ..fine }, "p is 1.1"),
        (Row { min: Some(d + 0.01), ..fine }, "the smallest difference"),
        (Row { min: Some(-1.1), ..fine }, "the smallest difference"),
        (Row { difference: Some(1.1), ..fine }, "the difference 1.1 is not in -1 to 1"),
        (Row { difference: Some(0.9), upper: Some(0.9), ..fine }, "the means differ by"),
        (Row { candidate: fine.candidate + 0.1, ..fine }, "the means differ by"),
        (Row { candidate: fine.baseline.unwrap(), baseline: Some(fine.candidate), ..fine }, "the means differ by"),
        (Row { candidate: 1.2, ..fine }, "candidate is 1.2"),
        (Row { baseline: Some(-0.2), ..fine }, "baseline is -0.2"),
        (Row { candidate_lower: Some(fine.candidate), ..fine }, "the lower bound 0.5"),
        (Row { n: QUERIES + 1, ..fine }, "501 queries count of 500"),
        (Row { n: u64::MAX, ..fine }, "a number below 0 queries count"),
        (Row { n: 0, ..fine }, "no query was compared"),
        (Row { nonzero: Some(n + 1), ..fine }, "201 changed of 200"),
        (Row { nonzero: Some(0), ..fine }, "nothing changed, and yet"),
        (Row { nonzero: Some(2), ..fine }, "do not make a mean of"),
        (Row { clusters: Some(201), ..fine }, "201 clusters are made of 200 queries"),
        (Row { clusters: Some(0), ..fine }, "0 clusters are made of"),
        (Row { clusters: Some(400), ..fine }, "400 clusters"),
    ];
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        broken.extend([
            (Row { difference: Some(bad), ..fine }, "differ"),
            (Row { lower: Some(bad), ..fine }, "lower bound"),
            (Row { upper: Some(bad), ..fine }, "upper bound"),
            (Row { sd: Some(bad), ..fine }, "the deviation is"),
            (Row { min: Some(bad), ..fine }, "the smallest difference"),
            (Row { p: Some(bad), ..fine }, "p is"),
            (Row { candidate: bad, ..fine }, "candidate is"),
        ]);
    }
    for (row, what) in broken {
        let judged = found(&statistics, row);
        assert_eq!(judged.reason, Reason::ReceiptRejected, "{row:?}: {}", judged.sentence);
        assert!(judged.sentence.contains(what) && judged.sentence.contains("ndcg@10: "), "{}", judged.sentence);
    }
}

#[test]
fn slices_and_counts_are_held_to_the_same() {
    let statistics = Statistics::default();
    let metric = [margin(MARGIN)];
    let rules = SliceRules::new(vec!["domain".to_owned()], 30, None, Vec::new(), &metric).unwrap();
    let criteria = Criteria { slices: Some(&rules), ..criteria(&metric, &statistics) };
    let whole = measured(&good(), None, &statistics);
    // A slice that lost .12 in the mean, sd .25: p of harm is about .0002, of five slices .001.
    let lost: Vec<f64> = (0..60_usize).map(|i| [-0.45, -0.3, -0.15, 0.05, 0.25][i % 5]).collect();
    let row = Row { p: None, ..measured(&lost, None, &statistics) };
    let slice = |name: &str, harm| SliceRow { slice: 0, name: name.to_owned(), metric: 0, harm: Some(harm), row };
    let with = |slices: Vec<SliceRow>, guardrails, found: Option<Worst>| {
        let evidence = evidence(covered(QUERIES), &[whole]);
        judge(&criteria, &Evidence { guardrails: Some(guardrails), slices, worst: found, ..evidence }).gate
    };
    let rejected = |judged: Judged, what: &str| {
        assert_eq!(judged.reason, Reason::ReceiptRejected, "{}", judged.sentence);
        assert!(judged.sentence.contains(what), "{}", judged.sentence);
    };
    assert_eq!(with(vec![slice("domain=legal", 0.001)], 1, None).reason, Reason::SliceRegression);
    // Harm cannot be talked away.
    rejected(with(vec![slice("domain=legal", 0.9)], 5, None), "p of harm is 0.9, with these differences it is 0.0");
    rejected(with(vec![slice("domain=legal", 0.0)], 5, None), "p of harm is 0, which is no p");
    rejected(with(vec![slice("domain=legal", 0.001)], 17, None), "500 queries make 16 at most");
    rejected(with(vec![slice("domain=a", 0.001), slice("domain=a", 0.001)], 2, None), "domain=a stands twice");
    let stray = SliceRow { metric: 1, ..slice("domain=legal", 0.001) };
    rejected(with(vec![stray], 1, None), "of a metric that guards no slice");
    let worst = Worst { slice: 1, name: "domain=tax".to_owned(), n: 60, candidate: 0.9, baseline: Some(0.9) };
    rejected(with(vec![slice("domain=legal", 0.001)], 1, Some(worst.clone())), "and domain=legal is worse");
    rejected(with(Vec::new(), 0, Some(Worst { n: 501, ..worst.clone() })), "the worst slice, domain=tax");
    rejected(with(Vec::new(), 0, Some(Worst { candidate: f64::NAN, ..worst })), "the worst slice, domain=tax");
    for coverage in [Coverage { candidate: 501, ..covered(500) }, Coverage { baseline: Some(501), ..covered(500) }] {
        rejected(judge(&criteria, &evidence(coverage, &[whole])).gate, "501 queries are answered of 500");
    }
    rejected(judge(&criteria, &evidence(covered(500), &[whole, whole])).gate, "2 metrics have numbers, the gate has 1");
    let shares = Unjudged { candidate: 0.2, baseline: -1.0, difference: 0.0, upper: None };
    for unjudged in [shares, Unjudged { baseline: 0.1, upper: Some(-0.1), ..shares }] {
        let evidence = Evidence { unjudged: Some(unjudged), ..evidence(covered(QUERIES), &[whole]) };
        rejected(judge(&criteria, &evidence).gate, "unjudged documents");
    }
}

/// Statistics that a sample can have, looked at in another way than the code does it.
fn consistent(row: &Row, statistics: &Statistics) -> bool {
    let (Some(d), Some(lower), Some(upper), Some(sd), Some(min)) =
        (row.difference, row.lower, row.upper, row.sd, row.min)
    else {
        return false;
    };
    let m = row.units() as f64;
    let half = t_quantile(1.0 - statistics.alpha, m - 1.0).unwrap() * sd / m.sqrt();
    let bounds = match statistics.method {
        Method::PairedT | Method::PairedSignFlip => (lower - d + half).abs() < 1e-4 && (upper - d - half).abs() < 1e-4,
        Method::BoundedMean => lower >= -1.0 - 1e-5 && upper <= 1.0 + 1e-5,
    };
    let means = row.baseline.is_some_and(|baseline| {
        let change = row.candidate - baseline;
        change.abs() <= d.abs() + 1e-5 && (change * d >= 0.0 || change.abs() < 1e-5)
    });
    // One query lost `min`: that alone is spread.
    let n = row.n as f64;
    let spread = row.clusters.is_some() || sd * sd * (n - 1.0) >= (d - min).powi(2) - 1e-3;
    bounds
        && means
        && spread
        && lower <= d + 1e-5
        && d <= upper + 1e-5
        && min <= d + 1e-5
        && row.nonzero <= Some(row.units())
}

/// One number moved, or replaced.
fn moved(row: Row, field: usize, by: f64, counts: u64) -> Row {
    let add = |x: Option<f64>| x.map(|x| x + by);
    match field {
        0 => Row { lower: add(row.lower), ..row },
        1 => Row { upper: add(row.upper), ..row },
        2 => Row { difference: add(row.difference), ..row },
        3 => Row { sd: add(row.sd), ..row },
        4 => Row { min: add(row.min), ..row },
        5 => Row { p: Some(by.abs()), ..row },
        6 => Row { candidate: row.candidate + by, ..row },
        7 => Row { baseline: add(row.baseline), ..row },
        8 => Row { n: counts, ..row },
        9 => Row { nonzero: Some(counts), ..row },
        10 => Row { clusters: Some(counts), ..row },
        _ => Row { lower: add(row.lower), upper: add(row.upper), difference: add(row.difference), ..row },
    }
}

fn methods() -> impl Strategy<Value = Statistics> {
    let method = prop_oneof![Just(Method::PairedSignFlip), Just(Method::PairedT), Just(Method::BoundedMean)];
    (method, prop_oneof![Just(0.05), 0.001..0.2_f64]).prop_map(|(method, alpha)| Statistics {
        method,
        alpha,
        cluster_by: None,
    })
}

/// Differences of every shape: few or many changes, small ones or lost queries.
fn differences() -> impl Strategy<Value = Vec<f64>> {
    let one = prop_oneof![4 => Just(0.0), 4 => -0.05..0.05_f64, 2 => -1.0..1.0_f64, 1 => Just(-1.0), 1 => Just(1.0)];
    prop_oneof![prop::collection::vec(one, 1..300), prop::collection::vec(-0.03..0.05_f64, 100..300)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_a_run_measures_is_sound(d in differences(), group in 1_usize..9, statistics in methods()) {
        let clusters: Vec<usize> = (0..d.len()).map(|i| i / group).collect();
        for clusters in [None, Some(clusters.as_slice())] {
            let judged = found(&statistics, measured(&d, clusters, &statistics));
            prop_assert_ne!(judged.reason, Reason::ReceiptRejected, "{}", judged.sentence);
        }
    }

    #[test]
    fn a_moved_number_that_turns_a_verdict_into_a_pass_fits_the_others_or_is_refused(
        d in differences(), group in 1_usize..4, statistics in methods(),
        moves in prop::collection::vec((0_usize..12, -0.4..0.4_f64, 0..600_u64), 60),
    ) {
        let clusters: Vec<usize> = (0..d.len()).map(|i| i / group).collect();
        let row = measured(&d, (group > 1).then_some(clusters.as_slice()), &statistics);
        prop_assume!(found(&statistics, row).verdict() != Verdict::Pass);
        for (field, by, counts) in moves {
            let forged = moved(row, field, by, counts);
            let judged = found(&statistics, forged);
            prop_assert!(
                judged.verdict() != Verdict::Pass || consistent(&forged, &statistics),
                "{:?} moved to {:?}: {}", row, forged, judged.sentence
            );
        }
    }
}
