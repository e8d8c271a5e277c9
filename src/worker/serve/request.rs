//! From the bytes of a request to a [`Question`]: every bound of the retrieval API.
//!
//! Invariant: what cannot be meant is refused here with what is wrong and what to write; after that only the
//! encoder and the store can fail.

use serde::Deserialize;
use serde_json::Value;

use super::engine::{Question, Share};
use super::openai;
use super::problem::Problem;
use crate::api::release::Mode;
use crate::store::Filter;

/// Bytes of a query.
pub const MAX_QUERY_BYTES: usize = 8 << 10;
/// Results of one request on the traffic port.
pub const MAX_K: usize = 100;
/// Results of one request on the evaluation port.
pub const MAX_K_EVALUATION: usize = 10_000;

/// Documents of one request that are described.
pub const MAX_DESCRIBED: usize = 100;

/// Which port a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Traffic,
    Evaluation,
}

impl Port {
    /// Bytes of a body; a frozen query vector of 8,192 dimensions fits into the larger.
    pub fn max_body_bytes(self) -> usize {
        match self {
            Self::Traffic => 64 << 10,
            Self::Evaluation => 1 << 20,
        }
    }

    /// How many of the server's turns its requests may take.
    pub fn share(self) -> Share {
        match self {
            Self::Traffic => Share::Whole,
            Self::Evaluation => Share::Half,
        }
    }

    fn max_k(self) -> usize {
        match self {
            Self::Traffic => MAX_K,
            Self::Evaluation => MAX_K_EVALUATION,
        }
    }
}

/// What the server answers when a request leaves something open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub k: usize,
    pub mode: Mode,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    query: String,
    k: Option<i64>,
    filter: Option<Value>,
}

/// The same with what only evaluation may ask.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvaluationSearch {
    query: Option<String>,
    k: Option<i64>,
    filter: Option<Value>,
    /// This version always searches exactly.
    #[serde(default, rename = "exact")]
    _exact: Option<bool>,
    /// This version has no cache.
    #[serde(default, rename = "noCache")]
    _no_cache: Option<bool>,
    vector: Option<Vec<f32>>,
    stage: Option<String>,
    /// Documents whose best chunk carries its metadata.
    describe: Option<i64>,
}

/// Reads `POST /v1/search`: the question, and how many documents are described on the evaluation port.
pub(super) fn search(body: &[u8], port: Port, defaults: Defaults) -> Result<(Question, usize), Problem> {
    match port {
        Port::Traffic => {
            let Search { query, k, filter } = read(body, "{\"query\": \"text\", \"k\": 10}")?;
            let question = Question {
                query: bounded_query(query)?,
                k: bounded_k("k", k, defaults.k, port)?,
                filter: parse_filter(filter.as_ref())?,
                vector: None,
            };
            Ok((question, 0))
        }
        Port::Evaluation => {
            let EvaluationSearch { query, k, filter, _exact: _, _no_cache: _, vector, stage, describe } =
                read(body, "{\"query\": \"text\", \"k\": 1000, \"noCache\": true}")?;
            if let Some(stage) = stage.filter(|stage| stage != "R0") {
                return Err(Problem::bad_request(format!(
                    "stage is {stage:?}; this version keeps uncompressed vectors and searches exactly, so R0 is the \
                     only stage"
                )));
            }
            let question = Question {
                query: evaluation_query(query, vector.is_some(), defaults.mode)?,
                k: bounded_k("k", k, defaults.k, port)?,
                filter: parse_filter(filter.as_ref())?,
                vector,
            };
            let described = describe.map(|n| {
                usize::try_from(n).ok().filter(|n| *n <= MAX_DESCRIBED).ok_or_else(|| {
                    Problem::bad_request(format!("describe is {n}; write a whole number from 0 to {MAX_DESCRIBED}"))
                })
            });
            Ok((question, described.transpose()?.unwrap_or(0)))
        }
    }
}

/// Reads `POST /v1/vector_stores/{release}/search`.
pub(super) fn vector_store_search(
    body: &[u8],
    port: Port,
    defaults: Defaults,
) -> Result<(Question, Option<f64>), Problem> {
    let wire: openai::Search = read(body, "{\"query\": \"text\", \"max_num_results\": 10}")?;
    if wire.rewrite_query == Some(true) {
        return Err(Problem::bad_request("rewrite_query is true; this server does not rewrite queries, leave it out"));
    }
    let filter = match &wire.filters {
        Some(filters) => Some(openai::filter(filters).map_err(Problem::bad_request)?),
        None => None,
    };
    let threshold = wire.ranking_options.and_then(|options| options.score_threshold);
    let question = Question {
        query: bounded_query(wire.query)?,
        k: bounded_k("max_num_results", wire.max_num_results, defaults.k, port)?,
        filter: parse_filter(filter.as_ref())?,
        vector: None,
    };
    Ok((question, threshold))
}

/// The question that the evaluation port makes of a query and k, for an evaluation in this process.
pub fn evaluation_question(query: &str, k: usize) -> Result<Question, String> {
    let within = || {
        let k = i64::try_from(k).unwrap_or(i64::MAX);
        Ok(Question {
            query: bounded_query(query.to_owned())?,
            k: bounded_k("k", Some(k), MAX_K_EVALUATION, Port::Evaluation)?,
            filter: None,
            vector: None,
        })
    };
    within().map_err(|problem: Problem| problem.detail)
}

fn read<T: for<'a> Deserialize<'a>>(body: &[u8], example: &str) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body cannot be read: {error}; write for example {example}")))
}

fn bounded_query(query: String) -> Result<String, Problem> {
    if query.trim().is_empty() {
        return Err(Problem::bad_request("query is empty; write what is searched for"));
    }
    if query.len() > MAX_QUERY_BYTES {
        let found = query.len();
        return Err(Problem::bad_request(format!("query has {found} bytes, at most {MAX_QUERY_BYTES} are taken")));
    }
    Ok(query)
}

/// A frozen vector stands for the query where no words are needed.
fn evaluation_query(query: Option<String>, frozen: bool, mode: Mode) -> Result<String, Problem> {
    match (query, mode) {
        (Some(query), Mode::Vector | Mode::Keyword | Mode::Hybrid) => bounded_query(query),
        (None, Mode::Vector) if frozen => Ok(String::new()),
        (None, Mode::Vector | Mode::Keyword | Mode::Hybrid) => {
            Err(Problem::bad_request("query is missing; only a search by vector alone can go without"))
        }
    }
}

fn bounded_k(field: &str, k: Option<i64>, default: usize, port: Port) -> Result<usize, Problem> {
    let Some(k) = k else { return Ok(default) };
    usize::try_from(k)
        .ok()
        .filter(|k| (1..=port.max_k()).contains(k))
        .ok_or_else(|| Problem::bad_request(format!("{field} is {k}; write a whole number from 1 to {}", port.max_k())))
}

fn parse_filter(filter: Option<&Value>) -> Result<Option<Filter>, Problem> {
    filter.map(Filter::parse).transpose().map_err(|error| Problem::bad_request(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFAULTS: Defaults = Defaults { k: 10, mode: Mode::Vector };

    fn detail(body: &str, port: Port) -> String {
        search(body.as_bytes(), port, DEFAULTS).map(|q| format!("read: {q:?}")).unwrap_or_else(|p| p.detail)
    }

    #[test]
    fn a_question_has_its_defaults() {
        let question = search(br#"{"query": "x"}"#, Port::Traffic, DEFAULTS).unwrap().0;
        assert_eq!((question.query.as_str(), question.k), ("x", 10));
        let all = br#"{"query": "x", "k": 10000, "exact": true, "noCache": true, "stage": "R0", "vector": [1, 2]}"#;
        let (question, described) = search(all, Port::Evaluation, DEFAULTS).unwrap();
        assert_eq!((question.k, question.vector, described), (10_000, Some(vec![1.0, 2.0]), 0));
        let describe = |n: i64| detail(&format!(r#"{{"query": "x", "describe": {n}}}"#), Port::Evaluation);
        assert!(describe(100).ends_with(", 100)"), "{}", describe(100));
        assert_eq!(describe(101), "describe is 101; write a whole number from 0 to 100");
        assert_eq!(describe(-1), "describe is -1; write a whole number from 0 to 100");
        assert!(search(br#"{"vector": [1]}"#, Port::Evaluation, DEFAULTS).is_ok());
    }

    #[test]
    fn an_evaluation_in_this_process_has_the_same_bounds() {
        let question = evaluation_question("x", 10_000).unwrap();
        assert_eq!((question.query.as_str(), question.k), ("x", 10_000));
        let of_port = |body: &str| detail(body, Port::Evaluation);
        assert_eq!(evaluation_question("x", 10_001).unwrap_err(), of_port(r#"{"query": "x", "k": 10001}"#));
        assert_eq!(evaluation_question(" ", 1).unwrap_err(), of_port(r#"{"query": " "}"#));
        let long = "x".repeat(8193);
        assert_eq!(evaluation_question(&long, 1).unwrap_err(), of_port(&format!(r#"{{"query": "{long}"}}"#)));
    }

    #[test]
    fn every_bound_is_said() {
        let long = format!(r#"{{"query": "{}"}}"#, "x".repeat(8193));
        for (body, port, words) in [
            (r#"{"query": 1}"#, Port::Traffic, "line 1 column 11"),
            (r#"{"query": " "}"#, Port::Traffic, "query is empty"),
            (long.as_str(), Port::Traffic, "query has 8193 bytes, at most 8192"),
            (r#"{"query": "x", "k": 0}"#, Port::Traffic, "k is 0; write a whole number from 1 to 100"),
            (r#"{"query": "x", "k": 101}"#, Port::Traffic, "k is 101; write a whole number from 1 to 100"),
            (r#"{"query": "x", "k": 10001}"#, Port::Evaluation, "from 1 to 10000"),
            (r#"{"query": "x", "exact": true}"#, Port::Traffic, "unknown field `exact`"),
            (r#"{"query": "x", "vector": [1]}"#, Port::Traffic, "unknown field `vector`"),
            (r#"{"query": "x", "task": "faq"}"#, Port::Evaluation, "unknown field `task`"),
            (r#"{"query": "x", "stage": "R2"}"#, Port::Evaluation, "R0 is the only stage"),
            (r#"{"query": "x", "filter": []}"#, Port::Traffic, "filter must be a JSON object"),
            (r#"{"query": "x", "filter": {"year": null}}"#, Port::Traffic, "\"year\""),
            (r#"{"query": "x", "vector": [1e39]}"#, Port::Evaluation, "number out of range at line 1 column 30"),
            ("{}", Port::Traffic, "missing field `query`"),
            ("{}", Port::Evaluation, "query is missing"),
        ] {
            assert!(detail(body, port).contains(words), "{body}: {}", detail(body, port));
        }
    }

    proptest! {
        #[test]
        fn any_body_is_a_question_or_a_problem(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for port in [Port::Traffic, Port::Evaluation] {
                let _ = search(&body, port, DEFAULTS);
                let _ = vector_store_search(&body, port, DEFAULTS);
            }
        }
    }
}
