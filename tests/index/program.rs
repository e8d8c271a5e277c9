//! The program itself, outside a cluster.

use super::*;

/// A model directory made here: words in eight dimensions.
fn model(dir: &Path) -> PathBuf {
    use safetensors::tensor::{Dtype, TensorView};
    let words = ["[UNK]", "north", "east", "south", "west", "up", "down", "left"];
    let vocab: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(n, w)| ((*w).to_owned(), n.into())).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    });
    let path = dir.join("model");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let config = r#"{"format":"static","name":"toy","dimensions":8,"pooling":"mean","normalize":false}"#;
    fs::write(path.join("config.json"), config).unwrap();
    let values: Vec<u8> = (0..64).flat_map(|n| (if n % 9 == 0 { 1.0_f32 } else { 0.1 }).to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![8, 8], &values).unwrap();
    fs::write(path.join("model.safetensors"), safetensors::serialize([("vectors", view)], None).unwrap()).unwrap();
    path
}

fn rag(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rag"))
        .current_dir(dir)
        .arg("index")
        .args(args)
        .env_remove("RAG_JOB")
        .output()
        .unwrap()
}

fn ended(output: &Output, code: i32, part: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "stdout: {out}\nstderr: {err}");
    assert!(out.contains(part) || err.contains(part), "{part:?} is in neither\nstdout: {out}\nstderr: {err}");
}

#[test]
fn the_program_builds_from_flags() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    model(root);
    let lines = [
        json!({"_id": "1", "title": "A", "body": "north east", "metadata": {"domain": "x", "task": "t"}}),
        json!({"_id": "2", "title": "B", "body": "south west"}),
        json!({"_id": "3", "title": "C", "body": ""}),
    ];
    fs::write(root.join("c.jsonl"), lines.map(|l| l.to_string()).join("\n")).unwrap();
    let map = "id=_id,text=body,metadata=domain:task";
    let base = ["--source", "c.jsonl", "--map", map, "--model", "model", "--keyword"];
    let with = |more: &[&str]| rag(root, &[&base[..], more].concat());
    ended(&with(&["--out", "one"]), 0, "documents      2 indexed of 3 (0 set aside, 1 without text)");
    let index = EmbeddedIndex::open(&root.join("one")).unwrap();
    let hits = index.search_keyword("north", 5, None).unwrap();
    assert_eq!(hits[0].id, "1#0");
    assert_eq!(Value::Object(index.chunk(hits[0].ordinal).unwrap().metadata), json!({"domain": "x", "task": "t"}));
    ended(&with(&["--out", "two", "--previous", "one"]), 0, "2 (2 reused");
    ended(&with(&["--out", "one"]), 42, "already holds version local");
    ended(&with(&["--out", "three", "--previous", "nothing"]), 42, "no manifest.json");
    fs::write(root.join("c.jsonl"), lines_of(1)).unwrap();
    ended(&with(&["--out", "three", "--previous", "one"]), 42, "shrank from 2 to 1 documents");
    assert!(!root.join("three").exists());
}

fn lines_of(count: usize) -> String {
    (0..count).map(|n| json!({"_id": n.to_string(), "body": "up"}).to_string() + "\n").collect()
}

#[test]
fn a_killed_program_leaves_what_the_next_one_removes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    model(root);
    let texts: String =
        (0..20_000).map(|n| json!({"id": n.to_string(), "text": "north up east"}).to_string() + "\n").collect();
    fs::write(root.join("many.jsonl"), texts).unwrap();
    fs::write(root.join("few.jsonl"), lines_of(3)).unwrap();
    let args = ["index", "--source", "many.jsonl", "--model", "model", "--out", "out", "--keyword"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_rag")).current_dir(root).args(args).spawn().unwrap();
    while !root.join("out.building").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the build ended before it could be killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(root.join("out.building").exists() && !root.join("out").exists());
    let map = ["--map", "id=_id,text=body"];
    ended(
        &rag(root, &[&["--source", "few.jsonl", "--model", "model", "--out", "out"], &map[..]].concat()),
        0,
        "3 indexed of 3",
    );
    assert!(!root.join("out.building").exists());
}

#[test]
fn the_program_builds_from_the_yaml_of_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    model(root);
    fs::create_dir_all(root.join("specs/pages")).unwrap();
    fs::create_dir_all(root.join("faq")).unwrap();
    fs::write(root.join("specs/pages/a.md"), "# North\n\nnorth up").unwrap();
    fs::write(root.join("faq/b.txt"), "down left").unwrap();
    let yaml = "apiVersion: ragops.dev/v1alpha1\nkind: VectorIndex\nmetadata: {name: handbook}\nspec:\n  \
        embeddingModelRef: {name: m}\n  sources:\n    - {name: pages, domain: web, from: {volume: {claimName: c, path: pages}}}\n    \
        - {name: faq, from: {configMap: {name: faq}}}\n  chunking: {strategy: None}\n  \
        store: {embedded: {claimName: i}}\n  keyword: {enabled: true}\n";
    fs::write(root.join("specs/index.yaml"), yaml).unwrap();
    let base = ["--spec", "specs/index.yaml", "--model", "model", "--out", "out"];
    ended(&rag(root, &base), 64, "source faq is a ConfigMap, which is not here; write --source faq=PATH");
    let with = |more: &[&str]| rag(root, &[&base[..], more].concat());
    ended(&with(&["--source", "fqa=faq"]), 64, "faq=PATH");
    ended(&with(&["--source", "faq=faq", "--source", "x=y"]), 64, "names no source that is left");
    ended(&with(&["--source", "faq=faq"]), 0, "2 indexed of 2");
    let index = EmbeddedIndex::open(&root.join("out")).unwrap();
    let chunk = index.chunk(0).unwrap();
    assert_eq!(
        (chunk.id.as_str(), chunk.title.as_str(), &chunk.metadata["domain"]),
        ("a.md#0", "North", &json!("web"))
    );
}

#[test]
fn the_program_says_what_is_wrong_and_ends_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    model(root);
    fs::write(root.join("bad.jsonl"), "{\"id\": 1}\n").unwrap();
    fs::write(root.join("bad.yaml"), "kind: VectorIndex\nspec: {}\n").unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], 64, "--out DIR is missing"),
        (&["--out", "o"], 64, "--model DIR is missing"),
        (&["--out", "o", "--model", "model"], 64, "nothing to index"),
        (&["verify", "--out", "o"], 64, "tasks of a Job"),
        (&["--format", "pdf"], 64, "write auto, jsonl, markdown, text or html"),
        (&["--map", "x=y"], 64, "\"x\" is unknown"),
        (&["--spec", "bad.yaml", "--keyword"], 64, "cannot be used with"),
        (&["--spec", "bad.yaml", "--model", "model", "--out", "o"], 42, "bad.yaml is no VectorIndex"),
        (&["--spec", "gone.yaml", "--model", "model", "--out", "o"], 43, "gone.yaml"),
        (&["--source", "bad.jsonl", "--model", "gone", "--out", "o"], 42, "model directory gone"),
        (&["--source", "gone", "--model", "model", "--out", "o"], 43, "source source: gone"),
        (&["--source", "bad.jsonl", "--model", "model", "--out", "o"], 42, "source/bad.jsonl:1: no field `text`"),
        (
            &["--source", "bad.jsonl", "--source", "source=x", "--model", "model", "--out", "o"],
            64,
            "two sources are named source",
        ),
        (&["--source", "bad.jsonl", "--max-tokens", "5", "--model", "model", "--out", "o"], 42, "maxTokens is 5"),
    ];
    for (args, code, part) in cases {
        ended(&rag(root, args), *code, part);
    }
    assert!(!root.join("o").exists() && !root.join("o.building").exists());
}
