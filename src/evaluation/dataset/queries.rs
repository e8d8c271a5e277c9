//! Texts and metadata of queries: a JSON object a line, or `query-id⇥text`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use serde::Deserialize;

use super::{DatasetError, Form, MAX_LINES, MAX_QUERY_BYTES, Problem, check_id, refused, said};
use crate::evaluation::lines::{Lines, short};

const EXAMPLE: &str = "{\"_id\": \"q1\", \"text\": \"…\"}";

/// What is known of a query beside its judgments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    pub text: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct QueryLine {
    #[serde(rename = "_id")]
    id: String,
    text: String,
    #[serde(default)]
    metadata: BTreeMap<String, serde_json::Value>,
}

/// Queries by id, and the digest of their file.
pub type ReadQueries = (BTreeMap<String, Query>, [u8; 32]);

/// Reads a file of queries.
pub fn read(file: &Path, form: Form) -> Result<ReadQueries, DatasetError> {
    let mut lines = Lines::open(file)?;
    let mut queries = BTreeMap::new();
    let mut json = match form {
        Form::Beir | Form::Jsonl => Some(true),
        Form::Trec | Form::ByContent => None,
    };
    while let Some((line, text)) = lines.next_line()? {
        let refused = refused(file, line);
        let json = *json.get_or_insert_with(|| text.trim_start().starts_with('{'));
        let (id, query) = if json { from_json(text) } else { from_columns(text) }.map_err(&refused)?;
        take(&mut queries, id, query).map_err(&refused)?;
    }
    if queries.is_empty() {
        return Err(DatasetError::NoQuery { file: file.to_owned() });
    }
    Ok((queries, lines.digest()))
}

/// Adds a query.
pub fn take(queries: &mut BTreeMap<String, Query>, id: String, query: Query) -> Result<(), Problem> {
    if queries.len() >= MAX_LINES {
        return Err(Problem::TooMany);
    }
    match queries.entry(id) {
        Entry::Occupied(at) => Err(Problem::DuplicateQuery { query: short(at.key()) }),
        Entry::Vacant(at) => {
            at.insert(query);
            Ok(())
        }
    }
}

fn from_json(text: &str) -> Result<(String, Query), Problem> {
    let line: QueryLine =
        serde_json::from_str(text).map_err(|e| Problem::Json { what: "a query", said: said(&e), example: EXAMPLE })?;
    let query = checked("_id", &line.id, line.text, line.metadata)?;
    Ok((line.id, query))
}

fn from_columns(line: &str) -> Result<(String, Query), Problem> {
    let (id, text) = line.split_once('\t').ok_or(Problem::QueryColumns)?;
    let query = checked("query-id", id, text.trim().to_owned(), BTreeMap::new())?;
    Ok((id.to_owned(), query))
}

/// A query whose text can be asked. `id_field`: how the id is called where it is written.
pub fn checked(
    id_field: &'static str,
    id: &str,
    text: String,
    metadata: BTreeMap<String, serde_json::Value>,
) -> Result<Query, Problem> {
    for (field, value) in [(id_field, id), ("text", &text)] {
        if value.trim().is_empty() {
            return Err(Problem::EmptyField { field, owner: "a query" });
        }
    }
    check_id(id_field, id)?;
    if text.len() > MAX_QUERY_BYTES {
        return Err(Problem::LongText { query: short(id), bytes: text.len() });
    }
    Ok(Query { text: Some(text), metadata: scalars(metadata) })
}

fn scalars(values: BTreeMap<String, serde_json::Value>) -> BTreeMap<String, String> {
    let text = |value| match value {
        serde_json::Value::String(text) => Some(text),
        value @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)) => Some(value.to_string()),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    };
    values.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect()
}
