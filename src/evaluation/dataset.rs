//! A labelled query set: queries, judgments, and where there are some slices and nuggets.
//!
//! Layout: [`files`] where they lie; [`queries`], [`judgments`], [`slices`] and [`nuggets`] one file each.
//!
//! Why so strict: a loader that drops line 1 of a file without a header loses a judgment, a duplicate counts
//! twice, an unknown query never counts; each would move a verdict without a word.
//!
//! Invariants: what was read is whole, every malformed line is refused with file and line; the digest covers
//! the unpacked bytes of all files, so any edit is another data set and packing is none.

mod files;
mod judgments;
mod nuggets;
mod queries;
mod slices;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use files::{Files, Form};

use self::judgments::Judged;
use self::queries::Query;
use super::lines::{ReadError, short};
use super::metric::{Judgments, MAX_NUGGETS, Pool};

/// Longest query text, the limit of the retrieval API.
pub const MAX_QUERY_BYTES: usize = 8192;
/// Most queries and most judgments: a receipt holds counts of seven digits.
pub const MAX_LINES: usize = 9_999_999;

/// A data set that was read in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    queries: BTreeMap<String, Query>,
    judgments: BTreeMap<String, Judgments>,
    judgment_count: usize,
    left_out: BTreeSet<String>,
    digest: String,
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
    #[error(
        "{}: the file holds no judgment; write `query-id⇥corpus-id⇥score` in line 1 and one judgment a line below, or \
         TREC lines `query 0 document grade`", file.display()
    )]
    NoJudgment { file: PathBuf },
    #[error("{}: the file holds no line; remove it or write {wanted}", file.display())]
    Empty { file: PathBuf, wanted: &'static str },
    #[error("{}: the judgments bring the texts of their queries with them; remove the file of queries", file.display())]
    QueriesTwice { file: PathBuf },
}

impl DatasetError {
    /// Whether the files could not be read now; otherwise the data are wrong and stay wrong.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Read(error) => error.is_transient(),
            Self::Line { .. }
            | Self::NoQuery { .. }
            | Self::NoJudgment { .. }
            | Self::Empty { .. }
            | Self::QueriesTwice { .. } => false,
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("not {what}: {said}; write {example}")]
    Json { what: &'static str, said: String, example: &'static str },
    #[error("`{field}` is empty; {owner} needs it")]
    EmptyField { field: &'static str, owner: &'static str },
    #[error("found no tab; a query is `query-id⇥text`, or a JSON object a line")]
    QueryColumns,
    #[error("the text of query `{query}` has {bytes} bytes, at most {MAX_QUERY_BYTES} can be asked")]
    LongText { query: String, bytes: usize },
    #[error("query `{query}` stands twice; give each query its own id")]
    DuplicateQuery { query: String },
    #[error("found a judgment where the header must stand; add the line `query-id⇥corpus-id⇥score` on top")]
    HeaderMissing,
    #[error(
        "found neither the header `query-id⇥corpus-id⇥score`, nor a TREC judgment `query 0 document grade`, nor a JSON \
         object; write one of them"
    )]
    Unrecognised,
    #[error("found {0} tab-separated columns, a judgment has 3: query id, document id, grade")]
    Columns(usize),
    #[error("found {0} columns, a TREC judgment has 4: `query 0 document grade`")]
    TrecColumns(usize),
    #[error("found {0} tab-separated columns, a slice has 3: query id, name, value")]
    SliceColumns(usize),
    #[error("grade `{0}` is not a whole number; write 0 for not relevant, 1 or more for relevant")]
    Grade(String),
    #[error(
        "found a header whose columns are swapped; write the query id in column 1 and the document id in column 2, under \
         `query-id⇥corpus-id⇥score`"
    )]
    HeaderSwapped,
    #[error("the {0} is empty")]
    EmptyId(&'static str),
    #[error(
        "the {what} `{id}` begins or ends with white space, so that it would match no other; remove the white space"
    )]
    Blanks { what: &'static str, id: String },
    #[error("document `{document}` is judged twice for query `{query}`; keep one line")]
    DuplicateJudgment { query: String, document: String },
    #[error("query `{query}` does not stand in {queries}; add it there or remove its lines here")]
    UnknownQuery { query: String, queries: String },
    #[error("query `{query}` has already `{name}` = `{there}`; keep one value")]
    DuplicateSlice { query: String, name: String, there: String },
    #[error(
        "nugget `{nugget}` of query `{query}` stands twice, or is one of more than {MAX_NUGGETS}; give each nugget of a query its own id"
    )]
    DuplicateNugget { query: String, nugget: String },
    #[error("nugget `{0}` names no document, so that nothing could cover it; list its doc_ids")]
    NuggetWithoutDocument(String),
    #[error("the weight of nugget `{0}` is not a number above 0, at most 1000000")]
    NuggetWeight(String),
    #[error("more than {MAX_LINES} lines; use a smaller set")]
    TooMany,
}

impl Dataset {
    /// Reads all files in full.
    pub fn read(files: &Files) -> Result<Self, DatasetError> {
        let mut all = Sha256::new();
        let mut queries = match &files.queries {
            Some(file) => {
                let (queries, digest) = queries::read(file, files.form)?;
                all.update(digest);
                Some((queries, file))
            }
            None => None,
        };
        let known = queries.as_ref().map(|(queries, file)| (queries, file.as_path()));
        let Judged { judgments, count, texts, digest } = judgments::read(&files.qrels, files.form, known)?;
        all.update(digest);
        if let Some(texts) = texts {
            if queries.is_some() {
                return Err(DatasetError::QueriesTwice { file: files.qrels.clone() });
            }
            queries = Some((texts, &files.qrels));
        }
        let untold = || judgments.keys().map(|query| (query.clone(), Query::default())).collect();
        let (queries, named_in) = queries.unwrap_or_else(|| (untold(), &files.qrels));
        let mut set =
            Self { queries, judgments, judgment_count: count, left_out: BTreeSet::new(), digest: String::new() };
        if let Some(file) = &files.slices {
            all.update(b"slices");
            all.update(slices::read(file, &mut set.queries, named_in)?);
        }
        if let Some(file) = &files.nuggets {
            all.update(b"nuggets");
            all.update(nuggets::read(file, &mut set.judgments, &files.qrels)?);
        }
        set.digest = hex(&all.finalize());
        Ok(set)
    }

    /// SHA-256 over the SHA-256 of each file, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The queries that have judgments, bytewise ascending by id, with their judgments.
    pub fn judged(&self) -> impl Iterator<Item = (&str, &Judgments)> {
        self.judgments.iter().map(|(id, judgments)| (id.as_str(), judgments))
    }

    /// The judgments of a query; `None`: it has none.
    pub fn judgments(&self, query: &str) -> Option<&Judgments> {
        self.judgments.get(query)
    }

    /// How many queries have judgments.
    pub fn judged_count(&self) -> usize {
        self.judgments.len()
    }

    /// How many judgments there are.
    pub fn judgment_count(&self) -> usize {
        self.judgment_count
    }

    /// The documents that are judged for at least one query.
    pub fn pool(&self) -> Pool<'_> {
        Pool::of(self.judgments.values())
    }

    /// How many judged queries have a nugget.
    pub fn with_nuggets(&self) -> usize {
        self.judgments.values().filter(|judgments| !judgments.nuggets().is_empty()).count()
    }

    /// Text of a query; `None`: only its judgments are known.
    pub fn text(&self, query: &str) -> Option<&str> {
        self.queries.get(query)?.text.as_deref()
    }

    /// Whether every judged query can be asked.
    pub fn has_texts(&self) -> bool {
        self.judgments.keys().all(|query| self.text(query).is_some())
    }

    /// Metadata of a query: texts as they are, numbers and booleans as JSON writes them; other values are left out. What
    /// a file of slices says is there too.
    pub fn metadata(&self, query: &str) -> Option<&BTreeMap<String, String>> {
        self.queries.get(query).map(|q| &q.metadata)
    }

    /// Ids of the queries without a judgment.
    pub fn unjudged(&self) -> impl Iterator<Item = &str> {
        let judged = |query: &String| self.judgments.contains_key(query) || self.left_out.contains(query);
        self.queries.keys().filter(move |query| !judged(query)).map(String::as_str)
    }

    /// Keeps only these judged queries for everything that follows; the digest stays that of the files.
    pub fn keep(&mut self, keeps: impl Fn(&str) -> bool) {
        let out: BTreeSet<String> = self.judgments.keys().filter(|query| !keeps(query)).cloned().collect();
        self.judgments.retain(|query, _| !out.contains(query));
        self.left_out.extend(out);
    }

    /// Judged queries that do not count.
    pub fn left_out(&self) -> &BTreeSet<String> {
        &self.left_out
    }
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line of a file as an error.
fn refused(file: &Path, line: u64) -> impl Fn(Problem) -> DatasetError {
    move |problem| DatasetError::Line { file: file.to_owned(), line, problem }
}

/// What names something must be there, and without white space at its ends, which nobody sees and a TREC run file cannot hold:
/// the judgment of `d1 ` would never be found. `what`: how it is called where it is written.
fn check_id(what: &'static str, id: &str) -> Result<(), Problem> {
    if id.is_empty() {
        return Err(Problem::EmptyId(what));
    }
    if id.trim() != id {
        return Err(Problem::Blanks { what, id: short(id) });
    }
    Ok(())
}

/// What a JSON parser says of one line. It counts its own lines; ours is the one that helps.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    format!("{} at column {}", text.split(" at line ").next().unwrap_or_default(), error.column())
}

#[cfg(test)]
mod tests;
