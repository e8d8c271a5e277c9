//! Inputs: layouts, packed files, what does not fit together.

use std::fmt::Write as _;

use super::*;

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn judgments_alone_decide_over_run_files_in_every_layout() {
    let place = Place::new(60);
    let run = place.run("c.run", 60, |i| if i % 2 == 0 { 1 } else { 2 });
    let trec: String = (0..60).map(|i| format!("q{i:03} 0 d{i:03} 1\n")).collect();
    let jsonl: String = (0..60)
        .map(|i| format!("{{\"query_id\":\"q{i:03}\",\"text\":\"question\",\"qrels\":{{\"d{i:03}\":1}}}}\n"))
        .collect();
    place.write("trec.txt", &trec);
    place.write("windows.txt", &format!("\u{feff}{}", trec.replace('\n', "\r\n")));
    place.write("set.jsonl", &jsonl);
    std::fs::write(place.path("trec.txt.gz"), gzip(&trec)).unwrap();
    let packed = place.path("c.run.gz");
    std::fs::write(&packed, gzip(&std::fs::read_to_string(&run).unwrap())).unwrap();
    let mut inputs = Vec::new();
    for (qrels, run) in [
        ("qrels.tsv", run.as_str()),
        ("trec.txt", &run),
        ("trec.txt.gz", packed.to_str().unwrap()),
        ("windows.txt", &run),
        ("set.jsonl", &run),
    ] {
        let output = place.judge_runs(qrels, &["--output", "json", "--candidate", run, "--metric", "mrr:floor=0.5"]);
        let found = summary(&output);
        assert_eq!((code(&output), &found["metrics"][0]["candidate"]), (0, &json!(0.75)), "{qrels}: {}", err(&output));
        inputs.push(found["inputs"].as_str().unwrap().to_owned());
    }
    assert_eq!(inputs[1], inputs[2], "a packed file is the same input");
    assert_ne!(inputs[1], inputs[3], "other bytes are another input");
}

#[test]
fn data_that_do_not_belong_together_are_an_error_and_never_a_pass() {
    let place = Place::new(200);
    let good = place.run("good.run", 200, |_| 1);
    let lines = std::fs::read_to_string(&good).unwrap();
    let other_queries = place.write("queries.run", &lines.replace("q0", "z0").replace("q1", "z1"));
    let other_documents = place.write("documents.run", &lines.replace(" d", " doc"));
    let judge = |candidate: &str, baseline: Option<&str>| {
        let mut flags = vec!["--output", "json", "--candidate", candidate, "--metric", "ndcg@10:margin=0.05,floor=0"];
        flags.extend(baseline.iter().flat_map(|baseline| ["--baseline", baseline]));
        let output = place.judge_runs("qrels.tsv", &flags);
        let found = summary(&output);
        (code(&output), found["reason"].as_str().unwrap().to_owned(), found["message"].as_str().unwrap().to_owned())
    };
    for baseline in [None, Some(good.as_str())] {
        let (exit, reason, message) = judge(&other_queries, baseline);
        assert_eq!((exit, reason.as_str()), (4, "DatasetInvalid"));
        assert!(message.contains("queries.run: none of its queries is judged, such as `z000`"), "{message}");
    }
    // Also where the other run fits: against a baseline of another corpus any candidate would be better.
    let (foreign, good) = (other_documents.as_str(), good.as_str());
    for (candidate, baseline) in
        [(foreign, None), (foreign, Some(foreign)), (foreign, Some(good)), (good, Some(foreign))]
    {
        let (exit, reason, message) = judge(candidate, baseline);
        assert_eq!((exit, reason.as_str()), (4, "DatasetInvalid"));
        assert!(message.contains("documents.run: none of its documents is judged for its query"), "{message}");
    }
    assert_eq!(judge(good, Some(good)).0, 0);
}

#[test]
fn bad_lines_of_any_file_are_named() {
    let place = Place::new(3);
    let run = place.run("c.run", 3, |_| 1);
    place.write("slices.tsv", "q000\tdomain\tx\nq000\tdomain\ty\n");
    place.write("nuggets.jsonl", "{\"query_id\":\"q000\",\"nugget_id\":\"n\",\"doc_ids\":[]}\n");
    place.write("nan.run", "q000 Q0 d 1 NaN r\n");
    std::fs::write(place.path("bytes.run"), b"q000 Q0 d\xff 1 1 r\n").unwrap();
    place.write("long.run", &format!("q000 Q0 {} 1 1 r\n", "x".repeat(1 << 20)));
    place.write("empty.run", "");
    std::fs::write(place.path("half.run"), &gzip(&std::fs::read_to_string(&run).unwrap())[..40]).unwrap();
    let (slices, nuggets) = (place.path("slices.tsv"), place.path("nuggets.jsonl"));
    let candidate = |name: &str| vec!["--candidate".to_owned(), place.path(name).display().to_string()];
    let with =
        |flag: &str, file: &Path| [candidate("c.run"), vec![flag.to_owned(), file.display().to_string()]].concat();
    for (flags, expected) in [
        (with("--slices", &slices), "slices.tsv:2: query `q000` has already `domain` = `x`"),
        (with("--nuggets", &nuggets), "nuggets.jsonl:1: nugget `n` names no document"),
        (candidate("nan.run"), "nan.run:1: score `NaN` is not a finite number"),
        (candidate("bytes.run"), "bytes.run:1: the line is not UTF-8 from byte 9 on"),
        (candidate("long.run"), "long.run:1: the line has more than 1048576 bytes"),
        (candidate("empty.run"), "empty.run: the file holds no line"),
        (candidate("half.run"), "half.run: the packed content is damaged"),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let flags = [&["--output", "json", "--metric", "map:floor=0"], flags.as_slice()].concat();
        let output = place.evaluate(&flags);
        let found = summary(&output);
        assert_eq!((code(&output), &found["reason"]), (4, &json!("DatasetInvalid")), "{}", out(&output));
        assert!(found["message"].as_str().unwrap().contains(expected), "{}", out(&output));
    }
    place.write("queries.jsonl", &format!("{{\"_id\":\"q000\",\"text\":\"{}\"}}\n", "x".repeat(1 << 20)));
    let check = place.evaluate(&["--check"]);
    assert_eq!(code(&check), 42);
    assert!(err(&check).contains("queries.jsonl:1: the line has more than 1048576 bytes"), "{}", err(&check));
}

#[test]
fn a_file_that_cannot_be_read_now_ends_a_check_with_43_and_a_run_with_4() {
    let place = Place::new(3);
    let run = place.run("c.run", 3, |_| 1);
    // The kernel answers EIO to whoever reads the first page of its own memory.
    let check = place.judge_runs("/proc/self/mem", &["--check"]);
    assert_eq!(code(&check), 43);
    assert!(err(&check).contains("/proc/self/mem: cannot be read: Input/output error"), "{}", err(&check));
    let flags = ["--output", "json", "--metric", "map:floor=0", "--candidate"];
    for (qrels, candidate) in [("/proc/self/mem", run.as_str()), ("qrels.tsv", "/proc/self/mem")] {
        let output = place.judge_runs(qrels, &[&flags[..], &[candidate]].concat());
        assert_eq!((code(&output), &summary(&output)["verdict"]), (4, &json!("Error")), "{}", out(&output));
    }
}

#[test]
fn a_run_that_was_kept_stands_in_over_the_same_judgments_alone() {
    let place = Place::new(60);
    let run = place.run("c.run", 60, |_| 1);
    let kept = place.path("kept.run");
    let metric = ["--output", "json", "--metric", "mrr:margin=0.06", "--candidate", run.as_str()];
    let written = place.judge_runs("qrels.tsv", &[&metric[..], &["--write-run", kept.to_str().unwrap()]].concat());
    assert_eq!(code(&written), 0, "{}", err(&written));
    let compare = || {
        let output = place.judge_runs("qrels.tsv", &[&metric[..], &["--baseline", kept.to_str().unwrap()]].concat());
        let found = summary(&output);
        let text = |key: &str| found[key].as_str().unwrap().to_owned();
        (code(&output), text("reason"), text("message"))
    };
    assert_eq!((compare().0, compare().1.as_str()), (0, "NonInferior"));
    let judgments = std::fs::read_to_string(place.path("qrels.tsv")).unwrap();
    place.write("qrels.tsv", &judgments.replacen("\t1\n", "\t2\n", 1));
    let (exit, reason, message) = compare();
    assert_eq!((exit, reason.as_str()), (4, "InputsChanged"), "{message}");
    assert!(message.contains("kept.run: the run was measured over queries and judgments of digest"), "{message}");
    let beside = place.path("kept.run.inputs.json");
    let older = std::fs::read_to_string(&beside).unwrap().replace("\"evaluator\": \"", "\"evaluator\": \"0.");
    place.write("qrels.tsv", &judgments);
    place.write("kept.run.inputs.json", &older);
    assert!(compare().2.contains("numbers of version 0."), "{:?}", compare());
    place.write("kept.run.inputs.json", "{}");
    assert_eq!((compare().0, compare().1.as_str()), (4, "DatasetInvalid"));
    std::fs::remove_file(beside).unwrap();
    assert_eq!(compare().0, 0);
}

#[test]
fn a_run_may_come_through_a_pipe() {
    let place = Place::new(40);
    let lines = std::fs::read_to_string(place.run("c.run", 40, |i| i % 3)).unwrap();
    // All first lines, all second lines ...: the queries come back, and a pipe cannot be read again.
    let mut apart: Vec<&str> = lines.lines().collect();
    apart.sort_by_key(|line| line.split(' ').nth(3).unwrap().parse::<u32>().unwrap());
    let apart = place.write("apart.run", &format!("{}\n", apart.join("\n")));
    let flags = ["--output", "json", "--metric", "ndcg@10:floor=0.1", "--candidate"];
    let judge = |candidate: &str, piped: Option<&str>| {
        let mut rag = Command::new(env!("CARGO_BIN_EXE_rag"));
        rag.arg("evaluate")
            .arg("--qrels")
            .arg(place.path("qrels.tsv"))
            .args(flags)
            .arg(candidate)
            .env_remove("RAG_JOB");
        let cat = piped.map(|file| Command::new("cat").arg(file).stdout(Stdio::piped()).spawn().unwrap());
        if let Some(mut cat) = cat {
            rag.stdin(cat.stdout.take().unwrap());
            let output = rag.output().unwrap();
            assert!(cat.wait().unwrap().success());
            return output;
        }
        rag.output().unwrap()
    };
    let of = |output: Output| {
        assert_eq!(code(&output), 0, "{} {}", out(&output), err(&output));
        summary(&output)["metrics"].clone()
    };
    let expected = of(judge(&place.path("c.run").display().to_string(), None));
    assert_eq!(of(judge(&apart, None)), expected);
    assert_eq!(of(judge("/dev/stdin", Some(&apart))), expected);
    assert_eq!(of(judge("/dev/stdin", Some(&place.path("c.run").display().to_string()))), expected);
}

#[test]
fn missing_queries_count_0_or_are_left_out_of_both_arms() {
    let place = Place::new(400);
    let good = place.run("good.run", 400, |_| 1);
    let lines = std::fs::read_to_string(&good).unwrap();
    let without = |n: usize| lines.lines().skip(5 * n).map(|line| format!("{line}\n")).collect::<String>();
    let few = place.write("few.run", &without(4));
    let many = place.write("many.run", &without(5));
    let judge = |candidate: &str, missing: &[&str]| {
        let flags = ["--output", "json", "--metric", "mrr:margin=0.05", "--baseline", &good, "--candidate", candidate];
        let output = place.judge_runs("qrels.tsv", &[&flags[..], &["--missing"], missing].concat());
        (code(&output), summary(&output))
    };
    let (exit, found) = judge(&few, &["zero"]);
    // Four lost queries of 400: too few changes to trust the bounds.
    assert_eq!((exit, &found["reason"]), (4, &json!("Underpowered")));
    assert_eq!((&found["metrics"][0]["candidate"], &found["metrics"][0]["n"]), (&json!(0.99), &json!(400)));
    assert_eq!((&found["queries"]["missingInCandidate"], &found["facts"]["leftOut"]), (&json!(4), &json!(0)));
    let (exit, found) = judge(&few, &["drop"]);
    assert_eq!((exit, &found["metrics"][0]["candidate"], &found["metrics"][0]["n"]), (0, &json!(1.0), &json!(396)));
    assert_eq!((&found["metrics"][0]["baseline"], &found["facts"]["leftOut"]), (&json!(1.0), &json!(4)));
    assert_eq!((&found["queries"]["judged"], &found["queries"]["unjudged"]), (&json!(400), &json!(0)));
    // A candidate that answers only where it is good must not pass.
    for missing in ["drop", "zero"] {
        let (exit, found) = judge(&many, &[missing]);
        assert_eq!((exit, &found["reason"]), (4, &json!("LowCoverage")));
        let told = found["message"].as_str().unwrap();
        assert!(told.contains("the candidate names 395 of 400 judged queries; 5 are missing"), "{told}");
    }
    // What was asked and found nothing is an answer.
    let (exit, found) = judge(&many, &["drop", "--allow-missing"]);
    assert_eq!((exit, &found["metrics"][0]["n"], &found["facts"]["leftOut"]), (0, &json!(400), &json!(0)));
    assert_eq!(found["metrics"][0]["candidate"], json!(0.9875));
}

/// The same 4 of 400, whatever is done with them; what is said of them on stderr and on the page agrees.
#[test]
fn the_counts_of_missing_queries_do_not_contradict_each_other() {
    let place = Place::new(400);
    let good = place.run("good.run", 400, |_| 1);
    let lines = std::fs::read_to_string(&good).unwrap();
    let few: String = lines.lines().skip(5 * 4).map(|line| format!("{line}\n")).collect();
    let few = place.write("few.run", &few);
    let page = place.path("page.html").display().to_string();
    let (zero, out) = ("have no answer of the candidate; they count 0", "lack an answer of an arm and are left out");
    for (flags, answered, left_out, said) in [
        (&["--missing", "zero"][..], 396, 0, [true, false]),
        (&["--missing", "zero", "--allow-missing"], 400, 0, [true, false]),
        (&["--missing", "drop"], 396, 4, [false, true]),
        (&["--missing", "drop", "--allow-missing"], 400, 0, [true, false]),
    ] {
        for swapped in [false, true] {
            let (candidate, baseline) = if swapped { (&good, &few) } else { (&few, &good) };
            let arms =
                ["--output", "json", "--metric", "mrr:margin=0.05", "--candidate", candidate, "--baseline", baseline];
            let output = place.judge_runs("qrels.tsv", &[&arms[..], flags, &["--report", &page]].concat());
            let found = summary(&output);
            let queries = &found["queries"];
            let (short, whole) = if swapped { ("Baseline", "Candidate") } else { ("Candidate", "Baseline") };
            let of = |what: &str, arm: &str| queries[format!("{what}{arm}")].as_u64();
            assert_eq!((of("missingIn", short), of("missingIn", whole)), (Some(4), Some(0)), "{flags:?}: {queries}");
            assert_eq!((of("answeredBy", short), of("answeredBy", whole)), (Some(answered), Some(400)), "{flags:?}");
            assert_eq!(found["facts"]["leftOut"], json!(left_out), "{flags:?}");
            let (html, arm) = (std::fs::read_to_string(&page).unwrap(), short.to_lowercase());
            // A win over what the baseline was not asked is none.
            let compared = !(swapped && answered == 396);
            let fate = match (left_out > 0, compared) {
                (true, _) => "left out of both arms",
                (false, true) => "they count 0",
                (false, false) => "they count 0, and are not compared",
            };
            let won = if compared && left_out == 0 { 0.01 } else { 0.0 };
            let difference = found["metrics"][0]["difference"].as_f64().unwrap();
            assert_eq!(difference.abs(), won, "{flags:?} {swapped}: {}", found["metrics"][0]);
            assert!(html.contains(&format!("4 not named by the {arm}'s run ({fate})")), "{flags:?}: {html}");
            let told = [zero.replace("candidate", &arm), out.to_owned()].map(|text| err(&output).contains(&text));
            assert_eq!(told, said, "{flags:?}: {}", err(&output));
        }
    }
}

#[test]
fn a_baseline_that_lacks_queries_does_not_flatter_the_candidate() {
    let place = Place::new(400);
    let good = place.run("good.run", 400, |_| 1);
    // Worse in every query, but the baseline was not asked for most of them.
    let worse = place.run("worse.run", 400, |_| 2);
    let part = std::fs::read_to_string(&good).unwrap();
    let part: String = part.lines().take(5 * 150).map(|line| format!("{line}\n")).collect();
    let part = place.write("part.run", &part);
    let judge = |flags: &[&str]| {
        let all = ["--output", "json", "--metric", "mrr:margin=0.05", "--candidate", &worse, "--baseline"];
        let output = place.judge_runs("qrels.tsv", &[&all[..], flags].concat());
        (code(&output), summary(&output))
    };
    assert_eq!(judge(&[&good]).0, 1);
    let (exit, found) = judge(&[&part]);
    assert_eq!((exit, &found["verdict"], &found["reason"]), (4, &json!("Error"), &json!("LowCoverage")));
    let told = found["message"].as_str().unwrap();
    for text in
        ["part.run: the baseline names 150 of 400", "250 are missing, first `q150`, `q151`, `q152`", "--allow-missing"]
    {
        assert!(told.contains(text), "{text}: {told}");
    }
    // Who says that they found nothing takes what follows.
    assert_eq!(judge(&[&part, "--allow-missing"]).0, 0);
}

#[test]
fn the_dialect_and_identical_ids_change_what_is_first() {
    let place = Place::new(1);
    let close = place.write("close.run", "q000 Q0 x 1 0.8000000002 r\nq000 Q0 d000 2 0.8000000001 r\n");
    let tie = place.write("tie.run", "q000 Q0 a 1 0.8000000002 r\nq000 Q0 d000 2 0.8000000001 r\n");
    let own = place.write("own.run", "q000 Q0 q000 1 9 r\nq000 Q0 d000 2 8 r\n");
    let mrr = |run: &str, flags: &[&str]| {
        let all = [&["--output", "json", "--metric", "mrr:floor=0", "--candidate", run], flags].concat();
        summary(&place.judge_runs("qrels.tsv", &all))["metrics"][0]["candidate"].as_f64().unwrap()
    };
    assert_eq!((mrr(&tie, &[]), mrr(&tie, &["--compat", "trec_eval_10"])), (0.5, 0.5));
    assert_eq!((mrr(&tie, &["--compat", "trec_eval_9"]), mrr(&close, &["--compat", "trec_eval_9"])), (1.0, 0.5));
    assert_eq!((mrr(&own, &[]), mrr(&own, &["--ignore-identical-ids"])), (0.5, 1.0));
    let gate = place.write(
        "gate.yaml",
        "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {name: g}\nspec:\n  retrieval:\n    dataset: {from: \
         {configMap: {name: d}}, format: Trec}\n    compat: trec_eval_9\n    missing: drop\n    ignoreIdenticalIds: true\n    \
         baseline: None\n    metrics: [{name: mrr, floor: 0.9}]\n",
    );
    for run in [&tie, &own] {
        assert_eq!(code(&place.judge_runs("qrels.tsv", &["--gate", &gate, "--candidate", run])), 0);
    }
}

#[test]
fn facts_stand_beside_the_metrics_and_decide_nothing() {
    let place = Place::new(60);
    let (good, shifted) = (place.run("good.run", 60, |_| 1), place.run("shifted.run", 60, |_| 2));
    let metrics = ["--metric", "rbp(p=0.8):floor=0", "--metric", "unj@5:max=1", "--metric", "Hole@5:max=1"];
    let arms = ["--candidate", &shifted, "--baseline", &good];
    let output = place.judge_runs("qrels.tsv", &[&["--output", "json"], &arms[..], &metrics[..]].concat());
    assert_eq!(code(&output), 0, "{}", err(&output));
    let found = summary(&output);
    let facts = &found["facts"];
    // Lists d x2 x3 x4 x5 and x1 d x3 x4 x5: four of five are shared.
    assert_eq!(facts["overlap@10"], json!(0.8));
    assert!((facts["rbo"].as_f64().unwrap() - 0.649_44).abs() < 0.05, "{facts}");
    assert_eq!(facts["tieRate@10"]["candidate"], Value::Null, "no list is longer than ten");
    let residual = facts["residuals"]["rbp(p=0.8)"]["candidate"].as_f64().unwrap();
    assert!((residual - (1.0 - 0.2 * 0.8)).abs() < 1e-6, "{residual}");
    let value = |i: usize| found["metrics"][i]["candidate"].as_f64().unwrap();
    assert_eq!((value(0), value(1), value(2)), (0.16, 0.8, 0.8));
    let table = out(&place.judge_runs("qrels.tsv", &[&arms[..], &metrics[..]].concat()));
    assert!(table.contains("overlap@10 0.8000, RBO 0."), "{table}");
    assert!(table.contains("tieRate@10 unknown (no list has more than 10 documents)"), "{table}");
}

#[test]
fn nuggets_are_counted_where_there_are_some() {
    let place = Place::new(4);
    let run = place.run("c.run", 4, |i| i + 1);
    let nugget = |query: usize, id: &str, document: &str, required: bool| {
        format!(
            "{{\"query_id\":\"q{query:03}\",\"nugget_id\":\"{id}\",\"required\":{required},\"doc_ids\":[\"{document}\"]}}\n"
        )
    };
    let nuggets = [nugget(0, "a", "d000", true), nugget(0, "b", "x9", false), nugget(1, "a", "d001", true)].concat();
    let file = place.write("nuggets.jsonl", &nuggets);
    let flags = [
        "--output",
        "json",
        "--candidate",
        &run,
        "--metric",
        "taskRecall@1:floor=0",
        "--metric",
        "taskSuccess@2:floor=0",
    ];
    let output = place.judge_runs("qrels.tsv", &[&flags[..], &["--nuggets", &file]].concat());
    assert_eq!(code(&output), 0, "{}", err(&output));
    let found = summary(&output);
    let metric =
        |i: usize| (found["metrics"][i]["n"].as_u64().unwrap(), found["metrics"][i]["candidate"].as_f64().unwrap());
    assert_eq!((metric(0), metric(1)), ((2, 0.25), (2, 1.0)));
    assert_eq!(found["facts"]["withoutNuggets"], json!(2));
    let output = place.judge_runs("qrels.tsv", &flags);
    assert_eq!(code(&output), 4);
    assert!(summary(&output)["message"].as_str().unwrap().contains("taskRecall@1 counts nuggets"), "{}", out(&output));
}

#[test]
fn a_check_refuses_what_a_run_would_refuse() {
    let place = Place::new(3);
    let metric = ["--metric", "taskSuccess@10:floor=0.5"];
    let check = place.evaluate(&[&["--check"], &metric[..]].concat());
    assert_eq!(code(&check), 42, "{}", out(&check));
    assert!(err(&check).contains("taskSuccess@10 counts nuggets, and the data set has none"), "{}", err(&check));
    let nuggets = place.write("nuggets.jsonl", "{\"query_id\":\"q000\",\"nugget_id\":\"n\",\"doc_ids\":[\"d000\"]}\n");
    let check = place.evaluate(&[&["--check", "--nuggets", &nuggets], &metric[..]].concat());
    assert_eq!(code(&check), 0, "{}", err(&check));
}

#[test]
fn slices_of_a_file_serve_a_gate() {
    let place = Place::new(60);
    let run = place.run("c.run", 60, |_| 1);
    let slices: String =
        (0..60).map(|i| format!("q{i:03}\tdomain\t{}\n", if i < 40 { "law" } else { "tax" })).collect();
    let file = place.write("slices.tsv", &slices);
    let gate = place.write(
        "gate.yaml",
        "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {name: g}\nspec:\n  retrieval:\n    dataset: {from: \
         {configMap: {name: d}}}\n    slices: {by: [domain]}\n    metrics: [{name: mrr, margin: 0.05}]\n",
    );
    let check = place.evaluate(&["--check", "--output", "json", "--gate", &gate, "--slices", &file]);
    assert_eq!(summary(&check)["slices"][0], json!({"name": "domain=law", "queries": 40}), "{}", err(&check));
    let output = place.evaluate(&["--candidate", &run, "--baseline", &run, "--gate", &gate, "--slices", &file]);
    assert_eq!(code(&output), 0, "{}", err(&output));
}

#[test]
fn every_slice_is_in_the_result_and_one_without_proof_is_no_pass() {
    let place = Place::new(360);
    let good = place.run("good.run", 360, |_| 1);
    // Ten of twelve slices lost one query of three.
    let bad = place.run("bad.run", 360, |i| if i % 12 < 10 && i % 36 < 12 { 0 } else { 1 });
    let slices: String = (0..360).map(|i| format!("q{i:03}\tdomain\tv{:02}\n", i % 12)).collect();
    let file = place.write("slices.tsv", &slices);
    let gate = place.write(
        "gate.yaml",
        "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {name: g}\nspec:\n  retrieval:\n    dataset: {from: \
         {configMap: {name: d}}}\n    slices: {by: [domain]}\n    metrics: [{name: success@1, margin: 0.4}]\n",
    );
    let page = place.path("page.html");
    let flags = ["--candidate", &bad, "--baseline", &good, "--gate", &gate, "--slices", &file, "--output", "json"];
    let output = place.evaluate(&[&flags[..], &["--report", page.to_str().unwrap()]].concat());
    let found = summary(&output);
    let slices = found["slices"].as_array().unwrap();
    assert_eq!((code(&output), slices.len()), (0, 12), "{}", out(&output));
    for slice in slices {
        assert_eq!((&slice["verdict"], &slice["reason"]), (&Value::Null, &json!("Tolerated")), "{slice}");
    }
    let html = std::fs::read_to_string(page).unwrap();
    for i in 0..12 {
        assert!(html.contains(&format!(">v{i:02}<")), "v{i:02} is not on the page");
    }
    assert!(html.contains("not proven</span><small>Tolerated") && html.contains("no proven drop of 0.8 or more"));
}

#[test]
fn what_enters_no_paired_test_makes_a_set_no_larger() {
    let place = Place::new(149);
    let run = place.run("c.run", 149, |_| 1);
    let qrels = |grade: &dyn Fn(usize) -> usize| {
        let lines: String = (0..149).map(|i| format!("q{i:03} 0 d{i:03} {}\n", grade(i))).collect();
        place.write("grades.qrels", &lines);
    };
    let metric = ["--output", "json", "--metric", "success@1:margin=0.02"];
    let arms = ["--candidate", run.as_str(), "--baseline", run.as_str()];
    let judge = |flags: &[&str]| place.judge_runs("grades.qrels", &[&metric[..], flags].concat());
    qrels(&|_| 1);
    let check = summary(&judge(&["--check"]));
    assert_eq!((&check["tested"], &check["advice"]), (&json!(149), &Value::Null));
    assert_eq!(code(&judge(&arms)), 0);
    qrels(&|i| usize::from(i >= 10));
    let check = judge(&["--check"]);
    let found = summary(&check);
    assert_eq!((code(&check), &found["queries"], &found["tested"]), (0, &json!(149), &json!(139)));
    let advice = found["advice"].as_str().unwrap();
    assert!(advice.starts_with("139 queries with a relevant document (of 149 queries, for success@1)"), "{advice}");
    // The run says the same ahead, and then finds it.
    let output = judge(&arms);
    let found = summary(&output);
    assert_eq!(
        (&found["reason"], &found["metrics"][0]["n"]),
        (&json!("TooFewQueries"), &json!(139)),
        "{}",
        out(&output)
    );
    assert!(err(&output).contains(advice), "{}", err(&output));
    qrels(&|_| 0);
    let check = judge(&["--check"]);
    assert_eq!(code(&check), 42);
    assert!(err(&check).contains("success@1 cannot tell two answers apart"), "{}", err(&check));
    let output = judge(&arms);
    assert_eq!((code(&output), &summary(&output)["reason"]), (4, &json!("DatasetInvalid")), "{}", out(&output));
}

#[test]
fn a_key_that_no_query_has_takes_no_guard_away_in_silence() {
    let place = Place::new(60);
    // The key is there, but only the query without an answer has it.
    let run = place.run("c.run", 60, |_| 1);
    let answered = std::fs::read_to_string(&run).unwrap();
    let rest: String = answered.lines().filter(|line| !line.starts_with("q000 ")).map(|l| format!("{l}\n")).collect();
    let run = place.write("c.run", &rest);
    let labels = place.write("slices.tsv", "q000\tdomain\tlaw\n");
    let judge = |more: &str, flags: &[&str]| {
        let gate = place.write(
            "gate.yaml",
            &format!(
                "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {{name: g}}\nspec:\n  retrieval:\n    dataset: \
                 {{from: {{configMap: {{name: d}}}}}}\n    missing: drop\n    metrics: [{{name: mrr, margin: 0.06}}]\n    \
                 {more}\n"
            ),
        );
        place.evaluate(&[&["--output", "json", "--gate", &gate, "--slices", &labels], flags].concat())
    };
    let arms = ["--candidate", run.as_str(), "--baseline", run.as_str(), "--allow-missing"];
    for (more, expected) in [
        ("slices: {by: [domian]}", "slices.by names `domian`"),
        ("slices: {by: [domain], required: [domain=legal]}", "slices.required names `domain=legal`"),
        ("statistics: {clusterBy: souce}", "statistics.clusterBy names `souce`"),
    ] {
        let check = judge(more, &["--check"]);
        assert_eq!(code(&check), 42, "{more}: {}", out(&check));
        assert!(err(&check).contains(expected), "{more}: {}", err(&check));
        let output = judge(more, &arms);
        let found = summary(&output);
        assert_eq!((code(&output), &found["reason"]), (4, &json!("DatasetInvalid")), "{more}: {}", out(&output));
        assert!(found["message"].as_str().unwrap().contains(expected), "{more}: {}", out(&output));
    }
    for more in ["slices: {by: [domain]}", "statistics: {clusterBy: domain}"] {
        assert_eq!((code(&judge(more, &["--check"])), code(&judge(more, &arms))), (0, 0), "{more}");
    }
}

/// A run file of `queries` times 1,000 lines, of which the last is malformed.
fn long_run(place: &Place, queries: usize) -> String {
    let mut text = String::new();
    for query in 0..queries {
        for rank in 1..=1000_usize {
            let score = (2000 - rank) as f64 / 128.0;
            let _ = writeln!(text, "q{query:05} Q0 doc{:07} {rank} {score} r", (query * 7919 + rank * 31) % 9_999_991);
        }
    }
    let without_score = text.trim_end().rfind(' ').and_then(|at| text.get(..at)).unwrap().to_owned();
    place.write("long.run", &without_score)
}

/// The kernel refuses the program more than so many MiB: heap, stacks and all else that it may write to.
fn within(mib: usize, place: &Place, flags: &[&str]) -> Output {
    Command::new("sh")
        .args(["-c", "ulimit -d $0 && exec \"$@\"", &(mib * 1024).to_string(), env!("CARGO_BIN_EXE_rag"), "evaluate"])
        .arg("--qrels")
        .arg(place.path("qrels.tsv"))
        .args(flags)
        .env_remove("RAG_JOB")
        .output()
        .unwrap()
}

#[test]
fn the_last_of_a_million_bad_lines_is_named_within_bounded_memory() {
    let place = Place::new(3);
    let run = long_run(&place, 1000);
    // 31 MB of text; a string and a score a line would take more than 90.
    let output = within(60, &place, &["--output", "json", "--metric", "map:floor=0", "--candidate", &run]);
    assert_eq!(output.status.code(), Some(4), "{:?}: {} {}", output.status, out(&output), err(&output));
    let found = summary(&output);
    assert_eq!(found["reason"], json!("DatasetInvalid"));
    let told = found["message"].as_str().unwrap();
    assert!(told.contains("long.run:1000000: found 5 columns, a run line has 6"), "{told}");
}
