//! Nuggets: pieces of an answer, and the documents that hold them; a JSON object a line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::{DatasetError, MAX_LINES, Problem, check_id, refused, said};
use crate::evaluation::lines::{Lines, short};
use crate::evaluation::metric::{Judgments, Nugget};

const EXAMPLE: &str = "{\"query_id\": \"q1\", \"nugget_id\": \"n1\", \"doc_ids\": [\"d1\"]}";
const MAX_WEIGHT: f64 = 1e6;

#[derive(Deserialize)]
struct NuggetLine {
    query_id: String,
    nugget_id: String,
    #[serde(default = "yes")]
    required: bool,
    #[serde(default = "one")]
    weight: f64,
    doc_ids: BTreeSet<String>,
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

/// Adds the nuggets to the judged queries; gives the digest of the file. `judged_in`: where the judgments stand.
pub fn read(
    file: &Path,
    judgments: &mut BTreeMap<String, Judgments>,
    judged_in: &Path,
) -> Result<[u8; 32], DatasetError> {
    let mut lines = Lines::open(file)?;
    let mut count = 0_usize;
    while let Some((line, text)) = lines.next_line()? {
        let refused = refused(file, line);
        let found: NuggetLine = serde_json::from_str(text)
            .map_err(|e| refused(Problem::Json { what: "a nugget", said: said(&e), example: EXAMPLE }))?;
        check(&found).map_err(&refused)?;
        count = count.saturating_add(1);
        if count > MAX_LINES {
            return Err(refused(Problem::TooMany));
        }
        let Some(of_query) = judgments.get_mut(&found.query_id) else {
            let queries = judged_in.display().to_string();
            return Err(refused(Problem::UnknownQuery { query: short(&found.query_id), queries }));
        };
        let id = short(&found.nugget_id);
        let nugget =
            Nugget { id: found.nugget_id, required: found.required, weight: found.weight, documents: found.doc_ids };
        if !of_query.add_nugget(nugget) {
            return Err(refused(Problem::DuplicateNugget { query: short(&found.query_id), nugget: id }));
        }
    }
    if count == 0 {
        return Err(DatasetError::Empty { file: file.to_owned(), wanted: EXAMPLE });
    }
    Ok(lines.digest())
}

fn check(found: &NuggetLine) -> Result<(), Problem> {
    for (field, value) in [("query_id", &found.query_id), ("nugget_id", &found.nugget_id)] {
        if value.is_empty() {
            return Err(Problem::EmptyField { field, owner: "a nugget" });
        }
        check_id(field, value)?;
    }
    if found.doc_ids.is_empty() || found.doc_ids.contains("") {
        return Err(Problem::NuggetWithoutDocument(short(&found.nugget_id)));
    }
    found.doc_ids.iter().try_for_each(|document| check_id("document id", document))?;
    if !(found.weight > 0.0 && found.weight <= MAX_WEIGHT) {
        return Err(Problem::NuggetWeight(short(&found.nugget_id)));
    }
    Ok(())
}
