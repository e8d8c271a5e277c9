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

use shapes::{MARGIN, Plan, Relative, Shape, exact_floor, exact_lost};

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
        (Shape::Sparse, 10, 0.116),
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
        [(Shape::Sparse, 10, 0.184), (Shape::Sparse, 50, 0.053), (Shape::Lost, 50, 0.121), (Shape::Flips, 100, 0.052)]
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
fn floor_and_skew_guard_take_the_false_passes_of_lost_queries_away_up_to_300() {
    // Exact, from the binomial distribution: bounds alone, and the whole verdict.
    for (n, alone, whole) in [(149, 0.149, 0.002), (200, 0.095, 0.0003), (300, 0.085, 0.036), (500, 0.062, 0.062)] {
        let (bound, verdict) = exact_lost(n, Method::PairedT);
        assert!((bound - alone).abs() < 0.001, "n = {n}: {bound}, expected {alone}");
        assert!((verdict - whole).abs() < 0.001, "n = {n}: {verdict}, expected {whole}");
    }
    // What the guards leave, bounded means take away.
    for n in [300, 500] {
        assert!(exact_lost(n, Method::BoundedMean).1 < 0.05, "n = {n}");
    }
}

/// What is at most this rate, with room for the error of so many repetitions.
fn at_most(what: &str, found: f64, most: f64, repetitions: u32) {
    let error = (most * (1.0 - most) / f64::from(repetitions)).sqrt();
    assert!(found <= most + 4.0 * error, "{what}: {found}, at most {most}");
}

#[test]
fn few_large_losses_are_no_pass_whatever_changes_beside_them() {
    for method in [Method::PairedT, Method::PairedSignFlip] {
        let plan = Plan { method, repetitions: 600, draws: 400 };
        for (shape, n) in [
            (Shape::LostAmongChanges, 149),
            (Shape::LostAmongChanges, 200),
            (Shape::LostAmongChanges, 300),
            (Shape::LostLess, 149),
            (Shape::LostLess, 200),
            (Shape::LostLess, 300),
        ] {
            let found = plan.rates(shape, -MARGIN, n);
            let what = format!("{}, n = {n}, {method:?}", shape.name());
            at_most(&what, found.verdict, 0.05, plan.repetitions);
            // The bound alone is fooled.
            assert!(n > 200 || found.bound > 0.06, "{what}: {found:?}");
        }
    }
}

#[test]
fn a_margin_that_the_same_queries_estimate_keeps_its_level() {
    for (what, relative) in Relative::ALL {
        at_most(what, relative.passed(1_500).unwrap(), 0.05, 1_500);
    }
}

#[test]
fn a_floor_that_is_just_met_holds_at_the_lower_bound_as_seldom_as_it_should() {
    for (n, floor) in [(50, 0.9), (100, 0.9), (100, 0.95), (200, 0.95)] {
        let found = exact_floor(n, floor);
        assert!((0.002..0.05).contains(&found), "n = {n}, floor {floor}: {found}");
    }
}

/// 240 queries in two domains and 80 sources; the candidate finds more in one domain and loses the other.
fn written(dir: &std::path::Path) {
    let (mut queries, mut qrels) = (String::new(), "query-id\tcorpus-id\tscore\n".to_owned());
    let (mut candidate, mut baseline) = (String::new(), String::new());
    for i in 0..240 {
        let domain = if i < 180 { "tax" } else { "legal" };
        let metadata = format!("{{\"domain\": \"{domain}\", \"source\": {}}}", i / 3);
        queries.push_str(&format!("{{\"_id\": \"q{i:03}\", \"text\": \"t\", \"metadata\": {metadata}}}\n"));
        qrels.push_str(&format!("q{i:03}\td\t1\n"));
        let (before, after) = (i % 2 == 0, if i < 180 { i % 5 != 0 } else { i % 4 == 0 });
        let line = |found: bool| format!("q{i:03} Q0 {} 1 1 r\n", if found { "d" } else { "x" });
        baseline.push_str(&line(before));
        candidate.push_str(&line(after));
    }
    for (name, text) in
        [("queries.jsonl", queries), ("qrels.tsv", qrels), ("candidate.run", candidate), ("baseline.run", baseline)]
    {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

fn rag(dir: &std::path::Path, gate: &str, flags: &[&str]) -> (i32, String) {
    let gate = format!(
        "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {{name: g}}\nspec:\n  retrieval:\n    \
         dataset: {{from: {{volume: {{claimName: c}}}}}}\n    {gate}\n"
    );
    std::fs::write(dir.join("gate.yaml"), gate).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rag"))
        .current_dir(dir)
        .args(["evaluate", "--queries", "queries.jsonl", "--qrels", "qrels.tsv", "--gate", "gate.yaml"])
        .args(flags)
        .env_remove("RAG_JOB")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code().unwrap(), text)
}

#[test]
fn slices_of_a_gate_file_decide_on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let arms = ["--candidate", "candidate.run", "--baseline", "baseline.run"];
    let metrics = "metrics: [{name: success@1, margin: 0.05}]";
    let (code, text) = rag(dir.path(), metrics, &arms);
    assert!(code == 0 && text.contains("Pass (Superior)"), "{code}: {text}");
    let (code, text) = rag(dir.path(), &format!("{metrics}\n    slices: {{by: [domain]}}"), &arms);
    assert!(
        code == 1 && text.contains("Fail (SliceRegression): success@1 of domain=legal changed by -0.2500"),
        "{text}"
    );
    // Clusters of three: 80 of them, and 20 in the slice that lost.
    let clustered = format!("{metrics}\n    statistics: {{clusterBy: source}}");
    let (code, text) = rag(dir.path(), &clustered, &arms);
    assert!(code == 0 && text.contains("n=240 in 80 clusters"), "{code}: {text}");
    let wrong = format!("{metrics}\n    slices: {{by: [domain], required: [legal]}}");
    let (code, text) = rag(dir.path(), &wrong, &arms);
    assert!(code == 64 && text.contains("write one of its keys and a value, such as `domain=legal`"), "{code}: {text}");
}

#[test]
fn a_check_counts_slices_and_clusters_and_says_what_is_too_small() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let gate = "metrics: [{name: success@1, margin: 0.02}]\n    slices: {by: [domain], required: [domain=legal]}";
    let (code, text) = rag(dir.path(), gate, &["--check"]);
    assert_eq!(code, 0, "{text}");
    for line in ["slice domain=tax: 180 queries", "slice domain=legal: 60 queries"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(text.contains("required slice domain=legal has 60 queries, its margin of 0.02 needs 149"), "{text}");
    let (code, text) = rag(dir.path(), &gate.replace("=legal", "=it"), &["--check"]);
    assert!(code == 42 && text.contains("slices.required names `domain=it`"), "{code}: {text}");
    assert!(text.contains("the values there are: `legal`, `tax`;"), "{text}");
    let clustered = "metrics: [{name: success@1, margin: 0.02}]\n    statistics: {clusterBy: source}";
    let (_, text) = rag(dir.path(), clustered, &["--check"]);
    assert!(
        text.contains("80 clusters\n") && text.contains("80 clusters can certify a margin of .037 at best"),
        "{text}"
    );
}
