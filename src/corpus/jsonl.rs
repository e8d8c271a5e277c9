//! One JSON object a line.
//!
//! Invariants: a line takes bounded memory whatever its length; an empty line is no document.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::Value;

use super::{MAX_DOCUMENT_BYTES, Mapping, Parsed, not_utf8};
use crate::metadata::{Metadata, Scalar, kind};

/// Receives a line's number and its bytes, `None` when it was too long; `Break` ends the reading.
pub type EachLine<'a> = &'a mut dyn FnMut(u64, Option<&[u8]>) -> ControlFlow<()>;

/// Reads a file line by line.
pub fn read(path: &Path, each: EachLine<'_>) -> std::io::Result<ControlFlow<()>> {
    let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
    let (mut line, mut number) = (Vec::new(), 0_u64);
    loop {
        let Some(whole) = next_line(&mut file, &mut line)? else { return Ok(ControlFlow::Continue(())) };
        number = number.saturating_add(1);
        if number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if whole && line.trim_ascii().is_empty() {
            continue;
        }
        if each(number, whole.then_some(line.as_slice())).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// Reads one line without its end; `Some(false)` when it was too long and was read past, `None` at the end.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<Option<bool>> {
    line.clear();
    let (mut whole, mut any) = (true, false);
    loop {
        let available = file.fill_buf()?;
        if available.is_empty() {
            return Ok(any.then_some(whole));
        }
        any = true;
        let end = available.iter().position(|b| *b == b'\n');
        let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
        if line.len().saturating_add(part.len()) > MAX_DOCUMENT_BYTES {
            whole = false;
            line.clear();
        }
        if whole {
            line.extend_from_slice(part);
        }
        let used = part.len().saturating_add(usize::from(end.is_some()));
        file.consume(used);
        if end.is_some() {
            return Ok(Some(whole));
        }
    }
}

/// Reads the document of one line.
pub fn parse(line: &[u8], mapping: &Mapping) -> Parsed {
    match document(line, mapping) {
        Ok(parsed) => parsed,
        Err(why) => Parsed::Unreadable(why),
    }
}

fn document(line: &[u8], mapping: &Mapping) -> Result<Parsed, String> {
    let text = std::str::from_utf8(line).map_err(not_utf8)?;
    let value: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {}", without_line(&e)))?;
    let Value::Object(object) = value else {
        return Err(format!("expected a JSON object, found {}", kind(&value)));
    };
    let id = match object.get(&mapping.id) {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
        None | Some(Value::Null) => return Err(missing("id", &mapping.id, &object)),
        Some(other) => return Err(format!("the id in field `{}` must be a string, found {}", mapping.id, kind(other))),
    };
    let title = match object.get(&mapping.title) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(title)) => title.clone(),
        Some(Value::Number(title)) => title.to_string(),
        Some(other) => {
            return Err(format!("the title in field `{}` must be a string, found {}", mapping.title, kind(other)));
        }
    };
    let text = match object.get(&mapping.text) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => return Err(missing("text", &mapping.text, &object)),
        Some(other) => {
            return Err(format!("the text in field `{}` must be a string, found {}", mapping.text, kind(other)));
        }
    };
    let nested = object.get("metadata").and_then(Value::as_object);
    let metadata = select(mapping, |field| object.get(field).or_else(|| nested.and_then(|n| n.get(field))))?;
    Ok(Parsed::Content { id, title, text, metadata })
}

/// The mapped metadata fields that are there.
pub fn select<'a>(mapping: &Mapping, field: impl Fn(&str) -> Option<&'a Value>) -> Result<Metadata, String> {
    let mut metadata = Metadata::new();
    for name in &mapping.metadata {
        match field(name) {
            None | Some(Value::Null) => {}
            Some(value) if Scalar::of(value).is_some() => {
                metadata.insert(name.clone(), value.clone());
            }
            Some(other) => {
                return Err(format!(
                    "metadata field `{name}` is {}; only strings, numbers and booleans are kept",
                    kind(other)
                ));
            }
        }
    }
    Ok(metadata)
}

fn missing(what: &str, field: &str, object: &Metadata) -> String {
    let found: Vec<&str> = object.keys().map(String::as_str).take(8).collect();
    format!("no field `{field}` for the {what}; the object has {}", found.join(", "))
}

/// The line within one line is always 1.
fn without_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column", " at column")
}
