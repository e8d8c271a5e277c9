//! What documents and chunks carry beside their text: names with values.
//!
//! Why one place: what the corpus keeps is what the store filters by. Invariants: a value is a string, a number or a
//! boolean; whole numbers keep all their digits.

use serde_json::Value;

/// Field to value.
pub type Metadata = serde_json::Map<String, Value>;

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Text(String),
    Number(Number),
    Bool(bool),
}

/// A number as JSON has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Whole(i64),
    Real(f64),
}

impl Scalar {
    /// `None`: lists, objects and null are no values.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Number(number) => {
                number.as_i64().map(Number::Whole).or_else(|| number.as_f64().map(Number::Real)).map(Self::Number)
            }
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// What a JSON value is, as a refusal names it.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
