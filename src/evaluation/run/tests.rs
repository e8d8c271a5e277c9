//! Order, ties, run files and their errors.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::evaluation::dataset::{Files, Form};
use crate::evaluation::likeness::likeness;
use crate::evaluation::metric::{Gains, Judgments, Metric};

fn hit(document: &str, score: f64) -> Hit {
    Hit { document: document.to_owned(), score }
}

fn documents<'a>(run: &'a Run, query: &str) -> Vec<&'a str> {
    run.list(query).unwrap().iter().map(|at| at.document).collect()
}

fn read(content: &str) -> Result<Run, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.txt");
    std::fs::write(&file, content).unwrap();
    Run::read(&file, Compat::TrecEval10, Names::All).map(|(run, _)| run).map_err(|e| e.to_string())
}

#[test]
fn a_document_scores_as_its_best_chunk() {
    let list = collapsed(vec![hit("a", 0.1), hit("b", 0.5), hit("a", 0.9), hit("b", 0.2)], 10);
    assert_eq!(list, [hit("a", 0.9), hit("b", 0.5)]);
}

#[test]
fn the_served_order_decides_which_documents_stay_and_trec_evals_how_they_rank() {
    let chunks = vec![hit("c", 0.5), hit("a", 0.5), hit("b", 0.5)];
    let mut run = Run::default();
    run.insert("q".to_owned(), collapsed(chunks, 2));
    assert_eq!(documents(&run, "q"), ["b", "a"]);
}

#[test]
fn order_comes_from_the_score_and_not_from_the_rank() {
    let run = read("q Q0 x 1 0.1 r\nq Q0 y 2 0.2 r more words\nz 0 x 1 -3e2 r\n").unwrap();
    assert_eq!(documents(&run, "q"), ["y", "x"]);
    let listed = |at: Listed<'_>| (at.document.to_owned(), at.score, at.rank);
    assert_eq!(run.list("z").unwrap().iter().map(listed).collect::<Vec<_>>(), [("x".to_owned(), -300.0, 1)]);
    assert_eq!(run.queries().collect::<Vec<_>>(), ["q", "z"]);
    assert_eq!(run.list("other"), None);
}

#[test]
fn malformed_lines_are_refused_with_file_and_line() {
    let cases = [
        ("q Q0 d 1 0.5 r\nq Q0 e 1 0.5\n", "run.txt:2: found 5 columns, a run line has 6"),
        ("q Q0 d 1 NaN r\n", "run.txt:1: score `NaN` is not a finite number"),
        ("q Q0 d 1 inf r\n", "run.txt:1: score `inf` is not a finite number"),
        ("q Q0 d 1 x r\n", "run.txt:1: score `x` is not a finite number"),
        ("q Q0 d 1 1 r\nr Q0 d 1 1 r\nq Q0 d 2 .5 r\n", "run.txt:3: document `d` stands twice for query `q`"),
        ("\n\n", "run.txt: the file holds no line"),
    ];
    for (content, expected) in cases {
        let error = read(content).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_written_run_reads_back_as_the_same_run() {
    let mut run = Run::default();
    run.insert("q2".to_owned(), vec![hit("a", 1.0 / 3.0), hit("b", 1e-17)]);
    run.insert("q1".to_owned(), vec![hit("x", -2.5)]);
    let mut text = Vec::new();
    run.write(&mut text).unwrap();
    assert_eq!(read(std::str::from_utf8(&text).unwrap()).unwrap(), run);
    run.insert("q3".to_owned(), vec![hit("two words", 1.0)]);
    let error = run.write(&mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("`two words` is empty or has a space"), "{error}");
}

/// Scores that differ after the seventh digit: 10.0 sees a difference, 9.0.8 does not.
const CLOSE: &str = "q Q0 a 1 0.8000000002 r\nq Q0 b 2 0.8000000001 r\nq Q0 c 3 0.7 r\n";

#[test]
fn in_the_older_dialect_scores_are_single_precision() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.txt");
    std::fs::write(&file, CLOSE).unwrap();
    let order = |compat| {
        let (run, _) = Run::read(&file, compat, Names::All).unwrap();
        let mut text = Vec::new();
        run.write(&mut text).unwrap();
        (documents(&run, "q").join(" "), String::from_utf8(text).unwrap())
    };
    assert_eq!(order(Compat::TrecEval10).0, "a b c");
    let (order, written) = order(Compat::TrecEval9);
    assert_eq!(order, "b a c");
    assert!(written.contains("q Q0 a 2 0.8000000002 rag\n"), "the score keeps its digits: {written}");
}

#[test]
fn lists_of_queries_may_stand_in_any_order_of_lines() {
    let run = read("q2 Q0 x 1 1 r\nq1 Q0 y 1 1 r\nq2 Q0 z 2 2 r\nq1 Q0 x 1 3 r\n").unwrap();
    assert_eq!((documents(&run, "q1"), documents(&run, "q2")), (vec!["x", "y"], vec!["z", "x"]));
    assert_eq!(run, read("q1 Q0 x 1 3 r\nq1 Q0 y 1 1 r\nq2 Q0 x 1 1 r\nq2 Q0 z 2 2 r\n").unwrap());
    assert_ne!(run, read("q1 Q0 x 1 3 r\nq1 Q0 y 1 1 r\n").unwrap());
}

#[test]
fn the_first_line_of_the_file_that_names_a_document_again_is_told() {
    // Query `b` is looked through when its lines end, `a` when the file ends; blank lines are counted.
    let run = "a 0 x 1 9 r\nb 0 y 1 9 r\n\nb 0 y 2 8 r\na 0 x 2 8 r\nc 0 z 1 1 r\nc 0 z 2 1 r\n";
    assert!(read(run).unwrap_err().contains("run.txt:4: document `y` stands twice for query `b`"));
    let run = "a 0 x 1 9 r\nb 0 y 1 9 r\n\na 0 w 2 8 r\na 0 x 2 8 r\nb 0 y 2 8 r\n";
    assert!(read(run).unwrap_err().contains("run.txt:5: document `x` stands twice for query `a`"));
}

#[test]
fn short_lines_are_read_as_long_ones_are() {
    let lines = [
        "q Q0 d 1 0.5 r",
        "query-7 Q0 document-1234567 12 29.988371 run",
        "q\tQ0\td\t1\t-7\tr",
        "q Q0 \u{e9}\u{8a9e} 1 5 r",
        "q Q0 d 1 1e3 r",
    ];
    let odd = [
        "q  Q0 d 1 0.5 r",
        " q Q0 d 1 0.5 r",
        "q Q0 d 1 0.5 r ",
        "q Q0 d 1 0.5 r s",
        "q Q0 d 1 0.5 r\r",
        "q\u{1} Q0 d 1 0.5 r",
        "q Q0 d\u{b}e 1 0.5 r",
        "q Q0 d 1 0.5",
        // Five columns, and as many blanks as six have.
        "q  Q0 d 1 0.5",
        " q Q0 d 1 0.5",
        "q Q0 d 1 0.5 ",
        "q Q0 d 1 x r",
        "q Q0 d 1 nan r",
        "",
        "      ",
    ];
    let rest = "z".repeat(64);
    for (line, quick) in lines.iter().map(|line| (line, true)).chain(odd.iter().map(|line| (line, false))) {
        let text = format!("{line}\n{rest}");
        let short = trec::short_line(&text);
        assert_eq!(short.is_some(), quick, "{line:?}");
        if let Some((found, length)) = short {
            assert_eq!((Ok(found), length), (trec::parse(line), line.len() + 1), "{line:?}");
        }
        // At the end of a block there are no 64 bytes to look at.
        assert!(trec::short_line(line).is_none());
    }
}

/// Blanks of any kind and number, a column too few, control characters, ends of lines.
const LINE: &str = "[q\u{e9} \t]{0,4} [Q0 ]{1,3}\
    \u{20}[d\u{1}]{1,9} 1[ \t]{1,2}[0-9.]{1,6}( r)?[ \n\r]{0,2}";

proptest! {
    #[test]
    fn a_short_line_is_what_its_columns_are(line in LINE) {
        let text = format!("{line}\n{}", "z".repeat(64));
        if let Some((found, length)) = trec::short_line(&text) {
            prop_assert_eq!(Ok(found), trec::parse(&text[..length - 1]));
            prop_assert_eq!(text.find('\n'), Some(length - 1));
        }
    }
}

#[test]
fn a_query_does_not_find_itself_where_queries_are_documents() {
    let mut run = read("q Q0 q 1 9 r\nq Q0 x 2 8 r\nr Q0 q 1 9 r\ns Q0 s 1 1 r\n").unwrap();
    run.drop_identical_ids();
    assert_eq!((documents(&run, "q"), documents(&run, "r")), (vec!["x"], vec!["q"]));
    assert!(run.list("s").unwrap().is_empty());
}

/// Judgments, a nugget and a run file over a few documents. `lines`: query, document and score of each line.
fn written(dir: &Path, judged: &[(u8, u8, i32)], lines: &[(u8, u8, i32)]) -> (Dataset, PathBuf) {
    let file = |name: &str, text: &str| {
        let file = dir.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let (mut qrels, mut run) = ("q0 0 other 1\n".to_owned(), String::new());
    for ((query, document), grade) in judged.iter().map(|(q, d, g)| ((*q, *d), *g)).collect::<BTreeMap<_, _>>() {
        writeln!(qrels, "q{query} 0 d{document} {grade}").unwrap();
    }
    let mut seen = BTreeSet::new();
    for (query, document, score) in lines.iter().filter(|(q, d, _)| seen.insert((*q, *d))) {
        // Now and then a document is the query itself.
        let document = if *document == 0 { format!("q{query}") } else { format!("d{document}") };
        writeln!(run, "q{query} Q0 {document} 0 {score} r").unwrap();
    }
    let files = Files {
        form: Form::ByContent,
        queries: None,
        qrels: file("qrels.txt", &qrels),
        slices: None,
        nuggets: Some(file("nuggets.jsonl", r#"{"query_id":"q0","nugget_id":"n","doc_ids":["d7","d21"]}"#)),
    };
    (Dataset::read(&files).unwrap(), file("run.txt", &run))
}

/// Every kind of metric that needs no pool.
const METRICS: [&str; 14] = [
    "ndcg@10",
    "recall(rel=2)@20",
    "map",
    "map@15",
    "mrr",
    "recall@5",
    "P@15",
    "success@3",
    "bpref",
    "Rprec",
    "rbp(p=0.8)",
    "unj@10",
    "taskRecall@20",
    "taskSuccess@20",
];

/// What a run is asked for.
fn asked_for(dataset: &Dataset, run: &Run) -> String {
    let metrics = METRICS.map(|name| name.parse::<Metric>().unwrap());
    let of_query = |(query, judgments): (&str, &Judgments)| {
        let list = run.list(query).unwrap_or_default();
        let gains = Gains::of_list(judgments, list, None);
        let residual = metrics[10].residual(&gains);
        let values = metrics.map(|metric| metric.value(&gains));
        let relevant = list.iter().filter(|at| judgments.names(at.document)).map(|at| (at.document, at.rank));
        format!("{query} {values:?} {residual:?} {} {:?}\n", list.len(), relevant.collect::<Vec<_>>())
    };
    let lists: String = dataset.judged().map(of_query).collect();
    let likeness = likeness(dataset, run, Some(run));
    let condensed = condensed::condensed(dataset, metrics[0], run);
    format!(
        "{lists}{likeness:?} {condensed:?} {} {:?}",
        condensed::unjudged_share(dataset, run),
        mixed::shown(dataset, run)
    )
}

proptest! {
    #[test]
    fn documents_without_ids_change_nothing_that_is_asked_for(
        judged in prop::collection::vec((0..3_u8, 1..40_u8, -1..3_i32), 0..60),
        lines in prop::collection::vec((0..4_u8, 0..40_u8, -9..9_i32), 1..150),
        apart: bool, drop_identical: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = lines;
        if !apart {
            lines.sort_by_key(|(query, _, _)| *query);
        }
        let (dataset, file) = written(dir.path(), &judged, &lines);
        let [all, judged] = [Names::All, Names::Judged(&dataset)].map(|names| {
            let (mut run, digest) = Run::read(&file, Compat::TrecEval10, names).unwrap();
            if drop_identical {
                run.drop_identical_ids();
            }
            let lost = run.lists.values().any(|list| list.nameless > 0);
            (asked_for(&dataset, &run), digest, run.write(Vec::new()).is_ok(), lost)
        });
        prop_assert_eq!(&judged.0, &all.0);
        prop_assert_eq!(judged.1, all.1);
        prop_assert!(all.2 && !all.3);
        // A list that would not be whole is not written.
        prop_assert_eq!(judged.2, !judged.3);
    }
}

#[test]
fn documents_that_nobody_asks_for_lose_their_ids_and_a_query_that_comes_back_gets_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let lines = |queries: &[u8]| -> Vec<(u8, u8, i32)> {
        queries.iter().zip(1..).map(|(query, document)| (*query, document, -i32::from(document))).collect()
    };
    let named = |lines: &[(u8, u8, i32)]| {
        let (dataset, file) = written(dir.path(), &[(1, 30, 1)], lines);
        let (run, _) = Run::read(&file, Compat::TrecEval10, Names::Judged(&dataset)).unwrap();
        run.list("q1").unwrap().iter().map(|at| at.rank).collect::<Vec<_>>()
    };
    assert_eq!(named(&lines(&[1; 35])), (1..=12).chain([30]).collect::<Vec<_>>());
    let back: Vec<u8> = [[1; 20], [2; 20]].concat().into_iter().chain([1]).collect();
    assert_eq!(named(&lines(&back)), (1..=21).collect::<Vec<_>>());
}
