//! Files in every layout, and every way in which they can be wrong.

use super::*;

const QUERIES: &str =
    "{\"_id\":\"q1\",\"text\":\"one\"}\n{\"_id\":\"q2\",\"text\":\"two\",\"metadata\":{\"domain\":\"x\"}}\n";
const QRELS: &str = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n";

fn read(queries: &[u8], qrels: &[u8]) -> Result<Dataset, String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("qrels")).unwrap();
    let files = Files::beir(dir.path(), "test");
    std::fs::write(files.queries.as_ref().unwrap(), queries).unwrap();
    std::fs::write(&files.qrels, qrels).unwrap();
    Dataset::read(&files).map_err(|e| e.to_string())
}

#[test]
fn a_whole_set_is_read() {
    let set = read(QUERIES.as_bytes(), QRELS.as_bytes()).unwrap();
    assert_eq!((set.judged_count(), set.judgment_count()), (1, 2));
    assert_eq!(set.judged().map(|(q, j)| (q, j.len(), j.relevant())).collect::<Vec<_>>(), [("q1", 2, 1)]);
    assert_eq!(set.unjudged().collect::<Vec<_>>(), ["q2"]);
    assert_eq!(set.text("q2"), Some("two"));
    assert_eq!(set.digest().len(), 64);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_change_the_digest_and_nothing_else() {
    let plain = read(QUERIES.as_bytes(), QRELS.as_bytes()).unwrap();
    let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let other = read(windows(QUERIES).as_bytes(), windows(QRELS).as_bytes()).unwrap();
    assert_ne!(plain.digest(), other.digest());
    assert_eq!(plain, Dataset { digest: plain.digest.clone(), ..other });
}

#[test]
fn an_edit_of_either_file_is_another_digest() {
    let first = read(QUERIES.as_bytes(), QRELS.as_bytes()).unwrap();
    let queries = read(QUERIES.replace("one", "One").as_bytes(), QRELS.as_bytes()).unwrap();
    let qrels = read(QUERIES.as_bytes(), QRELS.replace("d2\t0", "d2\t1").as_bytes()).unwrap();
    assert_ne!(first.digest(), queries.digest());
    assert_ne!(first.digest(), qrels.digest());
    assert_ne!(queries.digest(), qrels.digest());
}

#[test]
fn malformed_queries_are_refused_with_file_and_line() {
    let long = format!("{{\"_id\":\"q1\",\"text\":\"{}\"}}", "x".repeat(MAX_QUERY_BYTES + 1));
    let cases: [(&str, &str); 9] = [
        ("{\"_id\":\"q1\",\"text\":\"a\"}\n{oops}\n", "queries.jsonl:2: not a query: key must be a string at column 2"),
        ("{\"_id\":\"q1\"}", "queries.jsonl:1: not a query: missing field `text`"),
        ("{\"_id\":7,\"text\":\"a\"}", "queries.jsonl:1: not a query: invalid type: integer `7`, expected a string"),
        ("{\"_id\":\"q1\",\"text\":\"a\"} x", "queries.jsonl:1: not a query: trailing characters"),
        ("{\"_id\":\"\",\"text\":\"a\"}", "queries.jsonl:1: `_id` is empty"),
        ("{\"_id\":\"q1\",\"text\":\" \"}", "queries.jsonl:1: `text` is empty"),
        (
            "{\"_id\":\"q1\",\"text\":\"a\"}\n\n{\"_id\":\"q1\",\"text\":\"b\"}",
            "queries.jsonl:3: query `q1` stands twice",
        ),
        ("\n", "queries.jsonl: the file holds no query"),
        (&long, "queries.jsonl:1: the text of query `q1` has 8193 bytes, at most 8192"),
    ];
    for (queries, expected) in cases {
        let error = read(queries.as_bytes(), QRELS.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("at line"), "{error}");
    }
}

#[test]
fn malformed_judgments_are_refused_with_file_and_line() {
    let cases = [
        ("q1\td1\t1\n", "test.tsv:1: found a judgment where the header must stand"),
        ("q1\td1\t1.5\n", "test.tsv:1: found a judgment where the header must stand"),
        ("query-id corpus-id score\n", "test.tsv:1: found 1 tab-separated columns"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t1.0\n", "test.tsv:2: grade `1.0` is not a whole number"),
        ("query-id\tcorpus-id\tscore\nq1\td1\n", "test.tsv:2: found 2 tab-separated columns"),
        ("query-id\tcorpus-id\tscore\nq1\t0\td1\t1\n", "test.tsv:2: found 4 tab-separated columns"),
        ("query-id\tcorpus-id\tscore\n\td1\t1\n", "test.tsv:2: the query id is empty"),
        ("query-id\tcorpus-id\tscore\nq1\t\t1\n", "test.tsv:2: the document id is empty"),
        ("query-id\tcorpus-id\tscore\nq1\td\t1\nq2\td\t1\nq1\td\t0\n", "test.tsv:4: document `d` is judged twice"),
        ("query-id\tcorpus-id\tscore\nq9\td1\t1\n", "test.tsv:2: query `q9` does not stand in"),
        ("query-id\tcorpus-id\tscore\n", "test.tsv: the file holds no judgment"),
        ("", "test.tsv: the file holds no judgment"),
    ];
    for (qrels, expected) in cases {
        let error = read(QUERIES.as_bytes(), qrels.as_bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_file_that_is_missing_stays_missing() {
    let dir = tempfile::tempdir().unwrap();
    let error = Dataset::read(&Files::config_map(dir.path())).unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("queries.jsonl: cannot be read"), "{error}");
}

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("qrels")).unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

/// The files of a command line.
fn by_content(dir: &Path, queries: Option<&str>) -> Files {
    Files {
        form: Form::ByContent,
        queries: queries.map(|name| dir.join(name)),
        qrels: dir.join("qrels.txt"),
        slices: None,
        nuggets: None,
    }
}

/// Every query with its text and judgments.
fn content(set: &Dataset) -> String {
    let of_query = |(query, judgments): (&str, &Judgments)| {
        let mut grades: Vec<String> =
            judgments.documents().map(|d| format!("{d}={}", judgments.grade(d).unwrap())).collect();
        grades.sort_unstable();
        format!("{query} {:?} {}", set.text(query).unwrap_or_default(), grades.join(","))
    };
    set.judged().map(of_query).collect::<Vec<_>>().join("; ")
}

const JSONL: &str = "{\"query_id\":\"q1\",\"text\":\"one\",\"qrels\":{\"d1\":2,\"d2\":0}}\n\
                     {\"query_id\":\"q2\",\"text\":\"two\",\"qrels\":{},\"metadata\":{\"domain\":\"x\"}}\n";
const TSV: &str = "q1\tone\nq2\ttwo\n";
const TREC: &str = "# a comment\nq1 0 d1 2\nq1\t0\td2   0\n";

#[test]
fn one_set_reads_alike_in_every_layout() {
    let expected = "q1 \"one\" d1=2,d2=0";
    let beir = read(QUERIES.as_bytes(), QRELS.as_bytes()).unwrap();
    let trec = directory(&[("queries.tsv", TSV), ("qrels/test.txt", TREC)]);
    let trec_keys = directory(&[("queries.tsv", QUERIES), ("qrels.txt", TREC)]);
    let jsonl = directory(&[("test.jsonl", JSONL)]);
    let jsonl_key = directory(&[("dataset.jsonl", JSONL)]);
    let of = |files: Files| Dataset::read(&files).unwrap();
    let sets = [
        beir,
        of(Files::trec(trec.path(), "test")),
        of(Files::trec_config_map(trec_keys.path())),
        of(Files::jsonl(jsonl.path(), "test")),
        of(Files::jsonl_config_map(jsonl_key.path())),
    ];
    for set in &sets {
        assert_eq!(content(set), expected);
        assert_eq!((set.judgment_count(), set.unjudged().collect::<Vec<_>>()), (2, vec!["q2"]));
        assert!(set.has_texts());
    }
    assert_eq!(sets[3].metadata("q2").unwrap()["domain"], "x");
}

#[test]
fn the_first_line_says_how_judgments_are_written() {
    for qrels in [QRELS, TREC, &format!("\u{feff}{}", TREC.replace('\n', "\r\n"))] {
        let dir = directory(&[("queries", TSV), ("qrels.txt", qrels)]);
        let set = Dataset::read(&by_content(dir.path(), Some("queries"))).unwrap();
        assert_eq!(content(&set), "q1 \"one\" d1=2,d2=0");
        let alone = Dataset::read(&by_content(dir.path(), None)).unwrap();
        assert_eq!(content(&alone), "q1 \"\" d1=2,d2=0");
        assert!(!alone.has_texts());
        assert_ne!(alone.digest(), set.digest());
    }
    let dir = directory(&[("queries", TSV), ("qrels.txt", JSONL)]);
    assert_eq!(content(&Dataset::read(&by_content(dir.path(), None)).unwrap()), "q1 \"one\" d1=2,d2=0");
    let error = Dataset::read(&by_content(dir.path(), Some("queries"))).unwrap_err().to_string();
    assert!(error.contains("qrels.txt: the judgments bring the texts of their queries"), "{error}");
}

#[test]
fn a_file_that_is_no_judgments_is_refused_with_its_line() {
    let cases = [
        ("q1\td1\t1\n", "qrels.txt:1: found a judgment where the header must stand"),
        ("q1 d1 1\n", "qrels.txt:1: found a judgment where the header must stand"),
        ("a b\n", "qrels.txt:1: found neither the header"),
        ("q1 0 d1 x\n", "qrels.txt:1: found neither the header"),
        ("q1 0 d1 1.5\n", "qrels.txt:1: grade `1.5` is not a whole number"),
        ("q1 0 d1 1\nq1 0 d2 NaN\n", "qrels.txt:2: grade `NaN` is not a whole number"),
        ("q1 0 d1 1\nq1 0 d2\n", "qrels.txt:2: found 3 columns, a TREC judgment has 4"),
        ("q1 0 d1 1\nq1 0 d2 1 x\n", "qrels.txt:2: found 5 columns, a TREC judgment has 4"),
        ("q1 0 d1 1\nq2 0 d1 1\n#\nq1 0 d1 0\n", "qrels.txt:4: document `d1` is judged twice for query `q1`"),
        ("q1 0 d1 1\nq3 0 d1 1\n", "qrels.txt:2: query `q3` does not stand in"),
        ("# nothing\n", "qrels.txt: the file holds no judgment"),
    ];
    for (qrels, expected) in cases {
        let dir = directory(&[("queries", TSV), ("qrels.txt", qrels)]);
        let error = Dataset::read(&by_content(dir.path(), Some("queries"))).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn malformed_json_sets_are_refused_with_their_line() {
    let of = |qrels: &str| format!("{{\"query_id\":\"q1\",\"text\":\"one\",\"qrels\":{qrels}}}");
    let cases = [
        (of("{\"d\":1.5}"), "dataset.jsonl:1: not a query with its judgments: invalid type: floating point"),
        (of("{\"d\":1,\"d\":2}"), "dataset.jsonl:1: document `d` is judged twice for query `q1`"),
        (of("{\"\":1}"), "dataset.jsonl:1: the document id is empty"),
        (of("[1]"), "expected an object of document ids and whole-number grades"),
        (of("{}"), "dataset.jsonl: the file holds no judgment"),
        (format!("{}\n{}", of("{\"d\":1}"), of("{\"e\":1}")), "dataset.jsonl:2: query `q1` stands twice"),
        (of("{\"d\":1}").replace("q1", ""), "dataset.jsonl:1: `query_id` is empty"),
        (
            // Enough judgments stand above; without a look at the key this query would be one that nobody judged.
            format!("{}\n{}", of("{\"d\":1}"), of("{\"d\":1}").replace("q1", "q2").replace("qrels", "relevance")),
            "dataset.jsonl:2: not a query with its judgments: missing field `qrels`",
        ),
    ];
    for (set, expected) in cases {
        let dir = directory(&[("dataset.jsonl", &set)]);
        let error = Dataset::read(&Files::jsonl_config_map(dir.path())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn blanks_at_the_ends_of_ids_are_refused_wherever_they_stand() {
    let json = |id: &str, document: &str| {
        format!("{{\"query_id\":\"{id}\",\"text\":\"one\",\"qrels\":{{\"{document}\":1}}}}\n")
    };
    let nugget = |id: &str, nugget: &str, document: &str| {
        format!("{{\"query_id\":\"{id}\",\"nugget_id\":\"{nugget}\",\"doc_ids\":[\"{document}\"]}}\n")
    };
    let blank = |file: &str, what: &str, id: &str| format!("{file}: the {what} `{id}` begins or ends with white space");
    for (file, content, expected) in [
        ("qrels.tsv", format!("{QRELS}q1\td3 \t1\n"), blank("qrels.tsv:4", "document id", "d3 ")),
        ("qrels.tsv", format!("{QRELS}q1\t\u{a0}d3\t1\n"), blank("qrels.tsv:4", "document id", "\u{a0}d3")),
        ("qrels.tsv", format!("{QRELS} q1\td3\t1\n"), blank("qrels.tsv:4", "query id", " q1")),
        ("queries.jsonl", QUERIES.replace("q2", "q2 "), blank("queries.jsonl:2", "_id", "q2 ")),
        ("slices.tsv", "q1\tkind\tlong \n".to_owned(), blank("slices.tsv:1", "value of the slice", "long ")),
        ("slices.tsv", "q1 \tkind\tlong\n".to_owned(), blank("slices.tsv:1", "query id", "q1 ")),
        ("nuggets.jsonl", nugget(" q1", "n", "d1"), blank("nuggets.jsonl:1", "query_id", " q1")),
        ("nuggets.jsonl", nugget("q1", "n", "d1 "), blank("nuggets.jsonl:1", "document id", "d1 ")),
    ] {
        let dir = directory(&[("queries.jsonl", QUERIES), ("qrels.tsv", QRELS), (file, &content)]);
        let error = Dataset::read(&Files::config_map(dir.path())).unwrap_err().to_string();
        assert!(error.contains(&expected), "{error}");
    }
    for (set, what, id) in [(json("q1 ", "d"), "query_id", "q1 "), (json("q1", " d"), "document id", " d")] {
        let dir = directory(&[("dataset.jsonl", &set)]);
        let error = Dataset::read(&Files::jsonl_config_map(dir.path())).unwrap_err().to_string();
        assert!(error.contains(&blank("dataset.jsonl:1", what, id)), "{error}");
    }
    let dir = directory(&[("queries", " q1\tone\n"), ("qrels.txt", TREC)]);
    let error = Dataset::read(&by_content(dir.path(), Some("queries"))).unwrap_err().to_string();
    assert!(error.contains(&blank("queries:1", "query-id", " q1")), "{error}");
    // Inside they are part of an id.
    let dir = directory(&[("queries.jsonl", QUERIES), ("qrels.tsv", &format!("{QRELS}q1\td 3\t1\n"))]);
    assert_eq!(Dataset::read(&Files::config_map(dir.path())).unwrap().judgment_count(), 3);
}

#[test]
fn a_header_that_names_the_columns_the_other_way_round_is_refused() {
    for header in ["corpus-id\tquery-id\tscore", "Corpus_ID\tqid\tscore", "document\tquery-id\trelevance"] {
        let error =
            read(QUERIES.as_bytes(), QRELS.replace("query-id\tcorpus-id\tscore", header).as_bytes()).unwrap_err();
        assert!(error.contains("test.tsv:1: found a header whose columns are swapped"), "{error}");
    }
    for header in ["query_id\tcorpus_id\tscore", "qid\tdocid\trelevance"] {
        let set = read(QUERIES.as_bytes(), QRELS.replace("query-id\tcorpus-id\tscore", header).as_bytes()).unwrap();
        assert_eq!(set.judgment_count(), 2, "{header}");
    }
}

#[test]
fn a_query_of_a_json_set_may_have_no_judgment_and_keys_of_its_own() {
    let lines = "{\"query_id\":\"q1\",\"text\":\"one\",\"qrels\":{\"d\":1},\"source\":\"s\"}\n\
                 {\"query_id\":\"q2\",\"text\":\"two\",\"qrels\":{}}\n";
    let dir = directory(&[("dataset.jsonl", lines)]);
    let set = Dataset::read(&Files::jsonl_config_map(dir.path())).unwrap();
    assert_eq!((set.judged_count(), set.unjudged().collect::<Vec<_>>()), (1, vec!["q2"]));
}

#[test]
fn malformed_lines_of_queries_as_columns_are_refused() {
    let long = format!("q1\t{}\n", "x".repeat(1 << 20));
    let cases = [
        ("q1 one\n", "queries:1: found no tab"),
        ("q1\tone\nq1\ttwo\n", "queries:2: query `q1` stands twice"),
        ("q1\t \n", "queries:1: `text` is empty"),
        ("\tone\n", "queries:1: `query-id` is empty"),
        (&long, "queries:1: the line has more than 1048576 bytes"),
    ];
    for (queries, expected) in cases {
        let dir = directory(&[("queries", queries), ("qrels.txt", TREC)]);
        let error = Dataset::read(&by_content(dir.path(), Some("queries"))).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn slices_of_a_file_join_the_metadata() {
    let files = |slices: &str| {
        let dir = directory(&[("queries.jsonl", QUERIES), ("qrels.tsv", QRELS), ("slices.tsv", slices)]);
        Dataset::read(&Files::config_map(dir.path())).map_err(|e| e.to_string())
    };
    let plain = read(QUERIES.as_bytes(), QRELS.as_bytes()).unwrap();
    let set = files("query-id\tname\tvalue\nq1\tlanguage\tde\nq2\tlanguage\tfr\nq1\tkind\tlong one\n").unwrap();
    assert_eq!(
        set.metadata("q1").unwrap().iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        ["kind=long one", "language=de"]
    );
    assert_eq!(set.metadata("q2").unwrap().len(), 2);
    assert_ne!(set.digest(), plain.digest());
    assert_eq!(content(&set), content(&plain));
    let cases = [
        ("q1\tlanguage\n", "slices.tsv:1: found 2 tab-separated columns, a slice has 3"),
        ("q3\tlanguage\tde\n", "slices.tsv:1: query `q3` does not stand in"),
        ("q1\t\tde\n", "slices.tsv:1: the name of the slice is empty"),
        ("q1\ta\tb\nq1\ta\tb\n", "slices.tsv:2: query `q1` has already `a` = `b`"),
        ("q2\tdomain\ty\n", "slices.tsv:1: query `q2` has already `domain` = `x`"),
        ("\n", "slices.tsv: the file holds no line"),
    ];
    for (slices, expected) in cases {
        let error = files(slices).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn nuggets_belong_to_judged_queries() {
    let files = |nuggets: &str| {
        let dir = directory(&[("queries.jsonl", QUERIES), ("qrels.tsv", QRELS), ("nuggets.jsonl", nuggets)]);
        Dataset::read(&Files::config_map(dir.path())).map_err(|e| e.to_string())
    };
    let of = |rest: &str| format!("{{\"query_id\":\"q1\",\"nugget_id\":\"n\",\"doc_ids\":[\"d9\"]{rest}}}\n");
    let set = files(&of(",\"weight\":0.5,\"required\":false")).unwrap();
    let (_, judgments) = set.judged().next().unwrap();
    let nugget = &judgments.nuggets()[0];
    assert_eq!(
        (nugget.weight, nugget.required, judgments.names("d9"), judgments.names("d8")),
        (0.5, false, true, false)
    );
    assert_eq!(set.with_nuggets(), 1);
    assert_ne!(set.digest(), files(&of("")).unwrap().digest());
    let cases = [
        (of(",\"weight\":0"), "nuggets.jsonl:1: the weight of nugget `n` is not a number above 0"),
        (of(",\"weight\":1e9"), "nuggets.jsonl:1: the weight of nugget `n` is not a number above 0"),
        (of("").repeat(2), "nuggets.jsonl:2: nugget `n` of query `q1` stands twice"),
        (of("").replace("q1", "q2"), "nuggets.jsonl:1: query `q2` does not stand in"),
        (of("").replace("[\"d9\"]", "[]"), "nuggets.jsonl:1: nugget `n` names no document"),
        (of("").replace("\"n\"", "\"\""), "nuggets.jsonl:1: `nugget_id` is empty"),
        ("{}".to_owned(), "nuggets.jsonl:1: not a nugget: missing field"),
        (String::new(), "nuggets.jsonl: the file holds no line"),
    ];
    for (nuggets, expected) in cases {
        let error = files(&nuggets).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_packed_set_is_the_same_set() {
    let plain = directory(&[("queries.jsonl", QUERIES), ("qrels.tsv", QRELS)]);
    let packed = directory(&[]);
    let zstd = ruzstd::encoding::compress_to_vec(QUERIES.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    std::fs::write(packed.path().join("queries.jsonl.zst"), zstd).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, QRELS.as_bytes()).unwrap();
    std::fs::write(packed.path().join("qrels.tsv.gz"), gzip.finish().unwrap()).unwrap();
    let read = |dir: &tempfile::TempDir| Dataset::read(&Files::config_map(dir.path())).unwrap();
    assert_eq!(read(&plain), read(&packed));
}

#[test]
fn queries_that_do_not_count_leave_the_digest_as_it_is() {
    let qrels = format!("{QRELS}q2\td1\t1\n");
    let whole = read(QUERIES.as_bytes(), qrels.as_bytes()).unwrap();
    let mut part = whole.clone();
    part.keep(|query| query == "q2");
    assert_eq!((part.judged_count(), part.digest(), part.left_out().len()), (1, whole.digest(), 1));
    assert_eq!(part.unjudged().count(), 0, "a query that is left out is judged");
}
