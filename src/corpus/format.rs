//! Which format a file has, and the formats where a file is one document.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{Mapping, Parsed, html, markdown, utf8};
use crate::metadata::Metadata;

/// Format of a source's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// By name, then by content.
    Auto,
    /// One JSON object a line.
    Jsonl,
    Markdown,
    Text,
    Html,
}

/// Bytes that are looked at when the name says nothing.
const HEAD_BYTES: u64 = 64 << 10;

/// The format by name, then by the first bytes.
pub fn of_file(file: &str, path: &Path) -> std::io::Result<Format> {
    if let Some(format) = of_name(file) {
        return Ok(format);
    }
    let mut head = Vec::new();
    File::open(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(of_content(&head))
}

fn of_name(file: &str) -> Option<Format> {
    let extension = Path::new(file).extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "jsonl" | "ndjson" => Some(Format::Jsonl),
        "md" | "markdown" => Some(Format::Markdown),
        "html" | "htm" | "xhtml" => Some(Format::Html),
        "txt" | "text" => Some(Format::Text),
        _ => None,
    }
}

fn of_content(head: &[u8]) -> Format {
    let head = String::from_utf8_lossy(head);
    let head = head.trim_start_matches('\u{feff}').trim_start();
    let begins = |with: &str| head.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    if begins("<!doctype html") || begins("<html") {
        return Format::Html;
    }
    let first = head.lines().next().unwrap_or_default();
    match serde_json::from_str::<serde_json::Value>(first) {
        Ok(value) if value.is_object() => Format::Jsonl,
        Ok(_) | Err(_) => Format::Text,
    }
}

/// Reads a file that is one document; its id is its path.
pub fn parse(format: Format, file: &str, bytes: Vec<u8>, mapping: &Mapping) -> Parsed {
    // Some binary formats are valid UTF-8 by chance; none of them avoids NUL.
    if bytes.contains(&0) {
        return Parsed::Unreadable("a binary file; formats are Jsonl, Markdown, Text and Html".to_owned());
    }
    let text = match utf8(bytes) {
        Ok(text) => text,
        Err(why) => return Parsed::Unreadable(why),
    };
    let id = file.to_owned();
    match format {
        Format::Markdown => {
            let (title, text, metadata) = markdown::parse(text, mapping);
            Parsed::Content { id, title, text, metadata }
        }
        Format::Html => {
            let (title, text) = html::parse(text);
            Parsed::Content { id, title, text, metadata: Metadata::new() }
        }
        Format::Auto | Format::Jsonl | Format::Text => {
            Parsed::Content { id, title: String::new(), text, metadata: Metadata::new() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_then_the_content() {
        for (file, head, expected) in [
            ("a.JSONL", "x", Format::Jsonl),
            ("a/b.md", "<html>", Format::Markdown),
            ("a.htm", "", Format::Html),
            ("a.txt", "{}", Format::Text),
            ("a", "\n <!DOCTYPE HTML><p>", Format::Html),
            ("a.json", "\u{feff}{\"id\": 1}\n{\"id\": 2}", Format::Jsonl),
            ("a.json", "{\n\"id\": 1}", Format::Text),
            ("LICENSE", "Text", Format::Text),
        ] {
            let found = of_name(file).unwrap_or_else(|| of_content(head.as_bytes()));
            assert_eq!(found, expected, "{file}");
        }
    }
}
