//! `rag evaluate` and what it leaves behind: a page with plots, JUnit XML, Markdown; files, processes, real parsers.

// Helpers of tests may stop at the first surprise, as tests do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const MIB: usize = 1024 * 1024;

struct Place(tempfile::TempDir);

impl Place {
    /// `n` queries whose ids, texts and documents carry `name`; the baseline finds all, the candidate loses each
    /// `lost`-th.
    fn new(n: usize, name: &str, lost: usize) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let (mut queries, mut qrels) = (String::new(), "query-id\tcorpus-id\tscore\n".to_owned());
        let (mut good, mut bad) = (String::new(), String::new());
        for i in 0..n {
            let (query, document) = (format!("q{i:06}{name}"), format!("d{i:06}{name}"));
            let line = serde_json::json!({"_id": query, "text": format!("text {i} {name}")});
            writeln!(queries, "{line}").unwrap();
            writeln!(qrels, "{query}\t{document}\t2").unwrap();
            writeln!(good, "{query} Q0 {document} 1 2.0 r").unwrap();
            let found = if i % lost == 0 { format!("x{i}{name}") } else { document };
            writeln!(bad, "{query} Q0 {found} 1 2.0 r").unwrap();
        }
        place.write("queries.jsonl", &queries);
        place.write("qrels.tsv", &qrels);
        place.write("good.run", &good);
        place.write("bad.run", &bad);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// In the directory, so that what is named in a result does not depend on where it lies.
    fn evaluate(&self, flags: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rag"))
            .current_dir(self.0.path())
            .args(["evaluate", "--queries", "queries.jsonl", "--qrels", "qrels.tsv"])
            .args(flags)
            .env_remove("RAG_JOB")
            .output()
            .unwrap()
    }

    fn compare(&self, candidate: &str, more: &[&str]) -> Output {
        let arms = ["--candidate", candidate, "--baseline", "good.run", "--metric", "ndcg@10:margin=0.05"];
        self.evaluate(&[&arms[..], more].concat())
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{}", err(output)))
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn one_run_gives_every_form_and_the_exit_code_stays_the_verdict() {
    let place = Place::new(200, "", 4);
    let output = place.compare(
        "bad.run",
        &["--output", "table", "--output", "json=r.json", "--output", "junit=r.xml", "--output", "markdown=r.md"],
    );
    assert_eq!(code(&output), 1, "{}", err(&output));
    let json: Value = serde_json::from_str(&place.read("r.json")).unwrap();
    assert_eq!((&json["verdict"], &json["reason"]), (&Value::from("Fail"), &Value::from("RegressionProven")));
    let sentence = json["message"].as_str().unwrap().to_owned();
    assert!(out(&output).contains(&sentence));
    let xml = place.read("r.xml");
    let document = roxmltree::Document::parse(&xml).unwrap();
    let failures: Vec<_> = document.descendants().filter(|node| node.has_tag_name("failure")).collect();
    assert_eq!(failures.len(), 2, "the gate and its metric: {xml}");
    assert!(failures[0].text().unwrap().contains(&sentence), "{xml}");
    let markdown = place.read("r.md");
    assert!(
        markdown.starts_with("### ❌ Fail: RegressionProven") && markdown.contains("| ndcg@10 | 0.7500 |"),
        "{markdown}"
    );
    let passed = place.compare("good.run", &["--output", "junit"]);
    assert_eq!(code(&passed), 0);
    assert!(!out(&passed).contains("<failure") && !out(&passed).contains("<error"));
    let undecided = place.compare("good.run", &["--metric", "recall@5:margin=0.005", "--output", "junit"]);
    assert_eq!(code(&undecided), 4);
    assert!(out(&undecided).contains("<error type=\"TooFewQueries\""), "{}", out(&undecided));
}

/// A first release has no baseline; in a pull request it is a mistake that must not turn green in silence.
#[test]
fn margins_that_nothing_was_compared_for_are_named_in_every_form() {
    let place = Place::new(200, "", 4);
    let told = "not compared: no --baseline was given, so margins of ndcg@10, recall@5 were not judged";
    let forms = [
        "--output",
        "table",
        "--output",
        "json=r.json",
        "--output",
        "junit=r.xml",
        "--output",
        "markdown=r.md",
        "--report",
        "r.html",
    ];
    let judge = |metrics: &[&str]| {
        let output = place.evaluate(&[&["--candidate", "good.run"], metrics, &forms].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        let files = ["r.json", "r.xml", "r.md", "r.html"].map(|file| (file, place.read(file)));
        let files = files.into_iter().chain([("stderr", err(&output)), ("stdout", out(&output))]);
        files.collect::<std::collections::BTreeMap<_, _>>()
    };
    let margins = ["--metric", "ndcg@10:margin=0.05,floor=0.4", "--metric", "recall@5:relativeMargin=0.05", "--metric"];
    let found = judge(&[&margins[..], &["P@1:floor=0.4"]].concat());
    for (form, text) in &found {
        assert!(text.replace(['\\', '\u{2060}'], "").contains(told), "{form}: {text}");
    }
    let json: Value = serde_json::from_str(&found["r.json"]).unwrap();
    assert!(json["facts"]["warnings"][0].as_str().unwrap().starts_with(told), "{json}");
    let head = found["r.html"].split("</header>").next().unwrap();
    assert!(head.contains(told), "who reads no more than the head must see it: {head}");
    // Nothing to compare was asked for, or the gate says that there is none.
    let gate = "apiVersion: ragops.dev/v1alpha1\nkind: EvalGate\nmetadata: {name: g}\nspec:\n  retrieval:\n    dataset: \
                {from: {configMap: {name: d}}}\n    metrics: [{name: ndcg@10, margin: 0.05}]\n    baseline: ";
    place.write("none.yaml", &format!("{gate}None\n"));
    place.write("stable.yaml", &format!("{gate}Stable\n"));
    for (flags, silent) in
        [(["--metric", "ndcg@10:floor=0.4"], true), (["--gate", "none.yaml"], true), (["--gate", "stable.yaml"], false)]
    {
        for (form, text) in judge(&flags) {
            assert_eq!(!text.contains("not compared"), silent, "{flags:?} {form}: {text}");
        }
    }
}

/// Numbers of two runs can be compared only where answers were read alike.
#[test]
fn how_answers_were_read_stands_in_every_form() {
    let place = Place::new(200, "", 4);
    let forms =
        ["--output", "json=r.json", "--output", "junit=r.xml", "--output", "markdown=r.md", "--report", "r.html"];
    let judge = |flags: &[&str]| {
        let output = place.compare("good.run", &[flags, &forms, &["--output", "table"]].concat());
        assert_eq!(code(&output), 0, "{}", err(&output));
        let json: Value = serde_json::from_str(&place.read("r.json")).unwrap();
        let forms = ["r.xml", "r.md", "r.html"].map(|file| (file, place.read(file)));
        (json["counting"].clone(), forms.into_iter().chain([("stdout", out(&output))]).collect::<Vec<_>>())
    };
    let counting = |ids: bool, missing: &str, compat: &str| serde_json::json!({"ignoreIdenticalIds": ids, "missing": missing, "compat": compat});
    let (json, forms) = judge(&[]);
    assert_eq!(json, counting(false, "zero", "trec_eval_10"));
    for (form, text) in forms {
        assert!(!text.contains("Answers were read with"), "{form}: {text}");
    }
    let (json, forms) = judge(&["--ignore-identical-ids", "--missing", "drop", "--compat", "trec_eval_9"]);
    assert_eq!(json, counting(true, "drop", "trec_eval_9"));
    for (form, text) in forms {
        let text = text.replace('\\', "");
        let text = text.split("Answers were read with ").nth(1).unwrap_or_else(|| panic!("{form}: {text}"));
        for part in ["ignoreIdenticalIds (", "missing: drop (", "compat: trec_eval_9 ("] {
            assert!(text.contains(part), "{form}: {part}: {text}");
        }
    }
}

#[test]
fn a_page_is_the_same_for_the_same_inputs_and_shows_no_text_unless_told_to() {
    let place = Place::new(200, "", 4);
    let page = |file: &str, more: &[&str]| {
        let output = place.compare("bad.run", &[&["--report", file], more].concat());
        assert_eq!(code(&output), 1, "{}", err(&output));
        place.read(file)
    };
    let first = page("a.html", &[]);
    assert_eq!(first, page("b.html", &["--output", "junit=r.xml"]));
    assert!(first.contains("q000000") && !first.contains("text 0"));
    assert!(page("c.html", &["--expose-text"]).contains("text 0"));
    let command = "rag evaluate --queries queries.jsonl --qrels qrels.tsv --candidate bad.run --baseline good.run \
                   --metric ndcg@10:margin=0.05\n";
    assert!(first.contains(command), "{first}");
    // The command that it names gives its verdict again.
    let shell = command.replacen("rag", env!("CARGO_BIN_EXE_rag"), 1);
    let again = Command::new("sh").current_dir(place.0.path()).args(["-c", &shell]).output().unwrap();
    assert_eq!(code(&again), 1);
    assert!(out(&again).contains("Fail (RegressionProven)"));
}

#[test]
fn a_run_that_cannot_measure_leaves_a_page_and_a_red_test_too() {
    let place = Place::new(20, "", 4);
    place.write("qrels.tsv", "q000000\td\t1\n");
    let output = place.compare("bad.run", &["--report", "r.html", "--output", "junit=r.xml", "--output", "markdown"]);
    assert_eq!(code(&output), 4);
    assert!(place.read("r.html").contains("qrels.tsv:1: found a judgment"));
    assert!(out(&output).contains("Error: DatasetInvalid"));
    let xml = place.read("r.xml");
    let document = roxmltree::Document::parse(&xml).unwrap();
    assert_eq!(document.root_element().attribute("errors"), Some("1"), "{xml}");
}

#[test]
fn a_hundred_thousand_queries_with_hostile_names_stay_small() {
    // No spaces: a run file cannot hold an id with one.
    let name = format!("</script><svg/onload=alert(1)>\"'&|`@all{}", "<&语🌍".repeat(100));
    let place = Place::new(100_000, &name, 3);
    let output = place.compare("bad.run", &["--report", "r.html", "--expose-text", "--output", "markdown"]);
    assert_eq!(code(&output), 1, "{}", err(&output));
    let page = place.read("r.html");
    assert!(page.len() <= 2 * MIB, "{} bytes", page.len());
    assert!(page.contains("33\u{202f}334 queries got worse") && !page.contains("<svg/onload"), "{}", page.len());
    assert!(out(&output).len() < 64 * 1024, "a comment holds 65,536 characters");
}

#[test]
fn flags_that_cannot_be_meant_are_refused() {
    let place = Place::new(20, "", 4);
    for (flags, expected) in [
        (&["--output", "json", "--output", "table"][..], "only one --output can be printed"),
        (&["--output", "html"], "`html` is unknown; write table, json, markdown or junit"),
        (&["--output", "junit="], "names no file"),
        (&["--expose-text"], "--report"),
    ] {
        let output = place.compare("good.run", flags);
        assert_eq!(code(&output), 64, "{flags:?} {}", err(&output));
        assert!(err(&output).contains(expected), "{flags:?}: {}", err(&output));
    }
    let check = place.evaluate(&["--check", "--output", "junit"]);
    assert_eq!(code(&check), 64);
    let lost = place.compare("good.run", &["--report", "nowhere/r.html"]);
    assert_eq!(code(&lost), 4);
    assert!(err(&lost).contains("nowhere/r.html: cannot be written"), "{}", err(&lost));
}

/// The example of docs/pull-requests.md runs as it is written.
#[test]
fn the_commands_of_the_pull_request_page_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/pull-requests.md")).unwrap();
    let blocks: Vec<&str> = text.split("```").skip(1).step_by(2).collect();
    let command = blocks.iter().find(|block| block.trim_start().starts_with("rag evaluate --gate")).unwrap();
    let place = Place::new(200, "", 4);
    std::fs::create_dir_all(place.path("eval")).unwrap();
    for (from, to) in [
        ("queries.jsonl", "eval/queries.jsonl"),
        ("qrels.tsv", "eval/qrels.tsv"),
        ("bad.run", "candidate.run"),
        ("good.run", "baseline.run"),
    ] {
        std::fs::copy(place.path(from), place.path(to)).unwrap();
    }
    std::fs::copy(root.join("examples/eval-gate.yaml"), place.path("eval/gate.yaml")).unwrap();
    let shell = command.trim_start().replacen("rag", env!("CARGO_BIN_EXE_rag"), 1);
    let output = Command::new("sh").current_dir(place.0.path()).args(["-c", &shell]).output().unwrap();
    assert_eq!(code(&output), 1, "{} {shell}", err(&output));
    for file in ["gate.html", "gate.xml", "comment.md"] {
        assert!(!place.read(file).is_empty());
    }
    for block in blocks.iter().filter(|block| block.starts_with("yaml")) {
        let yaml = block.trim_start_matches("yaml");
        serde_yaml::from_str::<Value>(yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    }
}
