//! How often a verdict is wrong, on populations whose truth is known: the table of docs/evaluation.md within sampling
//! error. The whole table is computed by `cargo bench --bench verdicts`.
//!
//! Every rate that is expected here was measured with 3,000 repetitions of another program; a rate may differ by four
//! standard errors of both. Seeds are fixed, so a failure repeats itself.

#![allow(clippy::unwrap_used, clippy::panic)] // A test stops at the first surprise.

use rag_operator::evaluation::verdict::Method;

#[allow(dead_code)] // The bench uses the rest.
#[path = "../benches/parts/shapes.rs"]
mod shapes;

use shapes::{MARGIN, Plan, Shape, exact_lost};

fn near(what: &str, found: f64, expected: f64, repetitions: u32) {
    let p = expected.max(0.001);
    let error = (p * (1.0 - p) * (1.0 / 3_000.0 + 1.0 / f64::from(repetitions))).sqrt();
    // The table has three decimals.
    assert!((found - expected).abs() <= 4.0 * error + 0.0005, "{what}: {found}, expected {expected}");
}

#[test]
fn bounds_of_student_pass_a_candidate_at_the_margin_as_often_as_the_table_says() {
    let plan = Plan { method: Method::PairedT, repetitions: 2_000, draws: 0 };
    for (shape, n, expected) in [
        (Shape::Dense, 20, 0.055),
        (Shape::Dense, 100, 0.055),
        (Shape::Sparse, 10, 0.077),
        (Shape::Sparse, 50, 0.054),
        (Shape::Lost, 20, 0.434),
        (Shape::Lost, 50, 0.121),
        (Shape::Lost, 200, 0.090),
        (Shape::Flips, 20, 0.322),
        (Shape::Flips, 100, 0.069),
    ] {
        let found = plan.rates(shape, -MARGIN, n);
        near(&format!("{}, n = {n}", shape.name()), found.bound, expected, plan.repetitions);
        // Fewer than 149 queries never pass, whatever their bounds say.
        assert!(n >= 149 || found.verdict == 0.0, "{}, n = {n}: {}", shape.name(), found.verdict);
    }
}

#[test]
fn the_sign_flip_test_passes_as_often_as_the_table_says() {
    let plan = Plan { method: Method::PairedSignFlip, repetitions: 600, draws: 1_000 };
    for (shape, n, expected) in
        [(Shape::Sparse, 10, 0.126), (Shape::Sparse, 50, 0.053), (Shape::Lost, 50, 0.121), (Shape::Flips, 100, 0.052)]
    {
        let found = plan.rates(shape, -MARGIN, n);
        near(&format!("{}, n = {n}", shape.name()), found.test, expected, plan.repetitions);
    }
}

#[test]
fn bounded_means_keep_their_level_where_student_does_not() {
    let plan = Plan { method: Method::BoundedMean, repetitions: 400, draws: 1_000 };
    for (shape, n, expected) in [(Shape::Lost, 50, 0.0), (Shape::Lost, 200, 0.005), (Shape::Flips, 100, 0.026)] {
        let found = plan.rates(shape, -MARGIN, n);
        near(&format!("{}, n = {n}", shape.name()), found.bound, expected, plan.repetitions);
    }
}

#[test]
fn an_unchanged_candidate_passes_as_often_as_the_table_says() {
    let plan = Plan { method: Method::PairedT, repetitions: 1_000, draws: 0 };
    for (shape, n, expected) in [
        (Shape::Dense, 100, 0.62),
        (Shape::Dense, 200, 0.88),
        (Shape::Dense, 500, 0.995),
        (Shape::Sparse, 100, 0.28),
        (Shape::Sparse, 200, 0.44),
        (Shape::Sparse, 500, 0.78),
    ] {
        let found = plan.rates(shape, 0.0, n);
        near(&format!("{}, n = {n}", shape.name()), found.bound, expected, plan.repetitions);
    }
}

#[test]
fn floor_and_skew_guard_take_the_false_passes_of_lost_queries_away_up_to_200() {
    // Exact, from the binomial distribution: bounds alone, and the whole verdict.
    for (n, alone, whole) in [(149, 0.149, 0.002), (200, 0.095, 0.0003), (300, 0.085, 0.078), (500, 0.062, 0.062)] {
        let (bound, verdict) = exact_lost(n, Method::PairedT);
        assert!((bound - alone).abs() < 0.001, "n = {n}: {bound}, expected {alone}");
        assert!((verdict - whole).abs() < 0.001, "n = {n}: {verdict}, expected {whole}");
    }
    // What the guards leave, bounded means take away.
    for n in [300, 500] {
        assert!(exact_lost(n, Method::BoundedMean).1 < 0.05, "n = {n}");
    }
}
