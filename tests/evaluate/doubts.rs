//! Inputs that make one arm look better than it is: said in every form, and deciding nothing.

use super::*;

/// The verdict of a comparison and what it warns of.
fn judged(place: &Place, flags: &[&str]) -> (i32, Vec<String>) {
    let output = place.evaluate(&[&["--output", "json"], flags].concat());
    let warnings = summary(&output)["facts"]["warnings"].as_array().cloned().unwrap_or_default();
    (code(&output), warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect())
}

#[test]
fn a_cut_baseline_is_told_in_every_form_and_passes_as_before() {
    let place = Place::new(200);
    let baseline = place.run("baseline.run", 200, |i| if i % 2 == 0 { 1 } else { 0 });
    // The candidate finds at rank 6 what the baseline has lost.
    let sixth = |i: usize| if i.is_multiple_of(2) { "y".to_owned() } else { format!("d{i:03}") };
    let lost: String = (0..200).map(|i| format!("q{i:03} Q0 {} 6 1 r\n", sixth(i))).collect();
    let candidate = place.write("candidate.run", &(std::fs::read_to_string(&baseline).unwrap() + &lost));
    let expected = "No list of the baseline has more than 5 documents, the candidate's have up to 6, and recall@100 looks \
                    further down: a run that was cut makes the other arm look better.";
    let arms = ["--candidate", &candidate, "--baseline", &baseline];
    let of = |metric: &str| judged(&place, &[&arms[..], &["--metric", metric]].concat());
    assert_eq!(of("recall@100:margin=0.05"), (0, vec![expected.to_owned()]));
    assert_eq!(of("recall@5:margin=0.05"), (0, Vec::new()));
    let (markdown, page) = (place.path("md").display().to_string(), place.path("page.html").display().to_string());
    let forms = ["--output", "table", "--output", &format!("markdown={markdown}"), "--report", &page];
    let output = place.evaluate(&[&arms[..], &forms, &["--metric", "recall@100:margin=0.05"]].concat());
    let told = |text: &str| text.contains("No list of the baseline has more than 5 documents");
    assert!(told(&out(&output)), "{}", out(&output));
    assert!([markdown, page].iter().all(|file| told(&std::fs::read_to_string(file).unwrap())));
}

#[test]
fn one_file_as_both_arms_and_query_ids_that_are_shifted_are_told() {
    let place = Place::new(200);
    let run = place.run("c.run", 200, |_| 1);
    let metric = ["--metric", "ndcg@5:margin=0.05", "--candidate", &run];
    let (exit, found) = judged(&place, &[&metric[..], &["--baseline", &run]].concat());
    assert_eq!((exit, found.len()), (0, 1), "{found:?}");
    assert!(found[0].starts_with("Candidate and baseline are the same run (content digest "), "{found:?}");
    // One query has its own document, the others those of other queries.
    let document = |i: usize, rank: usize| if i == 0 { rank } else { i + 10 * rank + 7 };
    let line = |i: usize, rank: usize| format!("q{i:03} Q0 d{:03} {rank} {} r\n", document(i, rank), 9 - rank);
    let shifted: String = (0..200).flat_map(|i| (0..5).map(move |rank| line(i, rank))).collect();
    let shifted = place.write("shifted.run", &shifted);
    let (exit, found) = judged(&place, &[&metric[..], &["--baseline", &shifted]].concat());
    assert_eq!((exit, found.len()), (0, 1), "{found:?}");
    let expected = "the baseline finds a judged one for 1 of 200 queries, the candidate for 200, and the two share 0 %";
    assert!(found[0].contains(expected), "{found:?}");
}

#[test]
fn a_cluster_of_half_of_the_queries_is_told() {
    let place = Place::new(200);
    let baseline = place.run("b.run", 200, |_| 1);
    let candidate = place.run("c.run", 200, |i| if i == 0 { 2 } else { 1 });
    let source = |large: usize| (0..200).map(move |i| format!("q{i:03}\tsource\t{}\n", if i < large { 0 } else { i }));
    let gate = "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {name: g}\nspec: {retrieval: {dataset: {from: \
                {configMap: {name: d}}}, metrics: [{name: mrr, margin: 0.05}], statistics: {method: PairedT, clusterBy: \
                source}}}\n";
    let gate = place.write("gate.yaml", gate);
    let of = |large: usize| {
        let slices = place.write("slices.tsv", &source(large).collect::<String>());
        let arms = ["--candidate", &candidate, "--baseline", &baseline, "--gate", &gate, "--slices", &slices];
        judged(&place, &arms).1
    };
    assert!(of(20).is_empty());
    let found = of(100);
    assert!(found.len() == 1 && found[0].starts_with("The largest cluster by `source` holds 100 of 200"), "{found:?}");
    assert!(found[0].contains("PairedT"), "{found:?}");
}
