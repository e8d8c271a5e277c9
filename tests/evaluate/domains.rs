//! Facts of a set with several domains: told in every form, deciding nothing, and absent where nothing is known.

use super::*;

const GATE: &str = "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {name: g}\nspec: {retrieval: {dataset: {from: \
                    {configMap: {name: d}}}, metrics: [{name: mrr, floor: 0.1}], slices: {by: [domain]}}}\n";

/// 160 queries of people, 40 of legal; the documents `x1` to `x5` are of tax, each other of its query's domain.
fn place() -> Place {
    let place = Place::new(200);
    let domain = |i: usize| if i < 160 { "people" } else { "legal" };
    let slices: String = (0..200).map(|i| format!("q{i:03}\tdomain\t{}\n", domain(i))).collect();
    let own = (0..200).map(|i| format!("{{\"_id\":\"d{i:03}\",\"metadata\":{{\"domain\":\"{}\"}}}}\n", domain(i)));
    let foreign = (1..6).map(|i| format!("{{\"_id\":\"x{i}\",\"domain\":\"tax\",\"text\":\"t\"}}\n"));
    let corpus: String = own.chain(foreign).collect();
    place.write("slices.tsv", &slices);
    place.write("corpus.jsonl", &corpus);
    place.write("gate.yaml", GATE);
    // The candidate finds more in the large domain and nothing in the small one.
    place.run("candidate.run", 200, |i| if i < 160 { 1 } else { 0 });
    place.run("baseline.run", 200, |i| if i < 160 { 2 } else { 1 });
    place
}

fn judge(place: &Place, flags: &[&str]) -> Output {
    let file = |name: &str| place.path(name).display().to_string();
    let all = ["--gate", &file("gate.yaml"), "--slices", &file("slices.tsv"), "--candidate", &file("candidate.run")];
    place.evaluate(&[&all[..], &["--baseline", &file("baseline.run")], flags].concat())
}

#[test]
fn every_form_tells_contamination_and_both_means_and_warns() {
    let place = place();
    let (corpus, markdown, page) = ("corpus.jsonl", "md", "page.html");
    let [corpus, markdown, page] = [corpus, markdown, page].map(|name| place.path(name).display().to_string());
    let forms = ["--output", "json", "--output", &format!("markdown={markdown}"), "--report", &page];
    let output = judge(&place, &[&["--corpus", &corpus], &forms[..]].concat());
    assert_eq!(code(&output), 0, "facts decide nothing: {}", out(&output));
    let facts = summary(&output)["facts"].clone();
    // The candidate has 160 lists with one document of the query's own domain and four of tax, and 40 with five.
    assert_eq!(
        facts["contamination@10"],
        json!({"candidate": {"share": 0.84, "hits": 1000}, "baseline": {"share": 0.8, "hits": 1000}})
    );
    let pair = |micro: f64, macro_: f64, gap: f64| json!({"micro": micro, "macro": macro_, "macroMicroGap": gap});
    assert_eq!(
        facts["means"],
        json!([{"key": "domain", "metric": "mrr", "candidate": pair(0.8, 0.5, -0.3), "baseline": pair(0.6, 0.75, 0.15)}])
    );
    let warnings = facts["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 3, "{facts}");
    assert!(warnings[0].as_str().unwrap().starts_with("84 % of the first ten documents of the candidate"), "{facts}");
    let apart = "mrr by domain: the mean of the queries changed by +0.2000, that of the slices by -0.2500";
    assert!(warnings[2].as_str().unwrap().starts_with(apart), "{facts}");
    let table = out(&judge(&place, &["--corpus", &corpus]));
    for text in [
        "contamination@10 0.8400 of 1000 documents (baseline 0.8000 of 1000 documents)",
        "mrr by domain: mean of queries 0.8000, of slices 0.5000, macroMicroGap -0.3000; baseline",
        "warning: 84 %",
    ] {
        assert!(table.contains(text), "{text}: {table}");
    }
    for file in [&markdown, &page] {
        let told = std::fs::read_to_string(file).unwrap();
        for text in ["0.8400 of 1000 documents", "changed by +0.2000", "macroMicroGap -0.3000"] {
            assert!(told.contains(text), "{file}: {text}: {told}");
        }
    }
}

#[test]
fn without_labels_there_is_no_share_and_a_bad_corpus_is_an_error() {
    let place = place();
    let facts = summary(&judge(&place, &["--output", "json"]))["facts"].clone();
    assert_eq!(facts.get("contamination@10"), None, "{facts}");
    assert!(facts["means"][0]["candidate"]["micro"] == json!(0.8), "{facts}");
    // Documents without a domain are no documents of another one.
    let bare = place.write("bare.jsonl", "{\"_id\":\"d000\"}\n{\"_id\":\"x1\"}\n");
    let facts = summary(&judge(&place, &["--output", "json", "--corpus", &bare]))["facts"].clone();
    assert_eq!(facts.get("contamination@10"), None, "{facts}");
    let bad = place.write("bad.jsonl", "{\"_id\":\"d000\"}\n[]\n");
    let found = summary(&judge(&place, &["--output", "json", "--corpus", &bad]));
    assert_eq!(found["reason"], json!("DatasetInvalid"));
    assert!(found["message"].as_str().unwrap().contains("bad.jsonl:2: is no document"), "{found}");
}

#[test]
fn the_floor_of_the_worst_slice_is_a_row_of_every_form() {
    let place = place();
    let [markdown, junit, page] = ["md", "xml", "html"].map(|name| place.path(name).display().to_string());
    let judged = |floor: &str| {
        place.write("gate.yaml", &GATE.replace("by: [domain]", &format!("by: [domain], worstGroupFloor: {floor}")));
        let files = ["--output", &format!("markdown={markdown}"), "--output", &format!("junit={junit}")];
        let output = judge(&place, &[&["--output", "json", "--report", &page], &files[..]].concat());
        let told = [&markdown, &junit, &page].map(|file| std::fs::read_to_string(file).unwrap());
        (code(&output), summary(&output), told)
    };
    let (exit, found, told) = judged("0.1");
    assert_eq!((exit, &found["reason"]), (1, &json!("WorstGroupBreached")));
    let row = &found["slices"][0];
    assert_eq!((&row["key"], &row["value"], &row["metric"]), (&json!("domain"), &json!("legal"), &json!("mrr")));
    assert_eq!((&row["n"], &row["candidate"], &row["baseline"]), (&json!(40), &json!(0.0), &json!(1.0)));
    assert_eq!((&row["floor"], &row["verdict"]), (&json!(0.1), &json!("Fail")));
    for form in &told {
        assert!(form.contains("at least 0.1 in the worst slice") && form.contains("WorstGroupBreached"), "{form}");
    }
    assert!(told[1].contains("failures=\"2\""), "the gate and the floor: {}", told[1]);
    let head = told[2].split("</header>").next().unwrap();
    assert!(head.contains("<dt>Slice</dt>") && head.contains("<dd>0.1<small>"), "{head}");
    let table = out(&judge(&place, &[]));
    assert!(table.contains("mrr domain=legal") && table.contains("at least 0.1 in the worst slice"), "{table}");
    let (exit, found, told) = judged("0");
    assert_eq!((exit, &found["slices"][0]["verdict"]), (0, &json!("Pass")));
    assert_eq!(found["slices"][0]["reason"], json!("FloorHolds"));
    assert!(told[1].contains("failures=\"0\""), "{}", told[1]);
}
