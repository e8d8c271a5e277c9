//! `rag evaluate` as a process: real files, a real HTTP arm, exit codes.

// Helpers of tests may stop at the first surprise, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod directories;
mod domains;
mod doubts;
mod inputs;
mod over_http;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// A directory with a data set of `n` queries; document `d<i>` is relevant for query `q<i>`.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(n: usize) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        let queries: String =
            (0..n).map(|i| format!("{{\"_id\":\"q{i:03}\",\"text\":\"question {i:03}\"}}\n")).collect();
        let qrels: String = (0..n).map(|i| format!("q{i:03}\td{i:03}\t1\n")).collect();
        place.write("queries.jsonl", &queries);
        place.write("qrels.tsv", &format!("query-id\tcorpus-id\tscore\n{qrels}"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    /// A run file in which the relevant document of query i stands at rank `rank(i)`; 0: not at all.
    fn run(&self, name: &str, n: usize, rank: impl Fn(usize) -> usize) -> String {
        let mut text = String::new();
        for i in 0..n {
            for place in 1..=5_usize {
                let document = if place == rank(i) { format!("d{i:03}") } else { format!("x{place}") };
                text.push_str(&format!("q{i:03} Q0 {document} {place} {} r\n", 10 - place));
            }
        }
        self.write(name, &text)
    }

    fn evaluate(&self, flags: &[&str]) -> Output {
        self.evaluate_on("qrels.tsv", flags)
    }

    fn evaluate_on(&self, qrels: &str, flags: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rag"))
            .arg("evaluate")
            .arg("--queries")
            .arg(self.path("queries.jsonl"))
            .arg("--qrels")
            .arg(self.path(qrels))
            .args(flags)
            .env_remove("RAG_JOB")
            .output()
            .unwrap()
    }

    /// Without a file of queries.
    fn judge_runs(&self, qrels: &str, flags: &[&str]) -> Output {
        let mut rag = Command::new(env!("CARGO_BIN_EXE_rag"));
        rag.arg("evaluate").arg("--qrels").arg(self.path(qrels)).args(flags).env_remove("RAG_JOB").output().unwrap()
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn summary(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", out(output), err(output)))
}

#[test]
fn the_exit_code_is_the_verdict() {
    let place = Place::new(200);
    let good = place.run("good.run", 200, |_| 1);
    let bad = place.run("bad.run", 200, |i| if i % 2 == 0 { 0 } else { 1 });
    let shaky = place.run("shaky.run", 200, |i| if i % 9 == 0 { 3 } else { 1 });
    let metric = ["--metric", "ndcg@10:margin=0.05"];
    let judge = |candidate: &str, baseline: &str| {
        place.evaluate(&[&["--output", "json", "--candidate", candidate, "--baseline", baseline], &metric[..]].concat())
    };
    let same = judge(&good, &good);
    assert_eq!((code(&same), &summary(&same)["reason"]), (0, &json!("NonInferior")), "{}", err(&same));
    let better = judge(&good, &bad);
    assert_eq!((code(&better), &summary(&better)["reason"]), (0, &json!("Superior")));
    let worse = judge(&bad, &good);
    assert_eq!((code(&worse), &summary(&worse)["reason"]), (1, &json!("RegressionProven")));
    let slightly = judge(&shaky, &good);
    assert_eq!((code(&slightly), &summary(&slightly)["reason"]), (1, &json!("RegressionProven")), "{}", out(&slightly));
    let loose = place.evaluate(&[
        "--output",
        "json",
        "--candidate",
        &shaky,
        "--baseline",
        &good,
        "--metric",
        "ndcg@10:margin=0.06",
    ]);
    assert_eq!((code(&loose), &summary(&loose)["verdict"]), (4, &json!("Inconclusive")), "{}", out(&loose));
}

#[test]
fn the_summary_has_the_numbers_and_equal_inputs_give_equal_bytes() {
    let place = Place::new(60);
    let candidate = place.run("c.run", 60, |i| if i == 0 { 2 } else { 1 });
    let baseline = place.run("b.run", 60, |_| 1);
    let once = || {
        place.evaluate(&[
            "--output",
            "json",
            "--candidate",
            &candidate,
            "--baseline",
            &baseline,
            "--metric",
            "success@1:margin=0.02,floor=0.4",
            "--metric",
            "mrr:margin=0.2,required=false",
        ])
    };
    let first = once();
    assert_eq!(code(&first), 4);
    assert_eq!(first.stdout, once().stdout);
    let found = summary(&first);
    assert_eq!(found["verdict"], "Inconclusive");
    assert_eq!(found["reason"], "TooFewQueries");
    assert_eq!(found["requiredQueries"], json!(258));
    assert_eq!(found["inputs"].as_str().unwrap().len(), 64);
    assert_eq!(found["queries"]["judged"], json!(60));
    let metric = &found["metrics"][0];
    assert_eq!(metric["name"], "success@1");
    assert_eq!((&metric["n"], &metric["candidate"], &metric["baseline"]), (&json!(60), &json!(0.983_333), &json!(1.0)));
    assert_eq!((&metric["margin"], &metric["floor"], &metric["max"]), (&json!(0.02), &json!(0.4), &Value::Null));
    let (lower, upper) = (metric["lower"].as_f64().unwrap(), metric["upper"].as_f64().unwrap());
    assert!(lower < metric["difference"].as_f64().unwrap() && upper > 0.0, "{metric}");
    assert_eq!(found["metrics"][1]["required"], json!(false));
    assert!(err(&first).contains("60 queries can certify a margin of .049 at best; set margin 0.05 or add 89 queries"));
    // Another run file, another digest of the inputs.
    let other = place.run("c.run", 60, |i| if i == 1 { 2 } else { 1 });
    assert_eq!(other, candidate);
    assert_ne!(summary(&once())["inputs"], found["inputs"]);
}

#[test]
fn the_table_shows_every_metric_and_a_sentence() {
    let place = Place::new(150);
    let run = place.run("c.run", 150, |_| 1);
    let output = place.evaluate(&[
        "--candidate",
        &run,
        "--baseline",
        &run,
        "--metric",
        "ndcg@10:margin=0.02,floor=0.4",
        "--metric",
        "recall@5:floor=0.9",
    ]);
    assert_eq!(code(&output), 0);
    let text = out(&output);
    for part in [
        "metric",
        "candidate",
        "baseline",
        "difference",
        "[L, U]",
        "required",
        "verdict",
        "ndcg@10",
        "recall@5",
        "+0.0000",
        "[+0.0000, +0.0000]",
        "drop at most 0.02, at least 0.4",
        "Pass (NonInferior)",
        "Pass (AbsoluteOnly)",
        "a drop of more than 0.02 is ruled out",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn without_a_baseline_floor_and_max_decide() {
    let place = Place::new(6);
    let run = place.run("c.run", 6, |i| if i < 3 { 1 } else { 0 });
    let judge = |metric: &str| {
        let output = place.evaluate(&["--output", "json", "--candidate", &run, "--metric", metric]);
        (code(&output), summary(&output)["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(judge("success@1:floor=0.5"), (0, "AbsoluteOnly".to_owned()));
    assert_eq!(judge("success@1:margin=0.02"), (0, "NoBaseline".to_owned()));
    assert_eq!(judge("success@1:floor=0.51"), (1, "FloorBreached".to_owned()));
    assert_eq!(judge("success@1:max=0.4"), (1, "LimitExceeded".to_owned()));
}

/// Who only wants a number gets it, and is told that it guards nothing.
#[test]
fn a_metric_that_demands_nothing_is_reported_and_guards_nothing() {
    let place = Place::new(200);
    let (good, bad) = (place.run("good.run", 200, |_| 1), place.run("bad.run", 200, |_| 2));
    let judge = |flags: &[&str]| {
        let output = place.evaluate(&[&["--output", "json", "--candidate", &bad], flags].concat());
        (code(&output), summary(&output), err(&output))
    };
    for flags in
        [&["--metric", "mrr"][..], &["--metric", "mrr:required=false"], &["--metric", "mrr", "--baseline", &good]]
    {
        let (exit, found, _) = judge(flags);
        assert_eq!((exit, &found["verdict"], &found["reason"]), (0, &json!("Pass"), &json!("NoBaseline")), "{flags:?}");
        assert!(found["message"].as_str().unwrap().contains("nothing was demanded"), "{flags:?}: {found}");
        let metric = &found["metrics"][0];
        assert_eq!((&metric["candidate"], &metric["required"]), (&json!(0.5), &json!(false)), "{flags:?}");
        assert!(
            metric["message"].as_str().unwrap().starts_with("mrr is 0.5000; nothing was demanded of it"),
            "{metric}"
        );
        let compared = flags.contains(&"--baseline");
        assert_eq!(metric["difference"], if compared { json!(-0.5) } else { Value::Null }, "{flags:?}");
    }
    // Beside one that demands something it decides nothing.
    let (exit, found, _) = judge(&["--metric", "mrr", "--metric", "success@1:floor=0.1"]);
    assert_eq!((exit, &found["reason"]), (1, &json!("FloorBreached")));
    let (exit, found, _) = judge(&["--metric", "mrr", "--metric", "success@5:floor=0.1"]);
    assert_eq!((exit, &found["reason"]), (0, &json!("AbsoluteOnly")));
    let page = place.path("page.html").display().to_string();
    let output = place.evaluate(&["--candidate", &bad, "--metric", "mrr", "--report", &page]);
    assert!(
        out(&output).contains("┆ reported only ┆") && out(&output).contains("nothing was demanded"),
        "{}",
        out(&output)
    );
    assert!(std::fs::read_to_string(page).unwrap().contains("--metric mrr\n"));
}

#[test]
fn a_gate_file_gives_metrics_and_statistics() {
    let place = Place::new(100);
    let run = place.run("c.run", 100, |_| 1);
    let gate = |baseline: &str| {
        place.write(
            "gate.yaml",
            &format!(
                "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {{name: g}}\nspec:\n  retrieval:\n    \
                 dataset: {{from: {{configMap: {{name: d}}}}}}\n    baseline: {baseline}\n    metrics: \
                 [{{name: ndcg@10, margin: 0.05, floor: 0.4}}]\n    statistics: {{method: PairedT}}\n"
            ),
        )
    };
    let file = gate("Stable");
    let output = place.evaluate(&["--output", "json", "--candidate", &run, "--baseline", &run, "--gate", &file]);
    let found = summary(&output);
    assert_eq!((code(&output), &found["reason"]), (0, &json!("NonInferior")));
    assert_eq!(found["metrics"][0]["p"], Value::Null);
    let file = gate("None");
    let output = place.evaluate(&["--candidate", &run, "--baseline", &run, "--gate", &file]);
    assert_eq!(code(&output), 64);
    assert!(err(&output).contains("the gate says `baseline: None`"));
}

#[test]
fn wrong_usage_ends_with_64_and_says_what_to_write() {
    let place = Place::new(1);
    let run = place.run("c.run", 1, |_| 1);
    let directory = place.dir.path().display().to_string();
    let metric = "map:floor=0.1";
    let cases: [(&[&str], &str); 12] = [
        (&["--metric", metric], "--candidate URL|DIR|RUN is needed"),
        (&["--candidate", &run], "--gate FILE or --metric is needed"),
        (&["--candidate", &run, "--metric", "ndcg@0:floor=0.1"], "is no metric"),
        (&["--candidate", "missing.run", "--metric", metric], "neither a URL"),
        (&["--candidate", &directory, "--metric", metric], "is not a complete index version"),
        (&["--candidate", &run, "--candidate-mode", "hybrid", "--metric", metric], "is no directory"),
        (&["--candidate", &run, "--metric", metric, "--metric", metric], "`map` stands twice"),
        (&["--candidate", &run, "--gate", "missing.yaml"], "missing.yaml: cannot be read"),
        (&["--check", "--candidate", &run], "cannot be used with"),
        (&["--candidate", &run, "--metric", "unj@10:margin=0.1"], "takes max only"),
        (&["--candidate", &run, "--metric", metric, "--missing", "none"], "write zero or drop"),
        (&["--candidate", &run, "--gate", "missing.yaml", "--compat", "trec_eval_9"], "cannot be used with"),
    ];
    for (flags, expected) in cases {
        let output = place.evaluate(flags);
        assert_eq!(code(&output), 64, "{flags:?}: {}", err(&output));
        assert!(err(&output).contains(expected), "{flags:?}: {}", err(&output));
        assert!(out(&output).is_empty());
    }
}

/// `rag evaluate … | head`: the exit code is the verdict, though nobody reads to the end. A full disk is another thing.
#[test]
fn a_reader_that_closes_early_changes_no_exit_code() {
    let place = Place::new(200);
    let (good, bad) = (place.run("good.run", 200, |_| 1), place.run("bad.run", 200, |i| i % 2));
    let run = |flags: &[&str], stdout: Stdio, stderr: Stdio| {
        let mut rag = Command::new(env!("CARGO_BIN_EXE_rag"));
        let files = [place.path("queries.jsonl"), place.path("qrels.tsv")];
        rag.arg("evaluate").arg("--queries").arg(&files[0]).arg("--qrels").arg(&files[1]).args(flags);
        let output = rag.env_remove("RAG_JOB").stdout(stdout).stderr(stderr).output().unwrap();
        (code(&output), err(&output))
    };
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let judged = |candidate: &'static str, form: &'static str| {
        let candidate = place.path(candidate).display().to_string();
        ["--candidate", &candidate, "--baseline", &good, "--metric", "mrr:margin=0.05", "--output", form]
            .map(str::to_owned)
    };
    for form in ["table", "json", "junit", "markdown"] {
        for (candidate, expected) in [("good.run", 0), ("bad.run", 1)] {
            let flags = judged(candidate, form);
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            assert_eq!(run(&flags, closed(), Stdio::piped()), (expected, String::new()), "{form} {candidate}");
            let (exit, said) = run(&flags, full(), Stdio::piped());
            assert!(exit == 4 && said.contains("standard output: cannot be written: "), "{form} {exit}: {said}");
        }
    }
    // What is said beside the result is not missed either: here that there is no baseline.
    let alone = ["--candidate", &bad, "--metric", "mrr:margin=0.05"];
    assert_eq!(run(&alone, closed(), closed()).0, 0);
    for form in ["table", "json"] {
        assert_eq!(run(&["--check", "--output", form], closed(), Stdio::piped()), (0, String::new()), "{form}");
        assert_eq!(run(&["--check", "--output", form], full(), Stdio::piped()).0, 43, "{form}");
    }
}

#[test]
fn a_check_reads_the_whole_set() {
    let place = Place::new(60);
    let output = place.evaluate(&["--check", "--output", "json", "--metric", "map:margin=0.02"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let found = summary(&output);
    assert_eq!((&found["queries"], &found["judgments"]), (&json!(60), &json!(60)));
    assert_eq!(found["digest"].as_str().unwrap().len(), 64);
    assert!(found["advice"].as_str().unwrap().contains("add 89 queries"));
    let table = place.evaluate(&["--check"]);
    assert!(out(&table).starts_with("60 queries with 60 judgments, digest "), "{}", out(&table));
}

#[test]
fn a_malformed_set_ends_a_check_with_42_and_a_run_with_4() {
    let header = "query-id\tcorpus-id\tscore\n";
    let cases = [
        ("q000\td\t1\n".to_owned(), "bad.tsv:1: found a judgment where the header must stand"),
        (format!("{header}q000\td\t1.5\n"), "bad.tsv:2: grade `1.5` is not a whole number"),
        (format!("{header}q000\td\n"), "bad.tsv:2: found 2 tab-separated columns"),
        (format!("{header}q000\td\t1\nq000\td\t1\n"), "bad.tsv:3: document `d` is judged twice for query `q000`"),
        (format!("{header}other\td\t1\n"), "bad.tsv:2: query `other` does not stand in"),
        (header.to_owned(), "bad.tsv: the file holds no judgment"),
    ];
    let place = Place::new(3);
    let run = place.run("c.run", 3, |_| 1);
    for (content, expected) in cases {
        place.write("bad.tsv", &content);
        let check = place.evaluate_on("bad.tsv", &["--check"]);
        assert_eq!(code(&check), 42);
        assert!(err(&check).contains(expected), "{}", err(&check));
        let output =
            place.evaluate_on("bad.tsv", &["--output", "json", "--candidate", &run, "--metric", "map:floor=0.1"]);
        assert_eq!(code(&output), 4);
        let found = summary(&output);
        assert_eq!((&found["verdict"], &found["reason"]), (&json!("Error"), &json!("DatasetInvalid")));
        assert!(found["message"].as_str().unwrap().contains(expected));
    }
    for (content, expected) in [
        (
            "{\"_id\":\"q000\",\"text\":\"a\"}\n{\"_id\":\"q000\",\"text\":\"b\"}\n",
            "queries.jsonl:2: query `q000` stands twice",
        ),
        ("{\"_id\":\"q000\",\"text\":\"a\"}\n{broken\n", "queries.jsonl:2: not a query"),
        ("", "queries.jsonl: the file holds no query"),
    ] {
        place.write("queries.jsonl", content);
        let check = place.evaluate(&["--check"]);
        assert_eq!(code(&check), 42);
        assert!(err(&check).contains(expected), "{}", err(&check));
    }
}

#[test]
fn a_malformed_run_file_is_refused_with_its_line() {
    let place = Place::new(1);
    let run = place.write("c.run", "q000 Q0 d 1 0.5 r\nq000 Q0 d 2 0.4 r\n");
    let output = place.evaluate(&["--output", "json", "--candidate", &run, "--metric", "map:floor=0.1"]);
    assert_eq!(code(&output), 4);
    assert!(summary(&output)["message"].as_str().unwrap().contains("c.run:2: document `d` stands twice"));
}

#[test]
fn values_of_each_query_are_written_unrounded() {
    let place = Place::new(3);
    let candidate = place.run("c.run", 3, |i| i + 1);
    let baseline = place.run("b.run", 3, |_| 1);
    let rows = place.path("rows.jsonl");
    let output = place.evaluate(&[
        "--candidate",
        &candidate,
        "--baseline",
        &baseline,
        "--metric",
        "ndcg@10:margin=0.5",
        "--metric",
        "mrr:margin=0.5",
        "--per-query",
        rows.to_str().unwrap(),
    ]);
    assert_eq!(code(&output), 4, "{}", err(&output));
    let lines: Vec<Value> =
        std::fs::read_to_string(rows).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[0], json!({"query": "q000", "arm": "candidate", "metrics": {"ndcg@10": 1.0, "mrr": 1.0}}));
    assert_eq!((&lines[3]["query"], &lines[3]["arm"]), (&json!("q001"), &json!("baseline")));
    assert_eq!(lines[2]["metrics"]["ndcg@10"].as_f64().unwrap(), 1.0 / 3_f64.log2());
    assert_eq!(lines[4]["metrics"]["mrr"].as_f64().unwrap(), 1.0 / 3.0);
}
