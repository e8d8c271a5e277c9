//! The OpenAI-compatible form of a search: `POST /v1/vector_stores/{release}/search`.
//!
//! Why: clients and agent frameworks speak it already. Filters are taken as far as the index can hold them
//! (`eq`, `in`, `gte`, `lte`, joined by `and`); the rest is refused and not quietly ignored.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::store::{Scored, StoredChunk};

/// The request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    pub query: String,
    pub max_num_results: Option<i64>,
    pub filters: Option<Filters>,
    pub ranking_options: Option<RankingOptions>,
    pub rewrite_query: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RankingOptions {
    /// Chosen by the release, whatever is asked.
    #[serde(rename = "ranker")]
    _ranker: Option<String>,
    pub score_threshold: Option<f64>,
}

/// A filter as OpenAI writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filters {
    #[serde(rename = "type")]
    kind: String,
    key: Option<String>,
    value: Option<Value>,
    filters: Option<Vec<Filters>>,
}

/// The same as an object of field to value, list or bounds.
pub(super) fn filter(filters: &Filters) -> Result<Value, String> {
    let mut fields = Map::new();
    collect(filters, &mut fields)?;
    Ok(Value::Object(fields))
}

fn collect(filters: &Filters, fields: &mut Map<String, Value>) -> Result<(), String> {
    match (filters.kind.as_str(), &filters.filters, &filters.key, &filters.value) {
        ("and", Some(all), None, None) => all.iter().try_for_each(|one| collect(one, fields)),
        ("eq" | "in", None, Some(key), Some(value)) => match fields.insert(key.clone(), value.clone()) {
            None => Ok(()),
            Some(_) => Err(twice(key)),
        },
        (bound @ ("gte" | "lte"), None, Some(key), Some(value)) => {
            let entry = fields.entry(key.clone()).or_insert_with(|| json!({}));
            match entry.as_object_mut().map(|bounds| bounds.insert(bound.to_owned(), value.clone())) {
                Some(None) => Ok(()),
                Some(Some(_)) | None => Err(twice(key)),
            }
        }
        (kind, ..) => Err(format!(
            "filters has a part of type {kind:?}; this index holds eq, in, gte and lte with key and value, joined by \
             and with filters"
        )),
    }
}

fn twice(key: &str) -> String {
    format!("filters names {key:?} twice; write one eq, one in, or one gte and one lte for a key")
}

/// One page of results; there is never a second.
pub(super) fn page(query: &str, hits: &[Scored], chunks: Vec<StoredChunk>) -> Value {
    let data: Vec<Value> = hits
        .iter()
        .zip(chunks)
        .map(|(hit, chunk)| {
            let name = if chunk.title.is_empty() { chunk.document.clone() } else { chunk.title };
            json!({
                "file_id": chunk.document,
                "filename": name,
                "score": hit.score,
                "attributes": chunk.metadata,
                "content": [{"type": "text", "text": chunk.text}],
            })
        })
        .collect();
    json!({
        "object": "vector_store.search_results.page",
        "search_query": [query],
        "data": data,
        "has_more": false,
        "next_page": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        filter(&serde_json::from_str::<Filters>(text).map_err(|e| e.to_string())?)
    }

    #[test]
    fn what_the_index_can_hold_is_translated() {
        assert_eq!(read(r#"{"type":"eq","key":"lang","value":"de"}"#), Ok(json!({"lang": "de"})));
        let both = r#"{"type":"and","filters":[{"type":"gte","key":"year","value":2019},
            {"type":"lte","key":"year","value":2021},{"type":"in","key":"lang","value":["de","fr"]}]}"#;
        assert_eq!(read(both), Ok(json!({"year": {"gte": 2019, "lte": 2021}, "lang": ["de", "fr"]})));
    }

    #[test]
    fn the_rest_is_refused() {
        for (text, words) in [
            (r#"{"type":"ne","key":"a","value":1}"#, "type \"ne\""),
            (r#"{"type":"or","filters":[]}"#, "type \"or\""),
            (r#"{"type":"eq","key":"a"}"#, "type \"eq\""),
            (
                r#"{"type":"and","filters":[{"type":"eq","key":"a","value":1},{"type":"eq","key":"a","value":2}]}"#,
                "twice",
            ),
            (
                r#"{"type":"and","filters":[{"type":"eq","key":"a","value":1},{"type":"gte","key":"a","value":2}]}"#,
                "twice",
            ),
            (r#"{"type":"eq","key":"a","value":1,"x":2}"#, "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
