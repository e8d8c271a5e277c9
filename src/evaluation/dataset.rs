//! A labelled query set: `queries.jsonl` and tab-separated judgments in the BEIR layout.
//!
//! Why so strict: a loader that drops line 1 of a file without a header loses a judgment, a duplicate counts
//! twice, an unknown query never counts; each would move a verdict without a word.
//!
//! Invariants: what was read is whole, every malformed line is refused with file and line; the digest covers
//! the bytes of both files, so any edit is another data set.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::lines::{Lines, ReadError, short};
use super::metric::Judgments;

/// Longest query text, the limit of the retrieval API.
pub const MAX_QUERY_BYTES: usize = 8192;
/// Most queries and most judgments: a receipt holds counts of seven digits.
pub const MAX_LINES: usize = 9_999_999;

const HEADER: &str = "query-id\tcorpus-id\tscore";

/// A data set that was read in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    queries: BTreeMap<String, Query>,
    judgments: BTreeMap<String, Judgments>,
    judgment_count: usize,
    digest: String,
}

/// A query as its line says it.
#[derive(Clone, Debug, PartialEq)]
struct Query {
    text: String,
    metadata: BTreeMap<String, String>,
}

/// Where the two files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub queries: PathBuf,
    pub qrels: PathBuf,
}

impl Files {
    /// A directory in the BEIR layout: `queries.jsonl` and `qrels/<split>.tsv`.
    pub fn beir(directory: &Path, split: &str) -> Self {
        Self { queries: directory.join("queries.jsonl"), qrels: directory.join("qrels").join(format!("{split}.tsv")) }
    }

    /// The keys of a ConfigMap as files: `queries.jsonl` and `qrels.tsv`.
    pub fn config_map(directory: &Path) -> Self {
        Self { queries: directory.join("queries.jsonl"), qrels: directory.join("qrels.tsv") }
    }
}

/// Why a data set is refused.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{}:{line}: {problem}", file.display())]
    Line { file: PathBuf, line: u64, problem: Problem },
    #[error("{}: the file holds no query; write one JSON object a line: {{\"_id\": \"q1\", \"text\": \"…\"}}", file.display())]
    NoQuery { file: PathBuf },
    #[error("{}: the file holds no judgment; write `query-id⇥corpus-id⇥score` in line 1 and one judgment a line below", file.display())]
    NoJudgment { file: PathBuf },
}

impl DatasetError {
    /// Whether the files could not be read now; otherwise the data are wrong and stay wrong.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Read(error) => error.is_transient(),
            Self::Line { .. } | Self::NoQuery { .. } | Self::NoJudgment { .. } => false,
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("not a query: {0}; write {{\"_id\": \"q1\", \"text\": \"…\"}}")]
    Json(String),
    #[error("`{0}` is empty; a query needs both `_id` and `text`")]
    EmptyField(&'static str),
    #[error("the text of query `{query}` has {bytes} bytes, at most {MAX_QUERY_BYTES} can be asked")]
    LongText { query: String, bytes: usize },
    #[error("query `{query}` stands twice; give each query its own `_id`")]
    DuplicateQuery { query: String },
    #[error("found a judgment where the header must stand; add the line `query-id⇥corpus-id⇥score` on top")]
    HeaderMissing,
    #[error("found {0} tab-separated columns, a judgment has 3: query id, document id, grade")]
    Columns(usize),
    #[error("grade `{0}` is not a whole number; write 0 for not relevant, 1 or more for relevant")]
    Grade(String),
    #[error("the {0} id is empty")]
    EmptyId(&'static str),
    #[error("document `{document}` is judged twice for query `{query}`; keep one line")]
    DuplicateJudgment { query: String, document: String },
    #[error("query `{query}` does not stand in {queries}; add it there or remove its judgments")]
    UnknownQuery { query: String, queries: String },
    #[error("more than {MAX_LINES} lines; use a smaller set")]
    TooMany,
}

impl Dataset {
    /// Reads both files in full.
    pub fn read(files: &Files) -> Result<Self, DatasetError> {
        let (queries, queries_digest) = read_queries(&files.queries)?;
        let (judgments, judgment_count, qrels_digest) = read_judgments(&files.qrels, &queries, &files.queries)?;
        let mut both = Sha256::new();
        both.update(queries_digest);
        both.update(qrels_digest);
        Ok(Self { queries, judgments, judgment_count, digest: hex(&both.finalize()) })
    }

    /// SHA-256 over the SHA-256 of each file, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The queries that have judgments, bytewise ascending by id, with their judgments.
    pub fn judged(&self) -> impl Iterator<Item = (&str, &Judgments)> {
        self.judgments.iter().map(|(id, judgments)| (id.as_str(), judgments))
    }

    /// How many queries have judgments.
    pub fn judged_count(&self) -> usize {
        self.judgments.len()
    }

    /// How many judgments there are.
    pub fn judgment_count(&self) -> usize {
        self.judgment_count
    }

    /// Text of a query.
    pub fn text(&self, query: &str) -> Option<&str> {
        self.queries.get(query).map(|q| q.text.as_str())
    }

    /// Metadata of a query: texts as they are, numbers and booleans as JSON writes them; other values are left out.
    pub fn metadata(&self, query: &str) -> Option<&BTreeMap<String, String>> {
        self.queries.get(query).map(|q| &q.metadata)
    }

    /// Ids of the queries without a judgment.
    pub fn unjudged(&self) -> impl Iterator<Item = &str> {
        self.queries.keys().filter(|q| !self.judgments.contains_key(*q)).map(String::as_str)
    }
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Deserialize)]
struct QueryLine {
    #[serde(rename = "_id")]
    id: String,
    text: String,
    #[serde(default)]
    metadata: BTreeMap<String, serde_json::Value>,
}

fn metadata(values: BTreeMap<String, serde_json::Value>) -> BTreeMap<String, String> {
    let text = |value| match value {
        serde_json::Value::String(text) => Some(text),
        value @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => Some(value.to_string()),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    };
    values.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect()
}

fn read_queries(file: &Path) -> Result<(BTreeMap<String, Query>, [u8; 32]), DatasetError> {
    let mut lines = Lines::open(file)?;
    let mut queries = BTreeMap::new();
    while let Some((line, text)) = lines.next_line()? {
        let refused = |problem| DatasetError::Line { file: file.to_owned(), line, problem };
        let query = parse_query(text).map_err(refused)?;
        if queries.len() >= MAX_LINES {
            return Err(refused(Problem::TooMany));
        }
        match queries.entry(query.id) {
            Entry::Occupied(at) => return Err(refused(Problem::DuplicateQuery { query: short(at.key()) })),
            Entry::Vacant(at) => at.insert(Query { text: query.text, metadata: metadata(query.metadata) }),
        };
    }
    if queries.is_empty() {
        return Err(DatasetError::NoQuery { file: file.to_owned() });
    }
    Ok((queries, lines.digest()))
}

fn parse_query(text: &str) -> Result<QueryLine, Problem> {
    let query: QueryLine = serde_json::from_str(text).map_err(|e| {
        // The parser counts its own lines; ours is the one that helps.
        let said = e.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        Problem::Json(format!("{said} at column {}", e.column()))
    })?;
    if query.id.is_empty() {
        return Err(Problem::EmptyField("_id"));
    }
    if query.text.trim().is_empty() {
        return Err(Problem::EmptyField("text"));
    }
    if query.text.len() > MAX_QUERY_BYTES {
        return Err(Problem::LongText { query: short(&query.id), bytes: query.text.len() });
    }
    Ok(query)
}

type ReadJudgments = (BTreeMap<String, Judgments>, usize, [u8; 32]);

fn read_judgments(
    file: &Path,
    queries: &BTreeMap<String, Query>,
    queries_file: &Path,
) -> Result<ReadJudgments, DatasetError> {
    let mut lines = Lines::open(file)?;
    let mut judgments: BTreeMap<String, Judgments> = BTreeMap::new();
    let mut count = 0_usize;
    let mut header_seen = false;
    while let Some((line, text)) = lines.next_line()? {
        let refused = |problem| DatasetError::Line { file: file.to_owned(), line, problem };
        if !header_seen {
            check_header(text).map_err(refused)?;
            header_seen = true;
            continue;
        }
        let (query, document, grade) = parse_judgment(text).map_err(refused)?;
        if !queries.contains_key(query) {
            let queries = queries_file.display().to_string();
            return Err(refused(Problem::UnknownQuery { query: short(query), queries }));
        }
        if count >= MAX_LINES {
            return Err(refused(Problem::TooMany));
        }
        count = count.saturating_add(1);
        if judgments.entry(query.to_owned()).or_default().insert(document.to_owned(), grade).is_some() {
            return Err(refused(Problem::DuplicateJudgment { query: short(query), document: short(document) }));
        }
    }
    if count == 0 {
        return Err(DatasetError::NoJudgment { file: file.to_owned() });
    }
    Ok((judgments, count, lines.digest()))
}

/// Any three words pass as a header; a third column that is a number is a judgment that a loader would lose.
fn check_header(text: &str) -> Result<(), Problem> {
    if text.eq_ignore_ascii_case(HEADER) {
        return Ok(());
    }
    let columns: Vec<&str> = text.split('\t').collect();
    match columns.as_slice() {
        [_, _, third] if third.trim().parse::<f64>().is_ok() => Err(Problem::HeaderMissing),
        [_, _, _] => Ok(()),
        other => Err(Problem::Columns(other.len())),
    }
}

fn parse_judgment(text: &str) -> Result<(&str, &str, i32), Problem> {
    let columns: Vec<&str> = text.split('\t').collect();
    let [query, document, grade] = columns.as_slice() else { return Err(Problem::Columns(columns.len())) };
    if query.is_empty() {
        return Err(Problem::EmptyId("query"));
    }
    if document.is_empty() {
        return Err(Problem::EmptyId("document"));
    }
    let number = grade.trim().parse().map_err(|_| Problem::Grade(short(grade)))?;
    Ok((query, document, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERIES: &str =
        "{\"_id\":\"q1\",\"text\":\"one\"}\n{\"_id\":\"q2\",\"text\":\"two\",\"metadata\":{\"domain\":\"x\"}}\n";
    const QRELS: &str = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n";

    fn read(queries: &[u8], qrels: &[u8]) -> Result<Dataset, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("qrels")).unwrap();
        let files = Files::beir(dir.path(), "test");
        std::fs::write(&files.queries, queries).unwrap();
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
            (
                "{\"_id\":\"q1\",\"text\":\"a\"}\n{oops}\n",
                "queries.jsonl:2: not a query: key must be a string at column 2",
            ),
            ("{\"_id\":\"q1\"}", "queries.jsonl:1: not a query: missing field `text`"),
            (
                "{\"_id\":7,\"text\":\"a\"}",
                "queries.jsonl:1: not a query: invalid type: integer `7`, expected a string",
            ),
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
}
