//! Sources on real files.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::*;

fn source(root: &Path) -> Source {
    Source {
        name: "docs".into(),
        domain: None,
        root: root.to_owned(),
        boundary: root.to_owned(),
        format: Format::Auto,
        mapping: Mapping::default(),
        globs: Globs::default(),
    }
}

fn read(source: &Source) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    source
        .read(&mut |outcome| {
            outcomes.push(outcome);
            ControlFlow::Continue(())
        })
        .unwrap();
    outcomes
}

/// One line an outcome.
fn shown(outcomes: &[Outcome]) -> Vec<String> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Document(d) => format!("{} {}", d.place, d.id),
            Outcome::Quarantined { place, why } => format!("{place} ! {why}"),
            Outcome::Skipped { place } => format!("{place} skipped"),
        })
        .collect()
}

fn jsonl(lines: &[u8]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.jsonl");
    fs::write(&file, lines).unwrap();
    shown(&read(&source(&file)))
}

#[test]
fn each_bad_line_is_named_with_its_line_and_why() {
    let text = b"\xef\xbb\xbf{\"id\":\"a\",\"text\":\"x\"}\r\n\n{\"id\":\"b\"}\nnot json\n[1]\n{\"text\":\"x\"}\n\
        {\"id\":7,\"text\":\"x\"}\n{\"id\":\"c\",\"text\":\" \"}\n{\"id\":\"\xff\",\"text\":\"x\"}\n{\"id\":\"\",\"text\":\"x\"}\n\
        {\"id\":true,\"text\":\"x\"}\n{\"id\":\"d\",\"text\":[\"x\"]}\n{\"id\":\"e\",\"title\":{},\"text\":\"x\"}\n{\"id\":\"f\",\"text\":\"x\"";
    let found = jsonl(text);
    let expected = [
        "docs/c.jsonl:1 a",
        "docs/c.jsonl:3 ! no field `text` for the text; the object has id",
        "docs/c.jsonl:4 ! not JSON: expected ident at column 2",
        "docs/c.jsonl:5 ! expected a JSON object, found a list",
        "docs/c.jsonl:6 ! no field `id` for the id; the object has text",
        "docs/c.jsonl:7 7",
        "docs/c.jsonl:8 skipped",
        "docs/c.jsonl:9 ! not UTF-8 from byte 7 on; convert it to UTF-8",
        "docs/c.jsonl:10 ! the id is empty",
        "docs/c.jsonl:11 ! the id in field `id` must be a string, found a boolean",
        "docs/c.jsonl:12 ! the text in field `text` must be a string, found a list",
        "docs/c.jsonl:13 ! the title in field `title` must be a string, found an object",
        "docs/c.jsonl:14 ! not JSON: EOF while parsing an object at column 20",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_line_beyond_the_limit_is_set_aside_and_the_next_is_read() {
    let mut text = b"{\"id\":\"a\",\"text\":\"".to_vec();
    text.resize(MAX_DOCUMENT_BYTES + 10, b'x');
    text.extend(b"\"}\n{\"id\":\"b\",\"text\":\"x\"}\n");
    assert_eq!(jsonl(&text), ["docs/c.jsonl:1 ! the line has more than 16 MiB", "docs/c.jsonl:2 b"]);
}

#[test]
fn a_title_beyond_the_limit_sets_its_document_aside() {
    let titled = |bytes: usize| json!({"id": "a", "title": "x".repeat(bytes), "text": "x"}).to_string();
    assert_eq!(jsonl(titled(MAX_TITLE_BYTES).as_bytes()), ["docs/c.jsonl:1 a"]);
    let told = ["docs/c.jsonl:1 ! the title has 513 bytes, at most 512 are allowed"];
    assert_eq!(jsonl(titled(MAX_TITLE_BYTES + 1).as_bytes()), told);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.html"), format!("<title>never closed {}", "<p>text".repeat(100))).unwrap();
    assert_eq!(shown(&read(&source(dir.path()))), ["docs/a.html ! the title has 713 bytes, at most 512 are allowed"]);
}

#[test]
fn deep_json_is_set_aside() {
    let line = format!("{{\"id\":\"a\",\"text\":{}", "[".repeat(100_000));
    assert!(jsonl(line.as_bytes())[0].contains("recursion limit"), "{:?}", jsonl(line.as_bytes()));
}

#[test]
fn metadata_is_looked_up_beside_and_in_metadata_and_the_domain_is_a_default() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        json!({"_id": "1", "body": "x", "domain": "own", "metadata": {"task": 3, "domain": "no"}}),
        json!({"_id": "2", "body": "x", "metadata": {"task": null, "other": 1}}),
        json!({"_id": "3", "body": "x", "task": ["a"]}),
    ];
    let file = dir.path().join("c.jsonl");
    fs::write(&file, lines.map(|l| l.to_string()).join("\n")).unwrap();
    let mapping = Mapping {
        id: "_id".into(),
        text: "body".into(),
        metadata: vec!["domain".into(), "task".into()],
        ..Mapping::default()
    };
    let outcomes = read(&Source { mapping, domain: Some("label".into()), ..source(&file) });
    let metadata: Vec<Value> = outcomes
        .iter()
        .filter_map(|o| match o {
            Outcome::Document(d) => Some(Value::Object(d.metadata.clone())),
            Outcome::Quarantined { .. } | Outcome::Skipped { .. } => None,
        })
        .collect();
    assert_eq!(metadata, [json!({"domain": "own", "task": 3}), json!({"domain": "label"})]);
    assert!(shown(&outcomes)[2].contains("metadata field `task` is a list"));
}

#[test]
fn a_directory_is_read_in_byte_order_with_globs() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("b/c")).unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::create_dir_all(root.join("lost+found")).unwrap();
    for (file, text) in [
        ("b/c/deep.md", "# Deep\ntext"),
        ("a.md", "text"),
        ("b-1.txt", "text"),
        ("b/empty.txt", " \n"),
        ("b/page.html", "<title>P</title><p>text"),
        (".git/x.md", "no"),
        ("lost+found/x.md", "no"),
        ("two.jsonl", "{\"id\":\"1\",\"text\":\"x\"}\n{\"id\":\"2\",\"text\":\"x\"}"),
    ] {
        fs::write(root.join(file), text).unwrap();
    }
    fs::write(root.join("image.png"), b"\x89PNG\0\xff").unwrap();
    fs::write(root.join("latin1.txt"), b"caf\xe9").unwrap();
    let all = shown(&read(&source(root)));
    assert_eq!(
        all,
        [
            "docs/a.md a.md",
            "docs/b-1.txt b-1.txt",
            "docs/b/c/deep.md b/c/deep.md",
            "docs/b/empty.txt skipped",
            "docs/b/page.html b/page.html",
            "docs/image.png ! a binary file; formats are Jsonl, Markdown, Text and Html",
            "docs/latin1.txt ! not UTF-8 from byte 3 on; convert it to UTF-8",
            "docs/two.jsonl:1 1",
            "docs/two.jsonl:2 2",
        ]
    );
    let glob = |include: &[&str], exclude: &[&str]| {
        let own = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        let globs = Globs::new(&own(include), &own(exclude)).unwrap();
        shown(&read(&Source { globs, ..source(root) }))
    };
    assert_eq!(glob(&["*.md"], &[]), ["docs/a.md a.md"], "`*` stops at `/`");
    assert_eq!(glob(&["**/*.md"], &["b/**"]), ["docs/a.md a.md"]);
    assert_eq!(glob(&["b/*"], &["**/empty.*"]), ["docs/b/page.html b/page.html"]);
    let error = Globs::new(&["[".to_owned()], &[]).unwrap_err().to_string();
    assert!(error.starts_with("\"[\" is no glob pattern"), "{error}");
}

#[test]
fn a_mounted_config_map_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir(root.join("..2026_11_25")).unwrap();
    symlink("..2026_11_25", root.join("..data")).unwrap();
    for key in ["a.md", "b.md"] {
        fs::write(root.join("..2026_11_25").join(key), "text").unwrap();
        symlink(format!("..data/{key}"), root.join(key)).unwrap();
    }
    assert_eq!(shown(&read(&source(root))), ["docs/a.md a.md", "docs/b.md b.md"]);
    let globs = Globs::default().with_keys(&["b.md".to_owned()]);
    assert_eq!(shown(&read(&Source { globs, ..source(root) })), ["docs/b.md b.md"]);
}

#[test]
fn links_out_of_the_source_and_loops_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::create_dir_all(root.join("shared")).unwrap();
    fs::write(dir.path().join("secret.txt"), "secret").unwrap();
    fs::write(root.join("shared/s.txt"), "text").unwrap();
    symlink("../../secret.txt", root.join("sub/out.txt")).unwrap();
    symlink("..", root.join("sub/up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("nowhere", root.join("gone")).unwrap();
    symlink("../shared", root.join("sub/inside")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert_eq!(
        shown(&read(&source(&root))),
        [
            "docs/gone ! the symbolic link leads nowhere",
            "docs/loop ! the symbolic link leads to itself",
            "docs/shared/s.txt shared/s.txt",
            "docs/socket ! neither a file nor a directory",
            "docs/sub/inside/s.txt sub/inside/s.txt",
            "docs/sub/out.txt ! the symbolic link leads out of the source",
            "docs/sub/up ! the symbolic link leads to a directory that it lies in",
        ]
    );
    symlink(dir.path().join("secret.txt"), root.join("direct")).unwrap();
    let outside = Source { root: root.join("direct"), boundary: root.clone(), ..source(&root) };
    let error = outside.read(&mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(error.contains("leads out of the source"), "{error}");
}

#[test]
fn links_between_directories_are_followed_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for name in ["a", "b", "c/deep"] {
        fs::create_dir_all(root.join(name)).unwrap();
        fs::write(root.join(name).join("t.txt"), name).unwrap();
    }
    symlink("../b", root.join("a/x")).unwrap();
    symlink("../a", root.join("b/y")).unwrap();
    symlink("../../b", root.join("c/deep/z")).unwrap();
    symlink("../c", root.join("b/v")).unwrap();
    let loops = "! the symbolic link leads to a directory that it lies in";
    assert_eq!(
        shown(&read(&source(root))),
        [
            "docs/a/t.txt a/t.txt".to_owned(),
            "docs/a/x/t.txt a/x/t.txt".to_owned(),
            "docs/a/x/v/deep/t.txt a/x/v/deep/t.txt".to_owned(),
            format!("docs/a/x/v/deep/z {loops}"),
            format!("docs/a/x/y {loops}"),
            "docs/b/t.txt b/t.txt".to_owned(),
            "docs/b/v/deep/t.txt b/v/deep/t.txt".to_owned(),
            format!("docs/b/v/deep/z {loops}"),
            "docs/b/y/t.txt b/y/t.txt".to_owned(),
            format!("docs/b/y/x {loops}"),
            "docs/c/deep/t.txt c/deep/t.txt".to_owned(),
            "docs/c/deep/z/t.txt c/deep/z/t.txt".to_owned(),
            format!("docs/c/deep/z/v {loops}"),
            "docs/c/deep/z/y/t.txt c/deep/z/y/t.txt".to_owned(),
            format!("docs/c/deep/z/y/x {loops}"),
        ]
    );
}

#[test]
fn a_source_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = source(&dir.path().join("x")).read(&mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!(error.source.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().starts_with("source docs: "), "{error}");
}

#[test]
fn a_panic_of_a_parser_sets_one_document_aside() {
    let parsed = guarded(|| panic!("on purpose"));
    assert!(matches!(parsed, Parsed::Unreadable(why) if why.contains("the parser failed")));
}

fn document(id: &str, text: &str, source: &str) -> Document {
    let place = Place { source: source.into(), file: "f".into(), line: Some(1) };
    Document { place, id: id.into(), title: String::new(), text: text.into(), metadata: Metadata::new() }
}

/// Admits and indexes documents in the given order.
fn digest(documents: &[Document]) -> String {
    let mut ledger = Ledger::default();
    for document in documents {
        assert!(ledger.admit(document));
        ledger.indexed(&document.id);
    }
    ledger.source_digest()
}

#[test]
fn the_ledger_adds_up_and_names_the_first_of_two_ids() {
    let mut ledger = Ledger::default();
    assert!(ledger.admit(&document("a", "x", "s")));
    assert!(!ledger.admit(&document("a", "y", "t")));
    assert!(ledger.admit(&document("b", "y", "t")));
    ledger.indexed("a");
    ledger.set_aside("b", "no\nvector");
    ledger.skipped();
    let counts = ledger.counts();
    assert_eq!((counts.source(), counts.indexed, counts.quarantined, counts.skipped), (4, 1, 2, 1));
    assert_eq!(counts.examples, ["t/f:1: duplicate id \"a\", first at s/f:1", "t/f:1: no vector"]);
    assert_eq!(counts.quarantined_percent(), 50.0);
    assert_eq!(ledger.source_digest(), digest(&[document("a", "x", "s")]));
}

#[test]
fn the_source_digest_sees_content_and_not_order() {
    let (a, b) = (document("a", "x", "s"), document("b", "y", "s"));
    let both = digest(&[a.clone(), b.clone()]);
    assert_eq!(both, digest(&[b.clone(), a.clone()]));
    let mut titled = b.clone();
    titled.title = "t".into();
    let mut labelled = b.clone();
    labelled.metadata.insert("k".into(), json!(1));
    for other in [document("b", "z", "s"), document("c", "y", "s"), document("b", "y", "t"), titled, labelled] {
        assert_ne!(both, digest(&[a.clone(), other]));
    }
}
