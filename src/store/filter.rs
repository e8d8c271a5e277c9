//! Filters on metadata: a JSON object of field → value, list of values, or `{gte, lte}`.
//!
//! Why parsed here: what cannot be meant is refused where the user can still be told; after that a filter
//! cannot fail.
//!
//! Invariants: all conditions must hold; a number never equals a string or a boolean; a range compares
//! numbers with numbers and strings with strings (by bytes, so dates as `2026-11-25` order rightly).

use serde_json::Value;

use crate::metadata::{Number, Scalar, kind};

/// Most fields of one filter.
pub const MAX_FIELDS: usize = 32;
/// Most values of one list.
pub const MAX_VALUES: usize = 256;

/// A parsed filter: conditions that must all hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub field: String,
    pub test: Test,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    /// The field has one of the values.
    Any(Vec<Scalar>),
    /// The field is a number within bounds that include their ends.
    Numbers { gte: Option<Number>, lte: Option<Number> },
    /// The field is a string within bounds that include their ends.
    Strings { gte: Option<String>, lte: Option<String> },
}

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("filter must be a JSON object of field to value, list of values, or {{gte, lte}}; found {0}")]
    NoObject(&'static str),
    #[error("filter has {0} fields, at most {MAX_FIELDS} are allowed")]
    TooManyFields(usize),
    #[error("filter field {field:?}: {why}")]
    Field { field: String, why: String },
}

impl Filter {
    /// Reads a filter; errors name the field.
    pub fn parse(value: &Value) -> Result<Self, FilterError> {
        let Value::Object(fields) = value else { return Err(FilterError::NoObject(kind(value))) };
        if fields.len() > MAX_FIELDS {
            return Err(FilterError::TooManyFields(fields.len()));
        }
        let conditions = fields
            .iter()
            .map(|(field, value)| match test(value) {
                Ok(test) => Ok(Condition { field: field.clone(), test }),
                Err(why) => Err(FilterError::Field { field: field.chars().take(128).collect(), why }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { conditions })
    }

    /// Whether the filter lets everything through.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }
}

fn test(value: &Value) -> Result<Test, String> {
    match value {
        Value::Array(values) => any(values),
        Value::Object(bounds) => range(bounds),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => any(std::slice::from_ref(value)),
    }
}

fn any(values: &[Value]) -> Result<Test, String> {
    if values.is_empty() {
        return Err("an empty list matches nothing; name at least one value".to_owned());
    }
    if values.len() > MAX_VALUES {
        return Err(format!("has {} values, at most {MAX_VALUES} are allowed", values.len()));
    }
    values
        .iter()
        .map(|v| Scalar::of(v).ok_or_else(|| format!("{} is no value; write a string, number or boolean", kind(v))))
        .collect::<Result<_, _>>()
        .map(Test::Any)
}

fn range(bounds: &serde_json::Map<String, Value>) -> Result<Test, String> {
    if let Some(other) = bounds.keys().find(|key| *key != "gte" && *key != "lte") {
        let other: String = other.chars().take(64).collect();
        return Err(format!("unknown operator {other:?}; a range has `gte` and `lte`"));
    }
    let bound = |name: &str| match bounds.get(name) {
        None => Ok(None),
        Some(value) => match Scalar::of(value) {
            Some(scalar @ (Scalar::Text(_) | Scalar::Number(_))) => Ok(Some(scalar)),
            Some(Scalar::Bool(_)) | None => {
                Err(format!("`{name}` must be a number or a string, found {}", kind(value)))
            }
        },
    };
    match (bound("gte")?, bound("lte")?) {
        (None, None) => Err("a range needs `gte` or `lte`".to_owned()),
        (Some(Scalar::Number(low)), Some(Scalar::Number(high))) => {
            Ok(Test::Numbers { gte: Some(low), lte: Some(high) })
        }
        (Some(Scalar::Number(low)), None) => Ok(Test::Numbers { gte: Some(low), lte: None }),
        (None, Some(Scalar::Number(high))) => Ok(Test::Numbers { gte: None, lte: Some(high) }),
        (Some(Scalar::Text(low)), Some(Scalar::Text(high))) => Ok(Test::Strings { gte: Some(low), lte: Some(high) }),
        (Some(Scalar::Text(low)), None) => Ok(Test::Strings { gte: Some(low), lte: None }),
        (None, Some(Scalar::Text(high))) => Ok(Test::Strings { gte: None, lte: Some(high) }),
        (Some(Scalar::Text(_) | Scalar::Number(_) | Scalar::Bool(_)), Some(_))
        | (Some(Scalar::Bool(_)), None)
        | (None, Some(Scalar::Bool(_))) => Err("`gte` and `lte` must be both numbers or both strings".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_values_lists_and_ranges() {
        let filter = Filter::parse(&json!({"a": "x", "b": [1, true], "c": {"gte": 2, "lte": 3.5}, "d": {"lte": "m"}}));
        let tests: Vec<Test> = filter.unwrap().conditions.into_iter().map(|c| c.test).collect();
        assert_eq!(
            tests,
            vec![
                Test::Any(vec![Scalar::Text("x".into())]),
                Test::Any(vec![Scalar::Number(Number::Whole(1)), Scalar::Bool(true)]),
                Test::Numbers { gte: Some(Number::Whole(2)), lte: Some(Number::Real(3.5)) },
                Test::Strings { gte: None, lte: Some("m".into()) },
            ]
        );
    }

    #[test]
    fn errors_name_the_field() {
        for (bad, part) in [
            (json!({"year": {"gt": 3}}), "unknown operator \"gt\""),
            (json!({"year": {}}), "needs `gte` or `lte`"),
            (json!({"year": []}), "empty list"),
            (json!({"year": null}), "null is no value"),
            (json!({"year": [[1]]}), "a list is no value"),
            (json!({"year": {"gte": 1, "lte": "z"}}), "both numbers or both strings"),
            (json!({"year": {"gte": true}}), "must be a number or a string, found a boolean"),
        ] {
            let error = Filter::parse(&bad).unwrap_err().to_string();
            assert!(error.contains("\"year\"") && error.contains(part), "{error}");
        }
        assert!(Filter::parse(&json!([1])).unwrap_err().to_string().contains("found a list"));
    }
}
