//! Judgments: tab-separated with a header (BEIR), `query 0 document grade` (TREC), or a JSON object a query.
//!
//! Why a headerless file is refused and not read: the loader of BEIR drops line 1 whatever it holds, so that the same file
//! would count one judgment less there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::queries::{self, Query};
use super::{DatasetError, Form, MAX_LINES, Problem, check_id, refused, said};
use crate::evaluation::by_query::ByQuery;
use crate::evaluation::lines::{Lines, short};
use crate::evaluation::metric::Judgments;

const HEADER: &str = "query-id\tcorpus-id\tscore";
const EXAMPLE: &str =
    "{\"query_id\": \"q1\", \"text\": \"…\", \"qrels\": {\"d1\": 1}}, with \"qrels\": {} for a query that has none";

/// What a file of judgments holds.
pub struct Judged {
    pub judgments: BTreeMap<String, Judgments>,
    pub count: usize,
    /// The queries, where the file brings them with it.
    pub texts: Option<BTreeMap<String, Query>>,
    pub digest: [u8; 32],
}

/// How a file of judgments is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Beir,
    Trec,
    Jsonl,
}

/// Reads a file of judgments. `known`: the queries that there are and the file that names them.
pub fn read(file: &Path, form: Form, known: Option<(&BTreeMap<String, Query>, &Path)>) -> Result<Judged, DatasetError> {
    let mut lines = Lines::open(file)?;
    let mut all = Collected { known, judgments: ByQuery::default(), count: 0 };
    let mut texts = BTreeMap::new();
    let mut layout = None;
    while let Some((line, text)) = lines.next_line()? {
        let refused = refused(file, line);
        if text.starts_with('#') && matches!(form, Form::Trec | Form::ByContent) && layout != Some(Layout::Beir) {
            continue;
        }
        let first = layout.is_none();
        let layout = match layout {
            Some(layout) => layout,
            None => *layout.insert(Layout::of(form, text).map_err(&refused)?),
        };
        match layout {
            Layout::Beir if first => check_header(text).map_err(&refused)?,
            Layout::Beir => from_columns(text).and_then(|found| all.take(found)).map_err(&refused)?,
            Layout::Trec => from_trec(text).and_then(|found| all.take(found)).map_err(&refused)?,
            Layout::Jsonl => from_json(text, &mut texts, &mut all).map_err(&refused)?,
        }
    }
    if all.count == 0 {
        return Err(DatasetError::NoJudgment { file: file.to_owned() });
    }
    let texts = (layout == Some(Layout::Jsonl)).then_some(texts);
    Ok(Judged { judgments: all.judgments.sorted(), count: all.count, texts, digest: lines.digest() })
}

impl Layout {
    fn of(form: Form, first_line: &str) -> Result<Self, Problem> {
        match form {
            Form::Beir => Ok(Self::Beir),
            Form::Trec => Ok(Self::Trec),
            Form::Jsonl => Ok(Self::Jsonl),
            Form::ByContent => Self::by_content(first_line),
        }
    }

    fn by_content(line: &str) -> Result<Self, Problem> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            [first, ..] if first.starts_with('{') => Ok(Self::Jsonl),
            // Columns first: an id may have a space where tabs separate.
            _ if line.split('\t').count() == 3 => Ok(Self::Beir),
            [_, _, _, grade] if grade.parse::<f64>().is_ok() => Ok(Self::Trec),
            [_, _, grade] if grade.parse::<f64>().is_ok() => Err(Problem::HeaderMissing),
            _ => Err(Problem::Unrecognised),
        }
    }
}

/// Judgments read so far.
struct Collected<'a> {
    known: Option<(&'a BTreeMap<String, Query>, &'a Path)>,
    judgments: ByQuery<Judgments>,
    count: usize,
}

impl Collected<'_> {
    fn take(&mut self, (query, document, grade): (&str, &str, i32)) -> Result<(), Problem> {
        if let Some((_, file)) = self.known.filter(|(queries, _)| !queries.contains_key(query)) {
            return Err(Problem::UnknownQuery { query: short(query), queries: file.display().to_string() });
        }
        if self.count >= MAX_LINES {
            return Err(Problem::TooMany);
        }
        self.count = self.count.saturating_add(1);
        match self.judgments.of(query).insert(document, grade) {
            Some(_) => Err(Problem::DuplicateJudgment { query: short(query), document: short(document) }),
            None => Ok(()),
        }
    }
}

/// Any three words pass as a header, but for those that say that the first two columns stand the other way round; a third
/// column that is a number is a judgment that a loader would lose.
fn check_header(text: &str) -> Result<(), Problem> {
    if text.eq_ignore_ascii_case(HEADER) {
        return Ok(());
    }
    let columns: Vec<&str> = text.split('\t').collect();
    let named = |column: &str, name: &str| column.trim().replace('_', "-").eq_ignore_ascii_case(name);
    match columns.as_slice() {
        [first, second, _] if named(first, "corpus-id") || named(second, "query-id") => Err(Problem::HeaderSwapped),
        [_, _, third] if third.trim().parse::<f64>().is_ok() => Err(Problem::HeaderMissing),
        [_, _, _] => Ok(()),
        other => Err(Problem::Columns(other.len())),
    }
}

fn from_columns(text: &str) -> Result<(&str, &str, i32), Problem> {
    let columns: Vec<&str> = text.split('\t').collect();
    let [query, document, grade] = columns.as_slice() else { return Err(Problem::Columns(columns.len())) };
    check_id("query id", query)?;
    check_id("document id", document)?;
    Ok((query, document, grade_of(grade)?))
}

/// The second column, once the iteration of a feedback run, is not read.
fn from_trec(text: &str) -> Result<(&str, &str, i32), Problem> {
    let mut columns = text.split_ascii_whitespace();
    let mut next = || columns.next();
    match (next(), next(), next(), next(), next()) {
        (Some(query), Some(_), Some(document), Some(grade), None) => Ok((query, document, grade_of(grade)?)),
        _ => Err(Problem::TrecColumns(text.split_ascii_whitespace().count())),
    }
}

fn grade_of(text: &str) -> Result<i32, Problem> {
    text.trim().parse().map_err(|_| Problem::Grade(short(text)))
}

#[derive(Deserialize)]
struct JsonLine {
    query_id: String,
    text: String,
    /// Without a default: a misspelt key would pass for a query that nobody judged, and most of a set would not count.
    qrels: Pairs,
    #[serde(default)]
    metadata: BTreeMap<String, serde_json::Value>,
}

/// The pairs of an object as they are written: a map would keep the last of two equal keys without a word.
struct Pairs(Vec<(String, i32)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AsWritten;

        impl<'de> Visitor<'de> for AsWritten {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of document ids and whole-number grades")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        from.deserialize_map(AsWritten)
    }
}

fn from_json(text: &str, texts: &mut BTreeMap<String, Query>, all: &mut Collected<'_>) -> Result<(), Problem> {
    let line: JsonLine = serde_json::from_str(text).map_err(|e| Problem::Json {
        what: "a query with its judgments",
        said: said(&e),
        example: EXAMPLE,
    })?;
    let query = queries::checked("query_id", &line.query_id, line.text, line.metadata)?;
    for (document, grade) in &line.qrels.0 {
        check_id("document id", document)?;
        all.take((&line.query_id, document, *grade))?;
    }
    queries::take(texts, line.query_id, query)
}
