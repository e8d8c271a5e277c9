//! Golden numbers of trec_eval, edge cases and properties.

use proptest::prelude::*;

use super::*;
use crate::evaluation::run::{Hit, Run};

fn judged(grades: &[(&str, i32)]) -> Judgments {
    let mut judgments = Judgments::default();
    for (document, grade) in grades {
        assert_eq!(judgments.insert(document, *grade), None);
    }
    judgments
}

fn value(name: &str, judgments: &Judgments, hits: &[(&str, f64)]) -> f64 {
    let hits = hits.iter().map(|(d, s)| Hit { document: (*d).to_owned(), score: *s }).collect();
    let mut run = Run::default();
    run.insert("q".to_owned(), hits);
    let list = run.list("q").unwrap();
    name.parse::<Metric>().unwrap().value(&Gains::of_list(judgments, list, None))
}

type Golden<'a> = (Judgments, Vec<(&'a str, f64)>, Vec<(&'a str, f64)>);

/// Numbers computed with trec_eval 9.0.8 and 10.0.
fn golden() -> Vec<Golden<'static>> {
    vec![
        (
            judged(&[("d1", 3), ("d2", 2), ("d3", 1), ("d4", 0)]),
            vec![("d4", 0.9), ("d1", 0.8), ("zz", 0.7), ("d3", 0.6)],
            vec![
                ("map", 0.3333),
                ("Rprec", 0.3333),
                ("bpref", 0.0),
                ("ndcg", 0.4879),
                ("mrr", 0.5),
                ("P@3", 0.3333),
                ("recall@3", 0.3333),
                ("ndcg@3", 0.3975),
                ("ndcg@10", 0.4879),
                ("map@3", 0.1667),
                ("success@1", 0.0),
                ("success@3", 1.0),
                ("mrr@1", 0.0),
            ],
        ),
        (
            judged(&[("a", 1), ("b", 1), ("c", 0)]),
            vec![("a", 0.5), ("b", 0.5), ("c", 0.5)],
            vec![
                ("map", 0.5833),
                ("Rprec", 0.5),
                ("bpref", 0.0),
                ("mrr", 0.5),
                ("P@3", 0.6667),
                ("recall@3", 1.0),
                ("ndcg@3", 0.6934),
                ("success@1", 0.0),
            ],
        ),
        (
            judged(&[("x", 0), ("y", 0)]),
            vec![("x", 0.5)],
            vec![("map", 0.0), ("mrr", 0.0), ("P@3", 0.0), ("recall@3", 0.0), ("ndcg@3", 0.0), ("success@3", 0.0)],
        ),
        (judged(&[("m", 1)]), vec![], vec![("map", 0.0), ("ndcg@10", 0.0), ("P@3", 0.0), ("success@3", 0.0)]),
        (
            judged(&[("n", 2), ("o", -1), ("p", 1)]),
            vec![("o", 0.9), ("n", 0.800_000_000_1), ("p", 0.800_000_000_2)],
            vec![
                ("map", 0.5833),
                ("Rprec", 0.5),
                ("bpref", 1.0),
                ("mrr", 0.5),
                ("P@3", 0.6667),
                ("recall@3", 1.0),
                ("ndcg@3", 0.6199),
            ],
        ),
    ]
}

#[test]
fn values_equal_those_of_trec_eval() {
    for (judgments, hits, expected) in golden() {
        for (name, number) in expected {
            let found = value(name, &judgments, &hits);
            assert!((found - number).abs() < 5e-5, "{name}: {found}, expected {number}");
        }
    }
}

#[test]
fn means_over_all_judged_queries_equal_those_of_trec_eval_with_c() {
    let expected = [
        ("map", 0.3),
        ("bpref", 0.2),
        ("mrr", 0.3),
        ("P@3", 0.3333),
        ("recall@3", 0.4667),
        ("ndcg@3", 0.3422),
        ("ndcg@10", 0.3603),
        ("map@3", 0.2667),
        ("success@3", 0.6),
    ];
    for (name, number) in expected {
        let values: Vec<f64> = golden().iter().map(|(j, hits, _)| value(name, j, hits)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((mean - number).abs() < 5e-5, "{name}: {mean}, expected {number}");
    }
}

#[test]
fn equal_scores_rank_the_bytewise_greater_document_first() {
    for (first, second) in [("9", "10"), ("a", "A"), ("é", "z")] {
        let judgments = judged(&[(second, 1)]);
        assert_eq!(value("mrr", &judgments, &[(first, 1.0), (second, 1.0)]), 0.5, "{second} before {first}");
    }
}

#[test]
fn names_are_read_and_written_alike_and_others_are_refused() {
    let known = [
        "ndcg@10",
        "ndcg",
        "recall@1000",
        "success@1",
        "P@5",
        "map",
        "map@3",
        "mrr",
        "mrr@10",
        "Rprec",
        "bpref",
        "unj@10",
        "Hole@10",
        "R_cap@100",
        "rbp(p=0.8)",
        "rbp(p=0.95,rel=2)",
        "rbp(p=0.005)",
        "recall(rel=2)@10",
        "recall(rel=1)@10",
        "map(rel=3)",
        "mrr(rel=99)@5",
        "taskRecall@10",
        "taskSuccess@3",
    ];
    for name in known {
        assert_eq!(name.parse::<Metric>().unwrap().to_string(), name);
    }
    let long = "x".repeat(1000);
    let unknown = [
        "P",
        "recall@0",
        "recall@1001",
        "recall@010",
        "p@5",
        "map@",
        "mrr@+1",
        "",
        "Rprec@5",
        "bpref@5",
        "unj",
        "rbp",
        "rbp@0.8",
        "rbp(p=0.80)",
        "rbp(p=1)",
        "rbp(p=0)",
        "rbp(p=0.0)",
        "rbp(p=0.8)@5",
        "rbp(p=.8)",
        "rbp(p=0.1234)",
        "ndcg(rel=2)@10",
        "unj(rel=2)@10",
        "recall(rel=0)@10",
        "recall(rel=100)@10",
        "recall(rel=2@10",
        "recall()@10",
        "recall@10(rel=2)",
        "taskRecall(rel=2)@10",
        "P(p=0.8)@5",
        &long,
    ];
    for name in unknown {
        let error = name.parse::<Metric>().unwrap_err().to_string();
        assert!(error.contains("write ndcg@k"), "{name}: {error}");
        assert!(error.len() < 400, "{error}");
    }
    assert_eq!("map".parse::<Metric>().unwrap().depth(), MAX_DEPTH);
    assert_eq!("P@5".parse::<Metric>().unwrap().depth(), 5);
    assert!(!"unj@10".parse::<Metric>().unwrap().higher_is_better());
    assert!("rbp(p=0.8)".parse::<Metric>().unwrap().higher_is_better());
}

/// a 2, b 1, c 0 and d (in the pool, not judged); ranked c, a, x, b, d.
fn graded() -> (Judgments, [(&'static str, f64); 5]) {
    let judgments = judged(&[("a", 2), ("b", 1), ("c", 0), ("d", -1)]);
    (judgments, [("c", 5.0), ("a", 4.0), ("x", 3.0), ("b", 2.0), ("d", 1.0)])
}

#[test]
fn values_beside_those_of_trec_eval_follow_their_formulas() {
    let (judgments, hits) = graded();
    let expected = [
        ("unj@3", 1.0 / 3.0),
        ("unj@5", 0.4),
        ("unj@10", 0.2),
        ("R_cap@1", 0.0),
        ("R_cap@2", 0.5),
        ("R_cap@4", 1.0),
        ("rbp(p=0.5)", 0.25 + 0.0625),
        ("rbp(p=0.5,rel=2)", 0.25),
        ("mrr@1", 0.0),
    ];
    for (name, number) in expected {
        assert_eq!(value(name, &judgments, &hits), number, "{name}");
    }
    let gains = Gains::of(&judgments, hits.iter().map(|(d, _)| *d));
    // x at rank 3, d at rank 5 and all from rank 6 on could be relevant.
    let residual = "rbp(p=0.5)".parse::<Metric>().unwrap().residual(&gains).unwrap();
    assert!((residual - (0.125 + 0.03125 + 0.03125)).abs() < 1e-15, "{residual}");
    assert_eq!("map".parse::<Metric>().unwrap().residual(&gains), None);
}

#[test]
fn a_least_grade_makes_lower_grades_not_relevant() {
    let (judgments, hits) = graded();
    let expected = [
        ("recall(rel=2)@2", 1.0),
        ("recall(rel=2)@1", 0.0),
        ("P(rel=2)@4", 0.25),
        ("success(rel=2)@1", 0.0),
        ("map(rel=2)", 0.5),
        ("mrr(rel=2)@5", 0.5),
        ("Rprec(rel=2)", 0.0),
        ("bpref(rel=2)", 0.0),
        ("R_cap(rel=2)@4", 1.0),
        ("recall(rel=3)@4", 0.0),
        ("recall(rel=1)@4", 1.0),
    ];
    for (name, number) in expected {
        assert_eq!(value(name, &judgments, &hits), number, "{name}");
    }
    let can_differ = |name: &str| name.parse::<Metric>().unwrap().can_differ(&judgments);
    assert_eq!(["map", "map(rel=2)", "map(rel=3)", "unj@5"].map(can_differ), [true, true, false, true]);
}

#[test]
fn a_hole_is_judged_for_no_query_at_all() {
    let (here, hits) = graded();
    let other = judged(&[("x", 0), ("y", 1)]);
    let pool = Pool::of([&here, &other]);
    let mut run = Run::default();
    run.insert("q".to_owned(), hits.iter().map(|(d, s)| Hit { document: (*d).to_owned(), score: *s }).collect());
    let gains = Gains::of_list(&here, run.list("q").unwrap(), Some(&pool));
    let value = |name: &str| name.parse::<Metric>().unwrap().value(&gains);
    // x is judged for the other query; d is in the pool and nobody judged it.
    assert_eq!((value("Hole@5"), value("unj@5"), value("Hole@4")), (0.2, 0.4, 0.0));
}

#[test]
fn nuggets_count_by_weight_and_all_required_ones_must_be_found() {
    let mut judgments = judged(&[("a", 1)]);
    let nugget = |id: &str, required, weight, documents: &[&str]| Nugget {
        id: id.to_owned(),
        required,
        weight,
        documents: documents.iter().map(|d| (*d).to_owned()).collect(),
    };
    assert!(!metric("taskRecall@5").counts(&judgments));
    assert!(judgments.add_nugget(nugget("n1", true, 1.0, &["a", "b"])));
    assert!(judgments.add_nugget(nugget("n2", true, 2.0, &["c"])));
    assert!(judgments.add_nugget(nugget("n3", false, 1.0, &["z"])));
    assert!(!judgments.add_nugget(nugget("n3", false, 1.0, &["y"])));
    assert!(metric("taskRecall@5").counts(&judgments));
    let hits = [("b", 3.0), ("a", 2.0), ("c", 1.0)];
    let expected = [("taskRecall@1", 0.25), ("taskRecall@3", 0.75), ("taskSuccess@2", 0.0), ("taskSuccess@3", 1.0)];
    for (name, number) in expected {
        assert_eq!(value(name, &judgments, &hits), number, "{name}");
    }
    let mut optional = Judgments::default();
    optional.add_nugget(nugget("n", false, 1.0, &["a"]));
    assert_eq!(["taskRecall@1", "taskSuccess@1"].map(|name| metric(name).counts(&optional)), [true, false]);
}

fn metric(name: &str) -> Metric {
    name.parse().unwrap()
}

const NAMES: [&str; 20] = [
    "ndcg@5",
    "ndcg",
    "recall@5",
    "success@5",
    "P@5",
    "map",
    "map@5",
    "mrr",
    "mrr@5",
    "ndcg@1000",
    "Rprec",
    "bpref",
    "R_cap@3",
    "rbp(p=0.8)",
    "recall(rel=2)@5",
    "map(rel=2)",
    "bpref(rel=2)",
    "rbp(p=0.95,rel=3)",
    "Rprec(rel=3)",
    "R_cap(rel=2)@2",
];
/// Where a lower value is better.
const SHARES: [&str; 2] = ["unj@5", "Hole@5"];

fn hits() -> impl Strategy<Value = Vec<(String, f64)>> {
    prop::collection::btree_map("[a-h][0-9]?", 0..4_u8, 0..20)
        .prop_map(|m| m.into_iter().map(|(d, s)| (d, f64::from(s))).collect())
}

fn judgments() -> impl Strategy<Value = Judgments> {
    prop::collection::btree_map("[a-h][0-9]?", -1..4_i32, 0..12).prop_map(|grades| {
        let mut judgments = Judgments::default();
        for (document, grade) in grades {
            judgments.insert(&document, grade);
        }
        judgments
    })
}

fn borrowed(hits: &[(String, f64)]) -> Vec<(&str, f64)> {
    hits.iter().map(|(d, s)| (d.as_str(), *s)).collect()
}

proptest! {
    #[test]
    fn values_lie_between_0_and_1_whatever_the_order_of_the_input(
        judgments in judgments(), hits in hits(), seed in any::<u64>(),
    ) {
        let mut shuffled = hits.clone();
        shuffled.sort_by_key(|(d, _)| d.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)));
        for name in NAMES.into_iter().chain(SHARES) {
            let found = value(name, &judgments, &borrowed(&hits));
            prop_assert!((0.0..=1.0).contains(&found), "{name} {found}");
            prop_assert_eq!(found.to_bits(), value(name, &judgments, &borrowed(&shuffled)).to_bits());
        }
    }

    #[test]
    fn putting_a_relevant_document_first_never_lowers_a_value(judgments in judgments(), hits in hits()) {
        let best = judgments.documents().max_by_key(|d| judgments.grade(d)).filter(|d| judgments.grade(d) > Some(0));
        if let Some(document) = best {
            let mut better = hits.clone();
            better.retain(|(d, _)| d != document);
            better.push((document.to_owned(), 100.0));
            for name in NAMES {
                let (before, after) =
                    (value(name, &judgments, &borrowed(&hits)), value(name, &judgments, &borrowed(&better)));
                prop_assert!(after >= before - 1e-12, "{name}: {before} then {after}");
            }
        }
    }
}
