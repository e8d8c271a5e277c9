//! Arms that are index directories, searched in this process.

use super::*;

/// Two index directories of toy words, one with a keyword side, and a labelled set: which two words, in which
/// amounts, a document holds.
struct Words {
    place: Place,
}

const WORDS: [&str; 8] = ["north", "east", "south", "west", "up", "down", "left", "right"];

/// Where a word belongs.
fn domain(word: &str) -> &'static str {
    if ["north", "east", "south", "west"].contains(&word) { "compass" } else { "body" }
}

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
            &lines(&|a, b| {
                let metadata = json!({"domain": domain(a)});
                format!(
                    "{}\n",
                    json!({"_id": format!("{a}-{b}"), "title": "", "text": text(a, b), "metadata": metadata})
                )
            }),
        );
        words.place.write(
            "queries.jsonl",
            &lines(&|a, b| {
                let (id, text, metadata) = (format!("q-{a}-{b}"), format!("{b} {b} {a}"), json!({"domain": domain(a)}));
                format!("{}\n", json!({"_id": id, "text": text, "metadata": metadata}))
            }),
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
            .args([
                "index",
                "--format",
                "jsonl",
                "--map",
                "id=_id,metadata=domain",
                "--source",
                &self.path("corpus.jsonl"),
            ])
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
    /// Of the traffic port.
    traffic: String,
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
        let after = |line: &str, what: &str| Some(line.split_once(what)?.1.split(',').next()?.to_owned());
        let line = lines.map(Result::unwrap).find(|line| line.contains("evaluation at ")).unwrap();
        let (url, traffic) = (after(&line, "evaluation at ").unwrap(), after(&line, "search at ").unwrap());
        Self { child, url, traffic: traffic.trim_end_matches("/v1/search").to_owned() }
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
    let mut silhouettes = std::collections::BTreeSet::new();
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
        // No metric looks below rank 10, but whether a tie crosses it is known.
        let tied = &serde_json::from_str::<Value>(&read.0).unwrap()["facts"]["tieRate@10"]["candidate"];
        assert!(tied.is_number(), "{mode}: {tied}");
        assert_eq!(read.1.lines().filter(|line| line.starts_with("q-north-east ")).count(), 11, "{mode}");
        // The domains of documents come from the metadata of either, and of a run file from the file of documents.
        let share = |summary: &str| -> Value {
            serde_json::from_str::<Value>(summary).unwrap()["facts"]["contamination@10"]["candidate"].clone()
        };
        let flags = ["--candidate", &words.path("read.run"), "--corpus", &words.path("corpus.jsonl")];
        assert_eq!(share(&out(&words.evaluate(&flags))), share(&read.0), "{mode}");
        assert_eq!(share(&out(&words.evaluate(&flags[..2]))), Value::Null, "without labels there is no share");
        let found = share(&read.0);
        assert!(found["hits"].as_u64().unwrap() > 400 && found["share"].as_f64().unwrap() > 0.0, "{mode}: {found}");
        // A document tells its domain by its first word alone, so that the domains lie close.
        let apart = &serde_json::from_str::<Value>(&read.0).unwrap()["facts"]["silhouette"];
        assert_eq!((&apart["candidate"]["documents"], &apart["baseline"]), (&json!(56), &Value::Null), "{apart}");
        assert!((-1.0..1.0).contains(&apart["candidate"]["mean"].as_f64().unwrap()), "{apart}");
        assert!(apart["candidate"]["mean"] != json!(0.0), "{apart}");
        assert!(silhouettes.insert(apart.to_string()) == (mode == "vector"), "the vectors are those of every mode");
        assert!(runs.insert(read), "{mode} gives another run and other inputs than the other modes");
    }
}

#[test]
fn the_traffic_port_of_a_server_is_named_and_the_port_that_is_meant() {
    let words = Words::new();
    let serving = Serving::start(&words, "both", "keyword");
    // With and without domains of the queries: then documents are to be described, which a traffic port refuses first.
    for labelled in [true, false] {
        if !labelled {
            let queries = std::fs::read_to_string(words.path("queries.jsonl")).unwrap();
            words.place.write("queries.jsonl", &queries.replace("\"domain\"", "\"other\""));
        }
        let output = words.evaluate(&["--candidate", &serving.traffic]);
        let found = summary(&output);
        assert_eq!((code(&output), &found["reason"]), (4, &json!("EndpointUnavailable")), "{labelled}: {found}");
        let message = found["message"].as_str().unwrap();
        let expected = format!("{}/ is the traffic port of rag serve, which does not take", serving.traffic);
        assert!(message.starts_with(&expected) && message.contains("give its evaluation port"), "{message}");
        assert!(message.contains("8081"), "{message}");
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
    let apart = &found["facts"]["silhouette"];
    assert!(apart["candidate"].is_object() && apart["candidate"] == apart["baseline"], "one index: {apart}");
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
