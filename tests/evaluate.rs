//! `rag evaluate` as a process: real files, a real HTTP arm, exit codes.

// Helpers of tests may stop at the first surprise, as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
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

/// A small `rag serve`: for "question NNN" it gives the chunks that `answer` names.
#[derive(Clone)]
struct Arm {
    revision: &'static str,
    documents: u64,
    chunks: u64,
    answer: Arc<dyn Fn(&str) -> Answer + Send + Sync>,
    asked: Arc<Mutex<BTreeMap<String, Vec<Value>>>>,
    refused: Arc<AtomicUsize>,
}

enum Answer {
    Hits(Vec<(String, f64)>),
    From(&'static str),
    Status(u16),
}

impl Arm {
    fn new(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            revision: "0123456789",
            documents: 10,
            chunks: 10,
            answer: Arc::new(answer),
            asked: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// Serves in a thread of its own until the process ends; gives the address.
    fn serve(&self) -> String {
        let arm = self.clone();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                send.send(listener.local_addr().unwrap()).unwrap();
                let router = Router::new()
                    .route("/handbook/v1/revision", get(revision))
                    .route("/handbook/v1/search", post(search))
                    .with_state(arm);
                axum::serve(listener, router).await.unwrap();
            });
        });
        format!("http://{}/handbook", receive.recv().unwrap())
    }
}

async fn revision(State(arm): State<Arm>) -> Response {
    // The first call meets a Service that is not ready yet.
    if arm.refused.fetch_add(1, Ordering::SeqCst) == 0 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    Json(json!({
        "revision": arm.revision, "version": "handbook/v1", "contentDigest": "c0ffee", "fingerprint": "f1",
        "retrieval": {}, "documents": arm.documents, "chunks": arm.chunks,
    }))
    .into_response()
}

async fn search(State(arm): State<Arm>, Json(body): Json<Value>) -> Response {
    let query = body["query"].as_str().unwrap().to_owned();
    let k = usize::try_from(body["k"].as_u64().unwrap()).unwrap();
    let earlier = {
        let mut asked = arm.asked.lock().unwrap();
        let all = asked.entry(query.clone()).or_default();
        all.push(body);
        all.len()
    };
    let answer = |revision: &str, hits: Vec<(String, f64)>| {
        let results: Vec<Value> = hits
            .into_iter()
            .enumerate()
            .take(k)
            .map(|(i, (document, score))| json!({"id": format!("{document}#{i}"), "document": document, "score": score, "text": "t", "title": "", "metadata": {}}))
            .collect();
        Json(json!({"revision": revision, "results": results, "took_ms": 1})).into_response()
    };
    match (arm.answer)(&query) {
        Answer::Hits(hits) => answer(arm.revision, hits),
        Answer::From(revision) => answer(revision, Vec::new()),
        Answer::Status(503) if earlier > 2 => answer(arm.revision, Vec::new()),
        Answer::Status(status) => {
            let problem = Json(json!({"title": "No", "status": status, "detail": "the encoder is away"}));
            (StatusCode::from_u16(status).unwrap(), problem).into_response()
        }
    }
}

fn relevant_at(rank: usize) -> impl Fn(&str) -> Answer {
    move |query| {
        let number = query.rsplit(' ').next().unwrap().to_owned();
        let hit = |i: usize| (if i == rank { format!("d{number}") } else { format!("x{i}") }, 1.0 / i as f64);
        Answer::Hits((1..=10).map(hit).collect())
    }
}

#[test]
fn an_arm_behind_http_is_asked_as_the_evaluation_port_wants() {
    let place = Place::new(150);
    let arm = Arm { chunks: 25, ..Arm::new(relevant_at(2)) };
    let url = arm.serve();
    let saved = place.path("saved.run");
    let output = place.evaluate(&[
        "--output",
        "json",
        "--candidate",
        &url,
        "--metric",
        "ndcg@5:floor=0.6",
        "--metric",
        "recall@3:floor=0.9",
        "--write-run",
        saved.to_str().unwrap(),
    ]);
    assert_eq!(code(&output), 0, "{} {}", out(&output), err(&output));
    let found = summary(&output);
    assert_eq!(found["metrics"][0]["candidate"], json!(0.630_93));
    assert_eq!(found["queries"]["answeredByCandidate"], json!(150));
    let asked = arm.asked.lock().unwrap();
    assert_eq!(asked.len(), 150);
    // 5 documents of at most 3 chunks each.
    assert_eq!(asked["question 007"], [json!({"query": "question 007", "k": 15, "noCache": true})]);
    // The saved run gives the same figures.
    let again = place.evaluate(&[
        "--output",
        "json",
        "--candidate",
        saved.to_str().unwrap(),
        "--metric",
        "ndcg@5:floor=0.6",
        "--metric",
        "recall@3:floor=0.9",
    ]);
    assert_eq!(summary(&again)["metrics"], found["metrics"]);
    assert_eq!(std::fs::read_to_string(&saved).unwrap().lines().next().unwrap(), "q000 Q0 x1 1 1 rag");
}

#[test]
fn two_arms_behind_http_are_compared() {
    let place = Place::new(150);
    let (first, third) = (Arm::new(relevant_at(1)).serve(), Arm::new(relevant_at(3)).serve());
    let judge = |candidate: &str, baseline: &str| {
        let output = place.evaluate(&[
            "--output",
            "json",
            "--candidate",
            candidate,
            "--baseline",
            baseline,
            "--metric",
            "mrr@10:margin=0.02",
        ]);
        (code(&output), summary(&output)["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(judge(&first, &third), (0, "Superior".to_owned()));
    assert_eq!(judge(&third, &first), (1, "RegressionProven".to_owned()));
    assert_eq!(judge(&first, &first), (0, "NonInferior".to_owned()));
}

#[test]
fn chunks_fold_into_documents_and_more_are_asked_when_they_cluster() {
    let place = Place::new(1);
    // 12 chunks of one document come first.
    let arm = Arm {
        documents: 10,
        chunks: 20,
        ..Arm::new(|_| {
            let clustered = (0..12).map(|i| ("x".to_owned(), 1.0 - f64::from(i) / 100.0));
            Answer::Hits(clustered.chain([("d000".to_owned(), 0.5), ("y".to_owned(), 0.4)]).collect())
        })
    };
    let url = arm.serve();
    let output = place.evaluate(&["--output", "json", "--candidate", &url, "--metric", "mrr@3:floor=0.5"]);
    assert_eq!(summary(&output)["metrics"][0]["candidate"], json!(0.5), "{}", out(&output));
    let ks: Vec<u64> = arm.asked.lock().unwrap()["question 000"].iter().map(|b| b["k"].as_u64().unwrap()).collect();
    assert_eq!(ks, [6, 12, 24]);
}

#[test]
fn an_answer_503_is_tried_again_and_an_error_that_stays_is_no_answer() {
    let place = Place::new(100);
    let one_fails = |status: u16, failing: usize| {
        let arm = Arm::new(move |query: &str| {
            let number: usize = query.rsplit(' ').next().unwrap().parse().unwrap();
            if number < failing { Answer::Status(status) } else { relevant_at(1)(query) }
        });
        let url = arm.serve();
        let output = place.evaluate(&["--output", "json", "--candidate", &url, "--metric", "mrr@3:floor=0.5"]);
        (code(&output), summary(&output))
    };
    let (exit, found) = one_fails(503, 3);
    assert_eq!((exit, &found["queries"]["answeredByCandidate"]), (0, &json!(100)), "{found}");
    let (exit, found) = one_fails(500, 1);
    assert_eq!((exit, &found["queries"]["answeredByCandidate"]), (0, &json!(99)), "{found}");
    assert_eq!(found["metrics"][0]["candidate"], json!(0.99), "an unanswered query counts 0");
    let (exit, found) = one_fails(500, 2);
    assert_eq!((exit, &found["reason"]), (4, &json!("LowCoverage")));
    let message = found["message"].as_str().unwrap();
    assert!(message.contains("2 of 100 queries got no answer from the candidate"), "{message}");
    assert!(message.contains("Query `q000`: answered 500: the encoder is away"), "{message}");
}

#[test]
fn an_answer_from_another_revision_ends_the_run() {
    let place = Place::new(5);
    let url = Arm::new(|_| Answer::From("9876543210")).serve();
    let output = place.evaluate(&["--output", "json", "--candidate", &url, "--metric", "mrr@3:floor=0.5"]);
    assert_eq!((code(&output), &summary(&output)["reason"]), (4, &json!("InputsChanged")));
    assert!(out(&output).contains("answered from revision 9876543210, but 0123456789 was to be measured"));
}

#[test]
fn an_arm_that_is_no_retrieval_server_is_an_error_with_its_address() {
    let place = Place::new(5);
    let url = Arm::new(|_| Answer::Hits(Vec::new())).serve().replace("/handbook", "/elsewhere");
    let output = place.evaluate(&["--output", "json", "--candidate", &url, "--metric", "mrr@3:floor=0.5"]);
    assert_eq!((code(&output), &summary(&output)["reason"]), (4, &json!("EndpointUnavailable")));
    let message = summary(&output)["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&url) && message.contains("answered 404"), "{message}");
}

/// Two index directories of toy words, one with a keyword side, and a labelled set: which two words, in which
/// amounts, a document holds.
struct Words {
    place: Place,
}

const WORDS: [&str; 8] = ["north", "east", "south", "west", "up", "down", "left", "right"];

/// A model directory: each word has its own direction, `off` of all others mixed in.
fn toy_model(directory: &Path, off: f32) {
    use safetensors::tensor::{Dtype, TensorView};
    std::fs::create_dir_all(directory).unwrap();
    let vocab: serde_json::Map<String, Value> =
        std::iter::once("[UNK]").chain(WORDS).enumerate().map(|(n, word)| (word.to_owned(), n.into())).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    });
    std::fs::write(directory.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let config = r#"{"format":"static","name":"toy","dimensions":9,"pooling":"mean","normalize":false}"#;
    std::fs::write(directory.join("config.json"), config).unwrap();
    let values: Vec<u8> = (0..81).flat_map(|n| (if n % 10 == 0 { 1.0 } else { off }).to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![9, 9], &values).unwrap();
    let bytes = safetensors::serialize([("vectors", view)], None).unwrap();
    std::fs::write(directory.join("model.safetensors"), bytes).unwrap();
}

impl Words {
    fn new() -> Self {
        let words = Self { place: Place::new(0) };
        let pairs = || WORDS.iter().flat_map(|a| WORDS.iter().map(move |b| (a, b))).filter(|(a, b)| a != b);
        let lines = |line: &dyn Fn(&str, &str) -> String| pairs().map(|(a, b)| line(a, b)).collect::<String>();
        let text = |a: &str, b: &str| format!("{a} {a} {b} {b} {b}");
        words.place.write(
            "corpus.jsonl",
            &lines(&|a, b| format!("{}\n", json!({"_id": format!("{a}-{b}"), "title": "", "text": text(a, b)}))),
        );
        words.place.write(
            "queries.jsonl",
            &lines(&|a, b| format!("{}\n", json!({"_id": format!("q-{a}-{b}"), "text": format!("{b} {b} {a}")}))),
        );
        let qrels = lines(&|a, b| format!("q-{a}-{b}\t{a}-{b}\t1\n"));
        words.place.write("qrels.tsv", &format!("query-id\tcorpus-id\tscore\n{qrels}"));
        toy_model(&words.place.path("model"), 0.1);
        toy_model(&words.place.path("other"), 0.2);
        words.index("plain", &[]);
        words.index("both", &["--keyword"]);
        words
    }

    fn path(&self, name: &str) -> String {
        self.place.path(name).display().to_string()
    }

    fn index(&self, out: &str, flags: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_rag"))
            .args(["index", "--format", "jsonl", "--map", "id=_id", "--source", &self.path("corpus.jsonl")])
            .args(["--model", &self.path("model"), "--out", &self.path(out)])
            .args(flags)
            .env_remove("RAG_JOB")
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{}", err(&output));
    }

    fn evaluate(&self, flags: &[&str]) -> Output {
        self.place.evaluate(&[flags, &["--metric", "mrr@10:margin=0.05,floor=0.1", "--output", "json"]].concat())
    }
}

/// `rag serve` over a directory, until it is dropped.
struct Serving {
    child: std::process::Child,
    /// Of the evaluation port.
    url: String,
}

impl Serving {
    fn start(words: &Words, index: &str, mode: &str) -> Self {
        use std::io::BufRead as _;
        let any = "127.0.0.1:0";
        let mut child = Command::new(env!("CARGO_BIN_EXE_rag"))
            .args(["serve", "--index", &words.path(index), "--model", &words.path("model"), "--mode", mode])
            .args(["--listen", any, "--evaluation", any, "--health", any])
            .env_remove("RAG_JOB")
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines.map(Result::unwrap).find_map(|line| {
            line.split_once("evaluation at ").and_then(|(_, rest)| Some(rest.split(',').next()?.to_owned()))
        });
        Self { child, url: url.unwrap() }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_directory_gives_what_a_server_over_it_gives() {
    let words = Words::new();
    let (index, model) = (words.path("both"), words.path("model"));
    let mut runs = std::collections::BTreeSet::new();
    for mode in ["vector", "keyword", "hybrid"] {
        let serving = Serving::start(&words, "both", mode);
        let run = |name: &str, arm: &[&str]| {
            let file = words.path(name);
            let output = words.evaluate(&[arm, &["--write-run", &file]].concat());
            assert_eq!(code(&output), 0, "{mode}: {} {}", out(&output), err(&output));
            (out(&output), std::fs::read_to_string(file).unwrap())
        };
        let served = run("served.run", &["--candidate", &serving.url]);
        let read = run("read.run", &["--candidate", &index, "--candidate-mode", mode, "--model", &model]);
        assert_eq!(served, read, "{mode}");
        assert!(runs.insert(read), "{mode} gives another run and other inputs than the other modes");
    }
}

#[test]
fn two_directories_are_compared_each_in_its_mode() {
    let words = Words::new();
    let (index, model, other) = (words.path("both"), words.path("model"), words.path("other"));
    let judge = |modes: [&str; 2]| {
        let output = words.evaluate(&[
            "--candidate",
            &index,
            "--candidate-mode",
            modes[0],
            "--baseline",
            &index,
            "--baseline-mode",
            modes[1],
            "--model",
            &other,
            "--model",
            &model,
        ]);
        let found = summary(&output);
        let metric = found["metrics"][0].clone();
        (metric["candidate"].as_f64().unwrap(), metric["baseline"].as_f64().unwrap(), found)
    };
    let (hybrid, vector, _) = judge(["hybrid", "vector"]);
    let (again, keyword, found) = judge(["vector", "keyword"]);
    assert_eq!(vector, again);
    assert_ne!(vector, keyword);
    assert!(hybrid > 0.1);
    assert_eq!(found["queries"]["answeredByBaseline"], json!(56));
}

#[test]
fn a_directory_takes_the_model_that_built_it_or_is_refused() {
    let words = Words::new();
    let (plain, both, model, other) =
        (words.path("plain"), words.path("both"), words.path("model"), words.path("other"));
    let fingerprint = |index: &str| {
        let text = std::fs::read_to_string(Path::new(index).join("manifest.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["fingerprint"].as_str().unwrap().to_owned()
    };
    let built_by = fingerprint(&plain);
    // The default is vector; the right model is found wherever it stands.
    let output = words.evaluate(&["--candidate", &plain, "--model", &other, "--model", &model]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    // Words need no encoder.
    let output = words.evaluate(&["--candidate", &both, "--candidate-mode", "keyword"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let refused = |flags: &[&str], named: &[&str]| {
        let output = words.evaluate(flags);
        assert_eq!(code(&output), 64, "{flags:?}: {}", err(&output));
        assert!(out(&output).is_empty());
        assert!(named.iter().all(|part| err(&output).contains(part)), "{named:?}: {}", err(&output));
    };
    refused(&["--candidate", &plain], &["FingerprintMismatch", &built_by, "no --model is given"]);
    let elsewhere = words.path("elsewhere");
    let indexed = Command::new(env!("CARGO_BIN_EXE_rag"))
        .args(["index", "--format", "jsonl", "--map", "id=_id", "--source", &words.path("corpus.jsonl")])
        .args(["--model", &other, "--out", &elsewhere])
        .env_remove("RAG_JOB")
        .output()
        .unwrap();
    assert_eq!(code(&indexed), 0);
    let others = fingerprint(&elsewhere);
    assert_ne!(built_by, others);
    refused(&["--candidate", &plain, "--model", &other], &["FingerprintMismatch", &built_by, &others, &plain, &other]);
    refused(
        &["--candidate", &plain, "--candidate-mode", "hybrid", "--model", &model],
        &[&plain, "without the keyword side", "--keyword"],
    );
    refused(&["--candidate", &plain, "--model", &plain], &["model directory", "config.json"]);
    refused(&["--candidate", &plain, "--candidate-mode", "fast"], &["vector, keyword or hybrid"]);
}

#[test]
fn a_damaged_directory_is_an_error_that_names_it() {
    let words = Words::new();
    let (plain, model) = (words.path("plain"), words.path("model"));
    let vectors = Path::new(&plain).join("vectors.f32");
    let bytes = std::fs::read(&vectors).unwrap();
    std::fs::write(&vectors, &bytes[..bytes.len() - 4]).unwrap();
    let output = words.evaluate(&["--candidate", &plain, "--model", &model]);
    assert_eq!((code(&output), &summary(&output)["reason"]), (4, &json!("SourceUnavailable")));
    assert!(summary(&output)["message"].as_str().unwrap().contains("vectors.f32"), "{}", out(&output));
}

// Inputs: layouts, packed files, what does not fit together.

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
fn an_arm_that_must_be_asked_needs_texts() {
    let place = Place::new(60);
    let url = Arm::new(|_| Answer::Hits(vec![])).serve();
    let output = place.judge_runs("qrels.tsv", &["--output", "json", "--candidate", &url, "--metric", "mrr:floor=0.5"]);
    assert_eq!(code(&output), 4);
    assert!(summary(&output)["message"].as_str().unwrap().contains("write --queries FILE"), "{}", out(&output));
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
fn of_arms_that_are_asked_one_must_find_a_judged_document() {
    let place = Place::new(60);
    // `relevant_at(11)` gives ten documents, none of them judged.
    let (good, foreign) = (Arm::new(relevant_at(1)).serve(), Arm::new(relevant_at(11)).serve());
    let judge = |candidate: &str, baseline: &str| {
        let metric = ["--metric", "mrr:margin=0.06,floor=0"];
        let arms = ["--output", "json", "--candidate", candidate, "--baseline", baseline];
        let output = place.evaluate(&[&arms[..], &metric[..]].concat());
        (code(&output), summary(&output)["reason"].as_str().unwrap().to_owned(), out(&output))
    };
    let (exit, reason, text) = judge(&foreign, &foreign);
    assert_eq!((exit, reason.as_str()), (4, "DatasetInvalid"));
    assert!(text.contains("None of the documents that were found is judged"), "{text}");
    // An index that finds nothing is measured: a broken candidate is worse.
    let (exit, reason, _) = judge(&foreign, &good);
    assert_eq!((exit, reason.as_str()), (1, "RegressionProven"));
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
fn missing_queries_count_0_or_are_left_out_of_both_arms() {
    let place = Place::new(400);
    let good = place.run("good.run", 400, |_| 1);
    let lines = std::fs::read_to_string(&good).unwrap();
    let without = |n: usize| lines.lines().skip(5 * n).map(|line| format!("{line}\n")).collect::<String>();
    let few = place.write("few.run", &without(4));
    let many = place.write("many.run", &without(5));
    let judge = |candidate: &str, missing: &str| {
        let flags = ["--output", "json", "--metric", "mrr:margin=0.05", "--baseline", &good, "--candidate", candidate];
        let output = place.judge_runs("qrels.tsv", &[&flags[..], &["--missing", missing]].concat());
        (code(&output), summary(&output))
    };
    let (exit, found) = judge(&few, "zero");
    // Four lost queries of 400: too few changes to trust the bounds.
    assert_eq!((exit, &found["reason"]), (4, &json!("Underpowered")));
    assert_eq!((&found["metrics"][0]["candidate"], &found["metrics"][0]["n"]), (&json!(0.99), &json!(400)));
    assert_eq!((&found["queries"]["missingInCandidate"], &found["facts"]["leftOut"]), (&json!(4), &json!(0)));
    let (exit, found) = judge(&few, "drop");
    assert_eq!((exit, &found["metrics"][0]["candidate"], &found["metrics"][0]["n"]), (0, &json!(1.0), &json!(396)));
    assert_eq!((&found["metrics"][0]["baseline"], &found["facts"]["leftOut"]), (&json!(1.0), &json!(4)));
    assert_eq!((&found["queries"]["judged"], &found["queries"]["unjudged"]), (&json!(400), &json!(0)));
    // A candidate that answers only where it is good must not pass.
    let (exit, found) = judge(&many, "drop");
    assert_eq!((exit, &found["reason"]), (4, &json!("LowCoverage")));
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
